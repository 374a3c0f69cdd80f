#include "mail/dsn.h"

#include "base/arena.h"
#include "base/buf.h"
#include "mail/utf8.h"
#include "mail/xtext.h"

static const struct {
	struct text word;
	enum dsn_notify flag;
} occasions[] = {
	{ { "NEVER", 5 }, DSN_NOTIFY_NEVER },
	{ { "SUCCESS", 7 }, DSN_NOTIFY_SUCCESS },
	{ { "FAILURE", 7 }, DSN_NOTIFY_FAILURE },
	{ { "DELAY", 5 }, DSN_NOTIFY_DELAY },
};

enum { OCCASIONS = sizeof(occasions) / sizeof(occasions[0]) };

/* ---- MAIL ---- */

static const char *take_content(struct text value, enum dsn_return *content)
{
	if (text_equal_nocase(value, TEXT("FULL")))
		*content = DSN_RETURN_FULL;
	else if (text_equal_nocase(value, TEXT("HDRS")))
		*content = DSN_RETURN_HEADERS;
	else
		return "RET is FULL or HDRS";
	return NULL;
}

/* xtext of printable ASCII, blanks included (sections 4.2 and 4.4). */
static bool is_printable_xtext(struct text value)
{
	struct buf decoded = { 0 };
	bool good = value.len > 0 && xtext_decode(value, &decoded);
	const struct text text = buf_text(&decoded);

	for (size_t i = 0; good && i < text.len; i++)
		good = text.ptr[i] >= ' ' && text.ptr[i] <= '~';
	buf_release(&decoded);
	return good;
}

static const char *take_envelope_id(struct arena *arena, struct text value, struct text *id)
{
	if (value.len > DSN_ENVID_LIMIT)
		return "ENVID has 100 characters at most";
	if (!is_printable_xtext(value))
		return "ENVID is xtext of printable characters";
	*id = text_copy(arena, value);
	return NULL;
}

enum dsn_result dsn_take_mail(struct arena *arena, const struct command_parameter *given,
	struct dsn_message *dsn, const char **sentence)
{
	if (text_equal_nocase(given->keyword, TEXT("RET")))
		*sentence = take_content(given->value, &dsn->content);
	else if (text_equal_nocase(given->keyword, TEXT("ENVID")))
		*sentence = take_envelope_id(arena, given->value, &dsn->envelope_id);
	else
		return DSN_FOREIGN;
	return *sentence ? DSN_FAULT : DSN_TAKEN;
}

/* ---- RCPT ---- */

static unsigned occasion_of(struct text word)
{
	for (size_t i = 0; i < OCCASIONS; i++) {
		if (text_equal_nocase(word, occasions[i].word))
			return occasions[i].flag;
	}
	return 0;
}

static const char *take_notify(struct text value, unsigned *notify)
{
	unsigned found = 0;
	struct text word;

	while (value.ptr && text_split(&value, ',', &word)) {
		const unsigned occasion = occasion_of(word);

		if (occasion == 0 || (found & occasion))
			return "NOTIFY is NEVER, or some of SUCCESS,FAILURE,DELAY";
		found |= occasion;
	}
	if (found == 0)
		return "NOTIFY is NEVER, or some of SUCCESS,FAILURE,DELAY";
	if ((found & DSN_NOTIFY_NEVER) && found != DSN_NOTIFY_NEVER)
		return "NOTIFY=NEVER stands alone";
	*notify = found;
	return NULL;
}

/* An atom (RFC 3461 section 4.2), as registered types are. */
static bool is_type(struct text type)
{
	for (size_t i = 0; i < type.len; i++) {
		const char c = text_lower(type.ptr[i]);

		if (!(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9') && c != '-' && c != '_' &&
			c != '.')
			return false;
	}
	return type.len > 0;
}

static bool is_hex_digit(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'F');
}

