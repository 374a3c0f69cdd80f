"""Quotas: by default and a user's own, at RCPT and at DATA, after changes of every kind, across restarts."""

import smtplib
import unittest

from host import Host, address, another_tick

SMALL = b"Subject: small\r\n\r\nx\r\n"


class Quota(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.host = cls.enterClassContext(Host(set={"store.quota-octets": "100K", "store.quota-messages": "5"}))
        cls.conf = str(cls.host.dir / "restante.conf")

    def setUp(self):
        for user in ("alice", "bob", "carol"):
            self.host.empty(user)

    def quota(self, user, *limits):
        """Of this test alone."""
        self.addCleanup(self.host.command, "user", "quota", "-c", self.conf, address(user), "default")
        self.host.command("user", "quota", "-c", self.conf, address(user), *limits)

    def listed(self, user):
        lines = self.host.command("user", "list", "-c", self.conf).stdout.decode().splitlines()
        return next(line for line in lines if line.startswith(address(user))).split()

    def rcpt(self, user):
        with self.host.smtp() as client:
            client.ehlo("client.test")
            client.mail("sender@example.org")
            return client.rcpt(address(user))

    def data(self, message, *users):
        """What is said at the end of DATA, every recipient having been accepted."""
        with self.host.smtp() as client:
            client.ehlo("client.test")
            client.mail("sender@example.org")
            for user in users:
                self.assertEqual(client.rcpt(address(user))[0], 250)
            try:
                return client.data(message)
            except smtplib.SMTPDataError as error:
                return error.smtp_code, error.smtp_error

    def refused(self, answer):
        self.assertEqual(answer[0], 452, answer)
        self.assertIn(b"4.2.2", answer[1])
        self.assertIn(b"quota", answer[1])

    def test_messages(self):
        for _ in range(5):
            self.assertEqual(self.data(SMALL, "alice")[0], 250)
        self.refused(self.rcpt("alice"))
        self.assertEqual(self.rcpt("bob")[0], 250)
        self.assertEqual(self.listed("alice")[1], "5/5")
        client = self.host.pop3("alice")
        client.dele(1)
        client.quit()
        self.assertEqual(self.rcpt("alice")[0], 250, "room again")

    def test_octets_at_data(self):
        message = b"Subject: large\r\n\r\n" + 800 * (b"x" * 70 + b"\r\n")
        self.assertEqual(self.data(message, "bob")[0], 250)
        self.refused(self.data(message, "bob"))
        self.assertEqual(len(self.host.messages("bob")), 1)
        self.assertEqual(self.data(SMALL, "bob")[0], 250, "a small one still fits")
        # All recipients or none, and nothing of it is counted for anybody.
        before = self.listed("carol")
        self.refused(self.data(message, "carol", "bob"))
        self.assertEqual(self.listed("carol"), before)

    def test_full_since_it_was_accepted(self):
        """What is known of recipients is older than that: they are refused with the message, and nobody has it twice."""
        with Host(set={"smtp-in.hand-over-memory": "1m"}) as host:
            with host.smtp() as client:
                client.ehlo("client.test")
                self.assertEqual(client.sendmail("s@example.org", [address("alice"), address("bob")], SMALL), {})
                host.command("user", "quota", "-c", str(host.dir / "restante.conf"), address("bob"), "none", "1")
                client.mail("s@example.org")
                self.assertEqual([client.rcpt(address(user))[0] for user in ("alice", "bob")], [250, 250])
                with self.assertRaises(smtplib.SMTPDataError) as refused:
                    client.data(SMALL)
                self.refused((refused.exception.smtp_code, refused.exception.smtp_error))
                later = client.sendmail("s@example.org", [address("alice"), address("bob")], SMALL)
                self.refused(later.pop(address("bob")))
                self.assertEqual(later, {})
            self.assertEqual([len(host.messages(user)) for user in ("alice", "bob")], [2, 1])

    def test_announced_size(self):
        """Who has no room for what MAIL announces is refused alone; the others get it."""
        message = b"Subject: large\r\n\r\n" + 800 * (b"x" * 70 + b"\r\n")
        self.assertEqual(self.data(message, "bob")[0], 250)
        with self.host.smtp() as client:
            client.ehlo("client.test")
            client.mail("sender@example.org", [f"size={len(message)}"])
            self.assertEqual(client.rcpt(address("alice"))[0], 250)
            self.refused(client.rcpt(address("bob")))
            self.assertEqual(client.rcpt(address("carol"))[0], 250)
            self.assertEqual(client.data(message)[0], 250)
            client.mail("sender@example.org", [f"size={len(SMALL)}"])
            self.assertEqual(client.rcpt(address("bob"))[0], 250, "a small one still fits")
        self.assertEqual([len(self.host.messages(user)) for user in ("alice", "bob", "carol")], [1, 1, 1])

    def test_large_one_by_spool(self):
        message = b"Subject: very large\r\n\r\n" + 6000 * (b"x" * 70 + b"\r\n")
        self.refused(self.data(message, "carol"))
        self.quota("carol", "1M")
        self.assertEqual(self.data(message, "carol")[0], 250)
        self.quota("carol", "default")
        self.refused(self.rcpt("carol"))
        self.host.empty("carol")
        self.assertEqual(self.rcpt("carol")[0], 250)

    def test_own_quota(self):
        self.quota("alice", "none", "2")
        self.assertEqual(self.data(SMALL, "alice")[0], 250)
        self.assertEqual(self.data(SMALL, "alice")[0], 250)
        self.refused(self.rcpt("alice"))
        self.quota("alice", "10K", "3")
        self.assertEqual(self.data(SMALL, "alice")[0], 250)
        self.assertEqual(self.listed("alice")[1], "3/3")
        self.assertIn("/10240", self.listed("alice")[3])
        self.quota("alice", "default")
        self.assertEqual(self.data(SMALL, "alice")[0], 250)

    def test_survives(self):
        self.quota("bob", "20K", "1")
        self.assertEqual(self.data(SMALL, "bob")[0], 250)
        self.host.command("user", "passwd", "-c", self.conf, address("bob"), input=b"restante\n")
        self.refused(self.rcpt("bob"))
        self.host.kill()
        self.host.start()
        self.refused(self.rcpt("bob"))
        self.assertEqual(self.listed("bob")[1], "1/1")
        self.quota("bob", "default")
        self.assertEqual(self.rcpt("bob")[0], 250)

    def test_what_others_put_there_counts(self):
        new = self.host.dir / "store/mail/example.test/carol/new"
        another_tick(new)
        for number in range(6):
            (new / f"1700000000.behind-{number}.elsewhere").write_bytes(b"Subject: x\n\nx\n")
        self.assertEqual(len(self.host.messages("carol")), 6, "adopted, whatever the quota says")
        self.refused(self.rcpt("carol"))

    def test_mistakes(self):
        for limits in ((), ("lots",), ("0",), ("-1",), ("1X",), ("K",), ("1K", "2", "3"), ("99999999999999999999",)):
            with self.subTest(limits=limits):
                done = self.host.command("user", "quota", "-c", self.conf, address("alice"), *limits, check=False)
                self.assertEqual(done.returncode, 64, done.stderr)
        done = self.host.command("user", "quota", "-c", self.conf, "nobody@example.test", "1K", check=False)
        self.assertEqual(done.returncode, 67, done.stderr)
