#include "smtp-in/submission.h"

#include <string.h>

#include "base/mem.h"
#include "mail/mailboxes.h"
#include "mail/trace.h"

enum {
	NAME_LIMIT = 998,   /* RFC 5322 section 2.1.1: a line that has no colon by then is none */
	FROM_LIMIT = 16384, /* of the value; who needs more sends for a crowd */
};

enum place {
	AT_LINE,  /* at the start of a line, or in one of which it cannot be told yet what it is */
	IN_FIELD, /* of which the rest of the line goes on */
	IN_FROM,  /* likewise, and it is remembered */
	IN_DROPPED, /* and it does not */
	OVER,
};

struct submission {
	struct submission_options options;
	enum place place;
	enum place field; /* what a continuation line belongs to; OVER: there was no field yet */
	struct buf line;  /* AT_LINE: its start */
	struct buf from;
	unsigned froms;
	bool has_date, has_message_id, is_past_first;
};

struct submission *submission_new(const struct submission_options *options)
{
	struct submission *submission = mem_new(sizeof(*submission));

	submission->options = *options;
	submission->field = OVER;
	return submission;
}

void submission_free(struct submission **handle)
{
	struct submission *submission = *handle;

	*handle = NULL;
	if (!submission)
		return;
	buf_release(&submission->line);
	buf_release(&submission->from);
	mem_free(submission);
}

bool submission_is_over(const struct submission *submission)
{
	return submission->place == OVER;
}

/* ---- the end of the header ---- */

static void add_missing(const struct submission *submission, struct buf *out)
{
	const struct submission_options *options = &submission->options;
	char date[TRACE_DATE_LENGTH + 1];

	if (submission->froms == 0)
		buf_format(out, "From: <%.*s>\r\n", TEXT_ARG(options->sender));
	if (!submission->has_date) {
		trace_date(options->when, date);
		buf_format(out, "Date: %s\r\n", date);
	}
	if (!submission->has_message_id)
		buf_format(out, "Message-ID: <%.*s@%.*s>\r\n", TEXT_ARG(options->id),
			TEXT_ARG(options->host));
}

static void end_header(struct submission *submission, bool needs_blank_line, struct buf *out)
{
	add_missing(submission, out);
	if (needs_blank_line)
		buf_add_string(out, "\r\n");
	buf_add(out, buf_text(&submission->line));
	buf_release(&submission->line);
	submission->place = OVER;
}

/* ---- fields ---- */

static bool is_field_name(struct text name)
{
	for (size_t i = 0; i < name.len; i++) {
		if (name.ptr[i] <= ' ' || name.ptr[i] > '~')
			return false;
	}
	return name.len > 0;
}

static enum place place_of(struct submission *submission, struct text name)
{
	if (text_equal_nocase(name, TEXT("Bcc")) || text_equal_nocase(name, TEXT("Resent-Bcc")))
		return IN_DROPPED;
	if (text_equal_nocase(name, TEXT("From"))) {
		submission->froms++;
		return IN_FROM;
	}
	if (text_equal_nocase(name, TEXT("Date")))
		submission->has_date = true;
	else if (text_equal_nocase(name, TEXT("Message-ID")))
		submission->has_message_id = true;
	return IN_FIELD;
}

/* The line's start has told what it is: the rest of it goes the same way. */
static void enter(struct submission *submission, enum place place, struct buf *out)
{
	if (place != IN_DROPPED)
		buf_add(out, buf_text(&submission->line));
	buf_clear(&submission->line);
	submission->place = submission->field = place;
	submission->is_past_first = true;
}

static void forget_line(struct submission *submission)
{
	buf_clear(&submission->line);
	submission->is_past_first = true;
}

/* "From sender date", which a mailbox file has before each message and many a program leaves there. */
static bool is_separator(const struct submission *submission, struct text line)
{
	return !submission->is_past_first &&
	       (text_begins(line, TEXT("From ")) || text_begins(line, TEXT(">From ")));
}

