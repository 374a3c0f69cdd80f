/*
 * A running host, asked how it goes.
 */
#ifndef RESTANTE_STATUS_H
#define RESTANTE_STATUS_H

#include "restante/admin.h"
#include "restante/host.h"

/* 0, or -1 when the reply makes no sense. Its texts last for the call. */
typedef int status_take(void *owner, const struct admin_status_reply *reply);

/*
 * EX_OK after take() was called, or an exit status after having said why not; only that no host runs is
 * left to the caller to say, by *absent. Settings must have been read.
 */
int status_ask(struct host *host, status_take *take, void *owner, bool *absent);

/* Whether a host runs there, and not a command alone with the store; it may say why that cannot be known. */
bool status_host_runs(const struct host *host);

/* To standard error: the host that was asked does not run with the settings that were just read. */
void status_tell_of_mistakes(const struct host *host);

#endif
