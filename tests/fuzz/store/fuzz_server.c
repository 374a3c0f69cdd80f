/*
 * A whole store, engine and all, against peers of every kind that say anything.
 *
 * The input is a small program: which peers connect, what they say (well-formed requests with fields from
 * the input, frames of any content, stray octets), when they leave, when time passes. Held against
 * it, besides not crashing and not hanging:
 *
 *	no reply but to a request of that tag and type, and one only (FETCH: as many as asked for);
 *	no reply to a request that the peer may not make, and the connection ends after one;
 *	no reply that needs a login or a mailbox before these were granted;
 *	a LOOKUP on a fresh connection is answered at the end, whatever happened before.
 */
#include <endian.h>

#include "base/ipc.h"
#include "store/import.h"
#include "tests/fuzz/fuzz.h"
#include "tests/unit/store/store_host.h"

enum {
	PEERS = 3,      /* at once */
	REQUESTS = 256, /* of one connection */
	STEPS = 400,
	LIVES = 3000, /* inputs until the store starts afresh */
	TEXT_OCTETS = 600,
	ANSWER_SECONDS = 60,
};

/* ---- what is right ---- */

#define RIGHT_(name, NAME, peers, state) [STORE_##NAME] = { .who = (peers), .needs = (state) },

static const struct {
	unsigned who, needs;
} rights[STORE_MESSAGES] = { STORE_REQUESTS(RIGHT_) };

static void violated(const char *what)
{
	fprintf(stderr, "fuzz_server: %s\n", what);
	abort();
}

/* ---- peers ---- */

struct asked {
	uint16_t type;
	uint32_t tag;
	unsigned replies; /* that may still come */
};

struct peer {
	struct ipc *ipc;
	enum store_peer kind;
	bool ended;
	bool doomed; /* it has done what ends a connection */
	bool logged_in, selected;
	struct asked asked[REQUESTS];
	size_t asked_count;
	uint32_t next_tag;
	uint32_t spool;
};

static struct host host;
static struct peer peers[PEERS];

/* The failure is the first octet of every reply. */
static bool says_ok(const struct ipc_frame *frame)
{
	return frame->payload.len > 0 && frame->payload.ptr[0] == STORE_OK;
}

static void check_reply(struct peer *peer, const struct ipc_frame *frame)
{
	struct asked *asked = NULL;

	for (size_t i = 0; i < peer->asked_count; i++) {
		if (peer->asked[i].tag == frame->tag && peer->asked[i].replies)
			asked = &peer->asked[i];
	}
	if (!asked || asked->type != frame->type)
		violated("a reply to no request");
	asked->replies--;
	if (!(rights[frame->type].who & peer->kind))
		violated("a reply to a request that is not for this peer");
	if ((rights[frame->type].needs & 1) && !peer->logged_in)
		violated("a reply that needs a login");
	if ((rights[frame->type].needs & 2) && !peer->selected)
		violated("a reply that needs a mailbox");
	if (frame->fd >= 0 && !says_ok(frame))
		violated("a descriptor with a failure");
}

static void on_frame(void *owner, struct ipc_frame *frame)
{
	struct peer *peer = owner;
	struct store_spool_reply spool;

	if (frame->tag == 0) {
		if (frame->type != STORE_CHANGED && frame->type != STORE_DIRECTORY)
			violated("an unknown notice");
		return;
	}
	check_reply(peer, frame);
	if (frame->type == STORE_LOGIN && says_ok(frame) && peer->kind != STORE_BY_SMTP_IN)
		peer->logged_in = true;
	if (frame->type == STORE_SELECT && says_ok(frame))
		peer->selected = true;
	if (frame->type == STORE_SPOOL && store_spool_reply_unpack(frame->payload, &spool) == 0)
		peer->spool = spool.spool;
}

static void on_ended(void *owner, const char *reason)
{
	(void)reason;
	((struct peer *)owner)->ended = true;
}

static const struct ipc_handlers handlers = { .frame = on_frame, .ended = on_ended };

static void leave(struct peer *peer)
{
	ipc_free(&peer->ipc);
	*peer = (struct peer){ 0 };
}

