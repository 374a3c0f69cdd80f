/* The loop ends when it is told to or has nothing left, looks while things come, and sleeps otherwise. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>
#include <event2/event.h>
#include <event2/event_struct.h>

#include "base/loop.h"

enum { ROUNDS = 1000, TICKS = 20, TICK_MICROSECONDS = 1000 };

/* Two ends of a socket in one loop, which answer each other; then some ticks of a clock. */
struct game {
	struct event_base *loop;
	int ends[2];
	struct event readable[2], tick;
	unsigned answers, ticks;
};

static void on_tick(evutil_socket_t fd, short what, void *argument)
{
	const struct timeval next = { .tv_usec = TICK_MICROSECONDS };
	struct game *game = argument;

	(void)fd, (void)what;
	if (++game->ticks == TICKS)
		event_base_loopbreak(game->loop);
	else
		evtimer_add(&game->tick, &next);
}

static void on_ball(evutil_socket_t fd, short what, void *argument)
{
	struct game *game = argument;
	char ball;

	(void)what;
	loop_came();
	assert_int_equal(read(fd, &ball, 1), 1);
	if (++game->answers < ROUNDS)
		assert_int_equal(write(fd, &ball, 1), 1);
	else
		on_tick(-1, 0, game);
}

static void open_game(struct game *game)
{
	*game = (struct game){ .loop = event_base_new() };
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, game->ends), 0);
	for (int i = 0; i < 2; i++) {
		event_assign(&game->readable[i], game->loop, game->ends[i], EV_READ | EV_PERSIST,
			on_ball, game);
		event_add(&game->readable[i], NULL);
	}
	evtimer_assign(&game->tick, game->loop, on_tick, game);
}

static void close_game(struct game *game)
{
	for (int i = 0; i < 2; i++) {
		event_del(&game->readable[i]);
		close(game->ends[i]);
	}
	event_del(&game->tick);
	event_base_free(game->loop);
}

static void it_looks_while_things_come_and_sleeps_when_none_do(void **state)
{
	const struct loop_counts before = loop_counts();
	struct game game;

	(void)state;
	open_game(&game);
	assert_int_equal(write(game.ends[0], "o", 1), 1);
	loop_run(game.loop);
	const struct loop_counts after = loop_counts();
	assert_int_equal(game.answers, ROUNDS);
	assert_int_equal(game.ticks, TICKS);
	/* Every look but the last found something; the ticks were slept through. */
	assert_in_range(after.looks - before.looks, 1, ROUNDS);
	assert_in_range(after.sleeps - before.sleeps, TICKS - 1, ROUNDS + TICKS);
	assert_true(after.looks - before.looks + after.sleeps - before.sleeps <= ROUNDS + TICKS);
	close_game(&game);
}

static void nobody_is_looked_for_who_never_came(void **state)
{
	const struct loop_counts before = loop_counts();
	struct game game;

	(void)state;
	open_game(&game);
	on_tick(-1, 0, &game);
	loop_run(game.loop);
	assert_int_equal(game.ticks, TICKS);
	assert_int_equal(loop_counts().looks, before.looks);
	assert_int_equal(loop_counts().sleeps - before.sleeps, TICKS - 1);
	close_game(&game);
}

static void it_ends_when_no_event_is_left(void **state)
{
	struct event_base *loop = event_base_new();

	(void)state;
	loop_run(loop);
	event_base_free(loop);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nobody_is_looked_for_who_never_came),
		cmocka_unit_test(it_looks_while_things_come_and_sleeps_when_none_do),
		cmocka_unit_test(it_ends_when_no_event_is_left),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
