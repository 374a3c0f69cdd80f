"""Mail programs of other makes, each as one function. A missing program skips its test and says so."""

import os
import shutil
import subprocess
import unittest

from host import PASSWORD, PATIENCE, address, build_dir

NOBODY = 65534


def need(program, package=None):
    path = shutil.which(program, path=os.environ["PATH"] + ":/usr/sbin:/sbin:/usr/lib/dovecot")
    if path is None:
        raise unittest.SkipTest(f"{program} is not installed (Debian package {package or program})")
    return path


def run(command, input=None, timeout=PATIENCE, env=None, codes=(0,)):
    done = subprocess.run([str(part) for part in command], input=input, capture_output=True, timeout=timeout,
                          env=dict(os.environ, **(env or {})))
    if done.returncode not in codes:
        raise AssertionError(f"{command[0]}: exit {done.returncode}\n{done.stdout.decode(errors='replace')[-3000:]}"
                             f"\n{done.stderr.decode(errors='replace')[-3000:]}")
    return done.stdout


# ---- push: (host, message with CRLF, recipients, way: plain, starttls, tls) ----

def push_curl(host, message, to, way, sender="sender@example.org"):
    scheme = "smtps" if way == "tls" else "smtp"
    command = [need("curl"), "-sS", "--cacert", host.certificate(), "--mail-from", sender,
               f"{scheme}://localhost:{host.port('smtps' if way == 'tls' else 'smtp')}/client.test", "-T", "-",
               "--ipv4"]
    for user in to:
        command += ["--mail-rcpt", address(user)]
    if way == "starttls":
        command.append("--ssl-reqd")
    run(command, message)


def push_swaks(host, message, to, way, sender="sender@example.org"):
    path = host.dir / "swaks.eml"
    # swaks adds a line end of its own before the final dot.
    path.write_bytes(message.removesuffix(b"\r\n").replace(b"\r\n", b"\n"))
    command = [need("swaks"), "--timeout", PATIENCE, "--server", "127.0.0.1",
               "--port", host.port("smtps" if way == "tls" else "smtp"),
               "--from", sender, "--to", ",".join(address(user) for user in to), "--data", f"@{path}",
               "--suppress-data", "--helo", "client.test"]
    if way != "plain":
        command.append({"starttls": "--tls", "tls": "--tlsc"}[way])
    run(command)


def push_msmtp(host, message, to, way, sender="sender@example.org"):
    command = [need("msmtp"), "--host=localhost", f"--port={host.port('smtps' if way == 'tls' else 'smtp')}",
               f"--from={sender}", "--auth=off", "--file=/dev/null", "--set-from-header=off", "--set-date-header=off", "--set-msgid-header=off"]
    if way == "plain":
        command.append("--tls=off")
    else:
        command += ["--tls=on", f"--tls-trust-file={host.certificate()}",
                    f"--tls-starttls={'on' if way == 'starttls' else 'off'}"]
    run(command + ["--", *[address(user) for user in to]], message.replace(b"\r\n", b"\n"))


def push_smtplib(host, message, to, way, sender="sender@example.org"):
    with host.smtp({"plain": None}.get(way, way)) as client:
        client.sendmail(sender, [address(user) for user in to], message)


def push_etpan(host, message, to, way, sender="sender@example.org"):
    run([build_dir() / "clients/etpan", "smtp", "127.0.0.1", host.port("smtps" if way == "tls" else "smtp"), way,
         sender, *[address(user) for user in to]], message.removesuffix(b"\r\n"),  # it adds one
        env={"ASAN_OPTIONS": "detect_leaks=0"})


def push_s_nail(host, message, to, way, sender="sender@example.org"):
    """It makes its own header; of the message the body is used."""
    options = ["v15-compat=yes", f"mta={'smtps' if way == 'tls' else 'smtp'}://localhost:{host.port('smtps' if way == 'tls' else 'smtp')}",
               f"from={sender}", "smtp-auth=none", f"tls-ca-file={host.certificate()}", "tls-verify=strict",
               "hostname=client.test", "ttycharset=utf-8", "DEAD=/dev/null"]
    if way == "starttls":
        options.append("smtp-use-starttls")
    command = [need("s-nail"), "-:/", "-s", "Hello"]
    for option in options:
        command += ["-S", option]
    run(command + [address(user) for user in to], message.split(b"\r\n\r\n", 1)[1].replace(b"\r\n", b"\n"),
        env={"HOME": str(host.dir), "MAILRC": "/dev/null"})


PUSHERS = {"curl": push_curl, "swaks": push_swaks, "msmtp": push_msmtp, "smtplib": push_smtplib, "etpan": push_etpan}


# ---- pull: every message of the user, as octets with CRLF line ends (way: plain, stls, tls) ----

def pull_curl(host, user, way):
    port = host.port("pop3s" if way == "tls" else "pop3")
    base = [need("curl"), "-sS", "--ipv4", "--cacert", host.certificate(), "-u", f"{address(user)}:{PASSWORD}"]
    if way == "stls":
        base.append("--ssl-reqd")
    url = f"{'pop3s' if way == 'tls' else 'pop3'}://localhost:{port}/"
    count = len(run(base + [url]).split(b"\r\n")) - 1
    return [run(base + [f"{url}{number + 1}"]) for number in range(count)]


