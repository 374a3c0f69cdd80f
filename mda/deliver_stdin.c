#include "mda/deliver_stdin.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/common.h"
#include "base/mem.h"
#include "mail/address.h"
#include "mda/lmtp_client.h"
#include "mda/local_text.h"
#include "mda/settings.h"

enum {
	PIECE = 65536,
	HOST_NAME_LIMIT = 255,
	/* RFC 5321 section 4.5.3.2 */
	GREETING_SECONDS = 300,
	COMMAND_SECONDS = 300,
	DATA_SECONDS = 180,
	VERDICT_SECONDS = 600,
};

static const char usage[] =
	"usage: mda -d ADDRESS [-a DETAIL] [-f SENDER] [-c FILE | -s SOCKET]\n"
	"Delivers standard input to ADDRESS through the running host.\n"
	"Without arguments it is a part of that host; restante run starts it.\n";
/* The host's `separators` may be set otherwise; then the address is to be given whole. */
#define DETAIL_SEPARATOR "+"
static const char preset_socket[] = "/var/lib/restante/run/lmtp";

struct delivery {
	struct arena *arena;
	const char *recipient_option, *detail_option, *sender_option, *settings_option,
		*socket_option;
	struct address recipient;
	struct address sender;
	const char *socket;
	struct lmtp_client client;
	struct text input; /* read and not yet sent */
	bool input_ended;
	char *piece;        /* where input is read to */
	char *clean, *wire; /* and what it becomes */
};

/* One line on standard error; the status is passed through. */
static int fail(int status, const char *format, ...) __attribute__((format(printf, 2, 3)));
static int fail(int status, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	fputs("mda: ", stderr);
	vfprintf(stderr, format, arguments);
	fputc('\n', stderr);
	va_end(arguments);
	return status;
}

/* ---- arguments ---- */

static int read_options(struct delivery *delivery, int argc, char **argv)
{
	int option;

	opterr = 0;
	while ((option = getopt(argc, argv, "+d:a:f:c:s:")) != -1) {
		switch (option) {
		case 'd':
			delivery->recipient_option = optarg;
			break;
		case 'a':
			delivery->detail_option = optarg;
			break;
		case 'f':
			delivery->sender_option = optarg;
			break;
		case 'c':
			delivery->settings_option = optarg;
			break;
		case 's':
			delivery->socket_option = optarg;
			break;
		default:
			fputs(usage, stderr);
			return EX_USAGE;
		}
	}
	if (optind < argc || !delivery->recipient_option ||
		(delivery->settings_option && delivery->socket_option)) {
		fputs(usage, stderr);
		return EX_USAGE;
	}
	return EX_OK;
}

static struct text without_brackets(struct text address)
{
	if (address.len >= 2 && address.ptr[0] == '<' && address.ptr[address.len - 1] == '>')
		return (struct text){ .ptr = address.ptr + 1, .len = address.len - 2 };
	return address;
}

/*
 * "user" and "detail" become user+detail. Other mail servers pass on what strangers wrote there: a detail
 * that cannot stand in an address is left out, for the user is known without it.
 */
static void read_detail(struct delivery *delivery)
{
	const char *detail = delivery->detail_option;
	struct address whole = delivery->recipient, parsed;

	if (!detail || !*detail)
		return;
	whole.local = text_format(
		delivery->arena, "%.*s" DETAIL_SEPARATOR "%s", TEXT_ARG(whole.local), detail);
	if (address_parse(delivery->arena, address_print(delivery->arena, &whole), true, &parsed) ==
		ADDRESS_OK)
		delivery->recipient = parsed;
	else
		fail(0, "detail cannot stand in an address, delivering without it");
}

static int read_recipient(struct delivery *delivery)
{
	const struct text given = without_brackets(text_of(delivery->recipient_option));

	if (text_equal_nocase(given, TEXT("postmaster"))) {
		delivery->recipient = (struct address){ .local = given, .domain = TEXT("") };
		return EX_OK;
	}
	enum address_fault fault =
		address_parse(delivery->arena, given, true, &delivery->recipient);
	if (fault != ADDRESS_OK)
		return fail(EX_USAGE, "\"%s\" is not an address, give it whole: %s",
			delivery->recipient_option, address_fault_text(fault));
	read_detail(delivery);
	return EX_OK;
}

/*
 * Whoever cannot be written to is nobody: a message must not be lost because of how its sender is spelt.
 * Names without a domain are users of this machine.
 */
