"""Servers that do what no server should, each as a function that is given one connection.

	with Scripted(script) as remote:    remote.port; every connection runs script(Talk) in a thread of its own

A script that returns closes its connection. What the client sent is in remote.seen, one line each.
"""

import contextlib
import hashlib
import pathlib
import socket
import ssl
import subprocess
import threading
import time

LONGEST = 600  # seconds that one connection may live


class Gone(Exception):
    """The client has left."""


class Talk:
    def __init__(self, connection, seen):
        self.connection = connection
        self.seen = seen
        self.pending = b""
        self.ends = time.monotonic() + LONGEST

    def send(self, octets):
        try:
            self.connection.sendall(octets.encode() if isinstance(octets, str) else octets)
        except OSError as reason:
            raise Gone from reason

    def line(self):
        while b"\r\n" not in self.pending:
            if time.monotonic() > self.ends:
                raise Gone
            try:
                piece = self.connection.recv(65536)
            except OSError as reason:
                raise Gone from reason
            if not piece:
                raise Gone
            self.pending += piece
        line, _, self.pending = self.pending.partition(b"\r\n")
        self.seen.append(line.decode(errors="replace"))
        return self.seen[-1]

    def tls(self, certificate):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificate)
        self.pending = b""
        try:
            self.connection = context.wrap_socket(self.connection, server_side=True)
        except (OSError, ssl.SSLError) as reason:
            raise Gone from reason

    def silence(self):
        """Nothing more is said; until the client leaves."""
        while True:
            self.line()

    def flood(self, octets, most=256 << 20):
        """The same again and again, until the client leaves; so many octets at most."""
        block = octets * max(1, 65536 // len(octets))
        for _ in range(most // len(block)):
            self.send(block)


class Scripted:
    def __init__(self, script, certificate=None):
        """certificate: (chain, key) for TLS from the first octet."""
        self.script, self.certificate = script, certificate
        self.seen = []
        self.connections = 0
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = self.listener.getsockname()[1]
        self.thread = threading.Thread(target=self._accept, daemon=True)
        self.open = set()
        self.serving = []
        self.errors = []

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, kind, value, trace):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for connection in list(self.open):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self.thread.join()
        # What they find wrong to the last counts.
        for serving in self.serving:
            serving.join(LONGEST)
        if self.errors and kind is None:
            raise AssertionError("a script failed") from self.errors[0]

    def _accept(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            self.connections += 1
            self.open.add(connection)
            self.serving.append(threading.Thread(target=self._serve, args=(connection,), daemon=True))
            self.serving[-1].start()

    def _serve(self, connection):
        connection.settimeout(LONGEST)
        talk = Talk(connection, self.seen)
        try:
            if self.certificate:
                talk.tls(self.certificate)
            self.script(talk)
        except Gone:
            pass
        except Exception as error:  # the test reports it
            self.errors.append(error)
        with contextlib.suppress(OSError):
            talk.connection.close()
        self.open.discard(connection)


class Authority:
    """Certificates of every kind, made below a directory: good, other (another name), expired, itself, stranger."""

    def __init__(self, directory):
        self.dir = pathlib.Path(directory)
        self.ca, key = self._itself("ca", "Test Authority")
        strange, strange_key = self._itself("strange-ca", "Strange Authority")
        self.good = self._signed("good", "localhost", self.ca, key, 2)
        self.other = self._signed("other", "elsewhere.example", self.ca, key, 2)
        self.expired = self._signed("expired", "localhost", self.ca, key, -1)
        self.stranger = self._signed("stranger", "localhost", strange, strange_key, 2)
        self.itself = self._itself("itself", "localhost")

    def _run(self, *arguments):
        subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)

    def _itself(self, name, subject):
        chain, key = self.dir / f"{name}.pem", self.dir / f"{name}.key"
        self._run("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", key,
                  "-out", chain, "-days", "2", "-subj", f"/CN={subject}", "-addext", f"subjectAltName=DNS:{subject.replace(' ', '-')}")
        return chain, key

    def _signed(self, name, subject, ca, ca_key, days):
        chain, key = self.dir / f"{name}.pem", self.dir / f"{name}.key"
        request, names = self.dir / f"{name}.csr", self.dir / f"{name}.ext"
        names.write_text(f"subjectAltName=DNS:{subject}\n")
        self._run("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", key, "-out",
                  request, "-subj", f"/CN={subject}")
        self._run("x509", "-req", "-in", request, "-CA", ca, "-CAkey", ca_key, "-CAcreateserial", "-days", days, "-out",
                  chain, "-extfile", names)
        return chain, key

    @staticmethod
    def pin(certificate):
        """SHA-256 of the public key, in hexadecimal."""
        public = subprocess.run(["openssl", "x509", "-in", certificate[0], "-noout", "-pubkey"], check=True,
                                capture_output=True).stdout
        octets = subprocess.run(["openssl", "pkey", "-pubin", "-outform", "DER"], input=public, check=True,
                                capture_output=True).stdout
        return hashlib.sha256(octets).hexdigest()


# ---- a POP3 and an IMAP server in order, any answer of which may be replaced ----

MESSAGE = b"Subject: from afar\r\n\r\nHello.\r\n"


def pop3(messages=(MESSAGE,), greeting="+OK ready\r\n", certificate=None, **instead):
    """
    instead: a command's name in small letters: octets, or a function of (talk, arguments), that answer it. A
    function that returns True ends the connection.
    """
    def listing(talk, number, name):
        talk.send("+OK\r\n" + "".join(f"{at} {name(at)}\r\n" for at in range(1, len(messages) + 1)) + ".\r\n"
                  if not number else f"+OK {number} {name(int(number))}\r\n")

    def retr(talk, number):
        body = messages[int(number) - 1].replace(b"\r\n.", b"\r\n..")
        talk.send(b"+OK\r\n" + body + b".\r\n")

    def stls(talk, _):
        talk.send("+OK begin\r\n")
        talk.tls(certificate)

    def quit_(talk, _):
        talk.send("+OK\r\n")
        return True

    answers = {
        "capa": "+OK\r\nUSER\r\nUIDL\r\nTOP\r\nPIPELINING\r\n" + ("STLS\r\n" if certificate else "") + ".\r\n",
        "stls": stls, "user": "+OK\r\n", "pass": "+OK\r\n", "noop": "+OK\r\n", "dele": "+OK\r\n", "rset": "+OK\r\n",
        "stat": f"+OK {len(messages)} {sum(map(len, messages))}\r\n",
        "list": lambda talk, number: listing(talk, number, lambda at: len(messages[at - 1])),
        "uidl": lambda talk, number: listing(talk, number, lambda at: f"uid-{at}"),
        "retr": retr, "quit": quit_, **instead}

    def script(talk):
        _answer(talk, greeting, "")
        while True:
            name, _, arguments = talk.line().partition(" ")
            if _answer(talk, answers.get(name.lower(), "-ERR what?\r\n"), arguments):
                return
    return script


def imap(messages=(MESSAGE,), greeting="* OK ready\r\n", certificate=None, capabilities="IMAP4rev1 IDLE", **instead):
    """As pop3(). An answer of octets is followed by the tagged OK; a function does that itself, by talk.ok() or talk.no()."""
    def starttls(talk, _):
        talk.ok()
        talk.tls(certificate)

    def select(talk, _):
        talk.send(f"* {len(messages)} EXISTS\r\n* 0 RECENT\r\n* FLAGS (\\Seen)\r\n* OK [UIDVALIDITY 7] .\r\n"
                  f"* OK [UIDNEXT {len(messages) + 1}] .\r\n")
        talk.ok()

    def uid(talk, arguments):
        kind, _, rest = arguments.partition(" ")
        which = instead.get(f"uid_{kind.lower()}")
        if which is not None:
            return _answer(talk, which, rest)
        if kind.upper() == "SEARCH":
            talk.send("* SEARCH " + " ".join(str(at) for at in range(1, len(messages) + 1)) + "\r\n")
        elif kind.upper() == "FETCH":
            fetch(talk, rest)
        talk.ok()
        return False

    def fetch(talk, rest):
        numbers, _, items = rest.partition(" ")
        low, _, high = numbers.partition(":")
        top = len(messages) if high in ("*", "") and high else int(high or low)
        for at in range(int(low), min(top, len(messages)) + 1):
            body = messages[at - 1]
            head = f"* {at} FETCH (UID {at} FLAGS (\\Seen) INTERNALDATE \"01-Nov-2026 10:00:00 +0000\" RFC822.SIZE {len(body)}"
            if "BODY" in items:
                section = items.partition("<")[2].partition(">")[0]
                start, _, size = section.partition(".")
                part = body[int(start):int(start) + int(size)] if section else body
                where = f"<{start}>" if section else ""
                talk.send(f"{head} BODY[]{where} {{{len(part)}}}\r\n".encode() + part + b")\r\n")
            else:
                talk.send(head + ")\r\n")

    def idle(talk, _):
        talk.send("+ idling\r\n")
        while talk.line().upper() != "DONE":
            pass
        talk.ok()

    def logout(talk, _):
        talk.send("* BYE\r\n")
        talk.ok()
        return True

    answers = {
        "capability": f"* CAPABILITY {capabilities}{' STARTTLS' if certificate else ''}\r\n",
        "list": '* LIST () "/" INBOX\r\n', "lsub": '* LSUB () "/" INBOX\r\n', "namespace": '* NAMESPACE (("" "/")) NIL NIL\r\n',
        "select": select, "examine": select, "starttls": starttls, "uid": uid, "idle": idle, "logout": logout, **instead}

    def script(talk):
        _answer(talk, greeting, "")
        while True:
            tag, _, rest = talk.line().partition(" ")
            name, _, arguments = rest.partition(" ")
            talk.ok = lambda tag=tag: talk.send(f"{tag} OK done\r\n")
            talk.no = lambda words="not today", tag=tag: talk.send(f"{tag} NO {words}\r\n")
            answer = answers.get(name.lower(), "")
            if _answer(talk, answer, arguments):
                return
            if not callable(answer):
                talk.ok()
    return script


def _answer(talk, answer, arguments):
    if callable(answer):
        return bool(answer(talk, arguments))
    talk.send(answer)
    return False
