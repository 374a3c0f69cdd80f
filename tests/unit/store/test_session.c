/* One user's mailboxes through the server, and nobody else's. */
#include <dirent.h>
#include <endian.h>

#include "tests/unit/store/store_peer.h"

/* ---- mailboxes ---- */

static void read_all(int fd, char *to, size_t room)
{
	ssize_t got = pread(fd, to, room - 1, 0);

	assert_true(got >= 0);
	to[got] = '\0';
	close(fd);
}

static struct wait ask_fetch(struct peer *peer, uint32_t uid)
{
	const uint32_t wire = htole32(uid);

	return ASK(fetch, peer, .uids = { (const char *)&wire, sizeof(wire) });
}

static struct wait ask_update(
	struct peer *peer, enum store_update_kind kind, uint32_t flags, uint32_t uid)
{
	const uint32_t wire = htole32(uid);

	return ASK(update, peer, .kind = kind, .flags = flags, .keywords = TEXT(""),
		.uids = { (const char *)&wire, sizeof(wire) });
}

static const struct store_listing *map_listing(struct wait *selected, size_t *mapped)
{
	const struct store_listing *listing = store_listing_map(selected->fd, mapped);

	close(selected->fd);
	assert_non_null(listing);
	return listing;
}

static void test_mailbox(void **state)
{
	struct peer mda, alice, bob;
	char body[100];
	size_t mapped;

	(void)state;
	open_peer(&mda, STORE_BY_MDA);
	assert_int_equal(
		deliver(&mda, "alice@" HOST_DOMAIN, TEXT("Subject: 1\n\none\n")), STORE_OK);
	assert_int_equal(
		deliver(&mda, "alice@" HOST_DOMAIN, TEXT("Subject: 2\n\ntwo\n")), STORE_OK);
	assert_int_equal(
		deliver(&mda, "bob@" HOST_DOMAIN, TEXT("Subject: 3\n\nthree\n")), STORE_OK);

	log_in(&alice, STORE_BY_IMAPD, "alice");
	struct wait selected = ask_select(&alice, "INBOX", STORE_SELECT_SHARED);
	assert_int_equal(selected.failure, STORE_OK);
	assert_int_equal(selected.reply.of.select.messages, 2);
	assert_int_equal(selected.reply.of.select.octets, 2 * 19);
	const struct store_listing *listing = map_listing(&selected, &mapped);
	assert_int_equal(listing->count, 2);
	const uint32_t first = listing->entry[0].uid, second = listing->entry[1].uid;
	assert_int_equal(listing->entry[0].size, 16);
	store_listing_unmap(listing, mapped);

	struct wait fetched = ask_fetch(&alice, second);
	assert_int_equal(fetched.failure, STORE_OK);
	assert_int_equal(fetched.reply.of.fetch.size, 16);
	read_all(fetched.fd, body, sizeof(body));
	assert_string_equal(body, "Subject: 2\n\ntwo\n");
	assert_int_equal(ask_fetch(&alice, second + 1).failure, STORE_NO_SUCH_MESSAGE);
	assert_int_equal(ask_fetch(&alice, 0).failure, STORE_NO_SUCH_MESSAGE);

	struct wait updated = ask_update(&alice, STORE_UPDATE_FLAGS_ADD, STORE_FLAG_SEEN, first);
	assert_int_equal(updated.failure, STORE_OK);
	assert_int_equal(updated.reply.of.update.changed, 1);
	assert_int_equal(
		ask_update(&alice, STORE_UPDATE_FLAGS_ADD, 1 << 20, first).failure, STORE_INVALID);
	assert_int_equal(ask_update(&alice, 77, 0, first).failure, STORE_INVALID);
	assert_int_equal(ask_update(&alice, STORE_UPDATE_EXPUNGE, 0, first).failure, STORE_OK);
	assert_int_equal(ask_fetch(&alice, first).failure, STORE_NO_SUCH_MESSAGE);
	assert_int_equal(ASK(unselect, &alice, .options = 1).failure, STORE_INVALID);
	assert_int_equal(ASK(unselect, &alice, .options = 0).failure, STORE_OK);

	log_in(&bob, STORE_BY_IMAPD, "bob");
	selected = ask_select(&bob, "inbox", STORE_SELECT_READ_ONLY);
	assert_int_equal(selected.failure, STORE_OK);
	assert_int_equal(selected.reply.of.select.messages, 1);
	listing = map_listing(&selected, &mapped);
	fetched = ask_fetch(&bob, listing->entry[0].uid);
	assert_int_equal(fetched.failure, STORE_OK);
	read_all(fetched.fd, body, sizeof(body));
	assert_string_equal(body, "Subject: 3\n\nthree\n");
	assert_int_equal(ask_update(&bob, STORE_UPDATE_EXPUNGE, 0, listing->entry[0].uid).failure,
		STORE_REFUSED);
	store_listing_unmap(listing, mapped);

	/* one that is not there leaves the one that was selected */
	assert_int_equal(
		ask_select(&bob, "Nowhere", STORE_SELECT_SHARED).failure, STORE_NO_SUCH_MAILBOX);
	struct wait wait = { .fd = -1 };
	store_client_unselect(
		bob.client, &(struct store_unselect){ .options = 0 }, on_reply, &wait);
	assert_int_equal(wait_for(&wait).failure, STORE_AWAY);
	assert_true(host_run_until(&host, &bob.ended));
	close_peer(&mda);
	close_peer(&alice);
	close_peer(&bob);
}

