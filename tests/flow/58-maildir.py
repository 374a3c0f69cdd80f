"""It is a real Maildir: other programs deliver into it, read it and change it while the store runs."""

import os
import pathlib
import shutil
import tempfile
import unittest

from host import Host, another_tick
from tools import NOBODY, need, run

STORE = 0  # enum priv_role

MESSAGE = b"From: sender@example.org\nTo: alice@example.test\nSubject: %s\n\nbody of %s\n"


class Maildir(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        # maildrop and mutt run only as somebody who has a name: the store's uid becomes nobody's.
        settings = {"uid-base": str(NOBODY - STORE)} if os.geteuid() == 0 else {}
        cls.host = cls.enterClassContext(Host(set=settings))
        cls.inbox = cls.host.dir / "store/mail/example.test/alice"
        cls.owner = cls.inbox.stat()
        cls.home = pathlib.Path(tempfile.mkdtemp(prefix="restante-maildir-"))
        os.chown(cls.home, cls.owner.st_uid, cls.owner.st_gid)
        cls.addClassCleanup(shutil.rmtree, cls.home, ignore_errors=True)
        if os.geteuid() == 0:  # whoever stands in for the store's user has to get there
            cls.host.dir.chmod(0o755)

    def setUp(self):
        self.host.empty("alice")

    def as_owner(self, command, input=None, env=None, codes=(0,)):
        """These programs run as the one whose Maildir it is, as they would on a host."""
        self.let_time_pass()
        if os.geteuid() == 0:
            command = [need("setpriv", "util-linux"), f"--reuid={self.owner.st_uid}", f"--regid={self.owner.st_gid}",
                       "--clear-groups", *command]
        return run(command, input, env={"HOME": str(self.home), **(env or {})}, codes=codes)

    def let_time_pass(self):
        another_tick(self.inbox / "new", self.inbox / "cur")

    def copy(self, of, to):
        shutil.copy(of, to)
        os.chown(to, self.owner.st_uid, self.owner.st_gid)

    def subjects(self):
        found = []
        for message in self.host.messages("alice"):
            found += [line[9:].decode() for line in message.split(b"\r\n") if line.startswith(b"Subject: ")]
        return sorted(found)

    def uidls(self):
        client = self.host.pop3("alice")
        uidls = [line.split()[1] for line in client.uidl()[1]]
        client.quit()
        return uidls

    def names(self):
        return sorted(f"{part}/{file.name}" for part in ("new", "cur") for file in (self.inbox / part).iterdir())

    def adopted_once(self):
        """A second look finds nothing more to do, and every name carries its UID."""
        before = self.uidls(), self.names()
        for name in before[1]:
            self.assertIn(",U=", name)
        self.assertEqual(len(before[0]), len(before[1]))
        self.assertEqual((self.uidls(), self.names()), before)
        return before[0]

    def test_maildrop(self):
        program = need("maildrop")
        (self.home / "filter").write_text(f'to "{self.inbox}"\n')
        (self.home / "filter").chmod(0o600)
        os.chown(self.home / "filter", self.owner.st_uid, self.owner.st_gid)
        for number in range(5):
            subject = b"drop %d" % number
            self.as_owner([program, self.home / "filter"], MESSAGE % (subject, subject))
            self.host.send(MESSAGE % (b"push", b"push"))
        self.assertEqual(self.subjects(), [f"drop {number}" for number in range(5)] + 5 * ["push"])
        self.adopted_once()

    def mutt(self, commands, folder=None):
        program = need("mutt")
        (self.home / "muttrc").write_text(
            f"set mbox_type=Maildir\nset folder={self.home}\nset record=\nset move=no\nset quit=yes\nset delete=yes\n"
            f"set confirmappend=no\nset wait_key=no\nset header_cache=\nset sleep_time=0\nset mark_old=no\n"
            f"set timeout=1\nset tmpdir={self.home}\npush '{commands}'\n")
        # mutt wants a terminal: script(1) is one.
        command = f"{program} -F {self.home}/muttrc -f {folder or self.inbox}"
        self.as_owner([need("script", "bsdutils"), "-qec", command, "/dev/null"], b"", env={"TERM": "xterm"})

    def test_mutt(self):
        for subject in (b"keep", b"flag", b"kill"):
            self.host.send(MESSAGE % (subject, subject))
        before = dict(zip(("keep", "flag", "kill"), self.uidls()))
        self.mutt("<limit>~s flag<enter><flag-message><limit>all<enter>"
                  "<limit>~s kill<enter><delete-message><limit>all<enter><quit>")
        self.assertEqual(self.subjects(), ["flag", "keep"])
        self.assertEqual(self.adopted_once(), [before["keep"], before["flag"]])
        flagged = [name for name in self.names() if ":2," in name and "F" in name.rsplit(":2,", 1)[1]]
        self.assertEqual(len(flagged), 1)
        self.host.send(MESSAGE % (b"later", b"later"))
        self.assertEqual(self.subjects(), ["flag", "keep", "later"])

    def mbsync(self):
        program = need("mbsync", "isync")
        other = self.home / "other"
        if not other.exists():
            for path in (other, self.home / "state"):
                path.mkdir()
            for part in ("cur", "new", "tmp"):
                (other / part).mkdir()
            (self.home / "mbsyncrc").write_text(
                f"MaildirStore ours\nAltMap yes\nInbox {self.inbox}\n\nMaildirStore theirs\nInbox {other}\n\n"
                f"Channel all\nFar :ours:\nNear :theirs:\nCreate None\nExpunge Both\nSync All\n"
                f"SyncState {self.home}/state/\n")
            for path in [other, *other.rglob("*"), self.home / "state"]:
                os.chown(path, self.owner.st_uid, self.owner.st_gid)
        self.as_owner([program, "-q", "-c", self.home / "mbsyncrc", "all"])
        return other

    def test_mbsync(self):
        need("mbsync", "isync")
        for number in range(3):
            self.host.send(MESSAGE % (b"ours %d" % number, b"x"))
        before = self.uidls()
        other = self.mbsync()
        self.assertEqual(len([*other.glob("new/*"), *other.glob("cur/*")]), 3)
        # With AltMap mbsync keeps its own UIDs out of the names, which are taken by ours.
        self.assertEqual(self.adopted_once(), before)
        file = other / "new/1700000000.other.elsewhere"
        file.write_bytes(MESSAGE % (b"theirs", b"x"))
        os.chown(file, self.owner.st_uid, self.owner.st_gid)
        self.mbsync()
        self.assertEqual(self.subjects(), ["ours 0", "ours 1", "ours 2", "theirs"])
        self.assertEqual(self.adopted_once()[:3], before)
        # Deleted there: mbsync marks it T here and expunges; deleted here: gone there.
        gone = next(file for part in ("new", "cur") for file in (other / part).iterdir()
                    if b"Subject: ours 1\n" in file.read_bytes())
        gone.unlink()
        self.mbsync()
        self.assertEqual(self.subjects(), ["ours 0", "ours 2", "theirs"])
        client = self.host.pop3("alice")
        client.dele(1)
        client.quit()
        self.mbsync()
        self.assertEqual(len([*other.glob("new/*"), *other.glob("cur/*")]), 2)
        self.adopted_once()

    def test_behind_its_back(self):
        for number in range(6):
            self.host.send(MESSAGE % (b"%d" % number, b"x"))
        uidls = self.uidls()
        self.let_time_pass()
        new = sorted((self.inbox / "new").iterdir(), key=lambda file: int(file.name.rsplit("U=", 1)[1]))
        new[0].unlink()
        new[1].rename(self.inbox / "cur" / f"{new[1].name}:2,S")
        new[2].rename(self.inbox / "cur" / f"{new[2].name}:2,FRS")
        self.copy(new[3], self.inbox / "new/1700000000.a-copy.elsewhere")
        # The same base a second time is a second message.
        self.copy(new[4], self.inbox / "cur" / f"{new[4].name}:2,S")
        # The name of another mailbox's message, UID and all.
        (self.inbox / "new/1700000001.moved.elsewhere,S=10,W=12,U=1").write_bytes(MESSAGE % (b"moved", b"x"))
        self.assertEqual(self.subjects(), ["1", "2", "3", "3", "4", "4", "5", "moved"])
        after = self.adopted_once()
        self.assertEqual(after[:5], uidls[1:])
        self.assertEqual(len(set(after)), 8)
        # While a session is open its messages stay as they were numbered; the next one sees the truth.
        client = self.host.pop3("alice")
        count = client.stat()[0]
        self.let_time_pass()
        for file in [*(self.inbox / "cur").iterdir()]:
            file.unlink()
        left = len([*(self.inbox / "new").iterdir()])
        self.assertLess(left, count)
        self.assertEqual(client.stat()[0], count)
        client.quit()
        self.assertEqual(len(self.adopted_once()), left)

    def test_everything_at_once(self):
        """Deliveries of both sides in a row, each adopted once, none lost."""
        expected = []
        for number in range(120):
            subject = f"mixed {number:03}"
            expected.append(subject)
            octets = MESSAGE % (subject.encode(), b"x")
            if number % 3 == 0:
                self.host.send(octets)
            else:
                tmp = self.inbox / "tmp" / f"17000001{number:02}.{number}.elsewhere"
                tmp.write_bytes(octets)
                if number == 119:  # that shows the others, too
                    self.let_time_pass()
                tmp.rename(self.inbox / "new" / tmp.name)
            if number % 10 == 0:
                self.host.pop3("alice").quit()
        self.assertEqual(self.subjects(), expected)
        self.adopted_once()

    def test_not_messages(self):
        """What is no message is left alone."""
        (self.inbox / "new/.hidden").write_bytes(b"x")
        (self.inbox / "cur/directory").mkdir()
        (self.inbox / "new/1700000000.link.elsewhere").symlink_to("/etc/passwd")
        os.mkfifo(self.inbox / "new/1700000000.fifo.elsewhere")
        try:
            self.assertEqual(self.subjects(), [])
            self.assertTrue((self.inbox / "new/1700000000.link.elsewhere").is_symlink())
        finally:
            (self.inbox / "new/.hidden").unlink()
            (self.inbox / "cur/directory").rmdir()
            (self.inbox / "new/1700000000.link.elsewhere").unlink()
            (self.inbox / "new/1700000000.fifo.elsewhere").unlink()


if __name__ == "__main__":
    unittest.main()
