/*
 * The maildrop: UIDL and LIST, RETR of what is not here, DELE of what may go.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/mem.h"
#include "bridge/pop3.h"

enum {
	LISTING_SECONDS = 300,
	LISTING_OCTETS = 96 << 20,
	AHEAD = 32,     /* RETRs under way at once, to a server that allows it */
	SLOWEST = 1024, /* octets a second that a message may come with */
	SLACK = 1 << 20,
	PIECE = 64 << 10,
};

struct message {
	uint64_t size;
	uint32_t number;
	bool has_uidl;
	bool is_shared; /* its UIDL, with others that have none for that */
	bool may_go;    /* when these are here, too */
	struct once_uidl uidl;
};

struct drop {
	struct pop3 *pop3;
	struct message *messages;
	size_t count;

	/* The chunk at hand. */
	struct message *chunk;
	size_t length;
	struct once_key keys[SESSION_CHUNK];
	int64_t when[SESSION_CHUNK];
	bool stored[SESSION_CHUNK];   /* is here now */
	size_t wanted[SESSION_CHUNK]; /* indexes in the chunk of what is not here */
	size_t wanted_count;
	uint64_t staying;                 /* messages that are not here and stay there */
	uint64_t missing, missing_octets; /* for a test */
};

/* ---- UIDL and LIST ---- */

static int take_listing(
	struct drop *drop, int (*take)(struct drop *drop, uint32_t number, struct text rest))
{
	struct pop3 *pop3 = drop->pop3;
	struct text line, rest;
	uint32_t number;

	for (size_t lines = 0; lines <= SESSION_MESSAGES_MOST; lines++) {
		if (pop3_line(pop3, &line) != 0)
			return -1;
		if (text_equal(line, TEXT(".")))
			return 0;
		if (pop3_numbered(line, &number, &rest) != 0 || take(drop, number, rest) != 0)
			return fault_set(&pop3->session->fault, FAULT_SERVER,
				"the server's listing makes no sense: %s",
				fault_quote(pop3->line).string);
	}
	return fault_set(&pop3->session->fault, FAULT_SERVER,
		"the server lists more messages than are pulled (%d)", SESSION_MESSAGES_MOST);
}

/* A quarter of what this process may have: the rest is for what is done with them. */
static int make_room(struct drop *drop)
{
	struct session *session = drop->pop3->session;
	const size_t size = (drop->count * 2 + 2) * sizeof(*drop->messages);

	if (drop->count & (drop->count + 1))
		return 0;
	if (size > session->options.settings->memory / 4)
		return fault_set(&session->fault, FAULT_SERVER,
			"the server lists more messages (%zu) than there is memory for",
			drop->count);
	drop->messages = mem_resize(drop->messages, size);
	return 0;
}

/* Ascending numbers: a server that jumps about is not believed. */
static int take_size(struct drop *drop, uint32_t number, struct text rest)
{
	uint64_t size;
	struct text word;

	text_split(&rest, ' ', &word);
	if (text_to_number(word, INT64_MAX, &size) != 0 ||
		(drop->count && drop->messages[drop->count - 1].number >= number))
		return -1;
	if (make_room(drop) != 0)
		return -1;
	drop->messages[drop->count++] = (struct message){ .number = number, .size = size };
	return 0;
}

static struct message *find_message(struct drop *drop, uint32_t number)
{
	size_t low = 0, high = drop->count;

	while (low < high) {
		const size_t middle = low + (high - low) / 2;
		if (drop->messages[middle].number == number)
			return &drop->messages[middle];
		if (drop->messages[middle].number < number)
			low = middle + 1;
		else
			high = middle;
	}
	return NULL;
}

static int take_uidl(struct drop *drop, uint32_t number, struct text rest)
{
	struct message *message = find_message(drop, number);

	if (!pop3_is_uidl(rest) || !message || message->has_uidl)
		return -1;
	message->uidl = once_pop3(drop->pop3->session->options.account, rest);
	message->has_uidl = true;
	return 0;
}

static int by_uidl(const void *a, const void *b)
{
	const struct message *const *x = a, *const *y = b;
	const int order = memcmp(&(*x)->uidl, &(*y)->uidl, sizeof((*x)->uidl));

	return order ? order : ((*x)->number > (*y)->number) - ((*x)->number < (*y)->number);
}

