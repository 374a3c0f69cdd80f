"""Submission by real clients: every mechanism each of them has, by 587 and 465; as whom, to whom, and what is added."""

import os
import re
import signal
import smtplib
import unittest

import submit
from host import PATIENCE, Host, address, freeze, wait_for

MESSAGE = (b"From: Alice <alice@example.test>\r\nTo: bob@example.test\r\nBcc: carol@example.test\r\nSubject: Hello\r\n\r\n"
           b"Gr\xc3\xbc\xc3\x9fe\r\n.dot\r\n")


class Clients:
    """Of self.host."""

    def client(self, way="tls", mechanism="PLAIN"):
        client = submit.smtplib_client(self.host, way)
        self.addCleanup(client.close)
        if mechanism:
            submit.smtplib_login(client, mechanism)
        return client


class Submission(Clients, unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.host = cls.enterClassContext(Host(set={"store.login-delay": "0s"}))

    def setUp(self):
        self.host.empty("bob")

    def received(self):
        messages = self.host.messages("bob")
        self.assertEqual(len(messages), 1)
        return messages[0]

    def one(self, name, way, mechanism):
        submit.SUBMITTERS[name][0](self.host, MESSAGE, ["bob"], way, mechanism)
        message = self.received()
        body = b"Gr=C3=BC=C3=9Fe" if b"quoted-printable" in message else b"Gr\xc3\xbc\xc3\x9fe"
        self.assertTrue(message.endswith(b"\r\n\r\n" + body + b"\r\n.dot\r\n"), message)
        header = message.split(b"\r\n\r\n", 1)[0]
        self.assertNotIn(b"\r\nBcc:", header)
        for field in (b"From", b"Date", b"Message-ID"):
            self.assertEqual(len(re.findall(rb"\r\n" + field + rb": \S", header, re.I)), 1, field)
        self.assertRegex(header, rb"\r\n\twith ESMTPSA|with ESMTPSA")
        self.assertRegex(self.host.log(), rf"login listener=submission{'s' if way == 'tls' else ''} peer=127.0.0.1 "
                         rf"user=alice@example.test mechanism={mechanism} tls=TLSv1.[23] cipher=\S+")

    def test_wrong_password(self):
        for name, (send, mechanisms) in submit.SUBMITTERS.items():
            for mechanism in mechanisms:
                with self.subTest(client=name, mechanism=mechanism), self.assertRaises(
                        (AssertionError, smtplib.SMTPAuthenticationError)):
                    send(self.host, MESSAGE, ["bob"], "tls", mechanism, password="wrong")
        self.assertEqual(self.host.messages("bob"), [])

    def test_scram_in_the_clear(self):
        with smtplib.SMTP("127.0.0.1", self.host.port("submission"), timeout=PATIENCE) as client:
            submit.smtplib_login(client, "SCRAM-SHA-256")
            client.sendmail("alice@example.test", ["bob@example.test"], MESSAGE)
        self.assertIn(b"with ESMTPA", self.received())

    def test_no_login(self):
        client = self.client(mechanism=None)
        with self.assertRaises(smtplib.SMTPSenderRefused) as caught:
            client.sendmail("alice@example.test", ["bob@example.test"], MESSAGE)
        self.assertEqual(caught.exception.smtp_code, 530)

    def test_only_as_oneself(self):
        client = self.client()
        for sender in ("bob@example.test", "alice@example.org", "alice@x.example.test", "\"alice \"@example.test"):
            with self.subTest(sender=sender), self.assertRaises(smtplib.SMTPSenderRefused) as caught:
                client.sendmail(sender, ["bob@example.test"], MESSAGE)
            self.assertEqual(caught.exception.smtp_code, 553)
            client.rset()
        for name in (b"bob@example.test", b"alice@example.test, bob@example.test", b"ceo@bank.test <alice@example.test>"):
            with self.subTest(name=name), self.assertRaises(smtplib.SMTPDataError) as caught:
                client.sendmail("alice@example.test", ["bob@example.test"], b"From: " + name + b"\r\n\r\nx\r\n")
            self.assertEqual(caught.exception.smtp_code, 550)
        self.assertEqual(self.host.messages("bob"), [])
        for sender in ("alice+shop@example.test", "Alice@Example.TEST", ""):
            client.sendmail(sender, ["bob@example.test"], b"From: alice+news@example.test\r\n\r\nx\r\n")
        self.assertEqual(len(self.host.messages("bob")), 3)

    def test_a_user_by_that_name_is_another(self):
        settings = str(self.host.dir / "restante.conf")
        self.host.command("user", "add", "alice+own@example.test", "-c", settings, input=b"other\n")
        with self.assertRaises(smtplib.SMTPSenderRefused):
            self.client().sendmail("alice+own@example.test", ["bob@example.test"], MESSAGE)
        self.host.command("user", "remove", "alice+own@example.test", "-c", settings)
        self.client().sendmail("alice+own@example.test", ["bob@example.test"], MESSAGE)

    def test_removed_while_logged_in(self):
        settings = str(self.host.dir / "restante.conf")
        self.host.command("user", "add", "dora@example.test", "-c", settings, input=b"restante\n")
        client = self.client(mechanism=None)
        submit.smtplib_login(client, "PLAIN", "dora@example.test")
        client.sendmail("dora@example.test", ["bob@example.test"], b"From: dora@example.test\r\n\r\n")
        self.host.command("user", "remove", "dora@example.test", "-c", settings)
        with self.assertRaises(smtplib.SMTPSenderRefused):
            client.sendmail("dora@example.test", ["bob@example.test"], b"From: dora@example.test\r\n\r\n")

    def test_nothing_for_other_hosts(self):
        with self.assertRaises(smtplib.SMTPRecipientsRefused) as caught:
            self.client().sendmail("alice@example.test", ["someone@example.org"], MESSAGE)
        code, text = caught.exception.recipients["someone@example.org"]
        self.assertEqual((code, text[:5]), (550, b"5.7.1"))

    def test_a_message_with_nothing(self):
        self.client().sendmail("alice@example.test", ["bob@example.test"], b"")
        message = self.received()
        self.assertIn(b"\r\nFrom: <alice@example.test>\r\n", message)
        self.assertRegex(message, rb"\r\nDate: \w{3}, \d+ \w{3} \d{4} ")
        self.assertRegex(message, rb"\r\nMessage-ID: <\w+@\S+>\r\n")

    def test_large_and_slow(self):
        """The header in one-octet pieces; a body of megabytes behind it."""
        body = b"x" * 70 + b"\r\n"
        client = self.client()
        client.mail("alice@example.test")
        client.rcpt(address("bob"))
        self.assertEqual(client.docmd("DATA")[0], 354)
        for octet in b"From: alice@example.test\r\nBcc: x@y.test,\r\n z@y.test\r\nSubject: y\r\n\r\n":
            client.sock.sendall(bytes([octet]))
        client.sock.sendall(body * 60000 + b".\r\n")
        self.assertEqual(client.getreply()[0], 250)
        self.assertEqual(self.received().count(body), 60000)
        self.assertNotIn(b"y.test", self.received())

    def test_a_field_behind_a_stuffed_dot(self):
        """The dot is not the field's: what it hides is the field that readers will see."""
        client = self.client()
        for hidden, code in ((b".From: bob@example.test\r\n", 550), (b"X: y\r\n.From: bob@example.test\r\nFrom: alice@example.test\r\n", 550),
                             (b"From: alice@example.test\r\n.Bcc: carol@example.test\r\n. , c@y.test\r\n", 250)):
            client.mail("alice@example.test")
            client.rcpt(address("bob"))
            client.docmd("DATA")
            client.send(hidden + b"\r\nx\r\n.\r\n")
            with self.subTest(hidden=hidden):
                self.assertEqual(client.getreply()[0], code)
        message = self.received()
        self.assertNotIn(b"carol@", message)
        self.assertNotIn(b"y.test", message)

    def test_reload_amid_a_header(self):
        """The name of this host, for what will be added, may have been replaced meanwhile."""
        client = self.client()
        client.mail("alice@example.test")
        client.rcpt(address("bob"))
        client.docmd("DATA")
        client.send(b"From: alice@example.test\r\n")
        mark, roles = len(self.host.log()), len(self.host.pids("smtp-in"))
        self.host.process.send_signal(signal.SIGHUP)
        wait_for(lambda: len(re.findall(r"role=smtp-in \S+ event=reloaded", self.host.log()[mark:])) == roles, "the new settings")
        client.send(b"Subject: x\r\n\r\nx\r\n.\r\n")
        self.assertEqual(client.getreply()[0], 250)
        self.assertRegex(self.received(), rb"\r\nMessage-ID: <\w+@[\w.-]+>\r\n")

    def test_header_without_end(self):
        client = self.client()
        client.mail("alice@example.test")
        client.rcpt(address("bob"))
        client.docmd("DATA")
        for _ in range(3000):
            client.sock.sendall(b"X-Field: " + b"y" * 100 + b"\r\n")
        client.sock.sendall(b"\r\n.\r\n")
        self.assertEqual(client.getreply()[0], 552)
        client.sendmail("alice@example.test", ["bob@example.test"], MESSAGE)


class StoreAway(Clients, unittest.TestCase):
    """Each has a host of its own: what has lost the store looks for it again in its own time."""

    def setUp(self):
        self.host = self.enterContext(Host(set={"store.login-delay": "0s"}))

    def knows_sender(self, client):
        client.rset()
        return client.docmd("MAIL", "FROM:<alice@example.test>")[0] == 250

    def takes_mail(self, client):
        """The mda has to find the store again, too."""
        return self.knows_sender(client) and client.docmd("RCPT", "TO:<bob@example.test>")[0] == 250

    def test_store_away(self):
        """454 while the store is away, and everything as before when it is back."""
        client = self.client()
        waiting = self.client(mechanism=None)
        waiting.ehlo()
        self.assertEqual(waiting.docmd("AUTH", "LOGIN")[0], 334)
        pid, mark = self.host.pids("store")[0], len(self.host.log())
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda: "store-away" in self.host.log()[mark:], "the store's end in the log")
        self.assertIn(waiting.docmd("YWxpY2U=")[0], (454, 334))
        wait_for(lambda: [new for new in self.host.pids("store") if new != pid], "a new store")
        wait_for(lambda: self.takes_mail(client), "a sender who is known again")
        client.rset()
        client.sendmail("alice@example.test", ["bob@example.test"], MESSAGE)

    def dies_over(self, question, ready, answer):
        """
        The reply to a question that a store was asked and never answered. `answer` is a live store's: the question came too
        late to die with the one before.
        """
        def reply():
            wait_for(ready, "a store that answers")
            [store] = wait_for(lambda: self.host.pids("store"), "a store")
            freeze(store)
            client = question()
            os.kill(store, signal.SIGKILL)
            said = client.getreply()
            return said if said[0] != answer else None
        return wait_for(reply, "a store that dies in time")

    def test_store_away_when_it_is_asked_about_the_sender(self):
        client = self.client()

        def question():
            client.rset()
            client.putcmd("MAIL", "FROM:<alice@example.test>")
            return client
        reply = self.dies_over(question, lambda: self.knows_sender(client), 250)
        self.assertEqual(reply, (451, b"4.3.0 Try again later"))
        self.assertEqual(client.docmd("RCPT", "TO:<bob@example.test>")[0], 503)
        wait_for(lambda: self.knows_sender(client), "a sender who is known again")

    def test_store_away_when_it_is_asked_about_an_author(self):
        """The message has come as a whole, and the envelope was good: nobody has it all the same."""
        client = self.client()
        message = MESSAGE.replace(b"Alice <alice@example.test>", b"alice@example.test, bob@example.test")

        def ready():
            return self.takes_mail(client) and client.docmd("DATA")[0] == 354

        def question():
            client.send(message + b".\r\n")
            return client
        self.assertEqual(self.dies_over(question, ready, 550), (451, b"4.3.0 Try again later"))
        wait_for(lambda: self.knows_sender(client), "a sender who is known again")
        self.assertEqual(self.host.messages("bob"), [])


