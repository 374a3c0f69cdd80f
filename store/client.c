/*
 * A pending request lives in a slot of the table; its tag is the slot's place plus one, so a reply finds
 * it at once and a free slot is found at once. A slot whose owner has lost interest stays taken until its
 * reply has come.
 *
 * Answers that this side gives (STORE_AWAY, or STORE_INVALID for a request that would break the protocol's
 * limits) come from the event `settle`, never from inside the request.
 */
#include <errno.h>
#include <event2/event.h>
#include <event2/event_struct.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "base/ipc.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/sys.h"
#include "store/client.h"

enum { NO_SLOT = UINT32_MAX, SMALLEST_TABLE = 8 };

struct pending {
	enum store_message type;  /* STORE_MESSAGE_NONE: the slot is free */
	enum store_failure local; /* not STORE_OK: this side answers with it */
	uint32_t replies;         /* still to come */
	uint32_t next_free;
	uint64_t round;          /* of `settle` in which it was made */
	store_client_done *done; /* NULL: forgotten */
	void *owner;
};

struct store_client {
	struct ipc *ipc; /* NULL: away */
	const struct store_client_handlers *handlers;
	void *owner;
	struct event settle;
	uint64_t round;
	bool away, told; /* told: `ended` was called */

	struct pending *slot;
	uint32_t slots, first_free;
	size_t count;

	unsigned depth; /* callbacks on the stack */
	bool freed;
};

static void on_settle(evutil_socket_t fd, short what, void *argument);
static void on_frame(void *argument, struct ipc_frame *frame);
static void on_ended(void *argument, const char *reason);

static const struct ipc_handlers ipc_handlers = {
	.frame = on_frame,
	.ended = on_ended,
};

/* ---- the pending table ---- */

static void grow_table(struct store_client *client)
{
	uint32_t before = client->slots;
	uint32_t after = before ? before * 2 : SMALLEST_TABLE;

	client->slot = mem_resize(client->slot, (size_t)after * sizeof(*client->slot));
	for (uint32_t i = before; i < after; i++) {
		client->slot[i] = (struct pending){
			.type = STORE_MESSAGE_NONE,
			.next_free = i + 1 < after ? i + 1 : NO_SLOT,
		};
	}
	client->first_free = before;
	client->slots = after;
}

/* The place of a new request in the table. */
static uint32_t take_slot(
	struct store_client *client, enum store_message type, store_client_done *done, void *owner)
{
	if (client->first_free == NO_SLOT)
		grow_table(client);
	uint32_t place = client->first_free;
	client->first_free = client->slot[place].next_free;
	client->slot[place] = (struct pending){
		.type = type,
		.replies = 1,
		.round = client->round,
		.done = done,
		.owner = owner,
	};
	client->count++;
	return place;
}

static void give_slot(struct store_client *client, uint32_t place)
{
	client->slot[place] = (struct pending){
		.type = STORE_MESSAGE_NONE,
		.next_free = client->first_free,
	};
	client->first_free = place;
	client->count--;
}

/* ---- life ---- */

static struct store_client *new_client(
	struct event_base *loop, const struct store_client_handlers *handlers, void *owner)
{
	struct store_client *client = mem_new(sizeof(*client));

	client->handlers = handlers;
	client->owner = owner;
	client->first_free = NO_SLOT;
	event_assign(&client->settle, loop, -1, 0, on_settle, client);
	return client;
}

/* In the next round of the loop: within this one, who asks again at each failure would starve the rest. */
static void settle_soon(struct store_client *client)
{
	const struct timeval now = { 0 };

	event_add(&client->settle, &now);
}

static void go_away(struct store_client *client)
{
	ipc_free(&client->ipc);
	client->away = true;
	settle_soon(client);
}

struct store_client *store_client_over(
	struct event_base *loop, int fd, const struct store_client_handlers *handlers, void *owner)
{
	struct store_client *client = new_client(loop, handlers, owner);

	client->ipc = ipc_new(loop, fd, STORE_PAYLOAD_LIMIT, &ipc_handlers, client);
	return client;
}

struct store_client *store_client_new(struct event_base *loop, const char *socket,
	const struct store_client_handlers *handlers, void *owner)
{
	int fd = ipc_connect(socket);

	if (fd >= 0)
		return store_client_over(loop, fd, handlers, owner);
	LOG_WARNING("store-unreachable", LOG_STRING("socket", socket), LOG_ERRNO(errno));
	struct store_client *client = new_client(loop, handlers, owner);
	go_away(client);
	return client;
}

void store_client_free(struct store_client **handle)
{
	struct store_client *client = *handle;

	*handle = NULL;
	if (!client)
		return;
	ipc_free(&client->ipc);
	event_del(&client->settle);
	mem_free(client->slot);
	client->slot = NULL;
	client->slots = 0;
	client->freed = true;
	if (client->depth == 0)
		mem_free(client);
}

static void enter(struct store_client *client)
{
	client->depth++;
}

