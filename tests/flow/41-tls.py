"""TLS from outside: names, key types, reload, resumption over all workers and restarts, what is logged."""

import contextlib
import os
import re
import signal
import socket
import ssl
import subprocess
import unittest

from host import PATIENCE, Host, build_dir, wait_for
from tools import need

WORKERS = 3
PORTS = {"smtps": "smtp-in", "pop3s": "pop3d"}


def make(directory, name, names, kind):
    """A self-signed certificate; the pair as the settings name it."""
    key = ["rsa:2048"] if kind == "rsa" else ["ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    subprocess.run([need("openssl"), "req", "-x509", "-newkey", *key, "-nodes", "-days", "2", "-subj", f"/CN={names[0]}",
                    "-addext", "subjectAltName=" + ",".join(f"DNS:{one}" for one in names),
                    "-keyout", f"{directory}/{name}.key", "-out", f"{directory}/{name}.pem"], check=True, capture_output=True)
    return f"{name}.pem:{name}.key"


class Tls(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.host = Host(set={"smtp-in.workers": str(WORKERS), "pop3d.workers": str(WORKERS)})
        cls.enterClassContext(cls.host)
        cls.settings = cls.host.dir / "restante.conf"
        cls.names = {"rsa": ["mail.example.test", "localhost"], "other": ["other.example.test"]}
        pairs = ["certificate.pem:key.pem", make(cls.host.dir, "rsa", ["mail.example.test", "localhost"], "rsa"),
                 make(cls.host.dir, "ecdsa", ["mail.example.test", "localhost"], "ec"),
                 make(cls.host.dir, "other", ["other.example.test"], "ec")]
        cls.use(pairs[1:])

    @classmethod
    def use(cls, pairs):
        text = re.sub(r"certificates = \{[^}]*\}", "certificates = { " + ", ".join(f'"{pair}"' for pair in pairs) + " }",
                      cls.settings.read_text())
        cls.settings.write_text(text)
        cls.reload()

    @classmethod
    def reload(cls):
        """SIGHUP, and every process that has certificates has taken it over."""
        pids, mark = {pid for role in PORTS.values() for pid in cls.host.pids(role)}, len(cls.host.log())
        cls.host.process.send_signal(signal.SIGHUP)

        def everywhere():
            return pids <= set(map(int, re.findall(r" pid=(\d+) event=reloaded", cls.host.log()[mark:])))
        wait_for(everywhere, "reloaded everywhere")

    def context(self, version=None, ciphers=None, trust=("rsa", "ecdsa", "other")):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        for name in trust:
            context.load_verify_locations(self.host.dir / f"{name}.pem")
        if version:
            context.minimum_version = context.maximum_version = version
        if ciphers:
            context.set_ciphers(ciphers)
        return context

    def connect(self, context, name="localhost", port="smtps", session=None):
        sock = context.wrap_socket(self.host.connect(port), server_hostname=name, session=session)
        self.addCleanup(sock.close)
        self.assertTrue(sock.recv(1000).startswith((b"220 ", b"+OK")))  # and the ticket with it
        return sock

    def subject(self, port, *options):
        """The subject and key type that openssl s_client is shown."""
        shown = subprocess.run([need("openssl"), "s_client", "-connect", f"127.0.0.1:{self.host.port(port)}", *options],
                               input=b"QUIT\r\n", capture_output=True, timeout=PATIENCE).stdout.decode()
        # OpenSSL 3.5 names the scheme (ecdsa_secp256r1_sha256), those before it its family (ECDSA).
        kind = re.search(r"Peer signature type: (ECDSA|RSA-PSS|RSA_PSS)", shown, re.I)[1]
        return re.search(r"^subject=.*?CN ?= ?(\S+)", shown, re.M)[1], kind.upper().replace("_", "-")

    def test_certificate_by_name_and_key_type(self):
        for port, starttls in (("smtps", []), ("pop3s", []), ("submission", ["-starttls", "smtp"]),
                               ("smtp", ["-starttls", "smtp"]), ("pop3", ["-starttls", "pop3"])):
            with self.subTest(port=port):
                self.assertEqual(self.subject(port, *starttls, "-servername", "mail.example.test"),
                                 ("mail.example.test", "ECDSA"))
                self.assertEqual(self.subject(port, *starttls, "-servername", "other.example.test"),
                                 ("other.example.test", "ECDSA"))
                self.assertEqual(self.subject(port, *starttls, "-servername", "unknown.example"),
                                 ("mail.example.test", "ECDSA"))
                self.assertEqual(self.subject(port, *starttls, "-noservername"), ("mail.example.test", "ECDSA"))
        for options in (["-tls1_3", "-sigalgs", "rsa_pss_rsae_sha256"], ["-tls1_2", "-cipher", "ECDHE-RSA-AES128-GCM-SHA256"]):
            self.assertEqual(self.subject("smtps", "-servername", "mail.example.test", *options),
                             ("mail.example.test", "RSA-PSS"))
        self.assertEqual(self.subject("smtps", "-servername", "mail.example.test", "-tls1_2", "-cipher",
                                      "ECDHE-ECDSA-AES128-GCM-SHA256"), ("mail.example.test", "ECDSA"))

    def test_old_versions_are_refused(self):
        """By the host, with the alert protocol_version (RFC 8446 section 6.2); the same client gets in with TLS 1.2."""
        def handshake(port, version):
            done = subprocess.run([need("openssl"), "s_client", "-cipher", "ALL:@SECLEVEL=0", version, "-connect",
                                   f"127.0.0.1:{self.host.port(port)}"], input=b"", capture_output=True, timeout=PATIENCE)
            return done.returncode, done.stderr.decode()

        for port in PORTS:
            for version in ("-tls1", "-tls1_1"):
                with self.subTest(port=port, version=version):
                    code, said = handshake(port, version)
                    self.assertEqual(code, 1)
                    self.assertIn("SSL alert number 70", said)
            code, said = handshake(port, "-tls1_2")
            self.assertEqual(code, 0, said)

    def resumes(self, version, port, context=None, session=None):
        """However often, whichever worker answers. The last session."""
        context = context or self.context(version)
        session = session or self.connect(context, port=port).session
        for _ in range(8 * WORKERS):
            sock = self.connect(context, port=port, session=session)
            self.assertTrue(sock.session_reused)
            session = sock.session
            sock.close()
        return context, session

    def test_resumption(self):
        for port in PORTS:
            for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
                with self.subTest(port=port, version=version):
                    context, session = self.resumes(version, port)
                    # The ticket of one role is nothing to another.
                    other = next(one for one in PORTS if one != port)
                    self.assertFalse(self.connect(context, port=other, session=session).session_reused)

    def test_resumption_after_death_and_reload(self):
        context, session = self.resumes(ssl.TLSVersion.TLSv1_3, "smtps")
        for pid in (old := self.host.pids("smtp-in")):
            os.kill(pid, signal.SIGKILL)
        wait_for(lambda: len(set(self.host.pids("smtp-in")) - set(old)) == WORKERS, "new workers")
        context, session = self.resumes(None, "smtps", context, session)
        self.reload()
        self.resumes(None, "smtps", context, session)

    def test_reload(self):
        """A new certificate for new connections; those that are open go on with theirs."""
        open_before = self.connect(self.context())
        make(self.host.dir, "fresh", ["localhost", "mail.example.test"], "ec")
        self.use(["fresh.pem:fresh.key"])
        try:
            for port in PORTS:
                for _ in range(4 * WORKERS):
                    self.connect(self.context(trust=["fresh"]), port=port)
            with self.assertRaises(ssl.SSLCertVerificationError):
                self.connect(self.context())
            open_before.sendall(b"NOOP\r\n")
            self.assertEqual(open_before.recv(100), b"250 2.0.0 Ok\r\n")
            # A mistake changes nothing.
            (self.host.dir / "fresh.key").write_text("nonsense")
            mark = len(self.host.log())
            self.host.process.send_signal(signal.SIGHUP)
            wait_for(lambda: "event=reload-refused" in self.host.log()[mark:], "the refusal in the log")
            self.connect(self.context(trust=["fresh"]))
        finally:
            self.use(["rsa.pem:rsa.key", "ecdsa.pem:ecdsa.key", "other.pem:other.key"])
        self.connect(self.context())

    def test_log(self):
        for version, cipher in ((ssl.TLSVersion.TLSv1_2, "ECDHE-ECDSA-AES128-GCM-SHA256"), (ssl.TLSVersion.TLSv1_3, None)):
            context = self.context(version, cipher)
            sock = self.connect(context)
            name, replies = (sock.version(), sock.cipher()[0]), sock.makefile("rb")
            for line in (b"EHLO log.test", b"MAIL FROM:<a@log.test>", b"RCPT TO:<alice@example.test>", b"DATA", b"x\r\n."):
                sock.sendall(line + b"\r\n")
                while replies.readline()[3:4] == b"-":
                    pass
            self.assertRegex(self.host.log(), rf"event=message .*helo=log.test tls={name[0]} cipher={name[1]} ")

    def test_injection(self):
        """What stands behind STARTTLS in the clear is thrown away: octet by octet, in one piece, in a transaction, after AUTH."""
        auth = b"AUTH PLAIN AGFsaWNlAHJlc3RhbnRl\r\n"
        for port in ("smtp", "submission"):
            for behind in (b"NOOP\r\n", b"EHLO x.test\r\nMAIL FROM:<a@x.test>\r\n", b"NOO", b"\x16\x03\x01", auth, b"\r\n" * 5000):
                with self.subTest(port=port, behind=behind[:20]), self.host.connect(port) as sock:
                    sock.settimeout(PATIENCE)
                    file = sock.makefile("rb")
                    file.readline()
                    sock.sendall(b"EHLO x.test\r\n")
                    while file.readline()[3:4] == b"-":
                        pass
                    sock.sendall(b"STARTTLS\r\n" + behind)
                    self.assertTrue(file.readline().startswith(b"220 "))
                    with contextlib.suppress(socket.timeout):
                        secure = self.context().wrap_socket(sock, server_hostname="localhost")
                    secure.sendall(b"MAIL FROM:<alice@example.test>\r\n")
                    self.assertTrue(secure.recv(1000).startswith(b"503 5.5.1 EHLO first"))
                    secure.sendall(b"EHLO x.test\r\n")
                    self.assertTrue(secure.recv(4000).startswith(b"250-"))
                    secure.sendall(b"MAIL FROM:<alice@example.test>\r\n")
                    self.assertTrue(secure.recv(1000).startswith(b"250 " if port == "smtp" else b"530 5.7.0"))
                    secure.close()


class Binding(unittest.TestCase):
    """SCRAM-SHA-256-PLUS over live connections: tls-exporter under TLS 1.3, tls-unique under 1.2."""

    @classmethod
    def setUpClass(cls):
        cls.host = cls.enterClassContext(Host(set={"store.login-delay": "0s"}))

    def login(self, kind, mechanism, *options, password="restante"):
        port = self.host.port("submissions" if kind == "smtp" else "pop3s")
        done = subprocess.run([str(build_dir() / "clients/sasl"), kind, str(port), mechanism, "alice@example.test", password,
                               *options], capture_output=True, timeout=PATIENCE, env={"ASAN_OPTIONS": "detect_leaks=0"})
        self.assertIn(done.returncode, (0, 1), done.stderr.decode())
        return done.returncode == 0, done.stdout.decode().rstrip("\n")

    def test_bound(self):
        for kind, good, bad in (("smtp", "235 ", "535 5.7.8 "), ("pop3", "+OK ", "-ERR [AUTH] ")):
            for options, binding in (((), "tls-exporter"), (("--tls12",), "tls-unique")):
                with self.subTest(kind=kind, binding=binding):
                    success, said = self.login(kind, "SCRAM-SHA-256-PLUS", *options)
                    self.assertTrue(success, said)
                    self.assertTrue(said.startswith(f"{binding} {good}"), said)
                    for wrong in (dict(password="wrong"), {}):
                        more = () if wrong else ("--wrong-binding",)
                        success, said = self.login(kind, "SCRAM-SHA-256-PLUS", *options, *more, **wrong)
                        self.assertFalse(success)
                        self.assertTrue(said.startswith(f"{binding} {bad}"), said)

    def test_unbound(self):
        for kind in ("smtp", "pop3"):
            for mechanism in ("SCRAM-SHA-256", "PLAIN", "LOGIN"):
                with self.subTest(kind=kind, mechanism=mechanism):
                    self.assertTrue(self.login(kind, mechanism)[0])
                    self.assertFalse(self.login(kind, mechanism, password="wrong")[0])
