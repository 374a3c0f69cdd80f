/*
 * The small text file of a mailbox, which lets the index be thrown away.
 */
#include "store/maildir.h"

void maildir_file_print(const struct maildir_file *file, struct buf *out)
{
	struct text rest = file->keywords;
	struct text keyword;

	buf_format(out, "restante-mailbox 1\nuser %u\nmailbox %u\nuidvalidity %u\nceiling %u\n",
		file->id.user, file->id.mailbox, file->uidvalidity, file->ceiling);
	while (rest.len && text_split(&rest, ' ', &keyword))
		buf_format(out, "keyword %.*s\n", TEXT_ARG(keyword));
}

static int parse_line(struct text line, struct maildir_file *file, struct buf *keywords)
{
	const ptrdiff_t blank = text_find(line, ' ');
	const struct text key = blank < 0 ? line : text_head(line, (size_t)blank);
	const struct text value = blank < 0 ? TEXT("") : text_from(line, (size_t)blank + 1);
	const struct {
		struct text key;
		uint32_t *number;
	} numbers[] = {
		{ TEXT("user"), &file->id.user },
		{ TEXT("mailbox"), &file->id.mailbox },
		{ TEXT("uidvalidity"), &file->uidvalidity },
		{ TEXT("ceiling"), &file->ceiling },
	};
	uint64_t number;

	if (text_equal(key, TEXT("keyword"))) {
		if (value.len == 0 || text_find(value, ' ') >= 0)
			return -1;
		if (buf_length(keywords))
			buf_add_char(keywords, ' ');
		buf_add(keywords, value);
		return buf_length(keywords) <= STORE_KEYWORDS_LIMIT ? 0 : -1;
	}
	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
		if (!text_equal(key, numbers[i].key))
			continue;
		if (text_to_number(value, UINT32_MAX, &number) != 0 || number == 0)
			return -1;
		*numbers[i].number = (uint32_t)number;
		return 0;
	}
	return -1;
}

int maildir_file_parse(struct text octets, struct maildir_file *file, struct buf *keywords)
{
	struct text rest = octets;
	struct text line;
	unsigned count = 0;

	*file = (struct maildir_file){ .keywords = TEXT("") };
	buf_clear(keywords);
	if (!octets.len || octets.ptr[octets.len - 1] != '\n' || !text_split(&rest, '\n', &line) ||
		!text_equal(line, TEXT("restante-mailbox 1")))
		return -1;
	while (text_split(&rest, '\n', &line) && line.len) {
		if (parse_line(line, file, keywords) != 0)
			return -1;
		if (text_begins(line, TEXT("keyword ")) && ++count > MAILDIR_KEYWORDS)
			return -1;
	}
	file->keywords = buf_text(keywords);
	return rest.len == 0 && file->id.user && file->id.mailbox && file->uidvalidity &&
			       file->ceiling
		       ? 0
		       : -1;
}
