/* What a workload asks of an engine, request by request, and what it sends. */
#include <event2/event.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/crash/workload_private.h"

enum {
	LARGE = STORE_INLINE_LIMIT + 1000,
	CHECKPOINT = 60000,
	LOG_FILE = 1 << 20, /* small, so that several are filled and made ahead */
};

const char *const workload_users[USERS] = { "alice@example.test", "bob@example.test",
	"carol@example.test" };
const char *const workload_boxes[BOXES] = { "INBOX", "Lists" };

size_t workload_now(const struct workload *workload)
{
	return workload->now ? workload->now() : 0;
}

bool workload_found(struct workload *workload, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	if (!workload->finding[0])
		vsnprintf(workload->finding, sizeof(workload->finding), format, arguments);
	va_end(arguments);
	return false;
}

const char *workload_finding(const struct workload *workload)
{
	return workload->finding;
}

void workload_reshape(struct workload *workload)
{
	workload->reshapes = true;
}

void workload_expect_faults(struct workload *workload, bool expected)
{
	workload->faults = expected;
}

bool workload_is_open(const struct workload *workload)
{
	return workload->opened;
}

size_t workload_kept(const struct workload *workload)
{
	return workload->promises;
}

size_t workload_refused(const struct workload *workload)
{
	return workload->refused;
}

uint32_t workload_draw(struct workload *workload, uint32_t below)
{
	workload->random = workload->random * 1664525 + 1013904223;
	return (uint32_t)((uint64_t)(workload->random >> 8) * below >> 24);
}

/* ---- messages ---- */

static size_t size_of(uint32_t message)
{
	const uint32_t hash = (message + 1) * 2654435761U >> 4;

	switch (hash % 32) {
	case 0:
		return LARGE + hash % 5000;
	case 1:
	case 2:
	case 3:
		return hash % 20000;
	default:
		return hash % 1500;
	}
}

char *workload_body(uint32_t message, size_t *size)
{
	const size_t wanted = size_of(message) + 32;
	char *body = malloc(wanted + 1);
	uint32_t hash = message;

	*size = (size_t)snprintf(body, wanted, "message %u\n", message);
	while (*size < wanted) {
		hash = hash * 1664525 + 1013904223;
		body[*size] = *size % 70 == 69 ? '\n' : (char)('a' + (hash >> 24) % 26);
		++*size;
	}
	return body;
}

struct copy *workload_find(struct workload *workload, uint32_t message, unsigned slot)
{
	for (size_t i = workload->count; i-- > 0;) {
		if (workload->copies[i].message == message && workload->copies[i].slot == slot)
			return &workload->copies[i];
	}
	return NULL;
}

/* ---- requests ---- */

void workload_answered(void *owner, const struct engine_result *result)
{
	struct answer *answer = owner;

	answer->done = true;
	answer->result = *result;
	if (result->failure != STORE_OK) {
		answer->workload->refused++;
		return;
	}
	answer->workload->promises++;
	if (answer->when)
		answer->when->kept = workload_now(answer->workload);
}

void workload_wait(struct workload *workload, const bool *done)
{
	while (!*done) {
		if (event_base_loop(workload->loop, EVLOOP_ONCE) != 0)
			abort(); /* nothing is waited for, and no answer came */
	}
}

static void on_broken(void *owner)
{
	((struct workload *)owner)->broken = true;
}

/* 0: there is none. */
static ino_t inode_of(const char *directory, const char *name)
{
	char path[800];
	struct stat st;

	snprintf(path, sizeof(path), "%s/%s", directory, name);
	return stat(path, &st) == 0 ? st.st_ino : 0;
}

bool workload_open(struct workload *workload, const char *directory)
{
	const bool is_fresh = inode_of(directory, "mail") == 0;
	const ino_t index = inode_of(directory, "env");
	const struct engine_options options = { .hostname = "mail.example.test",
		.checkpoint_octets = CHECKPOINT,
		.log_octets = LOG_FILE,
		.update_messages = PIECE,
		.broken = on_broken,
		.owner = workload };

	workload->broken = false;
	workload->loop = event_base_new();
	workload->engine = engine_open(workload->loop, directory, &options);
	workload->opened = workload->engine != NULL;
	workload->index_lost |= !is_fresh && inode_of(directory, "env") != index;
	if (workload->opened)
		return true;
	event_base_free(workload->loop);
	return workload_found(workload, "the store does not open");
}

