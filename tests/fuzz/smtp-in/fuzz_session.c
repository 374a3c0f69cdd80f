/*
 * Whole SMTP sessions: the input drives the client's octets and what the LMTP server answers, in any order
 * and in any pieces. Beyond not crashing:
 *
 *	- "Accepted" is said only after the LMTP server took the message for every recipient of it, or with
 *	  PRDR for one of them at least;
 *	- no octet of a chunk is taken for a command, nor a command for one;
 *	- no message comes to its end at the LMTP server that holds a NUL, a bare CR or a bare LF, or is
 *	  over the limit;
 *	- what waits to be sent to a client stays bounded;
 *	- when client and server are gone, so is the session, and nothing is held of its limits.
 *
 * The last octet says whether the client has limits, and whether it comes behind a load balancer.
 *
 * An input is a run of steps, each an octet of kind, an octet of size, and that many octets.
 */
#include <errno.h>

#include "base/common.h"
#include "base/log.h"
#include "base/role.h"
#include "base/tls.h"
#include "smtp-in/session.h"
#include "smtp-in/settings.h"
#include "smtp-in/worker.h"
#include "tests/fuzz/session.h"
#include "tests/fuzz/smtp-in/certificate.h"

enum {
	PEERS = 4,        /* connections that the LMTP server has at once */
	QUESTIONS = 2048, /* commands it has heard and not answered */
	MESSAGE_LIMIT = 4096,
	TRACE_LIMIT = 1024, /* of our own Received field */
	CLIENT_OUTPUT_LIMIT = 1 << 20,
	TURNS = 4,
	LAST_TURNS = 400,
};

enum step {
	STEP_CLIENT,  /* these octets */
	STEP_COMMAND, /* one of the list below for each octet */
	STEP_ANSWERS, /* one answer of the LMTP server for each octet */
	STEP_SERVER,  /* these octets from it, asked for or not */
	STEP_SERVER_CLOSES,
	STEP_CLIENT_ENDS,
	STEP_STOP,
	STEPS
};

static const char *const commands[] = {
	"EHLO client.test\r\n",
	"MAIL FROM:<s@client.test>\r\n",
	"RCPT TO:<a@example.test>\r\n",
	"DATA\r\n",
	"Subject: x\r\n\r\nbody\r\n.\r\n",
	".\r\n",
	"RSET\r\n",
	"NOOP\r\n",
	"QUIT\r\n",
	"STARTTLS\r\n",
	"MAIL FROM:<> SIZE=100 BODY=8BITMIME\r\n",
	"HELO client.test\r\n",
	"HELP\r\n",
	"VRFY a\r\n",
	"RCPT TO:<b@example.test>\r\n",
	"..\r\n",
	"a\n.\nb\r\n",
	"\r\n.\r",
	"MAIL FROM:<s@client.test> SIZE=5000\r\n",
	"RCPT TO:<>\r\n",
	"MAIL FROM:<\xc3\xa4@\xc3\xb6.test> SMTPUTF8\r\n",
	"RCPT TO:<\xc3\xa4@example.test>\r\n",
	"RCPT TO:<\xff@example.test>\r\n",
	"0123456789012345678901234567890123456789012345678901234567890123456789\r\n",
	"BDAT 8 LAST\r\na: b\r\n\r\n",
	"BDAT 6\r\nRSET\r\n",
	"BDAT 0 LAST\r\n",
	"BDAT 0\r\n",
	"BDAT 3\r\n.\r\n",
	"BDAT 1\r\n\r",
	"BDAT 1\r\n\n",
	"BDAT 4 LAST\r\na\nb\r",
	"BDAT 5000\r\n",
	"BDAT 4000\r\n",
	"BDAT 18446744073709551615 LAST\r\n",
	"BDAT 2 FIRST\r\nab",
	"BDAT\r\n",
	"MAIL FROM:<s@client.test> PRDR\r\n",
	"MAIL FROM:<s@client.test> RET=HDRS ENVID=a+2Bb\r\n",
	"RCPT TO:<a@example.test> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;b@example.test\r\n",
	"RCPT TO:<a@example.test> NOTIFY=NEVER\r\n",
	"PROXY TCP4 192.0.2.7 127.0.0.1 1000 25\r\n",
	"PROXY UNKNOWN\r\n",
};

