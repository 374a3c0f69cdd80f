"""A client's side of SCRAM-SHA-256 and -PLUS (RFC 5802, RFC 7677), written from the RFCs."""

import base64
import hashlib
import hmac
import os


class Scram:
    """first() and final() give what to send, verify() checks the server's last word; all as bytes."""

    def __init__(self, user, password, binding=None, claim=b"n", name=b"tls-unique"):
        self.user, self.password = user.encode(), password.encode()
        self.header = (b"p=" + name if binding is not None else claim) + b",,"
        self.binding = binding or b""
        self.nonce = base64.b64encode(os.urandom(18))

    def first(self):
        name = self.user.replace(b"=", b"=3D").replace(b",", b"=2C")
        self.bare = b"n=" + name + b",r=" + self.nonce
        return self.header + self.bare

    def final(self, server_first):
        self.fields = dict(part.split(b"=", 1) for part in server_first.split(b","))
        assert self.fields[b"r"].startswith(self.nonce) and self.fields[b"r"] != self.nonce
        salted = hashlib.pbkdf2_hmac("sha256", self.password, base64.b64decode(self.fields[b"s"]),
                                     int(self.fields[b"i"]))
        without = b"c=" + base64.b64encode(self.header + self.binding) + b",r=" + self.fields[b"r"]
        message = self.bare + b"," + server_first + b"," + without
        client = hmac.digest(salted, b"Client Key", "sha256")
        signature = hmac.digest(hashlib.sha256(client).digest(), message, "sha256")
        self.server = hmac.digest(hmac.digest(salted, b"Server Key", "sha256"), message, "sha256")
        proof = bytes(a ^ b for a, b in zip(client, signature))
        return without + b",p=" + base64.b64encode(proof)

    def verify(self, server_final):
        return server_final == b"v=" + base64.b64encode(self.server)
