/*
 * Plans in, what the store is asked for out.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/arena.h"
#include "mda/commit.h"
#include "store/protocol.h"

/* Recipients separated by '|', each a run of actions: kind octet, then user/mailbox. */
static const struct {
	const char *plan;
	bool each;
	const char *asked; /* group:user/mailbox */
} cases[] = {
	{ "k:a/INBOX", false, "0:a/INBOX " },
	{ "k:a/INBOX", true, "0:a/INBOX " },
	{ "k:b/INBOX|k:a/INBOX", false, "0:a/INBOX 0:b/INBOX " },
	{ "k:b/INBOX|k:a/INBOX", true, "0:b/INBOX 1:a/INBOX " },
	{ "f:a/Lists k:a/INBOX", true, "0:a/INBOX 0:a/Lists " },
	{ "d:|k:a/INBOX", false, "0:a/INBOX " },
	{ "d:|k:a/INBOX", true, "1:a/INBOX " },
	{ "d:", true, "" },
	{ "r:", true, "" },
	{ "r: k:a/INBOX|k:b/INBOX", true, "1:b/INBOX " },
	{ ">:x k:a/INBOX|f:a/INBOX", false, "0:a/INBOX " },
	{ ">:x k:a/INBOX|f:a/INBOX", true, "0:a/INBOX 1:a/INBOX " },
	{ "", false, "" },
};

static void add_action(struct arena *arena, struct plan_recipient *recipient, struct text action)
{
	const struct text value = text_from(action, 2);
	const ptrdiff_t slash = text_find(value, '/');
	struct plan_keep keep = { .keywords = TEXT("word"), .once = TEXT("key"), .flags = 3 };

	if (slash >= 0) {
		keep.user = text_head(value, (size_t)slash);
		keep.mailbox = text_from(value, (size_t)slash + 1);
	}
	switch (action.ptr[0]) {
	case 'k':
		plan_add_keep(arena, recipient, &keep);
		break;
	case 'f':
		plan_add_file_into(arena, recipient, &keep);
		break;
	case 'd':
		plan_add_discard(arena, recipient, TEXT("a whim"));
		break;
	case '>':
		plan_add_redirect(arena, recipient, &recipient->address);
		break;
	default:
		plan_add_refuse(arena, recipient, &REPLY(550, 5, 7, 1, "no"));
	}
}

static void make_plan(struct plan *plan, struct arena *arena, const char *description)
{
	const struct address address = { .local = TEXT("x"), .domain = TEXT("example.test") };
	struct text rest = text_of(description), recipient, action;

	plan_init(plan, arena);
	while (description[0] && text_split(&rest, '|', &recipient)) {
		struct plan_recipient *made = plan_recipient_new(arena, &address);
		while (text_split(&recipient, ' ', &action))
			add_action(arena, made, action);
		plan_add(plan, made);
	}
}

static void plans_become_requests(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct arena *arena = arena_new(256);
		struct buf run = { 0 }, asked = { 0 };
		struct plan_target *targets;
		struct store_recipient recipient;
		struct plan plan;

		make_plan(&plan, arena, cases[i].plan);
		const size_t count = plan_targets(&plan, cases[i].each, &targets);
		commit_pack(&run, targets, count, cases[i].each);
		struct message_reader in = { .at = buf_text(&run).ptr, .left = buf_length(&run) };
		for (size_t j = 0; j < count; j++) {
			assert_int_equal(store_recipient_unpack_from(&in, &recipient), 0);
			buf_format(&asked, "%u:%.*s/%.*s ", recipient.group,
				TEXT_ARG(recipient.user), TEXT_ARG(recipient.mailbox));
			assert_true(text_equal(recipient.once, TEXT("key")));
			assert_true(text_equal(recipient.keywords, TEXT("word")));
			assert_int_equal(recipient.flags, 3);
		}
		assert_int_equal(in.left, 0);
		buf_add_char(&asked, '\0');
		assert_string_equal(buf_text(&asked).ptr, cases[i].asked);
		buf_release(&run);
		buf_release(&asked);
		arena_free(&arena);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(plans_become_requests) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
