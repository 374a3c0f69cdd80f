"""What a user's mailboxes must hold, by the ledger of tests/clients/storeload.c and what was delivered.

A promise is an answer that the client has read. The one request without an answer, when the store was killed, has
happened as a whole or not at all; flags and moves of many messages, piece by piece as ledger.py has it.
"""

import collections
import contextlib
import copy
import hashlib
import os
import random
import signal
import subprocess
import threading

from host import PASSWORD, PATIENCE, address, build_dir, wait_for, wait_for_group
from ledger import PIECE, Broken
from load import Gone, Wire, make_message, stuffed

INBOX = "INBOX"
NAME_MAX = 255
ADD, REMOVE, SET, EXPUNGE = range(4)  # enum store_update_kind
# Refusals that change nothing and need no reason of the mailboxes.
FOR_THE_MOMENT = ("busy", "no space left", "mailbox locked", "over quota")


class Sent:
    """A delivery; its key is a once-key, and in the message."""

    def __init__(self, digest):
        self.digest = digest
        self.acknowledged = False
        self.placed = False       # seen in a mailbox, once


class Message:
    def __init__(self, key, flags=0, keywords=frozenset()):
        self.key, self.flags, self.keywords = key, flags, keywords

    def like(self):
        return Message(self.key, self.flags, self.keywords)

    def __str__(self):
        return f"{self.key} flags={self.flags} keywords={sorted(self.keywords)}"


class Box:
    """Its messages are replaced, never altered."""

    def __init__(self, uidvalidity=None):
        self.uidvalidity = uidvalidity
        self.uidnext = 1          # every UID from now on is this one or above
        self.messages = {}        # by UID
        self.expected = []        # there, with UIDs that nobody was told
        self.arrives = False      # deliveries may be here that nobody has seen

    def copy(self):
        other = copy.copy(self)
        other.messages, other.expected = dict(self.messages), list(self.expected)
        return other


def is_too_long(name):
    """The directory's name, of the only characters beyond ASCII that ours have."""
    return 1 + len(name.replace("\u00f6\u00df", "&APYA3w-")) > NAME_MAX


def listed_uids(shown, name):
    """Of one mailbox, in what storeload shows."""
    uids, asked = set(), None
    for line in shown:
        fields = line.split("\t")
        if fields[0] == "ask":
            asked = fields[1:]
        elif fields[0] == "message" and asked == ["select", name]:
            uids.add(int(fields[1]))
    return uids


def numbers(field):
    return [int(number) for number in field.split(",")] if field else []


