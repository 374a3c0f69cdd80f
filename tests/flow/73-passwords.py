"""A password leaves no trace in the memory of those who pass it on to the store."""

import base64
import os
import re
import unittest

from host import Host, wait_for

SECRET = "Kirschkern-7Qx9-Weitspucken"
WRONG = "Kuerbiskern-4Zy1-Zielwurf"

# Here the password is left for a moment where it was read, and soon the next one is written over it.
LEFT = ("PASS and its end", "PLAIN ahead")


def coded(text):
    return base64.b64encode(text.encode()).decode()


def forms(password):
    """What it looks like on its way: as it is, and in base64 wherever it may stand in the octets before."""
    found = {password.encode()}
    for before in range(3):
        whole = base64.b64encode(b"\0" * before + password.encode())
        found.add(whole[4 if before else 0:-4])
    return found


def memory(pid):
    """Everything that this process can write to."""
    with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb") as octets:
        for line in maps:
            match = re.match(r"([0-9a-f]+)-([0-9a-f]+) rw", line)
            if match:
                begin, end = (int(number, 16) for number in match.groups())
                if end - begin > 1 << 30:
                    continue  # of the address sanitizer itself
                octets.seek(begin)
                try:
                    yield line, octets.read(end - begin)
                except OSError:
                    pass


class Line:
    def __init__(self, host, name, secure):
        self.sock = host.connect(name)
        if secure:
            self.sock = host.tls_context().wrap_socket(self.sock, server_hostname="localhost")
        self.file = self.sock.makefile("rb")

    def reply(self):
        while (line := self.file.readline().decode())[:3].isdigit() and line[3] == "-":
            pass
        return line

    def say(self, *pieces):
        """A command, in pieces that come one by one."""
        for piece in pieces[:-1]:
            self.sock.sendall(piece.encode())
        self.sock.sendall(pieces[-1].encode() + b"\r\n")
        return self.reply()

    def close(self):
        self.file.close()
        self.sock.close()


@unittest.skipUnless(os.geteuid() == 0, "only root sees the memory of a process that drops its rights")
class Passwords(unittest.TestCase):
    def line(self, host, name, secure):
        line = Line(host, name, secure)
        self.addCleanup(line.close)
        line.reply()
        return line

    def assert_forgotten(self, host):
        for role in ("pop3d", "smtp-in"):
            for pid in host.pids(role):
                for region, octets in memory(pid):
                    for password in (SECRET, WRONG):
                        for form in forms(password):
                            at = octets.find(form)
                            self.assertLess(at, 0, f"{role}: {form} in {region}: {octets[max(0, at - 40):at + 60]}")

    def log_in(self, line, answer, good):
        self.assertTrue(answer.startswith(("+OK", "235") if good else ("-ERR [AUTH]", "535")), answer)

    def test_it_is_overwritten(self):
        settings = {"store.login-delay": "0s", "pop3d.login-failures": "100", "smtp-in.login-failures": "100",
                    "pop3d.workers": "1", "smtp-in.workers": "1"}
        with Host(set=settings) as host:
            host.command("user", "passwd", "bob@example.test", "-c", str(host.dir / "restante.conf"),
                         input=SECRET.encode() + b"\n")
            lines = []
            for secure in (False, True):
                for way in ("PASS", "PASS in pieces", "PASS and its end", "PASS too early", "PLAIN", "PLAIN in pieces", "PLAIN ahead",
                            "LOGIN"):
                    for password in (WRONG, SECRET):
                        line = self.line(host, "pop3s" if secure else "pop3", secure)
                        lines.append(line)
                        plain = coded(f"\0bob\0{password}")
                        if way == "PASS too early":
                            self.assertTrue(line.say(f"PASS {password}").startswith("-ERR"))
                            continue
                        if way.startswith("PASS"):
                            line.say("USER bob")
                            pieces = {"PASS in pieces": ["PASS " + password[:9], password[9:]], "PASS and its end": ["PASS " + password, ""]}
                            answer = line.say(*pieces.get(way, ["PASS " + password]))
                        elif way == "LOGIN":
                            line.say("AUTH LOGIN")
                            line.say(coded("bob"))
                            answer = line.say(coded(password))
                        elif way == "PLAIN":
                            answer = line.say(f"AUTH PLAIN {plain}")
                        elif way == "PLAIN ahead":
                            line.say(f"AUTH PLAIN\r\n{plain}")
                            answer = line.reply()
                        else:
                            line.say("AUTH PLAIN")
                            answer = line.say(plain[:17], plain[17:])
                        self.log_in(line, answer, password == SECRET)
                        if way in LEFT and password == WRONG:
                            self.assert_forgotten(host)
                        if password == SECRET:  # or nobody else is let in
                            line.say("QUIT")
            for way in ("PLAIN", "PLAIN in pieces", "PLAIN ahead", "LOGIN"):
                for password in (WRONG, SECRET):
                    line = self.line(host, "submissions", True)
                    lines.append(line)
                    line.say("EHLO client.test")
                    plain = coded(f"\0bob\0{password}")
                    if way == "PLAIN":
                        answer = line.say(f"AUTH PLAIN {plain}")
                    elif way == "PLAIN ahead":
                        line.say(f"AUTH PLAIN\r\n{plain}")
                        answer = line.reply()
                    elif way == "LOGIN":
                        line.say("AUTH LOGIN")
                        line.say(coded("bob"))
                        answer = line.say(coded(password))
                    else:
                        line.say("AUTH PLAIN")
                        answer = line.say(plain[:17], plain[17:])
                    self.log_in(line, answer, password == SECRET)
                    if way in LEFT and password == WRONG:
                        self.assert_forgotten(host)
            self.assert_forgotten(host)
            for line in lines:
                line.close()

            def ended():
                text = host.status()
                return "sessions-now" not in text[text.index("\npop3d"):] and not re.search(r"\ssessions=", text[:text.index("\npop3d")])
            wait_for(ended, "the end of all sessions")
            self.assert_forgotten(host)


if __name__ == "__main__":
    unittest.main()
