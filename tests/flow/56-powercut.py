"""Power cuts (tests/crash/powercut.c) and failing system calls (failing.c); `make crash` tries many more."""

import random
import subprocess
import unittest

from host import build_dir

BROKEN = ("marker", "flush", "sync", "fsync", "resync")


class PowerCut(unittest.TestCase):
    def run_program(self, name, *arguments):
        seed = str(random.SystemRandom().randrange(30000))
        done = subprocess.run([str(build_dir() / "crash" / name), "-s", seed, *arguments], capture_output=True)
        self.assertEqual(done.returncode, 0, f"seed {seed}: {done.stdout.decode()}{done.stderr.decode()[-3000:]}")

    def test_power_cuts(self):
        self.run_program("powercut", "-n", "60")

    def test_broken_promises_are_found(self):
        for promise in BROKEN:
            with self.subTest(left_out=promise):
                self.run_program("powercut", "-n", "3000", "-b", promise)

    def test_failing_calls(self):
        self.run_program("failing", "-n", "100")
