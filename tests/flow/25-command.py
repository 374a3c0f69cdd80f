"""mda -d as the delivery agent of other people's programs: fetchmail and getmail6 pull by POP3 and hand on to it."""

import unittest

import tools
from host import PASSWORD, Host, address


class Command(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.host = cls.enterClassContext(Host())

    def setUp(self):
        for user in ("alice", "bob"):
            self.host.empty(user)
        self.bodies = [b"first\r\n", b".dots\r\n..\r\n\xc3\xa4\r\n", b"x" * 70 + b"\r\n" + b"y" * 300000 + b"\r\n"]
        self.bodies[2] = b"\r\n".join([b"z" * 70] * 5000) + b"\r\n"
        for number, body in enumerate(self.bodies):
            self.host.send(b"Subject: number %d\r\n\r\n%s" % (number, body), ("alice",))

    def check(self):
        got = self.host.messages("bob")
        self.assertEqual(len(got), len(self.bodies))
        for number, body in enumerate(self.bodies):
            [one] = [one for one in got if b"\r\nSubject: number %d\r\n" % number in one]
            self.assertEqual(one.split(b"\r\n\r\n", 1)[1], body)
            self.assertEqual(one.count(b"Return-Path:"), 1)
            self.assertEqual(one.lower().count(b"delivered-to: bob@example.test"), 1)
        self.assertEqual(self.host.messages("alice"), [])

    def mda(self):
        return tools.build_dir() / "libexec/mda"

    def test_fetchmail(self):
        home = self.host.dir / "fetchmail"
        home.mkdir(mode=0o700)
        settings = home / "rc"
        settings.write_text(f"poll localhost protocol pop3 port {self.host.port('pop3')} auth password "
                            f"user '{address('alice')}' password '{PASSWORD}' sslproto '' fetchall nokeep no rewrite "
                            f"mda '{self.mda()} -d bob@example.test -f %F -s {self.host.socket('lmtp')}'\n")
        settings.chmod(0o600)
        tools.run([tools.need("fetchmail"), "-f", settings, "--nosyslog", "--invisible", "--pidfile", home / "pid"],
                  env={"FETCHMAILHOME": str(home), "HOME": str(home)})
        self.check()

    def test_getmail(self):
        home = self.host.dir / "getmail"
        home.mkdir(mode=0o700)
        (home / "getmailrc").write_text(
            f"[retriever]\ntype = SimplePOP3Retriever\nserver = localhost\nport = {self.host.port('pop3')}\n"
            f"username = {address('alice')}\npassword = {PASSWORD}\n"
            f"[destination]\ntype = MDA_external\npath = {self.mda()}\nallow_root_commands = true\n"
            f"arguments = ('-d', 'bob@example.test', '-f', '%(sender)', '-s', '{self.host.socket('lmtp')}')\n"
            "[options]\ndelivered_to = false\nreceived = false\nverbose = 0\nread_all = true\ndelete = true\n")
        (home / "getmailrc").chmod(0o600)
        tools.run([tools.need("getmail", "getmail6"), f"--getmaildir={home}", "--rcfile=getmailrc"],
                  env={"HOME": str(home)})
        self.check()


if __name__ == "__main__":
    unittest.main()
