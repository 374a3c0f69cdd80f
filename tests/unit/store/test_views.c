/* The engine: what a view of a mailbox sees and changes while others do too. */
#include <sys/mman.h>

#include "tests/unit/store/three_users.h"

static void test_flags(void **state)
{
	struct fixture *fixture = *state;
	struct engine_status status;
	struct engine_result result;
	const uint32_t some[] = { 3, 1, 1, 77 };

	add_three(fixture);
	for (int i = 0; i < 4; i++)
		assert_int_equal(fixture_deliver(fixture, ALICE, "x\n"), STORE_OK);
	struct engine_view *view = fixture_open(fixture, ALICE, "INBOX");
	free(fixture_list(view, &status));
	const uint64_t before = status.modseq;
	result = fixture_update(fixture, view, STORE_UPDATE_FLAGS_ADD,
		STORE_FLAG_SEEN | STORE_FLAG_FLAGGED, "$Junk work", some, 4);
	assert_int_equal(result.failure, STORE_OK);
	assert_int_equal(result.changed, 2);
	assert_int_equal(result.modseq, before + 1);
	struct store_listing *listing = fixture_list(view, &status);
	assert_string_equal(status.keywords.ptr, "$Junk work");
	assert_int_equal(listing->entry[0].flags, STORE_FLAG_SEEN | STORE_FLAG_FLAGGED);
	assert_int_equal(listing->entry[0].keywords, 3);
	assert_int_equal(listing->entry[0].modseq, before + 1);
	assert_int_equal(listing->entry[1].flags, 0);
	assert_true(listing->entry[1].modseq < before);
	free(listing);
	assert_int_equal(fixture_count(fixture, INBOX("alice/cur")), 2);
	assert_int_equal(fixture_count(fixture, INBOX("alice/new")), 2);
	char *octets = fixture_fetch(view, 1);
	assert_string_equal(octets, "x\n");
	free(octets);

	/* Nothing new: no change, no modseq. */
	result = fixture_update(
		fixture, view, STORE_UPDATE_FLAGS_ADD, STORE_FLAG_SEEN, "work", some, 1);
	assert_int_equal(result.changed, 0);
	assert_int_equal(result.modseq, before + 1);
	result = fixture_update(fixture, view, STORE_UPDATE_FLAGS_REMOVE, STORE_FLAG_FLAGGED,
		"$Junk none", some, 2);
	assert_int_equal(result.changed, 2);
	result = fixture_update(
		fixture, view, STORE_UPDATE_FLAGS_SET, STORE_FLAG_DRAFT, "", some + 1, 1);
	assert_int_equal(result.changed, 1);
	engine_view_close(&view);
	fixture_restart(fixture);
	view = fixture_open(fixture, ALICE, "INBOX");
	listing = fixture_list(view, &status);
	assert_string_equal(status.keywords.ptr, "$Junk work");
	assert_int_equal(listing->entry[0].flags, STORE_FLAG_DRAFT);
	assert_int_equal(listing->entry[0].keywords, 0);
	assert_int_equal(listing->entry[2].flags, STORE_FLAG_SEEN);
	assert_int_equal(listing->entry[2].keywords, 2);
	free(listing);
	engine_view_close(&view);
}

static void test_expunge(void **state)
{
	struct fixture *fixture = *state;
	const uint32_t uids[] = { 2, 3, 9 };
	struct engine_changes changes;
	struct buf vanished = { 0 };
	struct engine_status status;
	uint32_t messages;
	uint64_t octets;

	add_three(fixture);
	for (int i = 0; i < 4; i++)
		assert_int_equal(fixture_deliver(fixture, ALICE, "xyz\n"), STORE_OK);
	struct engine_view *view = fixture_open(fixture, ALICE, "INBOX");
	struct engine_view *other = fixture_open(fixture, ALICE, "INBOX");
	free(fixture_list(view, &status));
	const uint64_t before = status.modseq;
	const struct engine_result result =
		fixture_update(fixture, view, STORE_UPDATE_EXPUNGE, 0, "", uids, 3);
	assert_int_equal(result.changed, 2);
	assert_null(fixture_fetch(other, 2));
	struct store_listing *listing = fixture_list(other, &status);
	assert_int_equal(listing->count, 2);
	assert_int_equal(listing->entry[1].uid, 4);
	assert_int_equal(status.messages, 2);
	assert_int_equal(status.uidnext, 5);
	free(listing);
	assert_int_equal(fixture_count(fixture, INBOX("alice/new")), 2);
	engine_usage(fixture->engine, TEXT(ALICE), &messages, &octets);
	assert_int_equal(messages, 2);
	assert_int_equal(octets, 8);

	assert_int_equal(engine_view_changes(view, before, &changes, &vanished), STORE_OK);
	assert_true(changes.complete);
	assert_int_equal(changes.modseq, result.modseq);
	assert_int_equal(buf_length(&vanished), 8);
	assert_memory_equal(buf_text(&vanished).ptr, uids, 8);
	listing = fixture_list_fd(changes.fd);
	assert_int_equal(listing->count, 0);
	free(listing);
	buf_release(&vanished);
	engine_view_close(&view);
	engine_view_close(&other);
	/* A UID is never given twice. */
	fixture_restart(fixture);
	assert_int_equal(fixture_deliver(fixture, ALICE, "x\n"), STORE_OK);
	view = fixture_open(fixture, ALICE, "INBOX");
	listing = fixture_list(view, NULL);
	assert_int_equal(listing->count, 3);
	assert_int_equal(listing->entry[2].uid, 5);
	free(listing);
	engine_view_close(&view);
}

