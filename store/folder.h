/*
 * Changes to the files of one mailbox, so that doing one twice is the same as doing it once: both what
 * follows a commit and what recovery redoes go through here.
 *
 * A file may have been renamed or deleted by another program at any time. What is not where it is
 * expected is looked for by its base name; what is nowhere is taken as deleted.
 *
 * Results are 0 or an errno.
 */
#ifndef STORE_FOLDER_H
#define STORE_FOLDER_H

#include "store/maildir.h"
#include "store/names.h"

struct folder {
	int fd;              /* the mailbox's directory */
	struct names *names; /* NULL: not read yet */
};

/* The message of `from` gets the leaf `to`. */
int folder_move(struct folder *folder, const char *from, const char *to);

/* The message of this leaf goes. */
int folder_remove(struct folder *folder, const char *leaf);

/*
 * A file with these octets at `to`, unless there is one of that base name: by way of tmp/, so that
 * nobody sees half of it.
 */
int folder_write(struct folder *folder, const char *to, struct text octets);

/*
 * The file of that name shall hold these octets. After a power cut it may be there and be empty, or have
 * gaps: its name was on the disk and its octets were not. again: it is written even if it holds them.
 */
int folder_mend(struct folder *folder, const char *leaf, struct text octets, bool again);

/* The same by a hard link to from_fd/from, or a copy where links do not reach. */
int folder_link(struct folder *folder, int from_fd, const char *from, const char *to);

/* As folder_remove(), but the octets stay in tmp/ under MAILDIR_RETIRED. */
int folder_retire(struct folder *folder, const char *leaf);

/* A second name for the message of `from`, or of one retired from there: tmp/BASE of `to`. ENOENT. */
int folder_link_tmp(struct folder *folder, struct folder *source, const char *from, const char *to);

/*
 * The message of `from` in source gets the leaf `to` here. It leaves source: by a rename, or, with `retire`,
 * by a link and folder_retire(). What has the base name of `to` already is it, too: of both, the one that
 * is still in source is believed. Nothing to move is no error.
 */
int folder_transfer(struct folder *folder, struct folder *source, const char *from, const char *to,
	bool retire);

/* The same when the message can only be where it was, or at `to`: no directory is read to find out. */
int folder_transfer_new(struct folder *folder, struct folder *source, const char *from,
	const char *to, bool retire);

/* The same, but it stays in source. */
int folder_copy(struct folder *folder, struct folder *source, const char *from, const char *to);

/* Octets to tmp/BASE of the leaf, a new file. */
int folder_write_tmp(int fd, const char *leaf, struct text octets);

/* "tmp/BASE" of a leaf. */
void folder_tmp(const char *leaf, char tmp[MAILDIR_LEAF_LIMIT + 1]);

/* Where the message of that leaf is now: the leaf itself, another one, or "" when nowhere. */
int folder_locate(struct folder *folder, const char *leaf, char now[MAILDIR_LEAF_LIMIT + 1]);

/* The mailbox's file of that name gets these octets at once, by way of tmp/. Not synced. */
int folder_replace_file(int fd, const char *name, struct text octets);

void folder_forget(struct folder *folder);

/* ---- folder_directory.c ---- */

/* cur, new and tmp below root/directory, and every directory above, where they are not there yet. */
int folder_make(int root, const char *directory);

/*
 * root/directory goes to root/aside, whose parents are made; to aside.1 and so on when that is taken.
 * Nothing to move is no error.
 */
int folder_set_aside(int root, const char *directory, struct text aside);

/*
 * root/directory becomes root/to. What is there already goes to root/removed first. With nothing to rename
 * and nothing there, it is made.
 */
int folder_rename(int root, const char *directory, const char *to);

/* Takes a directory away if it is not there or holds nothing but empty cur, new and tmp: ENOTEMPTY. */
int folder_vacate(int root, const char *directory);

/*
 * Takes a directory away with all that is in it, but not more than *budget files; what it did is taken off
 * the budget. EAGAIN when there is more to do.
 */
int folder_clear(int root, const char *directory, unsigned *budget);

#endif
