#include "restante/locate.h"

#include <string.h>

/* Words, strings and single marks, as base/settings.h reads them; comments and blanks are passed over. */
enum token_kind { TOKEN_END, TOKEN_WORD, TOKEN_STRING, TOKEN_MARK };

struct token {
	enum token_kind kind;
	struct text text; /* a string without its quotes, escapes as they stand */
	unsigned line;
};

struct reader {
	struct text rest;
	unsigned line;
};

static void advance(struct reader *reader, size_t octets)
{
	for (size_t i = 0; i < octets; i++)
		reader->line += reader->rest.ptr[i] == '\n';
	reader->rest = text_from(reader->rest, octets);
}

static size_t line_length(struct text t)
{
	const ptrdiff_t end = text_find(t, '\n');

	return end < 0 ? t.len : (size_t)end;
}

static size_t comment_length(struct text t)
{
	if (text_begins(t, TEXT("#")) || text_begins(t, TEXT("//")))
		return line_length(t);
	if (!text_begins(t, TEXT("/*")))
		return 0;
	const char *end = memmem(t.ptr + 2, t.len - 2, "*/", 2);
	return end ? (size_t)(end - t.ptr) + 2 : t.len;
}

static void skip(struct reader *reader)
{
	for (;;) {
		size_t length = comment_length(reader->rest);
		if (length == 0 && reader->rest.len && strchr(" \t\r\n", reader->rest.ptr[0]))
			length = 1;
		if (length == 0)
			return;
		advance(reader, length);
	}
}

/* Octets of the string that begins with this quote, both quotes counted. */
static size_t string_length(struct text t)
{
	size_t i = 1;

	while (i < t.len && t.ptr[i] != t.ptr[0] && t.ptr[i] != '\n')
		i += t.ptr[i] == '\\' && i + 1 < t.len ? 2 : 1;
	return i < t.len ? i + 1 : t.len;
}

static size_t word_length(struct text t)
{
	size_t i = 0;

	while (i < t.len && !strchr(" \t\r\n#'\"={},", t.ptr[i]))
		i++;
	return i;
}

static struct token next_token(struct reader *reader)
{
	skip(reader);
	struct token token = { .line = reader->line };
	if (reader->rest.len == 0)
		return token;
	const char first = reader->rest.ptr[0];
	size_t length;
	if (first == '"' || first == '\'') {
		token.kind = TOKEN_STRING;
		length = string_length(reader->rest);
		token.text = text_head(text_from(reader->rest, 1), length > 1 ? length - 2 : 0);
	} else {
		length = word_length(reader->rest);
		token.kind = length ? TOKEN_WORD : TOKEN_MARK;
		length = length ? length : 1;
		token.text = text_head(reader->rest, length);
	}
	advance(reader, length);
	return token;
}

static bool is_mark(struct token token, char mark)
{
	return token.kind == TOKEN_MARK && token.text.ptr[0] == mark;
}

/* What stands behind a '='. The line of the wanted value in it, or 0. */
static unsigned read_value(struct reader *reader, const char *wanted)
{
	struct token token = next_token(reader);
	const bool list = is_mark(token, '{');
	unsigned line = 0;

	if (list)
		token = next_token(reader);
	while (token.kind != TOKEN_END && !is_mark(token, '}')) {
		if (!line && wanted && token.kind != TOKEN_MARK &&
			text_equal(token.text, text_of(wanted)))
			line = token.line;
		if (!list)
			break;
		token = next_token(reader);
	}
	return line;
}

unsigned locate_item(struct text file, const char *section, const char *name, const char *value)
{
	struct reader reader = { .rest = file, .line = 1 };
	struct text word = { 0 }, inside = { 0 };
	unsigned line = 0, at = 0;

	for (struct token token = next_token(&reader); token.kind != TOKEN_END;
		token = next_token(&reader)) {
		if (token.kind == TOKEN_WORD) {
			word = token.text;
			at = token.line;
		} else if (is_mark(token, '{')) {
			inside = word;
		} else if (is_mark(token, '}')) {
			inside = (struct text){ 0 };
		} else if (is_mark(token, '=')) {
			const bool here = text_equal(word, text_of(name)) &&
					  text_equal(inside, text_of(section ? section : ""));
			const unsigned exact = read_value(&reader, here ? value : NULL);
			if (exact)
				return exact;
			line = here ? at : line;
		}
	}
	return line;
}

static bool is_named(const struct text *names, size_t count, struct text name)
{
	for (size_t i = 0; i < count; i++) {
		if (text_equal(names[i], name))
			return true;
	}
	return false;
}

size_t locate_sections(struct text file, struct text prefix, struct text *names, size_t most)
{
	struct reader reader = { .rest = file, .line = 1 };
	struct token before = { .kind = TOKEN_MARK, .text = TEXT(" ") };
	size_t count = 0;

	for (struct token token = next_token(&reader); token.kind != TOKEN_END && count < most;
		token = next_token(&reader)) {
		if (is_mark(token, '=')) {
			read_value(&reader, NULL);
		} else if (is_mark(token, '{') && before.kind != TOKEN_MARK &&
			   text_begins(before.text, prefix) &&
			   !is_named(names, count, before.text)) {
			names[count++] = before.text;
		}
		before = token;
	}
	return count;
}

bool locate_section(struct text file, struct text name, size_t *from, size_t *to)
{
	struct reader reader = { .rest = file, .line = 1 };
	struct token before = { .kind = TOKEN_MARK, .text = TEXT(" ") };
	bool inside = false;

	for (struct token token = next_token(&reader); token.kind != TOKEN_END;
		token = next_token(&reader)) {
		if (is_mark(token, '=')) {
			read_value(&reader, NULL);
		} else if (is_mark(token, '{') && before.kind == TOKEN_WORD &&
			   text_equal(before.text, name)) {
			inside = true;
			*from = (size_t)(before.text.ptr - file.ptr);
		} else if (is_mark(token, '}') && inside) {
			*to = (size_t)(reader.rest.ptr - file.ptr);
			return true;
		}
		before = token;
	}
	return false;
}