static void test_lock(void **state)
{
	struct fixture *fixture = *state;
	struct engine_view *first, *second, *shared;

	add_three(fixture);
	assert_int_equal(
		fixture_select(fixture, ALICE, "INBOX", STORE_SELECT_EXCLUSIVE, &first), STORE_OK);
	assert_int_equal(fixture_select(fixture, ALICE, "INBOX", STORE_SELECT_EXCLUSIVE, &second),
		STORE_LOCKED);
	assert_null(second);
	shared = fixture_open(fixture, ALICE, "INBOX");
	assert_int_equal(
		fixture_select(fixture, BOB, "INBOX", STORE_SELECT_EXCLUSIVE, &second), STORE_OK);
	engine_view_close(&second);
	engine_view_close(&first);
	assert_int_equal(
		fixture_select(fixture, ALICE, "INBOX", STORE_SELECT_EXCLUSIVE, &second), STORE_OK);
	engine_view_close(&second);
	engine_view_close(&shared);
	/* A select whose session has gone gives its lock back. */
	struct fixture_answer answer = { 0 };
	engine_select(fixture->engine, TEXT(ALICE), TEXT("INBOX"), STORE_SELECT_EXCLUSIVE,
		fixture_done, &answer);
	engine_forget(fixture->engine, &answer);
	assert_int_equal(fixture_deliver(fixture, ALICE, "x\n"), STORE_OK);
	assert_false(answer.done);
	assert_int_equal(
		fixture_select(fixture, ALICE, "INBOX", STORE_SELECT_EXCLUSIVE, &second), STORE_OK);
	const uint32_t uid = 1;
	assert_int_equal(
		fixture_update(fixture, second, STORE_UPDATE_EXPUNGE, 0, "", &uid, 1).failure,
		STORE_OK);
	engine_view_close(&second);
	assert_int_equal(
		fixture_select(fixture, ALICE, "INBOX", STORE_SELECT_READ_ONLY, &second), STORE_OK);
	assert_int_equal(
		fixture_update(fixture, second, STORE_UPDATE_EXPUNGE, 0, "", &uid, 1).failure,
		STORE_REFUSED);
	engine_view_close(&second);
}

struct noticed {
	unsigned count;
	struct store_changed last;
};

static void on_notice(void *owner, const struct store_changed *notice)
{
	struct noticed *noticed = owner;

	noticed->count++;
	noticed->last = *notice;
}

static void test_watch(void **state)
{
	struct fixture *fixture = *state;
	struct noticed noticed = { 0 };

	add_three(fixture);
	struct engine_view *view = fixture_open(fixture, ALICE, "INBOX");
	engine_view_watch(view, on_notice, &noticed);
	assert_int_equal(fixture_deliver(fixture, ALICE, "x\n"), STORE_OK);
	while (noticed.count == 0)
		event_base_loop(fixture->loop, EVLOOP_ONCE);
	assert_int_equal(noticed.last.messages, 1);
	assert_int_equal(noticed.last.uidnext, 2);
	engine_view_watch(view, NULL, NULL);
	assert_int_equal(fixture_deliver(fixture, ALICE, "x\n"), STORE_OK);
	event_base_loop(fixture->loop, EVLOOP_NONBLOCK);
	assert_int_equal(noticed.count, 1);
	engine_view_close(&view);
}

