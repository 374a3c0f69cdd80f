"""The host stops with sessions open (RFC 5321 section 3.8): 421 to all, and a message that has begun may end first."""

import signal
import unittest

from host import PATIENCE, Host


class Lines:
    """A connection, line by line."""

    def __init__(self, host, name):
        self.sock = host.connect(name)
        self.file = self.sock.makefile("rb")

    def reply(self):
        while True:
            line = self.file.readline().decode()
            if line[3:4] != "-":
                return line

    def say(self, *lines):
        self.sock.sendall("".join(line + "\r\n" for line in lines).encode())
        return [self.reply() for _ in lines][-1]

    def close(self):
        self.file.close()
        self.sock.close()


class Goodbyes(unittest.TestCase):
    def session(self, host, name="smtp", *lines):
        client = Lines(host, name)
        self.addCleanup(client.close)
        self.assertRegex(client.reply(), "^220 ")
        if lines:
            self.assertRegex(client.say(*lines), "^[23]5[04] ")
        return client

    def goes(self, client):
        self.assertRegex(client.reply(), r"^421 4\.3\.2 .*[Ss]hutting down")
        self.assertEqual(client.reply(), "")

    def test_sessions_are_told(self):
        envelope = ("MAIL FROM:<s@example.org>", "RCPT TO:<alice@example.test>")
        # However long the clients here take, they are waited for.
        with Host(set={"stop-seconds": "1h"}) as host:
            idle = [self.session(host), self.session(host, "smtp", "EHLO x"),
                    self.session(host, "smtp", "EHLO x", *envelope), self.session(host, "submission", "EHLO x")]
            begun = self.session(host, "smtp", "EHLO x", *envelope, "DATA")
            idle_behind = self.session(host, "lmtp", "LHLO x", *envelope)
            begun_behind = self.session(host, "lmtp", "LHLO x", *envelope, "DATA")
            reader = host.pop3("bob")
            host.process.send_signal(signal.SIGTERM)
            for client in idle:
                self.goes(client)
            self.assertRegex(reader.file.read(), rb"^(-ERR [^\r]*\r\n)?\Z")
            reader.close()
            # The mda stays for as long as smtp-in may have mail for it.
            for client in (begun, begun_behind):
                self.assertRegex(client.say("Subject: x\r\n\r\nbody\r\n."), r"^250 2\.0\.0 ")
                self.goes(client)
            self.goes(idle_behind)
            host.process.wait(PATIENCE)  # a second SIGTERM would make it hurry
            host.stop()
            host.start()
            self.assertEqual(len(host.messages("alice")), 2)


if __name__ == "__main__":
    unittest.main()
