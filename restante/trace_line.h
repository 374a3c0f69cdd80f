/*
 * Lines of the host's log (base/log.h) read back: event and fields. Pure: text in, fields out.
 */
#ifndef RESTANTE_TRACE_LINE_H
#define RESTANTE_TRACE_LINE_H

#include <stdbool.h>

#include "base/text.h"

struct arena;

enum { TRACE_FIELDS = 40 };

struct trace_field {
	struct text key;
	struct text value; /* without quotes; \xNN stays as it is written */
};

/* Texts are in the line or in the arena. */
struct trace_line {
	struct trace_field field[TRACE_FIELDS];
	size_t fields;
};

/*
 * What stands before "t=" (a syslog daemon's own words) is passed over. False: not one of the host's lines.
 */
bool trace_line_parse(struct arena *arena, struct text octets, struct trace_line *line);

/* "" when there is no such field. */
struct text trace_line_get(const struct trace_line *line, const char *key);

/* Whether a list "a,b,c" has this item. */
bool trace_list_has(struct text list, struct text item);

/* Whether "1,3-9" has this number. */
bool trace_runs_have(struct text runs, uint64_t number);

/* Lowers *least and raises *most to take in all its numbers. */
void trace_runs_bounds(struct text runs, uint64_t *least, uint64_t *most);

#endif