/* The fixed numbers of a POP3 session: what arrives meanwhile is not among what it deletes. */
static void test_arrival_during_view(void **state)
{
	struct fixture *fixture = *state;
	struct engine_view *view;
	const uint32_t uids[] = { 1, 2 };

	add_three(fixture);
	assert_int_equal(fixture_deliver(fixture, ALICE, "1\n"), STORE_OK);
	assert_int_equal(
		fixture_select(fixture, ALICE, "INBOX", STORE_SELECT_EXCLUSIVE, &view), STORE_OK);
	struct store_listing *before = fixture_list(view, NULL);
	assert_int_equal(before->count, 1);
	struct fixture_answer delivered = { 0 }, expunged = { 0 };
	const struct engine_recipient recipient = {
		.user = TEXT(ALICE), .mailbox = TEXT(""), .keywords = TEXT("")
	};
	engine_deliver(fixture->engine,
		&(struct engine_delivery){ .id = TEXT(""),
			.once = TEXT(""),
			.body = TEXT("2\n"),
			.recipients = &recipient,
			.count = 1 },
		fixture_done, &delivered);
	/* UID 2 is in the index and not durable: nobody can have meant it. */
	engine_view_update(
		view, STORE_UPDATE_EXPUNGE, 0, TEXT(""), uids, 2, fixture_done, &expunged);
	fixture_wait(fixture, &expunged);
	assert_int_equal(expunged.result.changed, 1);
	assert_true(delivered.done);
	struct store_listing *after = fixture_list(view, NULL);
	assert_int_equal(after->count, 1);
	assert_int_equal(after->entry[0].uid, 2);
	free(before);
	free(after);
	engine_view_close(&view);
}

/* Who is given a listing cannot alter it, not even by opening the file anew. */
static void test_listing_is_fixed(void **state)
{
	struct fixture *fixture = *state;
	char path[64];
	int fd;

	add_three(fixture);
	assert_int_equal(fixture_deliver(fixture, ALICE, "x\n"), STORE_OK);
	struct engine_view *view = fixture_open(fixture, ALICE, "INBOX");
	assert_int_equal(engine_view_listing(view, &fd, NULL), STORE_OK);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	const int again = open(path, O_RDWR | O_CLOEXEC);
	assert_true(again >= 0);
	for (int i = 0; i < 2; i++) {
		const int file = i ? again : fd;
		assert_int_equal(pwrite(file, "x", 1, 0), -1);
		assert_int_equal(errno, EPERM);
		assert_int_equal(ftruncate(file, 0), -1);
		assert_int_equal(ftruncate(file, 8192), -1);
		assert_int_equal(
			fallocate(file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096), -1);
		assert_ptr_equal(
			mmap(NULL, 16, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0), MAP_FAILED);
	}
	close(again);
	free(fixture_list_fd(fd));
	engine_view_close(&view);
}

/* The file of the view's listing; the listing is to be freed. */
static ino_t listing_file(struct engine_view *view, struct store_listing **listing)
{
	struct stat st;
	int fd;

	assert_int_equal(engine_view_listing(view, &fd, NULL), STORE_OK);
	assert_int_equal(fstat(fd, &st), 0);
	*listing = fixture_list_fd(fd);
	return st.st_ino;
}

/* Of a large mailbox it is made once for all who look, and again after every change. */
static void test_listing_is_kept(void **state)
{
	enum { MANY = 1024 };
	struct fixture *fixture = *state;
	const uint32_t uid = 1;
	char path[128];
	struct store_listing *listing;

	add_three(fixture);
	fixture_tick();
	for (int i = 0; i < MANY; i++) {
		snprintf(path, sizeof(path), INBOX("alice/new/%d.M1.test"), i);
		fixture_write(fixture, path, "x\n");
	}
	struct engine_view *view = fixture_open(fixture, ALICE, "INBOX");
	const ino_t first = listing_file(view, &listing);
	assert_int_equal(listing->count, MANY);
	free(listing);
	struct engine_view *other = fixture_open(fixture, ALICE, "INBOX");
	assert_int_equal(listing_file(other, &listing), first);
	free(listing);
	engine_view_close(&other);
	engine_view_close(&view);
	view = fixture_open(fixture, ALICE, "INBOX");
	assert_int_equal(listing_file(view, &listing), first);
	free(listing);

	assert_int_equal(
		fixture_update(fixture, view, STORE_UPDATE_FLAGS_ADD, STORE_FLAG_SEEN, "", &uid, 1)
			.changed,
		1);
	const ino_t altered = listing_file(view, &listing);
	assert_true(altered != first);
	assert_int_equal(listing->entry[0].flags, STORE_FLAG_SEEN);
	free(listing);
	engine_view_close(&view);
	assert_int_equal(fixture_deliver(fixture, ALICE, "y\n"), STORE_OK); /* nobody looks */
	view = fixture_open(fixture, ALICE, "INBOX");
	const ino_t longer = listing_file(view, &listing);
	assert_true(longer != altered);
	assert_int_equal(listing->count, MANY + 1);
	free(listing);
	assert_int_equal(
		fixture_update(fixture, view, STORE_UPDATE_EXPUNGE, 0, "", &uid, 1).changed, 1);
	assert_true(listing_file(view, &listing) != longer);
	assert_int_equal(listing->count, MANY);
	assert_int_equal(listing->entry[0].uid, 2);
	free(listing);
	engine_view_close(&view);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_flags),
		TEST(test_expunge),
		TEST(test_lock),
		TEST(test_watch),
		TEST(test_arrival_during_view),
		TEST(test_listing_is_fixed),
		TEST(test_listing_is_kept),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
