/*
 * Every kind of inconsistency, planted one at a time in a store that was clean, is found and named; a
 * rebuild mends it.
 */
#include "tests/unit/store/engine_fixture.h"

#include "store/mailbox.h"
#include "store/verify.h"

#define ALICE "alice@example.test"
#define INBOX "mail/example.test/alice/"

static char *verify_all(struct fixture *fixture)
{
	struct buf findings = { 0 }, mailbox = { 0 };
	uint32_t from = 0;

	do {
		struct verify_result result = { 0 };
		const struct verify_piece piece = { TEXT(ALICE), buf_text(&mailbox), from };
		assert_int_equal(engine_verify(fixture->engine, &piece, &result), STORE_OK);
		buf_add(&findings, buf_text(&result.findings));
		buf_release(&mailbox);
		mailbox = result.mailbox;
		from = result.from;
		buf_release(&result.findings);
	} while (buf_length(&mailbox));
	buf_add_char(&findings, '\0');
	char *text = strdup(buf_text(&findings).ptr);
	buf_release(&findings);
	buf_release(&mailbox);
	return text;
}

static struct mailbox *inbox(struct fixture *fixture)
{
	struct account *account;

	assert_int_equal(account_of(fixture->engine, TEXT(ALICE), &account), STORE_OK);
	return account_find(account, TEXT("INBOX"));
}

/* ---- harm in the index ---- */

static void read_row(
	struct fixture *fixture, uint32_t uid, struct buf *value, struct index_message *row)
{
	unsigned char key[INDEX_MESSAGE_KEY];
	int error = 0;

	index_message_key(inbox(fixture)->id, uid, key);
	assert_int_equal(env_get(fixture->engine->env, NULL, ENV_MESSAGES,
				 (struct text){ (char *)key, sizeof(key) }, value, &error),
		1);
	assert_int_equal(index_message_decode(buf_text(value), row), 0);
}

static void put_row(struct fixture *fixture, uint32_t uid, const struct index_message *row)
{
	unsigned char key[INDEX_MESSAGE_KEY];
	struct buf value = { 0 };
	struct env_txn *txn;

	index_message_key(inbox(fixture)->id, uid, key);
	assert_int_equal(env_begin(fixture->engine->env, &txn), 0);
	const struct text at = { (char *)key, sizeof(key) };
	if (row) {
		index_message_encode(&value, row);
		assert_int_equal(
			env_put(fixture->engine->env, txn, ENV_MESSAGES, at, buf_text(&value)), 0);
	} else {
		assert_int_equal(env_delete(fixture->engine->env, txn, ENV_MESSAGES, at), 0);
	}
	assert_int_equal(env_commit(txn), 0);
	buf_release(&value);
}

enum harm {
	NO_ENTRY,
	SAME_FILE_TWICE,
	UID_BEYOND,
	WRONG_SIZE,
	WRONG_WIRE,
	WRONG_FLAGS,
	WRONG_KEYWORDS,
	WRONG_PLACE,
	LATE_MODSEQ,
	WRONG_BASE,
};

static void harm_index(struct fixture *fixture, enum harm harm)
{
	struct buf value = { 0 };
	struct index_message row;
	uint32_t uid = 2;

	read_row(fixture, uid, &value, &row);
	switch (harm) {
	case NO_ENTRY:
		put_row(fixture, uid, NULL);
		buf_release(&value);
		return;
	case SAME_FILE_TWICE:
		uid = 3;
		break;
	case UID_BEYOND:
		put_row(fixture, uid, NULL);
		uid = 4000000;
		break;
	case WRONG_SIZE:
		row.size++;
		break;
	case WRONG_WIRE:
		row.wire--;
		break;
	case WRONG_FLAGS:
		row.flags = STORE_FLAG_FLAGGED;
		break;
	case WRONG_KEYWORDS:
		row.keywords = 1;
		break;
	case WRONG_PLACE:
		row.place = INDEX_CUR;
		break;
	case LATE_MODSEQ:
		row.modseq = inbox(fixture)->row.modseq + 1;
		break;
	case WRONG_BASE:
		row.base = TEXT("1700000000.no-such.file,S=8,W=10,U=2");
		break;
	}
	put_row(fixture, uid, &row);
	buf_release(&value);
}

