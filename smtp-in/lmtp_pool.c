#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "smtp-in/lmtp_private.h"

enum {
	CONNECT_SECONDS = 10,
	GREETING_SECONDS = 30, /* from a server at our side, not across the internet */
	KEEP_LIMIT = 100,  /* idle at once: what one worker keeps, the server has not for others */
	KEEP_SECONDS = 60, /* idle; servers close after five minutes */
	AWAY_SECONDS = 10,
	FULL_TRIES = 100,       /* the server's queue of connections is full: so often ... */
	FULL_MILLISECONDS = 20, /* ... at this distance */
	INPUT_LIMIT = 8 * 1024,
	OUTPUT_HIGH = 128 * 1024,
	OUTPUT_LOW = 32 * 1024,
};

static int64_t now_seconds(void)
{
	return clock_coarse_milliseconds() / 1000;
}

/* ---- the pool ---- */

static bool is_same_server(const struct smtp_in_hand_over *a, const struct smtp_in_hand_over *b)
{
	return a->size == b->size && memcmp(&a->address, &b->address, a->size) == 0;
}

static void take_options(struct lmtp_pool *pool, const struct lmtp_options *options)
{
	pool->options = *options;
	pool->options.hostname.ptr = mem_copy(options->hostname.ptr, options->hostname.len);
	pool->limits = (struct conn_limits){ .input = INPUT_LIMIT,
		.output_high = OUTPUT_HIGH,
		.output_low = OUTPUT_LOW,
		.idle_seconds = GREETING_SECONDS,
		.send_seconds = options->seconds };
}

struct lmtp_pool *lmtp_pool_new(struct event_base *loop, const struct lmtp_options *options)
{
	struct lmtp_pool *pool = mem_new(sizeof(*pool));

	pool->loop = loop;
	take_options(pool, options);
	LIST_INIT(&pool->open);
	LIST_INIT(&pool->idle);
	return pool;
}

static void leave_idle(struct lmtp *lmtp)
{
	LIST_REMOVE(lmtp, in_idle);
	lmtp->pool->counts.idle--;
}

static void close_lmtp(struct lmtp *lmtp)
{
	if (lmtp->dead)
		return;
	if (lmtp->state == LMTP_CONNECTING) {
		event_del(&lmtp->waiting);
		if (lmtp->fd >= 0)
			close(lmtp->fd);
	}
	if (lmtp->state == LMTP_IDLE)
		leave_idle(lmtp);
	if (lmtp->pool->asking == lmtp)
		lmtp->pool->asking = NULL;
	if (lmtp->conn)
		conn_free(&lmtp->conn);
	LIST_REMOVE(lmtp, in_open);
	lmtp->pool->counts.open--;
	buf_release(&lmtp->refusal_text);
	buf_release(&lmtp->small);
	lmtp->dead = true;
	if (!lmtp->in_input)
		mem_free(lmtp);
}

static void quit(struct lmtp *lmtp)
{
	leave_idle(lmtp);
	lmtp->state = LMTP_CLOSING;
	conn_write(lmtp->conn, TEXT("QUIT\r\n"));
	conn_finish(lmtp->conn);
}

void lmtp_pool_drain(struct lmtp_pool *pool)
{
	while (!LIST_EMPTY(&pool->idle))
		quit(LIST_FIRST(&pool->idle));
}

void lmtp_pool_change(struct lmtp_pool *pool, const struct lmtp_options *options)
{
	const char *before = pool->options.hostname.ptr;

	const bool same = is_same_server(&pool->options.server, &options->server);
	accepted_release(&pool->accepted);
	if (!same) {
		lmtp_pool_drain(pool);
		pool->away_until = 0;
		pool->known = false;
	}
	take_options(pool, options);
	mem_free((void *)before);
	if (!same)
		lmtp_pool_ask(pool);
}

void lmtp_pool_free(struct lmtp_pool **pool)
{
	if (!*pool)
		return;
	while (!LIST_EMPTY(&(*pool)->open))
		close_lmtp(LIST_FIRST(&(*pool)->open));
	accepted_release(&(*pool)->accepted);
	buf_release(&(*pool)->scratch);
	mem_free((void *)(*pool)->options.hostname.ptr);
	mem_free(*pool);
	*pool = NULL;
}

