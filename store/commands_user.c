/*
 * What pop3d, imapd and smtp-in ask for: LOGIN, and then the mailboxes of the user who logged in.
 */
#include <endian.h>
#include <event2/event.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/ipc.h"
#include "base/mem.h"
#include "store/login.h"
#include "store/server_private.h"

enum {
	FETCH_RETRY_MICROSECONDS = 3000,
	FETCH_AHEAD_OCTETS = 128 << 10,
	MAILBOXES_OCTETS = (4 << 20) - 1024, /* of the reply to MAILBOXES */
};

/* ---- LOGIN ---- */

static void reply_login(
	struct session *session, uint32_t tag, enum store_failure failure, struct text user)
{
	session_reply_login(
		session, tag, &(struct store_login_reply){ .failure = failure, .user = user }, -1);
}

static void on_login(void *owner, enum store_failure failure, const struct engine_user *user)
{
	struct request *request = owner;
	struct session *session = request->session;

	request->login = NULL;
	failure = session_log_in(session, failure, user, request->spacing);
	reply_login(session, request->tag, failure, failure == STORE_OK ? user->address : TEXT(""));
	request_end(request);
}

/* smtp-in gets no rights by it, so it may check the logins of all its clients on one connection. */
void command_login(struct session *session, uint32_t tag, const struct store_login *request)
{
	if (session->user) {
		reply_login(session, tag, STORE_REFUSED, TEXT(""));
	} else {
		struct request *pending =
			request_begin(session, tag, (session->peer & STORE_BY_USER) != 0);
		pending->spacing = request->spacing;
		struct login *login =
			login_begin(session->server->logins, request, on_login, pending);
		if (login)
			pending->login = login;
	}
	text_wipe(request->password);
}

/* ---- mailboxes ---- */

static void add_mailbox(void *owner, const struct store_mailbox *mailbox)
{
	struct buf *out = owner;

	if (buf_length(out) < MAILBOXES_OCTETS)
		store_mailbox_pack(out, mailbox);
}

void command_mailboxes(struct session *session, uint32_t tag, const struct store_mailboxes *request)
{
	struct store_mailboxes_reply reply = { .failure = STORE_INVALID, .mailboxes = TEXT("") };
	struct buf run = { 0 };

	if (request->options == 0)
		reply.failure = engine_mailboxes(
			session->server->engine, session_user(session), add_mailbox, &run);
	if (reply.failure == STORE_OK && buf_length(&run) >= MAILBOXES_OCTETS)
		reply.failure = STORE_TOO_LARGE;
	if (reply.failure == STORE_OK)
		reply.mailboxes = buf_text(&run);
	session_reply_mailboxes(session, tag, &reply, -1);
	buf_release(&run);
}

static void on_created(void *owner, const struct engine_result *result)
{
	struct request *request = owner;

	if (request->session)
		session_reply_create(request->session, request->tag,
			&(struct store_create_reply){
				.failure = result->failure,
				.uidvalidity = result->uidvalidity,
			},
			-1);
	request_end(request);
}

void command_create(struct session *session, uint32_t tag, const struct store_create *request)
{
	engine_create(session->server->engine, session_user(session), request->mailbox, on_created,
		request_begin(session, tag, false));
}

static void on_renamed(void *owner, const struct engine_result *result)
{
	struct request *request = owner;

	if (request->session)
		session_reply_rename(request->session, request->tag,
			&(struct store_rename_reply){ .failure = result->failure }, -1);
	request_end(request);
}

void command_rename(struct session *session, uint32_t tag, const struct store_rename *request)
{
	engine_rename(session->server->engine, session_user(session), request->mailbox, request->to,
		on_renamed, request_begin(session, tag, false));
}

static void on_deleted(void *owner, const struct engine_result *result)
{
	struct request *request = owner;

	if (request->session)
		session_reply_delete(request->session, request->tag,
			&(struct store_delete_reply){ .failure = result->failure }, -1);
	request_end(request);
}

