/*
 * Who there is: users in memory, in the index and in the text file beside it (users*.c), and with them
 * domains and aliases, to which is done whatever is done to users as a whole (directory*.c).
 *
 * For whatever looks for a user, or adds, alters or removes one. The three agree once a change is answered;
 * after a loss of the index the text file says who there was.
 */
#ifndef STORE_USERS_H
#define STORE_USERS_H

#include "store/engine_private.h"

/* ---- users_memory.c ---- */

struct user *users_find(struct engine *engine, struct text address);          /* hidden ones, too */
struct user *users_with_number(const struct engine *engine, uint32_t number); /* likewise */
/* Where in engine.users the address is, or would be. */
size_t users_position(const struct engine *engine, struct text address);
/* In memory only; neither the address nor the number is taken. */
struct user *users_insert(
	struct engine *engine, struct text address, uint32_t number, struct text hash);
void users_set_hash(struct user *user, struct text hash);
void users_remove(struct engine *engine, struct user *user);
void users_free(struct engine *engine);

/* ---- users.c ---- */

int users_load(struct engine *engine); /* from the index */
/*
 * hash: a new one, or user->hash to leave what the index has, which may be one that was put and is not
 * durable yet. The same holds for quotas.
 */
int users_put(
	struct engine *engine, struct env_txn *txn, const struct user *user, const char *hash);
/* As users_put(), with this quota and the hash left alone. */
int users_put_quota(struct engine *engine, struct env_txn *txn, const struct user *user,
	uint64_t octets, uint64_t messages);
int users_put_counters(struct engine *engine, struct env_txn *txn);
/* What engine_lookup() said before may no longer hold. */
void users_announce(struct engine *engine);
/* Write what changed into the text file, then answer this change: not durable, when that fails. */
void users_save(struct engine *engine, struct change *change);
/* If that failed, try again. */
void users_catch_up(struct engine *engine);

/* ---- users_file.c ---- */

void users_print(const struct engine *engine, struct buf *out);
int users_parse(struct engine *engine, struct text octets); /* into memory. 0, or -1 */
int users_write_file(struct engine *engine);                /* blocks. 0, or -1 with errno */
/* 1: the users are in memory; 0: there is no such file; -1 with errno. */
int users_read_file(struct engine *engine);

void users_print_address(struct text address, struct buf *out);
int users_parse_address(struct text escaped, struct buf *address);

/* ---- directory*.c ---- */

struct directory *directory_new(void);
void directory_free(struct engine *engine);
void directory_clear(struct engine *engine); /* what is in memory, options apart */
int directory_load(struct engine *engine);   /* from the index */
int directory_put_all(struct engine *engine, struct env_txn *txn);
void directory_print(const struct engine *engine, struct buf *out);
int directory_parse(struct engine *engine, struct text line); /* one line of the text file */
bool directory_takes(const struct engine *engine, struct text address);
void directory_forget(struct engine *engine, const void *owner);
void directory_give_up(struct engine *engine); /* before changes_give_up() */

#endif
