#!/usr/bin/python3
"""Load from several clients, kill -9 at random moments, and a look after each restart at what was promised.

crash.py [--rounds N] [--minutes M] [--seed S]: ends after N rounds or M minutes, whichever is later.
"""

import argparse
import os
import pathlib
import random
import re
import shutil
import signal
import sys
import time
from collections import Counter

sys.path[:0] = [str(pathlib.Path(__file__).resolve().parent), str(pathlib.Path(__file__).resolve().parents[1] / "lib")]

from host import PASSWORD, PATIENCE, USERS, Host, address, wait_for  # noqa: E402
from ledger import Broken, Ledger  # noqa: E402
from load import HOSTNAME, Drop, Gone, Puller, Sender  # noqa: E402
from mailboxes import Changer, Deliverer, Mailboxes, Roster, show  # noqa: E402
from shared import Keeper, Shared  # noqa: E402

SENDERS, PULLERS = 4, 2
CHANGED = ("gina", "hugo")  # their mailboxes are changed by a front end of their own, one request at a time
LARGE = ("jana",)  # likewise, hundreds of messages at a time
SHARED = "ida"  # several front ends change hers at once
COUNTED = ("update", "copy", "move", "create", "rename", "delete", "subscribe")
RECHECK = 10  # messages that were seen before and are retrieved again, per user and round
ALARMS = ("index-set-aside", "index-damaged", "index-rebuilt", "message-gone", "not-adopted", "spool error",
          "checkpoint-failed", "flush-failed", "level=fatal", "ERROR: AddressSanitizer", "runtime error:")


