/*
 * The bridge's section of the settings file, and one section for each remote account:
 *
 *	bridge {
 *		accounts = bridge.conf
 *	}
 *	account-home {
 *		protocol = imap
 *		host = imap.example.net
 *		user = anna
 *		password-file = home.password
 *		to = anna@example.org
 *	}
 *
 * Accounts may stand in the settings file itself and in the file that `accounts` names, which
 * `restante bridge add` writes. The role gets both tables: its own items and, as one more list, each
 * account as the lines that settings_store() makes of it.
 */
#ifndef BRIDGE_SETTINGS_H
#define BRIDGE_SETTINGS_H

#include "base/settings.h"

#define BRIDGE_ACCOUNT_PREFIX "account-"

enum { BRIDGE_ACCOUNTS_MOST = 256, BRIDGE_NAME_LIMIT = 32 };

struct bridge_settings {
	char *accounts_file;
	char *hand_over; /* unix socket of the mda, in the run directory */
	char *ca_file;   /* certification authorities of servers that name none of their own */
	uint64_t message_size;         /* octets; larger ones stay where they are */
	uint64_t memory;               /* octets one account's process may have */
	uint64_t patience;             /* seconds without an octet from a server */
	struct settings_list accounts; /* towards the role only */
};

/* As a person writes it. The role's table has `accounts` beside it. */
extern const struct settings_section bridge_section;
extern const struct settings_section bridge_role_section;

enum bridge_protocol { BRIDGE_POP3, BRIDGE_IMAP };
enum bridge_tls { BRIDGE_TLS_IMPLICIT, BRIDGE_TLS_STARTTLS, BRIDGE_TLS_NONE };

/* Strings are never NULL; "" means that it was not given. */
struct bridge_account {
	char *name; /* set by who reads it; not an item of the file */
	char *protocol;
	char *host;
	uint64_t port; /* 0: the usual one */
	char *tls;
	char *ca_file;
	char *pin; /* SHA-256 of the server's public key, hexadecimal */
	char *user;
	char *password_file;
	struct settings_list password_command, token_command; /* program and arguments */
	char *token_mechanism;
	struct settings_list folders, skip, map;
	char *to;
	bool keep;
	uint64_t delete_after; /* seconds; 0: never */
	bool idle;
	uint64_t every; /* seconds */
	bool enabled;
};

/* Its section's name is BRIDGE_ACCOUNT_PREFIX and the account's; here it stands for all. */
extern const struct settings_section bridge_account_section;

/* Letters, digits, '-' and '_', at most BRIDGE_NAME_LIMIT. */
bool bridge_name_is_good(struct text name);

enum bridge_protocol bridge_account_protocol(const struct bridge_account *account);
enum bridge_tls bridge_account_tls(const struct bridge_account *account);
unsigned bridge_account_port(const struct bridge_account *account);

/*
 * One item of the role's list of accounts, and back. The reverse never trusts the text: 0 with account
 * (zeroed memory) filled, to be given to bridge_account_free(), or -1 with a sentence and nothing to free.
 */
void bridge_account_store(const struct bridge_account *account, struct buf *out);
int bridge_account_load(
	struct text text, struct bridge_account *account, char *error, size_t error_size);
void bridge_account_free(struct bridge_account *account);

#endif
