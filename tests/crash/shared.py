"""One user whose mailboxes several front ends change at once: what may be there after a kill, and what may not.

Each front end (storeload with a prefix) has names of its own, where nobody else makes, renames, deletes or
expunges: these must be as its ledger says, as in mailboxes.py. INBOX is everybody's. What happened there first
cannot be known, but a UID that an acknowledged request took away stays away, one that nobody asked to take away is
there, and one that moved has moved once. Messages are counted over all mailboxes: each is there as often as it was
delivered and copied, less what was expunged.

Every round begins with what the last look found.
"""

import collections
import copy
import random
import re
import threading

from host import PASSWORD, address
from ledger import Broken
from load import Drop, Gone
from mailboxes import EXPUNGE, INBOX, SET, Box, Changer, Mailboxes, Message, Roster, numbers

PREFIXES = ("Ann", "Ben", "Cat")
LARGE = "Cat"  # asks for hundreds of messages at a time


class Vague(Message):
    """Came from INBOX, where others set flags at the same time."""

    def __init__(self, key, is_certain=True):
        super().__init__(key, None, None)
        self.is_certain = is_certain

    def like(self):
        return Vague(self.key)

    def __str__(self):
        return f"{self.key} with any flags"


def is_like(known, message):
    return known.key == message.key and (known.flags is None or str(known) == str(message))


class Tally:
    """What one front end did that others see: to INBOX, and to the number of copies."""

    def __init__(self):
        self.seen = {}                # in INBOX: key by UID
        self.expunged = set()         # UIDs in INBOX
        self.moved = []
        self.renamed = False          # INBOX gave all away
        self.maybe = set()            # UIDs that a request without an answer may have taken
        self.maybe_expunged = set()
        self.maybe_renamed = False
        self.copies = collections.Counter()  # by key: more of them, or fewer
        self.maybe_copies = collections.Counter()
        self.unknown = False          # a mailbox went before anybody saw what was in it


