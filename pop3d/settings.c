#include "pop3d/settings.h"

#include <stdio.h>
#include <string.h>

#define AT(field) offsetof(struct pop3d_settings, field)

static const struct settings_item items[] = {
	{ .name = "listen",
		.type = SETTINGS_LIST,
		.preset = "*:110",
		.most = 128,
		.offset = AT(listen),
		.help = "Addresses for POP3 in the clear, which STLS can turn into TLS: "
			"ADDRESS:PORT, [IPV6]:PORT or *:PORT." },
	{ .name = "listen-tls",
		.type = SETTINGS_LIST,
		.preset = "*:995",
		.most = 128,
		.offset = AT(listen_tls),
		.help = "Addresses for POP3 over TLS from the first octet." },
	{ .name = "workers",
		.type = SETTINGS_NUMBER,
		.preset = "0",
		.most = 64,
		.offset = AT(workers),
		.help = "Processes that serve clients; 0 is one per core." },
	{ .name = "clients",
		.type = SETTINGS_NUMBER,
		.preset = "10000",
		.least = 1,
		.most = 1000000,
		.offset = AT(clients),
		.help = "Sessions that one worker serves at once; further clients wait to "
			"be accepted." },
	{ .name = "idle-timeout",
		.type = SETTINGS_SECONDS,
		.preset = "10m",
		.least = 1,
		.most = 86400,
		.offset = AT(idle_seconds),
		.help = "A session without a command for so long is closed and deletes "
			"nothing. RFC 1939 wants ten minutes or more." },
	{ .name = "send-timeout",
		.type = SETTINGS_SECONDS,
		.preset = "5m",
		.least = 1,
		.most = 86400,
		.offset = AT(send_seconds),
		.help = "A client that takes nothing of a reply for so long is closed." },
	{ .name = "login-failures",
		.type = SETTINGS_NUMBER,
		.preset = "3",
		.least = 1,
		.most = 100,
		.offset = AT(login_failures),
		.help = "Wrong logins after which the connection is closed." },
	{ .name = "junk-commands",
		.type = SETTINGS_NUMBER,
		.preset = "20",
		.least = 1,
		.most = 10000,
		.offset = AT(junk_commands),
		.help = "Commands in error after which the connection is closed." },
	{ .name = "login-delay",
		.type = SETTINGS_SECONDS,
		.preset = "0",
		.most = 86400,
		.offset = AT(login_delay),
		.help = "Time that has to lie between two logins of a user (LOGIN-DELAY); "
			"0 is none." },
	{ .name = "expire-days",
		.type = SETTINGS_NUMBER,
		.preset = "0",
		.most = 36500,
		.offset = AT(expire_days),
		.help = "Messages that have been here for more than so many days are "
			"deleted when their user says QUIT (EXPIRE); 0 is never." },
	{ .name = "clients-per-address",
		.type = SETTINGS_NUMBER,
		.preset = "50",
		.most = 1000000,
		.offset = AT(clients_per_address),
		.help = "Sessions at once of one client address (IPv6: /64), at all "
			"workers; 0 is no limit. A user has one session at a time in any "
			"case." },
	{ .name = "limits-loopback",
		.type = SETTINGS_BOOL,
		.preset = "no",
		.offset = AT(limits_loopback),
		.help = "Hold clients-per-address against clients on this machine, too." },
	PROXY_SETTINGS(AT(proxy)),
	{ .name = "cleartext-login",
		.type = SETTINGS_STRING,
		.preset = "local",
		.least = 1,
		.most = 16,
		.offset = AT(cleartext_login),
		.help = "Where a password may cross the wire in the clear: never, local "
			"(clients on this machine) or always." },
};

static int pop3d_verify(const void *values, char *error, size_t error_size)
{
	const struct pop3d_settings *settings = values;
	const char *const words[] = { "never", "local", "always" };

	if (proxy_verify(&settings->proxy, error, error_size) != 0)
		return -1;
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
