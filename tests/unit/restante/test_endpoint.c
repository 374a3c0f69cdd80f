/* Addresses to listen on: what is taken, how it prints, and what is refused with which remedy. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "restante/endpoint.h"

static void test_good(void **state)
{
	static const struct {
		const char *in, *first, *second;
	} cases[] = {
		{ "127.0.0.1:10025", "127.0.0.1:10025", NULL },
		{ "0.0.0.0:25", "0.0.0.0:25", NULL },
		{ "[::1]:25", "[::1]:25", NULL },
		{ "[2001:db8:0:0::1]:587", "[2001:db8::1]:587", NULL },
		{ "[::ffff:192.0.2.1]:1", "[::ffff:192.0.2.1]:1", NULL },
		{ "*:65535", "[::]:65535", "0.0.0.0:65535" },
		{ "*:0", "[::]:0", "0.0.0.0:0" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct endpoint endpoint;
		char error[300] = "", printed[ENDPOINT_TEXT_LIMIT];
		assert_int_equal(
			endpoint_parse(text_of(cases[i].in), &endpoint, error, sizeof(error)), 0);
		assert_int_equal(endpoint.count, cases[i].second ? 2 : 1);
		endpoint_print(&endpoint.address[0], printed);
		assert_string_equal(printed, cases[i].first);
		assert_int_equal(endpoint_port(&endpoint.address[0]), endpoint.port);
		if (cases[i].second) {
			endpoint_print(&endpoint.address[1], printed);
			assert_string_equal(printed, cases[i].second);
		}
	}
}

static void test_bad(void **state)
{
	static const struct {
		const char *in, *says;
	} cases[] = {
		{ "", "no port" },
		{ "25", "no port" },
		{ "127.0.0.1", "no port" },
		{ "127.0.0.1:", "no port" },
		{ "127.0.0.1:65536", "no port" },
		{ "127.0.0.1:+25", "no port" },
		{ "127.0.0.1:25 ", "no port" },
		{ ":25", "not an address" },
		{ "localhost:25", "not an address" },
		{ "127.1:25", "not an address" },
		{ "256.0.0.1:25", "not an address" },
		{ "::1:25", "not an address" },
		{ "[]:25", "not an address" },
		{ "[*]:25", "not an address" },
		{ "[127.0.0.1]:25", "not an address" },
		{ "[::1:25", "not an address" },
		{ "[fe80::1%lo]:25", "not an address" },
		{ "**:25", "not an address" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct endpoint endpoint;
		char error[300] = "";
		assert_int_equal(
			endpoint_parse(text_of(cases[i].in), &endpoint, error, sizeof(error)), -1);
		assert_non_null(strstr(error, cases[i].says));
	}
}

static void test_nul_is_not_the_end(void **state)
{
	static const char in[] = "127.0.0.1\0:25";
	struct endpoint endpoint;
	char error[300];

	(void)state;
	assert_int_equal(endpoint_parse((struct text){ in, sizeof(in) - 1 }, &endpoint, error,
				 sizeof(error)),
		-1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_good),
		cmocka_unit_test(test_bad),
		cmocka_unit_test(test_nul_is_not_the_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
