/* Logins: right, wrong, remembered, delayed, limited, and left alone half way. */
#include "tests/unit/store/store_peer.h"

/* ---- logins ---- */

static void test_login(void **state)
{
	static const struct {
		const char *user, *password;
		enum store_failure failure;
	} cases[] = {
		{ "alice@" HOST_DOMAIN, "restante", STORE_OK },
		{ "Alice@EXAMPLE.Test", "restante", STORE_OK },
		{ "alice", "restante", STORE_OK },
		{ "ALICE", "restante", STORE_OK },
		{ "alice@" HOST_DOMAIN, "Restante", STORE_BAD_LOGIN },
		{ "alice@" HOST_DOMAIN, "", STORE_BAD_LOGIN },
		{ "nobody@" HOST_DOMAIN, "restante", STORE_BAD_LOGIN },
		{ "alice@elsewhere.test", "restante", STORE_BAD_LOGIN },
		{ "", "restante", STORE_BAD_LOGIN },
		{ "@", "", STORE_BAD_LOGIN },
		{ "alice@" HOST_DOMAIN " ", "restante", STORE_BAD_LOGIN },
		{ "../alice", "restante", STORE_BAD_LOGIN },
	};
	struct peer peer;

	(void)state;
	open_peer(&peer, STORE_BY_SMTP_IN);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct wait got = ask_login(&peer, cases[i].user, cases[i].password);
		assert_int_equal(got.failure, cases[i].failure);
		assert_string_equal(
			got.text, cases[i].failure == STORE_OK ? "alice@" HOST_DOMAIN : "");
	}
	/* what stands before a NUL is not the user */
	assert_int_equal(ASK(login, &peer, .user = TEXT("alice@example.test\0x"),
				 .password = TEXT("restante"))
				 .failure,
		STORE_BAD_LOGIN);
	assert_int_equal(
		ASK(login, &peer, .user = TEXT("alice\0x"), .password = TEXT("restante")).failure,
		STORE_BAD_LOGIN);
	close_peer(&peer);
}

static void test_login_is_for_good(void **state)
{
	struct peer peer;

	(void)state;
	log_in(&peer, STORE_BY_POP3D, "alice");
	assert_int_equal(ask_login(&peer, "bob", "restante").failure, STORE_REFUSED);
	assert_int_equal(ask_login(&peer, "alice", "restante").failure, STORE_REFUSED);
	assert_false(peer.ended);
	close_peer(&peer);
	/* a failed one may be tried again */
	open_peer(&peer, STORE_BY_POP3D);
	assert_int_equal(ask_login(&peer, "bob", "wrong").failure, STORE_BAD_LOGIN);
	assert_int_equal(ask_login(&peer, "bob", "restante").failure, STORE_OK);
	close_peer(&peer);
}

static void test_login_is_remembered(void **state)
{
	struct peer peer, admin;

	(void)state;
	open_peer(&peer, STORE_BY_SMTP_IN);
	open_peer(&admin, STORE_BY_ADMIN);
	assert_int_equal(ask_login(&peer, "alice", "restante").failure, STORE_OK);
	assert_int_equal(counter("logins-remembered"), 0);
	assert_int_equal(ask_login(&peer, "alice", "restante").failure, STORE_OK);
	assert_int_equal(counter("logins-remembered"), 1);
	assert_int_equal(ask_login(&peer, "bob", "restante").failure, STORE_OK);
	assert_int_equal(counter("logins-remembered"), 1);
	assert_int_equal(ask_login(&peer, "alice", "restant").failure, STORE_BAD_LOGIN);
	/* a new password forgets it, at once */
	assert_int_equal(ASK(user_password, &admin, .address = TEXT("alice@example.test"),
				 .password = TEXT("neu"))
				 .failure,
		STORE_OK);
	assert_int_equal(ask_login(&peer, "alice", "restante").failure, STORE_BAD_LOGIN);
	assert_int_equal(ask_login(&peer, "alice", "neu").failure, STORE_OK);
	assert_int_equal(counter("logins-remembered"), 1);
	/* and so does switching it off */
	options.logins.remember = 0;
	server_configure(host.server, &options);
	assert_int_equal(ask_login(&peer, "alice", "neu").failure, STORE_OK);
	assert_int_equal(ask_login(&peer, "alice", "neu").failure, STORE_OK);
	assert_int_equal(counter("logins-remembered"), 1);
	close_peer(&peer);
	close_peer(&admin);
}