class Mailboxes:
    """One user's. Lines of the ledger go in; what does not fit raises Broken."""

    def __init__(self, user):
        self.user = user
        self.boxes = {INBOX: Box()}
        self.boxes[INBOX].arrives = True
        self.subscriptions = set()
        self.sent = {}
        self.asked = None
        self.listing = self.told = None
        self.found = []           # deliveries that were seen for the first time
        self.counts = collections.Counter()
        self.kills = collections.Counter()  # in large requests, by verb, and by verb and what was done of them
        self.is_certain = True    # what is being done was answered

    def broken(self, text):
        raise Broken(f"{self.user}: {text}")

    # ---- lines ----

    def read(self, lines):
        for line in lines:
            fields = line.rstrip("\n").split("\t")
            if fields[0] == "ask":
                self.asked, self.listing = fields[1:], None
            elif fields[0] == "got":
                self.got(*fields[1:])
            elif fields[0] == "message":
                uid, flags, keywords, key, digest = fields[1:]
                self.listing[int(uid)] = (Message(key, int(flags), frozenset(keywords.split())), digest)
            elif fields[0] == "end":
                if fields[1] == "whole":
                    self.listed(self.asked[1], self.listing, self.told)
                self.asked = self.listing = None

    def got(self, failure, *result):
        verb, *arguments = self.asked
        if failure != "ok" and result and result[1]:
            self.moved_in_part(*result)
        if failure == "could not be made durable":
            return  # as if there had been no answer
        if verb == "select" and failure == "ok":
            self.listing, self.told = {}, [int(number) for number in result]
            return
        if failure == "ok":
            self.counts[verb] += 1
            getattr(self, "do_" + verb)(*arguments, *result)
        elif failure not in FOR_THE_MOMENT:
            self.check_refusal(failure, verb, arguments)
        self.asked = None

    def moved_in_part(self, uidvalidity, from_uids, to_uids):
        """Of a move that was refused, what is told holds, and the rest has not happened."""
        verb, name, to, uids = self.asked
        left = sorted(set(numbers(uids)) - set(numbers(from_uids)))
        self.do_move(name, to, from_uids, uidvalidity, from_uids, to_uids)
        self.asked = [verb, name, to, ",".join(map(str, left))]

    def check_refusal(self, failure, verb, arguments):
        target = arguments[1] if verb in ("copy", "move") else arguments[0] if arguments else None
        right = {
            "no such mailbox": lambda: target not in self.boxes if verb != "rename" else not self.below(target),
            "already exists": lambda: verb in ("create", "rename") and any(self.below(name) for name in arguments),
            "refused": lambda: verb == "delete" and target == INBOX,
            "invalid request": lambda: verb == "rename" and (
                arguments[1].startswith(arguments[0] + "/")
                or any(map(is_too_long, self.renamed(*arguments).values()))),
        }.get(failure)
        if not right or not right():
            self.broken(f"{verb} {arguments} was refused: {failure}; there are {sorted(self.boxes)}")

    def below(self, name):
        return [other for other in self.boxes if other == name or other.startswith(name + "/")]

    def renamed(self, name, to):
        """What RENAME calls anew: by old name."""
        if name == INBOX:
            return {INBOX: to}
        return {other: to + other[len(name):] for other in self.below(name)}

    # ---- what was done ----

    def do_login(self):
        pass

    def do_create(self, name, uidvalidity=None):
        if name in self.boxes:
            self.broken(f"{name} was created and is there")
        self.boxes[name] = Box(uidvalidity and int(uidvalidity))

    def do_delete(self, name):
        if name == INBOX or name not in self.boxes:
            self.broken(f"{name} was deleted and cannot be")
        del self.boxes[name]

    def do_rename(self, name, to):
        renamed = self.renamed(name, to)
        if not renamed or any(other in self.boxes for other in renamed.values()):
            self.broken(f"{name} was renamed to {to}, which cannot be")
        if name == INBOX:
            inbox, heir = self.boxes[INBOX], Box()
            heir.expected = [message.like() for message in inbox.messages.values()] + inbox.expected
            heir.arrives = True
            inbox.messages, inbox.expected = {}, []
            self.boxes[to] = heir
            return
        moved = {other: self.boxes.pop(other) for other in renamed}
        for other, box in moved.items():
            self.boxes[renamed[other]] = box

    def do_rename_part(self, name, to, count):
        """Of INBOX, the messages that are known and were the first so many of them, and whichever are not known."""
        inbox = self.boxes[INBOX]
        known, expected = sorted(inbox.messages.items()), inbox.expected
        inbox.messages, inbox.expected = dict(known[:count]), []
        self.do_rename(name, to)
        self.boxes[INBOX].messages, self.boxes[INBOX].expected = dict(known[count:]), expected

    def do_subscribe(self, name, on):
        (self.subscriptions.add if on == "1" else self.subscriptions.discard)(name)

    def do_update(self, name, kind, flags, keywords, uids):
        box, kind, flags, keywords = self.boxes[name], int(kind), int(flags), frozenset(keywords.split())
        for uid in numbers(uids):
            old = box.messages.pop(uid)
            if kind == ADD:
                box.messages[uid] = Message(old.key, old.flags | flags, old.keywords | keywords)
            elif kind == REMOVE:
                box.messages[uid] = Message(old.key, old.flags & ~flags, old.keywords - keywords)
            elif kind == SET:
                box.messages[uid] = Message(old.key, flags, keywords)

    def do_copy(self, name, to, uids, uidvalidity=None, from_uids=None, to_uids=None, move=False):
        source, target = self.boxes[name], self.boxes.get(to)
        wanted = sorted(numbers(uids))
        if target is None:
            self.broken(f"messages went to {to}, which is not there")
        taken = [(source.messages.pop(uid) if move else source.messages[uid]).like() for uid in wanted]
        if uidvalidity is None:  # not answered: nobody knows the new UIDs
            target.expected += taken
            return
        target.uidvalidity = target.uidvalidity or int(uidvalidity)
        if target.uidvalidity != int(uidvalidity) or numbers(from_uids) != wanted:
            self.broken(f"of {wanted} in {name} {from_uids} went to {to} with UIDVALIDITY {uidvalidity}")
        last = target.uidnext - 1
        for uid, message in zip(numbers(to_uids), taken, strict=True):
            if uid <= last or uid in target.messages:
                self.broken(f"UID {uid} in {to} was given after {last}")
            target.messages[uid] = message
            last = uid
        if not target.arrives:
            target.uidnext = last + 1

    def do_move(self, *arguments):
        self.do_copy(*arguments, move=True)

    # ---- what is there ----

    def listed(self, name, listing, told):
        uidvalidity, uidnext, count = told
        box = self.boxes.get(name)
        if box is None:
            self.broken(f"{name} is there and was deleted or renamed")
        box.uidvalidity = box.uidvalidity or uidvalidity
        if box.uidvalidity != uidvalidity:
            self.broken(f"UIDVALIDITY of {name} was {box.uidvalidity} and is {uidvalidity}")
        if uidnext < box.uidnext or (listing and uidnext <= max(listing)) or list(listing) != sorted(listing):
            self.broken(f"{name}: UIDs {list(listing)}, the next one {uidnext}, before {box.uidnext}")
        if count != len(listing):
            self.broken(f"{name} has {count} messages, and {len(listing)} are listed")
        for uid, (message, digest) in listing.items():
            self.look_at(name, box, uid, message, digest)
        if lost := box.messages.keys() - listing.keys():
            self.broken(f"{name} has lost {[f'{uid}: {box.messages[uid]}' for uid in sorted(lost)]}")
        if box.expected:
            self.broken(f"{name} has lost {[str(message) for message in box.expected]}")
        box.uidnext = uidnext

    def look_at(self, name, box, uid, message, digest):
        sent = self.sent.get(message.key)
        if sent is None or sent.digest != digest:
            self.broken(f"UID {uid} in {name} is {message.key}, with other octets than were sent")
        known = box.messages.get(uid)
        if known is None:
            if uid < box.uidnext:
                self.broken(f"UID {uid} in {name} is new ({message}), and {box.uidnext} was the next one")
            known = next((one for one in box.expected if str(one) == str(message)), None)
            if known:
                box.expected.remove(known)
            elif sent.placed or not box.arrives:
                self.broken(f"UID {uid} in {name} ({message}) is there once more, or is back")
            else:
                sent.placed = True
                self.found.append(sent)
            box.messages[uid] = message
        elif str(known) != str(message):
            self.broken(f"UID {uid} in {name} was {known} and is {message}")

    # ---- after a restart ----

    def check(self, shown):
        """What storeload shows of everything, against what is known, with or without the request under way."""
        faults = []
        is_large = self.is_large()
        for happened in (None, *self.outcomes(shown)):
            candidate = self.candidate()
            try:
                if happened and not candidate.happen(*happened):
                    continue
                candidate.check_all(shown)
            except Broken as fault:
                faults.append(str(fault))
                for sent in candidate.found:
                    sent.placed = False
                continue
            if is_large:
                candidate.note_kill(self.asked, happened)
            self.__dict__ = candidate.__dict__
            return
        raise Broken("; or, had it happened, ".join(faults) + f" (under way: {self.asked})")

    def candidate(self):
        """The same, to try what may have happened."""
        other = copy.copy(self)
        other.boxes = {name: box.copy() for name, box in self.boxes.items()}
        other.subscriptions = set(self.subscriptions)
        other.found = []
        return other

    def is_large(self):
        """The request under way takes several pieces."""
        return bool(self.asked) and self.asked[0] in ("copy", "move", "update") and (
            len(numbers(self.asked[-1])) > PIECE)

    def note_kill(self, asked, happened):
        verb = asked[0] if asked[0] != "update" else "expunge" if int(asked[2]) == EXPUNGE else "flags"
        end = "not" if not happened else "all" if happened[-1] == asked[-1] else "part"
        self.kills[verb] += 1
        self.kills[verb, end] += 1

    def outcomes(self, shown):
        """What may have happened of the request under way."""
        if not self.asked or self.asked[0] in ("login", "select"):
            return
        if self.asked[0] == "move" or (self.asked[0] == "update" and int(self.asked[2]) != EXPUNGE):
            *request, uids = self.asked
            uids = sorted(numbers(uids))
            for count in range(PIECE, len(uids), PIECE):
                yield (*request, ",".join(map(str, uids[:count])))
        if self.asked[0] == "rename" and self.asked[1] == INBOX:
            inbox = self.boxes[INBOX]
            unseen = sum(not sent.placed for sent in self.sent.values())
            if len(inbox.messages) + len(inbox.expected) + unseen > PIECE:
                yield ("rename_part", *self.asked[1:], len(inbox.messages.keys() - listed_uids(shown, INBOX)))
        yield self.asked

    def happen(self, verb, *arguments):
        self.is_certain = False
        try:
            getattr(self, "do_" + verb)(*arguments)
        except Broken:
            return False  # it would have been refused
        return True

    def check_all(self, shown):
        self.asked = None
        self.read(shown)
        for key, sent in self.sent.items():
            if sent.acknowledged and not sent.placed:
                self.broken(f"{key} was acknowledged and is lost")

    def do_mailboxes(self, *names):
        if sorted(names) != sorted(self.boxes):
            self.broken(f"the mailboxes are {sorted(names)} and were {sorted(self.boxes)}")

    def do_subscriptions(self, *names):
        if sorted(names) != sorted(self.subscriptions):
            self.broken(f"subscribed: {sorted(names)}, and was {sorted(self.subscriptions)}")


