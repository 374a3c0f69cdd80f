/*
 * Where mailboxes are while their records are redone: by their numbers, whatever they were called when the
 * record was written, as far as the tree tells and earlier records have moved them.
 *
 * Directories stay open and their names in memory, within limits. Results are 0 or an errno.
 */
#ifndef STORE_PLACES_H
#define STORE_PLACES_H

#include "store/folder.h"

struct places;

/* One mailbox and where it is by now. */
struct place {
	struct place *next;
	struct index_mailbox_id id;
	char *path;           /* NULL: nowhere */
	struct folder folder; /* fd -1: not open now */
	bool copied;          /* its octets may be needed for a copy: nothing is unlinked */
};

/* root: the store's directory. */
struct places *places_new(int root);
void places_free(struct places **places);

/* Everything that is known; places are dead afterwards. For who has moved directories in another way. */
void places_forget(struct places *places);

/* No way out of the store's own tree, whatever a damaged log says. */
bool places_is_inside(struct text path);

/* The numbers in a directory's text file; 0 0: it is no such directory, or has no such file. */
int places_read_id(const struct places *places, const char *path, struct index_mailbox_id *id);

/* "mail/DOMAIN/LOCAL" of a mailbox's directory. */
void places_user_directory(const char *path, char directory[MAILDIR_PATH_LIMIT + 1]);

/*
 * The mailbox with these numbers, whose record says that it is at `directory`: as far as it is known, open
 * or not. EBADMSG: that is no path within the tree.
 */
int places_known(struct places *places, struct text directory, uint32_t user, uint32_t mailbox,
	struct place **place);

/*
 * *place: the directory, open; or NULL when the mailbox is nowhere, which is no error: a later record
 * explains it. The next visit may close it.
 */
int places_visit(struct places *places, struct text path, uint32_t user, uint32_t mailbox,
	struct place **place);

/* It has moved to that path, or, with NULL, it is nowhere. An open directory stays open. */
void places_set_path(struct places *places, struct place *place, const char *path);

#endif
