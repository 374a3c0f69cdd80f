/* Alarms and corks: what an owner keeps back, and for how long. */
#include "tests/unit/base/conn_side.h"

static const struct conn_limits hasty = { .input = 1 << 16,
	.output_high = 1 << 16,
	.output_low = 1 << 14,
	.idle_seconds = 1,
	.send_seconds = 1 };

static size_t peer_has(struct side *side)
{
	char octets[100];
	const ssize_t n = recv(side->peer, octets, sizeof(octets), MSG_PEEK);

	return n < 0 ? 0 : (size_t)n;
}

static void an_alarm_rings_once(void **state)
{
	struct side side;

	(void)state;
	side_open_tcp(&side, &wide, AF_INET, AF_INET);
	conn_alarm(side.conn, 300000);
	run_what_is_ready();
	assert_int_equal(side.alarms, 0);
	conn_alarm(side.conn, 30);
	RUN_UNTIL(side.alarms == 1);
	/* A second one that is set tells when the first would have come again. */
	conn_alarm(side.conn, 60);
	RUN_UNTIL(side.alarms == 2);
	side_close(&side);
}

static void a_later_alarm_takes_the_place_of_the_first(void **state)
{
	struct side side, other;

	(void)state;
	side_open(&side, &wide);
	side_open(&other, &wide);
	conn_alarm(side.conn, 20);
	conn_alarm(side.conn, 300000);
	conn_alarm(other.conn, 100);
	RUN_UNTIL(other.alarms == 1);
	assert_int_equal(side.alarms, 0);
	conn_alarm(side.conn, 20);
	RUN_UNTIL(side.alarms == 1);
	side_close(&side);
	side_close(&other);
}

/* Beside a limit of time that is nearer, and one that is farther. */
static void an_alarm_and_a_deadline_do_not_disturb_each_other(void **state)
{
	struct side side, other;

	(void)state;
	side_open(&side, &hasty);
	side_open(&other, &hasty);
	/* A deadline that has passed when the loop looks comes before an alarm. */
	conn_idle_limit(side.conn, 600);
	conn_alarm(side.conn, 20);
	conn_alarm(other.conn, 300000);
	RUN_UNTIL(side.alarms == 1);
	assert_int_equal(side.ended, 0);
	conn_idle_limit(side.conn, 1);
	RUN_UNTIL(side.ended && other.ended);
	assert_int_equal(side.end, CONN_END_TIMEOUT);
	assert_int_equal(other.end, CONN_END_TIMEOUT);
	assert_int_equal(other.alarms, 0);
	side_close(&side);
	side_close(&other);
}

static void corked_output_waits_for_the_end_of_the_cork(void **state)
{
	struct side side;

	(void)state;
	side_open(&side, &hasty);
	conn_hold(side.conn);
	conn_cork(side.conn, true);
	conn_write(side.conn, TEXT("bad news"));
	peer_send(&side, "NOOP");
	/* Longer than the limit of pending output. */
	conn_alarm(side.conn, 1500);
	RUN_UNTIL(side.alarms == 1);
	assert_int_equal(side.ended, 0);
	assert_int_equal(side.inputs, 0);
	assert_int_equal(peer_has(&side), 0);
	conn_cork(side.conn, false);
	conn_release(side.conn);
	RUN_UNTIL(peer_has(&side) == 8);
	RUN_UNTIL(side.inputs == 1);
	side_close(&side);
}

static void uncork(struct side *side)
{
	conn_cork(side->conn, false);
}

static void a_corked_connection_finishes_when_it_may_speak(void **state)
{
	struct side side;

	(void)state;
	side_open(&side, &wide);
	side.on_alarmed = uncork;
	conn_cork(side.conn, true);
	conn_write(side.conn, TEXT("421"));
	conn_finish(side.conn);
	conn_alarm(side.conn, 300000);
	run_what_is_ready();
	assert_int_equal(peer_has(&side), 0);
	conn_alarm(side.conn, 50);
	RUN_UNTIL(peer_has(&side) == 3);
	shutdown(side.peer, SHUT_WR);
	RUN_UNTIL(side.ended);
	assert_int_equal(side.end, CONN_END_FINISHED);
	side_close(&side);
}

static void free_it(struct side *side)
{
	conn_free(&side->conn);
}

static void it_can_be_freed_by_its_alarm(void **state)
{
	struct side side;

	(void)state;
	side_open(&side, &wide);
	side.on_alarmed = free_it;
	conn_cork(side.conn, true);
	conn_write(side.conn, TEXT("never sent"));
	conn_alarm(side.conn, 10);
	RUN_UNTIL(side.alarms == 1);
	run_what_is_ready();
	assert_null(side.conn);
	assert_int_equal(recv(side.peer, &(char){ 0 }, 1, 0), 0);
	side_close(&side);
}

/* And one that was freed does not ring. */
static void an_alarm_ends_with_its_connection(void **state)
{
	struct side side, other;

	(void)state;
	side_open(&side, &wide);
	side_open(&other, &wide);
	conn_alarm(side.conn, 10);
	conn_alarm(other.conn, 60);
	conn_free(&side.conn);
	RUN_UNTIL(other.alarms == 1);
	assert_int_equal(side.alarms, 0);
	side_close(&side);
	side_close(&other);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CONN_TEST(an_alarm_rings_once),
		CONN_TEST(a_later_alarm_takes_the_place_of_the_first),
		CONN_TEST(an_alarm_and_a_deadline_do_not_disturb_each_other),
		CONN_TEST(corked_output_waits_for_the_end_of_the_cork),
		CONN_TEST(a_corked_connection_finishes_when_it_may_speak),
		CONN_TEST(it_can_be_freed_by_its_alarm),
		CONN_TEST(an_alarm_ends_with_its_connection),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