void command_delete(struct session *session, uint32_t tag, const struct store_delete *request)
{
	engine_delete(session->server->engine, session_user(session), request->mailbox, on_deleted,
		request_begin(session, tag, false));
}

/* ---- subscriptions ---- */

static void on_subscribed(void *owner, const struct engine_result *result)
{
	struct request *request = owner;

	if (request->session)
		session_reply_subscribe(request->session, request->tag,
			&(struct store_subscribe_reply){ .failure = result->failure }, -1);
	request_end(request);
}

void command_subscribe(struct session *session, uint32_t tag, const struct store_subscribe *request)
{
	engine_subscribe(session->server->engine, session_user(session), request->mailbox,
		request->on != 0, on_subscribed, request_begin(session, tag, false));
}

void command_subscriptions(
	struct session *session, uint32_t tag, const struct store_subscriptions *request)
{
	struct store_subscriptions_reply reply = { .failure = STORE_INVALID, .names = TEXT("") };
	struct buf names = { 0 };

	if (request->options == 0)
		reply.failure = engine_subscriptions(
			session->server->engine, session_user(session), &names);
	/* The last line may have been without its end. */
	if (reply.failure == STORE_OK && buf_length(&names) > STORE_SUBSCRIPTIONS_LIMIT)
		reply.failure = STORE_TOO_LARGE;
	if (reply.failure == STORE_OK)
		reply.names = buf_text(&names);
	session_reply_subscriptions(session, tag, &reply, -1);
	buf_release(&names);
}

/* ---- SELECT, UNSELECT ---- */

static void reply_select_failure(struct session *session, uint32_t tag, enum store_failure failure)
{
	session_reply_select(session, tag,
		&(struct store_select_reply){ .failure = failure, .keywords = TEXT("") }, -1);
}

/* The reply with its listing; without one there is no view either. */
static void reply_selected(struct session *session, uint32_t tag)
{
	struct engine_status status = { .keywords = TEXT("") };
	int fd = -1;
	const enum store_failure failure = engine_view_listing(session->view, &fd, &status);

	if (failure != STORE_OK) {
		session_leave_mailbox(session);
		reply_select_failure(session, tag, failure);
		return;
	}
	session_reply_select(session, tag,
		&(struct store_select_reply){
			.failure = STORE_OK,
			.uidvalidity = status.uidvalidity,
			.uidnext = status.uidnext,
			.messages = status.messages,
			.octets = status.octets,
			.modseq = status.modseq,
			.keywords = status.keywords,
		},
		fd);
	close(fd);
}

static void on_selected(void *owner, const struct engine_result *result)
{
	struct request *request = owner;
	struct session *session = request->session;
	struct engine_view *view = result->view;

	if (!session) {
		engine_view_close(&view);
	} else if (result->failure != STORE_OK) {
		reply_select_failure(session, request->tag, result->failure);
	} else {
		session->view = view;
		reply_selected(session, request->tag);
	}
	request_end(request);
}

/* As in IMAP, the mailbox selected before is left even if this one cannot be had. */
void command_select(struct session *session, uint32_t tag, const struct store_select *request)
{
	session_leave_mailbox(session);
	if (request->mode > STORE_SELECT_EXCLUSIVE) {
		reply_select_failure(session, tag, STORE_INVALID);
		return;
	}
	engine_select(session->server->engine, session_user(session), request->mailbox,
		request->mode, on_selected, request_begin(session, tag, true));
}

void command_unselect(struct session *session, uint32_t tag, const struct store_unselect *request)
{
	struct store_unselect_reply reply = { .failure = STORE_INVALID };

	if (request->options == 0) {
		session_leave_mailbox(session);
		reply.failure = STORE_OK;
	}
	session_reply_unselect(session, tag, &reply, -1);
}

/* ---- FETCH ---- */

