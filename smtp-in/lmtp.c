#include "smtp-in/lmtp.h"

#include "base/mem.h"
#include "smtp-in/lmtp_private.h"

/* RFC 5321 has 512; servers in use say more, and it goes no further than a reply of ours takes it. */
enum { LINE_LIMIT = 2048 };

/* ---- what is sent ---- */

bool lmtp_awaits_reply(const struct lmtp *lmtp)
{
	return (lmtp->mail_sent && !lmtp->mail_answered) || lmtp->awaited ||
	       lmtp->message == LMTP_MESSAGE_SENT;
}

static void send_mail(struct lmtp *lmtp)
{
	const struct lmtp_envelope *envelope = lmtp->envelope;
	struct buf *out = &lmtp->pool->scratch;

	buf_clear(out);
	buf_add_string(out, "MAIL FROM:<");
	buf_add(out, envelope->sender);
	buf_add_char(out, '>');
	if (lmtp->size && envelope->size)
		buf_format(out, " SIZE=%llu", (unsigned long long)envelope->size);
	if (lmtp->eight_bit && envelope->eight_bit)
		buf_add_string(out, " BODY=8BITMIME");
	if (envelope->utf8)
		buf_add_string(out, " SMTPUTF8");
	dsn_add_mail(out, &envelope->dsn);
	if (lmtp->xid) {
		buf_add_string(out, " XID=");
		buf_add(out, envelope->id);
	}
	buf_add_string(out, "\r\n");
	conn_write(lmtp->conn, buf_text(out));
	lmtp->mail_sent = true;
}

static void send_recipient(struct lmtp *lmtp)
{
	struct buf *out = &lmtp->pool->scratch;

	buf_clear(out);
	buf_add_string(out, "RCPT TO:<");
	buf_add(out, lmtp->unsent->address);
	buf_add_char(out, '>');
	dsn_add_recipient(out, &lmtp->unsent->dsn);
	buf_add_string(out, "\r\n");
	conn_write(lmtp->conn, buf_text(out));
	if (lmtp->awaited == 0)
		lmtp->asked = lmtp->unsent;
	lmtp->unsent = lmtp->unsent->next;
	lmtp->awaited++;
}

/* Whether one more command may go out now. */
static bool may_send(const struct lmtp *lmtp)
{
	return lmtp->pipelining || !lmtp_awaits_reply(lmtp);
}

/* Why the next recipient cannot be told to this server. False: it can. */
static bool next_lacks(const struct lmtp *lmtp, struct reply *refusal)
{
	const struct lmtp_envelope *envelope = lmtp->envelope;
	const bool utf8 = envelope->utf8;
	const bool dsn = dsn_is_said_of_message(&envelope->dsn) ||
			 dsn_is_said_of_recipient(&lmtp->unsent->dsn);

	if (utf8 && !lmtp->utf8)
		*refusal = REPLY(550, 5, 6, 7, "Where mail goes from here, SMTPUTF8 is not known");
	else if (dsn && !lmtp->dsn)
		/* It was offered: the server has changed, and the client will find it offered no more. */
		*refusal = REPLY(451, 4, 3, 0,
			"Where mail goes from here, DSN is not known any more, try again");
	else
		return false;
	return true;
}

static bool refuses_next(const struct lmtp *lmtp, struct reply *refusal)
{
	return lmtp->unsent && !lmtp_awaits_reply(lmtp) && next_lacks(lmtp, refusal);
}

/* DATA was asked for, and nobody can have the message. */
static bool has_nobody(const struct lmtp *lmtp)
{
	return lmtp->message == LMTP_MESSAGE_ASKED && !lmtp->unsent && !lmtp->mail_sent;
}

static void advance(struct lmtp *lmtp)
{
	struct reply refusal;

	if (lmtp->state != LMTP_BUSY)
		return;
	while (lmtp->unsent && may_send(lmtp) && !next_lacks(lmtp, &refusal)) {
		/* Before there is a recipient nothing is sent, so nothing need be reset. */
		if (!lmtp->mail_sent)
			send_mail(lmtp);
		if (may_send(lmtp))
			send_recipient(lmtp);
	}
	if (lmtp->message == LMTP_MESSAGE_ASKED && lmtp->mail_sent && !lmtp->unsent &&
		may_send(lmtp) && !lmtp->by_chunks) {
		conn_write(lmtp->conn, TEXT("DATA\r\n"));
		lmtp->message = LMTP_MESSAGE_SENT;
	}
	if (lmtp_awaits_reply(lmtp))
		lmtp_idle_limit(lmtp, lmtp->pool->options.seconds);
	else if (lmtp->message != LMTP_MESSAGE_ENDED)
		lmtp_idle_limit(lmtp, 0);
}

