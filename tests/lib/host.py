"""A mail host under test: the real processes, in a directory and on ports of their own."""

import contextlib
import os
import pathlib
import poplib
import pty
import random
import re
import shutil
import signal
import smtplib
import socket
import ssl
import subprocess
import sys
import tempfile
import time

TOP = pathlib.Path(__file__).resolve().parents[2]
PASSWORD = "restante"
USERS = ("alice", "bob", "carol")
DOMAIN = "example.test"
CLOCK_REALTIME_COARSE = 5  # clock_gettime(2): of what the kernel notes as times of files
CRASHES = (signal.SIGILL, signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGSEGV, signal.SIGSYS)
PATIENCE = 300  # seconds: ends a test that would never end; on no machine does anything take so long


def build_dir():
    """The build under test: build/ unless RESTANTE_BUILD says otherwise (a sanitizer build)."""
    return (TOP / os.environ.get("RESTANTE_BUILD", "build")).resolve()


def wait_for(condition, what, seconds=PATIENCE):
    """Poll until condition() is true; its value."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"never happened within {seconds:g} s: {what}")
        time.sleep(0.01)


def wait_for_group(group):
    """Until all of a process group that was killed have ended: only then their locks are let go."""
    def gone():
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        return False
    wait_for(gone, "the end of what was killed")


def freeze(pid):
    """SIGSTOP, and none of its threads does anything any more."""
    def states():
        for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
            stat = (task / "stat").read_text()
            yield stat[stat.rindex(")") + 2]
    os.kill(pid, signal.SIGSTOP)
    wait_for(lambda: set(states()) == {"T"}, f"a stop of process {pid}")


def address(user):
    return user if "@" in user else f"{user}@{DOMAIN}"


def be_alike():
    """From now on a host under test has as many processes as on any other machine, however many cores that has."""
    Host.ALIKE = {"smtp-in.workers": "2", "pop3d.workers": "2"}


def on_a_terminal(command):
    """What a shell's command writes to its terminal, all of it."""
    ours, its = pty.openpty()
    with subprocess.Popen(command, shell=True, stdin=its, stdout=its, stderr=its, start_new_session=True) as process:
        os.close(its)
        said = b""
        with contextlib.suppress(OSError):  # EIO: nobody has it open any more
            while piece := os.read(ours, 65536):
                said += piece
        os.close(ours)
        assert process.wait(PATIENCE) == 0, said
    return said


