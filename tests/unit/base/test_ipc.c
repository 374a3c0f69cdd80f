/* Frames between processes: whole, split, huge, with descriptors, held back, and hostile. */
#include <errno.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "tests/unit/base/ipc_side.h"

static void frames_of_one_round_travel_together(void **state)
{
	(void)state;
	connect_sides();
	for (uint32_t i = 0; i < 100; i++)
		send_frame(&left, 5, i, (struct text){ .ptr = "0123456789", .len = i % 11 }, -1);
	assert_true(ipc_pending(left.ipc) > 0);
	RUN_UNTIL(right.count == 100);
	assert_int_equal(ipc_pending(left.ipc), 0);
	assert_int_equal(right.rounds, 1);
	for (uint32_t i = 0; i < 100; i++) {
		assert_int_equal(right.seen[i].type, 5);
		assert_int_equal(right.seen[i].tag, i);
		assert_int_equal(right.seen[i].length, i % 11);
		assert_int_equal(right.seen[i].number, -1);
	}
	assert_null(right.ipc->in.block);
	assert_null(left.ipc->out.block);
}

static void descriptors_reach_their_frames(void **state)
{
	(void)state;
	connect_sides();
	for (int i = 0; i < 40; i++) {
		int fd = i % 3 ? -1 : file_with(i);
		send_frame(&left, 1, (uint32_t)i, TEXT("x"), fd);
		if (fd >= 0) {
			assert_int_equal(number_in(fd), i); /* still the caller's */
			close(fd);
		}
	}
	RUN_UNTIL(right.count == 40);
	for (int i = 0; i < 40; i++) {
		assert_int_equal(right.seen[i].tag, i);
		assert_int_equal(right.seen[i].number, i % 3 ? -1 : i);
	}
}

/* The loop is asked once for many of them, but others have their turn. */
static void descriptors_come_many_at_a_time(void **state)
{
	(void)state;
	connect_sides();
	for (uint32_t i = 0; i < 40; i++) {
		int fd = file_with((int)i);
		send_frame(&left, 1, i, TEXT("x"), fd);
		close(fd);
	}
	event_base_loop(loop, EVLOOP_ONCE | EVLOOP_NONBLOCK);
	assert_int_equal(right.count, 32);
	RUN_UNTIL(right.count == 40);
	for (uint32_t i = 0; i < 40; i++) {
		assert_int_equal(right.seen[i].tag, i);
		assert_int_equal(right.seen[i].number, i);
	}
}

static int taken = -1;

static void take_descriptor(struct side *side, struct ipc_frame *frame)
{
	(void)side;
	taken = frame->fd;
	frame->fd = -1;
}

static void a_descriptor_can_be_taken(void **state)
{
	(void)state;
	connect_sides();
	right.in_frame = take_descriptor;
	int fd = file_with(77);
	send_frame(&left, 1, 1, TEXT(""), fd);
	close(fd);
	RUN_UNTIL(right.count == 1);
	assert_int_equal(number_in(taken), 77);
	assert_int_equal(fcntl(taken, F_GETFD), FD_CLOEXEC);
	close(taken);
}

static struct text noise(size_t size)
{
	char *octets = mem_new(size);
	uint32_t x = 2463534242U;

	for (size_t i = 0; i < size; i++) {
		x ^= x << 13, x ^= x >> 17, x ^= x << 5;
		octets[i] = (char)x;
	}
	return (struct text){ .ptr = octets, .len = size };
}

static void frames_larger_than_the_shared_memory(void **state)
{
	static const size_t sizes[] = { 1, 131060, 131061, 131072, 131073, 300000, LIMIT - 1,
		LIMIT };
	const size_t count = sizeof(sizes) / sizeof(sizes[0]);
	const struct text all = noise(LIMIT);

	(void)state;
	connect_sides();
	for (size_t i = 0; i < count; i++) {
		int fd = file_with((int)i);
		send_frame(&left, 1, (uint32_t)i, text_head(all, sizes[i]), i % 2 ? fd : -1);
		close(fd);
		send_frame(&left, 2, (uint32_t)i, TEXT("small"), -1);
	}
	assert_true(ipc_is_full(left.ipc));
	RUN_UNTIL(right.count == 2 * count);
	for (size_t i = 0; i < count; i++) {
		assert_int_equal(right.seen[2 * i].length, sizes[i]);
		assert_true(right.seen[2 * i].sum == sum_of(text_head(all, sizes[i])));
		assert_int_equal(right.seen[2 * i].number, i % 2 ? (int)i : -1);
		assert_int_equal(right.seen[2 * i + 1].length, 5);
	}
	assert_null(right.ipc->in.block);
	RUN_UNTIL(left.drained == 1);
	assert_int_equal(left.drained, 1);
	mem_free((void *)all.ptr);
}

