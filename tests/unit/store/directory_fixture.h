/*
 * An engine with users and settings of addresses, questions to it and changes of it, each in one call.
 */
#ifndef TESTS_UNIT_STORE_DIRECTORY_FIXTURE_H
#define TESTS_UNIT_STORE_DIRECTORY_FIXTURE_H

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

static inline void on_said(void *owner, const struct engine_result *result)
{
	struct said *said = owner;

	assert_false(said->done);
	said->done = true;
	said->failure = result->failure;
	said->changed = result->changed;
	snprintf(said->sentence, sizeof(said->sentence), "%.*s", TEXT_ARG(result->sentence));
}

static inline struct said wait_for(struct fixture *fixture, struct said *said)
{
	assert_false(said->done);
	while (!said->done)
		assert_int_equal(event_base_loop(fixture->loop, EVLOOP_ONCE), 0);
	return *said;
}

/* "name owner|- member member…", split at blanks into texts of the string. */
static inline struct engine_alias alias_of(const char *line, struct text *members)
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

static inline struct said put(struct fixture *fixture, enum store_aliases_mode mode,
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

static inline struct said add(struct fixture *fixture, const char *line)
{
	return put(fixture, STORE_ALIASES_ADD, &line, 1);
}

/* ---- asking who it is ---- */

/* "user/mailbox user/mailbox<owner>", or the failure's name. Does not outlive the next call. */
static inline const char *resolved(struct fixture *fixture, const char *address)
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

static inline void check(
	struct fixture *fixture, const char *address, const char *wanted, size_t row)
{
	const char *got = resolved(fixture, address);

	if (strcmp(got, wanted) != 0)
		fail_msg("row %zu: %s leads to \"%s\", not \"%s\"", row, address, got, wanted);
}

static inline int setup(void **state)
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

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, fixture_teardown)

#endif
