/*
 * Before a change of aliases is carried out: what must not come about. The walk sees aliases as they will
 * be. Each alias is looked into once, however many lead to it.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/change.h"
#include "store/directory_private.h"

enum { SAID_AT_MOST = 100 }; /* lines about members nobody knows */

void job_say(struct job *job, const char *format, ...)
{
	struct text *sentence = &job->change->result.sentence;
	char line[2 * STORE_ADDRESS_LIMIT + 256];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(line, sizeof(line), format, arguments);
	va_end(arguments);
	if (sentence->len + strlen(line) + 1 > STORE_SENTENCE_LIMIT)
		return;
	*sentence = sentence->len
			    ? text_format(job->change->arena, "%.*s\n%s", TEXT_ARG(*sentence), line)
			    : text_copy(job->change->arena, text_of(line));
}

static int compare_aliases(const void *key, const void *element)
{
	const struct alias *const *alias = element;

	return text_compare(*(const struct text *)key, (*alias)->public.address);
}

static int compare_texts(const void *key, const void *element)
{
	return text_compare(*(const struct text *)key, *(const struct text *)element);
}

static struct alias *find_after(const struct finder *finder, struct text address)
{
	const struct job *job = finder->job;
	struct alias *const *put = job->put_count ? bsearch(&address, job->put, job->put_count,
							    sizeof(struct alias *), compare_aliases)
						  : NULL;

	if (put)
		return *put;
	if (job->gone_count &&
		bsearch(&address, job->gone, job->gone_count, sizeof(struct text), compare_texts))
		return NULL;
	return directory_find(finder->engine->directory, address);
}

struct check {
	struct finder finder;
	struct job *job;
	uint64_t stamp;
	const struct alias *path[DIRECTORY_NESTING];
	unsigned depth;
};

static enum store_failure say_circle(const struct check *check, const struct alias *again)
{
	struct arena *arena = check->job->change->arena;
	struct text way = TEXT("");
	unsigned at = 0;

	while (at < check->depth && check->path[at] != again)
		at++;
	for (; at < check->depth; at++)
		way = text_format(arena, "%.*s%.*s -> ", TEXT_ARG(way),
			TEXT_ARG(check->path[at]->public.address));
	check->job->change->result.sentence = text_format(arena, "this would be a circle: %.*s%.*s",
		TEXT_ARG(way), TEXT_ARG(again->public.address));
	return STORE_INVALID;
}

static enum store_failure look_into(struct check *check, struct alias *alias);

static enum store_failure look_at(
	struct check *check, struct text address, const struct alias *from, unsigned hops)
{
	struct engine *engine = check->finder.engine;
	const struct match match = directory_match(&check->finder, address);
	struct user *user;

	switch (match.kind) {
	case MATCH_NOBODY:
	case MATCH_USER:
		break;
	case MATCH_ALIAS:
		if (match.alias == from && users_find(engine, from->public.address))
			break;
		if (match.alias->open)
			return say_circle(check, match.alias);
		return look_into(check, match.alias);
	case MATCH_POSTMASTER: {
		const struct text set = directory_postmaster(engine, &user);
		/* The one that leads to itself is the first user: see directory_resolve.c. */
		return set.len && hops == 0 ? look_at(check, set, from, 1) : STORE_OK;
	}
	}
	return STORE_OK;
}

static enum store_failure look_into(struct check *check, struct alias *alias)
{
	enum store_failure failure = STORE_OK;

	if (alias->stamp == check->stamp)
		return STORE_OK;
	if (check->depth == DIRECTORY_NESTING) {
		job_say(check->job, "%.*s is more than %d aliases deep",
			TEXT_ARG(alias->public.address), (int)DIRECTORY_NESTING);
		return STORE_INVALID;
	}
	alias->stamp = check->stamp;
	alias->open = true;
	check->path[check->depth++] = alias;
	for (size_t i = 0; i < alias->public.count && failure == STORE_OK; i++)
		failure = look_at(check, alias->public.members[i], alias, 0);
	check->depth--;
	alias->open = false;
	return failure;
}

/* ---- one alias by itself ---- */

