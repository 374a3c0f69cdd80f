/*
 * Line discipline of the mail protocols, decided in this one place: CRLF ends a line, CRLF.CRLF ends a
 * message, and a bare CR, a bare LF or a NUL is a fault (RFC 5321 sections 2.3.8 and 4.1.1.4). Nothing
 * else anywhere looks for line ends in what a peer sent.
 */
#ifndef MAIL_WIRE_H
#define MAIL_WIRE_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/text.h"

enum wire_fault {
	WIRE_OK,
	WIRE_TOO_LONG,
	WIRE_BARE_LF,
	WIRE_BARE_CR,
	WIRE_NUL,
};

/* A sentence for the client: "bare LF; lines end in CRLF". */
const char *wire_fault_text(enum wire_fault fault);

/* Command and reply lines. {0} to begin with. */
struct wire_lines {
	bool skipping;         /* inside a line already found to be at fault */
	bool after_cr;         /* skipping: the last octet skipped was CR */
	enum wire_fault fault; /* that fault */
};

/*
 * The next line of `in`, of at most limit octets with its CRLF. 1: *line without CRLF; 0: need more;
 * -1: that line was at fault, see *fault. *used octets are to be consumed in every case. After -1 the
 * next call starts after the line end, so one line costs one reply. A bare LF ends the line for the
 * reply, so that no client waits for one in vain, but what follows it up to and with the next CRLF
 * still belongs to a line at fault: it is answered by -1 and never carried out.
 */
int wire_line(struct wire_lines *lines, struct text in, size_t limit, struct text *line,
	size_t *used, enum wire_fault *fault);

/*
 * RFC 5321 section 4.5.3.1.6 lets text lines have 998 octets; much mail in circulation has longer ones
 * and is none the worse for it. Beyond this it is no text any more.
 */
enum { WIRE_TEXT_LINE_LIMIT = 65536 };

/*
 * The body of DATA, or of a run of BDATs, as it passes by. {0} to begin with, which stands at the start of
 * a line. It finds the end, counts, and notices faults; a body at fault is still read to its end so that
 * the reply meets the right command. size counts octets without dot-stuffing and with CRLF: what SIZE
 * (RFC 1870) means.
 */
struct wire_data {
	int state;
	bool plain;            /* set at first: BDAT (RFC 3030), where dots are dots */
	enum wire_fault fault; /* the first; WIRE_TOO_LONG: line_length over its limit */
	uint64_t size;
	uint64_t lines;
	uint64_t line_length;
	bool eight_bit; /* an octet above 127 was seen */
};

/*
 * A plain body has its last octet behind it: a CR that stands there is bare. False: its last line lacks
 * CRLF, which is no fault, and an empty body lacks nothing.
 */
bool wire_data_end(struct wire_data *data);

/*
 * Look at more octets. 1: the terminating CRLF.CRLF ended at *used (it is part of the used octets);
 * 0: all of `in` was used and the message goes on. What is used can go on to an LMTP peer as it is.
 */
int wire_data_scan(struct wire_data *data, struct text in, size_t *used);

/*
 * The same, and the message as the store keeps it into out: dots unstuffed, LF line ends, the
 * terminator left off. Nothing is added to out once fault is set or size passes limit (0: none).
 * What out holds does not depend on how the octets were cut into pieces.
 */
int wire_data_decode(
	struct wire_data *data, struct text in, size_t *used, struct buf *out, uint64_t limit);

/*
 * What wire_data_scan() used without a fault, for a peer that takes chunks: dots unstuffed, the
 * terminator left off, in pieces. {0} to begin with.
 */
struct wire_unstuff {
	int state;
};

/* All of `in` to `to`, which has room for as much; the octets written. */
size_t wire_unstuff(struct wire_unstuff *unstuff, struct text in, char *to);

/*
 * A stored message (LF or CRLF line ends) to the wire: CRLF line ends, dots stuffed, in pieces. {0} to
 * begin with. A lone CR stays as it is.
 */
struct wire_encode {
	char last;      /* octet before this piece; 0: start of the message */
	bool not_start; /* last is valid */
};

/* Octets that encoding `in` may need at most. */
size_t wire_encode_bound(size_t octets);

/* Encode all of `in` to `to`, which has that room; the octets written. */
size_t wire_encode(struct wire_encode *encode, struct text in, char *to);

/* After the last piece: CRLF if the last line lacks it, then ".CRLF". Needs room for 5, and leaves {0}. */
size_t wire_encode_end(struct wire_encode *encode, char *to);

/*
 * Octets with CRLF line ends and no dots stuffed, the final CRLF added if missing: POP3's size (RFC
 * 1939 section 11).
 */
uint64_t wire_size(struct text stored);

/* The same in pieces: add over all pieces, state {0} first, and add wire_size_end() last. */
uint64_t wire_size_piece(struct wire_encode *state, struct text in);
uint64_t wire_size_end(const struct wire_encode *state);

#endif
