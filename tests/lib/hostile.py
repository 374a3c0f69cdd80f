"""A remote server that does what no honest one would: each connection is a function of a socket."""

import contextlib
import socket
import threading


class Hostile:
    """serve(connection) runs for every client, in a thread; what it raises when the client leaves is nothing."""

    def __init__(self, serve):
        self.serve = serve
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.heard = bytearray()  # what clients said, all together

    def __enter__(self):
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *trace):
        self.listener.close()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self.listener.accept()
                threading.Thread(target=self._run, args=(connection,), daemon=True).start()

    def _run(self, connection):
        connection.settimeout(60)
        with contextlib.suppress(OSError, ValueError), connection:
            self.serve(Client(connection, self.heard))


class Client:
    """The client that a hostile server has before it."""

    def __init__(self, connection, heard):
        self.connection, self.heard, self.buffer = connection, heard, b""

    def say(self, octets):
        self.connection.sendall(octets)

    def hear(self):
        """One line, without its end."""
        while b"\n" not in self.buffer:
            more = self.connection.recv(4096)
            if not more:
                raise OSError("the client left")
            self.heard += more
            self.buffer += more
        line, self.buffer = self.buffer.split(b"\n", 1)
        return line.rstrip(b"\r")

    def flood(self, octets):
        """The same again until the client leaves."""
        while True:
            self.connection.sendall(octets)


def imap(answers, greeting=b"* OK ready\r\n"):
    """An IMAP server: answers maps a command's name to what is said before the tagged OK, or to a function of
    (client, tag)."""
    usual = {b"CAPABILITY": b"* CAPABILITY IMAP4rev1\r\n", b"LIST": b'* LIST () "/" INBOX\r\n',
             b"EXAMINE": b"* 1 EXISTS\r\n* OK [UIDVALIDITY 1] .\r\n* OK [UIDNEXT 2] .\r\n", b"SEARCH": b"* SEARCH 1\r\n"}

    def serve(client):
        client.say(greeting)
        while True:
            tag, *words = client.hear().split(b" ")
            name = words[1] if words[0] == b"UID" else words[0]
            answer = answers.get(name, usual.get(name, b""))
            if callable(answer):
                answer(client, tag)
            else:
                client.say(answer + tag + b" OK done\r\n")
    return serve


def pop3(answers, greeting=b"+OK ready\r\n"):
    """A POP3 server: answers maps a command's name to the whole answer, or to a function of the client."""
    usual = {b"CAPA": b"+OK\r\nUSER\r\nUIDL\r\n.\r\n", b"LIST": b"+OK\r\n1 10\r\n.\r\n", b"UIDL": b"+OK\r\n1 a\r\n.\r\n"}

    def serve(client):
        client.say(greeting)
        while True:
            name = client.hear().split(b" ")[0]
            answer = answers.get(name, usual.get(name, b"+OK\r\n"))
            if callable(answer):
                answer(client)
            else:
                client.say(answer)
    return serve