enum kind { KIND_LIMITED = 1, KIND_PROXIED = 2 };

enum question {
	ASKED_GREETING,
	ASKED_HELLO,
	ASKED_OTHER,
	ASKED_RCPT,
	ASKED_DATA,
	ASKED_CHUNK,
	ASKED_VERDICT,
};

/* One connection as the LMTP server sees it. */
struct peer {
	int fd; /* -1: none */
	struct buf in;
	enum question asked[QUESTIONS];
	size_t first, count;
	bool in_message;
	bool in_chunk, last_chunk;
	size_t chunk_left;
	struct buf message; /* of chunks */
	size_t accepted;    /* recipients of this message */
	size_t good;        /* verdicts on it */
};

static struct event_base *loop;
static struct role_context context;
static struct smtp_in_settings settings;
static struct common_settings common;
static struct worker *worker;
static int listener;
static struct peer peers[PEERS];
static int client;
static struct buf client_line;
/* Messages the client was told of, those taken by the server for all, and those for some recipients. */
static size_t told, delivered, delivered_in_part;
static bool prdr_said; /* so that the last of these count */
static char last_said[4];
static bool all_honest; /* the server has only answered what it was asked */

/* ---- the LMTP server ---- */

static void peer_close(struct peer *peer)
{
	if (peer->fd >= 0)
		close(peer->fd);
	peer->fd = -1;
	buf_release(&peer->in);
	buf_release(&peer->message);
}

static void peer_ask(struct peer *peer, enum question question)
{
	REQUIRE(peer->count < QUESTIONS);
	peer->asked[(peer->first + peer->count++) % QUESTIONS] = question;
}

static void peers_accept(void)
{
	for (size_t i = 0; i < PEERS; i++) {
		struct peer *peer = &peers[i];
		if (peer->fd >= 0)
			continue;
		int fd = fuzz_accept(listener);
		if (fd < 0)
			return;
		*peer = (struct peer){ .fd = fd };
		peer_ask(peer, ASKED_GREETING);
	}
}

static void check_message(struct text message)
{
	for (size_t i = 0; i < message.len; i++) {
		const bool after_cr = i > 0 && message.ptr[i - 1] == '\r';
		REQUIRE(message.ptr[i] != '\0');
		REQUIRE((message.ptr[i] == '\n') == after_cr);
	}
	/* Stuffed dots are not counted, and there may be one on each line. */
	REQUIRE(message.len <= 2 * MESSAGE_LIMIT + TRACE_LIMIT);
}

static void peer_ends_message(struct peer *peer)
{
	peer->good = 0;
	for (size_t i = 0; i < peer->accepted; i++)
		peer_ask(peer, ASKED_VERDICT);
}

/* False: octets of it are still to come. */
static bool peer_takes_chunk(struct peer *peer)
{
	const struct text piece = text_head(buf_text(&peer->in), peer->chunk_left);

	buf_add(&peer->message, piece);
	peer->chunk_left -= piece.len;
	buf_consume(&peer->in, piece.len);
	if (peer->chunk_left)
		return false;
	peer->in_chunk = false;
	if (!peer->last_chunk) {
		peer_ask(peer, ASKED_CHUNK);
		return true;
	}
	check_message(buf_text(&peer->message));
	REQUIRE(buf_length(&peer->message) >= 2);
	REQUIRE(memcmp(buf_text(&peer->message).ptr + buf_length(&peer->message) - 2, "\r\n", 2) ==
		0);
	peer_ends_message(peer);
	return true;
}

