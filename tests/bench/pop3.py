#!/usr/bin/python3
"""POP3 beside Debian's Dovecot, same run, same hashes, same messages: pop3.py [--quick] [--only WORD]

The load client is tests/clients/pop3load.c. Servers take turns, --rounds each; medians are told. Nothing here passes
or fails; docs/performance.md keeps the figures.

Some kernels let go of what nobody has read for half a minute, and then the disk is measured with one server and not
with the other. So the files of a load are read right before it, or, where its name says so, taken out of memory.
"""

import argparse
import contextlib
import os
import pathlib
import pwd
import shutil
import statistics
import subprocess
import sys
import tempfile

TOP = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(TOP / "tests/lib"))

from host import Host, build_dir, free_port, wait_for  # noqa: E402
from peers import _end, _listens, need_root  # noqa: E402
from tools import need  # noqa: E402

MESSAGES = 3000
READERS = 8  # users u0 to u7 have messages; i0 to i9999 have none
LARGE = 100000  # messages of the user l0
IDLE = 10000


def message(number):
    """4 KiB as stored."""
    head = (f"From: Ann <ann@example.org>\nTo: alice@example.test\nSubject: message {number}\n"
            f"Date: Sun, 22 Nov 2026 10:00:00 +0000\nMessage-ID: <{number}@example.org>\n\n")
    body = "".join(f"line {n:04d} of the message, as long as lines are in mail that people write\n" for n in range(60))
    return (head + body)[:4095].encode() + b"\n"


def fill(maildir, count, owner=None):
    for part in ("cur", "new", "tmp"):
        (maildir / part).mkdir(parents=True, exist_ok=True)
    for number in range(count):
        (maildir / "new" / f"{1763800000 + number}.M{number}.bench").write_bytes(message(number))
    if owner:
        for path in [maildir, *maildir.rglob("*")]:
            os.chown(path, *owner)


def client(mode, port, **options):
    command = [build_dir() / "clients/pop3load", mode, port]
    for name, value in options.items():
        command += [f"--{name}"] if value is True else [] if value is False else [f"--{name}", value]
    return [str(part) for part in command]


def load(mode, port, **options):
    done = subprocess.run(client(mode, port, **options), capture_output=True, timeout=600, text=True)
    if done.returncode != 0:
        raise AssertionError(done.stderr)
    found = dict(part.split("=") for part in done.stdout.split())
    return int(found["units"]), int(found["octets"]), float(found["seconds"])


def memory(pids):
    """Octets that these processes have to themselves or share of (PSS)."""
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            for line in pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1]) * 1024
    return total


def tree(root):
    """The process and all below it."""
    children = {}
    for entry in pathlib.Path("/proc").iterdir():
        with contextlib.suppress(OSError, ValueError):
            stat = (entry / "stat").read_text()
            children.setdefault(int(stat[stat.rindex(")") + 2:].split()[1]), []).append(int(entry.name))
    found, todo = [], [root]
    while todo:
        pid = todo.pop()
        found.append(pid)
        todo += children.get(pid, [])
    return found


class Ours:
    name = "restante"

    def __init__(self, messages, large):
        self.messages, self.large = messages, large
        self.host = Host(set={"log-level": "warning"})

    def __enter__(self):
        self.host.start()
        self.host.stop()
        store = self.host.dir / "store"
        users = (store / "users").read_text().splitlines()
        alice = next(line for line in users if line.startswith("user alice@"))
        number = max(int(line.split()[2]) for line in users if line.startswith("user "))
        rows = [f"user {name}@example.test {number + 1 + at} {' '.join(alice.split()[3:])}"
                for at, name in enumerate([f"u{n}" for n in range(READERS)] + ["l0"] + [f"i{n}" for n in range(IDLE)])]
        (store / "users").write_text("\n".join([users[0], f"next {number + len(rows) + 1}",
                                                *[line for line in users[1:] if line.startswith("user ")], *rows]) + "\n")
        Ours.hash = alice.split()[5]
        shutil.rmtree(store / "env")
        kin = next(path for path in (store / "mail").rglob("new") if "alice" in str(path)).parent
        self.mail = kin.parent
        for reader in range(READERS):
            fill(kin.parent / f"u{reader}", self.messages)
        fill(kin.parent / "l0", self.large)
        owner = os.stat(store / "users")
        for path in [store, *store.rglob("*")]:
            os.chown(path, owner.st_uid, owner.st_gid)
        self.host.start()
        self.port, self.tls_port = self.host.port("pop3"), self.host.port("pop3s")
        return self

    def __exit__(self, *trace):
        self.host.stop(expect_clean=False)
        shutil.rmtree(self.host.dir, ignore_errors=True)

    def processes(self):
        return tree(self.host.process.pid)

    def maildir(self, user):
        return self.mail / user


