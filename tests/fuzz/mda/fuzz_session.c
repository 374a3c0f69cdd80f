/*
 * Whole LMTP sessions: the input drives the octets of several clients and the store's answers, in any order
 * and in any pieces. Beyond not crashing:
 *
 *	- "stored" is said only of a message that the store had answered with STORE_OK;
 *	- what is handed to the store begins with our trace field, holds no NUL and no CR, and is for
 *	  somebody whom the store had named before;
 *	- every reply is a line that a client can read, and what waits to be sent stays bounded;
 *	- when clients and store are gone, so are the sessions.
 *
 * An input is a run of steps, each an octet of kind, an octet of size, and that many octets.
 */
#include <sys/mman.h>

#include "base/log.h"
#include "mda/session.h"
#include "mda/worker.h"
#include "tests/fuzz/session.h"

enum {
	CLIENTS = 3,
	REQUESTS = 4096,
	DELIVERED = 512,
	CLIENT_OUTPUT_LIMIT = 1 << 20,
	BULK_PIECE = 16384,
	TURNS = 4,
	LAST_TURNS = 400,
};

enum step {
	STEP_CLIENT,    /* these octets */
	STEP_COMMANDS,  /* one of the list below for each octet */
	STEP_BULK,      /* many lines, as of a large message */
	STEP_ANSWERS,   /* one answer of the store for each octet; none: all well */
	STEP_FRAME,     /* a frame of these octets from the store */
	STEP_DIRECTORY, /* what was looked up no longer holds */
	STEP_STORE_DIES,
	STEP_CLIENT_ENDS,
	STEP_CLIENT_NEW,
	STEP_STOP,
	STEPS
};

static const char *const commands[] = {
	"LHLO client.test\r\n",
	"MAIL FROM:<s@client.test>\r\n",
	"RCPT TO:<alice@example.test>\r\n",
	"RCPT TO:<bob@example.test>\r\n",
	"RCPT TO:<postmaster>\r\n",
	"RCPT TO:<x@elsewhere.test>\r\n",
	"RCPT TO:<\"a \\\" b\"@example.test>\r\n",
	"DATA\r\n",
	"Subject: x\r\n\r\nbody\r\n.\r\n",
	"no header\r\n",
	"Received: from a by b\r\n",
	"Delivered-To: alice@example.test\r\n",
	".\r\n",
	"..\r\n",
	"a\n.\nb\r\n",
	"\r\n.\r",
	"\n",
	"RSET\r\n",
	"NOOP\r\n",
	"QUIT\r\n",
	"HELP\r\n",
	"VRFY a\r\n",
	"EHLO client.test\r\n",
	"MAIL FROM:<> SIZE=300000 BODY=8BITMIME\r\n",
	"MAIL FROM:<> XID=abc123\r\n",
	"MAIL FROM:<\xc3\xa4@\xc3\xb6.test> SMTPUTF8\r\n",
	"RCPT TO:<\xc3\xa4@example.test>\r\n",
	"RCPT TO:<\xff@example.test>\r\n",
	"RCPT TO:<\r\n",
	"BDAT 12 LAST\r\n",
	"BDAT 5\r\n",
	"BDAT 0 LAST\r\n",
	"BDAT 300000\r\n",
	"BDAT x\r\n",
	"MAIL FROM:<> RET=HDRS ENVID=a+2Bb\r\n",
	"RCPT TO:<carol@example.test> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;x+40y\r\n",
	"MAIL FROM:<> PRDR XDATE=1234567890\r\n",
	"RCPT TO:<alice@example.test> XONCE=a+20b XFLAGS=SF\r\n",
	"RCPT TO:<bob@example.test> XMAILBOX=A/b XKEYWORDS=x+20y\r\n",
	"RCPT TO:<bob@example.test> XMAILBOX=+FF\r\n",
};

struct request {
	uint16_t type;
	uint32_t tag;
	struct id id;                      /* DELIVER's */
	char address[STORE_ADDRESS_LIMIT]; /* LOOKUP's */
	size_t length;
};

struct client {
	int fd; /* -1: none */
	struct buf in;
};

static struct event_base *loop;
static struct common_settings common;
static struct mda_settings settings;
static struct worker *worker;
static struct client clients[CLIENTS];
static struct ipc *store;
static struct request requests[REQUESTS];
static size_t request_count;
static struct id delivered[DELIVERED];
static size_t delivered_count;
static int spool_fd = -1;
static uint32_t spools;

/* ---- the store ---- */

