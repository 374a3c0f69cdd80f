"""What a host can set for POP3: login delay, expiry, sessions of one address."""

import os
import re
import signal
import time
import unittest

from host import PATIENCE, Host, wait_for

DAY = 86400


class Session:
    def __init__(self, host, user=None):
        self.sock = host.connect("pop3")
        self.file = self.sock.makefile("rb")
        self.greeting = self.file.readline()
        if user:
            self.say(f"USER {user}")
            self.reply = self.say("PASS restante")

    def say(self, line):
        self.sock.sendall(line.encode() + b"\r\n")
        return self.file.readline()

    def capabilities(self):
        self.say("CAPA")
        return [line.decode().strip() for line in iter(self.file.readline, b".\r\n")]

    def close(self):
        self.file.close()
        self.sock.close()


class Policies(unittest.TestCase):
    def session(self, host, user=None):
        session = Session(host, user)
        self.addCleanup(session.close)
        return session

    def test_login_delay(self):
        with Host(set={"pop3d.login-delay": "1h"}) as host:
            session = self.session(host, "alice")
            self.assertTrue(session.reply.startswith(b"+OK"), session.reply)
            self.assertIn("LOGIN-DELAY 3600", session.capabilities())
            session.say("QUIT")
            for _ in range(4):  # whichever worker takes it
                self.assertTrue(self.session(host, "alice").reply.startswith(b"-ERR [LOGIN-DELAY] "))
            self.assertTrue(self.session(host, "bob").reply.startswith(b"+OK"), "it is one user's delay")
        with Host(set={"pop3d.login-delay": "1s"}) as host:
            self.session(host, "alice").say("QUIT")
            wait_for(lambda: self.session(host, "alice").reply.startswith(b"+OK"), "the delay is over")

    @staticmethod
    def put_old(inbox, days):
        """As a delivery agent of that day would have."""
        name, when = f"{int(time.time()) - days * DAY}.M1P{days}.old", time.time() - days * DAY
        path = inbox.parent / "tmp" / name
        path.write_bytes(b"Subject: old%d\n\nbody\n" % days)
        os.utime(path, (when, when))
        os.chown(path, inbox.stat().st_uid, inbox.stat().st_gid)
        path.rename(inbox / name)

    def test_expire(self):
        with Host(set={"pop3d.expire-days": "30"}) as host:
            for number in range(3):
                host.send(f"Subject: new{number}\r\n\r\nbody\r\n".encode())
            inbox = next(path for path in (host.dir / "store/mail").rglob("new") if "alice" in str(path))
            for days in (29, 31, 400):
                self.put_old(inbox, days)

            def dropped():
                session = Session(host, "alice")
                found = session.reply.startswith(b"+OK 6")
                if found:
                    self.assertIn("EXPIRE 30", session.capabilities())
                session.close()
                return found

            # What comes within the tick of the clock in which something of ours came is not seen by the directory's time.
            wait_for(dropped, "all of them")
            wait_for(dropped, "all of them again: a dropped session expires nothing")

    def test_expired_messages_go_at_quit(self):
        with Host(set={"pop3d.expire-days": "30"}) as host:
            host.send(b"Subject: new\r\n\r\nbody\r\n")
            inbox = next(path for path in (host.dir / "store/mail").rglob("new") if "alice" in str(path))
            self.put_old(inbox, 31)

            def seen():
                session = self.session(host, "alice")
                if session.reply.split()[1] == b"2":
                    return session
                session.close()
                return None
            self.assertEqual(wait_for(seen, "both").say("QUIT"), b"+OK good-bye; 1 messages deleted\r\n")
            kept = host.messages()
            self.assertEqual(len(kept), 1)
            self.assertIn(b"Subject: new", kept[0])

    def test_sessions_of_one_address(self):
        with Host(set={"pop3d.clients-per-address": "2", "pop3d.limits-loopback": "yes", "pop3d.workers": "2"}) as host:
            first, second = self.session(host), self.session(host)
            self.assertTrue(first.greeting.startswith(b"+OK") and second.greeting.startswith(b"+OK"))
            third = self.session(host)
            self.assertTrue(third.greeting.startswith(b"-ERR [SYS/TEMP] too many sessions"), third.greeting)
            self.assertEqual(third.file.readline(), b"")
            first.close()

            def admitted():
                session = Session(host)
                session.close()
                return session.greeting.startswith(b"+OK")

            wait_for(admitted, "a place is free again")

    def change(self, host, pattern, new):
        """Another line in the settings, which every pop3d has taken over."""
        settings, mark = host.dir / "restante.conf", len(host.log())
        settings.write_text(re.sub(pattern, new, settings.read_text()))
        host.process.send_signal(signal.SIGHUP)
        wait_for(lambda: len(re.findall(r"role=pop3d .*event=reloaded", host.log()[mark:])) == len(host.pids("pop3d")),
                 "the new settings")

    def test_more_sessions_by_a_reload(self):
        """Who waits to be let in does so no longer, though nobody left."""
        with Host(set={"pop3d.workers": "1"}) as host:
            self.change(host, r"pop3d \{", "pop3d {\n\tclients = 1")
            first = self.session(host)
            waiting = host.connect("pop3")
            self.addCleanup(waiting.close)
            waiting.settimeout(0.2)
            self.assertRaises(TimeoutError, waiting.recv, 1)
            self.change(host, "clients = 1", "clients = 2")
            waiting.settimeout(PATIENCE)
            self.assertEqual(waiting.recv(3), b"+OK")
            self.assertTrue(first.say("CAPA").startswith(b"+OK"))

    def test_certificate_goes_while_a_header_is_awaited(self):
        with Host(set={"pop3d.proxy-from": "127.0.0.1", "pop3d.proxy-timeout": "1h"}) as host:
            late = host.connect("pop3s")
            self.addCleanup(late.close)
            pids = host.pids("pop3d")
            wait_for(lambda: re.search(r"\bsessions=1\b", host.status()), "the session")
            self.change(host, r"certificates = \{[^}]*\}", "certificates = { }")
            late.sendall(b"PROXY TCP4 192.0.2.7 127.0.0.1 1000 995\r\n")
            self.assertEqual(late.recv(1), b"")
            self.assertEqual(host.pids("pop3d"), pids)

    def test_sessions_behind_a_load_balancer(self):
        """The address is the header's, for the limit, the log, and whether a password may come in the clear."""
        settings = {"pop3d.clients-per-address": "2", "pop3d.proxy-from": "127.0.0.1", "pop3d.workers": "2",
                    "pop3d.proxy-timeout": "1h"}

        def session(header):
            sock = host.connect("pop3")
            self.addCleanup(sock.close)
            file = sock.makefile("rb")
            self.addCleanup(file.close)
            sock.sendall(header)
            return sock, file, file.readline()

        with Host(set=settings) as host:
            header = b"PROXY TCP4 192.0.2.7 127.0.0.1 1000 110\r\n"
            for _ in range(2):
                sock, file, greeting = session(header + b"USER alice\r\n")
                self.assertTrue(greeting.startswith(b"+OK"), greeting)
                self.assertTrue(file.readline().startswith(b"-ERR"), "no password in the clear from elsewhere")
            self.assertTrue(session(header)[2].startswith(b"-ERR [SYS/TEMP] too many sessions"))
            self.assertTrue(session(header.replace(b".7 ", b".8 "))[2].startswith(b"+OK"))
            self.assertTrue(session(b"PROXY UNKNOWN\r\n")[2].startswith(b"+OK"))
            self.assertEqual(session(b"CAPA\r\n")[2], b"")
            sock, file, greeting = session(header.replace(b".7 ", b".9 "))
            sock.sendall(b"QUIT\r\n")
            self.assertTrue(file.readline().startswith(b"+OK"))
            wait_for(lambda: "peer=192.0.2.9" in host.log(), "the client's address in the log")
        with Host(set={**settings, "pop3d.proxy-timeout": "1s"}) as host:
            self.assertEqual(session(b"PROXY TCP4 192")[2], b"", "it is waited for no longer")
