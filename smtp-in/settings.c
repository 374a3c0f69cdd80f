#include "smtp-in/settings.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "base/limits.h"

#define AT(field) offsetof(struct smtp_in_settings, field)

static const struct settings_item items[] = {
	{ .name = "listen",
		.type = SETTINGS_LIST,
		.preset = "*:25",
		.most = 128,
		.offset = AT(listen),
		.help = "Addresses for SMTP in the clear, which STARTTLS can turn into TLS: "
			"ADDRESS:PORT, [IPV6]:PORT or *:PORT." },
	{ .name = "listen-tls",
		.type = SETTINGS_LIST,
		.preset = "",
		.most = 128,
		.offset = AT(listen_tls),
		.help = "Addresses for SMTP over TLS from the first octet." },
	{ .name = "listen-submission",
		.type = SETTINGS_LIST,
		.preset = "",
		.most = 128,
		.offset = AT(listen_submission),
		.help = "Addresses for submission by this host's users (port 587), who must "
			"authenticate." },
	{ .name = "listen-submissions",
		.type = SETTINGS_LIST,
		.preset = "",
		.most = 128,
		.offset = AT(listen_submissions),
		.help = "Addresses for submission over TLS from the first octet (port 465)." },
	{ .name = "workers",
		.type = SETTINGS_NUMBER,
		.preset = "0",
		.most = 64,
		.offset = AT(workers),
		.help = "Processes that serve clients; 0 is one per core." },
	{ .name = "message-size",
		.type = SETTINGS_OCTETS,
		.preset = "35M",
		.least = 1024,
		.most = UINT64_C(1) << 40,
		.offset = AT(message_size),
		.help = "Largest message taken. An attachment grows by a third on its way: 35M has "
			"room for one of 25M." },
	{ .name = "recipients",
		.type = SETTINGS_NUMBER,
		.preset = "1000",
		.least = 1,
		.most = 100000,
		.offset = AT(recipients),
		.help = "Most recipients of one message. RFC 5321 wants 100 at least." },
	{ .name = "clients",
		.type = SETTINGS_NUMBER,
		.preset = "10000",
		.least = 1,
		.most = 1000000,
		.offset = AT(clients),
		.help = "Sessions that one worker serves at once; further clients are told to "
			"come again." },
	{ .name = "errors",
		.type = SETTINGS_NUMBER,
		.preset = "20",
		.least = 1,
		.most = 100000,
		.offset = AT(errors),
		.help = "Commands in error, unknown recipients included, after which a session "
			"that delivers nothing is ended." },
	{ .name = "junk",
		.type = SETTINGS_NUMBER,
		.preset = "100",
		.least = 1,
		.most = 100000,
		.offset = AT(junk),
		.help = "Commands that lead to nothing (NOOP, RSET, HELP, VRFY and the like) after "
			"which a session that delivers nothing is ended." },
	{ .name = "login-failures",
		.type = SETTINGS_NUMBER,
		.preset = "3",
		.least = 1,
		.most = 1000,
		.offset = AT(login_failures),
		.help = "Wrong logins after which a session is ended." },
	{ .name = "command-timeout",
		.type = SETTINGS_SECONDS,
		.preset = "5m",
		.least = 1,
		.most = 86400,
		.offset = AT(command_seconds),
		.help = "How long a command may be waited for. RFC 5321 wants five minutes." },
	{ .name = "data-timeout",
		.type = SETTINGS_SECONDS,
		.preset = "3m",
		.least = 1,
		.most = 86400,
		.offset = AT(data_seconds),
		.help = "How long more of a message may be waited for. RFC 5321 has three "
			"minutes." },
	{ .name = "send-timeout",
		.type = SETTINGS_SECONDS,
		.preset = "5m",
		.least = 1,
		.most = 86400,
		.offset = AT(send_seconds),
		.help = "A client that takes nothing of a reply for so long is closed." },
	{ .name = "hand-over",
		.type = SETTINGS_STRING,
		.preset = "unix:lmtp-smtp-in",
		.least = 6,
		.most = 200,
		.offset = AT(hand_over),
		.help = "The LMTP server that messages are handed to: unix:PATH, from the "
			"directory run of the state, or inet:ADDRESS:PORT." },
	{ .name = "hand-over-connections",
		.type = SETTINGS_NUMBER,
		.preset = "5000",
		.least = 1,
		.most = 100000,
		.offset = AT(hand_over_connections),
		.help = "Connections to the LMTP server at once, for each worker." },
	{ .name = "hand-over-hold",
		.type = SETTINGS_SECONDS,
		.preset = "10s",
		.least = 1,
		.most = 86400,
		.offset = AT(hand_over_hold_seconds),
		.help = "How long a client that stops after RCPT keeps a connection to the LMTP "
			"server. It is given another one when it goes on." },
	{ .name = "hand-over-timeout",
		.type = SETTINGS_SECONDS,
		.preset = "4m",
		.least = 1,
		.most = 86400,
		.offset = AT(hand_over_seconds),
		.help = "How long a reply of the LMTP server may be waited for." },
	{ .name = "hand-over-end-timeout",
		.type = SETTINGS_SECONDS,
		.preset = "9m",
		.least = 1,
		.most = 86400,
		.offset = AT(hand_over_end_seconds),
		.help = "The same at the end of a message; below the ten minutes that RFC 5321 "
			"makes clients wait." },
	{ .name = "hand-over-memory",
		.type = SETTINGS_SECONDS,
		.preset = "1s",
		.most = 60,
		.offset = AT(hand_over_memory_seconds),
		.help = "How long it is known that the LMTP server accepted a recipient. Whoever "
			"sends to several and waits for each reply hears so at once; the server "
			"is asked before the message goes on, and if it says no then, nobody gets "
			"the message this time (with PRDR: the others do). 0 is not at all." },
	{ .name = "handshake-timeout",
		.type = SETTINGS_SECONDS,
		.preset = "1m",
		.least = 1,
		.most = 86400,
		.offset = AT(handshake_seconds),
		.help = "How long a TLS handshake may take." },
	{ .name = "limits-loopback",
		.type = SETTINGS_BOOL,
		.preset = "no",
		.offset = AT(limits_loopback),
		.help = "Hold all limits that follow against clients on this machine, too." },
	{ .name = "limits-ipv6-prefix",
		.type = SETTINGS_NUMBER,
		.preset = "64",
		.least = 1,
		.most = 128,
		.offset = AT(limits_ipv6_prefix),
		.help = "IPv6 addresses that share so many bits count as one client." },
	{ .name = "clients-per-address",
		.type = SETTINGS_NUMBER,
		.preset = "50",
		.most = 1000000,
		.offset = AT(clients_per_address),
		.help = "Sessions at once of one client address, at all workers; 0 is no limit, "
			"here "
			"and below." },
	{ .name = "clients-total",
		.type = SETTINGS_NUMBER,
		.preset = "10000",
		.most = 10000000,
		.offset = AT(clients_total),
		.help = "Sessions at once of all clients, at all workers." },
	{ .name = "connections-per-minute",
		.type = SETTINGS_NUMBER,
		.preset = "120",
		.most = 1000000,
		.offset = AT(connections_per_minute),
		.help = "New connections of one client address. So many may come at once; what was "
			"used up comes back evenly over the minute. Likewise with the hours "
			"below." },
	{ .name = "connections-per-minute-total",
		.type = SETTINGS_NUMBER,
		.preset = "6000",
		.most = 10000000,
		.offset = AT(connections_per_minute_total),
		.help = "New connections of all clients." },
	{ .name = "refusals-per-minute",
		.type = SETTINGS_NUMBER,
		.preset = "120",
		.most = 1000000,
		.offset = AT(refusals_per_minute),
		.help = "Connections over these limits that one client address is told so. If it "
			"goes on, it is not heard at all for shun-time." },
	{ .name = "shun-time",
		.type = SETTINGS_SECONDS,
		.preset = "10s",
		.least = 1,
		.most = LIMITS_SHUN_SECONDS,
		.offset = AT(shun_seconds),
		.help = "How long the kernel drops what begins a connection from such an address. "
			"Those that are there go on." },
	{ .name = "messages-per-hour",
		.type = SETTINGS_NUMBER,
		.preset = "2000",
		.most = 10000000,
		.offset = AT(messages_per_hour),
		.help = "Messages (MAIL commands) of one client address; further ones are told to "
			"come "
			"again." },
	{ .name = "messages-per-hour-total",
		.type = SETTINGS_NUMBER,
		.preset = "100000",
		.most = 100000000,
		.offset = AT(messages_per_hour_total),
		.help = "Messages of all clients." },
	{ .name = "failed-recipients-per-hour",
		.type = SETTINGS_NUMBER,
		.preset = "50",
		.most = 1000000,
		.offset = AT(failed_recipients_per_hour),
		.help = "Recipients refused for good of one client address, after which no more "
			"are "
			"looked up for it." },
	{ .name = "failed-recipients-per-hour-total",
		.type = SETTINGS_NUMBER,
		.preset = "5000",
		.most = 10000000,
		.offset = AT(failed_recipients_per_hour_total),
		.help = "The same of all clients; beyond it no more are looked up for those of "
			"whom "
			"one has failed." },
	{ .name = "failed-logins-per-hour",
		.type = SETTINGS_NUMBER,
		.preset = "20",
		.most = 1000000,
		.offset = AT(failed_logins_per_hour),
		.help = "Wrong logins of one client address, after which no more are tried for "
			"it." },
	{ .name = "failure-delay",
		.type = SETTINGS_SECONDS,
		.preset = "1s",
		.most = 240,
		.offset = AT(failure_delay),
		.help = "How long a client waits to hear that a recipient failed: the first time "
			"so long, then twice as long each time. 0 is not at all. When a failed "
			"login is told, the store decides (login-delay)." },
	{ .name = "failure-delay-most",
		.type = SETTINGS_SECONDS,
		.preset = "30s",
		.most = 240,
		.offset = AT(failure_delay_most),
		.help = "The longest such wait. Clients give up after five minutes (RFC 5321)." },
	{ .name = "greeting-delay",
		.type = SETTINGS_SECONDS,
		.preset = "1s",
		.most = 240,
		.offset = AT(greeting_delay),
		.help = "How long clients of listen wait for the greeting. Who talks before it is "
			"no "
			"mail server, and is turned away." },
	{ .name = "minimum-rate",
		.type = SETTINGS_OCTETS,
		.preset = "50",
		.most = UINT64_C(1) << 30,
		.offset = AT(minimum_rate),
		.help = "Octets a second that a message has to come with, on average since it "
			"began." },
	{ .name = "minimum-rate-after",
		.type = SETTINGS_SECONDS,
		.preset = "2m",
		.least = 1,
		.most = 86400,
		.offset = AT(minimum_rate_after),
		.help = "How long a message may be slower than minimum-rate." },
	{ .name = "minimum-rate-pressed",
		.type = SETTINGS_OCTETS,
		.preset = "1K",
		.most = UINT64_C(1) << 30,
		.offset = AT(minimum_rate_pressed),
		.help = "The same, after hand-over-hold, while all hand-over-connections are in "
			"use: "
			"who is slower makes room for others." },
	PROXY_SETTINGS(AT(proxy)),
};