static const struct {
	enum harm harm;
	const char *found[3];
} harms[] = {
	{ NO_ENTRY, { "a file has no entry: new/", "messages: there are 2, the index counts 3" } },
	{ SAME_FILE_TWICE, { "UID 3 has the file of another: new/", "a file has no entry: new/" } },
	{ UID_BEYOND,
		{ "UID 4000000 is not below the next one", "UID 4000000 is not below the ceiling",
			"UID 4000000 has a name that says U=2" } },
	{ WRONG_SIZE,
		{ "UID 2 has 9 octets, its name says S=8", "UID 2 has a file of 8 octets, not of 9",
			"INBOX: octets: there are 25, the index counts 24" } },
	{ WRONG_WIRE, { "UID 2 has 9 octets with CRLF, its name says W=10",
			      "UID 2 has 10 octets with CRLF in its file, not 9",
			      "octets with CRLF: there are 33, the index counts 34" } },
	{ WRONG_FLAGS, { "UID 2 has flags 0x4, its file 0: new/" } },
	{ WRONG_KEYWORDS, { "UID 2 has other keywords than its file: new/" } },
	{ WRONG_PLACE, { "UID 2 is somewhere else: new/" } },
	{ LATE_MODSEQ, { "UID 2 changed later than the mailbox" } },
	{ WRONG_BASE, { "UID 2 has no file: 1700000000.no-such", "a file has no entry: new/" } },
};

static void fill(struct fixture *fixture)
{
	assert_int_equal(fixture_add_user(fixture, ALICE), STORE_OK);
	assert_int_equal(fixture_deliver(fixture, ALICE, "one\ntwo\n"), STORE_OK);
	assert_int_equal(fixture_deliver(fixture, ALICE, "two\nthr\n"), STORE_OK);
	assert_int_equal(fixture_deliver(fixture, ALICE, "3\n\n\n\n\nx\n"), STORE_OK);
}

static void expect(struct fixture *fixture, const char *const *found, size_t count)
{
	char *said = verify_all(fixture);

	for (size_t i = 0; i < count && found[i]; i++) {
		if (!strstr(said, found[i]))
			fail_msg("not found: %s\nsaid: %s", found[i], said);
	}
	free(said);
}

static void expect_clean(struct fixture *fixture)
{
	char *said = verify_all(fixture);

	assert_string_equal(said, "");
	free(said);
}

static void mend(struct fixture *fixture)
{
	char path[256];

	fixture_stop(fixture);
	snprintf(path, sizeof(path), "%s/env", fixture->directory);
	fixture_remove_tree(path);
	fixture_start(fixture);
	/* What had no UID yet may have to be looked at. */
	struct engine_view *view = fixture_open(fixture, ALICE, "INBOX");
	engine_view_close(&view);
	expect_clean(fixture);
}

/* As the command has it: the file of the users is written again before the index goes. */
static void mend_users(struct fixture *fixture)
{
	engine_rebuild(fixture->engine);
	fixture_stop(fixture);
	fixture_start(fixture);
	expect_clean(fixture);
}

static void test_index(void **state)
{
	struct fixture *fixture = *state;

	fill(fixture);
	for (size_t i = 0; i < sizeof(harms) / sizeof(harms[0]); i++) {
		expect_clean(fixture);
		harm_index(fixture, harms[i].harm);
		expect(fixture, harms[i].found, 3);
		mend(fixture);
	}
}

/* ---- harm in the mailbox's row and in the account ---- */

static void test_counts(void **state)
{
	struct fixture *fixture = *state;

	fill(fixture);
	struct mailbox *mailbox = inbox(fixture);
	mailbox->row.unseen = 7;
	mailbox->row.octets -= 1;
	mailbox->account->messages++;
	expect(fixture,
		(const char *const[]){ "unseen messages: there are 3, the index counts 7",
			"octets: there are", "mailboxes hold 3 messages of" },
		3);
	mailbox->row.unseen = 3;
	mailbox->row.octets += 1;
	mailbox->account->messages--;
	expect_clean(fixture);
	mailbox->row.uidvalidity++;
	expect(fixture, (const char *const[]){ "restante-mailbox is not this mailbox's" }, 1);
	mailbox->row.uidvalidity--;
	const uint32_t next = mailbox->row.uidnext;
	mailbox->row.uidnext = mailbox->visible.uidnext = 20000;
	expect(fixture, (const char *const[]){ "restante-mailbox has its ceiling below" }, 1);
	mailbox->row.uidnext = mailbox->visible.uidnext = next;
	expect_clean(fixture);
}

/* ---- harm in the Maildir ---- */

static void command(const struct fixture *fixture, const char *script)
{
	char line[1024];

	snprintf(line, sizeof(line), "cd %s/" INBOX " && %s", fixture->directory, script);
	assert_int_equal(system(line), 0);
}

