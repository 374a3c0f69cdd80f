/*
 * SIGHUP: settings and certificates anew, without touching what is bound.
 */
#ifndef RESTANTE_RELOAD_H
#define RESTANTE_RELOAD_H

#include "restante/host.h"

/*
 * Read the settings file and the certificates again. When anything is wrong each finding is logged, the
 * old ones stay and -1 is returned. What only a restart can change is logged and stays as it was.
 */
int host_reload(struct host *host);

/* The log as the settings want it. */
void host_open_log(const struct host_settings *settings);

/* What is no mistake but hardly meant, to the log. */
void host_log_doubts(const struct host *host);

#endif
