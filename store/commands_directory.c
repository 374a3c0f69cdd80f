/*
 * What the restante command asks for about domains and aliases. Addresses come as people write them.
 */
#include <string.h>

#include "base/arena.h"
#include "base/log.h"
#include "base/mem.h"
#include "mail/address.h"
#include "mail/idn.h"
#include "store/directory.h"
#include "store/server_private.h"

enum { PAGE_OCTETS = 1 << 19 };

/* The canonical form in the server's scratch memory, or "@domain" of a catch-all; false: no address. */
static bool canonical(struct server *server, struct text in, struct text *out)
{
	struct address address;

	*out = TEXT("");
	if (in.len > 1 && in.ptr[0] == '@') {
		const struct text domain = idn_domain(server->scratch, text_from(in, 1));
		if (!domain.ptr || !address_is_domain(domain, false))
			return false;
		*out = text_format(server->scratch, "@%.*s", TEXT_ARG(domain));
	} else if (address_parse(server->scratch, in, true, &address) == ADDRESS_OK) {
		*out = address_canonical(server->scratch, &address);
	}
	return out->len > 0 && out->len <= STORE_ADDRESS_LIMIT;
}

/* ---- aliases as they come ---- */

/* 0, -1 when the run is malformed, 1 when *wrong is no address. */
static int read_members(
	struct server *server, struct text run, struct engine_alias *alias, struct text *wrong)
{
	struct message_reader reader = { .at = run.ptr, .left = run.len };
	/* No member takes less than 6 octets of the run. */
	const size_t room =
		run.len / 6 < STORE_MEMBERS_LIMIT ? run.len / 6 + 1 : STORE_MEMBERS_LIMIT;
	struct text *members = arena_take(server->scratch, room * sizeof(*members));
	struct store_member member;

	alias->members = members;
	for (alias->count = 0; reader.left; alias->count++) {
		if (alias->count == room || store_member_unpack_from(&reader, &member) != 0)
			return -1;
		*wrong = member.address;
		if (!canonical(server, member.address, &members[alias->count]) ||
			members[alias->count].ptr[0] == '@')
			return 1;
	}
	return 0;
}

static int read_alias(struct server *server, const struct store_alias *in,
	struct engine_alias *alias, struct text *wrong)
{
	*alias = (struct engine_alias){ .owner = TEXT("") };
	*wrong = in->address;
	if (!canonical(server, in->address, &alias->address))
		return 1;
	*wrong = in->owner;
	if (in->owner.len &&
		(!canonical(server, in->owner, &alias->owner) || alias->owner.ptr[0] == '@'))
		return 1;
	return read_members(server, in->members, alias, wrong);
}

struct aliases {
	struct engine_alias *all;
	size_t count, room;
};

static int read_aliases(
	struct server *server, struct text run, struct aliases *aliases, struct text *wrong)
{
	struct message_reader reader = { .at = run.ptr, .left = run.len };
	struct store_alias in;
	int result = 0;

	while (reader.left && result == 0) {
		if (store_alias_unpack_from(&reader, &in) != 0)
			return -1;
		if (aliases->count == aliases->room) {
			aliases->room = aliases->room ? 2 * aliases->room : 16;
			aliases->all =
				mem_resize(aliases->all, aliases->room * sizeof(*aliases->all));
		}
		result = read_alias(server, &in, &aliases->all[aliases->count++], wrong);
	}
	return result;
}

/* ---- changes ---- */

static void on_put(void *owner, const struct engine_result *result)
{
	struct request *request = owner;

	/* At each start the file of the settings comes again, mostly as it was. */
	if (result->changed || result->failure != STORE_OK)
		LOG_INFO("aliases-changed", LOG_NUMBER("aliases", result->changed),
			LOG_STRING("result", store_failure_name(result->failure)));
	if (request->session)
		session_reply_aliases_put(request->session, request->tag,
			&(struct store_aliases_put_reply){ .failure = result->failure,
				.sentence = result->sentence,
				.changed = result->changed },
			-1);
	request_end(request);
}

void command_aliases_put(struct session *session, uint32_t tag, const struct store_aliases_put *in)
{
	struct server *server = session->server;
	struct aliases aliases = { 0 };
	struct text wrong = TEXT("");

	arena_empty(server->scratch);
	const int result = read_aliases(server, in->aliases, &aliases, &wrong);
	if (result == 0)
		engine_aliases_put(server->engine, (enum store_aliases_mode)in->mode, aliases.all,
			aliases.count, on_put, request_begin(session, tag, false));
	else if (result < 0)
		session_end(session, "malformed aliases");
	else
		session_reply_aliases_put(session, tag,
			&(struct store_aliases_put_reply){ .failure = STORE_INVALID,
				.sentence = text_format(server->scratch, "%.*s is not an address",
					TEXT_ARG(wrong)) },
			-1);
	mem_free(aliases.all);
}

static void on_removed(void *owner, const struct engine_result *result)
{
	struct request *request = owner;

	LOG_INFO("alias-removed", LOG_STRING("alias", request->address),
		LOG_STRING("result", store_failure_name(result->failure)));
	if (request->session)
		session_reply_alias_remove(request->session, request->tag,
			&(struct store_alias_remove_reply){ .failure = result->failure,
				.sentence = result->sentence,
				.changed = result->changed },
			-1);
	request_end(request);
}

