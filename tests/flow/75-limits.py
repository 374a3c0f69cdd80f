"""What a client may take of smtp-in: every limit refuses, is counted, and lets go again."""

import base64
import contextlib
import os
import re
import select
import signal
import smtplib
import socket
import ssl
import struct
import time
import unittest

from host import PATIENCE, Host, freeze, wait_for

BASE = {"smtp-in.greeting-delay": "0", "smtp-in.failure-delay": "0", "smtp-in.errors": "100000",
        "smtp-in.junk": "100000", "smtp-in.refusals-per-minute": "0", "smtp-in.workers": "2", "smtp-in.minimum-rate": "0"}


def limited(**settings):
    names = {"smtp-in." + name.replace("_", "-"): value for name, value in settings.items()}
    return Host(limits=True, set={**BASE, **names})


class Client:
    """A connection from an address of our choice."""

    def __init__(self, host, source="127.0.0.2", name="smtp"):
        self.sock = socket.socket()
        self.sock.settimeout(PATIENCE)
        self.sock.bind((source, 0))
        self.sock.connect(("127.0.0.1", host.port(name)))
        self.file = self.sock.makefile("rb")

    def line(self):
        try:
            return self.file.readline().decode()
        except ConnectionResetError:
            return ""

    def reply(self):
        while True:
            line = self.line()
            if line[3:4] != "-":
                return line

    def say(self, *lines):
        self.sock.sendall("".join(line + "\r\n" for line in lines).encode())
        replies = [self.reply() for _ in lines]
        return replies[-1]

    def hello(self):
        assert self.reply().startswith("220 ")
        assert self.say("EHLO client.test").startswith("250 ")
        return self

    def close(self):
        self.file.close()
        self.sock.close()


def counters(host):
    """The sums over all workers of smtp-in, as `restante status` tells them."""
    text = host.command("status", "-c", str(host.dir / "restante.conf")).stdout.decode()
    part = text[text.index("\nsmtp-in"):text.index("\npop3d")]
    found = {}
    for name, number in re.findall(r"([\w.:-]+)=(\d+)", part):
        found[name] = found.get(name, 0) + int(number)
    return found


def counted(host, **wanted):
    """Until they are told (a worker that is busy for a second is shown with what it had before): at least 1 for True."""
    wanted = {name.replace("_", "-"): number for name, number in wanted.items()}

    def told():
        seen = counters(host)
        return all(seen.get(name, 0) > 0 if number is True else seen.get(name) == number for name, number in wanted.items())
    try:
        wait_for(told, wanted)
    except AssertionError as error:
        raise AssertionError(f"{error}; told are {counters(host)}") from None


@contextlib.contextmanager
def stopped(pid):
    freeze(pid)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


TCP_INFO_TOTAL_RETRANS = 100  # where struct tcp_info has it, of four octets of which one is enough


