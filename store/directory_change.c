/*
 * Changes of the directory. One at a time: each is checked against what the one before it left, and that is
 * in memory only when it is durable. Those that come meanwhile wait.
 */
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "mail/address.h"
#include "store/change.h"
#include "store/directory_private.h"
#include "store/space.h"

static void run_next(struct engine *engine);

/* ---- the aliases that a job makes ---- */

static int compare_asked(const void *left, const void *right)
{
	const struct engine_alias *a = left, *b = right;

	return text_compare(a->address, b->address);
}

static int compare_members(const void *left, const void *right)
{
	const struct text *a = *(const struct text *const *)left;
	const struct text *b = *(const struct text *const *)right;
	const int order = text_compare(*a, *b);

	return order ? order : a < b ? -1 : a > b;
}

/* Each once, in the order in which they came. The number that is left. */
static size_t unique_members(struct arena *arena, struct text *members, size_t count)
{
	struct text **sorted = arena_take(arena, (count + 1) * sizeof(*sorted));
	size_t kept = 0;

	for (size_t i = 0; i < count; i++)
		sorted[i] = &members[i];
	qsort(sorted, count, sizeof(*sorted), compare_members);
	const struct text *last = NULL;
	for (size_t i = 0; i < count; i++) {
		if (last && text_equal(*last, *sorted[i]))
			sorted[i]->ptr = NULL;
		else
			last = sorted[i];
	}
	for (size_t i = 0; i < count; i++) {
		if (members[i].ptr)
			members[kept++] = members[i];
	}
	return kept;
}

static enum store_failure make_one(struct engine *engine, struct job *job, size_t index)
{
	struct arena *arena = job->change->arena;
	struct engine_alias alias = job->asked[index];
	const struct alias *before = directory_find(engine->directory, alias.address);
	const bool joins = before && job->mode == STORE_ALIASES_ADD;
	const size_t had = joins ? before->public.count : 0;
	struct text *members = arena_take(arena, (had + alias.count + 1) * sizeof(*members));

	if (had)
		memcpy(members, before->public.members, had * sizeof(*members));
	if (alias.count)
		memcpy(members + had, alias.members, alias.count * sizeof(*members));
	alias.members = members;
	alias.count = unique_members(arena, members, had + alias.count);
	if (joins && alias.owner.len == 0)
		alias.owner = before->public.owner;
	alias.from_file = job->mode == STORE_ALIASES_FILE;
	if (alias.count == 0 || alias.count > STORE_MEMBERS_LIMIT) {
		job_say(job,
			alias.count ? "%.*s would have more than %d members"
				    : "%.*s has no member; an alias leads to 1 to %d",
			TEXT_ARG(alias.address), (int)STORE_MEMBERS_LIMIT);
		return STORE_INVALID;
	}
	job->put[job->put_count++] = alias_new(&alias);
	return STORE_OK;
}

static int compare_key(const void *key, const void *element)
{
	return text_compare(
		*(const struct text *)key, ((const struct engine_alias *)element)->address);
}

/* What an earlier file had and this one has not. */
static void find_gone(const struct engine *engine, struct job *job)
{
	const struct directory *directory = engine->directory;

	job->gone = arena_take(job->change->arena, (directory->count + 1) * sizeof(*job->gone));
	for (size_t i = 0; i < directory->count; i++) {
		const struct engine_alias *alias = &directory->aliases[i]->public;
		if (alias->from_file &&
			(job->asked_count == 0 ||
				!bsearch(&alias->address, job->asked, job->asked_count,
					sizeof(*job->asked), compare_key)))
			job->gone[job->gone_count++] = alias->address;
	}
}

static bool is_same(const struct alias *a, const struct alias *b)
{
	bool same = a && text_equal(a->public.owner, b->public.owner) &&
		    a->public.from_file == b->public.from_file &&
		    a->public.count == b->public.count;

	for (size_t i = 0; same && i < b->public.count; i++)
		same = text_equal(a->public.members[i], b->public.members[i]);
	return same;
}

static enum store_failure make_aliases(struct engine *engine, struct job *job)
{
	enum store_failure failure = STORE_OK;

	if (job->asked_count)
		qsort(job->asked, job->asked_count, sizeof(*job->asked), compare_asked);
	job->put = arena_take(job->change->arena, (job->asked_count + 1) * sizeof(*job->put));
	for (size_t i = 0; i < job->asked_count && failure == STORE_OK; i++) {
		if (i && text_equal(job->asked[i].address, job->asked[i - 1].address)) {
			job_say(job, "%.*s is there twice", TEXT_ARG(job->asked[i].address));
			return STORE_INVALID;
		}
		failure = make_one(engine, job, i);
	}
	if (failure == STORE_OK && job->mode == STORE_ALIASES_FILE)
		find_gone(engine, job);
	return failure == STORE_OK ? directory_check(engine, job) : failure;
}

static bool is_among(struct text member, const struct engine_alias *alias)
{
	for (size_t i = 0; i < alias->count; i++) {
		if (text_equal(member, alias->members[i]))
			return true;
	}
	return false;
}

