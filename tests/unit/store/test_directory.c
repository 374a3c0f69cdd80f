/* Who is behind an address, and how that changes. */
#include "base/arena.h"
#include "store/directory.h"
#include "tests/unit/store/engine_fixture.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static const char *const domains[] = { "example.test", "Other.Test", "m\xc3\xbcller.test" };

static const struct directory_options plain = {
	.domains = domains,
	.domain_count = COUNT(domains),
	.separators = "+",
	.postmaster = "",
	.detail = DIRECTORY_DETAIL_EXISTING,
};

static struct directory_options options;

/* ---- asking for changes ---- */

struct said {
	bool done;
	enum store_failure failure;
	uint32_t changed;
	char sentence[2000];
};

static void on_said(void *owner, const struct engine_result *result)
{
	struct said *said = owner;

	assert_false(said->done);
	said->done = true;
	said->failure = result->failure;
	said->changed = result->changed;
	snprintf(said->sentence, sizeof(said->sentence), "%.*s", TEXT_ARG(result->sentence));
}

static struct said wait_for(struct fixture *fixture, struct said *said)
{
	assert_false(said->done);
	while (!said->done)
		assert_int_equal(event_base_loop(fixture->loop, EVLOOP_ONCE), 0);
	return *said;
}

/* "name owner|- member member…", split at blanks into texts of the string. */
static struct engine_alias alias_of(const char *line, struct text *members)
{
	struct engine_alias alias = { .owner = TEXT(""), .members = members };
	struct text rest = text_of(line), word;

	assert_true(text_split(&rest, ' ', &alias.address));
	assert_true(text_split(&rest, ' ', &alias.owner));
	if (text_equal(alias.owner, TEXT("-")))
		alias.owner = TEXT("");
	while (rest.len && text_split(&rest, ' ', &word))
		members[alias.count++] = word;
	return alias;
}

static struct said put(struct fixture *fixture, enum store_aliases_mode mode,
	const char *const *lines, size_t count)
{
	struct text members[40][20];
	struct engine_alias aliases[40];
	struct said said = { 0 };

	for (size_t i = 0; i < count; i++)
		aliases[i] = alias_of(lines[i], members[i]);
	engine_aliases_put(fixture->engine, mode, aliases, count, on_said, &said);
	return wait_for(fixture, &said);
}

static struct said add(struct fixture *fixture, const char *line)
{
	return put(fixture, STORE_ALIASES_ADD, &line, 1);
}

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

static void make_mailbox(struct fixture *fixture, const char *user, const char *name)
{
	struct fixture_answer answer = { 0 };

	engine_create(fixture->engine, text_of(user), text_of(name), fixture_done, &answer);
	fixture_wait(fixture, &answer);
	assert_int_equal(answer.result.failure, STORE_OK);
}

/* ---- asking who it is ---- */

/* "user/mailbox user/mailbox<owner>", or the failure's name. Does not outlive the next call. */
static const char *resolved(struct fixture *fixture, const char *address)
{
	static char line[4096];
	struct arena *arena = arena_new(4096);
	const struct engine_resolution found =
		engine_resolve(fixture->engine, arena, text_of(address), 0);
	size_t n = 0;

	line[0] = '\0';
	for (size_t i = 0; i < found.count && n + 400 < sizeof(line); i++) {
		const struct engine_target *target = &found.targets[i];
		n += (size_t)snprintf(line + n, sizeof(line) - n, "%s%.*s/%.*s", i ? " " : "",
			(int)text_find(target->user, '@'), target->user.ptr,
			TEXT_ARG(target->mailbox));
		if (target->owner.len)
			n += (size_t)snprintf(line + n, sizeof(line) - n, "<%.*s>",
				(int)text_find(target->owner, '@'), target->owner.ptr);
	}
	if (found.failure != STORE_OK)
		snprintf(line, sizeof(line), "%s", store_failure_name(found.failure));
	else if (!found.lasting)
		snprintf(line + n, sizeof(line) - n, " once");
	arena_free(&arena);
	return line;
}

static void check(struct fixture *fixture, const char *address, const char *wanted, size_t row)
{
	const char *got = resolved(fixture, address);

	if (strcmp(got, wanted) != 0)
		fail_msg("row %zu: %s leads to \"%s\", not \"%s\"", row, address, got, wanted);
}

static int setup(void **state)
{
	fixture_setup(state);
	struct fixture *fixture = *state;
	static const char *const users[] = { "carol@example.test", "alice@example.test",
		"bob@example.test", "mary-ann@example.test", "a+b@example.test",
		"o'brien@other.test", "a b@example.test", "j\xc3\xbcrgen@example.test",
		"dora@xn--mller-kva.test", "alice@other.test" };

	options = plain;
	engine_directory_configure(fixture->engine, &options);
	for (size_t i = 0; i < COUNT(users); i++)
		assert_int_equal(fixture_add_user(fixture, users[i]), STORE_OK);
	return 0;
}

static const char *const aliases[] = {
	"sales@example.test - alice@example.test bob@example.test",
	"info@example.test - sales@example.test carol@example.test",
	"all@example.test - info@example.test sales@example.test bob@example.test",
	"team@example.test carol@example.test alice@example.test bob@example.test",
	"crew@example.test alice@example.test team@example.test mary-ann@example.test",
	"copy@example.test - alice+lists@example.test bob@example.test",
	"bob@other.test - bob@example.test",
	"news+daily@example.test - carol@example.test",
	"alice@other.test - alice@other.test bob@example.test",
	"abuse@other.test - o'brien@other.test",
	"@xn--mller-kva.test - dora@xn--mller-kva.test",
	"up@example.test - postmaster@example.test",
	"x@xn--mller-kva.test - j\xc3\xbcrgen@example.test",
	"quoted..name@example.test - carol@example.test",
};

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

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(addresses_lead_to_mailboxes),
		TEST(options_decide),
		TEST(slips_are_named),
		TEST(circles_are_refused),
		TEST(nesting_has_an_end),
		TEST(members_come_and_go),
		TEST(a_file_takes_the_place_of_the_last_one),
		TEST(domains_come_and_go),
		TEST(changes_wait_for_one_another),
		TEST(a_list_may_have_a_thousand_members),
		TEST(who_is_full_does_not_keep_a_list_from_the_others),
		TEST(senders_own_what_leads_only_to_them),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
