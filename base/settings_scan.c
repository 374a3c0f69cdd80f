/*
 * A first look at the file, before libconfuse's. It does what that library does not: lines stay right
 * behind comments, "*:25" keeps its star without quotes, an open quote is an error, ${NAME} is not
 * replaced from the environment, and one unknown name does not hide the other mistakes.
 *
 *	#, // to the end of the line, and slash-star to star-slash: comments where a word could begin
 *	'...' and "..."                     words; \\ and \" or \' are escapes; they end on their line
 *	anything else up to a blank or one of # ' " = { } ,     a word, too
 */
#include <stdio.h>
#include <string.h>

#include "base/settings_private.h"

enum token { TOKEN_NONE, TOKEN_NAME, TOKEN_EQUALS, TOKEN_OTHER };

enum { ANY_DEPTH = 1000000 };

struct scan {
	struct settings_reading *reading;
	struct text in;
	size_t at;
	unsigned line;

	struct buf *out;
	unsigned out_line;

	int section; /* index, or SETTINGS_NOWHERE */
	bool in_section;
	bool in_list;
	enum token last;
	bool drops_value;     /* the value of a name that was refused comes next */
	unsigned drops_depth; /* braces open in what is dropped */

	struct buf word;
	unsigned word_line; /* of a name not yet written out; 0: there is none */
};

static void finding(struct scan *scan, unsigned line, const char *sentence)
{
	settings_finding(scan->reading, scan->section, line, "%s", sentence);
}

/* ---- what goes on to libconfuse ---- */

static void put(struct scan *scan, unsigned line, struct text octets)
{
	for (; scan->out_line < line; scan->out_line++)
		buf_add_char(scan->out, '\n');
	buf_add(scan->out, octets);
	buf_add_char(scan->out, ' ');
}

static void put_word(struct scan *scan, unsigned line)
{
	struct text word = buf_text(&scan->word);
	struct buf quoted = { 0 };

	buf_add_char(&quoted, '\'');
	for (size_t i = 0; i < word.len; i++) {
		if (word.ptr[i] == '\'' || word.ptr[i] == '\\')
			buf_add_char(&quoted, '\\');
		buf_add_char(&quoted, word.ptr[i]);
	}
	buf_add_char(&quoted, '\'');
	put(scan, line, buf_text(&quoted));
	buf_release(&quoted);
}

static void put_pending_name(struct scan *scan)
{
	if (scan->word_line)
		put_word(scan, scan->word_line);
	scan->word_line = 0;
}

static void put_mark(struct scan *scan, char mark)
{
	put_pending_name(scan);
	put(scan, scan->line, (struct text){ .ptr = &mark, .len = 1 });
}

/* ---- names ---- */

static bool accept_item(struct scan *scan)
{
	struct settings_reading *reading = scan->reading;
	struct text name = buf_text(&scan->word);

	if (scan->section == SETTINGS_NOWHERE) {
		settings_report_unknown(reading, SETTINGS_NOWHERE, scan->word_line, name);
		return false;
	}
	const struct settings_section *section = reading->sections[scan->section];
	const struct settings_item *item = settings_find(section, name);
	if (!item && name.len && settings_section_named(reading, name) != SETTINGS_NOWHERE) {
		settings_finding(reading, scan->section, scan->word_line,
			"%.*s is a section; write %.*s { ... }", TEXT_ARG(name), TEXT_ARG(name));
		return false;
	}
	if (!item) {
		settings_report_unknown(reading, scan->section, scan->word_line, name);
		return false;
	}
	unsigned *line = &reading->places[scan->section].item_lines[item - section->items];
	if (*line) {
		settings_finding(reading, scan->section, scan->word_line,
			"%s is given again; it stands in line %u already, keep one of the two",
			item->name, *line);
		return false;
	}
	*line = scan->word_line;
	return true;
}

