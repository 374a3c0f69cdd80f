/*
 * The settings of the whole host: every section in one place, looked up by the names a person writes.
 */
#ifndef RESTANTE_SETTINGS_H
#define RESTANTE_SETTINGS_H

#include "base/common.h"
#include "restante/accounts.h"
#include "restante/roles.h"

enum { HOST_SECTIONS = 1 + HOST_ROLES };

#define HOST_SETTINGS_FILE "/etc/restante/restante.conf"

/* The top level, then one a role, in the order of enum host_role_id. */
extern const struct settings_section *const host_sections[HOST_SECTIONS];

/* The same and, last, the section that stands for each of the bridge's accounts: for the manual. */
enum { HOST_MANUAL_SECTIONS = HOST_SECTIONS + 1 };
extern const struct settings_section *const host_manual_sections[HOST_MANUAL_SECTIONS];

struct host_settings {
	void *values[HOST_SECTIONS];
	struct accounts accounts;
};

/* Where settings come from: a file, and what the command line puts over it ("SECTION.NAME=VALUE"). */
struct host_source {
	const char *file;
	const char *const *overrides;
	size_t override_count;
};

/*
 * Read and check everything that can be checked without touching the system: types, bounds, sections'
 * own rules, addresses. 0, or -1 after having reported every finding as "FILE:LINE: sentence"; *settings,
 * to be freed, then holds what was right and defaults for the rest.
 */
int host_settings_read(const struct host_source *source, struct host_settings **settings,
	host_report *report, void *owner);
void host_settings_free(struct host_settings **settings);

const struct common_settings *host_settings_common(const struct host_settings *settings);
const void *host_settings_of(const struct host_settings *settings, enum host_role_id role);

/* The role's section as it is handed to the role. */
void host_settings_store(
	const struct host_settings *settings, enum host_role_id role, struct buf *out);

/* An item of a role's section by name. The item must be there and have that type. */
const struct settings_list *host_settings_list(
	const struct host_settings *settings, enum host_role_id role, const char *name);
const char *host_settings_string(
	const struct host_settings *settings, enum host_role_id role, const char *name);

/*
 * How many processes of a role there shall be: its "workers", 0 meaning one a core, LIMITS_WORKERS at most;
 * else 1.
 */
unsigned host_settings_workers(const struct host_settings *settings, enum host_role_id role);

/* The mode of the mda's public socket. Its text is checked when settings are read. */
unsigned host_settings_socket_mode(const struct host_settings *settings);

/* The file with the bridge's further accounts, whether there is one or not. On the heap. */
char *host_settings_accounts_file(const struct host_settings *settings, const char *settings_file);

/* A path as written in the settings file: relative ones begin where the file is. On the heap. */
char *host_settings_path(const char *settings_file, struct text path);

#endif
