/*
 * Sessions on a submission port, before and after AUTH: the input drives the client's octets and what the
 * store answers, in any order and in any pieces; the LMTP server takes everything. Beyond not crashing:
 *
 *	- a login succeeds, and MAIL is taken, only after the store said so;
 *	- a message comes to its end at the LMTP server only when everything asked about its senders was
 *	  answered well;
 *	- when client and store are gone, so is the session.
 *
 * An input is a run of steps, each an octet of kind, an octet of size, and that many octets.
 */
#include <errno.h>

#include "base/common.h"
#include "base/log.h"
#include "base/role.h"
#include "smtp-in/settings.h"
#include "smtp-in/worker.h"
#include "tests/fuzz/session.h"

enum { ROUNDS = 6, LAST_ROUNDS = 200 };

enum step {
	STEP_OCTETS,
	STEP_COMMAND,
	STEP_ANSWER,
	STEP_FAIL,
	STEP_FRAME,
	STEP_STORE_ENDS,
	STEP_STOP,
	STEPS
};

static const char *const commands[] = { "EHLO client.test\r\n", "AUTH SCRAM-SHA-256\r\n",
	"AUTH SCRAM-SHA-256 biws\r\n", "AUTH SCRAM-SHA-256 =\r\n", "biws\r\n", "*\r\n", "\r\n",
	"!\r\n", "AUTH PLAIN AGEAYg==\r\n", "AUTH LOGIN\r\n", "MAIL FROM:<alice@example.test>\r\n",
	"MAIL FROM:<bob@example.test> AUTH=<>\r\n", "MAIL FROM:<>\r\n",
	"RCPT TO:<bob@example.test>\r\n", "DATA\r\n", "From: alice@example.test\r\n",
	"From: a@b.test, c@d.test\r\n", "Bcc: x\r\n", " folded\r\n", "\r\nbody\r\n.\r\n", ".\r\n",
	"RSET\r\n", "QUIT\r\n", "NOOP\r\n", "BDAT 9\r\nFrom: a@b\r\n", "BDAT 2 LAST\r\n\r\n",
	"BDAT 0 LAST\r\n", "STARTTLS\r\n", "HELO client.test\r\n" };

static struct event_base *loop;
static struct role_context context;
static struct smtp_in_settings settings;
static struct common_settings common;
static struct worker *worker;
static int client;

static struct fuzz_store store;
static bool has_login; /* the store has said so, or something by itself that may have been that */
static bool is_free;   /* it said frames of its own: of those nothing is known */
static size_t bad;     /* answers about senders since the LMTP server heard MAIL */
static struct {
	bool good;
	char address[STORE_ADDRESS_LIMIT + 1];
} judged; /* the last answer about a sender */

/* The LMTP server, of one connection at a time. */
static int mda_listener, mda;
static struct buf mda_in;
static bool in_message;

/* ---- the store ---- */

/* The oldest request: with a failure, or with what the octets say. */
static void answer(uint8_t failure, struct text octets)
{
	const struct fuzz_request *request = fuzz_store_oldest(&store);
	struct store_owns owns;

	if (!request)
		return;
	if (request->type == STORE_OWNS) {
		const struct text payload = { request->payload, request->length };
		REQUIRE(store_owns_unpack(payload, &owns) == 0);
		bad += failure != STORE_OK;
		judged.good = failure == STORE_OK;
		snprintf(judged.address, sizeof(judged.address), "%.*s", TEXT_ARG(owns.address));
		store_owns_reply_pack(ipc_begin(store.ipc, request->type, request->tag),
			&(struct store_owns_reply){ .failure = failure });
		ipc_end(store.ipc, -1);
	} else {
		REQUIRE(request->type == STORE_SASL_START || request->type == STORE_SASL_STEP);
		has_login |= failure == STORE_OK && (octets.len == 0 || octets.ptr[0] % 2);
		fuzz_store_answer_sasl(&store, request, failure, octets);
	}
	fuzz_store_forget_oldest(&store);
}

/* ---- the LMTP server ---- */

static void mda_says(const char *what)
{
	REQUIRE(send(mda, what, strlen(what), MSG_NOSIGNAL) == (ssize_t)strlen(what) ||
		errno == EPIPE || errno == ECONNRESET);
}

static void mda_closes(void)
{
	if (mda >= 0)
		close(mda);
	mda = -1;
	in_message = false;
	buf_release(&mda_in);
}

static bool mda_takes_message(void)
{
	const struct text in = buf_text(&mda_in);
	const char *end = text_begins(in, TEXT(".\r\n")) ? in.ptr - 2
							 : memmem(in.ptr, in.len, "\r\n.\r\n", 5);

	if (!end)
		return false;
	buf_consume(&mda_in, (size_t)(end + 5 - in.ptr));
	/* Whatever was found wrong with its senders, it would not have come this far. */
	REQUIRE(is_free || (has_login && bad == 0));
	in_message = false;
	mda_says("250 2.0.0 ok\r\n");
	return true;
}

