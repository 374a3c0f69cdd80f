/* How who is behind an address changes, and what may not be. */
#include "tests/unit/store/directory_fixture.h"

static struct said remove_alias(struct fixture *fixture, const char *line)
{
	struct text members[20];
	const struct engine_alias alias = alias_of(line, members);
	struct said said = { 0 };

	engine_alias_remove(fixture->engine, alias.address, members, alias.count, on_said, &said);
	return wait_for(fixture, &said);
}

static struct said domain(struct fixture *fixture, const char *name, bool adds)
{
	struct said said = { 0 };

	if (adds)
		engine_domain_add(fixture->engine, text_of(name), on_said, &said);
	else
		engine_domain_remove(fixture->engine, text_of(name), on_said, &said);
	return wait_for(fixture, &said);
}

/* ---- what may not be ---- */

static void slips_are_named(void **state)
{
	static const struct {
		const char *line;
		enum store_failure failure;
		const char *sentence;
	} table[] = {
		{ "x@example.test - gone@example.test", STORE_NO_SUCH_USER,
			"x@example.test: there is no gone@example.test" },
		{ "x@example.test - x@example.test", STORE_NO_SUCH_USER,
			"x@example.test: there is no x@example.test" },
		{ "x@example.test gone@example.test alice@example.test", STORE_NO_SUCH_USER,
			"x@example.test: there is no gone@example.test" },
		{ "x@example.test - alice@elsewhere.test", STORE_REFUSED,
			"x@example.test: alice@elsewhere.test is not on this host, and mail cannot "
			"be "
			"sent on to others" },
		{ "x@elsewhere.test - alice@example.test", STORE_REFUSED,
			"x@elsewhere.test: elsewhere.test is not a domain of this host; restante "
			"domain add makes it one" },
		{ "x@example.test -", STORE_INVALID,
			"x@example.test has no member; an alias leads to 1 to 1000" },
		{ "x@example.test x@example.test alice@example.test", STORE_INVALID,
			"x@example.test: a list cannot be its own owner" },
		{ "alice@example.test - bob@example.test", STORE_OK,
			"alice@example.test is a user, too, whose own mailbox gets nothing now; "
			"make "
			"it a member to keep a copy" },
		{ "bob@example.test - bob@example.test carol@example.test", STORE_OK, "" },
	};
	struct fixture *fixture = *state;

	for (size_t i = 0; i < COUNT(table); i++) {
		const struct said said = add(fixture, table[i].line);
		assert_string_equal(said.sentence, table[i].sentence);
		assert_int_equal(said.failure, table[i].failure);
	}
	check(fixture, "x@example.test", "no such user", 0);
	check(fixture, "alice@example.test", "bob/INBOX carol/INBOX", 1);
	check(fixture, "bob@example.test", "bob/INBOX carol/INBOX", 2);
	/* Twice in one request, and a name that a user is to have. */
	static const char *const twice[] = { "y@example.test - alice@example.test",
		"y@example.test - bob@example.test" };
	assert_int_equal(put(fixture, STORE_ALIASES_SET, twice, 2).failure, STORE_INVALID);
	assert_int_equal(add(fixture, "dave@example.test - bob@example.test").failure, STORE_OK);
	assert_int_equal(fixture_add_user(fixture, "dave@example.test"), STORE_ALREADY_EXISTS);
}

