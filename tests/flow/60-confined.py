"""Every role under its own uid, with no new privileges and a system call filter in force."""

import os
import pathlib
import unittest

from host import Host

ROLES = ("store", "mda", "smtp-in", "pop3d")


def status(pid):
    return dict(line.split(":\t", 1) for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines()
                if ":\t" in line)


class Confined(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.host = cls.enterClassContext(Host())

    def test_filter_in_force(self):
        for role in ROLES:
            for pid in self.host.pids(role):
                with self.subTest(role=role):
                    self.assertEqual(status(pid)["Seccomp"], "2")
                    self.assertEqual(status(pid)["NoNewPrivs"], "1")

    def test_own_uid(self):
        if os.geteuid() != 0:
            self.skipTest("only root can give each role a uid of its own")
        uids = {}
        for role in ROLES:
            for pid in self.host.pids(role):
                real = set(status(pid)["Uid"].split()) | set(status(pid)["Gid"].split())
                self.assertEqual(len(real), 1, f"{role}: {real}")
                self.assertNotEqual(real, {"0"})
                self.assertEqual(status(pid)["Groups"].strip(), "")
                self.assertEqual(int(status(pid)["CapPrm"], 16), 0)
                uids.setdefault(role, set()).update(real)
        self.assertEqual(len(set().union(*uids.values())), len(ROLES), uids)

    def test_front_ends_hold_no_files(self):
        for role in ("mda", "smtp-in", "pop3d"):
            for pid in self.host.pids(role):
                held = {link.name: os.readlink(link) for link in pathlib.Path(f"/proc/{pid}/fd").iterdir()}
                files = {name for name in held.values() if name.startswith(str(self.host.dir))
                         and not name.endswith("test.log") and not name.endswith("banner")}
                self.assertEqual(files, {str(self.host.dir / "log")}, role)
                # The log can be added to and not be read.
                for number, name in held.items():
                    if name == str(self.host.dir / "log"):
                        info = pathlib.Path(f"/proc/{pid}/fdinfo/{number}").read_text()
                        flags = int(info.split("flags:")[1].split()[0], 8)
                        self.assertEqual(flags & os.O_ACCMODE, os.O_WRONLY, role)
                        self.assertTrue(flags & os.O_APPEND, role)
