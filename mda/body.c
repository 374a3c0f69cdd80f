#include "mda/body.h"

#include <errno.h>
#include <unistd.h>

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
};

struct buf *body_begin(struct body *body, const struct body_options *options)
{
	*body = (struct body){ .options = *options, .fd = -1 };
	if (options->size_hint)
		buf_room(&body->text, options->size_hint < INLINE_LIMIT
					      ? options->size_hint + 1024
					      : INLINE_LIMIT + FIRST_ROOM);
	else
		buf_room(&body->text, FIRST_ROOM);
	return &body->text;
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
	buf_release(&body->text);
	give_up_spool(body);
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
		header_next(&message, &field);
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
	struct header_field field;
	struct text rest = message;

	if (body->options.has_received)
		header_next(&rest, &field);
	return body->trace_length + (message.len - rest.len);
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

/* Once, when the head is here: before the first octet goes to a spool file, or at the end. */
static void settle_head(struct body *body)
{
	const struct text message = text_from(buf_text(&body->text), body->trace_length);

	if (body->settled)
		return;
	body->settled = true;
	const char *loop = trace_find_loop(text_head(message, header_length(message)),
		body->options.delivered_to, body->options.hops);
	if (loop) {
		refuse(body, (struct reply){
				     .code = 554, .enhanced = { 5, 4, 6 }, .text = text_of(loop) });
		return;
	}
	if (has_no_header(body, message))
		insert_blank_line(&body->text, own_text_at(body, message));
}

/* ---- the spool file ---- */

static void spool_text(struct body *body)
{
	settle_head(body);
	if (is_refused(body))
		return;
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
	if (body->fd >= 0)
		spool_text(body);
	else if (buf_length(&body->text) > INLINE_LIMIT)
		ask_for_spool(body);
}

static void look_for_faults(struct body *body)
{
	if (body->data.fault != WIRE_OK)
		refuse(body, (struct reply){ .code = 554,
				     .enhanced = { 5, 6, 0 },
				     .text = text_of(wire_fault_text(body->data.fault)) });
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
	buf_release(&body->text);
	if (body->options.link)
		give_up_spool(body);
}
