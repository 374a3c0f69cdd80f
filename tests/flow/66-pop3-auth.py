"""AUTH of POP3: every mechanism, right and wrong, with and without TLS; what is kept of a password and what is told."""

import base64
import shutil
import ssl
import unittest

from host import Host
from scram import Scram


class Session:
    def __init__(self, host, secure=False, version=None):
        self.sock = host.connect("pop3s" if secure else "pop3")
        if secure:
            context = host.tls_context()
            if version:
                context.maximum_version = version
            self.sock = context.wrap_socket(self.sock, server_hostname="localhost")
        self.file = self.sock.makefile("rb")
        assert self.file.readline().startswith(b"+OK")

    def say(self, line):
        self.sock.sendall((line if isinstance(line, bytes) else line.encode()) + b"\r\n")
        return self.file.readline().rstrip(b"\r\n")

    def answer(self, octets):
        return self.say(base64.b64encode(octets))

    def capabilities(self):
        assert self.say("CAPA").startswith(b"+OK")
        lines = []
        while (line := self.file.readline().rstrip(b"\r\n")) != b".":
            lines.append(line.decode())
        return lines

    def close(self):
        self.file.close()
        self.sock.close()


def challenge(line):
    assert line.startswith(b"+ "), line
    return base64.b64decode(line[2:], validate=True)


def plain(user, password, acting=""):
    return base64.b64encode(f"{acting}\0{user}\0{password}".encode()).decode()


