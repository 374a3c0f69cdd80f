/* Who may say what, what ends a connection, and how many there may be. */
#include "base/ipc.h"
#include "tests/unit/store/store_peer.h"

/* ---- a peer that keeps no rules ---- */

struct raw {
	struct ipc *ipc;
	bool ended;
	unsigned replies;
	uint16_t type;
	uint32_t tag;
};

static void raw_frame(void *owner, struct ipc_frame *frame)
{
	struct raw *raw = owner;

	raw->replies++;
	raw->type = frame->type;
	raw->tag = frame->tag;
}

static void raw_ended(void *owner, const char *reason)
{
	(void)reason;
	((struct raw *)owner)->ended = true;
}

static const struct ipc_handlers raw_handlers = { .frame = raw_frame, .ended = raw_ended };

static void open_raw(struct raw *raw, enum store_peer kind)
{
	*raw = (struct raw){ 0 };
	raw->ipc = ipc_new(
		host.loop, host_connect(&host, kind), STORE_PAYLOAD_LIMIT, &raw_handlers, raw);
}

static void say(struct raw *raw, uint16_t type, uint32_t tag, struct text payload, int fd)
{
	buf_add(ipc_begin(raw->ipc, type, tag), payload);
	ipc_end(raw->ipc, fd);
}

static void assert_expelled(struct raw *raw)
{
	const unsigned long long before = counter("connections-expelled");

	assert_true(host_run_until(&host, &raw->ended));
	assert_int_equal(raw->replies, 0);
	assert_in_range(counter("connections-expelled"), before, before + 1);
	ipc_free(&raw->ipc);
}

/* ---- rights ---- */

