/* Who is behind an address. */
#include "tests/unit/store/directory_fixture.h"

static void make_mailbox(struct fixture *fixture, const char *user, const char *name)
{
	struct fixture_answer answer = { 0 };

	engine_create(fixture->engine, text_of(user), text_of(name), fixture_done, &answer);
	fixture_wait(fixture, &answer);
	assert_int_equal(answer.result.failure, STORE_OK);
}

static void addresses_lead_to_mailboxes(void **state)
{
	/* domain, user, subaddress, alias, nested, list, catch-all, postmaster */
	static const struct {
		const char *address, *leads_to;
	} table[] = {
		{ "alice@example.test", "alice/INBOX" },
		{ "bob@example.test", "bob/INBOX" },
		{ "mary-ann@example.test", "mary-ann/INBOX" },
		{ "o'brien@other.test", "o'brien/INBOX" },
		{ "a b@example.test", "a b/INBOX" },
		{ "j\xc3\xbcrgen@example.test", "j\xc3\xbcrgen/INBOX" },
		{ "dora@xn--mller-kva.test", "dora/INBOX" },
		{ "nobody@example.test", "no such user" },
		{ "carol@other.test", "no such user" },
		{ "al.ice@example.test", "no such user" },
		{ "", "refused" },
		{ "alice", "refused" },
		{ "alice@", "refused" },
		{ "@example.test", "no such user" },
		{ "@other.test", "no such user" },
		{ "alice@elsewhere.test", "refused" },
		{ "alice@sub.example.test", "refused" },
		{ "alice@test", "refused" },
		{ "alice@[127.0.0.1]", "refused" },
		{ "alice@example.test@elsewhere.test", "refused" },
		/* subaddresses: the mailbox of that name when there is one */
		{ "alice+lists@example.test", "alice/Lists once" },
		{ "alice+news@example.test", "alice/INBOX once" },
		{ "alice+@example.test", "alice/INBOX once" },
		{ "alice+lists+more@example.test", "alice/INBOX once" },
		{ "alice+inbox@example.test", "alice/INBOX once" },
		{ "alice+gr\xc3\xb6\xc3\x9f"
		  "e@example.test",
			"alice/Gr\xc3\xb6\xc3\x9f"
			"e once" },
		{ "alice+work/team@example.test", "alice/Work/Team once" },
		{ "alice+../../etc@example.test", "alice/INBOX once" },
		{ "a+b@example.test", "a+b/INBOX" },
		{ "a+b+c@example.test", "a+b/INBOX once" },
		{ "a+c@example.test", "no such user" },
		{ "+alice@example.test", "no such user" },
		{ "nobody+lists@example.test", "no such user" },
		{ "alice-lists@example.test", "no such user" },
		{ "a b+x@example.test", "a b/INBOX once" },
		/* aliases */
		{ "sales@example.test", "alice/INBOX bob/INBOX" },
		{ "info@example.test", "alice/INBOX bob/INBOX carol/INBOX" },
		{ "all@example.test", "alice/INBOX bob/INBOX carol/INBOX" },
		{ "quoted..name@example.test", "carol/INBOX" },
		{ "bob@other.test", "bob/INBOX" },
		{ "bob+x@other.test", "bob/INBOX once" },
		{ "news+daily@example.test", "carol/INBOX" },
		{ "news+weekly@example.test", "no such user" },
		{ "copy@example.test", "alice/Lists bob/INBOX once" },
		{ "sales+lists@example.test", "alice/Lists bob/INBOX once" },
		{ "alice@other.test", "alice/INBOX bob/INBOX" },
		{ "x@xn--mller-kva.test", "j\xc3\xbcrgen/INBOX" },
		/* lists */
		{ "team@example.test", "alice/INBOX<carol> bob/INBOX<carol>" },
		{ "crew@example.test",
			"alice/INBOX<carol> bob/INBOX<carol> mary-ann/INBOX<alice>" },
		{ "team+x@example.test", "alice/INBOX<carol> bob/INBOX<carol> once" },
		/* postmaster and abuse: carol is the first user */
		{ "postmaster", "carol/INBOX" },
		{ "postmaster@example.test", "carol/INBOX" },
		{ "postmaster@other.test", "carol/INBOX" },
		{ "postmaster@xn--mller-kva.test", "carol/INBOX" },
		{ "postmaster@elsewhere.test", "refused" },
		{ "abuse@example.test", "carol/INBOX" },
		{ "abuse@other.test", "o'brien/INBOX" },
		{ "abuse", "refused" },
		{ "up@example.test", "carol/INBOX" },
		{ "hostmaster@example.test", "no such user" },
		/* a catch-all */
		{ "anything@xn--mller-kva.test", "dora/INBOX once" },
		{ "any+thing@xn--mller-kva.test", "dora/INBOX once" },
		{ "anything@m\xc3\xbcller.test", "refused" },
	};
	struct fixture *fixture = *state;

	make_mailbox(fixture, "alice@example.test", "Lists");
	make_mailbox(fixture, "alice@example.test",
		"Gr\xc3\xb6\xc3\x9f"
		"e");
	make_mailbox(fixture, "alice@example.test", "Work/Team");
	const struct said said = put(fixture, STORE_ALIASES_SET, aliases, COUNT(aliases));
	assert_string_equal(said.sentence, "");
	assert_int_equal(said.failure, STORE_OK);
	assert_int_equal(said.changed, COUNT(aliases));
	for (size_t i = 0; i < COUNT(table); i++)
		check(fixture, table[i].address, table[i].leads_to, i);
	/* The same from the index, and from the text file when that is lost. */
	fixture_restart(fixture);
	engine_directory_configure(fixture->engine, &options);
	for (size_t i = 0; i < COUNT(table); i++)
		check(fixture, table[i].address, table[i].leads_to, 100 + i);
	fixture_stop(fixture);
	char env[128];
	snprintf(env, sizeof(env), "%s/env", fixture->directory);
	fixture_remove_tree(env);
	fixture_start(fixture);
	engine_directory_configure(fixture->engine, &options);
	for (size_t i = 0; i < COUNT(table); i++)
		check(fixture, table[i].address, table[i].leads_to, 200 + i);
}

