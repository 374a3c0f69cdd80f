#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "base/arena.h"
#include "mda/plan.h"

/*
 * Recipients separated by '|', each a run of user/mailbox, +user/mailbox (filed into), ">" (redirected),
 * "0" (discarded), or "!" for a refusal.
 */
static void add_action(struct arena *arena, struct plan_recipient *made, struct text action)
{
	const bool filed = text_begins(action, TEXT("+"));
	const struct text place = text_from(action, filed);
	const ptrdiff_t slash = text_find(place, '/');

	if (text_equal(action, TEXT("!"))) {
		plan_add_refuse(arena, made, &REPLY(550, 5, 7, 1, "no"));
	} else if (text_equal(action, TEXT("0"))) {
		plan_add_discard(arena, made, TEXT("a whim"));
	} else if (text_equal(action, TEXT(">"))) {
		plan_add_redirect(arena, made, &made->address);
	} else {
		(filed ? plan_add_file_into : plan_add_keep)(arena, made,
			&(struct plan_keep){ .user = text_head(place, (size_t)slash),
				.mailbox = text_from(place, (size_t)slash + 1),
				.keywords = TEXT("") });
	}
}

static void make_plan(struct plan *plan, struct arena *arena, const char *description)
{
	struct text rest = text_of(description), recipient, action;
	const struct address address = { .local = TEXT("x"), .domain = TEXT("example.test") };

	plan_init(plan, arena);
	while (description[0] && text_split(&rest, '|', &recipient)) {
		struct plan_recipient *made = plan_recipient_new(arena, &address);
		while (text_split(&recipient, ' ', &action)) {
			add_action(arena, made, action);
		}
		plan_add(plan, made);
	}
}

struct plan_case {
	const char *plan;
	const char *mailboxes; /* for all or none: in order, each once */
	const char *each;      /* recipient:user/mailbox */
	const char *only;      /* NULL: none or several */
};

static const struct plan_case cases[] = {
	{ "", "", "", NULL },
	{ "a/INBOX", "a/INBOX ", "0:a/INBOX ", "a" },
	{ "b/INBOX|a/INBOX", "a/INBOX b/INBOX ", "0:b/INBOX 1:a/INBOX ", NULL },
	{ "a/INBOX|a/INBOX|a/INBOX", "a/INBOX ", "0:a/INBOX 1:a/INBOX 2:a/INBOX ", "a" },
	{ "a/INBOX|b/INBOX|a/INBOX", "a/INBOX b/INBOX ", "0:a/INBOX 1:b/INBOX 2:a/INBOX ", NULL },
	{ "a/Lists|a/INBOX", "a/INBOX a/Lists ", "0:a/Lists 1:a/INBOX ", "a" },
	{ "a/Lists a/INBOX|b/INBOX b/Lists", "a/INBOX a/Lists b/INBOX b/Lists ",
		"0:a/INBOX 0:a/Lists 1:b/INBOX 1:b/Lists ", NULL },
	{ "a/INBOX a/INBOX", "a/INBOX ", "0:a/INBOX ", "a" },
	{ "ab/c|a/bc", "a/bc ab/c ", "0:ab/c 1:a/bc ", NULL },
	{ "+a/Lists", "a/Lists ", "0:a/Lists ", "a" },
	{ "a/INBOX +a/Lists", "a/INBOX a/Lists ", "0:a/INBOX 0:a/Lists ", "a" },
	{ "+a/INBOX a/INBOX", "a/INBOX ", "0:a/INBOX ", "a" },
	{ "0", "", "", NULL },
	{ "0|0", "", "", NULL },
	{ "0 a/INBOX", "a/INBOX ", "0:a/INBOX ", "a" },
	{ "0|b/INBOX", "b/INBOX ", "1:b/INBOX ", "b" },
	{ "> a/INBOX", "a/INBOX ", "0:a/INBOX ", "a" },
	{ "!", "", "", NULL },
	{ "a/INBOX|!", "a/INBOX ", "0:a/INBOX ", "a" },
	{ "a/INBOX !|b/INBOX", "b/INBOX ", "1:b/INBOX ", "b" },
	{ "! a/INBOX", "", "", NULL },
	{ "> !", "", "", NULL },
	{ "0 !|a/INBOX", "a/INBOX ", "1:a/INBOX ", "a" },
};

static void check_targets(const struct plan *plan, bool each, const char *wanted)
{
	struct plan_target *target;
	struct buf all = { 0 };
	const size_t count = plan_targets(plan, each, &target);

	for (size_t i = 0; i < count; i++) {
		if (each)
			buf_format(&all, "%zu:", target[i].recipient);
		buf_format(&all, "%.*s/%.*s ", TEXT_ARG(target[i].keep->user),
			TEXT_ARG(target[i].keep->mailbox));
	}
	buf_add_char(&all, '\0');
	assert_string_equal(buf_text(&all).ptr, wanted);
	buf_release(&all);
}

static void plans_are_told_apart(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct arena *arena = arena_new(256);
		struct plan plan;

		make_plan(&plan, arena, cases[i].plan);
		check_targets(&plan, false, cases[i].mailboxes);
		check_targets(&plan, true, cases[i].each);
		const struct text only = plan_only_user(&plan);
		assert_int_equal(only.ptr != NULL, cases[i].only != NULL);
		if (cases[i].only)
			assert_true(text_equal(only, text_of(cases[i].only)));
		arena_free(&arena);
	}
}