/* The disk reads the first octets of all that are asked for together, not one after the other. */
static void read_ahead(const struct fetch *fetch, int fd)
{
	if (fetch->count > 1)
		posix_fadvise(fd, 0, FETCH_AHEAD_OCTETS, POSIX_FADV_WILLNEED);
}

/*
 * The replies carry descriptors. When the peer is slow to take them, the rest waits: opened all at once,
 * they would fill our table of descriptors.
 */
static void send_messages(struct session *session)
{
	const struct timeval later = { .tv_usec = FETCH_RETRY_MICROSECONDS };
	struct fetch *fetch = session->fetch;

	while (fetch->at < fetch->count) {
		struct store_fetch_reply reply = { .uid = fetch->uids[fetch->at] };
		int fd = -1;
		reply.failure = engine_view_fetch(session->view, reply.uid, &fd, &reply.size);
		reply.last = ++fetch->at == fetch->count;
		if (fd >= 0)
			read_ahead(fetch, fd);
		session_reply_fetch(session, fetch->request->tag, &reply, fd);
		if (fd < 0)
			continue;
		close(fd);
		if (!reply.last && ipc_pending(session->ipc) > 0) {
			event_add(&fetch->retry, &later);
			return;
		}
	}
	struct request *request = fetch->request;
	fetch_free(&session->fetch);
	request_end(request);
}

static void on_retry(evutil_socket_t fd, short what, void *argument)
{
	struct session *session = argument;
	const struct timeval later = { .tv_usec = FETCH_RETRY_MICROSECONDS };

	(void)fd, (void)what;
	if (ipc_pending(session->ipc) > 0)
		event_add(&session->fetch->retry, &later);
	else
		send_messages(session);
}

void fetch_free(struct fetch **handle)
{
	struct fetch *fetch = *handle;

	*handle = NULL;
	if (!fetch)
		return;
	event_del(&fetch->retry);
	mem_free(fetch);
}

void command_fetch(struct session *session, uint32_t tag, const struct store_fetch *request)
{
	const size_t count = request->uids.len / sizeof(uint32_t);

	if (count == 0 || request->uids.len % sizeof(uint32_t) != 0) {
		session_reply_fetch(session, tag,
			&(struct store_fetch_reply){ .failure = STORE_INVALID, .last = 1 }, -1);
		return;
	}
	struct fetch *fetch = mem_new(sizeof(*fetch) + count * sizeof(uint32_t));
	fetch->request = request_begin(session, tag, true);
	fetch->count = count;
	memcpy(fetch->uids, request->uids.ptr, request->uids.len);
	for (size_t i = 0; i < count; i++)
		fetch->uids[i] = le32toh(fetch->uids[i]);
	event_assign(&fetch->retry, session->server->loop, -1, 0, on_retry, session);
	session->fetch = fetch;
	send_messages(session);
}

/* ---- UPDATE, COPY, MOVE ---- */

/* On the heap. */
static uint32_t *read_uids(struct text run)
{
	const size_t count = run.len / sizeof(uint32_t);
	uint32_t *uids = mem_array(count, sizeof(*uids));

	memcpy(uids, run.ptr, count * sizeof(*uids));
	for (size_t i = 0; i < count; i++)
		uids[i] = le32toh(uids[i]);
	return uids;
}

static void on_updated(void *owner, const struct engine_result *result)
{
	struct request *request = owner;

	if (request->session)
		session_reply_update(request->session, request->tag,
			&(struct store_update_reply){
				.failure = result->failure,
				.changed = result->changed,
				.modseq = result->modseq,
			},
			-1);
	request_end(request);
}

void command_update(struct session *session, uint32_t tag, const struct store_update *request)
{
	const size_t count = request->uids.len / sizeof(uint32_t);

	if (request->kind > STORE_UPDATE_EXPUNGE || request->uids.len % sizeof(uint32_t) != 0 ||
		(request->flags & ~(uint32_t)SESSION_FLAGS)) {
		session_reply_update(
			session, tag, &(struct store_update_reply){ .failure = STORE_INVALID }, -1);
		return;
	}
	uint32_t *uids = read_uids(request->uids);
	engine_view_update(session->view, request->kind, request->flags, request->keywords, uids,
		count, on_updated, request_begin(session, tag, false));
	mem_free(uids);
}

