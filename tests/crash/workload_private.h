/* What workload.c asks and check.c looks for. */
#ifndef TESTS_CRASH_WORKLOAD_PRIVATE_H
#define TESTS_CRASH_WORKLOAD_PRIVATE_H

#include "tests/crash/workload.h"

enum { USERS = 3, BOXES = 2, SLOTS = USERS * BOXES, VERSIONS = 12, NEVER = 0, EXTRA = 1000000 };
enum { PIECE = 3 }; /* messages that go in one transaction of an expunge, a copy or a move */

/* When something was asked for and answered with success; SIZE_MAX: not. */
struct request {
	size_t asked, kept;
};

struct version {
	struct request when;
	uint32_t flags;
	bool keyword;
};

/* One message in one mailbox. */
struct copy {
	uint32_t message; /* in the order of sending */
	unsigned slot;
	struct request sent;
	uint32_t uid; /* once it was seen in a listing */
	size_t shown;
	struct version versions[VERSIONS]; /* of its flags; the first is how it came */
	unsigned version_count;
	struct request expunged;
	unsigned expunge; /* copies with the same number go together … */
	size_t piece;     /* … piece by piece … */
	bool is_whole;    /* … but for a crash all of them, as a refused one does not */
	bool transferred; /* it is a copy of another, or has moved here */
	unsigned copying; /* of those that were copied together; 0: it was not */
	struct copy *moved_from;
	/* As a listing showed it last. */
	uint32_t flags_shown;
	bool keyword_shown;
	/* Of one check. */
	bool found;
};

/* A name on a user's list of subscriptions. */
enum { SUBSCRIBABLE = 5, ALBUMS = 200, ALBUM_NAMES = 12, ALBUM_MESSAGES = 8 };

struct subscription {
	unsigned user, name;
	bool on;
	struct request when;
};

/* The user is closed in between. */
struct import {
	unsigned user;
	struct request when;
};

/* A mailbox that is renamed and deleted, known by its messages. */
struct album {
	unsigned user;
	struct {
		struct request when;
		char name[16];
	} names[ALBUM_NAMES];
	unsigned name_count;
	struct request messages[ALBUM_MESSAGES];
	unsigned message_count;
	struct request deleted;
	bool found; /* of one check */
};

/* What happened to a user who comes and goes. */
struct coming {
	struct request when;
	char hash; /* the last letter of it; NUL: removed */
};

struct workload {
	size_t (*now)(void);
	uint32_t random;
	struct event_base *loop;
	struct engine *engine;
	struct copy *copies;
	size_t count, room;
	uint32_t messages;
	unsigned expunges, pending;
	struct subscription *subscriptions;
	size_t subscription_count;
	struct import *imports;
	size_t import_count;
	struct album *albums;
	size_t album_count;
	struct coming *comings;
	size_t coming_count;
	/* What was asked last failed in a way that leaves open whether it happened: nothing more is asked. */
	bool open_subscriptions, open_albums, open_comings;
	size_t promises, refused;
	bool broken, faults, opened;
	bool reshapes; /* most of the work is on mailboxes */
	bool index_lost; /* a start had to make the index anew: notes of what is under way went with it */
	struct request users[USERS], boxes[SLOTS];
	uint32_t uidvalidity[SLOTS];
	size_t uidvalidity_shown[SLOTS];
	char finding[512];
	uint32_t extra;
};

/* requests.c */
extern const char *const workload_users[USERS];
extern const char *const workload_boxes[BOXES];

size_t workload_now(const struct workload *workload);
bool workload_found(struct workload *workload, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
/* At random, from 0 on. */
uint32_t workload_draw(struct workload *workload, uint32_t below);
bool workload_open(struct workload *workload, const char *directory);
void workload_close(struct workload *workload);

/* Its octets on the heap; the number stands in the first line. */
char *workload_body(uint32_t message, size_t *size);

/* A request and its answer. */
struct answer {
	struct workload *workload;
	struct request *when; /* or NULL */
	bool done;
	struct engine_result result;
};
void workload_answered(void *owner, const struct engine_result *result);
void workload_wait(struct workload *workload, const bool *done);

struct engine_view *workload_select(
	struct workload *workload, unsigned slot, enum store_failure *failure);
/* A copy of the listing, to be freed; NULL when it was refused. */
struct store_listing *workload_list(struct engine_view *view, struct engine_status *status);
/* The number of the message behind the UID when its octets are right. False: they are not. */
bool workload_fetch(struct workload *workload, struct engine_view *view,
	const struct store_listing_entry *entry, uint32_t *message);
struct copy *workload_find(struct workload *workload, uint32_t message, unsigned slot);
/* The messages of these slots as one delivery; failure in answer->result. */
void workload_deliver(struct workload *workload, uint32_t message, unsigned slots, bool once,
	struct answer *answer);

/* shapes.c: mailboxes that are renamed and deleted, subscriptions, a user who comes and goes, imports */
void workload_shape(struct workload *workload);
/* Imports that may have been under way are done again, as a person would: their users are open then. */
bool workload_finish_imports(struct workload *workload, size_t at);
bool workload_check_shapes(struct workload *workload, size_t at);

#endif
