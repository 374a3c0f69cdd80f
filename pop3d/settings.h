/*
 * The settings of pop3d: section "pop3d" of the settings file.
 */
#ifndef POP3D_SETTINGS_H
#define POP3D_SETTINGS_H

#include "base/proxy.h"
#include "base/settings.h"

struct pop3d_settings {
	struct settings_list listen;     /* addresses for POP3 in the clear, with STLS */
	struct settings_list listen_tls; /* addresses for POP3 over TLS at once */
	uint64_t workers;                /* processes; 0: one per core */
	uint64_t clients;                /* sessions at once in one worker */
	uint64_t idle_seconds;           /* RFC 1939 section 3: at least ten minutes */
	uint64_t send_seconds;           /* without progress while the client does not read */
	uint64_t login_failures;         /* wrong logins before the connection is closed */
	uint64_t junk_commands;          /* commands in error before the connection is closed */
	uint64_t login_delay;            /* seconds between two logins of a user; 0: none */
	uint64_t expire_days;            /* messages older than this go at QUIT; 0: never */
	uint64_t clients_per_address;    /* sessions at once, at all workers; 0: no limit */
	bool limits_loopback;
	struct proxy_settings proxy;
	char *cleartext_login; /* "never", "local" (from loopback), "always" */
};

extern const struct settings_section pop3d_section;

#endif