static void peer_begins_chunk(struct peer *peer, struct text line)
{
	struct text size;
	uint64_t octets;

	line = text_from(line, 5);
	REQUIRE(text_split(&line, ' ', &size) && text_to_number(size, SIZE_MAX, &octets) == 0);
	peer->last_chunk = line.ptr && text_equal(line, TEXT("LAST"));
	peer->in_chunk = true;
	peer->chunk_left = octets;
}

/* False: the end is not there yet. */
static bool peer_takes_message(struct peer *peer)
{
	const struct text in = buf_text(&peer->in);
	const bool empty = text_begins(in, TEXT(".\r\n"));
	const char *end = empty ? in.ptr : memmem(in.ptr, in.len, "\r\n.\r\n", 5);

	if (!end)
		return false;
	const size_t length = (size_t)(end - in.ptr) + (empty ? 3 : 5);
	check_message(text_head(in, length));
	buf_consume(&peer->in, length);
	peer->in_message = false;
	peer_ends_message(peer);
	return true;
}

static bool peer_takes_line(struct peer *peer)
{
	const struct text in = buf_text(&peer->in);
	const char *end = memmem(in.ptr, in.len, "\r\n", 2);

	if (!end)
		return false;
	if (text_begins(in, TEXT("LHLO ")))
		peer_ask(peer, ASKED_HELLO);
	else if (text_begins(in, TEXT("RCPT ")))
		peer_ask(peer, ASKED_RCPT);
	else if (text_begins(in, TEXT("DATA\r")))
		peer_ask(peer, ASKED_DATA);
	else if (text_begins(in, TEXT("BDAT ")))
		peer_begins_chunk(peer, text_head(in, (size_t)(end - in.ptr)));
	else
		peer_ask(peer, ASKED_OTHER);
	if (text_begins(in, TEXT("MAIL "))) {
		peer->accepted = 0;
		buf_clear(&peer->message);
	}
	buf_consume(&peer->in, (size_t)(end - in.ptr) + 2);
	return true;
}

static void peer_reads(struct peer *peer)
{
	char octets[16384];
	ssize_t n;

	while (peer->fd >= 0 && (n = recv(peer->fd, octets, sizeof(octets), 0)) >= 0) {
		if (n == 0) {
			peer_close(peer);
			return;
		}
		buf_add(&peer->in, (struct text){ octets, (size_t)n });
	}
	while (peer->fd >= 0 && (peer->in_chunk            ? peer_takes_chunk(peer)
					: peer->in_message ? peer_takes_message(peer)
							   : peer_takes_line(peer)))
		;
}

static void peer_says(struct peer *peer, const void *octets, size_t size)
{
	/* Of an answer cut short nothing can be said. */
	if (peer->fd >= 0 && size && send(peer->fd, octets, size, MSG_NOSIGNAL) != (ssize_t)size)
		all_honest = false;
}

static const char *good_answer(enum question question, bool modern)
{
	switch (question) {
	case ASKED_GREETING:
		return "220 peer\r\n";
	case ASKED_HELLO:
		if (modern)
			return "250-peer\r\n250-PIPELINING\r\n250-CHUNKING\r\n250-DSN\r\n250 "
			       "SMTPUTF8\r\n";
		return "250-peer\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250-"
		       "SIZE\r\n250 XID\r\n";
	case ASKED_DATA:
		return "354 go\r\n";
	case ASKED_RCPT:
	case ASKED_CHUNK:
	case ASKED_VERDICT:
	case ASKED_OTHER:
		break;
	}
	return "250 2.0.0 ok\r\n";
}

static void note_good(struct peer *peer, enum question question)
{
	if (question == ASKED_RCPT) {
		peer->accepted++;
	} else if (question == ASKED_DATA) {
		peer->in_message = true;
	} else if (question == ASKED_VERDICT) {
		/* Counted at the first, for nobody knows which will be the last. */
		peer->good++;
		delivered_in_part += peer->good == 1;
		delivered += peer->good == peer->accepted;
	}
}

