#include "restante/trace_line.h"

#include "base/arena.h"

/* The value at the start of *rest, in quotes. */
static bool take_quoted(struct arena *arena, struct text *rest, struct text *value)
{
	char *to = arena_take(arena, rest->len + 1);
	size_t n = 0, i = 1;

	for (; i < rest->len && rest->ptr[i] != '"'; i++) {
		const bool escaped = rest->ptr[i] == '\\' && i + 1 < rest->len &&
				     (rest->ptr[i + 1] == '"' || rest->ptr[i + 1] == '\\');
		i += escaped;
		to[n++] = rest->ptr[i];
	}
	if (i == rest->len)
		return false;
	*rest = text_from(*rest, i + 1);
	/* A value that was cut short. */
	if (text_begins(*rest, TEXT("..."))) {
		*rest = text_from(*rest, 3);
	}
	*value = (struct text){ .ptr = to, .len = n };
	return true;
}

static bool take_field(struct arena *arena, struct text *rest, struct trace_field *field)
{
	const ptrdiff_t equals = text_find(*rest, '=');
	const ptrdiff_t blank = text_find(*rest, ' ');

	if (equals <= 0 || (blank >= 0 && blank < equals))
		return false;
	field->key = text_head(*rest, (size_t)equals);
	*rest = text_from(*rest, (size_t)equals + 1);
	if (text_begins(*rest, TEXT("\"")))
		return take_quoted(arena, rest, &field->value);
	const ptrdiff_t end = text_find(*rest, ' ');
	field->value = end < 0 ? *rest : text_head(*rest, (size_t)end);
	*rest = text_from(*rest, field->value.len);
	return true;
}

/* Where our own words begin. */
static struct text own_words(struct text octets)
{
	static const char *const starts[] = { "t=", "level=" };

	for (size_t i = 0; i < octets.len; i++) {
		const struct text from = text_from(octets, i);
		for (size_t j = 0; j < sizeof(starts) / sizeof(starts[0]); j++) {
			if (text_begins(from, text_of(starts[j])) &&
				(i == 0 || octets.ptr[i - 1] == ' '))
				return from;
		}
	}
	return TEXT("");
}

bool trace_line_parse(struct arena *arena, struct text octets, struct trace_line *line)
{
	struct text rest = own_words(octets);

	line->fields = 0;
	while (rest.len && line->fields < TRACE_FIELDS) {
		if (!take_field(arena, &rest, &line->field[line->fields]))
			return false;
		line->fields++;
		while (rest.len && rest.ptr[0] == ' ')
			rest = text_from(rest, 1);
	}
	return trace_line_get(line, "event").len > 0;
}

struct text trace_line_get(const struct trace_line *line, const char *key)
{
	for (size_t i = 0; i < line->fields; i++) {
		if (text_equal(line->field[i].key, text_of(key)))
			return line->field[i].value;
	}
	return TEXT("");
}

bool trace_list_has(struct text list, struct text item)
{
	struct text part;

	while (list.len && text_split(&list, ',', &part)) {
		if (text_equal_nocase(part, item))
			return true;
	}
	return false;
}

/* The next run that is one. */
static bool take_run(struct text *runs, uint64_t *first, uint64_t *last)
{
	struct text run;

	while (runs->len && text_split(runs, ',', &run)) {
		const ptrdiff_t dash = text_find(run, '-');
		if (text_to_number(
			    dash < 0 ? run : text_head(run, (size_t)dash), UINT32_MAX, first) != 0)
			continue;
		*last = *first;
		if (dash < 0 ||
			text_to_number(text_from(run, (size_t)dash + 1), UINT32_MAX, last) == 0)
			return true;
	}
	return false;
}

bool trace_runs_have(struct text runs, uint64_t number)
{
	uint64_t first, last;

	while (take_run(&runs, &first, &last)) {
		if (number >= first && number <= last)
			return true;
	}
	return false;
}

void trace_runs_bounds(struct text runs, uint64_t *least, uint64_t *most)
{
	uint64_t first, last;

	while (take_run(&runs, &first, &last)) {
		*least = first < *least ? first : *least;
		*most = last > *most ? last : *most;
	}
}
