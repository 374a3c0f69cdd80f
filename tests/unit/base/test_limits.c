/* Limits by themselves, with a clock of the test's, and shared by processes that are killed anywhere. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/limits.h"

enum { HOUR = 3600 * 1000, HAMMERS = 4, ROUNDS = 40, CLIENTS = 300 };

static const struct limits_allowance three_an_hour = { .count = 3, .period = HOUR };

struct table {
	int fd;
	unsigned workers;
	struct limits *one;
};

static struct limits *open_as(const struct table *table, unsigned worker)
{
	struct limits *limits = limits_open(dup(table->fd), table->workers, worker);

	assert_non_null(limits);
	return limits;
}

static struct table new_table(unsigned workers)
{
	struct table table = { .fd = limits_make(workers), .workers = workers };

	assert_true(table.fd >= 0);
	table.one = open_as(&table, 0);
	return table;
}

static void free_table(struct table *table)
{
	limits_close(&table->one);
	close(table->fd);
}

static struct net_address address_of(unsigned number)
{
	struct net_address address = { .octets = { 0x20, 0x01, 0x0d, 0xb8 } };

	memcpy(address.octets + 4, &number, sizeof(number));
	return address;
}

static struct limits_client enter(struct limits *limits, unsigned number)
{
	const struct net_address address = address_of(number);

	return limits_enter(limits, &address);
}

static void connections_are_counted_over_all_workers(void **state)
{
	struct table table = new_table(3);
	struct limits *two = open_as(&table, 2);
	struct limits_client a = enter(table.one, 1), b = enter(two, 1), c = enter(two, 1);
	struct limits_client other = enter(two, 2);

	(void)state;
	assert_int_equal(limits_connections(table.one, &a), 3);
	assert_int_equal(limits_connections(two, &b), 3);
	assert_int_equal(limits_connections(two, &other), 1);
	limits_leave(two, &b);
	limits_leave(two, &b);
	assert_int_equal(limits_connections(table.one, &a), 2);
	limits_leave(table.one, &a);
	assert_int_equal(limits_connections(two, &c), 1);
	limits_close(&two);
	free_table(&table);
}

static void a_dead_workers_connections_are_given_back(void **state)
{
	struct table table = new_table(2);
	struct limits *keeper = open_as(&table, LIMITS_NO_WORKER), *two = open_as(&table, 1);
	struct limits_client a = enter(table.one, 1);
	const struct limits_client all = limits_enter_everybody(table.one);

	(void)state;
	enter(two, 1);
	limits_enter_everybody(two);
	assert_int_equal(limits_connections(table.one, &a), 2);
	limits_forget(keeper, 1);
	assert_int_equal(limits_connections(table.one, &a), 1);
	assert_int_equal(limits_connections(table.one, &all), 1);
	/* And one that comes in its place begins with none, whoever forgot to say so. */
	enter(two, 1);
	limits_close(&two);
	two = open_as(&table, 1);
	assert_int_equal(limits_connections(table.one, &a), 1);
	limits_close(&two);
	limits_close(&keeper);
	free_table(&table);
}

static void a_rate_is_let_go_bit_by_bit(void **state)
{
	struct table table = new_table(1);
	struct limits *limits = table.one;
	struct limits_client client = enter(limits, 1);
	const int64_t now = 5000;

	(void)state;
	for (uint64_t i = 0; i < 3; i++) {
		assert_int_equal(
			limits_level(limits, &client, LIMITS_MESSAGES, three_an_hour, now), i);
		assert_true(limits_take(limits, &client, LIMITS_MESSAGES, three_an_hour, now));
	}
	assert_false(limits_take(limits, &client, LIMITS_MESSAGES, three_an_hour, now));
	assert_false(
		limits_take(limits, &client, LIMITS_MESSAGES, three_an_hour, now + HOUR / 3 - 1));
	assert_true(limits_take(limits, &client, LIMITS_MESSAGES, three_an_hour, now + HOUR / 3));
	assert_false(limits_take(limits, &client, LIMITS_MESSAGES, three_an_hour, now + HOUR / 3));
	assert_int_equal(
		limits_level(limits, &client, LIMITS_MESSAGES, three_an_hour, now + HOUR), 1);
	assert_int_equal(
		limits_level(limits, &client, LIMITS_MESSAGES, three_an_hour, now + 2 * HOUR), 0);
	/* Another rate, and another client, are nobody's business. */
	assert_true(
		limits_take(limits, &client, LIMITS_CONNECTIONS, three_an_hour, now + HOUR / 3));
	client = enter(limits, 2);
	assert_true(limits_take(limits, &client, LIMITS_MESSAGES, three_an_hour, now + HOUR / 3));
	free_table(&table);
}

