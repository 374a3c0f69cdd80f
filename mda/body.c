#include "mda/body.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/log.h"
#include "base/sys.h"
#include "mail/header.h"
#include "mail/trace.h"
#include "mda/commit.h"
#include "mda/store_link.h"
#include "mda/verdict.h"

enum {
	FIRST_ROOM = 8192,
	INLINE_LIMIT = STORE_INLINE_LIMIT - 1, /* room for the blank line */
	SCARCE_LIMIT = 16 * 1024,              /* the same when memory is scarce */
	SHARED_LIMIT = 32 << 20,               /* octets that all bodies may hold before it is */
};

struct buf *body_begin(struct body *body, const struct body_options *options)
{
	*body = (struct body){ .options = *options, .fd = -1 };
	body->data.plain = options->chunked;
	/* Room is not memory until it is written to. */
	if (options->size_hint < INLINE_LIMIT)
		buf_room(&body->text, FIRST_ROOM + (size_t)options->size_hint);
	else
		buf_room(&body->text, INLINE_LIMIT + FIRST_ROOM);
	return &body->text;
}

static void count_memory(struct body *body)
{
	const size_t now = buf_length(&body->text);

	*body->options.shared += now - body->counted;
	body->counted = now;
}

static void drop_text(struct body *body)
{
	buf_release(&body->text);
	count_memory(body);
}

static bool is_refused(const struct body *body)
{
	return body->refusal.code != 0;
}

static void give_up_spool(struct body *body)
{
	if (body->fd >= 0)
		close(body->fd);
	body->fd = -1;
	commit_drop_spool(body->options.link, body->spool, body->generation);
	body->spool = 0;
}

/* The rest is read only to find its end. */
static void refuse(struct body *body, struct reply reply)
{
	if (!is_refused(body))
		body->refusal = reply;
	drop_text(body);
	give_up_spool(body);
}

/* With 554: it is the message itself. */
static void refuse_for(struct body *body, const unsigned char enhanced[3], const char *why)
{
	struct reply reply = { .code = 554, .text = text_of(why) };

	memcpy(reply.enhanced, enhanced, sizeof(reply.enhanced));
	refuse(body, reply);
}

/* ---- the head of the message ---- */

/*
 * Whether the text begins with a line that is no field and does not end a header either. An mbox
 * separator before real fields is let be: it is damage that mail programs know, a header in the body is
 * not.
 */
static bool has_no_header(const struct body *body, struct text message)
{
	struct header_field field;

	if (body->options.has_received)
		message = text_from(message, trace_received_length(message));
	if (header_next(&message, &field) != -1)
		return false;
	ptrdiff_t line_end = text_find(message, '\n');
	if (!text_begins(message, TEXT("From ")) || line_end < 0)
		return true;
	message = text_from(message, (size_t)line_end + 1);
	return header_next(&message, &field) != 1;
}

/* Where the client's own text begins, behind the trace fields that this host added. */
static size_t own_text_at(const struct body *body, struct text message)
{
	return body->trace_length +
	       (body->options.has_received ? trace_received_length(message) : 0);
}

static void insert_blank_line(struct buf *text, size_t at)
{
	struct buf whole = { 0 };
	const struct text all = buf_text(text);

	buf_room(&whole, all.len + 1);
	buf_add(&whole, text_head(all, at));
	buf_add_char(&whole, '\n');
	buf_add(&whole, text_from(all, at));
	buf_release(text);
	*text = whole;
}

/* There is one Return-Path, and it is ours (RFC 5321 section 4.4): others' are of earlier deliveries. */
static void drop_return_paths(struct body *body)
{
	const struct text all = buf_text(&body->text);
	const struct text message = text_from(all, body->trace_length);
	const struct text header = text_head(message, header_length(message));
	struct text rest = header;
	struct header_field field;
	struct buf whole = { 0 };
	size_t kept = 0; /* octets of all that are in `whole` or were dropped */

	if (body->options.pulled || header_count(header, TEXT("Return-Path")) == 0)
		return;
	while (header_walk(&rest, &field)) {
		if (!text_equal_nocase(field.name, TEXT("Return-Path")))
			continue;
		const size_t at = (size_t)(field.whole.ptr - all.ptr);
		buf_add(&whole, text_head(text_from(all, kept), at - kept));
		kept = at + field.whole.len;
	}
	buf_add(&whole, text_from(all, kept));
	buf_release(&body->text);
	body->text = whole;
}

/* ---- what the message is ---- */

/*
 * A duplicate is what a reader could not tell apart: Message-ID alone would let whoever knows one suppress
 * a message that is still to come. Trace fields differ with the way it took.
 */
static void begin_digest(struct body *body, struct text message)
{
	static const char *const names[] = { "Message-ID", "From", "Date", "Subject" };
	const size_t length = header_length(message);
	const struct text header = text_head(message, length);
	struct arena *arena = arena_new(1024);
	struct text value;

	if (!header_find(arena, header, TEXT("Message-ID"), &value) || value.len == 0) {
		arena_free(&arena);
		return;
	}
	body->digest = digest_new();
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		value = TEXT("");
		header_find(arena, header, text_of(names[i]), &value);
		digest_add(body->digest, value);
		digest_add(body->digest, TEXT("\n"));
	}
	digest_add(body->digest, text_from(message, length));
	arena_free(&arena);
}

static void end_digest(struct body *body)
{
	if (body->digest && !is_refused(body))
		digest_end(body->digest, body->same);
	digest_free(&body->digest);
}