class Crash:
    def __init__(self, seed):
        self.rng = random.Random(seed)
        self.seed = seed
        self.ledger = Ledger(USERS)
        # Checkpoints as often as can be: they are the moments worth being killed at.
        self.host = Host(set={"hostname": HOSTNAME, "store.checkpoint-octets": "1M", "store.checkpoint-seconds": "1s"})
        self.mailboxes = [Mailboxes(user) for user in (*CHANGED, *LARGE)]
        self.shared = Shared(self.host, SHARED)
        self.users = dict.fromkeys(Roster.NAMES, False)
        self.admins = []
        self.rounds = 0
        self.resumed = Counter()  # by the starts after kills
        self.slowest = 0.0

    def begin(self):
        self.host.start()
        for user in (*CHANGED, *LARGE, SHARED):
            self.host.command("user", "add", address(user), "-c", str(self.host.dir / "restante.conf"),
                              input=PASSWORD.encode() + b"\n")

    def round(self):
        self.rounds += 1
        clients = [Sender(self.host, self.ledger, USERS, f"{self.seed}.{self.rounds}.{n}") for n in range(SENDERS)]
        clients += [Puller(self.host, self.ledger, USERS, f"{self.seed}.{self.rounds}.{n}") for n in range(PULLERS)]
        changers = [Changer(self.host, mailboxes, self.rng.randrange(1 << 32), is_large=mailboxes.user in LARGE)
                    for mailboxes in self.mailboxes]
        changers += self.shared.begin([self.rng.randrange(1 << 32) for _ in range(4)])
        self.admins = [Roster(self.host, self.users, f"{self.seed}.{self.rounds}"),
                       Keeper(self.host, self.shared, f"{self.seed}.{self.rounds}")]
        clients += [Deliverer(self.host, self.mailboxes, f"{self.seed}.{self.rounds}.1"),
                    Deliverer(self.host, [self.shared], f"{self.seed}.{self.rounds}.2"),
                    self.shared.puller, *self.admins]
        for changer in changers:
            changer.start()
        for client in clients:
            client.start()
        time.sleep(self.rng.expovariate(4))  # the random moment, not a wait for something
        self.kill()
        for changer in changers:
            changer.stop()
        for client in clients:
            client.stopping.set()
        for client in clients:
            client.join(PATIENCE)
            if client.is_alive():
                raise Broken("a client hangs")
            if client.error:
                raise client.error
        for changer in changers:
            changer.join(PATIENCE)
        Roster.check(self.host, self.users)
        for mailboxes in (*self.mailboxes, self.shared):
            mailboxes.check(show(self.host, mailboxes.user))
        self.shared.check_listed(self.host.command(
            "user", "list", "-c", str(self.host.dir / "restante.conf")).stdout.decode())
        for user in USERS:
            self.look(user)
        self.verify()
        self.watch_log()

    def kill(self):
        killed = time.monotonic()
        before = self.host.pids("store")
        if self.rng.random() < 0.4 and before:
            os.kill(before[0], signal.SIGKILL)
            wait_for(lambda: self.host.pids("store") not in ([], before), "the store back")
        else:
            self.host.kill()
            for admin in self.admins:
                admin.kill()
            self.start()
        self.session(USERS[0]).wire.close()
        self.slowest = max(self.slowest, time.monotonic() - killed)

    def start(self):
        """Sometimes killed again, over and over, before it has recovered."""
        while self.rng.random() < 0.3:
            self.host.start(wait=False)
            time.sleep(self.rng.uniform(0, 0.3))
            self.host.kill()
        self.host.start()

    def session(self, user):
        def attempt():
            try:
                return Drop(self.host, user)
            except Gone:
                return None
        return wait_for(attempt, f"a session of {user}")

    def look(self, user):
        drop = self.session(user)
        self.ledger.listed(user, drop.uids)
        unknown = set(drop.unknown(self.ledger))
        known = [number for number in range(1, len(drop.uids) + 1) if number not in unknown]
        again = self.rng.sample(known, min(RECHECK, len(known)))
        drop.retrieve(self.ledger, sorted(unknown | set(again)))
        uids = [uid for _, uid in drop.uids]
        self.ledger.settle(user, uids)
        self.look_at_maildir(user, uids)
        drop.quit()
        drop.wire.close()

    def look_at_maildir(self, user, uids):
        local, domain = address(user).split("@")
        maildir = self.host.dir / "store/mail" / domain / local
        found = []
        for path in [*(maildir / "new").iterdir(), *(maildir / "cur").iterdir()]:
            numbers = re.search(r",S=(\d+),W=\d+,U=(\d+)", path.name)
            if not numbers:
                raise Broken(f"{user}: a file of ours is called {path.name}")
            found.append(int(numbers[2]))
            if path.stat().st_size != int(numbers[1]):
                raise Broken(f"{user}: {path.name} has {path.stat().st_size} octets")
        if sorted(found) != uids:
            raise Broken(f"{user}: files and listing differ: {sorted(set(found) ^ set(uids))}")
        if left := [path.name for path in (maildir / "tmp").iterdir()]:
            raise Broken(f"{user}: left in tmp/: {left}")

    def verify(self):
        done = self.host.command("store", "verify", "-c", str(self.host.dir / "restante.conf"), check=False)
        if done.returncode:
            raise Broken(f"store verify: {done.stdout.decode()[-3000:]}{done.stderr.decode()[-1000:]}")

    def watch_log(self):
        log = self.host.log()
        for alarm in ALARMS:
            if alarm in log:
                raise Broken(f"{alarm} in the log:\n" + log[max(0, log.index(alarm) - 300):][:3000])
        self.resumed.update(re.findall("event=(copy-taken-back|expunge-resumed)", log))
        self.host.log_path.write_bytes(b"")

    def tell(self, minutes):
        counts = ", ".join(f"{count} {name}" for name, count in self.ledger.counts.items())
        changes = sum((mailboxes.counts for mailboxes in (*self.mailboxes, self.shared)), Counter())
        counts += "; " + ", ".join(f"{changes[verb]} {verb}" for verb in COUNTED)
        counts += f", {sum(len(mailboxes.sent) for mailboxes in (*self.mailboxes, self.shared))} once-keys"
        kills = sum((mailboxes.kills for mailboxes in (*self.mailboxes, self.shared)), Counter())
        counts += (f"; killed in the middle of a large copy {kills['copy']} (taken back "
                   f"{self.resumed['copy-taken-back']}), move {kills['move']} (in part {kills['move', 'part']}), "
                   f"expunge {kills['expunge']} (finished later {self.resumed['expunge-resumed']}), "
                   f"flags {kills['flags']} (in part {kills['flags', 'part']})")
        return (f"round {self.rounds}, {minutes:.1f} min: {counts}; back within {self.slowest:.1f} s at worst")


def run(rounds, minutes, seed, say=print):
    """The last line of progress; raises what was found."""
    crash = Crash(seed)
    began = time.monotonic()
    try:
        crash.begin()
        while crash.rounds < rounds or time.monotonic() - began < minutes * 60:
            crash.round()
            say(crash.tell((time.monotonic() - began) / 60))
        crash.host.stop()
    except BaseException:
        sys.stderr.write(f"seed {seed}, round {crash.rounds}; the tree is kept in {crash.host.dir}\n")
        if crash.host.process:
            crash.host.kill()
        raise
    shutil.rmtree(crash.host.dir)
    return crash.tell((time.monotonic() - began) / 60)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--minutes", type=float, default=0)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    options = parser.parse_args()
    told = [0.0]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # the host must not stay behind

    def say(line):
        now = time.monotonic()
        if sys.stdout.isatty():
            print(f"\r\033[K{line}", end="", flush=True)
        elif now - told[0] >= 10:
            told[0] = now
            print(line, flush=True)

    print(f"seed {options.seed}", flush=True)
    try:
        last = run(options.rounds, options.minutes, options.seed, say)
    except AssertionError as error:
        print(f"\nFOUND: {error}")
        return 1
    print(f"\n{last}\nnothing found")
    return 0


if __name__ == "__main__":
    sys.exit(main())
