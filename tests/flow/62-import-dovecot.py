"""restante store import: a Maildir tree of Debian's Dovecot, taken over with all its numbers."""

import imaplib
import os
import pathlib
import shutil
import signal
import smtplib
import subprocess
import tempfile
import time
import unittest

from host import PATIENCE, Host, address, build_dir, freeze, on_a_terminal, wait_for
from peers import Dovecot
from remote import descriptors

LETTERS = {"S": "\\Seen", "R": "\\Answered", "F": "\\Flagged", "T": "\\Deleted", "D": "\\Draft"}
LARGE = b"Subject: large\r\n\r\n" + 9000 * (b"x" * 70 + b"\r\n")
OLD = '"01-Jan-2020 10:00:00 +0000"'


class Tree:
    """What Dovecot shows of alice's mail, and a copy of where it lies."""

    def __init__(self, layout):
        self.separator = "/" if layout else "."
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="restante-import-"))
        self.mailboxes = {}
        with Dovecot(imap=True, layout=layout) as dovecot:
            self.fill(dovecot)
            dovecot.stop()
            self.path = self.dir / "alice@example.test"
            shutil.copytree(dovecot.dir / "mail/alice@example.test", self.path, copy_function=shutil.copy2)

    def remove(self):
        shutil.rmtree(self.dir, ignore_errors=True)

    def fill(self, dovecot):
        with smtplib.LMTP("127.0.0.1", dovecot.lmtp_port) as client:
            for number in range(8):
                client.sendmail("sender@example.org", [address("alice")], b"Subject: %d\r\n\r\nbody\r\n" % number)
        imap = imaplib.IMAP4("127.0.0.1", dovecot.imap_port)
        imap.login(address("alice"), "restante")
        nested = self.separator.join(("Lists", "Linux", "Kernel"))
        for name in ("Lists", nested, "Entw&APw-rfe", "Empty"):
            assert imap.create(name)[0] == "OK"
        for name in ("INBOX", nested, "Entw&APw-rfe"):
            imap.subscribe(name)
        imap.select("INBOX")
        imap.store("1", "+FLAGS", "(\\Seen $Forwarded work)")
        imap.store("2", "+FLAGS", "(\\Answered \\Flagged)")
        imap.store("3:4", "+FLAGS", "(\\Seen work)")
        imap.copy("1:3", nested)
        imap.store("2,8", "+FLAGS", "(\\Deleted)")
        imap.expunge()
        imap.append("Lists", "(\\Draft home)", OLD, b"Subject: old\r\n\r\nx\r\n")
        imap.append("Lists", "()", OLD, LARGE)
        imap.append("Entw&APw-rfe", "(\\Deleted)", OLD, b"Subject: 8-bit \xe4\r\n\r\nx\r\n")
        for name, folder in (("INBOX", ""), ("Lists", ".Lists"), (nested, ".Lists.Linux.Kernel"),
                             ("Entw&APw-rfe", ".Entw&APw-rfe"), ("Empty", ".Empty")):
            self.mailboxes[folder] = self.look(imap, name)
        imap.logout()

    @staticmethod
    def look(imap, name):
        imap.select(name, readonly=True)
        status = imap.status(name, "(UIDVALIDITY UIDNEXT)")[1][0].decode()
        words = status[status.index("(") + 1:-1].split()
        numbers = {name: int(value) for name, value in zip(words[::2], words[1::2])}
        messages = []
        rows = imap.uid("fetch", "1:*", "(FLAGS INTERNALDATE BODY.PEEK[])")[1]
        for row in rows:
            if not isinstance(row, tuple):
                continue
            head = row[0].decode()
            uid = int(head[head.index("UID ") + 4:].split()[0])
            flags = {flag.decode() for flag in imaplib.ParseFlags(row[0])} - {"\\Recent"}
            date = int(time.mktime(imaplib.Internaldate2tuple(row[0])))
            messages.append((uid, flags, date, row[1]))
        return numbers["UIDVALIDITY"], numbers["UIDNEXT"], messages


