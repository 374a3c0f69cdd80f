#include "base/limits.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"

enum {
	KEY = 16,
	LINE = 64, /* octets; a place shares none with another */
	WAYS = 8,  /* places that a client may have */
	BUCKETS = LIMITS_PLACES / WAYS,
	EVERYBODY = 0, /* the place of all together; those of clients follow */
	TRIES = 4,
	REPORTED_SECONDS = 3600,
};

static const uint64_t EVERYBODY_TAG = 1;

struct head {
	unsigned char key[KEY];
	unsigned char rest[LINE - KEY];
};

struct place {
	_Atomic uint64_t tag;                /* 0: it is free */
	_Atomic uint64_t address[2];         /* for people to read */
	_Atomic uint64_t rate[LIMITS_RATES]; /* microseconds of the monotonic clock */
	_Atomic uint32_t refusals;
	_Atomic uint32_t refused_at; /* seconds */
	_Atomic uint32_t connections[];
};

/* A prefix that is not heard. */
struct row {
	_Atomic uint64_t
		until; /* milliseconds of the monotonic clock; 0: it is free, or being changed */
	_Atomic uint64_t bits;
	_Atomic uint64_t address[2];
};

_Static_assert(ATOMIC_LLONG_LOCK_FREE == 2, "a lock would be lost with its holder");

struct limits {
	char *map;
	size_t size;
	size_t stride;
	unsigned workers, worker;
	EVP_MAC_CTX *mac;
};

static size_t stride_for(unsigned workers)
{
	return sizeof(struct place) + (workers * sizeof(uint32_t) + LINE - 1) / LINE * LINE;
}

/* Of the first row. */
static size_t rows_at(unsigned workers)
{
	return sizeof(struct head) + (1 + (size_t)LIMITS_PLACES) * stride_for(workers);
}

static size_t size_for(unsigned workers)
{
	return rows_at(workers) + (size_t)workers * LIMITS_SHUNNED * sizeof(struct row);
}

/* ---- the file ---- */

int limits_make(unsigned workers)
{
	const int seals = F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL;
	unsigned char key[KEY];

	errno = EINVAL;
	if (workers == 0 || workers > LIMITS_WORKERS)
		return -1;
	const int fd = memfd_create("limits", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (fd < 0)
		return -1;
	/* Sealed, or one worker could cut it short and the others would die of it. */
	if (ftruncate(fd, (off_t)size_for(workers)) == 0 &&
		getrandom(key, sizeof(key), 0) == sizeof(key) &&
		pwrite(fd, key, sizeof(key), 0) == sizeof(key) &&
		fcntl(fd, F_ADD_SEALS, seals) == 0)
		return fd;
	const int number = errno;
	close(fd);
	errno = number;
	return -1;
}

static bool is_table(int fd, size_t size)
{
	struct stat st;

	return fstat(fd, &st) == 0 && st.st_size == (off_t)size &&
	       (fcntl(fd, F_GET_SEALS) & F_SEAL_SHRINK);
}

static EVP_MAC_CTX *new_mac(void)
{
	EVP_MAC *mac = EVP_MAC_fetch(NULL, "SIPHASH", NULL);
	EVP_MAC_CTX *context = EVP_MAC_CTX_new(mac);

	if (!context)
		LOG_FATAL("out-of-memory", LOG_STRING("what", "SipHash"));
	EVP_MAC_free(mac);
	return context;
}

struct limits *limits_open(int fd, unsigned workers, unsigned worker)
{
	const size_t size = size_for(workers);
	void *map = MAP_FAILED;

	errno = EINVAL;
	if (workers && workers <= LIMITS_WORKERS &&
		(worker < workers || worker == LIMITS_NO_WORKER) && is_table(fd, size))
		map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	const int number = errno;
	close(fd);
	errno = number;
	if (map == MAP_FAILED)
		return NULL;
	struct limits *limits = mem_new(sizeof(*limits));
	*limits = (struct limits){ .map = map,
		.size = size,
		.stride = stride_for(workers),
		.workers = workers,
		.worker = worker };
	if (worker == LIMITS_NO_WORKER)
		return limits;
	limits->mac = new_mac();
	limits_forget(limits, worker);
	return limits;
}

void limits_close(struct limits **at)
{
	struct limits *limits = *at;

	*at = NULL;
	if (!limits)
		return;
	EVP_MAC_CTX_free(limits->mac);
	munmap(limits->map, limits->size);
	mem_free(limits);
}

/* ---- places ---- */

static struct place *place_at(const struct limits *limits, size_t index)
{
	return (struct place *)(limits->map + sizeof(struct head) + index * limits->stride);
}

static struct row *rows_of(const struct limits *limits, unsigned worker)
{
	return (struct row *)(limits->map + rows_at(limits->workers)) +
	       (size_t)worker * LIMITS_SHUNNED;
}

void limits_forget(struct limits *limits, unsigned worker)
{
	if (!limits || worker >= limits->workers)
		return;
	for (size_t i = 0; i <= LIMITS_PLACES; i++) {
		_Atomic uint32_t *count = &place_at(limits, i)->connections[worker];
		if (*count)
			*count = 0;
	}
	for (size_t i = 0; i < LIMITS_SHUNNED; i++)
		rows_of(limits, worker)[i].until = 0;
}

static uint64_t connections_at(const struct limits *limits, const struct place *place)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < limits->workers; i++)
		sum += place->connections[i];
	return sum;
}

