"""LMTP at the seam: smtp-in feeds Dovecot, and Postfix feeds our mda."""

import smtplib
import unittest

import messages
from host import PATIENCE, Host, without_trace
from peers import Dovecot, Postfix, need_root


class Handover(unittest.TestCase):
    def test_smtp_in_to_dovecot(self):
        with Dovecot() as dovecot, Host(set={"smtp-in.hand-over": f"inet:127.0.0.1:{dovecot.lmtp_port}"}) as host:
            pushed = [row for row in messages.small() if row[0] != "other-received"]  # two layers are stripped
            for _, octets in pushed:
                host.send(octets, ("alice",))
            host.send(pushed[0][1], ("bob", "carol"))
            got = {without_trace(without_trace(octets)) for octets in dovecot.messages("alice")}
            for name, octets in pushed:
                self.assertIn(octets, got, f"{name}; Dovecot has {len(got)}")
            self.assertEqual(len(dovecot.messages("bob")), 1)
            self.assertEqual(len(dovecot.messages("carol")), 1)
            with self.assertRaises(smtplib.SMTPRecipientsRefused) as refused:
                host.send(pushed[0][1], ("nobody",))
            self.assertEqual(list(refused.exception.recipients.values())[0][0] // 100, 5)

    def postfix_to(self, transport, host):
        pushed = [row for row in messages.small() if b"\0" not in row[1]]
        with Postfix(transport) as postfix:
            with smtplib.SMTP("127.0.0.1", postfix.port, timeout=PATIENCE) as client:
                for _, octets in pushed:
                    client.sendmail("sender@example.org", ["alice@example.test", "bob@example.test"], octets,
                                    ["BODY=8BITMIME"])
            postfix.wait_until_empty()
            self.assertNotIn("status=bounced", postfix.log())
        for user in ("alice", "bob"):
            got = host.messages(user)
            self.assertEqual(len(got), len(pushed))
            for name, octets in pushed:
                body = octets.split(b"\r\n\r\n", 1)[1]
                self.assertTrue(any(one.endswith(b"\r\n\r\n" + body) for one in got), name)

    def test_postfix_to_mda_unix(self):
        need_root()
        with Host() as host:
            host.dir.chmod(0o755)
            self.postfix_to(f"lmtp:unix:{host.socket('lmtp')}", host)

    def test_postfix_to_mda_tcp(self):
        need_root()
        with Host(set={"mda.listen": "127.0.0.1:0"}) as host:
            self.postfix_to(f"lmtp:inet:127.0.0.1:{host.port('lmtp')}", host)
