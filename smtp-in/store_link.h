/*
 * The one connection to the store that all sessions of a worker share: logins, and who may send as whom.
 */
#ifndef SMTP_IN_STORE_LINK_H
#define SMTP_IN_STORE_LINK_H

struct store_client;
struct worker;

/*
 * For the next request; connects when there is no connection. Never NULL: while the store is away,
 * requests are answered STORE_AWAY. Not to be kept: it changes when the connection is lost.
 */
struct store_client *store_link(struct worker *worker);

/* An owner's requests are forgotten. */
void store_link_forget(struct worker *worker, const void *owner);

void store_link_free(struct worker *worker);

#endif
