/*
 * Words of others on the way to the terminal of an admin, who may be root: of users who name files, of remote
 * servers, of a role that somebody may have taken over.
 */
#ifndef RESTANTE_TERMINAL_H
#define RESTANTE_TERMINAL_H

#include "base/buf.h"

/* The text with '?' for what is no printable character: controls, line ends, what is not UTF-8. */
void terminal_add(struct buf *out, struct text t);

/* The same of each line; their ends stay. Never longer than the text. */
void terminal_add_lines(struct buf *out, struct text lines);

/* A line to standard error, "restante: " before it, likewise. */
void terminal_complain(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
