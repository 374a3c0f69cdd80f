/*
 * How a body is read. Octets go by in runs between line ends; only the few octets around a line end are
 * looked at one by one, and what has been seen of them is the state:
 *
 *	LINE_START --'.'--> DOT --CR--> DOT_CR --LF--> the message has ended
 *	     |               |             |
 *	     | else          | else        | else: that CR was bare
 *	     v               v             v
 *	   WITHIN <--------------------------
 *	     |  ^
 *	  CR v  | else: that CR was bare
 *	   AFTER_CR --LF--> LINE_START
 *
 * LF in any other place is bare and starts no line, so nothing after it can be taken for the dot that
 * ends a message. A dot that starts a line and does not end the message was stuffed and is dropped.
 */
#include "mail/wire.h"

#include <string.h>

enum { LINE_START, DOT, DOT_CR, WITHIN, AFTER_CR };

const char *wire_fault_text(enum wire_fault fault)
{
	switch (fault) {
	case WIRE_OK:
		return "no fault";
	case WIRE_TOO_LONG:
		return "line too long";
	case WIRE_BARE_LF:
		return "bare LF; lines end in CRLF";
	case WIRE_BARE_CR:
		return "bare CR; lines end in CRLF";
	case WIRE_NUL:
		return "NUL octet";
	}
	return "line at fault";
}

/* An empty text may point nowhere, and nowhere plus nothing is not defined. */
static const char *text_end(struct text t)
{
	return t.len > 0 ? t.ptr + t.len : t.ptr;
}

/* The first thing wrong with the n octets before a line's LF. */
static enum wire_fault line_fault(const char *line, size_t n)
{
	const char *nul = memchr(line, '\0', n);
	const char *cr = memchr(line, '\r', n);

	if (nul != NULL && (cr == NULL || nul < cr))
		return WIRE_NUL;
	if (cr == NULL)
		return WIRE_BARE_LF;
	return cr == line + n - 1 ? WIRE_OK : WIRE_BARE_CR;
}

/* Go on inside a line at fault; it ends at an LF of either kind, but only CRLF ends the fault. */
static int line_skip(struct wire_lines *lines, struct text in, size_t *used, enum wire_fault *fault)
{
	const char *lf;
	bool crlf;

	if (in.len == 0)
		return 0;
	lf = memchr(in.ptr, '\n', in.len);
	if (lf == NULL) {
		lines->after_cr = in.ptr[in.len - 1] == '\r';
		*used = in.len;
		return 0;
	}
	crlf = lf > in.ptr ? lf[-1] == '\r' : lines->after_cr;
	*fault = lines->fault;
	*used = (size_t)(lf - in.ptr) + 1;
	*lines = (struct wire_lines){
		.skipping = !crlf,
		.fault = crlf ? WIRE_OK : *fault,
	};
	return -1;
}

int wire_line(struct wire_lines *lines, struct text in, size_t limit, struct text *line,
	size_t *used, enum wire_fault *fault)
{
	const char *lf;
	size_t n;

	*used = 0;
	*fault = WIRE_OK;
	if (lines->skipping)
		return line_skip(lines, in, used, fault);
	n = in.len < limit ? in.len : limit;
	lf = n > 0 ? memchr(in.ptr, '\n', n) : NULL;
	if (lf == NULL && in.len < limit)
		return 0;
	if (lf != NULL) {
		n = (size_t)(lf - in.ptr);
		lines->fault = line_fault(in.ptr, n);
		if (lines->fault == WIRE_OK) {
			*line = text_head(in, n - 1);
			*used = n + 1;
			return 1;
		}
	} else {
		lines->fault = WIRE_TOO_LONG;
	}
	lines->skipping = true;
	lines->after_cr = false;
	return line_skip(lines, in, used, fault);
}

/* Where decoded octets go; at NULL: nowhere. */
struct sink {
	char *at;
	uint64_t limit;
};

/* How many more octets of wire size the limit lets through. */
static uint64_t sink_left(const struct sink *sink, const struct wire_data *data)
{
	if (sink->at == NULL || data->fault != WIRE_OK)
		return 0;
	if (sink->limit == 0)
		return UINT64_MAX;
	return data->size < sink->limit ? sink->limit - data->size : 0;
}

static void data_fault(struct wire_data *data, enum wire_fault fault)
{
	if (data->fault == WIRE_OK)
		data->fault = fault;
}