/* No name leads out of one's own mailboxes. */
static void test_mailbox_names(void **state)
{
	static const char *const names[] = { "../bob@example.test", "..", "/", "", "a//b",
		"../../../etc", "INBOX/../..", ".", "cur" };
	struct peer alice, mda;

	(void)state;
	open_peer(&mda, STORE_BY_MDA);
	assert_int_equal(deliver(&mda, "bob@" HOST_DOMAIN, TEXT("\nfor bob\n")), STORE_OK);
	close_peer(&mda);
	log_in(&alice, STORE_BY_IMAPD, "alice");
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		struct wait got = ask_select(&alice, names[i], STORE_SELECT_SHARED);
		if (names[i][0] == '\0' && got.failure == STORE_OK)
			close(got.fd); /* may stand for INBOX */
		else
			assert_int_not_equal(got.failure, STORE_OK);
	}
	/* what looks like a path is a name like any other, or none */
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (ASK(create, &alice, .mailbox = text_of(names[i])).failure != STORE_OK)
			continue;
		struct wait got = ask_select(&alice, names[i], STORE_SELECT_SHARED);
		assert_int_equal(got.failure, STORE_OK);
		assert_int_equal(got.reply.of.select.messages, 0);
		close(got.fd);
	}
	assert_int_equal(ASK(create, &alice, .mailbox = TEXT("a//b")).failure, STORE_INVALID);
	assert_int_equal(ASK(create, &alice, .mailbox = TEXT("a\0b")).failure, STORE_INVALID);
	assert_int_equal(ASK(create, &alice, .mailbox = TEXT("Archive/2026")).failure, STORE_OK);
	assert_int_equal(
		ASK(create, &alice, .mailbox = TEXT("Archive/2026")).failure, STORE_ALREADY_EXISTS);
	struct wait got = ask_select(&alice, "Archive/2026", STORE_SELECT_SHARED);
	assert_int_equal(got.failure, STORE_OK);
	close(got.fd);
	assert_int_equal(ask_select(&alice, "Archive/2026", 3).failure, STORE_INVALID);
	assert_int_equal(ASK(mailboxes, &alice, .options = 0).failure, STORE_OK);
	assert_int_equal(ASK(mailboxes, &alice, .options = 1).failure, STORE_INVALID);
	close_peer(&alice);
}

static void test_lock_goes_with_the_session(void **state)
{
	struct peer first, second;
	struct wait got;

	(void)state;
	log_in(&first, STORE_BY_POP3D, "alice");
	log_in(&second, STORE_BY_POP3D, "alice");
	got = ask_select(&first, "INBOX", STORE_SELECT_EXCLUSIVE);
	assert_int_equal(got.failure, STORE_OK);
	close(got.fd);
	assert_int_equal(
		ask_select(&second, "INBOX", STORE_SELECT_EXCLUSIVE).failure, STORE_LOCKED);
	close_peer(&first);
	for (int i = 0; i < 1000 && server_sessions(host.server) > 1; i++)
		event_base_loop(host.loop, EVLOOP_ONCE);
	got = ask_select(&second, "INBOX", STORE_SELECT_EXCLUSIVE);
	assert_int_equal(got.failure, STORE_OK);
	close(got.fd);
	close_peer(&second);
}

/* Each request finds the state that the one before it left, though all were sent at once. */
static void test_pipelined_session(void **state)
{
	struct peer mda, alice;
	struct wait waits[4] = { { .fd = -1 }, { .fd = -1 }, { .fd = -1 }, { .fd = -1 } };
	const uint32_t uid = htole32(1);

	(void)state;
	open_peer(&mda, STORE_BY_MDA);
	assert_int_equal(deliver(&mda, "alice@" HOST_DOMAIN, TEXT("\nhello\n")), STORE_OK);
	open_peer(&alice, STORE_BY_POP3D);
	store_client_login(alice.client,
		&(struct store_login){ .user = TEXT("alice"), .password = TEXT("restante") },
		on_reply, &waits[0]);
	store_client_select(alice.client,
		&(struct store_select){ .mailbox = TEXT("INBOX"), .mode = STORE_SELECT_EXCLUSIVE },
		on_reply, &waits[1]);
	store_client_fetch(alice.client,
		&(struct store_fetch){ .uids = { (const char *)&uid, sizeof(uid) } }, on_reply,
		&waits[2]);
	store_client_update(alice.client,
		&(struct store_update){
			.kind = STORE_UPDATE_EXPUNGE, .uids = { (const char *)&uid, sizeof(uid) } },
		on_reply, &waits[3]);
	for (size_t i = 0; i < 4; i++) {
		assert_int_equal(wait_for(&waits[i]).failure, STORE_OK);
		if (waits[i].fd >= 0)
			close(waits[i].fd);
	}
	assert_int_equal(waits[3].reply.of.update.changed, 1);
	close_peer(&mda);
	close_peer(&alice);
}

