/*
 * Descriptors asked for ahead: a client that fetches one message after the other costs the store one
 * question for up to AHEAD_QUESTION of them, and the next question is on its way while the answers to the
 * one before are used. The first question asks for one message, then two, four, …, so a client that
 * wants a single message costs no more than that.
 */
#ifndef POP3D_AHEAD_H
#define POP3D_AHEAD_H

#include "pop3d/maildrop.h"

struct store_reply;

enum {
	AHEAD_QUESTION = 32,
	AHEAD_ROOM = 64, /* a power of two */
	AHEAD_FEW = 16,
	/* Descriptors that all sessions of a process may hold ahead; beyond it they ask one by one. */
	AHEAD_DESCRIPTORS = 4096,
};

struct ahead_message {
	int fd;        /* -1: failed or taken */
	uint64_t size; /* octets in the file */
	enum store_failure failure;
};

struct ahead {
	unsigned *held;                           /* descriptors of all sessions of the process */
	uint32_t first;                           /* message number of the oldest one kept */
	uint32_t asked;                           /* numbers first to first + asked - 1 */
	uint32_t answered;                        /* of those, so far */
	uint32_t question;                        /* how many the last one asked for */
	struct ahead_message message[AHEAD_ROOM]; /* by number */
};

/* held: counts for all sessions; it must outlive them. */
struct ahead *ahead_new(unsigned *held);
void ahead_free(struct ahead **ahead);

/*
 * The message of that number. 1: *message, its descriptor the caller's from now on; those before it are
 * given up. -1: it cannot be had, see message->failure. 0: not here yet; ask, or wait.
 */
int ahead_take(struct ahead *ahead, uint32_t number, struct ahead_message *message);

/*
 * The UIDs to ask the store for, into out (a run of u32), so that the message of that number comes.
 * Nothing when it is on its way already, or before every answer has come when it is elsewhere.
 */
void ahead_ask(
	struct ahead *ahead, const struct maildrop *maildrop, uint32_t number, struct buf *out);

/* The UIDs to ask for now because the client will likely want them next; may be none. */
void ahead_ask_more(struct ahead *ahead, const struct maildrop *maildrop, struct buf *out);

/* More answers are on their way, and few have come. */
bool ahead_gathers(const struct ahead *ahead);

/* The next answer, in the order asked. Takes its descriptor. */
void ahead_answer(struct ahead *ahead, struct store_reply *reply);

#endif
