#include "mail/trace.h"

#include <string.h>

#include "base/arena.h"
#include "mail/header.h"

enum {
	FOLD_COLUMN = 78, /* RFC 5322 section 2.1.1 */
	WORD_LIMIT = 512, /* keeps a line below 998 octets, whatever a caller hands in */
};

/* A header field that is written word by word and folded between words. */
struct fold {
	struct buf *out;
	const char *line_end;
	size_t column;
	struct buf word;
};

/* Part of the current word. What could end the line or hide in it becomes '?'. */
static void fold_add(struct fold *fold, struct text part)
{
	char *to;

	part = text_head(part, WORD_LIMIT);
	to = buf_room(&fold->word, part.len);
	for (size_t i = 0; i < part.len; i++) {
		const unsigned char c = (unsigned char)part.ptr[i];

		to[i] = c < ' ' || c == 0x7f ? '?' : part.ptr[i];
	}
	buf_commit(&fold->word, part.len);
}

/* Part of the current word from outside: also ASCII, no blank, and nothing that opens a comment. */
static void fold_add_token(struct fold *fold, struct text part)
{
	size_t start = buf_length(&fold->word);
	char *at;

	fold_add(fold, part);
	at = fold->word.block + fold->word.start;
	for (; start < buf_length(&fold->word); start++) {
		if ((unsigned char)at[start] > 126 || strchr(" ()<>\\\",;", at[start]) != NULL)
			at[start] = '?';
	}
}

static void fold_end_word(struct fold *fold)
{
	const struct text word = buf_text(&fold->word);

	if (fold->column > 0 && fold->column + 1 + word.len >= FOLD_COLUMN) {
		buf_add_string(fold->out, fold->line_end);
		buf_add_char(fold->out, '\t');
		fold->column = 1;
	} else if (fold->column > 0) {
		buf_add_char(fold->out, ' ');
		fold->column++;
	}
	buf_add(fold->out, word);
	fold->column += word.len;
	buf_clear(&fold->word);
}

static void fold_word(struct fold *fold, struct text word)
{
	fold_add(fold, word);
	fold_end_word(fold);
}

static void fold_token(struct fold *fold, struct text word)
{
	fold_add_token(fold, word);
	fold_end_word(fold);
}

static void fold_end(struct fold *fold)
{
	buf_add_string(fold->out, fold->line_end);
	buf_release(&fold->word);
}

/* From-domain: what the client said, then in brackets what we know. */
static void add_from(struct fold *fold, const struct trace_received *received)
{
	const bool local = text_equal(received->peer, TEXT("local"));

	if (local && received->helo.len == 0)
		return;
	fold_word(fold, TEXT("from"));
	fold_token(fold, received->helo.len > 0 ? received->helo : TEXT("unknown"));
	if (local)
		return;
	fold_add(fold, received->peer_ipv6 ? TEXT("([IPv6:") : TEXT("(["));
	fold_add_token(fold, received->peer);
	fold_word(fold, TEXT("])"));
}

static void add_tls(struct fold *fold, const struct trace_received *received)
{
	if (received->tls_version == NULL)
		return;
	fold_add(fold, TEXT("("));
	fold_add_token(fold, text_of(received->tls_version));
	if (received->tls_cipher != NULL) {
		fold_end_word(fold);
		fold_add_token(fold, text_of(received->tls_cipher));
	}
	fold_word(fold, TEXT(")"));
}

struct text trace_protocol(struct trace_with with)
{
	static const char *const ascii[] = { "ESMTP", "ESMTPS", "ESMTPA", "ESMTPSA" };
	static const char *const utf8[] = { "UTF8SMTP", "UTF8SMTPS", "UTF8SMTPA", "UTF8SMTPSA" };
	const unsigned row = (with.tls ? 1 : 0) + (with.authenticated ? 2 : 0);

	if (with.utf8)
		return text_of(utf8[row]);
	/* There is no word for TLS without EHLO. */
	return with.esmtp ? text_of(ascii[row]) : TEXT("SMTP");
}

void trace_add_received(
	struct buf *out, const struct trace_received *received, const char *line_end)
{
	struct fold fold = { .out = out, .line_end = line_end };
	char date[TRACE_DATE_LENGTH + 1];

