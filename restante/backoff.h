/*
 * When a process that died may be started again: the first time at once, then after a pause that
 * doubles from 100 ms to 10 s. Ten seconds of life are forgiveness.
 */
#ifndef RESTANTE_BACKOFF_H
#define RESTANTE_BACKOFF_H

#include <stdint.h>

enum {
	BACKOFF_FIRST = 100,   /* milliseconds */
	BACKOFF_MOST = 10000,  /* milliseconds */
	BACKOFF_HEALTH = 10000 /* milliseconds of life after which the past is forgotten */
};

/* {0} to begin with. */
struct backoff {
	uint32_t pause;  /* milliseconds the last start waited for */
	uint32_t deaths; /* in a row, without ten seconds of life between them */
};

/* The process died after so many milliseconds of life: milliseconds to wait before its next start. */
uint32_t backoff_next(struct backoff *backoff, int64_t lived);

#endif