static uint64_t tag_of(struct limits *limits, const struct net_address *address)
{
	uint64_t tag = 0;
	size_t length = sizeof(tag);
	const OSSL_PARAM params[] = { OSSL_PARAM_construct_size_t(OSSL_MAC_PARAM_SIZE, &length),
		OSSL_PARAM_construct_end() };

	if (EVP_MAC_init(limits->mac, (const unsigned char *)limits->map, KEY, params) != 1 ||
		EVP_MAC_update(limits->mac, address->octets, sizeof(address->octets)) != 1 ||
		EVP_MAC_final(limits->mac, (unsigned char *)&tag, &length, sizeof(tag)) != 1)
		LOG_FATAL("no-hash", LOG_STRING("what", "SipHash"));
	return tag > EVERYBODY_TAG ? tag : tag + EVERYBODY_TAG + 1;
}

/* When everything counted there is forgotten. */
static uint64_t forgotten_at(const struct place *place)
{
	uint64_t last = 0;

	for (unsigned i = 0; i < LIMITS_RATES; i++) {
		const uint64_t moment = place->rate[i];
		last = moment > last ? moment : last;
	}
	return last;
}

/* Free, or forgotten soonest, of those where nobody is connected. 0: there is none. */
static uint32_t place_to_take(const struct limits *limits, uint32_t first)
{
	uint64_t soonest = UINT64_MAX;
	uint32_t found = 0;

	for (uint32_t i = first; i < first + WAYS; i++) {
		const struct place *place = place_at(limits, i);
		const uint64_t tag = place->tag;
		const uint64_t moment = tag ? forgotten_at(place) : 0;
		if (connections_at(limits, place) == 0 && moment < soonest) {
			soonest = moment;
			found = i;
		}
		if (tag == 0)
			break;
	}
	return found;
}

static void name_place(struct place *place, const struct net_address *address)
{
	uint64_t words[2];

	memcpy(words, address->octets, sizeof(words));
	place->address[0] = words[0];
	place->address[1] = words[1];
	place->refusals = 0;
}

/*
 * Emptied before it changes hands: who is killed in between has forgiven somebody, and burdened
 * nobody. False: others were faster.
 */
static bool take_place(const struct limits *limits, struct place *place, uint64_t tag)
{
	uint64_t before = place->tag;

	for (unsigned i = 0; i < LIMITS_RATES; i++)
		place->rate[i] = 0;
	if (!atomic_compare_exchange_strong(&place->tag, &before, tag))
		return false;
	if (connections_at(limits, place) == 0)
		return true;
	/* Its client came back. Either it sees our tag and looks anew, or we see it here. */
	atomic_compare_exchange_strong(&place->tag, &tag, before);
	return false;
}

static uint32_t find_place(struct limits *limits, uint64_t tag, const struct net_address *address)
{
	const uint32_t first = 1 + (uint32_t)(tag >> 32) % BUCKETS * WAYS;

	for (uint32_t i = first; i < first + WAYS; i++) {
		if (place_at(limits, i)->tag == tag)
			return i;
	}
	const uint32_t found = place_to_take(limits, first);
	if (found == 0 || !take_place(limits, place_at(limits, found), tag))
		return 0;
	name_place(place_at(limits, found), address);
	return found;
}

static struct place *place_of(const struct limits *limits, const struct limits_client *client)
{
	struct place *place;

	if (!limits || !client->tag)
		return NULL;
	place = place_at(limits, client->place);
	return place->tag == client->tag ? place : NULL;
}

/* ---- connections ---- */

