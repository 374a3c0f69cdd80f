/*
 * Names of remote folders and of the mailboxes here that their mail goes to. Pure.
 *
 * IMAP's names are in modified UTF-7 (RFC 3501 section 5.1.3) with a separator of the server's choice;
 * ours are UTF-8 with '/' between levels.
 */
#ifndef BRIDGE_FOLDER_H
#define BRIDGE_FOLDER_H

#include "base/buf.h"
#include "bridge/settings.h"

enum { FOLDER_NAME_LIMIT = 255 };

/* 0 with UTF-8 added to out; -1 and nothing added when it is not modified UTF-7 or holds a control. */
int folder_decode(struct text in, struct buf *out);

/*
 * The name as a person writes it: decoded, the separator (0: there is none) as '/'. A '/' that is no
 * separator becomes '_'. A name that is not modified UTF-7, as of servers that send plain UTF-8, is taken
 * as it is. INBOX is INBOX however it is written. -1: it cannot be a name here.
 */
int folder_readable(struct text remote, char separator, char name[FOLDER_NAME_LIMIT + 1]);

/* Whether the account wants the folder of that readable name. */
bool folder_is_wanted(const struct bridge_account *account, const char *name);

/* Where its mail goes: by the account's map, else the same name. -1: too long. */
int folder_local(
	const struct bridge_account *account, const char *name, char local[FOLDER_NAME_LIMIT + 1]);

#endif
