"""A disk that fills up: mail is refused for the moment, reads and deletes go on, and mail flows when there is room."""

import os
import pathlib
import shutil
import smtplib
import subprocess
import tempfile
import unittest

from host import Host, address, wait_for

SIZE = 320 << 20  # the journal alone takes up to 64 MiB
MESSAGE = b"Subject: filler\r\n\r\n" + b"x" * 70 + b"\r\n" + (b"y" * 70 + b"\r\n") * 40000


class Disk:
    """A small file system of its own, in a file."""

    def __init__(self):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="restante-disk-"))
        self.point = self.dir / "mounted"
        self.point.mkdir()
        self.dir.chmod(0o755)  # the roles run as users of their own
        image = self.dir / "image"
        with open(image, "wb") as file:
            file.truncate(SIZE)
        self.why = None
        for command in (["mkfs.ext4", "-q", "-F", "-m", "0", str(image)],
                        ["mount", "-o", "loop", str(image), str(self.point)]):
            try:
                done = subprocess.run(command, capture_output=True)
            except FileNotFoundError as error:
                self.why = str(error)
                return
            if done.returncode != 0:
                self.why = f"{command[0]}: {done.stderr.decode().strip()}"
                return

    def remove(self):
        if os.path.ismount(self.point):
            subprocess.run(["umount", "-l", str(self.point)], check=True)
        shutil.rmtree(self.dir)


class FullDisk(unittest.TestCase):
    def setUp(self):
        if os.geteuid() != 0:
            self.skipTest("only root can mount a small disk")
        self.disk = Disk()
        self.addCleanup(self.disk.remove)
        if self.disk.why:
            self.skipTest(f"no small disk to be had here: {self.disk.why}")
        self.point = self.disk.point / "host"
        self.point.mkdir()

    def push(self, host):
        """The reply to DATA, or to RCPT when that is refused."""
        try:
            with host.smtp() as client:
                client.ehlo()
                for command in ("MAIL FROM:<s@example.org>", f"RCPT TO:<{address('alice')}>"):
                    code, text = client.docmd(command)
                    if code != 250:
                        return code, text
                return client.data(MESSAGE)
        except smtplib.SMTPServerDisconnected as error:
            return 421, str(error).encode()
        except smtplib.SMTPResponseException as error:
            return error.smtp_code, error.smtp_error

    def fill(self, host):
        """How many messages fitted."""
        for count in range(1000):
            code, text = self.push(host)
            if code != 250:
                self.assertEqual((code, text[:5]), (452, b"4.3.1"), text)
                return count
        raise AssertionError("the disk does not fill up")

    def pull(self, host, count, delete):
        client = host.pop3("alice")
        self.assertEqual(client.stat()[0], count)
        for number in range(1, count + 1):
            octets = b"\r\n".join(client.retr(number)[1]) + b"\r\n"
            self.assertTrue(octets.endswith(MESSAGE), "other octets than were sent")
            if number <= delete:
                client.dele(number)
        client.quit()

    def test_it_fills_and_recovers(self):
        with Host(directory=self.point, set={"store.checkpoint-octets": "1M", "store.checkpoint-seconds": "1s"}) as host:
            count = self.fill(host)
            self.assertGreater(count, 10)
            self.ballast(host)
            code, text = self.push(host)
            self.assertEqual((code, text[:5]), (452, b"4.3.1"), text)
            self.pull(host, count, count // 2)
            self.pull(host, count - count // 2, 0)
            (self.point / "ballast").unlink()
            wait_for(lambda: self.push(host)[0] == 250, "mail flows again")
            self.pull(host, count - count // 2 + 1, 0)
            print(f"{count} messages fitted")

    def ballast(self, host):
        """Somebody else takes what the store had left as a reserve, almost to the last octet."""
        with open(self.point / "ballast", "wb") as file:
            try:
                while True:
                    file.write(b"z" * 4096)
                    file.flush()
            except OSError:
                pass
            file.truncate(max(0, file.tell() - (1 << 20)))
