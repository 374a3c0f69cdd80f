/*
 * IMPORT_…: what another server made, from the restante command. See store/import.h.
 */
#include <string.h>

#include "base/arena.h"
#include "base/id.h"
#include "base/mem.h"
#include "store/import.h"
#include "store/maildir.h"
#include "store/server_private.h"

/* The mailbox of a folder's name, into `name`. */
static bool read_folder(struct text folder, struct buf *name)
{
	return maildir_mailbox(folder, name) == 0;
}

void command_import_begin(
	struct session *session, uint32_t tag, const struct store_import_begin *request)
{
	bool resumed = false;
	const enum store_failure failure =
		engine_import_begin(session->server->engine, request->user, &resumed);

	session_reply_import_begin(session, tag,
		&(struct store_import_begin_reply){ .failure = failure, .resumed = resumed }, -1);
}

/* ---- IMPORT_MAILBOX ---- */

static void reply_mailbox(struct session *session, uint32_t tag, enum store_failure failure,
	uint32_t uidnext, struct text uids)
{
	session_reply_import_mailbox(session, tag,
		&(struct store_import_mailbox_reply){
			.failure = failure, .uidnext = uidnext, .uids = uids },
		-1);
}

/* The request keeps "USER", a NUL and the mailbox's name. */
static void on_mailbox(void *owner, const struct engine_result *result)
{
	struct request *request = owner;
	enum store_failure failure = result->failure;
	struct buf uids = { 0 };
	uint32_t uidnext = 0;

	if (request->session) {
		const struct text user = text_of(request->address);
		const struct text mailbox = text_of(request->address + user.len + 1);
		if (failure == STORE_OK)
			failure = engine_import_uids(
				request->session->server->engine, user, mailbox, &uidnext, &uids);
		reply_mailbox(request->session, request->tag, failure, uidnext,
			failure == STORE_OK ? buf_text(&uids) : TEXT(""));
	}
	buf_release(&uids);
	request_end(request);
}

void command_import_mailbox(
	struct session *session, uint32_t tag, const struct store_import_mailbox *in)
{
	struct buf name = { 0 };

	if (!read_folder(in->folder, &name) || text_find(in->user, '\0') >= 0) {
		reply_mailbox(session, tag, STORE_INVALID, 0, TEXT(""));
		buf_release(&name);
		return;
	}
	struct request *request = request_begin(session, tag, true);
	const struct text mailbox = buf_text(&name);
	request->address = mem_new(in->user.len + 1 + mailbox.len + 1);
	memcpy(request->address, in->user.ptr, in->user.len);
	memcpy(request->address + in->user.len + 1, mailbox.ptr, mailbox.len);
	engine_import_mailbox(session->server->engine,
		&(struct engine_import){ .user = in->user,
			.mailbox = mailbox,
			.uidvalidity = in->uidvalidity,
			.uidnext = in->uidnext },
		on_mailbox, request);
	buf_release(&name);
}

/* ---- IMPORT_MESSAGE ---- */

static void reply_message(struct session *session, uint32_t tag, enum store_failure failure)
{
	session_reply_import_message(
		session, tag, &(struct store_import_message_reply){ .failure = failure }, -1);
}

static void on_message(void *owner, const struct engine_result *result)
{
	struct request *request = owner;

	if (request->session)
		reply_message(request->session, request->tag, result->failure);
	request_end(request);
}

static bool is_sensible(const struct store_import_message *request)
{
	return request->uid && request->uid <= STORE_UID_LIMIT && request->received > 0 &&
	       !(request->flags & ~(uint32_t)SESSION_FLAGS) &&
	       !(request->spool && request->body.len);
}

void command_import_message(
	struct session *session, uint32_t tag, const struct store_import_message *in)
{
	struct engine *engine = session->server->engine;
	const bool has_spool = in->spool && session_spool_take(session, in->spool);
	struct buf name = { 0 };

	if (!read_folder(in->folder, &name) || !is_sensible(in) || (in->spool && !has_spool)) {
		if (has_spool)
			engine_spool_drop(engine, in->spool);
		reply_message(session, tag, STORE_INVALID);
		buf_release(&name);
		return;
	}
	const struct engine_recipient recipient = { .user = in->user,
		.mailbox = buf_text(&name),
		.flags = in->flags,
		.keywords = in->keywords,
		.once = TEXT(""),
		.uid = in->uid };
	const struct id id = id_new();
	engine_deliver(engine,
		&(struct engine_delivery){ .id = text_of(id.string),
			.once = TEXT(""),
			.received = in->received,
			.spool = in->spool,
			.body = in->body,
			.recipients = &recipient,
			.count = 1,
			.is_import = true },
		on_message, request_begin(session, tag, false));
	buf_release(&name);
}

/* ---- IMPORT_END ---- */

/* Folders to the names of their mailboxes. */
static bool read_subscriptions(struct text folders, struct buf *names)
{
	struct buf name = { 0 };
	bool good = true;
	struct text line;

	while (good && folders.len && text_split(&folders, '\n', &line)) {
		good = folders.ptr && read_folder(line, &name);
		if (good)
			buf_format(names, "%.*s\n", TEXT_ARG(buf_text(&name)));
	}
	buf_release(&name);
	return good;
}

static void reply_end(struct session *session, uint32_t tag, enum store_failure failure)
{
	session_reply_import_end(
		session, tag, &(struct store_import_end_reply){ .failure = failure }, -1);
}

static void on_end(void *owner, const struct engine_result *result)
{
	struct request *request = owner;

	if (request->session)
		reply_end(request->session, request->tag, result->failure);
	request_end(request);
}

void command_import_end(
	struct session *session, uint32_t tag, const struct store_import_end *request)
{
	struct buf names = { 0 };

	if (read_subscriptions(request->subscriptions, &names))
		engine_import_end(session->server->engine, request->user, buf_text(&names), on_end,
			request_begin(session, tag, true));
	else
		reply_end(session, tag, STORE_INVALID);
	buf_release(&names);
}