static uint64_t milliseconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* Unknown user or wrong password: the same time, and meanwhile others go on. */
static void test_failure_is_delayed(void **state)
{
	struct peer peer;
	struct wait unknown = { 0 }, wrong = { 0 };
	struct store_login requests[] = {
		{ .user = TEXT("nobody"), .password = TEXT("x"), .peer = TEXT("192.0.2.5") },
		{ .user = TEXT("alice"), .password = TEXT("x"), .peer = TEXT("192.0.2.5") },
	};

	(void)state;
	options.logins.delay = 30;
	server_configure(host.server, &options);
	open_peer(&peer, STORE_BY_SMTP_IN);
	store_client_login(peer.client, &requests[0], on_reply, &unknown);
	store_client_login(peer.client, &requests[1], on_reply, &wrong);
	assert_int_equal(ask_login(&peer, "bob", "restante").failure, STORE_OK);
	assert_false(unknown.done || wrong.done);
	close_peer(&peer);

	options.logins.delay = 1;
	server_configure(host.server, &options);
	open_peer(&peer, STORE_BY_SMTP_IN);
	requests[0].peer = requests[1].peer = TEXT("192.0.2.6");
	const uint64_t begun = milliseconds();
	store_client_login(peer.client, &requests[0], on_reply, &unknown);
	store_client_login(peer.client, &requests[1], on_reply, &wrong);
	wait_for(&unknown);
	wait_for(&wrong);
	assert_true(milliseconds() - begun >= 995);
	assert_int_equal(unknown.failure, STORE_BAD_LOGIN);
	assert_int_equal(wrong.failure, STORE_BAD_LOGIN);
	close_peer(&peer);
}

static struct wait login_from(struct peer *peer, const char *password, const char *address)
{
	return ASK(login, peer, .user = TEXT("alice"), .password = text_of(password),
		.peer = text_of(address));
}

static struct wait scram_from(struct peer *peer, const char *address)
{
	return ASK(sasl_start, peer, .mechanism = TEXT("SCRAM-SHA-256"), .binding_type = TEXT(""),
		.binding = TEXT(""), .peer = text_of(address), .initial = TEXT(""));
}

struct in_turn {
	struct wait wait;
	unsigned place; /* among all answers */
};

static void on_answer_in_turn(void *owner, struct store_reply *reply)
{
	static unsigned answers;
	struct in_turn *in_turn = owner;

	in_turn->place = ++answers;
	on_reply(&in_turn->wait, reply);
}

static void guess_in_turn(struct peer *peer, const char *address, struct in_turn *in_turn)
{
	store_client_login(peer->client,
		&(struct store_login){ .user = TEXT("alice"),
			.password = TEXT("guess"),
			.peer = text_of(address) },
		on_answer_in_turn, in_turn);
}

/* Each from the same address takes twice the time of the one before; others are told as soon as ever. */
static void test_delay_grows(void **state)
{
	struct peer peer;
	struct in_turn third = { 0 }, other = { 0 };
	uint64_t begun, took[2];

	(void)state;
	options.logins.delay = 1;
	server_configure(host.server, &options);
	open_peer(&peer, STORE_BY_SMTP_IN);
	for (int i = 0; i < 2; i++) {
		begun = milliseconds();
		assert_int_equal(login_from(&peer, "guess", "192.0.2.7").failure, STORE_BAD_LOGIN);
		took[i] = milliseconds() - begun;
	}
	assert_true(took[0] >= 995 && took[1] >= 1995);
	guess_in_turn(&peer, "192.0.2.7", &third);
	guess_in_turn(&peer, "192.0.2.8", &other);
	wait_for(&third.wait);
	wait_for(&other.wait);
	assert_true(other.place < third.place);
	close_peer(&peer);
}

static void test_failures_are_limited(void **state)
{
	struct peer peer;

	(void)state;
	options.logins.failures = 3;
	server_configure(host.server, &options);
	open_peer(&peer, STORE_BY_SMTP_IN);
	assert_int_equal(login_from(&peer, "restante", "192.0.2.9").failure, STORE_OK);
	for (int i = 0; i < 3; i++)
		assert_int_equal(login_from(&peer, "guess", "192.0.2.1").failure, STORE_BAD_LOGIN);
	assert_int_equal(login_from(&peer, "guess", "192.0.2.1").failure, STORE_BUSY);
	assert_int_equal(counter("logins-limited"), 1);
	/* others are not concerned, and a neighbour with the right password neither */
	assert_int_equal(login_from(&peer, "guess", "192.0.2.2").failure, STORE_BAD_LOGIN);
	assert_int_equal(login_from(&peer, "restante", "192.0.2.1").failure, STORE_OK);
	assert_int_equal(ASK(login, &peer, .user = TEXT("bob"), .password = TEXT("restante"),
				 .peer = TEXT("192.0.2.1"))
				 .failure,
		STORE_BUSY);
	/* an exchange whose end alone could tell is not begun */
	assert_int_equal(scram_from(&peer, "192.0.2.1").failure, STORE_BUSY);
	assert_int_equal(scram_from(&peer, "192.0.2.3").failure, STORE_OK);
	for (int i = 0; i < 5; i++) {
		assert_int_equal(login_from(&peer, "guess", "127.0.0.1").failure, STORE_BAD_LOGIN);
		assert_int_equal(login_from(&peer, "guess", "local").failure, STORE_BAD_LOGIN);
	}
	options.logins.limit_loopback = true;
	server_configure(host.server, &options);
	for (int i = 0; i < 3; i++)
		assert_int_equal(login_from(&peer, "guess", "::1").failure, STORE_BAD_LOGIN);
	assert_int_equal(login_from(&peer, "guess", "::1").failure, STORE_BUSY);
	close_peer(&peer);
}