class Host:
    """`restante demo` as a context manager. set: settings as {"smtp-in.message-size": "10K"}."""

    ALIKE = {}  # settings of every host, as far as set has no other

    def __init__(self, directory=None, set=None, limits=False, env=None, arguments=()):
        self.keep = directory is not None
        self.dir = pathlib.Path(directory or tempfile.mkdtemp(prefix="restante-test-"))
        self.log_path = self.dir / "test.log"
        # Beside what the demo has: TLS from the first octet for anybody.
        self.options = [*arguments, "-o", "smtp-in.listen-tls=127.0.0.1:0"]
        for name, value in {**self.ALIKE, **(set or {})}.items():
            self.options += ["-o", f"{name}={value}"]
        if limits:
            self.options.append("--limits")
        self.env = dict(os.environ, **(env or {}))
        self.process = None
        self.ports = {}

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, kind, value, trace):
        try:
            self.stop(expect_clean=kind is None)
            if kind is None:  # killed, it has not been looked at
                self.check_log()
        finally:
            if kind is not None:
                sys.stderr.write(self.log()[-6000:])
            if not self.keep:
                shutil.rmtree(self.dir, ignore_errors=True)

    def start(self, wait=True, closed=()):
        """wait=False: it may still be starting, and its ports are not known. closed: descriptors that it does not get."""
        ports = self.dir / "ports"
        with contextlib.suppress(FileNotFoundError):
            ports.unlink()
        with open(self.log_path, "ab") as log, open(self.dir / "banner", "wb") as banner:
            self.process = subprocess.Popen(
                [str(build_dir() / "restante"), "demo", "--dir", str(self.dir), "--port-base", "0", *self.options],
                stdin=subprocess.DEVNULL, stdout=banner, stderr=log, env=self.env, start_new_session=True,
                preexec_fn=(lambda: [os.close(number) for number in closed]) if closed else None)
        if not wait:
            return

        def ready():
            if self.process.poll() is not None:
                raise AssertionError(f"the host ended with {self.process.returncode}:\n{self.log()}")
            return "Ctrl-C" in self.banner()

        wait_for(ready, "the banner")
        self.ports = dict(line.split("=", 1) for line in ports.read_text().split())
        self.ports = {name: int(port) for name, port in self.ports.items()}

    def stop(self, expect_clean=True):
        if self.process is None:
            return
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait()
                raise AssertionError(f"the host did not stop within {PATIENCE} s of SIGTERM") from None
        group, code, self.process = self.process.pid, self.process.returncode, None
        try:
            wait_for_group(group)
        except AssertionError:
            os.killpg(group, signal.SIGKILL)
            raise AssertionError("the host left processes behind") from None
        if expect_clean:
            assert code == 0, f"the host ended with {code}:\n{self.log()[-6000:]}"
            self.check_log()

    def kill(self):
        """kill -9 of everything: the process group of the supervisor."""
        group = self.process.pid
        with contextlib.suppress(ProcessLookupError):
            os.killpg(group, signal.SIGKILL)
        self.process.wait()
        self.process = None

        wait_for_group(group)

    def check_log(self):
        """No sanitizer finding may hide in the log, nor a process that crashed and was started again."""
        log = self.log()
        crashed = re.search(rf"^.*event=child-died .*by=signal status=({'|'.join(map(str, map(int, CRASHES)))}) .*$", log, re.MULTILINE)
        assert not crashed, f"crashed:\n{crashed[0]}"
        for word in ("ERROR: AddressSanitizer", "runtime error:", "LeakSanitizer", "level=fatal"):
            assert word not in log, f"{word} in the log:\n" + log[max(0, log.index(word) - 500):][:6000]

    def banner(self):
        return (self.dir / "banner").read_text(errors="replace")

    def log(self):
        return self.log_path.read_text(errors="replace")

    def port(self, name):
        return self.ports[name]

    def socket(self, name):
        return str(self.dir / "run" / name)

    def command(self, *arguments, input=None, check=True):
        """The command a person types. One that gives up on a host that is slow to say how it is, is typed again."""
        def patient():
            done = subprocess.run([str(build_dir() / "restante"), *arguments], input=input, capture_output=True,
                                  timeout=PATIENCE)
            return None if b"the host cannot be asked: it does not answer" in done.stderr else done
        done = wait_for(patient, f"an answer to restante {' '.join(arguments)}")
        if check and done.returncode != 0:
            raise AssertionError(f"restante {' '.join(arguments)}: exit {done.returncode}: {done.stderr.decode()}")
        return done

    def status(self):
        """What `restante status` shows; a host that is busy is asked again."""
        def shown():
            return self.command("status", "-c", str(self.dir / "restante.conf"), check=False).stdout.decode()
        return wait_for(shown, "an answer to restante status")

    def pids(self, role):
        """The processes of a role, read from /proc (children of our supervisor)."""
        found = []
        for entry in pathlib.Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            with contextlib.suppress(OSError, ValueError):
                stat = (entry / "stat").read_text()
                parent = int(stat[stat.rindex(")") + 2:].split()[1])
                if parent == self.process.pid and os.path.basename(
                        (entry / "cmdline").read_bytes().split(b"\0")[0].decode()) == role:
                    found.append(int(entry.name))
        return sorted(found)

    def connect(self, name, timeout=PATIENCE):
        if name.startswith("lmtp") and name not in self.ports:
            sock = socket.socket(socket.AF_UNIX)
            sock.settimeout(timeout)
            sock.connect(self.socket(name))
            return sock
        return socket.create_connection(("127.0.0.1", self.port(name)), timeout)

    def smtp(self, secure=None):
        """smtplib's client: plain, or secure="starttls" or "tls"."""
        if secure == "tls":
            return smtplib.SMTP_SSL("127.0.0.1", self.port("smtps"), timeout=PATIENCE, context=self.tls_context())
        client = smtplib.SMTP("127.0.0.1", self.port("smtp"), timeout=PATIENCE)
        if secure == "starttls":
            client.starttls(context=self.tls_context())
        return client

    def pop3(self, user="alice", secure=None, password=PASSWORD):
        if secure == "tls":
            client = poplib.POP3_SSL("127.0.0.1", self.port("pop3s"), timeout=PATIENCE, context=self.tls_context())
        else:
            client = poplib.POP3("127.0.0.1", self.port("pop3"), timeout=PATIENCE)
            if secure == "stls":
                client.stls(context=self.tls_context())
        client.user(address(user))
        client.pass_(password)
        return client

    def certificate(self):
        return str(self.dir / "certificate.pem")

    def tls_context(self):
        context = ssl.create_default_context(cafile=self.certificate())
        context.check_hostname = True
        return context

    def send(self, message, to=("alice",), sender="sender@example.org"):
        """Push bytes with CRLF or LF line ends by SMTP."""
        wire = b"\r\n".join(message.replace(b"\r\n", b"\n").split(b"\n"))
        with self.smtp() as client:
            return client.sendmail(sender, [address(user) for user in to], wire, ["BODY=8BITMIME"])

    def free_pop3(self, user):
        """pop3() as soon as nobody has the maildrop: one who left without QUIT has it until the server has seen that."""
        def entered():
            try:
                return self.pop3(user)
            except poplib.error_proto as error:
                if b"[IN-USE]" not in error.args[0]:
                    raise
                return None
        return wait_for(entered, f"the maildrop of {user}")

    def messages(self, user="alice"):
        """All of a user's messages as bytes with CRLF line ends, nothing deleted."""
        client = self.free_pop3(user)
        poplib._MAXLINE = 1 << 20
        count = client.stat()[0]
        found = [b"\r\n".join(client.retr(number + 1)[1]) + b"\r\n" for number in range(count)]
        client.quit()
        return found

    def empty(self, user):
        client = self.free_pop3(user)
        for number in range(client.stat()[0]):
            client.dele(number + 1)
        client.quit()


