/* What is remembered of recipients that were accepted, for how long, and what has no room. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "smtp-in/accepted.h"

enum act { NOTE, DROP, ASK, RELEASE };

struct step {
	enum act act;
	const char *question;
	uint64_t size;
	int64_t now, until; /* until: of NOTE */
	bool held;          /* of ASK */
};

static void take_steps(const struct step *steps, size_t count)
{
	struct accepted accepted = { 0 };

	for (size_t i = 0; i < count; i++) {
		const struct step *step = &steps[i];
		const struct text question = text_of(step->question ? step->question : "");
		switch (step->act) {
		case NOTE:
			accepted_note(&accepted, question, step->size, step->now, step->until);
			break;
		case DROP:
			accepted_drop(&accepted, question);
			break;
		case RELEASE:
			accepted_release(&accepted);
			break;
		case ASK:
			if (accepted_holds(&accepted, question, step->size, step->now) !=
				step->held)
				fail_msg("step %zu: \"%s\" at %lld", i, step->question,
					(long long)step->now);
			break;
		}
	}
	accepted_release(&accepted);
}

static void what_was_accepted_is_held_for_its_time(void **state)
{
	static const struct step steps[] = {
		{ ASK, "a", .now = 1 },
		{ .act = DROP, .question = "a" },
		{ NOTE, "a", .now = 1000, .until = 2000 },
		{ ASK, "a", .now = 1000, .held = true },
		{ ASK, "a", .now = 1999, .held = true },
		{ ASK, "a", .now = 2000 },
		{ ASK, "A", .now = 1500 },
		{ ASK, "ab", .now = 1500 },
		{ ASK, "", .now = 1500 },
		{ NOTE, "a", .now = 1900, .until = 2900 },
		{ ASK, "a", .now = 2000, .held = true },
		{ NOTE, "a", .now = 5000, .until = 6000 },
		{ ASK, "a", .now = 5500, .held = true },
		/* No time at all. */
		{ NOTE, "b", .now = 5000, .until = 5000 },
		{ ASK, "b", .now = 5000 },
	};

	(void)state;
	take_steps(steps, sizeof(steps) / sizeof(steps[0]));
}

static void who_is_refused_is_forgotten(void **state)
{
	static const struct step steps[] = {
		{ NOTE, "a", .now = 1000, .until = 2000 },
		{ NOTE, "b", .now = 1000, .until = 2000 },
		{ .act = DROP, .question = "a" },
		{ ASK, "a", .now = 1500 },
		{ ASK, "b", .now = 1500, .held = true },
		{ NOTE, "a", .now = 1500, .until = 2500 },
		{ ASK, "a", .now = 1500, .held = true },
		{ .act = RELEASE },
		{ ASK, "a", .now = 1500 },
		{ ASK, "b", .now = 1500 },
		{ NOTE, "b", .now = 1500, .until = 2500 },
		{ ASK, "b", .now = 1500, .held = true },
	};

	(void)state;
	take_steps(steps, sizeof(steps) / sizeof(steps[0]));
}

/* Room for a message is room for a smaller one, and a smaller one says nothing of it. */
static void sizes(void **state)
{
	static const struct step steps[] = {
		{ NOTE, "a", .size = 100, .now = 1000, .until = 2000 },
		{ ASK, "a", .size = 0, .now = 1500, .held = true },
		{ ASK, "a", .size = 100, .now = 1500, .held = true },
		{ ASK, "a", .size = 101, .now = 1500 },
		{ NOTE, "a", .size = 99, .now = 1500, .until = 2500 },
		{ ASK, "a", .size = 100, .now = 1999, .held = true },
		{ ASK, "a", .size = 1, .now = 2000 },
		{ NOTE, "a", .size = 99, .now = 2000, .until = 3000 },
		{ ASK, "a", .size = 99, .now = 2500, .held = true },
		{ ASK, "a", .size = 100, .now = 2500 },
		{ NOTE, "a", .size = UINT64_MAX, .now = 2500, .until = 3500 },
		{ ASK, "a", .size = UINT64_MAX, .now = 3000, .held = true },
	};

	(void)state;
	take_steps(steps, sizeof(steps) / sizeof(steps[0]));
}

static void what_is_too_long_is_not_held(void **state)
{
	struct accepted accepted = { 0 };
	char octets[ACCEPTED_LIMIT + 1];

	(void)state;
	memset(octets, 'a', sizeof(octets));
	for (size_t length = ACCEPTED_LIMIT - 1; length <= sizeof(octets); length++)
		accepted_note(&accepted, (struct text){ octets, length }, 0, 1, 9);
	assert_true(accepted_holds(&accepted, (struct text){ octets, ACCEPTED_LIMIT - 1 }, 0, 1));
	assert_true(accepted_holds(&accepted, (struct text){ octets, ACCEPTED_LIMIT }, 0, 1));
	assert_false(accepted_holds(&accepted, (struct text){ octets, sizeof(octets) }, 0, 1));
	accepted_drop(&accepted, (struct text){ octets, sizeof(octets) });
	accepted_release(&accepted);
}

static struct text numbered(char *to, size_t size, unsigned number)
{
	return (struct text){ to,
		(size_t)snprintf(to, size, "0s@client.test\n%u@b.test\n", number) };
}

/* The new push out the old, never the other way about. */
static void a_full_table(void **state)
{
	enum { MANY = 5 * ACCEPTED_PLACES };
	struct accepted accepted = { 0 };
	unsigned held = 0;
	char line[64];

	(void)state;
	for (unsigned i = 0; i < MANY; i++) {
		accepted_note(&accepted, numbered(line, sizeof(line), i), 0, i, i + MANY);
		assert_true(accepted_holds(&accepted, numbered(line, sizeof(line), i), 0, i));
	}
	for (unsigned i = 0; i < MANY; i++)
		held += accepted_holds(&accepted, numbered(line, sizeof(line), i), 0, MANY - 1);
	assert_in_range(held, ACCEPTED_PLACES / 2, ACCEPTED_PLACES);
	assert_false(accepted_holds(&accepted, numbered(line, sizeof(line), 0), 0, 1));
	accepted_release(&accepted);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_was_accepted_is_held_for_its_time),
		cmocka_unit_test(who_is_refused_is_forgotten),
		cmocka_unit_test(sizes),
		cmocka_unit_test(what_is_too_long_is_not_held),
		cmocka_unit_test(a_full_table),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