static struct text message_of(const struct body *body)
{
	return text_from(buf_text(&body->text), body->trace_length);
}

static void part_from_header(struct body *body)
{
	const struct text message = message_of(body);

	if (has_no_header(body, message))
		insert_blank_line(&body->text, own_text_at(body, message));
}

/* Once, when the head is here: before the first octet goes to a spool file, or at the end. */
static void settle_head(struct body *body)
{
	if (body->settled)
		return;
	body->settled = true;
	/* First, or lines of a text without header would be taken for fields; and of what is left of one. */
	part_from_header(body);
	drop_return_paths(body);
	part_from_header(body);
	const struct text message = message_of(body);
	const char *loop = trace_find_loop(text_head(message, header_length(message)),
		body->options.delivered_to, body->options.hops);
	if (loop)
		refuse_for(body, (const unsigned char[]){ 5, 4, 6 }, loop);
	else if (body->options.tell_duplicates)
		begin_digest(body, message);
}

/* ---- the spool file ---- */

static void spool_text(struct body *body)
{
	const bool settled = body->settled;

	settle_head(body);
	if (is_refused(body))
		return;
	if (settled && body->digest)
		digest_add(body->digest, buf_text(&body->text));
	const struct text text = buf_text(&body->text);
	if (sys_write_all(body->fd, text.ptr, text.len) != 0) {
		const bool full = errno == ENOSPC || errno == EDQUOT || errno == EFBIG;
		LOG_ERROR("spool-write-failed", LOG_ERRNO(errno));
		refuse(body, verdict_reply(full ? STORE_NO_SPACE : STORE_DAMAGED));
		return;
	}
	/* What was gathered for a start is much; from here on there is little at a time. */
	if (body->spooled)
		buf_clear(&body->text);
	else
		buf_release(&body->text);
	body->spooled = true;
	count_memory(body);
}

static void on_spool(void *owner, struct store_reply *reply)
{
	struct body *body = owner;

	body->waiting = false;
	if (reply->failure != STORE_OK) {
		refuse(body, verdict_reply(reply->failure));
	} else {
		body->fd = reply->fd;
		reply->fd = -1;
		body->spool = reply->of.spool.spool;
		body->generation = store_link_generation(body->options.link);
		spool_text(body);
	}
	body->options.ready(body->options.owner);
}

static void ask_for_spool(struct body *body)
{
	struct store_client *client = store_link_client(body->options.link);
	const uint64_t hint = body->options.size_hint;

	if (!client) {
		refuse(body, verdict_reply(STORE_AWAY));
		return;
	}
	body->waiting = true;
	store_client_spool(client, &(struct store_spool){ .size_hint = hint }, on_spool, body);
}

/* ---- octets ---- */

static void pass_on(struct body *body)
{
	const size_t limit = *body->options.shared > SHARED_LIMIT ? SCARCE_LIMIT : INLINE_LIMIT;

	if (body->fd >= 0)
		spool_text(body);
	else if (buf_length(&body->text) > limit)
		ask_for_spool(body);
	count_memory(body);
}

static void look_for_faults(struct body *body)
{
	if (body->data.fault != WIRE_OK)
		refuse_for(body, (const unsigned char[]){ 5, 6, 0 },
			wire_fault_text(body->data.fault));
	else if (body->data.size > body->options.limit)
		refuse(body, verdict_reply(STORE_TOO_LARGE));
}

static void take(struct body *body, struct text in, size_t *used)
{
	if (is_refused(body)) {
		body->ended = wire_data_scan(&body->data, in, used);
		return;
	}
	body->ended = wire_data_decode(&body->data, in, used, &body->text, body->options.limit);
	look_for_faults(body);
	if (!is_refused(body))
		pass_on(body);
}

enum body_result body_feed(struct body *body, struct text in, size_t *used)
{
	*used = 0;
	if (!body->begun)
		body->trace_length = buf_length(&body->text);
	body->begun = true;
	if (!body->ended)
		take(body, in, used);
	if (body->waiting)
		return BODY_WAIT;
	return body->ended ? BODY_END : BODY_MORE;
}

/* RFC 3030 lets the last line lack its end; in a file it has one. */
void body_end(struct body *body)
{
	const bool whole = wire_data_end(&body->data);

	body->ended = true;
	if (is_refused(body))
		return;
	look_for_faults(body);
	if (is_refused(body) || whole || body->data.size == 0)
		return;
	buf_add_char(&body->text, '\n');
	if (body->fd >= 0)
		spool_text(body);
}

const struct reply *body_finish(struct body *body)
{
	if (!is_refused(body))
		settle_head(body);
	if (body->fd >= 0) {
		int fd = body->fd;
		body->fd = -1;
		if (close(fd) != 0) {
			LOG_ERROR("spool-close-failed", LOG_ERRNO(errno));
			refuse(body, verdict_reply(STORE_DAMAGED));
		}
	}
	end_digest(body);
	return is_refused(body) ? &body->refusal : NULL;
}

void body_hand_over(struct body *body)
{
	body->spool = 0;
	buf_release(&body->text);
}

void body_release(struct body *body)
{
	struct store_client *client = body->waiting ? store_link_client(body->options.link) : NULL;

	/* Forgotten, its reply makes the client library drop the file. */
	if (client)
		store_client_forget(client, body);
	body->waiting = false;
	digest_free(&body->digest);
	if (body->options.link) {
		drop_text(body);
		give_up_spool(body);
	}
}