def another_tick(*directories):
    """What others do there from now on has another time than what the store did last (store/scan.c)."""
    def passed():
        return time.clock_gettime_ns(CLOCK_REALTIME_COARSE) > max(path.stat().st_mtime_ns for path in directories)
    wait_for(passed, "another tick of the clock")


def without_trace(message):
    """A pulled message without the trace fields at its top that this host added."""
    ours = (b"return-path:", b"delivered-to:", b"received:")
    lines = message.split(b"\r\n")
    at = 0
    while at < len(lines) and lines[at].lower().startswith(ours):
        received = lines[at].lower().startswith(b"received:")
        at += 1
        while at < len(lines) and lines[at][:1] in (b" ", b"\t"):
            at += 1
        if received:
            break
    return b"\r\n".join(lines[at:])


_taken = []


def free_port():
    """For a server that cannot choose by itself: none that a connection of another test may take meanwhile."""
    low, high = map(int, pathlib.Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())
    others = [*range(1024, low), *range(high + 1, 65536)] or range(1024, 65536)
    while True:
        port = random.SystemRandom().choice(others)
        with socket.socket() as sock, contextlib.suppress(OSError):
            sock.bind(("127.0.0.1", port))
            # Until its server listens, other tests know by this name that it is taken; it goes with this process.
            name = socket.socket(socket.AF_UNIX)
            name.bind(f"\0restante-test-port-{port}")
            _taken.append(name)
            return port
