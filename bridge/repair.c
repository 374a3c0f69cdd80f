#include "bridge/repair.h"

#include <string.h>

static void end_line(struct repair *repair, struct buf *out)
{
	buf_add(out, TEXT("\r\n"));
	repair->inside_line = false;
	repair->after_cr = false;
}

/* Octets that the rest of the line goes on with as they are. */
static size_t plain_length(struct text in)
{
	size_t length = in.len;
	const char *found = memchr(in.ptr, '\n', length);
	if (found)
		length = (size_t)(found - in.ptr);
	found = memchr(in.ptr, '\r', length);
	if (found)
		length = (size_t)(found - in.ptr);
	found = memchr(in.ptr, '\0', length);
	return found ? (size_t)(found - in.ptr) : length;
}

static void add_inside(struct repair *repair, struct text octets, struct buf *out)
{
	if (!repair->inside_line && octets.ptr[0] == '.')
		buf_add_char(out, '.');
	buf_add(out, octets);
	repair->inside_line = true;
}

void repair_add(struct repair *repair, struct text in, struct buf *out)
{
	while (in.len) {
		const char c = in.ptr[0];
		size_t used = 1;

		if (c == '\n') {
			end_line(repair, out);
		} else {
			if (repair->after_cr)
				end_line(repair, out);
			if (c == '\r') {
				repair->after_cr = true;
			} else if (c == '\0') {
				add_inside(repair, TEXT("\x80"), out);
			} else {
				used = plain_length(in);
				add_inside(repair, text_head(in, used), out);
			}
		}
		in = text_from(in, used);
	}
}

void repair_end(struct repair *repair, struct buf *out)
{
	if (repair->inside_line || repair->after_cr)
		end_line(repair, out);
	buf_add(out, TEXT(".\r\n"));
	*repair = (struct repair){ 0 };
}
