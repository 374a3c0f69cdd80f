/* Deliveries through the server: many users, large bodies, many at once. */
#include <dirent.h>

#include "tests/unit/store/store_peer.h"

/* ---- deliveries ---- */

static void test_one_delivery_many_users(void **state)
{
	struct peer mda;
	struct buf run = { 0 };

	(void)state;
	open_peer(&mda, STORE_BY_MDA);
	add_recipient(&run, "alice@" HOST_DOMAIN, "");
	add_recipient(&run, "bob@" HOST_DOMAIN, "Lists");
	assert_int_equal(ASK(deliver, &mda, .id = TEXT("1"), .recipients = buf_text(&run),
				 .body = TEXT("\nx\n"))
				 .failure,
		STORE_OK);
	add_recipient(&run, "nobody@" HOST_DOMAIN, "");
	struct wait got = ASK(deliver, &mda, .id = TEXT("1"), .recipients = buf_text(&run),
		.body = TEXT("\nx\n"));
	assert_int_equal(got.failure, STORE_NO_SUCH_USER);
	assert_string_equal(got.text, "nobody@" HOST_DOMAIN);
	uint32_t messages;
	uint64_t octets;
	assert_int_equal(engine_usage(host.engine, TEXT("alice@" HOST_DOMAIN), &messages, &octets),
		STORE_OK);
	assert_int_equal(messages, 1); /* all or none */
	assert_int_equal(
		ASK(lookup, &mda, .address = TEXT("alice@" HOST_DOMAIN)).failure, STORE_OK);
	assert_int_equal(ASK(lookup, &mda, .address = TEXT("nobody@" HOST_DOMAIN)).failure,
		STORE_NO_SUCH_USER);
	buf_release(&run);
	close_peer(&mda);
}

static unsigned files_in_spool(void)
{
	char path[96];
	unsigned count = 0;

	snprintf(path, sizeof(path), "%s/spool", host.directory);
	DIR *directory = opendir(path);
	assert_non_null(directory);
	for (struct dirent *entry; (entry = readdir(directory));)
		count += entry->d_name[0] != '.';
	closedir(directory);
	return count;
}

static void test_spool(void **state)
{
	enum { BIG = 600 << 10 };
	struct peer mda, other;
	struct buf run = { 0 };
	char *body = mem_new(BIG);

	(void)state;
	memset(body, 'x', BIG);
	memcpy(body, "A: b\n\n", 6);
	body[BIG - 1] = '\n';
	open_peer(&mda, STORE_BY_MDA);
	open_peer(&other, STORE_BY_MDA);
	add_recipient(&run, "alice@" HOST_DOMAIN, "");
	struct wait spool = ASK(spool, &mda, .size_hint = BIG);
	assert_int_equal(spool.failure, STORE_OK);
	const uint32_t number = spool.reply.of.spool.spool;
	assert_int_equal(write(spool.fd, body, BIG), BIG);
	close(spool.fd);
	/* not the other connection's, and not with a body besides */
	assert_int_equal(
		ASK(deliver, &other, .id = TEXT("1"), .spool = number, .recipients = buf_text(&run))
			.failure,
		STORE_INVALID);
	assert_int_equal(
		ASK(deliver, &mda, .id = TEXT("1"), .spool = number, .recipients = buf_text(&run))
			.failure,
		STORE_OK);
	assert_int_equal(
		ASK(deliver, &mda, .id = TEXT("1"), .spool = number, .recipients = buf_text(&run))
			.failure,
		STORE_INVALID);
	uint32_t messages;
	uint64_t octets;
	engine_usage(host.engine, TEXT("alice@" HOST_DOMAIN), &messages, &octets);
	assert_int_equal(messages, 1);
	assert_int_equal(octets, BIG);
	/* the file of what was delivered may stay until a checkpoint */
	const unsigned kept = files_in_spool();
	assert_in_range(kept, 0, 1);

	/* dropped by a delivery to nobody */
	spool = ASK(spool, &mda, .size_hint = 0);
	close(spool.fd);
	assert_int_equal(
		ASK(deliver, &mda, .id = TEXT(""), .spool = spool.reply.of.spool.spool).failure,
		STORE_INVALID);
	assert_int_equal(files_in_spool(), kept);
	/* and with the connection */
	for (int i = 0; i < 10; i++) {
		spool = ASK(spool, &mda, .size_hint = 0);
		assert_int_equal(spool.failure, STORE_OK);
		close(spool.fd);
	}
	close_peer(&mda);
	while (server_sessions(host.server) > 1)
		event_base_loop(host.loop, EVLOOP_ONCE);
	assert_int_equal(files_in_spool(), kept);
	close_peer(&other);
	buf_release(&run);
	mem_free(body);
}

