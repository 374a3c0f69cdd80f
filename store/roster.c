/*
 * The messages of a mailbox that sessions look at, in memory, by ascending UID: the visible state.
 */
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "store/change.h"
#include "store/hidden.h"
#include "store/roster.h"

enum {
	IDLE_LIMIT = 16 << 20, /* octets of rosters that nobody looks at */
	LISTINGS = 64,         /* kept for the next one who selects a mailbox */
	LISTING_WORTH = 1024,  /* messages from which on one is kept */
};

struct reading {
	struct roster *roster;
	const struct mailbox *mailbox;
	bool damaged;
};

static struct store_listing_entry *room(struct roster *roster, size_t more)
{
	if (roster->count + more > roster->room) {
		while (roster->count + more > roster->room)
			roster->room = roster->room ? 2 * roster->room : 64;
		roster->entries =
			mem_resize(roster->entries, roster->room * sizeof(*roster->entries));
	}
	return roster->entries + roster->count;
}

static int read_one(void *owner, struct text key, struct text value)
{
	struct reading *reading = owner;
	struct index_message row;
	struct index_mailbox_id id;
	uint32_t uid;

	reading->damaged = index_message_key_decode(key, &id, &uid) != 0;
	if (reading->damaged || id.user != reading->mailbox->id.user ||
		id.mailbox != reading->mailbox->id.mailbox ||
		uid >= reading->mailbox->visible.uidnext)
		return 1;
	if (hidden_has(reading->mailbox, uid))
		return 0;
	reading->damaged = index_message_decode(value, &row) != 0;
	if (reading->damaged)
		return 1;
	*room(reading->roster, 1) = (struct store_listing_entry){ .uid = uid,
		.flags = row.flags,
		.keywords = row.keywords,
		.size = row.size,
		.wire = row.wire,
		.received = row.received,
		.modseq = row.modseq };
	reading->roster->count++;
	return 0;
}

/* ---- listings ---- */

static size_t listing_octets(const struct roster *roster)
{
	return roster->listing < 0 ? 0 : roster->count * sizeof(*roster->entries);
}

int roster_listing(const struct roster *roster)
{
	return roster->listing < 0 ? -1 : fcntl(roster->listing, F_DUPFD_CLOEXEC, 0);
}

void roster_keep_listing(struct engine *engine, struct roster *roster, int fd)
{
	if (roster->listing >= 0 || roster->count < LISTING_WORTH || engine->listings == LISTINGS)
		return;
	roster->listing = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	engine->listings += roster->listing >= 0;
}

/* Before the entries change. */
static void drop_listing(struct engine *engine, struct roster *roster)
{
	const size_t octets = listing_octets(roster);

	if (roster->listing < 0)
		return;
	if (roster->idle) {
		roster->idle -= octets;
		engine->idle_octets -= octets;
	}
	close(roster->listing);
	roster->listing = -1;
	engine->listings--;
}

/* ---- life ---- */

static void wake(struct engine *engine, struct roster *roster)
{
	if (!roster->idle)
		return;
	TAILQ_REMOVE(&engine->idle_rosters, roster, link);
	engine->idle_octets -= roster->idle;
	roster->idle = 0;
}

enum store_failure roster_read(struct engine *engine, struct mailbox *mailbox)
{
	unsigned char key[INDEX_MESSAGE_KEY];

	if (mailbox->roster) {
		wake(engine, mailbox->roster);
		return STORE_OK;
	}
	struct roster *roster = mem_new(sizeof(*roster));
	roster->listing = -1;
	struct reading reading = { .roster = roster, .mailbox = mailbox };

	index_message_key(mailbox->id, 0, key);
	room(roster, mailbox->visible.messages + 1);
	const int error = env_scan(engine->env, ENV_MESSAGES,
		(struct text){ .ptr = (char *)key, .len = sizeof(key) }, read_one, &reading);
	if (error == 0 && !reading.damaged && roster->count == mailbox->visible.messages) {
		mailbox->roster = roster;
		roster->owner = &mailbox->roster;
		return STORE_OK;
	}
	roster_free(engine, &roster);
	return error ? engine_env_failure(engine, "messages", error)
		     : engine_damaged(engine, "messages");
}

void roster_free(struct engine *engine, struct roster **roster)
{
	if (!*roster)
		return;
	wake(engine, *roster);
	drop_listing(engine, *roster);
	mem_free((*roster)->entries);
	mem_free(*roster);
	*roster = NULL;
}

void roster_leave(struct engine *engine, struct mailbox *mailbox)
{
	struct roster *roster = mailbox->roster;

	if (!roster)
		return;
	roster->idle =
		sizeof(*roster) + roster->room * sizeof(*roster->entries) + listing_octets(roster);
	engine->idle_octets += roster->idle;
	TAILQ_INSERT_TAIL(&engine->idle_rosters, roster, link);
	while (engine->idle_octets > IDLE_LIMIT) {
		struct roster *oldest = TAILQ_FIRST(&engine->idle_rosters);
		if (oldest->listing >= 0)
			drop_listing(engine, oldest);
		else
			roster_free(engine, oldest->owner);
	}
}

struct store_listing_entry *roster_find(const struct roster *roster, uint32_t uid)
{
	size_t low = 0, high = roster->count;

	while (low < high) {
		const size_t middle = low + (high - low) / 2;
		if (roster->entries[middle].uid < uid)
			low = middle + 1;
		else
			high = middle;
	}
	return low < roster->count && roster->entries[low].uid == uid ? &roster->entries[low]
								      : NULL;
}

static void remove_all(struct roster *roster, const struct touch *touch)
{
	size_t kept = 0, next = 0;

	for (size_t i = 0; i < roster->count; i++) {
		while (next < touch->count && touch->entries[next].uid < roster->entries[i].uid)
			next++;
		if (next == touch->count || touch->entries[next].uid != roster->entries[i].uid)
			roster->entries[kept++] = roster->entries[i];
	}
	roster->count = kept;
}

void roster_apply(struct engine *engine, struct roster *roster, const struct touch *touch)
{
	struct store_listing_entry *entry;

	drop_listing(engine, roster);
	switch (touch->kind) {
	case TOUCH_ADD:
		entry = room(roster, touch->count);
		memcpy(entry, touch->entries, touch->count * sizeof(*entry));
		roster->count += touch->count;
		break;
	case TOUCH_ALTER:
		for (size_t i = 0; i < touch->count; i++) {
			if ((entry = roster_find(roster, touch->entries[i].uid)) != NULL)
				*entry = touch->entries[i];
		}
		break;
	case TOUCH_REMOVE:
		remove_all(roster, touch);
		break;
	}
}
