#!/usr/bin/python3
"""SMTP over TLS beside Postfix, same certificate, same run: tls.py [--quick]

Messages on kept connections, and new connections with and without session resumption; each load in turn, medians. The load
client works about as hard as a server of TLS does and shares its cores, so beside the rates stands what one message or
connection costs the server's processes in CPU time; and what `openssl speed` says that this machine can sign and agree upon
with every core. docs/performance.md keeps the figures.
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

from servers import Dovecot, Ours, Room, TOP, need

sys.path.insert(0, str(TOP / "tests/lib"))
from host import build_dir  # noqa: E402
from peers import Postfix  # noqa: E402

LOADS = [  # name, arguments, units for Postfix, for restante
    ("messages of 4 KiB, 64 kept connections", ["messages", "--threads", "64"], 1500, 12000),
    ("new connections, resumed", ["connections", "--resume"], 1000, 5000),
    ("new connections, resumed, TLS 1.2", ["connections", "--resume", "--tls12"], 1000, 8000),
    ("new connections, full handshake", ["connections"], 1000, 3000),
]


def load(port, arguments, count):
    """Units a second."""
    done = subprocess.run([str(build_dir() / "clients/tlsload"), *arguments[:1], str(port), *arguments[1:], "--count", str(count)],
                          capture_output=True, timeout=600)
    if done.returncode != 0:
        raise AssertionError(done.stderr.decode())
    units, resumed, seconds = re.match(rb"units=(\d+) resumed=(\d+) seconds=(\S+)", done.stdout).groups()
    if ("--resume" in arguments) != (int(resumed) >= count):
        raise AssertionError(f"{count} connections, {int(resumed)} resumed")
    return int(units) / float(seconds)


def cpu_seconds(root):
    """Of a process, its children, and all of them that have ended."""
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
    return sum(used for pid, used in seconds.items() if is_below(pid))


def can_do(algorithm, what):
    """openssl speed's operations a second, all cores together."""
    shown = subprocess.run([need("openssl"), "speed", "-seconds", "2", "-multi", str(os.cpu_count()), algorithm],
                           capture_output=True, timeout=120).stdout.decode()
    return float(re.search(what, shown, re.M)[1])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one round: to see that it works")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    seen = {}
    with Room(), Ours() as ours, Dovecot() as dovecot, Postfix(
            f"lmtp:inet:127.0.0.1:{dovecot.lmtp_port}",
            tls=(ours.host.certificate(), str(ours.host.dir / "key.pem"))) as postfix:
        ports = {"Postfix": (postfix.tls_port, int((postfix.dir / "queue/pid/master.pid").read_text())),
                 "restante": (ours.host.port("smtps"), ours.host.process.pid)}
        for name, arguments, *counts in LOADS:
            for _ in range(1 if options.quick else 3):
                for (server, (port, root)), count in zip(ports.items(), counts):
                    count = count // 4 if options.quick else count
                    before = cpu_seconds(root)
                    rate = load(port, arguments, count)
                    seen.setdefault((name, server), []).append((rate, (cpu_seconds(root) - before) / count))
    print("\n| load | restante | Postfix | ratio | CPU of restante | of Postfix | ratio |\n"
          "| --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    for name, *_ in LOADS:
        (ours, cost), (theirs, their_cost) = (
            tuple(statistics.median(column) for column in zip(*seen[name, server])) for server in ("restante", "Postfix"))
        print(f"| {name} | {ours:,.0f}/s | {theirs:,.0f}/s | {ours / theirs:.1f} | {cost * 1e6:,.0f} us | "
              f"{their_cost * 1e6:,.0f} us | {their_cost / cost:.1f} |")
    sign = can_do("ecdsap256", r"256 bits ecdsa \(nistp256\) +\S+s +\S+s +(\S+)")
    agree = can_do("ecdhx25519", r"253 bits ecdh \(X25519\) +\S+s +(\S+)")
    # A handshake of ours makes a key pair, agrees, and signs once; making one costs about what agreeing does.
    print(f"\nopenssl speed, {os.cpu_count()} cores: {sign:,.0f} ECDSA P-256 signatures, {agree:,.0f} X25519 agreements a second: "
          f"{1 / (1 / sign + 2 / agree):,.0f} handshakes a second when nothing else is done", flush=True)


if __name__ == "__main__":
    try:
        main()
    except unittest.SkipTest as reason:
        print(f"SKIPPED: {reason}")
