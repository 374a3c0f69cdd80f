/*
 * A client's connection on the event loop: bounded input, back-pressured output, timeouts, TLS.
 *
 * Input. What the peer sent is a run of octets (conn_input) of which the owner consumes as much as it
 * understands (conn_consume). When the owner leaves octets there, `input` is called again only after
 * more came, or after conn_again(). Reading stops by itself while input_limit octets wait, while
 * conn_hold() is in force, and while output is full.
 *
 * Output. conn_write() never blocks and never fails; it queues. Everything queued during one callback
 * leaves in one system call. A producer of long replies looks at conn_output_full() and goes on in
 * `drained`; nothing else bounds the queue.
 *
 * Lifetime. The owner creates and frees. conn_free() is safe inside every callback. After `ended` the
 * connection does nothing more and waits to be freed. Callbacks come from the loop only, never out of
 * one of these functions.
 *
 * Cost. An idle connection keeps no input and no output memory.
 *
 * Secrets. An owner that has read one overwrites it in conn_input() (text_wipe) before it returns to the
 * loop; copies of it that were made on its way are overwritten here.
 */
#ifndef BASE_CONN_H
#define BASE_CONN_H

#include <stdbool.h>

#include "base/text.h"

struct conn;
struct event_base;
struct net_address;
struct tls;

enum conn_end {
	CONN_END_PEER,     /* the peer closed, or sent all it will and everything was answered */
	CONN_END_FINISHED, /* conn_finish() has written everything out */
	CONN_END_TIMEOUT,  /* nothing came, or nothing could be sent, for too long */
	CONN_END_TLS,      /* the handshake failed or the TLS layer saw garbage */
	CONN_END_ERROR,    /* reset, or another system error */
};

struct conn_handlers {
	void (*input)(void *owner);   /* octets wait in conn_input() */
	void (*drained)(void *owner); /* the output fell below its low-water mark; may be NULL */
	void (*secured)(void *owner); /* the TLS handshake is complete; may be NULL */
	void (*alarmed)(void *owner); /* the time of conn_alarm() is over; may be NULL */
	/*
	 * The peer is gone for good while it is not listened to (held or corked), and no reply reaches it.
	 * Told a second later at most, and again until it is freed. Who has only ended its own side is not
	 * gone, and is answered. NULL: it is noticed when something is sent.
	 */
	void (*left)(void *owner);
	/* It does nothing more: free it now, or later. detail is for the log; it may be "". */
	void (*ended)(void *owner, enum conn_end end, const char *detail);
};

struct conn_limits {
	size_t input;          /* octets that may wait for the owner */
	size_t output_high;    /* conn_output_full() from here on */
	size_t output_low;     /* `drained` from here down */
	unsigned idle_seconds; /* without input; 0: no limit */
	unsigned send_seconds; /* without progress of pending output; 0: no limit */
};

/* Takes fd (a connected stream socket), sets it non-blocking. handlers and limits must outlive it. */
struct conn *conn_new(struct event_base *loop, int fd, const struct conn_handlers *handlers,
	const struct conn_limits *limits, void *owner);
void conn_free(struct conn **conn);

/* Change of the idle limit, counted from now (RFC 5321 section 4.5.3.2 has one per state). */
void conn_idle_limit(struct conn *conn, unsigned seconds);

struct text conn_input(const struct conn *conn);
void conn_consume(struct conn *conn, size_t octets);

/*
 * Call `input` once more from the loop, though no octet came (work was left for fairness' sake): after
 * the others had their turn, and not before a hold ends.
 */
void conn_again(struct conn *conn);

/* While held, no `input` is called and nothing more is read: the owner waits for another process. */
void conn_hold(struct conn *conn);
void conn_release(struct conn *conn);

/*
 * Call `alarmed` once, after so many milliseconds; an alarm that was set before is forgotten. It also
 * comes while the connection is held, and while it finishes. It costs no memory.
 */
void conn_alarm(struct conn *conn, unsigned milliseconds);

/* While corked nothing is sent; what is written waits, and no limit of time counts. */
void conn_cork(struct conn *conn, bool corked);

void conn_write(struct conn *conn, struct text octets);
void conn_printf(struct conn *conn, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Room in the output queue to build octets in place; then conn_commit() what was written. */
char *conn_room(struct conn *conn, size_t octets);
void conn_commit(struct conn *conn, size_t octets);

size_t conn_output_length(const struct conn *conn);
bool conn_output_full(const struct conn *conn);

/*
 * Read no more, write what is queued (within send_seconds), close, then `ended` with FINISHED. The peer
 * sees the end at once; we wait up to two seconds for its own, because closing on unread octets would
 * reset the connection and take our last reply from the peer. A handshake in progress is given up.
 */
void conn_finish(struct conn *conn);

/*
 * Server-side TLS from here on. What is queued goes out in the clear first; input that was already
 * here is thrown away (RFC 3207 section 6). Then `secured`, or `ended` with CONN_END_TLS.
 */
void conn_start_tls(struct conn *conn, struct tls *tls);

/* The same, but the input that is here was sent behind a header of another layer: TLS begins with it. */
void conn_start_tls_here(struct conn *conn, struct tls *tls);

/* Whether what comes may be a secret: then no copy stays behind, in TLS or here. At first it is none. */
void conn_expect_secrets(struct conn *conn, bool expected);
bool conn_is_secure(const struct conn *conn);
const char *conn_tls_version(const struct conn *conn); /* "TLSv1.3", or NULL in the clear */
const char *conn_tls_cipher(const struct conn *conn);  /* OpenSSL's name, or NULL in the clear */

/*
 * What ties a login to this TLS connection: its type, "tls-exporter" (RFC 9266) or "tls-unique" (RFC
 * 5929, TLS 1.2 with an extended master secret), and its octets. NULL in the clear or when there is none.
 */
enum { CONN_BINDING_LIMIT = 64 };
const char *conn_tls_channel_binding(
	const struct conn *conn, char binding[CONN_BINDING_LIMIT], size_t *length);

/* The peer as text: "192.0.2.1" or "2001:db8::1", without port or brackets; "local" for a unix socket. */
const char *conn_peer(const struct conn *conn);
/* Who it is on whose behalf the peer speaks (base/proxy.h). */
void conn_set_peer(struct conn *conn, const struct net_address *address);
bool conn_peer_is_ipv6(const struct conn *conn);
unsigned conn_local_port(const struct conn *conn);

#endif
