#include "pop3d/uids.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { RUN_ROOM = 32 }; /* of one run, and of the end */

static void put_run(struct uids *uids)
{
	char *to = uids->text + uids->used;
	const char *comma = uids->used ? "," : "";

	if (uids->first == 0 || uids->full)
		return;
	if (uids->used + RUN_ROOM > UIDS_TEXT) {
		memcpy(to, ",...", 4);
		uids->used += 4;
		uids->full = true;
		return;
	}
	if (uids->first == uids->last)
		uids->used += (size_t)snprintf(to, RUN_ROOM, "%s%" PRIu32, comma, uids->first);
	else
		uids->used += (size_t)snprintf(
			to, RUN_ROOM, "%s%" PRIu32 "-%" PRIu32, comma, uids->first, uids->last);
}

void uids_add(struct uids *uids, uint32_t uid)
{
	if (uids->first && uid == uids->last + 1) {
		uids->last = uid;
		return;
	}
	put_run(uids);
	uids->first = uids->last = uid;
}

struct text uids_text(struct uids *uids)
{
	put_run(uids);
	uids->first = 0;
	return (struct text){ .ptr = uids->text, .len = uids->used };
}