void lmtp_pool_count(const struct lmtp_pool *pool, struct lmtp_counts *counts)
{
	*counts = pool->counts;
}

/* ---- connecting ---- */

static void on_ended(void *owner, enum conn_end end, const char *detail)
{
	struct lmtp *lmtp = owner;

	if (end == CONN_END_TIMEOUT && lmtp->state < LMTP_BUSY)
		lmtp->pool->away_until = now_seconds() + AWAY_SECONDS;
	if (end == CONN_END_PEER)
		detail = "the LMTP server closed the connection";
	lmtp_broke(lmtp, detail);
}

static const struct conn_handlers conn_handlers = {
	.input = lmtp_on_input,
	.drained = lmtp_on_drained,
	.ended = on_ended,
};

static void connected(struct lmtp *lmtp)
{
	lmtp->state = LMTP_GREETING;
	lmtp->idle_seconds = GREETING_SECONDS;
	lmtp->lines = (struct wire_lines){ 0 };
	lmtp->reader = (struct reply_reader){ 0 };
	lmtp->pipelining = lmtp->size = lmtp->eight_bit = lmtp->utf8 = lmtp->xid = false;
	lmtp->dsn = lmtp->chunking = false;
	lmtp->conn =
		conn_new(lmtp->pool->loop, lmtp->fd, &conn_handlers, &lmtp->pool->limits, lmtp);
	lmtp->fd = -1;
	lmtp->pool->counts.connections++;
}

static void on_waited(evutil_socket_t fd, short what, void *arg);

static void wait_for(struct lmtp *lmtp, short what, const struct timeval *time)
{
	event_assign(&lmtp->waiting, lmtp->pool->loop, what ? lmtp->fd : -1, what, on_waited, lmtp);
	event_add(&lmtp->waiting, time);
}

static int try_connect(struct lmtp *lmtp, const char **reason)
{
	const struct smtp_in_hand_over *to = &lmtp->server;

	if (connect(lmtp->fd, &to->address.any, to->size) == 0) {
		connected(lmtp);
		return 0;
	}
	if (errno == EINPROGRESS) {
		wait_for(lmtp, EV_WRITE, &(struct timeval){ .tv_sec = CONNECT_SECONDS });
		return 0;
	}
	if (errno == EAGAIN && lmtp->tries++ < FULL_TRIES) {
		wait_for(lmtp, 0, &(struct timeval){ .tv_usec = FULL_MILLISECONDS * 1000 });
		return 0;
	}
	*reason = log_errno(errno);
	return -1;
}

/* Begin to connect. 0, or -1 with a reason. */
static int dial(struct lmtp *lmtp, const char **reason)
{
	const int family = lmtp->server.address.any.sa_family;

	lmtp->state = LMTP_CONNECTING;
	lmtp->tries = 0;
	event_assign(&lmtp->waiting, lmtp->pool->loop, -1, 0, on_waited, lmtp);
	lmtp->fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (lmtp->fd < 0) {
		*reason = log_errno(errno);
		return -1;
	}
	return try_connect(lmtp, reason);
}

static void on_waited(evutil_socket_t fd, short what, void *arg)
{
	struct lmtp *lmtp = arg;
	const char *reason = "";
	int error = 0;
	socklen_t size = sizeof(error);

	if (fd < 0) {
		if (try_connect(lmtp, &reason) != 0)
			lmtp_broke(lmtp, reason);
		return;
	}
	if (what & EV_TIMEOUT)
		error = ETIMEDOUT;
	else if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) != 0)
		error = errno;
	if (error == 0) {
		connected(lmtp);
		return;
	}
	if (error == ETIMEDOUT)
		lmtp->pool->away_until = now_seconds() + AWAY_SECONDS;
	lmtp_broke(lmtp, log_errno(error));
}

/* ---- a transaction's connection ---- */

