/*
 * What a session asks of the store: to log in and open the mailbox, messages, and what to delete.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/conn.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/role.h"
#include "pop3d/session.h"
#include "pop3d/settings.h"
#include "store/client.h"

static const struct pop3d_settings *settings_of(const struct session *session)
{
	return session->worker->context->settings;
}

/* The one place where a failure of the store becomes a reply of POP3 (RFC 2449 section 8, RFC 3206). */
static void refuse_failure(struct session *session, enum store_failure failure)
{
	switch (failure) {
	case STORE_BAD_LOGIN:
	case STORE_NO_SUCH_USER:
		session_refuse(session, "AUTH", "wrong user or password");
		return;
	case STORE_LOCKED:
		session_refuse(session, "IN-USE", "another session has this maildrop open");
		return;
	case STORE_NO_SUCH_MESSAGE:
		session_refuse(
			session, "SYS/PERM", "the message is gone: something else has deleted it");
		return;
	case STORE_NO_SUCH_MAILBOX:
	case STORE_ALREADY_EXISTS:
	case STORE_OVER_QUOTA:
	case STORE_TOO_LARGE:
	case STORE_NO_SPACE:
	case STORE_NOT_DURABLE:
	case STORE_DAMAGED:
	case STORE_REFUSED:
	case STORE_INVALID:
		session_refuse(
			session, "SYS/TEMP", "the store cannot do that now; try again later");
		return;
	case STORE_BUSY:
		session_refuse(session, "SYS/TEMP", "the store is busy; try again in a moment");
		return;
	case STORE_AWAY:
		session_refuse(
			session, "SYS/TEMP", "the store starts again; try again in a moment");
		return;
	case STORE_OK:
	case STORE_FAILURES:
		break;
	}
	LOG_FATAL("not-a-failure", LOG_NUMBER("failure", failure));
}

/*
 * Without the store no further message can be had and no deletion be kept. What is on its way to the client
 * goes on; the next command that needs the store is told (fetch_wanted, session_update).
 */
static void on_store_ended(void *owner)
{
	struct session *session = owner;

	store_client_free(&session->store);
}

static const struct store_client_handlers store_handlers = { .ended = on_store_ended };

uint32_t session_login_spacing(const struct session *session)
{
	return (uint32_t)settings_of(session)->login_delay;
}

void session_connect_store(struct session *session)
{
	store_client_free(&session->store);
	session->store = store_client_new(
		session->worker->context->loop, "store-pop3d", &store_handlers, session);
}

void session_abandon_login(struct session *session, const char *sentence)
{
	store_client_free(&session->store);
	session_error(session, "%s", language_text(session->language, sentence));
}

void session_login_failed(struct session *session, enum store_failure failure)
{
	struct worker *worker = session->worker;

	store_client_free(&session->store);
	mem_free(session->user);
	session->user = NULL;
	if (failure == STORE_REFUSED)
		session_refuse(
			session, "LOGIN-DELAY", "your last login was a moment ago; come later");
	else
		refuse_failure(session, failure);
	if (failure == STORE_BAD_LOGIN || failure == STORE_NO_SUCH_USER) {
		worker->total.login_failures++;
		LOG_WARNING("login-failed", LOG_STRING("peer", conn_peer(session->conn)));
		if (++session->login_failures >= settings_of(session)->login_failures)
			session_finish(session, "too many wrong logins");
	} else if (failure != STORE_LOCKED && failure != STORE_REFUSED) {
		LOG_WARNING("login-put-off", LOG_STRING("peer", conn_peer(session->conn)),
			LOG_STRING("failure", store_failure_name(failure)));
	}
	session_resume(session);
}

static void on_selected(void *owner, struct store_reply *reply)
{
	struct session *session = owner;
	const struct store_listing *listing = NULL;
	size_t mapped = 0;

	session->waiting = false;
	if (reply->failure == STORE_OK && reply->fd >= 0)
		listing = store_listing_map(reply->fd, &mapped);
	if (listing == NULL && reply->failure == STORE_OK)
		LOG_WARNING("listing-not-mapped", LOG_ERRNO(errno));
	if (listing == NULL) {
		session_login_failed(
			session, reply->failure != STORE_OK ? reply->failure : STORE_DAMAGED);
		return;
	}
	maildrop_open(&session->maildrop, listing, mapped, reply->of.select.uidvalidity,
		reply->of.select.octets);
	session->state = SESSION_TRANSACTION;
	conn_expect_secrets(session->conn, false);
	session->worker->total.logins++;
	session_ok(session, "%" PRIu32 " messages, %" PRIu64 " octets", session->maildrop.messages,
		session->maildrop.octets);
	session_resume(session);
}

void session_logged_in(struct session *session, struct text user)
{
	mem_free(session->user);
	session->user = mem_copy(user.ptr, user.len);
	session->waiting = true;
	store_client_select(session->store,
		&(struct store_select){ .mailbox = TEXT("INBOX"), .mode = STORE_SELECT_EXCLUSIVE },
		on_selected, session);
}

static void on_login(void *owner, struct store_reply *reply)
{
	struct session *session = owner;

	if (reply->failure != STORE_OK) {
		session->waiting = false;
		session_login_failed(session, reply->failure);
		return;
	}
	session_logged_in(session, reply->of.login.user);
}

