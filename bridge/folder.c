#include "bridge/folder.h"

#include <stdio.h>
#include <string.h>

#include "mail/utf8.h"

/* RFC 3501 section 5.1.3: base64 with ',' for '/'. -1: no digit of it. */
static int digit_value(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	return c == '+' ? 62 : c == ',' ? 63 : -1;
}

/* -1 for what no name may hold. */
static int add_code_point(struct buf *out, uint32_t c)
{
	if (c < 0x20 || (c >= 0x7f && c < 0xa0) || c == 0x2028 || c == 0x2029 || c > 0x10ffff)
		return -1;
	if (c < 0x80) {
		buf_add_char(out, (char)c);
	} else if (c < 0x800) {
		buf_add_char(out, (char)(0xc0 | c >> 6));
		buf_add_char(out, (char)(0x80 | (c & 63)));
	} else if (c < 0x10000) {
		buf_add_char(out, (char)(0xe0 | c >> 12));
		buf_add_char(out, (char)(0x80 | (c >> 6 & 63)));
		buf_add_char(out, (char)(0x80 | (c & 63)));
	} else {
		buf_add_char(out, (char)(0xf0 | c >> 18));
		buf_add_char(out, (char)(0x80 | (c >> 12 & 63)));
		buf_add_char(out, (char)(0x80 | (c >> 6 & 63)));
		buf_add_char(out, (char)(0x80 | (c & 63)));
	}
	return 0;
}

/* UTF-16 units as they come out of the digits. */
struct units {
	uint32_t bits;
	unsigned count; /* of bits not yet used, below 16 */
	uint32_t high;  /* first half of a surrogate pair, or 0 */
};

static int add_unit(struct units *units, uint32_t unit, struct buf *out)
{
	const bool low = unit >= 0xdc00 && unit <= 0xdfff;

	if (low != (units->high != 0))
		return -1;
	if (unit >= 0xd800 && unit <= 0xdbff) {
		units->high = unit;
		return 0;
	}
	if (low)
		unit = 0x10000 + ((units->high - 0xd800) << 10) + (unit - 0xdc00);
	units->high = 0;
	return add_code_point(out, unit);
}

/* What stands between '&' and '-'. */
static int decode_shifted(struct text in, struct buf *out)
{
	struct units units = { 0 };

	for (size_t i = 0; i < in.len; i++) {
		const int value = digit_value(in.ptr[i]);
		if (value < 0)
			return -1;
		units.bits = units.bits << 6 | (uint32_t)value;
		units.count += 6;
		if (units.count < 16)
			continue;
		units.count -= 16;
		if (add_unit(&units, units.bits >> units.count & 0xffff, out) != 0)
			return -1;
		units.bits &= (1U << units.count) - 1;
	}
	return units.high || units.count >= 6 || units.bits ? -1 : 0;
}

static int decode(struct text in, struct buf *out)
{
	while (in.len) {
		const unsigned char c = (unsigned char)in.ptr[0];
		if (c < 0x20 || c > 0x7e)
			return -1;
		if (c != '&') {
			buf_add_char(out, (char)c);
			in = text_from(in, 1);
			continue;
		}
		const ptrdiff_t end = text_find(in, '-');
		if (end < 0)
			return -1;
		if (end == 1)
			buf_add_char(out, '&');
		else if (decode_shifted(text_from(text_head(in, (size_t)end), 1), out) != 0)
			return -1;
		in = text_from(in, (size_t)end + 1);
	}
	return 0;
}

int folder_decode(struct text in, struct buf *out)
{
	struct buf decoded = { 0 };
	const int result = decode(in, &decoded);

	if (result == 0)
		buf_add(out, buf_text(&decoded));
	buf_release(&decoded);
	return result;
}

static bool is_plain_utf8(struct text t)
{
	while (t.len) {
		const unsigned char c = (unsigned char)t.ptr[0];
		const size_t length = c < 0x80 ? c >= 0x20 && c != 0x7f : utf8_length(t);
		if (length == 0)
			return false;
		t = text_from(t, length);
	}
	return true;
}

/* One level, without the separator. */
static int add_level(struct text level, struct buf *out)
{
	const size_t before = buf_length(out);

	if (folder_decode(level, out) != 0) {
		if (!is_plain_utf8(level))
			return -1;
		buf_add(out, level);
	}
	char *octets = (char *)buf_text(out).ptr;
	for (size_t i = before; i < buf_length(out); i++) {
		if (octets[i] == '/')
			octets[i] = '_';
	}
	return buf_length(out) > before ? 0 : -1;
}

static int make_readable(struct text remote, char separator, struct buf *out)
{
	struct text level;

	if (!separator)
		return remote.len ? add_level(remote, out) : -1;
	/* A separator at the end says only that there are folders below. */
	if (remote.len && remote.ptr[remote.len - 1] == separator)
		remote.len--;
	if (remote.len == 0)
		return -1;
	while (text_split(&remote, separator, &level)) {
		if (buf_length(out))
			buf_add_char(out, '/');
		if (add_level(level, out) != 0)
			return -1;
	}
	return 0;
}

int folder_readable(struct text remote, char separator, char name[FOLDER_NAME_LIMIT + 1])
{
	struct buf out = { 0 };
	int result = make_readable(remote, separator, &out);

	if (buf_length(&out) > FOLDER_NAME_LIMIT)
		result = -1;
	if (result == 0) {
		const struct text whole = buf_text(&out);
		memcpy(name, whole.ptr, whole.len);
		name[whole.len] = '\0';
		if (text_begins_nocase(whole, TEXT("INBOX")) &&
			(whole.len == 5 || whole.ptr[5] == '/'))
			memcpy(name, "INBOX", 5);
	}
	buf_release(&out);
	return result;
}

static bool is_listed(const struct settings_list *list, const char *name)
{
	for (size_t i = 0; i < list->count; i++) {
		if (strcmp(list->item[i], name) == 0 || strcmp(list->item[i], "*") == 0)
			return true;
	}
	return false;
}

bool folder_is_wanted(const struct bridge_account *account, const char *name)
{
	return is_listed(&account->folders, name) && !is_listed(&account->skip, name);
}

int folder_local(
	const struct bridge_account *account, const char *name, char local[FOLDER_NAME_LIMIT + 1])
{
	size_t longest = 0;
	const char *to = "";

	for (size_t i = 0; i < account->map.count; i++) {
		const char *equals = strchr(account->map.item[i], '=');
		const size_t length = (size_t)(equals - account->map.item[i]);
		if (length > longest && strncmp(name, account->map.item[i], length) == 0 &&
			(name[length] == '\0' || name[length] == '/')) {
			longest = length;
			to = equals + 1;
		}
	}
	const int size = snprintf(local, FOLDER_NAME_LIMIT + 1, "%s%s", to, name + longest);
	return size > FOLDER_NAME_LIMIT ? -1 : 0;
}
