"""Other mail servers beside ours: Debian's Postfix and Dovecot with settings of our own, on loopback."""

import contextlib
import grp
import os
import pathlib
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import unittest

from host import PATIENCE, free_port, wait_for, wait_for_group
from tools import need


def need_root():
    if os.geteuid() != 0:
        raise unittest.SkipTest("Postfix and Dovecot start as root only")


def need_dovecot_2_3(program):
    said = subprocess.run([program, "--version"], capture_output=True, timeout=PATIENCE).stdout.decode()
    if not said.startswith("2.3."):
        raise unittest.SkipTest(f"the settings of these tests are Dovecot 2.3's; this is {said.strip()}")


class Dovecot:
    """
    Dovecot's LMTP and POP3 servers over Maildirs of their own; users alice, bob and carol. imap=True: its IMAP
    server, too; layout: what stands behind the path in mail_location.
    """

    def __init__(self, imap=False, layout=""):
        need_root()
        self.program = need("dovecot", "dovecot-core")
        for part in ("lmtp", "pop3", "imap") if imap else ("lmtp", "pop3"):
            if not pathlib.Path(f"/usr/lib/dovecot/{part}").exists():
                raise unittest.SkipTest(f"dovecot-{part}d is not installed")
        need_dovecot_2_3(self.program)
        self.imap_port = free_port() if imap else 0
        self.layout = layout
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="restante-dovecot-"))
        self.lmtp_port = free_port()
        self.pop3_port = free_port()
        self.process = None

    def __enter__(self):
        self.dir.chmod(0o755)
        (self.dir / "mail").mkdir()
        owner = pwd.getpwnam("nobody")
        os.chown(self.dir / "mail", owner.pw_uid, owner.pw_gid)
        (self.dir / "users").write_text("".join(
            f"{user}@example.test:{{PLAIN}}restante::::::\n" for user in ("alice", "bob", "carol")))
        (self.dir / "dovecot.conf").write_text(f"""
protocols = lmtp pop3 {"imap" if self.imap_port else ""}
base_dir = {self.dir}/run
state_dir = {self.dir}/state
log_path = {self.dir}/log
ssl = no
disable_plaintext_auth = no
mail_location = maildir:{self.dir}/mail/%u{self.layout}
first_valid_uid = 1
first_valid_gid = 1
lmtp_save_to_detail_mailbox = no
postmaster_address = postmaster@example.test
passdb {{
  driver = passwd-file
  args = {self.dir}/users
}}
userdb {{
  driver = static
  args = uid={owner.pw_uid} gid={owner.pw_gid} home={self.dir}/mail/%u
}}
service lmtp {{
  inet_listener lmtp {{
    address = 127.0.0.1
    port = {self.lmtp_port}
  }}
}}
service pop3-login {{
  inet_listener pop3 {{
    address = 127.0.0.1
    port = {self.pop3_port}
  }}
  inet_listener pop3s {{
    port = 0
  }}
}}
service imap-login {{
  inet_listener imap {{
    address = 127.0.0.1
    port = {self.imap_port}
  }}
  inet_listener imaps {{
    port = 0
  }}
}}
""")
        self.process = subprocess.Popen([self.program, "-F", "-c", str(self.dir / "dovecot.conf")],
                                        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                        stderr=subprocess.DEVNULL, start_new_session=True)
        wait_for(lambda: self.process.poll() is not None or _listens(self.lmtp_port), "Dovecot up")
        assert self.process.poll() is None, self.log()
        return self

    def stop(self):
        """Until none of its processes is left that could write to a mailbox."""
        _end(self.process)

    def __exit__(self, *trace):
        self.stop()
        shutil.rmtree(self.dir, ignore_errors=True)

    def log(self):
        with contextlib.suppress(FileNotFoundError):
            return (self.dir / "log").read_text(errors="replace")
        return ""

    def messages(self, user):
        return [file.read_bytes().replace(b"\n", b"\r\n")
                for file in (self.dir / "mail" / f"{user}@example.test").glob("*/*,S=*")]


