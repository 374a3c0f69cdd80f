/*
 * What the files of the directory share; only they include it.
 *
 *	directory.c         aliases and domains in memory
 *	directory_resolve.c who an address leads to
 *	directory_change.c  changes of them, one after the other
 *	directory_check.c   what may not be: members nobody knows, circles
 *	directory_file.c    rows in the index, lines in the text file
 */
#ifndef STORE_DIRECTORY_PRIVATE_H
#define STORE_DIRECTORY_PRIVATE_H

#include "store/directory.h"
#include "store/users.h"

enum {
	DIRECTORY_NESTING = 32,    /* aliases within aliases */
	DIRECTORY_MAILBOXES = 200, /* of a user, from which on details make no new ones */
};

/* One allocation, texts and all, that nothing changes but the marks. */
struct alias {
	struct engine_alias public;
	uint64_t stamp; /* of the last walk that came by */
	bool open;      /* that walk is inside it */
};

/* Names in octet order, each an allocation of its own. */
struct domain_list {
	char **names;
	size_t count, room;
};

struct job;
STAILQ_HEAD(job_list, job);

struct directory {
	struct arena *arena;           /* what the options say */
	struct domain_list configured; /* domains of the settings */
	struct text first;             /* the first of them; "" */
	struct text separators, postmaster;
	enum directory_detail detail;

	struct alias **aliases; /* by address */
	size_t count, room;
	struct domain_list domains; /* added here */
	uint64_t stamp;
	struct arena *scratch; /* of one call */

	struct job_list jobs; /* waiting */
	struct job *active;   /* committed, not yet durable */
};

/* ---- directory.c ---- */

struct alias *alias_new(const struct engine_alias *from);
struct alias *directory_find(const struct directory *directory, struct text address);
/* Takes the place of one of the same name, which is freed. */
void directory_insert(struct directory *directory, struct alias *alias);
void directory_remove(struct directory *directory, struct text address);

bool domains_has(const struct domain_list *list, struct text name);
void domains_put(struct domain_list *list, struct text name);
void domains_drop(struct domain_list *list, struct text name);

struct engine_domain directory_count(const struct engine *engine, struct text domain);

/* The part behind the last '@'; "" when there is none. */
struct text directory_domain_of(struct text address);

enum match_kind { MATCH_NOBODY, MATCH_USER, MATCH_ALIAS, MATCH_POSTMASTER };

struct match {
	enum match_kind kind;
	struct user *user;
	struct alias *alias;
	struct text detail; /* ptr NULL: none */
	bool lasting;       /* not one of endlessly many addresses */
};

/* How aliases are found: those in memory, or with what a change is about to do to them. */
struct finder {
	struct engine *engine;
	struct alias *(*find)(const struct finder *finder, struct text address);
	const struct job *job;
};

struct match directory_match(const struct finder *finder, struct text address);
/* The postmaster of the settings; "": there is none, and *user is the first user, or NULL. */
struct text directory_postmaster(struct engine *engine, struct user **user);

/* ---- directory_change.c ---- */

enum job_kind { JOB_PUT, JOB_REMOVE, JOB_DOMAIN_ADD, JOB_DOMAIN_REMOVE };

/* In the arena of its change. */
struct job {
	STAILQ_ENTRY(job) link;
	struct change *change;
	enum job_kind kind;
	enum store_aliases_mode mode;
	struct engine_alias *asked; /* JOB_PUT: by address; JOB_REMOVE: one */
	size_t asked_count;
	struct text domain;

	struct alias **put; /* by address; the job's until it is durable */
	size_t put_count;
	struct text *gone; /* aliases that go, by address */
	size_t gone_count;
};

/* ---- directory_check.c ---- */

/* Of a job whose put and gone are known: STORE_OK, or why not, with a sentence in the result. */
enum store_failure directory_check(struct engine *engine, struct job *job);
/* A sentence for the admin; another line when there is one. Past STORE_SENTENCE_LIMIT nothing is added. */
void job_say(struct job *job, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* ---- directory_file.c ---- */

int directory_put_alias(struct engine *engine, struct env_txn *txn, const struct alias *alias);
int directory_delete_alias(struct engine *engine, struct env_txn *txn, const struct alias *alias);
int directory_put_domain(struct engine *engine, struct env_txn *txn, struct text domain);
int directory_delete_domain(struct engine *engine, struct env_txn *txn, struct text domain);

#endif
