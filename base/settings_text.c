/*
 * Settings as the supervisor hands them to a role: one line an item, "name=value", in the order of the
 * table. In a value \\ is a backslash, \n a line end and, in lists, \s a blank; items of a list stand
 * apart by one blank.
 */
#include <inttypes.h>
#include <stdio.h>

#include "base/mem.h"
#include "base/settings.h"
#include "base/settings_private.h"

static void add_escaped(struct buf *out, const char *string, bool in_list)
{
	for (; *string; string++) {
		if (*string == '\\')
			buf_add_string(out, "\\\\");
		else if (*string == '\n')
			buf_add_string(out, "\\n");
		else if (*string == ' ' && in_list)
			buf_add_string(out, "\\s");
		else
			buf_add_char(out, *string);
	}
}

static void add_value(const struct settings_item *item, const void *at, struct buf *out)
{
	switch (item->type) {
	case SETTINGS_BOOL:
		buf_add_string(out, *(const bool *)at ? "yes" : "no");
		return;
	case SETTINGS_NUMBER:
	case SETTINGS_OCTETS:
	case SETTINGS_SECONDS:
		buf_format(out, "%" PRIu64, *(const uint64_t *)at);
		return;
	case SETTINGS_STRING:
		add_escaped(out, *(char *const *)at, false);
		return;
	case SETTINGS_LIST:
		break;
	}
	const struct settings_list *list = at;
	for (size_t i = 0; i < list->count; i++) {
		if (i)
			buf_add_char(out, ' ');
		add_escaped(out, list->item[i], true);
	}
}

void settings_store(const struct settings_section *section, const void *values, struct buf *out)
{
	for (size_t i = 0; i < section->count; i++) {
		const struct settings_item *item = &section->items[i];
		buf_add_string(out, item->name);
		buf_add_char(out, '=');
		add_value(item, (const char *)values + item->offset, out);
		buf_add_char(out, '\n');
	}
}

static int unescape(struct text value, bool in_list, struct buf *to)
{
	for (size_t i = 0; i < value.len; i++) {
		char c = value.ptr[i];
		if (c == '\\') {
			char next = ++i < value.len ? value.ptr[i] : 0;
			if (next == 'n')
				c = '\n';
			else if (next == 's' && in_list)
				c = ' ';
			else if (next != '\\')
				return -1;
		}
		buf_add_char(to, c);
	}
	return 0;
}

static int load_text(const struct settings_item *item, struct text value, void *values, char *error,
	size_t error_size)
{
	struct buf octets = { 0 };
	int result = unescape(value, item->type == SETTINGS_LIST, &octets);

	if (result != 0)
		snprintf(error, error_size, "%s has a backslash that escapes nothing", item->name);
	else
		result = settings_set_octets(item, values, buf_text(&octets), error, error_size);
	buf_release(&octets);
	return result;
}

static int load_value(const struct settings_item *item, struct text value, void *values,
	char *error, size_t error_size)
{
	struct text word;

	if (item->type != SETTINGS_LIST)
		return load_text(item, value, values, error, error_size);
	if (value.len == 0)
		return 0;
	while (text_split(&value, ' ', &word)) {
		if (load_text(item, word, values, error, error_size) != 0)
			return -1;
	}
	return 0;
}

static int load_line(const struct settings_section *section, struct text line, bool *seen,
	void *values, char *error, size_t error_size)
{
	ptrdiff_t equals = text_find(line, '=');
	const struct settings_item *item =
		equals < 0 ? NULL : settings_find(section, text_head(line, (size_t)equals));

	if (!item || seen[item - section->items]) {
		snprintf(error, error_size, "a line that names no setting, or one again");
		return -1;
	}
	seen[item - section->items] = true;
	return load_value(item, text_from(line, (size_t)equals + 1), values, error, error_size);
}

static int load_lines(const struct settings_section *section, struct text lines, bool *seen,
	void *values, char *error, size_t error_size)
{
	struct text line;

	while (lines.len) {
		if (text_find(lines, '\n') < 0) {
			snprintf(error, error_size, "the last line has no end");
			return -1;
		}
		text_split(&lines, '\n', &line);
		if (load_line(section, line, seen, values, error, error_size) != 0)
			return -1;
	}
	for (size_t i = 0; i < section->count; i++) {
		if (!seen[i]) {
			snprintf(error, error_size, "%s is missing", section->items[i].name);
			return -1;
		}
	}
	return section->verify ? section->verify(values, error, error_size) : 0;
}

int settings_load(const struct settings_section *section, struct text lines, void *values,
	char *error, size_t error_size)
{
	bool *seen = mem_array(section->count, sizeof(*seen));
	int result = load_lines(section, lines, seen, values, error, error_size);

	if (result != 0)
		settings_free(section, values);
	mem_free(seen);
	return result;
}