/* More under way than the limit of one connection: they wait their turn, and all are answered. */
static void test_many_deliveries(void **state)
{
	enum { DELIVERIES = 10000 };
	struct peer mda;
	struct buf run = { 0 };
	unsigned counts[2] = { 0 };

	(void)state;
	open_peer(&mda, STORE_BY_MDA);
	add_recipient(&run, "alice@" HOST_DOMAIN, "");
	for (int i = 0; i < DELIVERIES; i++)
		store_client_deliver(mda.client,
			&(struct store_deliver){ .id = TEXT("1"),
				.recipients = buf_text(&run),
				.body = TEXT("Subject: x\n\nhello\n") },
			count_done, counts);
	while (counts[0] + counts[1] < DELIVERIES && !mda.ended)
		event_base_loop(host.loop, EVLOOP_ONCE);
	assert_int_equal(counts[0], DELIVERIES);
	uint32_t messages;
	uint64_t octets;
	engine_usage(host.engine, TEXT("alice@" HOST_DOMAIN), &messages, &octets);
	assert_int_equal(messages, DELIVERIES);
	buf_release(&run);
	close_peer(&mda);
}

/* The connection goes while the engine works for it. */
static void test_leaving_during_deliveries(void **state)
{
	struct peer mda, alice;
	struct buf run = { 0 };
	unsigned counts[2] = { 0 };

	(void)state;
	add_recipient(&run, "alice@" HOST_DOMAIN, "");
	for (int i = 0; i < 20; i++) {
		open_peer(&mda, STORE_BY_MDA);
		for (int j = 0; j < 50; j++)
			store_client_deliver(mda.client,
				&(struct store_deliver){ .id = TEXT("1"),
					.recipients = buf_text(&run),
					.body = TEXT("\nx\n") },
				count_done, counts);
		for (int round = 0; round < i; round++)
			event_base_loop(host.loop, EVLOOP_ONCE | EVLOOP_NONBLOCK);
		close_peer(&mda);
		log_in(&alice, STORE_BY_POP3D, "alice");
		struct wait selecting = { .fd = -1 };
		store_client_select(alice.client,
			&(struct store_select){
				.mailbox = TEXT("INBOX"), .mode = STORE_SELECT_EXCLUSIVE },
			on_reply, &selecting);
		for (int round = 0; round < i && !selecting.done; round++)
			event_base_loop(host.loop, EVLOOP_ONCE | EVLOOP_NONBLOCK);
		if (selecting.fd >= 0)
			close(selecting.fd);
		close_peer(&alice);
	}
	buf_release(&run);
	/* nobody holds the lock any more */
	while (server_sessions(host.server) > 0)
		event_base_loop(host.loop, EVLOOP_ONCE);
	log_in(&alice, STORE_BY_POP3D, "alice");
	struct wait got = ask_select(&alice, "INBOX", STORE_SELECT_EXCLUSIVE);
	assert_int_equal(got.failure, STORE_OK);
	close(got.fd);
	close_peer(&alice);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_one_delivery_many_users),
		TEST(test_spool),
		TEST(test_many_deliveries),
		TEST(test_leaving_during_deliveries),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