static bool may_open(const struct lmtp_pool *pool)
{
	return pool->counts.open < pool->options.connections;
}

bool lmtp_pool_is_full(const struct lmtp_pool *pool)
{
	return LIST_EMPTY(&pool->idle) && !may_open(pool);
}

static struct lmtp *open_lmtp(struct lmtp_pool *pool, const char **reason)
{
	if (!may_open(pool)) {
		*reason = "too many connections to the LMTP server";
		return NULL;
	}
	if (now_seconds() < pool->away_until) {
		*reason = "the LMTP server did not answer";
		return NULL;
	}
	struct lmtp *lmtp = mem_new(sizeof(*lmtp));
	lmtp->pool = pool;
	lmtp->server = pool->options.server;
	LIST_INSERT_HEAD(&pool->open, lmtp, in_open);
	pool->counts.open++;
	if (dial(lmtp, reason) == 0)
		return lmtp;
	accepted_release(&pool->accepted);
	close_lmtp(lmtp);
	return NULL;
}

/* One that is ready, or the one made ahead, which will be. */
static struct lmtp *take_made(struct lmtp_pool *pool)
{
	struct lmtp *lmtp = LIST_FIRST(&pool->idle);

	if (lmtp) {
		leave_idle(lmtp);
		pool->counts.reuses++;
		lmtp->kept = true;
		lmtp->state = LMTP_BUSY;
		return lmtp;
	}
	lmtp = pool->asking;
	return lmtp && !lmtp->handlers ? lmtp : NULL;
}

struct lmtp *lmtp_begin(struct lmtp_pool *pool, const struct lmtp_envelope *envelope,
	const struct lmtp_handlers *handlers, void *owner, const char **reason)
{
	struct lmtp *lmtp = take_made(pool);

	if (!lmtp)
		lmtp = open_lmtp(pool, reason);
	if (!lmtp) {
		pool->counts.failures++;
		return NULL;
	}
	lmtp->envelope = envelope;
	lmtp->handlers = handlers;
	lmtp->owner = owner;
	lmtp->first = lmtp->last = NULL;
	lmtp->message = LMTP_MESSAGE_NONE;
	lmtp->by_chunks = false;
	lmtp_rewind(lmtp);
	return lmtp;
}

/* ---- what the server offers ---- */

void lmtp_pool_ask(struct lmtp_pool *pool)
{
	const char *reason;

	if (!pool->known && !pool->asking)
		pool->asking = open_lmtp(pool, &reason);
}

bool lmtp_pool_is_asking(const struct lmtp_pool *pool)
{
	return pool->asking;
}

bool lmtp_pool_offers_dsn(const struct lmtp_pool *pool)
{
	return pool->known && pool->dsn;
}

void lmtp_asked(struct lmtp *lmtp)
{
	struct lmtp_pool *pool = lmtp->pool;

	if (lmtp->state == LMTP_BUSY && is_same_server(&lmtp->server, &pool->options.server)) {
		pool->known = true;
		pool->dsn = lmtp->dsn;
	}
	if (pool->asking != lmtp)
		return;
	pool->asking = NULL;
	if (pool->options.asked)
		pool->options.asked(pool->options.owner);
}

/* ---- what the server has accepted ---- */

/*
 * All that is told of a recipient and its message but the size and our id, in the scratch buffer. No line
 * end is in any of it.
 */
static struct text question_of(struct lmtp_pool *pool, const struct lmtp_envelope *envelope,
	const struct lmtp_recipient *recipient)
{
	struct buf *out = &pool->scratch;

	buf_clear(out);
	buf_add_char(out, (char)('0' + envelope->eight_bit + 2 * envelope->utf8));
	buf_add(out, envelope->sender);
	dsn_add_mail(out, &envelope->dsn);
	buf_add_char(out, '\n');
	buf_add(out, recipient->address);
	buf_add_char(out, '\n');
	dsn_add_recipient(out, &recipient->dsn);
	return buf_text(out);
}

