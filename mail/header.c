#include "mail/header.h"

#include <string.h>

#include "base/arena.h"

/* The line at the start of t with its LF, or all of t. */
static struct text first_line(struct text t)
{
	const ptrdiff_t lf = text_find(t, '\n');

	return lf < 0 ? t : text_head(t, (size_t)lf + 1);
}

static bool is_blank_line(struct text line)
{
	return text_equal(line, TEXT("\n")) || text_equal(line, TEXT("\r\n"));
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t';
}

static struct text without_line_end(struct text t)
{
	if (t.len > 0 && t.ptr[t.len - 1] == '\n')
		t.len--;
	else
		return t;
	if (t.len > 0 && t.ptr[t.len - 1] == '\r')
		t.len--;
	return t;
}

/* RFC 5322 section 2.2; blanks between name and colon are obsolete syntax (section 4.5). */
static bool is_name(struct text name)
{
	if (name.len == 0)
		return false;
	for (size_t i = 0; i < name.len; i++) {
		if (name.ptr[i] <= ' ' || name.ptr[i] > '~')
			return false;
	}
	return true;
}

int header_next(struct text *rest, struct header_field *field)
{
	const struct text line = first_line(*rest);
	const ptrdiff_t colon = text_find(line, ':');
	struct text after = text_from(*rest, line.len);
	struct text name;
	size_t n = line.len;

	if (line.len == 0)
		return 0;
	if (is_blank_line(line)) {
		*rest = after;
		return 0;
	}
	if (colon < 0 || is_blank(line.ptr[0]))
		return -1;
	name = text_trim(text_head(line, (size_t)colon));
	if (!is_name(name))
		return -1;
	while (after.len > 0 && is_blank(after.ptr[0])) {
		const size_t more = first_line(after).len;

		after = text_from(after, more);
		n += more;
	}
	field->name = name;
	field->whole = text_head(*rest, n);
	field->value = without_line_end(text_from(field->whole, (size_t)colon + 1));
	*rest = after;
	return 1;
}

bool header_walk(struct text *rest, struct header_field *field)
{
	int result;

	while ((result = header_next(rest, field)) < 0)
		*rest = text_from(*rest, first_line(*rest).len);
	return result == 1;
}

size_t header_length(struct text message)
{
	struct text rest = message;

	while (rest.len > 0) {
		const struct text line = first_line(rest);

		rest = text_from(rest, line.len);
		if (is_blank_line(line))
			break;
	}
	return message.len - rest.len;
}

unsigned header_count(struct text message, struct text name)
{
	struct header_field field;
	unsigned count = 0;

	while (header_walk(&message, &field))
		count += text_equal_nocase(field.name, name);
	return count;
}

/* Without the line ends, all of which stand before a blank of a continuation line. */
static struct text unfold(struct arena *arena, struct text value)
{
	char *out;
	size_t n = 0;

	value = text_head(value, HEADER_VALUE_LIMIT);
	out = arena_take(arena, value.len + 1);
	for (size_t i = 0; i < value.len; i++) {
		if (value.ptr[i] != '\r' && value.ptr[i] != '\n')
			out[n++] = value.ptr[i];
	}
	return text_trim((struct text){ .ptr = out, .len = n });
}

bool header_find(struct arena *arena, struct text message, struct text name, struct text *value)
{
	struct header_field field;

	while (header_walk(&message, &field)) {
		if (text_equal_nocase(field.name, name)) {
			*value = unfold(arena, field.value);
			return true;
		}
	}
	return false;
}
