/*
 * What wire_data_decode must find, said without a state machine: by looking at the whole text.
 */
#ifndef TESTS_UNIT_MAIL_WIRE_MODEL_H
#define TESTS_UNIT_MAIL_WIRE_MODEL_H

#include <string.h>

#include "base/buf.h"
#include "mail/wire.h"

struct wire_model {
	bool ended;
	size_t used;
	enum wire_fault fault;
	uint64_t size;
	uint64_t lines;
	bool eight_bit;
};

static inline bool model_line_starts(struct text in, size_t at)
{
	return at == 0 || (at >= 2 && in.ptr[at - 2] == '\r' && in.ptr[at - 1] == '\n');
}

static inline size_t model_end(struct text in)
{
	for (size_t i = 0; i + 3 <= in.len; i++) {
		if (in.ptr[i] == '.' && model_line_starts(in, i) &&
			memcmp(in.ptr + i, ".\r\n", 3) == 0)
			return i;
	}
	return in.len;
}

/* Where the first octet stands that has no business there, or n. A CR at the very end may yet be good. */
static inline size_t model_fault(struct text in, size_t n, enum wire_fault *fault)
{
	uint64_t length = 0;

	for (size_t i = 0; i < n; i++) {
		const char c = in.ptr[i];

		if (model_line_starts(in, i))
			length = 0;
		if (c == '\0')
			*fault = WIRE_NUL;
		else if (c == '\r' && i + 1 < n && in.ptr[i + 1] != '\n')
			*fault = WIRE_BARE_CR;
		else if (c == '\n' && (i == 0 || in.ptr[i - 1] != '\r'))
			*fault = WIRE_BARE_LF;
		else if (c != '\r' && c != '\n' && !(c == '.' && model_line_starts(in, i)) &&
			 ++length > WIRE_TEXT_LINE_LIMIT)
			*fault = WIRE_TOO_LONG;
		if (*fault != WIRE_OK)
			return i;
	}
	return n;
}

/* The decoded octets of `in` are added to out. No limit. */
static inline struct wire_model wire_model(struct text in, struct buf *out)
{
	struct wire_model model = { 0 };
	const size_t end = model_end(in);
	size_t good;

	model.ended = end < in.len;
	model.used = model.ended ? end + 3 : in.len;
	good = model_fault(in, end, &model.fault);
	for (size_t i = 0; i < end; i++) {
		const char c = in.ptr[i];
		const bool crlf = c == '\r' && i + 1 < in.len && in.ptr[i + 1] == '\n';
		const bool stuffed = c == '.' && model_line_starts(in, i);
		/* Only the octet after it tells what this one is. */
		const bool pending = i + 1 == in.len && c == '\r';

		if (stuffed || pending)
			continue;
		if ((unsigned char)c > 127)
			model.eight_bit = true;
		model.size++;
		if (c == '\n' && i > 0 && in.ptr[i - 1] == '\r')
			model.lines++;
		if (i < good && !crlf)
			buf_add_char(out, c);
	}
	return model;
}

#endif
