/*
 * Addresses of the envelope: Mailbox, Path and Domain of RFC 5321 section 4.1.2.
 */
#ifndef MAIL_ADDRESS_H
#define MAIL_ADDRESS_H

#include <stdbool.h>

#include "base/text.h"

struct arena;
struct buf;

enum {
	/*
	 * Octets as sent, with quotes. RFC 5321 section 4.5.3.1.1 asks for 64 at least; the return
	 * addresses of mailing lists and forwarders (VERP, SRS) are often longer.
	 */
	ADDRESS_LOCAL_LIMIT = 200,
	ADDRESS_DOMAIN_LIMIT = 255, /* section 4.5.3.1.2 */
	ADDRESS_PATH_LIMIT = 256,   /* section 4.5.3.1.3, with the angle brackets */
	ADDRESS_LIMIT = 320, /* what other messages reserve; no address gets longer in any form */
};

/* Both empty: the null reverse-path. domain empty: <postmaster>. */
struct address {
	struct text local;  /* unquoted: "a b"@x has the local part a b */
	struct text domain; /* lower case; an address literal keeps its brackets */
};

enum address_fault {
	ADDRESS_OK,
	ADDRESS_SYNTAX, /* 501 5.1.3 (recipient), 501 5.1.7 (sender) */
	ADDRESS_LOCAL_TOO_LONG,
	ADDRESS_DOMAIN_TOO_LONG,
	ADDRESS_8BIT, /* not ASCII, and SMTPUTF8 was not asked for: 553 5.6.7 */
};

/*
 * "<path>" at the start of in: source routes are read and dropped. *used: octets taken, with both
 * brackets. Null path and <postmaster> are accepted here; the caller knows where they may stand.
 * Texts are in the arena or in `in`. Neither *address nor *used is touched at a fault. Local parts hold
 * no control characters, but anything else, '/' and '@' included. A path over its limit as a whole is
 * put down to its longer part.
 */
enum address_fault address_parse_path(
	struct arena *arena, struct text in, bool utf8, struct address *address, size_t *used);

/* A bare local@domain that is the whole of in. */
enum address_fault address_parse(
	struct arena *arena, struct text in, bool utf8, struct address *address);

/* local@domain, the local part quoted when it needs to be; "" for the null path. */
struct text address_print(struct arena *arena, const struct address *address);
void address_add(struct buf *out, const struct address *address);

/*
 * The form under which the store knows an address: no quoting, everything in lower case, the domain as
 * A-labels, the local part in normalisation form C (mail/idn.h). ptr NULL: the domain is no valid
 * internationalized name. (RFC 5321 leaves the case of a local part to its host; this host does not
 * distinguish it.)
 */
struct text address_canonical(struct arena *arena, const struct address *address);

/* Domain (RFC 1035 letters, digits, hyphens; U-labels when utf8) or address literal (section 4.1.3). */
bool address_is_domain(struct text in, bool utf8);
bool address_is_literal(struct text in);

/* A sentence for the client. */
const char *address_fault_text(enum address_fault fault);

#endif
