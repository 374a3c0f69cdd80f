/*
 * Who is behind an address: domains, aliases, lists, subaddresses and catch-alls over the users.
 *
 * Addresses in and out are canonical (mail/address.h); "@domain" is a domain's catch-all. An address is
 * looked for in this order, the first find counts:
 *
 *	1. the alias of exactly this name
 *	2. the user of exactly this name
 *	3. user+detail: the alias or user in front of a separator, the longest one there is
 *	4. postmaster and abuse: the postmaster of the settings, else the first user
 *	5. the domain's catch-all
 *
 * Domains are those of the settings and those added here. What an alias leads to is looked for in the same
 * way; a member that names the alias itself is the user of that name. An alias is expanded once for each
 * address asked for, so a circle (refused when it is made) does no harm.
 *
 * Changes are carried out one after the other, each a transaction, and are in the text file beside the index
 * before they are answered (store/engine.h has the contract of `done`). result.sentence says what is wrong.
 */
#ifndef STORE_DIRECTORY_H
#define STORE_DIRECTORY_H

#include "store/engine.h"

struct arena;

/* Whether user+detail is delivered to the mailbox of that name. */
enum directory_detail {
	DIRECTORY_DETAIL_INBOX,    /* no */
	DIRECTORY_DETAIL_EXISTING, /* when the user has it */
	DIRECTORY_DETAIL_CREATE,   /* yes; it is made */
};

struct directory_options {
	const char *const *domains; /* as written in the settings */
	size_t domain_count;
	const char *separators; /* each octet of it is one; "": there are no subaddresses */
	const char *postmaster; /* an address, or "" */
	enum directory_detail detail;
};

/* Takes effect at once; everything is copied. Without it there is no domain but those added. */
void engine_directory_configure(struct engine *engine, const struct directory_options *options);

struct engine_target {
	struct text user;
	struct text mailbox;
	struct text owner; /* of the list it is reached by; "": by none */
};

struct engine_resolution {
	enum store_failure failure; /* as LOOKUP's reply has them */
	const struct engine_target *targets;
	size_t count;
	struct text alias; /* the first one on the way, or "" */
	struct text user;  /* for whom it failed, or "" */
	bool lasting;      /* holds until engine_options.directory says otherwise */
};

/* Everything is in the arena or valid until the control goes back to the loop. size as in LOOKUP. */
struct engine_resolution engine_resolve(
	struct engine *engine, struct arena *arena, struct text address, uint64_t size);

/* Whether mail for the address reaches this user and nobody else: their own, subaddresses, aliases. */
bool engine_address_owned(struct engine *engine, struct text user, struct text address);

/* Whether the domain (A-labels) is one of this host. */
bool engine_domain_is_ours(const struct engine *engine, struct text domain);

struct engine_alias {
	struct text address;
	struct text owner; /* "": no list */
	bool from_file;
	const struct text *members;
	size_t count;
};

/* STORE_MEMBERS_LIMIT members each. result.changed: aliases that were altered, made or removed. */
void engine_aliases_put(struct engine *engine, enum store_aliases_mode mode,
	const struct engine_alias *aliases, size_t count, engine_done *done, void *owner);

/* count 0: the whole alias. */
void engine_alias_remove(struct engine *engine, struct text address, const struct text *members,
	size_t count, engine_done *done, void *owner);

/* The first alias after this address in octet order (start with ""), or NULL. */
const struct engine_alias *engine_aliases_next(const struct engine *engine, struct text after);
/* Whether there is somebody for this address, full or not. */
bool engine_address_exists(struct engine *engine, struct text address);

void engine_domain_add(struct engine *engine, struct text domain, engine_done *done, void *owner);
void engine_domain_remove(
	struct engine *engine, struct text domain, engine_done *done, void *owner);

struct engine_domain {
	struct text name;
	bool in_settings;
	uint32_t users, aliases;
};

/* The first domain after this one in octet order (start with ""). False: there is none. */
bool engine_domains_next(
	const struct engine *engine, struct text after, struct engine_domain *domain);

#endif
