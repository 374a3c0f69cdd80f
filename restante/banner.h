/*
 * What a newcomer sees first: where everything listens, who has mail here, and two commands to paste.
 */
#ifndef RESTANTE_BANNER_H
#define RESTANTE_BANNER_H

#include "base/buf.h"
#include "restante/listen.h"

/* program: the path of the command; directory: of the demo. */
void banner_print(struct buf *out, const struct listeners *listeners, const char *program,
	const char *directory);

/* "smtp=10025" lines: the port of each listener's first address. */
void banner_print_ports(struct buf *out, const struct listeners *listeners);

#endif