class Limits(unittest.TestCase):
    def client(self, host, source="127.0.0.2", name="smtp"):
        client = Client(host, source, name)
        self.addCleanup(client.close)
        return client

    def greeted(self, host, source="127.0.0.2"):
        """Whether a client is let in; it goes at once."""
        client = Client(host, source)
        greeting = client.reply()
        client.close()
        return greeting.startswith("220 ")

    def assert_others_go_on(self, host):
        self.assertTrue(self.greeted(host, "127.0.0.3"), "another client pays for it")

    def test_clients_per_address(self):
        with limited(clients_per_address="4", connections_per_minute="0") as host:
            inside = [self.client(host).hello() for _ in range(4)]
            for _ in range(6):  # whichever worker takes it
                self.assertRegex(self.client(host).reply(), r"^421 4\.7\.0 Too many connections from your address")
            self.assert_others_go_on(host)
            counted(host, refused_clients_per_address=6, refused_connections=6, **{"refused-127.0.0.2": 6})
            inside[0].say("QUIT")
            inside[0].close()
            wait_for(lambda: self.greeted(host), "a place is free again")

    def test_a_worker_that_dies_gives_back_what_its_clients_held(self):
        with limited(clients_per_address="4", connections_per_minute="0", workers="1") as host:
            for _ in range(4):
                self.client(host).hello()
            self.assertFalse(self.greeted(host))
            os.kill(host.pids("smtp-in")[0], signal.SIGKILL)
            wait_for(lambda: self.greeted(host), "the new worker lets it in")
            for _ in range(4):
                wait_for(lambda: self.client(host).reply().startswith("220"), "all four places")

    def test_clients_total(self):
        with limited(clients_total="3", connections_per_minute="0") as host:
            inside = [self.client(host, f"127.0.0.{n}").hello() for n in range(2, 5)]
            self.assertRegex(self.client(host, "127.0.0.9").reply(), r"^421 4\.7\.0 Too many clients")
            counted(host, refused_clients_total=1)
            inside[0].close()
            wait_for(lambda: self.greeted(host, "127.0.0.9"), "a place is free again")

    def test_connections_per_minute(self):
        with limited(connections_per_minute="30") as host:
            begun, allowed = time.monotonic(), 0
            while self.greeted(host):
                allowed += 1
                self.assertLessEqual(allowed, 31 + (time.monotonic() - begun) / 2, "one more each two seconds")
            self.assertGreaterEqual(allowed, 30)
            self.assert_others_go_on(host)
            counted(host, refused_connections_per_minute=1, **{"refused-127.0.0.2": 1})
            wait_for(lambda: self.greeted(host), "one more after two seconds")

    def test_who_has_gone_when_its_turn_comes_is_counted_too(self):
        with limited(connections_per_minute="5", workers="1") as host:
            with stopped(host.pids("smtp-in")[0]):
                for _ in range(50):
                    client = Client(host)
                    client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    client.close()
            told = wait_for(lambda: (lambda seen: seen if seen.get("connections") == 50 else None)(counters(host)),
                            "all were accepted")
            self.assertGreaterEqual(told["refused-connections-per-minute"], 40)  # one more is let in each twelve seconds
            self.assertEqual(told["refused-127.0.0.2"], told["refused-connections-per-minute"])
            self.assert_others_go_on(host)

    def knock(self, host, source):
        """Whether a connection comes about without a SYN being sent twice; and the socket."""
        sock = socket.socket()
        self.addCleanup(sock.close)
        sock.bind((source, 0))
        sock.setblocking(False)
        sock.connect_ex(("127.0.0.1", host.port("smtp")))

        def resent():
            return sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)[TCP_INFO_TOTAL_RETRANS] > 0
        wait_for(lambda: resent() or select.select([], [sock], [], 0)[1], "an answer, or another SYN")
        heard = not resent()
        self.assert_others_go_on(host)
        return heard, sock

    def until_not_heard(self, host, source="127.0.0.2"):
        def refused():
            heard, sock = self.knock(host, source)
            return None if heard else sock
        return wait_for(refused, f"{source} is not heard")

    @unittest.skipUnless(os.geteuid() == 0, "only root puts filters on listeners")
    def test_who_goes_on_after_refusals_is_not_heard_for_a_while(self):
        with limited(connections_per_minute="0", clients_per_address="4", refusals_per_minute="5", shun_time="1h") as host:
            inside = [self.client(host).hello() for _ in range(4)]
            for _ in range(5):
                self.assertRegex(self.client(host).reply(), r"^421 4\.7\.0 Too many connections from your address")
            self.until_not_heard(host)
            self.assertFalse(self.knock(host, "127.0.0.2")[0])
            self.assertTrue(inside[0].say("NOOP").startswith("250"), "what it has goes on")
            self.assertEqual(self.client(host, name="pop3").line()[:3], "+OK")
            counted(host, shunned=True, shunned_now=1)
            wait_for(lambda: "event=client-shunned peer=127.0.0.2 seconds=3600" in host.log(), "a line about it")

    @unittest.skipUnless(os.geteuid() == 0, "only root puts filters on listeners")
    def test_who_was_not_heard_is_heard_again(self):
        with limited(connections_per_minute="0", clients_per_address="4", refusals_per_minute="1", shun_time="3s") as host:
            for _ in range(4):
                self.client(host).hello()
            # TCP knocks again by itself, and is answered when the time is over.
            silent = self.until_not_heard(host)
            silent.settimeout(PATIENCE)
            self.assertTrue(select.select([], [silent], [], PATIENCE)[1], "it never was heard again")
            self.assertRegex(silent.recv(100).decode(), r"^(220|421) ")
            wait_for(lambda: counters(host).get("shunned-now") is None, "nobody is shunned")
            wait_for(lambda: self.knock(host, "127.0.0.2")[0], "the listener knows")

    @unittest.skipUnless(os.geteuid() == 0, "only root puts filters on listeners")
    def test_a_worker_that_dies_shuns_nobody(self):
        with limited(connections_per_minute="0", clients_per_address="4", refusals_per_minute="1", shun_time="1h",
                     workers="1") as host:
            for _ in range(4):
                self.client(host).hello()
            self.until_not_heard(host)
            os.kill(host.pids("smtp-in")[0], signal.SIGKILL)
            wait_for(lambda: self.knock(host, "127.0.0.2")[0], "it is heard again")

    def test_what_holds_for_all_together(self):
        settings = {"connections_per_minute_total": "6", "messages_per_hour_total": "2",
                    "failed_recipients_per_hour_total": "1"}
        with limited(**settings) as host:
            first, second, third = (self.client(host, f"127.0.0.{n}").hello() for n in (2, 3, 4))
            self.assertTrue(first.say("MAIL FROM:<a@client.test>").startswith("250"))
            self.assertTrue(second.say("MAIL FROM:<a@client.test>").startswith("250"))
            self.assertTrue(third.say("MAIL FROM:<a@client.test>").startswith("450 4.7.1 "))
            self.assertTrue(first.say("RCPT TO:<nobody@example.test>").startswith("550 5.1.1 "))
            self.assertTrue(first.say("RCPT TO:<alice@example.test>").startswith("421 4.7.0 "))
            # The share of all is used up, but not by this one: it goes on.
            self.assertTrue(second.say("RCPT TO:<alice@example.test>").startswith("250 2.1.5 "))
            greetings = [self.client(host, f"127.0.0.{n}").reply() for n in range(5, 15)]
            self.assertTrue(any(line.startswith("421 4.7.0 Too many connections, come again") for line in greetings))
            counted(host, refused_connections_per_minute_total=True, refused_messages_per_hour=1, refused_failed_recipients=1)

    def test_messages_per_hour(self):
        with limited(messages_per_hour="1200") as host:
            client = self.client(host).hello()
            for _ in range(24):
                client.say(*["MAIL FROM:<a@client.test>", "RSET"] * 50)
            reply = wait_for(lambda: next((reply for reply in [client.say("MAIL FROM:<a@client.test>"),
                                                               client.say("RSET")] if reply[0] == "4"), None), "no more")
            self.assertEqual(reply, "450 4.7.1 Too many messages, come again later\r\n")
            other = self.client(host, "127.0.0.3").hello()
            self.assertTrue(other.say("MAIL FROM:<a@client.test>").startswith("250"))
            counted(host, refused_messages_per_hour=True)
            wait_for(lambda: client.say("MAIL FROM:<a@client.test>").startswith("250"), "one more after three seconds")

    def test_failed_recipients_per_hour(self):
        with limited(failed_recipients_per_hour="600", connections_per_minute="0") as host:
            client = self.client(host).hello()
            client.say("MAIL FROM:<a@client.test>")
            first = client.say("RCPT TO:<alice@example.test>")
            self.assertTrue(first.startswith("250"), first)
            told = [client.say(f"RCPT TO:<nobody{n}@example.test>")[:9] for n in range(600)]
            self.assertEqual(set(told), {"550 5.1.1"})

            def exhausted():
                return client.say("RCPT TO:<nobody@example.test>").startswith("450 4.7.1")
            wait_for(exhausted, "its share to be used up")
            # What it has is not taken from it.
            self.assertTrue(client.say("DATA").startswith("354"))
            client.sock.sendall(b"Subject: x\r\n\r\nbody\r\n.\r\n")
            self.assertTrue(client.reply().startswith("250 2.0.0 "))

            def refused():
                again = self.client(host).hello()
                again.say("MAIL FROM:<a@client.test>")
                reply = again.say("RCPT TO:<bob@example.test>")
                if not reply.startswith("250"):
                    return reply, again.line()
                again.say("RCPT TO:<nobody@example.test>")  # uses up what it was given meanwhile
                again.close()
                return None
            reply, after = wait_for(refused, "another session to feel it")
            self.assertRegex(reply, r"^421 4\.7\.0 .*Too many recipients failed")
            self.assertEqual(after, "")
            other = self.client(host, "127.0.0.3").hello()
            other.say("MAIL FROM:<a@client.test>")
            self.assertTrue(other.say("RCPT TO:<alice@example.test>").startswith("250"))
            counted(host, refused_failed_recipients=True)

            def accepted():
                once_more = Client(host).hello()
                once_more.say("MAIL FROM:<a@client.test>")
                reply = once_more.say("RCPT TO:<bob@example.test>")
                once_more.close()
                return reply.startswith("250")
            wait_for(accepted, "six seconds later it may try again")

    def test_all_at_once_learn_no_more_than_one_by_one(self):
        """A thousand recipients in one segment: the share of answers is the same."""
        with limited(failed_recipients_per_hour="20") as host:
            client = self.client(host).hello()
            client.sock.sendall(b"MAIL FROM:<a@client.test>\r\n" +
                                b"".join(b"RCPT TO:<n%d@example.test>\r\n" % n for n in range(1000)) + b"QUIT\r\n")
            replies = [line[:9] for line in iter(client.line, "")]
            self.assertEqual(replies.count("550 5.1.1"), 20, replies[:40])
            self.assertEqual(set(replies[21:]) - {"550 5.1.1"}, {"450 4.7.1", "421 4.7.0"})
            self.assertLess(len(replies), 150, "not all of them were looked up")

    def test_failures_are_told_later_and_later(self):
        with limited(failure_delay="1s", failure_delay_most="2s") as host:
            client = self.client(host).hello()
            client.say("MAIL FROM:<a@client.test>")
            begun = time.monotonic()
            # Commands behind the bad one wait, too, and come in order.
            client.sock.sendall(b"RCPT TO:<nobody@example.test>\r\nRCPT TO:<alice@example.test>\r\nNOOP\r\n")
            self.assertTrue(client.reply().startswith("550 5.1.1"))
            first = time.monotonic() - begun
            self.assertTrue(client.reply().startswith("250 2.1.5"))
            self.assertTrue(client.reply().startswith("250 2.0.0"))
            self.assertTrue(client.say("RCPT TO:<nobody@example.test>").startswith("550 5.1.1"))
            both = time.monotonic() - begun
            self.assertGreaterEqual(first, 0.9)
            self.assertGreaterEqual(both, 2.9)
            counted(host, delayed_recipients=2)
            client.sock.sendall(b"DATA\r\n")
            self.assertTrue(client.reply().startswith("354"))
            client.sock.sendall(b"Subject: x\r\n\r\nbody\r\n.\r\n")
            self.assertTrue(client.reply().startswith("250 2.0.0"))

    def test_who_waits_holds_no_connection_to_the_delivery_agent(self):
        with limited(failure_delay="100s", failure_delay_most="100s", workers="1") as host:
            waiting = [self.client(host).hello() for _ in range(5)]
            for client in waiting:
                client.sock.sendall(b"MAIL FROM:<a@client.test>\r\nRCPT TO:<nobody@example.test>\r\n")
            wait_for(lambda: counters(host).get("delayed-recipients") == 5, "all wait")
            told = wait_for(lambda: (lambda seen: seen if seen.get("hand-over-open") == seen.get("hand-over-idle") else None)(
                counters(host)), "all connections are idle")
            self.assertEqual(told["sessions"], 5)

    def test_a_message_that_came_with_a_failure_is_answered(self):
        """As most senders do it: nothing was waited for before DATA, or before the message itself."""
        with limited(failure_delay="1s", failure_delay_most="1s") as host:
            for i, message in enumerate(("DATA", "BDAT 3 LAST\r\nx", "BDAT 3\r\nx")):
                with self.subTest(message=message):
                    client = Client(host, source=f"127.0.0.{2 + i}").hello()
                    client.sock.sendall(f"MAIL FROM:<a@client.test>\r\nRCPT TO:<nobody@example.test>\r\n{message}\r\n".encode())
                    self.assertEqual([client.reply()[:3] for _ in range(3)], ["250", "550", "554"])
                    self.assertTrue(client.say("MAIL FROM:<a@client.test>").startswith("250 "))
                    client.close()

    def test_who_talks_first(self):
        with limited(greeting_delay="1s", workers="1") as host:
            with stopped(host.pids("smtp-in")[0]):
                client = self.client(host)
                client.sock.sendall(b"EHLO client.test\r\n")
            self.assertRegex(client.reply(), r"^554 5\.5\.1 .*You talk before you are greeted")
            self.assertEqual(client.line(), "")
            begun = time.monotonic()
            patient = self.client(host).hello()
            self.assertGreaterEqual(time.monotonic() - begun, 0.9)
            self.assertTrue(patient.say(*["NOOP"] * 100).startswith("250"))
            counted(host, talked_first=1)
            self.assertEqual(host.smtp(secure="tls").noop()[0], 250)

    def test_slow_senders(self):
        with limited(minimum_rate="100", minimum_rate_after="2s") as host:
            slow, quick = self.client(host).hello(), self.client(host).hello()
            for client in (slow, quick):
                client.say("MAIL FROM:<a@client.test>", "RCPT TO:<alice@example.test>")
            # Along with DATA, so that it is there when its time begins; for six minutes it has been quick enough.
            quick.sock.sendall(b"DATA\r\nSubject: y\r\n\r\n" + (b"y" * 70 + b"\r\n") * 500)
            self.assertTrue(quick.reply().startswith("354"))
            self.assertTrue(slow.say("DATA").startswith("354"))
            slow.sock.sendall(b"Subject: x\r\n")
            self.assertRegex(slow.reply(), r"^421 4\.4\.2 .*too slowly")
            self.assertEqual(slow.line(), "")
            quick.sock.sendall(b".\r\n")
            self.assertTrue(quick.reply().startswith("250 2.0.0"))
            counted(host, slow_senders=1)

    def test_who_is_slow_makes_room_when_there_is_none(self):
        """By DATA and by small chunks: with one connection to the delivery agent, somebody else gets it soon."""
        for line, ready, octets in (("DATA", "354", b"Subject: x\r\n"), ("BDAT 2\r\nx:", "250", b"")):
            with self.subTest(by=line), limited(hand_over_connections="1", hand_over_hold="3s", workers="1") as host:
                slow, other = self.client(host).hello(), self.client(host, "127.0.0.3").hello()
                slow.say("MAIL FROM:<a@client.test>", "RCPT TO:<alice@example.test>")
                with stopped(host.pids("smtp-in")[0]):  # so that both come at once
                    slow.sock.sendall(line.encode() + b"\r\n" * (line == "DATA") + octets)
                    other.sock.sendall(b"MAIL FROM:<a@client.test>\r\nRCPT TO:<alice@example.test>\r\n")
                self.assertTrue(slow.reply().startswith(ready))
                self.assertTrue(other.reply().startswith("250 2.1.0"))
                self.assertRegex(other.reply(), r"^451 4\.3\.0")
                self.assertRegex(slow.reply(), r"^421 4\.4\.2 .*too slowly")
                self.assertEqual(slow.line(), "")
                wait_for(lambda: other.say("RSET", "MAIL FROM:<a@client.test>", "RCPT TO:<alice@example.test>")
                         .startswith("250 2.1.5"), "a connection for somebody else")
                counted(host, slow_senders=1)
                self.assertEqual(host.messages(), [])

    def test_a_failed_login_is_told_later_by_the_store_alone_and_then_none_is_tried(self):
        settings = {**BASE, "smtp-in.failed-logins-per-hour": "2", "smtp-in.failure-delay": "100s",
                    "smtp-in.failure-delay-most": "100s", "smtp-in.workers": "1", "store.login-delay": "1s"}
        with Host(limits=True, set=settings) as host:
            wrong = base64.b64encode(b"\0alice@example.test\0wrong").decode()

            def guess(source):
                session = smtplib.SMTP_SSL("127.0.0.1", host.port("submissions"), timeout=PATIENCE,
                                           context=host.tls_context(), source_address=(source, 0))
                session.ehlo()
                self.addCleanup(session.close)
                return session.docmd("AUTH PLAIN", wrong)
            begun = time.monotonic()
            self.assertEqual(guess("127.0.0.2")[0], 535)
            self.assertEqual(guess("127.0.0.2")[0], 535)
            self.assertGreaterEqual(time.monotonic() - begun, 1.9)
            self.assertEqual(guess("127.0.0.2"), (421, b"4.7.0 mail.example.test: Too many failed logins, come again later"))
            self.assertEqual(guess("127.0.0.3")[0], 535)
            counted(host, refused_failed_logins=1)

    def test_loopback_is_free_unless_told_otherwise(self):
        settings = {"smtp-in.clients-per-address": "2", "smtp-in.greeting-delay": "200s"}
        with Host(set=settings) as host:
            for _ in range(5):
                self.client(host).hello()


