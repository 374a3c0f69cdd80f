/*
 * The directory of everything a host keeps.
 *
 *	STATE/         0755
 *	STATE/store/   0700, the store's own: Maildirs and index
 *	STATE/log      0600: what is logged, and log.1, the part before it
 *	STATE/run/     0755: sockets, and the lock file that names the host's process
 *
 * Everything below it is reached by descriptor, so its path may be longer than a socket address takes,
 * and may lie where the roles' users could not go.
 */
#ifndef RESTANTE_STATE_H
#define RESTANTE_STATE_H

#include <stddef.h>
#include <sys/types.h>

struct state {
	int store, run, lock; /* -1: not open */
};

enum state_result {
	STATE_OPEN,
	STATE_FAILED, /* see error */
	STATE_IN_USE, /* another host or command holds it; *holder is its pid, or 0 */
};

/* Make what is missing but the store, and take the lock, which lasts until state_close(). */
enum state_result state_open(
	struct state *state, const char *path, pid_t *holder, char *error, size_t error_size);

/*
 * The store's directory, of an open state. As root it is given to uid and gid when it is new. 0, or -1
 * with a sentence.
 */
int state_open_store(struct state *state, const char *path, uid_t uid, gid_t gid, char *error,
	size_t error_size);

void state_close(struct state *state);

/* Make a directory and those above it. 0, or -1 with errno. */
int state_make_path(const char *path, mode_t mode);

/* A descriptor of the run directory of a host that may be running, or -1 with errno. */
int state_open_run(const char *path);

#endif
