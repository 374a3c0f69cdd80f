#include "mda/resolve.h"

#include <string.h>

#include "base/arena.h"
#include "base/log.h"
#include "base/mem.h"
#include "mda/store_link.h"
#include "mda/verdict.h"

enum {
	BUCKETS = 4096,
	CACHE_LIMIT = 8 * BUCKETS,
	CACHE_OCTETS = 32 << 20, /* a list of a thousand members takes some 50 KiB */
};

/* An address that the store knows; what it said lies behind it. */
struct known {
	struct known *next;
	struct text key;     /* the canonical address that was asked for */
	struct text alias;   /* "": none */
	struct text targets; /* a run of STORE_TARGET */
	uint64_t size; /* of the largest message for which there is room, as far as was asked */
	char octets[];
};

/* A recipient who waits for the store. */
struct query {
	struct resolve *resolve;
	struct query *next, **at;
	struct arena *arena;
	struct plan_recipient *recipient;
	resolve_done *done; /* NULL: nobody waits any more */
	void *owner;
	uint64_t version; /* of the cache when it was asked */
	uint64_t size;
	size_t key_length;
	char key[STORE_ADDRESS_LIMIT];
};

struct resolve {
	struct store_link *link;
	struct known **bucket; /* BUCKETS of them */
	size_t known, octets;
	uint64_t version; /* grows when the cache is dropped */
	struct query *queries;
};

/* ---- what is remembered ---- */

/* FNV-1a. Only addresses that exist are put in, so nobody can choose what collides. */
static struct known **bucket_of(struct resolve *resolve, struct text key)
{
	uint32_t hash = 2166136261U;

	for (size_t i = 0; i < key.len; i++)
		hash = (hash ^ (unsigned char)key.ptr[i]) * 16777619U;
	return &resolve->bucket[hash % BUCKETS];
}

static struct known *find_known(struct resolve *resolve, struct text key)
{
	for (struct known *at = *bucket_of(resolve, key); at; at = at->next) {
		if (text_equal(at->key, key))
			return at;
	}
	return NULL;
}

static struct text keep_behind(char **at, struct text octets)
{
	const struct text kept = { .ptr = *at, .len = octets.len };

	if (octets.len)
		memcpy(*at, octets.ptr, octets.len);
	*at += octets.len;
	return kept;
}

static void remember(struct resolve *resolve, struct text key, uint64_t size,
	const struct store_lookup_reply *reply)
{
	struct known *already = find_known(resolve, key);

	if (already) {
		if (already->size < size)
			already->size = size;
		return;
	}
	const size_t octets = key.len + reply->alias.len + reply->targets.len;
	if (resolve->known >= CACHE_LIMIT || resolve->octets + octets > CACHE_OCTETS)
		resolve_drop_cache(resolve);
	struct known *known = mem_new(sizeof(*known) + octets);
	char *at = known->octets;
	known->key = keep_behind(&at, key);
	known->alias = keep_behind(&at, reply->alias);
	known->targets = keep_behind(&at, reply->targets);
	known->size = size;
	struct known **bucket = bucket_of(resolve, key);
	known->next = *bucket;
	*bucket = known;
	resolve->known++;
	resolve->octets += octets;
}

/* Forget those for whom matches says so. */
static void drop_if(struct resolve *resolve, bool (*matches)(const struct known *, struct text),
	struct text argument)
{
	for (size_t i = 0; i < BUCKETS && resolve->known; i++) {
		struct known **at = &resolve->bucket[i];
		while (*at) {
			struct known *known = *at;
			if (!matches(known, argument)) {
				at = &known->next;
				continue;
			}
			*at = known->next;
			resolve->known--;
			resolve->octets -= known->key.len + known->alias.len + known->targets.len;
			mem_free(known);
		}
	}
}

static bool is_any(const struct known *known, struct text argument)
{
	(void)known, (void)argument;
	return true;
}

/* The run was whole when it was remembered. */
static bool leads_to(const struct known *known, struct text user)
{
	struct message_reader run = { .at = known->targets.ptr, .left = known->targets.len };
	struct store_target target;

	while (run.left && store_target_unpack_from(&run, &target) == 0) {
		if (text_equal(target.user, user))
			return true;
	}
	return false;
}

void resolve_drop_cache(struct resolve *resolve)
{
	resolve->version++;
	drop_if(resolve, is_any, TEXT(""));
}

void resolve_drop_user(struct resolve *resolve, struct text user)
{
	resolve->version++;
	drop_if(resolve, leads_to, user);
}

size_t resolve_cached(const struct resolve *resolve)
{
	return resolve->known;
}

/* ---- making and freeing ---- */

struct resolve *resolve_new(struct store_link *link)
{
	struct resolve *resolve = mem_new(sizeof(*resolve));

	resolve->link = link;
	resolve->bucket = mem_array(BUCKETS, sizeof(*resolve->bucket));
	return resolve;
}