static void circles_are_refused(void **state)
{
	struct fixture *fixture = *state;

	assert_int_equal(add(fixture, "a@example.test - alice@example.test").failure, STORE_OK);
	assert_int_equal(add(fixture, "b@example.test - a@example.test").failure, STORE_OK);
	assert_int_equal(add(fixture, "c@example.test - b@example.test").failure, STORE_OK);
	struct said said = add(fixture, "a@example.test - c@example.test");
	assert_int_equal(said.failure, STORE_INVALID);
	assert_string_equal(said.sentence,
		"this would be a circle: a@example.test -> c@example.test -> b@example.test -> "
		"a@example.test");
	/* By a subaddress, by a list, by a catch-all, within one request. */
	assert_int_equal(add(fixture, "a@example.test - c+x@example.test").failure, STORE_INVALID);
	assert_int_equal(add(fixture, "a@example.test bob@example.test c@example.test").failure,
		STORE_INVALID);
	assert_int_equal(add(fixture, "@other.test - alice@example.test").failure, STORE_OK);
	static const char *const catch[] = { "l@example.test - some@other.test",
		"@other.test - l@example.test" };
	assert_int_equal(put(fixture, STORE_ALIASES_SET, catch, 2).failure, STORE_INVALID);
	static const char *const pair[] = { "p@example.test - q@example.test",
		"q@example.test - p@example.test" };
	said = put(fixture, STORE_ALIASES_FILE, pair, 2);
	assert_int_equal(said.failure, STORE_INVALID);
	assert_string_equal(said.sentence,
		"this would be a circle: p@example.test -> q@example.test -> p@example.test");
	/* Nothing of that was done. */
	check(fixture, "c@example.test", "alice/INBOX", 0);
	check(fixture, "some@other.test", "alice/INBOX once", 1);
	check(fixture, "p@example.test", "no such user", 2);

	/* What came together by other ways does no harm: the user between two aliases goes. */
	assert_int_equal(add(fixture, "bob@example.test - bob@example.test").failure, STORE_OK);
	struct fixture_answer answer = { 0 };
	engine_user_remove(fixture->engine, TEXT("bob@example.test"), fixture_done, &answer);
	fixture_wait(fixture, &answer);
	assert_int_equal(answer.result.failure, STORE_OK);
	check(fixture, "bob@example.test", "no such user", 3);
}

/* ---- changes ---- */

static void members_come_and_go(void **state)
{
	struct fixture *fixture = *state;

	assert_int_equal(add(fixture, "x@example.test - alice@example.test").changed, 1);
	assert_int_equal(add(fixture, "x@example.test - alice@example.test").changed, 0);
	assert_int_equal(
		add(fixture, "x@example.test carol@example.test bob@example.test").changed, 1);
	check(fixture, "x@example.test", "alice/INBOX<carol> bob/INBOX<carol>", 0);
	assert_int_equal(add(fixture, "x@example.test - carol@example.test").failure, STORE_OK);
	check(fixture, "x@example.test", "alice/INBOX<carol> bob/INBOX<carol> carol/INBOX<carol>",
		1);
	assert_int_equal(
		remove_alias(fixture, "x@example.test - bob@example.test carol@example.test")
			.failure,
		STORE_OK);
	check(fixture, "x@example.test", "alice/INBOX<carol>", 2);
	struct said said = remove_alias(fixture, "x@example.test - bob@example.test");
	assert_int_equal(said.failure, STORE_NO_SUCH_USER);
	assert_string_equal(said.sentence, "bob@example.test is not a member of x@example.test");
	said = remove_alias(fixture, "x@example.test - alice@example.test");
	assert_int_equal(said.failure, STORE_INVALID);
	assert_string_equal(
		said.sentence, "x@example.test would have no member; remove the alias itself");
	assert_int_equal(remove_alias(fixture, "x@example.test -").failure, STORE_OK);
	check(fixture, "x@example.test", "no such user", 3);
	assert_int_equal(remove_alias(fixture, "x@example.test -").failure, STORE_NO_SUCH_USER);
}

static void a_file_takes_the_place_of_the_last_one(void **state)
{
	static const char *const first[] = { "f1@example.test - alice@example.test",
		"f2@example.test - later@example.test" };
	static const char *const second[] = { "f2@example.test - bob@example.test",
		"f3@example.test - f2@example.test" };
	struct fixture *fixture = *state;

	assert_int_equal(add(fixture, "mine@example.test - carol@example.test").failure, STORE_OK);
	struct said said = put(fixture, STORE_ALIASES_FILE, first, 2);
	assert_int_equal(said.failure, STORE_OK);
	assert_string_equal(said.sentence, "f2@example.test: there is no later@example.test");
	said = put(fixture, STORE_ALIASES_FILE, second, 2);
	assert_int_equal(said.failure, STORE_OK);
	assert_int_equal(said.changed, 3);
	check(fixture, "f1@example.test", "no such user", 0);
	check(fixture, "f3@example.test", "bob/INBOX", 1);
	check(fixture, "mine@example.test", "carol/INBOX", 2);
	assert_int_equal(put(fixture, STORE_ALIASES_FILE, second, 2).changed, 0);
	assert_int_equal(put(fixture, STORE_ALIASES_FILE, NULL, 0).changed, 2);
	check(fixture, "f3@example.test", "no such user", 3);
	check(fixture, "mine@example.test", "carol/INBOX", 4);
}