bool lmtp_pool_foresees(struct lmtp_pool *pool, const struct lmtp_envelope *envelope,
	const struct lmtp_recipient *recipient)
{
	return pool->accepted.place &&
	       accepted_holds(&pool->accepted, question_of(pool, envelope, recipient),
		       envelope->size, clock_coarse_milliseconds());
}

void lmtp_note_verdict(
	struct lmtp *lmtp, const struct lmtp_recipient *recipient, const struct reply *reply)
{
	struct lmtp_pool *pool = lmtp->pool;
	const int64_t memory = (int64_t)pool->options.memory_seconds * 1000;

	if (memory == 0 || !is_same_server(&lmtp->server, &pool->options.server))
		return;
	const int64_t now = clock_coarse_milliseconds();
	const struct text question = question_of(pool, lmtp->envelope, recipient);
	if (reply->code == 250)
		accepted_note(&pool->accepted, question, lmtp->envelope->size, now, now + memory);
	else
		accepted_drop(&pool->accepted, question);
}

void lmtp_idle_limit(struct lmtp *lmtp, unsigned seconds)
{
	if (lmtp->idle_seconds == seconds)
		return;
	lmtp->idle_seconds = seconds;
	conn_idle_limit(lmtp->conn, seconds);
}

void lmtp_keep(struct lmtp *lmtp)
{
	/* What it says unasked must not be taken for the answer to the next transaction. */
	if (conn_input(lmtp->conn).len || lmtp->pool->counts.idle >= KEEP_LIMIT ||
		!is_same_server(&lmtp->server, &lmtp->pool->options.server)) {
		close_lmtp(lmtp);
		return;
	}
	lmtp->state = LMTP_IDLE;
	LIST_INSERT_HEAD(&lmtp->pool->idle, lmtp, in_idle);
	lmtp->pool->counts.idle++;
	lmtp_idle_limit(lmtp, KEEP_SECONDS);
}

static bool is_between_transactions(const struct lmtp *lmtp)
{
	return !lmtp->mail_sent || (lmtp->message == LMTP_MESSAGE_ENDED && lmtp->verdicts == 0);
}

/* By chunks there is nothing that RSET could be taken for, unless the last was sent. */
static bool is_resettable(const struct lmtp *lmtp)
{
	return lmtp->message <= LMTP_MESSAGE_ASKED ||
	       (lmtp->by_chunks && lmtp->message == LMTP_MESSAGE_OPEN);
}

void lmtp_end(struct lmtp **at)
{
	struct lmtp *lmtp = *at;

	*at = NULL;
	if (!lmtp)
		return;
	lmtp->handlers = NULL;
	buf_release(&lmtp->small);
	if (lmtp->state == LMTP_BUSY && is_between_transactions(lmtp)) {
		lmtp_keep(lmtp);
	} else if (lmtp->state == LMTP_BUSY && is_resettable(lmtp)) {
		lmtp->awaited += lmtp->chunks + !lmtp->mail_answered;
		lmtp->awaited++;
		lmtp->state = LMTP_RESETTING;
		conn_write(lmtp->conn, TEXT("RSET\r\n"));
		lmtp_idle_limit(lmtp, lmtp->pool->options.seconds);
	} else if (lmtp->pool->asking != lmtp) {
		close_lmtp(lmtp);
	}
}

void lmtp_broke(struct lmtp *lmtp, const char *reason)
{
	const struct lmtp_handlers *handlers = lmtp->handlers;
	void *owner = lmtp->owner;

	/* Who comes next has to hear whether the server is there. */
	accepted_release(&lmtp->pool->accepted);
	if (lmtp->state == LMTP_BUSY && lmtp->kept && !lmtp->answered) {
		conn_free(&lmtp->conn);
		lmtp->kept = false;
		lmtp_rewind(lmtp);
		lmtp->server = lmtp->pool->options.server;
		if (dial(lmtp, &reason) == 0)
			return;
	}
	if (handlers)
		lmtp->pool->counts.failures++;
	if (lmtp->state < LMTP_BUSY)
		lmtp_asked(lmtp);
	close_lmtp(lmtp);
	if (handlers)
		handlers->failed(owner, reason);
}
