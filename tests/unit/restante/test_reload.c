/* SIGHUP: what is taken over, what stays until a restart, and that a mistake changes nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/log.h"
#include "restante/reload.h"

static char file[64];

static void write_settings(const char *octets)
{
	FILE *out = fopen(file, "w");

	assert_non_null(out);
	fputs(octets, out);
	assert_int_equal(fclose(out), 0);
}

static void hear(void *owner, const char *sentence)
{
	(void)owner;
	fprintf(stderr, "%s\n", sentence);
}

static int set_up(void **state)
{
	static struct host host;

	snprintf(file, sizeof(file), "/tmp/restante-test-XXXXXX");
	const int fd = mkstemp(file);
	if (fd < 0)
		return -1;
	close(fd);
	write_settings("hostname = old.example\nstate = /old\npop3d { clients = 5 }\n");
	host_init(&host, &(struct host_source){ .file = file });
	*state = &host;
	return host_settings_read(&host.source, &host.settings, hear, NULL);
}

static int tear_down(void **state)
{
	host_free(*state);
	return unlink(file);
}

static void test_taken_over(void **state)
{
	struct host *host = *state;

	write_settings("hostname = new.example\nstate = /new\nuid-base = 5000\nsyslog = yes\n"
		       "log-size = 0\n"
		       "pop3d { clients = 7\nlisten = { 127.0.0.1:1 } }\n");
	const uint64_t uid_base = host_settings_common(host->settings)->uid_base;
	assert_int_equal(host_reload(host), 0);
	assert_string_equal(host_settings_common(host->settings)->hostname, "new.example");
	/* Processes run there, under those users: only a restart can change it. */
	assert_string_equal(host_settings_common(host->settings)->state, "/old");
	assert_int_equal(host_settings_common(host->settings)->uid_base, uid_base);
	assert_false(host_settings_common(host->settings)->syslog);
	assert_int_equal(host_settings_common(host->settings)->log_size, 16 << 20);
	write_settings("state = /old\nlog-size = 1M\n");
	assert_int_equal(host_reload(host), 0);
	assert_int_equal(host_settings_common(host->settings)->log_size, 1 << 20);
}

static void test_mistakes_change_nothing(void **state)
{
	static const char *const wrong[] = {
		"hostname = new.example\nnonsense = 1\n",
		"hostname = new.example\npop3d { listen = { nowhere:110 } }\n",
		"hostname = new.example\ncertificates = { /nonexistent.pem:/nonexistent.key }\n",
	};
	struct host *host = *state;
	const struct host_settings *before = host->settings;

	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		write_settings(wrong[i]);
		assert_int_equal(host_reload(host), -1);
		assert_ptr_equal(host->settings, before);
		assert_string_equal(host_settings_common(before)->hostname, "old.example");
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_taken_over, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_mistakes_change_nothing, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