static void join(struct peer *peer, unsigned kind)
{
	const int small = 4096; /* so that replies meet a full socket */
	int pair[2];

	leave(peer);
	peer->kind = (enum store_peer)(1 << kind % 5);
	peer->next_tag = 1;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) != 0)
		violated("no socket pair");
	setsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, &small, sizeof(small));
	server_accept(host.server, peer->kind, pair[0]);
	peer->ipc = ipc_new(host.loop, pair[1], STORE_PAYLOAD_LIMIT, &handlers, peer);
}

/* ---- requests with fields from the input ---- */

static struct buf recipients;      /* a good run of them */
static char texts[8][TEXT_OCTETS]; /* of one request */
static unsigned texts_used;

/* What a field of that name usually holds. */
static const struct {
	const char *field;
	struct text text;
} usual[] = {
	{ "address", TEXT("alice@example.test") },
	{ "address", TEXT("bob@example.test") },
	{ "address", TEXT("carol@example.test") },
	{ "address", TEXT("one@example.test") },
	{ "address", TEXT("Two+x@new.test") },
	{ "address", TEXT("@new.test") },
	{ "domain", TEXT("new.test") },
	{ "domain", TEXT("m\xc3\xbcller.test") },
	{ "user", TEXT("alice@example.test") },
	{ "user", TEXT("bob") },
	{ "password", TEXT("restante") },
	{ "password", TEXT(HOST_HASH) },
	{ "peer", TEXT("192.0.2.1") },
	{ "mailbox", TEXT("INBOX") },
	{ "mailbox", TEXT("Archive/2026") },
	{ "uids", TEXT("\1\0\0\0\2\0\0\0\3\0\0\0") },
	{ "uids", TEXT("\1\0\0\0") },
	{ "id", TEXT("1") },
	{ "once", TEXT("") },
	{ "once", TEXT("key") },
	{ "body", TEXT("From: x\nSubject: y\n\nhello\n") },
	{ "body", TEXT("") },
	{ "keywords", TEXT("$Forwarded work") },
	{ "keywords", TEXT("") },
	{ "from", TEXT("") },
	{ "mailbox", TEXT("Archive") },
	{ "to", TEXT("Archive") },
	{ "to", TEXT("Archive/2026") },
	{ "to", TEXT("Old/2026") },
};
enum { USUAL = sizeof(usual) / sizeof(usual[0]) };

/* Aliases that lead to users, to one another, in a circle, and to other hosts. */
static const char *const alias_lines[] = { "one@example.test alice@example.test bob@example.test",
	"two@new.test one@example.test", "one@example.test two+y@new.test",
	"@new.test two@new.test", "alice@example.test alice@example.test carol@example.test",
	"one@example.test x@elsewhere.test" };
enum { ALIAS_LINES = sizeof(alias_lines) / sizeof(alias_lines[0]) };
static struct buf alias_members[ALIAS_LINES], aliases;

static void make_aliases(void)
{
	for (size_t i = 0; i < ALIAS_LINES; i++) {
		struct text rest = text_of(alias_lines[i]), word;
		text_split(&rest, ' ', &word);
		while (text_split(&rest, ' ', &word))
			store_member_pack(
				&alias_members[i], &(struct store_member){ .address = word });
	}
}

/* One or two of them, the second perhaps a list. */
static struct text take_aliases(struct text *in)
{
	buf_clear(&aliases);
	for (unsigned count = 1 + fuzz_octet(in) % 2; count; count--) {
		const uint8_t which = fuzz_octet(in);
		const struct text line = text_of(alias_lines[which % ALIAS_LINES]);
		store_alias_pack(&aliases,
			&(struct store_alias){
				.address = text_head(line, (size_t)text_find(line, ' ')),
				.owner = which & 128 ? TEXT("bob@example.test") : TEXT(""),
				.members = buf_text(&alias_members[which % ALIAS_LINES]) });
	}
	return buf_text(&aliases);
}

static uint32_t many_uids[STORE_FETCH_LIMIT]; /* the first message, again and again */

static struct text take_usual(struct text *in, const char *field)
{
	size_t from = fuzz_octet(in) % USUAL;

