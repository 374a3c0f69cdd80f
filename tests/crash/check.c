/*
 * Does a store keep what was promised?
 */
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/crash/workload_private.h"

struct checking {
	struct workload *workload;
	size_t at;
	unsigned slot;
	uint32_t highest_shown, highest;
};

static bool is_kept(const struct checking *checking, struct request request)
{
	return request.kept <= checking->at;
}

static bool is_asked(const struct checking *checking, struct request request)
{
	return request.asked <= checking->at;
}

/* The last flags that were promised, or any that were asked for after them. */
static bool flags_are_right(
	const struct checking *checking, const struct copy *copy, uint32_t flags, bool keyword)
{
	for (unsigned i = copy->version_count; i-- > 0;) {
		const struct version *version = &copy->versions[i];
		if (!is_asked(checking, version->when))
			continue;
		if (version->flags == flags && version->keyword == keyword)
			return true;
		if (i == 0 || is_kept(checking, version->when))
			return false;
	}
	return false;
}

static bool check_entry(struct checking *checking, struct engine_view *view,
	const struct store_listing_entry *entry)
{
	struct workload *workload = checking->workload;
	uint32_t message;

	if (entry->uid <= checking->highest)
		return workload_found(workload, "UID %u after %u", entry->uid, checking->highest);
	checking->highest = entry->uid;
	if (!workload_fetch(workload, view, entry, &message))
		return false;
	if (message >= EXTRA)
		return true;
	struct copy *copy = workload_find(workload, message, checking->slot);
	if (!copy || !is_asked(checking, copy->sent))
		return workload_found(workload, "message %u was not sent here", message);
	if (copy->found)
		return workload_found(workload, "message %u is there twice", message);
	copy->found = true;
	if (is_kept(checking, copy->expunged))
		return workload_found(workload, "message %u was expunged and is back", message);
	if (copy->shown <= checking->at && copy->uid != entry->uid)
		return workload_found(workload, "message %u had UID %u, and has %u", message,
			copy->uid, entry->uid);
	if (copy->shown > checking->at && entry->uid <= checking->highest_shown)
		return workload_found(
			workload, "message %u has UID %u, given before", message, entry->uid);
	if (!flags_are_right(checking, copy, entry->flags, entry->keywords != 0))
		return workload_found(workload, "message %u has flags %u, keywords %llu", message,
			entry->flags, (unsigned long long)entry->keywords);
	return true;
}

static bool check_missing(struct checking *checking)
{
	struct workload *workload = checking->workload;

	for (size_t i = 0; i < workload->count; i++) {
		const struct copy *copy = &workload->copies[i];
		if (copy->slot != checking->slot || copy->found)
			continue;
		if (is_asked(checking, copy->expunged))
			continue;
		if (is_kept(checking, copy->sent) || copy->shown <= checking->at)
			return workload_found(workload,
				"message %u in %s of %s was acknowledged and is lost",
				copy->message, workload_boxes[copy->slot % BOXES],
				workload_users[copy->slot / BOXES]);
	}
	return true;
}

/*
 * An expunge takes all or nothing. So does each piece of a move, one after the other, and of an expunge the
 * note of which was lost with the index.
 */
static bool check_expunge(struct checking *checking, const struct copy *a, const struct copy *b)
{
	if (a->found == b->found || a->expunge != b->expunge || !is_asked(checking, a->expunged))
		return true;
	if (a->piece == b->piece || (a->is_whole && !checking->workload->index_lost))
		return workload_found(
			checking->workload, "expunge %u took a part of a piece", a->expunge);
	const struct copy *left = a->found ? a : b, *gone = a->found ? b : a;
	return left->piece > gone->piece ||
	       workload_found(checking->workload, "expunge %u took a later piece", a->expunge);
}

/* All that one request copies is there, or nothing, unless the note of it was lost with the index. */
static bool check_copying(struct checking *checking, const struct copy *a, const struct copy *b)
{
	const bool untouched = !is_asked(checking, a->expunged) && !is_asked(checking, b->expunged);

	if (a->copying != b->copying || checking->workload->index_lost || !untouched ||
		!is_asked(checking, a->sent) || a->found == b->found)
		return true;
	return workload_found(checking->workload, "messages %u and %u were copied in part",
		a->message, b->message);
}

/* A delivery comes to all or to none. */
static bool check_together(struct checking *checking)
{
	struct workload *workload = checking->workload;

	for (size_t i = 1; i < workload->count; i++) {
		const struct copy *a = &workload->copies[i];
		if (a->moved_from && is_asked(checking, a->sent) &&
			!is_asked(checking, a->expunged) && a->found == a->moved_from->found)
			return workload_found(workload, "message %u has moved %s", a->message,
				a->found ? "and stayed" : "to nowhere");
		for (size_t j = i > 60 ? i - 60 : 0; j < i; j++) {
			const struct copy *b = &workload->copies[j];
			const bool untouched = !is_asked(checking, a->expunged) &&
					       !is_asked(checking, b->expunged);
			if (a->message == b->message && untouched && a->found != b->found &&
				!a->transferred && !b->transferred)
				return workload_found(
					workload, "message %u came to some only", a->message);
		}
		for (size_t j = 0; a->expunge && j < i; j++) {
			if (!check_expunge(checking, a, &workload->copies[j]))
				return false;
		}
		for (size_t j = 0; a->copying && j < i; j++) {
			if (!check_copying(checking, a, &workload->copies[j]))
				return false;
		}
	}
	return true;
}

