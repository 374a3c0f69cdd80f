#include "pop3d/peers.h"

#include <arpa/inet.h>
#include <stdint.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/random.h>

#include "base/mem.h"

enum { BUCKETS = 1024, KEY = 9 /* octets of the address and a kind */ };

struct peer {
	LIST_ENTRY(peer) link;
	unsigned char key[KEY];
	unsigned sessions;
};

LIST_HEAD(bucket, peer);

struct peers {
	uint64_t seed; /* a client cannot choose its bucket */
	struct bucket bucket[BUCKETS];
};

struct peers *peers_new(void)
{
	struct peers *peers = mem_new(sizeof(*peers));

	if (getrandom(&peers->seed, sizeof(peers->seed), 0) != sizeof(peers->seed))
		peers->seed = (uint64_t)(uintptr_t)peers;
	for (int i = 0; i < BUCKETS; i++)
		LIST_INIT(&peers->bucket[i]);
	return peers;
}

void peers_free(struct peers **peers)
{
	mem_free(*peers);
	*peers = NULL;
}

static void key_of(const char *address, unsigned char key[KEY])
{
	struct in6_addr v6;
	struct in_addr v4;

	memset(key, 0, KEY);
	if (inet_pton(AF_INET, address, &v4) == 1) {
		memcpy(key, &v4, sizeof(v4));
		key[KEY - 1] = 4;
	} else if (inet_pton(AF_INET6, address, &v6) == 1) {
		memcpy(key, &v6, KEY - 1);
		key[KEY - 1] = 6;
	}
}

static struct bucket *bucket_of(struct peers *peers, const unsigned char key[KEY])
{
	uint64_t mixed;

	memcpy(&mixed, key, sizeof(mixed));
	mixed = (mixed ^ peers->seed) * UINT64_C(0x9e3779b97f4a7c15);
	mixed = (mixed ^ mixed >> 29) * UINT64_C(0xbf58476d1ce4e5b9);
	return &peers->bucket[mixed >> 40 & (BUCKETS - 1)];
}

struct peer *peers_enter(struct peers *peers, const char *address)
{
	unsigned char key[KEY];
	struct bucket *bucket;
	struct peer *peer;

	key_of(address, key);
	bucket = bucket_of(peers, key);
	LIST_FOREACH (peer, bucket, link)
		if (memcmp(peer->key, key, KEY) == 0)
			break;
	if (peer == NULL) {
		peer = mem_new(sizeof(*peer));
		memcpy(peer->key, key, KEY);
		LIST_INSERT_HEAD(bucket, peer, link);
	}
	peer->sessions++;
	return peer;
}

unsigned peer_sessions(const struct peer *peer)
{
	return peer->sessions;
}

void peer_leave(struct peer **handle)
{
	struct peer *peer = *handle;

	*handle = NULL;
	if (peer == NULL || --peer->sessions > 0)
		return;
	LIST_REMOVE(peer, link);
	mem_free(peer);
}
