"""Remote servers that lie, flood or stall: each is left with a clear error, and nobody else notices."""

import contextlib
import unittest

import hostile
from host import Host, address, build_dir, wait_for
from hostile import Authority, Scripted, imap, pop3
from remote import bridge


def silent(talk):
    talk.silence()


def endless_line(talk):
    talk.flood(b"x")


def hang_up(_):
    return True


def injected_pop3(certificate):
    """Words in the clear behind the answer to STLS, which must not count as answers after it."""
    def stls(talk, _):
        talk.send("+OK begin\r\n+OK\r\n+OK\r\n+OK 1 5\r\n")
        talk.tls(certificate)
    return stls


def injected_imap(certificate):
    def starttls(talk, _):
        talk.send("* CAPABILITY IMAP4rev1\r\n")
        talk.ok()
        talk.send("* PREAUTH welcome\r\n* 1 EXISTS\r\n")
        talk.tls(certificate)
    return starttls


def endless(before, line):
    def answer(talk, _):
        talk.send(before)
        talk.flood(line)
    return answer


def cut(octets):
    def answer(talk, _):
        talk.send(octets)
        return True
    return answer


def deep(talk, _):
    talk.send("* 1 FETCH ")
    talk.flood(b"(")


def nested(before, octets=b"(", times=900_000):
    """Deeper and deeper, in one line that ends."""
    def answer(talk, _):
        talk.send(before)
        talk.send(octets * times)
        talk.send("\r\n")
        talk.ok()
    return answer


def tagged(*lines):
    def answer(talk, _):
        talk.send("".join(line + "\r\n" for line in lines))
        talk.ok()
    return answer


def a_million(talk, _):
    """So many in one line."""
    talk.send("* SEARCH " + " ".join(map(str, range(4 << 20, 5 << 20))) + "\r\n")
    talk.ok()


def more_than_said(talk, arguments):
    """RFC822.SIZE 10, and then a message of other size without end."""
    if "BODY" in arguments:
        talk.send("* 1 FETCH (UID 1 BODY[] {9999999}\r\n")
        talk.flood(b"z")
    talk.send("* 1 FETCH (UID 1 FLAGS () INTERNALDATE \"01-Jan-2020 00:00:00 +0000\" RFC822.SIZE 10)\r\n")
    talk.ok()


def million(talk, _):
    """UIDs without end, four octets each or more."""
    talk.send("* SEARCH")
    for start in range(1, 4000000, 5000):
        talk.send("".join(f" {uid}" for uid in range(start, start + 5000)))
    talk.send("\r\n")
    talk.ok()


def lying_size(talk, arguments):
    """RFC822.SIZE far from the truth."""
    body = hostile.MESSAGE
    head = "* 1 FETCH (UID 1 FLAGS () INTERNALDATE \"01-Nov-2026 10:00:00 +0000\" RFC822.SIZE 12345"
    if "BODY" in arguments:
        start = int(arguments.partition("<")[2].partition(".")[0] or 0) if "<" in arguments else 0
        part = body[start:]
        where = f"<{start}>" if "<" in arguments else ""
        talk.send(f"{head} BODY[]{where} {{{len(part)}}}\r\n".encode() + part + b")\r\n")
    else:
        talk.send(head + ")\r\n")
    talk.ok()


IMPLICIT, STARTTLS, NONE = "implicit", "starttls", "none"

