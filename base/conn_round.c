#include <poll.h>

#include "base/clock.h"
#include "base/conn_private.h"
#include "base/loop.h"

enum {
	LINGER_SECONDS = 2,    /* how long the peer may take to read our last words */
	LOOK_SECONDS = 1,      /* between two looks whether the peer is still there */
	WRITES_IN_A_ROUND = 8, /* a long reply goes on so often before others have their turn */
};

static bool is_starting_tls(const struct conn *conn)
{
	return conn->tls && !conn->ssl;
}

static bool is_shaking_hands(const struct conn *conn)
{
	return conn->ssl && !conn->secure;
}

static bool wants_input(const struct conn *conn)
{
	return conn->state == CONN_STATE_OPEN && !conn->held && !conn->eof &&
	       !is_starting_tls(conn) && !is_shaking_hands(conn) &&
	       conn_input(conn).len < conn->limits->input && !conn_output_full(conn);
}

static bool wants_readable(const struct conn *conn)
{
	if (conn->state == CONN_STATE_LINGERING || (is_shaking_hands(conn) && !conn->tls_writes))
		return true;
	return (wants_input(conn) && !conn->tls_writes) || conn->tls_reads;
}

static bool wants_writable(const struct conn *conn)
{
	if (conn->tls_writes && (is_shaking_hands(conn) || wants_input(conn)))
		return true;
	return buf_length(&conn->out) && !conn->corked && !is_shaking_hands(conn) &&
	       !conn->tls_reads;
}

/* What comes does not wake us any more, nor does the peer's leave. */
static bool is_deaf(const struct conn *conn)
{
	return (conn->held || conn->corked) && !conn->reading && conn->handlers->left;
}

static enum conn_wait what_for(const struct conn *conn)
{
	if (conn->state == CONN_STATE_LINGERING)
		return CONN_WAIT_LINGER;
	if (is_shaking_hands(conn))
		return CONN_WAIT_HANDSHAKE;
	if (buf_length(&conn->out) && !conn->corked)
		return CONN_WAIT_SEND;
	if (is_deaf(conn))
		return CONN_WAIT_LOOK;
	if (buf_length(&conn->out))
		return CONN_WAIT_NOTHING;
	return conn->held || conn->state != CONN_STATE_OPEN ? CONN_WAIT_NOTHING : CONN_WAIT_INPUT;
}

static unsigned seconds_for(const struct conn *conn)
{
	switch (conn->wait) {
	case CONN_WAIT_NOTHING:
		return 0;
	case CONN_WAIT_INPUT:
	case CONN_WAIT_HANDSHAKE:
		return conn->idle_seconds;
	case CONN_WAIT_SEND:
		return conn->limits->send_seconds;
	case CONN_WAIT_LINGER:
		return LINGER_SECONDS;
	case CONN_WAIT_LOOK:
		return LOOK_SECONDS;
	}
	return 0;
}

/* The timer is left to fire too early rather than moved at every octet: it costs nothing between. */
static void set_timer(struct conn *conn, int64_t now)
{
	int64_t due = conn->deadline;

	if (conn->alarm && (due == 0 || conn->alarm < due))
		due = conn->alarm;
	if (due == 0 || (conn->timer_due && conn->timer_due <= due))
		return;
	const int64_t wait = due > now ? due - now : 1;
	conn->timer_due = due;
	event_add(&conn->timer,
		&(struct timeval){ .tv_sec = wait / 1000, .tv_usec = wait % 1000 * 1000 });
}

void conn_round_deadline(struct conn *conn)
{
	enum conn_wait wait = what_for(conn);
	bool counts_progress = wait == CONN_WAIT_INPUT || wait == CONN_WAIT_SEND;

	if (conn->state == CONN_STATE_ENDED)
		return;
	if (wait == conn->wait && !(conn->progress && counts_progress))
		return;
	conn->wait = wait;
	conn->progress = false;
	unsigned seconds = seconds_for(conn);
	if (seconds == 0) {
		conn->deadline = 0;
		return;
	}
	int64_t now = clock_coarse_milliseconds();
	conn->deadline = now + (int64_t)seconds * 1000;
	set_timer(conn, now);
}

void conn_round_alarm(struct conn *conn, unsigned milliseconds)
{
	const int64_t now = clock_coarse_milliseconds();

	if (conn->state > CONN_STATE_FINISHING)
		return;
	conn->alarm = now + milliseconds;
	set_timer(conn, now);
}

/*
 * Reading is not stopped here but when it wakes us for nothing: most commands that hold the connection
 * are answered before the peer sends more, and cost no system call so.
 */
