"""What no peer here offers: logins by token, servers without UIDL, UIDPLUS or IDLE, a folder made anew, mail refused here."""

import base64
import json
import unittest

from host import Host, address, wait_for
from hostile import Scripted, imap, pop3
from remote import bridge, stored

LARGE = b"".join(b"%069d\r\n" % number for number in range(10_000))
GOOD, BAD = "ya29.good-token", "ya29.old-token"
DETAILS = base64.b64encode(json.dumps({"status": "invalid_token", "scope": "mail"}).encode()).decode()


def message(subject):
    return f"Subject: {subject}\r\n\r\nHello.\r\n".encode()


def response(mechanism, port, token):
    """RFC 7628 section 3.1, and what Google made before it."""
    if mechanism == "PLAIN":
        return b"\0anna\0" + token.encode()
    if mechanism == "XOAUTH2":
        return f"user=anna\1auth=Bearer {token}\1\1".encode()
    return f"n,a=anna,\1host=localhost\1port={port}\1auth=Bearer {token}\1\1".encode()


def authenticate(heard, is_imap):
    """heard: what clients sent, as (mechanism, came at once, octets, what a refusal's details were answered with)."""
    def answer(talk, arguments):
        mechanism, at_once, coded = arguments.partition(" ")
        if not at_once:
            talk.send("+ \r\n")
            coded = talk.line()
        octets = base64.b64decode(coded, validate=True)
        good = GOOD.encode() in octets
        said = None
        if not good:
            talk.send(f"+ {DETAILS}\r\n")
            said = talk.line()
        heard.append((mechanism, bool(at_once), octets, said))
        if not is_imap:
            talk.send("+OK\r\n" if good else "-ERR [AUTH] the token is of no use\r\n")
        elif good:
            talk.ok()
        else:
            talk.no()
    return answer


def logins():
    """(name, protocol, mechanism, SASL-IR, token) of every kind."""
    for mechanism in ("XOAUTH2", "OAUTHBEARER", "PLAIN"):
        for protocol, at_once in (("imap", True), ("imap", False), ("pop3", False)):
            for token in (GOOD, BAD) if mechanism != "PLAIN" else (GOOD,):
                kind = "good" if token == GOOD else "bad"
                yield f"{protocol}-{mechanism.lower()}-{'ir' if at_once else 'asked'}-{kind}", protocol, mechanism, at_once, token


