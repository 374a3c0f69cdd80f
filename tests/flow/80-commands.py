"""The command a person types: settings mistakes, users, status, reload, restart."""

import os
import pathlib
import poplib
import re
import shutil
import signal
import smtplib
import subprocess
import tempfile
import unittest

from host import PATIENCE, Host, build_dir, wait_for

ROLES = ("store", "mda", "smtp-in", "pop3d", "bridge")


class Commands(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.host = cls.enterClassContext(Host())
        cls.conf = str(cls.host.dir / "restante.conf")

    def test_mistakes_are_named(self):
        cases = (
            ('hostname = "x"\nsmtp-in {\n\tno-such = 1\n}\n', 3, "no-such"),
            ('smtp-in {\n\n\tmessage-size = "lots"\n}\n', 3, "message-size"),
            ('pop3d {\n\tcleartext-login = "sometimes"\n}\n', 0, "cleartext-login"),
            ('hostname = "unclosed\n', 0, ""),
        )
        for text, line, word in cases:
            with self.subTest(text=text):
                path = self.host.dir / "wrong.conf"
                path.write_text(text)
                done = self.host.command("check", "-c", str(path), check=False)
                said = (done.stdout + done.stderr).decode()
                self.assertEqual(done.returncode, 78, said)
                self.assertIn(f"{path}:{line}:" if line else str(path), said)
                self.assertIn(word, said)

    def test_check_follows_a_link(self):
        """The files that settings name begin where these are, as for a host that runs, not where a link to them is."""
        link = self.host.dir / "linked/restante.conf"
        link.parent.mkdir()
        link.symlink_to(self.conf)
        self.host.command("check", "-c", str(link))

    def test_demo_settings_are_right(self):
        self.host.command("check", "-c", self.conf)

    def test_users(self):
        self.host.command("user", "add", "-c", self.conf, "dora@example.test", input=b"secret word\n")
        listed = self.host.command("user", "list", "-c", self.conf).stdout.decode()
        for user in ("alice", "bob", "carol", "dora"):
            self.assertIn(f"{user}@example.test", listed)
        self.host.send(b"Subject: hi\r\n\r\nx\r\n", ("dora",))
        client = self.host.pop3("dora", password="secret word")
        self.assertEqual(client.stat()[0], 1)
        client.quit()
        self.host.command("user", "passwd", "-c", self.conf, "dora@example.test", input=b"another\n")
        with self.assertRaisesRegex(poplib.error_proto, r"\[AUTH\]"):
            self.host.pop3("dora", password="secret word")
        self.host.pop3("dora", password="another").quit()
        self.assertEqual(self.host.command("user", "add", "-c", self.conf, "dora@example.test", input=b"x\n",
                                           check=False).returncode, 73, "added twice")
        self.host.command("user", "remove", "-c", self.conf, "dora@example.test")
        with self.assertRaisesRegex(poplib.error_proto, r"\[AUTH\]"):
            self.host.pop3("dora", password="another")
        with self.assertRaises(smtplib.SMTPRecipientsRefused) as refused:
            self.host.send(b"Subject: hi\r\n\r\nx\r\n", ("dora",))
        code, words = refused.exception.recipients["dora@example.test"]
        self.assertEqual((code, words[:6]), (550, b"5.1.1 "))

    def status(self, host=None):
        """What status says: (its lines above the table, {role: processes that run}, {role: {counter: sum over them}})."""
        host = host or self.host
        head, table = host.command("status", "-c", str(host.dir / "restante.conf")).stdout.decode().split("\n\nrole ")
        running, counters = {}, {}
        for line in table.splitlines()[1:]:
            if row := re.fullmatch(r"(\S+) +\d+  (\S+) +(\d+)  (?:\d{4}-\d\d-\d\d \d\d:\d\d:\d\d|-) +\d+", line):
                role, state, pid = row.groups()
                counters.setdefault(role, {})
                running[role] = sorted([*running.get(role, []), *([int(pid)] if state == "running" else [])])
            else:
                for name, number in re.findall(r"(\S+)=(\d+)", line):
                    counters[role][name] = counters[role].get(name, 0) + int(number)
        return head, running, counters

    def test_status(self):
        head = self.status()[0]
        self.assertTrue(head.startswith(f"host, process {self.host.process.pid}, since 2"), head)
        listeners = dict(line.split() for line in head.splitlines()[2:])
        self.assertEqual(listeners, {name: f"127.0.0.1:{port}" for name, port in self.host.ports.items()})

    def test_status_whatever_the_settings(self):
        """A mistake in the file since the start is told, and the host is shown all the same."""
        right = (self.host.dir / "restante.conf").read_text()
        path = self.host.dir / "edited.conf"
        path.write_text(right + "\npop3d {\n\tno-such = 1\n}\n")
        done = self.host.command("status", "-c", str(path))
        self.assertIn(f"host, process {self.host.process.pid}, since 2", done.stdout.decode())
        self.assertRegex(done.stderr.decode(), rf"(?s){path}:\d+: .*no-such.*the settings it read before these mistakes\n$")
        path.write_text(right.replace(str(self.host.dir), str(self.host.dir / "elsewhere")) + "\nno-such = 1\n")
        self.assertEqual(self.host.command("status", "-c", str(path), check=False).returncode, 78)
        path.unlink()
        done = self.host.command("status", "-c", str(path), check=False)
        self.assertEqual((done.returncode, done.stdout), (78, b""))

    def add_bridge_account(self, name, conf):
        return subprocess.Popen([build_dir() / "restante", "bridge", "add", name, "host=imap.example.net", "user=u", "enabled=no",
                                 "to=alice@example.test", "-c", conf], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def test_bridge_add_while_another_asks(self):
        """What was written while somebody thought about the password stays."""
        slow = self.add_bridge_account("slow", self.conf)
        doing = pathlib.Path(f"/proc/{slow.pid}/syscall")
        wait_for(lambda: doing.read_text().startswith("0 0x0 "), "the question for the password")
        quick = self.add_bridge_account("quick", self.conf)
        self.assertIn(b"the host that runs was told", quick.communicate(b"quick\n", timeout=PATIENCE)[0])
        slow.communicate(b"slow\n", timeout=PATIENCE)
        accounts = (self.host.dir / "bridge.conf").read_text()
        for name in ("quick", "slow"):
            self.assertIn(f"account-{name} {{", accounts)
            self.assertEqual((self.host.dir / f"{name}.password").read_text(), f"{name}\n")
            self.host.command("bridge", "remove", name, "-c", self.conf)
        self.host.command("status", "-c", self.conf)

    def test_bridge_add_leaves_other_commands_alone(self):
        """A command that has the store to itself, as a rebuild, would die of the signal that a host reads its settings at."""
        hold = "import fcntl, os, sys\nlock = open(sys.argv[1], 'w')\nfcntl.flock(lock, fcntl.LOCK_EX)\n" \
               "print(os.getpid(), file=lock, flush=True)\nprint('held', flush=True)\nsys.stdin.read()"
        with tempfile.TemporaryDirectory() as directory:
            state = pathlib.Path(directory)
            (state / "run").mkdir()
            (state / "restante.conf").write_text(f'state = "{state}"\n')
            with subprocess.Popen(["/usr/bin/python3", "-c", hold, state / "run/lock"], stdin=subprocess.PIPE,
                                  stdout=subprocess.PIPE) as holder:
                self.assertEqual(holder.stdout.readline(), b"held\n")
                adding = self.add_bridge_account("one", str(state / "restante.conf"))
                said, _ = adding.communicate(b"secret\n", timeout=PATIENCE)
                holder.stdin.close()
                self.assertEqual((adding.returncode, holder.wait(PATIENCE)), (0, 0))
            self.assertNotIn(b"was told", said)

    def test_bridge_list_whatever_the_settings(self):
        """The same for what the bridge does, also when it is the account that is wrong."""
        account = "bridge {\n}\naccount-home {\n\tprotocol = imap\n}\n"
        path = self.host.dir / "edited.conf"
        path.write_text((self.host.dir / "restante.conf").read_text() + account)
        done = self.host.command("bridge", "list", "-c", str(path))
        self.assertRegex(done.stdout.decode(), r"^home +imap .*: not running\n$")
        self.assertRegex(done.stderr.decode(), r"(?s)host.*the settings it read before these mistakes\n$")
        for verb in (("test", "home"), ("remove", "home")):
            done = self.host.command("bridge", *verb, "-c", str(path), check=False)
            self.assertEqual((done.returncode, done.stdout), (78, b""), verb)
        path.unlink()
        done = self.host.command("bridge", "list", "-c", str(path), check=False)
        self.assertEqual((done.returncode, done.stdout), (78, b""))

    def test_status_of_processes(self):
        def as_it_is():
            pids = {role: self.host.pids(role) for role in ROLES}
            return all(pids.values()) and self.status()[1] == pids
        wait_for(as_it_is, "status tells the processes that there are")
        before = self.host.pids("mda")
        os.kill(before[0], signal.SIGKILL)
        wait_for(lambda: self.host.pids("mda") not in ([], before), "the mda anew")
        wait_for(as_it_is, "status tells the new process")

    def test_status_counts(self):
        host = self.enterContext(Host())
        for _ in range(3):
            host.send(b"Subject: counted\r\n\r\nx\r\n", ("carol",))

        def accepted():
            counters = self.status(host)[2]
            return [counters[role].get("messages", 0) for role in ("smtp-in", "mda", "store")]
        # A role that is busy for a second is shown with what it counted before.
        wait_for(lambda: accepted() == [3, 3, 3], "three of each")

    def test_reload_keeps_sessions(self):
        client = self.host.pop3("bob")
        bridge = wait_for(lambda: self.host.pids("bridge"), "the bridge")
        before = {role: self.host.pids(role) for role in ("store", "mda", "smtp-in", "pop3d")}
        mark = len(self.host.log())
        self.host.process.send_signal(signal.SIGHUP)
        wait_for(lambda: "reload" in self.host.log()[mark:], "a log line about the reload")
        wait_for(lambda: self.host.pids("bridge") not in ([], bridge), "the bridge anew")
        client.stat()
        client.quit()
        self.assertEqual(before, {role: self.host.pids(role) for role in before})

    def test_reloads_do_not_hold_up_the_bridge(self):
        """It ends at each reload to be started again: no death, without a pause, however many there are."""
        with Host() as host:  # of its own: it has ended for no other reload
            for _ in range(6):
                before = host.pids("bridge")
                host.process.send_signal(signal.SIGHUP)
                wait_for(lambda: host.pids("bridge") not in ([], before), "the bridge anew")
            ends = re.findall(r"event=(child-\w+).* child=bridge .* again-ms=(\d+)", host.log())
            self.assertEqual(ends, [("child-ended", "0")] * 6)
            row = re.search(r"^bridge .* (\d+)$", host.command("status", "-c", str(host.dir / "restante.conf")).stdout.decode(), re.M)
            self.assertEqual(row[1], "0", row)

    def test_output_that_is_cut_off(self):
        """A full disk is told; a reader that has gone is not."""
        for words in (("check", "--sample"), ("user", "list", "-c", self.conf), ("status", "-c", self.conf), ("help", "run"),
                      ("--help",), ("--version",)):
            with open("/dev/full", "wb") as full:
                done = subprocess.run([build_dir() / "restante", *words], stdout=full, stderr=subprocess.PIPE, timeout=PATIENCE)
            self.assertEqual(done.returncode, 74, words)
            self.assertRegex(done.stderr, rb"^restante: standard output: (No space left on device|Input/output error)\n$")
        ours, its = os.pipe()
        os.close(ours)
        done = subprocess.run([build_dir() / "restante", "user", "list", "-c", self.conf], stdout=its, stderr=subprocess.PIPE,
                              timeout=PATIENCE)
        os.close(its)
        self.assertEqual((done.returncode, done.stderr), (0, b""))

    def test_what_is_wrong_with_a_user(self):
        for code, sentence, words, said in ((64, "--hash goes with", ("list", "--hash"), b""),
                                            (64, "--hash goes with", ("remove", "alice@example.test", "--hash"), b""),
                                            (65, "511 octets", ("passwd", "alice@example.test"), b"x" * 600),
                                            (64, "not a quota", ("quota", "alice@example.test", "5x"), b"")):
            done = self.host.command("user", *words, "-c", self.conf, input=said, check=False)
            self.assertEqual(done.returncode, code, words)
            self.assertIn(sentence, done.stderr.decode())
        self.host.command("user", "quota", "carol@example.test", "5m", "-c", self.conf)
        self.assertIn("/5242880 octets", self.host.command("user", "list", "-c", self.conf).stdout.decode())
        self.host.command("user", "quota", "carol@example.test", "default", "-c", self.conf)

    def test_version(self):
        said = self.host.command("version").stdout
        self.assertRegex(said, rb"^restante \d\S*\n$")
        self.assertEqual(self.host.command("--version").stdout, said)

    def test_for_somebody_else(self):
        """Who may not ask is told who may, whatever is asked."""
        if os.geteuid() != 0:
            self.skipTest("only root can be somebody else")
        with tempfile.TemporaryDirectory() as directory:
            program = pathlib.Path(directory, "restante")
            shutil.copy(build_dir() / "restante", program)
            (program.parent / "libexec").mkdir()
            shutil.copy(build_dir() / "libexec/store", program.parent / "libexec")
            conf = program.parent / "restante.conf"
            conf.write_text(f'state = "{self.host.dir}"\n')
            os.chmod(directory, 0o755)
            os.chmod(self.host.dir, 0o755)
            for code, *words in ((69, "status"), (73, "user", "list"), (73, "alias", "list"), (73, "store", "verify"),
                                 (66, "trace", "alice@example.test")):
                done = subprocess.run([program, *words, "-c", conf], capture_output=True, timeout=PATIENCE, user=65534,
                                      group=65534, extra_groups=[])
                self.assertEqual((done.returncode, done.stdout), (code, b""), words)
                self.assertRegex(done.stderr, rb"^restante: \S+: Permission denied; be root, or the user who runs the host\n$")

    def test_help_of_every_program(self):
        for program in ("restante", "libexec/store", "libexec/mda", "libexec/smtp-in", "libexec/pop3d",
                        "libexec/bridge"):
            done = subprocess.run([str(build_dir() / program), "--help"], capture_output=True, timeout=PATIENCE)
            self.assertEqual(done.returncode, 0, program)
            self.assertIn(os.path.basename(program).encode(), done.stdout, program)

    def test_what_delivers_by_hand(self):
        """Of the roles the mda alone is a command, too, and says how."""
        for words, code in ((("--help",), 0), (("x",), 64), (("-f", "bob@example.test"), 64), (("-d", "a", "-c", "b", "-s", "c"), 64)):
            done = subprocess.run([build_dir() / "libexec/mda", *words], capture_output=True, timeout=PATIENCE)
            self.assertEqual(done.returncode, code, words)
            self.assertTrue((done.stderr if code else done.stdout).startswith(b"usage: mda -d ADDRESS "), done)
        done = subprocess.run([build_dir() / "libexec/mda", "-d", "alice@example.test", "-s", self.host.dir / "no-such"],
                              input=b"x\n", capture_output=True, timeout=PATIENCE)
        self.assertEqual(done.returncode, 75)
        self.assertIn(b"/no-such: No such file or directory; does the host run?", done.stderr)

    def test_help_of_every_command(self):
        """By --help and by help, within a terminal; and it names each verb that a wrong one is answered with."""
        overview = self.host.command("--help").stdout.decode()
        names = [line.split()[0] for line in overview.splitlines() if line.startswith("  ")]
        self.assertIn("store", names)
        for name in names:
            said = self.host.command(name, "--help").stdout.decode()
            self.assertEqual(said, self.host.command("help", name).stdout.decode())
            usage, _, rest = said.partition("\n")
            self.assertTrue(usage.startswith(f"usage: restante {name} "), usage)
            self.assertLessEqual(max(map(len, rest.splitlines())), 96, said)
            wrong = self.host.command(name, "no-such-word", "-c", self.conf, check=False)
            self.assertIn(wrong.returncode, (64, 1) if name == "trace" else (64,), name)
            verbs = re.search(rf"say {name} ([a-z, ]+);", wrong.stderr.decode())
            for verb in re.findall(r"[a-z]+", verbs[1]) if verbs else ():
                self.assertTrue(verb == "or" or re.search(rf"\b{verb}\b", usage), f"{verb} in {usage}")


class Again(unittest.TestCase):
    def test_next_run_finds_the_mail(self):
        with Host() as host:
            host.send(b"Subject: kept\r\n\r\nx\r\n", ("alice",))
            before = host.pop3("alice")
            uidl = before.uidl()[1]
            before.quit()
            host.stop()
            host.start()
            after = host.pop3("alice")
            self.assertEqual(after.uidl()[1], uidl)
            after.quit()

    def test_nothing_open(self):
        """Whoever starts a program may have closed what is always open: none of its files gets such a number."""
        with Host() as host:
            host.stop()
            host.start(closed=(0, 2))
            for number in (0, 2):
                self.assertEqual(os.readlink(f"/proc/{host.process.pid}/fd/{number}"), "/dev/null")
            host.send(b"Subject: x\r\n\r\nx\r\n", ("alice",))
            mail = subprocess.run([build_dir() / "libexec/mda", "-d", "alice@example.test", "-c", host.dir / "restante.conf"],
                                  preexec_fn=lambda: os.close(0), stderr=subprocess.PIPE, timeout=PATIENCE)
            self.assertEqual(mail.returncode, 74, mail.stderr)
            self.assertEqual(len(host.messages("alice")), 1)

    def test_told_while_it_starts(self):
        """As soon as the host can be found it may be told to read its settings again."""
        with Host() as host:
            for _ in range(5):
                host.stop()
                host.start(wait=False)
                while not os.path.exists(host.socket("admin")):
                    self.assertIsNone(host.process.poll(), host.log()[-2000:])
                host.process.send_signal(signal.SIGHUP)
                wait_for(lambda: "Ctrl-C" in host.banner() or host.process.poll() is not None, "the banner")
                self.assertIsNone(host.process.poll(), host.log()[-2000:])

    def test_printed_commands_work(self):
        with Host() as host:
            commands = [line.strip() for line in host.banner().splitlines()
                        if line.strip().startswith(("printf", "curl"))]
            self.assertEqual(len(commands), 2, host.banner())
            for command in commands:
                done = subprocess.run(["bash", "-c", command], capture_output=True, timeout=PATIENCE)
                self.assertEqual(done.returncode, 0, f"{command}\n{done.stderr.decode()}")
            self.assertIn(b"Subject:", done.stdout)