	if (strcmp(field, "recipients") == 0)
		return buf_text(&recipients);
	if (strcmp(field, "aliases") == 0)
		return take_aliases(in);
	if (strcmp(field, "members") == 0)
		return from % 2 ? TEXT("") : buf_text(&alias_members[from % ALIAS_LINES]);
	if (strcmp(field, "uids") == 0 && from == 0)
		return (struct text){ .ptr = (const char *)many_uids, .len = sizeof(many_uids) };
	for (size_t i = 0; i < USUAL; i++, from = (from + 1) % USUAL) {
		if (strcmp(usual[from].field, field) == 0)
			return usual[from].text;
	}
	return TEXT("");
}

static struct text take_text(struct text *in, const char *field, size_t limit)
{
	const uint8_t which = fuzz_octet(in);

	if (which < 200)
		return take_usual(in, field);
	char *to = texts[texts_used++ % 8];
	size_t length = which % 32;
	if (which == 255) {
		length = fuzz_octet(in);
		length = (length | fuzz_octet(in) << 8) % TEXT_OCTETS;
	}
	if (length > limit)
		length = limit;
	for (size_t i = 0; i < length; i++)
		to[i] = (char)fuzz_octet(in);
	return (struct text){ .ptr = to, .len = length };
}

static uint64_t take_number(struct text *in, const struct peer *peer, const char *field)
{
	const uint8_t which = fuzz_octet(in);

	if (strcmp(field, "spool") == 0 && which < 128)
		return which < 64 ? peer->spool : 0;
	if (strcmp(field, "on") == 0 && which < 192)
		return 1;
	if (which < 96)
		return 0;
	if (which < 160)
		return which % 8;
	if (which < 192)
		return (uint64_t)which << (which % 64);
	return UINT64_MAX - which % 4;
}

#define TAKE_u8(in, peer, name, limit) (uint8_t) take_number(in, peer, #name)
#define TAKE_u32(in, peer, name, limit) (uint32_t) take_number(in, peer, #name)
#define TAKE_u64(in, peer, name, limit) take_number(in, peer, #name)
#define TAKE_i64(in, peer, name, limit) (int64_t) take_number(in, peer, #name)
#define TAKE_text(in, peer, name, limit) take_text(in, #name, limit)
#define TAKE_FIELD_(kind, name, limit) request.name = TAKE_##kind(in, peer, name, limit);

#define DEFINE_ASK_(name, NAME, who, needs) \
	static void pack_##name(struct text *in, const struct peer *peer, struct buf *out) \
	{ \
		struct store_##name request; \
		STORE_##NAME##_FIELDS(TAKE_FIELD_)(void) peer; \
		store_##name##_pack(out, &request); \
	}
STORE_REQUESTS(DEFINE_ASK_)

#define PACK_ENTRY_(name, NAME, who, needs) [STORE_##NAME] = pack_##name,

static void (*const pack[STORE_MESSAGES])(
	struct text *, const struct peer *, struct buf *) = { STORE_REQUESTS(PACK_ENTRY_) };

static bool is_in_use(const struct peer *peer, uint32_t tag)
{
	for (size_t i = 0; i < peer->asked_count; i++) {
		if (peer->asked[i].tag == tag && peer->asked[i].replies)
			return true;
	}
	return false;
}

static unsigned replies_to(uint16_t type, struct text payload)
{
	struct store_fetch fetch;

	if (type != STORE_FETCH || store_fetch_unpack(payload, &fetch) != 0 ||
		fetch.uids.len < sizeof(uint32_t) || fetch.uids.len % sizeof(uint32_t) != 0)
		return 1;
	return (unsigned)(fetch.uids.len / sizeof(uint32_t));
}

/* Send it, and remember what may come of it. */
static void send_frame(struct peer *peer, uint16_t type, uint32_t tag, struct text payload, int fd)
{
	/* This one is obeyed by ending: nothing could be asked after it. */
	if (type == STORE_REBUILD && payload.len == 1 && payload.ptr[0] == 1)
		payload = TEXT("");
	const bool allowed =
		type < STORE_MESSAGES && (rights[type].who & peer->kind) && tag != 0 && fd < 0;

	/* Whether a tag is still in use when the frame arrives cannot be told from here. */
	if (peer->asked_count == REQUESTS || is_in_use(peer, tag))
		return;
	buf_add(ipc_begin(peer->ipc, type, tag), payload);
	ipc_end(peer->ipc, fd);
	if (!allowed)
		peer->doomed = true;
	if (peer->doomed)
		return;
	peer->asked[peer->asked_count++] = (struct asked){
		.type = type,
		.tag = tag,
		.replies = replies_to(type, payload),
	};
}

