"""The smuggling family: whatever is wrong with a line end, or hidden in a message, makes no second message.

Each row is sent by DATA, by BDAT, and by BDAT in chunks of one octet. It holds a whole transaction for bob behind what
some other server might take for the end of the message for alice.
"""

import socket
import unittest

from host import PATIENCE, Host

INNER = b"MAIL FROM:<evil@client.test>\r\nRCPT TO:<bob@example.test>\r\nDATA\r\nSubject: smuggled\r\n\r\nx\r\n"
BARE_LF, BARE_CR, NUL = b"bare LF", b"bare CR", b"NUL octet"

# (name, what stands between the two messages, the word of the refusal)
ENDS = [
    ("LF.LF", b"\n.\n", BARE_LF),
    ("LF.CRLF", b"\n.\r\n", BARE_LF),
    ("CRLF.LF", b"\r\n.\n", BARE_LF),
    ("CRLF.CR", b"\r\n.\r", BARE_CR),
    ("CR.CRLF", b"\r.\r\n", BARE_CR),
    ("CR.LF", b"\r.\n", BARE_CR),
    ("CR.CR", b"\r.\r", BARE_CR),
    ("LF.CR", b"\n.\r", BARE_LF),
    ("CRCRLF", b"\r\r\n", BARE_CR),
    ("CRLF.CRCRLF", b"\r\n.\r\r\n", BARE_CR),
    ("CRLF.NUL CRLF", b"\r\n.\0\r\n", NUL),
    ("CRLF NUL.CRLF", b"\r\n\0.\r\n", NUL),
    ("CRLF.CR NUL LF", b"\r\n.\r\0\n", BARE_CR),
    ("LFLF.LFLF", b"\n\n.\n\n", BARE_LF),
    ("LF alone", b"\n", BARE_LF),
    ("CR alone", b"\r", BARE_CR),
    ("NUL alone", b"\0", NUL),
    ("VT and FF", b"\x0b.\x0c", None),
    ("NEL, as UTF-8", b"\xc2\x85.\xc2\x85", None),
    ("line separator, as UTF-8", b"\xe2\x80\xa8.\xe2\x80\xa8", None),
    ("8-bit octets", b"\x8d\x8a.\x8d\x8a", None),
]

# Command lines (without their CRLF) and the beginnings of the replies to them.
COMMANDS = [
    ("bare LF", b"NOOP\nMAIL FROM:<evil@client.test>", [b"500 5.5.2 bare LF", b"500 5.5.2 bare LF"]),
    ("bare CR", b"NOOP\rMAIL FROM:<evil@client.test>", [b"500 5.5.2 bare CR"]),
    ("CR before CRLF", b"NOOP\r", [b"500 5.5.2 bare CR"]),
    ("NUL", b"NOOP\0", [b"500 5.5.2 NUL octet"]),
    ("NUL in an address", b"MAIL FROM:<a\0@client.test>", [b"500 5.5.2 NUL octet"]),
    ("8-bit verb", b"NO\xd6P", [b"500 5.5.2 "]),
    ("UTF-8 verb", "NÖÖP".encode(), [b"500 5.5.2 "]),
    ("8-bit sender", b"MAIL FROM:<\xe4@client.test>", [b"553 5.6.7 "]),
    ("UTF-8 sender without SMTPUTF8", "MAIL FROM:<ä@client.test>".encode(), [b"553 5.6.7 "]),
    ("8-bit sender that is no UTF-8", b"MAIL FROM:<\xe4@client.test> SMTPUTF8", [b"501 5.1.7 "]),
    ("line end in UTF-8", "MAIL FROM:<a\u2028@client.test> SMTPUTF8".encode(), [b"501 5.1.7 "]),
    ("8-bit parameter", b"MAIL FROM:<a@client.test> SIZE=\xb2", [b"501 5.5.4 "]),
    ("8-bit EHLO", b"EHLO cli\xebnt.test", [b"501 5.5.4 "]),
    ("DEL and controls in EHLO", b"EHLO a\x7f\x1b[2Jb", [b"501 5.5.4 "]),
    ("over-long verb", b"N" * 600, [b"500 5.5.2 "]),
    ("over-long line", b"NOOP " + b"n" * 5000, [b"500 5.5.2 line too long"]),
    ("over-long local part", b"MAIL FROM:<" + b"l" * 300 + b"@client.test>", [b"501 5.1.7 "]),
    ("over-long domain", b"MAIL FROM:<l@" + b"d." * 140 + b"test>", [b"501 5.1.7 "]),
    ("over-long label", b"MAIL FROM:<l@" + b"d" * 64 + b".test>", [b"501 5.1.7 "]),
    ("over-long host name", b"EHLO " + b"d." * 140 + b"test", [b"501 5.5.4 "]),
    ("over-long SIZE", b"MAIL FROM:<l@client.test> SIZE=" + b"1" * 40, [b"501 5.5.4 "]),
    ("over-long ENVID", b"MAIL FROM:<l@client.test> ENVID=" + b"e" * 101, [b"501 5.5.4 "]),
    ("too many parameters", b"MAIL FROM:<l@client.test>" + b"".join(b" P%d" % n for n in range(20)),
     [b"501 5.5.4 "]),
]


