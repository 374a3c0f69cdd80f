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

/* RFC 7628 section 4.1 has the first one. */
static void test_token_responses(void **state)
{
	static const struct {
		const char *mechanism, *user, *octets;
	} cases[] = {
		{ "oauthbearer", "user@example.com",
			"n,a=user@example.com,\1host=server.example.com\1port=143\1auth=Bearer "
			"vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==\1\1" },
		{ "oauthbearer", "a=b,n,,c",
			"n,a=a=3Db=2Cn=2C=2Cc,\1host=server.example.com\1port=143\1auth=Bearer "
			"vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==\1\1" },
		{ "xoauth2", "a=b,c",
			"user=a=b,c\1auth=Bearer vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==\1\1" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char host[] = "server.example.com", protocol[] = "imap", tls[] = "starttls";
		const struct bridge_account account = {
			.protocol = protocol,
			.host = host,
			.port = 143,
			.tls = tls,
			.user = (char *)cases[i].user,
			.token_mechanism = (char *)cases[i].mechanism,
		};
		const struct secret secret = { .is_token = true,
			.string = "vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==" };
		struct buf octets = { 0 };
		secret_add_token(&secret, &account, &octets);
		assert_true(text_equal(buf_text(&octets), text_of(cases[i].octets)));
		buf_release(&octets);
	}
}

/* What a program prints; a control character in a token would end a field of the login. */
static void test_read(void **state)
{
	static const struct {
		const char *printed, *as_token, *as_password; /* NULL: refused */
	} cases[] = {
		{ "ya29.A-b_c~d+e/f==\\n", "ya29.A-b_c~d+e/f==", "ya29.A-b_c~d+e/f==" },
		{ "ya29\\r\\nsecond\\n", "ya29", "ya29" },
		{ "ya29\\001auth=Bearer x\\n", NULL, "ya29\001auth=Bearer x" },
		{ "ya 29\\n", NULL, "ya 29" },
		{ "ya29\\t\\n", NULL, "ya29\t" },
		{ "ya29\\177\\n", NULL, "ya29\177" },
		{ "ya\\303\\274\\n", NULL, "ya\303\274" },
		{ "a\\rb\\n", NULL, NULL },
		{ "a\\000b\\n", NULL, NULL },
		{ "\\n", NULL, NULL },
	};

	(void)state;
	for (size_t i = 0; i < 2 * sizeof(cases) / sizeof(cases[0]); i++) {
		const bool is_token = i % 2;
		const char *wanted = is_token ? cases[i / 2].as_token : cases[i / 2].as_password;
		char program[] = "/usr/bin/printf";
		char *words[] = { program, (char *)cases[i / 2].printed };
		struct bridge_account account = { .name = NULL };
		*(is_token ? &account.token_command : &account.password_command) =
			(struct settings_list){ .count = 2, .item = words };
		struct secret secret;
		struct fault fault = { .kind = FAULT_NONE };
		assert_int_equal(secret_read(&account, &secret, &fault), wanted ? 0 : -1);
		assert_int_equal(fault.kind, wanted ? FAULT_NONE : FAULT_SETTINGS);
		assert_null(strstr(fault.sentence, "ya"));
		if (wanted)
			assert_string_equal(secret.string, wanted);
		secret_forget(&secret);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_hide),
		cmocka_unit_test(test_token_responses),
		cmocka_unit_test(test_read),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
