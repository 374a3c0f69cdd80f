/*
 * The small files that Dovecot keeps in a Maildir tree. Pure parsers: octets in, no I/O.
 *
 *	dovecot-uidlist     3 V1795321754 N4 G7cce4e1b996f026b9313000083ecc375
 *	                    1 :1795321753.M473840P5011.host,S=14,W=17
 *	                    2 W266 :1795321753.M422316P5006.host,S=256
 *	dovecot-keywords    0 $Forwarded
 *	subscriptions       V<tab>2, an empty line, then Lists<tab>Linux; or, in old ones, Lists.Linux
 *
 * The N of a uidlist may be behind its lines, which Dovecot adds at the end; a line may be of a message
 * that is gone.
 */
#ifndef RESTANTE_DOVECOT_H
#define RESTANTE_DOVECOT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/text.h"

enum {
	DOVECOT_KEYWORDS =
		26, /* that have a letter in a file's name; others are in Dovecot's index only */
	DOVECOT_FOLDER_LIMIT = 255,
};

/* What is wrong, and in which line, counted from 1. */
struct dovecot_error {
	unsigned line;
	const char *why;
};

struct dovecot_uid {
	uint32_t uid;
	struct text base; /* of the file's name: what stands before the colon */
};

struct dovecot_uidlist {
	uint32_t uidvalidity;
	uint32_t uidnext;
	struct dovecot_uid *uids; /* by ascending UID; in the arena, their texts in the octets */
	size_t count;
};

/* 0, or -1 with the error. */
int dovecot_uidlist_parse(struct arena *arena, struct text octets, struct dovecot_uidlist *list,
	struct dovecot_error *error);

/* names[i] is that of the i-th letter, or empty. Texts are in the octets. */
int dovecot_keywords_parse(
	struct text octets, struct text names[DOVECOT_KEYWORDS], struct dovecot_error *error);

/*
 * Adds folders as Maildir++ names them (".Lists.Linux"; "" for INBOX), one a line. separator: of an old
 * file, '.' or '/'.
 */
int dovecot_subscriptions_parse(
	struct text octets, char separator, struct buf *folders, struct dovecot_error *error);

/* "Lists/Linux", as directories lie with LAYOUT=fs, to ".Lists.Linux". 0, or -1: no such name. */
int dovecot_folder(struct text name, char separator, struct buf *folder);

struct dovecot_name {
	struct text base;
	uint32_t flags;    /* enum store_flag */
	uint32_t keywords; /* bits by letter */
};

/* A file name. What is no flag known is passed over. */
void dovecot_name_parse(struct text file, struct dovecot_name *name);

/* Whether a file that begins like this was compressed by Dovecot's zlib plugin: no mail begins so. */
bool dovecot_is_compressed(struct text head);

#endif