static void leave(struct store_client *client)
{
	if (--client->depth == 0 && client->freed)
		mem_free(client);
}

void store_client_forget(struct store_client *client, const void *owner)
{
	for (uint32_t i = 0; i < client->slots && client->count; i++) {
		if (client->slot[i].owner == owner)
			client->slot[i].done = NULL;
	}
}

size_t store_client_pending_octets(const struct store_client *client)
{
	return client->ipc ? ipc_pending(client->ipc) : 0;
}

size_t store_client_pending(const struct store_client *client)
{
	return client->count;
}

/* ---- answers of this side ---- */

/* Answer once; the slot is free afterwards when that was its last reply. False: the client is freed. */
static bool answer(struct store_client *client, uint32_t place, struct store_reply *reply)
{
	const struct pending pending = client->slot[place];

	if (--client->slot[place].replies == 0)
		give_slot(client, place);
	if (pending.done)
		pending.done(pending.owner, reply);
	return !client->freed;
}

static bool settle_slot(struct store_client *client, uint32_t place, enum store_failure failure)
{
	const enum store_message type = client->slot[place].type;
	uint32_t replies = client->slot[place].replies;

	while (replies--) {
		struct store_reply reply = { .type = type, .failure = failure, .fd = -1 };
		if (!answer(client, place, &reply))
			return false;
	}
	return true;
}

/*
 * Requests made by the callbacks belong to the next round, or one that is repeated at each failure would
 * keep this one from ending.
 */
static bool settle_round(struct store_client *client)
{
	const uint64_t round = client->round++;

	for (uint32_t i = 0; i < client->slots; i++) {
		const struct pending *pending = &client->slot[i];
		if (pending->type == STORE_MESSAGE_NONE || pending->round > round)
			continue;
		enum store_failure failure = client->away ? STORE_AWAY : pending->local;
		if (failure != STORE_OK && !settle_slot(client, i, failure))
			return false;
	}
	return true;
}

static void on_settle(evutil_socket_t fd, short what, void *argument)
{
	struct store_client *client = argument;

	(void)fd, (void)what;
	enter(client);
	if (settle_round(client) && client->away && !client->told) {
		client->told = true;
		if (client->handlers->ended)
			client->handlers->ended(client->owner);
	}
	leave(client);
}

static void answer_later(struct store_client *client, uint32_t place, enum store_failure failure)
{
	client->slot[place].local = failure;
	settle_soon(client);
}

/* ---- requests ---- */

static bool text_fits(struct text value, size_t limit)
{
	return value.len <= limit;
}

static uint32_t one_reply(const void *request)
{
	(void)request;
	return 1;
}

/* 0: not to be sent. */
static uint32_t fetch_replies(const void *request)
{
	const struct store_fetch *fetch = request;

	if (fetch->uids.len % sizeof(uint32_t) != 0)
		return 0;
	return (uint32_t)(fetch->uids.len / sizeof(uint32_t));
}

#define COUNT_REPLIES(request) \
	_Generic((request), const struct store_fetch *: fetch_replies, default: one_reply)(request)

#define FITS_u8(value, limit) ((void)(value), true)
#define FITS_u32(value, limit) ((void)(value), true)
#define FITS_u64(value, limit) ((void)(value), true)
#define FITS_i64(value, limit) ((void)(value), true)
#define FITS_text(value, limit) text_fits(value, limit)