class Part(Mailboxes):
    """What one front end asked for and was told."""

    def __init__(self, shared, prefix):
        super().__init__(shared.user)
        self.prefix, self.sent, self.tally = prefix, shared.sent, Tally()
        self.tally.seen = {uid: message.key for uid, message in shared.boxes[INBOX].messages.items()}
        self.boxes = {name: copy.deepcopy(box) for name, box in shared.boxes.items()
                      if name == INBOX or self.is_own(name)}
        self.subscriptions = {name for name in shared.subscriptions if self.is_own(name)}

    def is_own(self, name):
        return name.startswith(self.prefix)

    def candidate(self):
        other = super().candidate()
        other.tally = copy.deepcopy(self.tally)
        return other

    def check(self, shown):
        self.note_request_under_way()
        super().check(shown)

    def note_request_under_way(self):
        """What it may have done that this user's other mailboxes do not show."""
        verb, *arguments = self.asked or ("login",)
        if verb == "rename":
            self.tally.maybe_renamed |= arguments[0] == INBOX
        elif verb == "update" and arguments[0] == INBOX and int(arguments[1]) == EXPUNGE:
            self.tally.maybe_expunged.update(numbers(arguments[4]))
        elif verb in ("copy", "move") and INBOX in arguments[:2]:
            uids = numbers(arguments[2])
            if arguments[0] == INBOX and verb == "move":
                self.tally.maybe.update(uids)
            elif verb == "copy":
                messages = self.tally.seen if arguments[0] == INBOX else {
                    uid: message.key for uid, message in self.boxes[arguments[0]].messages.items()}
                self.tally.maybe_copies.update(messages[uid] for uid in uids)

    # ---- what was done ----

    def do_subscribe(self, name, on):
        if self.is_own(name):
            super().do_subscribe(name, on)

    def do_delete(self, name):
        box = self.boxes.get(name)
        super().do_delete(name)
        self.tally.unknown |= box.arrives
        self.tally.copies.subtract(message.key for message in box.messages.values())

    def do_rename(self, name, to):
        super().do_rename(name, to)
        if name == INBOX:
            self.boxes[to].expected = []  # whatever it is; `arrives` says so
            self.tally.renamed |= self.is_certain

    def do_update(self, name, kind, flags, keywords, uids):
        if name == INBOX:
            if int(kind) == EXPUNGE and self.is_certain:
                self.tally.expunged.update(numbers(uids))
            return
        box, known = self.boxes[name], []
        for uid in numbers(uids):
            message = box.messages[uid]
            if int(kind) == EXPUNGE:
                self.tally.copies[message.key] -= 1
            if message.flags is None and int(kind) in (EXPUNGE, SET):
                message = box.messages[uid] = Message(message.key)
            if message.flags is not None:
                known.append(uid)
        super().do_update(name, kind, flags, keywords, ",".join(map(str, known)))

    def do_copy(self, name, to, uids, uidvalidity=None, from_uids=None, to_uids=None, move=False):
        wanted = sorted(numbers(uids))
        if to not in self.boxes:
            self.broken(f"messages went to {to}, which is not there")
        if uidvalidity is None:
            self.maybe_copied(name, to, wanted, move)
            return
        taken, given = numbers(from_uids), numbers(to_uids)
        if taken != wanted if name != INBOX else not set(taken) <= set(wanted):
            self.broken(f"of {wanted} in {name} {taken} went to {to}")
        target = self.boxes[to]
        target.uidvalidity = target.uidvalidity or int(uidvalidity)
        if target.uidvalidity != int(uidvalidity) or given != sorted(set(given)):
            self.broken(f"in {to}, of UIDVALIDITY {target.uidvalidity}, {given} were given, with {uidvalidity}")
        for uid, new in zip(taken, given, strict=True):
            self.put(to, new, self.take(name, uid, move))

    def take(self, name, uid, move):
        box = self.boxes[name]
        if name == INBOX:
            message = Vague(self.tally.seen[uid])
            if move:
                self.tally.moved.append(uid)
        else:
            message = (box.messages.pop(uid) if move else box.messages[uid]).like()
        if not move:
            self.tally.copies[message.key] += 1
        return message

    def put(self, name, uid, message):
        box = self.boxes[name]
        if name == INBOX:
            self.see(uid, message.key)
            return
        if uid < box.uidnext:
            self.broken(f"UID {uid} in {name} was given again, {box.uidnext} was the next one")
        box.messages[uid] = message
        if not box.arrives:
            box.uidnext = uid + 1

    def maybe_copied(self, name, to, wanted, move):
        if name == INBOX and to != INBOX:
            self.boxes[to].expected += [Vague(self.tally.seen[uid], is_certain=False) for uid in wanted]
        if name == INBOX:
            return
        taken = [self.take(name, uid, move) for uid in wanted]
        if to != INBOX:
            self.boxes[to].expected += taken

    # ---- what is there ----

    def see(self, uid, key):
        if self.tally.seen.setdefault(uid, key) != key:
            self.broken(f"UID {uid} in INBOX is {key} and was {self.tally.seen[uid]}")

    def listed(self, name, listing, told):
        if name != INBOX and not self.is_own(name):
            return
        for uid, (message, digest) in listing.items():
            sent = self.sent.get(message.key)
            if sent is None or sent.digest != digest:
                self.broken(f"UID {uid} in {name} is {message.key}, with other octets than were sent")
        if name != INBOX:
            self.listed_own(name, listing, told)
            return
        for uid, (message, _) in listing.items():
            self.see(uid, message.key)
        self.boxes[INBOX].uidvalidity = self.boxes[INBOX].uidvalidity or told[0]
        if self.boxes[INBOX].uidvalidity != told[0]:
            self.broken(f"UIDVALIDITY of INBOX is {told[0]}")

    def listed_own(self, name, listing, told):
        box = self.boxes.get(name)
        if box and box.arrives:  # all that INBOX had
            box.arrives, box.uidvalidity = False, told[0]
            box.messages = {uid: message for uid, (message, _) in listing.items()}
        if box:
            box.expected = self.due(box, listing)
        super().listed(name, listing, told)

    @staticmethod
    def due(box, listing):
        """Without what somebody else took from INBOX first: of the same message, one may be left and another gone."""
        left = collections.Counter(message.key for uid, (message, _) in listing.items() if uid not in box.messages)
        certain = [message for message in box.expected if message.flags is not None or message.is_certain]
        left.subtract(message.key for message in certain)
        doubtful = []
        for message in box.expected:
            if message not in certain and left[message.key] > 0:
                left[message.key] -= 1
                doubtful.append(message)
        return certain + doubtful

    def look_at(self, name, box, uid, message, digest):
        known = box.messages.get(uid)
        if known is None:
            known = next((one for one in box.expected if is_like(one, message)), None)
            if known is None or uid < box.uidnext:
                self.broken(f"UID {uid} in {name} ({message}) is there once more, or is back")
            box.expected.remove(known)
        elif not is_like(known, message):
            self.broken(f"UID {uid} in {name} was {known} and is {message}")
        box.messages[uid] = message

    def check_all(self, shown):
        self.asked, self.is_certain = None, True
        self.read(shown)

    def do_mailboxes(self, *names):
        super().do_mailboxes(*(name for name in names if name == INBOX or self.is_own(name)))

    def do_subscriptions(self, *names):
        super().do_subscriptions(*(name for name in names if self.is_own(name)))


