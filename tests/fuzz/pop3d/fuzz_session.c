/*
 * A whole POP3 session: the input drives the client's octets and what the store answers, in any order and
 * in any pieces. Beyond not crashing: "messages deleted" is said only after the store said so.
 *
 * An input is a run of steps, each an octet of kind, an octet of size, and that many octets.
 */
#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/ipc.h"
#include "base/log.h"
#include "base/role.h"
#include "pop3d/session.h"
#include "pop3d/settings.h"
#include "store/protocol.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { REQUESTS = 64, LISTED_LIMIT = 40, ROUNDS = 8 };

enum step {
	STEP_OCTETS,
	STEP_COMMAND,
	STEP_ANSWER,
	STEP_FAIL,
	STEP_FRAME,
	STEP_STORE_ENDS,
	STEP_LOOP,
	STEPS
};

static struct event_base *loop;
static struct role_context context;
static struct pop3d_settings settings;
static struct common_settings common;
static struct worker worker;
static int listener;

/* The store's side of the session's connection. */
static struct {
	struct ipc *ipc;
	struct {
		uint16_t type;
		uint32_t tag, uids;
		uint32_t uid[STORE_FETCH_LIMIT];
	} request[REQUESTS];
	size_t first, count;
	bool expunged;
} peer;

static void on_frame(void *owner, struct ipc_frame *frame)
{
	const size_t at = (peer.first + peer.count) % REQUESTS;
	struct store_fetch fetch;

	(void)owner;
	if (peer.count == REQUESTS)
		return;
	peer.request[at].type = frame->type;
	peer.request[at].tag = frame->tag;
	peer.request[at].uids = 1;
	if (frame->type == STORE_FETCH && store_fetch_unpack(frame->payload, &fetch) == 0) {
		peer.request[at].uids = (uint32_t)(fetch.uids.len / 4);
		memcpy(peer.request[at].uid, fetch.uids.ptr, fetch.uids.len);
	}
	peer.count++;
}

static void on_ended(void *owner, const char *reason)
{
	(void)owner, (void)reason;
	ipc_free(&peer.ipc);
}

static const struct ipc_handlers peer_handlers = { .frame = on_frame, .ended = on_ended };

static void accept_peer(void)
{
	const int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

	if (fd < 0)
		return;
	ipc_free(&peer.ipc);
	peer.first = peer.count = 0;
	peer.ipc = ipc_new(loop, fd, STORE_PAYLOAD_LIMIT, &peer_handlers, NULL);
}

static void turn(void)
{
	for (int i = 0; i < ROUNDS; i++) {
		accept_peer();
		event_base_loop(loop, EVLOOP_NONBLOCK);
	}
}

static int memory_file(struct text octets, bool sealed)
{
	const int fd = memfd_create("fuzz", MFD_ALLOW_SEALING | MFD_CLOEXEC);

	if (fd < 0 || write(fd, octets.ptr, octets.len) != (ssize_t)octets.len)
		abort();
	lseek(fd, 0, SEEK_SET);
	if (sealed)
		fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL);
	return fd;
}

static int listing(uint32_t count)
{
	struct {
		uint64_t count;
		struct store_listing_entry entry[LISTED_LIMIT];
	} file = { .count = count };

	for (uint32_t i = 0; i < count; i++)
		file.entry[i] =
			(struct store_listing_entry){ .uid = i + 1, .size = i * 7, .wire = i * 8 };
	return memory_file((struct text){ .ptr = (const char *)&file,
				   .len = sizeof(file.count) + count * sizeof(file.entry[0]) },
		true);
}

/* A message that cannot say what look() takes for a reply. */
static int message_file(struct text octets)
{
	struct buf without = { 0 };
	char *copy = buf_room(&without, octets.len + 1);

	for (size_t i = 0; i < octets.len; i++)
		copy[i] = octets.ptr[i] == '+' ? '-' : octets.ptr[i];
	const int fd = memory_file((struct text){ .ptr = copy, .len = octets.len }, false);
	buf_release(&without);
	return fd;
}

static void answer_fetch(const uint8_t failure, uint32_t tag, const uint32_t *uids, uint32_t count,
	struct text octets)
{
	for (uint32_t i = 0; i < count; i++) {
		const int fd = failure == STORE_OK ? message_file(octets) : -1;

		store_fetch_reply_pack(ipc_begin(peer.ipc, STORE_FETCH, tag),
			&(struct store_fetch_reply){ .failure = failure,
				.last = i + 1 == count,
				.uid = uids[i],
				.size = octets.len });
		ipc_end(peer.ipc, fd);
		if (fd >= 0)
			close(fd);
	}
}

