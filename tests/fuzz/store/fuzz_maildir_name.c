/*
 * Names from a Maildir that anybody may have put there, names of mailboxes and addresses from peers:
 * what is printed is read back as the same, fits its bounds, and leads nowhere else.
 */
#include <string.h>

#include "store/maildir.h"
#include "tests/fuzz/fuzz.h"

static void check_message(struct text name)
{
	char leaf[MAILDIR_LEAF_LIMIT + 1], base_again[INDEX_BASE_LIMIT + 1];
	struct maildir_base parts, again;
	uint32_t flags, flags_again;
	uint64_t keywords, keywords_again;

	if (!maildir_is_message(name))
		return;
	const struct text base = maildir_name_parse(name, &flags, &keywords);
	maildir_base_parse(base, &parts);
	if (base.len && base.len <= INDEX_BASE_LIMIT) {
		const size_t size = maildir_leaf_print(INDEX_CUR, base, flags, keywords, leaf);
		REQUIRE(size == strlen(leaf) && size - 4 <= MAILDIR_NAME_LIMIT);
		REQUIRE(text_equal(
			maildir_name_parse(text_of(leaf + 4), &flags_again, &keywords_again),
			base));
		REQUIRE(flags == flags_again && keywords == keywords_again);
	}
	const size_t length =
		maildir_base_adopt(parts.unique, parts.size, parts.wire, 4711, base_again);
	REQUIRE(length <= INDEX_BASE_LIMIT && length == strlen(base_again));
	maildir_base_parse(text_of(base_again), &again);
	REQUIRE(again.has_size && again.has_wire && again.has_uid);
	REQUIRE(again.size == parts.size && again.wire == parts.wire && again.uid == 4711);
}

static void check_folder(struct text in)
{
	char folder[MAILDIR_NAME_LIMIT + 1];
	struct buf mailbox = { 0 };

	if (maildir_folder(in, folder) == 0) {
		REQUIRE(strlen(folder) <= MAILDIR_NAME_LIMIT && !strchr(folder, '/'));
		REQUIRE(strcmp(folder, ".") != 0 && strcmp(folder, "..") != 0);
		REQUIRE(maildir_mailbox(text_of(folder), &mailbox) == 0);
		REQUIRE(text_equal(buf_text(&mailbox), maildir_canonical(in)));
	}
	if (in.len <= MAILDIR_NAME_LIMIT && maildir_mailbox(in, &mailbox) == 0) {
		REQUIRE(maildir_folder(buf_text(&mailbox), folder) == 0);
		REQUIRE(text_equal(text_of(folder), in));
	}
	buf_release(&mailbox);
}

static void check_directory(struct text address)
{
	char directory[MAILDIR_DIRECTORY_LIMIT + 1];
	struct text rest, level;
	unsigned levels = 0;

	if (address.len > STORE_ADDRESS_LIMIT || maildir_user_directory(address, directory) != 0)
		return;
	REQUIRE(strlen(directory) <= MAILDIR_DIRECTORY_LIMIT);
	rest = text_of(directory);
	while (text_split(&rest, '/', &level)) {
		REQUIRE(level.len > 0 && level.len <= MAILDIR_NAME_LIMIT && level.ptr[0] != '.');
		levels++;
	}
	REQUIRE(levels == 3);
}

static void check_file(struct text octets)
{
	struct buf keywords = { 0 }, more = { 0 }, out = { 0 };
	struct maildir_file file, again;

	if (maildir_file_parse(octets, &file, &keywords) == 0) {
		maildir_file_print(&file, &out);
		REQUIRE(maildir_file_parse(buf_text(&out), &again, &more) == 0);
		REQUIRE(file.ceiling == again.ceiling && file.uidvalidity == again.uidvalidity);
		REQUIRE(text_equal(file.keywords, again.keywords));
	}
	buf_release(&keywords);
	buf_release(&more);
	buf_release(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct text in = fuzz_text(data, size);

	check_message(in);
	check_folder(in);
	check_directory(in);
	check_file(in);
	return 0;
}
