/* Who is limited, from which number on, which delays grow how, and when a sender is too slow. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/limits.h"
#include "base/net.h"
#include "base/role.h"
#include "mail/reply.h"
#include "smtp-in/guard.h"
#include "smtp-in/session.h"
#include "smtp-in/settings.h"
#include "smtp-in/worker.h"

static void delays_double_up_to_the_most(void **state)
{
	static const struct {
		uint64_t nth, first, most;
		unsigned delay;
	} cases[] = {
		{ 1, 1000, 30000, 1000 },
		{ 2, 1000, 30000, 2000 },
		{ 5, 1000, 30000, 16000 },
		{ 6, 1000, 30000, 30000 },
		{ UINT64_MAX, 1000, 30000, 30000 },
		{ UINT64_MAX, 0, 30000, 0 },
		{ 3, 0, 0, 0 },
		{ 3, 1000, 0, 0 },
		{ 0, 1000, 30000, 1000 }, /* nothing is counted: it does not grow */
		{ 1, 50000, 30000, 30000 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_int_equal(guard_growing_delay(cases[i].nth, cases[i].first, cases[i].most),
			cases[i].delay);
}

static void a_sender_is_slow_on_average_and_not_at_once(void **state)
{
	const struct smtp_in_settings settings = { .minimum_rate = 50, .minimum_rate_after = 120 };
	struct role_context context = { .settings = &settings };
	const struct guard guard = { .context = &context };
	static const struct {
		uint64_t octets;
		int64_t milliseconds;
		bool slow;
	} cases[] = {
		{ 0, 0, false },
		{ 0, 119999, false },
		{ 0, 120000, true },
		{ 5999, 120000, true },
		{ 6000, 120000, false },
		{ 6000, 121000, true },
		{ UINT64_C(1) << 40, INT64_C(1) << 40, false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_int_equal(guard_is_slow(&guard, cases[i].octets, cases[i].milliseconds),
			cases[i].slow);
}

static void a_sender_is_in_the_way_earlier_than_it_is_slow(void **state)
{
	const struct smtp_in_settings settings = { .minimum_rate = 50,
		.minimum_rate_after = 120,
		.minimum_rate_pressed = 1024,
		.hand_over_hold_seconds = 10 };
	struct role_context context = { .settings = &settings };
	const struct guard guard = { .context = &context };

	(void)state;
	assert_false(guard_is_in_the_way(&guard, 0, 9999));
	assert_true(guard_is_in_the_way(&guard, 10239, 10000));
	assert_false(guard_is_in_the_way(&guard, 10240, 10000));
	assert_false(guard_is_slow(&guard, 0, 10000));
}

static void no_rate_is_no_limit(void **state)
{
	const struct smtp_in_settings settings = { .minimum_rate = 0,
		.minimum_rate_after = 1,
		.minimum_rate_pressed = 0,
		.hand_over_hold_seconds = 1 };
	struct role_context context = { .settings = &settings };
	const struct guard guard = { .context = &context };

	(void)state;
	assert_false(guard_is_slow(&guard, 0, INT64_MAX / 2));
	assert_false(guard_is_in_the_way(&guard, 0, INT64_MAX / 2));
}

/* ---- what is counted ---- */

struct fixture {
	struct smtp_in_settings settings;
	struct role_context context;
	struct guard guard;
};

static int setup(void **state)
{
	static struct fixture fixture;

	fixture = (struct fixture){ .settings = { .limits_ipv6_prefix = 64 } };
	fixture.context = (struct role_context){ .settings = &fixture.settings,
		.limits = limits_open(limits_make(1), 1, 0) };
	fixture.guard = (struct guard){ .context = &fixture.context };
	*state = &fixture;
	return fixture.context.limits ? 0 : -1;
}

static int teardown(void **state)
{
	struct fixture *fixture = *state;

	limits_close(&fixture->context.limits);
	return 0;
}

/* NULL: it may come in. */
static const char *refusal_of(
	struct fixture *fixture, const char *address, bool near, struct guard_client *client)
{
	struct guard_peer peer = { .near = near };
	struct reply reply = { 0 };

	assert_int_equal(net_address_parse(text_of(address), &peer.address), 0);
	if (guard_admit(&fixture->guard, &peer, client, &reply)) {
		assert_int_equal(reply.code, 0);
		return NULL;
	}
	assert_int_equal(reply.code, 421);
	return reply.text.ptr;
}

static const char *refusal(
	struct fixture *fixture, const char *address, struct guard_client *client)
{
	return refusal_of(fixture, address, true, client);
}

static void clients_are_counted_by_address_and_together(void **state)
{
	struct fixture *fixture = *state;
	struct guard_client clients[6];

	fixture->settings.clients_per_address = 2;
	fixture->settings.clients_total = 4;
	assert_null(refusal(fixture, "2001:db8::1", &clients[0]));
	assert_null(refusal(fixture, "2001:db8::2", &clients[1])); /* of the same prefix */
	assert_string_equal(refusal(fixture, "2001:db8::3", &clients[2]),
		"Too many connections from your address");
	assert_null(refusal(fixture, "2001:db8:0:1::1", &clients[2]));
	assert_null(refusal(fixture, "192.0.2.1", &clients[3]));
	assert_string_equal(
		refusal(fixture, "192.0.2.2", &clients[4]), "Too many clients, come again later");
	guard_leave(&fixture->guard, &clients[0]);
	assert_null(refusal(fixture, "2001:db8::3", &clients[4]));
	assert_int_equal(fixture->guard.refused.clients_per_address, 1);
	assert_int_equal(fixture->guard.refused.clients_total, 1);
}

static void loopback_is_limited_only_when_told(void **state)
{
	struct fixture *fixture = *state;
	struct guard_client clients[3];

	fixture->settings.clients_per_address = 1;
	for (size_t i = 0; i < 3; i++) {
		assert_null(refusal(fixture, "127.0.0.1", &clients[i]));
		assert_false(clients[i].limited);
	}
	fixture->settings.limits_loopback = true;
	assert_null(refusal(fixture, "127.0.0.1", &clients[0]));
	assert_true(clients[0].limited);
	assert_non_null(refusal(fixture, "127.0.0.1", &clients[1]));
	assert_null(refusal(fixture, "192.0.2.1", &clients[1]));
}

static void connections_come_a_minute(void **state)
{
	struct fixture *fixture = *state;
	struct guard_client client;

	fixture->settings.connections_per_minute = 2;
	fixture->settings.connections_per_minute_total = 3;
	for (int i = 0; i < 2; i++) {
		assert_null(refusal(fixture, "192.0.2.1", &client));
		guard_leave(&fixture->guard, &client);
	}
	assert_string_equal(refusal(fixture, "192.0.2.1", &client),
		"Too many connections from your address, come again in a minute");
	assert_null(refusal(fixture, "192.0.2.2", &client));
	assert_string_equal(refusal(fixture, "192.0.2.3", &client),
		"Too many connections, come again in a minute");
	assert_int_equal(fixture->guard.refused.connections_per_minute, 1);
	assert_int_equal(fixture->guard.refused.connections_per_minute_total, 1);
}

/* Who is refused by limits of its own, at its own address, and goes on. */
static void a_flood_is_not_heard_any_more(void **state)
{
	static const struct {
		uint64_t refusals, per_address, total;
		const char *address;
		bool near;
		const char *shunned; /* NULL: nobody */
		unsigned bits;
	} cases[] = {
		{ 3, 1, 0, "192.0.2.1", true, "192.0.2.1", 128 },
		{ 3, 1, 0, "2001:db8::1:2:3:4", true, "2001:db8::", 64 },
		{ 3, 1, 0, "::1", true, "::", 64 }, { 0, 1, 0, "192.0.2.1", true, NULL, 0 },
		{ 10, 1, 0, "192.0.2.1", true, NULL, 0 },
		{ 3, 1, 0, "192.0.2.1", false, NULL, 0 }, /* its packets are a proxy's */
		{ 3, 0, 1, "192.0.2.1", true, NULL, 0 },  /* others fill the host */
	};
	struct fixture *fixture = *state;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct guard_client first, client;
		struct net_prefix list[2];

		teardown(state);
		setup(state);
		fixture->settings.limits_loopback = true;
		fixture->settings.refusals_per_minute = cases[i].refusals;
		fixture->settings.shun_seconds = 1000;
		fixture->settings.clients_per_address = cases[i].per_address;
		fixture->settings.clients_total = cases[i].total;
		assert_null(refusal_of(fixture, cases[i].address, cases[i].near, &first));
		for (unsigned n = 0; n < 6; n++) {
			assert_non_null(
				refusal_of(fixture, cases[i].address, cases[i].near, &client));
			assert_int_equal(fixture->context.shunned, cases[i].shunned && n >= 3);
		}
		const size_t count =
			limits_shunned(fixture->context.limits, worker_milliseconds(), list, 2);
		assert_int_equal(count, cases[i].shunned ? 1 : 0);
		assert_int_equal(fixture->guard.refused.shunned, count);
		if (cases[i].shunned) {
			struct net_address address;
			assert_int_equal(net_address_parse(text_of(cases[i].shunned), &address), 0);
			assert_memory_equal(&list[0].address, &address, sizeof(address));
			assert_int_equal(list[0].bits, cases[i].bits);
		}
	}
}

static void messages_come_an_hour(void **state)
{
	struct fixture *fixture = *state;
	struct guard_client one, other;

	assert_null(refusal(fixture, "192.0.2.1", &one));
	assert_null(refusal(fixture, "192.0.2.2", &other));
	assert_true(guard_take_message(&fixture->guard, &one)); /* 0: no limit */
	fixture->settings.messages_per_hour = 2;
	fixture->settings.messages_per_hour_total = 3;
	assert_true(guard_take_message(&fixture->guard, &one));
	assert_true(guard_take_message(&fixture->guard, &one));
	assert_false(guard_take_message(&fixture->guard, &one));
	assert_true(guard_take_message(&fixture->guard, &other));
	assert_false(guard_take_message(&fixture->guard, &other));
	assert_int_equal(fixture->guard.refused.messages, 2);
	/* What others used up has cost it nothing: one of its two is left. */
	fixture->settings.messages_per_hour_total = 0;
	assert_true(guard_take_message(&fixture->guard, &other));
	assert_false(guard_take_message(&fixture->guard, &other));
}

static void failed_recipients_cost_time_and_then_all(void **state)
{
	struct fixture *fixture = *state;
	struct guard_client one, other, free = { .limited = false };

	fixture->settings.failed_recipients_per_hour = 3;
	fixture->settings.failed_recipients_per_hour_total = 4;
	fixture->settings.failure_delay = 1;
	fixture->settings.failure_delay_most = 3;
	assert_null(refusal(fixture, "192.0.2.1", &one));
	assert_null(refusal(fixture, "192.0.2.2", &other));
	for (unsigned i = 0; i < 3; i++) {
		static const unsigned delays[] = { 1000, 2000, 3000 };
		assert_int_equal(guard_is_wary(&fixture->guard, &one), i > 0);
		assert_true(guard_takes_recipients(&fixture->guard, &one));
		assert_int_equal(guard_recipient_failed(&fixture->guard, &one), delays[i]);
	}
	assert_false(guard_takes_recipients(&fixture->guard, &one));
	/* Who has not failed goes on, though all together have. */
	assert_true(guard_takes_recipients(&fixture->guard, &other));
	assert_int_equal(guard_recipient_failed(&fixture->guard, &other), 1000);
	assert_false(guard_takes_recipients(&fixture->guard, &other));
	assert_int_equal(guard_recipient_failed(&fixture->guard, &free), 0);
	assert_true(guard_takes_recipients(&fixture->guard, &free));
	assert_int_equal(fixture->guard.refused.recipients, 2);
	assert_int_equal(fixture->guard.refused.delayed_recipients, 4);
}

/* Nobody talks first on a port where TLS or users are greeted. */
static void greetings_wait_for_strangers_only(void **state)
{
	static const struct {
		bool limited;
		struct session_listener listener;
		unsigned delay;
	} cases[] = {
		{ true, { .name = "smtp" }, 2000 },
		{ false, { .name = "smtp" }, 0 },
		{ true, { .name = "smtps", .tls = true }, 0 },
		{ true, { .name = "submission", .submission = true }, 0 },
		{ true, { .name = "submissions", .tls = true, .submission = true }, 0 },
	};
	struct fixture *fixture = *state;

	fixture->settings.greeting_delay = 2;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const struct session session = { .listener = &cases[i].listener,
			.guard = { .limited = cases[i].limited } };
		assert_int_equal(guard_greeting_delay(&fixture->guard, &session), cases[i].delay);
	}
}

