/*
 * The inside of a connection, shared by conn.c (the public functions), conn_round.c (what happens when
 * the loop wakes it), conn_io.c (octets in and out) and conn_tls.c (the same through OpenSSL). Nobody
 * else includes this.
 *
 * Everything that calls a handler happens in a round: one wake-up by the event loop, on one
 * connection. A round reads once, hands input over, writes once, and then settles which events and
 * which deadline it waits for. The public functions only change state; outside a round they ask the
 * loop for one.
 */
#ifndef BASE_CONN_PRIVATE_H
#define BASE_CONN_PRIVATE_H

#include <event2/event.h>
#include <event2/event_struct.h>
#include <netinet/in.h>

#include "base/buf.h"
#include "base/conn.h"

enum conn_state {
	CONN_STATE_OPEN,
	CONN_STATE_FINISHING, /* nothing more is read; what is queued goes out */
	CONN_STATE_LINGERING, /* our side is shut; the peer's rest is read away, or close() would reset */
	CONN_STATE_ENDED, /* `ended` was called, the socket is closed */
};

/* What a connection waits for decides which limit its deadline comes from. */
enum conn_wait {
	CONN_WAIT_NOTHING,
	CONN_WAIT_INPUT,
	CONN_WAIT_SEND,
	CONN_WAIT_HANDSHAKE,
	CONN_WAIT_LINGER,
	CONN_WAIT_LOOK, /* for the peer's leave, of which no event tells */
};

enum conn_io {
	CONN_IO_DONE,
	CONN_IO_AGAIN, /* the socket gives or takes nothing now */
	CONN_IO_EOF,
	CONN_IO_FAILED,  /* a system error: conn->detail says which */
	CONN_IO_GARBLED, /* not TLS, or no TLS that we speak: conn->detail says more */
};

struct conn {
	const struct conn_handlers *handlers;
	const struct conn_limits *limits;
	void *owner;
	int fd;
	enum conn_state state;
	enum conn_wait wait;
	unsigned idle_seconds;
	int64_t deadline;  /* milliseconds of the monotonic clock; 0: none */
	int64_t alarm;     /* when `alarmed` is due; 0: never */
	int64_t timer_due; /* when `timer` fires, at the latest at these two; 0: it is not set */

	struct buf in;    /* what the owner left; empty while `view` is set */
	struct text view; /* during a round: unconsumed input in the shared reading space */
	struct buf out;
	struct buf raw; /* input that OpenSSL is to read before the socket */

	bool in_round;
	bool freed; /* conn_free() was called inside the round */
	bool asked; /* a round was asked for outside one */
	bool due;   /* octets came that `input` was not called for */
	bool again; /* `input` is to be called, octets or not */
	bool held;
	bool corked;
	bool eof;        /* the peer will send no more */
	bool was_full;   /* `drained` is to be called */
	bool progress;   /* the deadline counts anew */
	bool reading;    /* the event is added */
	bool writing;    /* the event is added */
	bool secure;     /* the handshake is complete */
	bool secrets;    /* no copy of what was read is to stay behind */
	bool tls_more;   /* OpenSSL holds octets, so the socket need not become readable */
	bool tls_reads;  /* a write waits for OpenSSL to read */
	bool tls_writes; /* a read waits for OpenSSL to write */

	struct tls *tls;
	struct ssl_st *ssl;   /* from the handshake's start on */
	enum conn_io tls_end; /* what the next read ends with; DONE: nothing known yet */
	const char *detail;

	char peer[INET6_ADDRSTRLEN];
	bool peer_is_ipv6;

	struct event read_event;
	struct event write_event;
	struct event timer;
};

/* conn.c */
void conn_close(
	struct conn *conn); /* events, socket and buffers; the rest stays until it is freed */
void conn_destroy(struct conn *conn);

/* conn_round.c */
void conn_round_begin(struct conn *conn, struct event_base *loop);

/* One more round soon, unless this is one. */
void conn_round_ask(struct conn *conn);

/* Events, deadline and memory as the state wants them. */
void conn_round_settle(struct conn *conn);
void conn_round_deadline(struct conn *conn);
void conn_round_alarm(struct conn *conn, unsigned milliseconds);

/* conn_io.c */

/* Read once and show it, behind what was left, as conn->view. */
enum conn_io conn_io_read(struct conn *conn);

/* What the owner did not consume moves from the shared space to memory of its own. */
void conn_io_keep(struct conn *conn);

/* One attempt to send all of conn->out. DONE: nothing is left. */
enum conn_io conn_io_write(struct conn *conn);

/*
 * For send(2). The last words wait in the kernel for what ends them, a moment later: they leave in one packet
 * with it, and the peer wakes up once.
 */
int conn_io_flags(const struct conn *conn);

/* No more octets from us; EOF when the peer has ended, too. */
enum conn_io conn_io_shut(struct conn *conn);
enum conn_io conn_io_discard(struct conn *conn);

/* conn_tls.c */
void conn_tls_begin(struct conn *conn);
enum conn_io conn_tls_handshake(struct conn *conn);
enum conn_io conn_tls_read(struct conn *conn, char *to, size_t room, size_t *got);
enum conn_io conn_tls_write(struct conn *conn, struct text octets, size_t *sent);
void conn_tls_close_notify(struct conn *conn);
void conn_tls_free(struct conn *conn);

#endif