static void ask(struct peer *peer, struct text *in)
{
	static const uint16_t by_kind[5][24] = {
		{ STORE_LOGIN },
		{ STORE_LOOKUP, STORE_SPOOL, STORE_DELIVER },
		{ STORE_LOGIN, STORE_MAILBOXES, STORE_SELECT, STORE_UNSELECT, STORE_FETCH,
			STORE_UPDATE },
		{ STORE_LOGIN, STORE_MAILBOXES, STORE_CREATE, STORE_SELECT, STORE_UNSELECT,
			STORE_FETCH, STORE_UPDATE, STORE_WATCH, STORE_CHANGES, STORE_RENAME,
			STORE_DELETE, STORE_COPY, STORE_MOVE, STORE_SUBSCRIBE,
			STORE_SUBSCRIPTIONS },
		{ STORE_USER_ADD, STORE_USER_PASSWORD, STORE_USER_REMOVE, STORE_USERS },
	};
	const uint16_t *mine = by_kind[__builtin_ctz((unsigned)peer->kind)];
	struct buf payload = { 0 };
	size_t count = 0;

	while (mine[count])
		count++;
	const uint16_t type = mine[fuzz_octet(in) % count];
	pack[type](in, peer, &payload);
	send_frame(peer, type, peer->next_tag++, buf_text(&payload), -1);
	buf_release(&payload);
}

/* The steps that lead deep into a session, which chance would take long to find. */
static void log_in(struct peer *peer, struct text *in)
{
	struct buf payload = { 0 };

	store_login_pack(&payload, &(struct store_login){ .user = TEXT("alice"),
					   .password = TEXT("restante"),
					   .peer = TEXT("192.0.2.1") });
	send_frame(peer, STORE_LOGIN, peer->next_tag++, buf_text(&payload), -1);
	buf_clear(&payload);
	store_select_pack(&payload,
		&(struct store_select){ .mailbox = TEXT("INBOX"), .mode = fuzz_octet(in) % 3 });
	send_frame(peer, STORE_SELECT, peer->next_tag++, buf_text(&payload), -1);
	buf_release(&payload);
}

static void send_any_frame(struct peer *peer, struct text *in)
{
	const uint16_t type = fuzz_octet(in) % (STORE_MESSAGES + 2);
	const uint32_t tag = fuzz_octet(in);
	const bool with_fd = fuzz_octet(in) == 255;
	char payload[TEXT_OCTETS];
	size_t length = fuzz_octet(in);

	for (size_t i = 0; i < length; i++)
		payload[i] = (char)fuzz_octet(in);
	int fd = with_fd ? open("/dev/null", O_RDONLY | O_CLOEXEC) : -1;
	send_frame(peer, type, tag, (struct text){ payload, length }, fd);
	if (fd >= 0)
		close(fd);
}

/* ---- the loop ---- */

static void run(unsigned rounds)
{
	while (rounds--)
		event_base_loop(host.loop, EVLOOP_ONCE | EVLOOP_NONBLOCK);
}

static bool owes_reply(const struct peer *peer)
{
	if (!peer->ipc || peer->ended)
		return false;
	if (peer->doomed)
		return true;
	for (size_t i = 0; i < peer->asked_count; i++) {
		if (peer->asked[i].replies)
			return true;
	}
	return false;
}

/* Every request gets its reply or the connection its end, and soon. */
static void settle(struct peer *peer)
{
	const struct timeval tick = { .tv_usec = 20000 };
	struct timespec begin, now;

	clock_gettime(CLOCK_MONOTONIC, &begin);
	while (owes_reply(peer)) {
		event_base_loopexit(host.loop, &tick);
		event_base_loop(host.loop, EVLOOP_ONCE);
		clock_gettime(CLOCK_MONOTONIC, &now);
		if (now.tv_sec - begin.tv_sec > ANSWER_SECONDS && owes_reply(peer))
			violated(peer->doomed ? "a connection goes on that should have ended"
					      : "no reply");
	}
}

