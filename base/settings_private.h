/*
 * Shared by the files of settings: settings.c (values), settings_text.c (lines for a role),
 * settings_file.c and settings_scan.c (the file a person writes). Nobody else includes this.
 */
#ifndef BASE_SETTINGS_PRIVATE_H
#define BASE_SETTINGS_PRIVATE_H

#include "base/settings.h"

const struct settings_item *settings_find(const struct settings_section *section, struct text name);

/* Where the item's value lies. */
static inline void *settings_at(const struct settings_item *item, void *values)
{
	return (char *)values + item->offset;
}

/* One value, or one more item of a list, checked against type and bounds. 0, or -1 with a sentence. */
int settings_set_value(const struct settings_item *item, void *values, struct text value,
	char *error, size_t error_size);

/* The same for text that only has to be kept as it is: octets below a blank are allowed. */
int settings_set_octets(const struct settings_item *item, void *values, struct text value,
	char *error, size_t error_size);

/* Is what lies there now within the bounds? 0, or -1 with a sentence. */
int settings_check_value(
	const struct settings_item *item, const void *values, char *error, size_t error_size);

void settings_list_clear(struct settings_list *list);
void settings_list_add(struct settings_list *list, struct text item);

/* As a person writes it: 25M, 5m; into to. */
void settings_format_number(enum settings_type type, uint64_t number, char *to, size_t size);

/* ---- reading a file ---- */

struct settings_reading {
	const char *file;
	const struct settings_section *const *sections;
	size_t count;
	void *const *values;
	struct settings_place *places; /* one a section */
	struct settings_found *found;  /* reported in the order of lines, when all is read */
	size_t findings;
};

struct settings_found {
	unsigned line; /* 0: the file as a whole */
	char *sentence;
};

/* What was seen of a section: lines, 0 for what does not stand in the file. */
struct settings_place {
	unsigned line;
	unsigned *item_lines;
	bool faulty; /* something was found, so verify would only find it again */
};

enum { SETTINGS_NOWHERE = -1 }; /* no section, or one that is not known */

/* The section of that name; "" is the file's top level. */
int settings_section_named(const struct settings_reading *reading, struct text name);

/* Something is wrong in this line, which belongs to the section with this index. */
void settings_finding(struct settings_reading *reading, int section, unsigned line,
	const char *format, ...) __attribute__((format(printf, 4, 5)));

/* A name that is not in the section: report it with the remedy that fits best. */
void settings_report_unknown(
	struct settings_reading *reading, int section, unsigned line, struct text name);

/*
 * The file as libconfuse may have it: comments gone, every word in single quotes, line ends where they
 * were, and only names that exist, each once. What had to go was reported and its lines were noted.
 */
void settings_scan(struct settings_reading *reading, struct text in, struct buf *out);

#endif
