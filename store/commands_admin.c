/*
 * What the restante command asks for: users, and whether the index is right.
 */
#include <string.h>

#include "base/arena.h"
#include "base/log.h"
#include "base/mem.h"
#include "mail/address.h"
#include "store/password.h"
#include "store/server_private.h"
#include "store/verify.h"

enum { USERS_OCTETS = (1 << 20) - 1024, USERS_IN_A_REPLY = 1000 };

/* The canonical form of an address, in the server's scratch memory; false when it is none. */
static bool canonical(struct server *server, struct text in, struct text *out)
{
	struct address address;

	arena_empty(server->scratch);
	if (address_parse(server->scratch, in, true, &address) != ADDRESS_OK ||
		address.domain.len == 0 || address.local.len == 0)
		return false;
	*out = address_canonical(server->scratch, &address);
	return out->ptr != NULL;
}

/* ---- USER_ADD, USER_PASSWORD: the password is hashed first, in another thread ---- */

static void reply_user(
	struct session *session, uint32_t tag, bool is_new, enum store_failure failure)
{
	if (is_new)
		session_reply_user_add(
			session, tag, &(struct store_user_add_reply){ .failure = failure }, -1);
	else
		session_reply_user_password(session, tag,
			&(struct store_user_password_reply){ .failure = failure }, -1);
}

static void on_user_stored(void *owner, const struct engine_result *result)
{
	struct request *request = owner;

	LOG_INFO(request->is_new_user ? "user-added" : "password-changed",
		LOG_STRING("user", request->address),
		LOG_STRING("result", store_failure_name(result->failure)));
	if (request->session)
		reply_user(request->session, request->tag, request->is_new_user, result->failure);
	request_end(request);
}

static void store_user(struct request *request, const char *hash)
{
	struct engine *engine = request->session->server->engine;
	const struct text address = text_of(request->address);

	if (request->is_new_user)
		engine_user_add(engine, address, hash, on_user_stored, request);
	else
		engine_user_password(engine, address, hash, on_user_stored, request);
}

static void on_hashed(void *owner, const char *hash)
{
	struct request *request = owner;

	request->job = NULL;
	if (hash) {
		store_user(request, hash);
		return;
	}
	LOG_ERROR("password-not-hashed", LOG_STRING("user", request->address));
	reply_user(request->session, request->tag, request->is_new_user, STORE_BUSY);
	request_end(request);
}

/* STORE_OK: the request is under way. */
static enum store_failure begin_user(
	struct session *session, uint32_t tag, const struct store_user_add *in, bool is_new)
{
	struct server *server = session->server;
	struct text address;

	if (!canonical(server, in->address, &address) || in->hashed > 1 ||
		!(in->hashed ? password_hash_is_usable(in->password)
			     : password_is_usable(server->passwords, in->password)))
		return STORE_INVALID;
	if ((engine_user_find(server->engine, address) != NULL) == is_new)
		return is_new ? STORE_ALREADY_EXISTS : STORE_NO_SUCH_USER;
	struct request *request = request_begin(session, tag, false);
	request->is_new_user = is_new;
	request->address = mem_copy(address.ptr, address.len);
	if (in->hashed) {
		char *hash = mem_copy(in->password.ptr, in->password.len);
		store_user(request, hash);
		mem_free(hash);
		return STORE_OK;
	}
	request->job = password_hash(server->passwords, in->password, on_hashed, request);
	if (request->job)
		return STORE_OK;
	request_end(request);
	return STORE_BUSY;
}

void command_user_add(struct session *session, uint32_t tag, const struct store_user_add *request)
{
	const enum store_failure failure = begin_user(session, tag, request, true);

	text_wipe(request->password);
	if (failure != STORE_OK)
		reply_user(session, tag, true, failure);
}

void command_user_password(
	struct session *session, uint32_t tag, const struct store_user_password *request)
{
	const struct store_user_add in = {
		.address = request->address,
		.password = request->password,
		.hashed = request->hashed,
	};
	const enum store_failure failure = begin_user(session, tag, &in, false);

	text_wipe(request->password);
	if (failure != STORE_OK)
		reply_user(session, tag, false, failure);
}

/* ---- USER_REMOVE, USER_QUOTA, USERS ---- */

