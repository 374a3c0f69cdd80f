#include "smtp-in/lmtp_private.h"

enum { CHUNK_LEAST = 4096 }; /* octets of all chunks but the last */

static bool is_good(const struct reply *reply)
{
	return reply->code / 100 == 2;
}

/* ---- its beginning ---- */

/*
 * Chunks save a server that takes DATA's 354 back and forth, and a message that is given up does not cost the
 * connection.
 */
bool lmtp_takes_chunks(const struct lmtp *lmtp)
{
	return lmtp->chunking && (lmtp->pipelining || lmtp->body == LMTP_BODY_PLAIN);
}

void lmtp_start_message(struct lmtp *lmtp, enum lmtp_body body)
{
	lmtp->message = LMTP_MESSAGE_ASKED;
	lmtp->body = body;
	lmtp->by_chunks = lmtp_takes_chunks(lmtp);
	lmtp->encode = (struct wire_encode){ 0 };
	lmtp->unstuff = (struct wire_unstuff){ 0 };
	buf_release(&lmtp->small);
	lmtp_advance_soon(lmtp);
}

bool lmtp_message_is_ready(const struct lmtp *lmtp)
{
	return lmtp->message == LMTP_MESSAGE_ASKED && lmtp->by_chunks && lmtp->mail_sent &&
	       !lmtp->unsent && !lmtp_awaits_reply(lmtp);
}

void lmtp_message_begin(struct lmtp *lmtp)
{
	lmtp->message = LMTP_MESSAGE_OPEN;
	lmtp->handlers->data(lmtp->owner, &REPLY(354, 0, 0, 0, ""));
}

/* ---- its octets ---- */

static size_t length_of(const struct text *pieces, size_t count)
{
	size_t length = 0;

	for (size_t i = 0; i < count; i++)
		length += pieces[i].len;
	return length;
}

static void add_as_it_is(struct lmtp *lmtp, const struct text *pieces, size_t count)
{
	for (size_t i = 0; i < count; i++)
		conn_write(lmtp->conn, pieces[i]);
}

/* However small a client's chunks are: a server has not to answer each. */
static void add_chunk(struct lmtp *lmtp, const struct text *pieces, size_t count, bool last)
{
	const size_t length = buf_length(&lmtp->small) + length_of(pieces, count);

	if (length < CHUNK_LEAST && !last) {
		for (size_t i = 0; i < count; i++)
			buf_add(&lmtp->small, pieces[i]);
		return;
	}
	conn_printf(lmtp->conn, "BDAT %zu%s\r\n", length, last ? " LAST" : "");
	conn_write(lmtp->conn, buf_text(&lmtp->small));
	add_as_it_is(lmtp, pieces, count);
	buf_release(&lmtp->small);
	lmtp->chunks += !last;
}

static void add_unstuffed(struct lmtp *lmtp, const struct text *pieces, size_t count, bool last)
{
	struct buf *plain = &lmtp->pool->scratch;

	buf_clear(plain);
	for (size_t i = 0; i < count; i++) {
		char *to = buf_room(plain, pieces[i].len);
		buf_commit(plain, wire_unstuff(&lmtp->unstuff, pieces[i], to));
	}
	const struct text whole = buf_text(plain);
	add_chunk(lmtp, &whole, 1, last);
}

static void add_stuffed(struct lmtp *lmtp, const struct text *pieces, size_t count, bool last)
{
	for (size_t i = 0; i < count; i++) {
		char *to = conn_room(lmtp->conn, wire_encode_bound(pieces[i].len));
		conn_commit(lmtp->conn, wire_encode(&lmtp->encode, pieces[i], to));
	}
	if (last) {
		char end[5];
		const size_t length = wire_encode_end(&lmtp->encode, end);
		conn_write(lmtp->conn, (struct text){ .ptr = end, .len = length });
	}
}

void lmtp_add_message(struct lmtp *lmtp, const struct text *pieces, size_t count, bool last)
{
	if (lmtp->by_chunks && lmtp->body == LMTP_BODY_STUFFED)
		add_unstuffed(lmtp, pieces, count, last);
	else if (lmtp->body == LMTP_BODY_STUFFED)
		add_as_it_is(lmtp, pieces, count);
	else if (lmtp->by_chunks)
		add_chunk(lmtp, pieces, count, last);
	else
		add_stuffed(lmtp, pieces, count, last);
	if (!last)
		return;
	lmtp->message = LMTP_MESSAGE_ENDED;
	lmtp->verdicts = lmtp->accepted;
	lmtp_idle_limit(lmtp, lmtp->pool->options.end_seconds);
}

bool lmtp_is_full(const struct lmtp *lmtp)
{
	return conn_output_full(lmtp->conn);
}

/* ---- what is answered ---- */

static void on_data(struct lmtp *lmtp, const struct reply *reply)
{
	lmtp->message = reply->code == 354 ? LMTP_MESSAGE_OPEN : LMTP_MESSAGE_NONE;
	lmtp->handlers->data(lmtp->owner, reply);
}

static void on_chunk(struct lmtp *lmtp, const struct reply *reply)
{
	lmtp->chunks--;
	if (!is_good(reply))
		lmtp->handlers->refused(lmtp->owner, reply);
}

static void on_delivered(struct lmtp *lmtp, const struct reply *reply)
{
	lmtp->verdicts--;
	lmtp->handlers->delivered(lmtp->owner, reply);
}

bool lmtp_message_reply(struct lmtp *lmtp, const struct reply *reply)
{
	const bool verdict = reply->code / 100 != 3;

	if (lmtp->message == LMTP_MESSAGE_SENT && (reply->code == 354 || reply->code >= 400))
		on_data(lmtp, reply);
	else if (lmtp->message >= LMTP_MESSAGE_OPEN && lmtp->chunks && verdict)
		on_chunk(lmtp, reply);
	else if (lmtp->message == LMTP_MESSAGE_ENDED && lmtp->verdicts && verdict)
		on_delivered(lmtp, reply);
	else
		return false;
	return true;
}
