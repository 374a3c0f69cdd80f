/*
 * Descriptors asked for ahead: a client that fetches one message after the other costs the store one
 * question for up to AHEAD_LIMIT of them. The first question asks for one, then two, four, …, so a client
 * that wants a single message costs no more than that.
 */
#ifndef POP3D_AHEAD_H
#define POP3D_AHEAD_H

#include "pop3d/maildrop.h"

struct store_client;
struct store_reply;

enum { AHEAD_LIMIT = 32 };

struct ahead {
	uint32_t first;      /* message number of fd[0] */
	uint32_t asked;      /* numbers first to first + asked - 1; 0: nothing was asked for */
	uint32_t answered;   /* of those, so far */
	int fd[AHEAD_LIMIT]; /* -1: failed, taken or not answered */
	uint8_t failure[AHEAD_LIMIT]; /* enum store_failure of each answer */
};

struct ahead *ahead_new(void);
void ahead_free(struct ahead **ahead);

/*
 * The message of that number: 1 and *fd (the caller's from now on); -1 and *failure; 0: not here yet and
 * not asked for, see ahead_ask(), or asked for and not answered, wait.
 */
int ahead_take(struct ahead *ahead, uint32_t number, int *fd, enum store_failure *failure);

/* Whether ahead_ask() may be called: every answer to the last question has come. */
bool ahead_is_settled(const struct ahead *ahead);

/*
 * The UIDs to ask the store for, beginning with that number's, into out (a run of u32). What was left of
 * the last question is closed.
 */
void ahead_ask(
	struct ahead *ahead, const struct maildrop *maildrop, uint32_t number, struct buf *out);

/* The next answer, in the order asked. Takes its descriptor. */
void ahead_answer(struct ahead *ahead, struct store_reply *reply);

#endif