class Client:
    def __init__(self, host):
        self.sock = socket.create_connection(("127.0.0.1", host.port("smtp")), PATIENCE)
        self.file = self.sock.makefile("rb")
        self.reply()
        self.say(b"EHLO client.test\r\n")

    def __enter__(self):
        return self

    def __exit__(self, *trace):
        self.file.close()
        self.sock.close()

    def reply(self):
        while True:
            line = self.file.readline()
            if line[3:4] != b"-":
                return line

    def say(self, octets):
        self.sock.sendall(octets)
        return self.reply()

    def begin(self):
        for line in (b"MAIL FROM:<sender@client.test> BODY=8BITMIME\r\n", b"RCPT TO:<alice@example.test>\r\n"):
            assert self.say(line)[:3] == b"250"

    def data(self, octets):
        self.begin()
        assert self.say(b"DATA\r\n")[:3] == b"354"
        return self.say(octets + b"\r\n.\r\n")

    def bdat(self, octets):
        self.begin()
        return self.say(b"BDAT %d LAST\r\n" % len(octets) + octets)

    def bdat_by_octets(self, octets):
        self.begin()
        self.sock.sendall(b"".join(b"BDAT 1\r\n" + octets[at:at + 1] for at in range(len(octets))))
        replies = [self.reply() for _ in octets]
        last = self.say(b"BDAT 0 LAST\r\n")
        return next((reply for reply in replies if reply[:1] == b"5"), last)


class Smuggling(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.host = cls.enterClassContext(Host(set={"smtp-in.errors": "10000", "smtp-in.junk": "10000",
                                                "mda.dsn": "yes"}))

    def check(self, way):
        self.host.empty("alice")
        for name, end, word in ENDS:
            with self.subTest(name), Client(self.host) as client:
                verdict = getattr(client, way)(b"Subject: outer\r\n\r\na" + end + INNER)
                if word is None:
                    self.assertTrue(verdict.startswith(b"250 2.0.0 Accepted"), verdict)
                else:
                    self.assertTrue(verdict.startswith(b"550 5.6.0 Message refused: " + word), verdict)
                # Nothing of it was carried out: the next reply is the one to the next command.
                self.assertTrue(client.say(b"NOOP\r\n").startswith(b"250 2.0.0 Ok"))
        self.assertEqual(self.host.messages("bob"), [])
        self.assertEqual(len(self.host.messages("alice")), sum(word is None for _, _, word in ENDS))

    def test_data(self):
        self.check("data")

    def test_bdat(self):
        self.check("bdat")

    def test_bdat_by_octets(self):
        self.check("bdat_by_octets")

    def test_a_text_does_not_go_on_with_our_trace_field(self):
        """Its first line begins with a blank, and would be a part of Received that nobody here wrote."""
        self.host.empty("alice")
        text = b" by bank.example; Mon, 1 Jan 2024 00:00:00 +0000\r\nhello\r\n"
        for way in ("data", "bdat"):
            with self.subTest(way), Client(self.host) as client:
                verdict = getattr(client, way)(text.removesuffix(b"\r\n") if way == "data" else text)
                self.assertTrue(verdict.startswith(b"250 2.0.0 Accepted"), verdict)
        found = self.host.messages("alice")
        self.assertEqual(len(found), 2)
        for message in found:
            header, body = message.split(b"\r\n\r\n", 1)
            self.assertEqual(body, text)
            self.assertNotIn(b"bank.example", header)

    def test_commands(self):
        with Client(self.host) as client:
            for name, line, replies in COMMANDS:
                with self.subTest(name):
                    client.sock.sendall(line + b"\r\n")
                    for wanted in replies:
                        got = client.reply()
                        self.assertTrue(got.startswith(wanted), got)
                    self.assertTrue(client.say(b"NOOP\r\n").startswith(b"250 2.0.0 Ok"))


if __name__ == "__main__":
    unittest.main()