static void what_did_not_come_about_is_given_back(void **state)
{
	const struct limits_allowance none = { .count = 0, .period = HOUR };
	struct table table = new_table(1);
	struct limits_client client = enter(table.one, 1), nobody = { 0 };

	(void)state;
	for (int i = 0; i < 3; i++)
		assert_true(limits_take(table.one, &client, LIMITS_MESSAGES, three_an_hour, 1000));
	limits_give_back(table.one, &client, LIMITS_MESSAGES, none);
	limits_give_back(table.one, &client, LIMITS_CONNECTIONS, three_an_hour);
	limits_give_back(table.one, &nobody, LIMITS_MESSAGES, three_an_hour);
	assert_int_equal(
		limits_level(table.one, &client, LIMITS_CONNECTIONS, three_an_hour, 1000), 0);
	assert_false(limits_take(table.one, &client, LIMITS_MESSAGES, three_an_hour, 1000));
	limits_give_back(table.one, &client, LIMITS_MESSAGES, three_an_hour);
	assert_int_equal(limits_level(table.one, &client, LIMITS_MESSAGES, three_an_hour, 1000), 2);
	assert_true(limits_take(table.one, &client, LIMITS_MESSAGES, three_an_hour, 1000));
	assert_false(limits_take(table.one, &client, LIMITS_MESSAGES, three_an_hour, 1000));
	free_table(&table);
}

static void what_happened_is_charged_beyond_the_bound_but_not_for_ever(void **state)
{
	struct table table = new_table(1);
	struct limits_client client = enter(table.one, 1);

	(void)state;
	for (int i = 0; i < 1000; i++)
		limits_charge(table.one, &client, LIMITS_FAILED_LOGINS, three_an_hour, 1000);
	assert_int_equal(
		limits_level(table.one, &client, LIMITS_FAILED_LOGINS, three_an_hour, 1000), 3);
	assert_int_equal(limits_level(table.one, &client, LIMITS_FAILED_LOGINS, three_an_hour,
				 1000 + HOUR / 3),
		2);
	assert_int_equal(
		limits_level(table.one, &client, LIMITS_FAILED_LOGINS, three_an_hour, 1000 + HOUR),
		0);
	free_table(&table);
}

static void no_limit_and_new_settings(void **state)
{
	const struct limits_allowance none = { .count = 0, .period = HOUR };
	const struct limits_allowance minute = { .count = 2, .period = 60 * 1000 };
	const struct limits_allowance many = { .count = UINT64_MAX, .period = 1 };
	struct table table = new_table(1);
	struct limits_client client = enter(table.one, 1);

	(void)state;
	for (int i = 0; i < 100; i++)
		assert_true(limits_take(table.one, &client, LIMITS_MESSAGES, none, 0));
	assert_int_equal(limits_level(table.one, &client, LIMITS_MESSAGES, none, 0), 0);
	for (int i = 0; i < 3; i++)
		assert_true(limits_take(table.one, &client, LIMITS_MESSAGES, three_an_hour, 0));
	/* From three an hour to two a minute: what was counted is forgotten within a minute. */
	assert_false(limits_take(table.one, &client, LIMITS_MESSAGES, minute, 0));
	assert_true(limits_take(table.one, &client, LIMITS_MESSAGES, minute, HOUR));
	for (int i = 0; i < 100; i++)
		assert_true(limits_take(table.one, &client, LIMITS_FAILED_LOGINS, many, 1));
	free_table(&table);
}

/* More clients than places: those of no consequence make room, those connected stay. */
static void a_full_table_forgets_the_least(void **state)
{
	struct table table = new_table(1);
	struct limits *limits = table.one;
	struct limits_client here = enter(limits, 1), guilty = enter(limits, 2);
	struct limits_client again;

	(void)state;
	limits_charge(limits, &guilty, LIMITS_FAILED_RECIPIENTS, three_an_hour, 0);
	limits_charge(limits, &here, LIMITS_MESSAGES, three_an_hour, 0);
	limits_leave(limits, &guilty);
	for (unsigned i = 10; i < 4 * LIMITS_PLACES; i++) {
		struct limits_client passing = enter(limits, i);
		assert_int_not_equal(passing.tag, 0);
		limits_leave(limits, &passing);
	}
	assert_int_equal(limits_connections(limits, &here), 1);
	assert_int_equal(limits_level(limits, &here, LIMITS_MESSAGES, three_an_hour, 0), 1);
	again = enter(limits, 2);
	assert_int_equal(
		limits_level(limits, &again, LIMITS_FAILED_RECIPIENTS, three_an_hour, 0), 1);
	free_table(&table);
}

