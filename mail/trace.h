/*
 * Trace fields that this host adds: Received (RFC 5321 section 4.4), Return-Path, Delivered-To.
 */
#ifndef MAIL_TRACE_H
#define MAIL_TRACE_H

#include <stdbool.h>
#include <time.h>

#include "base/buf.h"
#include "base/id.h"
#include "mail/address.h"

/* How a message came, for the "with" clause (RFC 3848, RFC 6531 section 4.3). */
struct trace_with {
	bool esmtp; /* the client said EHLO */
	bool utf8;  /* SMTPUTF8 */
	bool tls;
	bool authenticated;
};

/* "SMTP", "ESMTP", "ESMTPS", "ESMTPA", "ESMTPSA", and the four that begin with UTF8SMTP. */
struct text trace_protocol(struct trace_with with);

struct trace_received {
	struct text helo; /* what the client called itself */
	struct text peer; /* its address as text; "local" for a unix socket */
	bool peer_ipv6;
	struct text by;          /* our host name */
	struct text with;        /* trace_protocol(), or LMTP and its kin */
	const char *tls_version; /* NULL: in the clear */
	const char *tls_cipher;
	struct text id;
	const struct address *recipient; /* "for", only when there was exactly one; else NULL */
	time_t when;
};

/*
 * Lines end in line_end ("\r\n" on the wire, "\n" in the store). Received is folded below 78 octets where
 * it can be; the others stay on one line. No text handed in can end a line or open a comment: what could
 * becomes '?'. helo empty and peer "local": no from clause.
 */
void trace_add_received(
	struct buf *out, const struct trace_received *received, const char *line_end);
/*
 * Octets of the Received field at the start of a message, which trace_add_received() has made: it ends with
 * its date, even where what a client sent behind it begins with a blank and would continue it. A field of
 * other make ends where RFC 5322 has it end; 0: there is no field.
 */
size_t trace_received_length(struct text message);

void trace_add_return_path(struct buf *out, const struct address *sender, const char *line_end);
void trace_add_delivered_to(struct buf *out, struct text address, const char *line_end);

/* RFC 5322 date-time: "Sun, 22 Nov 2026 01:02:03 +0000", always in UTC; years 1970 to 9999. */
enum { TRACE_DATE_LENGTH = 31 };
void trace_date(time_t when, char out[TRACE_DATE_LENGTH + 1]);

/* More Received fields than this is a loop (RFC 5321 section 6.3). */
enum { TRACE_HOPS_LIMIT = 100 };

/* Why this message must not be delivered to that address again: a sentence, or NULL. */
const char *trace_find_loop(struct text header, struct text delivered_to, unsigned hops_limit);

#endif