class Import(unittest.TestCase):
    layout = ""

    @classmethod
    def setUpClass(cls):
        cls.tree = Tree(cls.layout)
        cls.addClassCleanup(cls.tree.remove)

    def setUp(self):
        self.host = self.enterContext(Host())
        self.conf = str(self.host.dir / "restante.conf")
        self.mail = self.host.dir / "store/mail/example.test/alice"

    def run_import(self, *arguments, path=None):
        done = self.host.command("store", "import", "--from", "dovecot", "-c", self.conf, *arguments,
                                 str(path or self.tree.path), check=False)
        return done.returncode, done.stdout.decode(), done.stderr.decode()

    def verify(self):
        done = self.host.command("store", "verify", "-c", self.conf, check=False)
        self.assertEqual(done.returncode, 0, done.stdout)

    def files(self):
        return sorted((str(file.relative_to(self.mail)), file.stat().st_mtime_ns) for file in self.mail.rglob("*")
                      if file.is_file())

    def ours(self, folder):
        """As look(), read from the files, which `store verify` has held against the index."""
        text = (self.mail / folder / "restante-mailbox").read_text().splitlines()
        values = dict(line.split(" ", 1) for line in text if not line.startswith("keyword "))
        keywords = [line[8:] for line in text if line.startswith("keyword ")]
        messages = []
        for part in ("new", "cur"):
            for file in (self.mail / folder / part).iterdir():
                base, _, info = file.name.partition(":2,")
                flags = {LETTERS.get(letter) or keywords[ord(letter) - ord("a")] for letter in info}
                messages.append((int(base.rsplit(",U=", 1)[1]), flags, int(base.split(".")[0]),
                                 file.read_bytes().replace(b"\n", b"\r\n")))
        return int(values["uidvalidity"]), int(values["ceiling"]), sorted(messages, key=lambda row: row[0])

    def check_all(self):
        self.verify()
        for folder, (uidvalidity, uidnext, messages) in self.tree.mailboxes.items():
            with self.subTest(folder=folder):
                ours = self.ours(folder)
                self.assertEqual(ours[0], uidvalidity)
                self.assertGreaterEqual(ours[1], uidnext)
                self.assertEqual([(uid, flags, date) for uid, flags, date, _ in ours[2]],
                                 [(uid, flags, date) for uid, flags, date, _ in messages])
                self.assertEqual([row[3] for row in ours[2]], [row[3] for row in messages])
        self.assertEqual((self.mail / "restante-subscriptions").read_text(),
                         "Entwürfe\nINBOX\nLists/Linux/Kernel\n")
        client = self.host.pop3("alice")
        uidvalidity, _, messages = self.tree.mailboxes[""]
        self.assertEqual([line.split()[1] for line in client.uidl()[1]],
                         [b"%08x%08x" % (uidvalidity, uid) for uid, *_ in messages])
        client.quit()

    def next_uid(self):
        self.host.send(b"Subject: next\r\n\r\nx\r\n")
        client = self.host.pop3("alice")
        uid = int(client.uidl()[1][-1].split()[1][8:], 16)
        client.quit()
        return uid

    def test_online(self):
        code, out, error = self.run_import()
        self.assertEqual((code, error), (0, ""))
        self.assertIn("alice@example.test: 5 mailboxes, 12 messages taken over, 0 here before", out)
        self.check_all()
        before = self.files()
        code, out, _ = self.run_import()
        self.assertEqual(code, 0)
        self.assertIn("0 messages taken over, 12 here before", out)
        self.assertEqual(self.files(), before, "a second import changes nothing")
        # The last message was expunged there: its UID is not given again.
        self.assertEqual(self.next_uid(), self.tree.mailboxes[""][1])
        # Numbers survive the loss of the index.
        client = self.host.pop3("alice")
        client.dele(7)
        client.quit()
        self.host.command("store", "rebuild", "-c", self.conf)
        wait_for(self.pulls, "mail again")
        self.check_all()

    def pulls(self):
        try:
            self.host.pop3("alice").quit()
            return True
        except Exception:  # noqa: BLE001 (a temporary error, or a connection that ended)
            return False

    def test_offline(self):
        self.host.stop()
        try:
            code, _, error = self.run_import("--user", "Alice@Example.Test")
            self.assertEqual((code, error), (0, ""))
        finally:
            self.host.start()
        self.check_all()

    def test_deleted_here_stays_deleted(self):
        self.assertEqual(self.run_import()[0], 0)
        client = self.host.pop3("alice")
        client.dele(1)
        client.quit()
        code, out, _ = self.run_import()
        self.assertEqual(code, 0)
        self.assertIn("1 left out", out)
        self.verify()

    def test_refusals(self):
        code, _, error = self.run_import("--user", "nobody@example.test")
        self.assertEqual(code, 67)
        self.assertIn("restante user add", error)
        code, _, error = self.run_import("--user", "bob@example.test", path="/nonexistent")
        self.assertEqual(code, 65)
        self.host.send(b"Subject: mine\r\n\r\nx\r\n", ("bob",))
        code, _, error = self.run_import("--user", "bob@example.test")
        self.assertEqual(code, 65)
        self.assertIn("INBOX: the mailbox has messages of its own", error)
        self.assertNotIn("put off", error)
        self.host.send(b"Subject: next\r\n\r\nx\r\n", ("bob",))
        self.assertEqual(len(self.host.messages("bob")), 2, "the user is open again")
        for arguments in (("--from", "cyrus", "."), ("--from", "dovecot"), ("--from", "dovecot", "/tmp"), (".",)):
            done = self.host.command("store", "import", "-c", self.conf, *arguments, check=False)
            self.assertEqual(done.returncode, 64, done.stderr)

    def test_session_in_the_way(self):
        client = self.host.pop3("alice")
        code, _, error = self.run_import()
        self.assertEqual(code, 75)
        self.assertIn("session", error)
        client.quit()
        self.assertEqual(self.run_import()[0], 0)
        self.check_all()

    def test_ended_in_between(self):
        """kill -9 of everything while it runs: nobody sees half of it, and the next run completes it."""
        with tempfile.TemporaryDirectory() as directory:
            path = pathlib.Path(directory) / "alice@example.test"
            shutil.copytree(self.tree.path, path, copy_function=shutil.copy2)
            count = 0
            while self.inbox_count() >= count:
                # For the first time, or the one before was through already: with messages that are not here yet.
                self.grow(path, count, 3000)
                count += 3000
                self.kill_while_imported(path)
                self.host.start()
            with self.host.smtp() as client:
                client.ehlo("client.test")
                client.mail("sender@example.org")
                self.assertEqual(client.rcpt(address("alice"))[0], 451)
            self.assertFalse(self.pulls())
            done = self.host.command("store", "verify", "-c", self.conf, check=False)
            self.assertIn(b"alice@example.test INBOX: an import was begun and is not finished", done.stdout)
            with open(path / "dovecot-uidlist") as uidlist:
                other = pathlib.Path(directory) / "other"
                shutil.copytree(path, other)
                (other / "dovecot-uidlist").write_text("3 V7 N9000\n" + "".join(uidlist.readlines()[1:]))
            code, _, error = self.run_import("--user", "alice@example.test", path=other)
            self.assertEqual(code, 65, error)
            self.assertIn("put off", error)
            self.assertFalse(self.pulls(), "another import does not open a user with half of this one")
            code, out, error = self.run_import(path=path)
            self.assertEqual((code, error), (0, ""))
            self.assertIn("messages taken over", out)
            self.verify()
            uids = [row[0] for row in self.ours("")[2]]
            self.assertEqual(uids, [uid for uid, *_ in self.tree.mailboxes[""][2]] + list(range(9, 9 + count)))
            self.assertTrue(self.pulls())

    def inbox_count(self):
        return sum(1 for part in ("new", "cur") for _ in (self.mail / part).iterdir())

    def kill_while_imported(self, path):
        """Everything dies as soon as a message more is here."""
        before = self.inbox_count()
        importer = subprocess.Popen([build_dir() / "restante", "store", "import", "--from", "dovecot", "-c", self.conf,
                                     str(path)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_for(lambda: self.inbox_count() > before, "the import to be under way")
        self.host.kill()
        importer.wait(PATIENCE)

    def grow(self, path, known, count):
        """More messages that Dovecot knows of."""
        with open(path / "dovecot-uidlist", "a") as uidlist:
            for number in range(known, known + count):
                name = f"1700000000.M{number:06}P1.elsewhere,S=17"
                (path / "cur" / f"{name}:2,S").write_bytes(b"Subject: more\n\nx\n")
                uidlist.write(f"{9 + number} :{name}\n")

    def test_damaged(self):
        """Nothing is changed, and every fault has its file and line."""
        with tempfile.TemporaryDirectory() as directory:
            path = pathlib.Path(directory) / "tree"
            shutil.copytree(self.tree.path, path, copy_function=shutil.copy2)
            before = self.files()
            uidlist = (path / "dovecot-uidlist").read_text()
            lines = uidlist.splitlines(keepends=True)
            for text, expected in (("", ":1: the file is empty"),
                                   ("1 2 3\n", ":1: not a uidlist of version 3"),
                                   ("3 V0 N1\n", ":1: V is no UIDVALIDITY"),
                                   ("3 N1\n", ":1: V (UIDVALIDITY)"),
                                   (uidlist + "5 :again\n", f":{len(lines) + 1}: its UID is not above"),
                                   (uidlist + "99999999999 :x\n", f":{len(lines) + 1}: the line does not begin"),
                                   (uidlist + "99 x\n", f":{len(lines) + 1}: there is no colon"),
                                   (uidlist + "99 :\n", f":{len(lines) + 1}: there is no file name"),
                                   (uidlist + "99 :cut", f":{len(lines) + 1}: the line has no end")):
                (path / "dovecot-uidlist").write_text(text)
                code, _, error = self.run_import("--user", "alice@example.test", path=path)
                self.assertEqual(code, 65, error)
                self.assertIn(f"{path}/dovecot-uidlist{expected}", error)
            (path / "dovecot-uidlist").write_text(uidlist)
            (path / "dovecot-keywords").write_text("0 good\nx bad\n")
            (path / "subscriptions").write_text("V\t2\n\nINBOX\nLists\t\tLinux\n")
            (path / "new/1700000000.packed.elsewhere").write_bytes(b"\x1f\x8b\x08\x00packed")
            (path / "new/1700000000.link.elsewhere").symlink_to("/etc/passwd")
            os.mkfifo(path / "cur/1700000000.fifo.elsewhere")
            code, _, error = self.run_import("--user", "alice@example.test", path=path)
            self.assertEqual(code, 65, error)
            for expected in ("dovecot-keywords:2: ", "subscriptions:4: ", "packed.elsewhere: compressed"):
                self.assertIn(f"{path}/", error)
                self.assertIn(expected, error)
            self.assertNotIn("link", error)
            self.assertEqual(self.files(), before)
            self.assertTrue(self.pulls(), "the user was not closed")

    def test_progress_on_a_terminal(self):
        command = f"{build_dir()}/restante store import --from dovecot -c {self.conf} {self.tree.path}"
        said = on_a_terminal(command).decode()
        self.assertIn("[########################################] 12 of 12 messages", said)
        self.assertIn("12 messages taken over", said)


class Refused(unittest.TestCase):
    """What cannot be taken over whole is not begun."""

    def test_a_folder_in_the_way(self):
        host = self.enterContext(Host())
        path = pathlib.Path(os.path.realpath(self.enterContext(tempfile.TemporaryDirectory()))) / "alice@example.test"
        for folder in (path, path / ".Lists"):
            for part in ("cur", "new", "tmp"):
                (folder / part).mkdir(parents=True)
            (folder / "dovecot-uidlist").write_text("3 V7 N2\n1 :1.a.host\n")
            (folder / "cur/1.a.host:2,S").write_bytes(b"Subject: a\n\nx\n")
        words = ("store", "import", "--from", "dovecot", "-c", str(host.dir / "restante.conf"), str(path))
        host.command(*words)
        (path / ".Lists/dovecot-uidlist").write_text("3 V8 N2\n1 :1.a.host\n")
        (path / "dovecot-uidlist").write_text("3 V7 N3\n1 :1.a.host\n2 :2.b.host\n")
        (path / "cur/2.b.host:2,S").write_bytes(b"Subject: b\n\nx\n")
        done = host.command(*words, check=False)
        self.assertEqual(done.returncode, 65)
        self.assertIn(b"alice@example.test, .Lists/: the mailbox has messages of its own", done.stderr)
        self.assertNotIn(b"put off", done.stderr)
        self.assertEqual(len(host.messages("alice")), 1)


class Hostile(unittest.TestCase):
    """Root imports what a user has arranged."""

    def setUp(self):
        self.host = self.enterContext(Host())
        self.dir = pathlib.Path(os.path.realpath(self.enterContext(tempfile.TemporaryDirectory())))
        self.path = self.dir / "tree"
        for part in ("cur", "new", "tmp"):
            (self.path / part).mkdir(parents=True)
        (self.path / "dovecot-uidlist").write_text("3 V7 N2\n1 :1.a.host\n")
        (self.path / "cur/1.a.host:2,S").write_bytes(b"Subject: a\n\nx\n")

    def run_import(self, path):
        return self.host.command("store", "import", "--from", "dovecot", "-c", str(self.host.dir / "restante.conf"),
                                 "--user", "alice@example.test", str(path), check=False)

    def refused(self, path, *words):
        done = self.run_import(path)
        self.assertEqual((done.returncode, done.stdout), (65, b""), done.stderr)
        for word in words:
            self.assertIn(word, done.stderr)
        self.assertEqual(self.host.messages("alice"), [], "nothing is taken over")
        return done.stderr

    def test_names_are_not_for_the_terminal(self):
        name = b"2.\x1b[2J\x9b\nrestante: all is well"
        pathlib.Path(os.fsdecode(bytes(self.path) + b"/new/" + name)).write_bytes(b"\x1f\x8b\x08\x00packed")
        said = self.refused(self.path, b"new/2.?[2J??restante: all is well: compressed")
        self.assertEqual(said.count(b"\n"), 1)
        shutil.rmtree(self.path / "new")
        for part in ("cur", "new", "tmp"):
            (self.path / ".\x1b[2J\nrestante: all is well" / part).mkdir(parents=True)
        said = self.refused(self.path, b"alice@example.test, .?[2J?restante: all is well/: ")
        self.assertEqual(said.count(b"\n"), 1)

    def test_a_message_that_goes_away(self):
        """It is known that the user is closed; the same import opens it again."""
        store, = self.host.pids("store")
        freeze(store)
        conf = str(self.host.dir / "restante.conf")
        importer = subprocess.Popen([build_dir() / "restante", "store", "import", "--from", "dovecot", "-c", conf, "--user",
                                     "alice@example.test", str(self.path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        wait_for(lambda: any(held.startswith("socket:") for held in descriptors(importer.pid).values()), "the tree to be read")
        (self.path / "cur/1.a.host:2,S").rename(self.dir / "away")
        os.kill(store, signal.SIGCONT)
        _, error = importer.communicate(timeout=PATIENCE)
        self.assertEqual(importer.returncode, 74, error)
        self.assertIn(b"cur/1.a.host:2,S: ", error)
        self.assertIn(b"mail for alice@example.test is put off until the import is done again", error)
        (self.dir / "away").rename(self.path / "cur/1.a.host:2,S")
        self.assertEqual(self.run_import(self.path).returncode, 0)
        self.assertEqual(len(self.host.messages("alice")), 1)

    def test_no_link_leads_elsewhere(self):
        others = self.dir / "others"
        shutil.copytree(self.path, others)
        (self.dir / "link").symlink_to(others)
        self.refused(self.dir / "link", b"link: there is a symbolic link in this path")
        (others / "inner").mkdir()
        shutil.copytree(self.path, others / "inner/tree")
        self.refused(self.dir / "link/inner/tree", b"there is a symbolic link")
        (self.path / "dovecot-keywords").symlink_to("/etc/passwd")
        self.refused(self.path, b"dovecot-keywords: a symbolic link")

    @unittest.skipUnless(os.geteuid() == 0, "needs root, to own files as others")
    def test_second_names_of_files_of_others(self):
        secret = self.dir / "secret"
        secret.write_bytes(b"root:hash\n")
        os.link(secret, self.path / "cur/2.b.host:2,")
        os.chown(self.path, 65534, 65534)
        self.refused(self.path, b"cur/2.b.host:2,: a second name of a file that belongs to somebody else")
        os.chown(secret, 65534, 65534)
        done = self.run_import(self.path)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(len(self.host.messages("alice")), 2)


class ImportFs(Import):
    layout = ":LAYOUT=fs"


if __name__ == "__main__":
    unittest.main()