static void read_sender(struct delivery *delivery, struct text given)
{
	char host[HOST_NAME_LIMIT + 1] = "";

	given = without_brackets(given);
	delivery->sender = (struct address){ .local = TEXT(""), .domain = TEXT("") };
	if (given.len == 0 || text_equal_nocase(given, TEXT("MAILER-DAEMON")))
		return;
	if (text_find(given, '@') < 0 && gethostname(host, sizeof(host) - 1) == 0)
		given = text_format(delivery->arena, "%.*s@%s", TEXT_ARG(given), host);
	if (address_parse(delivery->arena, given, true, &delivery->sender) != ADDRESS_OK)
		fail(0, "sender \"%.*s\" is not an address, delivering without one",
			TEXT_ARG(given));
}

/* ---- input ---- */

/* Read once, behind what is there. 0, or EX_IOERR. */
static int read_input(struct delivery *delivery)
{
	const size_t have = delivery->input.len;
	ssize_t got;

	memmove(delivery->piece, delivery->input.ptr, have);
	do
		got = read(STDIN_FILENO, delivery->piece + have, PIECE - have);
	while (got < 0 && errno == EINTR);
	if (got < 0)
		return fail(EX_IOERR, "cannot read standard input: %s", strerror(errno));
	delivery->input_ended = got == 0;
	delivery->input = (struct text){ .ptr = delivery->piece, .len = have + (size_t)got };
	return EX_OK;
}

/* Take an mbox separator off the start of the message; it may name the sender. */
static int read_separator(struct delivery *delivery)
{
	struct text sender = TEXT("");
	size_t used = 0;
	int found, status;

	do {
		status = read_input(delivery);
		if (status)
			return status;
		found = local_text_separator(
			delivery->input, !delivery->input_ended, &sender, &used);
	} while (found < 0);
	if (delivery->sender_option)
		sender = text_of(delivery->sender_option);
	read_sender(delivery, text_copy(delivery->arena, sender));
	if (found > 0)
		delivery->input = text_from(delivery->input, used);
	return EX_OK;
}

/* ---- the conversation ---- */

int deliver_stdin_status(const struct reply *reply)
{
	const unsigned char *enhanced = reply->enhanced;

	if (reply->code < 400)
		return EX_OK;
	if (reply->code < 500)
		return EX_TEMPFAIL;
	if (enhanced[1] == 1 && enhanced[2] == 1)
		return EX_NOUSER;
	if (enhanced[1] == 1 && enhanced[2] == 2)
		return EX_NOHOST;
	if (enhanced[1] == 6)
		return EX_DATAERR;
	if (enhanced[1] == 7)
		return EX_NOPERM;
	return EX_UNAVAILABLE;
}

static int lost(const char *when)
{
	return fail(EX_TEMPFAIL, "%s: %s", when, strerror(errno));
}

/* The reply to what was sent must be of this class: 2, or 3 for DATA. */
static int expect(struct delivery *delivery, unsigned class, unsigned seconds, const char *when)
{
	struct reply reply;

	if (lmtp_client_reply(&delivery->client, seconds, &reply) != 0)
		return lost(when);
	if (reply.code / 100 == class)
		return EX_OK;
	const int status = deliver_stdin_status(&reply);
	return fail(status == EX_OK ? EX_TEMPFAIL : status, "%s: %u %u.%u.%u %.*s", when,
		reply.code, reply.enhanced[0], reply.enhanced[1], reply.enhanced[2],
		TEXT_ARG(reply.text));
}

static int say(struct delivery *delivery, struct text line, unsigned class, const char *when)
{
	if (lmtp_client_send(&delivery->client, line, COMMAND_SECONDS) != 0)
		return lost(when);
	return expect(delivery, class, COMMAND_SECONDS, when);
}

static int greet(struct delivery *delivery)
{
	char host[HOST_NAME_LIMIT + 1] = "";
	int status = expect(delivery, 2, GREETING_SECONDS, delivery->socket);

	if (status)
		return status;
	const bool named =
		gethostname(host, sizeof(host) - 1) == 0 && address_is_domain(text_of(host), false);
	return say(delivery,
		text_format(delivery->arena, "LHLO %s\r\n", named ? host : "localhost"), 2, "LHLO");
}

static int send_envelope(struct delivery *delivery)
{
	const struct text sender = address_print(delivery->arena, &delivery->sender);
	struct text recipient = delivery->recipient.local;
	int status;

	if (delivery->recipient.domain.len)
		recipient = address_print(delivery->arena, &delivery->recipient);
	/* A server without SMTPUTF8 (RFC 6531) says itself what it makes of such an address. */
	const bool utf8 =
		delivery->client.utf8 && !(text_is_ascii(sender) && text_is_ascii(recipient));
	status = say(delivery,
		text_format(delivery->arena, "MAIL FROM:<%.*s>%s%s\r\n", TEXT_ARG(sender),
			delivery->client.eight_bit ? " BODY=8BITMIME" : "",
			utf8 ? " SMTPUTF8" : ""),
		2, "sender");
	if (status)
		return status;
	status = say(delivery,
		text_format(delivery->arena, "RCPT TO:<%.*s>\r\n", TEXT_ARG(recipient)), 2,
		delivery->recipient_option);
	if (status)
		return status;
	return say(delivery, TEXT("DATA\r\n"), 3, "DATA");
}

