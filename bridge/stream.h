/*
 * The connection to a remote server, in the clear or by TLS, and libetpan's view of it.
 *
 * It blocks, but never for ever, and never takes more than was expected: stream_expect() says before
 * each command how long its answer may take and how many octets it may have. Whatever goes wrong is in
 * stream->fault as a sentence; libetpan only learns that the stream broke.
 *
 * TLS is ours, not libetpan's: 1.2 and up, chain and name verified against an authority, or the one key
 * that the account names.
 */
#ifndef BRIDGE_STREAM_H
#define BRIDGE_STREAM_H

#include <libetpan/mailstream.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "bridge/fault.h"
#include "bridge/imap_guard.h"

struct ssl_ctx_st;
struct ssl_st;

enum { STREAM_ADDRESSES = 8, STREAM_PIN = 32 };

struct stream_address {
	struct sockaddr_storage address;
	socklen_t size;
};

struct stream_options {
	const char *host;
	unsigned port;
	unsigned patience; /* seconds without an octet while one is due */
	int watch;         /* when this becomes readable, or its peer closes, we are to stop */
	struct ssl_ctx_st *tls;
	const unsigned char *pin; /* STREAM_PIN octets, or NULL */
	bool imap;                /* what comes is looked at first: imap_guard.h */
};

struct stream {
	struct stream_options options;
	struct fault fault;
	int fd;
	struct ssl_st *ssl;
	int64_t deadline; /* milliseconds of the monotonic clock */
	uint64_t budget;  /* octets that may still come */
	uint64_t received;
	struct imap_guard guard;
	mailstream *mail;                  /* libetpan's; it has a low driver of ours */
	char pin_text[2 * STREAM_PIN + 1]; /* of the server's key, once TLS is there */
};

/*
 * Read certificates from ca_file; "" or a pin: none are needed. NULL with a fault. While files can still
 * be opened.
 */
struct ssl_ctx_st *stream_tls_new(const char *ca_file, bool pinned, struct fault *fault);

/* Addresses of host, while files can still be opened. Their number, or -1 with a fault. */
int stream_resolve(const char *host, unsigned port,
	struct stream_address addresses[STREAM_ADDRESSES], struct fault *fault);

/* Connect to the first of them that answers. 0, or -1 with stream->fault. */
int stream_open(struct stream *stream, const struct stream_options *options,
	const struct stream_address *addresses, int count);
void stream_close(struct stream *stream);

/*
 * The handshake. What libetpan has read in the clear and not yet used is thrown away: nobody can put
 * words into the server's mouth before it (RFC 3207 section 6, RFC 9051 section 6.2.1).
 */
int stream_start_tls(struct stream *stream);

/* What comes next may take so long and have so many octets. */
void stream_expect(struct stream *stream, unsigned seconds, uint64_t octets);

/* Wait for octets that nobody asked for. 1: some are there; 0: seconds went by; -1: fault. */
int stream_wait(struct stream *stream, unsigned seconds);

/* Milliseconds of the monotonic clock. */
int64_t stream_now(void);

/*
 * 1: fd is ready for events; 0: the time is over; -1: we are to stop, with a fault. Any blocking socket
 * of an account's process waits by this.
 */
int stream_poll(int fd, short events, int watch, int64_t milliseconds, struct fault *fault);

#endif