/* The oldest request is answered as a store would: with a failure, or with what the octets say. */
static void answer(uint8_t failure, struct text octets)
{
	const uint16_t type = peer.request[peer.first].type;
	const uint32_t tag = peer.request[peer.first].tag;
	const uint8_t seed = octets.len > 0 ? (uint8_t)octets.ptr[0] : 3;
	int fd = -1;

	if (peer.ipc == NULL || peer.count == 0)
		return;
	if (type == STORE_LOGIN) {
		store_login_reply_pack(ipc_begin(peer.ipc, type, tag),
			&(struct store_login_reply){
				.failure = failure, .user = TEXT("alice@example.test") });
	} else if (type == STORE_SASL_START || type == STORE_SASL_STEP) {
		const struct store_sasl_step_reply reply = { .failure = failure,
			.exchange = seed,
			.done = seed % 2,
			.challenge = seed % 2 ? TEXT("") : octets,
			.user = TEXT("alice@example.test") };

		store_sasl_step_reply_pack(ipc_begin(peer.ipc, type, tag), &reply);
	} else if (type == STORE_SELECT) {
		fd = failure == STORE_OK ? listing(seed % (LISTED_LIMIT + 1)) : -1;
		store_select_reply_pack(ipc_begin(peer.ipc, type, tag),
			&(struct store_select_reply){ .failure = failure, .uidvalidity = 7 });
	} else if (type == STORE_UPDATE) {
		peer.expunged |= failure == STORE_OK;
		store_update_reply_pack(ipc_begin(peer.ipc, type, tag),
			&(struct store_update_reply){ .failure = failure, .changed = seed });
	} else {
		answer_fetch(failure, tag, peer.request[peer.first].uid,
			peer.request[peer.first].uids, octets);
	}
	if (type != STORE_FETCH)
		ipc_end(peer.ipc, fd);
	if (fd >= 0)
		close(fd);
	peer.first = (peer.first + 1) % REQUESTS;
	peer.count--;
}

static void send_frame(struct text octets)
{
	struct buf *out;

	if (peer.ipc == NULL || octets.len < 2)
		return;
	out = ipc_begin(
		peer.ipc, (uint8_t)octets.ptr[0] % (STORE_MESSAGES + 2), (uint8_t)octets.ptr[1]);
	buf_add(out, text_from(octets, 2));
	ipc_end(peer.ipc, -1);
}

static void send_octets(int fd, struct text octets)
{
	if (send(fd, octets.ptr, octets.len, MSG_NOSIGNAL | MSG_DONTWAIT) < 0 && errno == EPIPE)
		return;
}

static void send_command(int fd, uint8_t which)
{
	static const char *const commands[] = { "USER alice\r\nPASS x\r\n", "STAT\r\n", "LIST\r\n",
		"UIDL\r\n", "RETR 1\r\n", "RETR 2\r\nRETR 3\r\n", "TOP 1 2\r\n", "DELE 1\r\n",
		"DELE 2\r\n", "RSET\r\n", "NOOP\r\n", "QUIT\r\n", "CAPA\r\n", "HELP\r\n",
		"STLS\r\n", "USER bob\r\n", "PASS secret\r\n", "RETR 1\r\nRETR 1\r\n", "LIST 1\r\n",
		"UIDL 40\r\n", "AUTH PLAIN\r\n", "AUTH LOGIN YQ==\r\n", "AUTH\r\n",
		"AUTH SCRAM-SHA-256 biws\r\n", "AGE=\r\n", "*\r\n", "=\r\n" };

	send_octets(fd, text_of(commands[which % (sizeof(commands) / sizeof(commands[0]))]));
}

static void look(int fd)
{
	static char said[1 << 18];
	ssize_t got;

	while ((got = recv(fd, said, sizeof(said), MSG_DONTWAIT)) > 0)
		if (!peer.expunged && memmem(said, (size_t)got, "messages deleted", 16) != NULL &&
			memmem(said, (size_t)got, "+OK good-bye;", 13) != NULL)
			abort();
}

static void step(int fd, enum step kind, struct text octets)
{
	switch (kind) {
	case STEP_OCTETS:
		send_octets(fd, octets);
		break;
	case STEP_COMMAND:
		send_command(fd, octets.len > 0 ? (uint8_t)octets.ptr[0] : 0);
		break;
	case STEP_ANSWER:
		answer(STORE_OK, octets);
		break;
	case STEP_FAIL:
		answer(octets.len > 0 ? (uint8_t)octets.ptr[0] % (STORE_FAILURES + 2) : STORE_BUSY,
			octets);
		break;
	case STEP_FRAME:
		send_frame(octets);
		break;
	case STEP_STORE_ENDS:
		ipc_free(&peer.ipc);
		break;
	case STEP_LOOP:
	case STEPS:
		turn();
		look(fd);
		break;
	}
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX, .sun_path = "store-pop3d" };
	char directory[] = "fuzz-pop3d-XXXXXX";

	(void)argc, (void)argv;
	log_open("fuzz", LOG_LEVEL_ERROR + 1);
	if (mkdtemp(directory) == NULL || chdir(directory) != 0)
		abort();
	loop = event_base_new();
	listener = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (bind(listener, (struct sockaddr *)&address, sizeof(address)) != 0 ||
		listen(listener, 16) != 0)
		abort();
	settings_preset(&pop3d_section, &settings);
	settings_preset(&common_section, &common);
	context = (struct role_context){ .loop = loop, .common = &common, .settings = &settings };
	worker.context = &context;
	worker.limits = (struct conn_limits){ .input = 16 * 1024,
		.output_high = 64 * 1024,
		.output_low = 16 * 1024,
		.idle_seconds = 600 };
	LIST_INIT(&worker.sessions);
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	int fds[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) != 0)
		abort();
	peer.expunged = false;
	session_new(&worker, fds[0], false);
	while (size >= 2) {
		const size_t length = data[1] < size - 2 ? data[1] : size - 2;

		step(fds[1], data[0] % STEPS,
			(struct text){ .ptr = (const char *)data + 2, .len = length });
		turn();
		data += 2 + length;
		size -= 2 + length;
	}
	look(fds[1]);
	shutdown(fds[1], SHUT_RDWR);
	close(fds[1]);
	ipc_free(&peer.ipc);
	for (int i = 0; i < 100 && worker.session_count > 0; i++)
		turn();
	if (worker.session_count > 0)
		abort();
	return 0;
}
