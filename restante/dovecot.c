#include "restante/dovecot.h"

#include <string.h>

#include "store/protocol.h"

enum { NAME_LIMIT = 255 };

static int fail(struct dovecot_error *error, unsigned line, const char *why)
{
	*error = (struct dovecot_error){ .line = line, .why = why };
	return -1;
}

/* The next line without its end. 1; 0: there is none; -1: it has no end. */
static int next_line(
	struct text *rest, struct text *line, unsigned *number, struct dovecot_error *error)
{
	if (rest->len == 0)
		return 0;
	++*number;
	if (text_find(*rest, '\n') < 0)
		return fail(error, *number, "the line has no end: the file was cut off");
	text_split(rest, '\n', line);
	return text_find(*line, '\0') < 0 ? 1 : fail(error, *number, "there is a NUL in the line");
}

/* ---- dovecot-uidlist ---- */

static int parse_header(struct text line, struct dovecot_uidlist *list, struct dovecot_error *error)
{
	struct text field;
	uint64_t number;

	text_split(&line, ' ', &field);
	if (!text_equal(field, TEXT("3")))
		return fail(error, 1, "not a uidlist of version 3: let Dovecot 2 open it once");
	while (line.len && text_split(&line, ' ', &field)) {
		if (field.len == 0 || (field.ptr[0] != 'V' && field.ptr[0] != 'N'))
			continue;
		const bool is_validity = field.ptr[0] == 'V';
		if (text_to_number(text_from(field, 1),
			    is_validity ? STORE_UIDVALIDITY_LIMIT : STORE_UID_LIMIT,
			    &number) != 0 ||
			number == 0)
			return fail(
				error, 1, is_validity ? "V is no UIDVALIDITY" : "N is no next UID");
		*(is_validity ? &list->uidvalidity : &list->uidnext) = (uint32_t)number;
	}
	if (list->uidvalidity == 0 || list->uidnext == 0)
		return fail(error, 1, "V (UIDVALIDITY) or N (the next UID) is missing");
	return 0;
}

/* "UID, fields of a letter and a value, a colon and the name", into the list's next place. */
static int parse_uid(struct text line, unsigned number, struct dovecot_uidlist *list,
	struct dovecot_error *error)
{
	const uint32_t last = list->count ? list->uids[list->count - 1].uid : 0;
	const ptrdiff_t blank = text_find(line, ' ');
	uint64_t uid;

	if (blank < 0 ||
		text_to_number(text_head(line, (size_t)blank), STORE_UID_LIMIT, &uid) != 0 ||
		uid == 0)
		return fail(error, number, "the line does not begin with a UID");
	if (uid <= last)
		return fail(error, number, "its UID is not above that of the line before");
	struct text rest = text_from(line, (size_t)blank + 1), field = TEXT("");
	while (rest.len && rest.ptr[0] != ':') {
		if (!text_split(&rest, ' ', &field) || field.len < 2 || !rest.ptr)
			return fail(error, number, "there is no colon with a file name");
	}
	struct text name = rest.len ? text_from(rest, 1) : TEXT("");
	const ptrdiff_t colon = text_find(name, ':');
	if (colon >= 0)
		name = text_head(name, (size_t)colon);
	if (name.len == 0 || name.len > NAME_LIMIT || text_find(name, '/') >= 0)
		return fail(error, number, "there is no file name behind the colon");
	list->uids[list->count++] = (struct dovecot_uid){ .uid = (uint32_t)uid, .base = name };
	if (list->uidnext <= uid)
		list->uidnext = (uint32_t)uid + 1;
	return 0;
}

/* As many as there can be: none is shorter than "1 :a" and its end. */
static size_t most_uids(struct text octets)
{
	enum { SHORTEST = 5 };
	size_t lines = 0;

	for (size_t i = 0; i < octets.len; i++)
		lines += octets.ptr[i] == '\n';
	return lines < octets.len / SHORTEST ? lines : octets.len / SHORTEST;
}

int dovecot_uidlist_parse(struct arena *arena, struct text octets, struct dovecot_uidlist *list,
	struct dovecot_error *error)
{
	struct text rest = octets, line;
	unsigned number = 0;
	int more = next_line(&rest, &line, &number, error);

	*list = (struct dovecot_uidlist){ 0 };
	if (more == 0)
		return fail(error, 1, "the file is empty");
	if (more < 0 || parse_header(line, list, error) != 0)
		return -1;
	list->uids = arena_take(arena, (most_uids(octets) + 1) * sizeof(*list->uids));
	while ((more = next_line(&rest, &line, &number, error)) == 1) {
		if (parse_uid(line, number, list, error) != 0)
			return -1;
	}
	return more;
}