def pull_poplib(host, user, way):
    client = host.pop3(user, {"plain": None}.get(way, way))
    messages = [b"\r\n".join(client.retr(number + 1)[1]) + b"\r\n" for number in range(client.stat()[0])]
    client.quit()
    return messages


def _maildir(path):
    for part in ("cur", "new", "tmp"):
        (path / part).mkdir(parents=True, exist_ok=True)
    return path


def _maildir_messages(path):
    files = [file for part in ("new", "cur") for file in (path / part).iterdir()]
    return [b"\r\n".join(file.read_bytes().split(b"\n")) for file in sorted(files, key=lambda file: file.stat().st_ino)]


def pull_mpop(host, user, way, keep=True, only_new=False):
    """What this call and earlier ones of the same user and way have pulled."""
    into = _maildir(host.dir / f"mpop-{user}-{way}")
    command = [need("mpop"), "--file=/dev/null", "--host=localhost", f"--user={address(user)}", f"--keep={'on' if keep else 'off'}",
               f"--only-new={'on' if only_new else 'off'}",
               f"--port={host.port('pop3s' if way == 'tls' else 'pop3')}", "--auth=user", f"--delivery=maildir,{into}",
               f"--passwordeval=echo {PASSWORD}", "--received-header=off", f"--uidls-file={into}/uidls", "--quiet"]
    if way == "plain":
        command.append("--tls=off")
    else:
        command += ["--tls=on", f"--tls-trust-file={host.certificate()}",
                    f"--tls-starttls={'on' if way == 'stls' else 'off'}"]
    run(command)
    return _maildir_messages(into)


def pull_fetchmail(host, user, way, server="", options="keep fetchall"):
    """
    fetchmail hands each message to a program of ours that writes it to a file. What this call and earlier ones of
    the same user and way have pulled.
    """
    home = host.dir / f"fetchmail-{user}-{way}"
    into = home / "into"
    home.mkdir(mode=0o700, exist_ok=True)
    into.mkdir(exist_ok=True)
    taker = home / "take"
    taker.write_text(f"#!/bin/sh\nexec cat > \"$(mktemp {into}/m.XXXXXXXX)\"\n")
    taker.chmod(0o755)
    ssl = {"plain": "sslproto ''", "stls": "sslproto 'TLS1.2+'", "tls": "ssl"}[way]
    trust = "" if way == "plain" else f"sslcertfile {host.certificate()} sslcertck"
    settings = home / "rc"
    settings.write_text(f"poll localhost protocol pop3 {server} port {host.port('pop3s' if way == 'tls' else 'pop3')} "
                        f"auth password user '{address(user)}' password '{PASSWORD}' {ssl} {trust} "
                        f"{options} no rewrite mda '{taker}'\n")
    settings.chmod(0o600)
    run([need("fetchmail"), "-f", settings, "--nosyslog", "--invisible", "--pidfile", home / "pid"],
        env={"FETCHMAILHOME": str(home), "HOME": str(home)}, codes=(0, 1))  # 1: there was no mail
    files = sorted(into.iterdir(), key=lambda file: file.stat().st_ino)
    return [b"\r\n".join(file.read_bytes().replace(b"\r\n", b"\n").split(b"\n")) for file in files]


def pull_getmail(host, user, way, read_all=True, delete=False):
    """What this call and earlier ones of the same user and way have pulled."""
    home = host.dir / f"getmail-{user}-{way}"
    into = _maildir(home / "Maildir")
    kind = "SimplePOP3SSLRetriever" if way == "tls" else "SimplePOP3Retriever"
    if way == "stls":
        raise unittest.SkipTest("getmail6 has no STLS")
    trust = f"ca_certs = {host.certificate()}\n" if way == "tls" else ""
    (home / "getmailrc").write_text(
        f"[retriever]\ntype = {kind}\nserver = localhost\nport = {host.port('pop3s' if way == 'tls' else 'pop3')}\n"
        f"username = {address(user)}\npassword = {PASSWORD}\n{trust}"
        f"[destination]\ntype = Maildir\npath = {into}/\n"
        "[options]\ndelivered_to = false\nreceived = false\nverbose = 0\n"
        f"read_all = {str(read_all).lower()}\ndelete = {str(delete).lower()}\n")
    (home / "getmailrc").chmod(0o600)
    command = [need("getmail", "getmail6"), f"--getmaildir={home}", "--rcfile=getmailrc"]
    if os.geteuid() == 0:  # getmail does not deliver as root
        for path in [home, *home.rglob("*")]:
            os.chown(path, NOBODY, NOBODY)
        host.dir.chmod(0o755)
        command = [need("setpriv", "util-linux"), f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", *command]
    run(command, env={"HOME": str(home)})
    return _maildir_messages(into)


def pull_etpan(host, user, way):
    base = [build_dir() / "clients/etpan", "pop3", "127.0.0.1", host.port("pop3s" if way == "tls" else "pop3"), way,
            address(user), PASSWORD]
    env = {"ASAN_OPTIONS": "detect_leaks=0"}
    count = len(run(base + ["list"], env=env).splitlines())
    return [run(base + ["retr", number + 1], env=env) for number in range(count)]


PULLERS = {"curl": pull_curl, "poplib": pull_poplib, "mpop": pull_mpop, "fetchmail": pull_fetchmail,
           "getmail": pull_getmail, "etpan": pull_etpan}
