/*
 * Names of mailboxes as folder names: modified UTF-7 of RFC 3501 section 5.1.3, both ways.
 */
#include <string.h>

#include "mail/utf8.h"
#include "store/maildir.h"

static const char base64[65] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+,";

struct text maildir_canonical(struct text mailbox)
{
	return text_equal_nocase(mailbox, TEXT("INBOX")) ? TEXT("INBOX") : mailbox;
}

/* ---- UTF-8 to folder ---- */

struct writer {
	char *at;
	const char *end;
	bool shifted;
	uint32_t bits; /* not yet written, at the low end */
	unsigned count;
	bool full;
};

static void put(struct writer *w, char octet)
{
	if (w->at == w->end)
		w->full = true;
	else
		*w->at++ = octet;
}

static void put_plain(struct writer *w, char octet)
{
	if (w->shifted) {
		if (w->count)
			put(w, base64[w->bits << (6 - w->count) & 63]);
		put(w, '-');
		w->shifted = false;
	}
	if (octet)
		put(w, octet);
	if (octet == '&')
		put(w, '-');
}

static void put_unit(struct writer *w, uint32_t utf16)
{
	if (!w->shifted) {
		put(w, '&');
		w->shifted = true;
		w->bits = w->count = 0;
	}
	w->bits = w->bits << 16 | utf16;
	for (w->count += 16; w->count >= 6; w->count -= 6)
		put(w, base64[w->bits >> (w->count - 6) & 63]);
}

static void put_character(struct writer *w, uint32_t character)
{
	if (character >= 0x10000) {
		character -= 0x10000;
		put_unit(w, 0xd800 + (character >> 10));
		put_unit(w, 0xdc00 + (character & 0x3ff));
	} else {
		put_unit(w, character);
	}
}

static uint32_t decode(const char *at, size_t length)
{
	static const unsigned char lead[5] = { 0, 0x7f, 0x1f, 0x0f, 0x07 };
	uint32_t character = (unsigned char)at[0] & lead[length];

	for (size_t i = 1; i < length; i++)
		character = character << 6 | ((unsigned char)at[i] & 0x3f);
	return character;
}

static int put_level(struct writer *w, struct text level)
{
	if (level.len == 0)
		return -1;
	for (size_t i = 0; i < level.len;) {
		const unsigned char octet = (unsigned char)level.ptr[i];
		if (octet < 0x20 || octet == 0x7f)
			return -1;
		if (octet == '.')
			put_character(w, octet);
		else if (octet < 0x80)
			put_plain(w, (char)octet);
		const size_t length = octet < 0x80 ? 1 : utf8_length(text_from(level, i));
		if (length == 0)
			return -1;
		if (length > 1)
			put_character(w, decode(level.ptr + i, length));
		i += length;
	}
	put_plain(w, '\0');
	return 0;
}

int maildir_folder(struct text mailbox, char folder[MAILDIR_NAME_LIMIT + 1])
{
	struct writer w = { .at = folder, .end = folder + MAILDIR_NAME_LIMIT };
	struct text rest = maildir_canonical(mailbox);
	struct text level;

	folder[0] = '\0';
	if (rest.len == 0 || rest.len > STORE_MAILBOX_LIMIT)
		return -1;
	if (text_equal(rest, TEXT("INBOX")))
		return 0;
	while (text_split(&rest, '/', &level)) {
		put(&w, '.');
		if (put_level(&w, level) != 0)
			return -1;
	}
	if (w.full)
		return -1;
	*w.at = '\0';
	return 0;
}

/* ---- folder to UTF-8 ---- */

static void put_utf8(struct buf *out, uint32_t c)
{
	if (c < 0x80) {
		buf_add_char(out, (char)c);
	} else if (c < 0x800) {
		buf_add_char(out, (char)(0xc0 | c >> 6));
		buf_add_char(out, (char)(0x80 | (c & 0x3f)));
	} else if (c < 0x10000) {
		buf_add_char(out, (char)(0xe0 | c >> 12));
		buf_add_char(out, (char)(0x80 | (c >> 6 & 0x3f)));
		buf_add_char(out, (char)(0x80 | (c & 0x3f)));
	} else {
		buf_add_char(out, (char)(0xf0 | c >> 18));
		buf_add_char(out, (char)(0x80 | (c >> 12 & 0x3f)));
		buf_add_char(out, (char)(0x80 | (c >> 6 & 0x3f)));
		buf_add_char(out, (char)(0x80 | (c & 0x3f)));
	}
}

/* The shifted run without its '&' and '-'. Strict decoding is left to the way back, which must agree. */
static int decode_shifted(struct text run, struct buf *out)
{
	uint32_t bits = 0, high = 0;
	unsigned count = 0;

	for (size_t i = 0; i < run.len; i++) {
		const char *digit = run.ptr[i] ? strchr(base64, run.ptr[i]) : NULL;
		if (!digit)
			return -1;
		bits = bits << 6 | (uint32_t)(digit - base64);
		count += 6;
		if (count < 16)
			continue;
		count -= 16;
		const uint32_t unit = bits >> count & 0xffff;
		const bool is_low = unit >= 0xdc00 && unit < 0xe000;
		if (is_low != (high != 0))
			return -1;
		if (is_low) {
			put_utf8(out, 0x10000 + ((high - 0xd800) << 10) + (unit - 0xdc00));
			high = 0;
		} else if (unit >= 0xd800 && unit < 0xdc00) {
			high = unit;
		} else {
			put_utf8(out, unit);
		}
	}
	return high ? -1 : 0;
}

static int decode_level(struct text level, struct buf *out)
{
	for (size_t i = 0; i < level.len; i++) {
		if (level.ptr[i] != '&') {
			buf_add_char(out, level.ptr[i]);
			continue;
		}
		const ptrdiff_t end = text_find(text_from(level, i), '-');
		if (end < 0)
			return -1;
		if (end == 1)
			buf_add_char(out, '&');
		else if (decode_shifted(text_head(text_from(level, i + 1), (size_t)end - 1), out) !=
			 0)
			return -1;
		i += (size_t)end;
	}
	return 0;
}

int maildir_mailbox(struct text folder, struct buf *mailbox)
{
	char again[MAILDIR_NAME_LIMIT + 1];
	struct text rest = text_from(folder, 1);
	struct text level;

	buf_clear(mailbox);
	if (folder.len == 0) {
		buf_add(mailbox, TEXT("INBOX"));
		return 0;
	}
	if (folder.ptr[0] != '.' || folder.len < 2)
		return -1;
	while (text_split(&rest, '.', &level)) {
		if (buf_length(mailbox))
			buf_add_char(mailbox, '/');
		if (decode_level(level, mailbox) != 0)
			return -1;
	}
	/* Only the one form that we would write ourselves: no folder answers to two names. */
	if (maildir_folder(buf_text(mailbox), again) != 0 || !text_equal(text_of(again), folder))
		return -1;
	return 0;
}
