/* What a command makes of a store whose answers make no sense: it comes to an end. */
#include <errno.h>
#include <event2/event.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/ipc.h"
#include "restante/directory.h"

enum { ENOUGH = 5 };

static char top[40], file[80];
static struct host host;
static struct state running;
static struct ipc *peer;
static unsigned asked;
static bool says_more;
static struct text page;

static void on_frame(void *owner, struct ipc_frame *frame)
{
	(void)owner;
	asked++;
	store_aliases_reply_pack(ipc_begin(peer, frame->type, frame->tag),
		&(struct store_aliases_reply){
			.failure = STORE_OK,
			.more = says_more && asked < ENOUGH,
			.aliases = page,
		});
	ipc_end(peer, -1);
}

static void on_ended(void *owner, const char *reason)
{
	(void)owner, (void)reason;
}

static const struct ipc_handlers handlers = { .frame = on_frame, .ended = on_ended };

static void hear(void *owner, const char *sentence)
{
	(void)owner;
	fail_msg("%s", sentence);
}

/* The state of a host that runs. */
static int listen_there(void)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(address.sun_path, sizeof(address.sun_path), "%s/run/store-admin", top);
	return bind(fd, (const struct sockaddr *)&address, sizeof(address)) == 0 &&
			       listen(fd, 1) == 0
		       ? fd
		       : -1;
}

static int set_up(void **state)
{
	char error[300];
	pid_t holder;

	(void)state;
	snprintf(top, sizeof(top), "/tmp/test-dir-XXXXXX");
	if (!mkdtemp(top))
		return -1;
	snprintf(file, sizeof(file), "%s/conf", top);
	FILE *out = fopen(file, "w");
	fprintf(out, "hostname = mx.example\nstate = %s\n", top);
	fclose(out);
	asked = 0;
	return state_open(&running, top, &holder, error, sizeof(error)) == STATE_OPEN ? 0 : -1;
}

static int tear_down(void **state)
{
	static const char *const parts[] = { "run/store-admin", "run/lock", "run", "conf", "" };
	char path[120];

	(void)state;
	state_close(&running);
	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
		snprintf(path, sizeof(path), "%s/%s", top, parts[i]);
		remove(path);
	}
	return chdir("/");
}

static unsigned count_questions(struct text answer, bool more)
{
	const int listener = listen_there();
	int status;

	assert_true(listener >= 0);
	page = answer;
	says_more = more;
	host_init(&host, &(struct host_source){ .file = file });
	assert_int_equal(host_settings_read(&host.source, &host.settings, hear, NULL), 0);
	struct desk *desk = desk_enter(&host, &status);
	assert_non_null(desk);
	peer = ipc_new(host.loop, accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC),
		STORE_PAYLOAD_LIMIT, &handlers, NULL);
	directory_warn_of_members(desk, TEXT("gone@example.test"));
	desk_leave(&desk);
	ipc_free(&peer);
	host_free(&host);
	close(listener);
	return asked;
}

static void test_a_page_of_nonsense_is_the_last(void **state)
{
	(void)state;
	assert_int_equal(count_questions(TEXT("nonsense"), true), 1);
}

static void test_a_page_of_nothing_is_the_last(void **state)
{
	(void)state;
	assert_int_equal(count_questions(TEXT(""), true), 1);
}

static void test_every_page_is_asked_for(void **state)
{
	struct buf run = { 0 };

	(void)state;
	store_alias_pack(&run, &(struct store_alias){ .address = TEXT("list@example.test"),
				       .owner = TEXT(""),
				       .members = TEXT("") });
	assert_int_equal(count_questions(buf_text(&run), true), ENOUGH);
	buf_release(&run);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			test_a_page_of_nonsense_is_the_last, set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			test_a_page_of_nothing_is_the_last, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_every_page_is_asked_for, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
