"""Mail servers and programs that send in ways of their own, and what our log says about how they did.

curl, swaks, msmtp, smtplib and libetpan are in 10-push-pull.py; all that log in, in 40-submission.py.
"""

import email
import os
import pathlib
import pwd
import re
import shutil
import smtplib
import subprocess
import tempfile
import unittest

import messages
import tools
from host import PATIENCE, Host, address, wait_for
from peers import Postfix, need_root

BODY = b"Subject: x\r\n\r\nGr\xc3\xbc\xc3\x9fe\r\n.\r\n..two\r\n"


def fields(line):
    return dict(re.findall(r'(\S+?)=("(?:[^"\\]|\\.)*"|\S*)', line))


def accepted(host):
    """smtp-in's lines about messages, as dictionaries."""
    return [row for row in map(fields, host.log().splitlines())
            if row.get("role") == "smtp-in" and row.get("event") == "message"]


class Senders(unittest.TestCase):
    def s_nail(self, way):
        with Host() as host:
            tools.push_s_nail(host, BODY, ["alice", "bob"], way)
            for user in ("alice", "bob"):
                got, = host.messages(user)
                text = email.message_from_bytes(got).get_payload(decode=True)
                self.assertEqual(text.replace(b"\r\n", b"\n"), "Grüße\n.\n..two\n".encode())
            row, = accepted(host)
            self.assertEqual(row["recipients"], "2")
            self.assertEqual(row["tls"] == "none", way == "plain")

    def test_s_nail_plain(self):
        self.s_nail("plain")

    def test_s_nail_starttls(self):
        self.s_nail("starttls")

    def test_s_nail_tls(self):
        self.s_nail("tls")

    def test_postfix(self):
        """As a sender: STARTTLS, PIPELINING, several recipients in one message, a kept connection."""
        need_root()
        pushed = [row for row in messages.small() if row[0] != "other-received"]
        with Host() as host, Postfix(f"smtp:[127.0.0.1]:{host.port('smtp')}", settings=f"""
smtp_tls_security_level = encrypt
smtp_tls_CAfile = {host.certificate()}
debug_peer_level = 2
debug_peer_list = 127.0.0.1
""") as postfix:
            with smtplib.SMTP("127.0.0.1", postfix.port, timeout=PATIENCE) as client:
                for _, octets in pushed:
                    client.sendmail("sender@example.org", [address("alice"), address("bob")], octets, ["BODY=8BITMIME"])
            postfix.wait_until_empty()
            self.assertNotIn("status=bounced", postfix.log())
            for user in ("alice", "bob"):
                got = host.messages(user)
                self.assertEqual(len(got), len(pushed))
                for name, octets in pushed:
                    body = octets.split(b"\r\n\r\n", 1)[1]
                    self.assertTrue(any(one.endswith(b"\r\n\r\n" + body) for one in got), name)
            rows = accepted(host)
            self.assertEqual(len(rows), len(pushed))
            for row in rows:
                self.assertEqual((row["tls"], row["recipients"], row["delivered"], row["code"]), ("TLSv1.3", "2", "2", "250"))
            # What was said without waiting for an answer; a process of its own writes the log.
            in_one_go = (r"> 127[^\n]*: MAIL FROM:[^\n]*\n(?:[^\n]*> 127[^\n]*: RCPT TO:[^\n]*\n)+[^\n]*> 127[^\n]*: DATA")
            wait_for(lambda: re.search(in_one_go, postfix.log()), "MAIL, RCPT and DATA in Postfix's log, one after the other")

    def exim(self, more):
        """Debian installs either Postfix or Exim; /usr/sbin/exim4 of an unpacked package will do."""
        need_root()
        program = tools.need("exim4", "exim4-daemon-light")
        try:
            owner = pwd.getpwnam("Debian-exim")
        except KeyError:
            self.skipTest("there is no user Debian-exim (Debian package exim4-base makes it)")
        directory = pathlib.Path(tempfile.mkdtemp(prefix="restante-exim-"))
        self.addCleanup(shutil.rmtree, directory, True)
        os.chown(directory, owner.pw_uid, owner.pw_gid)
        with Host() as host:
            (directory / "conf").write_text(f"""
exim_path = {program}
exim_user = Debian-exim
spool_directory = {directory}
log_file_path = {directory}/%slog
primary_hostname = exim.example.org
keep_environment =
begin routers
all:
  driver = manualroute
  route_list = * 127.0.0.1
  self = send
  transport = out
begin transports
out:
  driver = smtp
  port = {host.port("smtp")}
  hosts_try_chunking = *
  hosts_try_prdr = *
  {more}
""")
            done = subprocess.run([program, "-C", directory / "conf", "-odf", "-f", "sender@example.org", "-i",
                                   address("alice"), address("bob")], input=BODY.replace(b"\r\n", b"\n"),
                                  capture_output=True, timeout=PATIENCE)
            self.assertEqual(done.returncode, 0, done.stderr)
            log = (directory / "mainlog").read_text()
            for user in ("alice", "bob"):
                got = host.messages(user)
                self.assertEqual(len(got), 1, log)
                self.assertTrue(got[0].endswith(BODY.split(b"\r\n\r\n", 1)[1]))
            return accepted(host)[0], log

    def test_exim_by_bdat_over_tls(self):
        row, log = self.exim("hosts_require_tls = *\n  tls_verify_hosts =")
        self.assertEqual((row["by"], row["tls"], row["recipients"]), ("BDAT", "TLSv1.3", "2"), log)
        self.assertIn(" K", log)  # Exim's mark for CHUNKING
        self.assertIn("PRDR", log)

    def test_exim_by_bdat_in_the_clear(self):
        row, log = self.exim("hosts_avoid_tls = *")
        self.assertEqual((row["by"], row["tls"], row["recipients"]), ("BDAT", "none", "2"), log)


if __name__ == "__main__":
    unittest.main()
