/* The settings that every role receives: defaults that hold, and mistakes named with their remedy. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/common.h"

static void defaults_are_valid(void **state)
{
	struct common_settings common = { 0 };
	char error[300] = "";

	(void)state;
	settings_preset(&common_section, &common);
	assert_string_equal(common.hostname, "localhost");
	assert_string_equal(common.state, "/var/lib/restante");
	assert_string_equal(common.log_level, "info");
	assert_int_equal(common.uid_base, 200200);
	assert_int_equal(common.stop_seconds, 30);
	assert_int_equal(common.domains.count, 0);
	assert_int_equal(common_section.verify(&common, error, sizeof(error)), 0);
	settings_free(&common_section, &common);
}

static void mistakes_are_named(void **state)
{
	static const struct {
		const char *name, *value;
		bool good;
	} cases[] = {
		{ "hostname", "mail.example.org", true },
		{ "hostname", "mail_1.example.org", false },
		{ "hostname", "-mail.example.org", false },
		{ "hostname", "mail..example.org", false },
		{ "hostname", "mail example", false },
		{ "hostname", "mail.example.org.", false },
		{ "domains",
			"example.org b\xc3\xbc"
			"cher.example",
			true },
		{ "domains", "example.org @example.net", false },
		{ "state", "/srv/mail", true },
		{ "state", "srv/mail", false },
		{ "log-level", "debug", true },
		{ "log-level", "verbose", false },
		{ "certificates", "/a/chain.pem:/a/key.pem", true },
		{ "certificates", "/a/chain.pem", false },
		{ "certificates", ":/a/key.pem", false },
		{ "certificates", "/a/chain.pem:", false },
		{ "certificates", "a:b:c", false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct common_settings common = { 0 };
		char error[300] = "";
		settings_preset(&common_section, &common);
		assert_int_equal(settings_set(&common_section, &common, cases[i].name,
					 text_of(cases[i].value), error, sizeof(error)),
			0);
		const int result = common_section.verify(&common, error, sizeof(error));
		assert_int_equal(result, cases[i].good ? 0 : -1);
		if (!cases[i].good)
			assert_ptr_equal(strstr(error, cases[i].name), error);
		settings_free(&common_section, &common);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(defaults_are_valid),
		cmocka_unit_test(mistakes_are_named),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
