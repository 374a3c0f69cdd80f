/*
 * What the files of the verification share.
 */
#ifndef STORE_VERIFY_PRIVATE_H
#define STORE_VERIFY_PRIVATE_H

#include "store/engine_private.h"
#include "store/verify.h"

/* One more finding, of the mailbox unless that is NULL. A file name may hold anything; the line does not. */
void verify_find(struct verify_result *result, const struct mailbox *mailbox, const char *format,
	...) __attribute__((format(printf, 3, 4)));

/* verify_account.c: what belongs to a user as a whole. An error of env.h. */
int verify_account(
	struct engine *engine, const struct account *account, struct verify_result *result);
/* The mailbox's remembered expunges. An error of env.h. */
int verify_expunged(
	struct engine *engine, const struct mailbox *mailbox, struct verify_result *result);

/*
 * verify_store.c: nothing but the three empty directories of a Maildir, as a user or a mailbox leaves
 * them whose making was under way when the store was killed. Nothing was ever in them, and the next one
 * of that name takes them. path begins at fd.
 */
bool verify_is_bare(int fd, const char *path);

/* What belongs to no user. STORE_BUSY while users are being changed. */
enum store_failure verify_store(
	struct engine *engine, const struct verify_piece *piece, struct verify_result *result);

#endif
