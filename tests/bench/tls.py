#!/usr/bin/python3
"""SMTP over TLS beside Postfix, same certificate, same run: tls.py [--quick]

Messages on kept connections, and new connections with and without session resumption; each load in turn, medians. The load
client has the first core to itself; all processes of the server under test (for Postfix also those of Dovecot, its mailboxes)
have the second: as near to a client on another machine as two cores can show. Where the client kept its core busy the rate is
the client's, and is marked so. Beside the rates stands what one message or connection costs the server's processes in CPU
time, Dovecot's not counted; what of it OpenSSL alone takes (tlsalone); and what `openssl speed` says that one core can sign and
agree upon. docs/performance.md keeps the figures.
"""

import argparse
import contextlib
import os
import pathlib
import re
import signal
import statistics
import subprocess
import sys
import unittest

from servers import Dovecot, Ours, Room, TOP, files_below, need

sys.path.insert(0, str(TOP / "tests/lib"))
from host import build_dir, wait_for  # noqa: E402
from peers import Postfix  # noqa: E402

LOADS = [  # name, arguments, units for Postfix, for restante
    ("messages of 4 KiB, 64 kept connections", ["messages", "--connections", "64"], 2000, 20000),
    ("new connections, resumed", ["connections", "--resume"], 2000, 8000),
    ("new connections, resumed, TLS 1.2", ["connections", "--resume", "--tls12"], 3000, 16000),
    ("new connections, full handshake", ["connections"], 1500, 5000),
]
ALONE = {"resumed": LOADS[1][0], "resumed12": LOADS[2][0], "full": LOADS[3][0]}  # what tlsalone calls them
BUSY = 0.95  # of the client's core: the client was the limit
CORES = sorted(os.sched_getaffinity(0))
CLIENT, SERVER = {CORES[0]}, {CORES[-1]}


def load(port, arguments, count):
    """Units a second, and which share of its core the client used."""
    done = subprocess.run([str(build_dir() / "clients/tlsload"), *arguments[:1], str(port), *arguments[1:], "--count", str(count)],
                          capture_output=True, timeout=600, preexec_fn=lambda: os.sched_setaffinity(0, CLIENT))
    if done.returncode != 0:
        raise AssertionError(done.stderr.decode())
    found = {name: float(value) for name, value in re.findall(r"(\w+)=(\S+)", done.stdout.decode())}
    if ("--resume" in arguments) != (found["resumed"] >= count):
        raise AssertionError(f"{count} connections, {found['resumed']:.0f} resumed")
    return found["units"] / found["seconds"], found["cpu"] / found["seconds"]


def below(root):
    """CPU seconds of a process and of all below it that live, by process, those of its ended children with it."""
    seconds, parents = {}, {}
    for entry in pathlib.Path("/proc").iterdir():
        with contextlib.suppress(OSError, ValueError):
            stat = (entry / "stat").read_text().rpartition(")")[2].split()
            parents[int(entry.name)] = int(stat[1])
            seconds[int(entry.name)] = sum(int(field) for field in stat[11:15]) / os.sysconf("SC_CLK_TCK")

    def is_below(pid):
        while pid and pid != root:
            pid = parents.get(pid)
        return pid == root
    return {pid: used for pid, used in seconds.items() if is_below(pid)}


def pin(root):
    """A server to its core, threads and all that it starts from now on."""
    for pid in below(root):
        for task in os.listdir(f"/proc/{pid}/task"):
            os.sched_setaffinity(int(task), SERVER)


def can_do(algorithm, what):
    """openssl speed's operations a second, on one core."""
    shown = subprocess.run([need("openssl"), "speed", "-seconds", "2", algorithm],
                           capture_output=True, timeout=120).stdout.decode()
    return float(re.search(what, shown, re.M)[1])


def alone(certificate, key):
    """{load: CPU microseconds of OpenSSL's own, on a server's side of a connection}."""
    done = subprocess.run([str(build_dir() / "clients/tlsalone"), certificate, key], capture_output=True, timeout=120, check=True,
                          preexec_fn=lambda: os.sched_setaffinity(0, CLIENT))
    return {ALONE[name]: float(value) for name, value in re.findall(r"(\w+)=(\S+)", done.stdout.decode())}


