"""One message to three local users is one body on disk."""

import unittest

from host import Host


class OneBody(unittest.TestCase):
    @staticmethod
    def links(host, path):
        """Of the mailboxes. A large body has one more, in spool/, until the next checkpoint."""
        inode = path.stat()
        spooled = sum(one.stat().st_ino == inode.st_ino for one in (host.dir / "store/spool").iterdir())
        return inode.st_nlink - spooled

    def three(self, octets):
        with Host(set={"store.checkpoint-seconds": "1h"}) as host:
            host.send(octets, ("alice", "bob", "carol"))
            files = [path for path in (host.dir / "store").rglob("*,S=*") if path.parent.name in ("new", "cur")]
            self.assertEqual(len(files), 3)
            self.assertEqual(len({path.stat().st_ino for path in files}), 1, "one inode")
            self.assertEqual(self.links(host, files[0]), 3)
            pulled = {user: host.messages(user) for user in ("alice", "bob", "carol")}
            self.assertEqual({len(found) for found in pulled.values()}, {1})
            for found in pulled.values():
                self.assertTrue(found[0].endswith(octets))
            host.empty("bob")
            self.assertEqual(self.links(host, next(path for path in files if path.exists())), 2)
            self.assertEqual(len(host.messages("alice")), 1)
            self.assertEqual(host.messages("bob"), [])

    def test_small(self):
        self.three(b"Subject: three\r\n\r\nbody\r\n")

    def test_beyond_the_inline_limit(self):
        self.three(b"Subject: three\r\n\r\n" + (b"x" * 70 + b"\r\n") * 20000)