static void options_decide(void **state)
{
	struct fixture *fixture = *state;

	make_mailbox(fixture, "alice@example.test", "Lists");
	options.separators = "-+";
	engine_directory_configure(fixture->engine, &options);
	check(fixture, "mary-ann@example.test", "mary-ann/INBOX", 0);
	check(fixture, "mary-ann-x@example.test", "mary-ann/INBOX once", 1);
	check(fixture, "alice-lists@example.test", "alice/Lists once", 2);
	check(fixture, "alice+lists@example.test", "alice/Lists once", 3);
	options.separators = "";
	engine_directory_configure(fixture->engine, &options);
	check(fixture, "alice+lists@example.test", "no such user", 4);
	check(fixture, "a+b@example.test", "a+b/INBOX", 5);

	options = plain;
	options.detail = DIRECTORY_DETAIL_INBOX;
	engine_directory_configure(fixture->engine, &options);
	check(fixture, "alice+lists@example.test", "alice/INBOX once", 6);
	options.detail = DIRECTORY_DETAIL_CREATE;
	engine_directory_configure(fixture->engine, &options);
	check(fixture, "alice+lists@example.test", "alice/Lists once", 7);
	check(fixture, "alice+new@example.test", "alice/new once", 8);
	check(fixture, "alice+a/b@example.test", "alice/a/b once", 9);
	check(fixture, "alice+/@example.test", "alice/INBOX once", 11);
	check(fixture, "alice+inbox@example.test", "alice/INBOX once", 12);

	options = plain;
	options.postmaster = "Bob@Example.Test";
	engine_directory_configure(fixture->engine, &options);
	check(fixture, "postmaster", "bob/INBOX", 13);
	check(fixture, "abuse@other.test", "bob/INBOX", 14);
	options.postmaster = "gone@example.test";
	engine_directory_configure(fixture->engine, &options);
	check(fixture, "postmaster@other.test", "carol/INBOX", 15);
	options.postmaster = "postmaster@example.test";
	engine_directory_configure(fixture->engine, &options);
	check(fixture, "postmaster@other.test", "carol/INBOX", 16);

	options = plain;
	options.domain_count = 1;
	engine_directory_configure(fixture->engine, &options);
	check(fixture, "alice@other.test", "refused", 17);
	options.domain_count = 0;
	engine_directory_configure(fixture->engine, &options);
	check(fixture, "postmaster", "refused", 18);
	check(fixture, "alice@example.test", "refused", 19);
}

static void nesting_has_an_end(void **state)
{
	struct fixture *fixture = *state;
	char line[100];
	struct said said = add(fixture, "n0@example.test - alice@example.test");

	for (int i = 1; i < 60 && said.failure == STORE_OK; i++) {
		snprintf(line, sizeof(line), "n%d@example.test - n%d@example.test", i, i - 1);
		said = add(fixture, line);
		snprintf(line, sizeof(line), "n%d@example.test", i);
		check(fixture, line, said.failure == STORE_OK ? "alice/INBOX" : "no such user",
			(size_t)i);
		assert_true(said.failure == STORE_OK || i == 32);
	}
	assert_int_equal(said.failure, STORE_INVALID);
	assert_string_equal(said.sentence, "n0@example.test is more than 32 aliases deep");
}

