#include "mda/settings.h"

#include <stddef.h>
#include <stdio.h>

#define AT(field) offsetof(struct mda_settings, field)

static const struct settings_item items[] = {
	{ .name = "workers",
		.type = SETTINGS_NUMBER,
		.preset = "1",
		.least = 1,
		.most = 64,
		.offset = AT(workers),
		.help = "Processes of this role; one is enough unless a core is always busy with "
			"it." },
	{ .name = "socket",
		.type = SETTINGS_STRING,
		.preset = "lmtp",
		.least = 1,
		.most = 64,
		.offset = AT(socket),
		.help = "Name, below STATE/run, of the unix socket on which LMTP is spoken." },
	{ .name = "socket-mode",
		.type = SETTINGS_STRING,
		.preset = "0666",
		.least = 3,
		.most = 4,
		.offset = AT(socket_mode),
		.help = "Permissions of that socket: who on this host may deliver." },
	{ .name = "listen",
		.type = SETTINGS_LIST,
		.preset = "",
		.offset = AT(listen),
		.help = "Addresses for LMTP over TCP, for example { \"127.0.0.1:24\" }. Nobody "
			"logs in "
			"there: keep it inside." },
	{ .name = "message-size",
		.type = SETTINGS_OCTETS,
		.preset = "36M",
		.least = 65536,
		.most = (uint64_t)1 << 32,
		.offset = AT(message_size),
		.help = "Largest message taken; a little more than smtp-in's, which adds a "
			"field." },
	{ .name = "hops",
		.type = SETTINGS_NUMBER,
		.preset = "100",
		.least = 10,
		.most = 1000,
		.offset = AT(hops),
		.help = "A message with more Received fields than this is a loop." },
	{ .name = "recipients",
		.type = SETTINGS_NUMBER,
		.preset = "1000",
		.least = 100,
		.most = MDA_RECIPIENTS_MOST,
		.offset = AT(recipients),
		.help = "Recipients that one message may have." },
	{ .name = "sessions",
		.type = SETTINGS_NUMBER,
		.preset = "10000",
		.least = 1,
		.most = 100000,
		.offset = AT(sessions),
		.help = "LMTP sessions at once in each worker; further clients wait." },
	{ .name = "duplicates",
		.type = SETTINGS_SECONDS,
		.preset = "0",
		.most = 366 * 86400,
		.offset = AT(duplicates),
		.help = "Within this time a mailbox keeps a message once: a second one with the "
			"same "
			"Message-ID, From, Date, Subject and body is thrown away. 0: all are "
			"kept." },
	{ .name = "dsn",
		.type = SETTINGS_BOOL,
		.preset = "no",
		.offset = AT(dsn),
		.help = "Offer DSN (RFC 3461) to senders; smtp-in follows. What they ask for is "
			"checked and kept, but reports of success are not sent, as mail cannot "
			"leave this host yet; without the offer a sender's own host reports." },
	{ .name = "command-timeout",
		.type = SETTINGS_SECONDS,
		.preset = "5m",
		.least = 1,
		.most = 86400,
		.offset = AT(command_timeout),
		.help = "How long a client may take to send its next command." },
	{ .name = "data-timeout",
		.type = SETTINGS_SECONDS,
		.preset = "3m",
		.least = 1,
		.most = 86400,
		.offset = AT(data_timeout),
		.help = "How long a client may pause inside a message." },
};

/* A plain name that is not one of the host's own sockets in the same directory. */
static bool is_socket_name(struct text name)
{
	return text_find(name, '/') < 0 && name.ptr[0] != '.' &&
	       !text_begins(name, TEXT("store-")) && !text_equal(name, TEXT("lmtp-smtp-in")) &&
	       !text_equal(name, TEXT("lmtp-bridge"));
}

static bool is_mode(struct text mode)
{
	for (size_t i = 0; i < mode.len; i++) {
		if (mode.ptr[i] < '0' || mode.ptr[i] > '7')
			return false;
	}
	return mode.len == 3 || (mode.len == 4 && mode.ptr[0] == '0');
}

static int verify(const void *values, char *error, size_t error_size)
{
	const struct mda_settings *settings = values;

	if (!is_socket_name(text_of(settings->socket))) {
		snprintf(error, error_size,
			"socket \"%s\" is not free to use; give a name without a slash, like lmtp",
			settings->socket);
		return -1;
	}
	if (!is_mode(text_of(settings->socket_mode))) {
		snprintf(error, error_size,
			"socket-mode \"%s\" is not a permission; give it in octal, like 0660",
			settings->socket_mode);
		return -1;
	}
	return 0;
}

const struct settings_section mda_section = {
	.name = "mda",
	.items = items,
	.count = sizeof(items) / sizeof(items[0]),
	.size = sizeof(struct mda_settings),
	.verify = verify,
};
