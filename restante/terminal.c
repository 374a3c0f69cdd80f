#include "restante/terminal.h"

#include <stdarg.h>
#include <stdio.h>

#include "mail/utf8.h"

enum { LINE_LIMIT = 8192 };

void terminal_add(struct buf *out, struct text t)
{
	while (t.len) {
		const unsigned char octet = (unsigned char)t.ptr[0];
		const size_t length = octet < 0x80 ? octet >= ' ' && octet != 0x7f : utf8_length(t);
		if (length)
			buf_add(out, text_head(t, length));
		else
			buf_add_char(out, '?');
		t = text_from(t, length ? length : 1);
	}
}

void terminal_add_lines(struct buf *out, struct text lines)
{
	struct text line;

	while (lines.len && text_split(&lines, '\n', &line)) {
		terminal_add(out, line);
		if (lines.ptr)
			buf_add_char(out, '\n');
	}
}

void terminal_complain(const char *format, ...)
{
	struct buf safe = { 0 };
	char line[LINE_LIMIT];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(line, sizeof(line), format, arguments);
	va_end(arguments);
	terminal_add(&safe, text_of(line));
	fprintf(stderr, "restante: %.*s\n", TEXT_ARG(buf_text(&safe)));
	buf_release(&safe);
}
