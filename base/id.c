/*
 *	characters 0..19, 5 bits each, most significant first:
 *	51 bits  microseconds since 2020, strictly growing within a process (so it is the counter too)
 *	22 bits  process id (Linux has at most 2^22)
 *	27 bits  random, drawn once a process: tells process id namespaces and stepped clocks apart
 */
#include "base/id.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"

enum { TIME_BITS = 51, PROCESS_BITS = 22, RANDOM_BITS = 27 };

static const char alphabet[] = "0123456789abcdefghjkmnpqrstvwxyz";
static const uint64_t epoch_2020 = 1577836800;

static uint64_t next_microsecond(void)
{
	static _Atomic uint64_t last;
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	uint64_t seconds =
		(uint64_t)now.tv_sec > epoch_2020 ? (uint64_t)now.tv_sec - epoch_2020 : 0;
	uint64_t wanted = seconds * 1000000 + (uint64_t)now.tv_nsec / 1000;
	uint64_t before = atomic_load(&last);
	uint64_t mine;
	do {
		mine = wanted > before ? wanted : before + 1;
	} while (!atomic_compare_exchange_weak(&last, &before, mine));
	return mine;
}

/* What is the same in every id of this process; a forked child gets its own. */
static uint64_t process_part;

static void draw_process_part(void)
{
	uint32_t random;

	if (getrandom(&random, sizeof(random), 0) != sizeof(random))
		LOG_FATAL("no-random-octets", LOG_ERRNO(errno));
	process_part = ((uint64_t)getpid() & ((1U << PROCESS_BITS) - 1)) << RANDOM_BITS |
		       (random & ((1U << RANDOM_BITS) - 1));
}

static void prepare(void)
{
	draw_process_part();
	pthread_atfork(NULL, NULL, draw_process_part);
}

struct id id_new(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	struct id id;

	pthread_once(&once, prepare);
	unsigned __int128 bits = next_microsecond() & ((UINT64_C(1) << TIME_BITS) - 1);
	bits = bits << (PROCESS_BITS + RANDOM_BITS) | process_part;
	for (int i = ID_LENGTH - 1; i >= 0; i--) {
		id.string[i] = alphabet[(unsigned)bits & 31];
		bits >>= 5;
	}
	id.string[ID_LENGTH] = '\0';
	return id;
}

static bool is_letter_or_digit(char octet)
{
	return (octet >= '0' && octet <= '9') || (octet >= 'a' && octet <= 'z') ||
	       (octet >= 'A' && octet <= 'Z');
}

int id_parse(struct text t, struct id *id)
{
	if (t.len == 0 || t.len > ID_LENGTH)
		return -1;
	for (size_t i = 0; i < t.len; i++) {
		if (!is_letter_or_digit(t.ptr[i]))
			return -1;
	}
	memcpy(id->string, t.ptr, t.len);
	id->string[t.len] = '\0';
	return 0;
}
