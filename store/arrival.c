/*
 * Large bodies on their way into a delivery: a thread counts a spool file's octets and makes it durable;
 * then the delivery can name it. One at a time, in the order in which they came.
 */
#include <errno.h>
#include <string.h>

#include "base/log.h"
#include "mail/wire.h"
#include "store/arrival.h"
#include "store/change.h"
#include "store/deliver_private.h"
#include "store/spool.h"

enum { BLOCK = 64 * 1024 };

struct arrival {
	STAILQ_ENTRY(arrival) link;
	struct engine *engine;
	struct change *change;
	struct engine_delivery delivery; /* its texts are in the change's arena */
	struct spool *spool;
	int fd;
	uint64_t size;
	/* What the thread finds out. */
	struct wire_encode wire_state;
	uint64_t wire;
	char *body; /* when it is small after all */
};

/* In the thread: count, and make it durable before a record names it. */
static int look_and_sync(void *owner)
{
	struct arrival *arrival = owner;
	char *block = mem_new(BLOCK);
	uint64_t at = 0;
	ssize_t got;
	int error = 0;

	while ((got = sys.pread(arrival->fd, block, BLOCK, (off_t)at)) != 0) {
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			break;
		const struct text piece = { .ptr = block, .len = (size_t)got };
		arrival->wire += wire_size_piece(&arrival->wire_state, piece);
		if (arrival->body && at + piece.len <= arrival->size)
			memcpy(arrival->body + at, block, piece.len);
		at += piece.len;
	}
	if (got < 0)
		error = errno;
	else if (at != arrival->size)
		error = EBUSY;
	mem_free(block);
	arrival->wire += wire_size_end(&arrival->wire_state);
	if (error == 0 && !arrival->body &&
		(sys.fsync(arrival->fd) != 0 || sys.fsync(arrival->engine->spool_directory) != 0))
		error = errno;
	return error;
}

static void next_arrival(struct engine *engine);

static void on_synced(void *owner, int error)
{
	struct arrival *arrival = owner;
	struct engine *engine = arrival->engine;
	struct change *change = arrival->change;

	STAILQ_REMOVE_HEAD(&engine->arrivals, link);
	sys.close(arrival->fd);
	if (error) {
		LOG_WARNING("spool", LOG_ERRNO(error));
		spool_discard(engine, arrival->spool);
		change_ready(change, engine_errno_failure(error));
	} else if (arrival->body) {
		spool_discard(engine, arrival->spool);
		arrival->delivery.body =
			(struct text){ .ptr = arrival->body, .len = (size_t)arrival->size };
		deliver(engine, change, &arrival->delivery, NULL, arrival->size, arrival->wire);
	} else {
		change->spool = arrival->spool->number;
		const char *name = text_copy(change->arena, text_of(arrival->spool->name)).ptr;
		deliver(engine, change, &arrival->delivery, name, arrival->size, arrival->wire);
		/* Staged with effects: they need the file. Else nobody does. */
		if (change->effect_count == 0)
			spool_discard(engine, arrival->spool);
	}
	mem_free(arrival->body);
	mem_free(arrival);
	next_arrival(engine);
}

static void next_arrival(struct engine *engine)
{
	struct arrival *arrival = STAILQ_FIRST(&engine->arrivals);

	if (arrival && !worker_is_busy(engine->spooler))
		worker_start(engine->spooler, look_and_sync, on_synced, arrival);
}

static void keep(
	struct arena *arena, const struct engine_delivery *from, struct engine_delivery *to)
{
	struct engine_recipient *recipients = arena_take(arena, from->count * sizeof(*recipients));

	*to = *from;
	to->id = text_copy(arena, from->id);
	to->once = text_copy(arena, from->once);
	to->recipients = recipients;
	for (size_t i = 0; i < from->count; i++) {
		recipients[i].user = text_copy(arena, from->recipients[i].user);
		recipients[i].mailbox = text_copy(arena, from->recipients[i].mailbox);
		recipients[i].flags = from->recipients[i].flags;
		recipients[i].uid = from->recipients[i].uid;
		recipients[i].keywords = text_copy(arena, from->recipients[i].keywords);
		recipients[i].once = text_copy(arena, from->recipients[i].once);
		recipients[i].once_seconds = from->recipients[i].once_seconds;
		recipients[i].group = from->recipients[i].group;
	}
}

enum store_failure arrival_start(
	struct engine *engine, struct change *change, const struct engine_delivery *delivery)
{
	struct spool *spool = spool_find(engine, delivery->spool);
	struct stat st;

	if (!spool || spool->claimed)
		return STORE_INVALID;
	const int fd = spool_claim(engine, spool);
	if (fd < 0 || sys.fstat(fd, &st) != 0) {
		const int error = errno;
		if (fd >= 0)
			sys.close(fd);
		spool_discard(engine, spool);
		return engine_errno_failure(error);
	}
	struct arrival *arrival = mem_new(sizeof(*arrival));
	arrival->engine = engine;
	arrival->change = change;
	arrival->spool = spool;
	arrival->fd = fd;
	arrival->size = (uint64_t)st.st_size;
	if (arrival->size <= JOURNAL_BODY_LIMIT)
		arrival->body = mem_new((size_t)arrival->size);
	keep(change->arena, delivery, &arrival->delivery);
	STAILQ_INSERT_TAIL(&engine->arrivals, arrival, link);
	next_arrival(engine);
	return STORE_OK;
}

void arrivals_drain(struct engine *engine)
{
	while (!STAILQ_EMPTY(&engine->arrivals))
		worker_finish(engine->spooler);
}

void arrivals_forget(struct engine *engine, const void *owner)
{
	struct arrival *arrival;

	STAILQ_FOREACH (arrival, &engine->arrivals, link) {
		if (arrival->change->owner == owner)
			arrival->change->done = NULL;
	}
}
