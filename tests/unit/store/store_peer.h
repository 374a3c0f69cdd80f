/*
 * Peers of a store in this process, for tests: over the client library, one question and its answer at
 * a time.
 */
#ifndef TESTS_STORE_PEER_H
#define TESTS_STORE_PEER_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/store/store_host.h"

static struct host host;
static struct server_options options;

static inline int setup(void **state)
{
	const struct engine_options engine = host_engine_options(&host);

	(void)state;
	log_open("test", LOG_LEVEL_ERROR + 1);
	host.loop = event_base_new();
	host_make_directory(&host);
	options = host_options();
	host_start(&host, &options, &engine);
	host_add_user(&host, "alice@" HOST_DOMAIN);
	host_add_user(&host, "bob@" HOST_DOMAIN);
	return 0;
}

static inline int teardown(void **state)
{
	(void)state;
	host_stop(&host);
	host_remove_directory(&host);
	event_base_free(host.loop);
	return 0;
}

/* ---- a peer through the client library ---- */

struct peer {
	struct store_client *client;
	bool ended;
	unsigned directory;
	struct store_changed changed;
	bool has_changed;
};

struct wait {
	bool done;
	enum store_failure failure;
	struct store_reply reply;
	char text[512]; /* the reply's text, if it has one */
	int fd;
};

static inline void on_changed(void *owner, const struct store_changed *notice)
{
	struct peer *peer = owner;

	peer->changed = *notice;
	peer->has_changed = true;
}

static inline void on_directory(void *owner, const struct store_directory *notice)
{
	(void)notice;
	((struct peer *)owner)->directory++;
}

static inline void on_ended(void *owner)
{
	((struct peer *)owner)->ended = true;
}

static const struct store_client_handlers peer_handlers = {
	.changed = on_changed,
	.directory = on_directory,
	.ended = on_ended,
};

static inline void open_peer(struct peer *peer, enum store_peer kind)
{
	*peer = (struct peer){ 0 };
	peer->client =
		store_client_over(host.loop, host_connect(&host, kind), &peer_handlers, peer);
}

static inline void close_peer(struct peer *peer)
{
	store_client_free(&peer->client);
}

static inline void keep_text(struct wait *wait, struct text t)
{
	const size_t length = t.len < sizeof(wait->text) ? t.len : sizeof(wait->text) - 1;

	if (length)
		memcpy(wait->text, t.ptr, length);
	wait->text[length] = '\0';
}

static inline void on_reply(void *owner, struct store_reply *reply)
{
	struct wait *wait = owner;

	wait->done = true;
	wait->failure = reply->failure;
	wait->reply = *reply;
	wait->fd = reply->fd;
	reply->fd = -1;
	if (reply->type == STORE_LOGIN)
		keep_text(wait, reply->of.login.user);
	if (reply->type == STORE_DELIVER)
		keep_text(wait, reply->of.deliver.user);
	if (reply->type == STORE_SELECT)
		keep_text(wait, reply->of.select.keywords);
}

static inline struct wait wait_for(struct wait *wait)
{
	assert_true(host_run_until(&host, &wait->done));
	return *wait;
}

/* The request's answer: ASK(lookup, &peer, .address = …).failure */
#define ASK(name, peer, ...) \
	({ \
		struct wait wait_ = { .fd = -1 }; \
		store_client_##name( \
			(peer)->client, &(struct store_##name){ __VA_ARGS__ }, on_reply, &wait_); \
		wait_for(&wait_); \
	})

static inline struct wait ask_login(struct peer *peer, const char *user, const char *password)
{
	return ASK(login, peer, .user = text_of(user), .password = text_of(password),
		.peer = TEXT("192.0.2.1"));
}

static inline void log_in(struct peer *peer, enum store_peer kind, const char *user)
{
	open_peer(peer, kind);
	assert_int_equal(ask_login(peer, user, "restante").failure, STORE_OK);
}

static inline struct wait ask_select(
	struct peer *peer, const char *mailbox, enum store_select_mode mode)
{
	return ASK(select, peer, .mailbox = text_of(mailbox), .mode = mode);
}

static inline void add_recipient(struct buf *run, const char *user, const char *mailbox)
{
	store_recipient_pack(run, &(struct store_recipient){
					  .user = text_of(user),
					  .mailbox = text_of(mailbox),
					  .keywords = TEXT(""),
				  });
}

static inline enum store_failure deliver(struct peer *mda, const char *user, struct text body)
{
	struct buf run = { 0 };

	add_recipient(&run, user, "");
	enum store_failure failure = ASK(deliver, mda, .id = TEXT("1"), .once = TEXT(""),
		.recipients = buf_text(&run), .body = body)
					     .failure;
	buf_release(&run);
	return failure;
}

/* Counts what went well in the first, what failed in the second of two. */
static inline void count_done(void *owner, struct store_reply *reply)
{
	unsigned *counts = owner;

	counts[reply->failure == STORE_OK ? 0 : 1]++;
}

static inline unsigned long long counter(const char *name)
{
	struct buf out = { 0 };
	char line[80];

	server_count(host.server, &out);
	buf_add_char(&out, '\0');
	snprintf(line, sizeof(line), "%s=", name);
	const char *at = strstr(buf_text(&out).ptr, line);
	assert_non_null(at);
	unsigned long long value = strtoull(at + strlen(line), NULL, 10);
	buf_release(&out);
	return value;
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

#endif
