/* Three users with empty mailboxes. */
#ifndef TESTS_UNIT_STORE_THREE_USERS_H
#define TESTS_UNIT_STORE_THREE_USERS_H

#include "tests/unit/store/engine_fixture.h"

#define ALICE "alice@example.test"
#define BOB "bob@example.test"
#define CAROL "carol@example.test"
#define INBOX(user) "mail/example.test/" user

static inline void add_three(struct fixture *fixture)
{
	assert_int_equal(fixture_add_user(fixture, ALICE), STORE_OK);
	assert_int_equal(fixture_add_user(fixture, BOB), STORE_OK);
	assert_int_equal(fixture_add_user(fixture, CAROL), STORE_OK);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

#endif
