#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "bridge/secret.h"

static void test_hide(void **state)
{
	static const struct {
		const char *secret, *in, *out;
	} cases[] = {
		{ "secret", "no secret here, secretly", "no ****** here, ******ly" },
		{ "secret", "", "" },
		{ "secret", "secre", "secre" },
		{ "secret", "secretsecret", "************" },
		{ "aa", "aaa", "**a" },
		{ "", "all of it", "all of it" },
		/* What a login by PLAIN says: base64 of NUL a NUL secret. */
		{ "secret", "1 NO AGEAc2VjcmV0 is no login", "1 NO ************ is no login" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct secret secret = { .is_token = false };
		struct buf octets = { 0 };
		char answer[100];
		memcpy(secret.string, cases[i].secret, strlen(cases[i].secret) + 1);
		buf_add(&octets, (struct text){ .ptr = "\0a\0", .len = 3 });
		buf_add_string(&octets, cases[i].secret);
		secret_code(&secret, &octets);
		assert_int_equal(buf_length(&octets), 0);
		memcpy(answer, cases[i].in, strlen(cases[i].in) + 1);
		secret_hide(&secret, answer);
		assert_string_equal(answer, cases[i].out);
		secret_forget(&secret);
		assert_int_equal(secret.string[0], '\0');
		/* Nothing is hidden any more, and nothing kept. */
		memcpy(answer, cases[i].in, strlen(cases[i].in) + 1);
		secret_hide(&secret, answer);
		assert_string_equal(answer, cases[i].in);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_hide),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
