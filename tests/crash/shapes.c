/*
 * Work on what mailboxes are called and who has them, and whether a store keeps it.
 *
 * An album is a mailbox of its own, known by its messages wherever it is. Each of its names was asked for at
 * some time: a store may have the last one that was promised, or any that was asked for after that.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "store/import.h"
#include "tests/crash/workload_private.h"

enum { FIRST_MESSAGE = 2000000, NAMES = 8 };

static const char *const names[NAMES] = { "A", "A/x", "A/x/y", "B", "B/x", "B/x/y", "C", "C/x" };
static const char *const lists[SUBSCRIBABLE] = { "INBOX", "Lists", "none", "x/y", "z" };
static const char dave[] = "dave@example.test";

/* ---- albums ---- */

static const char *name_of(const struct album *album)
{
	return album->names[album->name_count - 1].name;
}

static bool lives(const struct album *album, unsigned user)
{
	return album->user == user && album->name_count && album->deleted.asked == SIZE_MAX;
}

static struct album *find_album(struct workload *workload, unsigned user, const char *name)
{
	for (size_t i = 0; i < workload->album_count; i++) {
		struct album *album = &workload->albums[i];
		if (lives(album, user) && strcmp(name_of(album), name) == 0)
			return album;
	}
	return NULL;
}

/* The failure; what leaves open whether it happened ends the work on albums. */
static enum store_failure outcome(struct workload *workload, struct answer *answer, bool *open)
{
	workload_wait(workload, &answer->done);
	const enum store_failure failure = answer->result.failure;
	if (failure == STORE_NOT_DURABLE)
		*open = true;
	else if (failure != STORE_OK && !store_failure_is_temporary(failure))
		workload_found(workload, "refused for good: %s", store_failure_name(failure));
	return failure;
}

static bool never_happened(enum store_failure failure)
{
	return failure != STORE_OK && failure != STORE_NOT_DURABLE;
}

static void deliver(struct workload *workload, struct album *album, const char *name)
{
	const uint32_t message = FIRST_MESSAGE +
				 (uint32_t)(album - workload->albums) * ALBUM_MESSAGES +
				 album->message_count;
	struct request *when = &album->messages[album->message_count];
	struct answer answer = { .workload = workload, .when = when };
	const struct engine_recipient recipient = { .user = text_of(workload_users[album->user]),
		.mailbox = text_of(name),
		.keywords = TEXT("") };
	size_t size;
	char *body = workload_body(message, &size);

	if (size > STORE_INLINE_LIMIT) {
		size = (size_t)snprintf(body, size, "message %u\n", message);
	}
	*when = (struct request){ .asked = workload_now(workload), .kept = SIZE_MAX };
	engine_deliver(workload->engine,
		&(struct engine_delivery){ .id = TEXT("id"),
			.once = TEXT(""),
			.body = { .ptr = body, .len = size },
			.recipients = &recipient,
			.count = 1 },
		workload_answered, &answer);
	if (never_happened(outcome(workload, &answer, &workload->open_albums)))
		when->asked = SIZE_MAX;
	album->message_count++;
	free(body);
}

static void begin_album(struct workload *workload, unsigned user, const char *name)
{
	struct album *album = &workload->albums[workload->album_count];

	if (workload->album_count == ALBUMS)
		return;
	workload->album_count++;
	*album = (struct album){ .user = user, .deleted = { .asked = SIZE_MAX, .kept = SIZE_MAX } };
	snprintf(album->names[0].name, sizeof(album->names[0].name), "%s", name);
	deliver(workload, album, name);
	/* One whose first message was refused is none. */
	if (album->messages[0].asked == SIZE_MAX)
		return;
	album->name_count = 1;
	album->names[0].when = album->messages[0];
}

static bool is_within(const char *name, const char *above)
{
	const size_t length = strlen(above);

	return strncmp(name, above, length) == 0 && (name[length] == '\0' || name[length] == '/');
}

/* With all below. Any that has had too many names, or would get one too long, and none is renamed. */
static void rename_albums(
	struct workload *workload, unsigned user, const char *from, const char *to)
{
	const struct request now = { .asked = workload_now(workload), .kept = SIZE_MAX };
	struct request when = now;
	struct answer answer = { .workload = workload, .when = &when };
	struct album *album;