void command_alias_remove(
	struct session *session, uint32_t tag, const struct store_alias_remove *in)
{
	struct server *server = session->server;
	const struct store_alias asked = {
		.address = in->address, .owner = TEXT(""), .members = in->members
	};
	struct engine_alias alias;
	struct text wrong;

	arena_empty(server->scratch);
	const int result = read_alias(server, &asked, &alias, &wrong);
	if (result < 0) {
		session_end(session, "malformed members");
		return;
	}
	if (result > 0) {
		session_reply_alias_remove(session, tag,
			&(struct store_alias_remove_reply){ .failure = STORE_INVALID,
				.sentence = text_format(server->scratch, "%.*s is not an address",
					TEXT_ARG(wrong)) },
			-1);
		return;
	}
	struct request *request = request_begin(session, tag, false);
	request->address = mem_copy(alias.address.ptr, alias.address.len);
	engine_alias_remove(
		server->engine, alias.address, alias.members, alias.count, on_removed, request);
}

static struct request *begin_domain(
	struct session *session, uint32_t tag, struct text in, struct text *domain)
{
	struct server *server = session->server;
	struct request *request = request_begin(session, tag, false);

	arena_empty(server->scratch);
	*domain = idn_domain(server->scratch, in);
	/* What is no name goes on as it is: the engine says so. */
	if (!domain->ptr)
		*domain = in;
	request->address = mem_copy(domain->ptr, domain->len);
	return request;
}

static void on_domain_added(void *owner, const struct engine_result *result)
{
	struct request *request = owner;

	LOG_INFO("domain-added", LOG_STRING("domain", request->address),
		LOG_STRING("result", store_failure_name(result->failure)));
	if (request->session)
		session_reply_domain_add(request->session, request->tag,
			&(struct store_domain_add_reply){
				.failure = result->failure, .sentence = result->sentence },
			-1);
	request_end(request);
}

void command_domain_add(struct session *session, uint32_t tag, const struct store_domain_add *in)
{
	struct text domain;
	struct request *request = begin_domain(session, tag, in->domain, &domain);

	engine_domain_add(session->server->engine, domain, on_domain_added, request);
}

static void on_domain_removed(void *owner, const struct engine_result *result)
{
	struct request *request = owner;

	LOG_INFO("domain-removed", LOG_STRING("domain", request->address),
		LOG_STRING("result", store_failure_name(result->failure)));
	if (request->session)
		session_reply_domain_remove(request->session, request->tag,
			&(struct store_domain_remove_reply){
				.failure = result->failure, .sentence = result->sentence },
			-1);
	request_end(request);
}

void command_domain_remove(
	struct session *session, uint32_t tag, const struct store_domain_remove *in)
{
	struct text domain;
	struct request *request = begin_domain(session, tag, in->domain, &domain);

	engine_domain_remove(session->server->engine, domain, on_domain_removed, request);
}

/* ---- lists ---- */

static void pack_alias(struct engine *engine, const struct engine_alias *alias, struct buf *members,
	struct buf *run)
{
	buf_clear(members);
	for (size_t i = 0; i < alias->count; i++) {
		const struct store_member member = { .address = alias->members[i],
			.missing = !engine_address_exists(engine, alias->members[i]) };
		store_member_pack(members, &member);
	}
	store_alias_pack(run, &(struct store_alias){ .address = alias->address,
				      .owner = alias->owner,
				      .from_file = alias->from_file,
				      .members = buf_text(members) });
}

void command_aliases(struct session *session, uint32_t tag, const struct store_aliases *request)
{
	struct engine *engine = session->server->engine;
	struct store_aliases_reply reply = { .failure = STORE_OK };
	const struct engine_alias *alias = engine_aliases_next(engine, request->from);
	struct buf run = { 0 }, members = { 0 };

	for (; alias && !reply.more; alias = engine_aliases_next(engine, alias->address)) {
		reply.more = buf_length(&run) >= PAGE_OCTETS;
		if (!reply.more)
			pack_alias(engine, alias, &members, &run);
	}
	reply.aliases = buf_text(&run);
	session_reply_aliases(session, tag, &reply, -1);
	buf_release(&run);
	buf_release(&members);
}

void command_domains(struct session *session, uint32_t tag, const struct store_domains *request)
{
	const struct engine *engine = session->server->engine;
	struct store_domains_reply reply = { .failure = STORE_OK };
	struct engine_domain domain;
	struct buf run = { 0 };
	bool found = engine_domains_next(engine, request->from, &domain);

	for (; found && !reply.more; found = engine_domains_next(engine, domain.name, &domain)) {
		reply.more = buf_length(&run) >= PAGE_OCTETS;
		if (reply.more)
			break;
		store_domain_pack(&run, &(struct store_domain){ .domain = domain.name,
						.in_settings = domain.in_settings,
						.users = domain.users,
						.aliases = domain.aliases });
	}
	reply.domains = buf_text(&run);
	session_reply_domains(session, tag, &reply, -1);
	buf_release(&run);
}
