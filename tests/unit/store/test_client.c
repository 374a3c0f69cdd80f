/* The client library against a peer that says what each test makes it say. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>
#include <event2/event.h>

#include "base/ipc.h"
#include "base/log.h"
#include "base/mem.h"
#include "store/client.h"

enum { SEEN = 70000 };

/* ---- the peer: keeps what came ---- */

struct request {
	uint16_t type;
	uint32_t tag;
	char *payload;
	size_t length;
};

static struct event_base *loop;
static struct ipc *peer;
static struct request *requests;
static size_t request_count;
static bool peer_ended;

static void peer_frame(void *owner, struct ipc_frame *frame)
{
	(void)owner;
	assert_true(request_count < SEEN);
	requests[request_count++] = (struct request){
		.type = frame->type,
		.tag = frame->tag,
		.payload = mem_copy(frame->payload.ptr, frame->payload.len),
		.length = frame->payload.len,
	};
}

static void peer_end(void *owner, const char *reason)
{
	(void)owner, (void)reason;
	peer_ended = true;
}

static const struct ipc_handlers peer_handlers = { .frame = peer_frame, .ended = peer_end };

/* ---- the client's owner: keeps what it was told ---- */

struct answer {
	void *owner;
	enum store_message type;
	enum store_failure failure;
	uint32_t number; /* spool, uid, changed … */
	char user[64];
	bool last;
	int fd;
};

static struct store_client *client;
static struct answer *answers;
static size_t answer_count;
static unsigned ended, changed, directory;
static bool take_fds;
static void (*in_done)(void);

static void on_done(void *owner, struct store_reply *reply)
{
	assert_true(answer_count < SEEN);
	struct answer *answer = &answers[answer_count++];
	*answer = (struct answer){
		.owner = owner,
		.type = reply->type,
		.failure = reply->failure,
		.fd = reply->fd,
	};
	if (reply->type == STORE_LOGIN) {
		struct text user = reply->of.login.user;
		assert_true(user.len < sizeof(answer->user));
		if (user.len)
			memcpy(answer->user, user.ptr, user.len);
	}
	if (reply->type == STORE_FETCH) {
		answer->number = reply->of.fetch.uid;
		answer->last = reply->of.fetch.last;
	}
	if (reply->type == STORE_SPOOL)
		answer->number = reply->of.spool.spool;
	if (take_fds)
		reply->fd = -1;
	if (in_done)
		in_done();
}

static void on_changed(void *owner, const struct store_changed *notice)
{
	(void)owner;
	changed += notice->messages;
}

static void on_directory(void *owner, const struct store_directory *notice)
{
	(void)owner;
	directory += (unsigned)notice->version;
}

static size_t answers_at_end;

static void on_ended(void *owner)
{
	assert_ptr_equal(owner, &loop);
	ended++;
	answers_at_end = answer_count;
}

static const struct store_client_handlers handlers = {
	.changed = on_changed,
	.directory = on_directory,
	.ended = on_ended,
};

static int setup(void **state)
{
	int pair[2];

	(void)state;
	log_open("test", LOG_LEVEL_ERROR + 1);
	loop = event_base_new();
	requests = mem_array(SEEN, sizeof(*requests));
	answers = mem_array(SEEN, sizeof(*answers));
	assert_int_equal(
		socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair), 0);
	peer = ipc_new(loop, pair[0], STORE_PAYLOAD_LIMIT, &peer_handlers, NULL);
	client = store_client_over(loop, pair[1], &handlers, &loop);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	store_client_free(&client);
	ipc_free(&peer);
	for (size_t i = 0; i < request_count; i++)
		mem_free(requests[i].payload);
	mem_free(requests);
	mem_free(answers);
	event_base_free(loop);
	request_count = answer_count = answers_at_end = 0;
	ended = changed = directory = 0;
	peer_ended = take_fds = false;
	in_done = NULL;
	return 0;
}

/* Until nothing moves any more. */
static void run(void)
{
	for (int quiet = 0; quiet < 3;) {
		const size_t before = request_count + answer_count + ended + changed + directory;
		event_base_loop(loop, EVLOOP_NONBLOCK);
		quiet = before == request_count + answer_count + ended + changed + directory
				? quiet + 1
				: 0;
	}
}

static void login(void *owner)
{
	store_client_login(client,
		&(struct store_login){
			.user = TEXT("alice@example.test"),
			.password = TEXT("secret"),
			.peer = TEXT("192.0.2.1"),
		},
		on_done, owner);
}

static void fetch(const uint32_t *uids, size_t count)
{
	store_client_fetch(client,
		&(struct store_fetch){
			.uids = { .ptr = (const char *)uids, .len = count * sizeof(*uids) },
		},
		on_done, NULL);
}

static void reply_login(uint32_t tag, enum store_failure failure, struct text user)
{
	store_login_reply_pack(ipc_begin(peer, STORE_LOGIN, tag),
		&(struct store_login_reply){ .failure = failure, .user = user });
	ipc_end(peer, -1);
}

