"""What bench.py measures: smtp-sink, Debian's Postfix with Dovecot, and restante, each as a context manager.

port is where SMTP goes; settle(count) returns when so many more files are in the Maildirs.
"""

import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

TOP = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(TOP / "tests/lib"))

from host import Host, free_port, wait_for  # noqa: E402
from peers import Dovecot, Postfix, _listens  # noqa: E402
from tools import need  # noqa: E402

RECIPIENT = "alice@example.test"
MANY = 100
MANY_RECIPIENT = "bench@example.test"  # smtp-source -r puts a number in front, but for the last one
MANY_USERS = [MANY_RECIPIENT] + [f"{number}{MANY_RECIPIENT}" for number in range(1, MANY + 1)]


def files_below(directory):
    """How many files lie in the new/ directories below."""
    return sum(len(files) for path, _, files in os.walk(directory) if os.path.basename(path) == "new")


class Sink:
    """smtp-sink: takes everything, keeps nothing. What smtp-source can push at all."""

    name = "smtp-sink"

    def __init__(self, many=False):
        pass

    def __enter__(self):
        self.port = free_port()
        command = [need("smtp-sink", "postfix"), "-u", "nobody", f"127.0.0.1:{self.port}", "1000"]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_for(lambda: _listens(self.port), "smtp-sink up")
        return self

    def __exit__(self, *trace):
        self.process.kill()
        self.process.wait()

    def settle(self, count):
        pass


class Pair:
    """Postfix handing to Dovecot's LMTP server, both with their default durability."""

    name = "Postfix + Dovecot"

    def __init__(self, many=False):
        self.many = many

    def __enter__(self):
        self.dovecot = Dovecot().__enter__()
        if self.many:
            with open(self.dovecot.dir / "users", "a", encoding="ascii") as users:
                users.writelines(f"{user}:{{PLAIN}}restante::::::\n" for user in MANY_USERS)
        self.postfix = Postfix(f"lmtp:inet:127.0.0.1:{self.dovecot.lmtp_port}").__enter__()
        self.port = self.postfix.port
        self.count = 0
        return self

    def __exit__(self, *trace):
        self.postfix.__exit__(*trace)
        self.dovecot.__exit__(*trace)

    def settle(self, count):
        self.count += count
        wait_for(lambda: files_below(self.dovecot.dir / "mail") >= self.count, "everything in the Maildir", 180)


class Ours:
    """restante as `restante demo` starts it, with all that it checks and writes."""

    name = "restante"

    def __init__(self, many=False, set=None):
        self.many = many
        self.host = Host(set={"log-level": "warning", **(set or {})})

    def __enter__(self):
        self.host.__enter__()
        self.count = 0
        self.started()
        if self.many:
            made = subprocess.run([need("openssl"), "passwd", "-6", "restante"], capture_output=True, check=True)
            for user in MANY_USERS:
                self.host.command("user", "add", user, "--hash", "-c", str(self.host.dir / "restante.conf"),
                                  input=made.stdout)
        return self

    def started(self):
        self.port = self.host.port("smtp")

    def __exit__(self, *trace):
        self.host.__exit__(*trace)

    def settle(self, count):
        self.count += count
        found = files_below(self.host.dir / "store/mail")
        assert found >= self.count, f"{self.count} acknowledged, {found} in the Maildir"

    def store_status(self, field):
        """A line of the store's /proc/PID/status, in KiB."""
        text = pathlib.Path(f"/proc/{self.host.pids('store')[0]}/status").read_text(encoding="ascii")
        return next(int(line.split()[1]) for line in text.splitlines() if line.startswith(field + ":"))


class Room:
    """
    A place for benches on the disk of TMPDIR, removed when all of them are over. Without a journal of its own ext4
    looks at every inode that was freed in the last minutes before it takes another: removing trees in between, here
    or by others on the same disk, slows down the next server by up to a third of a millisecond a file. So each tree
    also begins in a group of blocks of its own (chattr +T), where the file system can do that.
    """

    def __enter__(self):
        self.path = tempfile.mkdtemp(prefix="restante-bench-")
        os.chmod(self.path, 0o755)
        subprocess.run(["chattr", "+T", self.path], stderr=subprocess.DEVNULL, check=False)
        tempfile.tempdir = self.path
        self.remove, shutil.rmtree = shutil.rmtree, lambda *given, **named: None
        return self

    def __exit__(self, *trace):
        shutil.rmtree = self.remove
        tempfile.tempdir = None
        shutil.rmtree(self.path, ignore_errors=True)