static void who_finds_no_place_is_let_through(void **state)
{
	static struct limits_client clients[4 * LIMITS_PLACES];
	const size_t count = sizeof(clients) / sizeof(clients[0]);
	struct table table = new_table(1);
	size_t without = 0;

	(void)state;
	for (unsigned i = 0; i < count; i++) {
		clients[i] = enter(table.one, i);
		without += clients[i].tag == 0;
		for (int n = 0; clients[i].tag == 0 && n < 5; n++)
			assert_true(limits_take(
				table.one, &clients[i], LIMITS_MESSAGES, three_an_hour, 0));
	}
	assert_true(without >= count - LIMITS_PLACES);
	assert_int_equal(limits_connections(table.one, &clients[count - 1]), 0);
	for (size_t i = 0; i < count; i++)
		limits_leave(table.one, &clients[i]);
	clients[0] = enter(table.one, 1u << 30);
	assert_int_equal(limits_connections(table.one, &clients[0]), 1);
	free_table(&table);
}

static void without_a_table_nothing_is_limited(void **state)
{
	struct limits_client client = enter(NULL, 1);

	(void)state;
	assert_true(limits_take(NULL, &client, LIMITS_MESSAGES, three_an_hour, 0));
	limits_charge(NULL, &client, LIMITS_MESSAGES, three_an_hour, 0);
	assert_int_equal(limits_level(NULL, &client, LIMITS_MESSAGES, three_an_hour, 0), 0);
	assert_int_equal(limits_connections(NULL, &client), 0);
	limits_leave(NULL, &client);
}

static void the_worst_are_named(void **state)
{
	struct table table = new_table(2);
	struct limits_report reports[3];

	(void)state;
	assert_int_equal(limits_worst(table.one, 1000, reports, 3), 0);
	for (unsigned i = 1; i <= 5; i++) {
		struct limits_client client = enter(table.one, i);
		for (unsigned n = 0; n < i; n++)
			limits_note_refusal(table.one, &client, i == 4 ? 1000 : 2 * HOUR);
	}
	assert_int_equal(limits_worst(table.one, 2 * HOUR + 1000, reports, 3), 3);
	for (unsigned i = 0; i < 3; i++) {
		static const unsigned expected[] = { 5, 3, 2 };
		const struct net_address address = address_of(expected[i]);
		assert_memory_equal(&reports[i].address, &address, sizeof(address));
		assert_int_equal(reports[i].refusals, expected[i]);
		assert_int_equal(reports[i].connections, 1);
	}
	free_table(&table);
}

/* ---- who is not heard ---- */

static struct net_prefix prefix_of(unsigned number)
{
	return (struct net_prefix){ .address = address_of(number), .bits = 64 };
}

static bool shun(struct limits *limits, unsigned number, unsigned seconds, int64_t now)
{
	const struct net_prefix prefix = prefix_of(number);

	return limits_shun(limits, &prefix, seconds, now);
}

static bool is_shunned(const struct limits *limits, unsigned number, int64_t now)
{
	const struct net_prefix wanted = prefix_of(number);
	struct net_prefix list[3 * LIMITS_SHUNNED];
	const size_t count = limits_shunned(limits, now, list, 3 * LIMITS_SHUNNED);
	bool found = false;

	for (size_t i = 0; i < count; i++)
		found = found || memcmp(&list[i], &wanted, sizeof(wanted)) == 0;
	return found;
}

