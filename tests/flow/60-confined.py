"""Every role under its own uid, with no new privileges and a system call filter in force."""

import os
import pathlib
import unittest

from host import Host, address, wait_for
from hostile import Scripted
from remote import bridge_family, descriptors

ROLES = ("store", "mda", "smtp-in", "pop3d", "bridge")


def status(pid):
    return dict(line.split(":\t", 1) for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines()
                if ":\t" in line)


def waits(talk):
    """A server that greets and says no more."""
    talk.send("+OK ready\r\n")
    talk.silence()


class Confined(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.remote = cls.enterClassContext(Scripted(waits))
        cls.host = Host(set={"bridge.patience": "1h"})
        password, accounts = cls.host.dir / "password", cls.host.dir / "bridge.conf"
        password.write_text("secret\n")
        accounts.write_text(f"account-waits {{\n  protocol = pop3\n  host = localhost\n  port = {cls.remote.port}\n"
                            f"  tls = none\n  user = anna\n  password-file = password\n  to = {address('alice')}\n}}\n")
        password.chmod(0o600)
        accounts.chmod(0o600)
        cls.enterClassContext(cls.host)

    def pids(self, role):
        """All processes of a role, of which there is one at least."""
        found = self.host.pids(role)
        self.assertTrue(found, f"no process of {role} to look at")
        return found

    def assert_filtered(self, pid):
        self.assertEqual(status(pid)["Seccomp"], "2")
        self.assertEqual(status(pid)["NoNewPrivs"], "1")

    def assert_without_root(self, pid):
        """The uid that the process has, and its gid."""
        shown = status(pid)
        real = set(shown["Uid"].split()) | set(shown["Gid"].split())
        self.assertEqual(len(real), 1, real)
        self.assertNotEqual(real, {"0"})
        self.assertEqual(shown["Groups"].strip(), "")
        self.assertEqual(int(shown["CapPrm"], 16), 0)
        return real.pop()

    def files(self, pid):
        """{descriptor: path} of what it has open below the host's directory, but for what the test itself gave it."""
        return {number: path for number, path in descriptors(pid).items() if path.startswith(f"{self.host.dir}/")
                and not path.endswith(("/test.log", "/banner"))}

    def test_filter_in_force(self):
        for role in ROLES:
            for pid in self.pids(role):
                with self.subTest(role=role):
                    self.assert_filtered(pid)

    def test_own_uid(self):
        if os.geteuid() != 0:
            self.skipTest("only root can give each role a uid of its own")
        uids = {}
        for role in ROLES:
            for pid in self.pids(role):
                with self.subTest(role=role):
                    uids.setdefault(role, set()).add(self.assert_without_root(pid))
        self.assertEqual(len(set().union(*uids.values())), len(ROLES), uids)

    def test_front_ends_hold_no_files(self):
        for role in ROLES[1:]:
            for pid in self.pids(role):
                with self.subTest(role=role):
                    files = self.files(pid)
                    self.assertEqual(set(files.values()), {str(self.host.dir / "log")})
                    # The log can be added to and not be read.
                    for number in files:
                        info = pathlib.Path(f"/proc/{pid}/fdinfo/{number}").read_text()
                        flags = int(info.split("flags:")[1].split()[0], 8)
                        self.assertEqual(flags & os.O_ACCMODE, os.O_WRONLY)
                        self.assertTrue(flags & os.O_APPEND)

    def test_process_of_an_account(self):
        """It has given everything up before it says a word to the server, the log too."""
        wait_for(lambda: self.remote.seen, "a word to the server")
        _, accounts = wait_for(lambda: (lambda family: family if family and family[1] else None)(bridge_family(self.host)),
                               "the processes of the bridge")
        self.assertEqual(len(accounts), 1)
        self.assert_filtered(accounts[0])
        self.assertTrue(any(held.startswith("socket:") for held in descriptors(accounts[0]).values()))
        self.assertEqual(self.files(accounts[0]), {})
        if os.geteuid() == 0:
            self.assertEqual([self.assert_without_root(pid) for pid in accounts],
                             [self.assert_without_root(pid) for pid in self.pids("bridge")])
