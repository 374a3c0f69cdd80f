#!/usr/bin/python3
"""Run one flow file (unittest cases): flow.py FILE [RESULTS]. RESULTS gets a JSON line a test."""

import importlib.util
import json
import pathlib
import sys
import threading
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

import host  # noqa: E402


class Result(unittest.TextTestResult):
    """A test fails, too, by what a thread of its own did not catch."""

    rows = []
    uncaught = []

    def startTest(self, test):
        super().startTest(test)
        threading.excepthook = self.uncaught.append

    def addSuccess(self, test):
        if self.uncaught:
            one = self.uncaught[0]
            self.addError(test, (one.exc_type, one.exc_value, one.exc_traceback))
            return
        super().addSuccess(test)
        self._row(test, "passed")

    def stopTest(self, test):
        super().stopTest(test)
        self.uncaught.clear()

    def _row(self, test, result, detail=""):
        self.rows.append((getattr(test, "_testMethodName", str(test)), result, detail))

    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        self._row(test, "skipped", reason)

    def addFailure(self, test, error):
        super().addFailure(test, error)
        self._row(test, "failed", self.failures[-1][1])

    def addError(self, test, error):
        super().addError(test, error)
        self._row(test, "failed", self.errors[-1][1])

    def addSubTest(self, test, subtest, error):
        super().addSubTest(test, subtest, error)
        if error is not None:
            self._row(test, "failed", f"{subtest}: {self._exc_info_to_string(error, test)}")


def main():
    host.be_alike()
    path = pathlib.Path(sys.argv[1])
    spec = importlib.util.spec_from_file_location(path.stem.replace("-", "_"), path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    suite = unittest.defaultTestLoader.loadTestsFromModule(module)
    outcome = unittest.TextTestRunner(resultclass=Result, verbosity=2).run(suite)
    if len(sys.argv) > 2:
        pathlib.Path(sys.argv[2]).write_text("".join(json.dumps(row) + "\n" for row in Result.rows))
    return 0 if outcome.wasSuccessful() else 1


if __name__ == "__main__":
    sys.exit(main())
