#include "pop3d/settings.h"

#include <stdio.h>
#include <string.h>

#include "base/net.h"

#define AT(field) offsetof(struct pop3d_settings, field)

static const struct settings_item items[] = {
	{ "listen", SETTINGS_LIST, "*:110", 0, 128, AT(listen),
		"Addresses for POP3 in the clear, which STLS can turn into TLS: ADDRESS:PORT, "
		"[IPV6]:PORT or *:PORT." },
	{ "listen-tls", SETTINGS_LIST, "*:995", 0, 128, AT(listen_tls),
		"Addresses for POP3 over TLS from the first octet." },
	{ "workers", SETTINGS_NUMBER, "0", 0, 64, AT(workers),
		"Processes that serve clients; 0 is one per core." },
	{ "clients", SETTINGS_NUMBER, "10000", 1, 1000000, AT(clients),
		"Sessions that one worker serves at once; further clients wait to be accepted." },
	{ "idle-timeout", SETTINGS_SECONDS, "10m", 1, 86400, AT(idle_seconds),
		"A session without a command for so long is closed and deletes nothing. RFC 1939 "
		"wants ten minutes "
		"or more." },
	{ "send-timeout", SETTINGS_SECONDS, "5m", 1, 86400, AT(send_seconds),
		"A client that takes nothing of a reply for so long is closed." },
	{ "login-failures", SETTINGS_NUMBER, "3", 1, 100, AT(login_failures),
		"Wrong logins after which the connection is closed." },
	{ "junk-commands", SETTINGS_NUMBER, "20", 1, 10000, AT(junk_commands),
		"Commands in error after which the connection is closed." },
	{ "login-delay", SETTINGS_SECONDS, "0", 0, 86400, AT(login_delay),
		"Time that has to lie between two logins of a user (LOGIN-DELAY); 0 is none." },
	{ "expire-days", SETTINGS_NUMBER, "0", 0, 36500, AT(expire_days),
		"Messages that have been here for more than so many days are deleted when their "
		"user "
		"says QUIT (EXPIRE); 0 is never." },
	{ "clients-per-address", SETTINGS_NUMBER, "50", 0, 1000000, AT(clients_per_address),
		"Sessions at once of one client address (IPv6: /64), at all workers; 0 is no "
		"limit. "
		"A user has one session at a time in any case." },
	{ "limits-loopback", SETTINGS_BOOL, "no", 0, 0, AT(limits_loopback),
		"Hold clients-per-address against clients on this machine, too." },
	{ "proxy-from", SETTINGS_LIST, "", 0, 64, AT(proxy_from),
		"Addresses and prefixes (192.0.2.0/24, 2001:db8::/64) of load balancers. Their "
		"connections begin with a header of the PROXY protocol, version 1 or 2, that tells "
		"who the client is; those of nobody else may." },
	{ "cleartext-login", SETTINGS_STRING, "local", 1, 16, AT(cleartext_login),
		"Where a password may cross the wire in the clear: never, local (clients on this "
		"machine) or always." },
};

static int pop3d_verify(const void *values, char *error, size_t error_size)
{
	const struct pop3d_settings *settings = values;
	const char *const words[] = { "never", "local", "always" };
	const char *bad = net_list_check(&settings->proxy_from);

	if (bad) {
		snprintf(error, error_size, "proxy-from \"%s\": %s", bad, NET_PREFIX_ADVICE);
		return -1;
	}

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (strcmp(settings->cleartext_login, words[i]) == 0)
			return 0;
	snprintf(error, error_size, "cleartext-login is \"%s\"; say never, local or always",
		settings->cleartext_login);
	return -1;
}

const struct settings_section pop3d_section = {
	.name = "pop3d",
	.items = items,
	.count = sizeof(items) / sizeof(items[0]),
	.size = sizeof(struct pop3d_settings),
	.verify = pop3d_verify,
};
