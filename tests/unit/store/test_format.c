/* An index of another version of the store: of an earlier one it is used, of a later one it is made anew. */
#include "store/engine_private.h"
#include "tests/unit/store/engine_fixture.h"

#define ALICE "alice@example.test"

/* What a store of that version leaves. */
static void pretend(struct fixture *fixture, unsigned format)
{
	struct engine *engine = fixture->engine;
	struct buf value = { 0 };
	struct env_txn *txn;

	assert_int_equal(fixture_add_user(fixture, ALICE), STORE_OK);
	assert_int_equal(fixture_deliver(fixture, ALICE, "kept\n"), STORE_OK);
	index_counters_pack(
		&value, &(struct index_counters){ .version = (uint8_t)format,
				.next_user = engine->counters.next_user,
				.last_uidvalidity = engine->counters.last_uidvalidity });
	assert_int_equal(env_begin(engine->env, &txn), 0);
	assert_int_equal(env_put(engine->env, txn, ENV_USERS, TEXT(""), buf_text(&value)), 0);
	assert_int_equal(env_commit(txn), 0);
	buf_release(&value);
}

static unsigned format_of(const struct fixture *fixture)
{
	struct buf value = { 0 };
	int error;

	assert_int_equal(
		env_get(fixture->engine->env, NULL, ENV_USERS, TEXT(""), &value, &error), 1);
	const unsigned format = index_format(buf_text(&value));
	buf_release(&value);
	return format;
}

static ino_t index_of(const struct fixture *fixture)
{
	char path[128];
	struct stat st;

	snprintf(path, sizeof(path), "%s/env", fixture->directory);
	assert_int_equal(stat(path, &st), 0);
	return st.st_ino;
}

static void expect_kept(struct fixture *fixture)
{
	struct engine_view *view = fixture_open(fixture, ALICE, "INBOX");
	char *octets = fixture_fetch(view, 1);

	assert_string_equal(octets, "kept\n");
	free(octets);
	engine_view_close(&view);
	assert_int_equal(format_of(fixture), INDEX_FORMAT);
}

static void test_of_this_one(void **state)
{
	struct fixture *fixture = *state;
	const ino_t before = index_of(fixture);

	assert_int_equal(format_of(fixture), INDEX_FORMAT);
	pretend(fixture, INDEX_FORMAT);
	fixture_restart(fixture);
	assert_int_equal(index_of(fixture), before);
	expect_kept(fixture);
}

static void test_of_an_earlier_one(void **state)
{
	struct fixture *fixture = *state;
	const ino_t before = index_of(fixture);

	pretend(fixture, INDEX_VERSION);
	assert_int_equal(format_of(fixture), INDEX_VERSION);
	fixture_restart(fixture);
	assert_int_equal(index_of(fixture), before);
	expect_kept(fixture);
}

static void test_of_a_later_one(void **state)
{
	struct fixture *fixture = *state;
	const ino_t before = index_of(fixture);
	const int log = memfd_create("log", MFD_CLOEXEC);
	char text[2048] = "";

	pretend(fixture, INDEX_FORMAT + 1);
	fixture_stop(fixture);
	log_to_file(dup(log));
	fixture_start(fixture);
	log_to_file(-1);
	assert_true(pread(log, text, sizeof(text) - 1, 0) > 0);
	assert_non_null(strstr(text, "event=index-of-a-newer-version"));
	close(log);
	assert_int_not_equal(index_of(fixture), before);
	expect_kept(fixture);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_of_this_one),
		TEST(test_of_an_earlier_one),
		TEST(test_of_a_later_one),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
