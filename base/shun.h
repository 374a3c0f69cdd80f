/*
 * A listening TCP socket that does not hear some clients: the kernel drops their SYN before it costs a
 * connection.
 *
 * A refusal, however short, is an answer, and a client that comes again at once costs both sides a
 * handshake, a descriptor and a turn of the loop. Who is not heard waits: TCP sends its SYN again after a
 * second, then after two, four and so on, and comes through by itself when it is heard again.
 *
 * Connections that are there are not concerned. Sockets accepted later inherit the filter, where it changes
 * nothing and keeps its memory in use; shun_release() is for them.
 */
#ifndef BASE_SHUN_H
#define BASE_SHUN_H

#include <stddef.h>

#include "base/net.h"

enum { SHUN_MOST = 64 }; /* prefixes: the kernel has 20 KiB for a socket's options by default */

/*
 * In place of those before. count 0: everybody is heard. 0, or -1 with errno: those before are still in
 * force (ENOMEM: see net.core.optmem_max).
 */
int shun_attach(int fd, const struct net_prefix *list, size_t count);

/* An accepted socket does without. */
void shun_release(int fd);

#endif