/* A transaction begins, and the store has just said that the user may be its sender. */
static void check_sender(struct text rest)
{
	const ptrdiff_t end = text_find(rest, '>');
	const struct text sender = text_head(rest, end < 0 ? 0 : (size_t)end);

	bad = 0;
	REQUIRE(is_free || has_login);
	REQUIRE(is_free || sender.len == 0 ||
		(judged.good && text_equal(sender, text_of(judged.address))));
}

static bool mda_takes_line(void)
{
	const struct text in = buf_text(&mda_in);
	const char *end = memmem(in.ptr, in.len, "\r\n", 2);

	if (!end)
		return false;
	in_message = text_begins(in, TEXT("DATA\r"));
	if (text_begins(in, TEXT("MAIL FROM:<")))
		check_sender(text_from(in, 11));
	buf_consume(&mda_in, (size_t)(end + 2 - in.ptr));
	mda_says(in_message ? "354 go\r\n" : "250 2.0.0 ok\r\n");
	return true;
}

static void mda_works(void)
{
	char octets[16384];
	ssize_t n = -1;

	if (mda < 0) {
		mda = fuzz_accept(mda_listener);
		if (mda < 0)
			return;
		mda_says("220 mda\r\n");
	}
	while ((n = recv(mda, octets, sizeof(octets), 0)) > 0)
		buf_add(&mda_in, (struct text){ octets, (size_t)n });
	while (in_message ? mda_takes_message() : mda_takes_line())
		;
	if (n == 0)
		mda_closes();
}

/* ---- the client ---- */

static void client_reads(void)
{
	static char said[1 << 16];
	ssize_t n;

	while (client >= 0 && (n = recv(client, said, sizeof(said), MSG_DONTWAIT)) > 0) {
		const bool logged_in = memmem(said, (size_t)n, "235 2.7.0", 9) != NULL;
		const bool mail = memmem(said, (size_t)n, "250 2.1.0", 9) != NULL;
		REQUIRE(is_free || has_login || (!logged_in && !mail));
	}
}

/* ---- all of them ---- */

static void turn(void)
{
	for (int i = 0; i < ROUNDS; i++) {
		event_base_loop(loop, EVLOOP_NONBLOCK);
		fuzz_store_accept(&store);
		mda_works();
		client_reads();
	}
}

static void take_step(enum step step, struct text octets)
{
	const uint8_t first = octets.len ? (uint8_t)octets.ptr[0] : 0;

	switch (step) {
	case STEP_OCTETS:
		fuzz_send(client, octets);
		break;
	case STEP_COMMAND:
		for (size_t i = 0; i < octets.len; i++)
			fuzz_send(client,
				text_of(commands[(uint8_t)octets.ptr[i] %
						 (sizeof(commands) / sizeof(commands[0]))]));
		break;
	case STEP_ANSWER:
		answer(STORE_OK, octets);
		break;
	case STEP_FAIL:
		answer(1 + first % (STORE_AWAY - 1), octets);
		break;
	case STEP_FRAME:
		is_free |= fuzz_store_say(&store, octets);
		break;
	case STEP_STORE_ENDS:
		fuzz_store_close(&store);
		break;
	case STEP_STOP:
		if (first > 250)
			worker_stop(worker);
		break;
	case STEPS:
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct text in = fuzz_text(data, size), octets;
	unsigned step;
	int pair[2];

	fuzz_pair(pair);
	client = pair[0];
	mda = -1;
	has_login = is_free = false;
	bad = 0;
	judged.good = false;
	worker = worker_new(&context);
	worker_accept(worker, "submission", pair[1]);
	turn();
	while (fuzz_step(&in, STEPS, &step, &octets)) {
		take_step(step, octets);
		turn();
	}
	close(client);
	client = -1;
	for (int i = 0; i < LAST_ROUNDS && worker->session_count; i++) {
		fuzz_store_close(&store);
		mda_closes();
		turn();
	}
	REQUIRE(worker->session_count == 0);
	worker_free(&worker);
	fuzz_store_close(&store);
	mda_closes();
	fuzz_accept_none(mda_listener);
	fuzz_accept_none(store.listener);
	return 0;
}

static char directory[] = "/tmp/fuzz-login-XXXXXX";

static void clean_up(void)
{
	unlink("lmtp");
	unlink("store-smtp-in");
	rmdir(directory);
}

static void set(const char *name, const char *value)
{
	fuzz_set(&smtp_in_section, &settings, name, value);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc, (void)argv;
	log_open("fuzz", LOG_LEVEL_ERROR + 1);
	REQUIRE(mkdtemp(directory) && chdir(directory) == 0);
	atexit(clean_up);
	mda_listener = fuzz_listen("lmtp");
	settings_preset(&common_section, &common);
	settings_preset(&smtp_in_section, &settings);
	set("message-size", "4096");
	set("hand-over", "unix:lmtp");
	set("greeting-delay", "0");
	set("failure-delay", "0");
	set("connections-per-minute", "0");
	set("messages-per-hour", "0");
	loop = event_base_new();
	store = (struct fuzz_store){ .loop = loop, .listener = fuzz_listen("store-smtp-in") };
	context = (struct role_context){ .loop = loop, .common = &common, .settings = &settings };
	return 0;
}
