#!/usr/bin/python3
"""Run tests and count them: run.py [--only WORD] [units|dialogs|flows|fuzzers]…

Every test is a line; failures show what was seen. The last line is "N passed, N failed, N skipped".
Units and dialogs run on the sanitizer build, flows on both builds, fuzzers for --fuzz-seconds each.
"""

import argparse
import concurrent.futures
import contextlib
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import time

LIB = pathlib.Path(__file__).resolve().parent
TOP = LIB.parents[1]
AT_ONCE = 8  # jobs at most: each has a host of many processes, or a fuzzer that may take gigabytes
LONGEST = 3600  # seconds of one job: ends what would never end
LEFT_SECONDS = 30  # how long a flow's processes may outlive it
sys.path.insert(0, str(LIB))

import dialog  # noqa: E402
import host  # noqa: E402

PASSED, FAILED, SKIPPED = "passed", "failed", "skipped"


class Count:
    def __init__(self):
        self.totals = {PASSED: 0, FAILED: 0, SKIPPED: 0}
        self.failures = []

    def add(self, name, result, detail=""):
        self.totals[result] += 1
        if result == PASSED:
            if sys.stdout.isatty():
                print(f"\r\033[K{sum(self.totals.values())} {name}", end="", flush=True)
            return
        print(f"{'' if not sys.stdout.isatty() else chr(13)}{result.upper()} {name}"
              + (f": {detail.strip()}" if detail.strip() else ""), flush=True)
        if result == FAILED:
            self.failures.append(name)

    def section(self, name, seconds, before):
        now = sum(self.totals.values()) - before
        print(f"{chr(13) if sys.stdout.isatty() else ''}{name}: {now} tests, {seconds:.0f} s", flush=True)


def in_parallel(jobs, count):
    """Run functions, one for each core that we may use; each returns [(name, result, detail)]."""
    with concurrent.futures.ThreadPoolExecutor(max_workers=min(AT_ONCE, len(os.sched_getaffinity(0)))) as pool:
        for done in concurrent.futures.as_completed([pool.submit(job) for job in jobs]):
            for row in done.result():
                count.add(*row)


def run(command, longest=LONGEST, **options):
    """(exit status, its standard output, its standard error), or none and what there was when it took too long."""
    try:
        done = subprocess.run([*map(str, command)], capture_output=True, timeout=longest, **options)
        status, parts = done.returncode, (done.stdout, done.stderr)
    except subprocess.TimeoutExpired as error:
        status, parts = "none: too long", (error.stdout or b"", error.stderr or b"")
    return status, *(part.decode(errors="replace") for part in parts)


def sanitizer_env(build):
    env = dict(os.environ, RESTANTE_BUILD=str(build))
    env.setdefault("UBSAN_OPTIONS", "print_stacktrace=1")
    env.setdefault("LSAN_OPTIONS", f"suppressions={LIB}/leaks.supp:print_suppressions=0")
    return env


def programs(build, kind, prefix):
    """Where the programs of all tests of a kind are: by their sources, so that one that was not built is missed."""
    return [build / kind / source.parent.name / source.stem for source in sorted((TOP / "tests" / kind).glob(f"*/{prefix}_*.c"))]


def unit(build, path):
    def job():
        name = f"unit/{path.relative_to(build / 'unit')}"
        if not path.exists():
            return [(name, FAILED, "not built")]
        status, *output = run([path], env=sanitizer_env(build))
        output = "".join(output)
        rows = []
        for mark, test in re.findall(r"\[\s+(OK|FAILED|SKIPPED)\s+\] (\w+)$", output, re.MULTILINE):
            result = {"OK": PASSED, "FAILED": FAILED, "SKIPPED": SKIPPED}[mark]
            if (f"{name}:{test}", FAILED) not in [row[:2] for row in rows]:
                rows.append((f"{name}:{test}", result, output[-3000:] if result == FAILED else ""))
        if not rows or (status != 0 and all(row[1] != FAILED for row in rows)):
            rows.append((name, FAILED, f"exit {status}\n{output[-6000:]}"))
        # An exit amid a test has a status of its own, which may be 0.
        begun = sum(map(int, re.findall(r"^\[=+\] Running (\d+) test", output, re.MULTILINE)))
        if begun != len({row[0] for row in rows if row[0] != name}) and all(row[1] != FAILED for row in rows):
            rows.append((name, FAILED, f"ended amid its tests\n{output[-6000:]}"))
        return rows
    return job


def run_units(count, build, only):
    jobs = [unit(build, path) for path in programs(build, "unit", "test")
            if only in f"unit/{path.parent.name}/{path.name}"]
    in_parallel(jobs, count)


def run_dialogs(count, build, only):
    os.environ["RESTANTE_BUILD"] = str(build)
    groups = {}
    for path in sorted((TOP / "tests/dialog").glob("*/*.dialog")):
        if only not in f"dialog/{path.parent.name}/{path.name}":
            continue
        try:
            one = dialog.Dialog(path)
        except AssertionError as error:
            count.add(f"dialog/{path.parent.name}/{path.stem}", FAILED, str(error))
            continue
        groups.setdefault(tuple(sorted(one.set.items())), []).append(one)
    for settings, dialogs in groups.items():
        run_dialog_group(count, dict(settings), dialogs)


