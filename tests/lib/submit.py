"""Mail programs of other makes that submit with a login, each as one function. What is missing skips its test.

	(host, message, to, way: starttls or tls, mechanism: PLAIN LOGIN SCRAM-SHA-256 SCRAM-SHA-256-PLUS, sender, password)
"""

import smtplib

from host import PASSWORD, PATIENCE, address
from scram import Scram
from tools import need, run

USER = "alice@example.test"


def port(host, way):
    return host.port("submissions" if way == "tls" else "submission")


def swaks(host, message, to, way, mechanism="PLAIN", sender=USER, password=PASSWORD):
    path = host.dir / "swaks.eml"
    path.write_bytes(message.removesuffix(b"\r\n").replace(b"\r\n", b"\n"))
    run([need("swaks"), "--timeout", PATIENCE, "--server", "127.0.0.1", "--port", port(host, way),
         "--from", sender, "--to", ",".join(address(user) for user in to), "--data", f"@{path}", "--suppress-data", "--helo", "client.test",
         "--auth", mechanism, "--auth-user", USER, "--auth-password", password, "--tls" if way == "starttls" else "--tlsc"])


def msmtp(host, message, to, way, mechanism="PLAIN", sender=USER, password=PASSWORD):
    run([need("msmtp"), "--host=localhost", f"--port={port(host, way)}", f"--from={sender}",
         f"--auth={mechanism.lower()}", f"--user={USER}", f"--passwordeval=echo {password}", "--file=/dev/null",
         "--set-from-header=off", "--set-date-header=off", "--set-msgid-header=off", "--tls=on",
         f"--tls-trust-file={host.certificate()}", f"--tls-starttls={'on' if way == 'starttls' else 'off'}",
         "--", *[address(user) for user in to]], message.replace(b"\r\n", b"\n"))


def curl(host, message, to, way, mechanism="PLAIN", sender=USER, password=PASSWORD):
    command = [need("curl"), "-sS", "--ipv4", "--cacert", host.certificate(), "--mail-from", sender, "-T", "-",
               "--user", f"{USER}:{password}", "--login-options", f"AUTH={mechanism}",
               f"{'smtps' if way == 'tls' else 'smtp'}://localhost:{port(host, way)}/client.test"]
    for user in to:
        command += ["--mail-rcpt", address(user)]
    if way == "starttls":
        command.append("--ssl-reqd")
    run(command, message)


def s_nail(host, message, to, way, mechanism="PLAIN", sender=USER, password=PASSWORD):
    """It makes its own header; of the message the body is used."""
    user = USER.replace("@", "%40")
    url = f"{'smtps' if way == 'tls' else 'smtp'}://{user}:{password}@localhost:{port(host, way)}"
    options = ["v15-compat=yes", f"mta={url}", f"from={sender}", f"smtp-auth={mechanism.lower()}", f"tls-ca-file={host.certificate()}",
               "tls-verify=strict", "hostname=client.test", "ttycharset=utf-8", "DEAD=/dev/null"]
    if way == "starttls":
        options.append("smtp-use-starttls")
    command = [need("s-nail"), "-:/", "-s", "Hello"]
    for option in options:
        command += ["-S", option]
    run(command + [address(user) for user in to], message.split(b"\r\n\r\n", 1)[1].replace(b"\r\n", b"\n"),
        env={"HOME": str(host.dir), "MAILRC": "/dev/null"})


def smtplib_client(host, way):
    if way == "tls":
        return smtplib.SMTP_SSL("127.0.0.1", port(host, way), timeout=PATIENCE, context=host.tls_context())
    client = smtplib.SMTP("127.0.0.1", port(host, way), timeout=PATIENCE)
    client.starttls(context=host.tls_context())
    return client


def smtplib_login(client, mechanism, user=USER, password=PASSWORD):
    client.ehlo_or_helo_if_needed()
    client.user, client.password = user, password
    if mechanism == "PLAIN":
        client.auth("PLAIN", client.auth_plain)
    elif mechanism == "LOGIN":
        client.auth("LOGIN", client.auth_login)
    else:
        scram = Scram(user, password)
        steps = []

        def answer(challenge=None):
            steps.append(challenge)
            if challenge is None:
                return scram.first().decode()
            if len(steps) == 2:
                return scram.final(challenge).decode()
            assert scram.verify(challenge), "the server did not prove that it knows the verifier"
            return ""
        client.auth(mechanism, answer)


def by_smtplib(host, message, to, way, mechanism="PLAIN", sender=USER, password=PASSWORD):
    with smtplib_client(host, way) as client:
        smtplib_login(client, mechanism, password=password)
        client.sendmail(sender, [address(user) for user in to], message)


# The mechanisms each of them has.
SUBMITTERS = {
    "swaks": (swaks, ("PLAIN", "LOGIN")),
    "msmtp": (msmtp, ("PLAIN", "LOGIN", "SCRAM-SHA-256")),
    "curl": (curl, ("PLAIN", "LOGIN")),
    "s-nail": (s_nail, ("PLAIN", "LOGIN")),
    "smtplib": (by_smtplib, ("PLAIN", "LOGIN", "SCRAM-SHA-256")),
}
