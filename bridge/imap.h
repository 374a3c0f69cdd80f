/*
 * What the files of the IMAP side share. Nobody else includes this.
 */
#ifndef BRIDGE_IMAP_H
#define BRIDGE_IMAP_H

#include <libetpan/libetpan.h>

#include "bridge/folder.h"
#include "bridge/session.h"

enum imap_capability {
	IMAP_STARTTLS = 1,
	IMAP_LOGIN_DISABLED = 2,
	IMAP_IDLE = 4,
	IMAP_UIDPLUS = 8,
	IMAP_AUTH_PLAIN = 16,
	IMAP_AUTH_XOAUTH2 = 32,
	IMAP_AUTH_OAUTHBEARER = 64,
	IMAP_SASL_IR = 128,
};

enum {
	IMAP_FOLDERS_MOST = 2000,
	IMAP_COMMAND_SECONDS = 120,
	IMAP_COMMAND_OCTETS = 1 << 20, /* an answer that lists nothing */
};

struct imap_folder {
	char *remote; /* as the server writes it, but for INBOX, which has many spellings and is one */
	char name[FOLDER_NAME_LIMIT + 1];
	char local[FOLDER_NAME_LIMIT + 1];
	uint32_t uidvalidity; /* when it was last looked at; 0: never */
	uint64_t next;        /* every UID below is done with, but for those that stay */
	int64_t looked;       /* when all of it was looked at, seconds since 1970 */
	bool closed;          /* the server did not open it when it was asked last */
	struct imap_staying {
		uint64_t count;
		uint32_t first; /* the lowest UID; 0: there is none */
		int64_t again;  /* when to try, seconds since 1970 */
	} staying;
	struct imap_folder *following;
};

struct imap {
	struct session *session;
	mailimap *etpan;
	unsigned capabilities;
	struct imap_folder *folders;
	uint32_t exists; /* messages that the selected folder had */
};

/* Before each command. */
void imap_expect(struct imap *imap, unsigned seconds, uint64_t octets);

/* libetpan's result of a command: 0, or -1 with a fault; doing: "INBOX cannot be opened". */
int imap_result(struct imap *imap, int result, const char *doing);

/* The connection, TLS and login. 0, or -1 with a fault. */
int imap_login(struct imap *imap);

/* ---- imap_pull.c ---- */

/* Whatever is new in the folder; of one that is closed, nothing. 0, or -1 with a fault. */
int imap_pull_folder(struct imap *imap, struct imap_folder *folder);

/* ---- imap_fetch.c ---- */

struct imap_message {
	uint32_t uid;
	uint32_t size;
	int64_t date;
	bool told; /* the server gave size, date and flags */
	char flags[8];
	char keywords[256];
	bool settled; /* there was a verdict */
	struct once_key key;
};

/* Sizes, dates and flags. */
int imap_fetch_envelopes(struct imap *imap, struct imap_message *messages, size_t count);

/* Give these to the delivery agent; the cookie is the index. */
int imap_fetch_messages(struct imap *imap, const struct imap_folder *folder,
	struct imap_message *messages, size_t count);

/* A set of these UIDs, which ascend. */
struct mailimap_set *imap_set(const uint32_t *uids, size_t count);

/* ---- imap_wait.c ---- */

/* Until there may be news in the folder, or `seconds` are over. 0, or -1 with a fault. */
int imap_wait(struct imap *imap, unsigned seconds);

#endif
