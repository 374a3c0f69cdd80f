"""The corners of POP3, each against a running server: sizes, TOP, unique-ids, numbers, deletions, locks."""

import os
import poplib
import shutil
import signal
import socket
import subprocess
import unittest

import messages
from host import Host, freeze, wait_for

poplib._MAXLINE = 1 << 20


class Raw:
    """A session that keeps every octet."""

    def __init__(self, host, user="alice", login=True):
        self.sock = host.connect("pop3")
        self.file = self.sock.makefile("rb")
        self.file.readline()
        if login:
            assert self.command(f"USER {user}@example.test").startswith(b"+OK")
            self.greeting = self.command("PASS restante")

    def command(self, line):
        self.sock.sendall(line.encode() + b"\r\n")
        return self.file.readline()

    def lines(self):
        """The octets of a multi-line reply, dots unstuffed, without the terminator."""
        octets = b""
        while (line := self.file.readline()) != b".\r\n":
            assert line.endswith(b"\r\n"), line
            octets += line[1:] if line.startswith(b".") else line
        return octets

    def retr(self, number):
        status = self.command(f"RETR {number}")
        assert status.startswith(b"+OK"), status
        return int(status.split()[1]), self.lines()

    def numbers(self, verb):
        assert self.command(verb).startswith(b"+OK")
        return dict(line.decode().split() for line in self.lines().splitlines())

    def close(self):
        self.file.close()
        self.sock.close()


def head_and_lines(octets, lines):
    """What TOP has to give: header, blank line, that many lines of the body."""
    head, blank, body = octets.partition(b"\r\n\r\n")
    return head + blank + b"".join(body.splitlines(keepends=True)[:lines])