static int parse_local(struct text path, struct smtp_in_hand_over *to)
{
	struct sockaddr_un *local = &to->address.local;

	if (path.len == 0 || path.len >= sizeof(local->sun_path) || text_find(path, '\0') >= 0)
		return -1;
	local->sun_family = AF_UNIX;
	memcpy(local->sun_path, path.ptr, path.len);
	to->size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + path.len + 1);
	return 0;
}

static int parse_inet(struct text in, struct smtp_in_hand_over *to)
{
	struct sockaddr_in *v4 = (struct sockaddr_in *)&to->address;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&to->address;
	ptrdiff_t colon = text_find_last(in, ':');
	char host[INET6_ADDRSTRLEN];
	struct text name;
	uint64_t port;

	if (colon < 0 || text_to_number(text_from(in, (size_t)colon + 1), 65535, &port) != 0 ||
		port == 0)
		return -1;
	name = text_head(in, (size_t)colon);
	const bool brackets = name.len > 2 && name.ptr[0] == '[' && name.ptr[name.len - 1] == ']';
	if (brackets)
		name = (struct text){ .ptr = name.ptr + 1, .len = name.len - 2 };
	if (name.len >= sizeof(host))
		return -1;
	memcpy(host, name.ptr, name.len);
	host[name.len] = '\0';
	if (brackets) {
		v6->sin6_family = AF_INET6;
		v6->sin6_port = htons((uint16_t)port);
		to->size = sizeof(*v6);
		return inet_pton(AF_INET6, host, &v6->sin6_addr) == 1 ? 0 : -1;
	}
	v4->sin_family = AF_INET;
	v4->sin_port = htons((uint16_t)port);
	to->size = sizeof(*v4);
	return inet_pton(AF_INET, host, &v4->sin_addr) == 1 ? 0 : -1;
}

int smtp_in_hand_over_parse(struct text in, struct smtp_in_hand_over *to)
{
	*to = (struct smtp_in_hand_over){ .size = 0 };
	if (text_begins(in, TEXT("unix:")))
		return parse_local(text_from(in, 5), to);
	if (text_begins(in, TEXT("inet:")))
		return parse_inet(text_from(in, 5), to);
	return -1;
}

static int verify(const void *values, char *error, size_t error_size)
{
	const struct smtp_in_settings *settings = values;
	struct smtp_in_hand_over to;

	if (smtp_in_hand_over_parse(text_of(settings->hand_over), &to) == 0)
		return proxy_verify(&settings->proxy, error, error_size);
	snprintf(error, error_size,
		"hand-over \"%s\" is no place of an LMTP server; write unix:PATH or "
		"inet:ADDRESS:PORT "
		"with a numeric address",
		settings->hand_over);
	return -1;
}

const struct settings_section smtp_in_section = {
	.name = "smtp-in",
	.items = items,
	.count = sizeof(items) / sizeof(items[0]),
	.size = sizeof(struct smtp_in_settings),
	.verify = verify,
};
