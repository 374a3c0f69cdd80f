"""Messages of every kind that mail hosts get wrong, made here: (name, octets with CRLF line ends)."""

import base64
import random

HEAD = b"From: Ann <ann@example.org>\r\nTo: alice@example.test\r\nSubject: %s\r\n" \
       b"Date: Sun, 22 Nov 2026 10:00:00 +0000\r\nMessage-ID: <%s@example.org>\r\n"


def _plain(name, body, subject=None, extra=b""):
    return name, HEAD % (subject or name.encode(), name.encode()) + extra + b"\r\n" + body


def _attachment(name, octets, seed):
    """A MIME message with `octets` of noise attached in base64."""
    noise = random.Random(seed).randbytes(octets)
    coded = base64.b64encode(noise)
    lines = b"\r\n".join(coded[at:at + 76] for at in range(0, len(coded), 76))
    return _plain(name, b"--edge\r\nContent-Type: text/plain\r\n\r\nsee below\r\n--edge\r\n"
                  b"Content-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\n\r\n"
                  + lines + b"\r\n--edge--\r\n",
                  extra=b"MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=edge\r\n")


def small():
    """Everything but the large attachments."""
    made = [
        _plain("plain", b"Hello.\r\n"),
        _plain("two-lines", b"one\r\ntwo\r\n"),
        _plain("empty-body", b""),
        _plain("one-empty-line", b"\r\n"),
        _plain("many-empty-lines", b"\r\n" * 500),
        _plain("ends-with-empty-lines", b"text\r\n\r\n\r\n"),
        _plain("one-dot", b".\r\n"),
        _plain("two-dots", b"..\r\n"),
        _plain("dot-lines", b".\r\n..\r\n...\r\n.a\r\n..b\r\n. \r\n"),
        _plain("dot-first-and-last", b".first\r\nmiddle\r\n.last\r\n"),
        _plain("only-dots", b"".join(b"." * n + b"\r\n" for n in range(1, 60))),
        _plain("dot-after-empty-line", b"\r\n.\r\n\r\n.\r\n"),
        _plain("quit-in-body", b"QUIT\r\nRSET\r\nDATA\r\nMAIL FROM:<x@example.org>\r\n"),
        _plain("from-lines", b"From here on\r\n>From there\r\nFrom x@y Mon\r\n"),
        _plain("line-of-998", b"x" * 998 + b"\r\n"),
        _plain("lines-of-998", (b"y" * 998 + b"\r\n") * 100),
        _plain("line-of-998-dots", b"." * 998 + b"\r\n"),
        _plain("line-lengths", b"".join(b"z" * n + b"\r\n" for n in range(0, 998, 13))),
        _plain("8-bit-latin1", bytes(range(0xa0, 0x100)) + b"\r\n"),
        _plain("8-bit-utf8", "Grüße, привет, 你好, 🙂\r\n".encode()),
        _plain("8-bit-all", b"\r\n".join(bytes([octet]) * 20 for octet in range(0x80, 0x100)) + b"\r\n"),
        _plain("control-octets", bytes(o for o in range(1, 32) if o not in (10, 13)) + b"\x7f\r\n"),
        _plain("tabs-and-blanks", b"\t tab\r\n  blanks  \r\n \r\n\t\r\ntrailing \t \r\n"),
        _plain("utf8-headers", b"body\r\n", subject="Grüße aus Köln ✉".encode()),
        _plain("encoded-words", b"body\r\n", subject=b"=?UTF-8?B?R3LDvMOfZQ==?= =?iso-8859-1?Q?K=F6ln?="),
        _plain("folded-subject", b"body\r\n", subject=b"a subject\r\n that goes on\r\n\tand on"),
        _plain("hundreds-of-headers", b"body\r\n",
               extra=b"".join(b"X-Field-%03d: value %d\r\n" % (n, n) for n in range(400))),
        _plain("long-header", b"body\r\n", extra=b"References: " + b"\r\n ".join(
            b"<%032d@example.org>" % n for n in range(200)) + b"\r\n"),
        _plain("header-line-of-998", b"body\r\n", extra=b"X-Long: " + b"h" * 990 + b"\r\n"),
        _plain("empty-header-values", b"body\r\n", extra=b"X-Empty:\r\nX-Blank: \r\n"),
        _plain("other-received", b"body\r\n", extra=b"".join(
            b"Received: from a%d.example by b%d.example; Sun, 22 Nov 2026 0%d:00:00 +0000\r\n" % (n, n, n)
            for n in range(9))),
        _plain("header-only-fields", b"", extra=b"X-A: 1\r\nX-B: 2\r\n"),
        _plain("body-like-header", b"Subject: not this one\r\nX: y\r\n\r\nbody\r\n"),
        _plain("alternative", b"--b\r\nContent-Type: text/plain\r\n\r\nplain\r\n--b\r\n"
               b"Content-Type: text/html\r\n\r\n<p>html</p>\r\n--b--\r\n",
               extra=b"MIME-Version: 1.0\r\nContent-Type: multipart/alternative; boundary=b\r\n"),
        _plain("nested-message", b"--m\r\nContent-Type: message/rfc822\r\n\r\n"
               + HEAD % (b"inner", b"inner") + b"\r\ninner body\r\n--m--\r\n",
               extra=b"MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=m\r\n"),
        _plain("quoted-printable", b"caf=C3=A9 =\r\nsoft\r\n=2E\r\n",
               extra=b"Content-Transfer-Encoding: quoted-printable\r\n"),
        _plain("uuencode", b"begin 644 x\r\n#86)C\r\n`\r\nend\r\n"),
        _plain("piece-border", b"p" * 900 + (b"\r\n" + b"q" * 62) * 1021 + b"\r\n"),
        _plain("many-short-lines", b"a\r\n" * 30000),
        _plain("size-4096", b"s" * 72 + (b"\r\n" + b"t" * 72) * 52 + b"\r\n"),
        _attachment("attachment-1k", 1000, 1),
        _attachment("attachment-100k", 100_000, 2),
        _attachment("attachment-300k", 300_000, 3),
        _attachment("attachment-2m", 2_000_000, 4),
    ]
    return made


def large():
    return [_attachment("attachment-10m", 10 << 20, 5), _attachment("attachment-25m", 25 << 20, 6)]


def varied():
    return small() + large()
