#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "mail/base64.h"

#include <cmocka.h>

static void known_pairs(void **state)
{
	/* RFC 4648 section 10. */
	static const char *const pairs[][2] = { { "", "" }, { "f", "Zg==" }, { "fo", "Zm8=" },
		{ "foo", "Zm9v" }, { "foob", "Zm9vYg==" }, { "fooba", "Zm9vYmE=" },
		{ "foobar", "Zm9vYmFy" }, { "\xff\xfe\xfd", "//79" } };

	(void)state;
	for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
		struct buf out = { 0 };

		base64_encode(text_of(pairs[i][0]), &out);
		assert_int_equal(buf_length(&out), strlen(pairs[i][1]));
		assert_memory_equal(buf_text(&out).ptr, pairs[i][1], buf_length(&out));
		buf_clear(&out);
		assert_int_equal(base64_decode(text_of(pairs[i][1]), &out), 0);
		assert_int_equal(buf_length(&out), strlen(pairs[i][0]));
		assert_memory_equal(buf_text(&out).ptr, pairs[i][0], buf_length(&out));
		buf_release(&out);
	}
}

static void every_octet_comes_back(void **state)
{
	char octets[256];

	(void)state;
	for (size_t i = 0; i < sizeof(octets); i++)
		octets[i] = (char)(i * 167);
	for (size_t length = 0; length <= sizeof(octets); length++) {
		const struct text in = { .ptr = octets, .len = length };
		struct buf coded = { 0 }, out = { 0 };

		base64_encode(in, &coded);
		assert_int_equal(base64_decode(buf_text(&coded), &out), 0);
		assert_int_equal(buf_length(&out), length);
		if (length)
			assert_memory_equal(buf_text(&out).ptr, octets, length);
		buf_release(&coded);
		buf_release(&out);
	}
}

static void what_is_not_base64(void **state)
{
	static const char *const bad[] = { "Z", "Zg", "Zg=", "Zg===", "=",
		"====", "Z===", "Zh==", "Zm9=", "Zg==Zg==", "Zm9v\n", "Zm 9", "Zm9-", "Zm9_",
		"Zm=v", "\xc3\xa4zz" };

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct buf out = { 0 };

		assert_int_equal(base64_decode(text_of(bad[i]), &out), -1);
		buf_release(&out);
	}
	struct buf out = { 0 };
	assert_int_equal(base64_decode((struct text){ .ptr = "Zm\0v", .len = 4 }, &out), -1);
	buf_release(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(known_pairs),
		cmocka_unit_test(every_octet_comes_back),
		cmocka_unit_test(what_is_not_base64),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