static enum store_failure remove_members(
	struct job *job, const struct engine_alias *alias, const struct engine_alias *asked)
{
	struct arena *arena = job->change->arena;
	struct text *members = arena_take(arena, alias->count * sizeof(*members));
	struct engine_alias rest = *alias;

	for (size_t i = 0; i < asked->count; i++) {
		if (is_among(asked->members[i], alias))
			continue;
		job_say(job, "%.*s is not a member of %.*s", TEXT_ARG(asked->members[i]),
			TEXT_ARG(alias->address));
		return STORE_NO_SUCH_USER;
	}
	rest.members = members;
	rest.count = 0;
	for (size_t i = 0; i < alias->count; i++) {
		if (!is_among(alias->members[i], asked))
			members[rest.count++] = alias->members[i];
	}
	if (rest.count == 0) {
		job_say(job, "%.*s would have no member; remove the alias itself",
			TEXT_ARG(alias->address));
		return STORE_INVALID;
	}
	job->put = arena_take(arena, sizeof(*job->put));
	job->put[job->put_count++] = alias_new(&rest);
	return STORE_OK;
}

static enum store_failure remove_alias(struct engine *engine, struct job *job)
{
	const struct engine_alias *asked = &job->asked[0];
	const struct alias *alias = directory_find(engine->directory, asked->address);

	if (!alias) {
		job_say(job, "there is no alias %.*s", TEXT_ARG(asked->address));
		return STORE_NO_SUCH_USER;
	}
	if (asked->count)
		return remove_members(job, &alias->public, asked);
	job->gone = arena_take(job->change->arena, sizeof(*job->gone));
	job->gone[job->gone_count++] = alias->public.address;
	return STORE_OK;
}

/* ---- domains ---- */

static enum store_failure look_at_domain(const struct engine *engine, struct job *job)
{
	const bool adds = job->kind == JOB_DOMAIN_ADD;
	const bool in_settings = domains_has(&engine->directory->configured, job->domain);

	if (!address_is_domain(job->domain, false)) {
		job_say(job, "%.*s is not a domain", TEXT_ARG(job->domain));
		return STORE_INVALID;
	}
	if (in_settings) {
		job_say(job, "%.*s stands in the settings%s", TEXT_ARG(job->domain),
			adds ? " already" : "; take it out there");
		return adds ? STORE_ALREADY_EXISTS : STORE_REFUSED;
	}
	if (adds != domains_has(&engine->directory->domains, job->domain))
		return STORE_OK;
	job_say(job, "%.*s is %s domain of this host", TEXT_ARG(job->domain),
		adds ? "already a" : "not a");
	return adds ? STORE_ALREADY_EXISTS : STORE_NO_SUCH_USER;
}

static void say_what_stays(const struct engine *engine, struct job *job)
{
	const struct engine_domain domain = directory_count(engine, job->domain);

	if (domain.users || domain.aliases)
		job_say(job, "no mail is taken any more for its %u user%s and %u alias%s",
			domain.users, domain.users == 1 ? "" : "s", domain.aliases,
			domain.aliases == 1 ? "" : "es");
}

/* ---- carrying out ---- */

static void free_made(struct job *job)
{
	for (size_t i = 0; i < job->put_count; i++)
		mem_free(job->put[i]);
	job->put_count = 0;
}

static int write_alias(struct engine *engine, struct env_txn *txn, struct job *job, size_t index)
{
	const struct alias *after = job->put[index];
	const struct alias *before = directory_find(engine->directory, after->public.address);
	int error = 0;

	if (is_same(before, after))
		return 0;
	job->change->result.changed++;
	if (before)
		error = directory_delete_alias(engine, txn, before);
	return error ? error : directory_put_alias(engine, txn, after);
}

static int write_rows(struct engine *engine, struct env_txn *txn, struct job *job)
{
	int error = 0;

	switch (job->kind) {
	case JOB_DOMAIN_ADD:
		return directory_put_domain(engine, txn, job->domain);
	case JOB_DOMAIN_REMOVE:
		return directory_delete_domain(engine, txn, job->domain);
	case JOB_PUT:
	case JOB_REMOVE:
		break;
	}
	for (size_t i = 0; i < job->put_count && error == 0; i++)
		error = write_alias(engine, txn, job, i);
	for (size_t i = 0; i < job->gone_count && error == 0; i++)
		error = directory_delete_alias(
			engine, txn, directory_find(engine->directory, job->gone[i]));
	job->change->result.changed += (uint32_t)job->gone_count;
	return error;
}

static enum store_failure commit(struct engine *engine, struct job *job)
{
	struct env_txn *txn;
	int error = env_begin(engine->env, &txn);

	if (error == 0) {
		error = write_rows(engine, txn, job);
		if (error)
			env_abort(txn);
		else
			error = env_commit(txn);
	}
	return error ? engine_env_failure(engine, "directory", error) : STORE_OK;
}