static void reply_fetch(uint32_t tag, uint32_t uid, bool last, enum store_failure failure, int fd)
{
	store_fetch_reply_pack(ipc_begin(peer, STORE_FETCH, tag),
		&(struct store_fetch_reply){ .failure = failure, .uid = uid, .last = last });
	ipc_end(peer, fd);
}

/* ---- tests ---- */

static void test_replies_in_any_order(void **state)
{
	int owner[3];

	(void)state;
	for (int i = 0; i < 3; i++)
		login(&owner[i]);
	assert_int_equal(store_client_pending(client), 3);
	run();
	assert_int_equal(request_count, 3);
	assert_int_equal(answer_count, 0);
	struct store_login seen;
	assert_int_equal(
		store_login_unpack((struct text){ requests[1].payload, requests[1].length }, &seen),
		0);
	assert_true(text_equal(seen.password, TEXT("secret")));
	assert_true(requests[0].tag && requests[0].tag != requests[1].tag &&
		    requests[1].tag != requests[2].tag && requests[0].tag != requests[2].tag);
	reply_login(requests[2].tag, STORE_OK, TEXT("alice@example.test"));
	reply_login(requests[0].tag, STORE_BAD_LOGIN, TEXT(""));
	reply_login(requests[1].tag, STORE_BUSY, TEXT(""));
	run();
	assert_int_equal(answer_count, 3);
	assert_ptr_equal(answers[0].owner, &owner[2]);
	assert_int_equal(answers[0].failure, STORE_OK);
	assert_string_equal(answers[0].user, "alice@example.test");
	assert_ptr_equal(answers[1].owner, &owner[0]);
	assert_int_equal(answers[1].failure, STORE_BAD_LOGIN);
	assert_ptr_equal(answers[2].owner, &owner[1]);
	assert_int_equal(answers[2].failure, STORE_BUSY);
	assert_int_equal(store_client_pending(client), 0);
	assert_int_equal(ended, 0);
}

static void test_unreachable(void **state)
{
	(void)state;
	store_client_free(&client);
	client = store_client_new(loop, "no/such/socket", &handlers, &loop);
	login(NULL);
	fetch((const uint32_t[]){ 1, 2 }, 2);
	assert_int_equal(answer_count, 0);
	run();
	assert_int_equal(answer_count, 2);
	assert_int_equal(answers[0].failure, STORE_AWAY);
	assert_int_equal(answers[1].failure, STORE_AWAY);
	assert_int_equal(ended, 1);
	assert_int_equal(answers_at_end, 2);
	login(NULL);
	run();
	assert_int_equal(answer_count, 3);
	assert_int_equal(answers[2].failure, STORE_AWAY);
	assert_int_equal(ended, 1);
}

static void test_peer_leaves(void **state)
{
	(void)state;
	login(NULL);
	fetch((const uint32_t[]){ 7, 8, 9 }, 3);
	run();
	int fd = memfd_create("message", MFD_CLOEXEC);
	reply_fetch(requests[1].tag, 7, false, STORE_OK, fd);
	close(fd);
	run();
	assert_int_equal(answer_count, 1);
	assert_int_equal(answers[0].number, 7);
	ipc_free(&peer);
	run();
	/* the login, and the two messages that did not come */
	assert_int_equal(answer_count, 4);
	for (size_t i = 1; i < 4; i++) {
		assert_int_equal(answers[i].failure, STORE_AWAY);
		assert_int_equal(answers[i].fd, -1);
		assert_int_equal(answers[i].number, 0);
	}
	assert_int_equal(ended, 1);
	assert_int_equal(answers_at_end, 4);
	assert_int_equal(store_client_pending(client), 0);
}

static void login_again(void)
{
	login(NULL);
}

/* Whoever asks again at each failure must not keep `ended` from being said. */
static void test_asking_again_when_away(void **state)
{
	(void)state;
	login(NULL);
	run();
	ipc_free(&peer);
	in_done = login_again;
	for (int i = 0; i < 100; i++)
		event_base_loop(loop, EVLOOP_NONBLOCK | EVLOOP_ONCE);
	assert_int_equal(ended, 1);
	assert_int_equal(answers_at_end, 1);
	assert_true(answer_count > 1);
	in_done = NULL;
	run();
	assert_int_equal(store_client_pending(client), 0);
}

static void test_fetch_descriptors(void **state)
{
	(void)state;
	fetch((const uint32_t[]){ 7, 8, 9 }, 3);
	run();
	take_fds = true;
	int fd = memfd_create("message", MFD_CLOEXEC);
	reply_fetch(requests[0].tag, 7, false, STORE_OK, fd);
	reply_fetch(requests[0].tag, 8, false, STORE_NO_SUCH_MESSAGE, -1);
	run();
	take_fds = false;
	reply_fetch(requests[0].tag, 9, true, STORE_OK, fd);
	run();
	assert_int_equal(answer_count, 3);
	assert_int_equal(answers[1].number, 8);
	assert_int_equal(answers[1].failure, STORE_NO_SUCH_MESSAGE);
	assert_int_equal(answers[1].fd, -1);
	assert_true(answers[2].last);
	assert_true(fcntl(answers[0].fd, F_GETFD) >= 0);     /* taken */
	assert_int_equal(fcntl(answers[2].fd, F_GETFD), -1); /* closed for us */
	close(answers[0].fd);
	close(fd);
	assert_int_equal(store_client_pending(client), 0);
	assert_int_equal(ended, 0);
}

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