/* Something to tell the owner for which no word of the server's is needed. */
static bool owes_owner(const struct lmtp *lmtp)
{
	struct reply refusal;

	return lmtp->state == LMTP_BUSY &&
	       (refuses_next(lmtp, &refusal) || has_nobody(lmtp) || lmtp_message_is_ready(lmtp));
}

void lmtp_advance_soon(struct lmtp *lmtp)
{
	advance(lmtp);
	if (owes_owner(lmtp))
		conn_again(lmtp->conn);
}

/* In the server's place: every handler may end the transaction. */
static void tell_owner(struct lmtp *lmtp)
{
	struct reply refusal;

	while (!lmtp->dead && owes_owner(lmtp)) {
		if (refuses_next(lmtp, &refusal)) {
			lmtp->unsent = lmtp->unsent->next;
			lmtp->answered = true;
			lmtp->handlers->recipient(lmtp->owner, &refusal);
		} else if (has_nobody(lmtp)) {
			lmtp->message = LMTP_MESSAGE_NONE;
			lmtp->handlers->data(
				lmtp->owner, &REPLY(554, 5, 5, 1, "No valid recipients"));
		} else {
			lmtp_message_begin(lmtp);
		}
		if (!lmtp->dead)
			advance(lmtp);
	}
}

void lmtp_rewind(struct lmtp *lmtp)
{
	lmtp->unsent = lmtp->first;
	lmtp->answered = lmtp->mail_sent = lmtp->mail_answered = false;
	lmtp->refusal.code = 0;
	lmtp->awaited = lmtp->accepted = lmtp->verdicts = lmtp->chunks = 0;
	if (lmtp->message == LMTP_MESSAGE_SENT)
		lmtp->message = LMTP_MESSAGE_ASKED;
}

void lmtp_add_recipient(struct lmtp *lmtp, struct lmtp_recipient *recipient)
{
	recipient->next = NULL;
	if (lmtp->first)
		lmtp->last->next = recipient;
	else
		lmtp->first = recipient;
	lmtp->last = recipient;
	if (!lmtp->unsent)
		lmtp->unsent = recipient;
	lmtp_advance_soon(lmtp);
}

void lmtp_on_drained(void *owner)
{
	struct lmtp *lmtp = owner;

	if (lmtp->handlers && lmtp->message == LMTP_MESSAGE_OPEN)
		lmtp->handlers->drained(lmtp->owner);
}

/* ---- what is answered ---- */

static bool is_verdict(const struct reply *reply)
{
	return reply->code / 100 != 3;
}

static bool is_good(const struct reply *reply)
{
	return reply->code / 100 == 2;
}

static void on_greeting(struct lmtp *lmtp, const struct reply *reply)
{
	struct buf *out = &lmtp->pool->scratch;

	if (reply->code != 220) {
		lmtp_broke(lmtp, "the LMTP server does not greet");
		return;
	}
	buf_clear(out);
	buf_add_string(out, "LHLO ");
	buf_add(out, lmtp->pool->options.hostname);
	buf_add_string(out, "\r\n");
	conn_write(lmtp->conn, buf_text(out));
	lmtp->state = LMTP_HELLO;
}

/* One line of the reply to LHLO: "KEYWORD parameters". */
static void note_extension(struct lmtp *lmtp, struct text line)
{
	struct text keyword;

	if (!line.ptr || !text_split(&line, ' ', &keyword))
		return;
	if (text_equal_nocase(keyword, TEXT("PIPELINING")))
		lmtp->pipelining = true;
	else if (text_equal_nocase(keyword, TEXT("SIZE")))
		lmtp->size = true;
	else if (text_equal_nocase(keyword, TEXT("8BITMIME")))
		lmtp->eight_bit = true;
	else if (text_equal_nocase(keyword, TEXT("SMTPUTF8")))
		lmtp->utf8 = true;
	else if (text_equal_nocase(keyword, TEXT("XID")))
		lmtp->xid = true;
	else if (text_equal_nocase(keyword, TEXT("DSN")))
		lmtp->dsn = true;
	else if (text_equal_nocase(keyword, TEXT("CHUNKING")))
		lmtp->chunking = true;
}

