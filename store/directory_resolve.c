/*
 * From an address to mailboxes. The order in which it is looked for is told in directory.h.
 */
#include <string.h>

#include "base/log.h"
#include "mail/idn.h"
#include "store/directory_private.h"
#include "store/mailbox.h"

/* ---- one step ---- */

static struct user *find_user(struct engine *engine, struct text address)
{
	struct user *user = users_find(engine, address);

	return user && !user->hidden ? user : NULL;
}

/* The alias or user of exactly this name. */
static bool match_name(const struct finder *finder, struct text address, struct match *match)
{
	match->alias = finder->find(finder, address);
	if (!match->alias)
		match->user = find_user(finder->engine, address);
	match->kind = match->alias ? MATCH_ALIAS : match->user ? MATCH_USER : MATCH_NOBODY;
	return match->kind != MATCH_NOBODY;
}

/* user+detail, the longest user first: "a-b+c" is of "a-b" before it is of "a". */
static bool match_detail(
	const struct finder *finder, struct text local, struct text domain, struct match *match)
{
	const struct text separators = finder->engine->directory->separators;
	char base[STORE_ADDRESS_LIMIT];

	for (size_t at = local.len; separators.len && at-- > 1;) {
		if (text_find(separators, local.ptr[at]) < 0)
			continue;
		memcpy(base, local.ptr, at);
		base[at] = '@';
		memcpy(base + at + 1, domain.ptr, domain.len);
		if (!match_name(finder, (struct text){ .ptr = base, .len = at + 1 + domain.len },
			    match))
			continue;
		match->detail = text_from(local, at + 1);
		match->lasting = false;
		return true;
	}
	return false;
}

static bool is_role(struct text local)
{
	return text_equal(local, TEXT("postmaster")) || text_equal(local, TEXT("abuse"));
}

struct match directory_match(const struct finder *finder, struct text address)
{
	const struct text domain = directory_domain_of(address);
	struct match match = { .kind = MATCH_NOBODY, .lasting = true };

	if (address.len > STORE_ADDRESS_LIMIT || domain.len == 0 || domain.len >= address.len ||
		!engine_domain_is_ours(finder->engine, domain))
		return match;
	const struct text local = text_head(address, address.len - domain.len - 1);
	if (match_name(finder, address, &match) || match_detail(finder, local, domain, &match))
		return match;
	match.lasting = false;
	if (is_role(local)) {
		match.kind = MATCH_POSTMASTER;
		match.lasting = true;
	} else if (local.len) {
		match_name(finder, text_from(address, local.len), &match);
	}
	return match;
}

struct text directory_postmaster(struct engine *engine, struct user **user)
{
	*user = NULL;
	for (size_t i = 0; i < engine->user_count; i++) {
		struct user *at = engine->users[i];
		if (!at->hidden && !at->leaving &&
			(!*user || at->public.number < (*user)->public.number))
			*user = at;
	}
	return engine->directory->postmaster;
}

/* ---- all of them ---- */

struct walk {
	struct finder finder;
	struct arena *arena;
	struct engine_target *targets;
	size_t count, room;
	uint64_t size;
	bool only_names; /* whoever it is: room, mailboxes and the rest do not matter */
	bool lasting;
	unsigned depth;
	struct text alias;
	size_t reached; /* targets, those included that were there before */
	bool for_owner; /* on the way to a list's owner, instead of a member */
	bool circle;
	enum store_failure failure; /* of the whole: nobody gets it */
	struct text user;
};

static struct alias *find_visible(const struct finder *finder, struct text address)
{
	return directory_find(finder->engine->directory, address);
}

static bool is_target(struct walk *walk, struct user *user, struct text mailbox)
{
	const bool inbox = text_equal(mailbox, TEXT("INBOX"));

	if (inbox && user->stamp == walk->finder.engine->directory->stamp)
		return true;
	if (inbox)
		user->stamp = walk->finder.engine->directory->stamp;
	for (size_t i = 0; i < walk->count && !inbox; i++) {
		if (text_equal(walk->targets[i].user, user->public.address) &&
			text_equal(walk->targets[i].mailbox, mailbox))
			return true;
	}
	return false;
}

