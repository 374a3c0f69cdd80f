/*
 * The store's desk for commands: a connection that may manage users, whether a host runs or not.
 *
 * When none runs, the store role is started alone, without anything that listens for mail, and stopped
 * again when the desk is left.
 */
#ifndef RESTANTE_DESK_H
#define RESTANTE_DESK_H

#include "restante/host.h"
#include "store/client.h"

struct desk;

/* host: settings read, state not yet entered. NULL after having said why not, with an exit status. */
struct desk *desk_enter(struct host *host, int *status);

/* Requests go here; desk_wait() runs the loop until *done is true or the store is gone. */
struct store_client *desk_client(struct desk *desk);

/* 0, or -1 when the store went away first. */
int desk_wait(struct desk *desk, const bool *done);

/* Stops a store that was started; waits until it has ended. */
void desk_leave(struct desk **desk);

#endif