class Scripts(unittest.TestCase):
    """One host, each account with a server of its own, all at once."""

    @classmethod
    def setUpClass(cls):
        cls.host = Host(set={"bridge.patience": "30s"})
        cls.remotes, cls.heard, cls.mail, cls.sections = {}, {}, {}, []
        for name, protocol, mechanism, at_once, token in logins():
            cls.add_login(name, protocol, mechanism, at_once, token)
        cls.add("no-uidl", "pop3", lambda mail: pop3(mail, capa="+OK\r\nUSER\r\n.\r\n", uidl="-ERR no such command\r\n"), count=2, every="1s")
        # UIDLs that are not told now and then: with those it has been told by, each is here.
        cls.told_uidl = iter(range(1 << 30))
        cls.add("no-uidl-now", "pop3", lambda mail: pop3(mail, uidl=cls.uidl_at_times(mail)), count=2, every="1s")
        cls.add("no-uidplus", "imap", lambda mail: imap(mail), idle="no", every="1s", keep="no")
        cls.add("no-idle", "imap", lambda mail: imap(mail, capabilities="IMAP4rev1", noop=cls.tell(mail)), every="1h")
        cls.validity = 7
        cls.add("anew", "imap", lambda mail: imap(mail, examine=cls.examine), idle="no", every="5s")
        # A line that the delivery agent takes no message with.
        cls.add("refused-pop3", "pop3", pop3, tail=b"y" * 70000 + b"\r\n", every="1s")
        # Two of the same UIDL, of which the delivery agent takes both, or not the second.
        twins = "+OK\r\n1 a\r\n2 a\r\n.\r\n"
        cls.add("twins", "pop3", lambda mail: pop3(mail, uidl=twins), count=2, every="1s", keep="no")
        cls.add("lone-twin", "pop3", lambda mail: pop3([mail[0], mail[1] + b"y" * 70000 + b"\r\n"], uidl=twins), count=2, every="1s", keep="no")
        cls.add("refused-imap", "imap", imap, tail=b"y" * 70000 + b"\r\n", every="1s", idle="no", keep="no")
        cls.add("refused-kept", "imap", imap, tail=b"y" * 70000 + b"\r\n", every="1s", idle="no")
        # A large message of which a server gives less than it is asked for; one that is gone halfway; one not given at all.
        cls.add("crumbs", "imap", lambda mail: imap(mail, uid_fetch=cls.slices(mail, 100_000)), tail=LARGE, idle="no")
        cls.add("halfway", "imap", lambda mail: imap(mail, uid_fetch=cls.slices(mail, 1 << 30, gone_at=1)), tail=LARGE, idle="no", keep="no", every="1s")
        cls.add("not-given", "imap", lambda mail: imap(mail, uid_fetch=cls.slices(mail, 1 << 30, gone_at=0)), idle="no", every="1s")
        # Nothing told of the first, which is there (until it is told) or has gone; flags and size told by themselves.
        cls.tells = False
        cls.add("untold", "imap", lambda mail: imap(mail, uid_fetch=cls.fetch(mail, size=lambda uid: uid != 1 or cls.tells)), count=2, idle="no", keep="no", every="1s")
        cls.add("gone", "imap", lambda mail: imap(mail, uid_fetch=cls.fetch(mail, size=lambda uid: uid != 1), uid_search=cls.gone), count=2, idle="no", every="1s")
        cls.add("pieces", "imap", lambda mail: imap(mail, uid_fetch=cls.fetch(mail, pieces=True)), idle="no")
        # One that a server cannot read, and so gives none of those asked for with it, or those before it; one that it lost.
        for name, before in (("unreadable", False), ("unreadable-behind", True)):
            cls.add(name, "imap", lambda mail, before=before: imap(mail, uid_fetch=cls.fetch(mail, bad=2, before=before)),
                    count=4, idle="no", keep="no", every="1s")
        cls.add("all-unreadable", "imap", lambda mail: imap(mail, uid_fetch=lambda talk, told: talk.no("later") if "BODY" in told
                                                            else cls.fetch(mail)(talk, told)), count=20, idle="no", keep="no")
        cls.add("lost-imap", "imap", lambda mail: imap(mail, uid_fetch=cls.fetch(mail, empty=1)), count=2, idle="no", keep="no", every="1s")
        cls.add("lost-pop3", "pop3", lambda mail: pop3(mail, retr=cls.retr(mail, 1)), count=2, keep="no", every="1s")
        cls.add("undeletable", "imap", lambda mail: imap(mail, capabilities="IMAP4rev1 UIDPLUS", uid_store=lambda talk, _: talk.no("read-only")),
                count=2, idle="no", keep="no", every="1s")
        cls.add("locked", "imap", lambda mail: imap(mail, list='* LIST () "/" Locked\r\n* LIST () "/" INBOX\r\n', examine=cls.locked(mail)),
                folders="*", every="1s")
        # Two folders that have one name here; each has a first message, and the same UIDVALIDITY.
        cls.add("one-name", "imap", lambda mail: imap(mail, list='* LIST () "." a/b\r\n* LIST () "." a_b\r\n'), folders="*", idle="no", every="1s")
        # What it was told, a server says again.
        cls.add("echo-pop3", "pop3", lambda mail: pop3(mail, **{"pass": lambda talk, told: talk.send(f"-ERR no {told} here\r\n")}))
        cls.add("echo-imap", "imap", lambda mail: imap(mail, login=lambda talk, told: talk.no(told)))
        cls.add("echo-coded", "imap", lambda mail: imap(mail, capabilities="IMAP4rev1 SASL-IR AUTH=PLAIN", authenticate=lambda talk, told: talk.no(told)))
        cls.add("million", "pop3", lambda mail: pop3(mail, list=cls.listing(lambda at: "1", 1000000),
                                                     uidl=cls.listing(lambda at: f"{at:070}", 1000001)))
        cls.add("million-and-one", "pop3", lambda mail: pop3(mail, list=cls.listing(lambda at: "1", 1000001)))
        accounts = cls.host.dir / "bridge.conf"
        accounts.write_text("".join(cls.sections))
        accounts.chmod(0o600)
        cls.enterClassContext(cls.host)
        cls.role = cls.host.pids("bridge")

    @classmethod
    def add(cls, name, protocol, script, count=1, tail=b"", secret='password-command = { "/bin/echo", "secret" }', **settings):
        cls.mail[name] = [message(f"{name} {number}") + tail for number in range(count)]
        cls.remotes[name] = cls.enterClassContext(Scripted(script(cls.mail[name])))
        words = {"every": "1h", **settings}
        cls.sections.append(f"account-{name} {{\n  protocol = {protocol}\n  host = localhost\n  port = {cls.remotes[name].port}\n"
                            f"  tls = none\n  user = anna\n  {secret}\n  to = {address('alice')}\n" +
                            "".join(f"  {key} = {value}\n" for key, value in words.items()) + "}\n")

    @classmethod
    def add_login(cls, name, protocol, mechanism, at_once, token):
        heard = cls.heard[name] = []
        if protocol == "imap":
            words = f"IMAP4rev1 AUTH={mechanism}{' SASL-IR' if at_once else ''}"
            script = lambda mail: imap(mail, capabilities=words, authenticate=authenticate(heard, True))
        else:
            script = lambda mail: pop3(mail, capa=f"+OK\r\nUIDL\r\nSASL {mechanism}\r\n.\r\n", auth=authenticate(heard, False))
        kind = "password-command" if mechanism == "PLAIN" else f"token-mechanism = {mechanism.lower()}\n  token-command"
        cls.add(name, protocol, script, secret=f'{kind} = {{ "/bin/echo", "{token}" }}', idle="no")

    @staticmethod
    def slices(mail, most, gone_at=None):
        """Answers to UID FETCH for one message: at most so many octets a time; without any from that offset on."""
        def fetch(talk, arguments):
            said = f"* 1 FETCH (UID 1 FLAGS () INTERNALDATE \"01-Nov-2026 10:00:00 +0000\" RFC822.SIZE {len(mail[0])}"
            start, _, size = arguments.partition("<")[2].partition(">")[0].partition(".")
            part = mail[0][int(start or 0):][:min(most, int(size or 1 << 30))]
            if "BODY" not in arguments:
                talk.send(f"{said})\r\n")
            elif gone_at is not None and int(start or 0) >= gone_at:
                talk.send(f"{said} BODY[]{f'<{start}>' if start else ''} NIL)\r\n")
            else:
                talk.send(f"{said} BODY[]{f'<{start}>' if start else ''} {{{len(part)}}}\r\n".encode() + part + b")\r\n")
            talk.ok()
        return fetch

    @staticmethod
    def fetch(mail, size=lambda uid: True, pieces=False, bad=None, before=False, empty=None):
        """Answers to UID FETCH; a message that is bad is refused, with all or those behind it, and one that is empty has nothing in it."""
        def uids(words):
            for word in words.split(","):
                first, _, last = word.partition(":")
                yield from range(int(first), int(last or first) + 1)

        def answer(talk, arguments):
            numbers, _, items = arguments.partition(" ")
            wanted = [uid for uid in uids(numbers) if uid <= len(mail)]
            refused = "BODY" in items and bad in wanted
            for uid in wanted[:wanted.index(bad) if before else 0] if refused else wanted:
                body = mail[uid - 1] if uid != empty else b""
                told = ["FLAGS (\\Seen)", f"RFC822.SIZE {len(mail[uid - 1])}"] if size(uid) else ["FLAGS (\\Seen)"]
                if "BODY" in items:
                    talk.send(f"* {uid} FETCH (UID {uid} BODY[] {{{len(body)}}}\r\n".encode() + body + b")\r\n")
                for word in told if pieces else [" ".join(told)]:
                    talk.send(f"* {uid} FETCH (UID {uid} {word})\r\n")
            talk.no("cannot read it") if refused else talk.ok()
        return answer

    @staticmethod
    def gone(talk, arguments):
        talk.send("* SEARCH 1 2\r\n" if "*" in arguments else "* SEARCH\r\n")
        talk.ok()

    @staticmethod
    def retr(mail, empty):
        def answer(talk, number):
            talk.send(b"+OK\r\n" + (mail[int(number) - 1] if int(number) != empty else b"") + b".\r\n")
        return answer

    @classmethod
    def uidl_at_times(cls, mail):
        def answer(talk, _):
            talk.send("+OK\r\n" + "".join(f"{at} u{at}\r\n" for at in range(1, len(mail) + 1)) + ".\r\n"
                      if next(cls.told_uidl) % 2 == 0 else "-ERR [SYS/TEMP] not now\r\n")
        return answer

    @staticmethod
    def locked(mail):
        def answer(talk, name):
            if "Locked" in name:
                return talk.no("not yours")
            talk.send(f"* {len(mail)} EXISTS\r\n* OK [UIDVALIDITY 7] .\r\n")
            return talk.ok()
        return answer

    @staticmethod
    def tell(mail):
        def noop(talk, _):
            talk.send(f"* {len(mail)} EXISTS\r\n")
            talk.ok()
        return noop

    @classmethod
    def examine(cls, talk, _):
        talk.send(f"* 1 EXISTS\r\n* OK [UIDVALIDITY {cls.validity}] .\r\n* OK [UIDNEXT 2] .\r\n")
        talk.ok()

    @staticmethod
    def listing(value, count):
        def answer(talk, _):
            talk.send("+OK\r\n")
            for start in range(1, count + 1, 5000):
                talk.send("".join(f"{at} {value(at)}\r\n" for at in range(start, min(start + 5000, count + 1))))
            talk.send(".\r\n")
        return answer

    def listed(self, name):
        text = self.host.command("bridge", "list", "-c", str(self.host.dir / "restante.conf")).stdout.decode()
        return next(part for part in text.replace("\n ", "\0").split("\n") if part.split()[0] == name)

    def stays(self, name, words, end):
        """The notice is there, and during three more sessions it does not go."""
        wait_for(lambda: words in self.listed(name), words)
        until = self.said(name, end) + 3

        def ended():
            self.assertIn(words, self.listed(name))
            return self.said(name, end) >= until
        wait_for(ended, "three more sessions")

    def said(self, name, word):
        return sum(word in line for line in self.remotes[name].seen)

    def deleted(self, name):
        """Which UIDs or numbers the server was told to delete."""
        found = set()
        for line in list(self.remotes[name].seen):
            words = line.split()
            if words[0] == "DELE":
                found.add(words[1])
            elif "STORE" in words:
                for part in words[3].split(","):
                    first, _, last = part.partition(":")
                    found.update(map(str, range(int(first), int(last or first) + 1)))
        return found

    def here(self, name):
        return sum(f"Subject: {name} ".encode() in held for held in self.host.messages("alice"))

    def test_logins(self):
        for name, _, mechanism, at_once, token in logins():
            with self.subTest(name):
                wait_for(lambda: self.heard[name], "a login")
                octets = response(mechanism, self.remotes[name].port, token)
                # RFC 7628 section 3.2.3; XOAUTH2 has an empty line there.
                said = None if token == GOOD else "AQ==" if mechanism == "OAUTHBEARER" else ""
                self.assertEqual(self.heard[name][0], (mechanism, at_once, octets, said))
                words = "pulled: 1" if token == GOOD else "error: the server refuses the login; the server says:"
                wait_for(lambda: words in self.listed(name), words)
                self.assertEqual(self.here(name), token == GOOD)
        self.assertNotIn("ya29", self.host.log())

    def test_of_the_same_uidl_one_goes_when_all_are_here(self):
        """Else the other one, alone with that UIDL the next time, would be taken for one that is here, and deleted."""
        wait_for(lambda: self.said("twins", "DELE 1") and self.said("twins", "DELE 2"), "both are deleted there")
        wait_for(lambda: self.said("lone-twin", "QUIT") > 3, "some polls")
        self.assertEqual(self.here("lone-twin"), 1)
        self.assertEqual(self.said("lone-twin", "DELE"), 0)

    def test_without_uidl_each_message_once(self):
        wait_for(lambda: self.said("no-uidl", "QUIT") > 3, "some polls")
        self.assertEqual(self.here("no-uidl"), 2)
        self.stays("no-uidl", "notice: the server has no UIDL", "QUIT")

    def test_without_uidplus_marked_and_no_more(self):
        wait_for(lambda: self.said("no-uidplus", "LOGOUT") > 2, "some polls")
        self.assertTrue(any("UID STORE 1 +FLAGS.SILENT (\\Deleted)" in line for line in self.remotes["no-uidplus"].seen))
        self.assertEqual(self.said("no-uidplus", "EXPUNGE"), 0)
        self.assertEqual(self.here("no-uidplus"), 1)
        self.stays("no-uidplus", "notice: the server has no UIDPLUS", "LOGOUT")
        self.assertNotRegex(self.listed("no-uidplus"), r"deleted there: \d")

    def test_without_idle_by_noop(self):
        wait_for(lambda: self.here("no-idle") == 1, "the first message")
        connections = self.remotes["no-idle"].connections
        self.mail["no-idle"].append(message("no-idle 1"))
        wait_for(lambda: self.here("no-idle") == 2, "the second message")
        self.assertGreater(self.said("no-idle", "NOOP"), 0)
        self.assertEqual(self.said("no-idle", "IDLE"), 0)
        self.assertEqual(self.remotes["no-idle"].connections, connections)

    def test_folder_made_anew(self):
        wait_for(lambda: self.here("anew") == 1, "the first pull")
        type(self).validity = 8
        wait_for(lambda: "notice: the server made folder INBOX anew (UIDVALIDITY 8, before 7)" in self.listed("anew"), "the notice")
        wait_for(lambda: self.here("anew") == 2, "the same UID, which is another message now")
        rounds = self.said("anew", "LOGOUT")
        wait_for(lambda: self.said("anew", "LOGOUT") > rounds, "one more pull")
        self.assertEqual(self.here("anew"), 2)
        self.assertIn("notice: the server made folder INBOX anew (UIDVALIDITY 8, before 7)", self.listed("anew"))

    def test_refused_here_is_fetched_once(self):
        for name, fetched, end in (("refused-pop3", "RETR", "QUIT"), ("refused-imap", "BODY", "LOGOUT"),
                                   ("refused-kept", "BODY", "LOGOUT")):
            with self.subTest(name):
                wait_for(lambda: self.said(name, end) > 3, "some polls")
                self.stays(name, "notice: messages stay there (1): this host refused it: 5", end)
                self.assertIn("refused: 1", self.listed(name))
                self.assertEqual(self.said(name, fetched), 1)
                self.assertEqual(self.said(name, "DELE") + self.said(name, "STORE"), 0)
                self.assertIn(b"1 refused", bridge(self.host, "run", name).stdout)
                self.assertEqual(self.said(name, fetched), 2, "who runs it wants it tried")

    def test_the_notice_goes_with_the_message(self):
        words = "notice: messages stay there"
        wait_for(lambda: words in self.listed("refused-kept"), "the notice")
        self.addCleanup(self.mail["refused-kept"].extend, list(self.mail["refused-kept"]))
        self.mail["refused-kept"].clear()
        wait_for(lambda: words not in self.listed("refused-kept"), "its end")

    def test_slices_that_come_short(self):
        wait_for(lambda: self.here("crumbs") == 1, "the message")
        held = next(held for held in self.host.messages("alice") if b"Subject: crumbs " in held)
        self.assertTrue(held.endswith(self.mail["crumbs"][0]))

    def test_what_is_not_given_is_not_taken_for_had(self):
        for name in ("halfway", "not-given"):
            with self.subTest(name):
                wait_for(lambda: self.said(name, "LOGOUT") > 2, "some polls")
                self.stays(name, "notice: messages stay there (1): the server lists UID 1 of folder INBOX and does not give it", "LOGOUT")
                self.assertEqual(self.here(name), 0)
                self.assertEqual(self.said(name, "STORE"), 0)

    def test_what_is_listed_and_not_told_of(self):
        words = "notice: messages stay there (1): the server lists UID 1 of folder INBOX and does not tell its size"
        self.stays("untold", words, "LOGOUT")
        self.assertEqual((self.here("untold"), self.deleted("untold")), (1, {"2"}))
        type(self).tells = True
        wait_for(lambda: self.here("untold") == 2, "the message that is told of now")
        wait_for(lambda: "1" in self.deleted("untold") and words not in self.listed("untold"), "all is well")

    def test_what_has_gone_before_it_was_told_of(self):
        wait_for(lambda: self.said("gone", "LOGOUT") > 2, "some polls")
        self.assertEqual(self.here("gone"), 1)
        self.assertNotIn("stay there", self.listed("gone"))

    def test_told_in_pieces(self):
        wait_for(lambda: self.here("pieces") == 1, "the message")
        self.assertEqual([flags for octets, flags, _ in stored(self.host) if b"Subject: pieces 0" in octets], ["S"])

    def test_one_that_cannot_be_read_holds_nothing_up(self):
        for name in ("unreadable", "unreadable-behind"):
            with self.subTest(name):
                self.stays(name, "notice: messages stay there (1): the server lists UID 2 of folder INBOX and does not give it", "LOGOUT")
                self.assertEqual((self.here(name), self.deleted(name)), (3, {"1", "3", "4"}))

    def test_all_refused_is_no_verdict_on_each(self):
        """Perhaps it is busy: after some the server is left, and asked again as after any fault."""
        words = "error: messages cannot be fetched; the server says: later"
        wait_for(lambda: words in self.listed("all-unreadable"), words)
        self.assertLess(self.said("all-unreadable", "BODY") / self.remotes["all-unreadable"].connections, 12)
        self.assertEqual((self.here("all-unreadable"), self.deleted("all-unreadable")), (0, set()))

    def test_one_that_comes_empty_is_not_had(self):
        for name, words, end in (("lost-imap", "lists UID 1 of folder INBOX and does not give it", "LOGOUT"),
                                 ("lost-pop3", "does not give message 1: an empty answer", "QUIT")):
            with self.subTest(name):
                self.stays(name, f"notice: messages stay there (1): the server {words}", end)
                self.assertEqual((self.here(name), self.deleted(name)), (1, {"2"}))

    def test_what_cannot_be_deleted_there(self):
        self.stays("undeletable", "notice: what is here of folder INBOX cannot be deleted there; the server says: read-only", "LOGOUT")
        self.assertEqual(self.here("undeletable"), 2)
        self.assertNotIn("error:", self.listed("undeletable"))
        self.assertEqual(self.said("undeletable", "EXPUNGE"), 0)

    def test_a_folder_that_is_not_opened(self):
        """The others are pulled, and waited in."""
        wait_for(lambda: self.said("locked", "IDLE"), "the wait in INBOX")
        self.assertIn("notice: folder Locked cannot be opened; the server says: not yours", self.listed("locked"))
        self.assertEqual(self.here("locked"), 1)

    def test_folders_of_one_name(self):
        self.stays("one-name", "notice: the server has several folders that are all a_b here; their mail goes into the one mailbox", "LOGOUT")
        self.assertEqual(len(stored(self.host, folder="a_b")), 2)

    def test_uidls_that_are_not_told_now(self):
        wait_for(lambda: "error: the messages' UIDLs are not told; the server says: [SYS/TEMP]" in self.listed("no-uidl-now"), "the error")
        self.assertEqual(self.here("no-uidl-now"), 2)
        self.assertEqual(self.said("no-uidl-now", "RETR"), 2)

    def test_secrets_that_a_server_says_again(self):
        coded = base64.b64encode(b"\0anna\0secret").decode()
        for name, words in (("echo-pop3", "says: no ****** here"), ("echo-imap", "says: anna ******"),
                            ("echo-coded", "says: PLAIN ****************")):
            with self.subTest(name):
                wait_for(lambda: words in self.listed(name), words)
                self.assertNotIn(coded, self.host.log() + self.listed(name))
                self.assertNotRegex(self.host.log() + self.listed(name), r"(no|anna) .?secret")

    def test_log_lines_go_to_the_log(self):
        wait_for(lambda: "event=account-notice account=no-uidl" in (self.host.dir / "log").read_text(), "a notice in the log that is kept")
        for name, remote in self.remotes.items():
            wait_for(lambda: remote.seen, f"what the server of {name} is told")
            self.assertFalse([line for line in remote.seen if "event=" in line or "role=" in line], name)

    def test_more_than_a_million(self):
        for name, words in (("million", "error: the server's listing makes no sense: 1000001 0"),
                            ("million-and-one", "error: the server lists more messages than are pulled (1000000)")):
            wait_for(lambda: words in self.listed(name), words)
        self.assertEqual(self.host.pids("bridge"), self.role, "the role itself died")


if __name__ == "__main__":
    unittest.main()
