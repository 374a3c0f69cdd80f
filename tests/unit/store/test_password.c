/* Hashes and checks in their threads, remembered logins, and failures by client address. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#include <cmocka.h>
#include <event2/event.h>

#include "base/log.h"
#include "base/mem.h"
#include "store/login_peers.h"
#include "store/password.h"
#include "store/password_cache.h"
#include "store/sasl.h"

/* crypt(3) made these. */
#define YESCRYPT "$y$j75$WVC9gL8zlc3EEXgCbQHoG/$4cG.Dv5OxGl9x28RtPiFG.XMGpWZhOIHwxv0MQzC0yA"
#define SHA512_SALTED \
	"saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4" \
	"OTLiBFdcbYEdFCoEOfaS35inz1"
#define SHA512 "$6$" SHA512_SALTED
#define BCRYPT "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"

static struct event_base *loop;

static struct passwords *pool(unsigned threads, size_t waiting, const char *method, unsigned cost)
{
	struct passwords *passwords = passwords_new(loop, &(struct password_options){
								  .threads = threads,
								  .waiting = waiting,
								  .method = method,
								  .cost = cost,
							  });

	return passwords;
}

static int setup(void **state)
{
	(void)state;
	log_open("test", LOG_LEVEL_ERROR + 1);
	loop = event_base_new();
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	event_base_free(loop);
	return 0;
}

/* ---- what is a hash ---- */

