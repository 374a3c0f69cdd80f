"""What the host has promised so far, and whether what is there keeps it.

A promise is an answer that a client has read in full: 250 after DATA, +OK after QUIT, a UID in a listing. What
was under way when the host died may have happened or not, but never half and never twice.
"""

import hashlib
import threading

PIECE = 100  # of flags that are set, or of a move (store/batch.c), which go by ascending UID
SENT, ACKNOWLEDGED = "under way", "acknowledged"


class Broken(AssertionError):
    """A promise was not kept."""


class Message:
    """One message for one user."""

    def __init__(self, digest):
        self.digest = digest
        self.state = SENT
        self.uid = None           # once a client has seen it
        self.deleted = False      # a QUIT that covers it was acknowledged
        self.deletion = None      # or one was not answered: the messages it covers


class Maildrop:
    def __init__(self):
        self.messages = {}        # by key
        self.by_uid = {}
        self.shown = set()        # UIDs listed since the last restart
        self.uidvalidity = None
        self.highest = 0


class Ledger:
    def __init__(self, users):
        self.lock = threading.Lock()
        self.maildrops = {user: Maildrop() for user in users}
        self.counts = {"acknowledged": 0, "refused": 0, "under way": 0, "deleted": 0}

    # ---- what clients tell ----

    def sending(self, key, users, body):
        digest = hashlib.sha256(body).digest()
        with self.lock:
            for user in users:
                self.maildrops[user].messages[key] = Message(digest)
            self.counts["under way"] += 1

    def accepted(self, key, users):
        with self.lock:
            for user in users:
                self.maildrops[user].messages[key].state = ACKNOWLEDGED
            self.counts["acknowledged"] += 1
            self.counts["under way"] -= 1

    def refused(self):
        """For the moment: it may have been stored all the same, when the answer got lost on its way."""
        with self.lock:
            self.counts["refused"] += 1

    def deleting(self, user, uids):
        """A QUIT with these messages deleted is about to be sent."""
        with self.lock:
            together = {self.maildrops[user].by_uid[uid] for uid in uids}
            for message in together:
                message.deletion = together

    def deleted(self, user, uids):
        with self.lock:
            for uid in uids:
                message = self.maildrops[user].by_uid[uid]
                message.deleted, message.deletion = True, None
                self.counts["deleted"] += 1

    # ---- what the host shows ----

    def listed(self, user, listing):
        """A UIDL listing: [(uidvalidity, uid)], in its order."""
        with self.lock:
            drop = self.maildrops[user]
            last = 0
            for uidvalidity, uid in listing:
                if drop.uidvalidity is None:
                    drop.uidvalidity = uidvalidity
                if uidvalidity != drop.uidvalidity:
                    raise Broken(f"{user}: UIDVALIDITY {drop.uidvalidity} became {uidvalidity}")
                if uid <= last:
                    raise Broken(f"{user}: UID {uid} is listed after {last}")
                if uid <= drop.highest and uid not in drop.by_uid:
                    raise Broken(f"{user}: UID {uid} is new, and {drop.highest} was given before")
                last = uid
            drop.shown.update(uid for _, uid in listing)
            self._settle_quits(user, drop, {uid for _, uid in listing})

    def retrieved(self, user, uid, key, body):
        """A message's octets behind that UID."""
        with self.lock:
            drop = self.maildrops[user]
            message = drop.messages.get(key)
            if message is None:
                raise Broken(f"{user}: UID {uid} is message {key}, which nobody sent")
            if hashlib.sha256(body).digest() != message.digest:
                raise Broken(f"{user}: message {key} (UID {uid}) has other octets than were sent")
            if message.uid not in (None, uid):
                raise Broken(f"{user}: message {key} has UID {uid} and had {message.uid}")
            if uid in drop.by_uid and drop.by_uid[uid] is not message:
                raise Broken(f"{user}: UID {uid} is message {key} and was another")
            message.uid = uid
            drop.by_uid[uid] = message
            drop.highest = max(drop.highest, uid)

    def is_known(self, user, uid):
        with self.lock:
            return uid in self.maildrops[user].by_uid

    # ---- after a restart ----

    def settle(self, user, uids):
        """These UIDs, all retrieved by now, are everything that the maildrop has. Nothing is under way."""
        present = set(uids)
        with self.lock:
            drop = self.maildrops[user]
            for uid in drop.shown - present - drop.by_uid.keys():
                raise Broken(f"{user}: UID {uid} was listed and is lost")
            for key, message in drop.messages.items():
                self._judge(user, key, message, message.uid in present)
            drop.shown.clear()
            for message in drop.messages.values():
                # What never came and what is gone stays so: neither may appear from now on.
                message.deleted = message.uid not in present
                message.state = ACKNOWLEDGED

    @staticmethod
    def _settle_quits(user, drop, present):
        """A later session shows what became of a QUIT that was not answered: all of it or nothing."""
        for together in {frozenset(message.deletion) for message in drop.messages.values() if message.deletion}:
            uids = sorted(message.uid for message in together)
            left = [uid for uid in uids if uid in present]
            if left and left != uids:
                raise Broken(f"{user}: UIDs {left} are left of {uids} that one QUIT deleted")
            for message in together:
                message.deleted, message.deletion = message.uid not in present, None

    @staticmethod
    def _judge(user, key, message, is_there):
        if message.deleted and is_there:
            raise Broken(f"{user}: message {key} (UID {message.uid}) was deleted or never came, and is back")
        if is_there or message.deleted:
            return
        if message.state == ACKNOWLEDGED:
            raise Broken(f"{user}: message {key} was acknowledged and is lost")
        if message.uid is not None:
            raise Broken(f"{user}: message {key} was shown as UID {message.uid} and is lost")
