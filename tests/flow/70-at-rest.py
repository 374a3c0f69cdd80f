"""The whole host at rest: memory of all processes together, as on a machine of two cores."""

import pathlib
import unittest

from host import Host, build_dir

LIMIT_KIB = 40 * 1024


class AtRest(unittest.TestCase):
    def test_memory(self):
        if build_dir().name == "sanitize":
            self.skipTest("a sanitizer build's memory says nothing")
        with Host() as host:
            pids = [host.process.pid] + [pid for role in ("store", "mda", "smtp-in", "pop3d") for pid in host.pids(role)]
            total = 0
            for pid in pids:
                rollup = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text()
                total += next(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:"))
            print(f"{len(pids)} processes, {total} KiB proportional set size")
            self.assertLess(total, LIMIT_KIB)