	if (is_within(to, from) || is_within(from, to))
		return;
	for (size_t i = 0; i < workload->album_count; i++) {
		album = &workload->albums[i];
		if (lives(album, user) &&
			(is_within(name_of(album), to) ||
				(is_within(name_of(album), from) &&
					(album->name_count == ALBUM_NAMES ||
						strlen(name_of(album)) + strlen(to) > 14 ||
						strlen(name_of(album)) > strlen(from) + 7))))
			return;
	}
	for (size_t i = 0; i < workload->album_count; i++) {
		album = &workload->albums[i];
		if (!lives(album, user) || !is_within(name_of(album), from))
			continue;
		char rest[sizeof(album->names[0].name)];
		memcpy(rest, name_of(album), sizeof(rest));
		snprintf(album->names[album->name_count].name, sizeof(album->names[0].name),
			"%.8s%.7s", to, rest + strlen(from));
		album->names[album->name_count++].when = now;
	}
	engine_rename(workload->engine, text_of(workload_users[user]), text_of(from), text_of(to),
		workload_answered, &answer);
	const enum store_failure failure = outcome(workload, &answer, &workload->open_albums);
	for (size_t i = 0; i < workload->album_count; i++) {
		album = &workload->albums[i];
		if (!lives(album, user) || !is_within(name_of(album), to))
			continue;
		album->names[album->name_count - 1].when.kept = when.kept;
		if (never_happened(failure))
			album->name_count--;
	}
}

static void delete_album(struct workload *workload, struct album *album)
{
	struct answer answer = { .workload = workload, .when = &album->deleted };

	album->deleted.asked = workload_now(workload);
	engine_delete(workload->engine, text_of(workload_users[album->user]),
		text_of(name_of(album)), workload_answered, &answer);
	if (never_happened(outcome(workload, &answer, &workload->open_albums)))
		album->deleted.asked = SIZE_MAX;
}

static void work_on_albums(struct workload *workload)
{
	const unsigned user = workload_draw(workload, USERS);
	const char *name = names[workload_draw(workload, NAMES)];
	struct album *album = find_album(workload, user, name);

	if (workload->open_albums || workload->users[user].kept == SIZE_MAX)
		return;
	const uint32_t kind = workload_draw(workload, 5);
	if (!album)
		begin_album(workload, user, name);
	else if (kind == 0)
		delete_album(workload, album);
	else if (kind == 1 && album->message_count < ALBUM_MESSAGES)
		deliver(workload, album, name);
	else
		rename_albums(workload, user, name, names[workload_draw(workload, NAMES)]);
}

/* ---- subscriptions ---- */

static void subscribe(struct workload *workload, unsigned user)
{
	struct subscription *subscription = &workload->subscriptions[workload->subscription_count];
	struct answer answer = { .workload = workload, .when = &subscription->when };

	*subscription = (struct subscription){ .user = user,
		.name = workload_draw(workload, SUBSCRIBABLE),
		.on = workload_draw(workload, 2) == 0,
		.when = { .asked = workload_now(workload), .kept = SIZE_MAX } };
	if (workload->open_subscriptions || workload->users[subscription->user].kept == SIZE_MAX)
		return;
	workload->subscription_count++;
	engine_subscribe(workload->engine, text_of(workload_users[subscription->user]),
		text_of(lists[subscription->name]), subscription->on, workload_answered, &answer);
	if (never_happened(outcome(workload, &answer, &workload->open_subscriptions)))
		workload->subscription_count--;
}

/* ---- a user who comes and goes ---- */

static void come_or_go(struct workload *workload)
{
	struct coming *coming = &workload->comings[workload->coming_count];
	const char before = workload->coming_count ? coming[-1].hash : '\0';
	struct answer answer = { .workload = workload, .when = &coming->when };
	char hash[] = "$y$j9T$a$b";

	if (workload->open_comings)
		return;
	hash[sizeof(hash) - 2] = (char)('a' + workload_draw(workload, 26));
	*coming = (struct coming){ .when = { .asked = workload_now(workload), .kept = SIZE_MAX },
		.hash = hash[sizeof(hash) - 2] };
	workload->coming_count++;
	if (!before) {
		engine_user_add(workload->engine, TEXT("dave@example.test"), hash,
			workload_answered, &answer);
	} else if (workload_draw(workload, 2) == 0) {
		engine_user_password(workload->engine, TEXT("dave@example.test"), hash,
			workload_answered, &answer);
	} else {
		coming->hash = '\0';
		engine_user_remove(
			workload->engine, TEXT("dave@example.test"), workload_answered, &answer);
	}
	if (never_happened(outcome(workload, &answer, &workload->open_comings)))
		workload->coming_count--;
}

/* ---- imports ---- */

/*
 * Of nothing but two subscriptions: messages and mailboxes come by the ways of others. Recovery redoes the
 * subscription before it.
 */
