/*
 * A whole POP3 session: the input drives the client's octets and what the store answers, in any order and
 * in any pieces. Beyond not crashing: "messages deleted" is said only after the store said so.
 *
 * An input is a run of steps, each an octet of kind, an octet of size, and that many octets.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>

#include "base/log.h"
#include "base/role.h"
#include "pop3d/session.h"
#include "pop3d/settings.h"
#include "tests/fuzz/session.h"

enum { LISTED_LIMIT = 40, ROUNDS = 8 };

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
static struct fuzz_store store;
static bool expunged; /* the store has said so */

static void turn(void)
{
	for (int i = 0; i < ROUNDS; i++) {
		fuzz_store_accept(&store);
		event_base_loop(loop, EVLOOP_NONBLOCK);
	}
}

static int memory_file(struct text octets, bool sealed)
{
	const int fd = memfd_create("fuzz", MFD_ALLOW_SEALING | MFD_CLOEXEC);

	REQUIRE(fd >= 0 && write(fd, octets.ptr, octets.len) == (ssize_t)octets.len);
	lseek(fd, 0, SEEK_SET);
	if (sealed)
		fcntl(fd, F_ADD_SEALS,
			F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_FUTURE_WRITE | F_SEAL_SEAL);
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

static void answer_fetch(uint8_t failure, const struct fuzz_request *request, struct text octets)
{
	struct store_fetch fetch;

	REQUIRE(store_fetch_unpack((struct text){ request->payload, request->length }, &fetch) ==
		0);
	for (size_t i = 0; i < fetch.uids.len; i += sizeof(uint32_t)) {
		const int fd = failure == STORE_OK ? message_file(octets) : -1;
		struct store_fetch_reply reply = { .failure = failure,
			.last = i + sizeof(uint32_t) == fetch.uids.len,
			.size = octets.len };

		memcpy(&reply.uid, fetch.uids.ptr + i, sizeof(reply.uid));
		store_fetch_reply_pack(ipc_begin(store.ipc, STORE_FETCH, request->tag), &reply);
		ipc_end(store.ipc, fd);
		if (fd >= 0)
			close(fd);
	}
}

static void answer_select(uint8_t failure, const struct fuzz_request *request, uint32_t count)
{
	const int fd = failure == STORE_OK ? listing(count) : -1;

	store_select_reply_pack(ipc_begin(store.ipc, STORE_SELECT, request->tag),
		&(struct store_select_reply){ .failure = failure, .uidvalidity = 7 });
	ipc_end(store.ipc, fd);
	if (fd >= 0)
		close(fd);
}

/* The oldest request is answered as a store would: with a failure, or with what the octets say. */
static void answer(uint8_t failure, struct text octets)
{
	const struct fuzz_request *request = fuzz_store_oldest(&store);
	const uint8_t seed = octets.len > 0 ? (uint8_t)octets.ptr[0] : 3;

	if (!request)
		return;
	if (request->type == STORE_LOGIN) {
		store_login_reply_pack(ipc_begin(store.ipc, STORE_LOGIN, request->tag),
			&(struct store_login_reply){
				.failure = failure, .user = TEXT("alice@example.test") });
		ipc_end(store.ipc, -1);
	} else if (request->type == STORE_SASL_START || request->type == STORE_SASL_STEP) {
		fuzz_store_answer_sasl(&store, request, failure, octets);
	} else if (request->type == STORE_SELECT) {
		answer_select(failure, request, seed % (LISTED_LIMIT + 1));
	} else if (request->type == STORE_UPDATE) {
		expunged |= failure == STORE_OK;
		store_update_reply_pack(ipc_begin(store.ipc, STORE_UPDATE, request->tag),
			&(struct store_update_reply){ .failure = failure, .changed = seed });
		ipc_end(store.ipc, -1);
	} else {
		REQUIRE(request->type == STORE_FETCH);
		answer_fetch(failure, request, octets);
	}
	fuzz_store_forget_oldest(&store);
}

static void send_command(int fd, uint8_t which)
{
	static const char *const commands[] = { "USER alice\r\nPASS x\r\n", "STAT\r\n", "LIST\r\n",
		"UIDL\r\n", "RETR 1\r\n", "RETR 2\r\nRETR 3\r\n", "TOP 1 2\r\n", "DELE 1\r\n",
		"DELE 2\r\n", "RSET\r\n", "NOOP\r\n", "QUIT\r\n", "CAPA\r\n", "HELP\r\n",
		"STLS\r\n", "USER bob\r\n", "PASS secret\r\n", "RETR 1\r\nRETR 1\r\n", "LIST 1\r\n",
		"UIDL 40\r\n", "AUTH PLAIN\r\n", "AUTH LOGIN YQ==\r\n", "AUTH\r\n",
		"AUTH SCRAM-SHA-256 biws\r\n", "AGE=\r\n", "*\r\n", "=\r\n" };

	fuzz_send(fd, text_of(commands[which % (sizeof(commands) / sizeof(commands[0]))]));
}

static void look(int fd)
{
	static char said[1 << 18];
	ssize_t got;

	while ((got = recv(fd, said, sizeof(said), MSG_DONTWAIT)) > 0)
		REQUIRE(expunged || !memmem(said, (size_t)got, "messages deleted", 16) ||
			!memmem(said, (size_t)got, "+OK good-bye;", 13));
}

static void step(int fd, enum step kind, struct text octets)
{
	switch (kind) {
	case STEP_OCTETS:
		fuzz_send(fd, octets);
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
		fuzz_store_say(&store, octets);
		break;
	case STEP_STORE_ENDS:
		fuzz_store_close(&store);
		break;
	case STEP_LOOP:
	case STEPS:
		turn();
		look(fd);
		break;
	}
}

static char directory[] = "/tmp/fuzz-pop3d-XXXXXX";

static void clean_up(void)
{
	unlink("store-pop3d");
	rmdir(directory);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc, (void)argv;
	log_open("fuzz", LOG_LEVEL_ERROR + 1);
	REQUIRE(mkdtemp(directory) && chdir(directory) == 0);
	atexit(clean_up);
	loop = event_base_new();
	store = (struct fuzz_store){ .loop = loop, .listener = fuzz_listen("store-pop3d") };
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
	struct text in = fuzz_text(data, size), octets;
	unsigned kind;
	int fds[2];

	fuzz_pair(fds);
	expunged = false;
	session_new(&worker, fds[0], false);
	while (fuzz_step(&in, STEPS, &kind, &octets)) {
		step(fds[1], kind, octets);
		turn();
	}
	look(fds[1]);
	shutdown(fds[1], SHUT_RDWR);
	close(fds[1]);
	fuzz_store_close(&store);
	for (int i = 0; i < 100 && worker.session_count > 0; i++)
		turn();
	REQUIRE(worker.session_count == 0);
	fuzz_store_close(&store);
	fuzz_accept_none(store.listener);
	return 0;
}
