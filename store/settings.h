/*
 * The settings of the store: section "store" of the settings file.
 *
 * The login-… fields, connections and what is about addresses can change while the store runs; the rest is
 * read at its start.
 */
#ifndef STORE_SETTINGS_H
#define STORE_SETTINGS_H

#include "base/settings.h"

struct store_settings {
	uint64_t quota_octets; /* of a user without a quota of its own; 0: none */
	uint64_t quota_messages;
	uint64_t message_octets; /* of one message; 0: no limit */
	uint64_t cache_octets;   /* of the index, in memory */
	uint64_t checkpoint_octets;
	uint64_t checkpoint_seconds;
	uint64_t once_days;    /* that a once-key is known; 0: for ever */
	uint64_t connections;  /* at once, of one kind of role */
	char *password_method; /* of new hashes: yescrypt, bcrypt, sha512-crypt */
	bool password_scram;
	uint64_t password_cost; /* of crypt_gensalt(3); 0: the method's default */
	uint64_t login_threads;
	uint64_t login_waiting;     /* logins that may wait for a thread */
	uint64_t login_remember;    /* seconds that a verified login is remembered; 0: not */
	uint64_t login_delay;       /* seconds until a failed login is told so */
	uint64_t login_failures;    /* of one client address within login_window; 0: no limit */
	uint64_t login_window;      /* seconds */
	bool login_limits_loopback; /* count clients on this machine, too */
	char *postmaster;           /* address of who gets postmaster's and abuse's mail, or "" */
	char *separators;     /* between user and detail, each octet one; "": no subaddresses */
	char *detail_mailbox; /* inbox, existing or create */
	char *aliases;        /* file of aliases(5), read by the supervisor; "": none */
};

extern const struct settings_section store_section;

#endif
