/*
 * A role's process: the fork and everything between it and the role's main().
 */
#ifndef RESTANTE_SPAWN_H
#define RESTANTE_SPAWN_H

#include <sys/types.h>

/*
 * Run LIBEXEC/NAME in the directory cwd with our end of its control socket in *control. Its environment
 * holds nothing but what sanitizers read; standard input and output are /dev/null, standard error is
 * ours. 0, or -1 with errno.
 */
int spawn_role(const char *libexec, const char *name, int cwd, pid_t *pid, int *control);

#endif
