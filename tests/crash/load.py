"""Clients that push and pull without pause and tell the ledger what they were promised.

They speak SMTP and POP3 by hand: what counts as an answer is then exactly what was read.
"""

import os
import random
import re
import socket
import threading

from host import PASSWORD, address

KEY = b"X-Crash-Key: "
HOSTNAME = f"crash-{os.getpid()}.example.test"
BATCH = 40        # RETR commands sent at once
FULL = 150        # messages at which a pulling client deletes most of them


class Gone(Exception):
    """The connection ended, or the answer was one for the moment."""


class Wire:
    """What a port of ours was may be another host's while ours is down: a promise made there is not ours to keep."""

    def __init__(self, host, name):
        try:
            self.socket = host.connect(name)
        except OSError as error:
            raise Gone(str(error)) from None
        self.input = self.socket.makefile("rb", 1 << 16)
        try:
            self.greeting = self.line()
            if HOSTNAME.encode() not in self.greeting.split():
                raise Gone(f"{self.greeting!r} is not a greeting of ours")
        except Gone:
            self.close()
            raise

    def send(self, octets):
        try:
            self.socket.sendall(octets)
        except OSError as error:
            raise Gone(str(error)) from None

    def line(self):
        try:
            line = self.input.readline()
        except OSError as error:
            raise Gone(str(error)) from None
        if not line.endswith(b"\r\n"):
            raise Gone("the connection ended")
        return line[:-2]

    def close(self):
        self.input.close()
        self.socket.close()


def stuffed(octets):
    return re.sub(rb"(?m)^\.", b"..", octets) + b".\r\n"


# ---- push ----

BLOCK = random.Random(1).randbytes(1 << 16).hex().encode()
LINES = b"".join(BLOCK[at:at + 70] + b"\r\n" for at in range(0, len(BLOCK) - 70, 70))


def make_message(rng, key):
    """Mostly small, some of many blocks, a few so large that they travel through spool/."""
    size = rng.choices((rng.randrange(0, 4000), rng.randrange(4000, 100000), rng.randrange(270000, 500000)),
                       (80, 15, 5))[0]
    at = rng.randrange(len(LINES) // 72) * 72
    text = (LINES[at:] + LINES * (size // len(LINES) + 1))[:size // 72 * 72]
    return KEY + key.encode() + b"\r\nSubject: crash\r\n\r\n.a dot\r\n..two\r\nGr\xc3\xbc\xc3\x9fe\r\n" + text


class Sender(threading.Thread):
    def __init__(self, host, ledger, users, seed):
        super().__init__(daemon=True)
        self.host, self.ledger, self.users = host, ledger, users
        self.rng, self.tag = random.Random(seed), f"{seed}"
        self.stopping = threading.Event()
        self.error = None

    def run(self):
        wire, number = None, 0
        try:
            while not self.stopping.is_set():
                number += 1
                try:
                    wire = wire or self.greet()
                    self.push(wire, f"{self.tag}.{number}")
                except Gone:
                    wire = wire and wire.close()
                    self.stopping.wait(0.005)
        except Exception as error:  # the round reports it
            self.error = error
        if wire:
            wire.close()

    def greet(self):
        wire = Wire(self.host, "smtp")
        wire.send(b"EHLO client.example.org\r\n")
        self.reply(wire)
        return wire

    @staticmethod
    def reply(wire):
        while True:
            line = wire.line()
            if line[3:4] != b"-":
                break
        if line[:1] == b"4":
            raise Gone(line.decode())
        if line[:1] not in (b"2", b"3"):
            raise AssertionError(f"SMTP said {line!r}")

    def push(self, wire, key):
        users = self.rng.sample(self.users, self.rng.choice((1, 1, 1, 2, 3)))
        message = make_message(self.rng, key)
        wire.send(b"MAIL FROM:<s@example.org> BODY=8BITMIME\r\n"
                  + b"".join(b"RCPT TO:<%s>\r\n" % address(user).encode() for user in users) + b"DATA\r\n")
        try:
            for _ in range(len(users) + 2):
                self.reply(wire)
        except Gone:
            self.ledger.refused()
            raise
        self.ledger.sending(key, users, message)
        wire.send(stuffed(message))
        try:
            self.reply(wire)
        except Gone:
            self.ledger.refused()
            raise
        self.ledger.accepted(key, users)


# ---- pull ----

class Drop:
    """One POP3 session."""

    def __init__(self, host, user):
        self.user = user
        self.wire = Wire(host, "pop3")
        self.wire.send(f"USER {address(user)}\r\nPASS {PASSWORD}\r\n".encode())
        self.ok()
        self.ok()
        self.uids = [(int(uidl[:8], 16), int(uidl[8:], 16)) for uidl in self.list_of("UIDL")]
        self.sizes = [int(size) for size in self.list_of("LIST")]

    def ok(self):
        line = self.wire.line()
        if line.startswith((b"-ERR [SYS/TEMP]", b"-ERR [IN-USE]")):
            raise Gone(line.decode())
        if not line.startswith(b"+OK"):
            raise AssertionError(f"POP3 said {line!r}")

    def lines(self):
        """A multi-line answer, unstuffed."""
        while (line := self.wire.line()) != b".":
            yield line[1:] if line.startswith(b".") else line

    def list_of(self, command):
        self.wire.send(command.encode() + b"\r\n")
        self.ok()
        return [line.split()[1].decode() for line in self.lines()]

    def retrieve(self, ledger, numbers):
        """Messages by number, from 1; each is held against its size and the ledger."""
        for at in range(0, len(numbers), BATCH):
            batch = numbers[at:at + BATCH]
            self.wire.send(b"".join(b"RETR %d\r\n" % number for number in batch))
            for number in batch:
                self.ok()
                octets = b"".join(line + b"\r\n" for line in self.lines())
                uid = self.uids[number - 1][1]
                assert len(octets) == self.sizes[number - 1], (
                    f"{self.user}: LIST gives UID {uid} {self.sizes[number - 1]} octets, it has {len(octets)}")
                _, mark, body = octets.partition(KEY)
                ledger.retrieved(self.user, uid, body.split(b"\r\n", 1)[0].decode(), mark + body)

    def unknown(self, ledger):
        return [number for number, (_, uid) in enumerate(self.uids, 1) if not ledger.is_known(self.user, uid)]

    def quit(self):
        self.wire.send(b"QUIT\r\n")
        self.ok()


class Puller(threading.Thread):
    def __init__(self, host, ledger, users, seed):
        super().__init__(daemon=True)
        self.host, self.ledger, self.users = host, ledger, users
        self.rng = random.Random(seed)
        self.stopping = threading.Event()
        self.error = None

    def run(self):
        try:
            while not self.stopping.is_set():
                try:
                    self.pull(self.rng.choice(self.users))
                except Gone:
                    self.stopping.wait(0.005)
        except Exception as error:  # the round reports it
            self.error = error

    def pull(self, user):
        drop = Drop(self.host, user)
        try:
            self.ledger.listed(user, drop.uids)
            drop.retrieve(self.ledger, drop.unknown(self.ledger))
            count = len(drop.uids)
            few = self.rng.randrange(min(count, 8) + 1)
            numbers = self.rng.sample(range(1, count + 1), count - 10 if count > FULL else few)
            drop.wire.send(b"".join(b"DELE %d\r\n" % number for number in numbers))
            for _ in numbers:
                drop.ok()
            uids = [drop.uids[number - 1][1] for number in numbers]
            self.ledger.deleting(user, uids)
            drop.quit()
            self.ledger.deleted(user, uids)
        finally:
            drop.wire.close()