# ---- the client ----

def command(host, user, *rest):
    return [str(build_dir() / "clients/storeload"), host.socket("store-imapd"), address(user), PASSWORD, *rest]


def show(host, user):
    """Everything that the user has, as lines."""
    def attempt():
        done = subprocess.run(command(host, user), stdin=subprocess.DEVNULL, capture_output=True, timeout=PATIENCE)
        return done.stdout.decode().splitlines() if done.returncode == 0 else None
    return wait_for(attempt, f"all that {user} has")


class Changer:
    """storeload at work for one user; as the clients of load.py."""

    def __init__(self, host, mailboxes, seed, prefix="", is_large=False):
        self.mailboxes = mailboxes
        self.is_large = is_large
        self.host, self.seed, self.prefix = host, seed, prefix
        self.path = host.dir / f"ledger.{mailboxes.user}{prefix and '.' + prefix}"
        self.error = None

    def start(self):
        self.begin = self.path.stat().st_size if self.path.exists() else 0
        with open(self.path, "ab") as ledger:
            self.process = subprocess.Popen(command(self.host, self.mailboxes.user, str(self.seed), self.prefix,
                                                    *["large"] * self.is_large),
                                            stdin=subprocess.PIPE, stdout=ledger, stderr=subprocess.DEVNULL)

    def stop(self):
        self.process.stdin.close()

    def join(self, seconds):
        self.process.wait(seconds)
        if self.process.returncode not in (0, 1):
            raise Broken(f"storeload for {self.mailboxes.user} ended with {self.process.returncode}")
        with open(self.path, encoding="utf-8") as ledger:
            ledger.seek(self.begin)
            self.mailboxes.read(ledger)


