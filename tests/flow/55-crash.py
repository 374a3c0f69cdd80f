"""kill -9 of the store or of everything under load, a dozen times; `make crash` is the long run."""

import pathlib
import random
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "crash"))

import crash  # noqa: E402


class Crash(unittest.TestCase):
    def test_promises_are_kept(self):
        seed = random.SystemRandom().randrange(1 << 32)
        print(f"seed {seed}: {crash.run(12, 0, seed, lambda line: None)}")
