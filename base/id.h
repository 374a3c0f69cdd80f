/*
 * The id that one message keeps through all roles: in replies, Received fields and log lines.
 */
#ifndef BASE_ID_H
#define BASE_ID_H

#include "base/text.h"

enum { ID_LENGTH = 20 };

struct id {
	char string[ID_LENGTH +
		    1]; /* letters and digits, NUL-terminated; sorts by time of making */
};

/* Unique on this host: time, process, counter and random bits. */
struct id id_new(void);

/* An id from a peer: 1 to ID_LENGTH letters and digits. 0, or -1 when it is not one. */
int id_parse(struct text t, struct id *id);

#endif
