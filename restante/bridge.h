/*
 * The parts of `restante bridge`.
 */
#ifndef RESTANTE_BRIDGE_H
#define RESTANTE_BRIDGE_H

#include "restante/command.h"
#include "restante/host.h"

/* host: settings read. Each returns an exit status after having said what is wrong. */

/* words: SETTING=VALUE each. */
int bridge_add(struct host *host, const char *name, const char *const *words, size_t count);
int bridge_remove(struct host *host, const char *name);

/* right: whether the settings are; what there is of them is shown in any case. */
int bridge_list(struct host *host, bool right);

/* verb: "pull" or "test": the bridge's own program does it, in this terminal. */
int bridge_session(struct host *host, const char *verb, const char *name);

#endif
