#!/usr/bin/python3
"""A first pull by IMAP beside fetchmail and getmail6: bridge.py [--quick]

All three pull the same mailbox of 5,000 messages of 4 KiB from Debian's Dovecot on this machine, one after the other,
three rounds in turn (getmail6, which takes minutes, one); medians are told. fetchmail writes into a file, getmail6 into
a Maildir. Nothing passes or fails; docs/performance.md keeps the figures.
"""

import argparse
import os
import pathlib
import pwd
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))

from host import Host, build_dir  # noqa: E402
from peers import Dovecot  # noqa: E402
from servers import Room  # noqa: E402
from tools import need, run  # noqa: E402

LONGEST = 600


def fill(dovecot, count):
    """alice's Maildir at the remote."""
    body = b"From: a@example.org\nTo: alice@example.test\nSubject: one of many\n\n" + (b"x" * 71 + b"\n") * 56
    owner = pwd.getpwnam("nobody")
    directory = dovecot.dir / "mail/alice@example.test"
    for part in ("", "cur", "new", "tmp"):
        (directory / part).mkdir(exist_ok=True)
        os.chown(directory / part, owner.pw_uid, owner.pw_gid)
    for number in range(count):
        path = directory / "cur" / f"1700000000.M{number}P1.bench:2,"
        path.write_bytes(b"Message-ID: <%d@example.org>\n" % number + body)
        os.chown(path, owner.pw_uid, owner.pw_gid)


def fetchmail(dovecot, count, home):
    """Into one file (BSMTP), not synced: its quickest target by far; by SMTP it does a few dozen a second."""
    settings = home / "fetchmailrc"
    settings.write_text(f"poll 127.0.0.1 protocol imap port {dovecot.imap_port} auth password user 'alice@example.test' "
                        f"password 'restante' sslproto '' fetchall keep bsmtp '{home}/pulled'\n")
    settings.chmod(0o600)
    begun = time.monotonic()
    run([need("fetchmail"), "-f", settings, "--nosyslog", "--silent", "--pidfile", home / "pid"], timeout=LONGEST,
        env={"FETCHMAILHOME": str(home), "HOME": str(home)})
    seconds = time.monotonic() - begun
    held = (home / "pulled").read_bytes().count(b"\nMessage-ID:")
    assert held == count, f"fetchmail pulled {held} of {count}"
    return seconds


def getmail(dovecot, count, home):
    into = home / "Maildir"
    for part in ("cur", "new", "tmp"):
        (into / part).mkdir(parents=True)
    (home / "getmailrc").write_text(
        f"[retriever]\ntype = SimpleIMAPRetriever\nserver = 127.0.0.1\nport = {dovecot.imap_port}\n"
        f"username = alice@example.test\npassword = restante\n[destination]\ntype = Maildir\npath = {into}/\n"
        "[options]\nread_all = true\ndelete = false\nverbose = 0\n")
    owner = pwd.getpwnam("nobody")
    for path in [home, *home.rglob("*")]:
        os.chown(path, owner.pw_uid, owner.pw_gid)
    begun = time.monotonic()
    run([need("setpriv", "util-linux"), f"--reuid={owner.pw_uid}", f"--regid={owner.pw_gid}", "--clear-groups",
         need("getmail", "getmail6"), f"--getmaildir={home}", "--rcfile=getmailrc"], timeout=LONGEST, env={"HOME": str(home)})
    seconds = time.monotonic() - begun
    held = len(list((into / "new").iterdir()))
    assert held == count, f"getmail pulled {held} of {count}"
    return seconds


def restante(dovecot, count, home):
    """`restante bridge run` into a host of its own, durable and indexed."""
    with Host(set={"log-level": "warning"}) as host:
        settings = ["-c", str(host.dir / "restante.conf")]
        host.command("bridge", "add", "old", "protocol=imap", "host=127.0.0.1", f"port={dovecot.imap_port}", "tls=none",
                     "user=alice@example.test", "to=alice@example.test", "enabled=no", *settings, input=b"restante\n")
        begun = time.monotonic()
        run([build_dir() / "restante", "bridge", "run", "old", *settings], timeout=LONGEST)
        seconds = time.monotonic() - begun
        held = sum(len(files) for path, _, files in os.walk(host.dir / "store/mail")
                   if os.path.basename(path) in ("new", "cur"))
        assert held == count, f"{held} of {count} are here"
        return seconds


PULLERS = {"restante": restante, "fetchmail": fetchmail, "getmail6": getmail}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="500 messages, one round")
    options = parser.parse_args()
    count, rounds = (500, 1) if options.quick else (5000, 3)
    seen = {}
    with Room(), Dovecot(imap=True) as dovecot:
        fill(dovecot, count)
        for number in range(rounds):
            for name, pull in PULLERS.items():
                if number and name == "getmail6":
                    continue  # minutes
                home = pathlib.Path(tempfile.mkdtemp(prefix="restante-bench-"))
                home.chmod(0o755)
                try:
                    seen.setdefault(name, []).append(count / pull(dovecot, count, home))
                finally:
                    shutil.rmtree(home, ignore_errors=True)
    print(f"\na first pull of {count:,} messages of 4 KiB by IMAP from Dovecot\n")
    print("| | messages/s | restante to it |\n| --- | ---: | ---: |")
    for name, rates in seen.items():
        rate = statistics.median(rates)
        print(f"| {name} | {rate:,.0f} | {statistics.median(seen['restante']) / rate:.1f} |", flush=True)


if __name__ == "__main__":
    try:
        main()
    except unittest.SkipTest as reason:
        print(f"SKIPPED: {reason}")
