/*
 * The client side of LMTP over a unix socket, waiting for each answer: for a command that delivers one
 * message and ends, never for an event loop.
 */
#ifndef MDA_LMTP_CLIENT_H
#define MDA_LMTP_CLIENT_H

#include "mail/reply.h"
#include "mail/wire.h"

struct lmtp_client {
	int fd;
	struct buf in;
	size_t read; /* octets of `in` that the last reply used */
	struct wire_lines lines;
	struct reply_reader reader;
	bool eight_bit; /* the last reply listed 8BITMIME */
	bool utf8;      /* likewise SMTPUTF8 */
};

/* 0, or -1 with errno. */
int lmtp_client_connect(struct lmtp_client *client, const char *path);
void lmtp_client_close(struct lmtp_client *client);

/* All octets, waiting at most so long for each step. 0, or -1 with errno. */
int lmtp_client_send(struct lmtp_client *client, struct text octets, unsigned seconds);

/*
 * The next whole reply; of several lines the last. Its text lasts until the next call. 0, or -1 with errno:
 * ETIMEDOUT, ECONNRESET when the peer has closed, EPROTO when that was no reply.
 */
int lmtp_client_reply(struct lmtp_client *client, unsigned seconds, struct reply *reply);

#endif
