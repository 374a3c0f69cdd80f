/*
 * The client library over a socket to a peer that keeps what came and says what each test makes it say.
 */
#ifndef TESTS_UNIT_STORE_CLIENT_PEER_H
#define TESTS_UNIT_STORE_CLIENT_PEER_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <event2/event.h>
#include <string.h>
#include <sys/socket.h>

#include "base/ipc.h"
#include "base/log.h"
#include "base/mem.h"
#include "store/client.h"

enum { SEEN = 70000 };

/* ---- the peer: keeps what came ---- */

struct request {
	uint16_t type;
	uint32_t tag;
	char *payload;
	size_t length;
};

static struct event_base *loop;
static struct ipc *peer;
static struct request *requests;
static size_t request_count;
static bool peer_ended;

static inline void peer_frame(void *owner, struct ipc_frame *frame)
{
	(void)owner;
	assert_true(request_count < SEEN);
	requests[request_count++] = (struct request){
		.type = frame->type,
		.tag = frame->tag,
		.payload = mem_copy(frame->payload.ptr, frame->payload.len),
		.length = frame->payload.len,
	};
}

static inline void peer_end(void *owner, const char *reason)
{
	(void)owner, (void)reason;
	peer_ended = true;
}

static const struct ipc_handlers peer_handlers = { .frame = peer_frame, .ended = peer_end };

/* ---- the client's owner: keeps what it was told ---- */

struct answer {
	void *owner;
	enum store_message type;
	enum store_failure failure;
	uint32_t number; /* spool, uid, changed … */
	char user[64];
	bool last;
	int fd;
};

static struct store_client *client;
static struct answer *answers;
static size_t answer_count;
static unsigned ended, changed, directory;
static bool take_fds;
static void (*in_done)(void);

static inline void on_done(void *owner, struct store_reply *reply)
{
	assert_true(answer_count < SEEN);
	struct answer *answer = &answers[answer_count++];
	*answer = (struct answer){
		.owner = owner,
		.type = reply->type,
		.failure = reply->failure,
		.fd = reply->fd,
	};
	if (reply->type == STORE_LOGIN) {
		struct text user = reply->of.login.user;
		assert_true(user.len < sizeof(answer->user));
		if (user.len)
			memcpy(answer->user, user.ptr, user.len);
	}
	if (reply->type == STORE_FETCH) {
		answer->number = reply->of.fetch.uid;
		answer->last = reply->of.fetch.last;
	}
	if (reply->type == STORE_SPOOL)
		answer->number = reply->of.spool.spool;
	if (take_fds)
		reply->fd = -1;
	if (in_done)
		in_done();
}

static inline void on_changed(void *owner, const struct store_changed *notice)
{
	(void)owner;
	changed += notice->messages;
}

static inline void on_directory(void *owner, const struct store_directory *notice)
{
	(void)owner;
	directory += (unsigned)notice->version;
}

static size_t answers_at_end;

static inline void on_ended(void *owner)
{
	assert_ptr_equal(owner, &loop);
	ended++;
	answers_at_end = answer_count;
}

static const struct store_client_handlers handlers = {
	.changed = on_changed,
	.directory = on_directory,
	.ended = on_ended,
};

static inline int setup(void **state)
{
	int pair[2];

	(void)state;
	log_open("test", LOG_LEVEL_ERROR + 1);
	loop = event_base_new();
	requests = mem_array(SEEN, sizeof(*requests));
	answers = mem_array(SEEN, sizeof(*answers));
	assert_int_equal(
		socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair), 0);
	peer = ipc_new(loop, pair[0], STORE_PAYLOAD_LIMIT, &peer_handlers, NULL);
	client = store_client_over(loop, pair[1], &handlers, &loop);
	return 0;
}

static inline int teardown(void **state)
{
	(void)state;
	store_client_free(&client);
	ipc_free(&peer);
	for (size_t i = 0; i < request_count; i++)
		mem_free(requests[i].payload);
	mem_free(requests);
	mem_free(answers);
	event_base_free(loop);
	request_count = answer_count = answers_at_end = 0;
	ended = changed = directory = 0;
	peer_ended = take_fds = false;
	in_done = NULL;
	return 0;
}

/* Until nothing moves any more. */
static inline void run(void)
{
	for (int quiet = 0; quiet < 3;) {
		const size_t before = request_count + answer_count + ended + changed + directory;
		event_base_loop(loop, EVLOOP_NONBLOCK);
		quiet = before == request_count + answer_count + ended + changed + directory
				? quiet + 1
				: 0;
	}
}

static inline void login(void *owner)
{
	store_client_login(client,
		&(struct store_login){
			.user = TEXT("alice@example.test"),
			.password = TEXT("secret"),
			.peer = TEXT("192.0.2.1"),
		},
		on_done, owner);
}

static inline void fetch(const uint32_t *uids, size_t count)
{
	store_client_fetch(client,
		&(struct store_fetch){
			.uids = { .ptr = (const char *)uids, .len = count * sizeof(*uids) },
		},
		on_done, NULL);
}

static inline void reply_login(uint32_t tag, enum store_failure failure, struct text user)
{
	store_login_reply_pack(ipc_begin(peer, STORE_LOGIN, tag),
		&(struct store_login_reply){ .failure = failure, .user = user });
	ipc_end(peer, -1);
}

static inline void reply_fetch(
	uint32_t tag, uint32_t uid, bool last, enum store_failure failure, int fd)
{
	store_fetch_reply_pack(ipc_begin(peer, STORE_FETCH, tag),
		&(struct store_fetch_reply){ .failure = failure, .uid = uid, .last = last });
	ipc_end(peer, fd);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

#endif
