"""A remote mail server to pull from: Debian's Dovecot with POP3 and IMAP, in the clear and by TLS, on loopback."""

import contextlib
import os
import pathlib
import pwd
import shutil
import subprocess
import tempfile

from host import DOMAIN, PASSWORD, free_port, wait_for
from peers import _end, _listens, need_dovecot_2_3, need_root
from tools import need

HOSTNAME = "localhost"


def make_certificate(directory, name, expired=False):
    """A self-signed certificate, one that is of the past if asked for."""
    chain, key, request = (directory / f"{name}.{end}" for end in ("pem", "key", "csr"))
    subprocess.run([need("openssl"), "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                    "-subj", f"/CN={name}", "-keyout", str(key), "-out", str(request)], check=True, capture_output=True)
    (directory / "serial").write_text("01")
    (directory / "issued").write_text("")
    (directory / "ca").write_text(f"[ca]\ndefault_ca=d\n[d]\ndatabase={directory}/issued\nnew_certs_dir={directory}\n"
                                  f"serial={directory}/serial\ndefault_md=sha256\npolicy=p\nx509_extensions=e\n"
                                  f"[p]\ncommonName=supplied\n[e]\nsubjectAltName=DNS:{name}\n")
    dates = ["-startdate", "20200101000000Z", "-enddate", "20200201000000Z" if expired else "20991231000000Z"]
    subprocess.run([need("openssl"), "ca", "-batch", "-selfsign", "-config", str(directory / "ca"), "-keyfile", str(key),
                    "-in", str(request), "-out", str(chain), "-notext", *dates], check=True, capture_output=True)
    return chain, key


class Remote:
    """The remote accounts are USER@example.test with the demo's password, so that a Maildir can be filled by hand."""

    PORTS = ("pop3", "pop3s", "imap", "imaps")

    def __init__(self, users=("alice", "bob", "carol"), expired=False):
        need_root()
        self.program = need("dovecot", "dovecot-core")
        need_dovecot_2_3(self.program)
        for part in ("imap", "pop3"):
            need(part, f"dovecot-{part}d")
        self.users, self.expired = users, expired
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="restante-remote-"))
        self.ports = {name: free_port() for name in self.PORTS}
        self.process = None

    def __enter__(self):
        self.dir.chmod(0o755)
        (self.dir / "mail").mkdir()
        self.owner = pwd.getpwnam("nobody")
        os.chown(self.dir / "mail", self.owner.pw_uid, self.owner.pw_gid)
        self.chain, self.key = make_certificate(self.dir, HOSTNAME, self.expired)
        (self.dir / "users").write_text("".join(
            f"{user}@{DOMAIN}:{{PLAIN}}{PASSWORD}::::::\n" for user in self.users))
        listeners = "".join(f"""
service {protocol}-login {{
  inet_listener {protocol} {{
    address = 127.0.0.1
    port = {self.ports[protocol]}
  }}
  inet_listener {protocol}s {{
    address = 127.0.0.1
    port = {self.ports[protocol + "s"]}
    ssl = yes
  }}
}}
""" for protocol in ("pop3", "imap"))
        (self.dir / "dovecot.conf").write_text(f"""
protocols = pop3 imap
base_dir = {self.dir}/run
state_dir = {self.dir}/state
log_path = {self.dir}/log
ssl = yes
ssl_cert = <{self.chain}
ssl_key = <{self.key}
disable_plaintext_auth = no
mail_location = maildir:{self.dir}/mail/%u
mail_max_userip_connections = 1000
first_valid_uid = 1
first_valid_gid = 1
passdb {{
  driver = passwd-file
  args = {self.dir}/users
}}
userdb {{
  driver = static
  args = uid={self.owner.pw_uid} gid={self.owner.pw_gid} home={self.dir}/mail/%u
}}
{listeners}
""")
        self.start()
        return self

    def start(self):
        self.process = subprocess.Popen([self.program, "-F", "-c", str(self.dir / "dovecot.conf")],
                                        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                        stderr=subprocess.DEVNULL, start_new_session=True)
        wait_for(lambda: self.process.poll() is not None or all(map(_listens, self.ports.values())),
                 "Dovecot up")
        assert self.process.poll() is None, self.log()

    def stop(self):
        _end(self.process)

    def __exit__(self, *trace):
        self.stop()
        shutil.rmtree(self.dir, ignore_errors=True)

    def log(self):
        with contextlib.suppress(FileNotFoundError):
            return (self.dir / "log").read_text(errors="replace")
        return ""

    def maildir(self, user, folder="INBOX"):
        path = self.dir / "mail" / f"{user}@{DOMAIN}"
        if folder != "INBOX":
            path = path / ("." + folder.replace("/", "."))
        for part in ("", "cur", "new", "tmp"):
            made = path / part
            if not made.is_dir():
                made.mkdir(parents=True)
                for directory in (made, *made.parents):
                    if directory == self.dir / "mail":
                        break
                    os.chown(directory, self.owner.pw_uid, self.owner.pw_gid)
        return path

    def put(self, user, messages, folder="INBOX", flags="", date=None):
        """Messages (bytes, LF or CRLF) into the remote mailbox behind Dovecot's back, as a delivery agent would."""
        path = self.maildir(user, folder)
        for message in messages:
            self.count = getattr(self, "count", 0) + 1
            name = f"{1_700_000_000 + self.count}.M{self.count}P{os.getpid()}.remote"
            file = path / "tmp" / name
            file.write_bytes(message.replace(b"\r\n", b"\n"))
            os.chown(file, self.owner.pw_uid, self.owner.pw_gid)
            if date is not None:
                os.utime(file, (date, date))
            file.rename(path / (f"cur/{name}:2,{flags}" if flags else f"new/{name}"))

    def left(self, user, folder="INBOX"):
        """How many messages are there, also while they go from new/ to cur/."""
        path = self.maildir(user, folder)
        return len({name.split(":")[0] for part in ("new", "cur") for name in os.listdir(path / part)})