class Deliverer(threading.Thread):
    """Pushes by LMTP as smtp-in does, each message under a once-key: again and again, and it counts once."""

    def __init__(self, host, all_mailboxes, seed):
        super().__init__(daemon=True)
        self.host, self.all_mailboxes = host, all_mailboxes
        self.rng, self.seed = random.Random(seed), seed
        self.stopping = threading.Event()
        self.error = None

    def run(self):
        wire, number = None, 0
        # What got no answer the last time is offered until it does.
        again = [(mailboxes, key) for mailboxes in self.all_mailboxes
                 for key, sent in mailboxes.sent.items() if not sent.acknowledged]
        try:
            while not self.stopping.is_set():
                try:
                    wire = wire or self.greet()
                    if not again:
                        number += 1
                        mailboxes, key = self.rng.choice(self.all_mailboxes), f"{self.seed}.{number}"
                        if mailboxes.sent and self.rng.random() < 0.3:
                            key = self.rng.choice(list(mailboxes.sent))
                        again.append((mailboxes, key))
                    self.push(wire, *again[-1])
                    again.pop()
                except Gone:
                    wire = wire and wire.close()
                    self.stopping.wait(0.005)
        except Exception as error:  # the round reports it
            self.error = error
        if wire:
            wire.close()

    def greet(self):
        wire = Wire(self.host, "lmtp-smtp-in")
        wire.send(b"LHLO localhost\r\n")
        if b"XDELIVER" not in self.reply(wire):
            raise AssertionError("no XDELIVER")
        return wire

    @staticmethod
    def reply(wire):
        lines = []
        while not lines or lines[-1][3:4] == b"-":
            lines.append(wire.line())
        if lines[-1][:1] == b"4":
            raise Gone(lines[-1].decode())
        if lines[-1][:1] not in (b"2", b"3"):
            raise AssertionError(f"LMTP said {lines[-1]!r}")
        return b" ".join(lines)

    def push(self, wire, mailboxes, key):
        message = make_message(random.Random(key), key)
        if key not in mailboxes.sent:
            mailboxes.sent[key] = Sent(hashlib.sha256(message.replace(b"\r\n", b"\n")).hexdigest())
        wire.send(b"MAIL FROM:<s@example.org> BODY=8BITMIME\r\nRCPT TO:<%s> XONCE=%s\r\nDATA\r\n"
                  % (address(mailboxes.user).encode(), key.encode()))
        for _ in range(3):
            self.reply(wire)
        wire.send(stuffed(message))
        said = self.reply(wire)
        if mailboxes.sent[key].acknowledged and b"already here" not in said:
            raise Broken(f"{mailboxes.user}: {key} was acknowledged, and then {said!r}")
        mailboxes.sent[key].acknowledged = True