class Postfix:
    """
    A Postfix of its own: takes mail on a loopback port and hands example.test to one transport. tls: certificate and
    key, for a second port with TLS from the first octet. settings: further lines of main.cf.
    """

    def __init__(self, transport, tls=None, settings=""):
        need_root()
        need("postfix")
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="restante-postfix-"))
        self.transport = transport
        self.settings = settings
        self.port = free_port()
        self.tls = tls
        self.tls_port = free_port() if tls else 0
        self.process = None

    def __enter__(self):
        self.dir.chmod(0o755)
        owner = pwd.getpwnam("postfix")
        for name in ("queue", "data", "conf"):
            (self.dir / name).mkdir()
        os.chown(self.dir / "data", owner.pw_uid, owner.pw_gid)
        (self.dir / "conf/main.cf").write_text(f"""
compatibility_level = 3.6
queue_directory = {self.dir}/queue
data_directory = {self.dir}/data
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
mail_owner = postfix
setgid_group = {_group("postdrop")}
myhostname = postfix.example.org
mydestination =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mynetworks = 127.0.0.0/8
smtpd_relay_restrictions = permit_mynetworks, reject
transport_maps = inline:{{ {{ example.test = {self.transport} }} }}
default_transport = error:nowhere else
lmtp_host_lookup = native
smtp_host_lookup = native
maillog_file = {self.dir}/log
maillog_file_prefixes = {self.dir}
message_size_limit = 50000000
mailbox_size_limit = 0
alias_maps =
alias_database =
local_recipient_maps =
minimal_backoff_time = 1s
queue_run_delay = 1s
{self.settings}
""" + (f"smtpd_tls_chain_files = {self.tls[1]}, {self.tls[0]}\n" if self.tls else ""))
        (self.dir / "conf/master.cf").write_text(f"""
127.0.0.1:{self.port} inet n - n - - smtpd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 1 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
lmtp unix - - n - - lmtp
error unix - - n - - error
retry unix - - n - - error
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
showq unix n - n - - showq
tlsmgr unix - - n 1000? 1 tlsmgr
postlog unix-dgram n - n - 1 postlogd
""" + (f"127.0.0.1:{self.tls_port} inet n - n - - smtpd -o smtpd_tls_wrappermode=yes\n" if self.tls else ""))
        subprocess.run(["postfix", "-c", str(self.dir / "conf"), "set-permissions"], capture_output=True)
        started = subprocess.run(["postfix", "-c", str(self.dir / "conf"), "start"], capture_output=True, timeout=PATIENCE)
        assert started.returncode == 0, started.stderr.decode()
        wait_for(lambda: _listens(self.port), "Postfix up")
        return self

    def __exit__(self, *trace):
        subprocess.run(["postfix", "-c", str(self.dir / "conf"), "stop"], capture_output=True, timeout=PATIENCE)
        shutil.rmtree(self.dir, ignore_errors=True)

    def log(self):
        with contextlib.suppress(FileNotFoundError):
            return (self.dir / "log").read_text(errors="replace")
        return ""

    def wait_until_empty(self):
        """Seen twice: a message on its way from one part of the queue to another may be missed by one look."""
        try:
            wait_for(lambda: self._queue_is_empty() and self._queue_is_empty(), "Postfix's queue empty")
        except AssertionError as error:
            raise AssertionError(f"{error}:\n{self.log()[-3000:]}") from None

    def _queue_is_empty(self):
        shown = subprocess.run(["postqueue", "-c", str(self.dir / "conf"), "-p"], capture_output=True, timeout=PATIENCE)
        return b"Mail queue is empty" in shown.stdout


def _listens(port):
    with contextlib.suppress(OSError):
        socket.create_connection(("127.0.0.1", port), 1).close()
        return True
    return False


def _group(name):
    with contextlib.suppress(KeyError):
        return grp.getgrnam(name).gr_name
    raise unittest.SkipTest(f"there is no group {name} (Debian package postfix makes it)")


def _end(process):
    """All of the process group that it leads."""
    if process is None:
        return
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(PATIENCE)
    kill_group(process)


def kill_group(process):
    """kill -9 of a process and all of the group that it leads, until they are gone with what they held."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    wait_for_group(process.pid)