/*
 * Messages of the same UIDL should be copies (RFC 1939 section 7), but nobody sees to it, and one of them
 * would be taken for the other and deleted there: all but the first are told apart by what they say. And the
 * first one stays as long as anything does: alone, another one would have the UIDL of a message that is here.
 */
static void part_twins(struct drop *drop)
{
	struct message **sorted = mem_array(drop->count, sizeof(struct message *));
	size_t twins = 0, first = 0;

	for (size_t i = 0; i < drop->count; i++)
		sorted[i] = &drop->messages[i];
	qsort(sorted, drop->count, sizeof(struct message *), by_uidl);
	for (size_t i = 1; i < drop->count; i++) {
		const bool same =
			sorted[i]->has_uidl && memcmp(&sorted[i - 1]->uidl, &sorted[i]->uidl,
						       sizeof(sorted[i]->uidl)) == 0;
		if (same) {
			sorted[i]->has_uidl = false;
			sorted[first]->is_shared = true;
		} else {
			first = i;
		}
		twins += same;
	}
	mem_free(sorted);
	if (twins)
		session_notice(drop->pop3->session, REPORT_NOTICE_NO_UIDL,
			"the server gives several messages the same UIDL: %zu are fetched and told "
			"apart by what they say, every time",
			twins);
}

static int list(struct drop *drop)
{
	struct pop3 *pop3 = drop->pop3;

	if (pop3_command(pop3, "the messages are not listed", "LIST") != 0)
		return -1;
	pop3_expect(pop3, LISTING_SECONDS, LISTING_OCTETS);
	if (take_listing(drop, take_size) != 0)
		return -1;
	pop3_expect(pop3, POP3_COMMAND_SECONDS, POP3_REPLY_OCTETS);
	if (pop3_send(pop3, "UIDL") != 0 || pop3_flush(pop3) != 0)
		return -1;
	const int status = pop3_reply(pop3);
	if (status < 0)
		return -1;
	/* For this once, it is no reason to take all that is here for something else. */
	if (status == 0 && (pop3->capabilities & POP3_UIDL || text_begins(pop3->said, TEXT("["))))
		return pop3_refused(pop3, FAULT_SERVER, "the messages' UIDLs are not told");
	if (status == 0) {
		session_notice(pop3->session, REPORT_NOTICE_NO_UIDL,
			"the server has no UIDL: each message is fetched and told apart by what "
			"it says, every time");
		return 0;
	}
	pop3_expect(pop3, LISTING_SECONDS, LISTING_OCTETS);
	if (take_listing(drop, take_uidl) != 0)
		return -1;
	part_twins(drop);
	return 0;
}

/* ---- a message ---- */

static void expect_message(struct drop *drop, const struct message *message)
{
	pop3_expect(drop->pop3, (unsigned)(POP3_COMMAND_SECONDS + message->size / SLOWEST),
		message->size + message->size / 8 + SLACK);
}

/*
 * The octets of an answer to RETR, piece by piece, to `each`, which does what it does with faults of its
 * own. 0, or -1 with a fault.
 */
static int take_message(
	struct drop *drop, void (*each)(void *owner, struct text octets), void *owner)
{
	struct pop3 *pop3 = drop->pop3;
	struct pop3_body body = { 0 };
	struct buf piece = { 0 };
	bool ended = false;
	int result = 0;

	while (!ended && result == 0) {
		size_t used;
		if (pop3_input(pop3).len == 0)
			result = pop3_fill(pop3);
		if (result != 0)
			break;
		ended = pop3_body_take(&body, pop3_input(pop3), &used, &piece);
		pop3_used(pop3, used);
		if (ended || buf_length(&piece) >= PIECE) {
			each(owner, buf_text(&piece));
			buf_clear(&piece);
		}
	}
	buf_release(&piece);
	return result == 0 ? session_check(pop3->session) : -1;
}

/* A message on its way into this host: begun with its first piece, where Return-Path is. */
struct giving {
	struct session *session;
	struct lmtp_message envelope;
	bool begun, refused;
};

