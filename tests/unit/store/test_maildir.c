#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "store/maildir.h"

static void test_user_directories(void **state)
{
	static const struct {
		const char *address, *directory; /* NULL: refused */
	} cases[] = {
		{ "alice@example.test", "mail/example.test/alice" },
		{ "a+b.c=d@example.test", "mail/example.test/a+b.c=d" },
		{ "a/../../etc@example.test", "mail/example.test/a%2F..%2F..%2Fetc" },
		{ "..@example.test", "mail/example.test/%2E." },
		{ ".hidden@example.test", "mail/example.test/%2Ehidden" },
		{ "a b%\x7f\x01@example.test", "mail/example.test/a%20b%25%7F%01" },
		{ "j\xc3\xbcrgen@example.test", "mail/example.test/j\xc3\xbcrgen" },
		{ "j\xc3@example.test", "mail/example.test/j%C3" },
		{ "a@b@c", "mail/c/a@b" },
		{ "a@[192.0.2.1]", "mail/[192.0.2.1]/a" },
		{ "a@..", "mail/%2E./a" },
		{ "nobody", NULL },
		{ "@example.test", NULL },
		{ "alice@", NULL },
		{ "", NULL },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char directory[MAILDIR_DIRECTORY_LIMIT + 1];
		const int result = maildir_user_directory(text_of(cases[i].address), directory);
		assert_int_equal(result, cases[i].directory ? 0 : -1);
		if (result == 0)
			assert_string_equal(directory, cases[i].directory);
	}
	/* A name may be as long as the file system has it, and no longer. */
	char address[400], directory[MAILDIR_DIRECTORY_LIMIT + 1];
	memset(address, '/', sizeof(address));
	memcpy(address + 64, "@x", 3);
	assert_int_equal(maildir_user_directory(text_of(address), directory), 0);
	memset(address, '/', sizeof(address));
	memcpy(address + 86, "@x", 3);
	assert_int_equal(maildir_user_directory(text_of(address), directory), -1);
}

static void test_folders(void **state)
{
	static const struct {
		const char *mailbox, *folder;
	} cases[] = {
		{ "INBOX", "" },
		{ "Inbox", "" },
		{ "Sent", ".Sent" },
		{ "Lists/Linux", ".Lists.Linux" },
		{ "INBOX/Old", ".INBOX.Old" },
		{ "v1.2", ".v1&AC4-2" },
		{ "a&b", ".a&-b" },
		/* RFC 3501 section 5.1.3 */
		{ "~peter/mail/\xe5\x8f\xb0\xe5\x8c\x97/\xe6\x97\xa5\xe6\x9c\xac\xe8\xaa\x9e",
			".~peter.mail.&U,BTFw-.&ZeVnLIqe-" },
		{ "Entw\xc3\xbcrfe", ".Entw&APw-rfe" },
		{ "\xf0\x9f\x93\xab", ".&2D3c6w-" },
		{ "..", ".&AC4ALg-" },
		{ "", NULL },
		{ "/", NULL },
		{ "a/", NULL },
		{ "a//b", NULL },
		{ "a\nb", NULL },
		{ "a\xff", NULL },
		{ "\xed\xa0\x80", NULL },
	};
	struct buf back = { 0 };

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char folder[MAILDIR_NAME_LIMIT + 1];
		const int result = maildir_folder(text_of(cases[i].mailbox), folder);
		assert_int_equal(result, cases[i].folder ? 0 : -1);
		if (result != 0)
			continue;
		assert_string_equal(folder, cases[i].folder);
		assert_int_equal(maildir_mailbox(text_of(folder), &back), 0);
		assert_true(
			text_equal(buf_text(&back), maildir_canonical(text_of(cases[i].mailbox))));
	}
	static const char *const bad[] = { "Sent", ".", "..", ".a.", ".a..b", ".&", ".&AC4",
		".&AGE-", ".&ZeU-&ZyyKng-", ".&2D0-", ".&3Ks-", ".a\xc3\xbc", ".&APwA-" };
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(maildir_mailbox(text_of(bad[i]), &back), -1);
	buf_release(&back);
	/* 255 octets, each of which needs four or more: too long for a file name. */
	char long_name[256], folder[MAILDIR_NAME_LIMIT + 1];
	memset(long_name, '.', 255);
	assert_int_equal(maildir_folder((struct text){ .ptr = long_name, .len = 255 }, folder), -1);
}

