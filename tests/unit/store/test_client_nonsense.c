/* The client library: a peer that speaks nonsense, files that are none, requests over the limits. */
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/unit/store/client_peer.h"

/* ---- a peer that speaks nonsense ---- */

static uint32_t tag;

static void say_raw(uint16_t type, uint32_t to, struct text payload, int fd)
{
	buf_add(ipc_begin(peer, type, to), payload);
	ipc_end(peer, fd);
}

static void unknown_tag(void)
{
	reply_login(tag + 1, STORE_OK, TEXT("a"));
}

static void huge_tag(void)
{
	reply_login(UINT32_MAX, STORE_OK, TEXT("a"));
}

static void other_type(void)
{
	store_lookup_reply_pack(ipc_begin(peer, STORE_LOOKUP, tag),
		&(struct store_lookup_reply){ .failure = STORE_OK, .user = TEXT("a") });
	ipc_end(peer, -1);
}

static void unknown_type(void)
{
	say_raw(STORE_MESSAGES + 7, tag, TEXT(""), -1);
}

static void too_short(void)
{
	say_raw(STORE_LOGIN, tag, TEXT("\0\1\0\0"), -1);
}

static void too_long(void)
{
	say_raw(STORE_LOGIN, tag, TEXT("\0\0\0\0\0x"), -1);
}

static void unknown_failure(void)
{
	reply_login(tag, STORE_FAILURES, TEXT(""));
}

/* only the library itself may say that */
static void away_from_afar(void)
{
	reply_login(tag, STORE_AWAY, TEXT(""));
}

static void descriptor_too_many(void)
{
	int fd = memfd_create("x", MFD_CLOEXEC);

	say_raw(STORE_LOGIN, tag, TEXT("\0\0\0\0\0"), fd);
	close(fd);
}

static void unknown_notice(void)
{
	say_raw(STORE_LOGIN, 0, TEXT("\0\0\0\0\0"), -1);
}

static void notice_far_out(void)
{
	say_raw(UINT16_MAX, 0, TEXT(""), -1);
}

static void malformed_notice(void)
{
	say_raw(STORE_DIRECTORY, 0, TEXT("1234567"), -1);
}

static void twice(void)
{
	reply_login(tag, STORE_OK, TEXT("a"));
	reply_login(tag, STORE_OK, TEXT("a"));
}

static void test_nonsense(void **state)
{
	static const struct {
		void (*say)(void);
		size_t answered; /* before the connection ended */
	} cases[] = {
		{ unknown_tag, 0 },
		{ huge_tag, 0 },
		{ other_type, 0 },
		{ unknown_type, 0 },
		{ too_short, 0 },
		{ too_long, 0 },
		{ unknown_failure, 0 },
		{ away_from_afar, 0 },
		{ descriptor_too_many, 0 },
		{ unknown_notice, 0 },
		{ notice_far_out, 0 },
		{ malformed_notice, 0 },
		{ twice, 1 },
	};

	teardown(state);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		setup(state);
		login(NULL);
		run();
		tag = requests[0].tag;
		cases[i].say();
		run();
		assert_int_equal(ended, 1);
		assert_int_equal(answer_count, 1);
		assert_int_equal(answers[0].failure, cases[i].answered ? STORE_OK : STORE_AWAY);
		assert_true(peer_ended);
		teardown(state);
	}
	setup(state);
}

static void test_wrong_number_of_messages(void **state)
{
	static const struct {
		bool last;
		enum store_failure failure;
		bool with_fd;
	} cases[] = {
		{ true, STORE_NO_SUCH_MESSAGE, false }, /* the first of two is not the last */
		{ false, STORE_OK, false },             /* no descriptor */
		{ false, STORE_NO_SUCH_MESSAGE, true }, /* one that means nothing */
	};

	teardown(state);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		setup(state);
		fetch((const uint32_t[]){ 1, 2 }, 2);
		run();
		int fd = memfd_create("x", MFD_CLOEXEC);
		reply_fetch(requests[0].tag, 1, cases[i].last, cases[i].failure,
			cases[i].with_fd ? fd : -1);
		close(fd);
		run();
		assert_int_equal(ended, 1);
		assert_int_equal(answer_count, 2);
		assert_int_equal(answers[0].failure, STORE_AWAY);
		teardown(state);
	}
	setup(state);
}

