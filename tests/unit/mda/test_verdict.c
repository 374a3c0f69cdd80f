#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <sysexits.h>

#include "mda/deliver_stdin.h"
#include "mda/verdict.h"

/* What each failure of the store becomes: for an LMTP client, and for the caller of mda -d. */
static const struct {
	enum store_failure failure;
	unsigned code;
	unsigned char enhanced[3];
	int status;
} outcomes[] = {
	{ STORE_OK, 250, { 2, 0, 0 }, EX_OK },
	{ STORE_NO_SUCH_USER, 550, { 5, 1, 1 }, EX_NOUSER },
	{ STORE_NO_SUCH_MAILBOX, 451, { 4, 2, 0 }, EX_TEMPFAIL },
	{ STORE_NO_SUCH_MESSAGE, 451, { 4, 3, 0 }, EX_TEMPFAIL },
	{ STORE_BAD_LOGIN, 451, { 4, 3, 0 }, EX_TEMPFAIL },
	{ STORE_ALREADY_EXISTS, 451, { 4, 3, 0 }, EX_TEMPFAIL },
	{ STORE_OVER_QUOTA, 452, { 4, 2, 2 }, EX_TEMPFAIL },
	{ STORE_TOO_LARGE, 552, { 5, 3, 4 }, EX_UNAVAILABLE },
	{ STORE_LOCKED, 450, { 4, 2, 0 }, EX_TEMPFAIL },
	{ STORE_NO_SPACE, 452, { 4, 3, 1 }, EX_TEMPFAIL },
	{ STORE_NOT_DURABLE, 451, { 4, 3, 0 }, EX_TEMPFAIL },
	{ STORE_DAMAGED, 451, { 4, 3, 0 }, EX_TEMPFAIL },
	{ STORE_BUSY, 451, { 4, 3, 2 }, EX_TEMPFAIL },
	{ STORE_REFUSED, 451, { 4, 3, 5 }, EX_TEMPFAIL },
	{ STORE_INVALID, 451, { 4, 3, 0 }, EX_TEMPFAIL },
	{ STORE_AWAY, 451, { 4, 3, 0 }, EX_TEMPFAIL },
};

static void every_failure_has_its_reply_and_status(void **state)
{
	(void)state;
	assert_int_equal(sizeof(outcomes) / sizeof(outcomes[0]), STORE_FAILURES);
	for (size_t i = 0; i < STORE_FAILURES; i++) {
		const struct reply reply = verdict_reply(outcomes[i].failure);
		assert_int_equal(outcomes[i].failure, i);
		assert_int_equal(reply.code, outcomes[i].code);
		assert_memory_equal(reply.enhanced, outcomes[i].enhanced, 3);
		assert_int_equal(reply.code / 100, reply.enhanced[0]);
		assert_true(reply.text.len > 0);
		assert_int_equal(deliver_stdin_status(&reply), outcomes[i].status);
	}
}

/* What the store calls temporary must not make a sender give up. */
static void temporary_stays_temporary(void **state)
{
	(void)state;
	for (int failure = 1; failure < STORE_FAILURES; failure++) {
		if (store_failure_is_temporary(failure))
			assert_in_range(verdict_reply(failure).code, 400, 499);
	}
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