static void test_guesses_at_once(void **state)
{
	enum { GUESSES = 20 };
	struct peer peer;
	struct wait waits[GUESSES + 1] = { 0 };
	unsigned told[STORE_FAILURES] = { 0 };

	(void)state;
	options.logins.failures = 3;
	server_configure(host.server, &options);
	open_peer(&peer, STORE_BY_SMTP_IN);
	for (size_t i = 0; i <= GUESSES; i++)
		store_client_login(peer.client,
			&(struct store_login){
				.user = TEXT("alice"),
				.password = i < GUESSES ? TEXT("guess") : TEXT("restante"),
				.peer = TEXT("192.0.2.1"),
			},
			on_reply, &waits[i]);
	for (size_t i = 0; i <= GUESSES; i++)
		told[wait_for(&waits[i]).failure]++;
	assert_int_equal(told[STORE_BAD_LOGIN], 3);
	assert_int_equal(told[STORE_BUSY], GUESSES - 2);
	assert_int_equal(told[STORE_OK], 0);
	close_peer(&peer);
}

/* A password that is set while logins are being looked at: none of these is told that it is wrong. */
static void test_password_set_meanwhile(void **state)
{
	enum { LOGINS = 20, ROUNDS = 100 };
	unsigned told[STORE_FAILURES] = { 0 };
	struct peer peer, admin;

	(void)state;
	options.logins.remember = 0;
	options.logins.delay = 0;
	server_configure(host.server, &options);
	open_peer(&peer, STORE_BY_SMTP_IN);
	open_peer(&admin, STORE_BY_ADMIN);
	for (unsigned round = 0; round < ROUNDS && !told[STORE_BUSY]; round++) {
		struct wait waits[LOGINS] = { 0 }, changed = { 0 };
		store_client_user_password(admin.client,
			&(struct store_user_password){ .address = TEXT("alice@" HOST_DOMAIN),
				.password = TEXT("restante") },
			on_reply, &changed);
		for (size_t i = 0; i < LOGINS; i++)
			store_client_login(peer.client,
				&(struct store_login){
					.user = TEXT("alice"), .password = TEXT("restante") },
				on_reply, &waits[i]);
		for (size_t i = 0; i < LOGINS; i++)
			told[wait_for(&waits[i]).failure]++;
		assert_int_equal(wait_for(&changed).failure, STORE_OK);
	}
	assert_int_equal(told[STORE_BAD_LOGIN], 0);
	assert_int_not_equal(told[STORE_BUSY], 0);
	close_peer(&peer);
	close_peer(&admin);
}

/* Connections that go while their login is being looked at. */
static void test_leaving_during_login(void **state)
{
	struct peer peer;
	struct wait wait = { 0 };

	(void)state;
	options.logins.delay = 5;
	server_configure(host.server, &options);
	for (int i = 0; i < 30; i++) {
		open_peer(&peer, STORE_BY_SMTP_IN);
		store_client_login(peer.client,
			&(struct store_login){ .user = TEXT("alice"), .password = TEXT("x") },
			on_reply, &wait);
		for (int round = 0; round < i; round++)
			event_base_loop(host.loop, EVLOOP_ONCE | EVLOOP_NONBLOCK);
		close_peer(&peer);
	}
	log_in(&peer, STORE_BY_POP3D, "alice");
	assert_false(wait.done);
	close_peer(&peer);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_login),
		TEST(test_login_is_for_good),
		TEST(test_login_is_remembered),
		TEST(test_failure_is_delayed),
		TEST(test_delay_grows),
		TEST(test_failures_are_limited),
		TEST(test_guesses_at_once),
		TEST(test_password_set_meanwhile),
		TEST(test_leaving_during_login),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
