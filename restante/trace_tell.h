/*
 * The story of messages, from lines of the host's log: in words, one message after the other.
 */
#ifndef RESTANTE_TRACE_TELL_H
#define RESTANTE_TRACE_TELL_H

#include "base/buf.h"

/*
 * What the log says of the message with this id or, when it holds an '@', of every message from or to this
 * address; of the last thousand, so many earlier ones being left out. Nothing in it can act on a terminal:
 * controls and what is not UTF-8 become '?'. The number of messages told.
 */
size_t trace_tell(struct buf *out, struct text log, struct text wanted, size_t *left_out);

#endif