/* The final dot is sent only when standard input was read to its end: never half a message. */
static int send_message(struct delivery *delivery)
{
	struct wire_encode encode = { 0 };
	struct local_text cleaner = { 0 };
	size_t octets;

	for (;;) {
		octets = local_text_clean(&cleaner, delivery->input, delivery->clean);
		octets = wire_encode(&encode,
			(struct text){ .ptr = delivery->clean, .len = octets }, delivery->wire);
		if (lmtp_client_send(&delivery->client,
			    (struct text){ .ptr = delivery->wire, .len = octets },
			    DATA_SECONDS) != 0)
			return lost("message");
		delivery->input = text_head(delivery->input, 0);
		if (delivery->input_ended)
			break;
		int status = read_input(delivery);
		if (status)
			return status;
	}
	octets = wire_encode_end(&encode, delivery->wire);
	if (lmtp_client_send(&delivery->client,
		    (struct text){ .ptr = delivery->wire, .len = octets }, DATA_SECONDS) != 0)
		return lost("message");
	return expect(delivery, 2, VERDICT_SECONDS, delivery->recipient_option);
}

static int converse(struct delivery *delivery)
{
	int status;

	if (lmtp_client_connect(&delivery->client, delivery->socket) != 0)
		return fail(EX_TEMPFAIL,
			"%s: %s; does the host run? -c names its settings, -s its socket",
			delivery->socket, strerror(errno));
	status = greet(delivery);
	if (!status)
		status = send_envelope(delivery);
	if (!status)
		status = send_message(delivery);
	/* What was decided is decided: nobody waits for the answer to this. */
	if (!status)
		lmtp_client_send(&delivery->client, TEXT("QUIT\r\n"), 0);
	lmtp_client_close(&delivery->client);
	return status;
}

/* ---- where the mda listens ---- */

static void on_finding(void *owner, const char *sentence)
{
	(void)owner, (void)sentence;
}

/* Other roles' sections are unknown here and so are found fault with; only these two items matter. */
static int read_settings(struct delivery *delivery)
{
	static const struct settings_section *const sections[] = { &common_section, &mda_section };
	struct common_settings common = { 0 };
	struct mda_settings mda = { 0 };
	void *const values[] = { &common, &mda };

	if (access(delivery->settings_option, R_OK) != 0)
		return lost(delivery->settings_option);
	settings_read(delivery->settings_option, sections, 2, values, on_finding, NULL);
	delivery->socket = text_format(delivery->arena, "%s/run/%s", common.state, mda.socket).ptr;
	settings_free(&common_section, &common);
	settings_free(&mda_section, &mda);
	return EX_OK;
}

static int find_socket(struct delivery *delivery)
{
	const char *environment = getenv("RESTANTE_SOCKET");

	delivery->socket = preset_socket;
	if (delivery->socket_option)
		delivery->socket = delivery->socket_option;
	else if (delivery->settings_option)
		return read_settings(delivery);
	else if (environment && *environment)
		delivery->socket = environment;
	return EX_OK;
}

static int run(struct delivery *delivery, int argc, char **argv)
{
	int status = read_options(delivery, argc, argv);

	if (!status)
		status = read_recipient(delivery);
	if (!status)
		status = find_socket(delivery);
	if (!status)
		status = read_separator(delivery);
	if (!status)
		status = converse(delivery);
	return status;
}

int deliver_stdin(int argc, char **argv)
{
	if (argc == 2 && strcmp(argv[1], "--help") == 0) {
		fputs(usage, stdout);
		return EX_OK;
	}
	struct delivery delivery = { .arena = arena_new(1024) };

	delivery.piece = mem_new(PIECE);
	delivery.input = (struct text){ .ptr = delivery.piece };
	delivery.clean = mem_new(local_text_bound(PIECE));
	delivery.wire = mem_new(wire_encode_bound(local_text_bound(PIECE)));
	int status = run(&delivery, argc, argv);
	mem_free(delivery.wire);
	mem_free(delivery.clean);
	mem_free(delivery.piece);
	arena_free(&delivery.arena);
	return status;
}
