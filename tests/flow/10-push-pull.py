"""Pushed by every client in every way, pulled by every client in every way: the same octets come out."""

import poplib
import unittest

import messages
import tools
from host import Host, without_trace

poplib._MAXLINE = 1 << 20


class PushPull(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.host = cls.enterClassContext(Host())

    def setUp(self):
        self.host.empty("alice")

    def assert_same(self, pulled, pushed):
        """pulled holds pushed, whatever the order; trace fields of our own aside."""
        self.assertEqual(len(pulled), len(pushed))
        got = {without_trace(octets) for octets in pulled}
        for name, octets in pushed:
            self.assertIn(octets, got, f"{name}: not byte for byte; got {sorted(got, key=len)[0][:2000]!r}")

    def push(self, client, way):
        name, octets = messages.small()[8]
        tools.PUSHERS[client](self.host, octets, ["alice"], way)
        self.assert_same(self.host.messages("alice"), [(name, octets)])

    def pull(self, client, way):
        pushed = [row for row in messages.small() if row[0] in
                  ("plain", "dot-lines", "8-bit-utf8", "utf8-headers", "attachment-100k", "folded-subject")]
        for _, octets in pushed:
            self.host.send(octets, ("alice",))
        self.assert_same(tools.PULLERS[client](self.host, "alice", way), pushed)
        self.assertEqual(len(self.host.messages("alice")), len(pushed), "keeping was asked for")

    def everything(self, set_of_messages):
        with self.host.smtp() as client:
            for _, octets in set_of_messages:
                client.sendmail("sender@example.org", ["alice@example.test"], octets, ["BODY=8BITMIME"])
        client = self.host.pop3("alice", "tls")
        sizes = [int(line.split()[1]) for line in client.list()[1]]
        pulled = []
        for number, size in enumerate(sizes, 1):
            octets = b"\r\n".join(client.retr(number)[1]) + b"\r\n"
            self.assertEqual(len(octets), size, "LIST told another size")
            pulled.append(octets)
        client.quit()
        self.assert_same(pulled, set_of_messages)

    def test_varied_messages(self):
        self.everything(messages.small())

    def test_large_messages(self):
        self.everything(messages.large())

    def test_no_final_newline(self):
        tools.push_msmtp(self.host, b"Subject: x\r\n\r\nno newline at the end", ["alice"], "plain")
        self.assert_same(self.host.messages("alice"), [("msmtp", b"Subject: x\r\n\r\nno newline at the end\r\n")])

    def test_no_final_newline_stdin(self):
        tools.run([tools.build_dir() / "libexec/mda", "-d", "alice@example.test", "-f", "s@example.org",
                   "-s", self.host.socket("lmtp")], b"Subject: x\n\nno newline at the end")
        self.assert_same(self.host.messages("alice"), [("mda -d", b"Subject: x\r\n\r\nno newline at the end\r\n")])


def add(kind, client, way):
    setattr(PushPull, f"test_{kind}_{client}_{way}", lambda self: getattr(self, kind)(client, way))


for one in tools.PUSHERS:
    for path in ("plain", "starttls", "tls"):
        add("push", one, path)
for one in tools.PULLERS:
    for path in ("plain", "stls", "tls"):
        add("pull", one, path)

