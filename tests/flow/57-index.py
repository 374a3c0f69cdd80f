"""The index is disposable: whatever happens to it while the host is down, clients notice nothing."""

import contextlib
import os
import poplib
import random
import shutil
import smtplib
import unittest

from host import Host, address, wait_for

USERS = ("alice", "bob")


def message(number):
    # Of different sizes, with 8-bit octets, some with lines that begin with a dot.
    return b"Subject: %d\r\n\r\n" % number + b".line \xe5 %d\r\n" % number * (1 + number * 7 % 90)


class Index(unittest.TestCase):
    def setUp(self):
        self.random, self.given = random.Random(57), set()
        self.host = self.enterContext(Host())
        self.conf = str(self.host.dir / "restante.conf")
        for number in range(60):
            self.host.send(message(number), ("alice",) if number % 3 else USERS)
        self.host.command("user", "quota", "-c", self.conf, address("bob"), "123M", "4567")
        self.host.command("user", "passwd", "-c", self.conf, address("bob"), input=b"bob's own\n")
        # UIDs with holes, the highest ones gone; flags and keywords as other programs leave them.
        client = self.host.pop3("alice")
        for number in (1, 2, 17, 59, 60):
            client.dele(number)
        client.quit()
        inbox = self.host.dir / "store/mail/example.test/alice"
        text = inbox / "restante-mailbox"
        text.write_text(text.read_text() + "keyword $Forwarded\nkeyword work\n")
        for number, file in enumerate(sorted((inbox / "new").iterdir())):
            if number % 2:
                file.rename(inbox / "cur" / f"{file.name}:2,{('S', 'FS', 'RSab', '')[number // 2 % 4]}")
        self.host.stop()
        self.host.start()
        self.before = self.seen()

    def seen(self):
        """What clients and other programs see of everybody."""
        found = {}
        for user, password in (("alice", "restante"), ("bob", "bob's own")):
            # A read that finds the damage ends the store; a client comes again.
            def pull():
                try:
                    client = self.host.pop3(user, password=password)
                    said = (client.stat(), client.uidl()[1], client.list()[1],
                            [client.retr(int(line.split()[0]))[1] for line in client.list()[1]])
                    client.quit()
                    return said
                except Exception as error:  # noqa: BLE001 (any kind of temporary error)
                    assert b"AUTH" not in str(error).encode() or b"SYS/TEMP" in str(error).encode(), error
                    return None
            found[user] = wait_for(pull, f"{user}'s mail")
            mail = self.host.dir / "store/mail/example.test" / user
            found[user] += (sorted(file.name for part in ("new", "cur") for file in (mail / part).iterdir()),)

        def listed():
            return self.host.command("user", "list", "-c", self.conf, check=False).stdout
        found["list"] = wait_for(listed, "all users")
        return found

    def holds_after(self, harm, rebuilt=True):
        env = self.host.dir / "store/env"
        self.host.stop()
        self.tidy()
        mark = len(self.host.log())
        harm(env)
        self.host.start()
        self.assertEqual(self.seen(), self.before)
        if rebuilt:
            self.assertIn("index-rebuilt", self.host.log()[mark:])
            self.assertEqual(len(self.aside()), 0 if harm is shutil.rmtree else 1, "moved aside")
        # And what comes next has a UID that nobody ever had.
        fresh = self.comes_and_goes({line.split()[1] for line in self.before["alice"][1]})
        self.assertTrue(fresh)
        self.assertFalse(fresh & self.given)
        self.given |= fresh
        self.tidy()

    def comes_and_goes(self, before):
        """UIDs of a message that is sent and deleted again. A write may find the damage, too: clients come again."""
        fresh = set()

        def sent():
            try:
                self.host.send(message(77))
                return True
            except smtplib.SMTPRecipientsRefused as error:
                code = next(iter(error.recipients.values()))[0]
            except smtplib.SMTPResponseException as error:
                code = error.smtp_code
            self.assertEqual(code // 100, 4)
            return False

        def gone():
            with contextlib.suppress(poplib.error_proto, OSError):
                client = self.host.pop3("alice")
                new = [line.split() for line in client.uidl()[1] if line.split()[1] not in before]
                fresh.update(uid for _, uid in new)
                for number, _ in new:
                    client.dele(int(number))
                client.quit()
                return not new
        wait_for(sent, "a message that is taken")
        wait_for(gone, "alice's mail without it")
        return fresh

    def tidy(self):
        for path in self.aside():
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()

    def aside(self):
        return sorted((self.host.dir / "store").glob("env.damaged.*"))

    def files(self, env):
        return sorted(file for file in env.iterdir() if file.is_file() and file.stat().st_size)

    def test_deleted(self):
        self.holds_after(shutil.rmtree)

    def test_emptied(self):
        self.holds_after(lambda env: [file.unlink() for file in env.iterdir()])

    def test_each_file_deleted(self):
        for name in [file.name for file in self.files(self.host.dir / "store/env")]:
            with self.subTest(name=name):
                self.holds_after(lambda env: (env / name).unlink(missing_ok=True), rebuilt=False)

    def test_zeroed(self):
        def zero(env):
            for file in self.files(env):
                file.write_bytes(bytes(file.stat().st_size))
        self.holds_after(zero)

    def test_truncated(self):
        for part in (0, 0.3, 0.9):
            def cut(env):
                for file in self.files(env):
                    os.truncate(file, int(file.stat().st_size * part))
            with self.subTest(part=part):
                self.holds_after(cut)

    def test_each_file_truncated(self):
        for name in [file.name for file in self.files(self.host.dir / "store/env")]:
            with self.subTest(name=name):
                def cut(env):
                    if (env / name).exists():
                        os.truncate(env / name, (env / name).stat().st_size // 2)
                self.holds_after(cut, rebuilt=False)

    def test_bits_flipped(self):
        def flip(env):
            for file in self.files(env):
                octets = bytearray(file.read_bytes())
                for _ in range(max(8, len(octets) // 2000)):
                    octets[self.random.randrange(len(octets))] ^= 1 << self.random.randrange(8)
                file.write_bytes(octets)
        for _ in range(4):
            self.holds_after(flip)

    def test_single_bits(self):
        """One bit of one table: it is harmless, or noticed; it never shows."""
        for round in range(12):
            def flip(env):
                file = self.random.choice([file for file in self.files(env) if not file.name.startswith("log.")])
                octets = bytearray(file.read_bytes())
                octets[self.random.randrange(len(octets))] ^= 1 << self.random.randrange(8)
                file.write_bytes(octets)
            with self.subTest(round=round):
                self.holds_after(flip, rebuilt=False)

    def test_something_else_in_its_place(self):
        def file_instead(env):
            shutil.rmtree(env)
            env.write_text("not a directory\n")
        self.holds_after(file_instead, rebuilt=False)

    def test_index_of_another_day(self):
        """An old copy of the index: what it does not know is adopted, what it knows too much of is dropped."""
        self.host.stop()
        old = self.host.dir / "old-env"
        shutil.copytree(self.host.dir / "store/env", old)
        self.host.start()
        self.host.send(message(5), ("carol",))
        self.assertEqual(len(self.host.messages("carol")), 1)
        self.host.stop()
        shutil.rmtree(self.host.dir / "store/env")
        shutil.copytree(old, self.host.dir / "store/env")
        owner = (self.host.dir / "store").stat()
        for path in [self.host.dir / "store/env", *(self.host.dir / "store/env").iterdir()]:
            os.chown(path, owner.st_uid, owner.st_gid)
        self.host.start()
        self.assertEqual(len(self.host.messages("carol")), 1)
        self.host.empty("carol")
        self.assertEqual(self.seen(), self.before)


if __name__ == "__main__":
    unittest.main()