static void who_is_shunned_is_so_for_all_workers_and_a_while(void **state)
{
	struct table table = new_table(2);
	struct limits *two = open_as(&table, 1);
	struct net_prefix list[4];

	(void)state;
	assert_int_equal(limits_shunned(two, 1000, list, 4), 0);
	assert_true(shun(table.one, 1, 10, 1000));
	assert_false(shun(two, 1, 100, 1000));
	assert_false(shun(table.one, 1, 100, 10999));
	assert_true(shun(two, 2, 20, 1000));
	assert_int_equal(limits_shunned(two, 10999, list, 4), 2);
	assert_int_equal(limits_shunned(two, 10999, list, 1), 1);
	assert_false(is_shunned(table.one, 1, 11000));
	assert_true(is_shunned(table.one, 2, 11000));
	assert_true(shun(two, 1, 10, 11000));
	/* However long somebody asks for. */
	assert_true(shun(two, 3, UINT32_MAX, 11000));
	assert_true(is_shunned(two, 3, 11000 + HOUR - 1));
	assert_false(is_shunned(two, 3, 11000 + HOUR));
	limits_close(&two);
	free_table(&table);
}

static void the_shunned_of_a_dead_worker_are_heard(void **state)
{
	struct table table = new_table(2);
	struct limits *two = open_as(&table, 1);

	(void)state;
	shun(table.one, 1, 10, 1000);
	shun(two, 2, 10, 1000);
	limits_forget(table.one, 1);
	assert_true(is_shunned(table.one, 1, 1000));
	assert_false(is_shunned(table.one, 2, 1000));
	limits_close(&two);
	free_table(&table);
}

static void whose_time_is_over_first_makes_room(void **state)
{
	struct table table = new_table(1);

	(void)state;
	for (unsigned i = 0; i < LIMITS_SHUNNED; i++)
		assert_true(shun(table.one, i, i == 5 ? 10 : 20, 1000));
	assert_true(shun(table.one, 100, 20, 1000));
	assert_false(is_shunned(table.one, 5, 1000));
	assert_true(is_shunned(table.one, 100, 1000));
	assert_true(is_shunned(table.one, 4, 1000));
	free_table(&table);
}

/* A worker that has been taken over may have written anything. */
static void rows_that_make_no_sense_are_none(void **state)
{
	struct table table = new_table(1);
	const off_t end = lseek(table.fd, 0, SEEK_END);
	uint64_t rubbish[4 * LIMITS_SHUNNED];
	struct net_prefix list[2 * LIMITS_SHUNNED];

	(void)state;
	for (size_t i = 0; i < LIMITS_SHUNNED; i++) {
		rubbish[4 * i] = i % 2 ? UINT64_MAX : 2000; /* until */
		rubbish[4 * i + 1] = i % 2 ? 64 : 129 + i;  /* bits */
		rubbish[4 * i + 2] = i;
	}
	assert_int_equal(pwrite(table.fd, rubbish, sizeof(rubbish), end - (off_t)sizeof(rubbish)),
		sizeof(rubbish));
	assert_int_equal(limits_shunned(table.one, 1000, list, 2 * LIMITS_SHUNNED), 0);
	free_table(&table);
}

static void without_a_table_nobody_is_shunned(void **state)
{
	struct net_prefix list[1];

	(void)state;
	assert_false(shun(NULL, 1, 10, 1000));
	assert_int_equal(limits_shunned(NULL, 1000, list, 1), 0);
}

static void other_files_are_refused(void **state)
{
	const int plain = memfd_create("plain", 0), fd = limits_make(2);

	(void)state;
	assert_int_equal(limits_make(0), -1);
	assert_int_equal(limits_make(LIMITS_WORKERS + 1), -1);
	assert_null(limits_open(dup(plain), 2, 0));
	assert_null(limits_open(dup(fd), 2, 2));
	assert_null(limits_open(dup(fd), 40, 0));
	/* Not even a worker that means harm can cut it short. */
	assert_int_equal(ftruncate(fd, 0), -1);
	assert_int_equal(errno, EPERM);
	close(plain);
	close(fd);
}

/* ---- several processes, killed at any instruction ---- */

static void hammer(const struct table *table, unsigned worker)
{
	const struct limits_allowance much = { .count = 1000, .period = HOUR };
	struct limits *limits = limits_open(dup(table->fd), table->workers, worker);
	struct limits_client clients[CLIENTS] = { { 0 } };
	unsigned number = worker * 7919 + (unsigned)getpid();

	/* A test that fails leaves nobody behind. */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (int64_t now = 1;; now++) {
		number = number * 1103515245 + 12345;
		struct limits_client *client = &clients[number / 65536 % CLIENTS];
		if (client->tag) {
			limits_leave(limits, client);
			continue;
		}
		/* Few enough that workers meet, too many for the places: they are taken over all the time. */
		*client = enter(limits, number / 7 % (3 * LIMITS_PLACES));
		limits_take(limits, client, LIMITS_MESSAGES, much, now);
		limits_charge(limits, client, LIMITS_FAILED_LOGINS, much, now);
		limits_note_refusal(limits, client, now);
	}
}