static void set_events(struct conn *conn)
{
	bool readable = wants_readable(conn), writable = wants_writable(conn);

	if (readable && !conn->reading) {
		event_add(&conn->read_event, NULL);
		conn->reading = true;
	}
	/*
	 * While a round is asked for, the event is active: libevent would not add it, and to delete it would
	 * take that round away. It comes, and settles this.
	 */
	if (writable != conn->writing && !conn->asked) {
		if (writable)
			event_add(&conn->write_event, NULL);
		else
			event_del(&conn->write_event);
		conn->writing = writable;
	}
}

void conn_round_ask(struct conn *conn)
{
	if (conn->in_round || conn->asked || conn->state == CONN_STATE_ENDED)
		return;
	conn->asked = true;
	event_active(&conn->write_event, EV_TIMEOUT, 1);
}

static void end(struct conn *conn, enum conn_end why, const char *detail)
{
	conn->state = CONN_STATE_ENDED;
	conn_close(conn);
	conn->handlers->ended(conn->owner, why, detail ? detail : "");
}

static bool is_over(const struct conn *conn)
{
	return conn->freed || conn->state == CONN_STATE_ENDED;
}

static void end_failed(struct conn *conn, enum conn_io io)
{
	/* A peer that is gone does not take its replies. */
	if (conn->eof || io == CONN_IO_EOF)
		end(conn, CONN_END_PEER, conn->detail);
	else
		end(conn, io == CONN_IO_GARBLED ? CONN_END_TLS : CONN_END_ERROR, conn->detail);
}

static void read_input(struct conn *conn)
{
	enum conn_io io = conn_io_read(conn);

	switch (io) {
	case CONN_IO_DONE:
		conn->due = true;
		break;
	case CONN_IO_AGAIN:
		break;
	case CONN_IO_EOF:
		conn->eof = true;
		break;
	case CONN_IO_FAILED:
	case CONN_IO_GARBLED:
		end_failed(conn, io);
		break;
	}
}

static void shake_hands(struct conn *conn)
{
	enum conn_io io = conn_tls_handshake(conn);

	switch (io) {
	case CONN_IO_DONE:
		conn->secure = true;
		if (conn->handlers->secured)
			conn->handlers->secured(conn->owner);
		break;
	case CONN_IO_AGAIN:
		break;
	case CONN_IO_EOF:
		end(conn, CONN_END_PEER, "closed during the TLS handshake");
		break;
	case CONN_IO_FAILED:
	case CONN_IO_GARBLED:
		end_failed(conn, io);
		break;
	}
}

static bool has_input_to_hand_over(const struct conn *conn)
{
	if (conn->held || conn->state != CONN_STATE_OPEN || is_starting_tls(conn) ||
		is_shaking_hands(conn))
		return false;
	return conn->again || (conn->due && conn_input(conn).len);
}

/* Something to do that no event of the socket will tell of. */
static bool has_work(const struct conn *conn)
{
	return has_input_to_hand_over(conn) || (conn->tls_more && wants_input(conn)) ||
	       (is_shaking_hands(conn) && buf_length(&conn->raw));
}

static void hand_input_over(struct conn *conn)
{
	if (has_input_to_hand_over(conn)) {
		conn->due = conn->again = false;
		/* An owner that goes on with work it left does not sit idle, but a stuck peer still does. */
		conn->progress |= conn->wait == CONN_WAIT_INPUT;
		conn->handlers->input(conn->owner);
	}
	if (!is_over(conn))
		conn_io_keep(conn);
}

static void linger(struct conn *conn, enum conn_io io)
{
	if (io != CONN_IO_AGAIN)
		end(conn, CONN_END_FINISHED, "");
}

static void start_lingering(struct conn *conn)
{
	conn->state = CONN_STATE_LINGERING;
	linger(conn, conn_io_shut(conn));
}

/* All is written: what was waiting for that. */
static void after_output(struct conn *conn)
{
	if (conn->state == CONN_STATE_FINISHING) {
		start_lingering(conn);
	} else if (is_starting_tls(conn)) {
		conn_tls_begin(conn);
	} else if (conn->eof && !conn->held && !has_input_to_hand_over(conn)) {
		if (conn->secure)
			conn_tls_close_notify(conn);
		end(conn, CONN_END_PEER, conn->detail);
	}
}

static void write_output(struct conn *conn)
{
	enum conn_io io = CONN_IO_DONE;

	for (int i = 0; i < WRITES_IN_A_ROUND && io == CONN_IO_DONE; i++) {
		io = conn_io_write(conn);
		if (io != CONN_IO_DONE && io != CONN_IO_AGAIN) {
			end_failed(conn, io);
			return;
		}
		if (conn->was_full && buf_length(&conn->out) <= conn->limits->output_low) {
			conn->was_full = false;
			if (conn->handlers->drained && conn->state == CONN_STATE_OPEN)
				conn->handlers->drained(conn->owner);
			if (is_over(conn))
				return;
		}
		if (buf_length(&conn->out) == 0)
			break;
	}
	if (buf_length(&conn->out) == 0)
		after_output(conn);
}