class Shared:
    """The user, from round to round."""

    def __init__(self, host, user):
        self.host, self.user = host, user
        self.boxes = {INBOX: Box()}
        self.subscriptions = set()
        self.sent = {}
        self.quotas = {"none none"}   # any of these holds
        self.counts = collections.Counter()
        self.kills = collections.Counter()

    def broken(self, text):
        raise Broken(f"{self.user}: {text}")

    def begin(self, seeds):
        self.parts = [Part(self, prefix) for prefix in PREFIXES]
        self.puller = Puller(self, seeds[-1])
        return [Changer(self.host, part, seed, part.prefix, part.prefix == LARGE)
                for part, seed in zip(self.parts, seeds)]

    def check(self, shown):
        for part in self.parts:
            part.check(shown)
            self.counts.update(part.counts)
            self.kills.update(part.kills)
        found = Look(self.user)
        found.read(shown)
        if strange := [name for name in found.boxes if name != INBOX and not name.startswith(PREFIXES)]:
            self.broken(f"nobody made {strange}")
        tallies = [part.tally for part in self.parts] + [self.puller.tally]
        self.check_inbox(found.boxes[INBOX], tallies)
        self.check_counts(found, tallies)
        self.boxes, self.subscriptions = found.boxes, found.subscriptions
        for part in self.parts:
            for name, box in part.boxes.items():
                self.boxes[name].uidnext = max(self.boxes[name].uidnext, box.uidnext)

    def known(self, tallies):
        known = {}
        for tally in tallies:
            for uid, key in tally.seen.items():
                if known.setdefault(uid, key) != key:
                    self.broken(f"UID {uid} in INBOX is {key} and was {known[uid]}")
        return known

    def check_inbox(self, inbox, tallies):
        before, known = self.boxes[INBOX], self.known(tallies)
        moved = [uid for tally in tallies for uid in tally.moved]
        if twice := [uid for uid, times in collections.Counter(moved).items() if times > 1]:
            self.broken(f"UIDs {twice} in INBOX moved twice")
        gone = set(moved).union(*(tally.expunged for tally in tallies))
        if any(tally.renamed for tally in tallies):
            gone |= before.messages.keys()
        if back := gone & inbox.messages.keys():
            self.broken(f"UIDs {sorted(back)} were taken from INBOX and are back")
        for uid, message in inbox.messages.items():
            if known.get(uid, message.key) != message.key:
                self.broken(f"UID {uid} in INBOX is {message.key} and was {known[uid]}")
            if uid not in known and uid < before.uidnext:
                self.broken(f"UID {uid} in INBOX is new ({message}), and {before.uidnext} was the next one")
        if before.uidvalidity not in (None, inbox.uidvalidity) or inbox.uidnext < before.uidnext:
            self.broken(f"INBOX has UIDVALIDITY {inbox.uidvalidity} and UIDs from {inbox.uidnext} on")
        if known and inbox.uidnext <= max(known):
            self.broken(f"the next UID in INBOX is {inbox.uidnext}, and {max(known)} was given")
        maybe = set().union(*(tally.maybe | tally.maybe_expunged for tally in tallies))
        lost = known.keys() - inbox.messages.keys() - gone - maybe
        if lost and not any(tally.renamed or tally.maybe_renamed for tally in tallies):
            self.broken(f"UIDs {sorted(lost)} in INBOX are lost")

    def check_counts(self, found, tallies):
        known = self.known(tallies)
        least, most = self.totals(self.boxes), self.totals(self.boxes)
        for key, sent in self.sent.items():
            if not sent.placed:
                least[key] += sent.acknowledged
                most[key] += 1
        for tally in tallies:
            for key, count in tally.copies.items():
                least[key] += count
                most[key] += count
            most.update(tally.maybe_copies)
        moved = {uid for tally in tallies for uid in tally.moved}
        maybe = set().union(*(tally.maybe for tally in tallies))
        is_renamed = any(tally.renamed or tally.maybe_renamed for tally in tallies)
        expunged = set().union(*(tally.expunged for tally in tallies))
        for uid in expunged - moved:
            least[known[uid]] -= 1
            if uid not in maybe and not is_renamed:  # else it may have gone elsewhere before
                most[known[uid]] -= 1
        for uid in set().union(*(tally.maybe_expunged for tally in tallies)) - expunged - moved:
            least[known[uid]] -= 1
        there = self.totals(found.boxes)
        for key in most.keys() | there.keys():
            if there[key] > most[key]:
                self.broken(f"{key} is there {there[key]} times, and {most[key]} were delivered or copied")
            if there[key] < least[key] and not any(tally.unknown for tally in tallies):
                self.broken(f"{key} is there {there[key]} times, and {least[key]} must be")
        for key in [*there, *known.values()]:
            self.sent[key].placed = True
        for sent in self.sent.values():
            sent.placed |= sent.acknowledged

    @staticmethod
    def totals(boxes):
        return collections.Counter(message.key for box in boxes.values() for message in box.messages.values())

    def check_listed(self, listed):
        """The user's line of `restante user list`: usage and quota."""
        messages = sum(len(box.messages) for box in self.boxes.values())
        line = re.search(rf"(?m)^{re.escape(address(self.user))}\s+(\d+)(/\d+)? messages?\s+\d+(/\d+)? octets", listed)
        if not line or int(line[1]) != messages:
            self.broken(f"{line and line[0]!r}, and {messages} messages are there")
        quota = f"{(line[3] or '/none')[1:]} {(line[2] or '/none')[1:]}"
        if quota not in self.quotas:
            self.broken(f"the quota is {quota}, not {sorted(self.quotas)}")
        self.quotas = {quota}


