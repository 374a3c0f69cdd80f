/* The bridge's own process, with a launcher and sessions of the test's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <event2/event.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "bridge/launcher.h"
#include "bridge/report.h"
#include "bridge/worker.h"

static time_t today = 1800000000;

/* In the C library's place: time passes only where a test says so. */
time_t time(time_t *now)
{
	if (now)
		*now = today;
	return today;
}

struct world {
	struct event_base *loop;
	struct bridge_account account;
	struct worker *worker;
	int launcher; /* our end */
	int bridge;   /* the worker's */
	unsigned lost;
};

static void on_lost(void *owner)
{
	struct world *world = owner;

	world->lost++;
}

static int set_up(void **state)
{
	static struct world world;
	int pair[2];

	log_open("test", LOG_LEVEL_ERROR);
	world = (struct world){ .loop = event_base_new(),
		.account = { .name = (char *)"home", .every = 1, .enabled = true } };
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair), 0);
	world.bridge = pair[0];
	world.launcher = pair[1];
	world.worker = worker_new(&(struct worker_options){ .loop = world.loop,
		.accounts = &world.account,
		.count = 1,
		.launcher = pair[0],
		.lost = on_lost,
		.owner = &world });
	*state = &world;
	return 0;
}

static int tear_down(void **state)
{
	struct world *world = *state;

	worker_free(&world->worker);
	event_base_free(world->loop);
	close(world->bridge);
	close(world->launcher);
	return 0;
}

/* Until our end of the socket has something to read: the account's number, and the hint behind it. */
static struct text await_request(const struct world *world)
{
	static char request[1000];
	ssize_t got;

	while ((got = recv(world->launcher, request, sizeof(request), MSG_DONTWAIT)) < 0) {
		assert_int_equal(errno, EAGAIN);
		event_base_loop(world->loop, EVLOOP_ONCE);
	}
	assert_true(got >= (ssize_t)sizeof(uint32_t));
	return (struct text){ .ptr = request + sizeof(uint32_t),
		.len = (size_t)got - sizeof(uint32_t) };
}

/* As the launcher answers; the session's end of a new socket, or -1 for number. */
static int answer(const struct world *world, uint32_t account, int32_t number)
{
	int pair[2] = { -1, -1 };

	if (number == 0)
		assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair), 0);
	assert_int_equal(
		launcher_give(world->launcher,
			&(struct launcher_answer){
				.account = account, .number = number, .reports = pair[0] }),
		0);
	if (number == 0)
		close(pair[0]);
	event_base_loop(world->loop, EVLOOP_ONCE);
	return pair[1];
}

static int begin(const struct world *world)
{
	await_request(world);
	return answer(world, 0, 0);
}

/* One report, heard. */
static void send_report(const struct world *world, int session, const struct bridge_report *report)
{
	struct buf out = { 0 };

	bridge_report_pack(&out, report);
	assert_int_equal(send(session, buf_text(&out).ptr, buf_length(&out), 0), buf_length(&out));
	buf_release(&out);
	event_base_loop(world->loop, EVLOOP_ONCE);
}

static void say(const struct world *world, int session, enum report_state state,
	enum fault_kind fault, const char *sentence, const char *notices)
{
	send_report(world, session,
		&(struct bridge_report){ .state = (uint8_t)state,
			.fault = (uint8_t)fault,
			.folder = TEXT(""),
			.sentence = text_of(sentence),
			.notices = text_of(notices),
			.hint = TEXT("7 1 0 0 0 INBOX\n") });
}

/* The last report of a session that failed, and pulled so many. */
static void say_pulled(const struct world *world, int session, uint64_t pulled)
{
	send_report(world, session,
		&(struct bridge_report){ .state = REPORT_ENDED,
			.fault = FAULT_LOCAL,
			.pulled = pulled,
			.folder = TEXT(""),
			.sentence = TEXT("broke"),
			.notices = TEXT(""),
			.hint = TEXT("") });
}

static void end(const struct world *world, int session)
{
	close(session);
	event_base_loop(world->loop, EVLOOP_ONCE);
}

static bool tells(const struct world *world, const char *line)
{
	struct buf out = { 0 };

	worker_count(world->worker, &out);
	buf_add_char(&out, '\0');
	const bool found = strstr(buf_text(&out).ptr, line) != NULL;
	buf_release(&out);
	return found;
}

