#include "restante/backoff.h"

uint32_t backoff_next(struct backoff *backoff, int64_t lived)
{
	if (lived >= BACKOFF_HEALTH)
		*backoff = (struct backoff){ 0 };
	if (backoff->deaths < UINT32_MAX)
		backoff->deaths++;
	if (backoff->deaths == 1)
		backoff->pause = 0;
	else if (backoff->pause == 0)
		backoff->pause = BACKOFF_FIRST;
	else if (backoff->pause < BACKOFF_MOST / 2)
		backoff->pause *= 2;
	else
		backoff->pause = BACKOFF_MOST;
	return backoff->pause;
}