# name: (protocol, tls, certificate of the Authority or "", script of (certificate), words of the error)
CASES = {
    "pop3-silent": ("pop3", NONE, "", lambda c: silent, "localhost says nothing any more"),
    "imap-silent": ("imap", NONE, "", lambda c: silent, "localhost says nothing any more"),
    "pop3-endless-greeting": ("pop3", NONE, "", lambda c: endless_line, "the server sends a line without end"),
    "imap-endless-greeting": ("imap", NONE, "", lambda c: endless_line, "localhost sends more than an answer can have"),
    "pop3-hangs-up": ("pop3", NONE, "", lambda c: hang_up, "localhost closed the connection"),
    "imap-hangs-up": ("imap", NONE, "", lambda c: hang_up, "localhost closed the connection"),
    "pop3-not-today": ("pop3", NONE, "", lambda c: pop3(greeting="-ERR not today\r\n"),
        "the server says: not today"),
    "imap-bye": ("imap", NONE, "", lambda c: imap(greeting="* BYE not today\r\n"),
        "the server says: not today"),
    "pop3-garbage": ("pop3", NONE, "", lambda c: pop3(greeting=b"\x00\xff\x16\x03\r\n"),
        "the server says what is not POP3"),
    "imap-garbage": ("imap", NONE, "", lambda c: imap(greeting=b"\x00\xff\x16\x03\r\n"),
        "the server does not greet as IMAP does"),
    "pop3-not-pop3": ("pop3", NONE, "", lambda c: pop3(greeting="220 smtp.example.net ESMTP\r\n"),
        "the server says what is not POP3: 220 smtp"),
    "imap-not-imap": ("imap", NONE, "", lambda c: imap(greeting="220 smtp.example.net ESMTP\r\n"),
        "the server does not greet as IMAP does"),
    "pop3-wrong-name": ("pop3", IMPLICIT, "other", lambda c: pop3(), "hostname mismatch"),
    "imap-wrong-name": ("imap", IMPLICIT, "other", lambda c: imap(), "hostname mismatch"),
    "pop3-expired": ("pop3", IMPLICIT, "expired", lambda c: pop3(), "certificate has expired"),
    "imap-expired": ("imap", IMPLICIT, "expired", lambda c: imap(), "certificate has expired"),
    "pop3-self-signed": ("pop3", IMPLICIT, "itself", lambda c: pop3(), "self-signed certificate"),
    "imap-self-signed": ("imap", IMPLICIT, "itself", lambda c: imap(), "self-signed certificate"),
    "imap-stranger": ("imap", IMPLICIT, "stranger", lambda c: imap(),
        "unable to get local issuer certificate"),
    "pop3-no-tls": ("pop3", IMPLICIT, "", lambda c: pop3(), "no TLS with localhost"),
    "imap-no-tls": ("imap", IMPLICIT, "", lambda c: imap(), "no TLS with localhost"),
    "pop3-starttls-wrong-name": ("pop3", STARTTLS, "", lambda c: pop3(certificate=c("other")),
        "hostname mismatch"),
    "imap-starttls-wrong-name": ("imap", STARTTLS, "", lambda c: imap(certificate=c("other")),
        "hostname mismatch"),
    "pop3-stripped": ("pop3", STARTTLS, "", lambda c: pop3(), "the server offers no STLS"),
    "imap-stripped": ("imap", STARTTLS, "", lambda c: imap(), "the server offers no STARTTLS"),
    "pop3-stls-refused": ("pop3", STARTTLS, "", lambda c: pop3(certificate=c("good"), stls="-ERR no\r\n"),
        "nothing is sent in the clear; the server says: no"),
    "pop3-stls-and-no-tls": ("pop3", STARTTLS, "", lambda c: pop3(
        certificate=c("good"), stls="+OK begin\r\n+OK you are in\r\n"), "localhost says nothing any more"),
    "imap-starttls-refused": ("imap", STARTTLS, "", lambda c: imap(
        certificate=c("good"), starttls=lambda talk, _: talk.no()), "the server refuses STARTTLS"),
    "imap-injected": ("imap", STARTTLS, "", lambda c: imap(certificate=c("good"), starttls=injected_imap(c("good"))),
                      "somebody put"),
    "imap-preauth": ("imap", STARTTLS, "", lambda c: imap(greeting="* PREAUTH hello\r\n"),
        "somebody who has logged in already"),
    "pop3-login": ("pop3", NONE, "", lambda c: pop3(**{"pass": "-ERR [AUTH] wrong\r\n"}),
        "the server refuses user and password; the server says: [AUTH] wrong"),
    "pop3-list-endless": ("pop3", NONE, "", lambda c: pop3(list=endless("+OK\r\n", b"1 10\r\n")),
        "the server's listing makes no sense"),
    "pop3-list-jumps": ("pop3", NONE, "", lambda c: pop3(list="+OK\r\n5 1\r\n3 1\r\n.\r\n"),
        "the server's listing makes no sense"),
    "pop3-uidl-that-is-none": ("pop3", NONE, "", lambda c: pop3(uidl="+OK\r\n1 a\x01b\r\n.\r\n"),
        "the server's listing makes no sense"),
    "pop3-uidl-endless": ("pop3", NONE, "", lambda c: pop3(uidl=endless("+OK\r\n", b"1 abc\r\n")),
        "the server's listing makes no sense"),
    "pop3-uidl-not-now": ("pop3", NONE, "", lambda c: pop3(uidl="-ERR try later\r\n"), "the messages' UIDLs are not told"),
    "pop3-uidl-long-line": ("pop3", NONE, "", lambda c: pop3(uidl=endless("+OK\r\n1 ", b"a")),
        "a line without end"),
    "pop3-uidl-nonsense": ("pop3", NONE, "", lambda c: pop3(uidl="+OK\r\n0 a\r\n-1 b\r\n99999999999 c\r\n1\r\n.\r\n"),
        "the server's listing makes no sense"),
    "pop3-retr-endless": ("pop3", NONE, "", lambda c: pop3(retr=endless("+OK\r\n", b"spam, spam, spam\r\n")),
        "more than an answer can have"),
    "pop3-retr-endless-line": ("pop3", NONE, "", lambda c: pop3(retr=endless("+OK\r\n", b"x")),
        "more than an answer can have"),
    "pop3-retr-cut": ("pop3", NONE, "", lambda c: pop3(retr=cut("+OK\r\nSubject: half\r\n\r\nhal")),
        "localhost closed the connection"),
    "pop3-retr-stalls": ("pop3", NONE, "", lambda c: pop3(retr=lambda talk, _: talk.send("+OK\r\nSubj") or talk.silence()),
                         "localhost says nothing any more"),
    "imap-no-uidvalidity": ("imap", NONE, "", lambda c: imap(select=tagged("* 1 EXISTS"), examine=tagged("* 1 EXISTS")),
        "INBOX has no UIDVALIDITY"),
    "imap-exists-4294967295": ("imap", NONE, "", lambda c: imap(
        select=tagged("* 4294967295 EXISTS", "* OK [UIDVALIDITY 7] .", "* OK [UIDNEXT 4294967295] ."),
        examine=tagged("* 4294967295 EXISTS", "* OK [UIDVALIDITY 7] .", "* OK [UIDNEXT 4294967295] ."), uid_search=million,
        uid_fetch=endless("", b"* 1 FETCH (UID 1 FLAGS () RFC822.SIZE 5)\r\n")),
        "more than an answer can have"),
    "imap-a-million": ("imap", NONE, "", lambda c: imap(uid_search=a_million), "more than an answer can have"),
    "imap-more-than-said": ("imap", NONE, "", lambda c: imap(uid_fetch=more_than_said), "more than an answer can have"),
    "imap-literal-for-a-size": ("imap", NONE, "", lambda c: imap(
        uid_fetch=endless("* 1 FETCH (UID 1 RFC822.SIZE {4294967295}\r\n", b"y")), "more than an answer can have"),
    "imap-literal-of-4-gib": ("imap", NONE, "", lambda c: imap(uid_fetch=cut("* 1 FETCH (UID 1 BODY[] {4294967295}\r\nx")),
        "more than an answer can have"),
    "imap-literal-too-long": ("imap", NONE, "", lambda c: imap(
        uid_fetch=endless("* 1 FETCH (UID 1 BODY[] {99999999999999999999}\r\n", b"x")),
        "more than an answer can have"),
    "imap-literal-cut": ("imap", NONE, "", lambda c: imap(uid_fetch=cut("* 1 FETCH (UID 1 BODY[] {50}\r\nhal")),
        "localhost closed the connection"),
    "imap-nested": ("imap", NONE, "", lambda c: imap(uid_fetch=deep), "lists in lists without end"),
    "imap-nested-structure": ("imap", NONE, "", lambda c: imap(uid_fetch=nested("* 1 FETCH (UID 1 BODYSTRUCTURE ")), "lists in lists without end"),
    "imap-nested-extension": ("imap", NONE, "", lambda c: imap(
        uid_fetch=nested('* 1 FETCH (UID 1 BODYSTRUCTURE ("a" "b" NIL NIL NIL "7BIT" 1 NIL NIL NIL NIL ')), "lists in lists without end"),
    "imap-nested-thread": ("imap", NONE, "", lambda c: imap(uid_search=nested("* THREAD ")), "lists in lists without end"),
    "imap-nested-capability": ("imap", NONE, "", lambda c: imap(capability=nested("* X-Y ")), "lists in lists without end"),
    "imap-nested-behind-words": ("imap", NONE, "", lambda c: imap(
        uid_fetch=nested("* OK have {950000}\r\n* 1 FETCH (UID 1 BODYSTRUCTURE ")), "lists in lists without end"),
    "imap-search-of-ones": ("imap", NONE, "", lambda c: imap(
        uid_search=nested("* SEARCH", b" 1", 3_500_000), uid_fetch=endless("", b"* 1 FETCH (UID 1)\r\n")),
        "more than an answer can have" if build_dir().name == "sanitize" else "the messages are not listed"),
    "imap-list-endless": ("imap", NONE, "", lambda c: imap(list=endless("", b'* LIST () "/" a\r\n')),
        "more than an answer can have"),
    "imap-nested-list": ("imap", NONE, "", lambda c: imap(list=endless("* LIST ", b"("), capability=endless("* X ", b"(")),
        "lists in lists without end"),
    "imap-endless-untagged": ("imap", NONE, "", lambda c: imap(select=endless("", b"* OK still here\r\n"),
                                                              examine=endless("", b"* OK still here\r\n")), "more than an answer can have"),
}

