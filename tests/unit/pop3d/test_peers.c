#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "pop3d/peers.h"

#include <cmocka.h>

static void addresses_count_together(void **state)
{
	static const struct {
		const char *a, *b;
		unsigned sessions; /* of b after a */
	} cases[] = {
		{ "192.0.2.1", "192.0.2.1", 2 },
		{ "192.0.2.1", "192.0.2.2", 1 },
		{ "2001:db8::1", "2001:db8::ffff:1", 2 },
		{ "2001:db8::1", "2001:db8:0:1::1", 1 },
		{ "32.1.13.184", "2001:db8::", 1 },
		{ "local", "local", 2 },
		{ "local", "0.0.0.0", 1 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct peers *peers = peers_new();
		struct peer *a = peers_enter(peers, cases[i].a);
		struct peer *b = peers_enter(peers, cases[i].b);

		assert_int_equal(peer_sessions(b), cases[i].sessions);
		peer_leave(&a);
		assert_null(a);
		peer_leave(&a);
		assert_int_equal(peer_sessions(b), 1);
		peer_leave(&b);
		peers_free(&peers);
	}
}

static void many_come_and_go(void **state)
{
	enum { MANY = 20000 };
	static struct peer *peer[MANY];
	struct peers *peers = peers_new();
	char address[32];

	(void)state;
	for (int round = 0; round < 2; round++) {
		for (unsigned i = 0; i < MANY; i++) {
			snprintf(address, sizeof(address), "10.%u.%u.1", i / 2 >> 8, i / 2 & 255);
			peer[i] = peers_enter(peers, address);
			assert_int_equal(peer_sessions(peer[i]), 1 + i % 2);
		}
		for (unsigned i = 0; i < MANY; i++)
			peer_leave(&peer[i]);
	}
	peers_free(&peers);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(addresses_count_together),
		cmocka_unit_test(many_come_and_go),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
