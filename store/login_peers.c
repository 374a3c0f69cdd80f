#include <arpa/inet.h>
#include <errno.h>
#include <string.h>
#include <sys/random.h>

#include "base/log.h"
#include "base/mem.h"
#include "store/login_peers.h"

enum { SETS = 512, WAYS = 8, IPV6_NETWORK = 8 };

struct count {
	struct login_peer peer;
	uint64_t since;    /* of the first failure */
	uint64_t failures; /* 0: free */
};

struct login_peers {
	uint64_t seed; /* nobody shall choose who shares a set with whom */
	struct count set[SETS][WAYS];
};

struct login_peers *login_peers_new(void)
{
	struct login_peers *peers = mem_new(sizeof(*peers));

	if (getrandom(&peers->seed, sizeof(peers->seed), 0) != sizeof(peers->seed))
		LOG_FATAL("no-random-octets", LOG_ERRNO(errno));
	return peers;
}

void login_peers_free(struct login_peers **peers)
{
	mem_free(*peers);
	*peers = NULL;
}

static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff }; /* ::ffff:0:0/96 */

bool login_peer_parse(struct text in, struct login_peer *peer)
{
	char string[INET6_ADDRSTRLEN];

	if (in.len >= sizeof(string))
		return false;
	if (in.len)
		memcpy(string, in.ptr, in.len);
	string[in.len] = '\0';
	*peer = (struct login_peer){ 0 };
	if (inet_pton(AF_INET, string, peer->address + sizeof(mapped)) == 1) {
		memcpy(peer->address, mapped, sizeof(mapped));
		return true;
	}
	return inet_pton(AF_INET6, string, peer->address) == 1;
}

static bool is_ipv4(const struct login_peer *peer)
{
	return memcmp(peer->address, mapped, sizeof(mapped)) == 0;
}

bool login_peer_is_loopback(const struct login_peer *peer)
{
	static const uint8_t loopback[16] = { [15] = 1 };

	if (is_ipv4(peer))
		return peer->address[sizeof(mapped)] == 127;
	return memcmp(peer->address, loopback, sizeof(loopback)) == 0;
}

/* What counts of an address. */
static struct login_peer network_of(const struct login_peer *peer)
{
	struct login_peer network = *peer;

	if (!is_ipv4(peer))
		memset(network.address + IPV6_NETWORK, 0, sizeof(network.address) - IPV6_NETWORK);
	return network;
}

static size_t set_of(const struct login_peers *peers, const struct login_peer *network)
{
	uint64_t hash = peers->seed, half;

	for (size_t i = 0; i < sizeof(network->address); i += sizeof(half)) {
		memcpy(&half, network->address + i, sizeof(half));
		hash = (hash ^ half) * UINT64_C(0x9e3779b97f4a7c15);
		hash ^= hash >> 29;
	}
	return (size_t)(hash >> 32) % SETS;
}

static bool counts_for(
	const struct count *count, const struct login_peer *network, uint64_t now, uint64_t window)
{
	return count->failures && now - count->since < window &&
	       memcmp(&count->peer, network, sizeof(*network)) == 0;
}

uint64_t login_peers_failures(const struct login_peers *peers, const struct login_peer *peer,
	uint64_t now, uint64_t window)
{
	const struct login_peer network = network_of(peer);
	const struct count *set = peers->set[set_of(peers, &network)];

	for (size_t i = 0; i < WAYS; i++) {
		if (counts_for(&set[i], &network, now, window))
			return set[i].failures;
	}
	return 0;
}

void login_peers_fail(
	struct login_peers *peers, const struct login_peer *peer, uint64_t now, uint64_t window)
{
	const struct login_peer network = network_of(peer);
	struct count *set = peers->set[set_of(peers, &network)], *oldest = &set[0];

	for (size_t i = 0; i < WAYS; i++) {
		if (counts_for(&set[i], &network, now, window)) {
			set[i].failures++;
			return;
		}
		if (set[i].since < oldest->since)
			oldest = &set[i];
	}
	*oldest = (struct count){ .peer = network, .since = now, .failures = 1 };
}
