/*
 * A worker of the mda on a loop of its own, a client's socket and a store that does as it is told, all in
 * one process and all over real sockets.
 */
#ifndef TESTS_UNIT_MDA_HARNESS_H
#define TESTS_UNIT_MDA_HARNESS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <event2/event.h>
#include <fnmatch.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/ipc.h"
#include "base/log.h"
#include "base/mem.h"
#include "mda/resolve.h"
#include "mda/session.h"
#include "mda/worker.h"
#include "store/client.h"

enum { HARNESS_PATIENCE = 120, HARNESS_REQUESTS = 4096 };

/* A request that the store was asked and has not answered yet. */
struct harness_request {
	uint16_t type;
	uint32_t tag;
	char *address; /* LOOKUP's */
};

struct harness {
	struct event_base *loop;
	struct worker *worker;
	struct common_settings common;
	struct mda_settings settings;
	int client;     /* our end of the client's connection, or -1 */
	struct buf got; /* what it received and no test has looked at */

	struct ipc *store; /* NULL: away */
	bool refuse_connections;
	bool once_only; /* what LOOKUP says does not last */
	bool manual;    /* requests wait in `requests` for harness_answer() */
	struct harness_request requests[HARNESS_REQUESTS];
	size_t request_count;

	unsigned lookups, spools, deliveries, drops, connections;
	uint64_t lookup_size; /* of the last LOOKUP */
	enum store_failure lookup_failure, spool_failure, deliver_failure;
	const char *deliver_user; /* whom a failed DELIVER names */
	const char *
		deliver_verdicts; /* one digit (or letter after 9) for each recipient; NULL: none */
	int spool_fd;             /* our descriptor of the last spool file */
	uint32_t last_spool;
	char *body; /* of the last DELIVER, or of its spool file */
	size_t body_size;
	char *recipients; /* "user/mailbox user/mailbox " */
	char *wishes;     /* "group,once,once-seconds,flags,keywords " for each of them */
	int64_t received;
	char *id;
};

static const char *const harness_users[] = { "alice@example.test", "bob@example.test",
	"carol@example.test", "postmaster@example.test" };

static bool harness_has_user(const char *address)
{
	for (size_t i = 0; i < sizeof(harness_users) / sizeof(harness_users[0]); i++) {
		if (strcmp(harness_users[i], address) == 0)
			return true;
	}
	return strncmp(address, "user", 4) == 0 && strstr(address, "@example.test");
}

/* ---- the store's side ---- */

/* Whom an address leads to: "team" to a list of alice and bob, owned by carol; "crowd" to a thousand. */
static struct text harness_targets(struct text address, struct buf *run)
{
	const bool team = text_begins(address, TEXT("team")),
		   crowd = text_begins(address, TEXT("crowd"));
	char user[40];

	for (int i = 0; i < (crowd ? 1000 : team ? 2 : 1); i++) {
		snprintf(user, sizeof(user), "user%d@example.test", i);
		store_target_pack(run,
			&(struct store_target){ .user = crowd  ? text_of(user)
							: team ? text_of(harness_users[i])
							       : address,
				.mailbox = TEXT("INBOX"),
				.owner = team || crowd ? TEXT("carol@example.test") : TEXT("") });
	}
	return buf_text(run);
}

static enum store_failure harness_find(struct text address)
{
	const struct text domain = text_from(address, (size_t)text_find_last(address, '@') + 1);

	if (!text_equal(domain, TEXT("example.test")) && !text_equal(domain, TEXT("second.test")))
		return STORE_REFUSED;
	if (text_equal(address, TEXT("team@example.test")) ||
		text_equal(address, TEXT("crowd@example.test")))
		return STORE_OK;
	return harness_has_user(address.ptr) ? STORE_OK : STORE_NO_SUCH_USER;
}

static void harness_lookup_reply(struct harness *h, const struct harness_request *request)
{
	struct text address = text_of(request->address);
	enum store_failure failure = h->lookup_failure;
	struct buf run = { 0 };

	if (text_equal(address, TEXT("postmaster")))
		address = TEXT("postmaster@example.test");
	if (failure == STORE_OK)
		failure = harness_find(address);
	store_lookup_reply_pack(ipc_begin(h->store, STORE_LOOKUP, request->tag),
		&(struct store_lookup_reply){ .failure = (uint8_t)failure,
			.lasting = !h->once_only,
			.targets =
				failure == STORE_OK ? harness_targets(address, &run) : TEXT("") });
	ipc_end(h->store, -1);
	buf_release(&run);
}