static void domains_come_and_go(void **state)
{
	struct fixture *fixture = *state;

	assert_int_equal(domain(fixture, "new.test", true).failure, STORE_OK);
	assert_int_equal(domain(fixture, "new.test", true).failure, STORE_ALREADY_EXISTS);
	assert_int_equal(domain(fixture, "example.test", true).failure, STORE_ALREADY_EXISTS);
	assert_int_equal(domain(fixture, "not a domain", true).failure, STORE_INVALID);
	assert_int_equal(domain(fixture, "", true).failure, STORE_INVALID);
	assert_int_equal(add(fixture, "x@new.test - alice@example.test").failure, STORE_OK);
	check(fixture, "x@new.test", "alice/INBOX", 0);
	check(fixture, "postmaster@new.test", "carol/INBOX", 1);
	assert_int_equal(domain(fixture, "example.test", false).failure, STORE_REFUSED);
	assert_int_equal(domain(fixture, "elsewhere.test", false).failure, STORE_NO_SUCH_USER);
	const struct said said = domain(fixture, "new.test", false);
	assert_int_equal(said.failure, STORE_OK);
	assert_string_equal(said.sentence, "no mail is taken any more for its 0 users and 1 alias");
	check(fixture, "x@new.test", "refused", 2);
	assert_int_equal(domain(fixture, "new.test", true).failure, STORE_OK);
	check(fixture, "x@new.test", "alice/INBOX", 3);

	struct engine_domain each = { .name = TEXT("") };
	char names[200] = "";
	while (engine_domains_next(fixture->engine, each.name, &each))
		snprintf(names + strlen(names), sizeof(names) - strlen(names), "%.*s %d %u %u;",
			TEXT_ARG(each.name), each.in_settings, each.users, each.aliases);
	assert_string_equal(names,
		"example.test 1 7 0;new.test 0 0 1;other.test 1 2 0;xn--mller-kva.test 1 1 0;");
}

/* Each is checked against what the one before it leaves, though all of them wait together. */
static void changes_wait_for_one_another(void **state)
{
	struct fixture *fixture = *state;
	struct text members[3][20];
	struct said said[4] = { 0 };
	static const char *const lines[] = { "a@example.test - alice@example.test",
		"b@example.test - a@example.test", "a@example.test - b@example.test" };

	for (size_t i = 0; i < 3; i++) {
		const struct engine_alias alias = alias_of(lines[i], members[i]);
		engine_aliases_put(
			fixture->engine, STORE_ALIASES_ADD, &alias, 1, on_said, &said[i]);
	}
	engine_alias_remove(fixture->engine, TEXT("b@example.test"), NULL, 0, on_said, &said[3]);
	wait_for(fixture, &said[3]);
	assert_int_equal(said[0].failure, STORE_OK);
	assert_int_equal(said[1].failure, STORE_OK);
	assert_int_equal(said[2].failure, STORE_INVALID);
	assert_int_equal(said[3].failure, STORE_OK);
	check(fixture, "a@example.test", "alice/INBOX", 0);
	check(fixture, "b@example.test", "no such user", 1);
	/* Whoever is forgotten is not called, and the change is made. */
	engine_domain_add(fixture->engine, TEXT("one.test"), on_said, &said[0]);
	engine_domain_add(fixture->engine, TEXT("two.test"), on_said, &said[0]);
	engine_forget(fixture->engine, &said[0]);
	fixture_restart(fixture);
	engine_directory_configure(fixture->engine, &options);
	check(fixture, "postmaster@two.test", "carol/INBOX", 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(slips_are_named),
		TEST(circles_are_refused),
		TEST(members_come_and_go),
		TEST(a_file_takes_the_place_of_the_last_one),
		TEST(domains_come_and_go),
		TEST(changes_wait_for_one_another),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