static void give_piece(void *owner, struct text octets)
{
	struct giving *giving = owner;
	struct lmtp *lmtp = giving->session->lmtp;

	/* A server that has lost a message may give an empty one. */
	if ((octets.len == 0 && giving->envelope.size) || giving->refused ||
		session_check(giving->session) != 0)
		return;
	if (!giving->begun) {
		giving->envelope.sender = session_sender(text_head(octets, SESSION_HEAD));
		giving->begun = lmtp_begin(lmtp, &giving->envelope) > 0;
		giving->refused = !giving->begun;
	}
	if (giving->begun)
		lmtp_add(lmtp, octets);
}

static int note_not_given(struct drop *drop, size_t index, const char *why)
{
	struct session *session = drop->pop3->session;

	session_stays(
		session, "the server does not give message %u: %s", drop->chunk[index].number, why);
	drop->staying++;
	session->report.done++;
	return 0;
}

/* The answer to a RETR that was sent. */
static int give_message(struct drop *drop, size_t index)
{
	const struct message *message = &drop->chunk[index];
	struct session *session = drop->pop3->session;
	struct giving giving = { .session = session,
		.envelope = { .key = drop->keys[index],
			.sender = TEXT(""),
			.size = message->size,
			.cookie = index } };

	expect_message(drop, message);
	const int status = pop3_reply(drop->pop3);
	if (status < 0)
		return -1;
	if (status != 1)
		return note_not_given(drop, index, fault_quote(drop->pop3->line).string);
	const int result = take_message(drop, give_piece, &giving);
	if (result == 0 && !giving.begun && !giving.refused)
		return note_not_given(drop, index, "an empty answer");
	if (giving.begun && result == 0)
		lmtp_end(session->lmtp);
	else if (giving.begun)
		lmtp_abandon(session->lmtp);
	session_progress(session);
	return session_check(session);
}

static int ask(struct drop *drop, size_t index)
{
	return pop3_send(drop->pop3, "RETR %u", drop->chunk[index].number);
}

/* Those that are wanted, the next ones asked for while one comes. */
static int give_wanted(struct drop *drop)
{
	const size_t ahead = drop->pop3->capabilities & POP3_PIPELINING ? AHEAD : 1;
	size_t asked = 0;

	for (size_t i = 0; i < drop->wanted_count; i++) {
		/* In groups: a segment for each would cost more than the waiting. */
		if (asked == i) {
			while (asked < drop->wanted_count && asked < i + ahead) {
				if (ask(drop, drop->wanted[asked++]) != 0)
					return -1;
			}
			if (pop3_flush(drop->pop3) != 0)
				return -1;
		}
		if (give_message(drop, drop->wanted[i]) != 0)
			return -1;
	}
	return 0;
}

/* ---- without UIDL ---- */

static void digest_piece(void *owner, struct text octets)
{
	once_content_add(owner, octets);
}

/* Fetched for its digest alone: what is to be given has to have its key before. */
static int digest_message(struct drop *drop, size_t index)
{
	struct session *session = drop->pop3->session;
	struct once_digest *digest = once_content_new(session->options.account);

	expect_message(drop, &drop->chunk[index]);
	int result =
		ask(drop, index) == 0 && pop3_flush(drop->pop3) == 0 ? pop3_reply(drop->pop3) : -1;
	if (result == 0)
		result = pop3_refused(drop->pop3, FAULT_SERVER, "a message is not given");
	else if (result == 1)
		result = take_message(drop, digest_piece, digest);
	drop->keys[index] = once_content_end(&digest);
	return result;
}

/* ---- a chunk ---- */

static int make_keys(struct drop *drop)
{
	for (size_t i = 0; i < drop->length; i++) {
		const struct message *message = &drop->chunk[i];
		if (message->has_uidl)
			drop->keys[i] = once_of_uidl(&message->uidl);
		else if (digest_message(drop, i) != 0)
			return -1;
	}
	return 0;
}

static void on_settled(void *owner, uint64_t cookie, bool stored)
{
	struct drop *drop = owner;

	if (cookie >= drop->length)
		return;
	drop->stored[cookie] = stored;
	if (stored)
		return;
	drop->staying++;
	session_refused(drop->pop3->session, &drop->keys[cookie]);
}

