/* Warnings of which a crowd can cause any number: one line of a kind, until its time has passed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/log.h"
#include "store/trouble.h"

static char log_text[65536];

static unsigned count(int fd, const char *what)
{
	const ssize_t got = pread(fd, log_text, sizeof(log_text) - 1, 0);
	unsigned found = 0;

	assert_true(got >= 0);
	log_text[got] = '\0';
	for (const char *at = log_text; (at = strstr(at, what)) != NULL; at++)
		found++;
	return found;
}

static void test_one_of_a_kind(void **state)
{
	struct troubles troubles = { 0 };
	const int fd = memfd_create("log", MFD_CLOEXEC);

	(void)state;
	log_open("test", LOG_LEVEL_WARNING);
	log_to_file(dup(fd));
	for (int round = 0; round < 3; round++) {
		for (int kind = 0; kind < TROUBLES; kind++)
			trouble_tell(&troubles, (enum trouble)kind, TEXT("alice@example.test"),
				kind == TROUBLE_LISTING ? TEXT("no room\n") : TEXT(""));
	}
	assert_int_equal(count(fd, " event="), TROUBLES);
	assert_int_equal(count(fd, "untold=0"), TROUBLES);
	assert_int_equal(count(fd, "user=alice@example.test"), TROUBLES);
	assert_int_equal(count(fd, "detail="), 1);
	assert_int_equal(count(fd, "no room\\x0a"), 1);
	assert_int_equal(count(fd, "level=warning"), TROUBLES);
	for (int kind = 0; kind < TROUBLES; kind++) {
		assert_int_equal(troubles.kind[kind].untold, 2);
		troubles.kind[kind].until = 0;
	}
	trouble_tell(&troubles, TROUBLE_LOGINS_WAITING, TEXT("bob@example.test"), TEXT(""));
	assert_int_equal(count(fd, "untold=2"), 1);
	assert_int_equal(troubles.kind[TROUBLE_LOGINS_WAITING].untold, 0);
	log_to_file(-1);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_one_of_a_kind) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