class Auth(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.host = cls.enterClassContext(Host(set={"store.login-delay": "0s", "pop3d.login-failures": "100"}))
        cls.never = cls.enterClassContext(Host(set={"store.login-delay": "0s", "pop3d.cleartext-login": "never"}))

    def session(self, secure=False, version=None, host=None):
        session = Session(host or self.host, secure, version)
        self.addCleanup(session.close)
        return session

    def assert_in(self, session, line):
        self.assertTrue(line.startswith(b"+OK"), line)
        self.assertTrue(session.say("STAT").startswith(b"+OK"))
        self.assertTrue(session.say("QUIT").startswith(b"+OK"))

    def assert_refused(self, session, line):
        self.assertEqual(line, b"-ERR [AUTH] wrong user or password")
        self.assertTrue(session.say("STAT").startswith(b"-ERR"))

    def scram(self, session, user, password, mechanism="SCRAM-SHA-256", initial=True, **options):
        client = Scram(user, password, **options)
        if initial:
            line = session.say(f"AUTH {mechanism} {base64.b64encode(client.first()).decode()}")
        else:
            self.assertEqual(session.say(f"AUTH {mechanism}"), b"+ ")
            line = session.answer(client.first())
        if not line.startswith(b"+ "):
            return line, client
        line = session.answer(client.final(challenge(line)))
        if not line.startswith(b"+ "):
            return line, client
        self.assertTrue(client.verify(challenge(line)), "the server did not prove that it knows the verifier")
        return session.say(""), client

    def test_plain(self):
        session = self.session()
        self.assert_in(session, session.say(f"AUTH PLAIN {plain('alice@example.test', 'restante')}"))
        session = self.session(secure=True)
        self.assertEqual(session.say("AUTH plain"), b"+ ")
        self.assert_in(session, session.say(plain("alice", "restante")))

    def test_plain_wrong(self):
        session = self.session()
        for user, password, acting in (("alice", "wrong", ""), ("nobody", "restante", ""), ("", "", ""),
                                       ("alice", "restante", "bob"), ("alice", "x" * 600, "")):
            with self.subTest(user=user, acting=acting):
                self.assert_refused(session, session.say(f"AUTH PLAIN {plain(user, password, acting)}"))
        for octets in (b"", b"alice", b"\0\0", b"\0alice\0", b"\0" * 100, b"\xff\xfe\0\xff\0\xff"):
            with self.subTest(octets=octets):
                self.assertEqual(session.say("AUTH PLAIN"), b"+ ")
                self.assert_refused(session, session.answer(octets))

    def test_login(self):
        session = self.session(secure=True)
        self.assertTrue(challenge(session.say("AUTH LOGIN")).lower().startswith(b"user"))
        self.assertTrue(challenge(session.answer(b"alice@example.test")).lower().startswith(b"password"))
        self.assert_in(session, session.answer(b"restante"))
        session = self.session()
        session.say("AUTH LOGIN")
        session.answer(b"alice")
        self.assert_refused(session, session.answer(b"wrong"))

    def test_scram(self):
        for secure in (False, True):
            for initial in (False, True):
                with self.subTest(secure=secure, initial=initial):
                    session = self.session(secure)
                    self.assert_in(session, self.scram(session, "alice@example.test", "restante", initial=initial)[0])
        session = self.session()
        self.assert_in(session, self.scram(session, "alice", "restante")[0])

    def test_scram_wrong(self):
        session = self.session()
        for user, password in (("alice", "wrong"), ("nobody", "restante"), ("", "restante"), ("a,b=c", "x")):
            with self.subTest(user=user):
                self.assert_refused(session, self.scram(session, user, password)[0])

    def test_scram_plus(self):
        version = ssl.TLSVersion.TLSv1_2  # Python tells tls-unique only, and TLS 1.3 has none
        session = self.session(True, version)
        binding = session.sock.get_channel_binding("tls-unique")
        self.assert_in(session, self.scram(session, "alice", "restante", "SCRAM-SHA-256-PLUS", binding=binding)[0])
        session = self.session(True, version)
        wrong = bytes([binding[0] ^ 1]) + binding[1:]
        self.assert_refused(session, self.scram(session, "alice", "restante", "SCRAM-SHA-256-PLUS", binding=wrong)[0])
        session = self.session(True, version)
        line = self.scram(session, "alice", "restante", claim=b"y")[0]
        self.assert_refused(session, line)  # somebody took PLUS out of what we offered

    def test_unknown_users_look_alike(self):
        """No salt, count or reply tells who exists, not even over a restart."""
        self.host.command("user", "add", "hashed@example.test", "--hash", "-c", str(self.host.dir / "restante.conf"),
                          input=b"$6$rounds=1000$saltsalt$" + b"x" * 86 + b"\n")

        def salts():
            found = {}
            for user in ("alice", "nobody", "hashed", "alice@example.test", "nobody@example.test", "NOBODY@Example.Test"):
                session = self.session()
                client = Scram(user, "restante")
                line = session.say(f"AUTH SCRAM-SHA-256 {base64.b64encode(client.first()).decode()}")
                client.final(challenge(line))
                found[user] = (client.fields[b"s"], client.fields[b"i"])
            return found

        before = salts()
        self.assertEqual({(len(salt), count) for salt, count in before.values()}, {(24, b"10000")})
        self.assertEqual(before["alice"], before["alice@example.test"])
        self.assertEqual(before["nobody"], before["nobody@example.test"])
        self.assertEqual(before["nobody"], before["NOBODY@Example.Test"])
        self.host.stop()
        self.host.start()
        self.assertEqual(salts(), before)
        self.host.stop()
        shutil.rmtree(self.host.dir / "store/env")
        self.host.start()
        self.assertEqual(salts(), before, "after a rebuild of the index")
        session = self.session()
        self.assert_in(session, self.scram(session, "alice", "restante")[0])

    def test_new_password(self):
        settings = str(self.host.dir / "restante.conf")
        self.host.command("user", "passwd", "bob@example.test", "-c", settings, input="gänz neu\n".encode())
        session = self.session()
        self.assert_in(session, self.scram(session, "bob", "gänz neu")[0])
        session = self.session()
        self.assert_refused(session, self.scram(session, "bob", "restante")[0])
        self.host.command("user", "passwd", "bob@example.test", "-c", settings, input=b"restante\n")

    def test_cancel_and_nonsense(self):
        session = self.session()
        self.assertEqual(session.say("AUTH SCRAM-SHA-256"), b"+ ")
        self.assertTrue(session.say("*").startswith(b"-ERR"))
        self.assertEqual(session.say("AUTH SCRAM-SHA-256"), b"+ ")
        self.assertTrue(session.say("not base64!").startswith(b"-ERR"))
        self.assertEqual(session.say("AUTH PLAIN"), b"+ ")
        self.assertTrue(session.say("A" * 9000).startswith(b"-ERR"))
        self.assertTrue(session.say("AUTH PLAIN =====").startswith(b"-ERR"))
        self.assertTrue(session.say("AUTH CRAM-MD5").startswith(b"-ERR"))
        self.assertTrue(session.say("AUTH SCRAM-SHA-256-PLUS").startswith(b"-ERR"), "no TLS, no binding")
        self.assertTrue(session.say("AUTH PLAIN a b c").startswith(b"-ERR"))
        for first in (b"", b"n", b"n,,", b"n,,n=alice", b"n,,n=alice,r=", b"p=x,,n=alice,r=abc", b"n,,m=x,n=alice,r=abc",
                      b"n,a=bob,n=alice,r=abcdefgh", b"\0" * 50):
            with self.subTest(first=first):
                session.say("AUTH SCRAM-SHA-256")
                line = session.answer(first)
                if line.startswith(b"+ "):
                    self.assertTrue(session.answer(b"c=biws,r=x,p=AAAA").startswith(b"-ERR"))
                else:
                    self.assertTrue(line.startswith(b"-ERR"), line)
        self.assert_in(session, session.say(f"AUTH PLAIN {plain('alice', 'restante')}"))

    def test_what_is_offered(self):
        def offered(session):
            return next(line.split()[1:] for line in session.capabilities() if line.startswith("SASL"))

        self.assertEqual(offered(self.session()), ["SCRAM-SHA-256", "PLAIN", "LOGIN"])
        every = ["SCRAM-SHA-256-PLUS", "SCRAM-SHA-256", "PLAIN", "LOGIN"]
        self.assertEqual(offered(self.session(True)), every)
        session = self.session(host=self.never)
        self.assertEqual(offered(session), ["SCRAM-SHA-256"])
        self.assertTrue(session.say(f"AUTH PLAIN {plain('alice', 'restante')}").startswith(b"-ERR"))
        self.assert_in(session, self.scram(session, "alice", "restante")[0])
        self.assertEqual(offered(self.session(True, host=self.never)), every)
