#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "mda/settings.h"

static void defaults_are_sound(void **state)
{
	struct mda_settings settings = { 0 };
	char error[256];

	(void)state;
	settings_preset(&mda_section, &settings);
	assert_int_equal(mda_section.verify(&settings, error, sizeof(error)), 0);
	assert_int_equal(settings.workers, 1);
	assert_string_equal(settings.socket, "lmtp");
	assert_string_equal(settings.socket_mode, "0666");
	assert_int_equal(settings.listen.count, 0);
	assert_int_equal(settings.message_size, 36 << 20);
	assert_int_equal(settings.hops, 100);
	assert_int_equal(settings.recipients, 1000);
	settings_free(&mda_section, &settings);
}

static void mistakes_are_named(void **state)
{
	static const struct {
		const char *name, *value;
		int set, verified;
	} table[] = {
		{ "socket", "lmtp2", 0, 0 },
		{ "socket", "../lmtp", 0, -1 },
		{ "socket", "/tmp/lmtp", 0, -1 },
		{ "socket", ".hidden", 0, -1 },
		{ "socket", "store-mda", 0, -1 },
		{ "socket", "lmtp-smtp-in", 0, -1 },
		{ "socket", "", -1, 0 },
		{ "socket-mode", "0600", 0, 0 },
		{ "socket-mode", "660", 0, 0 },
		{ "socket-mode", "0888", 0, -1 },
		{ "socket-mode", "4755", 0, -1 },
		{ "socket-mode", "rw-", 0, -1 },
		{ "socket-mode", "00", -1, 0 },
		{ "recipients", "100", 0, 0 },
		{ "recipients", "99", -1, 0 },
		{ "recipients", "1001", -1, 0 },
		{ "hops", "5", -1, 0 },
		{ "message-size", "1K", -1, 0 },
		{ "message-size", "100M", 0, 0 },
		{ "command-timeout", "10m", 0, 0 },
		{ "data-timeout", "0", -1, 0 },
	};
	char error[256];

	(void)state;
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		struct mda_settings settings = { 0 };
		settings_preset(&mda_section, &settings);
		error[0] = '\0';
		assert_int_equal(settings_set(&mda_section, &settings, table[i].name,
					 text_of(table[i].value), error, sizeof(error)),
			table[i].set);
		if (table[i].set == 0)
			assert_int_equal(mda_section.verify(&settings, error, sizeof(error)),
				table[i].verified);
		if (table[i].set != 0 || table[i].verified != 0)
			assert_non_null(strstr(error, table[i].name));
		settings_free(&mda_section, &settings);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(defaults_are_sound),
		cmocka_unit_test(mistakes_are_named),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