static void choose(struct drop *drop)
{
	struct session *session = drop->pop3->session;
	const bool tests = session->options.purpose == SESSION_TEST;

	drop->wanted_count = 0;
	for (size_t i = 0; i < drop->length; i++) {
		drop->stored[i] = drop->when[i] >= 0;
		if (drop->stored[i]) {
			session->report.known++;
			session->report.done++;
		} else if (tests) {
			drop->missing++;
			drop->missing_octets += drop->chunk[i].size;
		} else if (session_too_large(session, drop->chunk[i].size) ||
			   session_was_refused(session, &drop->keys[i])) {
			drop->staying++;
		} else {
			drop->wanted[drop->wanted_count++] = i;
		}
	}
}

static bool may_go(const struct drop *drop, size_t index)
{
	const struct bridge_account *account = drop->pop3->session->options.account;

	if (!drop->stored[index])
		return false;
	if (!account->keep)
		return true;
	/* How old it is, is how long it has been here: POP3 tells no dates. */
	return account->delete_after && drop->when[index] >= 0 &&
	       drop->when[index] + (int64_t)account->delete_after < (int64_t)time(NULL);
}

static int delete_these(struct pop3 *pop3, const uint32_t *numbers, size_t count)
{
	const size_t ahead = pop3->capabilities & POP3_PIPELINING ? AHEAD : 1;
	size_t under_way = 0;

	for (size_t i = 0; i < count; i++) {
		if (pop3_send(pop3, "DELE %u", numbers[i]) != 0)
			return -1;
		if (++under_way < ahead && i + 1 < count)
			continue;
		pop3_expect(pop3, POP3_COMMAND_SECONDS, POP3_REPLY_OCTETS);
		if (pop3_flush(pop3) != 0)
			return -1;
		for (; under_way; under_way--) {
			const int status = pop3_reply(pop3);
			if (status < 0)
				return -1;
			pop3->session->report.deleted += status == 1;
		}
	}
	return 0;
}

static int delete_some(struct drop *drop)
{
	uint32_t numbers[SESSION_CHUNK];
	size_t count = 0;

	for (size_t i = 0; i < drop->length; i++) {
		if (!may_go(drop, i))
			continue;
		if (drop->chunk[i].is_shared)
			drop->chunk[i].may_go = true;
		else
			numbers[count++] = drop->chunk[i].number;
	}
	return delete_these(drop->pop3, numbers, count);
}

static int delete_shared(struct drop *drop)
{
	for (size_t i = 0; i < drop->count && drop->staying == 0; i++) {
		const struct message *message = &drop->messages[i];
		if (message->may_go && delete_these(drop->pop3, &message->number, 1) != 0)
			return -1;
	}
	return 0;
}

static int pull_chunk(struct drop *drop)
{
	struct session *session = drop->pop3->session;

	if (make_keys(drop) != 0 ||
		session_known(session, drop->keys, drop->length, drop->when) != 0)
		return -1;
	choose(drop);
	if (session->options.purpose == SESSION_TEST)
		return 0;
	session->settled = on_settled;
	session->settled_owner = drop;
	int result = give_wanted(drop);
	if (lmtp_settle(session->lmtp) != 0 && result == 0)
		result = session_check(session);
	session->settled = NULL;
	if (result == 0)
		result = session_check(session);
	return result == 0 ? delete_some(drop) : -1;
}

int pop3_pull(struct pop3 *pop3)
{
	struct drop *drop = mem_new(sizeof(*drop));
	struct session *session = pop3->session;

	drop->pop3 = pop3;
	memcpy(session->folder, "INBOX", sizeof("INBOX"));
	int result = list(drop);
	session->report.total = drop->count;
	for (size_t i = 0; i < drop->count && result == 0; i += SESSION_CHUNK) {
		drop->chunk = drop->messages + i;
		drop->length = drop->count - i < SESSION_CHUNK ? drop->count - i : SESSION_CHUNK;
		result = pull_chunk(drop);
		session_progress(session);
	}
	if (result == 0)
		result = delete_shared(drop);
	if (result == 0)
		session_say_staying(session, drop->staying);
	if (result == 0 && session->options.purpose == SESSION_TEST)
		session_tell(session,
			"%zu messages, of which %" PRIu64 " (%" PRIu64
			" octets) are not here yet; they would go to INBOX",
			drop->count, drop->missing, drop->missing_octets);
	mem_free(drop->messages);
	mem_free(drop);
	return result;
}