static void test_names(void **state)
{
	const struct maildir_unique unique = { .seconds = 1795310862,
		.microseconds = 42,
		.process = 4711,
		.count = 9,
		.host = "mail.example.test" };
	char base[INDEX_BASE_LIMIT + 1], leaf[MAILDIR_LEAF_LIMIT + 1];
	struct maildir_base parts;
	uint32_t flags;
	uint64_t keywords;

	(void)state;
	const size_t begun = maildir_base_begin(&unique, 1000, 1020, base);
	maildir_base_end(base, begun, 1234567);
	assert_string_equal(
		base, "1795310862.M42P4711Q9.mail.example.test,S=1000,W=1020,U=1234567");
	const size_t length = maildir_base_end(base, begun, 77);
	assert_string_equal(base, "1795310862.M42P4711Q9.mail.example.test,S=1000,W=1020,U=77");
	assert_int_equal(length, strlen(base));
	maildir_base_parse(text_of(base), &parts);
	assert_true(parts.has_size && parts.has_wire && parts.has_uid);
	assert_int_equal(parts.size, 1000);
	assert_int_equal(parts.wire, 1020);
	assert_int_equal(parts.uid, 77);
	assert_int_equal(parts.seconds, 1795310862);
	assert_true(text_equal(parts.unique, TEXT("1795310862.M42P4711Q9.mail.example.test")));

	maildir_leaf_print(INDEX_NEW, text_of("b"), 0, 0, leaf);
	assert_string_equal(leaf, "new/b");
	maildir_leaf_print(INDEX_CUR, text_of("b"), 63, 5, leaf);
	assert_string_equal(leaf, "cur/b:2,DFPRSTac");
	maildir_leaf_print(INDEX_CUR, text_of("b"), 0, 0, leaf);
	assert_string_equal(leaf, "cur/b:2,");

	/* The longest of all still is a file name, and nothing of it is lost. */
	char longest[INDEX_BASE_LIMIT + 1];
	memset(longest, 'x', INDEX_BASE_LIMIT);
	longest[INDEX_BASE_LIMIT] = '\0';
	const size_t size = maildir_leaf_print(INDEX_CUR, text_of(longest), 63, UINT64_MAX, leaf);
	assert_true(size - 4 <= MAILDIR_NAME_LIMIT);
	assert_true(text_equal(
		maildir_name_parse(text_of(leaf + 4), &flags, &keywords), text_of(longest)));
	assert_int_equal(flags, 63);
	assert_true(keywords == UINT64_MAX);
	for (unsigned bit = 0; bit < 64; bit++) {
		maildir_leaf_print(INDEX_CUR, text_of("b"), 0, UINT64_C(1) << bit, leaf);
		maildir_name_parse(text_of(leaf + 4), &flags, &keywords);
		assert_true(keywords == UINT64_C(1) << bit && flags == 0);
	}
	/* A host name without end is cut, the numbers are not. */
	char host[500];
	memset(host, 'h', sizeof(host) - 1);
	host[sizeof(host) - 1] = '\0';
	const struct maildir_unique worst = { .seconds = UINT32_MAX,
		.microseconds = 999999,
		.process = UINT32_MAX,
		.count = UINT64_MAX,
		.host = host };
	const size_t worst_begun = maildir_base_begin(&worst, UINT64_MAX, UINT64_MAX, base);
	assert_true(maildir_base_end(base, worst_begun, UINT32_MAX) <= INDEX_BASE_LIMIT);
	maildir_base_parse(text_of(base), &parts);
	assert_int_equal(parts.seconds, UINT32_MAX);
	memset(host, 'u', sizeof(host) - 1);
	assert_true(maildir_base_adopt(text_of(host), UINT64_MAX, UINT64_MAX, UINT32_MAX, base) <=
		    INDEX_BASE_LIMIT);
}

