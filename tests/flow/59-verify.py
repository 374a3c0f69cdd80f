"""restante store verify, rebuild and stats, while the host runs and while it does not."""

import concurrent.futures
import os
import re
import threading
import unittest

from host import Host, build_dir, on_a_terminal, wait_for

MESSAGE = b"Subject: %d\r\n\r\nbody\r\n"


class Verify(unittest.TestCase):
    def setUp(self):
        self.host = self.enterContext(Host())
        self.conf = str(self.host.dir / "restante.conf")
        for number in range(20):
            self.host.send(MESSAGE % number, ("alice", "bob"))
        self.inbox = self.host.dir / "store/mail/example.test/alice"

    def store(self, *arguments):
        done = self.host.command("store", *arguments, "-c", self.conf, check=False)
        return done.returncode, done.stdout.decode(), done.stderr.decode()

    def uidls(self, user):
        client = self.host.pop3(user)
        uidls = client.uidl()[1]
        client.quit()
        return uidls

    def check(self):
        self.assertEqual(self.store("verify")[0], 0, self.store("verify"))
        code, out, _ = self.store("verify", "alice@example.test")
        self.assertEqual((code, out.splitlines()[-1]), (0, "1 users, 20 messages, 0 findings"))
        code, _, error = self.store("verify", "nobody@example.test")
        self.assertEqual((code, error.split("; ")[0]), (67, "restante: nobody@example.test: there is no such user"))
        # Planted: a size (of a body that bob has, too), a message that is gone and one that nobody has adopted.
        files = sorted((self.inbox / "new").iterdir())
        kept = files[0].read_bytes(), files[1].read_bytes()
        files[0].write_bytes(kept[0] + b"more\n")
        files[1].rename(self.inbox / "aside")
        stray = self.inbox / "new/1700000000.stray.elsewhere"
        stray.write_bytes(b"Subject: stray\n\nx\n")
        code, out, _ = self.store("verify")
        self.assertEqual(code, 65, out)
        self.assertIn("4 findings", out)
        for word in ("has a file of", "has no file", "a file has no entry: new/1700000000.stray"):
            self.assertIn(word, out)
        self.assertIn("carol@example.test: 0 findings", out)
        files[0].write_bytes(kept[0])
        (self.inbox / "aside").rename(files[1])
        stray.unlink()
        self.assertEqual(self.store("verify")[0], 0)

    def test_online(self):
        self.check()

    def test_offline(self):
        self.host.stop()
        self.check()

    def test_stats(self):
        code, out, _ = self.store("stats")
        self.assertEqual(code, 0)
        counted = dict(line.split() for line in out.splitlines())
        self.assertEqual(counted["users"], "3")
        self.assertEqual(counted["messages-kept"], "40")

    def test_rebuild_online(self):
        before = self.uidls("alice"), self.uidls("bob")
        store = self.host.pids("store")
        code, out, error = self.store("rebuild")
        self.assertEqual((code, out), (0, "rebuilt: 40 messages\n"), error)
        self.assertNotEqual(self.host.pids("store"), store)
        wait_for(lambda: self.pulls("alice"), "mail again")
        self.assertEqual((self.uidls("alice"), self.uidls("bob")), before)
        self.assertIn("index-rebuilt", self.host.log())
        self.assertEqual(self.store("verify")[0], 0)

    def pulls(self, user):
        try:
            self.host.pop3(user).quit()
            return True
        except Exception:  # noqa: BLE001 (a temporary error, or a connection that ended)
            return False

    def test_rebuild_offline(self):
        before = self.uidls("alice")
        self.host.stop()
        code, out, error = self.store("rebuild")
        self.assertEqual((code, out), (0, "rebuilt: 40 messages\n"), error)
        self.assertNotIn("level=error", error, "nothing is wrong with what was asked for")
        self.assertIn("event=index-set-aside", error)
        self.assertEqual(len([*(self.host.dir / "store").glob("env.damaged.*")]), 1)
        self.host.start()
        self.assertEqual(self.uidls("alice"), before)
        self.assertEqual(self.store("verify")[0], 0)

    def test_while_mail_comes(self):
        """What is under way is no finding."""
        done, came = threading.Event(), []

        def push():
            while not done.is_set():
                self.host.send(MESSAGE % len(came), ("carol",))
                came.append(len(came))

        def counted():
            code, out, error = self.store("verify")
            self.assertEqual(code, 0, out + error)
            return int(re.fullmatch(r"3 users, (\d+) messages, 0 findings", out.splitlines()[-1])[1])

        others, before = counted(), 0
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            pusher = pool.submit(push)
            try:
                for _ in range(10):
                    wait_for(lambda: len(came) > before or pusher.done(), "more mail")
                    before = len(came)
                    self.assertGreaterEqual(counted(), others + before, "what was acknowledged is looked at")
            finally:
                done.set()
            pusher.result()
        self.assertEqual(len(self.host.messages("carol")), len(came))

    def test_progress_on_a_terminal(self):
        command = f"{build_dir()}/restante store verify -c {self.conf}"
        said = on_a_terminal(command).decode()
        self.assertIn("[########################################] 40 of 40 messages", said)

    def make_folder(self):
        owner = self.inbox.stat()
        for path in (self.inbox / ".Elsewhere", self.inbox / ".Elsewhere/cur"):
            path.mkdir()
            os.chown(path, owner.st_uid, owner.st_gid)

    def test_planted_while_it_runs(self):
        """Each kind is seen by the command, and a rebuild mends what is the index's."""
        store = self.host.dir / "store"
        planted = ((self.make_folder, "a folder has no entry: .Elsewhere"),
                   (lambda: (store / "users").write_text("restante-users 1\n"), "the file users is not what"),
                   (lambda: (self.inbox / "restante-mailbox").write_text("junk\n"), "restante-mailbox cannot be read"),
                   (lambda: (self.inbox / "new/1700000000.x.y").write_bytes(b"x\n"), "a file has no entry: new/17"))
        for plant, finding in planted:
            plant()
            code, out, _ = self.store("verify")
            self.assertEqual(code, 65, out)
            self.assertIn(finding, out)
        self.assertEqual(self.store("rebuild")[0], 0)
        self.assertEqual(self.store("rebuild")[0], 0)
        wait_for(lambda: self.pulls("alice"), "mail again")
        self.assertEqual(self.store("verify")[0], 0, self.store("verify"))
        stray = store / "mail/example.test/nobody"
        (stray / "cur").mkdir(parents=True)
        self.assertIn("a Maildir of nobody: mail/example.test/nobody", self.store("verify")[1])

    def test_rebuild_on_a_terminal(self):
        """The bar moves while it works, and is full at the end."""
        new = self.host.dir / "store/mail/example.test/carol/new"
        for number in range(20000):
            (new / f"1700000000.M{number:06}P1.elsewhere").write_bytes(b"Subject: x\n\nx\n")
        command = f"{build_dir()}/restante store rebuild -c {self.conf}"

        def moves():
            said = on_a_terminal(command).decode()
            self.assertIn("rebuilt: 20040 messages", said)
            seen = re.findall(r"\] (\d) of 3 users, (\d+) messages", said)
            self.assertEqual(seen[-1], ("3", "20040"), said)
            return len(set(seen)) > 1
        # Nobody who looks on gets to run in time every time.
        wait_for(moves, "a bar that is seen before it is full")

    def test_mistakes(self):
        for arguments in ((), ("burn",), ("rebuild", "alice@example.test"), ("verify", "a", "b"), ("verify", "alice")):
            self.assertEqual(self.store(*arguments)[0], 64, arguments)


if __name__ == "__main__":
    unittest.main()