void workload_close(struct workload *workload)
{
	engine_close(&workload->engine);
	event_base_free(workload->loop);
}

struct engine_view *workload_select(
	struct workload *workload, unsigned slot, enum store_failure *failure)
{
	struct answer answer = { .workload = workload };

	engine_select(workload->engine, text_of(workload_users[slot / BOXES]),
		text_of(workload_boxes[slot % BOXES]), STORE_SELECT_SHARED, workload_answered,
		&answer);
	workload_wait(workload, &answer.done);
	*failure = answer.result.failure;
	return answer.result.view;
}

struct store_listing *workload_list(struct engine_view *view, struct engine_status *status)
{
	struct store_listing *listing = NULL;
	struct stat st;
	int fd;

	if (engine_view_listing(view, &fd, status) != STORE_OK)
		return NULL;
	if (fstat(fd, &st) == 0)
		listing = malloc((size_t)st.st_size);
	/* This read may be the one that fails. */
	if (listing && pread(fd, listing, (size_t)st.st_size, 0) != st.st_size) {
		free(listing);
		listing = NULL;
	}
	close(fd);
	return listing;
}

bool workload_fetch(struct workload *workload, struct engine_view *view,
	const struct store_listing_entry *entry, uint32_t *message)
{
	uint64_t size;
	size_t wanted;
	int fd;

	const enum store_failure failure = engine_view_fetch(view, entry->uid, &fd, &size);
	*message = UINT32_MAX;
	if (failure != STORE_OK && workload->faults && store_failure_is_temporary(failure))
		return true;
	if (failure != STORE_OK)
		return workload_found(workload, "UID %u is listed and cannot be fetched: %u",
			entry->uid, failure);
	char *octets = calloc(1, size + 1);
	const bool whole = pread(fd, octets, size, 0) == (ssize_t)size;
	close(fd);
	if (!whole && workload->faults) {
		free(octets);
		return true;
	}
	bool right = whole && size == entry->size && sscanf(octets, "message %u\n", message) == 1;
	if (right) {
		char *body = workload_body(*message, &wanted);
		right = size == wanted && memcmp(body, octets, wanted) == 0;
		free(body);
	}
	free(octets);
	return right || workload_found(workload, "UID %u has other octets than were sent (%llu)",
				entry->uid, (unsigned long long)size);
}

/* ---- deliveries ---- */

/* 0: refused. */
static uint32_t spool(struct workload *workload, const char *body, size_t size)
{
	uint32_t number;
	int fd;

	if (engine_spool(workload->engine, size, &fd, &number) != STORE_OK)
		return 0;
	const bool whole = write(fd, body, size) == (ssize_t)size;
	close(fd);
	if (whole)
		return number;
	engine_spool_drop(workload->engine, number);
	return 0;
}

void workload_deliver(struct workload *workload, uint32_t message, unsigned slots, bool once,
	struct answer *answer)
{
	struct engine_recipient recipients[SLOTS];
	struct engine_delivery delivery = { .id = TEXT("id"), .once = TEXT(""), .body = TEXT("") };
	char key[32];
	size_t size;
	char *body = workload_body(message, &size);

	for (unsigned slot = 0; slot < SLOTS; slot++) {
		if (slots & 1U << slot)
			recipients[delivery.count++] = (struct engine_recipient){
				.user = text_of(workload_users[slot / BOXES]),
				.mailbox = text_of(workload_boxes[slot % BOXES]),
				.flags = message % 5 == 0 ? STORE_FLAG_SEEN : 0,
				.keywords = TEXT("")
			};
	}
	delivery.recipients = recipients;
	snprintf(key, sizeof(key), "key %u", message);
	if (once)
		delivery.once = text_of(key);
	if (size > STORE_INLINE_LIMIT)
		delivery.spool = spool(workload, body, size);
	else
		delivery.body = (struct text){ .ptr = body, .len = size };
	if (size > STORE_INLINE_LIMIT && !delivery.spool)
		workload_answered(answer, &(struct engine_result){ .failure = STORE_NO_SPACE });
	else
		engine_deliver(workload->engine, &delivery, workload_answered, answer);
	free(body);
}