static pid_t start_hammer(const struct table *table, unsigned worker)
{
	const pid_t pid = fork();

	if (pid == 0)
		hammer(table, worker);
	return pid;
}

static uint64_t connections_in(struct table *table)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < 3 * LIMITS_PLACES; i++) {
		struct limits_client client = enter(table->one, i);
		if (client.tag)
			sum += limits_connections(table->one, &client) - 1;
		limits_leave(table->one, &client);
	}
	return sum;
}

static void killed_workers_leave_nothing_behind(void **state)
{
	struct table table = new_table(HAMMERS + 1);
	pid_t pids[HAMMERS];

	(void)state;
	for (unsigned i = 0; i < HAMMERS; i++)
		pids[i] = start_hammer(&table, i + 1);
	for (unsigned round = 0; round < ROUNDS; round++) {
		const unsigned victim = round % HAMMERS;
		struct limits_client client = { 0 };
		/* We go on while the others are killed: nobody waits for anybody. */
		for (unsigned i = 0; i < 2000; i++) {
			client = enter(table.one, i);
			limits_take(table.one, &client, LIMITS_MESSAGES, three_an_hour, 0);
			limits_leave(table.one, &client);
		}
		kill(pids[victim], SIGKILL);
		assert_int_equal(waitpid(pids[victim], NULL, 0), pids[victim]);
		limits_forget(table.one, victim + 1);
		pids[victim] = start_hammer(&table, victim + 1);
	}
	assert_true(connections_in(&table) > 0);
	for (unsigned i = 0; i < HAMMERS; i++) {
		kill(pids[i], SIGKILL);
		waitpid(pids[i], NULL, 0);
		limits_forget(table.one, i + 1);
	}
	assert_int_equal(connections_in(&table), 0);
	free_table(&table);
}

/* All at one rate of one client: not one more is let through than there may be. */
static void a_rate_is_exact_between_processes(void **state)
{
	const struct limits_allowance most = { .count = 5000, .period = HOUR };
	struct table table = new_table(HAMMERS);
	struct limits_client client;
	int pipes[2];
	size_t taken = 0;

	(void)state;
	client = enter(table.one, 1);
	assert_int_equal(pipe(pipes), 0);
	for (unsigned i = 0; i < HAMMERS; i++) {
		if (fork() != 0)
			continue;
		uint32_t mine = 0;
		for (int n = 0; n < 4000; n++)
			mine += limits_take(table.one, &client, LIMITS_MESSAGES, most, 77);
		_exit(write(pipes[1], &mine, sizeof(mine)) != sizeof(mine));
	}
	for (unsigned i = 0; i < HAMMERS; i++) {
		uint32_t theirs;
		assert_int_equal(read(pipes[0], &theirs, sizeof(theirs)), sizeof(theirs));
		taken += theirs;
		wait(NULL);
	}
	assert_int_equal(taken, 5000);
	close(pipes[0]);
	close(pipes[1]);
	free_table(&table);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(connections_are_counted_over_all_workers),
		cmocka_unit_test(a_dead_workers_connections_are_given_back),
		cmocka_unit_test(a_rate_is_let_go_bit_by_bit),
		cmocka_unit_test(what_did_not_come_about_is_given_back),
		cmocka_unit_test(what_happened_is_charged_beyond_the_bound_but_not_for_ever),
		cmocka_unit_test(no_limit_and_new_settings),
		cmocka_unit_test(a_full_table_forgets_the_least),
		cmocka_unit_test(who_finds_no_place_is_let_through),
		cmocka_unit_test(without_a_table_nothing_is_limited),
		cmocka_unit_test(the_worst_are_named),
		cmocka_unit_test(who_is_shunned_is_so_for_all_workers_and_a_while),
		cmocka_unit_test(the_shunned_of_a_dead_worker_are_heard),
		cmocka_unit_test(whose_time_is_over_first_makes_room),
		cmocka_unit_test(rows_that_make_no_sense_are_none),
		cmocka_unit_test(without_a_table_nobody_is_shunned),
		cmocka_unit_test(other_files_are_refused),
		cmocka_unit_test(killed_workers_leave_nothing_behind),
		cmocka_unit_test(a_rate_is_exact_between_processes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