static void test_usable_hashes(void **state)
{
	static const struct {
		const char *hash;
		bool usable;
	} cases[] = {
		{ YESCRYPT, true },
		{ SHA512, true },
		{ BCRYPT, true },
		{ "$2y$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW", true },
		{ "$2b$16$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW", true },
		/* too dear, or too cheap to be one */
		{ "$2b$17$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW", false },
		{ "$2b$03$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW", false },
		{ "$2x$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW", false },
		{ "$2b$5$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeWx", false },
		{ "$y$jDT$WVC9gL8zlc3EEXgCbQHoG/$4cG.Dv5OxGl9x28RtPiFG.XMGpWZhOIHwxv0MQzC0yA",
			true },
		{ "$y$jET$WVC9gL8zlc3EEXgCbQHoG/$4cG.Dv5OxGl9x28RtPiFG.XMGpWZhOIHwxv0MQzC0yA",
			false },
		{ "$y$jzz$WVC9gL8zlc3EEXgCbQHoG/$4cG.Dv5OxGl9x28RtPiFG.XMGpWZhOIHwxv0MQzC0yA",
			false },
		{ "$y$j7$WVC9gL8zlc3EEXgCbQHoG/$4cG.Dv5OxGl9x28RtPiFG.XMGpWZhOIHwxv0MQzC0yA",
			false },
		{ "$y$j75$WVC9gL8zlc3EEXgCbQHoG/$", false },
		{ "$y$j75$WVC9gL8zlc3EEXgCbQHoG/", false },
		{ "$y$j75", false },
		{ "$y$", false },
		{ "$6$rounds=5000001$" SHA512_SALTED, false },
		{ "$6$rounds=5000000$" SHA512_SALTED, true },
		{ "$6$rounds=5000", false },
		{ "$6$rounds=$salt$x", false },
		{ "$6$$x", false },
		{ "$6$", false },
		{ "$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjlO", false },
		{ "$6$rounds=1000$x:" SHA512_SALTED, false },
		{ "$6$seventeen-octets-$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/"
		  "O817G3uBnIFNjnQJuesI68u4"
		  "OTLiBFdcbYEdFCoEOfaS35inz1",
			false },
		/* kinds that are not taken */
		{ "$1$saltstri$hLOXvlYLNhGxCS9ZuNNzy1", false },
		{ "$5$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc8", false },
		{ "rl.3StKT.4T8M", false },
		{ "*", false },
		{ "!", false },
		{ "", false },
		{ "restante", false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		if (password_hash_is_usable(text_of(cases[i].hash)) != cases[i].usable)
			fail_msg("%s", cases[i].hash);
	}
	char with_nul[] = BCRYPT;
	with_nul[40] = '\0';
	assert_false(password_hash_is_usable(
		(struct text){ .ptr = with_nul, .len = sizeof(with_nul) - 1 }));
}

/* ---- checking and hashing ---- */

static int verdict; /* -1: none yet */

static void on_checked(void *owner, enum password_verdict found)
{
	assert_ptr_equal(owner, &verdict);
	verdict = (int)found;
}

static int check(struct passwords *passwords, struct text password, const char *hash)
{
	verdict = -1;
	assert_non_null(password_check(passwords, password, text_of(hash), on_checked, &verdict));
	assert_int_equal(verdict, -1);
	while (verdict < 0)
		event_base_loop(loop, EVLOOP_ONCE);
	return verdict;
}

static void test_check(void **state)
{
	struct passwords *passwords = pool(2, 8, "bcrypt", 4);
	char long_one[600];

	(void)state;
	memset(long_one, 'x', sizeof(long_one));
	assert_int_equal(check(passwords, TEXT("restante"), YESCRYPT), 1);
	assert_int_equal(check(passwords, TEXT("Restante"), YESCRYPT), 0);
	assert_int_equal(check(passwords, TEXT("restant"), YESCRYPT), 0);
	assert_int_equal(check(passwords, TEXT("Hello world!"), SHA512), 1);
	assert_int_equal(check(passwords, TEXT("Hello world?"), SHA512), 0);
	assert_int_equal(check(passwords, TEXT("U*U"), BCRYPT), 1);
	assert_int_equal(check(passwords, TEXT("U*"), BCRYPT), 0);
	/* what crypt(3) would take for the string before the NUL */
	assert_int_equal(check(passwords, TEXT("U*U\0"), BCRYPT), 0);
	assert_int_equal(check(passwords, TEXT(""), BCRYPT), 0);
	assert_int_equal(check(passwords, (struct text){ long_one, sizeof(long_one) }, BCRYPT), 0);
	assert_int_equal(check(passwords, (struct text){ long_one, 512 }, YESCRYPT), 0);
	/* nobody, and hashes of a kind that is not taken */
	assert_int_equal(check(passwords, TEXT("restante"), ""), 0);
	assert_int_equal(check(passwords, TEXT(""), ""), 0);
	assert_int_equal(check(passwords, TEXT("*0"), "*0"), 0);
	assert_int_equal(check(passwords, TEXT("x"), "x"), 0);
	passwords_free(&passwords);
	assert_null(passwords);
}

static char made[PASSWORD_HASH_LIMIT + 1];

static void on_hashed(void *owner, const char *hash)
{
	(void)owner;
	verdict = hash != NULL;
	made[0] = '\0';
	if (!hash)
		return;
	/* crypt(3)'s part; the verifier stands behind it. */
	const struct text whole = text_of(hash);
	const ptrdiff_t blank = text_find(whole, ' ');
	assert_true(blank > 0 && (size_t)blank < sizeof(made));
	assert_true(sasl_verifier_is_usable(text_from(whole, (size_t)blank + 1)));
	memcpy(made, hash, (size_t)blank);
	made[blank] = '\0';
}

static void test_hash(void **state)
{
	static const struct {
		const char *method, *prefix;
		unsigned cost;
	} cases[] = {
		{ "yescrypt", "$y$j75$", 1 },
		{ "yescrypt", "$y$j9T$", 0 },
		{ "bcrypt", "$2b$04$", 4 },
		{ "sha512-crypt", "$6$rounds=1000$", 1000 },
		{ "sha512-crypt", "$6$", 0 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct passwords *passwords = pool(1, 8, cases[i].method, cases[i].cost);
		char before[sizeof(made)] = "";
		assert_non_null(passwords);
		for (int round = 0; round < 2; round++) {
			verdict = -1;
			assert_non_null(password_hash(passwords, TEXT("geheim"), on_hashed, NULL));
			while (verdict < 0)
				event_base_loop(loop, EVLOOP_ONCE);
			assert_int_equal(verdict, 1);
			assert_true(text_begins(text_of(made), text_of(cases[i].prefix)));
			assert_string_not_equal(made, before); /* salted */
			memcpy(before, made, sizeof(made));
			assert_int_equal(check(passwords, TEXT("geheim"), before), 1);
			assert_int_equal(check(passwords, TEXT("Geheim"), before), 0);
		}
		passwords_free(&passwords);
	}
}

static void test_usable_passwords(void **state)
{
	struct passwords *bcrypt = pool(1, 1, "bcrypt", 4), *yescrypt = pool(1, 1, "yescrypt", 1);
	char letters[600];

	(void)state;
	memset(letters, 'x', sizeof(letters));
	assert_true(password_is_usable(bcrypt, (struct text){ letters, 72 }));
	assert_false(password_is_usable(bcrypt, (struct text){ letters, 73 }));
	assert_true(password_is_usable(yescrypt, (struct text){ letters, 511 }));
	assert_false(password_is_usable(yescrypt, (struct text){ letters, 512 }));
	assert_false(password_is_usable(yescrypt, TEXT("")));
	assert_false(password_is_usable(yescrypt, TEXT("a\0b")));
	passwords_free(&bcrypt);
	passwords_free(&yescrypt);
}

/* A right password is not called wrong because there is no memory to look; nor is an unknown user's. */
static void test_check_without_memory(void **state)
{
	struct passwords *passwords = pool(1, 8, "yescrypt", 5);
	struct rlimit before, none;

	(void)state;
	assert_int_equal(check(passwords, TEXT("restante"), YESCRYPT), PASSWORD_RIGHT);
	assert_int_equal(getrlimit(RLIMIT_AS, &before), 0);
	none = before;
	none.rlim_cur = 1 << 20;
	assert_int_equal(setrlimit(RLIMIT_AS, &none), 0);
	const int known = check(passwords, TEXT("restante"), YESCRYPT);
	const int unknown = check(passwords, TEXT("restante"), "");
	assert_int_equal(setrlimit(RLIMIT_AS, &before), 0);
	assert_int_equal(known, PASSWORD_UNCHECKED);
	assert_int_equal(unknown, PASSWORD_UNCHECKED);
	assert_int_equal(check(passwords, TEXT("restante"), YESCRYPT), PASSWORD_RIGHT);
	assert_int_equal(check(passwords, TEXT("restante"), ""), PASSWORD_WRONG);
	passwords_free(&passwords);
}

static void test_bad_options(void **state)
{
	(void)state;
	assert_null(pool(1, 1, "md5", 0));
	assert_null(pool(0, 1, "bcrypt", 4));
	assert_null(pool(1, 1, "bcrypt", 99));
}

/* ---- the queue ---- */

static unsigned answered;

static void on_any(void *owner, enum password_verdict found)
{
	(void)owner, (void)found;
	answered++;
}

enum { WAITING = 4, OFFERED = 50, TRIES = 20 };

/* How many are taken when so many are offered at once. Each is answered, and once. */
static unsigned offer(struct passwords *passwords)
{
	unsigned taken = 0;

	answered = 0;
	for (unsigned i = 0; i < OFFERED; i++)
		taken += password_check(passwords, TEXT("x"), TEXT(""), on_any, NULL) != NULL;
	while (answered < taken)
		event_base_loop(loop, EVLOOP_ONCE);
	for (int i = 0; i < 3; i++)
		event_base_loop(loop, EVLOOP_NONBLOCK);
	assert_int_equal(answered, taken);
	return taken;
}

static void test_queue_is_bounded(void **state)
{
	struct passwords *passwords = pool(1, WAITING, "bcrypt", 8);
	unsigned taken = OFFERED;

	(void)state;
	/* When this thread stands still between two offers, the other one makes room. */
	for (unsigned i = 0; i < TRIES && taken > WAITING + 5; i++)
		taken = offer(passwords);
	assert_in_range(taken, WAITING, WAITING + 5);
	passwords_free(&passwords);
}

static void test_forgotten_jobs(void **state)
{
	enum { JOBS = 5 };
	struct passwords *passwords = pool(1, JOBS, "bcrypt", 8);
	struct password_job *jobs[JOBS];

	(void)state;
	answered = 0;
	for (int i = 0; i < JOBS; i++)
		jobs[i] = password_check(passwords, TEXT("x"), TEXT(""), on_any, NULL);
	/* the last, which waits; one between; and the first, which may run already */
	password_job_forget(&jobs[4]);
	password_job_forget(&jobs[2]);
	password_job_forget(&jobs[0]);
	assert_null(jobs[0]);
	password_job_forget(&jobs[0]);
	while (answered < 2)
		event_base_loop(loop, EVLOOP_ONCE);
	/* there is room again, and the order of the queue has survived */
	for (int i = 0; i < JOBS; i++)
		assert_non_null(password_check(passwords, TEXT("x"), TEXT(""), on_any, NULL));
	while (answered < 2 + JOBS)
		event_base_loop(loop, EVLOOP_ONCE);
	/* freed with jobs in every state */
	for (int i = 0; i < JOBS; i++)
		password_check(passwords, TEXT("x"), TEXT(""), on_any, NULL);
	passwords_free(&passwords);
	assert_int_equal(answered, 2 + JOBS);
}

static struct password_job *other;

static void forget_other(void *owner, enum password_verdict found)
{
	(void)owner, (void)found;
	answered++;
	password_job_forget(&other);
}

/* One callback forgets a job that has finished, too, but was not told yet. */
static void test_forget_within_callback(void **state)
{
	struct passwords *passwords = pool(1, 2, "bcrypt", 4);

	(void)state;
	answered = 0;
	assert_non_null(password_check(passwords, TEXT("x"), TEXT(""), forget_other, NULL));
	other = password_check(passwords, TEXT("x"), TEXT(""), on_any, NULL);
	while (answered < 1)
		event_base_loop(loop, EVLOOP_ONCE);
	for (int i = 0; i < 3; i++)
		event_base_loop(loop, EVLOOP_NONBLOCK);
	assert_int_equal(answered, 1);
	passwords_free(&passwords);
}

/* ---- remembered logins ---- */

static struct password_proof prove(
	struct password_cache *cache, const char *user, const char *hash, const char *password)
{
	struct password_proof proof;

	assert_true(password_cache_prove(
		cache, text_of(user), text_of(hash), text_of(password), &proof));
	return proof;
}

static void test_cache(void **state)
{
	struct password_cache *cache = password_cache_new(), *another = password_cache_new();
	struct password_proof proof = prove(cache, "alice@example.test", YESCRYPT, "restante");
	struct password_proof same = prove(cache, "alice@example.test", YESCRYPT, "restante");
	const struct password_proof others[] = {
		prove(cache, "alice@example.test", YESCRYPT, "Restante"),
		prove(cache, "alice@example.test", BCRYPT, "restante"), /* it was changed */
		prove(cache, "bob@example.test", YESCRYPT, "restante"),
		prove(cache, "alice@example.tes", "t" YESCRYPT, "restante"),
		prove(cache, "alice@example.test", YESCRYPT "r", "estante"),
		prove(another, "alice@example.test", YESCRYPT, "restante"),
	};

	(void)state;
	assert_memory_equal(&proof, &same, sizeof(proof));
	assert_false(password_cache_has(cache, &proof, 100));
	password_cache_add(cache, &proof, 100, 400);
	assert_true(password_cache_has(cache, &proof, 100));
	assert_true(password_cache_has(cache, &same, 399));
	assert_false(password_cache_has(cache, &proof, 400));
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
		assert_false(password_cache_has(cache, &others[i], 100));
	assert_false(password_cache_has(another, &proof, 100));
	assert_int_equal(password_cache_sweep(cache, 399), 1);
	assert_true(password_cache_has(cache, &proof, 399));
	assert_int_equal(password_cache_sweep(cache, 400), 0);
	assert_false(password_cache_has(cache, &proof, 100));
	password_cache_add(cache, &proof, 100, 400);
	password_cache_clear(cache);
	assert_false(password_cache_has(cache, &proof, 100));
	password_cache_add(cache, &proof, 100, 100);
	assert_false(password_cache_has(cache, &proof, 99));
	password_cache_free(&cache);
	password_cache_free(&another);
}

/* More than fit: it stays bounded, and the newest is there. */
static void test_cache_full(void **state)
{
	struct password_cache *cache = password_cache_new();
	struct password_proof proof;
	char user[32];

	(void)state;
	for (unsigned i = 0; i < 20000; i++) {
		snprintf(user, sizeof(user), "user%u", i);
		proof = prove(cache, user, YESCRYPT, "x");
		password_cache_add(cache, &proof, 100 + i, 1000000 + i);
		assert_true(password_cache_has(cache, &proof, 100 + i));
	}
	assert_in_range(password_cache_sweep(cache, 100), 3000, 4096);
	char too_long[2000];
	memset(too_long, 'x', sizeof(too_long));
	assert_false(password_cache_prove(
		cache, (struct text){ too_long, sizeof(too_long) }, TEXT(""), TEXT(""), &proof));
	assert_false(password_cache_prove(
		cache, TEXT(""), (struct text){ too_long, 256 }, TEXT(""), &proof));
	assert_false(password_cache_prove(
		cache, TEXT(""), TEXT(""), (struct text){ too_long, 1025 }, &proof));
	password_cache_free(&cache);
}

/* ---- failures by address ---- */

static struct login_peer peer_of(const char *address)
{
	struct login_peer peer;

	assert_true(login_peer_parse(text_of(address), &peer));
	return peer;
}

static void test_peers(void **state)
{
	struct login_peers *peers = login_peers_new();
	const struct login_peer one = peer_of("192.0.2.1"), two = peer_of("192.0.2.2");
	const struct login_peer six = peer_of("2001:db8:1:2::1"),
				neighbour = peer_of("2001:db8:1:2:ffff::9"),
				stranger = peer_of("2001:db8:1:3::1");

	(void)state;
	for (int i = 0; i < 5; i++)
		login_peers_fail(peers, &one, 1000 + (uint64_t)i, 600);
	assert_int_equal(login_peers_failures(peers, &one, 1010, 600), 5);
	assert_int_equal(login_peers_failures(peers, &two, 1010, 600), 0);
	assert_int_equal(login_peers_failures(peers, &one, 1599, 600), 5);
	assert_int_equal(login_peers_failures(peers, &one, 1600, 600), 0);
	login_peers_fail(peers, &one, 1600, 600);
	assert_int_equal(login_peers_failures(peers, &one, 1601, 600), 1);
	login_peers_fail(peers, &six, 1000, 600);
	login_peers_fail(peers, &neighbour, 1001, 600);
	assert_int_equal(login_peers_failures(peers, &six, 1002, 600), 2);
	assert_int_equal(login_peers_failures(peers, &stranger, 1002, 600), 0);
	login_peers_free(&peers);
}

static void test_peer_texts(void **state)
{
	static const struct {
		const char *address;
		bool parsed, loopback;
	} cases[] = {
		{ "127.0.0.1", true, true },
		{ "127.255.255.255", true, true },
		{ "128.0.0.1", true, false },
		{ "192.0.2.1", true, false },
		{ "::1", true, true },
		{ "::ffff:127.0.0.1", true, true },
		{ "::2", true, false },
		{ "2001:db8::1", true, false },
		{ "local", false, false },
		{ "", false, false },
		{ "192.0.2.1 ", false, false },
		{ "192.0.2", false, false },
		{ "1111:2222:3333:4444:5555:6666:7777:8888:9999:aaaa:bbbb:cccc", false, false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct login_peer peer;
		if (login_peer_parse(text_of(cases[i].address), &peer) != cases[i].parsed)
			fail_msg("%s", cases[i].address);
		if (cases[i].parsed && login_peer_is_loopback(&peer) != cases[i].loopback)
			fail_msg("%s", cases[i].address);
	}
}

/* A flood of addresses is bounded in memory and does not wash out who fails now. */
static void test_peers_full(void **state)
{
	struct login_peers *peers = login_peers_new();
	char address[32];

	(void)state;
	for (unsigned i = 0; i < 100000; i++) {
		snprintf(address, sizeof(address), "10.%u.%u.%u", i >> 16, i >> 8 & 255, i & 255);
		const struct login_peer peer = peer_of(address);
		login_peers_fail(peers, &peer, 1000 + i, 1000000);
		assert_int_equal(login_peers_failures(peers, &peer, 1000 + i, 1000000), 1);
	}
	login_peers_free(&peers);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_usable_hashes),
		TEST(test_check),
		TEST(test_hash),
		TEST(test_usable_passwords),
		TEST(test_check_without_memory),
		TEST(test_bad_options),
		TEST(test_queue_is_bounded),
		TEST(test_forgotten_jobs),
		TEST(test_forget_within_callback),
		cmocka_unit_test(test_cache),
		cmocka_unit_test(test_cache_full),
		cmocka_unit_test(test_peers),
		cmocka_unit_test(test_peer_texts),
		cmocka_unit_test(test_peers_full),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