#define DEFINE_REQUEST_(name, NAME, who, needs) \
	void store_client_##name(struct store_client *client, const struct store_##name *request, \
		store_client_done *done, void *owner) \
	{ \
		uint32_t place = take_slot(client, STORE_##NAME, done, owner); \
		uint32_t replies = COUNT_REPLIES(request); \
		if (replies == 0 STORE_##NAME##_FIELDS(OR_NOT_)) { \
			answer_later(client, place, STORE_INVALID); \
			return; \
		} \
		client->slot[place].replies = replies; \
		if (!client->ipc) { \
			answer_later(client, place, STORE_AWAY); \
			return; \
		} \
		store_##name##_pack(ipc_begin(client->ipc, STORE_##NAME, place + 1), request); \
		ipc_end(client->ipc, -1); \
	}
#define OR_NOT_(kind, name, limit) || !FITS_##kind(request->name, limit)

STORE_REQUESTS(DEFINE_REQUEST_)

/* ---- replies ---- */

#define DEFINE_READ_(name, NAME, who, needs) \
	static int read_##name(struct text payload, struct store_reply *reply) \
	{ \
		if (store_##name##_reply_unpack(payload, &reply->of.name) != 0) \
			return -1; \
		reply->failure = reply->of.name.failure; \
		return 0; \
	}
STORE_REQUESTS(DEFINE_READ_)

#define READ_ENTRY_(name, NAME, who, needs) [STORE_##NAME] = read_##name,

static int (*const read_reply[STORE_MESSAGES])(
	struct text payload, struct store_reply *reply) = { STORE_REQUESTS(READ_ENTRY_) };

static const bool brings_descriptor[STORE_MESSAGES] = {
	[STORE_SPOOL] = true,
	[STORE_SELECT] = true,
	[STORE_FETCH] = true,
	[STORE_CHANGES] = true,
};

/* What is wrong with a reply, or NULL. */
static const char *decode(
	const struct pending *pending, const struct ipc_frame *frame, struct store_reply *reply)
{
	if (pending->type == STORE_MESSAGE_NONE || pending->local != STORE_OK)
		return "a reply to no request";
	if (frame->type != pending->type)
		return "a reply of another type";
	if (read_reply[pending->type](frame->payload, reply) != 0)
		return "a malformed reply";
	if (reply->failure >= STORE_AWAY)
		return "an unknown failure";
	if ((frame->fd >= 0) != (reply->failure == STORE_OK && brings_descriptor[pending->type]))
		return "a descriptor too many or too few";
	if (pending->type == STORE_FETCH && reply->of.fetch.last != (pending->replies == 1))
		return "more or fewer messages than asked for";
	return NULL;
}

/* A delivery to nobody: the store answers that it makes no sense, and the file is gone. */
void store_client_drop_spool(struct store_client *client, uint32_t spool)
{
	store_client_deliver(client,
		&(struct store_deliver){
			.id = TEXT(""),
			.once = TEXT(""),
			.spool = spool,
			.recipients = TEXT(""),
			.body = TEXT(""),
		},
		NULL, NULL);
}

static const char *take_reply(struct store_client *client, struct ipc_frame *frame)
{
	const uint32_t place = frame->tag - 1;
	struct store_reply reply = { .type = frame->type, .fd = frame->fd };

	if (place >= client->slots)
		return "a reply to no request";
	const struct pending pending = client->slot[place];
	const char *fault = decode(&pending, frame, &reply);
	if (fault)
		return fault;
	bool alive = answer(client, place, &reply);
	frame->fd = reply.fd;
	if (alive && client->ipc && !pending.done && pending.type == STORE_SPOOL &&
		reply.failure == STORE_OK)
		store_client_drop_spool(client, reply.of.spool.spool);
	return NULL;
}

#define TAKE_NOTICE_(name, NAME, to) \
	static const char *take_##name(struct store_client *client, struct text payload) \
	{ \
		struct store_##name notice; \
		if (store_##name##_unpack(payload, &notice) != 0) \
			return "a malformed notice"; \
		if (client->handlers->name) \
			client->handlers->name(client->owner, &notice); \
		return NULL; \
	}
STORE_NOTICES(TAKE_NOTICE_)

#define NOTICE_ENTRY_(name, NAME, to) [STORE_##NAME] = take_##name,

static const char *take_notice(struct store_client *client, const struct ipc_frame *frame)
{
	static const char *(*const take[STORE_MESSAGES])(
		struct store_client *, struct text) = { STORE_NOTICES(NOTICE_ENTRY_) };

	if (frame->fd >= 0)
		return "a notice with a descriptor";
	if (frame->type >= STORE_MESSAGES || !take[frame->type])
		return "an unknown notice";
	return take[frame->type](client, frame->payload);
}

static void on_frame(void *argument, struct ipc_frame *frame)
{
	struct store_client *client = argument;

	enter(client);
	const char *fault = frame->tag ? take_reply(client, frame) : take_notice(client, frame);
	if (fault && !client->freed) {
		LOG_ERROR("store-speaks-nonsense", LOG_STRING("reason", fault),
			LOG_STRING("message", store_message_name(frame->type)));
		go_away(client);
	}
	leave(client);
}

static void on_ended(void *argument, const char *reason)
{
	struct store_client *client = argument;

	LOG_WARNING("store-away", LOG_STRING("reason", reason));
	go_away(client);
}

/* ---- listings ---- */

static bool is_listing_file(int fd, size_t *size)
{
	const int seals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_FUTURE_WRITE;
	const int have = fcntl(fd, F_GET_SEALS);
	struct stat st;

	if (have < 0 || (have & seals) != seals || sys.fstat(fd, &st) != 0)
		return false;
	if ((uint64_t)st.st_size < sizeof(struct store_listing) || (uint64_t)st.st_size > SIZE_MAX)
		return false;
	*size = (size_t)st.st_size;
	return (*size - sizeof(struct store_listing)) % sizeof(struct store_listing_entry) == 0;
}

const struct store_listing *store_listing_map(int fd, size_t *mapped)
{
	size_t size;

	if (!is_listing_file(fd, &size))
		return NULL;
	/* Private, because kernels before 6.7 take a shared mapping for a wish to write. */
	struct store_listing *listing = mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (listing == MAP_FAILED)
		return NULL;
	if (listing->count != (size - sizeof(*listing)) / sizeof(listing->entry[0])) {
		munmap(listing, size);
		return NULL;
	}
	*mapped = size;
	return listing;
}

void store_listing_unmap(const struct store_listing *listing, size_t mapped)
{
	if (listing)
		munmap((void *)(uintptr_t)listing, mapped);
}
