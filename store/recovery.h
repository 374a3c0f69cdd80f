/*
 * The index at a start: opened, recovered, or made anew from the Maildirs (recovery.c, rebuild.c). For
 * engine.c, and for one another.
 *
 * Only while the engine is being opened, but for recovery_distrust(): nothing else is under way then.
 */
#ifndef STORE_RECOVERY_H
#define STORE_RECOVERY_H

#include "store/engine_private.h"

/* The environment below home, recovered. An error of env.h, or 0. */
int engine_open_environment(struct engine *engine, const char *home, bool create);
/* The store's index, made anew where it has to be. The same. */
int recovery_open_index(struct engine *engine, const char *directory);
/* The next start makes it anew, and says why in this note. */
void recovery_distrust(struct engine *engine, const char *note);

/* ---- rebuild.c ---- */

int rebuild(struct engine *engine, const char *home);

#endif