static void a_list_may_have_a_thousand_members(void **state)
{
	struct fixture *fixture = *state;
	static char names[1001][32];
	static struct text members[1001];
	struct engine_alias alias = { .address = TEXT("big@example.test"),
		.owner = TEXT("carol@example.test"),
		.members = members };
	struct arena *arena = arena_new(4096);
	struct said said = { 0 };

	for (size_t i = 0; i < COUNT(names); i++) {
		snprintf(names[i], sizeof(names[i]), "m%zu@example.test", i);
		members[i] = text_of(names[i]);
		assert_int_equal(fixture_add_user(fixture, names[i]), STORE_OK);
	}
	alias.count = 1001;
	engine_aliases_put(fixture->engine, STORE_ALIASES_ADD, &alias, 1, on_said, &said);
	assert_int_equal(wait_for(fixture, &said).failure, STORE_INVALID);
	said = (struct said){ 0 };
	alias.count = 1000;
	engine_aliases_put(fixture->engine, STORE_ALIASES_ADD, &alias, 1, on_said, &said);
	assert_int_equal(wait_for(fixture, &said).failure, STORE_OK);
	for (int round = 0; round < 2; round++) {
		const struct engine_resolution found =
			engine_resolve(fixture->engine, arena, TEXT("big@example.test"), 0);
		assert_int_equal(found.failure, STORE_OK);
		assert_int_equal(found.count, 1000);
		assert_true(found.lasting);
		fixture_restart(fixture);
		engine_directory_configure(fixture->engine, &options);
	}
	/* One more by way of another alias is too many for one message. */
	assert_int_equal(
		add(fixture, "bigger@example.test - big@example.test m1000@example.test").failure,
		STORE_OK);
	check(fixture, "bigger@example.test", "too large", 0);
	arena_free(&arena);
}

static void who_is_full_does_not_keep_a_list_from_the_others(void **state)
{
	struct fixture *fixture = *state;
	struct fixture_answer answer = { 0 };

	put(fixture, STORE_ALIASES_SET, aliases, COUNT(aliases));
	engine_user_quota(fixture->engine, TEXT("bob@example.test"), 5, 0, fixture_done, &answer);
	fixture_wait(fixture, &answer);
	assert_int_equal(fixture_deliver(fixture, "bob@example.test", "\nfull"), STORE_OK);
	/* The owner gets what bob cannot. */
	check(fixture, "team@example.test", "alice/INBOX<carol> carol/INBOX<carol> once", 0);
	check(fixture, "crew@example.test",
		"alice/INBOX<carol> carol/INBOX<carol> mary-ann/INBOX<alice> once", 0);
	check(fixture, "sales@example.test", "over quota", 1);
	check(fixture, "bob@other.test", "over quota", 2);
	assert_int_equal(
		add(fixture, "only@example.test carol@example.test bob@example.test").failure,
		STORE_OK);
	check(fixture, "only@example.test", "carol/INBOX<carol> once", 3);
	/* An owner without room, or one whom only the list itself leads to: everybody waits. */
	assert_int_equal(
		add(fixture, "own@example.test bob@other.test alice@example.test bob@example.test")
			.failure,
		STORE_OK);
	check(fixture, "own@example.test", "over quota", 4);
	static const char *const ring[] = { "o@example.test - r@example.test",
		"r@example.test o@example.test bob@example.test alice@example.test" };
	assert_int_equal(put(fixture, STORE_ALIASES_SET, ring, 2).failure, STORE_OK);
	check(fixture, "r@example.test", "over quota", 5);
}

static void senders_own_what_leads_only_to_them(void **state)
{
	static const struct {
		const char *user, *address;
		bool owned;
	} table[] = {
		{ "alice@example.test", "alice@example.test", true },
		{ "alice@example.test", "alice+x@example.test", true },
		{ "alice@example.test", "bob@example.test", false },
		{ "alice@example.test", "sales@example.test", false },
		{ "alice@example.test", "alice@other.test", false },
		{ "alice@example.test", "alice@elsewhere.test", false },
		{ "alice@example.test", "", false },
		{ "bob@example.test", "bob@other.test", true },
		{ "bob@example.test", "bob+y@other.test", true },
		{ "carol@example.test", "news+daily@example.test", true },
		{ "carol@example.test", "postmaster", true },
		{ "carol@example.test", "up@example.test", true },
		{ "carol@example.test", "nobody@example.test", false },
		{ "dora@xn--mller-kva.test", "whoever@xn--mller-kva.test", true },
		{ "dora@xn--mller-kva.test", "x@xn--mller-kva.test", false },
	};
	struct fixture *fixture = *state;

	put(fixture, STORE_ALIASES_SET, aliases, COUNT(aliases));
	for (size_t i = 0; i < COUNT(table); i++) {
		if (engine_address_owned(fixture->engine, text_of(table[i].user),
			    text_of(table[i].address)) != table[i].owned)
			fail_msg("%s and %s", table[i].user, table[i].address);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(addresses_lead_to_mailboxes),
		TEST(options_decide),
		TEST(nesting_has_an_end),
		TEST(a_list_may_have_a_thousand_members),
		TEST(who_is_full_does_not_keep_a_list_from_the_others),
		TEST(senders_own_what_leads_only_to_them),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
