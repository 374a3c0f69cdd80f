#include "mail/address.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>

#include "base/arena.h"
#include "base/buf.h"
#include "mail/idn.h"
#include "mail/utf8.h"

enum { LABEL_LIMIT = 63 }; /* RFC 1035 section 2.3.4 */

/* What is left to read. */
struct cursor {
	const char *at;
	const char *end;
	bool utf8;
};

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool is_let_dig(char c)
{
	return is_digit(c) || (text_lower(c) >= 'a' && text_lower(c) <= 'z');
}

/* RFC 5322 section 3.2.3. */
static bool is_atext(char c)
{
	return is_let_dig(c) || (c != '\0' && strchr("!#$%&'*+-/=?^_`{|}~", c) != NULL);
}

static bool is_8bit(char c)
{
	return (unsigned char)c > 127;
}

static struct cursor cursor_at(struct text in, bool utf8)
{
	if (in.len == 0)
		in = TEXT("");
	return (struct cursor){ .at = in.ptr, .end = in.ptr + in.len, .utf8 = utf8 };
}

static struct text between(const char *from, const char *to)
{
	return (struct text){ .ptr = from, .len = (size_t)(to - from) };
}

static bool cursor_take(struct cursor *in, char octet)
{
	if (in->at == in->end || *in->at != octet)
		return false;
	in->at++;
	return true;
}

/* One character beyond ASCII, where SMTPUTF8 allows it. */
static enum address_fault scan_utf8(struct cursor *in)
{
	size_t n;

	if (!in->utf8)
		return ADDRESS_8BIT;
	n = utf8_length(between(in->at, in->end));
	in->at += n;
	return n > 0 ? ADDRESS_OK : ADDRESS_SYNTAX;
}

static enum address_fault scan_atom(struct cursor *in)
{
	const char *start = in->at;

	while (in->at < in->end) {
		if (is_atext(*in->at)) {
			in->at++;
		} else if (is_8bit(*in->at)) {
			enum address_fault fault = scan_utf8(in);

			if (fault != ADDRESS_OK)
				return fault;
		} else {
			break;
		}
	}
	return in->at > start ? ADDRESS_OK : ADDRESS_SYNTAX;
}

/* Dot-string: empty atoms, as in "a..b" or ".a", are none. */
static enum address_fault scan_dot_string(struct cursor *in)
{
	enum address_fault fault;

	do
		fault = scan_atom(in);
	while (fault == ADDRESS_OK && cursor_take(in, '.'));
	return fault;
}

/* Quoted-string; *escapes: how many backslashes stand in it. */
static enum address_fault scan_quoted(struct cursor *in, size_t *escapes)
{
	*escapes = 0;
	in->at++;
	while (in->at < in->end && *in->at != '"') {
		if (is_8bit(*in->at)) {
			enum address_fault fault = scan_utf8(in);

			if (fault != ADDRESS_OK)
				return fault;
			continue;
		}
		if (*in->at == '\\') {
			in->at++;
			++*escapes;
		}
		if (in->at == in->end || *in->at < ' ' || *in->at > '~')
			return ADDRESS_SYNTAX;
		in->at++;
	}
	return cursor_take(in, '"') ? ADDRESS_OK : ADDRESS_SYNTAX;
}

static struct text unescape(struct arena *arena, struct text quoted, size_t escapes)
{
	char *out;
	size_t n = 0;

	if (escapes == 0)
		return quoted;
	out = arena_take(arena, quoted.len - escapes);
	for (size_t i = 0; i < quoted.len; i++) {
		if (quoted.ptr[i] == '\\')
			i++;
		out[n++] = quoted.ptr[i];
	}
	return (struct text){ .ptr = out, .len = n };
}

static enum address_fault scan_local(struct cursor *in, struct arena *arena, struct text *local)
{
	const char *start = in->at;
	enum address_fault fault;
	size_t escapes;

	if (in->at == in->end || *in->at != '"') {
		fault = scan_dot_string(in);
		*local = between(start, in->at);
	} else {
		fault = scan_quoted(in, &escapes);
		if (fault != ADDRESS_OK)
			return fault;
		*local = unescape(arena, between(start + 1, in->at - 1), escapes);
		/* The grammar has "", but nobody has it, and it would pass for the null path. */
		if (local->len == 0)
			return ADDRESS_SYNTAX;
	}
	if (fault == ADDRESS_OK && in->at - start > ADDRESS_LOCAL_LIMIT)
		return ADDRESS_LOCAL_TOO_LONG;
	return fault;
}

static enum address_fault scan_label(struct cursor *in)
{
	const char *start = in->at;
	bool ascii = true;

