#include <arpa/inet.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

/* After the headers that it needs. */
#include <cmocka.h>

#include "smtp-in/settings.h"

static void test_presets_suit_verify(void **state)
{
	struct smtp_in_settings settings = { 0 };
	char error[200] = "";

	(void)state;
	settings_preset(&smtp_in_section, &settings);
	assert_int_equal(smtp_in_section.verify(&settings, error, sizeof(error)), 0);
	assert_string_equal(settings.listen.item[0], "*:25");
	assert_int_equal(settings.listen_submission.count, 0);
	/* An attachment of 25 MiB in base64, with its line ends. */
	assert_true(settings.message_size >= 25.0 * 1024 * 1024 * 78 / 57);
	assert_true(settings.recipients >= 100);
	assert_true(settings.command_seconds >= 300);
	/* The client gives up after ten minutes: our answer must come before. */
	assert_true(settings.hand_over_end_seconds < 600);
	settings_free(&smtp_in_section, &settings);
}

static void test_bad_hand_over_is_told(void **state)
{
	struct smtp_in_settings settings = { 0 };
	char error[200] = "";

	(void)state;
	settings_preset(&smtp_in_section, &settings);
	assert_int_equal(settings_set(&smtp_in_section, &settings, "hand-over",
				 TEXT("inet:localhost:24"), error, sizeof(error)),
		0);
	assert_int_equal(smtp_in_section.verify(&settings, error, sizeof(error)), -1);
	assert_non_null(strstr(error, "inet:localhost:24"));
	settings_free(&smtp_in_section, &settings);
}

static void test_hand_over_places(void **state)
{
	static const struct {
		const char *in;
		int family; /* 0: refused */
		const char *address;
		unsigned port;
	} cases[] = {
		{ "unix:lmtp-smtp-in", AF_UNIX, "lmtp-smtp-in", 0 },
		{ "unix:/run/dovecot/lmtp", AF_UNIX, "/run/dovecot/lmtp", 0 },
		{ "inet:127.0.0.1:24", AF_INET, "127.0.0.1", 24 },
		{ "inet:[2001:db8::1]:2400", AF_INET6, "2001:db8::1", 2400 },
		{ "unix:", 0, NULL, 0 },
		{ "unix", 0, NULL, 0 },
		{ "", 0, NULL, 0 },
		{ "lmtp-smtp-in", 0, NULL, 0 },
		{ "inet:127.0.0.1", 0, NULL, 0 },
		{ "inet:127.0.0.1:0", 0, NULL, 0 },
		{ "inet:127.0.0.1:65536", 0, NULL, 0 },
		{ "inet:127.0.0.1:x", 0, NULL, 0 },
		{ "inet:127.0.0:24", 0, NULL, 0 },
		{ "inet:localhost:24", 0, NULL, 0 },
		{ "inet::24", 0, NULL, 0 },
		{ "inet:[]:24", 0, NULL, 0 },
		{ "inet:[127.0.0.1]:24", 0, NULL, 0 },
		{ "inet:2001:db8::1:24", 0, NULL, 0 },
		{ "inet:[2001:db8::12001:db8:2001:db8:2001:db8:2001:db8:2001:db8]:24", 0, NULL, 0 },
		{ "unix:/a/path/of/more/than/the/hundred/and/eight/octets/that/a/unix/socket/may/"
		  "have/"
		  "0123456789/0123456789/0123456789/",
			0, NULL, 0 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct smtp_in_hand_over to;
		int result = smtp_in_hand_over_parse(text_of(cases[i].in), &to);
		char address[INET6_ADDRSTRLEN];

		assert_int_equal(result, cases[i].family ? 0 : -1);
		if (result != 0)
			continue;
		assert_int_equal(to.address.any.sa_family, cases[i].family);
		if (cases[i].family == AF_UNIX) {
			assert_string_equal(to.address.local.sun_path, cases[i].address);
			continue;
		}
		const struct sockaddr_in *v4 = (const struct sockaddr_in *)&to.address;
		const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)&to.address;
		bool is_v4 = cases[i].family == AF_INET;
		inet_ntop(cases[i].family,
			is_v4 ? (const void *)&v4->sin_addr : (const void *)&v6->sin6_addr, address,
			sizeof(address));
		assert_string_equal(address, cases[i].address);
		assert_int_equal(ntohs(is_v4 ? v4->sin_port : v6->sin6_port), cases[i].port);
		assert_int_equal(to.size, is_v4 ? sizeof(*v4) : sizeof(*v6));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_presets_suit_verify),
		cmocka_unit_test(test_bad_hand_over_is_told),
		cmocka_unit_test(test_hand_over_places),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
