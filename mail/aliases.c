#include "mail/aliases.h"

#include <string.h>

#include "base/arena.h"

static bool is_blank(char c)
{
	return c == ' ' || c == '\t';
}

static bool is_comment(struct text line)
{
	const struct text words = text_trim(line);

	return words.len == 0 || words.ptr[0] == '#';
}

/* The next physical line, without its end. */
static bool take_line(struct aliases_reader *reader, struct text *line)
{
	if (reader->rest.len == 0)
		return false;
	text_split(&reader->rest, '\n', line);
	if (!reader->rest.ptr)
		reader->rest = TEXT("");
	if (line->len && line->ptr[line->len - 1] == '\r')
		line->len--;
	reader->line++;
	return true;
}

/* Whether what comes next, comments apart, goes on with what was before. Then the reader is behind them. */
static bool continues(struct aliases_reader *reader)
{
	struct aliases_reader ahead = *reader, before;
	struct text line;

	do {
		before = ahead;
		if (!take_line(&ahead, &line))
			return false;
	} while (is_comment(line));
	if (!is_blank(line.ptr[0]))
		return false;
	*reader = before;
	return true;
}

/* Octets up to one of these that is not within quotes; -1: the quotes do not end. */
static ptrdiff_t find_unquoted(struct text in, const char *stops)
{
	bool quoted = false;

	for (size_t i = 0; i < in.len; i++) {
		if (quoted && in.ptr[i] == '\\' && i + 1 < in.len)
			i++;
		else if (in.ptr[i] == '"')
			quoted = !quoted;
		else if (!quoted && in.ptr[i] && strchr(stops, in.ptr[i]))
			return (ptrdiff_t)i;
	}
	return quoted ? -1 : (ptrdiff_t)in.len;
}

/* Whether `in` is one quoted string from its first to its last octet. */
static bool is_quoted(struct text in)
{
	if (in.len < 2 || in.ptr[0] != '"')
		return false;
	for (size_t i = 1; i < in.len; i++) {
		if (in.ptr[i] == '\\')
			i++;
		else if (in.ptr[i] == '"')
			return i + 1 == in.len;
	}
	return false;
}

/* What a quoted string says; anything else stays as it is. */
static struct text unquoted(struct arena *arena, struct text in)
{
	size_t n = 0;

	if (!is_quoted(in))
		return in;
	char *out = arena_take(arena, in.len);
	for (size_t i = 1; i + 1 < in.len; i++) {
		if (in.ptr[i] == '\\')
			i++;
		out[n++] = in.ptr[i];
	}
	return (struct text){ .ptr = out, .len = n };
}

/* "Name <address> (remark)" to its address. NULL, or what is wrong. */
static const char *find_address(struct text *value)
{
	const ptrdiff_t remark = find_unquoted(*value, "(");

	if (remark < (ptrdiff_t)value->len) {
		if (value->ptr[value->len - 1] != ')')
			return "a remark in parentheses has to come last";
		*value = text_trim(text_head(*value, (size_t)remark));
	}
	const ptrdiff_t open = find_unquoted(*value, "<");
	if (open < (ptrdiff_t)value->len) {
		if (value->ptr[value->len - 1] != '>')
			return "\"<\" is not closed";
		*value = text_trim(text_head(
			text_from(*value, (size_t)open + 1), value->len - (size_t)open - 2));
	}
	/* sendmail's sign for "this user, not the alias of that name". */
	if (value->len > 1 && value->ptr[0] == '\\')
		*value = text_from(*value, 1);
	return value->len ? NULL : "there is no address";
}

static const char *take_item(struct arena *arena, struct text raw, struct aliases_item *item)
{
	const struct text include = TEXT(":include:");
	const struct text bare = unquoted(arena, raw);

	item->value = bare;
	if (bare.len && bare.ptr[0] == '|') {
		item->kind = ALIASES_COMMAND;
	} else if (bare.len && bare.ptr[0] == '/') {
		item->kind = ALIASES_FILE;
	} else if (text_begins_nocase(bare, include)) {
		item->kind = ALIASES_INCLUDE;
		item->value = unquoted(arena, text_trim(text_from(bare, include.len)));
		return item->value.len ? NULL : ":include: wants the path of a file";
	} else {
		item->kind = ALIASES_ADDRESS;
		item->value = raw;
		return find_address(&item->value);
	}
	return NULL;
}

struct items {
	struct aliases_item *first, **last;
	bool comma; /* one came behind the last item, or there is no item yet */
};

/* What is between commas on one line. NULL, or what is wrong. */
static const char *take_items(struct arena *arena, struct text line, unsigned number,
	bool lines_end_items, struct items *items)
{
	struct text rest = text_trim(line);

	items->comma = items->comma || lines_end_items;
	while (rest.len) {
		const ptrdiff_t end = find_unquoted(rest, ",");
		if (end < 0)
			return "a quotation mark is not closed";
		const struct text raw = text_trim(text_head(rest, (size_t)end));
		const bool comma = (size_t)end < rest.len;
		rest = text_trim(text_from(rest, (size_t)end + 1));
		if (raw.len == 0) {
			items->comma = true;
			continue;
		}
		if (!items->comma)
			return "a comma is missing before this line";
		struct aliases_item *item = arena_take(arena, sizeof(*item));
		item->line = number;
		const char *error = take_item(arena, raw, item);
		if (error)
			return error;
		*items->last = item;
		items->last = &item->next;
		items->comma = comma;
	}
	return NULL;
}

static const char *begin_entry(struct text line, struct aliases_entry *entry, struct text *rest)
{
	const ptrdiff_t colon = find_unquoted(line, ":");

	if (is_blank(line.ptr[0]))
		return "a line that begins with a blank continues an alias, and there is none "
		       "before it";
	if (colon < 0)
		return "a quotation mark is not closed";
	if ((size_t)colon == line.len)
		return "there is no colon; an alias is written name: member, member";
	entry->name = text_trim(text_head(line, (size_t)colon));
	*rest = text_from(line, (size_t)colon + 1);
	return entry->name.len ? NULL : "there is no name before the colon";
}

/* To the end of an entry whose first line was read. */
static void skip_entry(struct aliases_reader *reader)
{
	struct text line;

	while (continues(reader) && take_line(reader, &line))
		;
}

int aliases_next(struct aliases_reader *reader, struct arena *arena, struct aliases_entry *entry,
	unsigned *line, const char **error)
{
	struct items items = { .comma = true };
	struct text text;

	items.last = &items.first;
	do {
		if (!take_line(reader, &text))
			return 0;
	} while (is_comment(text));
	*line = entry->line = reader->line;
	*error = begin_entry(text, entry, &text);
	if (!*error)
		*error = take_items(arena, text, reader->line, false, &items);
	while (!*error && continues(reader) && take_line(reader, &text)) {
		*line = reader->line;
		*error = take_items(arena, text, reader->line, false, &items);
	}
	if (!*error && !items.first) {
		*line = entry->line;
		*error = "there is no member behind the colon";
	}
	entry->items = items.first;
	if (*error)
		skip_entry(reader);
	return *error ? -1 : 1;
}

int aliases_next_included(struct aliases_reader *reader, struct arena *arena,
	struct aliases_item **found, unsigned *line, const char **error)
{
	struct items items = { .comma = true };
	struct text text;

	items.last = &items.first;
	do {
		if (!take_line(reader, &text))
			return 0;
		*line = reader->line;
		*error = is_comment(text) ? NULL
					  : take_items(arena, text, reader->line, true, &items);
	} while (!*error && !items.first);
	*found = items.first;
	return *error ? -1 : 1;
}
