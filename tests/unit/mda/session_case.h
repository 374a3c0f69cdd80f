/* What the tests of LMTP sessions share, beside the harness. */
#ifndef TESTS_UNIT_MDA_SESSION_CASE_H
#define TESTS_UNIT_MDA_SESSION_CASE_H

#include "tests/unit/mda/harness.h"

static inline int set_up(void **state)
{
	*state = harness_start();
	return 0;
}

static inline int tear_down(void **state)
{
	harness_stop(*state);
	return 0;
}

struct exchange {
	const char *say;
	const char *expect;
};

static inline void play(struct harness *h, const struct exchange *exchange, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		harness_say(h, exchange[i].say);
		harness_expect(h, exchange[i].expect);
	}
	harness_expect_nothing(h);
}

/* As the reply begins, with any text behind it. */
static inline void expect_outcome(struct harness *h, const char *reply)
{
	char pattern[16];

	snprintf(pattern, sizeof(pattern), "%s *", reply);
	harness_expect(h, pattern);
}

/* An empty message; every recipient of it, named with blanks between, gets this reply. */
static inline void deliver_empty(struct harness *h, const char *recipients, const char *expect)
{
	harness_envelope(h, recipients);
	harness_say(h, "\r\n.\r\n");
	for (const char *at = recipients; at; at = strchr(at + 1, ' '))
		harness_expect(h, expect);
}

static inline void client_leaves(struct harness *h)
{
	close(h->client);
	h->client = -1;
	harness_settle(h);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

#endif