class Corners(unittest.TestCase):
    def setUp(self):
        self.host = self.enterContext(Host())

    def session(self, user="alice"):
        session = Raw(self.host, user)
        self.addCleanup(session.close)
        return session

    def push(self, count, user="alice", tag="m"):
        with self.host.smtp() as client:
            for number in range(count):
                client.sendmail("s@example.org", [f"{user}@example.test"],
                                f"Subject: {tag}{number}\r\n\r\nbody {number}\r\n".encode())

    def test_sizes_are_octets_as_sent(self):
        with self.host.smtp() as client:
            for _, octets in messages.small():
                client.sendmail("s@example.org", ["alice@example.test"], octets, ["BODY=8BITMIME"])
        session = self.session()
        total = 0
        for number, size in session.numbers("LIST").items():
            told, octets = session.retr(number)
            with self.subTest(number=number):
                self.assertEqual((int(size), told), (len(octets), len(octets)))
            total += len(octets)
        self.assertEqual(session.command("STAT").split()[1:], [b"%d" % len(messages.small()), b"%d" % total])

    def test_top_counts_body_lines(self):
        rows = [row for row in messages.small() if len(row[1]) < 100_000]
        with self.host.smtp() as client:
            for _, octets in rows:
                client.sendmail("s@example.org", ["alice@example.test"], octets, ["BODY=8BITMIME"])
        session = self.session()
        for number, (name, _) in enumerate(rows, 1):
            whole = session.retr(number)[1]
            for lines in (0, 1, 2, 7, 100000):
                with self.subTest(message=name, lines=lines):
                    self.assertTrue(session.command(f"TOP {number} {lines}").startswith(b"+OK"))
                    self.assertEqual(session.lines(), head_and_lines(whole, lines))

    def test_uidl_outlives_restart_index_and_removal_of_others(self):
        self.push(5)
        session = self.session()
        before = session.numbers("UIDL")
        session.command("DELE 2")
        self.assertTrue(session.command("QUIT").startswith(b"+OK"))
        del before["2"]
        self.host.stop()
        self.host.start()
        self.assertEqual(self.uidls(self.host), list(before.values()), "after a restart")
        self.host.stop()
        shutil.rmtree(self.host.dir / "store/env")
        self.host.start()
        self.assertEqual(self.uidls(self.host), list(before.values()), "after a rebuild")
        self.push(1, tag="later")
        self.host.stop()
        moved = self.host.dir.with_name(self.host.dir.name + "-moved")
        subprocess.run(["cp", "-a", self.host.dir, moved], check=True)
        self.addCleanup(shutil.rmtree, moved, True)
        shutil.rmtree(moved / "store/env")
        with Host(directory=moved) as other:
            after = self.uidls(other)
        self.assertEqual(after[:-1], list(before.values()), "on another machine")
        self.assertNotIn(after[-1], before.values(), "a new message got an old unique-id")

    def uidls(self, host):
        session = Raw(host)
        found = list(session.numbers("UIDL").values())
        session.close()
        return found

    def test_numbers_stay_while_mail_arrives_and_goes(self):
        self.push(4)
        session = self.session()
        listed, uidl = session.numbers("LIST"), session.numbers("UIDL")
        second = session.retr(2)[1]
        self.push(3, tag="new")
        files = [path for path in (self.host.dir / "store").rglob("*") if "alice" in str(path) and ",S=" in path.name]
        gone = min(files, key=lambda path: int(path.name.split(",U=")[1].split(":")[0].split(",")[0]))
        gone.unlink()
        self.assertEqual(session.numbers("LIST"), listed)
        self.assertEqual(session.numbers("UIDL"), uidl)
        self.assertEqual(session.retr(2)[1], second)
        self.assertTrue(session.command("RETR 1").startswith(b"-ERR [SYS/PERM]"), "deleted by another program")
        self.assertEqual(session.retr(4)[1].count(b"Subject: m3"), 1, "and the session goes on")
        self.assertTrue(session.command("QUIT").startswith(b"+OK"))
        # What goes within the tick of the clock in which something of ours came is not seen by the directory's time.
        wait_for(lambda: self.count() == 6, "the listing without it")
        self.assertEqual(len(self.host.messages()), 6)

    def count(self):
        client = self.host.pop3()
        count = client.stat()[0]
        client.quit()
        return count

    def message_files(self):
        """Of alice's, in the order of their numbers."""
        return sorted((path for path in self.files() if "alice" in str(path)),
                      key=lambda path: int(path.name.split(",U=")[1].split(":")[0].split(",")[0]))

    def test_what_was_cut_short_is_never_told_as_whole(self):
        self.push(2)
        self.host.send(b"Subject: large\r\n\r\n" + (b"x" * 70 + b"\r\n") * 170000)
        session = self.session()
        second, third = self.message_files()[1:]
        os.truncate(second, second.stat().st_size - 1)
        for command in ("RETR 2", "TOP 2 1"):
            self.assertTrue(session.command(command).startswith(b"-ERR [SYS/PERM] the message is not whole"), command)
        self.assertEqual(session.retr(1)[1].count(b"Subject: m0"), 1, "and the session goes on")
        # Under way, and more than all buffers in between hold.
        session.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.assertTrue(session.command("RETR 3").startswith(b"+OK"))
        os.truncate(third, 1000)
        rest = session.file.read()
        self.assertFalse(rest.endswith(b"\r\n.\r\n"), "it looks like all of it")
        self.assertLess(len(rest), 170000 * 72)
        self.wait_unlocked()
        self.assertEqual(len(self.files()), 3, "nothing was deleted")

    def test_deletions_happen_at_quit_only(self):
        self.push(6)
        session = self.session()
        for number in (1, 3, 5):
            session.command(f"DELE {number}")
        self.assertEqual(len(self.files()), 6, "deleted before QUIT")
        self.assertTrue(session.command("QUIT").startswith(b"+OK"))
        kept = [octets.split(b"Subject: ")[1].split(b"\r\n")[0] for octets in self.host.messages()]
        self.assertEqual(kept, [b"m1", b"m3", b"m5"])

    def files(self):
        return [path for path in (self.host.dir / "store/mail").rglob("*") if ",S=" in path.name]

    def test_dropped_connections_delete_nothing(self):
        self.push(3)
        for half in ("", "QUI", "RETR 1\r\nDELE 3\r\n"):
            session = Raw(self.host)
            self.assertTrue(session.greeting.startswith(b"+OK"), session.greeting)
            for number in (1, 2):
                session.command(f"DELE {number}")
            session.sock.sendall(half.encode())
            session.close()
            self.wait_unlocked()
        self.assertEqual(len(self.host.messages()), 3)

    def wait_unlocked(self, user="alice"):
        def free():
            session = Raw(self.host, user)
            try:
                if session.greeting.startswith(b"+OK"):
                    session.command("QUIT")
                    return True
                self.assertIn(b"[IN-USE]", session.greeting)
                return False
            except OSError:
                return False
            finally:
                session.close()
        wait_for(free, "the lock is free")

    def test_who_has_sent_all_hears_all(self):
        """A client may shut its side behind its last command (nc -N): each is answered, each deletion done."""
        self.push(3)
        session = Raw(self.host, login=False)
        self.addCleanup(session.close)
        session.sock.sendall(b"USER alice@example.test\r\nPASS restante\r\nTOP 1 0\r\nDELE 2\r\nRETR 3\r\nQUIT\r\n")
        session.sock.shutdown(socket.SHUT_WR)
        status = [line for line in session.file if line.startswith((b"+OK", b"-ERR"))]
        self.assertEqual([line[:3] for line in status], [b"+OK"] * 6, status)
        self.assertIn(b"1 messages deleted", status[-1])
        self.assertEqual(len(self.host.messages()), 2)

    def kill_store_under(self, session, commands):
        """Between the question and its answer: it reads nothing from the moment before they are sent."""
        store, = self.host.pids("store")
        freeze(store)
        session.sock.sendall(commands)
        ports = [f":{port:04X}" for port in (session.sock.getpeername()[1], session.sock.getsockname()[1])]

        def taken():
            with open("/proc/net/tcp") as table:
                rows = [row.split() for row in table]
            return any([row[1][-5:], row[2][-5:]] == ports and row[4].endswith(":00000000") for row in rows)

        wait_for(taken, "the server has read them")
        os.kill(store, signal.SIGKILL)

    def serves(self):
        session = Raw(self.host)
        try:
            return session.greeting.startswith(b"+OK") and session.command("QUIT")
        finally:
            session.close()

    def test_who_waits_for_the_store_hears_that_it_went(self):
        self.push(3)
        for commands in (b"RETR 1\r\nRETR 2\r\nQUIT\r\n", b"RETR 1\r\nTOP 2 0\r\nSTAT\r\nQUIT\r\n", b"QUIT\r\n"):
            wait_for(self.serves, "the store is there")
            session = self.session()
            session.command("DELE 3")
            self.kill_store_under(session, commands)
            status = session.file.readlines()
            self.assertEqual(len(status), commands.count(b"\n"), status)
            for line in status:
                self.assertTrue(line.startswith((b"-ERR [SYS/TEMP]", b"+OK 2 ")), status)
        wait_for(self.serves, "the store is there")
        self.assertEqual(len(self.host.messages()), 3)

    def test_lock_ends_with_its_holder(self):
        self.push(2)
        holder = self.session()
        self.assertIn(b"[IN-USE]", self.session().greeting)
        self.assertTrue(self.session("bob").greeting.startswith(b"+OK"), "a lock is one mailbox's")
        holder.command("QUIT")
        self.assertTrue(self.session().greeting.startswith(b"+OK"))

    def test_lock_of_a_dead_holder(self):
        self.push(2)
        holder = self.session()
        holder.command("DELE 1")
        workers = self.host.pids("pop3d")
        for pid in workers:
            os.kill(pid, signal.SIGKILL)
        wait_for(lambda: len(self.host.pids("pop3d")) == len(workers) and
                 not set(workers) & set(self.host.pids("pop3d")), "pop3d back")
        self.wait_unlocked()
        self.assertEqual(len(self.host.messages()), 2, "what a dead worker had marked is still there")