	while (in->at < in->end) {
		if (is_8bit(*in->at)) {
			enum address_fault fault = scan_utf8(in);

			if (fault != ADDRESS_OK)
				return fault;
			ascii = false;
		} else if (is_let_dig(*in->at) || (*in->at == '-' && in->at > start)) {
			in->at++;
		} else {
			break;
		}
	}
	if (in->at == start || in->at[-1] == '-')
		return ADDRESS_SYNTAX;
	/* The limit is one of the A-label, which only the DNS client makes. */
	return ascii && in->at - start > LABEL_LIMIT ? ADDRESS_DOMAIN_TOO_LONG : ADDRESS_OK;
}

static enum address_fault scan_domain(struct cursor *in)
{
	const char *start = in->at;
	enum address_fault fault;

	do
		fault = scan_label(in);
	while (fault == ADDRESS_OK && cursor_take(in, '.'));
	if (fault == ADDRESS_OK && in->at - start > ADDRESS_DOMAIN_LIMIT)
		return ADDRESS_DOMAIN_TOO_LONG;
	return fault;
}

/* Leading zeros are refused: readers differ on whether they make a number octal. */
static bool is_ipv4(struct text in)
{
	char string[INET_ADDRSTRLEN];
	struct in_addr ip;

	if (in.len >= sizeof(string) || text_find(in, '\0') >= 0)
		return false;
	memcpy(string, in.ptr, in.len);
	string[in.len] = '\0';
	return inet_pton(AF_INET, string, &ip) == 1;
}

static bool is_ipv6(struct text in)
{
	char string[INET6_ADDRSTRLEN];
	struct in6_addr ip;

	if (in.len >= sizeof(string) || text_find(in, '\0') >= 0)
		return false;
	memcpy(string, in.ptr, in.len);
	string[in.len] = '\0';
	return inet_pton(AF_INET6, string, &ip) == 1;
}

/* Standardized-tag ":" 1*dcontent. */
static bool is_general_literal(struct text in)
{
	const ptrdiff_t colon = text_find(in, ':');

	if (colon < 1 || in.ptr[colon - 1] == '-' || (size_t)colon + 1 == in.len)
		return false;
	for (ptrdiff_t i = 0; i < colon; i++) {
		if (!is_let_dig(in.ptr[i]) && in.ptr[i] != '-')
			return false;
	}
	for (size_t i = (size_t)colon + 1; i < in.len; i++) {
		if (in.ptr[i] < '!' || in.ptr[i] > '~' || strchr("[\\]", in.ptr[i]) != NULL)
			return false;
	}
	return true;
}

bool address_is_literal(struct text in)
{
	if (in.len < 3 || in.len > ADDRESS_DOMAIN_LIMIT || in.ptr[0] != '[' ||
		in.ptr[in.len - 1] != ']')
		return false;
	in = text_head(text_from(in, 1), in.len - 2);
	if (text_begins_nocase(in, TEXT("IPv6:")))
		return is_ipv6(text_from(in, 5));
	return is_ipv4(in) || is_general_literal(in);
}

bool address_is_domain(struct text in, bool utf8)
{
	struct cursor cursor = cursor_at(in, utf8);

	return scan_domain(&cursor) == ADDRESS_OK && cursor.at == cursor.end;
}

static enum address_fault scan_literal(struct cursor *in)
{
	const char *close = memchr(in->at, ']', (size_t)(in->end - in->at));
	struct text literal;

	if (close == NULL)
		return ADDRESS_SYNTAX;
	literal = between(in->at, close + 1);
	if (literal.len > ADDRESS_DOMAIN_LIMIT)
		return ADDRESS_DOMAIN_TOO_LONG;
	in->at = close + 1;
	return address_is_literal(literal) ? ADDRESS_OK : ADDRESS_SYNTAX;
}

/* Mailbox; without "@domain" only as postmaster. */
static enum address_fault scan_mailbox(
	struct cursor *in, struct arena *arena, struct address *address)
{
	enum address_fault fault = scan_local(in, arena, &address->local);
	const char *domain;

	if (fault != ADDRESS_OK)
		return fault;
	if (!cursor_take(in, '@')) {
		address->domain = TEXT("");
		return text_equal_nocase(address->local, TEXT("postmaster")) ? ADDRESS_OK
									     : ADDRESS_SYNTAX;
	}
	domain = in->at;
	fault = in->at < in->end && *in->at == '[' ? scan_literal(in) : scan_domain(in);
	if (fault == ADDRESS_OK)
		address->domain = text_lowered(arena, between(domain, in->at));
	return fault;
}

/* Source routes lead nowhere any more (RFC 5321 appendix C); they are read so as to be dropped. */
static enum address_fault scan_route(struct cursor *in)
{
	if (in->at == in->end || *in->at != '@')
		return ADDRESS_OK;
	do {
		enum address_fault fault;

		if (!cursor_take(in, '@'))
			return ADDRESS_SYNTAX;
		fault = scan_domain(in);
		if (fault != ADDRESS_OK)
			return fault;
	} while (cursor_take(in, ','));
	return cursor_take(in, ':') ? ADDRESS_OK : ADDRESS_SYNTAX;
}

