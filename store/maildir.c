#include "store/maildir.h"

#include <stdio.h>
#include <string.h>

#include "mail/utf8.h"

/* Flags by letter, in the order in which they stand in a name (octet order, as Maildir wants it). */
static const struct {
	char letter;
	uint32_t flag;
} letters[] = {
	{ 'D', STORE_FLAG_DRAFT },
	{ 'F', STORE_FLAG_FLAGGED },
	{ 'P', STORE_FLAG_PASSED },
	{ 'R', STORE_FLAG_ANSWERED },
	{ 'S', STORE_FLAG_SEEN },
	{ 'T', STORE_FLAG_DELETED },
};
enum { LETTERS = sizeof(letters) / sizeof(letters[0]) };

/*
 * Characters of the keywords, by bit: a to z as Dovecot has them, then whatever is no flag of Maildir's
 * and harmless in a file name.
 */
static const char keyword_letters[MAILDIR_KEYWORDS + 1] =
	"abcdefghijklmnopqrstuvwxyz0123456789ABCEGHIJKLMNOQUVWXYZ+-=@^_~%";

/* ---- directories ---- */

static bool is_plain(unsigned char octet)
{
	return octet > ' ' && octet < 0x7f && octet != '%' && octet != '/';
}

/* One level of a path at *end, which moves on. -1: empty or longer than a file name may be. */
static int add_level(struct text part, char **end)
{
	char *at = *end;

	for (size_t i = 0; i < part.len;) {
		const unsigned char octet = (unsigned char)part.ptr[i];
		const size_t wide = octet < 0x80 ? 0 : utf8_length(text_from(part, i));
		if (wide) {
			memcpy(at, part.ptr + i, wide);
			at += wide;
			i += wide;
		} else {
			if (is_plain(octet) && !(octet == '.' && i == 0))
				*at++ = (char)octet;
			else
				at += snprintf(at, 4, "%%%02X", (unsigned)octet);
			i++;
		}
		if (at - *end > MAILDIR_NAME_LIMIT - 4 && i < part.len)
			return -1;
	}
	if (at == *end)
		return -1;
	*end = at;
	return 0;
}

int maildir_user_directory(struct text address, char directory[MAILDIR_DIRECTORY_LIMIT + 1])
{
	const ptrdiff_t at = text_find_last(address, '@');
	char *end = directory;

	if (at < 0)
		return -1;
	memcpy(end, "mail/", 5);
	end += 5;
	if (add_level(text_from(address, (size_t)at + 1), &end) != 0)
		return -1;
	*end++ = '/';
	if (add_level(text_head(address, (size_t)at), &end) != 0)
		return -1;
	*end = '\0';
	return 0;
}

/* ---- names of messages ---- */

bool maildir_is_message(struct text name)
{
	return name.len > 0 && name.len <= MAILDIR_NAME_LIMIT && name.ptr[0] != '.' &&
	       text_find(name, '/') < 0 && text_find(name, '\0') < 0;
}

struct text maildir_name_parse(struct text name, uint32_t *flags, uint64_t *keywords)
{
	const ptrdiff_t colon = text_find(name, ':');
	const struct text info = colon < 0 ? TEXT("") : text_from(name, (size_t)colon);

	*flags = 0;
	*keywords = 0;
	if (text_begins(info, TEXT(":2,"))) {
		for (size_t i = 3; i < info.len; i++) {
			size_t known = 0;
			while (known < LETTERS && letters[known].letter != info.ptr[i])
				known++;
			const char *keyword =
				info.ptr[i] ? strchr(keyword_letters, info.ptr[i]) : NULL;
			if (known < LETTERS)
				*flags |= letters[known].flag;
			else if (keyword)
				*keywords |= UINT64_C(1) << (keyword - keyword_letters);
		}
	}
	return colon < 0 ? name : text_head(name, (size_t)colon);
}

size_t maildir_leaf_print(enum index_place place, struct text base, uint32_t flags,
	uint64_t keywords, char leaf[MAILDIR_LEAF_LIMIT + 1])
{
	char *at = leaf;

	memcpy(at, place == INDEX_NEW ? "new/" : "cur/", 4);
	at += 4;
	base = text_head(base, INDEX_BASE_LIMIT);
	memcpy(at, base.ptr, base.len);
	at += base.len;
	if (place == INDEX_CUR) {
		memcpy(at, ":2,", 3);
		at += 3;
		for (size_t i = 0; i < LETTERS; i++) {
			if (flags & letters[i].flag)
				*at++ = letters[i].letter;
		}
		for (size_t i = 0; i < MAILDIR_KEYWORDS; i++) {
			if (keywords >> i & 1)
				*at++ = keyword_letters[i];
		}
	}
	*at = '\0';
	return (size_t)(at - leaf);
}

/* Digits up to the end of the text or a comma. */
static bool read_number(struct text t, uint64_t max, uint64_t *value)
{
	const ptrdiff_t comma = text_find(t, ',');

	return text_to_number(comma < 0 ? t : text_head(t, (size_t)comma), max, value) == 0;
}

void maildir_base_parse(struct text base, struct maildir_base *parts)
{
	struct text rest = base;
	struct text part;
	uint64_t value;

	*parts = (struct maildir_base){ .unique = TEXT("") };
	if (!base.len || !text_split(&rest, ',', &parts->unique))
		return;
	while (text_split(&rest, ',', &part)) {
		if (part.len < 3 || part.ptr[1] != '=')
			continue;
		const char field = part.ptr[0];
		const struct text number = text_from(part, 2);
		if (field == 'S' && read_number(number, INT64_MAX, &value)) {
			parts->has_size = true;
			parts->size = value;
		} else if (field == 'W' && read_number(number, INT64_MAX, &value)) {
			parts->has_wire = true;
			parts->wire = value;
		} else if (field == 'U' && read_number(number, UINT32_MAX - 1, &value) && value) {
			parts->has_uid = true;
			parts->uid = (uint32_t)value;
		}
	}
	const ptrdiff_t dot = text_find(parts->unique, '.');
	if (dot > 0 && text_to_number(text_head(base, (size_t)dot), UINT32_MAX, &value) == 0)
		parts->seconds = (int64_t)value;
}

size_t maildir_base_begin(const struct maildir_unique *unique, uint64_t size, uint64_t wire,
	char base[INDEX_BASE_LIMIT + 1])
{
	const int length = snprintf(base, INDEX_BASE_LIMIT + 1,
		"%lld.M%uP%uQ%llu.%.*s,S=%llu,W=%llu,U=", (long long)unique->seconds,
		unique->microseconds, unique->process, (unsigned long long)unique->count,
		MAILDIR_HOST_LIMIT, unique->host, (unsigned long long)size,
		(unsigned long long)wire);

	return (size_t)length;
}

size_t maildir_base_end(char base[INDEX_BASE_LIMIT + 1], size_t begun, uint32_t uid)
{
	const size_t length = begun + text_number(uid, base + begun);

	base[length] = '\0';
	return length;
}

size_t maildir_base_adopt(struct text unique, uint64_t size, uint64_t wire, uint32_t uid,
	char base[INDEX_BASE_LIMIT + 1])
{
	/* Room for the three numbers; two long names that are cut to the same differ by the UID. */
	unique = text_head(unique, INDEX_BASE_LIMIT - 64);
	const int length = snprintf(base, INDEX_BASE_LIMIT + 1, "%.*s,S=%llu,W=%llu,U=%u",
		TEXT_ARG(unique), (unsigned long long)size, (unsigned long long)wire, uid);

	return (size_t)length;
}
