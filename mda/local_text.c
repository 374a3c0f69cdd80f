#include "mda/local_text.h"

#include <string.h>

#include "mail/wire.h"

enum { LINE_LIMIT = WIRE_TEXT_LINE_LIMIT, SEPARATOR_LIMIT = 1024 };

size_t local_text_bound(size_t octets)
{
	/* The blank of a CR in the piece before; and two octets a break, the second one part of the line. */
	return octets + 1 + 2 * (octets / (LINE_LIMIT - 1) + 2);
}

static char *put(struct local_text *state, char octet, char *to)
{
	if (octet == '\n') {
		state->line = 0;
		*to++ = octet;
		return to;
	}
	if (state->line == LINE_LIMIT) {
		*to++ = '\n';
		*to++ = ' ';
		state->line = 1;
	}
	*to++ = octet;
	state->line++;
	return to;
}

size_t local_text_clean(struct local_text *state, struct text in, char *to)
{
	char *at = to;

	for (size_t i = 0; i < in.len; i++) {
		const char octet = in.ptr[i];
		if (state->after_cr && octet != '\n')
			at = put(state, ' ', at);
		state->after_cr = octet == '\r';
		if (!state->after_cr)
			at = put(state, octet ? octet : ' ', at);
	}
	return (size_t)(at - to);
}

/* "From sender date": the sender is the first word. */
int local_text_separator(struct text t, bool more, struct text *sender, size_t *used)
{
	const struct text mark = TEXT("From ");
	const struct text head = text_head(t, t.len < SEPARATOR_LIMIT ? t.len : SEPARATOR_LIMIT);
	const ptrdiff_t end = text_find(head, '\n');

	if (!text_begins(text_head(mark, head.len < mark.len ? head.len : mark.len),
		    text_head(head, mark.len)))
		return 0;
	if (end < 0)
		return more && head.len < SEPARATOR_LIMIT ? -1 : 0;
	struct text line = text_head(head, (size_t)end);
	if (line.len && line.ptr[line.len - 1] == '\r')
		line.len--;
	line = text_trim(text_from(line, mark.len));
	const ptrdiff_t blank = text_find(line, ' ');
	*sender = blank < 0 ? line : text_head(line, (size_t)blank);
	*used = (size_t)end + 1;
	return 1;
}