static void check_text(const char *octets, size_t size)
{
	static const char start[] = "Return-Path: <";

	REQUIRE(size >= sizeof(start) - 1 && memcmp(octets, start, sizeof(start) - 1) == 0);
	REQUIRE(!memchr(octets, '\0', size) && !memchr(octets, '\r', size));
	REQUIRE(octets[size - 1] == '\n');
}

static void check_spool(void)
{
	off_t size = lseek(spool_fd, 0, SEEK_END);
	REQUIRE(size > STORE_INLINE_LIMIT / 2);
	char *octets = mmap(NULL, (size_t)size, PROT_READ, MAP_PRIVATE, spool_fd, 0);
	REQUIRE(octets != MAP_FAILED);
	check_text(octets, (size_t)size);
	munmap(octets, (size_t)size);
}

/* False: it only drops a spool file. */
static bool check_delivery(const struct store_deliver *deliver)
{
	struct message_reader in = { .at = deliver->recipients.ptr,
		.left = deliver->recipients.len };
	struct store_recipient recipient;
	struct store_recipient before = { 0 };

	REQUIRE(!deliver->spool || deliver->body.len == 0);
	if (in.left == 0) {
		REQUIRE(deliver->spool);
		return false;
	}
	while (in.left) {
		REQUIRE(store_recipient_unpack_from(&in, &recipient) == 0);
		REQUIRE(recipient.mailbox.len && recipient.mailbox.len <= STORE_MAILBOX_LIMIT);
		REQUIRE(recipient.once.len <= STORE_ONCE_LIMIT);
		/* Groups in order; within one each mailbox once. */
		REQUIRE(!before.user.len || before.group <= recipient.group);
		REQUIRE(before.group < recipient.group || !before.user.len ||
			text_compare(before.user, recipient.user) < 0 ||
			!text_equal(before.mailbox, recipient.mailbox));
		before = recipient;
	}
	if (!deliver->spool)
		check_text(deliver->body.ptr, deliver->body.len);
	else if (deliver->spool == spools)
		check_spool();
	return true;
}

static void on_frame(void *owner, struct ipc_frame *frame)
{
	struct request request = { .type = frame->type, .tag = frame->tag };
	struct store_lookup lookup;
	struct store_deliver deliver;
	struct store_spool spool;

	(void)owner;
	REQUIRE(request_count < REQUESTS && frame->fd < 0 && frame->tag);
	if (frame->type == STORE_LOOKUP) {
		REQUIRE(store_lookup_unpack(frame->payload, &lookup) == 0);
		memcpy(request.address, lookup.address.ptr, lookup.address.len);
		request.length = lookup.address.len;
	} else if (frame->type == STORE_DELIVER) {
		REQUIRE(store_deliver_unpack(frame->payload, &deliver) == 0);
		if (check_delivery(&deliver))
			REQUIRE(id_parse(deliver.id, &request.id) == 0);
	} else {
		REQUIRE(frame->type == STORE_SPOOL);
		REQUIRE(store_spool_unpack(frame->payload, &spool) == 0);
	}
	requests[request_count++] = request;
}

static void on_ended(void *owner, const char *reason)
{
	(void)owner, (void)reason;
	ipc_free(&store);
	request_count = 0;
}

static const struct ipc_handlers store_handlers = { .frame = on_frame, .ended = on_ended };

static int connect_store(void *owner)
{
	int pair[2];

	(void)owner;
	fuzz_pair(pair);
	ipc_free(&store);
	request_count = 0;
	store = ipc_new(loop, pair[0], STORE_PAYLOAD_LIMIT, &store_handlers, NULL);
	return pair[1];
}

static void note_delivered(struct id id)
{
	if (delivered_count < DELIVERED)
		delivered[delivered_count++] = id;
}

static bool was_delivered(struct text id)
{
	for (size_t i = 0; i < delivered_count; i++) {
		if (text_equal(text_of(delivered[i].string), id))
			return true;
	}
	return delivered_count == DELIVERED;
}

static void answer_spool(const struct request *request, enum store_failure failure)
{
	struct store_spool_reply reply = { .failure = (uint8_t)failure };

	if (failure == STORE_OK) {
		if (spool_fd >= 0)
			close(spool_fd);
		spool_fd = memfd_create("spool", MFD_CLOEXEC);
		REQUIRE(spool_fd >= 0);
		reply.spool = ++spools;
	}
	store_spool_reply_pack(ipc_begin(store, STORE_SPOOL, request->tag), &reply);
	ipc_end(store, failure == STORE_OK ? spool_fd : -1);
}

static struct request take_request(size_t i)
{
	const struct request request = requests[i];