struct limits_client limits_enter(struct limits *limits, const struct net_address *address)
{
	if (!limits)
		return (struct limits_client){ 0 };
	const uint64_t tag = tag_of(limits, address);
	for (int i = 0; i < TRIES; i++) {
		const uint32_t found = find_place(limits, tag, address);
		if (found == 0)
			continue;
		struct place *place = place_at(limits, found);
		place->connections[limits->worker]++;
		if (place->tag == tag)
			return (struct limits_client){ .tag = tag, .place = found };
		place->connections[limits->worker]--;
	}
	return (struct limits_client){ 0 };
}

struct limits_client limits_enter_everybody(struct limits *limits)
{
	if (!limits)
		return (struct limits_client){ 0 };
	struct place *place = place_at(limits, EVERYBODY);
	place->tag = EVERYBODY_TAG;
	place->connections[limits->worker]++;
	return (struct limits_client){ .tag = EVERYBODY_TAG, .place = EVERYBODY };
}

void limits_leave(struct limits *limits, struct limits_client *client)
{
	/* Whoever has the place by now: the connection was counted there. */
	if (limits && client->tag)
		place_at(limits, client->place)->connections[limits->worker]--;
	*client = (struct limits_client){ 0 };
}

uint64_t limits_connections(const struct limits *limits, const struct limits_client *client)
{
	const struct place *place = place_of(limits, client);

	return place ? connections_at(limits, place) : 0;
}

/* ---- rates ---- */

struct bucket {
	uint64_t now, step, most; /* microseconds */
};

static struct bucket bucket_of(struct limits_allowance allowance, int64_t now)
{
	const uint64_t period = (uint64_t)allowance.period * 1000;
	const uint64_t step = period / allowance.count;

	return (struct bucket){ .now = (uint64_t)now * 1000,
		.step = step ? step : 1,
		.most = (uint64_t)now * 1000 + period };
}

/* What lies further ahead than anything can was written under other settings, or by no friend. */
static uint64_t moment_in(const struct bucket *bucket, uint64_t stored)
{
	if (stored < bucket->now)
		return bucket->now;
	return stored < bucket->most ? stored : bucket->most;
}

static bool count(struct limits *limits, const struct limits_client *client, enum limits_rate rate,
	struct limits_allowance allowance, int64_t now, bool always)
{
	struct place *place = place_of(limits, client);

	if (!place || allowance.count == 0)
		return true;
	const struct bucket bucket = bucket_of(allowance, now);
	uint64_t stored = place->rate[rate], next;
	do {
		next = moment_in(&bucket, stored) + bucket.step;
		if (next > bucket.most && !always)
			return false;
		if (next > bucket.most)
			next = bucket.most;
	} while (!atomic_compare_exchange_weak(&place->rate[rate], &stored, next));
	return true;
}

bool limits_take(struct limits *limits, const struct limits_client *client, enum limits_rate rate,
	struct limits_allowance allowance, int64_t now)
{
	return count(limits, client, rate, allowance, now, false);
}

void limits_give_back(struct limits *limits, const struct limits_client *client,
	enum limits_rate rate, struct limits_allowance allowance)
{
	struct place *place = place_of(limits, client);

	if (!place || allowance.count == 0)
		return;
	const uint64_t step = bucket_of(allowance, 0).step;
	uint64_t stored = place->rate[rate], next;
	do
		next = stored > step ? stored - step : 0;
	while (!atomic_compare_exchange_weak(&place->rate[rate], &stored, next));
}

void limits_charge(struct limits *limits, const struct limits_client *client, enum limits_rate rate,
	struct limits_allowance allowance, int64_t now)
{
	count(limits, client, rate, allowance, now, true);
}

uint64_t limits_level(const struct limits *limits, const struct limits_client *client,
	enum limits_rate rate, struct limits_allowance allowance, int64_t now)
{
	const struct place *place = place_of(limits, client);

	if (!place || allowance.count == 0)
		return 0;
	const struct bucket bucket = bucket_of(allowance, now);
	const uint64_t ahead = moment_in(&bucket, place->rate[rate]) - bucket.now;
	const uint64_t level = (ahead + bucket.step - 1) / bucket.step;
	return level < allowance.count ? level : allowance.count;
}

/* ---- who is not heard ---- */

static const uint64_t SHUN_MILLISECONDS = (uint64_t)LIMITS_SHUN_SECONDS * 1000;

