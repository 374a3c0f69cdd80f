/*
 * The aliases file of the settings (store.aliases), handed to the store at the start and after SIGHUP.
 */
#ifndef RESTANTE_FEED_H
#define RESTANTE_FEED_H

#include "restante/host.h"

struct feed;

struct feed *feed_new(struct host *host);
void feed_free(struct feed **feed);

/*
 * Read the file and hand it over; what an earlier one brought and this one does not is gone, and without
 * a file all of it. A mistake in it is logged with its line, and the aliases stay as they are. When the
 * store is away it is tried again until it is there.
 */
void feed_start(struct feed *feed);

#endif