static void harness_spool_reply(struct harness *h, const struct harness_request *request)
{
	if (h->spool_failure == STORE_OK) {
		if (h->spool_fd >= 0)
			close(h->spool_fd);
		h->spool_fd = memfd_create("spool", MFD_CLOEXEC);
		h->last_spool++;
	}
	store_spool_reply_pack(ipc_begin(h->store, STORE_SPOOL, request->tag),
		&(struct store_spool_reply){ .failure = (uint8_t)h->spool_failure,
			.spool = h->spool_failure == STORE_OK ? h->last_spool : 0 });
	ipc_end(h->store, h->spool_failure == STORE_OK ? h->spool_fd : -1);
}

static void harness_deliver_reply(struct harness *h, const struct harness_request *request)
{
	struct buf verdicts = { 0 }, uids = { 0 };

	for (const char *at = h->deliver_verdicts ? h->deliver_verdicts : ""; *at; at++) {
		const int verdict = *at <= '9' ? *at - '0' : *at - 'a' + 10;
		message_add_u8(&verdicts, (uint8_t)verdict);
		message_add_u32(&uids, verdict ? 0 : 7);
	}
	store_deliver_reply_pack(ipc_begin(h->store, STORE_DELIVER, request->tag),
		&(struct store_deliver_reply){ .failure = (uint8_t)h->deliver_failure,
			.user = text_of(h->deliver_user ? h->deliver_user : ""),
			.verdicts = buf_text(&verdicts),
			.uids = buf_text(&uids),
			.file = TEXT("1795310862.M1P2Q3.host") });
	ipc_end(h->store, -1);
	buf_release(&verdicts);
	buf_release(&uids);
}

/* Answer the oldest request but `skip` that waits. */
static void harness_answer(struct harness *h, size_t skip)
{
	assert_true(h->request_count > skip);
	struct harness_request request = h->requests[skip];
	memmove(&h->requests[skip], &h->requests[skip + 1],
		(h->request_count - skip - 1) * sizeof(request));
	h->request_count--;
	if (request.type == STORE_LOOKUP)
		harness_lookup_reply(h, &request);
	else if (request.type == STORE_SPOOL)
		harness_spool_reply(h, &request);
	else
		harness_deliver_reply(h, &request);
	mem_free(request.address);
}

static void harness_keep_delivery(struct harness *h, const struct store_deliver *deliver)
{
	struct message_reader in = { .at = deliver->recipients.ptr,
		.left = deliver->recipients.len };
	struct store_recipient recipient;
	struct buf recipients = { 0 }, wishes = { 0 };

	mem_free(h->body);
	mem_free(h->recipients);
	mem_free(h->wishes);
	mem_free(h->id);
	h->body_size = deliver->body.len;
	h->body = mem_copy(deliver->body.ptr, deliver->body.len);
	if (deliver->spool) {
		assert_int_equal(deliver->spool, h->last_spool);
		assert_int_equal(deliver->body.len, 0);
		h->body_size = (size_t)lseek(h->spool_fd, 0, SEEK_END);
		mem_free(h->body);
		h->body = mem_new(h->body_size + 1);
		assert_int_equal(pread(h->spool_fd, h->body, h->body_size, 0), h->body_size);
	}
	while (in.left) {
		assert_int_equal(store_recipient_unpack_from(&in, &recipient), 0);
		buf_format(&recipients, "%.*s/%.*s ", TEXT_ARG(recipient.user),
			TEXT_ARG(recipient.mailbox));
		buf_format(&wishes, "%u,%.*s,%u,%u,%.*s ", recipient.group,
			TEXT_ARG(recipient.once), recipient.once_seconds, recipient.flags,
			TEXT_ARG(recipient.keywords));
	}
	h->recipients = mem_copy(buf_text(&recipients).ptr, buf_length(&recipients));
	h->wishes = mem_copy(buf_text(&wishes).ptr, buf_length(&wishes));
	h->id = mem_copy(deliver->id.ptr, deliver->id.len);
	h->received = deliver->received;
	buf_release(&recipients);
	buf_release(&wishes);
}