/* A dot that was stuffed goes on with its line, and is no part of what the line says. */
static bool is_stuffed(const struct submission *submission, struct text line)
{
	return submission->options.dot_ends && line.len && line.ptr[0] == '.';
}

/* With a colon, a line end or the limit in it. */
static void tell_line(struct submission *submission, struct buf *out)
{
	const struct text whole = buf_text(&submission->line);
	const bool stuffed = is_stuffed(submission, whole);
	const struct text line = text_from(whole, stuffed);
	const bool ends = line.ptr[line.len - 1] == '\n';
	const struct text name = text_trim(text_head(line, line.len - 1));
	const bool is_field =
		!ends && line.ptr[0] != ' ' && line.ptr[0] != '\t' && is_field_name(name);

	/* Behind a dot that is the end of the message. */
	if (text_equal(line, TEXT("\r\n")))
		end_header(submission, false, out);
	else if (line.ptr[line.len - 1] == ':' && is_field)
		enter(submission, place_of(submission, name), out);
	else if (!is_separator(submission, line))
		end_header(submission, true, out);
	else if (ends)
		forget_line(submission);
	else
		enter(submission, IN_DROPPED, out);
}

/* The field before goes on. */
static bool continues(const struct submission *submission, struct text in)
{
	const struct text line = buf_text(&submission->line);

	return line.len == is_stuffed(submission, line) &&
	       (in.ptr[0] == ' ' || in.ptr[0] == '\t') && submission->field != OVER;
}

/* Octets up to where it can be told what the line is. */
static size_t take_start(struct submission *submission, struct text in, struct buf *out)
{
	const size_t before = buf_length(&submission->line);
	size_t n = 0;
	bool told = false;

	if (continues(submission, in)) {
		enter(submission, submission->field, out);
		return 0;
	}
	/* Alone: what comes behind it decides. */
	if (before == 0 && is_stuffed(submission, in)) {
		buf_add_char(&submission->line, '.');
		return 1;
	}
	while (n < in.len && !told) {
		told = in.ptr[n] == ':' || in.ptr[n] == '\n' || before + n + 1 == NAME_LIMIT;
		n++;
	}
	buf_add(&submission->line, text_head(in, n));
	if (told)
		tell_line(submission, out);
	return n;
}

static size_t take_rest(struct submission *submission, struct text in, struct buf *out)
{
	const ptrdiff_t lf = text_find(in, '\n');
	const struct text part = lf < 0 ? in : text_head(in, (size_t)lf + 1);

	if (submission->place != IN_DROPPED)
		buf_add(out, part);
	if (submission->place == IN_FROM && buf_length(&submission->from) <= FROM_LIMIT)
		buf_add(&submission->from, part);
	if (lf >= 0)
		submission->place = AT_LINE;
	return part.len;
}

size_t submission_take(struct submission *submission, struct text in, struct buf *out)
{
	size_t taken = 0;

	while (taken < in.len && submission->place != OVER) {
		const struct text rest = text_from(in, taken);
		if (submission->place == AT_LINE)
			taken += take_start(submission, rest, out);
		else
			taken += take_rest(submission, rest, out);
	}
	return taken;
}

void submission_finish(struct submission *submission, struct buf *out)
{
	if (submission->place == OVER)
		return;
	if (submission->place != AT_LINE && submission->place != IN_DROPPED)
		buf_add_string(out, "\r\n");
	end_header(submission, buf_length(&submission->line) > 0, out);
}

/* ---- who wrote it ---- */

int submission_authors(const struct submission *submission, struct arena *arena,
	struct address list[SUBMISSION_AUTHORS])
{
	const struct text value = buf_text(&submission->from);

	if (submission->froms == 0)
		return 0;
	if (submission->froms > 1 || value.len == 0 || value.len > FROM_LIMIT)
		return -1;
	return mailboxes_parse(arena, value, list, SUBMISSION_AUTHORS);
}