static void step(struct text *in)
{
	const uint8_t what = fuzz_octet(in);
	struct peer *peer = &peers[what % PEERS];

	if (!peer->ipc || peer->ended) {
		join(peer, fuzz_octet(in));
		return;
	}
	switch (what / PEERS % 16) {
	case 0:
		leave(peer);
		break;
	case 1:
		join(peer, fuzz_octet(in));
		break;
	case 2:
		settle(peer);
		break;
	case 3:
	case 4:
		run(fuzz_octet(in) % 8);
		break;
	case 5:
		send_any_frame(peer, in);
		break;
	case 6:
	case 7:
		log_in(peer, in);
		break;
	default:
		ask(peer, in);
		break;
	}
}

/* ---- the store ---- */

static void start_store(void)
{
	struct engine_options engine = host_engine_options(&host);
	struct server_options server = host_options();

	engine.quota_messages = 500;
	engine.quota_octets = 4 << 20;
	server.passwords.threads = 1;
	server.connections = 2;
	host_make_directory(&host);
	host_start(&host, &server, &engine);
	host_add_user(&host, "alice@" HOST_DOMAIN);
	host_add_user(&host, "bob@" HOST_DOMAIN);
}

static void stop_store(void)
{
	host_stop(&host);
	host_remove_directory(&host);
}

/* An earlier input may have removed one, closed it, or given a password of its own. */
static void on_restored(void *owner, const struct engine_result *result)
{
	(void)result;
	*(bool *)owner = true;
}

static void restore_user(const char *address)
{
	bool done = false;

	engine_import_end(host.engine, text_of(address), TEXT(""), on_restored, &done);
	if (!host_run_until(&host, &done))
		violated("the engine does not answer");
	const struct engine_user *user = engine_user_find(host.engine, text_of(address));
	done = false;

	if (!user) {
		/* An alias of that name would keep it. */
		engine_alias_remove(host.engine, text_of(address), NULL, 0, on_restored, &done);
		if (!host_run_until(&host, &done))
			violated("the engine does not answer");
		host_add_user(&host, address);
	} else if (strcmp(user->hash, HOST_HASH) != 0) {
		engine_user_password(
			host.engine, user->address, HOST_HASH, host_engine_done, &done);
		if (!host_run_until(&host, &done))
			violated("the engine does not answer");
	}
}

static void add_recipient(const char *user)
{
	store_recipient_pack(&recipients, &(struct store_recipient){
						  .user = text_of(user),
						  .mailbox = TEXT(""),
						  .keywords = TEXT(""),
					  });
}

static void start_once(void)
{
	if (host.loop)
		return;
	log_open("fuzz", LOG_LEVEL_ERROR + 1);
	host.loop = event_base_new();
	add_recipient("alice@" HOST_DOMAIN);
	add_recipient("bob@" HOST_DOMAIN);
	make_aliases();
	for (size_t i = 0; i < STORE_FETCH_LIMIT; i++)
		many_uids[i] = htole32(1);
	start_store();
	atexit(stop_store);
}

static void check_alive(void)
{
	struct peer *peer = &peers[0];
	struct buf payload = { 0 };

	join(peer, 1);
	store_lookup_pack(
		&payload, &(struct store_lookup){ .address = TEXT("alice@example.test") });
	send_frame(peer, STORE_LOOKUP, peer->next_tag++, buf_text(&payload), -1);
	settle(peer);
	if (peer->ended)
		violated("the store takes no connection any more");
	leave(peer);
	buf_release(&payload);
}

/* While it is open, Berkeley DB keeps memory by offsets, which the search for leaks cannot follow. */
const char *__lsan_default_suppressions(void);

const char *__lsan_default_suppressions(void)
{
	return "leak:libdb-5.3\n";
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static unsigned lives;
	struct text in = fuzz_text(data, size);

	start_once();
	if (++lives % LIVES == 0) {
		stop_store();
		start_store();
	}
	restore_user("alice@" HOST_DOMAIN);
	restore_user("bob@" HOST_DOMAIN);
	for (unsigned steps = 0; in.len && steps < STEPS; steps++)
		step(&in);
	for (size_t i = 0; i < PEERS; i++)
		settle(&peers[i]);
	for (size_t i = 0; i < PEERS; i++)
		leave(&peers[i]);
	/* What the engine still does for those who left belongs to this input. */
	while (server_sessions(host.server) > 0 || engine_is_busy(host.engine))
		event_base_loop(host.loop, EVLOOP_ONCE);
	check_alive();
	return 0;
}
