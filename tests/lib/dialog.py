"""Dialogs: plain text files of C: and S: lines, held against real processes.

	# comment
	with: smtp                 the listener: smtp smtps submission submissions pop3 pop3s lmtp lmtp-smtp-in lmtp-bridge
	set: smtp-in.recipients=3  a setting this dialog needs (dialogs with the same ones share a host)
	mail: alice: Subject: x\\r\\n\\r\\nbody\\r\\n   empty alice's mailbox first, then deliver this
	C: EHLO client.test        send the text and CRLF; consecutive C lines leave in one segment
	C< raw\\x0abytes\\r\\n        send these octets, C escapes, nothing added
	REPEAT 100                 the next C line so many times
	S: 250 2.1.0 <*>           expect exactly one line; <*> any text, <n> a number, <id> letters and digits
	S+ 250-                    skip the lines that begin so
	TLS                        handshake, as the client
	EOF                        expect the server to close
	CLOSE                      close
	FREE alice                 until nobody has alice's maildrop any more: that one is gone is seen a moment later
	NEW other / other> C: ...  a second connection, named; the first one is called main
"""

import re
import socket
import ssl


HEADERS = ("with", "set", "mail")


class DialogError(AssertionError):
    pass


class Dialog:
    def __init__(self, path):
        self.path = path
        self.listener = "smtp"
        self.set = {}
        self.mail = []
        self.steps = []  # (line number, connection, keyword, rest)
        self._parse()

    def _parse(self):
        for number, line in enumerate(self.path.read_text().splitlines(), 1):
            if not line.strip() or line.lstrip().startswith("#"):
                continue
            head, colon, rest = line.partition(":")
            if colon and head in HEADERS and not self.steps:
                self._header(head, rest.strip(), number)
                continue
            match = re.match(r"(?:(\w+)> ?)?(C:|S:|S\+|C<|TLS|EOF|CLOSE|FREE|NEW|REPEAT)(?: (.*))?$", line)
            if not match:
                raise DialogError(f"{self.path}:{number}: not a dialog line: {line}")
            self.steps.append((number, match[1] or "main", match[2], match[3] or ""))
        if not any(keyword in ("S:", "EOF") for _, _, keyword, _ in self.steps):
            raise DialogError(f"{self.path}: nothing is expected of the server")

    def _header(self, head, value, number):
        if head == "with":
            self.listener = value
        elif head == "set":
            name, equals, setting = value.partition("=")
            if not equals:
                raise DialogError(f"{self.path}:{number}: set: NAME=VALUE")
            self.set[name] = setting
        else:
            user, _, text = value.partition(":")
            self.mail.append((user.strip(), unescape(text.strip())))

    def run(self, host):
        for user in {user for user, _ in self.mail}:
            host.empty(user)
        for user, octets in self.mail:
            host.send(octets, (user,))
        peers = {}
        try:
            peers["main"] = Peer(host, self.listener)
            self._play(host, peers)
            for name, peer in peers.items():
                peer.flush()
                if peer.received:
                    raise DialogError(f"{self.path}: {name} got more than was expected: {peer.received!r}")
        finally:
            for peer in peers.values():
                peer.close()

    def _play(self, host, peers):
        repeat = 1
        for number, name, keyword, rest in self.steps:
            try:
                if keyword == "NEW":
                    peers[rest] = Peer(host, self.listener)
                elif keyword == "FREE":
                    host.free_pop3(rest).quit()
                elif keyword == "REPEAT":
                    repeat = int(rest)
                else:
                    peers[name].step(keyword, rest, repeat)
                    repeat = 1
            except (DialogError, OSError, KeyError) as error:
                raise DialogError(f"{self.path}:{number}: {error!s}") from None


class Peer:
    def __init__(self, host, listener):
        self.host = host
        self.sock = host.connect(listener)
        self.queued = b""
        self.received = b""
        if listener in ("smtps", "submissions", "pop3s"):
            self._tls()

    def step(self, keyword, rest, repeat):
        if keyword == "C:":
            self.queued += (rest.encode() + b"\r\n") * repeat
        elif keyword == "C<":
            self.queued += unescape(rest) * repeat
        elif keyword == "CLOSE":
            self.flush()
            self.close()
        else:
            self.flush()
            if keyword == "S:":
                self._expect(rest)
            elif keyword == "S+":
                self._skip(rest.encode())
            elif keyword == "TLS":
                self._tls()
            elif keyword == "EOF":
                self._expect_end()

    def flush(self):
        octets, self.queued = self.queued, b""
        if octets:
            self.sock.sendall(octets)

    def close(self):
        self.sock.close()

    def _tls(self):
        self.sock = self.host.tls_context().wrap_socket(self.sock, server_hostname="localhost")
        self.received = b""

    def _more(self):
        try:
            octets = self.sock.recv(65536)
        except (socket.timeout, ssl.SSLError) as error:
            raise DialogError(f"nothing more came ({error}); so far: {self.received!r}") from None
        except ConnectionResetError:
            octets = b""
        self.received += octets
        return bool(octets)

    def _line(self):
        while b"\r\n" not in self.received:
            if not self._more():
                raise DialogError(f"the server closed; so far: {self.received!r}")
        line, self.received = self.received.split(b"\r\n", 1)
        return line

    def _expect(self, pattern):
        line = self._line().decode("utf-8", "surrogateescape")
        if not re.fullmatch(to_regex(pattern), line, re.DOTALL):
            raise DialogError(f"expected {pattern!r}, got {line!r}")

    def _skip(self, prefix):
        while True:
            while len(self.received) < len(prefix):
                if not self._more():
                    return
            if not self.received.startswith(prefix):
                return
            self._line()

    def _expect_end(self):
        while self._more():
            pass
        if self.received:
            raise DialogError(f"expected the end, got {self.received!r}")


def to_regex(pattern):
    marks = {"<*>": ".*", "<n>": "[0-9]+", "<id>": "[0-9A-Za-z]+"}
    return "".join(marks.get(part, re.escape(part)) for part in re.split(r"(<\*>|<n>|<id>)", pattern))


def unescape(text):
    """C escapes to octets; other text is UTF-8."""
    def one(match):
        body = match[1]
        if body[0] == "x":
            return bytes([int(body[1:], 16)]).decode("latin-1")
        return {"r": "\r", "n": "\n", "t": "\t", "0": "\0", "\\": "\\", '"': '"'}[body]

    latin = text.encode().decode("latin-1")
    return re.sub(r'\\(x[0-9a-fA-F]{2}|[rnt0\\"])', one, latin).encode("latin-1")