	fold_word(&fold, TEXT("Received:"));
	add_from(&fold, received);
	fold_word(&fold, TEXT("by"));
	fold_token(&fold, received->by);
	fold_word(&fold, TEXT("with"));
	fold_token(&fold, received->with);
	add_tls(&fold, received);
	fold_word(&fold, TEXT("id"));
	fold_add_token(&fold, received->id);
	if (received->recipient != NULL) {
		struct buf address = { 0 };

		fold_end_word(&fold);
		fold_word(&fold, TEXT("for"));
		fold_add(&fold, TEXT("<"));
		address_add(&address, received->recipient);
		fold_add(&fold, buf_text(&address));
		fold_add(&fold, TEXT(">"));
		buf_release(&address);
	}
	fold_word(&fold, TEXT(";"));
	trace_date(received->when, date);
	fold_word(&fold, text_of(date));
	fold_end(&fold);
}

/* Programs that read these two do not all unfold, so they stay on one line. */
static void add_one_line(struct buf *out, struct text name, struct text value, const char *line_end)
{
	struct fold fold = { .out = out, .line_end = line_end };

	fold_add(&fold, name);
	fold_add(&fold, TEXT(" "));
	fold_add(&fold, value);
	fold_end_word(&fold);
	fold_end(&fold);
}

void trace_add_return_path(struct buf *out, const struct address *sender, const char *line_end)
{
	struct buf path = { 0 };

	buf_add_char(&path, '<');
	address_add(&path, sender);
	buf_add_char(&path, '>');
	add_one_line(out, TEXT("Return-Path:"), buf_text(&path), line_end);
	buf_release(&path);
}

void trace_add_delivered_to(struct buf *out, struct text address, const char *line_end)
{
	add_one_line(out, TEXT("Delivered-To:"), address, line_end);
}

static void put_number(char *to, int digits, int number)
{
	while (digits-- > 0) {
		to[digits] = (char)('0' + number % 10);
		number /= 10;
	}
}

void trace_date(time_t when, char out[TRACE_DATE_LENGTH + 1])
{
	static const char day_names[] = "SunMonTueWedThuFriSat";
	static const char month_names[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
	const time_t last = 253402300799; /* in year 9999 */
	struct tm tm;

	when = when < 0 ? 0 : when > last ? last : when;
	gmtime_r(&when, &tm);
	memcpy(out, "Day, 00 Mon 0000 00:00:00 +0000", TRACE_DATE_LENGTH + 1);
	memcpy(out, day_names + 3 * tm.tm_wday, 3);
	put_number(out + 5, 2, tm.tm_mday);
	memcpy(out + 8, month_names + 3 * tm.tm_mon, 3);
	put_number(out + 12, 4, tm.tm_year + 1900);
	put_number(out + 17, 2, tm.tm_hour);
	put_number(out + 20, 2, tm.tm_min);
	put_number(out + 23, 2, tm.tm_sec);
}

/* Whether the line ends as trace_date() has it. No other line does: words from outside hold no blanks. */
static bool ends_with_date(struct text line)
{
	static const char form[] = "Aaa, 00 Aaa 0000 00:00:00 +0000";

	if (line.len < TRACE_DATE_LENGTH)
		return false;
	line = text_from(line, line.len - TRACE_DATE_LENGTH);
	for (size_t i = 0; i < TRACE_DATE_LENGTH; i++) {
		const char c = line.ptr[i];
		const char kind = c >= '0' && c <= '9'   ? '0'
				  : c >= 'A' && c <= 'Z' ? 'A'
				  : c >= 'a' && c <= 'z' ? 'a'
							 : c;
		if (kind != form[i])
			return false;
	}
	return true;
}

size_t trace_received_length(struct text message)
{
	struct header_field field;
	struct text rest = message, line;

	if (header_next(&rest, &field) != 1)
		return 0;
	rest = field.whole;
	while (rest.ptr && text_split(&rest, '\n', &line)) {
		const size_t end = (size_t)(line.ptr + line.len - message.ptr) + 1;

		if (line.len && line.ptr[line.len - 1] == '\r')
			line.len--;
		if (end <= field.whole.len && ends_with_date(line))
			return end;
	}
	return field.whole.len;
}

static bool is_white(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* A field's value that may have been folded before or after its one word. */
static struct text one_word(struct text value)
{
	while (value.len > 0 && is_white(value.ptr[0]))
		value = text_from(value, 1);
	while (value.len > 0 && is_white(value.ptr[value.len - 1]))
		value.len--;
	return value;
}

const char *trace_find_loop(struct text header, struct text delivered_to, unsigned hops_limit)
{
	struct header_field field;
	unsigned hops = 0;

	while (header_walk(&header, &field)) {
		if (text_equal_nocase(field.name, TEXT("Received")) && ++hops > hops_limit)
			return "too many hops: the message goes round in a loop";
		if (delivered_to.len > 0 && text_equal_nocase(field.name, TEXT("Delivered-To")) &&
			text_equal_nocase(one_word(field.value), delivered_to))
			return "mail loop: the message was delivered to this address before";
	}
	return NULL;
}