static void import(struct workload *workload)
{
	struct import *importing = &workload->imports[workload->import_count];
	const unsigned user = workload_draw(workload, USERS);
	const unsigned one = workload_draw(workload, SUBSCRIBABLE),
		       other = workload_draw(workload, SUBSCRIBABLE);
	struct answer answer = { .workload = workload, .when = &importing->when };
	char both[64];
	bool resumed;

	if (workload->users[user].kept == SIZE_MAX)
		return;
	subscribe(workload, user);
	const struct request now = { .asked = workload_now(workload), .kept = SIZE_MAX };
	*importing = (struct import){ .user = user, .when = now };
	workload->import_count++;
	const enum store_failure begun =
		engine_import_begin(workload->engine, text_of(workload_users[user]), &resumed);
	if (begun != STORE_OK)
		return;
	struct subscription *first = &workload->subscriptions[workload->subscription_count];
	first[0] = (struct subscription){ .user = user, .name = one, .on = true, .when = now };
	first[1] = (struct subscription){ .user = user, .name = other, .on = true, .when = now };
	workload->subscription_count += 2;
	snprintf(both, sizeof(both), "%s\n%s\n", lists[one], lists[other]);
	engine_import_end(workload->engine, text_of(workload_users[user]), text_of(both),
		workload_answered, &answer);
	/* The both may have come all the same when it was refused: then the user is still closed. */
	outcome(workload, &answer, &workload->open_subscriptions);
	first[0].when.kept = first[1].when.kept = importing->when.kept;
}

bool workload_finish_imports(struct workload *workload, size_t at)
{
	for (size_t i = 0; i < workload->import_count; i++) {
		const struct import *importing = &workload->imports[i];
		const struct text user = text_of(workload_users[importing->user]);
		struct answer answer = { .workload = workload };
		bool resumed;
		if (importing->when.asked > at || importing->when.kept <= at)
			continue;
		const enum store_failure begun =
			engine_import_begin(workload->engine, user, &resumed);
		if (begun == STORE_NO_SUCH_USER)
			continue;
		/* Busy with what a crash interrupted: the user is closed all the same. */
		engine_import_end(workload->engine, user, TEXT(""), workload_answered, &answer);
		workload_wait(workload, &answer.done);
		if ((begun != STORE_OK && begun != STORE_BUSY) || answer.result.failure != STORE_OK)
			return workload_found(workload, "an import cannot be done again: %s, %s",
				store_failure_name(begun),
				store_failure_name(answer.result.failure));
	}
	return true;
}

void workload_shape(struct workload *workload)
{
	const uint32_t kind = workload_draw(workload, 11);

	if (kind < 5 || (workload->reshapes && kind < 10))
		work_on_albums(workload);
	else if (kind < 7)
		subscribe(workload, workload_draw(workload, USERS));
	else if (kind < 10)
		import(workload);
	else
		come_or_go(workload);
}

/* ---- is it kept? ---- */

static bool may_be_called(const struct album *album, const char *name, size_t at)
{
	for (unsigned i = album->name_count; i-- > 0;) {
		if (album->names[i].when.asked > at)
			continue;
		if (strcmp(album->names[i].name, name) == 0)
			return true;
		if (album->names[i].when.kept <= at)
			return false;
	}
	return false;
}

/* The number of a message of an album. */
static bool read_number(struct engine_view *view, uint32_t uid, uint32_t *message)
{
	char line[32] = "";
	uint64_t size;
	int fd;

	if (engine_view_fetch(view, uid, &fd, &size) != STORE_OK)
		return false;
	const bool read = pread(fd, line, sizeof(line) - 1, 0) > 0;
	close(fd);
	return read && sscanf(line, "message %u\n", message) == 1 && *message >= FIRST_MESSAGE;
}

static bool check_messages(struct workload *workload, struct engine_view *view,
	const struct store_listing *listing, struct album **album, size_t at)
{
	unsigned present = 0;

	for (uint64_t i = 0; i < listing->count; i++) {
		uint32_t message = 0;
		if (!read_number(view, listing->entry[i].uid, &message))
			return workload_found(workload, "a message of an album cannot be read");
		const uint32_t number = (message - FIRST_MESSAGE) / ALBUM_MESSAGES;
		const uint32_t index = (message - FIRST_MESSAGE) % ALBUM_MESSAGES;
		if (number >= workload->album_count ||
			(*album && *album != &workload->albums[number]))
			return workload_found(
				workload, "message %u is in a strange album", message);
		*album = &workload->albums[number];
		if ((*album)->messages[index].asked > at || present & 1U << index)
			return workload_found(
				workload, "message %u is there twice or too soon", message);
		present |= 1U << index;
	}
	for (unsigned i = 0; *album && i < (*album)->message_count; i++) {
		if ((*album)->messages[i].kept <= at && !(present & 1U << i))
			return workload_found(workload, "message %u of an album is lost", i);
	}
	return true;
}

/*
 * Directories are made before the transaction: when it came to nothing, and the index is made anew, they
 * are a mailbox with nothing in it.
 */
static bool may_be_empty(
	const struct workload *workload, unsigned user, const char *name, size_t at)
{
	for (size_t i = 0; i < workload->album_count; i++) {
		const struct album *album = &workload->albums[i];
		if (album->user == user && strcmp(album->names[0].name, name) == 0 &&
			(album->name_count == 0 || album->messages[0].kept > at))
			return true;
	}
	return false;
}

