"""Deliveries at full rate while sessions read and delete: a ledger of every message. And clients that stop reading."""

import os
import poplib
import re
import subprocess
import threading
import time
import unittest

from host import PATIENCE, Host, build_dir, wait_for

poplib._MAXLINE = 1 << 20
SECONDS = 12
READERS = 50
USERS = 10


class Pusher(threading.Thread):
    """Pushes numbered messages to all users in turn until told to stop; remembers what was acknowledged."""

    def __init__(self, host, name):
        super().__init__(daemon=True)
        self.host, self.tag, self.acknowledged, self.end, self.error = host, name, [], threading.Event(), None

    def run(self):
        try:
            with self.host.smtp() as client:
                number = 0
                while not self.end.is_set():
                    number += 1
                    key = f"{self.tag}x{number}"
                    client.sendmail("s@example.org", [f"r{number % USERS}@example.test"],
                                    f"Subject: {key}\r\n\r\n{key}\r\n{'.' * (number % 70)}\r\n".encode())
                    self.acknowledged.append(key)
        except Exception as error:
            self.error = error


class Reader(threading.Thread):
    """Logs in over and over, reads some, deletes some of those; each deletion that QUIT confirmed is in the ledger."""

    def __init__(self, host, number):
        super().__init__(daemon=True)
        self.host, self.number, self.user = host, number, f"r{number % USERS}"
        self.taken, self.sessions, self.end, self.error = [], 0, threading.Event(), None

    def run(self):
        try:
            while not self.end.is_set():
                self.session()
        except Exception as error:
            self.error = error

    def session(self):
        try:
            client = self.host.pop3(self.user)
        except poplib.error_proto as error:
            assert b"[IN-USE]" in error.args[0], error
            time.sleep(0.002 * (1 + self.number % 5))  # another has it: give way, do not spin
            return
        count, octets = client.stat()
        sizes = dict(map(int, line.split()) for line in client.list()[1])
        assert len(sizes) == count and sum(sizes.values()) == octets, (count, octets, sizes)
        marked = []
        for number in range(1, min(count, 20) + 1):
            lines = client.retr(number)[1]
            whole = b"\r\n".join(lines) + b"\r\n"
            assert len(whole) == sizes[number], f"message {number}: {len(whole)} octets, {sizes[number]} told"
            key = re.search(rb"^Subject: (\S+)\r$", whole, re.MULTILINE)[1]
            assert whole.count(key) == 2, f"message {number} is a mixture"
            if number % 3 != self.number % 3:
                client.dele(number)
                marked.append(key.decode())
        assert client.stat()[0] == count - len(marked)
        self.sessions += 1
        if self.sessions % 4 == 0:
            client.close()  # dropped: nothing may go
            return
        answer = client.quit()
        assert not marked or b"; %d messages" % len(marked) in answer, (answer, len(marked))
        self.taken += marked


class Ledger(unittest.TestCase):
    def test_everything_is_read_once(self):
        with Host(set={"log-level": "warning", "store.password-method": "sha512-crypt",
                       "store.password-cost": "1000", "store.login-remember": "1s",
                       "pop3d.expire-days": "30"}) as host:
            settings = str(host.dir / "restante.conf")
            for number in range(USERS):
                host.command("user", "add", f"r{number}@example.test", "-c", settings, input=b"restante\n")
            pushers = [Pusher(host, f"p{number}") for number in range(4)]
            readers = [Reader(host, number) for number in range(READERS)]
            for thread in (*pushers, *readers):
                thread.start()
            end = time.monotonic() + SECONDS
            wait_for(lambda: any(thread.error for thread in (*pushers, *readers)) or
                     time.monotonic() > end and sum(len(reader.taken) for reader in readers) > 100, "the load")
            for threads in (pushers, readers):
                for thread in threads:
                    thread.end.set()
                for thread in threads:
                    thread.join(PATIENCE)
                    self.assertFalse(thread.is_alive(), "a thread hangs")
                    self.assertIsNone(thread.error, repr(thread.error))
            pushed = [key for pusher in pushers for key in pusher.acknowledged]
            taken = [key for reader in readers for key in reader.taken]
            left = [re.search(rb"^Subject: (\S+)\r$", octets, re.MULTILINE)[1].decode()
                    for number in range(USERS) for octets in host.messages(f"r{number}")]
            print(f"{len(pushed)} pushed, {len(taken)} read and deleted in {sum(r.sessions for r in readers)} sessions, "
                  f"{len(left)} left")
            self.assertGreater(len(taken), 100)
            self.assertEqual(sorted(taken + left), sorted(pushed))


class Stalled(unittest.TestCase):
    CLIENTS = 1000

    def test_clients_that_stop_reading(self):
        """One message of 10 MiB each, of which the client reads nothing: what the server holds for them."""
        with Host(set={"log-level": "warning", "store.password-method": "sha512-crypt",
                       "store.password-cost": "1000"}) as host:
            host.stop()
            store = host.dir / "store"
            users = (store / "users").read_text().splitlines()
            alice = next(line for line in users if line.startswith("user alice@")).split()
            rows = [f"user s{n}@example.test {100 + n} {' '.join(alice[3:])}" for n in range(self.CLIENTS)]
            (store / "users").write_text("\n".join([users[0], f"next {100 + self.CLIENTS}", *[
                line for line in users if line.startswith("user ")], *rows]) + "\n")
            subprocess.run(["rm", "-rf", store / "env"], check=True)
            host.start()
            inboxes = [path for path in (store / "mail").rglob("new") if path.parent.name.startswith("s")]
            self.assertEqual(len(inboxes), self.CLIENTS)
            body = host.dir / "body"
            body.write_bytes(b"Subject: large\n\n" + (b"x" * 75 + b"\n") * (10 << 20 >> 6))
            owner = inboxes[0].stat()
            os.chown(body, owner.st_uid, owner.st_gid)
            for inbox in inboxes:
                os.link(body, inbox / "1763800000.M1.large")
            before = self.memory(host)
            process = subprocess.Popen([build_dir() / "clients/pop3load", "stall", str(host.port("pop3")), "--user", "s",
                                        "--connections", str(self.CLIENTS)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            try:
                self.assertEqual(process.stdout.readline(), b"ready\n")
                wait_for(lambda: self.memory(host) > before + self.CLIENTS * 100_000 or time.sleep(0.2), "transfers begun")
                seen = [self.memory(host)]
                end = time.monotonic() + 3
                wait_for(lambda: seen.append(self.memory(host)) or time.monotonic() > end, "a while")
                each = (max(seen) - before) / self.CLIENTS / 1024
                print(f"{each:.0f} KiB for each client that does not read")
                self.assertLess(each, 512 if os.environ.get("RESTANTE_BUILD", "build") == "build" else 2048)
                self.assertEqual(len(host.messages("alice")), 0, "and others are served")
            finally:
                process.stdin.close()
                process.wait(PATIENCE)

    def memory(self, host):
        total = 0
        for role in ("pop3d", "store"):
            for pid in host.pids(role):
                with open(f"/proc/{pid}/smaps_rollup") as rollup:
                    total += next(int(line.split()[1]) for line in rollup if line.startswith("Pss:")) * 1024
        return total
