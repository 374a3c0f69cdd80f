/* The client library: replies, notices, forgetting and freeing, many at once. */
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/unit/store/client_peer.h"

/* ---- replies and ends ---- */

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
	/* One, and one for each message. */
	assert_int_equal(answer_count, 3);
	for (size_t i = 0; i < 3; i++)
		assert_int_equal(answers[i].failure, STORE_AWAY);
	assert_int_equal(ended, 1);
	assert_int_equal(answers_at_end, 3);
	login(NULL);
	fetch((const uint32_t[]){ 1, 2 }, 2);
	run();
	assert_int_equal(answer_count, 6);
	for (size_t i = 3; i < 6; i++)
		assert_int_equal(answers[i].failure, STORE_AWAY);
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_replies_in_any_order),
		TEST(test_unreachable),
		TEST(test_peer_leaves),
		TEST(test_asking_again_when_away),
		TEST(test_fetch_descriptors),
		TEST(test_forget),
		TEST(test_forgotten_spool_is_dropped),
		TEST(test_free_in_callback),
		TEST(test_free_while_away_is_told),
		TEST(test_notices),
		TEST(test_many),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