	memmove(&requests[i], &requests[i + 1], (--request_count - i) * sizeof(request));
	return request;
}

static void answer(size_t i, enum store_failure failure)
{
	const struct request request = take_request(i);
	struct store_lookup_reply lookup = { .failure = (uint8_t)failure, .lasting = 1 };
	struct buf run = { 0 };

	if (request.type == STORE_SPOOL) {
		answer_spool(&request, failure);
		return;
	}
	if (request.type == STORE_DELIVER) {
		if (failure == STORE_OK)
			note_delivered(request.id);
		store_deliver_reply_pack(ipc_begin(store, STORE_DELIVER, request.tag),
			&(struct store_deliver_reply){
				.failure = (uint8_t)failure, .user = TEXT("alice@example.test") });
	} else {
		/* Some addresses are lists. */
		for (size_t k = 0; failure == STORE_OK && k <= request.length % 3; k++)
			store_target_pack(
				&run, &(struct store_target){
					      .user = { request.address, request.length - k },
					      .mailbox = k ? TEXT("lists") : TEXT("INBOX"),
					      .owner = k ? TEXT("owner@example.test") : TEXT("") });
		lookup.targets = buf_text(&run);
		store_lookup_reply_pack(ipc_begin(store, STORE_LOOKUP, request.tag), &lookup);
	}
	ipc_end(store, -1);
	buf_release(&run);
}

static void take_answers(const uint8_t *octets, size_t size)
{
	while (size == 0 && store && request_count)
		answer(0, STORE_OK);
	for (size_t i = 0; i < size && store && request_count; i++)
		answer(octets[i] % 8 % request_count, octets[i] / 8 % STORE_AWAY);
}

/* Which request it answers, and how, is for the input to say; a good answer counts like any other. */
static void send_frame(const uint8_t *octets, size_t size)
{
	struct store_deliver_reply reply;
	const bool with_fd = size > 2 && (octets[0] & 128) && spool_fd >= 0;

	if (!store || size < 2)
		return;
	const uint16_t type = octets[0] & 127;
	const uint32_t tag = octets[1];
	const struct text payload = { .ptr = (const char *)octets + 2, .len = size - 2 };
	for (size_t i = 0; i < request_count; i++) {
		if (requests[i].tag != tag)
			continue;
		const struct request request = take_request(i);
		if (type == STORE_DELIVER && request.type == type &&
			store_deliver_reply_unpack(payload, &reply) == 0 &&
			reply.failure == STORE_OK)
			note_delivered(request.id);
		break;
	}
	buf_add(ipc_begin(store, type, tag), payload);
	ipc_end(store, with_fd ? spool_fd : -1);
}

/* ---- the clients ---- */

static void client_closes(struct client *client)
{
	if (client->fd >= 0)
		close(client->fd);
	client->fd = -1;
	buf_release(&client->in);
}

static void client_begins(struct client *client, bool trusted)
{
	int pair[2];

	client_closes(client);
	fuzz_pair(pair);
	client->fd = pair[0];
	worker_accept(worker, pair[1], trusted);
}

static void check_reply(struct text line)
{
	REQUIRE(line.len >= 5 && line.len <= REPLY_LINE_LIMIT && line.ptr[line.len - 2] == '\r');
	REQUIRE(line.ptr[0] >= '2' && line.ptr[0] <= '5');
	REQUIRE(line.ptr[3] == ' ' || line.ptr[3] == '-');
	for (size_t i = 0; i < line.len - 2; i++)
		REQUIRE((unsigned char)line.ptr[i] >= ' ');
	const struct text good = TEXT("250 2.0.0 "), end = TEXT(" stored\r\n");
	if (text_begins(line, good) && text_equal(text_from(line, line.len - end.len), end))
		REQUIRE(was_delivered(
			text_head(text_from(line, good.len), line.len - good.len - end.len)));
}

static void client_reads(struct client *client)
{
	ssize_t n;

	while (client->fd >= 0 &&
		(n = recv(client->fd, buf_room(&client->in, BULK_PIECE), BULK_PIECE, 0)) > 0)
		buf_commit(&client->in, (size_t)n);
	for (;;) {
		const struct text in = buf_text(&client->in);
		const ptrdiff_t end = text_find(in, '\n');
		if (end < 0)
			break;
		check_reply(text_head(in, (size_t)end + 1));
		buf_consume(&client->in, (size_t)end + 1);
	}
}

static void client_says(struct client *client, const void *octets, size_t size)
{
	if (client->fd >= 0 && size)
		(void)!send(client->fd, octets, size, MSG_NOSIGNAL);
}

