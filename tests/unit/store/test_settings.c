/* The section "store" of the settings: defaults, bounds, and what no single item can say. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "store/settings.h"

static void test_defaults(void **state)
{
	struct store_settings settings = { 0 };
	char error[200] = "";

	(void)state;
	settings_preset(&store_section, &settings);
	assert_int_equal(store_section.verify(&settings, error, sizeof(error)), 0);
	assert_string_equal(settings.password_method, "yescrypt");
	assert_int_equal(settings.quota_octets, 0);
	assert_int_equal(settings.login_remember, 300);
	assert_int_equal(settings.login_delay, 2);
	assert_int_equal(settings.checkpoint_octets, 32 << 20);
	assert_false(settings.login_limits_loopback);
	settings_free(&store_section, &settings);
}

static void test_values(void **state)
{
	static const struct {
		const char *name, *value;
		int result;
	} cases[] = {
		{ "quota-octets", "2G", 0 },
		{ "quota-messages", "100000", 0 },
		{ "login-threads", "0", -1 },
		{ "login-threads", "65", -1 },
		{ "login-waiting", "0", -1 },
		{ "login-delay", "2m", -1 },
		{ "login-remember", "0", 0 },
		{ "cache", "1K", -1 },
		{ "checkpoint-seconds", "0", -1 },
		{ "connections", "0", -1 },
		{ "login-limits-loopback", "yes", 0 },
		{ "login-limits-loopback", "perhaps", -1 },
		{ "no-such", "1", -1 },
	};
	struct store_settings settings = { 0 };
	char error[200];

	(void)state;
	settings_preset(&store_section, &settings);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		if (settings_set(&store_section, &settings, cases[i].name, text_of(cases[i].value),
			    error, sizeof(error)) != cases[i].result)
			fail_msg("%s = %s", cases[i].name, cases[i].value);
	}
	assert_int_equal(settings.quota_octets, UINT64_C(2) << 30);
	assert_true(settings.login_limits_loopback);
	settings_free(&store_section, &settings);
}

static void test_addresses(void **state)
{
	static const struct {
		const char *name, *value;
		int result;
	} cases[] = {
		{ "postmaster", "alice@example.test", 0 },
		{ "postmaster", "", 0 },
		{ "postmaster", "alice", -1 },
		{ "postmaster", "@example.test", -1 },
		{ "postmaster", "alice@", -1 },
		{ "postmaster", "<alice@example.test>", -1 },
		{ "separators", "", 0 },
		{ "separators", "+-", 0 },
		{ "separators", "+@", -1 },
		{ "separators", ".", -1 },
		{ "separators", "\"", -1 },
		{ "detail-mailbox", "inbox", 0 },
		{ "detail-mailbox", "existing", 0 },
		{ "detail-mailbox", "create", 0 },
		{ "detail-mailbox", "always", -1 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct store_settings settings = { 0 };
		char error[200];
		settings_preset(&store_section, &settings);
		assert_int_equal(settings_set(&store_section, &settings, cases[i].name,
					 text_of(cases[i].value), error, sizeof(error)),
			0);
		if (store_section.verify(&settings, error, sizeof(error)) != cases[i].result)
			fail_msg("%s = %s", cases[i].name, cases[i].value);
		settings_free(&store_section, &settings);
	}
}

static void test_method_and_cost(void **state)
{
	static const struct {
		const char *method, *cost;
		int result;
	} cases[] = {
		{ "yescrypt", "0", 0 },
		{ "yescrypt", "9", 0 },
		{ "yescrypt", "10", -1 },
		{ "bcrypt", "4", 0 },
		{ "bcrypt", "3", -1 },
		{ "bcrypt", "16", 0 },
		{ "bcrypt", "17", -1 },
		{ "sha512-crypt", "1000", 0 },
		{ "sha512-crypt", "999", -1 },
		{ "md5", "0", -1 },
		{ "YESCRYPT", "0", -1 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct store_settings settings = { 0 };
		char error[200] = "";
		settings_preset(&store_section, &settings);
		assert_int_equal(settings_set(&store_section, &settings, "password-method",
					 text_of(cases[i].method), error, sizeof(error)),
			0);
		assert_int_equal(settings_set(&store_section, &settings, "password-cost",
					 text_of(cases[i].cost), error, sizeof(error)),
			0);
		if (store_section.verify(&settings, error, sizeof(error)) != cases[i].result)
			fail_msg("%s %s", cases[i].method, cases[i].cost);
		assert_true((error[0] != '\0') == (cases[i].result != 0));
		settings_free(&store_section, &settings);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_defaults),
		cmocka_unit_test(test_values),
		cmocka_unit_test(test_addresses),
		cmocka_unit_test(test_method_and_cost),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