/* ---- requests that may not be sent ---- */

static void test_over_the_limits(void **state)
{
	char *big = mem_new(STORE_INLINE_LIMIT + 1);

	(void)state;
	store_client_deliver(client,
		&(struct store_deliver){
			.id = TEXT("1"),
			.once = TEXT(""),
			.recipients = TEXT(""),
			.body = { .ptr = big, .len = STORE_INLINE_LIMIT + 1 },
		},
		on_done, NULL);
	fetch((const uint32_t *)(const void *)big, STORE_FETCH_LIMIT + 1);
	fetch((const uint32_t *)(const void *)big, 0);
	store_client_fetch(client, &(struct store_fetch){ .uids = TEXT("12345") }, on_done, NULL);
	login(NULL);
	assert_int_equal(answer_count, 0);
	run();
	assert_int_equal(answer_count, 4);
	for (size_t i = 0; i < 4; i++)
		assert_int_equal(answers[i].failure, STORE_INVALID);
	/* the others on the connection go on */
	assert_int_equal(request_count, 1);
	reply_login(requests[0].tag, STORE_OK, TEXT("a"));
	run();
	assert_int_equal(answer_count, 5);
	assert_int_equal(ended, 0);
	mem_free(big);
}

/* ---- listings ---- */

static int listing_file(uint64_t says, size_t entries, size_t extra, int seals)
{
	struct store_listing listing = { .count = says };
	int fd = memfd_create("listing", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	assert_int_equal(write(fd, &listing, sizeof(listing)), sizeof(listing));
	for (size_t i = 0; i < entries; i++) {
		struct store_listing_entry entry = { .uid = (uint32_t)i + 1 };
		assert_int_equal(write(fd, &entry, sizeof(entry)), sizeof(entry));
	}
	if (extra)
		assert_int_equal(
			ftruncate(
				fd, (off_t)(sizeof(listing) +
					    entries * sizeof(struct store_listing_entry) + extra)),
			0);
	assert_int_equal(fcntl(fd, F_ADD_SEALS, seals), 0);
	return fd;
}

static void test_listing(void **state)
{
	enum { ALL = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_FUTURE_WRITE };
	static const struct {
		uint64_t says;
		size_t entries, extra;
		int seals;
		bool good;
	} cases[] = {
		{ 0, 0, 0, ALL, true },
		{ 3, 3, 0, ALL, true },
		{ 3, 3, 0, ALL | F_SEAL_SEAL, true },
		{ 3, 3, 0, F_SEAL_GROW | F_SEAL_FUTURE_WRITE, false },
		{ 3, 3, 0, F_SEAL_SHRINK | F_SEAL_FUTURE_WRITE, false },
		{ 3, 3, 0, F_SEAL_SHRINK | F_SEAL_GROW, false },
		{ 3, 3, 0, 0, false },
		{ 4, 3, 0, ALL, false },
		{ 2, 3, 0, ALL, false },
		{ 3, 3, 1, ALL, false },
		{ UINT64_MAX, 3, 0, ALL, false },
		{ UINT64_C(1) << 61, 0, 0, ALL, false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		int fd = listing_file(
			cases[i].says, cases[i].entries, cases[i].extra, cases[i].seals);
		size_t mapped;
		const struct store_listing *listing = store_listing_map(fd, &mapped);
		close(fd);
		assert_int_equal(listing != NULL, cases[i].good);
		if (listing && listing->count)
			assert_int_equal(listing->entry[listing->count - 1].uid, listing->count);
		if (listing)
			store_listing_unmap(listing, mapped);
	}
	int empty = memfd_create("empty", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	size_t mapped;
	assert_int_equal(fcntl(empty, F_ADD_SEALS, ALL), 0);
	assert_null(store_listing_map(empty, &mapped));
	close(empty);
	int ordinary = open("/dev/null", O_RDONLY | O_CLOEXEC);
	assert_null(store_listing_map(ordinary, &mapped));
	close(ordinary);
	assert_null(store_listing_map(-1, &mapped));
	store_listing_unmap(NULL, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_nonsense),
		TEST(test_wrong_number_of_messages),
		TEST(test_over_the_limits),
		cmocka_unit_test(test_listing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
