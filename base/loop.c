#include "base/loop.h"

#include <event2/event.h>
#include <sched.h>
#include <stdbool.h>

#include "base/clock.h"

enum {
	LOOK_NANOSECONDS = 300000,
	SOON_NANOSECONDS =
		500000, /* what is expected within is looked for; with the time to wake up */
	LATE_NANOSECONDS = 1000000, /* nothing counts as later */
	WEIGHT = 4,                 /* what came last makes a quarter of the mean */

	SURE = 1 << 20,      /* of every look, something comes */
	POOR = SURE / 5 * 3, /* of fewer, it is better to sleep */
	LUCK_WEIGHT = 64,
};

static const int64_t pause_nanoseconds = 250000000;

static struct {
	int64_t waiting;  /* since when */
	int64_t arrived;  /* when the first thing of a turn came; 0: nothing has */
	int64_t expected; /* how long until something comes: a running mean, nanoseconds */
	bool in_vain;     /* it has looked, and nothing has come since */
	int luck;         /* how many looks were not in vain: a running mean, of SURE */
	int64_t paused;   /* until when nothing is looked for */
	struct loop_counts counts;
} watch;

struct loop_counts loop_counts(void)
{
	return watch.counts;
}

void loop_came(void)
{
	if (!watch.arrived)
		watch.arrived = clock_nanoseconds();
}

static void learn(void)
{
	int64_t waited = watch.arrived - watch.waiting;

	if (waited > LATE_NANOSECONDS)
		waited = LATE_NANOSECONDS;
	watch.expected += (waited - watch.expected) / WEIGHT;
	watch.waiting = clock_nanoseconds();
	watch.arrived = 0;
	watch.in_vain = false;
}

/* False: the loop has ended. */
static bool turn(struct event_base *loop, int flags)
{
	return event_base_loop(loop, flags) == 0 && !event_base_got_break(loop);
}

/*
 * Who looks uses up time that the scheduler would give it at once after a sleep. Where others compute on the
 * same cores, what is looked for comes late, and it is better to sleep.
 */
static void judge(void)
{
	watch.in_vain = !watch.arrived;
	watch.luck += ((watch.in_vain ? 0 : SURE) - watch.luck) / LUCK_WEIGHT;
	if (watch.luck >= POOR)
		return;
	watch.luck = SURE;
	watch.paused = clock_nanoseconds() + pause_nanoseconds;
}

static bool is_worth_a_look(void)
{
	return watch.expected < SOON_NANOSECONDS && !watch.in_vain && watch.waiting >= watch.paused;
}

static bool look(struct event_base *loop)
{
	bool going;

	watch.counts.looks++;
	while ((going = turn(loop, EVLOOP_NONBLOCK)) && !watch.arrived) {
		if (clock_nanoseconds() - watch.waiting >= LOOK_NANOSECONDS)
			break;
		sched_yield();
	}
	judge();
	return going;
}

void loop_run(struct event_base *loop)
{
	bool going = true;

	watch.expected = LATE_NANOSECONDS;
	watch.luck = SURE;
	watch.waiting = clock_nanoseconds();
	watch.arrived = 0;
	while (going) {
		if (is_worth_a_look())
			going = look(loop);
		if (going && !watch.arrived) {
			watch.counts.sleeps++;
			going = turn(loop, EVLOOP_ONCE);
		}
		if (watch.arrived)
			learn();
	}
}