static void test_maildir(void **state)
{
	static const struct {
		const char *script;
		const char *found[2];
	} cases[] = {
		{ "rm new/*U=1", { "UID 1 has no file" } },
		{ "echo x > new/1700000000.x.y", { "a file has no entry: new/1700000000.x.y" } },
		{ "echo x > $(printf 'cur/a\\033b\\nc')", { "a file has no entry: cur/a?b?c" } },
		{ "cp new/*U=2 new/1700000000.copy,S=8,W=10,U=2",
			{ "two files have UID 2", "a file has no entry: new/1700000000.copy" } },
		{ "for f in new/*U=2; do mv $f cur/${f#new/}:2,S; done",
			{ "UID 2 is somewhere else: cur/", "UID 2 has flags 0, its file 0x1" } },
		{ "echo longer >> $(echo new/*U=3)", { "UID 3 has a file of" } },
		{ "f=$(echo new/*U=3); tr '\\n' x < $f > z; cat z > $f; rm z",
			{ "octets with CRLF in its file" } },
		{ "f=$(echo new/*U=3); rm $f; mkdir $f", { "UID 3" } },
		{ "f=$(echo new/*U=3); rm $f; ln -s /etc/passwd $f", { "UID 3 cannot be opened" } },
		{ "f=$(echo new/*U=3); rm $f; mkfifo $f", { "UID 3 is no plain file" } },
		{ "rm restante-mailbox", { "restante-mailbox cannot be read" } },
		{ "echo junk > restante-mailbox", { "restante-mailbox cannot be read" } },
	};
	struct fixture *fixture = *state;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		fill(fixture);
		expect_clean(fixture);
		command(fixture, cases[i].script);
		expect(fixture, cases[i].found, 2);
		fixture_stop(fixture);
		fixture_remove_tree(fixture->directory);
		assert_int_equal(mkdir(fixture->directory, 0700), 0);
		fixture_start(fixture);
	}
}

/* ---- harm in what is remembered, and in what belongs to nobody ---- */

static void put(struct fixture *fixture, enum env_table table, const void *key, size_t size,
	const char *value)
{
	struct env_txn *txn;

	assert_int_equal(env_begin(fixture->engine->env, &txn), 0);
	assert_int_equal(env_put(fixture->engine->env, txn, table,
				 (struct text){ .ptr = key, .len = size }, text_of(value)),
		0);
	assert_int_equal(env_commit(txn), 0);
}

static void harm_expunged(struct fixture *fixture, uint64_t modseq, uint32_t uid)
{
	unsigned char key[INDEX_EXPUNGED_KEY];

	index_expunged_key(inbox(fixture)->id, modseq, uid, key);
	put(fixture, ENV_EXPUNGED, key, sizeof(key), "\001");
}

static char *verify_store_alone(struct fixture *fixture)
{
	struct verify_result result = { 0 };
	uint32_t from = 0;

	do {
		const struct verify_piece piece = { TEXT(""), from ? TEXT("-") : TEXT(""), from };
		assert_int_equal(engine_verify(fixture->engine, &piece, &result), STORE_OK);
		from = buf_length(&result.mailbox) ? result.from : 0;
		result.from = 0;
		buf_release(&result.mailbox);
	} while (from);
	buf_add_char(&result.findings, '\0');
	char *text = strdup(buf_text(&result.findings).ptr);
	buf_release(&result.findings);
	return text;
}

static void expect_of_store(struct fixture *fixture, const char *found)
{
	char *said = verify_store_alone(fixture);

	if (found ? !strstr(said, found) : said[0])
		fail_msg("not found: %s\nsaid: %s", found ? found : "nothing", said);
	free(said);
}

static void test_remembered(void **state)
{
	struct fixture *fixture = *state;
	const uint32_t two[] = { 2 };

	fill(fixture);
	struct engine_view *view = fixture_open(fixture, ALICE, "INBOX");
	fixture_update(fixture, view, STORE_UPDATE_EXPUNGE, 0, "", two, 1);
	engine_view_close(&view);
	expect_clean(fixture);
	const uint64_t modseq = inbox(fixture)->row.modseq;
	harm_expunged(fixture, modseq, 1);
	expect(fixture,
		(const char *const[]){ "UID 1 was expunged and is there",
			"expunges: there are 2, the index counts 1" },
		2);
	harm_expunged(fixture, modseq + 7, 4000000);
	expect(fixture,
		(const char *const[]){ "UID 4000000 was expunged later than the mailbox changed",
			"expunged UID 4000000 is not below the next one, 4" },
		2);
	mend(fixture);
	put(fixture, ENV_ONCE, "\0\0\0\1key", 7, "\001junk");
	expect(fixture, (const char *const[]){ "a once-key cannot be read: key" }, 1);
	mend(fixture);
}

