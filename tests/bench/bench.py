#!/usr/bin/python3
"""Speed, as ratios within one run: bench.py [NAME]… [--quick]

Peers are Debian's Postfix and Dovecot with their default durability, on the same disk (that of TMPDIR), one
after the other, some rounds each in turn; medians are told. Nothing passes or fails here: docs/performance.md
keeps the figures. --quick shows within a minute that all of it works.
"""

import argparse
import contextlib
import os
import pwd
import signal
import socket
import statistics
import subprocess
import sys
import threading
import time
import unittest

from servers import MANY, MANY_RECIPIENT, RECIPIENT, Dovecot, Ours, Pair, Room, Sink, files_below, need, wait_for

LARGE = 25 << 20
LONGEST = 600  # seconds for one load


def smtp_source(port, messages, sessions=64, length=4096, recipients=1, to=RECIPIENT):
    """Seconds until smtp-source had every message acknowledged."""
    command = [need("smtp-source", "postfix"), "-s", str(sessions), "-d", "-m", str(messages), "-l", str(length),
               "-f", "sender@example.org", "-t", to]
    if recipients > 1:
        command += ["-r", str(recipients)]
    begun = time.monotonic()
    done = subprocess.run(command + [f"inet:127.0.0.1:{port}"], capture_output=True, timeout=LONGEST)
    if done.returncode != 0:
        raise AssertionError(done.stderr.decode())
    return time.monotonic() - begun


# ---- deliveries ----

def rates(servers, messages, rounds, pair_messages, warm=200, **load):
    """{name: (accepted, in the Maildir)} a second, medians over rounds taken in turn."""
    seen = {}
    copies = load.get("recipients", 1)
    for _ in range(rounds):
        for make in servers:
            with make(many=copies > 1) as server:
                smtp_source(server.port, warm, **load)
                server.settle(warm * copies)
                count = pair_messages if make is Pair else messages
                begun = time.monotonic()
                accepted = smtp_source(server.port, count, **load)
                server.settle(count * copies)
                held = time.monotonic() - begun
                seen.setdefault(server.name, []).append((count / accepted, count * copies / held))
    return {name: tuple(statistics.median(column) for column in zip(*rows)) for name, rows in seen.items()}


def table(title, results, base):
    names = [name for name in (Sink.name, Pair.name) if name in results]
    print(f"\n{title}\n")
    print("| server | accepted/s | in the Maildir/s |" + "".join(f" to {name} |" for name in names))
    print("| --- | ---: | ---: |" + " ---: |" * len(names))
    for name, (accepted, held) in results.items():
        stored = "-" if name == Sink.name else f"{held:,.0f}"
        ratios = [held / results[other][1] if other == Pair.name else accepted / results[other][0] for other in names]
        print(f"| {name} | {accepted:,.0f} | {stored} |" + "".join(f" {ratio:.2f} |" for ratio in ratios))
    sys.stdout.flush()


def bench_many(quick):
    """64 sessions, messages of 4 KiB, kept connections, one recipient."""
    table("64 sessions, 4 KiB, one recipient",
          rates((Sink, Pair, Ours), 3000 if quick else 30000, 1 if quick else 3, 500 if quick else 3000), Sink.name)


def bench_hundred(quick):
    """The same with a hundred recipients a message."""
    table(f"64 sessions, 4 KiB, {MANY} recipients (\"in the Maildir\" counts copies)",
          rates((Sink, Pair, Ours), 100 if quick else 2000, 1 if quick else 3, 50 if quick else 200, warm=10,
                recipients=MANY, to=MANY_RECIPIENT), Sink.name)


def bench_single(quick):
    """One message at a time on one connection: nothing shares a flush."""
    table("one session, 4 KiB, one at a time",
          rates((Pair, Ours), 500 if quick else 6000, 1 if quick else 3, 200 if quick else 1000, sessions=1),
          Pair.name)


def bench_large(quick):
    """Messages of 25 MiB, and what they cost the store in memory."""
    count = 4 if quick else 20
    table("one session, 25 MiB", rates((Pair, Ours), count, 1 if quick else 3, count, warm=1, sessions=1, length=LARGE),
          Pair.name)
    with Ours() as ours:
        smtp_source(ours.port, 2000)
        before = ours.store_status("VmHWM")
        smtp_source(ours.port, count, sessions=4, length=LARGE)
        after = ours.store_status("VmHWM")
    print(f"\nmost memory the store ever had: {before:,} KiB after 2,000 messages of 4 KiB, {after:,} KiB after "
          f"{count} of 25 MiB, four at a time", flush=True)


# ---- a mailbox of 100,000 ----

