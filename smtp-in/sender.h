/*
 * A user sends only as addresses that are theirs: the sender of the envelope, and whoever the header's From
 * names. The store knows (OWNS).
 */
#ifndef SMTP_IN_SENDER_H
#define SMTP_IN_SENDER_H

struct session;
struct transaction;

/*
 * The reply to MAIL, whose transaction is the session's already: now, or when the store has answered. The
 * null sender is anybody's: read receipts have it.
 */
void sender_judge(struct session *session);

/*
 * The header has ended: the transaction is refused, or not, or `judging` is set until the store has
 * answered and message_go_on() is called.
 */
void sender_judge_authors(struct transaction *transaction);

#endif
