"""A disk that fills up: mail is refused for the moment, reads and deletes go on, and mail flows when there is room."""

import contextlib
import os
import pathlib
import shutil
import smtplib
import subprocess
import tempfile
import unittest

from host import Host, address, wait_for

LARGE = b"Subject: filler\r\n\r\n" + b"x" * 70 + b"\r\n" + (b"y" * 70 + b"\r\n") * 40000
SMALL = b"Subject: filler\r\n\r\n" + (b"y" * 70 + b"\r\n") * 600


class Disk:
    """
    A small file system of its own, in a file. With `behind`, it believes that it has `size` octets and has only so
    many: what nobody can know before the flush.
    """

    def __init__(self, size, behind=None):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="restante-disk-"))
        self.point = self.dir / "mounted"
        self.point.mkdir()
        self.dir.chmod(0o755)  # the roles run as users of their own
        self.behind = self.dir / "behind"
        self.behind.mkdir()
        self.why = None
        if behind and not self._run("mount", "-t", "tmpfs", "-o", f"size={behind}", "none", str(self.behind)):
            return
        self.image = self.behind / "image"
        with open(self.image, "wb") as file:
            file.truncate(size)
        # Without its own journal it goes on after an error.
        options = ["-O", "^has_journal"] if behind else []
        if self._run("mkfs.ext4", "-q", "-F", "-m", "0", *options, str(self.image)):
            self.mount()

    def _run(self, *command):
        try:
            done = subprocess.run(command, capture_output=True)
        except FileNotFoundError as error:
            self.why = str(error)
            return False
        if done.returncode != 0:
            self.why = f"{command[0]}: {done.stderr.decode().strip()}"
        return done.returncode == 0

    def mount(self):
        return self._run("mount", "-o", "loop", str(self.image), str(self.point))

    def unmount(self):
        return self._run("umount", str(self.point))

    def exhaust(self):
        """From now on there is nothing behind what has not been written yet."""
        with contextlib.suppress(OSError), open(self.behind / "ballast", "wb", buffering=0) as file:
            while file.write(bytes(1 << 16)):
                pass

    def relieve(self):
        (self.behind / "ballast").unlink()

    def remove(self):
        for point in (self.point, self.behind):
            if os.path.ismount(point):
                subprocess.run(["umount", "-l", str(point)], check=True)
        shutil.rmtree(self.dir)


class FullDisk(unittest.TestCase):
    def mount(self, size):
        if os.geteuid() != 0:
            self.skipTest("only root can mount a small disk")
        self.disk = Disk(size)
        self.addCleanup(self.disk.remove)
        if self.disk.why:
            self.skipTest(f"no small disk to be had here: {self.disk.why}")
        self.point = self.disk.point / "host"
        self.point.mkdir()

    def push(self, host, message):
        """The reply to DATA, or to RCPT when that is refused."""
        try:
            with host.smtp() as client:
                client.ehlo()
                for command in ("MAIL FROM:<s@example.org>", f"RCPT TO:<{address('alice')}>"):
                    code, text = client.docmd(command)
                    if code != 250:
                        return code, text
                return client.data(message)
        except smtplib.SMTPServerDisconnected as error:
            return 421, str(error).encode()
        except smtplib.SMTPResponseException as error:
            return error.smtp_code, error.smtp_error

    def fill(self, host, message):
        """How many messages fitted."""
        for count in range(5000):
            code, text = self.push(host, message)
            if code != 250:
                self.assertEqual((code, text[:5]), (452, b"4.3.1"), text)
                return count
        raise AssertionError("the disk does not fill up")

    def pull(self, host, message, count, delete):
        client = host.pop3("alice")
        self.assertEqual(client.stat()[0], count)
        for number in range(1, count + 1):
            octets = b"\r\n".join(client.retr(number)[1]) + b"\r\n"
            self.assertTrue(octets.endswith(message), "other octets than were sent")
            if number <= delete:
                client.dele(number)
        client.quit()

    def fills_and_recovers(self, message, settings, least):
        with Host(directory=self.point, set=settings) as host:
            count = self.fill(host, message)
            self.assertGreater(count * len(message), least)
            self.ballast()
            count += self.fill(host, message)  # a checkpoint may have made room before the ballast took it
            self.pull(host, message, count, count // 2)
            self.pull(host, message, count - count // 2, 0)
            (self.point / "ballast").unlink()
            wait_for(lambda: self.push(host, message)[0] == 250, "mail flows again")
            self.pull(host, message, count - count // 2 + 1, 0)
            conf = str(self.point / "restante.conf")
            self.assertEqual(host.command("store", "verify", "-c", conf).returncode, 0)
            print(f"{count} messages fitted")

    def test_large_disk(self):
        self.mount(320 << 20)
        self.fills_and_recovers(LARGE, {"store.checkpoint-octets": "1M", "store.checkpoint-seconds": "1s"}, 150 << 20)

    def test_small_disk_large_messages(self):
        """Fresh, with nothing set: journal and reserve are as small as the disk asks for."""
        self.mount(48 << 20)
        self.fills_and_recovers(LARGE, {}, 20 << 20)

    def test_small_disk_small_messages(self):
        self.mount(48 << 20)
        self.fills_and_recovers(SMALL, {}, 15 << 20)

    def test_full_from_the_start(self):
        """What was taken is there after a kill and a start without any room."""
        self.mount(48 << 20)
        with Host(directory=self.point) as host:
            count = self.fill(host, SMALL)
            self.ballast()
            host.kill()
            host.start()
            count += self.fill(host, SMALL)
            self.pull(host, SMALL, count, count)
            (self.point / "ballast").unlink()
            wait_for(lambda: self.push(host, SMALL)[0] == 250, "mail flows again")
            self.pull(host, SMALL, 1, 1)

    def ballast(self):
        """Somebody else takes what the store had left as a reserve, almost to the last octet."""
        with open(self.point / "ballast", "wb") as file:
            try:
                while True:
                    file.write(b"z" * 4096)
                    file.flush()
            except OSError:
                pass
            file.truncate(max(0, file.tell() - (1 << 20)))


if __name__ == "__main__":
    unittest.main()
