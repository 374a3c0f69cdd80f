/*
 * Settings as one table per role: name, type, default, bounds and a line of help. The settings file
 * (libconfuse), `restante check`, the sample file, the manual page and what the supervisor hands to
 * each role all come from the tables.
 *
 *	hostname = "mail.example.org"
 *	smtp-in {
 *		listen = { "*:25" }
 *		message-size = "25M"
 *	}
 */
#ifndef BASE_SETTINGS_H
#define BASE_SETTINGS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/buf.h"
#include "base/text.h"

enum settings_type {
	SETTINGS_BOOL,    /* bool: yes/no */
	SETTINGS_NUMBER,  /* uint64_t */
	SETTINGS_OCTETS,  /* uint64_t: 10, "64K", "25M", "2G" (powers of 1024) */
	SETTINGS_SECONDS, /* uint64_t: 30, "30s", "5m", "2h", "7d" */
	SETTINGS_STRING,  /* char * on the heap, never NULL */
	SETTINGS_LIST,    /* struct settings_list of strings */
};

struct settings_list {
	size_t count;
	char **item;
};

struct settings_item {
	const char *name;
	enum settings_type type;
	/*
	 * As it would be written in the file; a list separates by blanks. Outside the bounds (as "" for a
	 * string of at least one octet) it means that the item has to be set.
	 */
	const char *preset;
	uint64_t least, most; /* of a number; of a string's or item's length. most 0: no bound */
	size_t offset;        /* in the section's struct */
	const char *help;
};

/* One role's part of the file; name NULL is the file's top level, whose items every role receives. */
struct settings_section {
	const char *name;
	const struct settings_item *items;
	size_t count;
	size_t size; /* of the struct the items lie in */
	/* What no single item can say. 0, or -1 with a sentence naming the item and the remedy. */
	int (*verify)(const void *values, char *error, size_t error_size);
};

/* Defaults into values (zeroed memory of section->size). */
void settings_preset(const struct settings_section *section, void *values);
void settings_free(const struct settings_section *section, void *values);

/*
 * Read file into values[i] (zeroed memory) for sections[i], defaults first, verify last. -1 after
 * having reported "FILE:LINE: what is wrong; remedy" once per finding, in the order of lines;
 * settings_free() is due in both cases. Nothing is replaced from the environment.
 */
int settings_read(const char *file, const struct settings_section *const *sections, size_t count,
	void *const *values, void (*report)(void *owner, const char *sentence), void *owner);

/*
 * As lines "name=value\n" for one role, and back. The reverse never trusts the text: every item once,
 * within its bounds, and verified. values is zeroed memory; after -1 there is nothing to free in it.
 */
void settings_store(const struct settings_section *section, const void *values, struct buf *out);
int settings_load(const struct settings_section *section, struct text lines, void *values,
	char *error, size_t error_size);

/* One value given as text ("25M", or a list separated by blanks). 0, or -1 with a sentence. */
int settings_set(const struct settings_section *section, void *values, const char *name,
	struct text value, char *error, size_t error_size);

/* A word between quotes, as the file has it. */
void settings_add_quoted(struct buf *to, struct text word);

/* The sample file (every item with its help and default), and the same as mdoc for settings(5). */
void settings_print_sample(FILE *to, const struct settings_section *const *sections, size_t count);
void settings_print_manual(FILE *to, const struct settings_section *const *sections, size_t count);

#endif