static void frames_split_anywhere(void **state)
{
	unsigned char octets[3 * IPC_HEADER + 30];
	int raw = connect_raw();

	(void)state;
	memset(octets, 'a', sizeof(octets));
	make_header(octets, 10, 0);
	make_header(octets + 22, 0, 0);
	make_header(octets + 34, 20, 0);
	for (size_t i = 0; i < sizeof(octets); i++) {
		raw_send(raw, octets + i, 1, NULL, 0);
		event_base_loop(loop, EVLOOP_NONBLOCK);
		assert_int_equal(right.count, i < 21 ? 0 : i < 33 ? 1 : i < 65 ? 2 : 3);
	}
	assert_int_equal(right.seen[2].length, 20);
	assert_int_equal(right.seen[2].tag, 9);
	assert_int_equal(right.ended, 0);
	close(raw);
	RUN_UNTIL(right.ended);
	assert_string_equal(right.reason, "end of file");
}

/* A descriptor with the first octet of a header that comes in pieces, then the next one behind it. */
static void two_descriptors_may_wait(void **state)
{
	unsigned char header[IPC_HEADER];
	int raw = connect_raw();
	int first = file_with(1), second = file_with(2);

	(void)state;
	make_header(header, 0, 1);
	raw_send(raw, header, 5, &first, 1);
	event_base_loop(loop, EVLOOP_NONBLOCK);
	raw_send(raw, header + 5, 7, NULL, 0);
	raw_send(raw, header, 12, &second, 1);
	RUN_UNTIL(right.count == 2);
	assert_int_equal(right.seen[0].number, 1);
	assert_int_equal(right.seen[1].number, 2);
	assert_int_equal(right.ended, 0);
	close(first), close(second), close(raw);
}

struct hostile {
	const char *name;
	uint32_t length;
	uint16_t announced;
	size_t sent; /* octets, beginning with the header */
	size_t fds;
	bool close;
	const char *reason;
	size_t frames;
};

static const struct hostile hostiles[] = {
	{ "over the limit", LIMIT + 1, 0, 12, 0, false, "a frame is over the limit", 0 },
	{ "far over the limit", UINT32_MAX, 0, 12, 0, false, "a frame is over the limit", 0 },
	{ "many descriptors", 0, 2, 12, 2, false, "several descriptors came at once", 0 },
	{ "announces many", 0, 2, 12, 1, false, "a frame announces several descriptors", 0 },
	{ "announces very many", 0, 65535, 12, 0, false, "a frame announces several descriptors",
		0 },
	{ "announced, not sent", 4, 1, 16, 0, false, "a frame came without its descriptor", 0 },
	{ "sent, not announced", 4, 0, 16, 1, false, "a descriptor came without its frame", 1 },
	{ "sent, not announced, unfinished", 4, 0, 14, 1, false,
		"a descriptor came without its frame", 0 },
	{ "half a header", 0, 0, 7, 0, true, "ended within a frame", 0 },
	{ "half a payload", 50, 0, 30, 0, true, "ended within a frame", 0 },
	{ "half a payload and a descriptor", 50, 1, 30, 1, true, "ended within a frame", 0 },
	{ "nothing", 0, 0, 0, 0, true, "end of file", 0 },
};

static void hostile_peers_are_ended(void **state)
{
	for (size_t i = 0; i < sizeof(hostiles) / sizeof(hostiles[0]); i++) {
		const struct hostile *h = &hostiles[i];
		unsigned char octets[64] = { 0 };
		const int fds[2] = { STDIN_FILENO, STDIN_FILENO };

		int raw = connect_raw();
		make_header(octets, h->length, h->announced);
		if (h->sent)
			raw_send(raw, octets, h->sent, fds, h->fds);
		if (h->close)
			close(raw);
		RUN_UNTIL(right.ended);
		if (strncmp(right.reason, h->reason, strlen(h->reason)) != 0)
			fail_msg("%s: %s", h->name, right.reason);
		assert_int_equal(right.count, h->frames);
		assert_int_equal(right.ended, 1);
		/* What is written to it now goes nowhere, and harms nothing. */
		send_frame(&right, 1, 1, TEXT("late"), -1);
		send_frame(&right, 1, 1, TEXT("late"), STDIN_FILENO);
		ipc_hold(right.ipc);
		ipc_release(right.ipc);
		ipc_flush(right.ipc, 10);
		event_base_loop(loop, EVLOOP_NONBLOCK);
		assert_int_equal(right.ended, 1);
		if (!h->close)
			close(raw);
		start_anew(state);
	}
}

