#include "tests/crash/workload.h"

#include <stdlib.h>

#include "tests/crash/workload_private.h"

enum {
	CHOSEN = 8,       /* at most */
	COPIED = 24,      /* the same, to be copied */
	OVERLAPPING = 24, /* requests under way at most */
};

/* ---- deliveries ---- */

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
		if (kind >= 8 || (workload->reshapes && kind >= 3))
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
