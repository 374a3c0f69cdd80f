/*
 * Replies of SMTP and LMTP: code, enhanced code and text (RFC 5321 section 4.2, RFC 2034, RFC 3463).
 */
#ifndef MAIL_REPLY_H
#define MAIL_REPLY_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/text.h"

enum { REPLY_LINE_LIMIT = 512, REPLY_LINES_LIMIT = 100 };

/* enhanced: class, subject, detail; class 0: none. Codes with a part above 255 stay in the text. */
struct reply {
	unsigned code; /* 200 to 599 */
	unsigned char enhanced[3];
	struct text text; /* of the last line, without codes */
};

#define REPLY(c, x, y, z, string) \
	(struct reply) \
	{ \
		.code = (c), .enhanced = { (x), (y), (z) }, .text = TEXT(string) \
	}

/*
 * "250 2.1.5 text\r\n"; the enhanced code only when there is one. Control characters in text become
 * '?', and what does not fit into REPLY_LINE_LIMIT is left off.
 */
void reply_print(struct buf *out, const struct reply *reply);

/* One line of a longer reply, "250-text\r\n" or, the last, "250 text\r\n". */
void reply_print_line(struct buf *out, unsigned code, bool last, struct text text);

/* Reading a peer's replies, line by line. {0} to begin with, and again after each whole reply. */
struct reply_reader {
	unsigned code;
	unsigned lines;
};

/*
 * One line without CRLF. 1: it was the last line of the reply, see *reply (text points into line);
 * 0: more lines follow (*reply holds this one, as EHLO needs); -1: not a reply, not the code of the
 * lines before it, or more than REPLY_LINES_LIMIT lines.
 */
int reply_read_line(struct reply_reader *reader, struct text line, struct reply *reply);

#endif