/* A well-formed request of each type: every field zero or empty. */
#define EMPTY_REQUEST_(name, NAME, who, needs) \
	if (type == STORE_##NAME) \
		store_##name##_pack(out, &(struct store_##name){ 0 });

static void add_empty_request(struct buf *out, uint16_t type)
{
	STORE_REQUESTS(EMPTY_REQUEST_)
}

#define RIGHT_(name, NAME, peers, state) { STORE_##NAME, peers, state },

/* Who may not send a request gets no reply but the door; who may is answered. */
static void test_rights(void **state)
{
	static const struct {
		uint16_t type;
		unsigned who, needs;
	} rights[] = { STORE_REQUESTS(RIGHT_) };
	static const enum store_peer peers[] = { STORE_BY_SMTP_IN, STORE_BY_MDA, STORE_BY_POP3D,
		STORE_BY_IMAPD, STORE_BY_ADMIN };

	(void)state;
	for (size_t p = 0; p < sizeof(peers) / sizeof(peers[0]); p++) {
		for (size_t i = 0; i < sizeof(rights) / sizeof(rights[0]); i++) {
			struct raw raw;
			open_raw(&raw, peers[p]);
			add_empty_request(ipc_begin(raw.ipc, rights[i].type, 7), rights[i].type);
			ipc_end(raw.ipc, -1);
			if (!(rights[i].who & peers[p]) || rights[i].needs) {
				assert_expelled(&raw);
				continue;
			}
			while (!raw.replies && !raw.ended)
				event_base_loop(host.loop, EVLOOP_ONCE);
			assert_int_equal(raw.replies, 1);
			assert_int_equal(raw.type, rights[i].type);
			assert_int_equal(raw.tag, 7);
			assert_false(raw.ended);
			ipc_free(&raw.ipc);
		}
	}
}

static void test_broken_rules(void **state)
{
	static const struct {
		uint16_t type;
		uint32_t tag;
		bool with_fd;
		struct text payload;
	} cases[] = {
		{ STORE_MESSAGE_NONE, 1, false, TEXT("") },
		{ STORE_MESSAGES, 1, false, TEXT("") },
		{ UINT16_MAX, 1, false, TEXT("") },
		{ STORE_CHANGED, 1, false, TEXT("") },
		{ STORE_DIRECTORY, 1, false, TEXT("\0\0\0\0\0\0\0\0") },
		{ STORE_LOOKUP, 0, false, TEXT("\0\0\0\0") },
		{ STORE_LOOKUP, 1, true, TEXT("\0\0\0\0") },
		{ STORE_LOOKUP, 1, false, TEXT("") },
		{ STORE_LOOKUP, 1, false, TEXT("\0\0\0") },
		{ STORE_LOOKUP, 1, false, TEXT("\1\0\0\0") },
		{ STORE_LOOKUP, 1, false, TEXT("\0\0\0\0x") },
		{ STORE_LOOKUP, 1, false, TEXT("\xff\xff\xff\xff") },
		{ STORE_SPOOL, 1, false, TEXT("\0\0\0\0\0\0\0") },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct raw raw;
		int fd = cases[i].with_fd ? open("/dev/null", O_RDONLY | O_CLOEXEC) : -1;
		open_raw(&raw, STORE_BY_MDA);
		say(&raw, cases[i].type, cases[i].tag, cases[i].payload, fd);
		if (fd >= 0)
			close(fd);
		assert_expelled(&raw);
	}
}

/* Recipients that are cut off, too many, or no recipients at all. */
static void test_malformed_recipients(void **state)
{
	struct raw raw;
	struct buf run = { 0 };
	struct peer mda;

	(void)state;
	for (int i = 0; i <= STORE_RECIPIENTS_LIMIT; i++)
		add_recipient(&run, "alice@" HOST_DOMAIN, "");
	open_raw(&raw, STORE_BY_MDA);
	store_deliver_pack(ipc_begin(raw.ipc, STORE_DELIVER, 1),
		&(struct store_deliver){ .id = TEXT("1"), .recipients = buf_text(&run) });
	ipc_end(raw.ipc, -1);
	assert_expelled(&raw);
	open_raw(&raw, STORE_BY_MDA);
	store_deliver_pack(ipc_begin(raw.ipc, STORE_DELIVER, 1),
		&(struct store_deliver){
			.id = TEXT("1"), .recipients = text_head(buf_text(&run), 30) });
	ipc_end(raw.ipc, -1);
	assert_expelled(&raw);
	buf_release(&run);

	open_peer(&mda, STORE_BY_MDA);
	assert_int_equal(
		ASK(deliver, &mda, .id = TEXT("1"), .body = TEXT("x\n")).failure, STORE_INVALID);
	add_recipient(&run, "alice@" HOST_DOMAIN, "");
	assert_int_equal(ASK(deliver, &mda, .id = TEXT("no id"), .recipients = buf_text(&run),
				 .body = TEXT("x\n"))
				 .failure,
		STORE_INVALID);
	assert_int_equal(
		ASK(deliver, &mda, .id = TEXT("1"), .spool = 99, .recipients = buf_text(&run))
			.failure,
		STORE_INVALID);
	assert_int_equal(deliver(&mda, "nobody@" HOST_DOMAIN, TEXT("x\n")), STORE_NO_SUCH_USER);
	buf_release(&run);
	close_peer(&mda);
}

static void test_tag_in_use(void **state)
{
	struct raw raw;

	(void)state;
	open_raw(&raw, STORE_BY_SMTP_IN);
	for (int i = 0; i < 2; i++) {
		store_login_pack(ipc_begin(raw.ipc, STORE_LOGIN, 5),
			&(struct store_login){ .user = TEXT("x"), .password = TEXT("x") });
		ipc_end(raw.ipc, -1);
	}
	assert_expelled(&raw);
}

/* ---- limits and the end ---- */

static void test_connections_are_limited(void **state)
{
	enum { LIMIT = 3 };
	struct raw raw[LIMIT + 1], other;

	(void)state;
	options.connections = LIMIT;
	server_configure(host.server, &options);
	for (size_t i = 0; i < LIMIT + 1; i++)
		open_raw(&raw[i], STORE_BY_POP3D);
	assert_true(host_run_until(&host, &raw[LIMIT].ended));
	assert_int_equal(counter("connections-refused"), 1);
	assert_int_equal(counter("connections-store-pop3d"), LIMIT);
	for (size_t i = 0; i < LIMIT; i++)
		assert_false(raw[i].ended);
	/* another kind has its own limit */
	open_raw(&other, STORE_BY_MDA);
	assert_int_equal(counter("connections-store-mda"), 1);
	for (size_t i = 0; i < LIMIT + 1; i++)
		ipc_free(&raw[i].ipc);
	ipc_free(&other.ipc);
	while (server_sessions(host.server) > 0)
		event_base_loop(host.loop, EVLOOP_ONCE);
	assert_int_equal(counter("connections-store-pop3d"), 0);
}

static void test_listener_names(void **state)
{
	enum store_peer peer;

	(void)state;
	assert_int_equal(server_peer(TEXT("store-mda"), &peer), 0);
	assert_int_equal(peer, STORE_BY_MDA);
	assert_int_equal(server_peer(TEXT("store-admin"), &peer), 0);
	assert_int_equal(peer, STORE_BY_ADMIN);
	assert_int_equal(server_peer(TEXT("store-"), &peer), -1);
	assert_int_equal(server_peer(TEXT("mda"), &peer), -1);
	assert_int_equal(server_peer(TEXT(""), &peer), -1);
}

/* With sessions in every state and requests under way; the engine closes afterwards (teardown). */
static void test_free_with_sessions(void **state)
{
	struct peer mda, alice, login, admin;
	struct buf run = { 0 };
	unsigned counts[2] = { 0 };
	struct wait wait = { .fd = -1 };

	(void)state;
	open_peer(&mda, STORE_BY_MDA);
	open_peer(&login, STORE_BY_SMTP_IN);
	open_peer(&admin, STORE_BY_ADMIN);
	log_in(&alice, STORE_BY_POP3D, "alice");
	add_recipient(&run, "alice@" HOST_DOMAIN, "");
	store_client_deliver(mda.client,
		&(struct store_deliver){
			.id = TEXT("1"), .recipients = buf_text(&run), .body = TEXT("\nx\n") },
		count_done, counts);
	store_client_select(
		alice.client, &(struct store_select){ .mailbox = TEXT("INBOX") }, on_reply, &wait);
	store_client_login(
		login.client, &(struct store_login){ .user = TEXT("bob") }, on_reply, &wait);
	store_client_user_add(admin.client,
		&(struct store_user_add){
			.address = TEXT("erin@example.test"), .password = TEXT("x") },
		on_reply, &wait);
	for (int i = 0; i < 2; i++)
		event_base_loop(host.loop, EVLOOP_ONCE | EVLOOP_NONBLOCK);
	server_free(&host.server);
	assert_null(host.server);
	if (wait.fd >= 0)
		close(wait.fd);
	buf_release(&run);
	close_peer(&mda);
	close_peer(&alice);
	close_peer(&login);
	close_peer(&admin);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_rights),
		TEST(test_broken_rules),
		TEST(test_malformed_recipients),
		TEST(test_tag_in_use),
		TEST(test_connections_are_limited),
		cmocka_unit_test(test_listener_names),
		TEST(test_free_with_sessions),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