static enum address_fault fault_of_length(const struct address *address)
{
	return address->domain.len > address->local.len ? ADDRESS_DOMAIN_TOO_LONG
							: ADDRESS_LOCAL_TOO_LONG;
}

enum address_fault address_parse_path(
	struct arena *arena, struct text in, bool utf8, struct address *address, size_t *used)
{
	struct cursor cursor = cursor_at(in, utf8);
	struct address found = { .local = TEXT(""), .domain = TEXT("") };
	enum address_fault fault;

	if (!cursor_take(&cursor, '<'))
		return ADDRESS_SYNTAX;
	if (!cursor_take(&cursor, '>')) {
		fault = scan_route(&cursor);
		if (fault == ADDRESS_OK)
			fault = scan_mailbox(&cursor, arena, &found);
		if (fault != ADDRESS_OK)
			return fault;
		if (!cursor_take(&cursor, '>'))
			return ADDRESS_SYNTAX;
	}
	if (cursor.at - in.ptr > ADDRESS_PATH_LIMIT)
		return fault_of_length(&found);
	*address = found;
	*used = (size_t)(cursor.at - in.ptr);
	return ADDRESS_OK;
}

enum address_fault address_parse(
	struct arena *arena, struct text in, bool utf8, struct address *address)
{
	struct cursor cursor = cursor_at(in, utf8);
	struct address found = { .local = TEXT("") };
	enum address_fault fault;

	fault = scan_mailbox(&cursor, arena, &found);
	if (fault != ADDRESS_OK)
		return fault;
	if (cursor.at != cursor.end || found.domain.len == 0)
		return ADDRESS_SYNTAX;
	if (in.len > ADDRESS_PATH_LIMIT - 2)
		return fault_of_length(&found);
	*address = found;
	return ADDRESS_OK;
}

/* Whether the local part is no Dot-string. Octets beyond ASCII were checked when it was read. */
static bool needs_quotes(struct text local)
{
	struct cursor cursor = cursor_at(local, true);

	return local.len > 0 && (scan_dot_string(&cursor) != ADDRESS_OK || cursor.at != cursor.end);
}

static size_t append(char *to, size_t at, struct text t)
{
	if (to != NULL && t.len > 0)
		memcpy(to + at, t.ptr, t.len);
	return at + t.len;
}

/* The octets of the printed form; they are written when `to` is not NULL. */
static size_t print(char *to, const struct address *address)
{
	size_t n = 0;

	if (needs_quotes(address->local)) {
		n = append(to, n, TEXT("\""));
		for (size_t i = 0; i < address->local.len; i++) {
			if (address->local.ptr[i] == '"' || address->local.ptr[i] == '\\')
				n = append(to, n, TEXT("\\"));
			n = append(to, n, text_head(text_from(address->local, i), 1));
		}
		n = append(to, n, TEXT("\""));
	} else {
		n = append(to, n, address->local);
	}
	if (address->domain.len == 0)
		return n;
	n = append(to, n, TEXT("@"));
	return append(to, n, address->domain);
}

struct text address_print(struct arena *arena, const struct address *address)
{
	const size_t n = print(NULL, address);
	char *out = arena_take(arena, n + 1);

	print(out, address);
	return (struct text){ .ptr = out, .len = n };
}

void address_add(struct buf *out, const struct address *address)
{
	char *to = buf_room(out, print(NULL, address));

	buf_commit(out, print(to, address));
}

struct text address_canonical(struct arena *arena, const struct address *address)
{
	const struct text local = idn_local(arena, address->local);
	const struct text domain = idn_domain(arena, address->domain);
	const struct text at = domain.len > 0 ? TEXT("@") : TEXT("");

	if (!local.ptr || !domain.ptr)
		return (struct text){ 0 };
	char *out = arena_take(arena, local.len + at.len + domain.len + 1);
	size_t n = append(out, 0, local);
	n = append(out, n, at);
	n = append(out, n, domain);
	return (struct text){ .ptr = out, .len = n };
}

const char *address_fault_text(enum address_fault fault)
{
	switch (fault) {
	case ADDRESS_OK:
		return "no fault";
	case ADDRESS_SYNTAX:
		return "not an address of the form local@domain";
	case ADDRESS_LOCAL_TOO_LONG:
		return "local part too long";
	case ADDRESS_DOMAIN_TOO_LONG:
		return "domain too long";
	case ADDRESS_8BIT:
		return "address is not ASCII, and SMTPUTF8 was not asked for";
	}
	return "address at fault";
}
