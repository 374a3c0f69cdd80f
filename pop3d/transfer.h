/*
 * One message on its way to the client: a descriptor from the store, read in pieces, encoded into the
 * connection's output as fast as the client takes it.
 */
#ifndef POP3D_TRANSFER_H
#define POP3D_TRANSFER_H

#include <stdbool.h>

#include "mail/wire.h"

struct conn;

enum { TRANSFER_ALL = -1 };

/* What the line under way holds so far: a lone CR and its LF may come in different pieces. */
enum transfer_line { TRANSFER_LINE_NOTHING, TRANSFER_LINE_CR, TRANSFER_LINE_TEXT };

struct transfer {
	int fd;        /* -1: none is under way */
	int64_t lines; /* body lines still to send; TRANSFER_ALL: the whole message */
	bool in_body;  /* the header's blank line was sent */
	enum transfer_line line;
	uint64_t size;   /* of the file, as the store told */
	uint64_t octets; /* read so far */
	struct wire_encode encode;
};

/* Takes fd. size: octets in the file. lines: TRANSFER_ALL for RETR, or TOP's number of body lines. */
void transfer_begin(struct transfer *transfer, int fd, uint64_t size, int64_t lines);

/*
 * Go on until the output is full. 1: the message and its final dot are queued, the descriptor is
 * closed; 0: call again when the output has drained; -1: the file could not be read, or ends too early, and
 * the connection must be cut, since its client waits for the rest.
 */
int transfer_run(struct transfer *transfer, struct conn *conn);

void transfer_end(struct transfer *transfer);

/*
 * How much of piece belongs to "header, blank line and that many body lines" (RFC 1939 section 7, TOP),
 * pieces in order; less than the piece when the end was reached.
 */
size_t transfer_top(struct transfer *transfer, struct text piece);

#endif