/* One of each kind, and each for as long as it holds. */
static void test_notices(void **state)
{
	const struct world *world = *state;
	int session = begin(world);

	say(world, session, REPORT_PULLING, FAULT_NONE, "", "missing\n\n\n\n2 stay\n");
	assert_true(tells(world, "home.notice=missing\n"));
	assert_true(tells(world, "home.notice=2 stay\n"));
	say(world, session, REPORT_ENDED, FAULT_NONE, "", "missing\nanew\n\n\n3 stay\n");
	end(world, session);
	assert_true(tells(world, "home.state=resting\n"));
	assert_false(tells(world, "2 stay"));
	session = begin(world);
	say(world, session, REPORT_CONNECTING, FAULT_NONE, "", "\n\n\n\n\n");
	say(world, session, REPORT_ENDED, FAULT_NETWORK, "broke", "\n\n\n\n\n");
	assert_true(tells(world, "home.notice=missing\n"));
	assert_true(tells(world, "home.notice=3 stay\n"));
	say(world, session, REPORT_WAITING, FAULT_NONE, "", "\n\n\n\n4 stay\n");
	assert_false(tells(world, "missing"));
	assert_true(tells(world, "home.notice=anew\n"));
	assert_true(tells(world, "home.notice=4 stay\n"));
	say(world, session, REPORT_WAITING, FAULT_NONE, "", "");
	assert_false(tells(world, "stay"));
	end(world, session);
}

/* An error is told until it went well, and what a session says can break no line. */
static void test_errors(void **state)
{
	const struct world *world = *state;
	int session = begin(world);

	say(world, session, REPORT_ENDED, FAULT_LOCAL, "no\nhome.state=fine", "\n\n\n\n\n");
	end(world, session);
	assert_true(tells(world, "home.state=failed\n"));
	assert_true(tells(world, "home.error=no?home.state=fine\n"));
	session = begin(world);
	say(world, session, REPORT_CONNECTING, FAULT_NONE, "", "");
	assert_true(tells(world, "home.error=no?"));
	say(world, session, REPORT_WAITING, FAULT_NONE, "", "");
	assert_false(tells(world, "home.error"));
	end(world, session);
	assert_true(tells(world, "home.error=its process died\n"));
}

/* Seconds until the next try, as told. */
static int64_t pause_of(const struct world *world)
{
	static const char name[] = "home.next-try=";
	struct buf out = { 0 };
	struct tm tm = { 0 };

	worker_count(world->worker, &out);
	buf_add_char(&out, '\0');
	const char *told = strstr(buf_text(&out).ptr, name);
	assert_non_null(told);
	assert_non_null(strptime(told + strlen(name), "%Y-%m-%dT%H:%M:%SZ", &tm));
	buf_release(&out);
	return (int64_t)timegm(&tm) - time(NULL);
}

/* Failures one after another, each after a long time: pauses grow, and begin anew when mail came. */
static void test_pauses(void **state)
{
	const struct world *world = *state;

	for (int i = 0; i < 4; i++) {
		const int session = begin(world);
		say(world, session, REPORT_PULLING, FAULT_NONE, "", "");
		today += 1000;
		say_pulled(world, session, i == 3);
		end(world, session);
		if (i == 2)
			assert_true(pause_of(world) >= 2);
	}
	assert_true(pause_of(world) <= 1);
}

/* What an account's process left goes to the next one, whatever that is. */
static void test_hint(void **state)
{
	const struct world *world = *state;
	const int session = begin(world);

	say(world, session, REPORT_ENDED, FAULT_NONE, "", "");
	end(world, session);
	assert_true(text_equal(await_request(world), TEXT("7 1 0 0 0 INBOX\n")));
	assert_int_equal(world->lost, 0);
}

static void test_report_without_sense(void **state)
{
	const struct world *world = *state;
	const int session = begin(world);

	assert_int_equal(send(session, "\xff", 1, 0), 1);
	event_base_loop(world->loop, EVLOOP_ONCE);
	assert_true(tells(world, "home.error=its process died\n"));
	/* Nobody listens any more, and so it ends. */
	assert_int_equal(send(session, "", 1, MSG_NOSIGNAL), -1);
	close(session);
	assert_int_equal(world->lost, 0);
}

static void test_not_started(void **state)
{
	const struct world *world = *state;

	await_request(world);
	answer(world, 0, EAGAIN);
	assert_true(tells(world, "home.state=failed\n"));
	assert_true(tells(world, "home.error=its process cannot be started: "));
	end(world, begin(world));
	assert_int_equal(world->lost, 0);
}

static void test_launcher_gone(void **state)
{
	struct world *world = *state;

	await_request(world);
	close(world->launcher);
	while (!world->lost)
		event_base_loop(world->loop, EVLOOP_ONCE);
	world->launcher = -1;
}

/* An answer that nobody waits for. */
static void test_launcher_confused(void **state)
{
	const struct world *world = *state;

	await_request(world);
	close(answer(world, 1, 0));
	assert_int_equal(world->lost, 1);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_notices),
		TEST(test_errors),
		TEST(test_pauses),
		TEST(test_hint),
		TEST(test_report_without_sense),
		TEST(test_not_started),
		TEST(test_launcher_gone),
		TEST(test_launcher_confused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