# The same, but these are pulled, whatever the server tries: how many it says, how many are stored.
RIGHT = {
    "pop3-injected": ("pop3", STARTTLS, "", lambda c: pop3(certificate=c("good"), stls=injected_pop3(c("good"))), 1, 1),
    "pop3-uidl-twice": ("pop3", NONE, "", lambda c: pop3(
        messages=(hostile.MESSAGE, hostile.MESSAGE), uidl="+OK\r\n1 a\r\n2 a\r\n.\r\n"), 2, 2),
    "pop3-uidl-of-others": ("pop3", NONE, "", lambda c: pop3(
        messages=(hostile.MESSAGE, hostile.MESSAGE + b"More.\r\n"), uidl="+OK\r\n1 a\r\n2 a\r\n.\r\n"), 2, 2),
    "imap-other-sizes": ("imap", NONE, "", lambda c: imap(messages=(hostile.MESSAGE,), uid_fetch=lying_size), 1, 1),
}


SETTINGS = {"bridge.patience": "10s", "bridge.message-size": "1M", "bridge.memory": "128M"}


def good(number):
    return f"Subject: good {number}\r\n\r\nThis is fine.\r\n".encode()


class Hostile(unittest.TestCase):
    """One host, one account for each case, all at once; and accounts in order beside them."""

    @classmethod
    def setUpClass(cls):
        cls.host = Host(set=SETTINGS)
        cls.authority = Authority(cls.host.dir)
        cls.messages = [good(0)]
        cls.remotes = {}
        pin = cls.authority.pin(cls.authority.itself)
        sections = [cls.account("good", "imap", IMPLICIT, "good", lambda c: imap(cls.messages), to="bob", every="1s"),
                    cls.account("pinned", "pop3", IMPLICIT, "itself", lambda c: pop3([good(9)]), to="carol", pin=pin),
                    cls.account("wrong-pin", "pop3", IMPLICIT, "good", lambda c: pop3(), pin=pin)]
        for name, (protocol, tls, certificate, script, *_) in {**CASES, **RIGHT}.items():
            sections.append(cls.account(name, protocol, tls, certificate, script))
        accounts = cls.host.dir / "bridge.conf"
        accounts.write_text("".join(sections))
        accounts.chmod(0o600)
        cls.enterClassContext(cls.host)
        cls.role = cls.host.pids("bridge")

    @classmethod
    def account(cls, name, protocol, tls, certificate, script, to="alice", every="1h", pin=""):
        made = script(lambda kind: getattr(cls.authority, kind))
        remote = Scripted(made, getattr(cls.authority, certificate) if certificate else None)
        cls.remotes[name] = cls.enterClassContext(remote)
        (cls.host.dir / f"{name}.password").write_text("secret\n")
        (cls.host.dir / f"{name}.password").chmod(0o600)
        trust = f"pin = {pin}" if pin else f"ca-file = {cls.authority.ca}"
        return (f"account-{name} {{\n  protocol = {protocol}\n  host = localhost\n  port = {remote.port}\n"
                f"  tls = {tls}\n  {trust}\n  user = anna\n  password-file = {name}.password\n  to = {address(to)}\n  idle = no\n"
                f"  every = {every}\n}}\n")

    def listed(self, name):
        """What `restante bridge list` says of one account."""
        text = self.host.command("bridge", "list", "-c", str(self.host.dir / "restante.conf")).stdout.decode()
        lines, found = text.splitlines(), []
        for line in lines:
            if not line.startswith(" "):
                current = line.split()[0]
            if current == name:
                found.append(line)
        return "\n".join(found)

    def wait_for_list(self, name, words):
        with contextlib.suppress(AssertionError):
            wait_for(lambda: words in self.listed(name), words)
        self.assertIn(words, self.listed(name))

    def test_every_case_has_its_error(self):
        for name, (_, _, _, _, words) in CASES.items():
            with self.subTest(name):
                self.wait_for_list(name, words)
        self.wait_for_list("wrong-pin", "another key than the pinned one")

    def test_every_case_is_told_to_who_runs_it(self):
        for name, (_, _, _, _, words) in CASES.items():
            # Who is silent is not waited for longer than it takes.
            settings = {**SETTINGS, "bridge.patience": "2s" if "says nothing" in words else "5m"}
            options = [word for name, value in settings.items() for word in ("-o", f"{name}={value}")]
            with self.subTest(name):
                done = bridge(self.host, "run", name, *options, check=False)
                self.assertNotEqual(done.returncode, 0, done.stdout)
                self.assertNotIn("process died", (done.stdout + done.stderr).decode())
                self.assertIn(words, done.stdout.decode())

    def test_no_password_before_a_trusted_server(self):
        for name in ("pinned", "good"):
            wait_for(lambda: any("secret" in line for line in self.remotes[name].seen), "the password where there is trust")
        errors = {"wrong-pin": "another key than the pinned one", **{name: row[4] for name, row in CASES.items() if row[1] != NONE}}
        for name, words in errors.items():
            with self.subTest(name):
                remote = self.remotes[name]
                wait_for(lambda: words in self.listed(name) and not remote.open, "the end of its session")
                self.assertGreater(remote.connections, 0)
                told = {word.upper() for line in remote.seen for word in line.split(" ")}
                if name in CASES and CASES[name][1] == STARTTLS and name != "imap-preauth":  # the others hear nothing at all
                    self.assertTrue(told & {"CAPA", "CAPABILITY"}, told)
                self.assertFalse(told & {"LOGIN", "AUTHENTICATE", "AUTH", "USER", "PASS", "SECRET"}, told)

    def test_what_can_be_pulled_is(self):
        for name, (_, _, _, _, count, _) in RIGHT.items():
            with self.subTest(name):
                self.wait_for_list(name, f"pulled: {count}")
        wait_for(lambda: len(self.host.messages("carol")) == 1, "the message from the server that is known by its key")

    def test_others_go_on(self):
        for number in range(1, 4):
            self.messages.append(good(number))
            wait_for(lambda: len(self.host.messages("bob")) == number + 1, "new mail of the account in order")
        self.assertEqual(self.host.pids("bridge"), self.role, "the role itself died")

    def test_nothing_half_is_stored(self):
        for name in CASES:
            wait_for(lambda: "error:" in self.listed(name), f"the error of {name}")
        for name, (_, _, _, _, count, _) in RIGHT.items():
            self.wait_for_list(name, f"pulled: {count}")
        held = self.host.messages("alice")
        self.assertEqual(len(held), sum(row[5] for row in RIGHT.values()))
        for message in held:
            self.assertIn(hostile.MESSAGE, message)


if __name__ == "__main__":
    unittest.main()