def measure(ports, settle, quick):
    """
    {(load, server): [(rate, the client's share of its core, CPU seconds of the server a unit), …]}. What Postfix has taken, it
    delivers before the next turn: it would work in ours, and its cost would be told without it.
    """
    seen = {}
    for name, arguments, *counts in LOADS:
        for _ in range(1 if quick else 3):
            for (server, (port, root)), count in zip(ports.items(), counts):
                count = count // 4 if quick else count
                before = sum(below(root).values())
                rate, busy = load(port, arguments, count)
                if server == "Postfix" and arguments[0] == "messages":
                    settle(count)
                seen.setdefault((name, server), []).append((rate, busy, (sum(below(root).values()) - before) / count))
    return seen


def show(seen):
    print("\n| load | restante | Postfix | ratio | CPU of restante | of Postfix | ratio | of the client's core |\n"
          "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    limited = False
    for name, *_ in LOADS:
        (ours, busy, cost), (theirs, their_busy, their_cost) = (
            tuple(statistics.median(column) for column in zip(*seen[name, server])) for server in ("restante", "Postfix"))
        limited |= max(busy, their_busy) >= BUSY
        print(f"| {name} | {ours:,.0f}/s{'*' * (busy >= BUSY)} | {theirs:,.0f}/s{'*' * (their_busy >= BUSY)} | {ours / theirs:.1f} | "
              f"{cost * 1e6:,.0f} us | {their_cost * 1e6:,.0f} us | {their_cost / cost:.1f} | {busy:.0%}, {their_busy:.0%} |")
    if limited:
        print("\n* The client had no more to give: its core was busy, the server's was not. Of a server that is held up so,\n"
              "  the CPU time tells more than the rate.")


def show_alone(seen, floor):
    print("\nOpenSSL alone, a server's side of a connection without any socket, and how many times as cheap as Postfix that is:")
    for name, microseconds in floor.items():
        theirs = statistics.median(cost for _, _, cost in seen[name, "Postfix"])
        print(f"  {name}: {microseconds:,.0f} us, {theirs * 1e6 / microseconds:.1f}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one round: to see that it works")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    # As many workers as a host of one core has.
    with Room(), Ours(set={"smtp-in.workers": "1", "mda.workers": "1"}) as ours, Dovecot() as dovecot, Postfix(
            f"lmtp:inet:127.0.0.1:{dovecot.lmtp_port}",
            tls=(ours.host.certificate(), str(ours.host.dir / "key.pem"))) as postfix:
        ports = {"Postfix": (postfix.tls_port, int((postfix.dir / "queue/pid/master.pid").read_text())),
                 "restante": (ours.host.port("smtps"), ours.host.process.pid)}
        for root in (dovecot.process.pid, *(root for _, root in ports.values())):
            pin(root)
        taken = 0

        def settle(count):
            nonlocal taken
            taken += count
            wait_for(lambda: files_below(dovecot.dir / "mail") >= taken, "everything in the Maildir", 180)
        seen = measure(ports, settle, options.quick)
        floor = alone(ours.host.certificate(), str(ours.host.dir / "key.pem"))
    show(seen)
    show_alone(seen, floor)
    sign = can_do("ecdsap256", r"256 bits ecdsa \(nistp256\) +\S+s +\S+s +(\S+)")
    agree = can_do("ecdhx25519", r"253 bits ecdh \(X25519\) +\S+s +(\S+)")
    # A handshake of ours makes a key pair, agrees, and signs once; making one costs about what agreeing does.
    print(f"\nopenssl speed, one core: {sign:,.0f} ECDSA P-256 signatures, {agree:,.0f} X25519 agreements a second: "
          f"{1 / (1 / sign + 2 / agree):,.0f} handshakes a second when nothing else is done", flush=True)


if __name__ == "__main__":
    try:
        main()
    except unittest.SkipTest as reason:
        print(f"SKIPPED: {reason}")
