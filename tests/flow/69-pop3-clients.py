"""What each mail program leaves behind: the mailbox is in the state that its user expects."""

import poplib
import unittest

import tools
from host import PASSWORD, Host, address, build_dir

AGAIN = "what was pulled before was pulled again, or new mail was not"


def message(name):
    return f"Subject: {name}\r\n\r\nThis is {name}.\r\n".encode()


def names(messages):
    return sorted(line[9:].decode() for octets in messages for line in octets.split(b"\r\n")
                  if line.startswith(b"Subject: "))


class Leaving(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.host = cls.enterClassContext(Host())

    def setUp(self):
        self.host.empty("alice")
        self.arrive("one", "two")

    def arrive(self, *arriving):
        for name in arriving:
            self.host.send(message(name), ("alice",))

    def assert_left(self, *left):
        self.assertEqual(names(self.host.messages("alice")), sorted(left))

    def test_curl_reads(self):
        self.assertEqual(names(tools.pull_curl(self.host, "alice", "tls")), ["one", "two"])
        self.assert_left("one", "two")

    def test_curl_deletes_one(self):
        tools.run([tools.need("curl"), "-sS", "--ipv4", "-u", f"{address('alice')}:{PASSWORD}", "--head", "-X", "DELE",
                   f"pop3://localhost:{self.host.port('pop3')}/1"])
        self.assert_left("two")

    def test_mpop_keeps(self):
        self.assertEqual(names(tools.pull_mpop(self.host, "alice", "plain", keep=True, only_new=True)), ["one", "two"])
        self.arrive("three")
        self.assertEqual(names(tools.pull_mpop(self.host, "alice", "plain", keep=True, only_new=True)),
                         ["one", "three", "two"], AGAIN)
        self.assert_left("one", "three", "two")

    def test_mpop_deletes(self):
        self.assertEqual(names(tools.pull_mpop(self.host, "alice", "stls", keep=False)), ["one", "two"])
        self.assert_left()

    def test_fetchmail_deletes(self):
        self.assertEqual(names(tools.pull_fetchmail(self.host, "alice", "tls", options="fetchall nokeep")), ["one", "two"])
        self.assert_left()

    def test_fetchmail_keeps_by_uidl(self):
        def pull():
            return names(tools.pull_fetchmail(self.host, "alice", "plain", server="uidl", options="keep"))
        self.assertEqual(pull(), ["one", "two"])
        self.arrive("three")
        self.assertEqual(pull(), ["one", "three", "two"], AGAIN)
        self.assert_left("one", "three", "two")

    def test_fetchmail_flushes(self):
        def pull(options):
            return names(tools.pull_fetchmail(self.host, "alice", "stls", server="uidl", options=options))
        self.assertEqual(pull("keep"), ["one", "two"])
        self.arrive("three")
        self.assertEqual(pull("keep flush"), ["one", "three", "two"])
        self.assert_left("three")

    def test_getmail_keeps(self):
        def pull():
            return names(tools.pull_getmail(self.host, "alice", "plain", read_all=False))
        self.assertEqual(pull(), ["one", "two"])
        self.arrive("three")
        self.assertEqual(pull(), ["one", "three", "two"], AGAIN)
        self.assert_left("one", "three", "two")

    def test_getmail_deletes(self):
        self.assertEqual(names(tools.pull_getmail(self.host, "alice", "tls", delete=True)), ["one", "two"])
        self.assert_left()

    def test_poplib_deletes_at_quit(self):
        client = self.host.pop3("alice", "stls")
        client.dele(1)
        self.arrive("three")
        client.quit()
        self.assert_left("three", "two")

    def test_poplib_takes_it_back(self):
        client = self.host.pop3("alice")
        client.dele(1)
        client.dele(2)
        self.assertRaises(poplib.error_proto, client.retr, 1)
        client.rset()
        client.quit()
        self.assert_left("one", "two")

    def test_poplib_leaves_without_quit(self):
        client = self.host.pop3("alice")
        client.dele(1)
        client.close()
        self.assert_left("one", "two")

    def test_etpan_deletes(self):
        tools.run([build_dir() / "clients/etpan", "pop3", "127.0.0.1", self.host.port("pop3s"), "tls", address("alice"),
                   PASSWORD, "dele", "1"], env={"ASAN_OPTIONS": "detect_leaks=0"})
        self.assert_left("two")


if __name__ == "__main__":
    unittest.main()
