/*
 * A remote server's octets on their way into DATA: every line ends in CRLF, dots are stuffed.
 *
 * A message that keeps to the rules passes byte for byte. A lone LF or CR, which the delivery agent
 * refuses and old mailboxes hold, becomes CRLF; a NUL, which IMAP cannot transport, becomes 0x80 as
 * other servers make it. Pure: octets in, octets out.
 */
#ifndef BRIDGE_REPAIR_H
#define BRIDGE_REPAIR_H

#include "base/buf.h"

/* {0} to begin with. */
struct repair {
	bool inside_line; /* octets of the line have gone out */
	bool after_cr;    /* a CR came and its fate is not known */
};

void repair_add(struct repair *repair, struct text in, struct buf *out);

/* The last line's end if it has none, then ".CRLF"; leaves {0}. */
void repair_end(struct repair *repair, struct buf *out);

#endif
