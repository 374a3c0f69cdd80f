/*
 * The store's client library: one connection, requests answered by callback, on the event loop.
 *
 *	static void on_login(void *owner, struct store_reply *reply)
 *	{
 *		if (reply->failure == STORE_OK)
 *			… reply->of.login.user …
 *	}
 *	store_client_login(client, &(struct store_login){ .user = … }, on_login, session);
 *
 * Every request is answered by exactly one callback (FETCH: one per UID asked for), with STORE_AWAY when
 * the connection is lost or cannot be made; callbacks never run inside the call that makes the request.
 * After STORE_AWAY the client is dead: free it and connect anew, with back-off.
 *
 * A spool file belongs to whoever asked for it until DELIVER names it (it becomes the message or is gone)
 * or store_client_drop_spool() does. When the reply to SPOOL comes after its owner was forgotten, the library
 * drops the file itself. So a client of the front end that breaks off in the middle of a large message leaves
 * nothing: its owner drops the file, or the connection ends.
 */
#ifndef STORE_CLIENT_H
#define STORE_CLIENT_H

#include "store/protocol.h"

struct event_base;
struct store_client;

struct store_reply {
	enum store_message type; /* of the request */
	enum store_failure failure;
	int fd; /* -1: none. Set to -1 to take it; otherwise closed after the callback. */
	union {
		/* clang-format off */
#define STORE_MEMBER_(name, NAME, who, needs) struct store_##name##_reply name;
		STORE_REQUESTS(STORE_MEMBER_)
		/* clang-format on */
	} of; /* texts are valid during the callback only; zero when failure is STORE_AWAY */
};

typedef void store_client_done(void *owner, struct store_reply *reply);

struct store_client_handlers {
	void (*changed)(void *owner, const struct store_changed *notice);     /* may be NULL */
	void (*directory)(void *owner, const struct store_directory *notice); /* may be NULL */
	/*
	 * The connection is gone, and whatever was asked before has been answered with STORE_AWAY, in
	 * no particular order. What those callbacks have asked since is answered likewise in the loop's
	 * next turn, or forgotten if the client is freed here: so who goes on asking when an answer
	 * comes looks at its failure first. Said once; not when the client is freed before. May be NULL.
	 */
	void (*ended)(void *owner);
};

/*
 * socket: a path of STORE_SOCKETS, relative to the working directory of every role but the store.
 * Never NULL: when it cannot connect, requests are answered STORE_AWAY and `ended` follows.
 */
struct store_client *store_client_new(struct event_base *loop, const char *socket,
	const struct store_client_handlers *handlers, void *owner);

/* Over a connected socket instead. */
struct store_client *store_client_over(
	struct event_base *loop, int fd, const struct store_client_handlers *handlers, void *owner);

/* Pending requests are forgotten: their callbacks do not run. Safe inside callbacks. */
void store_client_free(struct store_client **client);

/* Forget one owner's pending requests (its replies are dropped when they come); others go on. */
void store_client_forget(struct store_client *client, const void *owner);

/* Octets waiting to be sent, and requests waiting for their reply. */
size_t store_client_pending_octets(const struct store_client *client);
size_t store_client_pending(const struct store_client *client);

#define STORE_CALL_(name, NAME, who, needs) \
	void store_client_##name(struct store_client *client, const struct store_##name *request, \
		store_client_done *done, void *owner);
STORE_REQUESTS(STORE_CALL_)

/* Nobody writes to that spool file any more, and no message comes of it. */
void store_client_drop_spool(struct store_client *client, uint32_t spool);

/*
 * Map a listing's descriptor after checking its seals and size. NULL when it is not one. Unmap with
 * store_listing_unmap(). The descriptor may be closed at once.
 */
const struct store_listing *store_listing_map(int fd, size_t *mapped);
void store_listing_unmap(const struct store_listing *listing, size_t mapped);

#endif