static void peer_answers(struct peer *peer, unsigned how)
{
	static const char *const bad[] = { "550 5.1.1 no\r\n", "451 4.3.0 later\r\n",
		"552 5.3.4 big\r\n", "503 bad\r\n", "250-half\r\n", "421 4.3.2 bye\r\n",
		"334 what\r\n", "x\r\n" };
	const enum question question = peer->asked[peer->first];

	if (peer->fd < 0 || peer->count == 0)
		return;
	peer->first = (peer->first + 1) % QUESTIONS;
	peer->count--;
	if (how >= sizeof(bad) / sizeof(bad[0])) {
		const char *answer = good_answer(question, how % 2);
		note_good(peer, question);
		peer_says(peer, answer, strlen(answer));
	} else {
		peer_says(peer, bad[how], strlen(bad[how]));
	}
}

/* ---- the client ---- */

static void client_reads(void)
{
	char octets[16384];
	ssize_t n;

	while (client >= 0 && (n = recv(client, octets, sizeof(octets), 0)) > 0)
		buf_add(&client_line, (struct text){ octets, (size_t)n });
	for (;;) {
		const struct text in = buf_text(&client_line);
		const char *end = memchr(in.ptr, '\n', in.len);
		if (!end)
			break;
		if (text_begins(in, TEXT("250 2.0.0 Accepted as ")))
			told++;
		buf_consume(&client_line, (size_t)(end - in.ptr) + 1);
	}
	if (all_honest)
		REQUIRE(told <= (prdr_said ? delivered_in_part : delivered));
}

/* Also when the word comes in pieces. */
static void watch_for_prdr(const char *octets, size_t size)
{
	for (size_t i = 0; i < size; i++) {
		memmove(last_said, last_said + 1, sizeof(last_said) - 1);
		last_said[sizeof(last_said) - 1] = octets[i];
		prdr_said |= text_equal_nocase(
			(struct text){ last_said, sizeof(last_said) }, TEXT("PRDR"));
	}
}

static void client_says(const void *octets, size_t size)
{
	watch_for_prdr(octets, size);
	if (client >= 0 && size)
		(void)!send(client, octets, size, MSG_NOSIGNAL);
}

/* ---- all of them ---- */

static void turn(void)
{
	const struct session *session;

	event_base_loop(loop, EVLOOP_NONBLOCK);
	LIST_FOREACH (session, &worker->sessions, link)
		REQUIRE(conn_output_length(session->conn) < CLIENT_OUTPUT_LIMIT);
	peers_accept();
	for (size_t i = 0; i < PEERS; i++)
		peer_reads(&peers[i]);
	client_reads();
}

static void take_step(enum step step, const uint8_t *octets, size_t size)
{
	switch (step) {
	case STEP_CLIENT:
		client_says(octets, size);
		break;
	case STEP_COMMAND:
		for (size_t i = 0; i < size; i++) {
			const char *line =
				commands[octets[i] % (sizeof(commands) / sizeof(commands[0]))];
			client_says(line, strlen(line));
		}
		break;
	case STEP_ANSWERS:
		/* Nothing given: everything is answered well. */
		for (size_t i = 0; size == 0 && i < PEERS; i++) {
			while (peers[i].fd >= 0 && peers[i].count)
				peer_answers(&peers[i], UINT8_MAX);
		}
		for (size_t i = 0; i < size; i++)
			peer_answers(&peers[octets[i] % PEERS], octets[i] / PEERS);
		break;
	case STEP_SERVER:
		for (size_t i = 0; i < PEERS; i++) {
			if (peers[i].fd >= 0 && size)
				all_honest = false;
			peer_says(&peers[i], octets, size);
		}
		break;
	case STEP_SERVER_CLOSES:
		peer_close(&peers[size % PEERS]);
		break;
	case STEP_CLIENT_ENDS:
		if (client >= 0)
			shutdown(client, SHUT_WR);
		break;
	case STEP_STOP:
		if (size > 200)
			worker_stop(worker);
		break;
	case STEPS:
		break;
	}
}

