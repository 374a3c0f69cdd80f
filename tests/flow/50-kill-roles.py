"""kill -9 of each role under a stream of messages: nothing acknowledged is lost or doubled."""

import os
import signal
import smtplib
import threading
import time
import unittest

from host import PATIENCE, Host, wait_for

ROLES = ("store", "mda", "smtp-in", "pop3d")


class Sender(threading.Thread):
    """Pushes numbered messages one after the other; keeps what became of each."""

    def __init__(self, host, name):
        super().__init__(daemon=True)
        self.host, self.tag = host, name
        self.stop = threading.Event()
        self.acknowledged, self.temporary, self.wrong = [], 0, []

    def run(self):
        try:
            self.push()
        except Exception as error:  # the test reports it
            self.wrong.append(repr(error))

    def push(self):
        number, client = 0, None
        while not self.stop.is_set():
            number += 1
            key = f"{self.tag}-{number}"
            try:
                if client is None:
                    client = self.host.smtp()
                client.sendmail("s@example.org", ["alice@example.test"], f"Subject: {key}\r\n\r\nbody\r\n".encode())
                self.acknowledged.append(key)
            except smtplib.SMTPServerDisconnected:
                client = None
                self.temporary += 1
            except smtplib.SMTPResponseException as error:
                self._judge(error.smtp_code, error)
                client = None
            except smtplib.SMTPRecipientsRefused as error:
                self._judge(next(iter(error.recipients.values()))[0], error)
            except OSError:
                client = None
                self.temporary += 1
                time.sleep(0.01)  # nobody listens: do not spin

    def _judge(self, code, error):
        self.temporary += 1
        if not 400 <= code < 500 and code != -1:
            self.wrong.append(repr(error))


class KillRoles(unittest.TestCase):
    def test_each_role_in_turn(self):
        with Host() as host:
            senders = [Sender(host, f"s{n}") for n in range(4)]
            for sender in senders:
                sender.start()
            for role in ROLES:
                self.kill(host, role, senders)
            for sender in senders:
                sender.stop.set()
            for sender in senders:
                sender.join(PATIENCE)
                self.assertFalse(sender.is_alive(), "a sender hangs")
            self.check(host, senders)

    def kill(self, host, role, senders):
        before = host.pids(role)
        self.assertTrue(before, role)
        goal = sum(len(sender.acknowledged) for sender in senders) + 20
        wait_for(lambda: sum(len(sender.acknowledged) for sender in senders) > goal, "a stream of messages")
        for pid in before:
            os.kill(pid, signal.SIGKILL)
        killed = time.monotonic()

        def back():
            now = host.pids(role)
            return len(now) >= len(before) and not set(now) & set(before)

        wait_for(back, f"{role} back")
        goal = sum(len(sender.acknowledged) for sender in senders)
        wait_for(lambda: sum(len(sender.acknowledged) for sender in senders) > goal + 4, f"mail flows after {role}")
        print(f"{role}: mail flows again {time.monotonic() - killed:.2f} s after kill -9")

    def check(self, host, senders):
        acknowledged = [key for sender in senders for key in sender.acknowledged]
        for sender in senders:
            self.assertEqual(sender.wrong, [], "worse than a 4xx")
        found = [octets.split(b"Subject: ", 1)[1].split(b"\r\n", 1)[0].decode() for octets in host.messages("alice")]
        print(f"{len(acknowledged)} acknowledged, {sum(sender.temporary for sender in senders)} refused for the "
              f"moment, {len(found)} in the maildrop")
        self.assertEqual(len(found), len(set(found)), "a message is there twice")
        self.assertEqual(sorted(set(acknowledged) - set(found)), [], "an acknowledged message is lost")