class Proxies(unittest.TestCase):
    def connect(self, host, header, name="smtp", source="127.0.0.1"):
        client = Client(host, source, name)
        self.addCleanup(client.close)
        client.sock.sendall(header)
        return client

    def received(self, host, header):
        client = self.connect(host, header).hello()
        client.say("MAIL FROM:<a@client.test>", "RCPT TO:<alice@example.test>")
        client.say("DATA")
        client.sock.sendall(b"Subject: x\r\n\r\nbody\r\n.\r\n")
        assert client.reply().startswith("250 2.0.0")
        message = host.messages()[-1].decode()
        return re.search(r"Received: from client\.test \((.*?)\)", message)[1]

    def version2(self, command, family, block):
        return b"\r\n\r\n\0\r\nQUIT\n" + bytes([0x20 | command, family]) + struct.pack(">H", len(block)) + block

    def test_the_client_is_who_the_header_says(self):
        with limited(proxy_from="127.0.0.1", proxy_timeout="1h", clients_per_address="2", connections_per_minute="0") as host:
            v4 = b"PROXY TCP4 192.0.2.7 127.0.0.1 1000 25\r\n"
            v6 = self.version2(1, 0x21, socket.inet_pton(socket.AF_INET6, "2001:db8::7") + bytes(16) +
                               struct.pack(">HH", 1000, 25) + b"\x04\0\x03abc")
            self.assertIn("[192.0.2.7]", self.received(host, v4))
            self.assertIn("[IPv6:2001:db8::7]", self.received(host, v6))
            self.assertIn("[127.0.0.1]", self.received(host, b"PROXY UNKNOWN\r\n"))
            self.assertIn("[127.0.0.1]", self.received(host, self.version2(0, 0, b"")))
            wait_for(lambda: "peer=192.0.2.7" in host.log(), "the client's address in the log")
            v4 = v4.replace(b".7 ", b".8 ")
            for _ in range(2):
                self.connect(host, v4).hello()
            self.assertRegex(self.connect(host, v4).reply(), "^421 4.7.0 .*Too many connections from your address")
            self.connect(host, v4.replace(b".8 ", b".9 ")).hello()
            # IPv6 counts by its /64.
            for last in (b"::1", b"::2"):
                self.connect(host, b"PROXY TCP6 2001:db8:5" + last + b" ::1 1 25\r\n").hello()
            self.assertRegex(self.connect(host, b"PROXY TCP6 2001:db8:5::3 ::1 1 25\r\n").reply(), "^421 ")
            counted(host, refused_clients_per_address=2, proxied=11, **{"refused-192.0.2.8": 1})

    def test_what_is_no_header_ends_the_connection(self):
        with limited(proxy_from="127.0.0.1", proxy_timeout="1h") as host:
            for bad in (b"EHLO client.test\r\n", b"PROXY TCP4 192.0.2.7\r\n", b"PROXY TCP4 192.0.2.7 127.0.0.1 1 25\n",
                        b"\r\n\r\n\0\r\nQUIT\n\x31\x11\0\x0c" + bytes(12)):
                self.assertEqual(self.connect(host, bad).line(), "", bad)
            counted(host, refused_proxy_headers=4)
            # From elsewhere it is just a client that talks nonsense.
            stranger = self.connect(host, b"", source="127.0.0.2").hello()
            self.assertRegex(stranger.say("PROXY TCP4 192.0.2.7 127.0.0.1 1000 25"), "^500 5.5.2")

    def test_a_header_that_does_not_end(self):
        with limited(proxy_from="127.0.0.1", proxy_timeout="1s") as host:
            self.assertEqual(self.connect(host, b"PROXY TCP4 192").line(), "", "it is waited for no longer")

    def test_no_certificate_any_more_behind_a_header(self):
        """It was taken away while the header was awaited."""
        with limited(proxy_from="127.0.0.1", proxy_timeout="1h") as host:
            raw = socket.create_connection(("127.0.0.1", host.port("submissions")), PATIENCE)
            wait_for(lambda: counters(host).get("sessions") == 1, "the session")
            settings, mark, pids = host.dir / "restante.conf", len(host.log()), host.pids("smtp-in")
            settings.write_text(re.sub(r"certificates = \{[^}]*\}", "certificates = { }", settings.read_text()))
            host.process.send_signal(signal.SIGHUP)
            wait_for(lambda: len(re.findall(r"role=smtp-in \S+ event=reloaded", host.log()[mark:])) == len(pids), "the new settings")
            with raw:
                raw.sendall(b"PROXY TCP4 192.0.2.7 127.0.0.1 1000 465\r\n")
                self.assertEqual(raw.recv(100), b"")
            self.assertIn("no-certificate", host.log()[mark:])
            self.assertEqual(host.pids("smtp-in"), pids)
            wait_for(lambda: not counters(host).get("sessions"), "the end of the session")

    def test_tls_behind_a_header(self):
        with limited(proxy_from="127.0.0.1", proxy_timeout="1h") as host:
            raw = socket.create_connection(("127.0.0.1", host.port("submissions")), PATIENCE)
            # In one segment with the beginning of the handshake, as a balancer sends it.
            with raw:
                incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
                client = host.tls_context().wrap_bio(incoming, outgoing, server_hostname="localhost")
                first = b"PROXY TCP4 192.0.2.7 127.0.0.1 1000 465\r\n"
                greeting = b""
                while not greeting:
                    try:
                        greeting = client.read()
                    except ssl.SSLWantReadError:
                        octets = first + outgoing.read()
                        first = b""
                        if octets:
                            raw.sendall(octets)
                        incoming.write(raw.recv(65536))
                self.assertTrue(greeting.startswith(b"220 "), greeting)