static void on_removed(void *owner, const struct engine_result *result)
{
	struct request *request = owner;

	LOG_INFO("user-removed", LOG_STRING("user", request->address),
		LOG_STRING("result", store_failure_name(result->failure)));
	if (request->session)
		session_reply_user_remove(request->session, request->tag,
			&(struct store_user_remove_reply){ .failure = result->failure }, -1);
	request_end(request);
}

void command_user_remove(struct session *session, uint32_t tag, const struct store_user_remove *in)
{
	struct server *server = session->server;
	struct text address;

	if (!canonical(server, in->address, &address)) {
		session_reply_user_remove(session, tag,
			&(struct store_user_remove_reply){ .failure = STORE_INVALID }, -1);
		return;
	}
	struct request *request = request_begin(session, tag, false);
	request->address = mem_copy(address.ptr, address.len);
	engine_user_remove(server->engine, address, on_removed, request);
}

static void on_quota_set(void *owner, const struct engine_result *result)
{
	struct request *request = owner;

	LOG_INFO("quota-set", LOG_STRING("user", request->address),
		LOG_STRING("result", store_failure_name(result->failure)));
	if (request->session)
		session_reply_user_quota(request->session, request->tag,
			&(struct store_user_quota_reply){ .failure = result->failure }, -1);
	request_end(request);
}

void command_user_quota(struct session *session, uint32_t tag, const struct store_user_quota *in)
{
	struct server *server = session->server;
	struct text address;

	if (!canonical(server, in->address, &address)) {
		session_reply_user_quota(session, tag,
			&(struct store_user_quota_reply){ .failure = STORE_INVALID }, -1);
		return;
	}
	struct request *request = request_begin(session, tag, false);
	request->address = mem_copy(address.ptr, address.len);
	engine_user_quota(server->engine, address, in->octets, in->messages, on_quota_set, request);
}

void command_users(struct session *session, uint32_t tag, const struct store_users *request)
{
	struct engine *engine = session->server->engine;
	struct store_users_reply reply = { .failure = STORE_OK };
	const struct engine_user *user = engine_users_next(engine, request->from);
	struct buf run = { 0 };

	for (size_t count = 0; user; user = engine_users_next(engine, user->address), count++) {
		struct store_user line = { .address = user->address };
		if (count == USERS_IN_A_REPLY || buf_length(&run) >= USERS_OCTETS) {
			reply.more = 1;
			break;
		}
		reply.failure = engine_usage(engine, user->address, &line.messages, &line.octets);
		if (reply.failure != STORE_OK)
			break;
		engine_user_limits(engine, user, &line.quota_octets, &line.quota_messages);
		store_user_pack(&run, &line);
	}
	reply.users = reply.failure == STORE_OK ? buf_text(&run) : TEXT("");
	session_reply_users(session, tag, &reply, -1);
	buf_release(&run);
}

/* ---- VERIFY, REBUILD, STATS ---- */

void command_verify(struct session *session, uint32_t tag, const struct store_verify *request)
{
	struct verify_result result = { 0 };
	const struct verify_piece piece = {
		.user = request->user,
		.mailbox = request->mailbox,
		.from = request->from,
	};
	const enum store_failure failure = engine_verify(session->server->engine, &piece, &result);

	session_reply_verify(session, tag,
		&(struct store_verify_reply){
			.failure = failure,
			.mailbox = buf_text(&result.mailbox),
			.from = result.from,
			.messages = result.messages,
			.findings = buf_text(&result.findings),
		},
		-1);
	buf_release(&result.mailbox);
	buf_release(&result.findings);
}

void command_rebuild(struct session *session, uint32_t tag, const struct store_rebuild *request)
{
	if (request->really != 1) {
		session_reply_rebuild(session, tag,
			&(struct store_rebuild_reply){ .failure = STORE_INVALID }, -1);
		return;
	}
	LOG_INFO("rebuild-asked-for");
	session_reply_rebuild(
		session, tag, &(struct store_rebuild_reply){ .failure = STORE_OK }, -1);
	engine_rebuild(session->server->engine);
}

void command_stats(struct session *session, uint32_t tag, const struct store_stats *request)
{
	struct buf counters = { 0 };

	(void)request;
	engine_count(session->server->engine, &counters);
	session_reply_stats(session, tag,
		&(struct store_stats_reply){ .failure = STORE_OK, .counters = buf_text(&counters) },
		-1);
	buf_release(&counters);
}
