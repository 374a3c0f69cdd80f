/* Ids: unique, in order of time, and nothing else accepted from a peer. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>
#include <pthread.h>

#include "base/id.h"

enum { THREADS = 4, EACH = 20000 };

static struct id ids[THREADS * EACH];

static void *make_ids(void *argument)
{
	struct id *to = argument;

	for (int i = 0; i < EACH; i++)
		to[i] = id_new();
	return NULL;
}

static int by_string(const void *a, const void *b)
{
	return strcmp(((const struct id *)a)->string, ((const struct id *)b)->string);
}

static void they_sort_by_time_and_differ(void **state)
{
	pthread_t threads[THREADS];

	(void)state;
	for (int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, make_ids, ids + i * EACH), 0);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	for (int i = 1; i < EACH; i++)
		assert_true(by_string(&ids[i - 1], &ids[i]) < 0);
	qsort(ids, THREADS * EACH, sizeof(ids[0]), by_string);
	for (int i = 1; i < THREADS * EACH; i++)
		assert_true(by_string(&ids[i - 1], &ids[i]) < 0);
}

static void processes_make_different_ones(void **state)
{
	int channel[2];
	struct id theirs;

	(void)state;
	assert_int_equal(pipe(channel), 0);
	pid_t child = fork();
	if (child == 0) {
		const struct id mine = id_new();
		_exit(write(channel[1], &mine, sizeof(mine)) == sizeof(mine) ? 0 : 1);
	}
	const struct id ours = id_new();
	assert_int_equal(read(channel[0], &theirs, sizeof(theirs)), sizeof(theirs));
	assert_string_not_equal(ours.string, theirs.string);
	/* Whatever the clock said: the part behind the time differs too. */
	assert_string_not_equal(ours.string + 10, theirs.string + 10);
	waitpid(child, NULL, 0);
	close(channel[0]);
	close(channel[1]);
}

static void parsing(void **state)
{
	struct id id = id_new(), parsed;

	(void)state;
	assert_int_equal(strlen(id.string), ID_LENGTH);
	assert_int_equal(id_parse(text_of(id.string), &parsed), 0);
	assert_string_equal(parsed.string, id.string);
	assert_int_equal(id_parse(TEXT("aZ09"), &parsed), 0);
	assert_string_equal(parsed.string, "aZ09");
	assert_int_equal(id_parse(TEXT(""), &parsed), -1);
	assert_int_equal(id_parse(TEXT("123456789012345678901"), &parsed), -1);
	assert_int_equal(id_parse(TEXT("a b"), &parsed), -1);
	assert_int_equal(id_parse(TEXT("a\r\nb"), &parsed), -1);
	assert_int_equal(id_parse(TEXT("a-b"), &parsed), -1);
	assert_int_equal(id_parse(TEXT("a\0"), &parsed), -1);
	assert_int_equal(id_parse(TEXT("\xc3\xa4"), &parsed), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(they_sort_by_time_and_differ),
		cmocka_unit_test(processes_make_different_ones),
		cmocka_unit_test(parsing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
