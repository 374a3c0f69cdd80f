/*
 * The bridge's accounts as they stand in settings files: one section "account-NAME" each.
 */
#ifndef RESTANTE_ACCOUNTS_H
#define RESTANTE_ACCOUNTS_H

#include "base/settings.h"
#include "bridge/settings.h"

typedef void host_report(void *owner, const char *sentence);

struct accounts {
	size_t count;
	struct bridge_account *list;
};

/*
 * settings_read() of these sections and of the accounts that stand beside them in the file, whose octets
 * are given. Paths in accounts become absolute. -1 after having reported what is wrong.
 */
int accounts_read_beside(struct accounts *accounts, const char *file, struct text octets,
	const struct settings_section *const *sections, void *const *values, size_t count,
	host_report *report, void *owner);

/* A file of accounts alone, added to those there are; without the file there are none in it. */
int accounts_read(struct accounts *accounts, const char *file, host_report *report, void *owner);

void accounts_free(struct accounts *accounts);

/* NULL: there is none of that name. */
const struct bridge_account *accounts_find(const struct accounts *accounts, const char *name);

/* The bridge's own items and all accounts, as the role gets them (bridge_role_section). */
void accounts_store(
	const struct accounts *accounts, const struct bridge_settings *settings, struct buf *out);

#endif