static void free_query(struct query *query)
{
	*query->at = query->next;
	if (query->next)
		query->next->at = query->at;
	mem_free(query);
}

/* The link must be freed first: it may still answer. */
void resolve_free(struct resolve **handle)
{
	struct resolve *resolve = *handle;

	if (!resolve)
		return;
	while (resolve->queries)
		free_query(resolve->queries);
	resolve_drop_cache(resolve);
	mem_free(resolve->bucket);
	mem_free(resolve);
	*handle = NULL;
}

/* ---- what the store said ---- */

static void refuse(struct arena *arena, struct plan_recipient *recipient, struct reply reply)
{
	plan_add_refuse(arena, recipient, &reply);
}

/* Some failures mean more of an address than of anything else. */
static struct reply lookup_reply(enum store_failure failure)
{
	if (failure == STORE_REFUSED)
		return REPLY(550, 5, 7, 1, "relaying denied: not a domain of this host");
	if (failure == STORE_TOO_LARGE)
		return REPLY(
			550, 5, 3, 5, "this address leads to more mailboxes than fit a message");
	if (failure == STORE_INVALID)
		return REPLY(550, 5, 4, 6, "the aliases behind this address lead in a circle");
	return verdict_reply(failure);
}

static void keep_all(struct arena *arena, struct plan_recipient *recipient, struct text targets,
	struct text alias)
{
	struct message_reader run = { .at = targets.ptr, .left = targets.len };
	struct store_target target;

	while (run.left && store_target_unpack_from(&run, &target) == 0)
		plan_add_keep(arena, recipient,
			&(struct plan_keep){ .user = target.user,
				.mailbox = target.mailbox,
				.keywords = TEXT(""),
				.sender = target.owner });
	recipient->alias = text_copy(arena, alias);
}

static bool is_run(struct text targets)
{
	struct message_reader run = { .at = targets.ptr, .left = targets.len };
	struct store_target target;

	while (run.left && store_target_unpack_from(&run, &target) == 0)
		;
	return targets.len && run.left == 0 && !run.bad;
}

/* ---- asking the store ---- */

static void on_lookup(void *owner, struct store_reply *reply)
{
	struct query *query = owner;
	struct resolve *resolve = query->resolve;
	const struct store_lookup_reply *found = &reply->of.lookup;
	enum store_failure failure = reply->failure;

	if (failure == STORE_OK && !is_run(found->targets))
		failure = STORE_DAMAGED;
	if (failure == STORE_OK && found->lasting && query->version == resolve->version)
		remember(resolve, (struct text){ .ptr = query->key, .len = query->key_length },
			query->size, found);
	resolve_done *done = query->done;
	if (done) {
		struct plan_recipient *recipient = query->recipient;
		void *waiting = query->owner;
		if (failure == STORE_OK)
			keep_all(query->arena, recipient, found->targets, found->alias);
		else
			refuse(query->arena, recipient, lookup_reply(failure));
		free_query(query);
		done(waiting, recipient);
		return;
	}
	free_query(query);
}

static void ask(struct resolve *resolve, struct store_client *client, struct text key,
	const struct query *details)
{
	struct query *query = mem_new(sizeof(*query));

	*query = *details;
	query->resolve = resolve;
	query->version = resolve->version;
	query->key_length = key.len;
	memcpy(query->key, key.ptr, key.len);
	query->next = resolve->queries;
	query->at = &resolve->queries;
	if (query->next)
		query->next->at = &query->next;
	resolve->queries = query;
	store_client_lookup(client, &(struct store_lookup){ .address = key, .size = details->size },
		on_lookup, query);
}

bool resolve_recipient(struct resolve *resolve, struct arena *arena,
	struct plan_recipient *recipient, uint64_t size, resolve_done *done, void *owner)
{
	const struct text key = address_canonical(arena, &recipient->address);

	if (!key.ptr) {
		refuse(arena, recipient,
			REPLY(501, 5, 1, 3, "domain is not a valid internationalized name"));
		return true;
	}
	if (key.len > STORE_ADDRESS_LIMIT) {
		refuse(arena, recipient, verdict_reply(STORE_NO_SUCH_USER));
		return true;
	}
	const struct known *known = find_known(resolve, key);
	if (known && size <= known->size) {
		keep_all(arena, recipient, known->targets, known->alias);
		return true;
	}
	struct store_client *client = store_link_client(resolve->link);
	if (!client) {
		refuse(arena, recipient, verdict_reply(STORE_AWAY));
		return true;
	}
	ask(resolve, client, key,
		&(struct query){ .arena = arena,
			.recipient = recipient,
			.done = done,
			.owner = owner,
			.size = size });
	return false;
}

void resolve_forget(struct resolve *resolve, const struct arena *arena)
{
	for (struct query *query = resolve->queries; query; query = query->next) {
		if (query->arena == arena)
			query->done = NULL;
	}
}