static void test_foreign_names(void **state)
{
	static const struct {
		const char *name, *base;
		uint32_t flags;
		uint64_t keywords;
	} names[] = {
		{ "1.x.host", "1.x.host", 0, 0 },
		{ "1.x.host:2,S", "1.x.host", STORE_FLAG_SEEN, 0 },
		{ "1.x.host:2,Sab", "1.x.host", STORE_FLAG_SEEN, 3 },
		{ "1.x.host:1,S", "1.x.host", 0, 0 },
		{ "1.x.host:2,S\xff!", "1.x.host", STORE_FLAG_SEEN, 0 },
		{ "1.x.host:", "1.x.host", 0, 0 },
		{ ":2,T", "", STORE_FLAG_DELETED, 0 },
	};
	struct maildir_base parts;
	uint32_t flags;
	uint64_t keywords;

	(void)state;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		const struct text base =
			maildir_name_parse(text_of(names[i].name), &flags, &keywords);
		assert_true(text_equal(base, text_of(names[i].base)));
		assert_int_equal(flags, names[i].flags);
		assert_int_equal(keywords, names[i].keywords);
	}
	maildir_base_parse(TEXT("x,S=,W=-1,U=0,U=4294967295,Sx=3,S"), &parts);
	assert_false(parts.has_size || parts.has_wire || parts.has_uid);
	maildir_base_parse(TEXT("99999999999999999999.x,S=18446744073709551616"), &parts);
	assert_false(parts.has_size);
	assert_int_equal(parts.seconds, 0);
	maildir_base_parse(TEXT(",U=5"), &parts);
	assert_true(parts.has_uid);
	assert_int_equal(parts.unique.len, 0);
	assert_false(maildir_is_message(TEXT("")));
	assert_false(maildir_is_message(TEXT(".x")));
	assert_false(maildir_is_message(TEXT("a/b")));
	assert_true(maildir_is_message(TEXT("x")));
	char name[MAILDIR_NAME_LIMIT + 1];
	memset(name, 'x', sizeof(name));
	assert_true(maildir_is_message((struct text){ name, MAILDIR_NAME_LIMIT }));
	assert_false(maildir_is_message((struct text){ name, MAILDIR_NAME_LIMIT + 1 }));
}

static void test_text_file(void **state)
{
	const struct maildir_file file = { .id = { .user = 7, .mailbox = 3 },
		.uidvalidity = 1795310862,
		.ceiling = 16385,
		.keywords = TEXT("$Forwarded work") };
	struct buf out = { 0 }, keywords = { 0 };
	struct maildir_file read;

	(void)state;
	maildir_file_print(&file, &out);
	assert_int_equal(maildir_file_parse(buf_text(&out), &read, &keywords), 0);
	assert_int_equal(read.id.user, 7);
	assert_int_equal(read.id.mailbox, 3);
	assert_int_equal(read.uidvalidity, file.uidvalidity);
	assert_int_equal(read.ceiling, file.ceiling);
	assert_true(text_equal(read.keywords, file.keywords));
	/* Cut anywhere, it is no such file. */
	for (size_t length = 0; length < buf_length(&out); length++) {
		const struct text cut = text_head(buf_text(&out), length);
		const int result = maildir_file_parse(cut, &read, &keywords);
		if (result == 0)
			assert_true(length && cut.ptr[length - 1] == '\n' && read.ceiling == 16385);
	}
	static const char *const bad[] = { "restante-mailbox 2\n",
		"restante-mailbox 1\nuser 1\nmailbox 1\nuidvalidity 1\nceiling 0\n",
		"restante-mailbox 1\nuser 1\nmailbox 1\nuidvalidity 1\nceiling 4294967296\n",
		"restante-mailbox 1\nuser 1\nmailbox 1\nuidvalidity 1\n",
		"restante-mailbox 1\nuser 1\nmailbox 1\nuidvalidity 1\nceiling 1\nkeyword a b\n",
		"restante-mailbox 1\nuser 1\nmailbox 1\nuidvalidity 1\nceiling 1\n\nx\n" };
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(maildir_file_parse(text_of(bad[i]), &read, &keywords), -1);
	buf_clear(&out);
	buf_add_string(&out, "restante-mailbox 1\nuser 1\nmailbox 1\nuidvalidity 1\nceiling 1\n");
	for (int i = 0; i < 65; i++)
		buf_format(&out, "keyword k%d\n", i);
	assert_int_equal(maildir_file_parse(buf_text(&out), &read, &keywords), -1);
	buf_release(&out);
	buf_release(&keywords);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_user_directories),
		cmocka_unit_test(test_folders),
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_foreign_names),
		cmocka_unit_test(test_text_file),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
