/*
 * Redirects in a plan: what they become, how loops end, and the store's answers coming late.
 */
#include "base/arena.h"
#include "mda/redirect.h"
#include "tests/unit/mda/harness.h"

/*
 * Actions: ">local@domain" redirects, "+user/mailbox" files, "0" discards, "" nothing. Afterwards the
 * same, without the redirects, or the refusal's code and text.
 */
static const struct {
	const char *actions;
	const char *becomes; /* a pattern */
} cases[] = {
	{ "+alice@example.test/A", "+alice@example.test/A " },
	{ ">bob@example.test", "bob@example.test/INBOX " },
	{ "+x@example.test/A >bob@example.test", "+x@example.test/A bob@example.test/INBOX " },
	{ ">bob@example.test >carol@example.test",
		"bob@example.test/INBOX carol@example.test/INBOX " },
	{ ">bob@example.test >BOB@Example.test", "bob@example.test/INBOX " },
	{ ">postmaster", "postmaster@example.test/INBOX " },
	{ "0 >bob@example.test", "0 bob@example.test/INBOX " },
	/* Somebody redirects to himself: what else he has holds, and nothing vanishes. */
	{ "+me@example.test/A >me@example.test", "+me@example.test/A " },
	{ ">me@example.test", "554 redirected in a circle " },
	{ ">me@example.test >ME@EXAMPLE.TEST", "554 redirected in a circle " },
	{ "", "554 redirected in a circle " },
	{ ">nobody@example.test", "550 no such user here " },
	{ "+x@example.test/A >nobody@example.test", "550 no such user here " },
	{ ">bob@example.test >x@elsewhere.test",
		"550 redirected to another host, and this one sends no mail on " },
};

static void add_actions(struct arena *arena, struct plan_recipient *recipient, const char *actions)
{
	struct text rest = text_of(actions), action;
	struct address address;

	while (actions[0] && text_split(&rest, ' ', &action)) {
		const struct text value = text_from(action, 1);
		const ptrdiff_t slash = text_find(value, '/');
		if (action.ptr[0] == '0') {
			plan_add_discard(arena, recipient, TEXT("a whim"));
		} else if (action.ptr[0] == '>') {
			address = (struct address){ .local = value, .domain = TEXT("") };
			if (text_find(value, '@') >= 0)
				assert_int_equal(address_parse(arena, value, false, &address), 0);
			plan_add_redirect(arena, recipient, &address);
		} else {
			plan_add_file_into(arena, recipient,
				&(struct plan_keep){ .user = text_head(value, (size_t)slash),
					.mailbox = text_from(value, (size_t)slash + 1),
					.keywords = TEXT("") });
		}
	}
}

static void describe(const struct plan_recipient *recipient, struct buf *out)
{
	const struct reply *refusal = plan_recipient_refusal(recipient);

	if (refusal) {
		buf_format(out, "%u %.*s ", refusal->code, TEXT_ARG(refusal->text));
		return;
	}
	for (const struct plan_action *at = recipient->first; at; at = at->next) {
		const struct plan_keep *keep = plan_action_keep(at);
		if (keep)
			buf_format(out, "%s%.*s/%.*s ", at->kind == PLAN_KEEP ? "" : "+",
				TEXT_ARG(keep->user), TEXT_ARG(keep->mailbox));
		else if (at->kind == PLAN_DISCARD)
			buf_add_string(out, "0 ");
	}
}

static void on_done(void *owner, struct plan_recipient *recipient)
{
	assert_non_null(recipient);
	++*(int *)owner;
}

static const struct address me = { { "me", 2 }, { "example.test", 12 } };

static void redirects_become_what_they_stand_for(void **state)
{
	struct harness *h = *state;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct arena *arena = arena_new(256);
		struct plan_recipient *recipient = plan_recipient_new(arena, &me);
		struct buf got = { 0 };
		int done = 0;

		add_actions(arena, recipient, cases[i].actions);
		if (!redirect_follow(h->worker->resolve, arena, recipient, 0, on_done, &done)) {
			assert_int_equal(done, 0);
			harness_settle(h);
			assert_int_equal(done, 1);
		}
		describe(recipient, &got);
		buf_add_char(&got, '\0');
		assert_string_equal(buf_text(&got).ptr, cases[i].becomes);
		buf_release(&got);
		arena_free(&arena);
	}
}

/* Who is forgotten while the store thinks is not called back, and his memory may go. */
static void the_forgotten_are_let_go(void **state)
{
	struct harness *h = *state;
	struct arena *arena = arena_new(256);
	struct plan_recipient *recipient = plan_recipient_new(arena, &me);
	int done = 0;

	h->manual = true;
	add_actions(arena, recipient, ">bob@example.test >carol@example.test");
	assert_false(redirect_follow(h->worker->resolve, arena, recipient, 0, on_done, &done));
	harness_settle(h);
	resolve_forget(h->worker->resolve, arena);
	arena_free(&arena);
	harness_answer(h, 0);
	harness_settle(h);
	assert_int_equal(done, 0);
	assert_int_equal(h->lookups, 1);
}

static void redirects_are_bounded(void **state)
{
	struct harness *h = *state;
	struct arena *arena = arena_new(2048);
	struct plan_recipient *recipient = plan_recipient_new(arena, &me);
	int done = 0;

	for (int i = 0; i <= REDIRECT_LIMIT; i++)
		plan_add_redirect(arena, recipient,
			&(struct address){ .local = text_format(arena, "user%d", i),
				.domain = TEXT("example.test") });
	assert_true(redirect_follow(h->worker->resolve, arena, recipient, 0, on_done, &done));
	assert_int_equal(plan_recipient_refusal(recipient)->code, 554);

	recipient = plan_recipient_new(arena, &me);
	add_actions(arena, recipient, ">bob@example.test");
	recipient->first->of.redirect.depth = REDIRECT_DEPTH_LIMIT + 1;
	assert_true(redirect_follow(h->worker->resolve, arena, recipient, 0, on_done, &done));
	assert_int_equal(plan_recipient_refusal(recipient)->code, 554);
	assert_int_equal(h->lookups, 0);

	harness_store_dies(h);
	h->refuse_connections = true;
	harness_settle(h);
	recipient = plan_recipient_new(arena, &me);
	add_actions(arena, recipient, ">bob@example.test");
	assert_true(redirect_follow(h->worker->resolve, arena, recipient, 0, on_done, &done));
	assert_int_equal(plan_recipient_refusal(recipient)->code, 451);
	arena_free(&arena);
}

static int setup(void **state)
{
	log_open("test", LOG_LEVEL_ERROR + 1);
	*state = harness_start();
	harness_settle(*state);
	return 0;
}

static int teardown(void **state)
{
	harness_stop(*state);
	return 0;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(redirects_become_what_they_stand_for),
		TEST(the_forgotten_are_let_go),
		TEST(redirects_are_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
