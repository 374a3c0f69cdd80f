"""The bridge pulls from Debian's Dovecot: every way in, folders, flags, dates, deletion, IDLE, TLS that is not to be trusted."""

import collections
import contextlib
import hashlib
import os
import pathlib
import poplib
import random
import re
import shutil
import signal
import time
import unittest

from host import PASSWORD, Host, build_dir, wait_for
from peers import kill_group
from remote import (Remote, add_account, bridge, bridge_counters, bridge_family, bridge_processes, descriptors, make_certificate,
                    stored, stored_count)

MESSAGES = int(os.environ.get("RESTANTE_BRIDGE_MESSAGES", "0"))
WAYS = ("pop3", "pop3s", "stls", "imap", "imaps", "starttls")


def make_messages(count, seed=1, size=1500):
    """Different ones: dots at line starts, 8-bit text, long lines, empty bodies, trace fields of another host."""
    random.seed(seed)
    made = []
    for number in range(count):
        body = "".join(random.choice(("", ".", "..", "text ")) + "x" * random.randrange(90) + "\n"
                       for _ in range(random.randrange(size // 45)))
        head = f"Return-Path: <list-{number}@example.org>\nDelivered-To: alice@example.test\nReceived: from there\n"
        head *= number % 3 == 0
        made.append(f"{head}From: a@example.org\nSubject: {seed}-{number}\n\nGr\u00fc\u00dfe\n{body}".encode())
    return made


def digests(messages):
    return collections.Counter(hashlib.sha256(message).hexdigest() for message in messages)


class Bridge(unittest.TestCase):
    def assert_same(self, host, sent, user="alice", folder="INBOX"):
        here = [octets for octets, _, _ in stored(host, user, folder)]
        self.assertEqual(digests(here), digests(sent), f"{len(here)} here, {len(sent)} there")

    def test_every_way_once(self):
        messages = make_messages(300)
        with Remote() as remote, Host() as host:
            remote.put("alice", messages)
            for way in WAYS:
                with self.subTest(way=way):
                    host.empty("alice")
                    add_account(host, remote, way, way, enabled="no")
                    self.assertIn(b"300 (", bridge(host, "test", way).stdout)
                    self.assertIn(b"300 pulled", bridge(host, "run", way).stdout)
                    self.assertIn(b"0 pulled", bridge(host, "run", way).stdout)
                    self.assert_same(host, messages)

    @unittest.skipUnless(MESSAGES, "RESTANTE_BRIDGE_MESSAGES=5000 for the long proof")
    def test_many_by_every_way(self):
        """Over three folders by IMAP, in INBOX by POP3: all of it once, flags and dates along."""
        folders = {"INBOX": make_messages(MESSAGES - 2 * (MESSAGES // 4), 1), "Work": make_messages(MESSAGES // 4, 2),
                   "Work/Deep": make_messages(MESSAGES // 4, 3)}
        everything = [message for messages in folders.values() for message in messages]
        with Remote() as remote, Host() as host:
            remote.put("alice", everything)
            for folder, messages in folders.items():
                remote.put("bob", messages, folder=folder, flags="S", date=1_500_000_000)
            for way in WAYS:
                with self.subTest(way=way):
                    pop3 = way in ("pop3", "pop3s", "stls")
                    host.empty("alice")
                    for name in folders:
                        shutil.rmtree(host.dir / "store/mail/example.test/alice" / ("." + name.replace("/", ".")), ignore_errors=True)
                    add_account(host, remote, way, way, user="alice" if pop3 else "bob", enabled="no", folders="*")
                    begun = time.monotonic()
                    self.assertIn(f"{MESSAGES} pulled".encode(), bridge(host, "run", way).stdout)
                    print(f"{way}: {MESSAGES} messages in {time.monotonic() - begun:.1f} s")
                    self.assertIn(b"0 pulled", bridge(host, "run", way).stdout)
                    for folder, messages in {"INBOX": everything}.items() if pop3 else folders.items():
                        self.assert_same(host, messages, folder=folder)
                        if not pop3:
                            self.assertEqual({(flags, when) for _, flags, when in stored(host, folder=folder)},
                                             {("S", 1_500_000_000)})

    def test_folders_flags_and_dates(self):
        date = 1_500_000_000
        messages = {name: make_messages(20, seed) for seed, name in enumerate(
            ("INBOX", "Sent/Gesch&AOQ-ft", "Work", "Work/Deep", "Spam"), 10)}
        with Remote() as remote, Host() as host:
            remote.put("alice", messages["INBOX"][:10], flags="FS", date=date)
            remote.put("alice", messages["INBOX"][10:], flags="R", date=date + 1)
            for name in list(messages)[1:]:
                remote.put("alice", messages[name], folder=name)
            add_account(host, remote, "home", "imaps", enabled="no", folders="*", skip="Spam", map=["Work=Arbeit"])
            self.assertIn(b"80 pulled", bridge(host, "run", "home").stdout)
            here = stored(host)
            self.assertEqual(collections.Counter(flags for _, flags, _ in here), {"FS": 10, "R": 10})
            self.assertEqual(collections.Counter(when for _, _, when in here), {date: 10, date + 1: 10})
            self.assert_same(host, messages["INBOX"])
            names = {path.name for path in (host.dir / "store/mail/example.test/alice").iterdir() if path.name.startswith(".")}
            self.assertTrue({".Arbeit", ".Arbeit.Deep"} <= names, names)
            self.assertNotIn(".Spam", names)
            self.assert_same(host, messages["Work/Deep"], folder="Arbeit/Deep")

    def test_deleted_there_only_when_here(self):
        messages = make_messages(40)
        with Remote() as remote, Host() as host:
            for way in ("pop3", "imap"):
                with self.subTest(way=way):
                    host.empty("alice")
                    remote.put("alice", messages)
                    add_account(host, remote, way, way, enabled="no", keep="no")
                    self.assertIn(b"40 deleted", bridge(host, "run", way).stdout)
                    self.assertEqual(remote.left("alice"), 0)
                    self.assert_same(host, messages)

    def test_old_mail_goes(self):
        messages = make_messages(20)
        with Remote() as remote, Host() as host:
            remote.put("alice", messages[:12], date=1_600_000_000)
            remote.put("alice", messages[12:])
            add_account(host, remote, "home", "imap", enabled="no", delete_after="30d")
            bridge(host, "run", "home")
            self.assertEqual(remote.left("alice"), 8)
            self.assert_same(host, messages)

    def test_large_message_in_bounded_memory(self):
        large = b"Subject: large\n\n" + (b"z" * 75 + b"\n") * 500_000
        with Remote() as remote, Host(set={"mda.message-size": "64M"}) as host:
            remote.put("alice", [large])
            for way in ("imap", "pop3"):
                with self.subTest(way=way):
                    host.empty("alice")
                    add_account(host, remote, way, way, enabled="no")
                    self.assertIn(b"1 pulled", bridge(host, "run", way, "-o", "bridge.memory=64M").stdout)
                    self.assert_same(host, [large])

    def test_no_room_here(self):
        """Over quota: it stays there, and the next try is not made at once, as each costs what was fetched."""
        messages = make_messages(5)
        with Remote() as remote, Host(set={"store.quota-messages": "3"}) as host:
            remote.put("alice", messages)
            add_account(host, remote, "home", "pop3", every="1s", keep="no")
            told = r"event=account-failed account=home .* fault=full .*over its quota.* again-ms=(\d+)\n"
            self.assertEqual(len(wait_for(lambda: re.search(told, host.log()), "the error")[1]), 5)
            self.assertEqual((stored_count(host), remote.left("alice")), (3, 5))

    def test_too_large_stays(self):
        with Remote() as remote, Host() as host:
            small = make_messages(3)
            remote.put("alice", [*small, b"Subject: large\n\n" + b"y\n" * 200_000])
            for way in ("imap", "pop3"):
                with self.subTest(way=way):
                    host.empty("alice")
                    add_account(host, remote, way, way, enabled="no", keep="no")
                    self.assertIn(b"larger than this host takes",
                                  bridge(host, "run", way, "-o", "bridge.message-size=100K").stdout)
                    self.assertEqual(remote.left("alice"), 1)
                    self.assert_same(host, small)
                    remote.put("alice", small)

    def test_told_by_idle(self):
        messages = make_messages(30)
        with Remote() as remote, Host() as host:
            remote.put("alice", messages[:10])
            add_account(host, remote, "home", "imaps", every="1h")
            wait_for(lambda: bridge_counters(host).get("home.state") == "waiting", "IDLE")
            self.assert_same(host, messages[:10])
            waits = []
            for number in range(10, 30):
                remote.put("alice", [messages[number]])
                begun = time.monotonic()
                wait_for(lambda: stored_count(host) == number + 1, "the message by IDLE")
                waits.append(time.monotonic() - begun)
            print(f"IDLE: median {sorted(waits)[10] * 1000:.0f} ms, longest {max(waits) * 1000:.0f} ms to the mailbox")
            self.assert_same(host, messages)

    def test_polled(self):
        messages = make_messages(20)
        with Remote() as remote, Host() as host:
            add_account(host, remote, "home", "pop3s", every="1s")
            for number in range(0, 20, 10):
                remote.put("alice", messages[number:number + 10])
                wait_for(lambda: len(stored(host)) == number + 10, "mail by polling")
            self.assert_same(host, messages)

    def test_folder_made_anew(self):
        """Another UIDVALIDITY is another folder: all is pulled again, and that is said."""
        messages = make_messages(5)
        with Remote() as remote, Host() as host:
            remote.put("alice", messages)
            add_account(host, remote, "home", "imap", idle="no", every="1s")
            wait_for(lambda: "event=account-pulled account=home pulled=5 " in host.log(), "the first pull")
            remote.stop()
            validity = int(re.match(r"3 V(\d+) ", (remote.maildir("alice") / "dovecot-uidlist").read_text())[1])
            wait_for(lambda: time.time() >= validity + 1, "a second of which Dovecot makes another UIDVALIDITY")
            for file in remote.maildir("alice").glob("dovecot*"):
                file.unlink()
            remote.start()
            wait_for(lambda: len(stored(host)) == 10, "the second pull")
            wait_for(lambda: "made folder INBOX anew" in host.log(), "a line that says so")

    def test_whom_it_does_not_trust(self):
        with Remote() as remote, Host() as host:
            remote.put("alice", make_messages(2))
            other, _ = make_certificate(host.dir, "other.example")
            add_account(host, remote, "stranger", "imaps", ca_file=other, enabled="no")
            add_account(host, remote, "wrong-name", "imaps", host="127.0.0.1", enabled="no")
            add_account(host, remote, "wrong-pin", "imaps", pin="00" * 32, enabled="no")
            add_account(host, remote, "stls-stranger", "stls", ca_file=other, enabled="no")
            for name, why in (("stranger", b"not to be trusted"), ("wrong-name", b"IP address mismatch"),
                              ("wrong-pin", b"another key than the pinned one"), ("stls-stranger", b"not to be trusted")):
                with self.subTest(name=name):
                    done = bridge(host, "run", name, check=False)
                    self.assertEqual(done.returncode, 76, done.stdout)
                    self.assertIn(why, done.stdout)
            key = bridge(host, "run", "wrong-pin", check=False).stdout.split(b"its own is ")[1][:64].decode()
            add_account(host, remote, "pinned", "imaps", host="127.0.0.1", pin=key, enabled="no")
            self.assertIn(b"2 pulled", bridge(host, "run", "pinned").stdout)

    def test_expired_certificate(self):
        with Remote(expired=True) as remote, Host() as host:
            add_account(host, remote, "late", "imaps", enabled="no")
            done = bridge(host, "run", "late", check=False)
            self.assertEqual(done.returncode, 76, done.stdout)
            self.assertIn(b"expired", done.stdout)

    def test_refused_login_and_others_unharmed(self):
        with Remote() as remote, Host() as host:
            messages = make_messages(5)
            remote.put("alice", messages)
            add_account(host, remote, "bad", "imaps", user="nobody")
            add_account(host, remote, "good", "imaps")
            wait_for(lambda: len(stored(host)) == 5, "the good account's mail")
            wait_for(lambda: bridge_counters(host).get("bad.state") == "failed", "the bad account's failure")

            def told():
                listed = host.command("bridge", "list", "-c", str(host.dir / "restante.conf")).stdout
                return b"refuses" in listed and b"next try" in listed
            wait_for(told, "both in the list")

    def test_kept_settings(self):
        with Remote() as remote, Host() as host:
            add_account(host, remote, "one", "imaps", folders=["INBOX", 'Odd "name"'], enabled="no")
            add_account(host, remote, "two", "pop3s", enabled="no")
            path = host.dir / "bridge.conf"
            self.assertEqual(path.stat().st_mode & 0o777, 0o600)
            self.assertEqual((host.dir / "one.password").stat().st_mode & 0o777, 0o600)
            self.assertNotIn(f'"{PASSWORD}"', path.read_text())
            host.command("bridge", "remove", "one", "-c", str(host.dir / "restante.conf"))
            self.assertNotIn("account-one", path.read_text())
            self.assertIn("account-two", path.read_text())
            self.assertFalse((host.dir / "one.password").exists())
            self.assertTrue((host.dir / "two.password").exists())
            self.assertEqual(bridge(host, "run", "one", check=False).returncode, 64)

    def test_refused_settings_leave_nothing(self):
        """Also not the password, which is not even asked for; and the file a person writes is held to the same rules."""
        with Host() as host:
            conf = str(host.dir / "restante.conf")
            for host_is in ("127.0.0.1:993", "imap.example.net:993", "[::1]", "imaps://imap.example.net"):
                done = host.command("bridge", "add", "one", f"host={host_is}", "user=u", "to=alice@example.test",
                                    "-c", conf, input=b"", check=False)
                self.assertEqual(done.returncode, 64, done.stderr)
                self.assertIn(f'host "{host_is}" is not a name or an address'.encode(), done.stderr)
            self.assertEqual([path.name for path in host.dir.iterdir() if "bridge" in path.name or "one" in path.name], [])
            (host.dir / "bridge.conf").write_text("account-one {\n\tuser = u\n\thost = \"127.0.0.1:993\"\n"
                                                  "\tto = alice@example.test\n\tpassword-file = p\n}\n")
            done = host.command("check", "-c", conf, check=False)
            self.assertEqual(done.returncode, 78)
            self.assertIn(f"{host.dir}/bridge.conf:3: host \"127.0.0.1:993\" is not".encode(), done.stderr)

    def test_password_that_others_use(self):
        """The file stays as long as another account names it."""
        with Remote() as remote, Host() as host:
            remote.put("alice", make_messages(1))
            add_account(host, remote, "one", "imaps", enabled="no")
            add_account(host, remote, "two", "imaps", password_file="one.password", enabled="no")
            host.command("bridge", "remove", "one", "-c", str(host.dir / "restante.conf"))
            self.assertIn(b"1 pulled", bridge(host, "run", "two").stdout)
            host.command("bridge", "remove", "two", "-c", str(host.dir / "restante.conf"))
            self.assertTrue((host.dir / "one.password").exists())

    def test_password_by_command(self):
        with Remote() as remote, Host() as host:
            remote.put("alice", make_messages(1))
            add_account(host, remote, "home", "imaps", password_command=f"/bin/echo {PASSWORD}", enabled="no")
            self.assertIn(b"1 pulled", bridge(host, "run", "home").stdout)
            add_account(host, remote, "away", "imaps", password_command="/bin/false", enabled="no")
            self.assertIn(b"ends with an error", bridge(host, "run", "away", check=False).stdout)


class Killed(unittest.TestCase):
    """Whoever dies: every message here once. RESTANTE_BRIDGE_ROUNDS=100 for the long proof."""

    ROUNDS = int(os.environ.get("RESTANTE_BRIDGE_ROUNDS", "6"))

    def strike(self, host, remote, who):
        if who == "remote":
            kill_group(remote.process)
            remote.start()
            return
        if who == "bridge":  # any one of its processes
            running = wait_for(lambda: bridge_processes(host), "the bridge, which may just be started again")
            with contextlib.suppress(ProcessLookupError):
                os.kill(random.choice(running), signal.SIGKILL)
            return
        struck = host.pids(who)
        for pid in struck:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        wait_for(lambda: not set(struck) & set(host.pids(who)), "its end")

    def all_waiting(self, host, *names):
        """(launcher, processes of these accounts), once each of them waits for mail."""
        def whole():
            family, told = bridge_family(host), bridge_counters(host)
            return family and len(family[1]) == len(names) and all(told.get(f"{name}.state") == "waiting" for name in names) and family
        return wait_for(whole, f"{names} wait")

    def test_launcher_killed_while_an_account_waits(self):
        """Its death is seen, whoever of its children lives on: the one that waits, and the one that is to be started."""
        messages = make_messages(6)
        with Remote() as remote, Host() as host:
            remote.put("alice", messages[:1])
            add_account(host, remote, "waits", "imaps", every="1h")
            add_account(host, remote, "polls", "pop3", user="bob", to="bob", every="1s")
            killed = []
            for number in range(1, 6):
                wait_for(lambda: bridge_counters(host).get("waits.state") == "waiting", "IDLE")
                wait_for(lambda: stored_count(host) == number, "the mail before")

                def another():
                    family = bridge_family(host)
                    return family and family[0] not in killed and family[0]
                killed.append(wait_for(another, "the launcher"))
                os.kill(killed[-1], signal.SIGKILL)
                for user in ("alice", "bob"):
                    remote.put(user, messages[number:number + 1])
                wait_for(lambda: stored_count(host) == number + 1 and stored_count(host, "bob") == number, "mail of both")
            wait_for(lambda: host.log().count("event=launcher-gone") >= 5, "a line about each")
            self.assertEqual(host.log().count("event=launcher-gone"), 5)

    def test_account_killed(self):
        """Each account's process by itself: the others are not touched, and it is started again within seconds."""
        messages = make_messages(6)
        with Remote() as remote, Host() as host:
            add_account(host, remote, "first", "imaps", every="1h")
            add_account(host, remote, "second", "imap", user="bob", to="bob", every="1h")
            self.all_waiting(host, "first", "second")
            role, before = host.pids("bridge"), 0
            for number in range(6):
                _, accounts = self.all_waiting(host, "first", "second")
                os.kill(accounts[number % 2], signal.SIGKILL)
                for user in ("alice", "bob"):
                    remote.put(user, messages[number:number + 1])
                wait_for(lambda: stored_count(host) == stored_count(host, "bob") == number + 1, "mail of both")
                wait_for(lambda: host.log().count("its process died") > before, "a line that says so")
                before = host.log().count("its process died")
            self.assertEqual(host.pids("bridge"), role)

    def test_failures_behind_pulls_do_not_add_up(self):
        """A remote that goes away now and then, always after all was pulled, is not left alone for longer and longer."""
        with Remote() as remote, Host() as host:
            messages, marks = make_messages(3), []
            add_account(host, remote, "home", "imap", every="1h")
            for number in range(3):
                wait_for(lambda: stored_count(host) == number, "the mail before")
                # Both from one answer: a role that is busy is shown as it was before.
                wait_for(lambda: (lambda told: told.get("home.state") == "waiting" and told.get("home.pulled", "0") == f"{number}")(
                    bridge_counters(host)), "it waits for more")
                marks.append(len(host.log()))
                kill_group(remote.process)
                remote.start()
                remote.put("alice", messages[number:number + 1])
            wait_for(lambda: stored_count(host) == 3, "all of it")
            # The first one of each time: more can follow until the remote is up again.
            pauses = [int(re.search(r"event=account-failed .*again-ms=(\d+)", host.log()[mark:])[1]) for mark in marks]
            self.assertLessEqual(max(pauses), 12000, pauses)

    def test_what_an_account_has_open(self):
        """Its own connections, and nothing by which it could speak for the launcher or into the log."""
        with Remote() as remote, Host() as host:
            remote.put("alice", make_messages(1))
            add_account(host, remote, "home", "imaps", every="1h")
            launcher, (account,) = self.all_waiting(host, "home")
            mine, its = descriptors(account), descriptors(launcher)
            self.assertEqual(sorted(its), [0, 1, 2, 3])
            self.assertFalse({name for name in mine.values() if name.startswith("socket:")} & set(its.values()))
            self.assertFalse([name for fd, name in mine.items() if fd > 2 and not name.startswith("socket:")], mine)
            limits = pathlib.Path(f"/proc/{account}/limits").read_text()
            self.assertRegex(limits, r"Max core file size +0 +0 ")
            if build_dir().name != "sanitize":
                self.assertRegex(limits, rf"Max address space +{256 << 20} +{256 << 20} ")

    @staticmethod
    def is_served(host):
        with contextlib.suppress(poplib.error_proto, OSError):
            host.pop3("carol").quit()
            return True
        return False

    def test_kill_rounds(self):
        random.seed(7)
        victims = ("bridge", "mda", "store", "remote")
        with Remote() as remote, Host() as host:
            add_account(host, remote, "i", "imap", user="alice", to="alice", keep="no", every="1s", idle="no")
            add_account(host, remote, "p", "pop3", user="bob", to="bob", keep="no", every="1s")
            add_account(host, remote, "k", "imaps", user="carol", to="carol", every="1s")
            for count in range(1, self.ROUNDS + 1):
                for user in ("alice", "bob", "carol"):
                    remote.put(user, make_messages(60, seed=count))
                have = random.randrange(60 * count)
                wait_for(lambda: stored_count(host) >= min(have, 60 * (count - 1) + 20), f"round {count}")
                self.strike(host, remote, victims[count % len(victims)])
            sent = [message for count in range(1, self.ROUNDS + 1) for message in make_messages(60, seed=count)]
            # A store that was killed may have to take back what it had not answered; then that comes once more.
            wait_for(lambda: self.is_served(host), "the store")
            for user in ("alice", "bob", "carol"):
                wait_for(lambda: stored_count(host, user) >= len(sent), f"all of {user}'s mail")
            for user in ("alice", "bob"):
                wait_for(lambda: remote.left(user) == 0, "deletion there")
            for user in ("alice", "bob", "carol"):
                here = [octets for octets, _, _ in stored(host, user)]
                self.assertEqual(digests(here), digests(sent), user)
            self.assertEqual(remote.left("carol"), len(sent))


if __name__ == "__main__":
    unittest.main()