class Dovecot:
    """Debian's Dovecot; login processes kept, as its documentation advises for busy hosts."""

    name = "Dovecot"

    def __init__(self, messages, large):
        need_root()
        self.program = need("dovecot", "dovecot-core")
        need("pop3", "dovecot-pop3d")
        self.messages, self.large = messages, large
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="restante-dovecot-"))
        self.port, self.tls_port = free_port(), free_port()

    def __enter__(self):
        self.dir.chmod(0o755)
        nobody = pwd.getpwnam("nobody")
        (self.dir / "mail").mkdir()
        for reader in range(READERS):
            fill(self.dir / f"mail/u{reader}@example.test", self.messages)
        fill(self.dir / "mail/l0@example.test", self.large)
        for path in [self.dir / "mail", *(self.dir / "mail").rglob("*")]:
            os.chown(path, nobody.pw_uid, nobody.pw_gid)
        (self.dir / "users").write_text("".join(
            f"{name}@example.test:{{CRYPT}}{Ours.hash}::::::\n"
            for name in [f"u{n}" for n in range(READERS)] + ["l0"] + [f"i{n}" for n in range(IDLE)]))
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                        "-keyout", self.dir / "key.pem", "-out", self.dir / "cert.pem", "-days", "2", "-subj",
                        "/CN=localhost"], check=True, capture_output=True)
        (self.dir / "dovecot.conf").write_text(f"""
protocols = pop3
base_dir = {self.dir}/run
state_dir = {self.dir}/state
log_path = {self.dir}/log
ssl = yes
ssl_cert = <{self.dir}/cert.pem
ssl_key = <{self.dir}/key.pem
disable_plaintext_auth = no
mail_location = maildir:{self.dir}/mail/%u
first_valid_uid = 1
first_valid_gid = 1
mail_max_userip_connections = 0
passdb {{
  driver = passwd-file
  args = {self.dir}/users
}}
userdb {{
  driver = static
  args = uid={nobody.pw_uid} gid={nobody.pw_gid} home={self.dir}/mail/%u
}}
service pop3-login {{
  service_count = 0
  process_min_avail = 2
  client_limit = 1000
  inet_listener pop3 {{
    address = 127.0.0.1
    port = {self.port}
  }}
  inet_listener pop3s {{
    address = 127.0.0.1
    port = {self.tls_port}
    ssl = yes
  }}
}}
service pop3 {{
  process_limit = 1000
}}
""")
        self.process = subprocess.Popen([self.program, "-F", "-c", str(self.dir / "dovecot.conf")],
                                        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                        stderr=subprocess.DEVNULL, start_new_session=True)
        wait_for(lambda: self.process.poll() is not None or _listens(self.port), "Dovecot up")
        if self.process.poll() is not None:
            raise AssertionError((self.dir / "log").read_text())
        return self

    def __exit__(self, *trace):
        _end(self.process)
        shutil.rmtree(self.dir, ignore_errors=True)

    def processes(self):
        return tree(self.process.pid)

    def maildir(self, user):
        return self.dir / f"mail/{user}@example.test"


# name: (least ratio wanted, what is counted, mode, options, count for ours, for Dovecot)
LOADS = {
    "log in, STAT, QUIT; 8 connections": (10, "sessions", dict(mode="sessions", connections=8), 8000, 160),
    "the same over TLS": (5, "sessions", dict(mode="sessions", connections=8, tls=True), 4000, 160),
    "RETR one at a time": (1.5, "messages", dict(mode="retr", connections=1, window=1), 0, 0),
    "RETR pipelined by 32": (1.5, "messages", dict(mode="retr", connections=1, window=32), 0, 0),
    "four connections pipelined by 32": (1.2, "messages", dict(mode="retr", connections=4, window=32), 0, 0),
    "RETR over TLS, pipelined by 32": (1.2, "messages", dict(mode="retr", connections=1, window=32, tls=True), 0, 0),
    "100,000: log in, STAT, QUIT": (10, "sessions", dict(mode="sessions", connections=1, user="l"), 200, 20),
    "100,000: RETR one at a time": (1.5, "messages", dict(mode="retr", connections=1, window=1, user="l"), 0, 0),
    "100,000: RETR pipelined by 32": (1.5, "messages", dict(mode="retr", connections=1, window=32, user="l"), 0, 0),
    "from disk: RETR one at a time": (1.5, "messages", dict(mode="retr", connections=1, window=1, user="l"), 0, 0),
    "from disk: RETR pipelined by 32": (1.5, "messages", dict(mode="retr", connections=1, window=32, user="l"), 0, 0),
}


