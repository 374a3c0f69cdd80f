"""Remote servers that lie, flood or fall silent: each ends with a sentence, and other accounts go on."""

import unittest

from host import Host
from hostile import Hostile, imap, pop3
from remote import Remote, add_account, bridge, stored

# Name, way, server, what is said of it.
CASES = (
    ("no STARTTLS", "starttls", imap({}), b"offers no STARTTLS"),
    ("STARTTLS refused", "starttls", imap({
        b"CAPABILITY": b"* CAPABILITY IMAP4rev1 STARTTLS\r\n",
        b"STARTTLS": lambda client, tag: client.say(tag + b" NO not today\r\n")}), b"refuses STARTTLS"),
    ("words before TLS", "starttls", imap({
        b"CAPABILITY": b"* CAPABILITY IMAP4rev1 STARTTLS\r\n",
        b"STARTTLS": lambda client, tag: client.say(tag + b" OK go\r\n* CAPABILITY IMAP4rev1 AUTH=PLAIN\r\n")}),
     b"between STARTTLS and TLS"),
    ("logged in before TLS", "starttls", imap({}, greeting=b"* PREAUTH welcome\r\n"), b"logged in already"),
    ("no STLS", "stls", pop3({}), b"offers no STLS"),
    ("STLS refused", "stls", pop3({b"CAPA": b"+OK\r\nSTLS\r\n.\r\n", b"STLS": b"-ERR no\r\n"}), b"no STLS"),
    ("words before TLS", "stls", pop3({b"CAPA": b"+OK\r\nSTLS\r\n.\r\n", b"STLS": b"+OK\r\n+OK you are in\r\n"}), b"TLS"),
    ("not IMAP", "imap", imap({}, greeting=b"220 smtp.example.net ESMTP\r\n"), b"IMAP"),
    ("not POP3", "pop3", pop3({}, greeting=b"220 smtp.example.net ESMTP\r\n"), b"not POP3"),
    ("a line without end", "imap", lambda client: client.flood(b"x" * 4096), b"more than an answer can have"),
    ("a line without end", "pop3", lambda client: client.flood(b"x" * 4096), b"line without end"),
    ("answers without end", "imap", imap({b"LIST": lambda client, tag: client.flood(b'* LIST () "/" a\r\n' * 99)}),
     b"more than an answer can have"),
    ("a listing without end", "pop3", pop3({b"LIST": lambda client: (client.say(b"+OK\r\n"), client.flood(b"1 1\r\n" * 99))}),
     b"makes no sense"),
    ("a million messages", "imap", imap({
        b"SEARCH": b"* SEARCH " + b" ".join(b"%d" % uid for uid in range(4 << 20, 5 << 20)) + b"\r\n"}),
     b"more than an answer can have"),
    ("no UIDVALIDITY", "imap", imap({b"EXAMINE": b"* 1 EXISTS\r\n"}), b"no UIDVALIDITY"),
    ("a huge literal", "imap", imap({b"FETCH": lambda client, tag: (
        client.say(b"* 1 FETCH (UID 1 RFC822.SIZE {4294967295}\r\n"), client.flood(b"y" * 4096))}), None),
    ("more than it said", "imap", imap({b"FETCH": lambda client, tag: client.say(
        b"* 1 FETCH (UID 1 FLAGS () INTERNALDATE \"01-Jan-2020 00:00:00 +0000\" RFC822.SIZE 10)\r\n" + tag + b" OK\r\n")
        if not client.heard.count(b"BODY") else client.flood(b"* 1 FETCH (UID 1 BODY[] {9999999}\r\n" + b"z" * 65536)}), None),
    ("closes at once", "imap", lambda client: None, b"closed the connection"),
    ("closes amid a message", "pop3", pop3({b"RETR": lambda client: (
        client.say(b"+OK\r\nSubject: half\r\n\r\nha"), client.connection.shutdown(2))}), b"closed the connection"),
    ("numbers that jump", "pop3", pop3({b"LIST": b"+OK\r\n5 1\r\n3 1\r\n.\r\n"}), b"makes no sense"),
    ("a UIDL that is none", "pop3", pop3({b"UIDL": b"+OK\r\n1 a\x01b\r\n.\r\n"}), b"makes no sense"),
    ("a message without end", "pop3", pop3({b"RETR": lambda client: (client.say(b"+OK\r\n"), client.flood(b"z" * 70 + b"\r\n"))}),
     b"more than an answer can have"),
    ("silence", "imap", lambda client: client.connection.recv(1), b"says nothing"),
    ("silence", "pop3", lambda client: client.connection.recv(1), b"says nothing"),
)


class Hostiles(unittest.TestCase):
    def test_table(self):
        with Remote() as remote, Host() as host:
            remote.put("alice", [b"Subject: good\n\nmail\n"])
            add_account(host, remote, "good", "imaps", every="1s", idle="no", to="bob")
            for number, (what, way, serve, why) in enumerate(CASES):
                with self.subTest(what=what, way=way), Hostile(serve) as server:
                    name = f"hostile-{number}"
                    add_account(host, remote, name, way, port=server.port, enabled="no")
                    done = bridge(host, "run", name, "-o", "bridge.patience=2s", check=False)
                    self.assertNotEqual(done.returncode, 0, done.stdout)
                    self.assertNotIn(b"process died", done.stdout + done.stderr)
                    self.assertIn(why or b"", done.stdout)
                    if "TLS" in what or "STLS" in what:
                        for word in (b"LOGIN", b"AUTH", b"USER", b"PASS"):
                            self.assertNotIn(word, bytes(server.heard), "nothing is told in the clear")
            self.assertEqual(stored(host, "alice"), [], "nothing of theirs is here")
            self.assertEqual([octets for octets, _, _ in stored(host, "bob")], [b"Subject: good\n\nmail\n"])


if __name__ == "__main__":
    unittest.main()
