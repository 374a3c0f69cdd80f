"""What is told later: replies come in order to whoever waits for them, and whoever has left holds nothing meanwhile."""

import base64
import re
import select
import socket
import struct
import unittest

from host import PATIENCE, Host, wait_for


def plain(password):
    return base64.b64encode(f"\0alice@example.test\0{password}".encode()).decode()


class Client:
    def __init__(self, host, name, secure=False, source="127.0.0.1"):
        self.sock = socket.socket()
        self.sock.settimeout(PATIENCE)
        self.sock.bind((source, 0))
        self.sock.connect(("127.0.0.1", host.port(name)))
        if secure:
            self.sock = host.tls_context().wrap_socket(self.sock, server_hostname="localhost")
        self.file = self.sock.makefile("rb")

    def send(self, *lines):
        self.sock.sendall("".join(line + "\r\n" for line in lines).encode())

    def reply(self):
        while (line := self.file.readline().decode())[3:4] == "-" and line[:1].isdigit():
            pass
        return line

    def say(self, *lines):
        """The first word of each reply, or what a reply of POP3 says."""
        self.send(*lines)
        return [re.match(r"[+-]?\w+", self.reply())[0] for _ in lines]

    def ends_its_side(self):
        self.sock.shutdown(socket.SHUT_WR)

    def has_heard(self):
        return bool(select.select([self.sock], [], [], 0)[0])

    def leaves(self):
        """For good, as a program that is killed with replies unread."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()

    def close(self):
        self.file.close()
        self.sock.close()


class Delays(unittest.TestCase):
    def client(self, host, name, secure=False, source="127.0.0.1"):
        client = Client(host, name, secure, source)
        self.addCleanup(client.close)
        return client

    def sessions(self, host, role):
        """Those that there are now, at all workers of the role."""
        text = host.status()
        part = text[text.index("\nsmtp-in"):text.index("\npop3d")] if role == "smtp-in" else text[text.index("\npop3d"):]
        name = "sessions" if role == "smtp-in" else "sessions-now"
        return sum(int(number) for number in re.findall(rf"\s{name}=(\d+)", part))

    def test_a_wrong_password_and_then_the_right_one(self):
        """With the delay that hosts have."""
        with Host() as host:
            client = self.client(host, "submissions", secure=True)
            client.reply()
            self.assertEqual(client.say("EHLO client.test", f"AUTH PLAIN {plain('wrong')}"), ["250", "535"])
            self.assertEqual(client.say(f"AUTH PLAIN {plain('restante')}", "NOOP"), ["235", "250"])
            client = self.client(host, "submissions", secure=True)
            client.reply()
            self.assertEqual(client.say("EHLO client.test", f"AUTH PLAIN {plain('wrong')}", f"AUTH PLAIN {plain('restante')}",
                                        "MAIL FROM:<alice@example.test>", "QUIT"), ["250", "535", "235", "250", "221"])

            client = self.client(host, "pop3")
            client.reply()
            self.assertEqual(client.say("USER alice", "PASS wrong"), ["+OK", "-ERR"])
            self.assertEqual(client.say("USER alice", "PASS restante", "STAT", "QUIT"), ["+OK"] * 4)
            client = self.client(host, "pop3s", secure=True)
            client.reply()
            self.assertEqual(client.say(f"AUTH PLAIN {plain('wrong')}", "USER alice", "PASS restante", "STAT", "QUIT"),
                             ["-ERR"] + ["+OK"] * 4)

    def test_who_has_ended_its_side_is_told(self):
        with Host() as host:
            client = self.client(host, "pop3")
            client.reply()
            client.send("USER alice", "PASS wrong", "USER alice", "PASS restante", "STAT", "QUIT")
            client.ends_its_side()
            self.assertEqual([line[:4] for line in client.file], [b"+OK ", b"-ERR"] + [b"+OK "] * 4)
        with Host(limits=True, set={"smtp-in.greeting-delay": "0"}) as host:
            client = self.client(host, "smtp", source="127.0.0.2")
            client.reply()
            client.send("EHLO client.test", "MAIL FROM:<a@client.test>", "RCPT TO:<nobody@example.test>",
                        "RCPT TO:<alice@example.test>", "RSET", "QUIT")
            client.ends_its_side()
            last = [line[:3] for line in client.file if line[3:4] == b" "]
            self.assertEqual(last, [b"250", b"250", b"550", b"250", b"250", b"221"])

    def assert_leaver_goes_first(self, host, role, come):
        """Who came before, and has ended its side, still waits when the one that has left is forgotten."""
        patient = come()
        patient.ends_its_side()
        leaver = come()
        wait_for(lambda: self.sessions(host, role) == 2, "both sessions")
        leaver.leaves()
        wait_for(lambda: self.sessions(host, role) == 1, "the end of one")
        self.assertFalse(patient.has_heard(), "it was told before the other was let go")
        patient.leaves()
        wait_for(lambda: self.sessions(host, role) == 0, "the end of the other")

    def test_who_has_left_waits_for_no_login(self):
        with Host(set={"store.login-delay": "60s", "store.login-failures": "0"}) as host:
            def pop3():
                client = self.client(host, "pop3")
                client.reply()
                self.assertEqual(client.say("USER alice"), ["+OK"])
                client.send("PASS wrong", "CAPA")
                return client

            def pop3_auth():
                client = self.client(host, "pop3")
                client.reply()
                client.send(f"AUTH PLAIN {plain('wrong')}")
                return client

            for come in (pop3, pop3_auth):
                with self.subTest(come=come.__name__):
                    self.assert_leaver_goes_first(host, "pop3d", come)

    def test_who_has_left_waits_for_no_bad_news(self):
        for delay in ("failure-delay", "greeting-delay"):
            names = {"smtp-in.failure-delay": "0", "smtp-in.greeting-delay": "0", "smtp-in.failure-delay-most": "240s"}
            with Host(limits=True, set={**names, f"smtp-in.{delay}": "240s"}) as host, self.subTest(delay=delay):
                def come():
                    client = self.client(host, "smtp", source="127.0.0.2")
                    if delay == "failure-delay":
                        client.reply()
                        self.assertEqual(client.say("EHLO client.test"), ["250"])
                        client.send("MAIL FROM:<a@client.test>", "RCPT TO:<nobody@example.test>", "NOOP")
                    return client
                if delay == "failure-delay":
                    self.assert_leaver_goes_first(host, "smtp-in", come)
                else:  # it would not be told any more: what it wanted to say is over
                    come().leaves()
                    come().close()
                    client = come()
                    wait_for(lambda: self.sessions(host, "smtp-in") == 1, "the end of the others")
                    self.assertFalse(client.has_heard())

    def test_who_has_left_waits_for_no_header(self):
        settings = {f"{role}.{name}": value for role in ("smtp-in", "pop3d")
                    for name, value in (("proxy-from", "127.0.0.1"), ("proxy-timeout", "1h"))}
        with Host(set=settings) as host:
            for name, role in (("smtp", "smtp-in"), ("pop3", "pop3d")):
                clients = [self.client(host, name) for _ in range(3)]
                wait_for(lambda: self.sessions(host, role) == 3, "their sessions")
                clients[0].sock.sendall(b"PROXY TCP4 192.0.2.")
                clients[1].sock.sendall(b"PROXY TCP4 192.0.2.")
                clients[0].leaves()
                clients[1].close()
                clients[2].close()
                wait_for(lambda: self.sessions(host, role) == 0, "the end of all")


if __name__ == "__main__":
    unittest.main()