class Pop3:
    """Just enough POP3 to measure the server and not this program."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), 300)
        self.line()

    def line(self, end=b"\r\n"):
        octets = bytearray()
        while not octets.endswith(end):
            piece = self.socket.recv(1 << 20)
            assert piece, f"the server ended within {bytes(octets[:80])}"
            octets += piece
        assert octets.startswith(b"+OK"), bytes(octets[:200])
        return bytes(octets)

    def ask(self, command, end=b"\r\n"):
        self.socket.sendall(command.encode() + b"\r\n")
        return self.line(end)


def open_and_list(port):
    """(seconds from USER to the end of LIST, messages listed)"""
    pop3 = Pop3(port)
    begun = time.monotonic()
    pop3.ask(f"USER {RECIPIENT}")
    pop3.ask("PASS restante")
    pop3.ask("STAT")
    listing = pop3.ask("LIST", b"\r\n.\r\n")
    seconds = time.monotonic() - begun
    pop3.ask("QUIT")
    pop3.socket.close()
    return seconds, listing.count(b"\r\n") - 2


def fill_maildir(directory, owner, count):
    """Messages as an LMTP server of Dovecot's would leave them, for Dovecot to index at the first look."""
    body = b"From: a@example.org\nSubject: one of many\n\n" + b"x" * 900 + b"\n"
    for part in ("", "cur", "new", "tmp"):
        os.makedirs(directory / part, exist_ok=True)
        os.chown(directory / part, owner.pw_uid, owner.pw_gid)
    for number in range(count):
        path = directory / "new" / f"1700000000.M{number}P1.bench,S={len(body)},W={len(body) + 4}"
        path.write_bytes(body)
        os.chown(path, owner.pw_uid, owner.pw_gid)


def median_opening(port, count):
    open_and_list(port)  # password and index warm
    open_and_list(port)
    runs = [open_and_list(port) for _ in range(5)]
    assert all(listed == count for _, listed in runs), runs
    return statistics.median(seconds for seconds, _ in runs)


def delivery_costs(ours, count, rounds):
    """
    Seconds for one delivery, one at a time, into the large mailbox and into a small one: [(large, small)], a pair a
    round. Rounds are short and the order changes with each, so that other work on the machine meets both.
    """
    port, mailboxes = ours.port, [RECIPIENT, "bob@example.test"]
    directories = [ours.host.dir / "store/mail/example.test" / to.split("@")[0] / "new" for to in mailboxes]
    for to in mailboxes:
        smtp_source(port, count, sessions=1, to=to)  # both are warm
    pairs = []
    for number in range(rounds):
        for directory in directories:
            os.listdir(directory)  # a kernel short of memory lets go of the blocks of a large one first
        order = mailboxes if number % 2 else mailboxes[::-1]
        took = {to: smtp_source(port, count, sessions=1, to=to) / count for to in order}
        pairs.append(tuple(took[to] for to in mailboxes))
    return pairs


def bench_mailbox(quick):
    """A mailbox of 100,000 messages: opened and listed, and delivered into."""
    count = 5000 if quick else 100000
    with Dovecot() as dovecot:
        fill_maildir(dovecot.dir / "mail" / RECIPIENT, pwd.getpwnam("nobody"), count)
        theirs = median_opening(dovecot.pop3_port, count)
    with Ours() as ours:
        smtp_source(ours.port, count, length=1024)
        opening = median_opening(ours.host.port("pop3"), count)
        pairs = delivery_costs(ours, 100 if quick else 200, 3 if quick else 31)
    large, small = (statistics.median(column) for column in zip(*pairs))
    ratio = statistics.median(one / other for one, other in pairs)
    print(f"\na mailbox of {count:,} messages\n")
    print("| | Dovecot, index warm | restante | ratio |\n| --- | ---: | ---: | ---: |")
    print(f"| USER, PASS, STAT, LIST | {theirs * 1000:,.1f} ms | {opening * 1000:,.1f} ms | {theirs / opening:,.1f} |")
    print("\n| | into it | into an empty one | ratio |\n| --- | ---: | ---: | ---: |")
    print(f"| one delivery of restante | {large * 1e6:,.0f} us | {small * 1e6:,.0f} us | {ratio:.2f} |", flush=True)


# ---- starts ----

def logged(host, event, field):
    """The number of a field of the newest line of an event."""
    line = [line for line in host.log().splitlines() if f"event={event} " in line][-1]
    return int(next(word.split("=")[1] for word in line.split() if word.startswith(field + "=")))


def bench_rebuild(quick):
    """The index is lost: how fast it is made anew from the Maildirs."""
    count = 5000 if quick else 100000
    with Ours(set={"log-level": "info"}) as ours:
        smtp_source(ours.port, count, length=1024)
        ours.host.stop()
        os.rename(ours.host.dir / "store/env", ours.host.dir / "env.away")
        ours.host.start()
        milliseconds = logged(ours.host, "index-rebuilt", "milliseconds")
    print(f"\nindex of {count:,} messages rebuilt in {milliseconds / 1000:.2f} s: "
          f"{count * 1000 / max(milliseconds, 1):,.0f} messages a second", flush=True)