static void add_target(struct walk *walk, struct user *user, struct text mailbox, struct text owner)
{
	walk->reached++;
	if (is_target(walk, user, mailbox))
		return;
	if (walk->count == STORE_RECIPIENTS_LIMIT) {
		walk->failure = STORE_TOO_LARGE;
		return;
	}
	if (walk->count == walk->room) {
		const size_t room = walk->room ? 4 * walk->room : 4;
		struct engine_target *more = arena_take(walk->arena, room * sizeof(*more));
		if (walk->count)
			memcpy(more, walk->targets, walk->count * sizeof(*more));
		walk->targets = more;
		walk->room = room;
	}
	walk->targets[walk->count++] = (struct engine_target){
		.user = user->public.address, .mailbox = mailbox, .owner = owner
	};
}

/* Of the mailbox that a detail names, as the options have it. */
static struct text mailbox_for(struct walk *walk, struct account *account, struct text detail)
{
	const struct directory *directory = walk->finder.engine->directory;
	char folder[MAILDIR_NAME_LIMIT + 1];

	if (detail.len == 0 || directory->detail == DIRECTORY_DETAIL_INBOX)
		return TEXT("INBOX");
	/* Addresses do not tell case, names of mailboxes do. */
	for (size_t i = 0; i < account->count; i++) {
		const struct text name = text_of(account->mailboxes[i]->name);
		if (text_equal(idn_local(walk->arena, name), detail))
			return text_copy(walk->arena, name);
	}
	if (directory->detail == DIRECTORY_DETAIL_CREATE && account->count < DIRECTORY_MAILBOXES &&
		detail.len <= STORE_MAILBOX_LIMIT && maildir_folder(detail, folder) == 0)
		return text_copy(walk->arena, maildir_canonical(detail));
	return TEXT("INBOX");
}

static void reach(struct walk *walk, struct text address, struct text detail, struct text owner,
	struct alias *from);

/*
 * One member without room must not keep the list from all the others: its copy goes to the owner, who gets
 * the list's errors. Without room there either, the whole list has to wait.
 */
static void reach_owner(struct walk *walk, struct user *user, struct text owner)
{
	const size_t before = walk->reached;

	LOG_WARNING("list-member-full", LOG_TEXT("user", user->public.address),
		LOG_TEXT("owner", owner));
	walk->lasting = false;
	walk->for_owner = true;
	walk->depth++;
	reach(walk, owner, (struct text){ 0 }, owner, NULL);
	walk->depth--;
	walk->for_owner = false;
	if (walk->reached > before || walk->failure != STORE_OK)
		return;
	walk->failure = STORE_OVER_QUOTA;
	walk->user = user->public.address;
}

static void reach_user(struct walk *walk, struct user *user, struct text detail, struct text owner)
{
	struct engine *engine = walk->finder.engine;
	struct account *account;

	if (walk->only_names) {
		add_target(walk, user, TEXT("INBOX"), owner);
		return;
	}
	enum store_failure failure = engine_lookup(engine, user->public.address, walk->size);
	if (failure == STORE_OK && detail.len)
		failure = account_of(engine, user->public.address, &account);
	if (failure == STORE_OVER_QUOTA && owner.len && !walk->for_owner) {
		reach_owner(walk, user, owner);
	} else if (failure != STORE_OK) {
		walk->failure = failure;
		walk->user = user->public.address;
	} else {
		const struct text mailbox =
			detail.len ? mailbox_for(walk, account, detail) : TEXT("INBOX");
		walk->lasting = walk->lasting && !detail.len;
		add_target(walk, user, mailbox, owner);
	}
}

static void reach_members(
	struct walk *walk, struct alias *alias, struct text detail, struct text owner)
{
	const uint64_t stamp = walk->finder.engine->directory->stamp;

	if (alias->stamp == stamp || walk->depth >= DIRECTORY_NESTING) {
		walk->circle = walk->circle || alias->open || walk->depth >= DIRECTORY_NESTING;
		return;
	}
	if (walk->alias.len == 0)
		walk->alias = alias->public.address;
	alias->stamp = stamp;
	alias->open = true;
	walk->depth++;
	if (alias->public.owner.len)
		owner = alias->public.owner;
	for (size_t i = 0; i < alias->public.count && walk->failure == STORE_OK; i++)
		reach(walk, alias->public.members[i], detail, owner, alias);
	walk->depth--;
	alias->open = false;
}