/* ---- forgetting and freeing ---- */

static void test_forget(void **state)
{
	int gone, here;

	(void)state;
	login(&gone);
	login(&here);
	login(&gone);
	run();
	store_client_forget(client, &gone);
	for (size_t i = 0; i < 3; i++)
		reply_login(requests[i].tag, STORE_OK, TEXT("a"));
	run();
	assert_int_equal(answer_count, 1);
	assert_ptr_equal(answers[0].owner, &here);
	assert_int_equal(store_client_pending(client), 0);
}

static void test_forgotten_spool_is_dropped(void **state)
{
	int gone;
	struct store_deliver deliver;

	(void)state;
	store_client_spool(client, &(struct store_spool){ .size_hint = 1 << 20 }, on_done, &gone);
	run();
	store_client_forget(client, &gone);
	int fd = memfd_create("spool", MFD_CLOEXEC);
	store_spool_reply_pack(ipc_begin(peer, STORE_SPOOL, requests[0].tag),
		&(struct store_spool_reply){ .failure = STORE_OK, .spool = 77 });
	ipc_end(peer, fd);
	close(fd);
	run();
	assert_int_equal(answer_count, 0);
	assert_int_equal(request_count, 2);
	assert_int_equal(requests[1].type, STORE_DELIVER);
	assert_int_equal(
		store_deliver_unpack(
			(struct text){ requests[1].payload, requests[1].length }, &deliver),
		0);
	assert_int_equal(deliver.spool, 77);
	assert_int_equal(deliver.recipients.len, 0);
}

static void free_client(void)
{
	store_client_free(&client);
}

static void test_free_in_callback(void **state)
{
	(void)state;
	login(NULL);
	login(NULL);
	run();
	in_done = free_client;
	reply_login(requests[0].tag, STORE_OK, TEXT("a"));
	reply_login(requests[1].tag, STORE_OK, TEXT("a"));
	run();
	assert_int_equal(answer_count, 1);
	assert_int_equal(ended, 0);
	assert_null(client);
}

static void test_free_while_away_is_told(void **state)
{
	(void)state;
	for (int i = 0; i < 5; i++)
		login(NULL);
	run();
	ipc_free(&peer);
	in_done = free_client;
	run();
	assert_int_equal(answer_count, 1);
	assert_int_equal(ended, 0);
}

/* ---- notices ---- */

static void test_notices(void **state)
{
	(void)state;
	store_changed_pack(ipc_begin(peer, STORE_CHANGED, 0),
		&(struct store_changed){ .uidnext = 1, .messages = 40, .modseq = 3 });
	ipc_end(peer, -1);
	store_directory_pack(
		ipc_begin(peer, STORE_DIRECTORY, 0), &(struct store_directory){ .version = 5 });
	ipc_end(peer, -1);
	run();
	assert_int_equal(changed, 40);
	assert_int_equal(directory, 5);
	assert_int_equal(ended, 0);
}

/* ---- many at once ---- */

/* Tags are used again, and none is given twice at a time. */
static void test_many(void **state)
{
	enum { ROUNDS = 20, EACH = 3000 };

	(void)state;
	for (size_t round = 0; round < ROUNDS; round++) {
		for (size_t i = 0; i < EACH; i++)
			login(&answers[round * EACH + i]);
		run();
		assert_int_equal(request_count, (round + 1) * EACH);
		for (size_t i = 0; i < EACH; i++)
			reply_login(requests[request_count - 1 - i].tag, STORE_OK, TEXT("a"));
		run();
		assert_int_equal(answer_count, (round + 1) * EACH);
		for (size_t i = 0; i < EACH; i++)
			assert_ptr_equal(
				answers[answer_count - 1 - i].owner, &answers[round * EACH + i]);
		assert_int_equal(store_client_pending(client), 0);
	}
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
	enum { ALL = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE };
	static const struct {
		uint64_t says;
		size_t entries, extra;
		int seals;
		bool good;
	} cases[] = {
		{ 0, 0, 0, ALL, true },
		{ 3, 3, 0, ALL, true },
		{ 3, 3, 0, ALL | F_SEAL_SEAL, true },
		{ 3, 3, 0, F_SEAL_GROW | F_SEAL_WRITE, false },
		{ 3, 3, 0, F_SEAL_SHRINK | F_SEAL_WRITE, false },
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

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_replies_in_any_order),
		TEST(test_unreachable),
		TEST(test_peer_leaves),
		TEST(test_asking_again_when_away),
		TEST(test_fetch_descriptors),
		TEST(test_nonsense),
		TEST(test_wrong_number_of_messages),
		TEST(test_over_the_limits),
		TEST(test_forget),
		TEST(test_forgotten_spool_is_dropped),
		TEST(test_free_in_callback),
		TEST(test_free_while_away_is_told),
		TEST(test_notices),
		TEST(test_many),
		cmocka_unit_test(test_listing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
