#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "base/arena.h"
#include "mda/plan.h"

/* Recipients separated by '|', each a run of user/mailbox, or "!" for a refusal. */
static void make_plan(struct plan *plan, struct arena *arena, const char *description)
{
	struct text rest = text_of(description), recipient, action;
	const struct address address = { .local = TEXT("x"), .domain = TEXT("example.test") };

	plan_init(plan, arena);
	while (description[0] && text_split(&rest, '|', &recipient)) {
		struct plan_recipient *made = plan_recipient_new(arena, &address);
		while (text_split(&recipient, ' ', &action)) {
			ptrdiff_t slash = text_find(action, '/');
			if (slash < 0)
				plan_add_refuse(arena, made, &REPLY(550, 5, 7, 1, "no"));
			else
				plan_add_keep(arena, made,
					&(struct plan_keep){
						.user = text_head(action, (size_t)slash),
						.mailbox = text_from(action, (size_t)slash + 1),
						.keywords = TEXT("") });
		}
		plan_add(plan, made);
	}
}

struct plan_case {
	const char *plan;
	const char *mailboxes; /* in order, each once */
	const char *only;      /* NULL: none or several */
	size_t recipients;
	bool refused;
};

static const struct plan_case cases[] = {
	{ "", "", NULL, 0, false },
	{ "a/INBOX", "a/INBOX ", "a", 1, false },
	{ "b/INBOX|a/INBOX", "a/INBOX b/INBOX ", NULL, 2, false },
	{ "a/INBOX|a/INBOX|a/INBOX", "a/INBOX ", "a", 3, false },
	{ "a/INBOX|b/INBOX|a/INBOX", "a/INBOX b/INBOX ", NULL, 3, false },
	{ "a/Lists|a/INBOX", "a/INBOX a/Lists ", "a", 2, false },
	{ "a/Lists a/INBOX|b/INBOX b/Lists", "a/INBOX a/Lists b/INBOX b/Lists ", NULL, 2, false },
	{ "a/INBOX a/INBOX", "a/INBOX ", "a", 1, false },
	{ "ab/c|a/bc", "a/bc ab/c ", NULL, 2, false },
	{ "!", "", NULL, 1, true },
	{ "a/INBOX|!", "a/INBOX ", "a", 2, true },
	{ "a/INBOX !|b/INBOX", "a/INBOX b/INBOX ", NULL, 2, true },
};

static void plans_are_told_apart(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct arena *arena = arena_new(256);
		const struct plan_keep **mailbox;
		struct buf all = { 0 };
		struct plan plan;

		make_plan(&plan, arena, cases[i].plan);
		assert_int_equal(plan.recipients, cases[i].recipients);
		size_t count = plan_mailboxes(&plan, &mailbox);
		for (size_t j = 0; j < count; j++)
			buf_format(&all, "%.*s/%.*s ", TEXT_ARG(mailbox[j]->user),
				TEXT_ARG(mailbox[j]->mailbox));
		buf_add_char(&all, '\0');
		assert_string_equal(buf_text(&all).ptr, cases[i].mailboxes);
		struct text only = plan_only_user(&plan);
		assert_int_equal(only.ptr != NULL, cases[i].only != NULL);
		if (cases[i].only)
			assert_true(text_equal(only, text_of(cases[i].only)));
		assert_int_equal(plan_refusal(&plan) != NULL, cases[i].refused);
		buf_release(&all);
		arena_free(&arena);
	}
}

/* Nothing in a plan may point to where it came from. */
static void plans_own_their_text(void **state)
{
	struct arena *arena = arena_new(256);
	char address[] = "alice", user[] = "user", mailbox[] = "box", words[] = "word",
	     why[] = "why";
	const struct plan_keep **kept;
	struct plan plan;

	(void)state;
	plan_init(&plan, arena);
	struct plan_recipient *recipient = plan_recipient_new(
		arena, &(struct address){ .local = text_of(address), .domain = text_of(address) });
	plan_add_keep(arena, recipient,
		&(struct plan_keep){ .user = text_of(user),
			.mailbox = text_of(mailbox),
			.keywords = text_of(words),
			.flags = 5 });
	plan_add_refuse(arena, recipient, &(struct reply){ .code = 550, .text = text_of(why) });
	plan_add(&plan, recipient);
	memset(address, '#', sizeof(address) - 1);
	memset(user, '#', sizeof(user) - 1);
	memset(mailbox, '#', sizeof(mailbox) - 1);
	memset(words, '#', sizeof(words) - 1);
	memset(why, '#', sizeof(why) - 1);
	assert_true(text_equal(plan.first->address.local, TEXT("alice")));
	assert_true(text_equal(plan.first->address.domain, TEXT("alice")));
	assert_int_equal(plan_mailboxes(&plan, &kept), 1);
	assert_true(text_equal(kept[0]->user, TEXT("user")));
	assert_true(text_equal(kept[0]->mailbox, TEXT("box")));
	assert_true(text_equal(kept[0]->keywords, TEXT("word")));
	assert_int_equal(kept[0]->flags, 5);
	assert_true(text_equal(plan_refusal(&plan)->text, TEXT("why")));
	arena_free(&arena);
}

static void a_thousand_recipients_of_one_mailbox_are_one(void **state)
{
	struct arena *arena = arena_new(2048);
	const struct plan_keep **kept;
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
	assert_int_equal(plan_mailboxes(&plan, &kept), 1000);
	for (int i = 1; i < 1000; i++)
		assert_true(text_compare(kept[i - 1]->user, kept[i]->user) < 0);
	arena_free(&arena);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(plans_are_told_apart),
		cmocka_unit_test(plans_own_their_text),
		cmocka_unit_test(a_thousand_recipients_of_one_mailbox_are_one),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