class Roster(threading.Thread):
    """Users come and go by the command that a person types."""

    NAMES = ("dora", "emil", "frieda")

    def __init__(self, host, known, seed):
        super().__init__(daemon=True)
        self.host, self.known = host, known  # by name: True, False, or None: not answered
        self.rng = random.Random(seed)
        self.stopping = threading.Event()
        self.lock, self.process = threading.Lock(), None
        self.error = None

    def run(self):
        while True:
            with self.lock:
                if self.stopping.is_set():
                    return
                arguments, typed, settle = self.choose()
                self.process = subprocess.Popen(
                    [str(build_dir() / "restante"), "user", *arguments, "-c", str(self.host.dir / "restante.conf")],
                    stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                    start_new_session=True)
            self.process.communicate(typed.encode() + b"\n")
            if self.process.returncode:
                return  # the store is away, or this was killed with it
            settle()

    def choose(self):
        """What to ask for, what to type, and what to note when it was done."""
        name = self.rng.choice(self.NAMES)
        there, self.known[name] = self.known[name], None

        def settle():
            self.known[name] = not there
        return ["remove" if there else "add", address(name)], "" if there else PASSWORD, settle

    def kill(self):
        """With everything else: without a store it would start one of its own."""
        self.stopping.set()
        with self.lock:
            if self.process and self.process.poll() is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait()
                wait_for_group(self.process.pid)

    @classmethod
    def check(cls, host, known):
        """Who is there after a restart, against what was answered."""
        listed = host.command("user", "list", "-c", str(host.dir / "restante.conf")).stdout.decode()
        for name in cls.NAMES:
            there = address(name) in listed
            if known[name] not in (None, there):
                raise Broken(f"{name} is {'' if there else 'not '}a user, against what was answered")
            known[name] = there