/* ---- dovecot-keywords ---- */

/* An atom (RFC 9051, flag-keyword), as far as what follows needs it; the store is stricter. */
static bool is_keyword(struct text name)
{
	for (size_t i = 0; i < name.len; i++) {
		const unsigned char octet = (unsigned char)name.ptr[i];
		if (octet <= ' ' || octet == 0x7f || strchr("(){%*\"\\]", octet))
			return false;
	}
	return name.len > 0 && name.len <= NAME_LIMIT;
}

int dovecot_keywords_parse(
	struct text octets, struct text names[DOVECOT_KEYWORDS], struct dovecot_error *error)
{
	struct text rest = octets, line;
	unsigned number = 0;
	uint64_t index;
	int more;

	for (size_t i = 0; i < DOVECOT_KEYWORDS; i++)
		names[i] = TEXT("");
	while ((more = next_line(&rest, &line, &number, error)) == 1) {
		const ptrdiff_t blank = text_find(line, ' ');
		if (blank < 0 ||
			text_to_number(text_head(line, (size_t)blank), UINT32_MAX, &index) != 0)
			return fail(error, number, "the line does not begin with a number");
		const struct text name = text_from(line, (size_t)blank + 1);
		if (!is_keyword(name))
			return fail(error, number, "there is no keyword behind the number");
		if (index >= DOVECOT_KEYWORDS)
			continue;
		if (names[index].len)
			return fail(error, number, "its number was there before");
		names[index] = name;
	}
	return more;
}

/* ---- subscriptions ---- */

int dovecot_folder(struct text name, char separator, struct buf *folder)
{
	const size_t before = buf_length(folder);
	struct text level;

	if (text_equal_nocase(name, TEXT("INBOX")))
		return 0;
	if (name.len == 0)
		return -1;
	while (name.ptr && text_split(&name, separator, &level)) {
		if (level.len == 0)
			return -1;
		buf_add_char(folder, '.');
		for (size_t i = 0; i < level.len; i++) {
			if (level.ptr[i] == '/' || level.ptr[i] == '\0')
				return -1;
			/* A dot within a level is written shifted, for in Maildir++ it separates levels. */
			if (level.ptr[i] == '.')
				buf_add_string(folder, "&AC4-");
			else
				buf_add_char(folder, level.ptr[i]);
		}
	}
	return buf_length(folder) - before <= DOVECOT_FOLDER_LIMIT ? 0 : -1;
}

int dovecot_subscriptions_parse(
	struct text octets, char separator, struct buf *folders, struct dovecot_error *error)
{
	struct text rest = octets, line;
	unsigned number = 0;
	int more;

	if (text_begins(octets, TEXT("V\t2\n"))) {
		rest = text_from(octets, strlen("V\t2\n"));
		number = 1;
		separator = '\t';
	}
	while ((more = next_line(&rest, &line, &number, error)) == 1) {
		if (line.len == 0)
			continue;
		if (dovecot_folder(line, separator, folders) != 0)
			return fail(error, number, "not the name of a mailbox");
		buf_add_char(folders, '\n');
	}
	return more;
}

/* ---- file names ---- */

void dovecot_name_parse(struct text file, struct dovecot_name *name)
{
	static const char letters[] = "SRFTDP";
	static const uint32_t flags[] = { STORE_FLAG_SEEN, STORE_FLAG_ANSWERED, STORE_FLAG_FLAGGED,
		STORE_FLAG_DELETED, STORE_FLAG_DRAFT, STORE_FLAG_PASSED };
	const ptrdiff_t colon = text_find(file, ':');
	const struct text info = colon < 0 ? TEXT("") : text_from(file, (size_t)colon);

	*name = (struct dovecot_name){ .base = colon < 0 ? file : text_head(file, (size_t)colon) };
	if (!text_begins(info, TEXT(":2,")))
		return;
	for (size_t i = 3; i < info.len; i++) {
		const char octet = info.ptr[i];
		const char *letter = octet ? strchr(letters, octet) : NULL;
		if (letter)
			name->flags |= flags[letter - letters];
		else if (octet >= 'a' && octet <= 'z')
			name->keywords |= 1U << (octet - 'a');
	}
}

bool dovecot_is_compressed(struct text head)
{
	static const struct text magic[] = { { "\x1f\x8b", 2 }, { "BZh", 3 },
		{ "\xfd"
		  "7zXZ",
			5 },
		{ "\x28\xb5\x2f\xfd", 4 }, { "Dovecot-LZ4", 11 } };

	for (size_t i = 0; i < sizeof(magic) / sizeof(magic[0]); i++) {
		if (text_begins(head, magic[i]))
			return true;
	}
	return false;
}
