/*
 * UIDs as a few words for the log, "1-5,9": what restante trace needs to tell who pulled a message.
 */
#ifndef POP3D_UIDS_H
#define POP3D_UIDS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/text.h"

enum { UIDS_TEXT = 400 };

/* {0} to begin with. */
struct uids {
	uint32_t first, last; /* the run that still grows; first 0: none */
	bool full;            /* there was no room for more */
	size_t used;
	char text[UIDS_TEXT];
};

void uids_add(struct uids *uids, uint32_t uid);

/* What was added; ends in ",..." when it did not all fit. Nothing can be added afterwards. */
struct text uids_text(struct uids *uids);

#endif