static void test_folders(void **state)
{
	struct fixture *fixture = *state;

	fill(fixture);
	command(fixture, "mkdir -p .Bare/cur .Bare/new .Bare/tmp .Made.Elsewhere/cur .no-mailbox "
			 ".bad..name/cur");
	expect(fixture,
		(const char *const[]){ "a folder has no entry: .Made.Elsewhere",
			"a folder's name is not one of a mailbox: .bad..name" },
		2);
	command(fixture, "rmdir .bad..name/cur .bad..name");
	mend(fixture);
}

static void test_of_nobody(void **state)
{
	struct fixture *fixture = *state;

	expect_of_store(fixture, NULL);
	fill(fixture);
	expect_of_store(fixture, NULL);
	command(fixture, "mkdir -p ../erin/cur ../erin/new ../erin/tmp"); /* bare */
	expect_of_store(fixture, NULL);
	command(fixture, "mkdir -p ../bob/cur ../../other.test/carol/cur ../../empty.test/dave");
	command(fixture, "touch ../bob/cur/1000000001.M1P1.other; mkdir ../../other.test/carol/.A");
	expect_of_store(fixture, "a Maildir of nobody: mail/example.test/bob\n");
	expect_of_store(fixture, "a Maildir of nobody: mail/other.test/carol\n");
	command(fixture, "rm -r ../bob ../../other.test ../../empty.test");
	expect_of_store(fixture, NULL);
	command(fixture, "echo 'user mallory@example.test 9 0 0 x' >> ../../../users");
	expect_of_store(fixture, "the file users is not what the index says");
	command(fixture, "rm ../../../users");
	expect_of_store(fixture, "the file users cannot be read");
	mend_users(fixture);
	put(fixture, ENV_MESSAGES, "\0\0\0\7\0\0\0\1\0\0\0\1", 12, "\001");
	put(fixture, ENV_ONCE, "\0\1\0\0key", 7, "\001");
	expect_of_store(fixture, "messages of user 7, who is not there");
	expect_of_store(fixture, "once-keys of user 65536, who is not there");
	mend(fixture);
	expect_of_store(fixture, NULL);
}

/* ---- several mailboxes, many messages, a change under way ---- */

static void test_pieces(void **state)
{
	struct fixture *fixture = *state;
	struct fixture_answer answer = { 0 };

	assert_int_equal(fixture_add_user(fixture, ALICE), STORE_OK);
	engine_create(fixture->engine, TEXT(ALICE), TEXT("Lists/Linux"), fixture_done, &answer);
	fixture_wait(fixture, &answer);
	for (int i = 0; i < 450; i++)
		assert_int_equal(fixture_deliver(fixture, ALICE, "x\ny\n"), STORE_OK);
	expect_clean(fixture);
	command(fixture, "echo more >> $(echo new/*U=1); echo more >> $(echo new/*U=450); "
			 "echo x > .Lists.Linux/new/z");
	expect(fixture,
		(const char *const[]){ "INBOX: UID 1 has a file", "INBOX: UID 450 has a file",
			"Lists/Linux: a file has no entry: new/z" },
		3);

	struct verify_result result = { 0 };
	const struct engine_recipient recipient = {
		.user = TEXT(ALICE), .mailbox = TEXT(""), .keywords = TEXT("")
	};
	answer = (struct fixture_answer){ 0 };
	engine_deliver(fixture->engine,
		&(struct engine_delivery){ .id = TEXT(""),
			.once = TEXT(""),
			.body = TEXT("x\n"),
			.recipients = &recipient,
			.count = 1 },
		fixture_done, &answer);
	const struct verify_piece piece = { TEXT(ALICE), TEXT("INBOX"), 0 };
	assert_int_equal(engine_verify(fixture->engine, &piece, &result), STORE_BUSY);
	fixture_wait(fixture, &answer);
	const struct verify_piece nobody = { TEXT("x@y"), TEXT(""), 0 };
	assert_int_equal(engine_verify(fixture->engine, &nobody, &result), STORE_NO_SUCH_USER);
	const struct verify_piece nowhere = { TEXT(ALICE), TEXT("None"), 0 };
	assert_int_equal(engine_verify(fixture->engine, &nowhere, &result), STORE_NO_SUCH_MAILBOX);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_index),
		TEST(test_counts),
		TEST(test_maildir),
		TEST(test_remembered),
		TEST(test_folders),
		TEST(test_of_nobody),
		TEST(test_pieces),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