static void harness_on_frame(void *owner, struct ipc_frame *frame)
{
	struct harness *h = owner;
	struct harness_request request = { .type = frame->type, .tag = frame->tag };
	struct store_lookup lookup;
	struct store_spool spool;
	struct store_deliver deliver;

	switch ((enum store_message)frame->type) {
	case STORE_LOOKUP:
		assert_int_equal(store_lookup_unpack(frame->payload, &lookup), 0);
		request.address = mem_copy(lookup.address.ptr, lookup.address.len);
		h->lookup_size = lookup.size;
		h->lookups++;
		break;
	case STORE_SPOOL:
		assert_int_equal(store_spool_unpack(frame->payload, &spool), 0);
		h->spools++;
		break;
	case STORE_DELIVER:
		assert_int_equal(store_deliver_unpack(frame->payload, &deliver), 0);
		if (deliver.recipients.len == 0) {
			assert_in_range(deliver.spool, 1, h->last_spool);
			h->drops++;
			store_deliver_reply_pack(ipc_begin(h->store, STORE_DELIVER, frame->tag),
				&(struct store_deliver_reply){
					.failure = STORE_INVALID, .user = TEXT("") });
			ipc_end(h->store, -1);
			return;
		}
		h->deliveries++;
		harness_keep_delivery(h, &deliver);
		break;
	default:
		fail_msg("the mda asked for %s", store_message_name(frame->type));
	}
	assert_true(h->request_count < HARNESS_REQUESTS);
	h->requests[h->request_count++] = request;
	if (!h->manual)
		harness_answer(h, h->request_count - 1);
}

static void harness_forget_requests(struct harness *h)
{
	while (h->request_count)
		mem_free(h->requests[--h->request_count].address);
}

static void harness_on_ended(void *owner, const char *reason)
{
	struct harness *h = owner;

	(void)reason;
	ipc_free(&h->store);
	harness_forget_requests(h);
}

static const struct ipc_handlers harness_ipc = {
	.frame = harness_on_frame,
	.ended = harness_on_ended,
};

static int harness_connect(void *owner)
{
	struct harness *h = owner;
	int pair[2];

	if (h->refuse_connections) {
		errno = ECONNREFUSED;
		return -1;
	}
	assert_int_equal(
		socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair), 0);
	h->store = ipc_new(h->loop, pair[0], STORE_PAYLOAD_LIMIT, &harness_ipc, h);
	h->connections++;
	return pair[1];
}

static inline void harness_store_dies(struct harness *h)
{
	ipc_free(&h->store);
	harness_forget_requests(h);
}

static inline void harness_directory_changed(struct harness *h)
{
	store_directory_pack(
		ipc_begin(h->store, STORE_DIRECTORY, 0), &(struct store_directory){ .version = 2 });
	ipc_end(h->store, -1);
}

/* ---- the client's side ---- */

static inline void harness_new_client(struct harness *h, bool trusted)
{
	int pair[2];

	if (h->client >= 0)
		close(h->client);
	buf_clear(&h->got);
	assert_int_equal(
		socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair), 0);
	h->client = pair[0];
	worker_accept(h->worker, pair[1], trusted);
}

static struct harness *harness_start(void)
{
	struct harness *h = mem_new(sizeof(*h));
	char error[256];

	*h = (struct harness){ .client = -1, .spool_fd = -1 };
	h->loop = event_base_new();
	settings_preset(&common_section, &h->common);
	settings_preset(&mda_section, &h->settings);
	h->settings.dsn = true;
	assert_int_equal(settings_set(&common_section, &h->common, "domains",
				 TEXT("example.test Second.test"), error, sizeof(error)),
		0);
	assert_int_equal(settings_set(&common_section, &h->common, "hostname",
				 TEXT("mail.example.test"), error, sizeof(error)),
		0);
	h->worker = worker_new(&(struct worker_options){
		.loop = h->loop,
		.common = &h->common,
		.settings = &h->settings,
		.connect = harness_connect,
		.owner = h,
	});
	return h;
}

static inline void harness_set(struct harness *h, const char *name, const char *value)
{
	char error[256];

	assert_int_equal(settings_set(&mda_section, &h->settings, name, text_of(value), error,
				 sizeof(error)),
		0);
	worker_reload(h->worker, &h->common, &h->settings);
}

static void harness_stop(struct harness *h)
{
	worker_free(&h->worker);
	ipc_free(&h->store);
	harness_forget_requests(h);
	if (h->client >= 0)
		close(h->client);
	if (h->spool_fd >= 0)
		close(h->spool_fd);
	buf_release(&h->got);
	mem_free(h->body);
	mem_free(h->recipients);
	mem_free(h->wishes);
	mem_free(h->id);
	settings_free(&common_section, &h->common);
	settings_free(&mda_section, &h->settings);
	event_base_free(h->loop);
	mem_free(h);
}

static bool harness_read(struct harness *h)
{
	ssize_t got = -1;

	if (h->client >= 0)
		got = recv(h->client, buf_room(&h->got, 65536), 65536, MSG_DONTWAIT);
	if (got > 0)
		buf_commit(&h->got, (size_t)got);
	return got == 0;
}