static bool accept_section(struct scan *scan)
{
	struct settings_reading *reading = scan->reading;
	struct text name = buf_text(&scan->word);
	int section = name.len ? settings_section_named(reading, name) : SETTINGS_NOWHERE;

	if (scan->in_section) {
		finding(scan, scan->word_line,
			"a section inside a section; close the first one with } before");
		return false;
	}
	int top = settings_section_named(reading, TEXT(""));
	if (top != SETTINGS_NOWHERE && settings_find(reading->sections[top], name)) {
		settings_finding(reading, top, scan->word_line,
			"%.*s is not a section; write %.*s = value", TEXT_ARG(name),
			TEXT_ARG(name));
		return false;
	}
	if (section == SETTINGS_NOWHERE) {
		settings_report_unknown(reading, SETTINGS_NOWHERE, scan->word_line, name);
		return false;
	}
	unsigned *line = &reading->places[section].line;
	if (*line)
		settings_finding(reading, section, scan->word_line,
			"section %s is given again; it stands in line %u already, join the two",
			reading->sections[section]->name, *line);
	else
		*line = scan->word_line;
	scan->section = section;
	scan->in_section = true;
	return true;
}

/* ---- tokens ---- */

static void take_word(struct scan *scan, unsigned line)
{
	if (scan->drops_depth)
		return;
	if (scan->drops_value) {
		scan->drops_value = false;
		scan->last = TOKEN_OTHER;
		return;
	}
	if (scan->last == TOKEN_EQUALS || scan->in_list) {
		put_word(scan, line);
		scan->last = TOKEN_OTHER;
		return;
	}
	scan->word_line = line;
	scan->last = TOKEN_NAME;
}

static void take_equals(struct scan *scan)
{
	if (scan->drops_depth)
		return;
	scan->drops_value = false;
	if (scan->last == TOKEN_NAME && !accept_item(scan)) {
		scan->word_line = 0;
		scan->drops_value = true;
		return;
	}
	put_mark(scan, '=');
	scan->last = TOKEN_EQUALS;
}

static void take_opening(struct scan *scan)
{
	if (scan->drops_depth || scan->drops_value) {
		if (scan->drops_depth < ANY_DEPTH)
			scan->drops_depth++;
		scan->drops_value = false;
		return;
	}
	if (scan->last == TOKEN_NAME && !accept_section(scan)) {
		scan->word_line = 0;
		scan->drops_depth = 1;
		return;
	}
	if (scan->last == TOKEN_EQUALS)
		scan->in_list = true;
	put_mark(scan, '{');
	scan->last = TOKEN_OTHER;
}

static void take_closing(struct scan *scan)
{
	if (scan->drops_depth) {
		if (--scan->drops_depth == 0)
			scan->last = TOKEN_OTHER;
		return;
	}
	scan->drops_value = false;
	put_mark(scan, '}');
	if (!scan->in_list) {
		scan->section = settings_section_named(scan->reading, TEXT(""));
		scan->in_section = false;
	}
	scan->in_list = false;
	scan->last = TOKEN_OTHER;
}

static void take_comma(struct scan *scan)
{
	if (scan->drops_depth)
		return;
	scan->drops_value = false;
	put_mark(scan, ',');
	scan->last = TOKEN_OTHER;
}

/* ---- octets ---- */

static char octet(const struct scan *scan, size_t ahead)
{
	return scan->at + ahead < scan->in.len ? scan->in.ptr[scan->at + ahead] : '\n';
}

static void skip_line(struct scan *scan)
{
	while (scan->at < scan->in.len && octet(scan, 0) != '\n')
		scan->at++;
}

static void skip_block_comment(struct scan *scan)
{
	unsigned line = scan->line;

	for (scan->at += 2; scan->at < scan->in.len; scan->at++) {
		if (octet(scan, 0) == '*' && octet(scan, 1) == '/') {
			scan->at += 2;
			return;
		}
		scan->line += octet(scan, 0) == '\n';
	}
	finding(scan, line, "this comment has no end; close it with */");
}