/* A name without a domain belongs to the first of ours. */
static void complete_user(struct session *session)
{
	const struct settings_list *domains = &session->worker->context->common->domains;
	struct buf address = { 0 };

	if (domains->count == 0 || text_find(text_of(session->user), '@') >= 0)
		return;
	buf_format(&address, "%s@%s", session->user, domains->item[0]);
	mem_free(session->user);
	session->user = mem_copy(buf_text(&address).ptr, buf_length(&address));
	buf_release(&address);
}

void session_login(struct session *session, struct text password)
{
	complete_user(session);
	if (strlen(session->user) > STORE_ADDRESS_LIMIT) {
		session_login_failed(session, STORE_BAD_LOGIN);
		return;
	}
	session_connect_store(session);
	session->waiting = true;
	store_client_login(session->store,
		&(struct store_login){ .user = text_of(session->user),
			.password = password,
			.peer = text_of(conn_peer(session->conn)),
			.spacing = session_login_spacing(session) },
		on_login, session);
}

static void fetch_wanted(struct session *session);

static void on_fetched(void *owner, struct store_reply *reply)
{
	struct session *session = owner;

	ahead_answer(session->ahead, reply);
	/* It is dead: what would be asked of it now gets no answer any more. */
	if (reply->failure == STORE_AWAY)
		store_client_free(&session->store);
	if (session->wanted == 0)
		return;
	/* The client waits for more than this one: let some gather, so that they leave together. */
	if (session->store != NULL && conn_input(session->conn).len > 0 &&
		ahead_gathers(session->ahead))
		return;
	session->waiting = false;
	fetch_wanted(session);
	if (!session->waiting)
		session_resume(session);
}

/* Nothing is asked when there is nothing to ask. */
static void ask_store(struct session *session, const struct buf *uids)
{
	if (buf_length(uids) > 0)
		store_client_fetch(session->store, &(struct store_fetch){ .uids = buf_text(uids) },
			on_fetched, session);
}

static void wait_for_wanted(struct session *session)
{
	struct buf uids = { 0 };

	if (session->store == NULL) {
		session->wanted = 0;
		refuse_failure(session, STORE_AWAY);
		return;
	}
	session->waiting = true;
	ahead_ask(session->ahead, &session->maildrop, session->wanted, &uids);
	ask_store(session, &uids);
	buf_release(&uids);
}

static void fetch_wanted(struct session *session)
{
	const uint32_t number = session->wanted;
	const struct store_listing_entry *entry = &session->maildrop.listing->entry[number - 1];
	struct ahead_message message;
	struct buf uids = { 0 };

	switch (ahead_take(session->ahead, number, &message)) {
	case 0:
		wait_for_wanted(session);
		return;
	case -1:
		session->wanted = 0;
		refuse_failure(session, message.failure);
		return;
	}
	session->wanted = 0;
	if (message.size < entry->size) {
		close(message.fd);
		session_refuse(session, "SYS/PERM",
			"the message is not whole any more: something else has cut it short");
		return;
	}
	session_ok(session, "%" PRIu64 " octets", entry->wire);
	session->transfer_uid = entry->uid;
	transfer_begin(&session->transfer, message.fd, message.size, session->wanted_lines);
	if (session->store == NULL)
		return;
	ahead_ask_more(session->ahead, &session->maildrop, &uids);
	ask_store(session, &uids);
	buf_release(&uids);
}

void session_fetch(struct session *session, uint32_t number, int64_t lines)
{
	if (session->ahead == NULL)
		session->ahead = ahead_new(&session->worker->ahead);
	session->wanted = number;
	session->wanted_lines = lines;
	fetch_wanted(session);
}

static void update_failed(struct session *session, enum store_failure failure)
{
	session_refuse(session, "SYS/TEMP", "not all was deleted: the store could not do it now");
	LOG_WARNING("update-failed", LOG_STRING("user", session->user),
		LOG_STRING("failure", store_failure_name(failure)));
	session_finish(session, "update failed");
}

static void on_updated(void *owner, struct store_reply *reply)
{
	struct session *session = owner;

	session->waiting = false;
	if (reply->failure == STORE_OK) {
		session->deleted = reply->of.update.changed;
		session->worker->total.deleted += session->deleted;
		session_ok(session, "good-bye; %" PRIu32 " messages deleted", session->deleted);
		session_finish(session, "quit");
	} else {
		update_failed(session, reply->failure);
	}
}

/* For the log, in case they go. */
static void note_deleted(struct session *session, struct text run)
{
	struct message_reader in = { .at = run.ptr, .left = run.len };

	while (in.left)
		uids_add(&session->removed, message_get_u32(&in, 0));
}

void session_update(struct session *session)
{
	const uint64_t days = settings_of(session)->expire_days;
	struct buf uids = { 0 };

	session->state = SESSION_UPDATE;
	if (days > 0)
		maildrop_expire(&session->maildrop, (int64_t)time(NULL) - (int64_t)days * 86400);
	if (session->maildrop.deleted == 0) {
		session_ok(session, "good-bye");
		session_finish(session, "quit");
		return;
	}
	if (session->store == NULL) {
		update_failed(session, STORE_AWAY);
		return;
	}
	session->waiting = true;
	maildrop_deleted_uids(&session->maildrop, &uids);
	note_deleted(session, buf_text(&uids));
	store_client_update(session->store,
		&(struct store_update){ .kind = STORE_UPDATE_EXPUNGE, .uids = buf_text(&uids) },
		on_updated, session);
	buf_release(&uids);
}
