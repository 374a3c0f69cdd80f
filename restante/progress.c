#include "restante/progress.h"

#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"

enum { BAR = 40, BETWEEN_MILLISECONDS = 100 };

void progress_init(struct progress *progress)
{
	*progress =
		(struct progress){ .on = isatty(STDERR_FILENO), .drawn = -BETWEEN_MILLISECONDS };
}

void progress_show(struct progress *progress, uint64_t at, uint64_t of, const char *what)
{
	const uint64_t full = at < of ? at * BAR / of : BAR;
	char bar[BAR + 1];

	if (!progress->on)
		return;
	const int64_t now = clock_milliseconds();
	if (at < of && now - progress->drawn < BETWEEN_MILLISECONDS)
		return;
	progress->drawn = now;
	for (size_t i = 0; i < BAR; i++)
		bar[i] = i < full ? '#' : '.';
	bar[BAR] = '\0';
	fprintf(stderr, "\r[%s] %llu of %llu %s", bar, (unsigned long long)at,
		(unsigned long long)of, what);
}

void progress_clear(struct progress *progress)
{
	if (progress->on)
		fputs("\r\033[K", stderr);
}
