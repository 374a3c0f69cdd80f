/*
 * A Maildir tree that Dovecot made, read into memory: everything but the messages' octets. Both layouts
 * are taken, ".Lists.Linux" (Maildir++) and "Lists/Linux" (LAYOUT=fs).
 *
 * Who reads may be root and who wrote is not: no symbolic link is followed, not even on the way to the
 * tree; only plain files are opened; and a file of several names must belong to whom the tree belongs, as
 * users can link to what they cannot read. Names are shown with '?' for control characters.
 */
#ifndef RESTANTE_DOVECOT_TREE_H
#define RESTANTE_DOVECOT_TREE_H

#include <sys/types.h>

#include "restante/dovecot.h"
#include "restante/progress.h"

struct dovecot_message {
	uint32_t uid; /* 0: Dovecot has not given one yet */
	uint32_t flags, keywords;
	const char *leaf; /* "cur/BASE:2,S" */
};

struct dovecot_mailbox {
	struct dovecot_mailbox *next;
	const char *path;     /* below the tree: "." or ".Lists.Linux" or "Lists/Linux" */
	const char *prefix;   /* the same before a file's name: "" or ".Lists.Linux/" */
	struct text folder;   /* "" or ".Lists.Linux" */
	uint32_t uidvalidity; /* 0: Dovecot has not opened it yet, and there is nothing in it */
	uint32_t uidnext;
	struct text keywords[DOVECOT_KEYWORDS];
	struct dovecot_message *messages; /* by ascending UID; new ones have got theirs */
	size_t count;
};

struct dovecot_tree {
	struct arena *arena;
	int fd;
	uid_t owner;                       /* of the tree's directory */
	const char *directory;             /* as it was given, for what is said */
	struct dovecot_mailbox *mailboxes; /* INBOX first */
	struct buf subscriptions;          /* folders, one a line */
	uint64_t messages;
	unsigned faults; /* each was said on standard error, with file and line */
	struct progress *progress;
};

/* 0, or -1 after saying why not. Free it in any case. */
int dovecot_tree_read(struct dovecot_tree *tree, const char *directory, struct progress *progress);
void dovecot_tree_free(struct dovecot_tree *tree);

/* Open a message for reading, with its size and date. -1 with errno. */
int dovecot_tree_open(const struct dovecot_tree *tree, const struct dovecot_mailbox *mailbox,
	const struct dovecot_message *message, uint64_t *size, int64_t *received);

#endif