static bool is_due(const struct checking *checking, unsigned slot)
{
	const struct workload *workload = checking->workload;

	if (is_kept(checking, slot % BOXES ? workload->boxes[slot] : workload->users[slot / BOXES]))
		return true;
	for (size_t i = 0; i < workload->count; i++) {
		if (workload->copies[i].slot == slot && is_kept(checking, workload->copies[i].sent))
			return true;
	}
	return false;
}

static bool check_listing(struct checking *checking, struct engine_view *view)
{
	struct workload *workload = checking->workload;
	struct engine_status status;
	struct store_listing *listing = workload_list(view, &status);
	bool right = listing || workload_found(workload, "no listing");

	checking->highest = checking->highest_shown = 0;
	for (size_t i = 0; i < workload->count; i++) {
		const struct copy *copy = &workload->copies[i];
		if (copy->slot == checking->slot && copy->shown <= checking->at &&
			copy->uid > checking->highest_shown)
			checking->highest_shown = copy->uid;
	}
	for (uint64_t i = 0; right && i < listing->count; i++)
		right = check_entry(checking, view, &listing->entry[i]);
	if (right && workload->uidvalidity_shown[checking->slot] <= checking->at &&
		status.uidvalidity != workload->uidvalidity[checking->slot])
		right = workload_found(workload, "UIDVALIDITY changed");
	if (right &&
		(status.uidnext <= checking->highest || status.uidnext <= checking->highest_shown))
		right = workload_found(
			workload, "the next UID is %u, given before", status.uidnext);
	free(listing);
	return right && check_missing(checking);
}

static bool check_slot(struct checking *checking)
{
	struct workload *workload = checking->workload;
	enum store_failure failure;
	struct engine_view *view = workload_select(workload, checking->slot, &failure);

	if (!view && (is_due(checking, checking->slot) ||
			     (failure != STORE_NO_SUCH_MAILBOX && failure != STORE_NO_SUCH_USER)))
		return workload_found(
			workload, "mailbox %u cannot be selected: %u", checking->slot, failure);
	if (!view)
		return true;
	const bool right = check_listing(checking, view);
	engine_view_close(&view);
	return right;
}

static bool check_all(struct checking *checking)
{
	struct workload *workload = checking->workload;

	for (size_t i = 0; i < workload->count; i++)
		workload->copies[i].found = false;
	for (checking->slot = 0; checking->slot < SLOTS; checking->slot++) {
		if (!check_slot(checking))
			return false;
	}
	return check_together(checking) && workload_check_shapes(workload, checking->at);
}

/* It must take mail, and a once-key must mean what it meant. */
static bool add_more(struct checking *checking)
{
	struct workload *workload = checking->workload;
	unsigned again = 0;

	for (unsigned user = 0; user < USERS; user++) {
		struct answer answer = { .workload = workload };
		if (!is_kept(checking, workload->users[user]))
			continue;
		workload_deliver(workload, workload->extra++, 1U << (user * BOXES), false, &answer);
		workload_wait(workload, &answer.done);
		if (answer.result.failure != STORE_OK)
			return workload_found(
				workload, "no mail is taken: %u", answer.result.failure);
	}
	for (size_t i = workload->count; i-- > 0 && again < 6;) {
		const struct copy *copy = &workload->copies[i];
		struct answer answer = { .workload = workload };
		if (copy->message % 3 || !is_kept(checking, copy->sent))
			continue;
		workload_deliver(workload, copy->message, 1U << copy->slot, true, &answer);
		workload_wait(workload, &answer.done);
		if (answer.result.failure != STORE_OK)
			return workload_found(
				workload, "a repeated one fails: %u", answer.result.failure);
		again++;
	}
	return true;
}

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	(void)st, (void)flag, (void)ftw;
	return remove(path);
}

bool workload_check(struct workload *workload, const char *directory, size_t at, bool thorough)
{
	struct checking checking = { .workload = workload, .at = at };
	char environment[512];

	workload->finding[0] = '\0';
	if (!workload_open(workload, directory))
		return false;
	bool right = workload_finish_imports(workload, at) && check_all(&checking) &&
		     add_more(&checking) && check_all(&checking);
	workload_close(workload);
	if (!right || !workload_open(workload, directory))
		return false;
	right = check_all(&checking);
	workload_close(workload);
	if (!right || !thorough)
		return right;
	snprintf(environment, sizeof(environment), "%s/env", directory);
	nftw(environment, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	if (!workload_open(workload, directory))
		return false;
	right = check_all(&checking) && add_more(&checking) && check_all(&checking);
	workload_close(workload);
	return right || workload_found(workload, "(index made anew)");
}
