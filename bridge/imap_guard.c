#include "bridge/imap_guard.h"

#include <string.h>

/* "* OK ...", "1 NO ...", "+ ..." (RFC 9051 section 7); libetpan knows them by how the word begins. */
static void take_in_word(struct imap_guard *guard, char c)
{
	static const char *const states[] = { "ok", "no", "bad", "bye", "preauth" };
	const size_t length = strlen(guard->word);

	if (guard->words == 1) {
		guard->is_told |= c == '+';
		return;
	}
	if (length + 1 == sizeof(guard->word))
		return;
	guard->word[length] = text_lower(c);
	for (size_t i = 0; i < sizeof(states) / sizeof(states[0]); i++)
		guard->is_told |= strcmp(guard->word, states[i]) == 0;
}

static void find_words(struct imap_guard *guard, char c)
{
	if (guard->words > 2)
		return;
	if (c == ' ' || c == '\t') {
		guard->in_word = false;
		return;
	}
	guard->words += !guard->in_word;
	guard->in_word = true;
	if (guard->words <= 2)
		take_in_word(guard, c);
}

static void begin_response(struct imap_guard *guard)
{
	guard->lists = guard->words = 0;
	guard->in_word = guard->is_told = false;
	memset(guard->word, 0, sizeof(guard->word));
}

static void take_in_line(struct imap_guard *guard, char c)
{
	guard->place = IMAP_GUARD_LINE;
	find_words(guard, c);
	if (c == '{' && !guard->is_told) {
		guard->place = IMAP_GUARD_SIZE;
		guard->number = 0;
	} else if (c == '(') {
		if (++guard->lists > IMAP_GUARD_LISTS)
			guard->verdict = IMAP_GUARD_TOO_DEEP;
	} else if (c == '\n') {
		begin_response(guard);
	}
}

static void begin_literal(struct imap_guard *guard)
{
	guard->place = IMAP_GUARD_LINE;
	guard->literal = guard->number;
}

/* "{12}" says how long a literal is, where the line ends behind it and nowhere else. */
static void take_octet(struct imap_guard *guard, char c, uint64_t most)
{
	switch (guard->place) {
	case IMAP_GUARD_LINE:
		break;
	case IMAP_GUARD_SIZE:
		if (c >= '0' && c <= '9') {
			/* Beyond that, more digits do not make it smaller. */
			if (guard->number <= UINT32_MAX)
				guard->number = guard->number * 10 + (uint64_t)(c - '0');
			return;
		}
		if (c == '}') {
			guard->place = IMAP_GUARD_BRACE;
			if (guard->number > most)
				guard->verdict = IMAP_GUARD_TOO_LARGE;
			return;
		}
		break;
	case IMAP_GUARD_BRACE:
		if (c == '\r') {
			guard->place = IMAP_GUARD_CR;
			return;
		}
		if (c == '\n') {
			begin_literal(guard);
			return;
		}
		break;
	case IMAP_GUARD_CR:
		if (c == '\n') {
			begin_literal(guard);
			return;
		}
		break;
	}
	take_in_line(guard, c);
}

enum imap_guard_verdict imap_guard_take(struct imap_guard *guard, struct text octets, uint64_t most)
{
	while (octets.len && guard->verdict == IMAP_GUARD_FINE) {
		size_t used = 1;
		if (guard->literal) {
			used = octets.len < guard->literal ? octets.len : (size_t)guard->literal;
			guard->literal -= used;
		} else {
			take_octet(guard, octets.ptr[0], most);
		}
		octets = text_from(octets, used);
	}
	return guard->verdict;
}
