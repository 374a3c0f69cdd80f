"""restante trace: from the push to the pull, in words, out of the log that the host keeps."""

import re
import smtplib
import subprocess
import unittest

from host import PATIENCE, Host, wait_for


class Trace(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.host = cls.enterClassContext(Host())
        cls.conf = str(cls.host.dir / "restante.conf")

    def trace(self, wanted, *arguments, check=True, input=None):
        done = self.host.command("trace", wanted, *(arguments or ("-c", self.conf)), check=check, input=input)
        return done.stdout.decode() if check else done

    def push(self, to):
        client = self.host.smtp()
        client.ehlo("client.example.org")
        client.mail("sender@example.org")
        client.rcpt(to)
        code, said = client.data(b"Subject: traced\r\n\r\nx\r\n")
        client.quit()
        self.assertEqual(code, 250, said)
        return said.decode().split()[-1]

    def test_from_push_to_pull(self):
        id = self.push("bob@example.test")
        client = self.host.pop3("bob")
        count = client.stat()[0]
        client.retr(count)
        client.dele(count)
        client.quit()
        said = wait_for(lambda: "POP3" in self.trace(id) and self.trace(id), "the end of the POP3 session")
        self.assertIn(f"message {id}\n", said)
        self.assertRegex(said, r"smtp-in +received a message from sender@example.org, \d+ octets")
        self.assertIn("client.example.org", said)
        self.assertIn("mda       delivered to bob@example.test", said)
        kept = re.search(r"kept it in mailbox INBOX of bob@example.test as message (\d+), file (\S+)", said)
        self.assertTrue(kept, said)
        self.assertRegex(said, r"pop3d +bob@example.test pulled and deleted it by POP3, from 127\.0\.0\.1")
        for wanted in ("bob@example.test", "BOB@example.test", "sender@example.org"):
            self.assertIn(f"message {id}\n", self.trace(wanted))

    def test_who_submitted(self):
        with smtplib.SMTP_SSL("127.0.0.1", self.host.port("submissions"), context=self.host.tls_context()) as client:
            client.login("carol@example.test", "restante")
            client.sendmail("carol@example.test", ["alice@example.test"], b"From: carol@example.test\r\n\r\nx\r\n")
        self.assertRegex(self.trace("carol@example.test"), r"sent by 127\.0\.0\.1 .*, logged in as carol@example\.test, over TLSv1")
        self.assertNotIn("logged in", self.trace(self.push("bob@example.test")))

    def test_the_file_is_there(self):
        said = self.trace(self.push("carol@example.test"))
        name = re.search(r"file (\S+)", said)[1]
        self.assertEqual(len(list((self.host.dir / "store").rglob(f"{name},*"))), 1)

    def test_a_refusal_is_told(self):
        client = self.host.smtp()
        client.ehlo("client.example.org")
        with self.assertRaises(smtplib.SMTPRecipientsRefused):
            client.sendmail("sender@example.org", ["nobody@example.test"], b"x\r\n")
        client.quit()
        def told():
            said = self.trace("nobody@example.test", "-c", self.conf, check=False).stdout.decode()
            return said if "would not take it" in said else None
        self.assertIn("550", wait_for(told, "the refusal in the log"))

    def test_another_log(self):
        id = self.push("alice@example.test")
        log = (self.host.dir / "log").read_bytes()
        path = self.host.dir / "copied.log"
        path.write_bytes(b"\x1b[2Jnoise\n" + log)
        self.assertIn("delivered to alice@example.test", self.trace(id, "--log", str(path)))
        self.assertIn("delivered to alice@example.test", self.trace(id, "--log", "-", input=log))

    def test_what_goes_wrong(self):
        self.assertEqual(self.trace("nothing1", "-c", self.conf, check=False).returncode, 1)
        self.assertEqual(self.trace("not an id", "-c", self.conf, check=False).returncode, 64)
        self.assertEqual(self.trace("a1", "--log", "/nowhere/log", check=False).returncode, 66)

    def test_the_banner_tells_of_it(self):
        command = re.search(r"^ +(\S+ trace .*)$", self.host.banner(), re.M)[1]
        self.push("bob@example.test")
        done = subprocess.run(command, shell=True, capture_output=True, timeout=PATIENCE)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn(b"delivered to bob@example.test", done.stdout)


class Size(unittest.TestCase):
    def test_the_log_is_bounded(self):
        with Host(set={"log-size": "20K"}) as host:
            conf = str(host.dir / "restante.conf")
            log, older = host.dir / "log", host.dir / "log.1"
            first = None
            while not older.exists():
                client = host.smtp()
                client.ehlo("x" * 200)
                for _ in range(20):
                    if older.exists():  # enough, or this one would be the older one soon
                        break
                    client.mail("s@example.org")
                    client.rcpt("alice@example.test")
                    id = client.data(b"Subject: x\r\n\r\nx\r\n")[1].decode().split()[-1]
                    first = first or id
                client.quit()
            self.assertGreaterEqual(older.stat().st_size, 20 * 1024)
            # Those that wrote to the old one hear of the new one, and nothing is lost between the two.
            host.send(b"Subject: after\r\n\r\nx\r\n", ("bob",), sender="after@example.org")
            wait_for(lambda: b"delivered to bob@example.test" in
                     host.command("trace", "after@example.org", "-c", conf, check=False).stdout, "the last message in a log")
            self.assertIn(first.encode(), host.command("trace", first, "-c", conf).stdout)
            wait_for(log.exists, "the new log")
            self.assertEqual(log.stat().st_mode & 0o777, 0o600)

    def test_a_log_that_was_moved_away(self):
        """As logrotate does: everybody writes to a new one, without a word to the host."""
        with Host() as host:
            log = host.dir / "log"
            for away in (lambda: log.rename(host.dir / "aside"), log.unlink):
                away()
                wait_for(log.exists, "the new log")

                # Until it hears of the new one, a role writes to the old one, which may be gone.
                def written():
                    host.send(b"Subject: after\r\n\r\nx\r\n", ("bob",), sender="after@example.org")
                    return all(f"role={role} ".encode() in log.read_bytes() for role in ("smtp-in", "mda"))
                wait_for(written, "a line of each role in the new log")
                self.assertEqual(log.stat().st_mode & 0o777, 0o600)

    def test_a_log_that_cannot_be(self):
        with Host() as host:
            host.stop()
            (host.dir / "log").unlink()
            (host.dir / "log").symlink_to(host.dir / "elsewhere")
            host.start()
            wait_for(lambda: "event=no-log-file" in host.log(), "a line about it")
            host.send(b"Subject: x\r\n\r\nx\r\n")
            self.assertFalse((host.dir / "elsewhere").exists())

    def test_no_log_when_none_is_wanted(self):
        with Host(set={"log-size": "0"}) as host:
            host.send(b"Subject: x\r\n\r\nx\r\n")
            self.assertFalse((host.dir / "log").exists())
            done = host.command("trace", "alice@example.test", "-c", str(host.dir / "restante.conf"), check=False)
            self.assertEqual(done.returncode, 66)
            self.assertIn(b"log-size", done.stderr)


if __name__ == "__main__":
    unittest.main()
