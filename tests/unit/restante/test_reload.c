/* SIGHUP: what is taken over, what stays until a restart, and that a mistake changes nothing. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
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

/* How often the log says, since the last call, that this setting takes a restart. */
static unsigned count_told(int log, const char *section, const char *name)
{
	static char octets[1 << 16];
	char words[100];
	unsigned count = 0;
	const ssize_t size = pread(log, octets, sizeof(octets) - 1, 0);

	assert_in_range(size, 0, sizeof(octets) - 2);
	octets[size] = '\0';
	snprintf(words, sizeof(words), "event=setting-needs-restart section=%s name=%s\n", section,
		name);
	for (const char *at = octets; (at = strstr(at, words)); at++)
		count++;
	return count;
}

/* What a reload cannot change is told at each one for as long as it differs from what the host began with. */
static void test_told_each_time(void **state)
{
	static const struct {
		const char *section, *name, *value;
	} cases[] = {
		{ "store", "quota-octets", "1G" },
		{ "store", "password-method", "bcrypt" },
		{ "store", "password-scram", "no" },
		{ "mda", "socket", "other" },
		{ "mda", "listen", "{ \"127.0.0.1:24\" }" },
		{ "smtp-in", "workers", "63" },
		{ "smtp-in", "listen", "{ \"*:2525\" }" },
		{ "smtp-in", "hand-over", "\"inet:127.0.0.1:24\"" },
	};
	struct host *host = *state;
	char settings[200];
	const int log = memfd_create("log", 0);

	assert_int_equal(fcntl(log, F_SETFL, O_APPEND), 0);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_int_equal(ftruncate(log, 0), 0);
		log_to_file(dup(log));
		snprintf(settings, sizeof(settings), "state = /old\n%s { %s = %s }\n",
			cases[i].section, cases[i].name, cases[i].value);
		write_settings(settings);
		assert_int_equal(host_reload(host), 0);
		assert_int_equal(count_told(log, cases[i].section, cases[i].name), 1);
		assert_int_equal(host_reload(host), 0);
		assert_int_equal(count_told(log, cases[i].section, cases[i].name), 2);
		write_settings("state = /old\n");
		assert_int_equal(host_reload(host), 0);
		assert_int_equal(count_told(log, cases[i].section, cases[i].name), 2);
		log_to_file(-1);
	}
	/* These are followed, and nothing is said of them. */
	assert_int_equal(ftruncate(log, 0), 0);
	log_to_file(dup(log));
	write_settings("state = /old\nstore { postmaster = \"a@b.example\"\nlogin-delay = 3 }\n"
		       "smtp-in { hand-over = \"unix:lmtp\" }\n");
	assert_int_equal(host_reload(host), 0);
	log_to_file(-1);
	assert_int_equal(count_told(log, "store", "postmaster"), 0);
	assert_int_equal(count_told(log, "store", "login-delay"), 0);
	assert_int_equal(count_told(log, "smtp-in", "hand-over"), 0);
	close(log);
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
		cmocka_unit_test_setup_teardown(test_told_each_time, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_mistakes_change_nothing, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