/* ---- all of them ---- */

static void turn(void)
{
	event_base_loop(loop, EVLOOP_NONBLOCK);
	for (const struct session *session = worker->sessions; session; session = session->next) {
		if (session->conn)
			REQUIRE(conn_output_length(session->conn) < CLIENT_OUTPUT_LIMIT);
	}
	for (size_t i = 0; i < CLIENTS; i++)
		client_reads(&clients[i]);
}

static void send_bulk(struct client *client, unsigned pieces)
{
	static char lines[BULK_PIECE];

	for (size_t i = 0; i < sizeof(lines); i++)
		lines[i] = i % 64 == 62 ? '\r' : i % 64 == 63 ? '\n' : 'x';
	for (unsigned i = 0; i < pieces; i++) {
		client_says(client, lines, sizeof(lines));
		turn();
	}
}

static void take_client_step(enum step step, const uint8_t *octets, size_t size)
{
	struct client *client = &clients[size ? octets[0] % CLIENTS : 0];
	const char *line;

	switch (step) {
	case STEP_CLIENT:
		if (size)
			client_says(client, octets + 1, size - 1);
		break;
	case STEP_COMMANDS:
		for (size_t i = 1; i < size; i++) {
			line = commands[octets[i] % (sizeof(commands) / sizeof(commands[0]))];
			client_says(client, line, strlen(line));
		}
		break;
	case STEP_BULK:
		send_bulk(client, size > 1 ? octets[1] % 40U : 20);
		break;
	case STEP_CLIENT_ENDS:
		if (size > 1)
			client_closes(client);
		else if (client->fd >= 0)
			shutdown(client->fd, SHUT_WR);
		break;
	case STEP_CLIENT_NEW:
		client_begins(client, size > 1 && octets[1] & 1);
		break;
	case STEP_ANSWERS:
	case STEP_FRAME:
	case STEP_DIRECTORY:
	case STEP_STORE_DIES:
	case STEP_STOP:
	case STEPS:
		break;
	}
}

static void take_step(enum step step, const uint8_t *octets, size_t size)
{
	switch (step) {
	case STEP_CLIENT:
	case STEP_COMMANDS:
	case STEP_BULK:
	case STEP_CLIENT_ENDS:
	case STEP_CLIENT_NEW:
		take_client_step(step, octets, size);
		break;
	case STEP_ANSWERS:
		take_answers(octets, size);
		break;
	case STEP_FRAME:
		send_frame(octets, size);
		break;
	case STEP_DIRECTORY:
		if (store) {
			store_directory_pack(ipc_begin(store, STORE_DIRECTORY, 0),
				&(struct store_directory){ .version = size });
			ipc_end(store, -1);
		}
		break;
	case STEP_STORE_DIES:
		if (size > 2)
			on_ended(NULL, "");
		break;
	case STEP_STOP:
		if (size > 200)
			worker_stop(worker);
		break;
	case STEPS:
		break;
	}
}

static void begin(void)
{
	worker = worker_new(&(struct worker_options){
		.loop = loop,
		.common = &common,
		.settings = &settings,
		.connect = connect_store,
	});
	delivered_count = 0;
	for (size_t i = 0; i < CLIENTS; i++)
		clients[i].fd = -1;
	client_begins(&clients[0], false);
}

/* With all others gone no session may be left, and nothing may take long. */
static void finish(void)
{
	for (size_t i = 0; i < CLIENTS; i++)
		client_closes(&clients[i]);
	on_ended(NULL, "");
	for (int i = 0; i < LAST_TURNS && worker->session_count; i++)
		turn();
	REQUIRE(worker->session_count == 0);
	worker_free(&worker);
	on_ended(NULL, "");
	if (spool_fd >= 0)
		close(spool_fd);
	spool_fd = -1;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct text in = fuzz_text(data, size), octets;
	unsigned step;

	begin();
	while (fuzz_step(&in, STEPS, &step, &octets)) {
		take_step(step, (const uint8_t *)octets.ptr, octets.len);
		for (int i = 0; i < TURNS; i++)
			turn();
	}
	finish();
	return 0;
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc, (void)argv;
	log_open("fuzz", LOG_LEVEL_ERROR + 1);
	loop = event_base_new();
	settings_preset(&common_section, &common);
	settings_preset(&mda_section, &settings);
	settings.dsn = true;
	fuzz_set(&common_section, &common, "domains", "example.test");
	fuzz_set(&mda_section, &settings, "message-size", "600K");
	return 0;
}
