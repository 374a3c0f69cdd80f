#include "mda/parameters.h"

#include <string.h>

#include "base/arena.h"
#include "mail/utf8.h"
#include "mail/xtext.h"
#include "store/protocol.h"

/* ---- values ---- */

/* RFC 6152. Stored as it comes either way. */
static bool take_body(struct arena *arena, struct text value, struct parameters *parameters)
{
	(void)arena, (void)parameters;
	return text_equal_nocase(value, TEXT("7BIT")) || text_equal_nocase(value, TEXT("8BITMIME"));
}

/* RFC 1870. */
static bool take_size(struct arena *arena, struct text value, struct parameters *parameters)
{
	(void)arena;
	return value.len <= 20 && text_to_number(value, UINT64_MAX, &parameters->size) == 0;
}

/* RFC 6531. */
static bool take_utf8(struct arena *arena, struct text value, struct parameters *parameters)
{
	(void)arena, (void)value;
	parameters->utf8 = true;
	return true;
}

static bool take_prdr(struct arena *arena, struct text value, struct parameters *parameters)
{
	(void)arena, (void)value;
	parameters->each = true;
	return true;
}

static bool take_id(struct arena *arena, struct text value, struct parameters *parameters)
{
	(void)arena;
	return id_parse(value, &parameters->id) == 0;
}

/* What the store can keep: seconds in 32 bits. */
static bool take_date(struct arena *arena, struct text value, struct parameters *parameters)
{
	uint64_t date;

	(void)arena;
	if (text_to_number(value, UINT32_MAX - 1, &date) != 0)
		return false;
	parameters->date = (int64_t)date;
	return true;
}

static bool decode(struct arena *arena, struct text value, size_t limit, struct text *out)
{
	struct buf decoded = { 0 };
	const bool good = xtext_decode(value, &decoded) && buf_length(&decoded) > 0 &&
			  buf_length(&decoded) <= limit;

	if (good)
		*out = text_copy(arena, buf_text(&decoded));
	buf_release(&decoded);
	return good;
}

static bool take_once(struct arena *arena, struct text value, struct parameters *parameters)
{
	return decode(arena, value, STORE_ONCE_LIMIT, &parameters->wish.once);
}

/* No control characters, nothing that is not UTF-8. */
static bool is_readable(struct text in)
{
	while (in.len) {
		const unsigned char octet = (unsigned char)in.ptr[0];
		const size_t length =
			octet < 0x80 ? octet >= ' ' && octet != 0x7f : utf8_length(in);
		if (length == 0)
			return false;
		in = text_from(in, length);
	}
	return true;
}

static bool take_mailbox(struct arena *arena, struct text value, struct parameters *parameters)
{
	struct text rest, level;

	if (!decode(arena, value, STORE_MAILBOX_LIMIT, &parameters->wish.mailbox) ||
		!is_readable(parameters->wish.mailbox))
		return false;
	rest = parameters->wish.mailbox;
	while (text_split(&rest, '/', &level)) {
		if (level.len == 0)
			return false;
	}
	return true;
}

static bool take_flags(struct arena *arena, struct text value, struct parameters *parameters)
{
	static const struct {
		char letter;
		enum store_flag flag;
	} letters[] = {
		{ 'P', STORE_FLAG_PASSED },
		{ 'R', STORE_FLAG_ANSWERED },
		{ 'S', STORE_FLAG_SEEN },
		{ 'T', STORE_FLAG_DELETED },
		{ 'D', STORE_FLAG_DRAFT },
		{ 'F', STORE_FLAG_FLAGGED },
	};

	(void)arena;
	for (size_t i = 0; i < value.len; i++) {
		size_t at = 0;
		while (at < sizeof(letters) / sizeof(letters[0]) &&
			letters[at].letter != value.ptr[i])
			at++;
		if (at == sizeof(letters) / sizeof(letters[0]))
			return false;
		parameters->wish.flags |= letters[at].flag;
	}
	return true;
}

static bool take_keywords(struct arena *arena, struct text value, struct parameters *parameters)
{
	return decode(arena, value, STORE_KEYWORDS_LIMIT, &parameters->wish.keywords) &&
	       is_readable(parameters->wish.keywords);
}

/* ---- the tables ---- */

struct parameter {
	struct text keyword;
	unsigned command;
	bool trusted; /* between our smtp-in and us only */
	bool bare;    /* has no value */
	bool (*take)(struct arena *arena, struct text value, struct parameters *parameters);
};

