/* The supervisor's admin socket: one answer for everybody who asked, and no patience with others. */
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
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/ipc.h"
#include "restante/admin.h"

enum { MOST_CALLS = 100 }; /* that fail: who asks on and on is to be found out, not to hang */

static unsigned accepted;
static bool out_of_descriptors;

/* In the C library's place. */
int accept4(int fd, struct sockaddr *address, socklen_t *size, int flags)
{
	if (++accepted > MOST_CALLS || !out_of_descriptors)
		return (int)syscall(SYS_accept4, fd, address, size, flags);
	errno = EMFILE;
	return -1;
}

struct server {
	struct event_base *loop;
	struct admin *admin;
	struct sockaddr_un address;
	socklen_t address_size;
	int listener;
	unsigned asked;
};

static void on_asked(void *owner)
{
	struct server *server = owner;

	server->asked++;
}

static int set_up(void **state)
{
	struct server *server = calloc(1, sizeof(*server));
	socklen_t size = sizeof(server->address);

	*state = server;
	server->loop = event_base_new();
	server->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
	/* An abstract address of the kernel's choice. */
	const struct sockaddr_un any = { .sun_family = AF_UNIX };
	if (bind(server->listener, (const struct sockaddr *)&any, sizeof(sa_family_t)) != 0 ||
		listen(server->listener, 100) != 0 ||
		getsockname(server->listener, (struct sockaddr *)&server->address, &size) != 0)
		return -1;
	server->address_size = size;
	server->admin = admin_new(server->loop, server->listener, on_asked, server);
	return 0;
}

static int tear_down(void **state)
{
	struct server *server = *state;

	admin_free(&server->admin);
	close(server->listener);
	event_base_free(server->loop);
	free(server);
	return 0;
}

struct client {
	struct ipc *ipc;
	unsigned answers;
	bool ended;
	uint32_t tag;
	struct admin_status_reply reply;
	char role[64];
};

static void on_frame(void *owner, struct ipc_frame *frame)
{
	struct client *client = owner;
	struct admin_process process;
	struct message_reader reader;

	assert_int_equal(frame->type, ADMIN_STATUS_REPLY);
	client->answers++;
	client->tag = frame->tag;
	assert_int_equal(admin_status_reply_unpack(frame->payload, &client->reply), 0);
	reader = (struct message_reader){
		.at = client->reply.processes.ptr,
		.left = client->reply.processes.len,
	};
	assert_int_equal(admin_process_unpack_from(&reader, &process), 0);
	assert_int_equal(reader.left, 0);
	snprintf(client->role, sizeof(client->role), "%.*s", TEXT_ARG(process.role));
}

static void on_ended(void *owner, const char *reason)
{
	struct client *client = owner;

	(void)reason;
	client->ended = true;
}

static const struct ipc_handlers handlers = { .frame = on_frame, .ended = on_ended };

static void client_connect(struct server *server, struct client *client)
{
	const int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	*client = (struct client){ 0 };
	assert_int_equal(
		connect(fd, (const struct sockaddr *)&server->address, server->address_size), 0);
	client->ipc = ipc_new(server->loop, fd, ADMIN_PAYLOAD, &handlers, client);
}

static void client_send(struct client *client, uint16_t type, uint32_t tag, struct text payload)
{
	buf_add(ipc_begin(client->ipc, type, tag), payload);
	ipc_end(client->ipc, -1);
}

static void run(struct server *server)
{
	for (int i = 0; i < 20; i++)
		event_base_loop(server->loop, EVLOOP_NONBLOCK);
}

static void answer(struct server *server)
{
	struct buf processes = { 0 };
	const struct admin_process process = {
		.role = TEXT("store"),
		.state = TEXT("running"),
		.counters = TEXT("a=1\n"),
	};

	admin_process_pack(&processes, &process);
	const struct admin_status_reply reply = {
		.pid = 7,
		.listeners = TEXT(""),
		.processes = buf_text(&processes),
	};
	admin_answer(server->admin, &reply);
	buf_release(&processes);
}

static const struct text request = { "\0\0\0\0", 4 };

static void test_everybody_gets_the_answer(void **state)
{
	struct server *server = *state;
	struct client clients[3];

	for (unsigned i = 0; i < 3; i++) {
		client_connect(server, &clients[i]);
		if (i < 2)
			client_send(&clients[i], ADMIN_STATUS, 40 + i, request);
	}
	run(server);
	assert_int_equal(server->asked, 2);
	assert_int_equal(clients[0].answers, 0);
	answer(server);
	answer(server);
	run(server);
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(clients[i].answers, i < 2);
		assert_false(clients[i].ended);
		if (i < 2) {
			assert_int_equal(clients[i].tag, 40 + i);
			assert_int_equal(clients[i].reply.pid, 7);
			assert_string_equal(clients[i].role, "store");
		}
		ipc_free(&clients[i].ipc);
	}
	run(server);
	answer(server);
}

static void test_nonsense_ends(void **state)
{
	static const struct {
		uint16_t type;
		struct text payload;
	} cases[] = {
		{ ADMIN_STATUS_REPLY, { "\0\0\0\0", 4 } },
		{ 77, { "\0\0\0\0", 4 } },
		{ ADMIN_STATUS, { "\0\0\0", 3 } },
		{ ADMIN_STATUS, { "\0\0\0\0x", 5 } },
	};
	struct server *server = *state;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct client client;
		client_connect(server, &client);
		client_send(&client, cases[i].type, 1, cases[i].payload);
		run(server);
		assert_true(client.ended);
		ipc_free(&client.ipc);
	}
	assert_int_equal(server->asked, 0);
}

/* A second question before the first is answered, and the asker's death while it waits. */
static void test_impatience(void **state)
{
	struct server *server = *state;
	struct client client, dead;

	client_connect(server, &client);
	client_send(&client, ADMIN_STATUS, 1, request);
	client_send(&client, ADMIN_STATUS, 2, request);
	client_connect(server, &dead);
	client_send(&dead, ADMIN_STATUS, 1, request);
	run(server);
	assert_true(client.ended);
	ipc_free(&client.ipc);
	ipc_free(&dead.ipc);
	run(server);
	answer(server);
	run(server);
}

static void test_places_are_limited_and_free_again(void **state)
{
	struct server *server = *state;
	struct client clients[ADMIN_PEERS + 1];

	for (int round = 0; round < 2; round++) {
		for (size_t i = 0; i <= ADMIN_PEERS; i++) {
			client_connect(server, &clients[i]);
			run(server);
		}
		for (size_t i = 0; i <= ADMIN_PEERS; i++) {
			assert_int_equal(clients[i].ended, i == ADMIN_PEERS);
			ipc_free(&clients[i].ipc);
		}
		run(server);
	}
}

/* Nobody is turned away, and the loop does not turn for nothing. */
static void test_no_descriptor_is_free(void **state)
{
	struct server *server = *state;
	struct client client;

	accepted = 0;
	out_of_descriptors = true;
	client_connect(server, &client);
	client_send(&client, ADMIN_STATUS, 1, request);
	run(server);
	/* Once, or a few times when all this takes seconds. */
	assert_in_range(accepted, 1, 5);
	assert_false(client.ended);
	out_of_descriptors = false;
	while (!server->asked)
		event_base_loop(server->loop, EVLOOP_ONCE);
	answer(server);
	run(server);
	assert_int_equal(client.answers, 1);
	ipc_free(&client.ipc);
	run(server);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_everybody_gets_the_answer, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_nonsense_ends, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_impatience, set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			test_places_are_limited_and_free_again, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_no_descriptor_is_free, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
