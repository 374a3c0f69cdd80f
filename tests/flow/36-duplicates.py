"""Duplicates by Message-ID, where they are switched on: one copy in each mailbox, and nothing lost."""

import unittest

from host import Host, wait_for


def message(body=b"body", id=b"<1@example.org>"):
    return b"Message-ID: " + id + b"\r\nFrom: s@example.org\r\nSubject: twice\r\n\r\n" + body + b"\r\n"


class Duplicates(unittest.TestCase):
    def counts(self):
        return [len(self.host.messages(user)) for user in ("alice", "bob")]

    def test_one_copy(self):
        with Host(set={"mda.duplicates": "1h"}) as self.host:
            self.host.send(message(), ("alice", "bob"))
            self.host.send(message(), ("alice",))
            self.host.send(message(), ("bob", "alice"))
            self.assertEqual(self.counts(), [1, 1])
            self.host.send(message(b"another body"), ("alice",))
            self.host.send(message(id=b"<2@example.org>"), ("bob",))
            self.assertEqual(self.counts(), [2, 2])
            # It counts as the mail does: after a crash, too.
            self.host.kill()
            self.host.start()
            self.host.send(message(), ("alice", "bob"))
            self.assertEqual(self.counts(), [2, 2])
            conf = str(self.host.dir / "restante.conf")
            wait_for(lambda: b"had it before in " in self.host.command("trace", "bob@example.test", "-c", conf).stdout,
                     "what the log says of it")

    def test_off_unless_wanted(self):
        with Host() as self.host:
            self.host.send(message())
            self.host.send(message())
            self.assertEqual(self.counts(), [2, 0])


if __name__ == "__main__":
    unittest.main()