def add_account(local, remote, name, way, user="alice", to="alice", **settings):
    """`restante bridge add`: way is pop3, pop3s, stls, imap, imaps or starttls."""
    protocol = "pop3" if way in ("pop3", "pop3s", "stls") else "imap"
    tls = {"pop3": "none", "imap": "none", "stls": "starttls", "starttls": "starttls"}.get(way, "implicit")
    port = remote.ports[protocol + ("s" if tls == "implicit" else "")]
    words = {"protocol": protocol, "tls": tls, "host": HOSTNAME, "port": port, "user": f"{user}@{DOMAIN}",
             "to": f"{to}@{DOMAIN}", "ca-file": remote.chain, **{key.replace("_", "-"): value for key, value in settings.items()}}
    arguments = [f"{key}={one}" for key, value in words.items() for one in (value if isinstance(value, list) else [value])]
    local.command("bridge", "add", name, *arguments, "-c", str(local.dir / "restante.conf"), input=PASSWORD.encode() + b"\n")


def bridge(local, verb, name, *arguments, check=True):
    """`restante bridge test|run NAME`: what it printed."""
    return local.command("bridge", verb, name, "-c", str(local.dir / "restante.conf"), *arguments, check=check)


def bridge_counters(host):
    """What `restante status` tells of accounts: {"home.pulled": "12"}."""
    found = {}
    for line in host.status().splitlines():
        for word in line.split():
            if "=" in word and "." in word.split("=")[0]:
                found[word.split("=")[0]] = word.split("=", 1)[1]
    return found


def stored(host, user="alice", folder="INBOX"):
    """Messages of a mailbox here, as [(octets without our trace fields, flags, date)]."""
    path = host.dir / "store" / "mail" / DOMAIN / user
    if folder != "INBOX":
        path = path / ("." + folder.replace("/", "."))
    found = []
    for part in ("cur", "new"):
        for file in (path / part).iterdir() if (path / part).is_dir() else ():
            octets = file.read_bytes()
            for field in (b"Return-Path:", b"Delivered-To:"):
                assert octets.startswith(field), octets[:200]
                octets = octets[octets.index(b"\n") + 1:]
            flags = file.name.split(":2,", 1)[1] if ":2," in file.name else ""
            found.append((octets, flags, int(file.name.split(".")[0])))
    return found


def stored_count(host, user="alice"):
    """How many messages INBOX here has, without a look into them."""
    path = host.dir / "store" / "mail" / DOMAIN / user
    return sum(len(os.listdir(path / part)) for part in ("cur", "new"))


def bridge_processes(host):
    """The bridge, its launcher and accounts' processes: all that run its program in the host's process group."""
    found = []
    for entry in pathlib.Path("/proc").iterdir():
        with contextlib.suppress(OSError, ValueError, IndexError):
            program = (entry / "cmdline").read_bytes().split(b"\0")[0]
            if entry.name.isdigit() and program.endswith(b"/libexec/bridge") and os.getpgid(int(entry.name)) == host.process.pid:
                found.append(int(entry.name))
    return sorted(found)


def bridge_family(host):
    """(launcher, [accounts' processes]) of the role that runs, or None while it is not whole."""
    running = host.pids("bridge")
    parents = {}
    for pid in bridge_processes(host):
        with contextlib.suppress(OSError):
            stat = pathlib.Path(f"/proc/{pid}/stat").read_text()
            parents[pid] = int(stat[stat.rindex(")") + 2:].split()[1])
    launchers = [pid for pid, parent in parents.items() if parent in running]
    if len(launchers) != 1:
        return None
    return launchers[0], sorted(pid for pid, parent in parents.items() if parent == launchers[0])


def descriptors(pid):
    """What a process has open, as "socket:[NUMBER]" and the like."""
    found = {}
    for entry in pathlib.Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            found[int(entry.name)] = os.readlink(entry)
    return found