static void reach_postmaster(struct walk *walk, struct text owner)
{
	const size_t before = walk->count;
	struct user *first;
	const struct text set = directory_postmaster(walk->finder.engine, &first);

	/* "postmaster" set to a postmaster without a mailbox is the first user, too. */
	if (set.len && walk->depth < DIRECTORY_NESTING) {
		walk->depth++;
		reach(walk, set, (struct text){ 0 }, owner, NULL);
		walk->depth--;
	}
	if (walk->count == before && walk->failure == STORE_OK && first)
		reach_user(walk, first, (struct text){ 0 }, owner);
}

/* from: the alias that this is a member of, or NULL. detail: what its address had and its members get. */
static void reach(struct walk *walk, struct text address, struct text detail, struct text owner,
	struct alias *from)
{
	struct match match = directory_match(&walk->finder, address);

	if (match.kind == MATCH_ALIAS && match.alias == from) {
		match.user = find_user(walk->finder.engine, from->public.address);
		match.kind = match.user ? MATCH_USER : MATCH_NOBODY;
	}
	if (match.detail.len)
		detail = match.detail;
	/* What members lead to depends on the directory alone, however it is found. */
	walk->lasting = walk->lasting && (match.lasting || walk->depth);
	switch (match.kind) {
	case MATCH_NOBODY:
		break;
	case MATCH_USER:
		reach_user(walk, match.user, detail, owner);
		break;
	case MATCH_ALIAS:
		reach_members(walk, match.alias, detail, owner);
		break;
	case MATCH_POSTMASTER:
		reach_postmaster(walk, owner);
		break;
	}
}

static void walk_from(struct walk *walk, struct text address)
{
	struct directory *directory = walk->finder.engine->directory;

	directory->stamp++;
	walk->alias = walk->user = TEXT("");
	walk->lasting = true;
	reach(walk, address, (struct text){ 0 }, TEXT(""), NULL);
	if (walk->failure == STORE_OK && walk->count == 0)
		walk->failure = walk->circle ? STORE_INVALID : STORE_NO_SUCH_USER;
}

/* <postmaster>, which every host must take (RFC 5321 section 4.5.1), is that of the first domain. */
static struct text whole_address(struct engine *engine, struct arena *arena, struct text address)
{
	const struct directory *directory = engine->directory;
	const struct text first = directory->first.len       ? directory->first
				  : directory->domains.count ? text_of(directory->domains.names[0])
							     : TEXT("");

	if (!text_equal(address, TEXT("postmaster")) || first.len == 0)
		return address;
	return text_format(arena, "postmaster@%.*s", TEXT_ARG(first));
}

struct engine_resolution engine_resolve(
	struct engine *engine, struct arena *arena, struct text address, uint64_t size)
{
	struct walk walk = { .finder = { .engine = engine, .find = find_visible },
		.arena = arena,
		.size = size,
		.alias = TEXT(""),
		.user = TEXT("") };

	address = whole_address(engine, arena, address);
	if (engine->broken)
		walk.failure = STORE_BUSY;
	else if (!engine_domain_is_ours(engine, directory_domain_of(address)))
		walk.failure = STORE_REFUSED;
	else
		walk_from(&walk, address);
	return (struct engine_resolution){ .failure = walk.failure,
		.targets = walk.targets,
		.count = walk.failure == STORE_OK ? walk.count : 0,
		.alias = walk.alias,
		.user = walk.user,
		.lasting = walk.failure == STORE_OK && walk.lasting };
}

static void walk_names(struct engine *engine, struct text address, struct walk *walk)
{
	arena_empty(engine->directory->scratch);
	*walk = (struct walk){ .finder = { .engine = engine, .find = find_visible },
		.arena = engine->directory->scratch,
		.only_names = true };
	walk_from(walk, whole_address(engine, engine->directory->scratch, address));
}

bool engine_address_exists(struct engine *engine, struct text address)
{
	struct walk walk;

	walk_names(engine, address, &walk);
	return walk.failure == STORE_OK;
}

bool engine_address_owned(struct engine *engine, struct text user, struct text address)
{
	struct walk walk;

	walk_names(engine, address, &walk);
	for (size_t i = 0; i < walk.count; i++) {
		if (!text_equal(walk.targets[i].user, user))
			return false;
	}
	return walk.failure == STORE_OK;
}
