#include "mail/mailboxes.h"

#include <string.h>

enum { COMMENTS_LIMIT = 16 /* one inside the other */ };

struct scan {
	const char *at, *end;
};

static bool is_at(const struct scan *scan, char octet)
{
	return scan->at < scan->end && *scan->at == octet;
}

static bool is_at_blank(const struct scan *scan)
{
	return is_at(scan, ' ') || is_at(scan, '\t') || is_at(scan, '\r') || is_at(scan, '\n');
}

/* A backslash goes with what follows it. False: nothing does. */
static bool skip_one(struct scan *scan)
{
	if (is_at(scan, '\\'))
		scan->at++;
	if (scan->at == scan->end)
		return false;
	scan->at++;
	return true;
}

static bool skip_comment(struct scan *scan)
{
	unsigned depth = 0;

	do {
		if (is_at(scan, '('))
			depth++;
		else if (is_at(scan, ')'))
			depth--;
		if (depth > COMMENTS_LIMIT || !skip_one(scan))
			return false;
	} while (depth > 0);
	return true;
}

/* Blanks, line ends of folds, comments. */
static bool skip_gap(struct scan *scan)
{
	for (;;) {
		if (is_at_blank(scan))
			scan->at++;
		else if (!is_at(scan, '('))
			return true;
		else if (!skip_comment(scan))
			return false;
	}
}

static bool skip_quoted(struct scan *scan)
{
	scan->at++;
	while (!is_at(scan, '"')) {
		if (!skip_one(scan))
			return false;
	}
	scan->at++;
	return true;
}

/* One run without a gap of words, dots and what stands around an '@'. False: something else is there. */
static bool skip_run(struct scan *scan, bool *has_at)
{
	while (scan->at < scan->end && !is_at_blank(scan) && !memchr("(<,", *scan->at, 3)) {
		const unsigned char octet = (unsigned char)*scan->at;
		if (octet == '"') {
			if (!skip_quoted(scan))
				return false;
			continue;
		}
		if (octet < ' ' || octet == 0x7f || memchr(")>:;\\", octet, 5))
			return false;
		/* Brackets are for the domain only. */
		if (memchr("[]", octet, 2) && !*has_at)
			return false;
		*has_at = *has_at || octet == '@';
		scan->at++;
	}
	return true;
}

static bool take_angle(struct arena *arena, struct scan *scan, struct address *address)
{
	const struct text rest = { .ptr = scan->at, .len = (size_t)(scan->end - scan->at) };
	size_t used;

	if (address_parse_path(arena, rest, true, address, &used) != ADDRESS_OK)
		return false;
	scan->at += used;
	return address->local.len > 0 && address->domain.len > 0;
}

static bool take_mailbox(struct arena *arena, struct scan *scan, struct address *address)
{
	bool has_at = false, sound;
	size_t runs = 0;
	struct text run = TEXT("");

	while ((sound = skip_gap(scan)) && scan->at < scan->end && !is_at(scan, ',') &&
		!is_at(scan, '<')) {
		const char *start = scan->at;
		if (!skip_run(scan, &has_at) || scan->at == start)
			return false;
		run = (struct text){ .ptr = start, .len = (size_t)(scan->at - start) };
		runs++;
	}
	if (!sound)
		return false;
	if (is_at(scan, '<'))
		return !has_at && take_angle(arena, scan, address) && skip_gap(scan);
	return runs == 1 && has_at && address_parse(arena, run, true, address) == ADDRESS_OK;
}

int mailboxes_parse(struct arena *arena, struct text value, struct address *list, size_t limit)
{
	struct scan scan = { .at = value.ptr, .end = value.ptr + value.len };
	size_t count = 0;

	do {
		if (count == limit || !take_mailbox(arena, &scan, &list[count]))
			return -1;
		count++;
		if (scan.at == scan.end)
			return (int)count;
	} while (*scan.at++ == ',');
	return -1;
}
