/*
 * Everything that the processes of a host are started from. It outlives every one of them.
 */
#ifndef RESTANTE_HOST_H
#define RESTANTE_HOST_H

#include "base/tls.h"
#include "restante/certificate.h"
#include "restante/listen.h"
#include "restante/settings.h"
#include "restante/state.h"

struct event_base;
struct limits;

struct host {
	struct event_base *loop;
	struct host_source source; /* file is absolute */
	struct host_settings *settings;
	struct host_settings *started; /* once others have been read: those of the start */
	struct state state;
	struct listeners listeners;
	struct certificates certificates;
	/* What the workers of a role share; nothing for roles without. */
	struct host_limits {
		int fd;
		unsigned workers;
		struct limits *table;
	} limits[HOST_ROLES];
	/* Keys of session tickets, which the workers of a role share and other roles do not have. */
	struct host_tickets {
		unsigned char current[TLS_TICKET_KEY], previous[TLS_TICKET_KEY];
		bool is_made, has_previous;
	} tickets[HOST_ROLES];
	int log;         /* STATE/log, or -1 */
	bool log_failed; /* it could not be opened, which was said */
	char *libexec;   /* where the roles' programs are */
};

/* Nothing open, nothing read, a loop of its own. */
void host_init(struct host *host, const struct host_source *source);

/* Release all of it; state and loop included. */
void host_free(struct host *host);

/* The user and group id of a role: the setting's as root, else 0: it stays what we are. */
uid_t host_uid(const struct host_settings *settings, enum host_role_id role);

/* The path of this program, without links, on the heap. NULL with errno. */
char *host_program(void);

/* The directory of the roles' programs beside this one's, built or installed. NULL with a sentence. */
char *host_libexec(char *error, size_t error_size);

/* The settings file with the directory it is in, on the heap; as it is when it cannot be found. */
char *host_absolute(const char *file);

/* A path that a person gave, for when we have gone elsewhere; links stay what they are. On the heap. */
char *host_from_here(const char *path);

/*
 * Take the state directory and go to its run directory; then the store's directory in it, for which
 * settings must have been read. EX_OK, or an exit status after having said why not.
 */
int host_enter_state(struct host *host, const char *path);
int host_open_store(struct host *host);

/* For each role that has limits, for the workers that its settings want. 0, or -1 with errno. */
int host_make_limits(struct host *host);

/*
 * Open STATE/log, to which this process writes from now on, too; with a full one put aside first, and
 * anew when somebody has moved it away. True: it is another file than before, of which the roles have to
 * be told.
 */
bool host_renew_log(struct host *host);

/* New keys of session tickets for each role; those that were are the previous ones. */
void host_renew_tickets(struct host *host);

/* Lines to standard error, "restante: " before each: a host_report. */
void host_complain(void *owner, const char *sentence);
#endif