/* A wish reaches everything that is kept, and nothing else. */
static void wishes_are_carried_out(void **state)
{
	struct arena *arena = arena_new(256);
	struct plan_target *target;
	struct plan plan;

	(void)state;
	make_plan(&plan, arena, "a/INBOX b/Lists 0");
	plan_wish(arena, plan.first, &(struct plan_wish){ 0 });
	check_targets(&plan, false, "a/INBOX b/Lists ");
	assert_int_equal(plan.first->first->kind, PLAN_KEEP);
	plan_wish(arena, plan.first,
		&(struct plan_wish){ .once = TEXT("key"), .keywords = TEXT("x y"), .flags = 5 });
	plan_wish(arena, plan.first,
		&(struct plan_wish){ .mailbox = TEXT("There"), .keywords = TEXT("z"), .flags = 8 });
	check_targets(&plan, false, "a/There b/There ");
	assert_int_equal(plan.first->first->kind, PLAN_FILE_INTO);
	assert_int_equal(plan_targets(&plan, false, &target), 2);
	for (size_t i = 0; i < 2; i++) {
		assert_true(text_equal(target[i].keep->once, TEXT("key")));
		assert_true(text_equal(target[i].keep->keywords, TEXT("x y z")));
		assert_int_equal(target[i].keep->flags, 13);
	}
	arena_free(&arena);
}

/* Nothing in a plan may point to where it came from. */
static void plans_own_their_text(void **state)
{
	struct arena *arena = arena_new(256);
	char address[] = "alice", user[] = "user", mailbox[] = "box", words[] = "word",
	     why[] = "why", key[] = "key";
	struct plan plan;

	(void)state;
	plan_init(&plan, arena);
	struct plan_recipient *recipient = plan_recipient_new(
		arena, &(struct address){ .local = text_of(address), .domain = text_of(address) });
	plan_add_keep(arena, recipient,
		&(struct plan_keep){ .user = text_of(user),
			.mailbox = text_of(mailbox),
			.keywords = text_of(words),
			.once = text_of(key),
			.flags = 5 });
	plan_add_discard(arena, recipient, text_of(words));
	plan_add_redirect(arena, recipient,
		&(struct address){ .local = text_of(user), .domain = text_of(user) });
	plan_add_refuse(arena, recipient, &(struct reply){ .code = 550, .text = text_of(why) });
	plan_add(&plan, recipient);
	memset(address, '#', sizeof(address) - 1);
	memset(user, '#', sizeof(user) - 1);
	memset(mailbox, '#', sizeof(mailbox) - 1);
	memset(words, '#', sizeof(words) - 1);
	memset(key, '#', sizeof(key) - 1);
	memset(why, '#', sizeof(why) - 1);
	assert_true(text_equal(plan.first->address.local, TEXT("alice")));
	assert_true(text_equal(plan.first->address.domain, TEXT("alice")));
	const struct plan_action *action = plan.first->first;
	const struct plan_keep *kept = plan_action_keep(action);
	assert_true(text_equal(kept->user, TEXT("user")));
	assert_true(text_equal(kept->mailbox, TEXT("box")));
	assert_true(text_equal(kept->keywords, TEXT("word")));
	assert_true(text_equal(kept->once, TEXT("key")));
	assert_int_equal(kept->flags, 5);
	action = action->next;
	assert_true(text_equal(action->of.discard.why, TEXT("word")));
	action = action->next;
	assert_true(text_equal(action->of.redirect.address.domain, TEXT("user")));
	assert_int_equal(action->of.redirect.depth, 1);
	assert_true(text_equal(plan_recipient_refusal(plan.first)->text, TEXT("why")));
	arena_free(&arena);
}

static void a_thousand_recipients_of_one_mailbox_are_one(void **state)
{
	struct arena *arena = arena_new(2048);
	struct plan_target *kept;
	struct plan plan;

	(void)state;
	plan_init(&plan, arena);
	for (int i = 0; i < 2000; i++) {
		const struct text user = text_format(arena, "user%d", i % 1000);
		struct plan_recipient *recipient = plan_recipient_new(
			arena, &(struct address){ .local = user, .domain = TEXT("x.test") });
		plan_add_keep(arena, recipient,
			&(struct plan_keep){
				.user = user, .mailbox = TEXT("INBOX"), .keywords = TEXT("") });
		plan_add(&plan, recipient);
	}
	assert_int_equal(plan.recipients, 2000);
	assert_int_equal(plan_targets(&plan, false, &kept), 1000);
	for (int i = 1; i < 1000; i++)
		assert_true(text_compare(kept[i - 1].keep->user, kept[i].keep->user) < 0);
	assert_int_equal(plan_targets(&plan, true, &kept), 2000);
	for (size_t i = 0; i < 2000; i++)
		assert_int_equal(kept[i].recipient, i);
	arena_free(&arena);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(plans_are_told_apart),
		cmocka_unit_test(wishes_are_carried_out),
		cmocka_unit_test(plans_own_their_text),
		cmocka_unit_test(a_thousand_recipients_of_one_mailbox_are_one),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