static const struct parameter table[] = {
	{ TEXT("SIZE"), PARAMETERS_MAIL, false, false, take_size },
	{ TEXT("BODY"), PARAMETERS_MAIL, false, false, take_body },
	{ TEXT("SMTPUTF8"), PARAMETERS_MAIL, false, true, take_utf8 },
	{ TEXT("XID"), PARAMETERS_MAIL, true, false, take_id },
	{ TEXT("XDATE"), PARAMETERS_MAIL, true, false, take_date },
	{ TEXT("PRDR"), PARAMETERS_MAIL, true, true, take_prdr },
	{ TEXT("XONCE"), PARAMETERS_RCPT, true, false, take_once },
	{ TEXT("XMAILBOX"), PARAMETERS_RCPT, true, false, take_mailbox },
	{ TEXT("XFLAGS"), PARAMETERS_RCPT, true, false, take_flags },
	{ TEXT("XKEYWORDS"), PARAMETERS_RCPT, true, false, take_keywords },
};

static const struct {
	struct text keyword;
	bool trusted;
	bool dsn;
	bool shows_limit; /* announced with the message size */
} extensions[] = {
	{ .keyword = TEXT("PIPELINING") },
	{ .keyword = TEXT("ENHANCEDSTATUSCODES") },
	{ .keyword = TEXT("8BITMIME") },
	{ .keyword = TEXT("SMTPUTF8") },
	{ .keyword = TEXT("CHUNKING") },
	{ .keyword = TEXT("DSN"), .dsn = true },
	{ .keyword = TEXT("SIZE"), .shows_limit = true },
	{ .keyword = TEXT("XDELIVER"), .trusted = true },
	{ .keyword = TEXT("PRDR"), .trusted = true },
	{ .keyword = TEXT("XID"), .trusted = true },
};

bool parameters_announcement(size_t i, const struct parameters_offer *offer, struct buf *line)
{
	size_t at = 0;

	/* The trusted ones stand last. */
	for (; at < sizeof(extensions) / sizeof(extensions[0]); at++) {
		if ((offer->trusted || !extensions[at].trusted) &&
			(offer->dsn || !extensions[at].dsn) && i-- == 0)
			break;
	}
	if (at == sizeof(extensions) / sizeof(extensions[0]))
		return false;
	buf_add(line, extensions[at].keyword);
	if (extensions[at].shows_limit)
		buf_format(line, " %llu", (unsigned long long)offer->size_limit);
	return true;
}

static const struct parameter *find(
	enum parameters_command command, bool trusted, struct text keyword)
{
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		if ((table[i].command & command) && (trusted || !table[i].trusted) &&
			text_equal_nocase(table[i].keyword, keyword))
			return &table[i];
	}
	return NULL;
}

static enum dsn_result take_dsn(struct arena *arena, enum parameters_command command,
	const struct command_parameter *given, struct parameters *parameters)
{
	const char *sentence = "";
	enum dsn_result result = DSN_FOREIGN;

	switch (command) {
	case PARAMETERS_MAIL:
		result = dsn_take_mail(arena, given, &parameters->dsn, &sentence);
		break;
	case PARAMETERS_RCPT:
		result = dsn_take_recipient(
			arena, given, parameters->utf8, &parameters->dsn_recipient, &sentence);
		break;
	}
	if (result == DSN_FAULT)
		parameters->fault = (struct reply){ 501, { 5, 5, 4 }, text_of(sentence) };
	return result;
}

static bool take(struct arena *arena, enum parameters_command command,
	const struct parameters_offer *offer, const struct command_parameter *given,
	struct parameters *parameters)
{
	const struct parameter *known = find(command, offer->trusted, given->keyword);

	if (!known) {
		parameters->fault = REPLY(555, 5, 5, 4, "parameter not known");
		if (!offer->dsn)
			return false;
		switch (take_dsn(arena, command, given, parameters)) {
		case DSN_TAKEN:
			return true;
		case DSN_FOREIGN:
		case DSN_FAULT:
			break;
		}
		return false;
	}
	parameters->fault = REPLY(501, 5, 5, 4, "parameter has no such value");
	return !given->value.ptr == known->bare && known->take(arena, given->value, parameters);
}

bool parameters_take(struct arena *arena, enum parameters_command command,
	const struct parameters_offer *offer, const struct command_path *path,
	struct parameters *parameters)
{
	for (size_t i = 0; i < path->parameters; i++) {
		if (!take(arena, command, offer, &path->parameter[i], parameters))
			return false;
	}
	return true;
}
