/* Options of a command line, and passwords from a pipe. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/mem.h"
#include "restante/command.h"
#include "restante/password.h"

struct parsed {
	const char *file, *dir;
	bool flag;
	struct option_list list, rest;
	int status;
};

static void parse(struct parsed *parsed, int count, const char *const *words)
{
	*parsed = (struct parsed){ 0 };
	const struct option options[] = {
		{ "-c", OPTION_VALUE, &parsed->file },
		{ "--dir", OPTION_VALUE, &parsed->dir },
		{ "--limits", OPTION_FLAG, &parsed->flag },
		{ "-o", OPTION_LIST, &parsed->list },
	};
	const struct command_line line = {
		.name = "test",
		.count = count,
		.arguments = (char **)words,
	};
	parsed->status = option_parse(&line, options, 4, &parsed->rest);
}

static void forget(struct parsed *parsed)
{
	mem_free(parsed->rest.item);
	mem_free(parsed->list.item);
}

static void test_all_kinds(void **state)
{
	static const char *const words[] = { "add", "-c", "file", "--dir=a=b", "-o", "x=1",
		"--limits", "-", "-o", "-y", "--", "-z" };
	struct parsed parsed;

	(void)state;
	parse(&parsed, 12, words);
	assert_int_equal(parsed.status, 0);
	assert_string_equal(parsed.file, "file");
	assert_string_equal(parsed.dir, "a=b");
	assert_true(parsed.flag);
	assert_int_equal(parsed.list.count, 2);
	assert_string_equal(parsed.list.item[1], "-y");
	assert_int_equal(parsed.rest.count, 3);
	assert_string_equal(parsed.rest.item[0], "add");
	assert_string_equal(parsed.rest.item[1], "-");
	assert_string_equal(parsed.rest.item[2], "-z");
	forget(&parsed);
}

static void test_misuse(void **state)
{
	static const char *const cases[] = { "-x", "--dir", "-c", "--limits=1", "--di", "-cfile" };
	struct parsed parsed;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		parse(&parsed, 1, &cases[i]);
		assert_int_equal(parsed.status, EX_USAGE);
		assert_int_equal(parsed.rest.count, 0);
		forget(&parsed);
	}
}

static int read_password(const char *octets, size_t size, struct password *password)
{
	int ends[2];

	assert_int_equal(pipe(ends), 0);
	assert_int_equal(write(ends[1], octets, size), size);
	close(ends[1]);
	const int status = password_read(ends[0], password);
	close(ends[0]);
	return status;
}

static void test_passwords(void **state)
{
	static const struct {
		const char *in, *password;
	} cases[] = {
		{ "secret\n", "secret" },
		{ "secret", "secret" },
		{ "secret\r\nmore\n", "secret" },
		{ " two words \n", " two words " },
		{ "\xc3\xa4\n", "\xc3\xa4" },
		{ "", NULL },
		{ "\n", NULL },
		{ "a\tb\n", NULL },
		{ "a\033b\n", NULL },
	};
	struct password password;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const int status = read_password(cases[i].in, strlen(cases[i].in), &password);
		assert_int_equal(status, cases[i].password ? EX_OK : EX_DATAERR);
		if (cases[i].password) {
			assert_int_equal(password.length, strlen(cases[i].password));
			assert_memory_equal(password.octets, cases[i].password, password.length);
		}
	}
}

static void test_longest_password(void **state)
{
	char octets[3 * STORE_PASSWORD_LIMIT];
	struct password password;

	(void)state;
	memset(octets, 'x', sizeof(octets));
	assert_int_equal(read_password(octets, STORE_PASSWORD_LIMIT, &password), EX_OK);
	assert_int_equal(password.length, STORE_PASSWORD_LIMIT);
	assert_int_equal(read_password(octets, STORE_PASSWORD_LIMIT + 1, &password), EX_DATAERR);
	assert_int_equal(read_password(octets, sizeof(octets), &password), EX_DATAERR);
	password_forget(&password);
	assert_int_equal(password.length, 0);
	assert_int_equal(password.octets[0], 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_all_kinds),
		cmocka_unit_test(test_misuse),
		cmocka_unit_test(test_passwords),
		cmocka_unit_test(test_longest_password),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
