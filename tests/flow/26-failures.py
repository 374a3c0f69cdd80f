"""
What can be in the way of a message, made for real: the reply by LMTP, the reply by SMTP, the exit status of mda -d, and
afterwards that what was put off arrives once and what was refused does not. tests/unit/outcomes.h has every failure
there is, with the test of this file that makes it, or why none can.
"""

import array
import fcntl
import importlib.util
import os
import pathlib
import re
import shutil
import signal
import smtplib
import socket
import subprocess
import termios
import unittest

from host import PATIENCE, Host, build_dir, freeze, wait_for

EX_OK, EX_NOUSER, EX_UNAVAILABLE, EX_TEMPFAIL, EX_NOPERM = 0, 67, 69, 75, 77
TAKEN = ("250 2.0.0", "250 2.0.0", EX_OK)
AWAY = "no connection"


def disks():
    spec = importlib.util.spec_from_file_location("full_disk", pathlib.Path(__file__).with_name("57-full-disk.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def short(code, text):
    """The code and the enhanced code."""
    match = re.match(rb"\d\.\d{1,3}\.\d{1,3}", text)
    return f"{code} {match[0].decode()}" if match else str(code)


class Lmtp(smtplib.LMTP):
    """Over the unix socket; smtplib wants a port otherwise."""

    def __init__(self, path):
        super().__init__(path, timeout=PATIENCE)


class Command:
    """mda -d, held amid its message: whom it is for has been accepted."""

    def __init__(self, host, to, message):
        self.process = subprocess.Popen([str(build_dir() / "libexec/mda"), "-d", to, "-f", "s@example.org",
                                         "-s", host.socket("lmtp")], stdin=subprocess.PIPE, stderr=subprocess.DEVNULL)
        self._pass(message[:1])
        self._pass(message[1:-1])  # it reads on only after the reply to DATA
        self.rest = message[-1:]

    def _pass(self, octets):
        waiting = array.array("i", [0])

        def read():
            fcntl.ioctl(self.process.stdin, termios.FIONREAD, waiting)
            return waiting[0] == 0
        os.write(self.process.stdin.fileno(), octets)
        wait_for(read, "mda -d to read its input")

    def end(self):
        self.process.stdin.write(self.rest)
        self.process.stdin.close()

    def status(self):
        return self.process.wait(PATIENCE)


def converse(client, to, message):
    """Reply that decided."""
    client.ehlo("client.example.org")
    client.mail("s@example.org")
    reply = client.rcpt(to)
    if reply[0] == 250:
        reply = client.data(message)
    client.close()
    return short(*reply)


class Failures(unittest.TestCase):
    def begin(self, **keys):
        self.host = self.enterContext(Host(**keys))
        self.number = 0

    def message(self, extra=b"", body=b"body"):
        self.number += 1
        return b"Subject: number %d\r\n%s\r\n%s\r\n" % (self.number, extra, body)

    def by_lmtp(self, to, message):
        try:
            return converse(Lmtp(self.host.socket("lmtp")), to, message)
        except (ConnectionError, FileNotFoundError):
            return AWAY

    def by_smtp(self, to, message):
        try:
            return converse(self.host.smtp(), to, message)
        except ConnectionError:
            return AWAY

    def by_command(self, to, message):
        return subprocess.run([str(build_dir() / "libexec/mda"), "-d", to, "-f", "s@example.org",
                               "-s", self.host.socket("lmtp")], input=message, capture_output=True,
                              timeout=PATIENCE).returncode

    def try_all(self, to, expected, **parts):
        """The messages that were sent, after all three ways said what they should."""
        messages = [self.message(**parts) for _ in range(3)]
        said = (self.by_lmtp(to, messages[0]), self.by_smtp(to, messages[1]), self.by_command(to, messages[2]))
        self.assertEqual(said, expected)
        return messages

    def held(self, to):
        """All three ways with their messages begun; what they are to say is asked for later."""
        messages = [self.message() for _ in range(3)]
        clients = [Lmtp(self.host.socket("lmtp")), self.host.smtp()]
        for client, message in zip(clients, messages):
            self.addCleanup(client.close)
            client.ehlo("client.example.org")
            client.mail("s@example.org")
            self.assertEqual(client.rcpt(to)[0], 250)
            client.putcmd("data")
            self.assertEqual(client.getreply()[0], 354)
            client.send(message[:-1])
        command = Command(self.host, to, messages[2])

        def end():
            for client, message in zip(clients, messages):
                client.send(message[-1:] + b".\r\n")
            command.end()

        def said():
            return (*(short(*client.getreply()) for client in clients), command.status())
        return messages, end, said

    def conf(self):
        return str(self.host.dir / "restante.conf")

    def maildir(self, user):
        return self.host.dir / "store/mail/example.test" / user

    def subjects(self, user):
        found = [re.search(rb"^Subject: number (\d+)\r$", one, re.M)[1] for one in self.host.messages(user)]
        return sorted(int(number) for number in found)

    def again(self, to, messages):
        """As a sender does who was put off: all of them, until they are taken."""
        for message in messages:
            wait_for(lambda: self.by_command(to, message) == EX_OK, "a later attempt")

    def test_no_such_user(self):
        self.begin()
        self.try_all("nobody@example.test", ("550 5.1.1", "550 5.1.1", EX_NOUSER))

    def test_not_our_domain(self):
        self.begin()
        self.try_all("alice@elsewhere.test", ("550 5.7.1", "550 5.7.1", EX_NOPERM))

    def test_over_quota(self):
        self.begin()
        conf = str(self.host.dir / "restante.conf")
        self.host.command("user", "quota", "-c", conf, "bob@example.test", "1")
        first = self.try_all("bob@example.test", ("452 4.2.2", "452 4.2.2", EX_TEMPFAIL))
        # There is room for a little: it shows at the end of the message.
        self.host.command("user", "quota", "-c", conf, "bob@example.test", "1000")
        second = self.try_all("bob@example.test", ("452 4.2.2", "452 4.2.2", EX_TEMPFAIL), body=b"x" * 2000)
        self.assertEqual(self.subjects("bob"), [])
        self.host.command("user", "quota", "-c", conf, "bob@example.test", "none")
        self.again("bob@example.test", first + second)
        self.assertEqual(self.subjects("bob"), [1, 2, 3, 4, 5, 6])

    def test_one_of_several_is_full(self):
        self.begin()
        self.host.command("user", "quota", "-c", str(self.host.dir / "restante.conf"), "bob@example.test", "1000")
        to = ("alice@example.test", "bob@example.test", "carol@example.test")

        def send(client):
            """The replies after the last octet, one for each recipient by LMTP."""
            client.ehlo("client.example.org")
            client.mail("s@example.org")
            for one in to:
                self.assertEqual(client.rcpt(one)[0], 250)
            client.putcmd("data")
            self.assertEqual(client.getreply()[0], 354)
            client.send(self.message(body=b"x" * 2000) + b".\r\n")
            replies = [short(*client.getreply()) for _ in (to if isinstance(client, Lmtp) else [0])]
            client.close()
            return replies

        # An LMTP client hears of each; a client of SMTP hears one word for all, so none has it.
        self.assertEqual(send(Lmtp(self.host.socket("lmtp"))), ["250 2.0.0", "452 4.2.2", "250 2.0.0"])
        self.assertEqual(send(self.host.smtp()), ["452 4.2.2"])
        self.assertEqual([self.subjects(user) for user in ("alice", "bob", "carol")], [[1], [], [1]])

    def test_one_of_those_behind_an_alias_is_full(self):
        """One address and one word for it, by every way: so none of them has it."""
        self.begin()
        self.host.command("user", "quota", "-c", self.conf(), "bob@example.test", "1000")
        self.host.command("alias", "add", "-c", self.conf(), "team", "alice", "bob", "carol")
        messages = self.try_all("team@example.test", ("452 4.2.2", "452 4.2.2", EX_TEMPFAIL), body=b"x" * 2000)
        self.assertEqual([self.subjects(user) for user in ("alice", "bob", "carol")], [[], [], []])
        self.host.command("user", "quota", "-c", self.conf(), "bob@example.test", "none")
        self.again("team@example.test", messages)
        self.assertEqual([self.subjects(user) for user in ("alice", "bob", "carol")], [[1, 2, 3]] * 3)

    def test_too_large(self):
        # So little too large that it is read to its end: what breaks it off might come before the reply.
        self.begin(set={"mda.message-size": "64K", "smtp-in.message-size": "48K"})
        self.try_all("alice@example.test", ("552 5.3.4", "552 5.3.4", EX_UNAVAILABLE),
                     body=b"\r\n".join([b"x" * 70] * 1000))
        self.assertEqual(self.subjects("alice"), [])

    def test_a_loop(self):
        self.begin()
        self.try_all("alice@example.test", ("554 5.4.6", "554 5.4.6", EX_UNAVAILABLE),
                     extra=b"Delivered-To: alice@example.test\r\n")
        self.assertEqual(self.subjects("alice"), [])

    def test_no_text(self):
        """A bare LF is refused by protocol; a program's input is made fit."""
        self.begin()
        for client, reply in ((Lmtp(self.host.socket("lmtp")), "554 5.6.0"), (self.host.smtp(), "550 5.6.0")):
            client.ehlo("x")
            client.mail("s@example.org")
            self.assertEqual(client.rcpt("alice@example.test")[0], 250)
            client.putcmd("data")
            self.assertEqual(client.getreply()[0], 354)
            client.send(self.message(body=b"bare\n") + b".\r\n")
            self.assertEqual(short(*client.getreply()), reply)
            client.close()
        self.assertEqual(self.host.messages("alice"), [])
        self.assertEqual(self.by_command("alice@example.test", self.message(body=b"bare\n")), EX_OK)
        [message] = self.host.messages("alice")
        self.assertTrue(message.endswith(b"\r\n\r\nbare\r\n\r\n"), message)

    def test_the_user_leaves_meanwhile(self):
        """There at RCPT, gone when the message ends; who has the name afterwards gets nothing of it."""
        self.begin()
        _, end, said = self.held("bob@example.test")
        self.host.command("user", "remove", "-c", self.conf(), "bob@example.test")
        end()
        self.assertEqual(said(), ("550 5.1.1", "550 5.1.1", EX_NOUSER))
        self.host.command("user", "add", "-c", self.conf(), "bob@example.test", input=b"restante\n")
        self.assertEqual(self.subjects("bob"), [])

    def test_one_of_several_has_just_left(self):
        """Still known as accepted at RCPT: the message is put off for all, and who tries again hears why."""
        self.begin(set={"smtp-in.hand-over-memory": "60", "smtp-in.workers": "1"})
        to = ("alice@example.test", "bob@example.test", "carol@example.test")
        client = self.host.smtp()
        self.addCleanup(client.close)
        client.ehlo("client.example.org")

        def name():
            client.mail("s@example.org")
            return [short(*client.rcpt(one)) for one in to]

        self.assertEqual(name(), ["250 2.1.5"] * 3)
        self.assertEqual(short(*client.data(self.message())), "250 2.0.0")
        self.host.command("user", "remove", "-c", self.conf(), "bob@example.test")
        self.assertEqual(name(), ["250 2.1.5"] * 3)
        self.assertEqual(short(*client.docmd("data")), "451 4.3.0")
        self.assertEqual([self.subjects(user) for user in ("alice", "carol")], [[1], [1]])
        self.assertEqual(name(), ["250 2.1.5", "550 5.1.1", "250 2.1.5"])
        self.assertEqual(short(*client.data(self.message())), "250 2.0.0")
        self.assertEqual([self.subjects(user) for user in ("alice", "carol")], [[1, 2], [1, 2]])

    def test_an_import_is_not_finished(self):
        """As it is left by one that died: the user's mail is put off until it is done again."""
        self.begin()
        self.host.stop()
        (self.maildir("alice") / "restante-import").touch()
        self.host.start()
        messages = self.try_all("alice@example.test", ("451 4.3.2", "451 4.3.2", EX_TEMPFAIL))
        tree = self.host.dir / "elsewhere/alice@example.test"
        for part in ("cur", "new", "tmp"):
            (tree / part).mkdir(parents=True)
        (tree / "dovecot-uidlist").write_text("3 V1700000000 N1 G0123456789abcdef0123456789abcdef\n")
        self.host.command("store", "import", "--from", "dovecot", "-c", self.conf(), str(tree))
        self.again("alice@example.test", messages)
        self.assertEqual(self.subjects("alice"), [1, 2, 3])

    def test_a_mailbox_is_damaged(self):
        """Somebody copied a mailbox of a later user's to where one of alice's is to be made."""
        self.begin(set={"store.detail-mailbox": "create"})
        self.host.command("user", "add", "-c", self.conf(), "dora@example.test", input=b"restante\n")
        lists = self.maildir("alice") / ".lists"
        shutil.copytree(self.maildir("dora"), lists)
        stat = self.maildir("dora").stat()
        for path in (lists, *lists.rglob("*")):
            os.chown(path, stat.st_uid, stat.st_gid)
        messages = self.try_all("alice+lists@example.test", ("451 4.3.0", "451 4.3.0", EX_TEMPFAIL))
        self.assertEqual([*lists.glob("*/*")], [])
        # Nobody else is held up by it.
        self.assertEqual(self.by_command("alice@example.test", self.message()), EX_OK)
        shutil.rmtree(lists)
        self.again("alice+lists@example.test", messages)
        self.assertEqual(len([*lists.glob("new/*")]), 3)
        self.assertEqual(self.subjects("alice"), [4])

    def test_the_mailbox_is_not_there(self):
        """It is made."""
        self.begin(set={"store.detail-mailbox": "create"})
        self.try_all("alice+lists@example.test", TAKEN)
        self.assertEqual(len([*(self.maildir("alice") / ".lists").glob("new/*")]), 3)
        self.assertEqual(self.subjects("alice"), [])

    def test_the_mailbox_is_locked(self):
        """Mail comes all the same; the session that has it does not see it."""
        self.begin()
        client = self.host.pop3("alice")
        self.try_all("alice@example.test", TAKEN)
        self.assertEqual(client.stat()[0], 0)
        client.quit()
        self.assertEqual(self.subjects("alice"), [1, 2, 3])

    def test_it_came_before(self):
        self.begin(set={"mda.duplicates": "1h"})
        message = self.message(extra=b"Message-ID: <1@example.org>\r\n")
        for _ in range(2):
            said = (self.by_lmtp("alice@example.test", message), self.by_smtp("alice@example.test", message),
                    self.by_command("alice@example.test", message))
            self.assertEqual(said, TAKEN)
        self.assertEqual(self.subjects("alice"), [1])

    def test_the_store_dies_with_the_message(self):
        """It was asked to keep the message and never answered: nobody says that all is well."""
        self.begin(set={"mda.workers": "1"})
        refusals = ("451 4.3.0", "451 4.3.0", EX_TEMPFAIL)
        refused = [False] * 3

        def all_refused():
            messages, end, said = self.held("alice@example.test")
            [store] = wait_for(lambda: self.host.pids("store"), "a store")
            freeze(store)
            end()
            os.kill(store, signal.SIGKILL)
            for i, reply in enumerate(said()):
                # A message that came too late to die with this store is in the next one's hands.
                self.assertIn(reply, (refusals[i], TAKEN[i]))
                if reply == refusals[i]:
                    refused[i] = True
                    self.again("alice@example.test", [messages[i]])
            return all(refused)
        wait_for(all_refused, "a store that dies in time, by every way")
        self.assertEqual(self.subjects("alice"), [*range(1, self.number + 1)])

    def test_the_host_is_away(self):
        self.begin()
        self.host.stop()
        # A port that was given up may be another host's by now; this one is nobody's.
        nobody = self.enterContext(socket.socket())
        nobody.bind(("127.0.0.1", 0))
        self.host.ports["smtp"] = nobody.getsockname()[1]
        messages = self.try_all("alice@example.test", (AWAY, AWAY, EX_TEMPFAIL))
        self.host.start()
        self.again("alice@example.test", messages)
        self.assertEqual(self.subjects("alice"), [1, 2, 3])

    def test_the_disk_is_full(self):
        disk = self.begin_on_a_disk(96 << 20)
        filler = disk.point / "filler"
        with open(filler, "wb") as file:
            try:
                while True:
                    file.write(bytes(1 << 20))
                    file.flush()
            except OSError:
                pass

        def refused():
            return self.by_lmtp("alice@example.test", self.message()) == "452 4.3.1"
        wait_for(refused, "the store to notice")
        kept = self.number - 1  # those before it noticed
        self.number = 1000
        messages = self.try_all("alice@example.test", ("452 4.3.1", "452 4.3.1", EX_TEMPFAIL))
        filler.unlink()
        self.again("alice@example.test", messages)
        self.assertEqual(self.subjects("alice"), [*range(1, kept + 1), 1001, 1002, 1003])
        self.host.stop()

    def test_a_flush_fails(self):
        """
        The disk has taken a message and cannot keep it: it is as good as refused. It may be there all the same
        afterwards, so whoever wants none twice has duplicates looked for.
        """
        disk = self.begin_on_a_disk(400 << 20, 64 << 20, set={
            "mda.duplicates": "1h", "store.checkpoint-seconds": "1h"})
        for way, refusal in ((self.by_lmtp, "451 4.3.0"), (self.by_smtp, "451 4.3.0"), (self.by_command, EX_TEMPFAIL)):
            said = EX_OK
            freeze(self.host.process.pid)  # the next store is started when there is room
            try:
                disk.exhaust()
                while said in TAKEN:
                    message = self.message(extra=b"Message-ID: <%d@example.org>\r\n" % self.number,
                                           body=b"\r\n".join([b"x" * 70] * 800))
                    said = way("alice@example.test", message)
                self.assertEqual(said, refusal)
                disk.relieve()
            finally:
                self.host.process.send_signal(signal.SIGCONT)
            self.again("alice@example.test", [message])
        self.assertEqual(self.host.log().count("event=flush-failed"), 3)
        for _ in range(2):
            self.assertEqual(self.subjects("alice"), [*range(1, self.number + 1)])
            # And what the disk itself has, without what the kernel remembers of it.
            self.host.stop()
            wait_for(disk.unmount, f"the end of what was at work on the disk: {disk.why}")
            wait_for(disk.mount, f"the disk again: {disk.why}")
            self.host.start()
        self.host.stop()

    def begin_on_a_disk(self, *sizes, **keys):
        if os.geteuid() != 0:
            self.skipTest("only root can mount a small disk")
        disk = disks().Disk(*sizes)
        self.addCleanup(disk.remove)
        if disk.why:
            self.skipTest(disk.why)
        directory = disk.point / "host"
        directory.mkdir()
        self.begin(directory=str(directory), **keys)
        return disk


if __name__ == "__main__":
    unittest.main()
