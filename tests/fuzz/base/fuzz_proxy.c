/*
 * PROXY headers. Whatever comes in pieces is judged as it is in one: once a part is complete or refused, more
 * octets change nothing. And a prefix that is read holds its own address.
 */
#include <stdlib.h>
#include <string.h>

#include "base/proxy.h"
#include "tests/fuzz/fuzz.h"

static void check_header(struct text in)
{
	struct proxy_header whole, part;
	size_t used, part_used;
	const int found = proxy_parse(in, &whole, &used);

	REQUIRE(found > 0 ? used <= in.len && used <= PROXY_HEADER_LIMIT && used >= 15
			  : used <= in.len);
	REQUIRE(found != 0 || in.len < PROXY_HEADER_LIMIT);
	for (size_t len = 0; len < in.len && len < 300; len++) {
		/* In memory of its own, so that nothing behind it is looked at unseen. */
		char *octets = malloc(len + 1);
		memcpy(octets, in.ptr, len);
		const int then = proxy_parse((struct text){ octets, len }, &part, &part_used);
		REQUIRE(then == 0 || then == found);
		REQUIRE(then <= 0 || (part_used == used && part.has_client == whole.has_client));
		free(octets);
	}
}

static void check_prefix(struct text in)
{
	struct net_prefix prefix;
	char string[INET6_ADDRSTRLEN];
	struct net_address again;

	if (net_prefix_parse(in, &prefix) != 0)
		return;
	REQUIRE(prefix.bits <= 128 && net_prefix_holds(&prefix, &prefix.address));
	net_address_print(&prefix.address, string);
	REQUIRE(net_address_parse(text_of(string), &again) == 0);
	REQUIRE(memcmp(&again, &prefix.address, sizeof(again)) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct text in = fuzz_text(data, size);

	check_header(in);
	check_prefix(in);
	return 0;
}