/* A pending name is written out before its memory is used again. */
static void begin_word(struct scan *scan)
{
	put_pending_name(scan);
	buf_clear(&scan->word);
}

static void check_word(struct scan *scan)
{
	struct text word = buf_text(&scan->word);

	for (size_t i = 0; i < word.len; i++) {
		if ((unsigned char)word.ptr[i] < ' ' || word.ptr[i] == 127) {
			finding(scan, scan->line, "a control character in a word; remove it");
			buf_clear(&scan->word);
			return;
		}
	}
	if (memmem(word.ptr, word.len, "${", 2))
		finding(scan, scan->line,
			"${...} is not replaced from the environment; write the value itself");
}

static void scan_quoted(struct scan *scan, char quote)
{
	bool escapes_wrongly = false;

	begin_word(scan);
	for (scan->at++; octet(scan, 0) != quote && octet(scan, 0) != '\n'; scan->at++) {
		if (octet(scan, 0) == '\\') {
			char next = octet(scan, 1);
			if (next == quote || next == '\\')
				scan->at++;
			else
				escapes_wrongly = true;
		}
		buf_add_char(&scan->word, octet(scan, 0));
	}
	if (octet(scan, 0) == quote)
		scan->at++;
	else
		finding(scan, scan->line,
			"a quote is opened and not closed in this line; close it");
	if (escapes_wrongly)
		finding(scan, scan->line,
			"a backslash escapes only itself and the quote; write \\\\");
	check_word(scan);
	take_word(scan, scan->line);
}

static bool ends_bare_word(char c)
{
	return c == '\n' || strchr(" \t\r#'\"={},", c);
}

static void scan_bare(struct scan *scan)
{
	begin_word(scan);
	while (scan->at < scan->in.len && !(octet(scan, 0) && ends_bare_word(octet(scan, 0)))) {
		buf_add_char(&scan->word, octet(scan, 0));
		scan->at++;
	}
	check_word(scan);
	take_word(scan, scan->line);
}

static void scan_mark(struct scan *scan, char mark)
{
	scan->at++;
	if (mark == '=')
		take_equals(scan);
	else if (mark == '{')
		take_opening(scan);
	else if (mark == '}')
		take_closing(scan);
	else
		take_comma(scan);
}

static void scan_next(struct scan *scan)
{
	char c = octet(scan, 0);

	if (c == '\n') {
		scan->line++;
		scan->at++;
	} else if (c == ' ' || c == '\t' || c == '\r') {
		scan->at++;
	} else if (c == '#' || (c == '/' && octet(scan, 1) == '/')) {
		skip_line(scan);
	} else if (c == '/' && octet(scan, 1) == '*') {
		skip_block_comment(scan);
	} else if (c == '"' || c == '\'') {
		scan_quoted(scan, c);
	} else if (c == '+' && octet(scan, 1) == '=') {
		finding(scan, scan->line,
			"+= does not add to the default; write the whole list with =");
		scan->at++;
	} else if (c == '=' || c == '{' || c == '}' || c == ',') {
		scan_mark(scan, c);
	} else {
		scan_bare(scan);
	}
}

void settings_scan(struct settings_reading *reading, struct text in, struct buf *out)
{
	struct scan scan = { .reading = reading,
		.in = in,
		.line = 1,
		.out = out,
		.out_line = 1,
		.section = settings_section_named(reading, TEXT("")) };

	if (text_begins(in, TEXT("\xEF\xBB\xBF")))
		scan.at = 3;
	while (scan.at < in.len)
		scan_next(&scan);
	put_pending_name(&scan);
	/* libconfuse takes the end of the file for the end of a section. */
	if (scan.in_section && !scan.in_list)
		finding(&scan, reading->places[scan.section].line,
			"this section has no end; close it with }");
	if (scan.drops_depth)
		finding(&scan, scan.line, "the file ends inside braces; close them with }");
	buf_release(&scan.word);
}