class Guessing(unittest.TestCase):
    def test_refused_before_it_is_tried(self):
        settings = {"store.login-delay": "0s", "store.login-failures": "3", "store.login-remember": "0s"}
        with Host(set=settings, limits=True) as host:
            def code(mechanism, password):
                client = submit.smtplib_client(host, "tls")
                try:
                    submit.smtplib_login(client, mechanism, password=password)
                    return 235
                except smtplib.SMTPAuthenticationError as error:
                    return error.smtp_code
                finally:
                    client.close()

            self.assertEqual(code("PLAIN", "restante"), 235)
            self.assertEqual([code(mechanism, "wrong") for mechanism in ("PLAIN", "LOGIN", "SCRAM-SHA-256")], [535] * 3)
            for mechanism in ("PLAIN", "LOGIN", "SCRAM-SHA-256"):
                self.assertEqual(code(mechanism, "restante"), 454, mechanism)
            # A busy store is shown with counters of before.
            wait_for(lambda: re.search(r"logins=1\s+logins-failed=3\s+logins-limited=3\b", host.status()), "what was counted")


def add_clients():
    for name, (_, mechanisms) in submit.SUBMITTERS.items():
        for mechanism in mechanisms:
            for way in ("starttls", "tls"):
                def test(self, name=name, way=way, mechanism=mechanism):
                    self.one(name, way, mechanism)
                setattr(Submission, f"test_{name}_{mechanism.lower()}_{way}".replace("-", "_"), test)


add_clients()