static bool is_ours(const struct check *check, const struct alias *alias, struct text address)
{
	const struct text domain = directory_domain_of(address);

	if (engine_domain_is_ours(check->finder.engine, domain))
		return true;
	if (text_equal(address, alias->public.address))
		job_say(check->job,
			"%.*s: %.*s is not a domain of this host; restante domain add makes it one",
			TEXT_ARG(address), TEXT_ARG(domain));
	else
		job_say(check->job,
			"%.*s: %.*s is not on this host, and mail cannot be sent on to others",
			TEXT_ARG(alias->public.address), TEXT_ARG(address));
	return false;
}

static enum store_failure look_at_addresses(const struct check *check, const struct alias *alias)
{
	const struct engine_alias *public = &alias->public;
	bool ours = is_ours(check, alias, public->address);

	if (public->owner.len && text_equal(public->owner, public->address)) {
		job_say(check->job, "%.*s: a list cannot be its own owner",
			TEXT_ARG(public->address));
		return STORE_INVALID;
	}
	if (public->owner.len)
		ours = ours && is_ours(check, alias, public->owner);
	for (size_t i = 0; i < public->count && ours; i++)
		ours = is_ours(check, alias, public->members[i]);
	return ours ? STORE_OK : STORE_REFUSED;
}

/* Somebody who is not there: a slip when typed, and a matter of order when files are read. */
static enum store_failure look_for(
	struct check *check, const struct alias *alias, struct text address, unsigned *unknown)
{
	const struct match match = directory_match(&check->finder, address);
	const bool self = match.kind == MATCH_ALIAS && match.alias == alias &&
			  !users_find(check->finder.engine, alias->public.address);

	if (match.kind != MATCH_NOBODY && !self)
		return STORE_OK;
	if ((*unknown)++ < SAID_AT_MOST)
		job_say(check->job, "%.*s: there is no %.*s", TEXT_ARG(alias->public.address),
			TEXT_ARG(address));
	return check->job->mode == STORE_ALIASES_ADD ? STORE_NO_SUCH_USER : STORE_OK;
}

/* An alias comes before the user of the same name. */
static void look_for_user(const struct check *check, const struct engine_alias *alias)
{
	if (!users_find(check->finder.engine, alias->address))
		return;
	for (size_t i = 0; i < alias->count; i++) {
		if (text_equal(alias->members[i], alias->address))
			return;
	}
	job_say(check->job,
		"%.*s is a user, too, whose own mailbox gets nothing now; make it a member to keep "
		"a "
		"copy",
		TEXT_ARG(alias->address));
}

static enum store_failure look_for_members(struct check *check)
{
	struct job *job = check->job;
	enum store_failure failure = STORE_OK;
	unsigned unknown = 0;

	for (size_t i = 0; i < job->put_count && failure == STORE_OK; i++) {
		/* Only what is asked for now: a member who left long ago is not a slip of today. */
		const struct engine_alias *asked = &job->asked[i];
		if (asked->owner.len)
			failure = look_for(check, job->put[i], asked->owner, &unknown);
		for (size_t k = 0; k < asked->count && failure == STORE_OK; k++)
			failure = look_for(check, job->put[i], asked->members[k], &unknown);
		if (failure == STORE_OK)
			look_for_user(check, &job->put[i]->public);
	}
	if (unknown > SAID_AT_MOST)
		job_say(job, "%u more members are not there", unknown - SAID_AT_MOST);
	return failure;
}

enum store_failure directory_check(struct engine *engine, struct job *job)
{
	struct check check = { .finder = { .engine = engine, .find = find_after, .job = job },
		.job = job };
	enum store_failure failure = STORE_OK;

	for (size_t i = 0; i < job->put_count && failure == STORE_OK; i++)
		failure = look_at_addresses(&check, job->put[i]);
	if (failure == STORE_OK && job->kind == JOB_PUT)
		failure = look_for_members(&check);
	check.stamp = ++engine->directory->stamp;
	for (size_t i = 0; i < job->put_count && failure == STORE_OK; i++)
		failure = look_into(&check, job->put[i]);
	return failure;
}