/* One octet and a descriptor at a time: the third that waits is one too many. */
static void descriptors_do_not_pile_up(void **state)
{
	unsigned char header[IPC_HEADER];
	const int fd = STDIN_FILENO;
	int raw = connect_raw();

	(void)state;
	make_header(header, 0, 1);
	for (size_t i = 0; i < 3; i++)
		raw_send(raw, header + i, 1, &fd, 1);
	RUN_UNTIL(right.ended);
	assert_string_equal(right.reason, "a descriptor came without its frame");
	close(raw);
}

static void free_in_frame(struct side *side, struct ipc_frame *frame)
{
	volatile char last = frame->payload.len ? frame->payload.ptr[frame->payload.len - 1] : 0;

	ipc_free(&side->ipc);
	if (frame->payload.len)
		assert_int_equal(frame->payload.ptr[frame->payload.len - 1], last);
}

static void free_in_round(struct side *side)
{
	ipc_free(&side->ipc);
}

static void freeing_inside_callbacks(void **state)
{
	const struct text all = noise(200000);

	for (int i = 0; i < 3; i++) {
		connect_sides();
		if (i < 2)
			right.in_frame = free_in_frame;
		else
			right.in_round = free_in_round;
		send_frame(&left, 1, 1, i == 1 ? all : TEXT("abc"), STDIN_FILENO);
		send_frame(&left, 1, 2, TEXT("def"), STDIN_FILENO);
		send_frame(&left, 1, 3, TEXT("ghi"), -1);
		RUN_UNTIL(left.ended);
		assert_true(right.count >= 1 && right.ended == 0);
		start_anew(state);
	}
	mem_free((void *)all.ptr);
}

static void free_ended(void *owner, const char *reason)
{
	struct side *side = owner;

	on_ended(owner, reason);
	ipc_free(&side->ipc);
}

static void free_drained(void *owner)
{
	struct side *side = owner;

	side->drained++;
	ipc_free(&side->ipc);
}