static void on_hello(struct lmtp *lmtp, const struct reply *reply)
{
	if (reply->code != 250) {
		lmtp_broke(lmtp, "the server speaks no LMTP");
		return;
	}
	lmtp->state = LMTP_BUSY;
	lmtp->by_chunks = lmtp_takes_chunks(lmtp);
	lmtp_asked(lmtp);
	if (!lmtp->dead && !lmtp->handlers)
		lmtp_keep(lmtp);
}

static void on_mail(struct lmtp *lmtp, const struct reply *reply)
{
	lmtp->mail_answered = true;
	if (is_good(reply))
		return;
	/* The verdict on every recipient will be this one, and not that no MAIL came before it. */
	buf_clear(&lmtp->refusal_text);
	buf_add(&lmtp->refusal_text, reply->text);
	lmtp->refusal = *reply;
	lmtp->refusal.text = buf_text(&lmtp->refusal_text);
}

static void on_recipient(struct lmtp *lmtp, const struct reply *reply)
{
	const struct lmtp_recipient *recipient = lmtp->asked;

	lmtp->awaited--;
	lmtp->asked = recipient->next;
	if (lmtp->refusal.code)
		reply = &lmtp->refusal;
	lmtp->accepted += is_good(reply);
	lmtp_note_verdict(lmtp, recipient, reply);
	lmtp->handlers->recipient(lmtp->owner, reply);
}

static void on_transaction(struct lmtp *lmtp, const struct reply *reply)
{
	const bool verdict = is_verdict(reply);

	if (lmtp->mail_sent && !lmtp->mail_answered && verdict)
		on_mail(lmtp, reply);
	else if (lmtp->mail_answered && lmtp->awaited && verdict)
		on_recipient(lmtp, reply);
	else if (lmtp->awaited || !lmtp_message_reply(lmtp, reply))
		lmtp_broke(lmtp, "the LMTP server's replies make no sense");
}

static void on_reset(struct lmtp *lmtp, const struct reply *reply)
{
	if (--lmtp->awaited)
		return;
	if (reply->code == 250)
		lmtp_keep(lmtp);
	else
		lmtp_broke(lmtp, "RSET was refused");
}

static void on_reply(struct lmtp *lmtp, const struct reply *reply)
{
	/* Whatever it answers: the server is about to close. */
	if (reply->code == 421) {
		lmtp_broke(lmtp, "the LMTP server says 421");
		return;
	}
	switch (lmtp->state) {
	case LMTP_GREETING:
		on_greeting(lmtp, reply);
		break;
	case LMTP_HELLO:
		on_hello(lmtp, reply);
		break;
	case LMTP_BUSY:
		lmtp->answered = true;
		on_transaction(lmtp, reply);
		break;
	case LMTP_RESETTING:
		on_reset(lmtp, reply);
		break;
	case LMTP_CONNECTING:
	case LMTP_IDLE:
	case LMTP_CLOSING:
		lmtp_broke(lmtp, "the LMTP server speaks unasked");
		break;
	}
}

static void on_line(struct lmtp *lmtp, struct text line)
{
	const bool first = lmtp->reader.lines == 0;
	struct reply reply;
	int complete = reply_read_line(&lmtp->reader, line, &reply);

	if (complete < 0) {
		lmtp_broke(lmtp, "what the LMTP server says is no reply");
		return;
	}
	if (lmtp->state == LMTP_HELLO && !first)
		note_extension(lmtp, reply.text);
	if (complete > 0)
		on_reply(lmtp, &reply);
}

void lmtp_on_input(void *owner)
{
	struct lmtp *lmtp = owner;
	const struct conn *conn = lmtp->conn;

	lmtp->in_input = true;
	while (!lmtp->dead && lmtp->conn == conn) {
		enum wire_fault fault;
		struct text line;
		size_t used;
		int found =
			wire_line(&lmtp->lines, conn_input(conn), LINE_LIMIT, &line, &used, &fault);
		conn_consume(lmtp->conn, used);
		if (found == 0)
			break;
		if (found < 0)
			lmtp_broke(lmtp, wire_fault_text(fault));
		else
			on_line(lmtp, line);
	}
	if (!lmtp->dead && lmtp->conn == conn)
		tell_owner(lmtp);
	lmtp->in_input = false;
	if (lmtp->dead)
		mem_free(lmtp);
	else if (lmtp->conn == conn)
		advance(lmtp);
}