def recover_once(wanted):
    """(seconds from the start to the first 250, records redone, milliseconds of that in the store)"""
    with Ours(set={"log-level": "info"}) as ours:
        def load():
            with contextlib.suppress(AssertionError):
                smtp_source(ours.port, 1000000)
        pusher = threading.Thread(target=load)
        pusher.start()
        wait_for(lambda: files_below(ours.host.dir / "store/mail") > wanted, "enough load", LONGEST)
        ours.host.kill()
        pusher.join()
        begun = time.monotonic()
        ours.host.start()
        ours.started()
        smtp_source(ours.port, 1, sessions=1)
        seconds = time.monotonic() - begun
        return seconds, logged(ours.host, "recovered", "records"), logged(ours.host, "recovered", "milliseconds")


def bench_recovery(quick):
    """kill -9 of everything under full load: how long until the host takes mail again."""
    # At many places between two checkpoints, for what was logged since the last one is what a start has to read.
    wanted = [2000] if quick else range(12000, 24000, 1000)
    results = [recover_once(messages) for messages in wanted]
    seconds, records, milliseconds = zip(*results)
    print(f"\nkill -9 of everything under full load, {len(results)} times\n")
    print("| | median | worst |\n| --- | ---: | ---: |")
    print(f"| start to the first 250 | {statistics.median(seconds):.2f} s | {max(seconds):.2f} s |")
    print(f"| of that within the store | {statistics.median(milliseconds):,.0f} ms | {max(milliseconds):,} ms |")
    print(f"| records redone | {statistics.median(records):,.0f} | {max(records):,} |", flush=True)


# ---- addresses ----

ALIAS_DOMAINS = [f"domain{number}.test" for number in range(10)]
ALIASES_EACH = 100  # in every domain; as many messages go to each of them as there are batches


def everybody_at_once(port, addresses, numbered, batches):
    """Seconds for batches of ALIASES_EACH messages to each address; numbered: to 1x@y, 2x@y and so on."""
    source = [need("smtp-source", "postfix"), "-s", "6", "-d", "-m", str(ALIASES_EACH), "-l", "4096",
              "-f", "sender@example.org", *(["-N"] if numbered else [])]
    # smtp-source counts from 1 once only: it is started again for each batch, while those to other addresses go on.
    repeat = 'left=$0; while [ "$left" -gt 0 ]; do "$@" || exit 1; left=$((left - 1)); done'
    begun = time.monotonic()
    running = [subprocess.Popen(["sh", "-c", repeat, str(batches), *source, "-t", to, f"inet:127.0.0.1:{port}"])
               for to in addresses]
    for process in running:
        assert process.wait(LONGEST) == 0, "smtp-source failed"
    return time.monotonic() - begun


def make_aliases(ours):
    conf = ("-c", str(ours.host.dir / "restante.conf"))
    for name in ALIAS_DOMAINS:
        ours.host.command("domain", "add", name, *conf)
    path = ours.host.dir / "aliases"
    path.write_text("".join(f"{number}bulk@{name}: {RECIPIENT}\n" for name in ALIAS_DOMAINS
                            for number in range(1, ALIASES_EACH + 1)), encoding="ascii")
    ours.host.command("alias", "import", str(path), *conf)


def bench_aliases(quick):
    """Each message to another of 1,000 aliases in ten domains, beside the same load to the user they lead to."""
    rounds, batches = (2, 1) if quick else (15, 5)
    messages = batches * len(ALIAS_DOMAINS) * ALIASES_EACH
    addresses = {"user": [RECIPIENT] * len(ALIAS_DOMAINS), "aliases": [f"bulk@{name}" for name in ALIAS_DOMAINS]}
    rates_of = {kind: [] for kind in addresses}
    # One host for both, so that a round of each meets the same disk and the same mailbox; the order changes.
    with Ours() as ours:
        make_aliases(ours)
        for number in range(-1, rounds):
            for kind in sorted(addresses, reverse=number % 2 == 0):
                seconds = everybody_at_once(ours.port, addresses[kind], kind == "aliases", batches)
                if number >= 0:
                    rates_of[kind].append(messages / seconds)
        ours.settle(2 * (rounds + 1) * messages)
    user, aliases = (statistics.median(rates) for rates in rates_of.values())
    shares = sorted(a / u for u, a in zip(rates_of["user"], rates_of["aliases"]))
    print(f"\n60 sessions, 4 KiB, one recipient: {user:,.0f}/s to a user, {aliases:,.0f}/s to 1,000 aliases in ten "
          f"domains; {rounds} rounds of each in turn: {statistics.median(shares):.1%} of it (half of them between "
          f"{shares[len(shares) // 4]:.1%} and {shares[-1 - len(shares) // 4]:.1%})", flush=True)


BENCHES = {name[6:]: function for name, function in globals().items() if name.startswith("bench_")}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help=f"of {', '.join(BENCHES)} (default: all)")
    parser.add_argument("--quick", action="store_true", help="small loads, one round: to see that it works")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that servers are stopped and rooms emptied
    with Room():
        for name in options.names or BENCHES:
            try:
                BENCHES[name](options.quick)
            except unittest.SkipTest as reason:
                print(f"\nSKIPPED {name}: {reason}", flush=True)


if __name__ == "__main__":
    main()