/* n octets of a line's inside, none of them CR, LF or NUL. */
static void data_inside(struct wire_data *data, struct sink *sink, const char *octets, size_t n)
{
	const uint64_t left = sink_left(sink, data);
	size_t kept = n;

	if (data->line_length + n > WIRE_TEXT_LINE_LIMIT) {
		kept = data->line_length < WIRE_TEXT_LINE_LIMIT
			       ? (size_t)(WIRE_TEXT_LINE_LIMIT - data->line_length)
			       : 0;
		data_fault(data, WIRE_TOO_LONG);
	}
	if (kept > left)
		kept = (size_t)left;
	if (kept > 0) {
		memcpy(sink->at, octets, kept);
		sink->at += kept;
	}
	data->line_length += n;
	data->size += n;
}

/* One octet that has no place in a message. */
static void data_stray(struct wire_data *data, enum wire_fault fault)
{
	data_fault(data, fault);
	data->size++;
}

static void data_line_end(struct wire_data *data, struct sink *sink)
{
	if (sink_left(sink, data) >= 2)
		*sink->at++ = '\n';
	data->size += 2;
	data->lines++;
	data->line_length = 0;
	data->state = LINE_START;
}

enum { SEEN_NUL = 1, SEEN_EIGHT_BIT = 2 };

/* What stands among these octets, eight at a time. */
static unsigned octets_seen(const char *at, size_t n)
{
	const uint64_t ones = 0x0101010101010101U;
	const uint64_t tops = 0x8080808080808080U;
	uint64_t all = 0;
	uint64_t zero = 0;
	uint64_t word;

	for (; n >= sizeof(word); at += sizeof(word), n -= sizeof(word)) {
		memcpy(&word, at, sizeof(word));
		all |= word;
		zero |= (word - ones) & ~word & tops;
	}
	word = ones;
	if (n > 0)
		memcpy(&word, at, n);
	all |= word;
	zero |= (word - ones) & ~word & tops;
	return (zero != 0 ? SEEN_NUL : 0) | ((all & tops) != 0 ? SEEN_EIGHT_BIT : 0);
}

/* A run without CR and LF; NULs are rare enough to be taken out here. */
static void data_run(struct wire_data *data, struct sink *sink, const char *at, const char *stop)
{
	const unsigned seen = octets_seen(at, (size_t)(stop - at));

	if ((seen & SEEN_EIGHT_BIT) != 0)
		data->eight_bit = true;
	while ((seen & SEEN_NUL) != 0) {
		const char *nul = memchr(at, '\0', (size_t)(stop - at));

		if (nul == NULL)
			break;
		data_inside(data, sink, at, (size_t)(nul - at));
		data_stray(data, WIRE_NUL);
		at = nul + 1;
	}
	data_inside(data, sink, at, (size_t)(stop - at));
}

/* Read on; lf is the first LF not before at, or end. What was read ends at the result. */
static const char *data_within(
	struct wire_data *data, struct sink *sink, const char *at, const char *lf, const char *end)
{
	const char *cr = memchr(at, '\r', (size_t)(lf - at));
	const char *stop = cr != NULL ? cr : lf;

	data_run(data, sink, at, stop);
	if (cr != NULL) {
		data->state = AFTER_CR;
		if (stop + 1 < lf || lf == end)
			return stop + 1;
		data_line_end(data, sink);
		return lf + 1;
	}
	if (stop == end)
		return stop;
	data_stray(data, WIRE_BARE_LF);
	return stop + 1;
}

static int data_pass(struct wire_data *data, struct text in, size_t *used, struct sink *sink)
{
	const char *at = in.ptr;
	const char *end = text_end(in);
	const char *lf = NULL;

	while (at < end) {
		switch (data->state) {
		case LINE_START:
			if (*at == '.' && !data->plain) {
				data->state = DOT;
				at++;
				continue;
			}
			data->state = WITHIN;
			break;
		case DOT:
			data->state = *at == '\r' ? DOT_CR : WITHIN;
			if (data->state == DOT_CR) {
				at++;
				continue;
			}
			break;
		case DOT_CR:
			if (*at == '\n') {
				*used = (size_t)(at + 1 - in.ptr);
				return 1;
			}
			data_stray(data, WIRE_BARE_CR);
			data->state = WITHIN;
			break;
		case AFTER_CR:
			if (*at == '\n') {
				data_line_end(data, sink);
				at++;
				continue;
			}
			data_stray(data, WIRE_BARE_CR);
			data->state = WITHIN;
			break;
		}
		/* Looked for once per LF, or a body of CRs alone would cost its square. */
		if (lf == NULL || lf < at) {
			lf = memchr(at, '\n', (size_t)(end - at));
			if (lf == NULL)
				lf = end;
		}
		at = data_within(data, sink, at, lf, end);
	}
	*used = in.len;
	return 0;
}