/* COPY's reply, which is MOVE's as well; the runs are the caller's to release. */
static struct store_copy_reply copy_reply(
	const struct engine_result *result, struct buf *from, struct buf *to)
{
	for (size_t i = 0; i < result->pairs; i++) {
		message_add_u32(from, result->from[i]);
		message_add_u32(to, result->to[i]);
	}
	return (struct store_copy_reply){ .failure = result->failure,
		.uidvalidity = result->uidvalidity,
		.from = buf_text(from),
		.to = buf_text(to) };
}

static void on_copied(void *owner, const struct engine_result *result)
{
	struct request *request = owner;
	struct buf from = { 0 }, to = { 0 };

	if (request->session) {
		const struct store_copy_reply reply = copy_reply(result, &from, &to);
		session_reply_copy(request->session, request->tag, &reply, -1);
	}
	buf_release(&from);
	buf_release(&to);
	request_end(request);
}

static void on_moved(void *owner, const struct engine_result *result)
{
	struct request *request = owner;
	struct buf from = { 0 }, to = { 0 };

	if (request->session) {
		const struct store_copy_reply reply = copy_reply(result, &from, &to);
		session_reply_move(request->session, request->tag,
			&(struct store_move_reply){ .failure = reply.failure,
				.uidvalidity = reply.uidvalidity,
				.from = reply.from,
				.to = reply.to },
			-1);
	}
	buf_release(&from);
	buf_release(&to);
	request_end(request);
}

static void copy_or_move(struct session *session, uint32_t tag, struct text mailbox,
	struct text run, bool move, engine_done *done)
{
	struct request *request = request_begin(session, tag, false);

	if (run.len % sizeof(uint32_t) != 0) {
		done(request, &(struct engine_result){ .failure = STORE_INVALID });
		return;
	}
	uint32_t *uids = read_uids(run);
	engine_view_copy(
		session->view, mailbox, move, uids, run.len / sizeof(uint32_t), done, request);
	mem_free(uids);
}

void command_copy(struct session *session, uint32_t tag, const struct store_copy *request)
{
	copy_or_move(session, tag, request->mailbox, request->uids, false, on_copied);
}

void command_move(struct session *session, uint32_t tag, const struct store_move *request)
{
	copy_or_move(session, tag, request->mailbox, request->uids, true, on_moved);
}

/* ---- WATCH, CHANGES ---- */

static void on_changed(void *owner, const struct store_changed *notice)
{
	session_notify_changed(owner, notice);
}

void command_watch(struct session *session, uint32_t tag, const struct store_watch *request)
{
	struct store_watch_reply reply = { .failure = STORE_INVALID };

	if (request->on <= 1) {
		engine_view_watch(session->view, request->on ? on_changed : NULL, session);
		reply.failure = STORE_OK;
	}
	session_reply_watch(session, tag, &reply, -1);
}

void command_changes(struct session *session, uint32_t tag, const struct store_changes *request)
{
	struct engine_changes changes = { .fd = -1 };
	struct buf vanished = { 0 };
	struct store_changes_reply reply = {
		.failure = engine_view_changes(session->view, request->since, &changes, &vanished),
		.vanished = TEXT(""),
	};

	if (reply.failure == STORE_OK) {
		/* Too many to say: the peer compares with the listing, as after a gap. */
		const bool fits = buf_length(&vanished) <= STORE_UIDS_LIMIT;
		reply.complete = changes.complete && fits;
		reply.modseq = changes.modseq;
		if (fits)
			reply.vanished = buf_text(&vanished);
	}
	session_reply_changes(session, tag, &reply, reply.failure == STORE_OK ? changes.fd : -1);
	if (changes.fd >= 0)
		close(changes.fd);
	buf_release(&vanished);
}