class Look(Mailboxes):
    """All there is, whatever it is."""

    def listed(self, name, listing, told):
        box = self.boxes[name] = Box(told[0])
        box.uidnext = told[1]
        box.messages = {uid: message for uid, (message, _) in listing.items()}

    def do_mailboxes(self, *names):
        pass

    def do_subscriptions(self, *names):
        self.subscriptions = set(names)


class Puller(threading.Thread):
    """Deletes by POP3, of what the last look found."""

    def __init__(self, shared, seed):
        super().__init__(daemon=True)
        self.shared, self.rng, self.tally = shared, random.Random(seed), Tally()
        self.known = {uid: message.key for uid, message in shared.boxes[INBOX].messages.items()}
        self.stopping = threading.Event()
        self.error = None

    def run(self):
        try:
            while not self.stopping.is_set():
                try:
                    self.pull()
                except Gone:
                    self.stopping.wait(0.005)
        except Exception as error:  # the round reports it
            self.error = error

    def pull(self):
        drop = Drop(self.shared.host, self.shared.user)
        try:
            ours = {number: uid for number, (_, uid) in enumerate(drop.uids, 1) if uid in self.known}
            chosen = self.rng.sample(sorted(ours), self.rng.randrange(min(len(ours), 6) + 1))
            for number in chosen:
                drop.wire.send(b"DELE %d\r\n" % number)
                drop.ok()
            uids = {ours[number] for number in chosen}
            self.tally.seen.update((uid, self.known[uid]) for uid in uids)
            self.tally.maybe_expunged |= uids
            drop.quit()
            self.tally.expunged |= uids
        finally:
            drop.wire.close()


class Keeper(Roster):
    """An admin who gives the user other quotas, and the password again."""

    QUOTAS = ("none none", "none 60", "1073741824 none", "1073741824 5000")

    def __init__(self, host, shared, seed):
        super().__init__(host, None, seed)
        self.shared = shared

    def choose(self):
        if self.rng.random() < 0.3:
            return ["passwd", address(self.shared.user)], PASSWORD, lambda: None
        quota = self.rng.choice(self.QUOTAS)
        self.shared.quotas.add(quota)

        def settle():
            self.shared.quotas = {quota}
        return ["quota", address(self.shared.user), *quota.split()], "", settle
