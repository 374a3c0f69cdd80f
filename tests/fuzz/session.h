/*
 * What fuzzers of whole sessions share: sockets, settings, and a store that a session connects to, of which
 * the fuzzer says what it answers.
 */
#ifndef TESTS_FUZZ_SESSION_H
#define TESTS_FUZZ_SESSION_H

#include <event2/event.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/ipc.h"
#include "base/mem.h"
#include "base/settings.h"
#include "store/protocol.h"
#include "tests/fuzz/fuzz.h"

static inline void fuzz_pair(int pair[2])
{
	REQUIRE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) == 0);
}

static inline int fuzz_listen(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	REQUIRE(bind(fd, (struct sockaddr *)&address, sizeof(address)) == 0);
	REQUIRE(listen(fd, 64) == 0);
	return fd;
}

/* The next connection, or -1. */
static inline int fuzz_accept(int listener)
{
	return accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
}

/* Connections that nobody has taken belong to the input that made them. */
static inline void fuzz_accept_none(int listener)
{
	for (int fd; (fd = fuzz_accept(listener)) >= 0;)
		close(fd);
}

/* As many as there is room for: what the other side does not read is its own affair. */
static inline void fuzz_send(int fd, struct text octets)
{
	if (fd >= 0 && octets.len)
		(void)!send(fd, octets.ptr, octets.len, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static inline void fuzz_set(
	const struct settings_section *section, void *values, const char *name, const char *value)
{
	char error[256];

	REQUIRE(settings_set(section, values, name, text_of(value), error, sizeof(error)) == 0);
}

/* ---- a store of one connection ---- */

enum { FUZZ_REQUESTS = 64 };

struct fuzz_request {
	uint16_t type;
	uint32_t tag;
	char *payload;
	size_t length;
};

struct fuzz_store {
	struct event_base *loop;
	int listener;
	struct ipc *ipc; /* NULL: nobody is connected */
	/* What it was asked and has not answered yet; further requests are forgotten. */
	struct fuzz_request asked[FUZZ_REQUESTS];
	size_t first, count;
};

static inline void fuzz_store_heard(void *owner, struct ipc_frame *frame)
{
	struct fuzz_store *store = owner;

	if (store->count == FUZZ_REQUESTS)
		return;
	store->asked[(store->first + store->count++) % FUZZ_REQUESTS] = (struct fuzz_request){
		.type = frame->type,
		.tag = frame->tag,
		.payload = mem_copy(frame->payload.ptr, frame->payload.len),
		.length = frame->payload.len,
	};
}

static inline void fuzz_store_ended(void *owner, const char *reason)
{
	struct fuzz_store *store = owner;

	(void)reason;
	ipc_free(&store->ipc);
}

/* The oldest request, or NULL when there is none or nobody to answer. */
static inline const struct fuzz_request *fuzz_store_oldest(const struct fuzz_store *store)
{
	return store->ipc && store->count ? &store->asked[store->first] : NULL;
}

static inline void fuzz_store_forget_oldest(struct fuzz_store *store)
{
	mem_free(store->asked[store->first].payload);
	store->first = (store->first + 1) % FUZZ_REQUESTS;
	store->count--;
}

static inline void fuzz_store_close(struct fuzz_store *store)
{
	ipc_free(&store->ipc);
	while (store->count)
		fuzz_store_forget_oldest(store);
}

/* Whoever connects takes the place of the connection before. */
static inline void fuzz_store_accept(struct fuzz_store *store)
{
	static const struct ipc_handlers handlers = { .frame = fuzz_store_heard,
		.ended = fuzz_store_ended };
	const int fd = fuzz_accept(store->listener);

	if (fd < 0)
		return;
	fuzz_store_close(store);
	store->ipc = ipc_new(store->loop, fd, STORE_PAYLOAD_LIMIT, &handlers, store);
}

/* An answer to a step of a login; the first octet says whether it is the last. */
static inline void fuzz_store_answer_sasl(struct fuzz_store *store,
	const struct fuzz_request *request, uint8_t failure, struct text octets)
{
	const uint8_t seed = octets.len ? (uint8_t)octets.ptr[0] : 1;

	store_sasl_step_reply_pack(ipc_begin(store->ipc, request->type, request->tag),
		&(struct store_sasl_step_reply){ .failure = failure,
			.exchange = seed,
			.done = seed % 2,
			.challenge = seed % 2 ? TEXT("") : octets,
			.user = TEXT("alice@example.test") });
	ipc_end(store->ipc, -1);
}

/* A frame that nobody asked for: type, tag, payload. False when it cannot be said. */
static inline bool fuzz_store_say(struct fuzz_store *store, struct text octets)
{
	if (!store->ipc || octets.len < 2)
		return false;
	const unsigned type = fuzz_octet(&octets) % (STORE_MESSAGES + 2);
	const uint32_t tag = fuzz_octet(&octets);
	buf_add(ipc_begin(store->ipc, (uint16_t)type, tag), octets);
	ipc_end(store->ipc, -1);
	return true;
}

#endif
