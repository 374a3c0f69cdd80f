#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>
#include <sysexits.h>

#include "mda/deliver_stdin.h"
#include "mda/verdict.h"
#include "tests/unit/outcomes.h"

static struct reply read_reply(const char *text)
{
	struct reply reply = { 0 };
	unsigned enhanced[3];

	assert_int_equal(
		sscanf(text, "%u %u.%u.%u", &reply.code, &enhanced[0], &enhanced[1], &enhanced[2]),
		4);
	for (size_t i = 0; i < 3; i++)
		reply.enhanced[i] = (unsigned char)enhanced[i];
	assert_int_equal(reply.code / 100, reply.enhanced[0]);
	return reply;
}

static void every_failure_has_its_reply_and_status(void **state)
{
	(void)state;
	for (size_t i = 0; i < STORE_FAILURES; i++) {
		const struct reply rcpt = read_reply(outcomes[i].rcpt);
		const struct reply end = read_reply(outcomes[i].end);
		const struct reply verdict = verdict_reply(outcomes[i].failure);
		assert_int_equal(outcomes[i].failure, i);
		assert_int_equal(verdict.code, end.code);
		assert_memory_equal(verdict.enhanced, end.enhanced, 3);
		assert_true(verdict.text.len > 0);
		assert_int_equal(deliver_stdin_status(&rcpt), outcomes[i].rcpt_status);
		assert_int_equal(deliver_stdin_status(&end), outcomes[i].end_status);
	}
}

/* What the store calls temporary must not make a sender give up. */
static void temporary_stays_temporary(void **state)
{
	unsigned temporary = 0;

	(void)state;
	for (int failure = 1; failure < STORE_FAILURES; failure++) {
		if (!store_failure_is_temporary(failure))
			continue;
		temporary++;
		assert_in_range(verdict_reply(failure).code, 400, 499);
	}
	assert_in_range(temporary, 1, STORE_FAILURES - 2);
}

static void statuses_follow_the_server(void **state)
{
	static const struct {
		struct reply reply;
		int status;
	} table[] = {
		{ { .code = 250 }, EX_OK },
		{ { .code = 354 }, EX_OK },
		{ { .code = 421, .enhanced = { 4, 3, 2 } }, EX_TEMPFAIL },
		{ { .code = 452, .enhanced = { 4, 1, 1 } }, EX_TEMPFAIL },
		{ { .code = 550, .enhanced = { 5, 1, 1 } }, EX_NOUSER },
		{ { .code = 550, .enhanced = { 5, 1, 2 } }, EX_NOHOST },
		{ { .code = 501, .enhanced = { 5, 1, 3 } }, EX_UNAVAILABLE },
		{ { .code = 550, .enhanced = { 5, 7, 1 } }, EX_NOPERM },
		{ { .code = 554, .enhanced = { 5, 6, 0 } }, EX_DATAERR },
		{ { .code = 554, .enhanced = { 5, 4, 6 } }, EX_UNAVAILABLE },
		{ { .code = 552, .enhanced = { 5, 3, 4 } }, EX_UNAVAILABLE },
		{ { .code = 500 }, EX_UNAVAILABLE },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
		assert_int_equal(deliver_stdin_status(&table[i].reply), table[i].status);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_failure_has_its_reply_and_status),
		cmocka_unit_test(temporary_stays_temporary),
		cmocka_unit_test(statuses_follow_the_server),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