/* False: it is free, its time is over, or it is no row that we would have written. */
static bool read_row(const struct row *row, int64_t now, struct net_prefix *prefix)
{
	const uint64_t until = row->until;
	const uint64_t words[2] = { row->address[0], row->address[1] }, bits = row->bits;

	memcpy(prefix->address.octets, words, sizeof(words));
	prefix->bits = (unsigned)bits;
	return until > (uint64_t)now && until - (uint64_t)now <= SHUN_MILLISECONDS &&
	       bits <= sizeof(words) * 8 && row->until == until;
}

static bool is_same_prefix(const struct net_prefix *a, const struct net_prefix *b)
{
	return a->bits == b->bits && memcmp(&a->address, &b->address, sizeof(a->address)) == 0;
}

static void write_row(struct row *row, const struct net_prefix *prefix, uint64_t until)
{
	uint64_t words[2];

	memcpy(words, prefix->address.octets, sizeof(words));
	row->until = 0;
	row->address[0] = words[0];
	row->address[1] = words[1];
	row->bits = prefix->bits;
	row->until = until;
}

static bool is_listed(const struct net_prefix *list, size_t count, const struct net_prefix *prefix)
{
	for (size_t i = 0; i < count; i++) {
		if (is_same_prefix(&list[i], prefix))
			return true;
	}
	return false;
}

size_t limits_shunned(
	const struct limits *limits, int64_t now, struct net_prefix *list, size_t room)
{
	const size_t all = limits ? (size_t)limits->workers * LIMITS_SHUNNED : 0;
	struct net_prefix found;
	size_t count = 0;

	for (size_t i = 0; i < all && count < room; i++) {
		if (read_row(&rows_of(limits, 0)[i], now, &found) &&
			!is_listed(list, count, &found))
			list[count++] = found;
	}
	return count;
}

static bool is_shunned(const struct limits *limits, int64_t now, const struct net_prefix *prefix)
{
	const size_t all = (size_t)limits->workers * LIMITS_SHUNNED;
	struct net_prefix found;

	for (size_t i = 0; i < all; i++) {
		if (read_row(&rows_of(limits, 0)[i], now, &found) && is_same_prefix(&found, prefix))
			return true;
	}
	return false;
}

bool limits_shun(
	struct limits *limits, const struct net_prefix *prefix, unsigned seconds, int64_t now)
{
	struct net_prefix held;
	uint64_t soonest = UINT64_MAX;
	size_t found = 0;

	if (!limits || is_shunned(limits, now, prefix))
		return false;
	struct row *rows = rows_of(limits, limits->worker);
	for (size_t i = 0; i < LIMITS_SHUNNED; i++) {
		const uint64_t until = read_row(&rows[i], now, &held) ? rows[i].until : 0;
		if (until < soonest) {
			soonest = until;
			found = i;
		}
	}
	if (seconds > LIMITS_SHUN_SECONDS)
		seconds = LIMITS_SHUN_SECONDS;
	write_row(&rows[found], prefix, (uint64_t)now + (uint64_t)seconds * 1000);
	return true;
}

/* ---- who was refused ---- */

void limits_note_refusal(struct limits *limits, const struct limits_client *client, int64_t now)
{
	struct place *place = place_of(limits, client);

	if (!place)
		return;
	place->refusals++;
	place->refused_at = (uint32_t)(now / 1000);
}

static struct limits_report report_of(const struct limits *limits, const struct place *place)
{
	const uint64_t words[2] = { place->address[0], place->address[1] };
	struct limits_report report = { .refusals = place->refusals,
		.connections = connections_at(limits, place) };

	memcpy(report.address.octets, words, sizeof(words));
	return report;
}

/* In order of refusals; the last falls out. */
static size_t insert(struct limits_report *reports, size_t filled, size_t room,
	const struct limits_report *report)
{
	size_t at = filled;

	while (at > 0 && reports[at - 1].refusals < report->refusals)
		at--;
	if (at == room)
		return filled;
	const size_t moved = (filled < room ? filled : room - 1) - at;
	memmove(&reports[at + 1], &reports[at], moved * sizeof(*reports));
	reports[at] = *report;
	return filled < room ? filled + 1 : room;
}

size_t limits_worst(
	const struct limits *limits, int64_t now, struct limits_report *reports, size_t room)
{
	const uint32_t seconds = (uint32_t)(now / 1000);
	size_t found = 0;

	for (size_t i = 1; limits && i <= LIMITS_PLACES; i++) {
		const struct place *place = place_at(limits, i);
		if (place->refusals == 0 || seconds - place->refused_at > REPORTED_SECONDS)
			continue;
		const struct limits_report report = report_of(limits, place);
		found = insert(reports, found, room, &report);
	}
	return found;
}
