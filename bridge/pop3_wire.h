/*
 * What a POP3 server says (RFC 1939), understood. Pure: octets in, results out.
 */
#ifndef BRIDGE_POP3_WIRE_H
#define BRIDGE_POP3_WIRE_H

#include "base/buf.h"

enum {
	POP3_LINE_LIMIT = 1024, /* with its end; RFC 2449 has 512 */
	POP3_UIDL_LIMIT = 255,  /* octets; RFC 1939 has 70 */
};

/* "+OK text" 1, "-ERR text" 0, else -1. A "+ text" of SASL (RFC 5034) is 2. */
int pop3_status(struct text line, struct text *text);

/* "number rest". 0, or -1 when it is not that, or the number is 0. */
int pop3_numbered(struct text line, uint32_t *number, struct text *rest);

/* A UIDL as it may be: 1 to POP3_UIDL_LIMIT octets from 0x21 to 0x7E. */
bool pop3_is_uidl(struct text uidl);

/*
 * A multi-line answer as it passes by: {0} at its start. Only CRLF.CRLF ends it; a dot that was put
 * before a line is taken away.
 */
struct pop3_body {
	int state;
};

/* What was before the end goes into out; *used octets of in are done with. True: that was the end. */
bool pop3_body_take(struct pop3_body *body, struct text in, size_t *used, struct buf *out);

#endif