/* Durable: into memory, into the text file, and to everybody who remembers what was said before. */
static bool settled(struct change *change)
{
	struct engine *engine = change->engine;
	struct directory *directory = engine->directory;
	struct job *job = change->context;

	/* Names of those that go point into them. */
	for (size_t i = job->gone_count; i-- > 0;) {
		const struct text name = text_copy(change->arena, job->gone[i]);
		directory_remove(directory, name);
	}
	for (size_t i = 0; i < job->put_count; i++)
		directory_insert(directory, job->put[i]);
	if (job->kind == JOB_DOMAIN_ADD)
		domains_put(&directory->domains, job->domain);
	if (job->kind == JOB_DOMAIN_REMOVE) {
		say_what_stays(engine, job);
		domains_drop(&directory->domains, job->domain);
	}
	directory->active = NULL;
	users_announce(engine);
	users_save(engine, change);
	run_next(engine);
	return true;
}

static enum store_failure prepare(struct engine *engine, struct job *job)
{
	if (engine->broken)
		return STORE_BUSY;
	if (engine_space_is_low(engine))
		return STORE_NO_SPACE;
	switch (job->kind) {
	case JOB_PUT:
		return make_aliases(engine, job);
	case JOB_REMOVE:
		return remove_alias(engine, job);
	case JOB_DOMAIN_ADD:
	case JOB_DOMAIN_REMOVE:
		break;
	}
	return look_at_domain(engine, job);
}

static void run_next(struct engine *engine)
{
	struct directory *directory = engine->directory;
	struct job *job;

	while (!directory->active && (job = STAILQ_FIRST(&directory->jobs)) != NULL) {
		STAILQ_REMOVE_HEAD(&directory->jobs, link);
		enum store_failure failure = prepare(engine, job);
		if (failure == STORE_OK)
			failure = commit(engine, job);
		if (failure != STORE_OK) {
			free_made(job);
			change_ready(job->change, failure);
			continue;
		}
		directory->active = job;
		job->change->context = job;
		job->change->settled = settled;
		change_stage(job->change);
	}
}

/* ---- asked for ---- */

static struct job *job_new(
	struct engine *engine, enum job_kind kind, engine_done *done, void *owner)
{
	struct change *change = change_new(engine, done, owner);
	struct job *job = arena_take(change->arena, sizeof(*job));

	job->change = change;
	job->kind = kind;
	job->domain = TEXT("");
	return job;
}

static void submit(struct engine *engine, struct job *job)
{
	STAILQ_INSERT_TAIL(&engine->directory->jobs, job, link);
	run_next(engine);
}

static void copy_asked(struct job *job, struct engine_alias *to, const struct engine_alias *from)
{
	struct arena *arena = job->change->arena;
	struct text *members = arena_take(arena, (from->count + 1) * sizeof(*members));

	*to = (struct engine_alias){ .address = text_copy(arena, from->address),
		.owner = text_copy(arena, from->owner),
		.members = members,
		.count = from->count };
	for (size_t i = 0; i < from->count; i++)
		members[i] = text_copy(arena, from->members[i]);
}

void engine_aliases_put(struct engine *engine, enum store_aliases_mode mode,
	const struct engine_alias *aliases, size_t count, engine_done *done, void *owner)
{
	struct job *job = job_new(engine, JOB_PUT, done, owner);

	job->mode = mode;
	job->asked = arena_take(job->change->arena, (count + 1) * sizeof(*job->asked));
	job->asked_count = count;
	for (size_t i = 0; i < count; i++)
		copy_asked(job, &job->asked[i], &aliases[i]);
	submit(engine, job);
}

void engine_alias_remove(struct engine *engine, struct text address, const struct text *members,
	size_t count, engine_done *done, void *owner)
{
	struct job *job = job_new(engine, JOB_REMOVE, done, owner);
	const struct engine_alias asked = {
		.address = address, .owner = TEXT(""), .members = members, .count = count
	};

	job->asked = arena_take(job->change->arena, sizeof(*job->asked));
	job->asked_count = 1;
	copy_asked(job, job->asked, &asked);
	submit(engine, job);
}

static void submit_domain(struct engine *engine, enum job_kind kind, struct text domain,
	engine_done *done, void *owner)
{
	struct job *job = job_new(engine, kind, done, owner);

	job->domain = text_copy(job->change->arena, domain);
	submit(engine, job);
}

void engine_domain_add(struct engine *engine, struct text domain, engine_done *done, void *owner)
{
	submit_domain(engine, JOB_DOMAIN_ADD, domain, done, owner);
}

void engine_domain_remove(struct engine *engine, struct text domain, engine_done *done, void *owner)
{
	submit_domain(engine, JOB_DOMAIN_REMOVE, domain, done, owner);
}

void directory_forget(struct engine *engine, const void *owner)
{
	struct job *job;

	STAILQ_FOREACH (job, &engine->directory->jobs, link) {
		if (job->change->owner == owner)
			job->change->done = NULL;
	}
}

void directory_give_up(struct engine *engine)
{
	struct directory *directory = engine->directory;
	struct job *job;

	if (directory->active)
		free_made(directory->active);
	directory->active = NULL;
	while ((job = STAILQ_FIRST(&directory->jobs)) != NULL) {
		STAILQ_REMOVE_HEAD(&directory->jobs, link);
		change_ready(job->change, STORE_BUSY);
	}
}