def prepare(server, name):
    """The messages that the load reads: in memory, or on the disk only."""
    options = LOADS[name][2]
    for number in range(options["connections"]):
        for part in ("new", "cur"):
            for path in (server.maildir(f"{options.get('user', 'u')}{number}") / part).iterdir():
                with open(path, "rb", buffering=0) as file:
                    if name.startswith("from disk"):
                        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
                    else:
                        file.readall()


def measure(server, name):
    _, _, options, ours, theirs = LOADS[name]
    options = dict(options)
    mode = options.pop("mode")
    if mode == "retr":
        prepare(server, name)
    else:
        options["count"] = ours if isinstance(server, Ours) else theirs
    units, octets, seconds = load(mode, server.tls_port if options.get("tls") else server.port, **options)
    return units / seconds, octets / seconds / 1e6


def idle(server, count):
    """Octets a logged-in idle connection costs, over all processes of the server."""
    load("sessions", server.port, user="i", connections=8, count=8)
    before = memory(server.processes())
    process = subprocess.Popen(client("idle", server.port, connections=count, user="i"), stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE)
    try:
        if process.stdout.readline() != b"ready\n":
            raise AssertionError("not all sessions came up")
        return (memory(server.processes()) - before) / count
    finally:
        process.stdin.close()
        process.wait(60)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="300 messages, 3,000 in the large mailbox, one round, 1,000 idle")
    parser.add_argument("--only", default="", metavar="WORD", help="loads whose name holds WORD")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--messages", type=int, default=MESSAGES)
    parser.add_argument("--ours", action="store_true", help="without Dovecot")
    options = parser.parse_args()
    messages, large, rounds = (300, 3000, 1) if options.quick else (options.messages, LARGE, options.rounds)
    names = [name for name in LOADS if options.only in name]
    seen = {name: {} for name in names}
    with contextlib.ExitStack() as stack:
        servers = [stack.enter_context(make(messages, large)) for make in ((Ours,) if options.ours else (Ours, Dovecot))]
        for server in servers:  # adopt, index, warm
            load("retr", server.port, connections=READERS, window=32)
            load("retr", server.port, connections=1, window=32, user="l")
        os.sync()  # what is not on disk yet cannot be taken out of memory
        for _ in range(rounds):
            for name in names:
                for server in servers:
                    seen[name].setdefault(server.name, []).append(measure(server, name))
        print(f"| {'load':<34} | {'restante':>18} | {'Dovecot':>18} | ratio | wanted |")
        print(f"| {'-' * 34} | {'-' * 17}: | {'-' * 17}: | ----: | -----: |")
        for name in names:
            rates = [statistics.median(row[0] for row in seen[name][server.name]) for server in servers]
            octets = [statistics.median(row[1] for row in seen[name][server.name]) for server in servers]
            cells = [f"{rate:,.0f}/s" + (f" {mega:,.0f} MB/s" if LOADS[name][1] == "messages" else "")
                     for rate, mega in zip(rates, octets)]
            print(f"| {name:<34} | " + " | ".join(f"{cell:>18}" for cell in cells)
                  + (f" | {rates[0] / rates[1]:5.2f} | {LOADS[name][0]:>6} |" if len(rates) > 1 else ""), flush=True)
        if options.only in "idle":
            counts = [1000 if options.quick else IDLE, 200]
            costs = [idle(server, count) for server, count in zip(servers, counts)]
            print("idle logged-in sessions: " + ", ".join(
                f"{server.name} {cost / 1024:,.1f} KiB each ({count:,} up)"
                for server, cost, count in zip(servers, costs, counts))
                + (f"; 1/{costs[1] / costs[0]:.0f} of it, wanted 1/20" if len(costs) > 1 else ""))


if __name__ == "__main__":
    main()