def run_dialog_group(count, settings, dialogs):
    try:
        with host.Host(set=settings) as under_test:
            for one in dialogs:
                name = f"dialog/{one.path.parent.name}/{one.path.stem}"
                try:
                    one.run(under_test)
                    count.add(name, PASSED)
                except Exception as error:  # a dialog must not end the others
                    count.add(name, FAILED, f"{type(error).__name__}: {error}")
    except AssertionError as error:
        count.add(f"dialog host {settings or ''}", FAILED, str(error))


def end_what_is_left(mark):
    """
    Processes with this in their environment, killed with their groups (unless that is ours) when they do not end by
    themselves; how they were called.
    """
    def running():
        found = {}
        for entry in pathlib.Path("/proc").iterdir():
            with contextlib.suppress(OSError):
                if entry.name.isdigit() and mark.encode() in (entry / "environ").read_bytes().split(b"\0"):
                    found[int(entry.name)] = (entry / "cmdline").read_bytes().decode(errors="replace").replace("\0", " ").strip()
        return found

    end = time.monotonic() + LEFT_SECONDS
    while (left := running()) and time.monotonic() < end:
        time.sleep(0.1)
    for pid in left:
        with contextlib.suppress(ProcessLookupError):
            group = os.getpgid(pid)
            os.kill(pid if group == os.getpgrp() else -group, signal.SIGKILL)
    return sorted(left.values())


def flow(build, path):
    def job():
        with tempfile.NamedTemporaryFile("r", prefix="restante-flow-") as results:
            env = dict(sanitizer_env(build), RESTANTE_TEST=results.name)
            status, said, told = run(["/usr/bin/python3", "-B", LIB / "flow.py", path, results.name], env=env)
            left = end_what_is_left(f"RESTANTE_TEST={results.name}")
            rows = [json.loads(line) for line in results]
        label = f"flow/{path.stem}" + ("" if build == TOP / "build" else f"@{build.name}")
        rows = [(f"{label}:{name}", result, detail) for name, result, detail in rows]
        if not rows or (status != 0 and all(row[1] != FAILED for row in rows)):
            rows.append((label, FAILED, f"exit {status}\n{(said + told)[-6000:]}"))
        elif status != 0:  # seeds, and the ends of the logs of the hosts
            print(f"{label} said:\n{said[-2000:]}{told[-20000:]}", flush=True)
        if left:
            rows.append((label, FAILED, "left behind: " + ", ".join(left)))
        return rows
    return job


def run_flows(count, builds, only):
    jobs = [flow(build, path) for build in builds for path in sorted((TOP / "tests/flow").glob("[0-9]*.py"))
            if only in f"flow/{path.name}"]
    in_parallel(jobs, count)


def fuzzer(path, seconds):
    def job():
        name = f"fuzz/{path.parent.name}/{path.name}"
        if not path.exists():
            return [(name, FAILED, "not built")]
        with tempfile.TemporaryDirectory(prefix="restante-fuzz-") as scratch:
            seeds = TOP / "tests/data/fuzz" / path.name
            corpus = pathlib.Path(scratch, "corpus")
            corpus.mkdir()
            command = [str(path), f"-max_total_time={seconds}", "-timeout=100", "-rss_limit_mb=3000",
                       "-print_final_stats=1", f"-artifact_prefix={scratch}/", str(corpus)]
            status, _, output = run(command + ([seeds] if seeds.is_dir() else []), seconds + LONGEST, cwd=scratch)
            if status == 0:
                runs = re.search(r"number_of_executed_units: (\d+)", output)
                if runs and int(runs[1]) > 0:
                    return [(f"{name} ({runs[1]} runs)", PASSED, "")]
            found = "".join(f"\n{artifact.name}: {artifact.read_bytes()!r}"
                            for artifact in pathlib.Path(scratch).glob("*-*") if artifact.is_file())
            return [(name, FAILED, f"exit {status}\n{output[-4000:]}{found[:4000]}")]
    return job


def run_fuzzers(count, build, only, seconds):
    in_parallel([fuzzer(path, seconds) for path in programs(build, "fuzz", "fuzz")
                 if only in f"fuzz/{path.parent.name}/{path.name}"], count)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kinds", nargs="*", help="units dialogs flows fuzzers (default: all)")
    parser.add_argument("--only", default="", metavar="WORD", help="tests whose name holds WORD")
    parser.add_argument("--fuzz-seconds", type=int, default=5)
    parser.add_argument("--build", type=pathlib.Path, help="run units, dialogs and flows on this build alone")
    options = parser.parse_args()
    kinds = options.kinds or ["units", "dialogs", "flows", "fuzzers"]
    release, sanitize, fuzz = TOP / "build", TOP / "build/sanitize", TOP / "build/fuzz"
    builds = [options.build.resolve()] if options.build else [release, sanitize]
    count = Count()
    host.be_alike()
    for kind in kinds:
        start, before = time.monotonic(), sum(count.totals.values())
        if kind == "units":
            run_units(count, builds[-1], options.only)
        elif kind == "dialogs":
            run_dialogs(count, builds[-1], options.only)
        elif kind == "flows":
            run_flows(count, builds, options.only)
        elif kind == "fuzzers":
            run_fuzzers(count, fuzz, options.only, options.fuzz_seconds)
        else:
            parser.error(f"unknown kind of test: {kind}")
        count.section(kind, time.monotonic() - start, before)
    if count.failures:
        print("failed:", *count.failures, sep="\n  ")
    print(f"{count.totals[PASSED]} passed, {count.totals[FAILED]} failed, {count.totals[SKIPPED]} skipped")
    return 1 if count.failures or not count.totals[PASSED] else 0


if __name__ == "__main__":
    sys.exit(main())