void conn_round_settle(struct conn *conn)
{
	if (buf_length(&conn->out) == 0)
		buf_release(&conn->out);
	set_events(conn);
	conn_round_deadline(conn);
	/* A timer of no length, because the loop would serve an active event before all other sockets. */
	if (has_work(conn)) {
		conn->timer_due = 1;
		event_add(&conn->timer, &(struct timeval){ 0 });
	}
}

static void leave_round(struct conn *conn)
{
	conn->in_round = false;
	if (conn->freed)
		conn_destroy(conn);
	else if (conn->state != CONN_STATE_ENDED)
		conn_round_settle(conn);
}

static void round_of(struct conn *conn, bool readable)
{
	conn->in_round = true;
	if (conn->state == CONN_STATE_LINGERING) {
		if (readable)
			linger(conn, conn_io_discard(conn));
	} else if (conn->state == CONN_STATE_FINISHING && is_shaking_hands(conn)) {
		buf_release(&conn->out);
		start_lingering(conn);
	} else {
		if (is_shaking_hands(conn))
			shake_hands(conn);
		else if (readable && wants_input(conn))
			read_input(conn);
		if (!is_over(conn))
			hand_input_over(conn);
		if (!is_over(conn) && !is_shaking_hands(conn) && !conn->corked)
			write_output(conn);
	}
	leave_round(conn);
}

static void on_read(evutil_socket_t fd, short what, void *arg)
{
	struct conn *conn = arg;

	(void)fd, (void)what;
	loop_came();
	if (!wants_readable(conn)) {
		event_del(&conn->read_event);
		conn->reading = false;
		conn_round_deadline(conn);
		return;
	}
	round_of(conn, true);
}

static void on_write(evutil_socket_t fd, short what, void *arg)
{
	struct conn *conn = arg;

	(void)fd;
	if (what & EV_TIMEOUT)
		conn->asked = false;
	round_of(conn, conn->tls_writes);
}

static void time_out(struct conn *conn)
{
	switch (conn->wait) {
	case CONN_WAIT_NOTHING:
	case CONN_WAIT_LOOK:
		break;
	case CONN_WAIT_INPUT:
		end(conn, CONN_END_TIMEOUT, "no input");
		break;
	case CONN_WAIT_SEND:
		end(conn, CONN_END_TIMEOUT, "output is not taken");
		break;
	case CONN_WAIT_HANDSHAKE:
		end(conn, CONN_END_TIMEOUT, "the TLS handshake takes too long");
		break;
	case CONN_WAIT_LINGER:
		end(conn, CONN_END_FINISHED, "the peer does not close");
		break;
	}
}

/* False: the connection is no more. */
static bool tell(struct conn *conn, void (*handler)(void *owner))
{
	conn->in_round = true;
	handler(conn->owner);
	conn->in_round = false;
	if (!conn->freed)
		return true;
	conn_destroy(conn);
	return false;
}

/* Likewise. */
static bool ring(struct conn *conn)
{
	conn->alarm = 0;
	if (!conn->handlers->alarmed || conn->state > CONN_STATE_FINISHING)
		return true;
	return tell(conn, conn->handlers->alarmed);
}

/* Likewise. After a reset nothing comes or goes any more; after the end of the peer's side replies may. */
static bool look(struct conn *conn, int64_t now)
{
	struct pollfd peer = { .fd = conn->fd };

	conn->deadline = now + LOOK_SECONDS * 1000;
	if (poll(&peer, 1, 0) <= 0 || !(peer.revents & (POLLERR | POLLHUP)))
		return true;
	return tell(conn, conn->handlers->left);
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct conn *conn = arg;
	int64_t now = clock_coarse_milliseconds();

	(void)fd, (void)what;
	conn->timer_due = 0;
	bool is_late = conn->deadline && now >= conn->deadline;
	bool works = has_work(conn);
	const bool looks = is_late && conn->wait == CONN_WAIT_LOOK;
	if (is_late && !looks && !(works && conn->wait == CONN_WAIT_INPUT)) {
		conn->in_round = true;
		time_out(conn);
		leave_round(conn);
		return;
	}
	if (looks && !look(conn, now))
		return;
	const bool rings = conn->alarm && now >= conn->alarm;
	if (rings && !ring(conn))
		return;
	set_timer(conn, now);
	if (works || looks || rings)
		round_of(conn, conn->tls_more);
}

void conn_round_begin(struct conn *conn, struct event_base *loop)
{
	event_assign(&conn->read_event, loop, conn->fd, EV_READ | EV_PERSIST, on_read, conn);
	event_assign(&conn->write_event, loop, conn->fd, EV_WRITE | EV_PERSIST, on_write, conn);
	event_assign(&conn->timer, loop, -1, 0, on_timer, conn);
	conn_round_settle(conn);
}
