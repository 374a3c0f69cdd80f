/*
 * What the files of the POP3 side share. Nobody else includes this.
 *
 * The conversation is ours, over libetpan's stream: libetpan's own POP3 keeps each message and each
 * listing in memory as a whole and writes commands into 513 octets.
 */
#ifndef BRIDGE_POP3_H
#define BRIDGE_POP3_H

#include "bridge/pop3_wire.h"
#include "bridge/session.h"

enum pop3_capability {
	POP3_STLS = 1,
	POP3_PIPELINING = 2,
	POP3_UIDL = 4,
	POP3_USER = 8,
	POP3_SASL_PLAIN = 16,
	POP3_SASL_XOAUTH2 = 32,
	POP3_SASL_OAUTHBEARER = 64,
	POP3_CAPA = 128, /* it told anything at all */
};

enum { POP3_COMMAND_SECONDS = 120, POP3_REPLY_OCTETS = 64 << 10 };

struct pop3 {
	struct session *session;
	unsigned capabilities;
	char octets[16384]; /* read and not yet used: start..end */
	size_t start, end;
	char line[POP3_LINE_LIMIT + 1]; /* the last one, without its end */
	struct text said;               /* in line: of the last reply */
};

/* Send it; "\r\n" is added. 0, or -1 with a fault. What is sent together leaves with pop3_flush(). */
int pop3_send(struct pop3 *pop3, const char *format, ...) __attribute__((format(printf, 2, 3)));
int pop3_flush(struct pop3 *pop3);

/* More octets from the server. 0, or -1 with a fault. */
int pop3_fill(struct pop3 *pop3);
struct text pop3_input(const struct pop3 *pop3);
void pop3_used(struct pop3 *pop3, size_t octets);

/* One line into pop3->line; *line without its end. 0, or -1 with a fault. */
int pop3_line(struct pop3 *pop3, struct text *line);

/* 1 +OK, 0 -ERR, each with pop3->said; -1: fault. During AUTH also 2, a challenge (RFC 5034 section 4). */
int pop3_reply(struct pop3 *pop3);
int pop3_reply_to_auth(struct pop3 *pop3);

/* A command whose +OK is needed. 0, or -1 with a fault that begins with doing. */
int pop3_command(struct pop3 *pop3, const char *doing, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

void pop3_expect(struct pop3 *pop3, unsigned seconds, uint64_t octets);

/* -1, with a fault in these words and what the server said. */
int pop3_refused(struct pop3 *pop3, enum fault_kind kind, const char *doing);

/* ---- pop3_login.c ---- */

/* TLS, capabilities and login, the greeting included. 0, or -1 with a fault. */
int pop3_login(struct pop3 *pop3);

/* ---- pop3_pull.c ---- */

int pop3_pull(struct pop3 *pop3);

#endif
