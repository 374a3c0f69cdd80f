#include "mda/resolve.h"

#include <string.h>

#include "base/arena.h"
#include "base/log.h"
#include "base/mem.h"
#include "mda/store_link.h"
#include "mda/verdict.h"

enum { BUCKETS = 4096, CACHE_LIMIT = 8 * BUCKETS };

/* A user whom the store knows; key and user lie behind it. */
struct known {
	struct known *next;
	struct text key; /* the canonical address that was asked for */
	struct text user;
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
	const struct common_settings *common;
	struct arena *arena;
	struct address postmaster; /* domain empty: not set */
	struct known **bucket;     /* BUCKETS of them */
	size_t known;
	uint64_t version; /* grows when the cache is dropped */
	struct query *queries;
};

/* ---- what is remembered ---- */

/* FNV-1a. Only users that exist are put in, so nobody can choose what collides. */
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

static void remember(struct resolve *resolve, struct text key, struct text user, uint64_t size)
{
	struct known *already = find_known(resolve, key);

	if (already) {
		if (already->size < size)
			already->size = size;
		return;
	}
	if (resolve->known >= CACHE_LIMIT)
		resolve_drop_cache(resolve);
	struct known *known = mem_new(sizeof(*known) + key.len + user.len);
	memcpy(known->octets, key.ptr, key.len);
	memcpy(known->octets + key.len, user.ptr, user.len);
	known->key = (struct text){ .ptr = known->octets, .len = key.len };
	known->user = (struct text){ .ptr = known->octets + key.len, .len = user.len };
	known->size = size;
	struct known **bucket = bucket_of(resolve, key);
	known->next = *bucket;
	*bucket = known;
	resolve->known++;
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
			mem_free(known);
			resolve->known--;
		}
	}
}

static bool is_any(const struct known *known, struct text argument)
{
	(void)known, (void)argument;
	return true;
}

static bool is_user(const struct known *known, struct text user)
{
	return text_equal(known->user, user);
}

void resolve_drop_cache(struct resolve *resolve)
{
	resolve->version++;
	drop_if(resolve, is_any, TEXT(""));
}

void resolve_drop_user(struct resolve *resolve, struct text user)
{
	resolve->version++;
	drop_if(resolve, is_user, user);
}

size_t resolve_cached(const struct resolve *resolve)
{
	return resolve->known;
}

/* ---- making and freeing ---- */

void resolve_reload(struct resolve *resolve, const struct common_settings *common,
	const struct mda_settings *settings)
{
	struct text postmaster = text_of(settings->postmaster);

	resolve->common = common;
	resolve->postmaster = (struct address){ .local = TEXT(""), .domain = TEXT("") };
	arena_empty(resolve->arena);
	postmaster = text_copy(resolve->arena, postmaster);
	if (postmaster.len && address_parse(resolve->arena, postmaster, false,
				      &resolve->postmaster) != ADDRESS_OK)
		LOG_WARNING("postmaster-is-no-address", LOG_TEXT("postmaster", postmaster));
}

struct resolve *resolve_new(struct store_link *link, const struct common_settings *common,
	const struct mda_settings *settings)
{
	struct resolve *resolve = mem_new(sizeof(*resolve));

	resolve->link = link;
	resolve->arena = arena_new(512);
	resolve->bucket = mem_array(BUCKETS, sizeof(*resolve->bucket));
	resolve_reload(resolve, common, settings);
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
	arena_free(&resolve->arena);
	mem_free(resolve);
	*handle = NULL;
}

/* ---- from the address to the mailbox that is meant ---- */

static bool is_our_domain(const struct resolve *resolve, struct text domain)
{
	const struct settings_list *domains = &resolve->common->domains;

	for (size_t i = 0; i < domains->count; i++) {
		if (text_equal_nocase(text_of(domains->item[i]), domain))
			return true;
	}
	return false;
}

/* <postmaster>, which every host must take (RFC 5321 section 4.5.1), is that of the first domain. */
static bool find_target(
	const struct resolve *resolve, const struct address *address, struct address *target)
{
	const struct settings_list *domains = &resolve->common->domains;

	*target = *address;
	if (target->domain.len == 0 && domains->count)
		target->domain = text_of(domains->item[0]);
	if (!is_our_domain(resolve, target->domain))
		return false;
	if (resolve->postmaster.domain.len && text_equal_nocase(address->local, TEXT("postmaster")))
		*target = resolve->postmaster;
	return true;
}

static void refuse(struct arena *arena, struct plan_recipient *recipient, struct reply reply)
{
	plan_add_refuse(arena, recipient, &reply);
}

static void keep(struct arena *arena, struct plan_recipient *recipient, struct text user)
{
	plan_add_keep(arena, recipient,
		&(struct plan_keep){
			.user = user, .mailbox = TEXT("INBOX"), .keywords = TEXT("") });
}

/* ---- asking the store ---- */

static void on_lookup(void *owner, struct store_reply *reply)
{
	struct query *query = owner;
	struct resolve *resolve = query->resolve;
	const struct text user = reply->of.lookup.user;

	if (reply->failure == STORE_OK && query->version == resolve->version)
		remember(resolve, (struct text){ .ptr = query->key, .len = query->key_length },
			user, query->size);
	resolve_done *done = query->done;
	if (done) {
		struct plan_recipient *recipient = query->recipient;
		void *waiting = query->owner;
		if (reply->failure == STORE_OK)
			keep(query->arena, recipient, user);
		else
			refuse(query->arena, recipient, verdict_reply(reply->failure));
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
	struct address target;

	if (!find_target(resolve, &recipient->address, &target)) {
		refuse(arena, recipient,
			REPLY(550, 5, 7, 1, "relaying denied: not a domain of this host"));
		return true;
	}
	const struct text key = address_canonical(arena, &target);
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
		keep(arena, recipient, known->user);
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