/* A client of its own each time, so that an input does the same again. */
static void come(int fd, unsigned kind)
{
	static const struct session_listener smtp = { .name = "smtp" };
	static uint32_t number;
	struct guard_peer peer = { .address.octets = { 0x20, 0x01, 0x0d, 0xb8 }, .near = true };
	struct guard_client guarded = { .limited = false };
	struct reply refusal;

	memcpy(peer.address.octets + 4, &number, sizeof(number));
	number++;
	if (kind & KIND_PROXIED)
		session_new(worker, &smtp, fd, &guarded, true);
	else if (!(kind & KIND_LIMITED))
		worker_accept(worker, "smtp", fd);
	else if (guard_admit(&worker->guard, &peer, &guarded, &refusal))
		session_new(worker, &smtp, fd, &guarded, false);
	else
		REQUIRE(!"refused at its first connection");
}

static void begin(unsigned kind)
{
	int pair[2];

	fuzz_pair(pair);
	client = pair[0];
	told = delivered = delivered_in_part = 0;
	prdr_said = false;
	memset(last_said, 0, sizeof(last_said));
	all_honest = true;
	for (size_t i = 0; i < PEERS; i++)
		peers[i].fd = -1;
	worker = worker_new(&context);
	come(pair[1], kind);
}

/* With both sides gone nothing may be left, and nothing may take long. */
static void finish(void)
{
	close(client);
	client = -1;
	for (int i = 0; i < LAST_TURNS && worker->session_count; i++) {
		for (size_t j = 0; j < PEERS; j++)
			peer_close(&peers[j]);
		turn();
	}
	REQUIRE(worker->session_count == 0);
	struct limits_client everybody = limits_enter_everybody(context.limits);
	REQUIRE(limits_connections(context.limits, &everybody) == 1);
	limits_leave(context.limits, &everybody);
	worker_free(&worker);
	for (size_t i = 0; i < PEERS; i++)
		peer_close(&peers[i]);
	fuzz_accept_none(listener);
	buf_release(&client_line);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct text in = fuzz_text(data, size), octets;
	unsigned step;

	begin(size ? data[size - 1] : 0);
	while (fuzz_step(&in, STEPS, &step, &octets)) {
		take_step(step, (const uint8_t *)octets.ptr, octets.len);
		for (int i = 0; i < TURNS; i++)
			turn();
	}
	finish();
	return 0;
}

static char directory[] = "/tmp/fuzz-smtp-in-XXXXXX";
static char hand_over[64];

static void clean_up(void)
{
	unlink(hand_over + strlen("unix:"));
	rmdir(directory);
}

static void set(const char *name, const char *value)
{
	fuzz_set(&smtp_in_section, &settings, name, value);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	char error[200];

	(void)argc, (void)argv;
	log_open("fuzz", LOG_LEVEL_ERROR);
	REQUIRE(mkdtemp(directory));
	atexit(clean_up);
	snprintf(hand_over, sizeof(hand_over), "unix:%s/lmtp", directory);
	listener = fuzz_listen(hand_over + strlen("unix:"));
	settings_preset(&common_section, &common);
	settings_preset(&smtp_in_section, &settings);
	set("message-size", "4096");
	set("hand-over", hand_over);
	set("recipients", "50");
	set("hand-over-memory", "60");
	set("greeting-delay", "0");
	set("failure-delay", "0");
	set("failed-recipients-per-hour", "3");
	set("messages-per-hour", "3");
	set("messages-per-hour-total", "0");
	set("connections-per-minute", "0");
	set("connections-per-minute-total", "0");
	set("failed-recipients-per-hour-total", "0");
	loop = event_base_new();
	context = (struct role_context){ .loop = loop,
		.common = &common,
		.settings = &settings,
		.tls = tls_new(text_of(certificate_chain), text_of(certificate_key), error,
			sizeof(error)) };
	REQUIRE(context.tls);
	context.limits = limits_open(limits_make(1), 1, 0);
	REQUIRE(context.limits);
	return 0;
}
