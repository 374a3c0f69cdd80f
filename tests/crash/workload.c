#include "tests/crash/workload.h"

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
	CHOSEN = 8,       /* at most */
	COPIED = 24,      /* the same, to be copied */
	OVERLAPPING = 24, /* requests under way at most */
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

static void copy_new(struct workload *workload, uint32_t message, unsigned slot, uint32_t flags)
{
	const struct request now = { .asked = workload_now(workload), .kept = SIZE_MAX };

	/* Callbacks point to copies: they must not move. */
	if (workload->count == workload->room)
		abort();
	workload->copies[workload->count++] = (struct copy){ .message = message,
		.slot = slot,
		.sent = now,
		.shown = SIZE_MAX,
		.versions = { { .when = now, .flags = flags } },
		.version_count = 1,
		.expunged = { .asked = SIZE_MAX, .kept = SIZE_MAX } };
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

struct sending {
	struct answer answer;
	uint32_t message;
	unsigned slots;
};

static bool users_are_there(const struct workload *workload)
{
	for (unsigned user = 0; user < USERS; user++) {
		if (workload->users[user].kept == SIZE_MAX)
			return false;
	}
	return true;
}

static void settle(struct workload *workload, struct copy *copy, const struct answer *answer)
{
	const enum store_failure failure = answer->result.failure;

	if (failure == STORE_OK)
		copy->sent.kept = answer->when->kept;
	else if (failure != STORE_NOT_DURABLE)
		copy->sent.asked = SIZE_MAX;
	if (failure != STORE_OK && !store_failure_is_temporary(failure) &&
		(failure != STORE_NO_SUCH_USER || users_are_there(workload)))
		workload_found(workload, "message %u was refused for good: %s", copy->message,
			store_failure_name(failure));
}

/* Several at once; each promise counts from its own answer on. */
static void send_burst(struct workload *workload, unsigned count)
{
	struct sending burst[OVERLAPPING];

	for (unsigned i = 0; i < count; i++) {
		struct sending *sending = &burst[i];
		const unsigned user = workload_draw(workload, USERS),
			       other = workload_draw(workload, USERS);
		*sending = (struct sending){ .message = workload->messages++,
			.answer = { .workload = workload } };
		sending->slots = 1U << (user * BOXES + workload_draw(workload, 8) / 7);
		if (workload_draw(workload, 3) == 0 && other != user)
			sending->slots |= 1U << (other * BOXES);
		const uint32_t flags = sending->message % 5 == 0 ? STORE_FLAG_SEEN : 0;
		struct copy *first = &workload->copies[workload->count];
		for (unsigned slot = 0; slot < SLOTS; slot++) {
			if (sending->slots & 1U << slot)
				copy_new(workload, sending->message, slot, flags);
		}
		sending->answer.when = &first->sent;
		workload_deliver(workload, sending->message, sending->slots,
			sending->message % 3 == 0, &sending->answer);
	}
	for (unsigned i = 0; i < count; i++) {
		workload_wait(workload, &burst[i].answer.done);
		for (unsigned slot = 0; slot < SLOTS; slot++) {
			struct copy *copy = workload_find(workload, burst[i].message, slot);
			if (copy)
				settle(workload, copy, &burst[i].answer);
		}
	}
}

/* ---- mailboxes ---- */

/* whole: everything was shown, and what is known of it is as it is now. */
static bool look(struct workload *workload, unsigned slot, struct engine_view *view, bool *whole)
{
	struct engine_status status;
	struct store_listing *listing = workload_list(view, &status);
	bool right = true;

	*whole = listing != NULL;

	for (uint64_t i = 0; listing && i < listing->count && right; i++) {
		uint32_t message;
		right = workload_fetch(workload, view, &listing->entry[i], &message);
		/* What cannot be read now is shown another time, and so is what comes after it. */
		if (right && message == UINT32_MAX) {
			*whole = false;
			break;
		}
		struct copy *copy = right ? workload_find(workload, message, slot) : NULL;
		if (right && !copy)
			right = workload_found(workload, "message %u was not sent here", message);
		if (right && copy->uid && copy->uid != listing->entry[i].uid)
			right = workload_found(workload, "message %u had another UID", message);
		if (right && !copy->uid) {
			copy->uid = listing->entry[i].uid;
			copy->shown = workload_now(workload);
		}
		if (right) {
			copy->flags_shown = listing->entry[i].flags;
			copy->keyword_shown = listing->entry[i].keywords != 0;
		}
	}
	if (listing && !workload->uidvalidity[slot]) {
		workload->uidvalidity[slot] = status.uidvalidity;
		workload->uidvalidity_shown[slot] = workload_now(workload);
	}
	free(listing);
	return right;
}

struct choice {
	uint32_t uids[COPIED];
	struct copy *copies[COPIED];
	size_t count;
};

static void choose(struct workload *workload, unsigned slot, size_t most, struct choice *choice)
{
	choice->count = 0;
	for (unsigned tries = 0; tries < 10 * most && choice->count < most && workload->count;
		tries++) {
		struct copy *copy =
			&workload->copies[workload_draw(workload, (uint32_t)workload->count)];
		bool taken = copy->slot != slot || !copy->uid || copy->expunged.asked != SIZE_MAX ||
			     copy->version_count == VERSIONS;
		for (size_t i = 0; i < choice->count; i++)
			taken |= choice->copies[i] == copy;
		if (taken)
			continue;
		choice->uids[choice->count] = copy->uid;
		choice->copies[choice->count++] = copy;
	}
}

/* How many of them come before it. */
static size_t rank_of(const struct choice *choice, uint32_t uid)
{
	size_t rank = 0;

	for (size_t i = 0; i < choice->count; i++)
		rank += choice->uids[i] < uid;
	return rank;
}

static void update(struct workload *workload, unsigned slot, struct engine_view *view)
{
	const struct request now = { .asked = workload_now(workload), .kept = SIZE_MAX };
	const bool expunge = workload_draw(workload, 2) == 0,
		   keyword = workload_draw(workload, 2) == 0;
	const uint32_t flags = workload_draw(workload, 64);
	struct request when = now;
	struct answer answer = { .workload = workload, .when = &when };
	struct choice choice;

	choose(workload, slot, CHOSEN, &choice);
	if (!choice.count)
		return;
	workload->expunges++;
	for (size_t i = 0; i < choice.count; i++) {
		struct copy *copy = choice.copies[i];
		copy->expunge = expunge ? workload->expunges : copy->expunge;
		if (expunge)
			copy->expunged = now;
		else
			copy->versions[copy->version_count++] =
				(struct version){ .when = now, .flags = flags, .keyword = keyword };
	}
	engine_view_update(view, expunge ? STORE_UPDATE_EXPUNGE : STORE_UPDATE_FLAGS_SET, flags,
		keyword ? TEXT("work") : TEXT(""), choice.uids, choice.count, workload_answered,
		&answer);
	/* Overlapping with deliveries. */
	if (workload_draw(workload, 2) == 0)
		send_burst(workload, 1 + workload_draw(workload, 4));
	workload_wait(workload, &answer.done);
	const enum store_failure failure = answer.result.failure;
	for (size_t i = 0; i < choice.count; i++) {
		struct copy *copy = choice.copies[i];
		const size_t rank = rank_of(&choice, copy->uid);
		if (expunge) {
			/* Only one that is refused may leave some of its pieces undone. */
			copy->is_whole = failure == STORE_OK || failure == STORE_NOT_DURABLE;
			copy->piece = rank / PIECE;
		}
		if (expunge && rank < answer.result.changed)
			copy->expunged.kept =
				failure == STORE_OK ? when.kept : workload_now(workload);
		else if (!expunge)
			copy->versions[copy->version_count - 1].when.kept = when.kept;
	}
}

static void create(struct workload *workload, unsigned user)
{
	const unsigned slot = user * BOXES + 1;
	struct answer answer = { .workload = workload, .when = &workload->boxes[slot] };

	if (workload->boxes[slot].kept != SIZE_MAX)
		return;
	engine_create(workload->engine, text_of(workload_users[slot / BOXES]),
		text_of(workload_boxes[slot % BOXES]), workload_answered, &answer);
	workload_wait(workload, &answer.done);
}

/* To the user's other mailbox, or further copies of what is there; each message at most once. */
static void transfer(struct workload *workload, unsigned slot, struct engine_view *view)
{
	const struct request now = { .asked = workload_now(workload), .kept = SIZE_MAX };
	const bool move = workload_draw(workload, 3) == 0;
	const unsigned target = slot ^ 1U;
	struct request when = now;
	struct answer answer = { .workload = workload, .when = &when };
	struct choice choice;
	size_t kept = 0;

	choose(workload, slot, move ? CHOSEN : COPIED, &choice);
	for (size_t i = 0; i < choice.count; i++) {
		if (workload_find(workload, choice.copies[i]->message, target))
			continue;
		choice.uids[kept] = choice.uids[i];
		choice.copies[kept++] = choice.copies[i];
	}
	create(workload, slot / BOXES);
	if (!kept || workload->boxes[target % BOXES ? target : slot].kept == SIZE_MAX)
		return;
	choice.count = kept;
	workload->expunges++;
	const size_t first = workload->count;
	for (size_t i = 0; i < kept; i++) {
		struct copy *copy = choice.copies[i];
		copy_new(workload, copy->message, target, copy->flags_shown);
		struct copy *made = &workload->copies[workload->count - 1];
		made->versions[0].keyword = copy->keyword_shown;
		made->transferred = true;
		made->copying = move ? 0 : workload->expunges;
		if (move) {
			made->moved_from = copy;
			copy->expunge = workload->expunges;
			copy->is_whole = false;
			copy->piece = rank_of(&choice, copy->uid) / PIECE;
			copy->expunged = now;
		}
	}
	engine_view_copy(view, text_of(workload_boxes[target % BOXES]), move, choice.uids, kept,
		workload_answered, &answer);
	if (workload_draw(workload, 2) == 0)
		send_burst(workload, 1 + workload_draw(workload, 4));
	workload_wait(workload, &answer.done);
	const enum store_failure failure = answer.result.failure;
	if (failure != STORE_OK && !move && answer.result.pairs)
		workload_found(workload, "a copy that was refused has UIDs");
	for (size_t i = 0; i < kept; i++) {
		struct copy *copy = choice.copies[i], *made = &workload->copies[first + i];
		/* Of a move that fails, the pieces before have gone. */
		if (failure == STORE_OK || rank_of(&choice, copy->uid) < answer.result.pairs) {
			made->sent.kept = workload_now(workload);
			if (move)
				copy->expunged.kept = workload_now(workload);
		} else if (failure != STORE_NOT_DURABLE) {
			made->sent.asked = SIZE_MAX;
			if (move)
				copy->expunged =
					(struct request){ .asked = SIZE_MAX, .kept = SIZE_MAX };
		}
	}
	if (answer.result.failure != STORE_OK && !store_failure_is_temporary(answer.result.failure))
		workload_found(workload, "a transfer was refused for good: %s",
			store_failure_name(answer.result.failure));
}

static bool visit(struct workload *workload)
{
	const unsigned slot = workload_draw(workload, SLOTS);
	enum store_failure failure;
	struct engine_view *view = workload_select(workload, slot, &failure);
	bool right = true;

	if (!view)
		return true;
	for (unsigned i = 0; i < 3 && right && !workload->broken; i++) {
		bool whole;
		right = look(workload, slot, view, &whole);
		/* A copy has the flags that there are, so they must be known. */
		if (right && workload_draw(workload, 2) == 0 && whole)
			transfer(workload, slot, view);
		else if (right)
			update(workload, slot, view);
	}
	engine_view_close(&view);
	return right;
}

/* ---- all of it ---- */

static void add_users(struct workload *workload)
{
	for (unsigned user = 0; user < USERS && !workload->broken; user++) {
		struct answer answer = { .workload = workload, .when = &workload->users[user] };
		if (workload->users[user].kept != SIZE_MAX)
			continue;
		workload->users[user].asked = workload_now(workload);
		engine_user_add(workload->engine, text_of(workload_users[user]), "$y$j9T$a$b",
			workload_answered, &answer);
		workload_wait(workload, &answer.done);
	}
}

bool workload_run(struct workload *workload, const char *directory, unsigned steps)
{
	bool right = true;

	workload->finding[0] = '\0';
	if (!workload_open(workload, directory))
		return false;
	add_users(workload);
	for (unsigned i = 0; i < steps && right && !workload->broken; i++) {
		const uint32_t kind = workload_draw(workload, 12);
		if (kind >= 8)
			workload_shape(workload);
		else if (kind < 5)
			send_burst(workload, 1 + workload_draw(workload, OVERLAPPING));
		else if (kind < 7)
			right = visit(workload);
		else
			create(workload, workload_draw(workload, USERS));
	}
	workload_close(workload);
	return right && !workload->finding[0];
}

struct workload *workload_new(uint32_t seed, size_t (*now)(void))
{
	struct workload *workload = calloc(1, sizeof(*workload));

	workload->now = now;
	workload->random = seed;
	workload->extra = EXTRA;
	workload->room = 100000;
	workload->copies = calloc(workload->room, sizeof(*workload->copies));
	workload->subscriptions = calloc(workload->room, sizeof(*workload->subscriptions));
	workload->imports = calloc(workload->room, sizeof(*workload->imports));
	workload->albums = calloc(ALBUMS, sizeof(*workload->albums));
	workload->comings = calloc(workload->room, sizeof(*workload->comings));
	for (unsigned i = 0; i < USERS; i++)
		workload->users[i] = (struct request){ .asked = SIZE_MAX, .kept = SIZE_MAX };
	for (unsigned i = 0; i < SLOTS; i++) {
		workload->boxes[i] = (struct request){ .asked = SIZE_MAX, .kept = SIZE_MAX };
		workload->uidvalidity_shown[i] = SIZE_MAX;
	}
	return workload;
}

void workload_free(struct workload **workload)
{
	free((*workload)->copies);
	free((*workload)->subscriptions);
	free((*workload)->imports);
	free((*workload)->albums);
	free((*workload)->comings);
	free(*workload);
	*workload = NULL;
}