static bool check_album(struct workload *workload, unsigned user, const char *name, size_t at)
{
	struct answer answer = { .workload = workload };
	struct engine_status status;
	struct album *album = NULL;

	engine_select(workload->engine, text_of(workload_users[user]), text_of(name),
		STORE_SELECT_SHARED, workload_answered, &answer);
	workload_wait(workload, &answer.done);
	struct engine_view *view = answer.result.view;
	if (!view)
		return workload_found(workload, "%s cannot be selected", name);
	struct store_listing *listing = workload_list(view, &status);
	const bool right = listing && check_messages(workload, view, listing, &album, at);
	free(listing);
	engine_view_close(&view);
	if (!right)
		return false;
	if (!album)
		return may_be_empty(workload, user, name, at) ||
		       workload_found(workload, "the album %s is empty", name);
	if (album->user != user || album->found || !may_be_called(album, name, at))
		return workload_found(workload, "an album is called %s", name);
	if (album->deleted.kept <= at)
		return workload_found(workload, "%s was deleted and is back", name);
	album->found = true;
	return true;
}

struct seen {
	char names[64][16];
	unsigned count;
};

static void see(void *owner, const struct store_mailbox *mailbox)
{
	struct seen *seen = owner;

	if (seen->count < 64 && mailbox->name.len < 16 && mailbox->name.ptr[0] >= 'A' &&
		mailbox->name.ptr[0] <= 'C')
		snprintf(seen->names[seen->count++], 16, "%.*s", TEXT_ARG(mailbox->name));
}

static bool check_albums(struct workload *workload, unsigned user, size_t at)
{
	struct seen seen = { .count = 0 };

	if (engine_mailboxes(workload->engine, text_of(workload_users[user]), see, &seen) !=
		STORE_OK)
		return workload->users[user].kept > at ||
		       workload_found(workload, "no mailboxes of user %u", user);
	for (unsigned i = 0; i < seen.count; i++) {
		if (!check_album(workload, user, seen.names[i], at))
			return false;
	}
	for (size_t i = 0; i < workload->album_count; i++) {
		const struct album *album = &workload->albums[i];
		if (album->user == user && !album->found && album->name_count &&
			album->names[0].when.kept <= at && album->deleted.asked > at)
			return workload_found(
				workload, "the album %s of user %u is lost", name_of(album), user);
	}
	return true;
}

static bool may_be_subscribed(
	const struct workload *workload, unsigned user, unsigned name, bool on, size_t at)
{
	for (size_t i = workload->subscription_count; i-- > 0;) {
		const struct subscription *subscription = &workload->subscriptions[i];
		if (subscription->user != user || subscription->name != name ||
			subscription->when.asked > at)
			continue;
		if (subscription->on == on)
			return true;
		if (subscription->when.kept <= at)
			return false;
	}
	return !on;
}

static bool check_subscriptions(struct workload *workload, unsigned user, size_t at)
{
	bool on[SUBSCRIBABLE] = { false };
	struct buf list = { 0 };
	struct text rest, line;

	if (engine_subscriptions(workload->engine, text_of(workload_users[user]), &list) ==
		STORE_OK) {
		rest = buf_text(&list);
		while (rest.len && text_split(&rest, '\n', &line)) {
			for (unsigned i = 0; i < SUBSCRIBABLE; i++)
				on[i] |= text_equal(line, text_of(lists[i]));
		}
	}
	buf_release(&list);
	for (unsigned i = 0; i < SUBSCRIBABLE; i++) {
		if (!may_be_subscribed(workload, user, i, on[i], at))
			return workload_found(workload, "user %u is %ssubscribed to %s", user,
				on[i] ? "" : "not ", lists[i]);
	}
	return true;
}

static bool check_dave(struct workload *workload, size_t at)
{
	const struct engine_user *user = engine_user_find(workload->engine, text_of(dave));
	const char hash = user ? user->hash[strlen(user->hash) - 1] : '\0';

	for (size_t i = workload->coming_count; i-- > 0;) {
		const struct coming *coming = &workload->comings[i];
		if (coming->when.asked > at)
			continue;
		if (coming->hash == hash)
			return true;
		if (coming->when.kept <= at)
			return workload_found(workload, "dave has the hash %c, not %c",
				hash ? hash : '-', coming->hash ? coming->hash : '-');
	}
	return !user || workload_found(workload, "dave is there");
}

bool workload_check_shapes(struct workload *workload, size_t at)
{
	for (size_t i = 0; i < workload->album_count; i++)
		workload->albums[i].found = false;
	for (unsigned user = 0; user < USERS; user++) {
		if (!check_albums(workload, user, at) || !check_subscriptions(workload, user, at))
			return false;
	}
	return check_dave(workload, at);
}