/* Let everything happen that can happen now. */
static void harness_settle(struct harness *h)
{
	for (int round = 0; round < 30; round++) {
		event_base_loop(h->loop, EVLOOP_NONBLOCK);
		harness_read(h);
	}
}

/* Run until until() says so; fails when it takes too long. */
static void harness_wait(struct harness *h, bool (*until)(struct harness *))
{
	const time_t end = time(NULL) + HARNESS_PATIENCE;
	const struct timeval tick = { .tv_usec = 2000 };

	while (!until(h)) {
		if (time(NULL) > end)
			fail_msg("nothing more came; so far: %.*s", TEXT_ARG(buf_text(&h->got)));
		event_base_loopexit(h->loop, &tick);
		event_base_dispatch(h->loop);
		harness_read(h);
	}
}

static void harness_send(struct harness *h, struct text octets)
{
	const time_t end = time(NULL) + HARNESS_PATIENCE;

	while (octets.len) {
		ssize_t sent = send(h->client, octets.ptr, octets.len, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (sent > 0)
			octets = text_from(octets, (size_t)sent);
		else
			assert_true(errno == EAGAIN && time(NULL) <= end);
		event_base_loop(h->loop, EVLOOP_NONBLOCK);
		harness_read(h);
	}
}

static inline void harness_say(struct harness *h, const char *octets)
{
	harness_send(h, text_of(octets));
}

static bool harness_has_line(struct harness *h)
{
	return text_find(buf_text(&h->got), '\n') >= 0;
}

/* The next line that the client receives must match the pattern (fnmatch). */
static void harness_expect(struct harness *h, const char *pattern)
{
	harness_wait(h, harness_has_line);
	size_t length = (size_t)text_find(buf_text(&h->got), '\n') + 1;
	char *line = mem_copy(buf_text(&h->got).ptr, length);
	assert_true(length >= 2 && line[length - 2] == '\r');
	line[length - 2] = '\0';
	if (fnmatch(pattern, line, 0) != 0)
		fail_msg("expected \"%s\" but got \"%s\"", pattern, line);
	mem_free(line);
	buf_consume(&h->got, length);
}

/* Nothing has been received that no test looked at. */
static inline void harness_expect_nothing(struct harness *h)
{
	harness_settle(h);
	if (buf_length(&h->got))
		fail_msg("expected nothing but got \"%.*s\"", TEXT_ARG(buf_text(&h->got)));
}

static bool harness_is_closed(struct harness *h)
{
	return harness_read(h);
}

static inline void harness_expect_end(struct harness *h)
{
	harness_wait(h, harness_is_closed);
	close(h->client);
	h->client = -1;
}

static bool harness_store_is_there(struct harness *h)
{
	return h->store != NULL;
}

static inline void harness_wait_for_store(struct harness *h)
{
	harness_wait(h, harness_store_is_there);
}

/* Greeting and LHLO are behind us. */
static inline void harness_greet(struct harness *h, bool trusted)
{
	harness_new_client(h, trusted);
	harness_expect(h, "220 mail.example.test LMTP *");
	harness_say(h, "LHLO client.test\r\n");
	harness_expect(h, "250-mail.example.test");
	harness_expect(h, "250-PIPELINING");
	harness_expect(h, "250-ENHANCEDSTATUSCODES");
	harness_expect(h, "250-8BITMIME");
	harness_expect(h, "250-SMTPUTF8");
	harness_expect(h, "250-CHUNKING");
	harness_expect(h, "250-DSN");
	if (trusted) {
		harness_expect(h, "250-SIZE 37748736");
		harness_expect(h, "250-XDELIVER");
		harness_expect(h, "250-PRDR");
		harness_expect(h, "250 XID");
	} else {
		harness_expect(h, "250 SIZE 37748736");
	}
}

/* A transaction for these recipients ("a@x b@y") up to 354. */
static inline void harness_envelope(struct harness *h, const char *recipients)
{
	struct text rest = text_of(recipients), recipient;

	harness_say(h, "MAIL FROM:<sender@elsewhere.test>\r\n");
	harness_expect(h, "250 2.1.0 *");
	while (text_split(&rest, ' ', &recipient)) {
		char line[512];
		snprintf(line, sizeof(line), "RCPT TO:<%.*s>\r\n", TEXT_ARG(recipient));
		harness_say(h, line);
		harness_expect(h, "250 2.1.5 *");
	}
	harness_say(h, "DATA\r\n");
	harness_expect(h, "354 *");
}

#endif