static void freeing_in_ended_and_drained(void **state)
{
	static const struct ipc_handlers freeing = {
		.frame = on_frame, .drained = free_drained, .ended = free_ended
	};
	const struct text all = noise(LIMIT);
	int pair[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	left.ipc = ipc_new(loop, pair[0], LIMIT, &freeing, &left);
	right.ipc = ipc_new(loop, pair[1], LIMIT, &freeing, &right);
	send_frame(&left, 1, 1, all, -1);
	RUN_UNTIL(left.drained && right.ended);
	assert_null(left.ipc);
	assert_null(right.ipc);
	assert_int_equal(right.ended, 1);
	mem_free((void *)all.ptr);
}

static void hold_after_each(struct side *side, struct ipc_frame *frame)
{
	(void)frame;
	ipc_hold(side->ipc);
}

static void held_frames_wait_in_order(void **state)
{
	(void)state;
	connect_sides();
	right.in_frame = hold_after_each;
	for (uint32_t i = 0; i < 5; i++)
		send_frame(&left, 1, i, TEXT("payload"), i == 3 ? STDIN_FILENO : -1);
	for (size_t i = 1; i <= 5; i++) {
		RUN_UNTIL(right.count == i);
		for (int round = 0; round < 5; round++)
			event_base_loop(loop, EVLOOP_NONBLOCK);
		assert_int_equal(right.count, i);
		assert_int_equal(right.seen[i - 1].tag, i - 1);
		ipc_release(right.ipc);
	}
	for (int round = 0; round < 5; round++)
		event_base_loop(loop, EVLOOP_NONBLOCK);
	assert_int_equal(right.ended, 0);
	assert_null(right.ipc->in.block);
}

static void output_waits_for_a_slow_reader(void **state)
{
	const struct text some = noise(4096);
	uint32_t sent = 0;

	(void)state;
	connect_sides();
	ipc_hold(right.ipc);
	while (!ipc_is_full(left.ipc)) {
		/* A descriptor on every tenth, closed at once though its frame cannot leave yet. */
		int fd = sent % 10 ? -1 : file_with((int)sent);
		send_frame(&left, 1, sent++, some, fd);
		if (fd >= 0)
			close(fd);
		event_base_loop(loop, EVLOOP_NONBLOCK);
	}
	assert_int_equal(left.drained, 0);
	assert_int_equal(right.count, 0);
	ipc_release(right.ipc);
	RUN_UNTIL(right.count == sent && left.drained);
	assert_int_equal(left.drained, 1);
	for (uint32_t i = 0; i < sent; i++) {
		assert_int_equal(right.seen[i].tag, i);
		assert_true(right.seen[i].sum == sum_of(some));
		assert_int_equal(right.seen[i].number, i % 10 ? -1 : (int)i);
	}
	mem_free((void *)some.ptr);
}

/* The kernel limits the descriptors of a user that nobody has received yet; not those of root. */
static int send_more_than_the_kernel_holds(void)
{
	enum { DESCRIPTORS = 40, MORE = 6 };
	const struct rlimit limit = { .rlim_cur = DESCRIPTORS, .rlim_max = DESCRIPTORS };

	/* A user of its own: the kernel counts those of all processes of a user together. */
	const uid_t uid = 30000 + (uid_t)getpid() % 30000;
	if (geteuid() == 0 && (setgid(uid) != 0 || setuid(uid) != 0))
		return 2;
	if (setrlimit(RLIMIT_NOFILE, &limit) != 0)
		return 2;
	loop = event_base_new();
	connect_sides();
	ipc_hold(right.ipc);
	for (uint32_t i = 0; i < DESCRIPTORS + MORE; i++)
		send_frame(&left, 1, i, TEXT("x"), STDIN_FILENO);
	const bool waits = ipc_pending(left.ipc) > 0;
	ipc_release(right.ipc);
	while (right.count < DESCRIPTORS + MORE && !right.ended && !left.ended)
		event_base_loop(loop, EVLOOP_ONCE);
	ipc_free(&left.ipc);
	ipc_free(&right.ipc);
	event_base_free(loop);
	return waits && right.count == DESCRIPTORS + MORE ? 0 : 1;
}

static void descriptors_on_their_way_are_limited(void **state)
{
	int status;

	(void)state;
	pid_t child = fork();
	if (child == 0)
		_exit(send_more_than_the_kernel_holds());
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
}

static void last_words_are_heard(void **state)
{
	unsigned char header[IPC_HEADER];
	int raw = connect_raw();

	(void)state;
	make_header(header, 0, 0);
	raw_send(raw, header, sizeof(header), NULL, 0);
	close(raw);
	send_frame(&right, 1, 1, TEXT("to nobody"), STDIN_FILENO);
	assert_int_equal(ipc_pending(right.ipc), 0);
	RUN_UNTIL(right.ended);
	assert_int_equal(right.count, 1);
}

static void flush_needs_no_loop(void **state)
{
	unsigned char octets[64];
	int raw = connect_raw();

	(void)state;
	send_frame(&right, 0x1234, 0x56789abc, TEXT("bye"), -1);
	ipc_flush(right.ipc, 1000);
	assert_int_equal(recv(raw, octets, sizeof(octets), MSG_DONTWAIT), IPC_HEADER + 3);
	assert_memory_equal(octets,
		"\x03\0\0\0\x34\x12\0\0\xbc\x9a\x78\x56"
		"bye",
		IPC_HEADER + 3);
	/* Against a peer that does not read, it gives up in time. */
	const struct text all = noise(LIMIT);
	send_frame(&right, 1, 1, all, -1);
	ipc_flush(right.ipc, 20);
	assert_true(ipc_pending(right.ipc) > 0);
	mem_free((void *)all.ptr);
	close(raw);
}

static void connecting_by_path(void **state)
{
	char directory[] = "/tmp/test-ipc.XXXXXX";
	char path[64], long_path[150];
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	unsigned uid, gid;
	int pid;

	(void)state;
	assert_non_null(mkdtemp(directory));
	snprintf(path, sizeof(path), "%s/socket", directory);
	assert_int_equal(ipc_connect(path), -1);
	assert_int_equal(errno, ENOENT);
	snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(listener, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(listen(listener, 5), 0);
	int fd = ipc_connect(path);
	assert_true(fd >= 0);
	left.ipc = ipc_new(loop, fd, LIMIT, &handlers, &left);
	assert_int_equal(ipc_peer(left.ipc, &uid, &gid, &pid), 0);
	assert_int_equal(uid, getuid());
	assert_int_equal(gid, getgid());
	assert_int_equal(pid, getpid());
	close(listener);
	unlink(path);
	rmdir(directory);
	memset(long_path, 'x', sizeof(long_path) - 1);
	long_path[sizeof(long_path) - 1] = '\0';
	assert_int_equal(ipc_connect(long_path), -1);
	assert_int_equal(errno, ENAMETOOLONG);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(frames_of_one_round_travel_together),
		CASE(descriptors_reach_their_frames),
		CASE(descriptors_come_many_at_a_time),
		CASE(a_descriptor_can_be_taken),
		CASE(frames_larger_than_the_shared_memory),
		CASE(frames_split_anywhere),
		CASE(two_descriptors_may_wait),
		CASE(hostile_peers_are_ended),
		CASE(descriptors_do_not_pile_up),
		CASE(freeing_inside_callbacks),
		CASE(freeing_in_ended_and_drained),
		CASE(held_frames_wait_in_order),
		CASE(output_waits_for_a_slow_reader),
		CASE(descriptors_on_their_way_are_limited),
		CASE(last_words_are_heard),
		CASE(flush_needs_no_loop),
		CASE(connecting_by_path),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