static void failed_logins_end_in_refusals(void **state)
{
	struct fixture *fixture = *state;
	struct guard_client one, other, free = { .limited = false };

	fixture->settings.failed_logins_per_hour = 2;
	assert_null(refusal(fixture, "192.0.2.1", &one));
	assert_null(refusal(fixture, "192.0.2.2", &other));
	for (int i = 0; i < 2; i++) {
		assert_true(guard_takes_logins(&fixture->guard, &one));
		guard_login_failed(&fixture->guard, &one);
		guard_login_failed(&fixture->guard, &free);
	}
	assert_false(guard_takes_logins(&fixture->guard, &one));
	assert_true(guard_takes_logins(&fixture->guard, &other));
	assert_true(guard_takes_logins(&fixture->guard, &free));
	assert_int_equal(fixture->guard.refused.logins, 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(delays_double_up_to_the_most),
		cmocka_unit_test(a_sender_is_slow_on_average_and_not_at_once),
		cmocka_unit_test(a_sender_is_in_the_way_earlier_than_it_is_slow),
		cmocka_unit_test(no_rate_is_no_limit),
		TEST(clients_are_counted_by_address_and_together),
		TEST(loopback_is_limited_only_when_told),
		TEST(connections_come_a_minute),
		TEST(a_flood_is_not_heard_any_more),
		TEST(messages_come_an_hour),
		TEST(failed_recipients_cost_time_and_then_all),
		TEST(greetings_wait_for_strangers_only),
		TEST(failed_logins_end_in_refusals),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
