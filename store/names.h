/*
 * What lies in new/ and cur/ of a mailbox: file names by base name, read once.
 */
#ifndef STORE_NAMES_H
#define STORE_NAMES_H

#include <stdbool.h>

#include "base/text.h"

struct names;

struct name {
	const char *leaf; /* "new/BASE", "cur/BASE:2,S"; NULL: gone */
	struct text base; /* within leaf */
	bool is_double;   /* another entry has the same base name */
	bool seen;        /* for the reader's use */
};

/* mailbox: a descriptor of its directory. NULL with errno. A missing new/ or cur/ counts as empty. */
struct names *names_read(int mailbox);
void names_free(struct names **names);

size_t names_count(const struct names *names);
struct name *names_at(const struct names *names, size_t index);

/* The entry of a base name; NULL when there is none. */
struct name *names_find(const struct names *names, struct text base);

/* A file now has this leaf: added, or its entry (found by base name) altered. */
void names_set(struct names *names, const char *leaf);
void names_remove(struct names *names, struct name *name);

/* The base name within a leaf. */
struct text names_base(const char *leaf);

#endif
