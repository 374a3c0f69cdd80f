"""Addresses that make a host a home: aliases, lists, domains, subaddresses, postmaster; live at once, and kept."""

import os
import re
import shutil
import smtplib
import unittest

from host import Host, wait_for

MESSAGE = b"From: sender@example.org\r\nSubject: to whom it may concern\r\n\r\nbody\r\n"


class Addresses(unittest.TestCase):
    def begin(self, **how):
        self.host = self.enterContext(Host(**how))
        self.conf = str(self.host.dir / "restante.conf")

    def restante(self, *words, code=0, input=None):
        done = self.host.command(*words, "-c", self.conf, input=input, check=False)
        said = (done.stdout + done.stderr).decode()
        self.assertEqual(done.returncode, code, said)
        return said

    def refused(self, address):
        with self.assertRaises(smtplib.SMTPRecipientsRefused) as refusal:
            self.host.send(MESSAGE, (address,))
        return next(iter(refusal.exception.recipients.values()))[0]

    def got(self, *counts):
        """How many messages alice, bob and carol have, for good."""
        self.assertEqual(tuple(len(self.host.messages(user)) for user in ("alice", "bob", "carol")), counts)

    def test_aliases_are_live_at_once(self):
        self.begin()
        self.assertEqual(self.refused("sales@example.test"), 550)
        self.restante("alias", "add", "sales", "alice", "bob@example.test")
        self.host.send(MESSAGE, ("sales@example.test",))
        self.got(1, 1, 0)
        self.restante("alias", "add", "sales@example.test", "carol")
        self.host.send(MESSAGE, ("Sales+offers@Example.Test",))
        self.got(2, 2, 1)
        self.assertIn("alias=sales@example.test", self.host.log())
        self.restante("alias", "remove", "sales", "alice", "carol")
        self.host.send(MESSAGE, ("sales@example.test",))
        self.got(2, 3, 1)
        self.assertEqual(self.restante("alias", "list"), "sales@example.test: bob@example.test\n")
        self.assertEqual(self.restante("alias", "show", "sales"), "bob@example.test INBOX\n")
        self.restante("alias", "remove", "sales")
        self.assertEqual(self.refused("sales@example.test"), 550)
        self.assertIn("nobody", self.restante("alias", "show", "sales", code=67))
        self.assertIn("no alias", self.restante("alias", "remove", "sales", code=67))

    def test_a_quoted_user(self):
        self.begin()
        self.restante("user", "add", '"Jo Public"@Example.Test', input=b"restante\n")
        self.assertIn('\n"jo public"@example.test ', "\n" + self.restante("user", "list"))
        self.restante("alias", "add", "jo", '"jo public"')
        self.host.send(MESSAGE, ("jo@example.test", '"JO public"@example.test'))
        self.restante("store", "rebuild")
        self.assertRegex(self.restante("user", "list"), r'"jo public"@example.test +1 message ')
        self.restante("user", "quota", '"jo public"@example.test', "1M")
        self.restante("user", "passwd", '"jo public"@example.test', input=b"another\n")
        self.restante("alias", "remove", "jo")
        self.assertEqual(self.restante("user", "remove", '"jo public"@example.test'), "")
        self.assertIn('restante: remove "jo public"@example.test: no such user',
                      self.restante("user", "remove", '"jo public"@example.test', code=67))

    def test_what_leads_to_nobody_is_named(self):
        self.begin()
        self.restante("alias", "add", "team", "Bob@Example.Test", "carol")
        self.restante("alias", "add", "all", "team", "alice")
        self.assertIn("restante alias remove all@example.test team@example.test\n",
                      self.restante("alias", "remove", "team"))
        self.restante("alias", "add", "team", "bob")
        self.restante("alias", "add", "other", "alice")
        self.assertEqual(self.restante("alias", "remove", "other"), "")
        said = self.restante("user", "remove", "bob@example.test")
        self.assertEqual(said, "restante: team@example.test still has this address among its members; "
                               "restante alias remove team@example.test bob@example.test\n")

    def test_slips_are_named(self):
        self.begin()
        self.restante("alias", "add", "a", "alice")
        self.restante("alias", "add", "b", "a")
        self.assertIn("circle: a@example.test -> b@example.test -> a@example.test",
                      self.restante("alias", "add", "a", "b", code=65))
        self.assertIn("there is no nobody@example.test", self.restante("alias", "add", "x", "nobody", code=67))
        self.assertIn("mail cannot be sent on", self.restante("alias", "add", "x", "y@elsewhere.test", code=77))
        self.assertIn("not a domain of this host", self.restante("alias", "add", "x@elsewhere.test", "bob", code=77))
        self.assertIn("not an address", self.restante("alias", "add", "x y", "bob", code=64))
        self.assertIn("wants an address and its members", self.restante("alias", "add", "x", code=64))
        self.assertIn("go with add", self.restante("alias", "list", "--list", code=64))
        self.assertIn("say alias", self.restante("alias", code=64))
        self.assertIn("say domain", self.restante("domain", "rename", code=64))
        self.assertIn("not a domain", self.restante("domain", "add", "no domain", code=64))
        self.assertIn("already", self.restante("user", "add", "a@example.test", input=b"x\n", code=73))
        self.assertIn("stands in the settings", self.restante("domain", "remove", "example.test", code=77))

    def test_lists_have_an_owner(self):
        self.begin()
        self.restante("alias", "add", "team", "--list", "--owner", "carol", "alice", "bob")
        self.restante("alias", "add", "crew", "--list", "alice")
        self.host.send(MESSAGE, ("team@example.test",))
        self.assertTrue(self.host.messages("alice")[0].startswith(b"Return-Path: <carol@example.test>\r\n"))
        self.host.send(MESSAGE, ("crew@example.test",))
        self.assertTrue(self.host.messages("alice")[1].startswith(b"Return-Path: <postmaster@example.test>\r\n"))
        self.host.send(MESSAGE, ("team@example.test", "carol"))
        self.assertTrue(self.host.messages("carol")[0].startswith(b"Return-Path: <sender@"))
        self.assertIn("# list; errors go to carol@example.test\nteam@example.test: ", self.restante("alias", "list"))

    def test_domains(self):
        self.begin()
        self.assertEqual(self.refused("alice@new.test"), 550)
        self.restante("domain", "add", "New.Test")
        self.restante("domain", "add", "m\u00fcller.test")
        said = self.restante("user", "add", "dora@new.test", input=b"secret\n")
        self.assertEqual(said, "")
        self.assertIn("restante domain add", self.restante("user", "add", "x@elsewhere.test", input=b"secret\n"))
        self.restante("alias", "add", "@m\u00fcller.test", "alice")
        self.host.send(MESSAGE, ("dora@new.test", "postmaster@new.test", "any@xn--mller-kva.test"))
        self.got(1, 0, 0)
        listed = self.restante("domain", "list")
        self.assertRegex(listed, r"example\.test +3 users +0 aliases \(settings\)\n")
        self.assertRegex(listed, r"new\.test +1 user +0 aliases\n")
        self.assertRegex(listed, r"xn--mller-kva\.test +0 users +1 alias\n")
        self.assertIn("1 user and 0 aliases", self.restante("domain", "remove", "new.test"))
        self.assertEqual(self.refused("dora@new.test"), 550)

    def test_subaddresses(self):
        self.begin(set={"store.detail-mailbox": "create"})
        self.host.send(MESSAGE, ("alice+Lists@example.test",))
        self.got(0, 0, 0)
        self.assertEqual(len(list((self.host.dir / "store/mail/example.test/alice/.lists/new").iterdir())), 1)
        self.assertEqual(self.restante("alias", "show", "alice+LISTS@example.test"), "alice@example.test lists\n")
        self.host.stop()
        self.host.options[-1] = "store.detail-mailbox=existing"
        self.host.start()
        self.host.send(MESSAGE, ("alice+Lists@example.test", "alice+other@example.test"))
        self.got(1, 0, 0)

    def aliases_file(self, text):
        path = self.host.dir / "aliases"
        path.write_text(text)
        return str(path)

    def test_a_file_is_read(self):
        self.begin()
        (self.host.dir / "members").write_text("# everybody\nalice\nbob, carol@example.test\n")
        self.assertIn("No such file", self.restante("alias", "import", str(self.host.dir / "no-such"), code=66))
        path = self.aliases_file("# as sendmail has it\nroot: alice\nwww,wheel: root\n")
        said = self.restante("alias", "import", path, code=65)
        self.assertIn(f"{path}:3: \"www,wheel\" is not an address", said)
        path = self.aliases_file("mailer-daemon: postmaster\npostmaster: root\nroot:\talice\n"
                                 "everybody: :include:members\nowner-everybody: bob\n\"quoted name\": carol,\n\tbob\n")
        self.assertEqual(self.restante("alias", "import", path), "6 aliases read, 6 changed\n")
        self.assertEqual(self.restante("alias", "import", path), "6 aliases read, 0 changed\n")
        self.assertEqual(self.restante("alias", "import", os.path.relpath(path)), "6 aliases read, 0 changed\n")
        self.host.send(MESSAGE, ("everybody@example.test",))
        self.got(1, 1, 1)
        self.assertTrue(self.host.messages("carol")[0].startswith(b"Return-Path: <owner-everybody@example.test>\r\n"))
        self.host.send(MESSAGE, ('"Quoted Name"@example.test', "mailer-daemon@example.test"))
        self.got(2, 2, 2)
        wrong = (("a: |/bin/false\n", 1, "no program is run"), ("a: bob\nb: /var/mail/x\n", 2, "not written to files"),
                 ("a: :include:/etc/passwd\n", 1, "only files below"), ("a: :include:gone\n", 1, "gone"),
                 ("a: b\nb: a\n", 1, "circle"), ("a: x@elsewhere.test\n", 1, "not on this host"),
                 ("a: bob\na: alice\n", 2, "there already, in line 1"), ("a bob\n", 1, "no colon"))
        for text, line, sentence in wrong:
            with self.subTest(text=text):
                path = self.aliases_file(text)
                said = self.restante("alias", "import", path, code=65)
                self.assertIn(f"{path}:{line}: ", said)
                self.assertIn(sentence, said)
        path = self.aliases_file("a: \x1b[2J\nb: bob\0by\n@\0: bob\nc:\t\"\x9b\" (x\n")
        said = self.restante("alias", "import", path, code=65)
        for sentence in (':1: "?[2J" is not an address', ":2: there is a NUL", ":3: "):
            self.assertIn(path + sentence, said)
        self.assertTrue(said.replace("\n", "").isprintable(), said)
        path = self.aliases_file("later: somebody\n")
        said = self.restante("alias", "import", path)
        self.assertIn(f"{path}:1: later@example.test: there is no somebody@example.test", said)
        self.assertIn("# there is no somebody@example.test\nlater@example.test: ", self.restante("alias", "list"))
        path = self.aliases_file("".join(f"a{number}: nobody{number}\n" for number in range(123)))
        said = self.restante("alias", "import", path)
        self.assertEqual(said.count("there is no nobody"), 100)
        self.assertIn(f"{path}: 23 more members are not there\n", said)

    def test_the_file_of_the_settings(self):
        self.begin()
        path = self.aliases_file("help: alice\nold: bob\n")
        self.restante("alias", "add", "mine", "carol")
        self.host.stop()
        self.host.options += ["-o", f"store.aliases={path}"]
        self.host.start()
        wait_for(lambda: "event=aliases-read" in self.host.log() or "aliases-read" in self.host.log(), "the file")
        self.host.send(MESSAGE, ("help@example.test", "old@example.test", "mine@example.test"))
        self.got(1, 1, 1)
        before = self.host.log().count("aliases-read")
        self.aliases_file("help: bob\n")
        self.host.process.send_signal(1)
        wait_for(lambda: self.host.log().count("aliases-read") > before, "the new file")
        self.host.send(MESSAGE, ("help@example.test", "mine@example.test"))
        self.got(1, 2, 2)
        self.assertEqual(self.refused("old@example.test"), 550)
        self.aliases_file("help: |/bin/sh\n")
        self.host.process.send_signal(1)
        wait_for(lambda: "aliases-refused" in self.host.log(), "the refusal")
        self.assertIn(f"{path}:1: ", self.host.log())
        self.host.send(MESSAGE, ("help@example.test",))
        self.got(1, 3, 2)
        self.assertIn(f"{path}:1: ", self.host.command("check", "-c", self.conf, "-o", f"store.aliases={path}",
                                                       check=False).stderr.decode())

    def all_said(self):
        return self.restante("alias", "list"), self.restante("domain", "list")

    def test_they_survive(self):
        self.begin()
        self.restante("domain", "add", "new.test")
        self.restante("alias", "add", "team@new.test", "--owner", "carol", "alice", "bob")
        self.restante("alias", "add", "@new.test", "carol")
        self.restante("alias", "add", "gone", "alice")
        self.restante("alias", "remove", "gone")
        said = self.all_said()
        self.assertEqual(said[0].count("\n"), 3)
        self.host.kill()
        self.host.start()
        self.assertEqual(self.all_said(), said, "after kill -9")
        self.host.kill()
        shutil.rmtree(self.host.dir / "store/env")
        self.host.start()
        self.assertEqual(self.all_said(), said, "after the loss of the index")
        self.host.stop()
        self.assertEqual(self.all_said(), said, "while no host runs")
        self.restante("alias", "add", "offline", "bob")
        self.restante("domain", "add", "offline.test")
        self.host.start()
        self.host.send(MESSAGE, ("offline@example.test", "team@new.test", "else@new.test", "postmaster@offline.test"))
        self.got(1, 1, 1)

    def test_a_thousand_members_are_one_transaction(self):
        self.begin()
        self.host.stop()
        store = self.host.dir / "store"
        lines = (store / "users").read_text().splitlines()
        alice = next(line.split() for line in lines if line.startswith("user alice@"))
        number = 1000
        members = [f"member{i:03}@example.test" for i in range(1000)]
        lines += [" ".join(["user", member, str(number + i), *alice[3:]]) for i, member in enumerate(members)]
        lines.append(" ".join(["alias big@example.test carol@example.test -", *members]))
        (store / "users").write_text("\n".join(lines) + "\n")
        shutil.rmtree(store / "env")
        self.host.start()

        def counted(name):
            stats = self.restante("store", "stats")
            return int(next(line.split("=")[1] if "=" in line else line.split()[-1] for line in stats.splitlines()
                            if line.startswith(name)))
        before = counted("deliveries"), counted("messages")
        self.host.send(MESSAGE, ("big@example.test",))
        self.assertEqual((counted("deliveries"), counted("messages")), (before[0] + 1, before[1] + 1000))
        files = [path for path in (store / "mail").rglob("*,S=*") if path.parent.name == "new"]
        self.assertEqual(len(files), 1000)
        self.assertEqual(len({path.stat().st_ino for path in files}), 1, "one body")
        # store/journal.h: type, transaction, the record before, version, checksum, and an id of 20 octets.
        log = b"".join(path.read_bytes() for path in (store / "env").glob("log.*"))
        delivery = re.compile(rb"\x12\x27\0\0.{12}\x01.{4}\x14\0\0\0", re.DOTALL)
        self.assertEqual(len(delivery.findall(log)), 1, "one journal record")


if __name__ == "__main__":
    unittest.main()