static unsigned open_descriptors(void)
{
	DIR *directory = opendir("/proc/self/fd");
	unsigned count = 0;

	while (readdir(directory))
		count++;
	closedir(directory);
	return count;
}

static void count_fetched(void *owner, struct store_reply *reply)
{
	if (reply->failure == STORE_OK)
		(*(unsigned *)owner)++;
}

/* Who asks for many messages and takes none does not fill the store's descriptor table. */
static void test_fetch_by_a_slow_peer(void **state)
{
	enum { REQUESTS = 8 };
	struct peer mda, alice;
	struct wait got;
	uint32_t uids[STORE_FETCH_LIMIT];
	unsigned fetched = 0;
	bool all = false;
	int small = 4096;

	(void)state;
	open_peer(&mda, STORE_BY_MDA);
	assert_int_equal(deliver(&mda, "alice@" HOST_DOMAIN, TEXT("\nhello\n")), STORE_OK);
	for (size_t i = 0; i < STORE_FETCH_LIMIT; i++)
		uids[i] = htole32(1);

	int pair[2];
	assert_int_equal(
		socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair), 0);
	setsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, &small, sizeof(small));
	server_accept(host.server, STORE_BY_IMAPD, pair[0]);
	alice = (struct peer){ 0 };
	alice.client = store_client_over(host.loop, pair[1], &peer_handlers, &alice);
	assert_int_equal(ask_login(&alice, "alice", "restante").failure, STORE_OK);
	got = ask_select(&alice, "INBOX", STORE_SELECT_SHARED);
	assert_int_equal(got.failure, STORE_OK);
	close(got.fd);

	for (int i = 0; i < REQUESTS; i++)
		store_client_fetch(alice.client,
			&(struct store_fetch){ .uids = { (const char *)uids, sizeof(uids) } },
			count_fetched, &fetched);
	unsigned most = 0;
	const unsigned before = open_descriptors();
	while (!all) {
		event_base_loop(host.loop, EVLOOP_ONCE);
		const unsigned now = open_descriptors();
		most = now > most ? now : most;
		all = fetched == REQUESTS * STORE_FETCH_LIMIT;
		assert_false(alice.ended);
	}
	assert_in_range(most, before, before + 20);
	close_peer(&mda);
	close_peer(&alice);
}

static void test_watch(void **state)
{
	struct peer mda, alice;
	struct wait got;

	(void)state;
	open_peer(&mda, STORE_BY_MDA);
	log_in(&alice, STORE_BY_IMAPD, "alice");
	got = ask_select(&alice, "INBOX", STORE_SELECT_SHARED);
	close(got.fd);
	const uint64_t modseq = got.reply.of.select.modseq;
	assert_int_equal(ASK(watch, &alice, .on = 2).failure, STORE_INVALID);
	assert_int_equal(ASK(watch, &alice, .on = 1).failure, STORE_OK);
	assert_int_equal(deliver(&mda, "alice@" HOST_DOMAIN, TEXT("\nnew\n")), STORE_OK);
	assert_true(host_run_until(&host, &alice.has_changed));
	assert_int_equal(alice.changed.messages, 1);
	got = ASK(changes, &alice, .since = modseq);
	assert_int_equal(got.failure, STORE_OK);
	assert_true(got.reply.of.changes.modseq > modseq);
	size_t mapped;
	const struct store_listing *listing = map_listing(&got, &mapped);
	assert_int_equal(listing->count, 1);
	store_listing_unmap(listing, mapped);
	assert_int_equal(ASK(watch, &alice, .on = 0).failure, STORE_OK);
	alice.has_changed = false;
	assert_int_equal(deliver(&mda, "alice@" HOST_DOMAIN, TEXT("\nnew\n")), STORE_OK);
	assert_int_equal(ASK(changes, &alice, .since = modseq).failure, STORE_OK);
	assert_false(alice.has_changed);
	close_peer(&mda);
	close_peer(&alice);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_mailbox),
		TEST(test_mailbox_names),
		TEST(test_lock_goes_with_the_session),
		TEST(test_pipelined_session),
		TEST(test_fetch_by_a_slow_peer),
		TEST(test_watch),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