/* "\x{FC}", of which *used octets; the point it names is beyond printable ASCII or one of + = \ there. */
static bool is_embedded(struct text t, size_t *used)
{
	size_t n = 3;

	if (!text_begins(t, TEXT("\\x{")))
		return false;
	while (n < t.len && is_hex_digit(t.ptr[n]))
		n++;
	if (n < 5 || n > 9 || n == t.len || t.ptr[n] != '}')
		return false;
	*used = n + 1;
	return true;
}

/* utf-8-addr-xtext, or utf-8-addr-unitext when raw (RFC 6533 section 3). */
static bool is_utf8_address(struct text t, bool raw)
{
	while (t.len > 0) {
		size_t n = 1;

		if ((unsigned char)t.ptr[0] > 127)
			n = raw ? utf8_length(t) : 0;
		else if (t.ptr[0] == '\\')
			n = is_embedded(t, &n) ? n : 0;
		else if (t.ptr[0] <= ' ' || t.ptr[0] > '~' || t.ptr[0] == '+' || t.ptr[0] == '=')
			n = 0;
		if (n == 0)
			return false;
		t = text_from(t, n);
	}
	return true;
}

static bool is_original(struct text value, bool utf8)
{
	const ptrdiff_t semicolon = text_find(value, ';');

	if (semicolon < 0)
		return false;
	const struct text type = text_head(value, (size_t)semicolon);
	const struct text address = text_from(value, (size_t)semicolon + 1);
	if (!is_type(type) || address.len == 0)
		return false;
	if (text_equal_nocase(type, TEXT("utf-8")))
		return is_utf8_address(address, utf8);
	return is_printable_xtext(address);
}

static const char *take_original(
	struct arena *arena, struct text value, bool utf8, struct text *original)
{
	if (value.len > DSN_ORCPT_LIMIT)
		return "ORCPT has 500 characters at most";
	if (!value.ptr || !is_original(value, utf8))
		return "ORCPT is a type, a semicolon, and an address in xtext";
	*original = text_copy(arena, value);
	return NULL;
}

enum dsn_result dsn_take_recipient(struct arena *arena, const struct command_parameter *given,
	bool utf8, struct dsn_recipient *dsn, const char **sentence)
{
	if (text_equal_nocase(given->keyword, TEXT("NOTIFY")))
		*sentence = take_notify(given->value, &dsn->notify);
	else if (text_equal_nocase(given->keyword, TEXT("ORCPT")))
		*sentence = take_original(arena, given->value, utf8, &dsn->original);
	else
		return DSN_FOREIGN;
	return *sentence ? DSN_FAULT : DSN_TAKEN;
}

/* ---- handing on ---- */

bool dsn_is_said_of_message(const struct dsn_message *dsn)
{
	return dsn->content != DSN_RETURN_UNSAID || dsn->envelope_id.ptr;
}

bool dsn_is_said_of_recipient(const struct dsn_recipient *dsn)
{
	return dsn->notify || dsn->original.ptr;
}

void dsn_add_mail(struct buf *out, const struct dsn_message *dsn)
{
	switch (dsn->content) {
	case DSN_RETURN_UNSAID:
		break;
	case DSN_RETURN_FULL:
		buf_add_string(out, " RET=FULL");
		break;
	case DSN_RETURN_HEADERS:
		buf_add_string(out, " RET=HDRS");
		break;
	}
	if (dsn->envelope_id.ptr) {
		buf_add_string(out, " ENVID=");
		buf_add(out, dsn->envelope_id);
	}
}

void dsn_add_recipient(struct buf *out, const struct dsn_recipient *dsn)
{
	const char *before = " NOTIFY=";

	for (size_t i = 0; i < OCCASIONS; i++) {
		if (!(dsn->notify & occasions[i].flag))
			continue;
		buf_add_string(out, before);
		buf_add(out, occasions[i].word);
		before = ",";
	}
	if (dsn->original.ptr) {
		buf_add_string(out, " ORCPT=");
		buf_add(out, dsn->original);
	}
}