bool wire_data_end(struct wire_data *data)
{
	if (data->state == AFTER_CR)
		data_stray(data, WIRE_BARE_CR);
	return data->state == LINE_START;
}

int wire_data_scan(struct wire_data *data, struct text in, size_t *used)
{
	struct sink nowhere = { .at = NULL };

	return data_pass(data, in, used, &nowhere);
}

int wire_data_decode(
	struct wire_data *data, struct text in, size_t *used, struct buf *out, uint64_t limit)
{
	struct sink sink = { .limit = limit };
	char *start;
	int result;

	if (data->fault != WIRE_OK || (limit != 0 && data->size > limit))
		return wire_data_scan(data, in, used);
	/* Nothing grows in decoding, so one reservation serves the whole piece. */
	start = buf_room(out, in.len);
	sink.at = start;
	result = data_pass(data, in, used, &sink);
	buf_commit(out, (size_t)(sink.at - start));
	return result;
}

/* Within a line, up to the next dot that starts one. */
static const char *unstuff_within(struct wire_unstuff *unstuff, const char *at, const char *end)
{
	const char *lf;

	while ((lf = memchr(at, '\n', (size_t)(end - at))) != NULL) {
		at = lf + 1;
		if (at == end || *at == '.') {
			unstuff->state = LINE_START;
			return at;
		}
	}
	return end;
}

size_t wire_unstuff(struct wire_unstuff *unstuff, struct text in, char *to)
{
	const char *at = in.ptr;
	const char *end = text_end(in);
	const char *stop;
	char *out = to;

	while (at < end) {
		switch (unstuff->state) {
		case LINE_START:
			unstuff->state = *at == '.' ? DOT : WITHIN;
			at += unstuff->state == DOT;
			break;
		case DOT:
			unstuff->state = *at == '\r' ? DOT_CR : WITHIN;
			at += unstuff->state == DOT_CR;
			break;
		case DOT_CR: /* before the terminator's LF */
			unstuff->state = LINE_START;
			at++;
			break;
		case WITHIN:
			stop = unstuff_within(unstuff, at, end);
			memcpy(out, at, (size_t)(stop - at));
			out += stop - at;
			at = stop;
			break;
		}
	}
	return (size_t)(out - to);
}

size_t wire_encode_bound(size_t octets)
{
	return 2 * octets;
}

size_t wire_encode(struct wire_encode *encode, struct text in, char *to)
{
	const char *at = in.ptr;
	const char *end = text_end(in);
	char *out = to;

	while (at < end) {
		const char *lf = memchr(at, '\n', (size_t)(end - at));
		const size_t n = (size_t)((lf != NULL ? lf : end) - at);

		if (*at == '.' && (!encode->not_start || encode->last == '\n'))
			*out++ = '.';
		encode->not_start = true;
		if (n > 0) {
			memcpy(out, at, n);
			out += n;
			encode->last = at[n - 1];
		}
		at += n;
		if (lf == NULL)
			break;
		if (encode->last != '\r')
			*out++ = '\r';
		*out++ = '\n';
		encode->last = '\n';
		at++;
	}
	return (size_t)(out - to);
}

size_t wire_encode_end(struct wire_encode *encode, char *to)
{
	char *out = to;

	if (encode->not_start && encode->last != '\n') {
		memcpy(out, "\r\n", 2);
		out += 2;
	}
	memcpy(out, ".\r\n", 3);
	*encode = (struct wire_encode){ 0 };
	return (size_t)(out + 3 - to);
}

uint64_t wire_size_piece(struct wire_encode *state, struct text in)
{
	const char *at = in.ptr;
	const char *end = text_end(in);
	uint64_t size = in.len;

	while (at < end) {
		const char *lf = memchr(at, '\n', (size_t)(end - at));

		if (lf == NULL)
			break;
		if ((lf > in.ptr ? lf[-1] : state->last) != '\r')
			size++;
		at = lf + 1;
	}
	if (in.len > 0) {
		state->last = end[-1];
		state->not_start = true;
	}
	return size;
}

uint64_t wire_size_end(const struct wire_encode *state)
{
	return state->not_start && state->last != '\n' ? 2 : 0;
}

uint64_t wire_size(struct text stored)
{
	struct wire_encode state = { 0 };
	const uint64_t size = wire_size_piece(&state, stored);

	return size + wire_size_end(&state);
}
