#!/usr/bin/python3
"""What strangers cost smtp-in, and what others feel of it: smtp.py [idle|slow|flood]… [--quick]

The strangers are tests/clients/smtpload.c; the others are Postfix's smtp-source on kept connections, whose rate is taken
before, meanwhile and after, in turn. Memory is the PSS of smtp-in's workers. Nothing here passes or fails;
docs/performance.md keeps the figures.
"""

import argparse
import contextlib
import os
import re
import statistics
import subprocess

from bench import smtp_source
from pop3 import memory
from servers import Ours, Room

from host import build_dir, wait_for  # found by what servers.py adds to the path

LOAD = {"sessions": 4}  # few connections: the sender, too, has its limits where there is a flood


def client(mode, port, *options):
    return [str(build_dir() / "clients/smtpload"), mode, str(port), *map(str, options)]


@contextlib.contextmanager
def strangers(mode, port, *options):
    """Up while the block runs; how many the server had ended is told at the end."""
    process = subprocess.Popen(client(mode, port, *options), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        if process.stdout.readline() != "ready\n":
            raise AssertionError(f"not all came up: {mode}")
        yield
    finally:
        process.stdin.close()
        print("    " + process.stdout.readline().strip(), flush=True)
        process.wait(60)


def rate(server, messages):
    return messages / smtp_source(server.port, messages, **LOAD)


def sessions(server):
    """Sessions of all workers of smtp-in, by `restante status`."""
    status = server.host.command("status", "-c", str(server.host.dir / "restante.conf")).stdout.decode()
    return sum(int(number) for number in re.findall(r" sessions=(\d+)", status.split("\nsmtp-in", 1)[1].split("\npop3d")[0]))


def percent(meanwhile, quiet):
    return f"{100 * statistics.median(meanwhile) / statistics.median(quiet):.0f} %"


def burden(title, mode, count, options, quick):
    """A normal sender's rate beside that many strangers, in turn with its rate alone; and what each costs."""
    messages, rounds = (500, 1) if quick else (4000, 3)
    quiet, meanwhile, cost = [], [], []
    with Ours() as ours:
        workers = ours.host.pids("smtp-in")
        rate(ours, 4 * messages)
        for _ in range(rounds):
            quiet.append(rate(ours, messages))
            before = memory(workers)
            with strangers(mode, ours.port, "--connections", count, *options):
                cost.append((memory(workers) - before) / count)
                meanwhile.append(rate(ours, messages))
            wait_for(lambda: sessions(ours) == 0, "all strangers gone")
            quiet.append(rate(ours, messages))
    print(f"{title}: {cost[0] / 1024:.1f} KiB each; a sender keeps {percent(meanwhile, quiet)} of its rate "
          f"({statistics.median(meanwhile):,.0f}/s of {statistics.median(quiet):,.0f}/s)", flush=True)


def bench_idle(quick):
    """10,000 connections that say nothing, in the clear and after STARTTLS."""
    count = 1000 if quick else 10000
    burden(f"{count:,} silent in the clear", "idle", count, (), quick)
    burden(f"{count:,} silent after STARTTLS", "idle", count, ("--tls",), quick)


def bench_slow(quick):
    """1,000 senders of one octet a second."""
    count = 100 if quick else 1000
    burden(f"{count:,} slow senders", "slow", count, ("--to", "bob@example.test"), quick)


FLOODS = {"that waits for no answer": (), "that waits for the answer": ("--polite",),
          "that does not even wait for a connection": ("--rude",)}


def bench_flood(quick):
    """Connect, send junk, repeat, on both cores, from 127.0.0.2; limits are those of a host that is not told otherwise."""
    for title, manner in FLOODS.items():
        flood(title, manner, quick)


def flood(title, manner, quick):
    messages, seconds, rounds = (500, 3, 1) if quick else (4000, 10, 3)
    quiet, meanwhile, flooded = [], [], []
    settings = {"smtp-in.limits-loopback": "yes", "smtp-in.messages-per-hour": "0",
                "smtp-in.messages-per-hour-total": "0", "smtp-in.greeting-delay": "0"}
    with Ours(set=settings) as ours:
        for _ in range(rounds):
            quiet.append(rate(ours, messages))
            process = subprocess.Popen(client("flood", ours.port, "--from", "127.0.0.2", "--processes", os.cpu_count(),
                                              "--seconds", seconds, *manner), stdout=subprocess.PIPE, text=True)
            meanwhile.append(beside(process, lambda: rate(ours, messages)))
            units, lost = (int(word.split("=")[1]) / seconds for word in process.communicate()[0].split())
            flooded.append((units, units - lost))
        quiet.append(rate(ours, messages))
    tried, connected = (statistics.median(column) for column in zip(*flooded))
    print(f"flood {title}, {tried:,.0f} tries and {connected:,.0f} connections a second: another address keeps "
          f"{percent(meanwhile, quiet)} of its rate ({statistics.median(meanwhile):,.0f}/s of "
          f"{statistics.median(quiet):,.0f}/s)", flush=True)


def beside(process, measure):
    """The median of what is measured wholly while the process runs."""
    found = []
    while process.poll() is None:
        value = measure()
        if process.poll() is None or not found:
            found.append(value)
    return statistics.median(found)


BENCHES = {name[6:]: function for name, function in globals().items() if name.startswith("bench_")}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help=f"of {', '.join(BENCHES)} (default: all)")
    parser.add_argument("--quick", action="store_true", help="a tenth of it, one round: to see that it works")
    options = parser.parse_args()
    for name in options.names or BENCHES:
        with Room():
            BENCHES[name](options.quick)


if __name__ == "__main__":
    main()
