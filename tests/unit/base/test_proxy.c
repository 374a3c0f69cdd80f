/* PROXY headers, good and bad, whole and cut anywhere. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/proxy.h"

/* clang-format off */
#define V2(rest) "\r\n\r\n\0\r\nQUIT\n" rest
#define INET_BLOCK "\300\0\2\7" "\177\0\0\1" "\3\350\0\31"
#define INET6_BLOCK "\40\1\15\270\0\0\0\0\0\0\0\0\0\0\0\7" "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1" "\3\350\0\31"
#define UNIX_BLOCK "/source" /* padded by the test */
#define CASE(octets, who) { { (octets), sizeof(octets) - 1 }, (who) }

static const struct {
	struct text in;
	const char *client; /* "": the balancer itself */
} good[] = {
	CASE("PROXY TCP4 192.0.2.7 127.0.0.1 1000 25\r\n", "192.0.2.7"),
	CASE("PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n", "255.255.255.255"),
	CASE("PROXY TCP4 0.0.0.0 0.0.0.0 0 0\r\n", "0.0.0.0"),
	CASE("PROXY TCP6 2001:db8::7 ::1 1000 25\r\n", "2001:db8::7"),
	CASE("PROXY TCP6 ::ffff:192.0.2.7 ::1 1000 25\r\n", "192.0.2.7"),
	CASE("PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff "
		"ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n",
		"ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
	CASE("PROXY UNKNOWN\r\n", ""),
	CASE("PROXY UNKNOWN ffff::1 whatever\r\n", ""),
	CASE(V2("\x21\x11\0\x0c" INET_BLOCK), "192.0.2.7"),
	CASE(V2("\x21\x21\0\x24" INET6_BLOCK), "2001:db8::7"),
	CASE(V2("\x21\x11\0\x12" INET_BLOCK "\4\0\3abc"), "192.0.2.7"),
	CASE(V2("\x21\x11\0\x12" INET_BLOCK "\4\0\0\5\0\0"), "192.0.2.7"),
	CASE(V2("\x21\x12\0\x0c" INET_BLOCK), ""),   /* a datagram */
	CASE(V2("\x21\x00\0\0"), ""),                /* of a kind it does not know */
	CASE(V2("\x21\x00\0\3\4\0\0"), ""),
	CASE(V2("\x20\x00\0\0"), ""),                /* for itself */
	CASE(V2("\x20\x11\0\x0c" INET_BLOCK), ""),
	CASE(V2("\x20\xff\0\2xx"), ""),              /* ... and nothing else counts */
};

static const struct text bad[] = {
	{ "EHLO client.test\r\n", 18 },
	{ "proxy TCP4 192.0.2.7 127.0.0.1 1000 25\r\n", 40 },
	{ "PROXY  TCP4 192.0.2.7 127.0.0.1 1000 25\r\n", 41 },
	{ "PROXY\r\n", 7 },
	{ "PROXY \r\n", 8 },
	{ "PROXY TCP4\r\n", 12 },
	{ "PROXY TCP5 192.0.2.7 127.0.0.1 1000 25\r\n", 40 },
	{ "PROXY UNKNOWNX\r\n", 16 },
	{ "PROXY TCP4 192.0.2.7 127.0.0.1 1000 25\n", 39 },
	{ "PROXY TCP4 192.0.2.7 127.0.0.1 1000 25 \r\n", 41 },
	{ "PROXY TCP4 192.0.2.7 127.0.0.1 1000\r\n", 37 },
	{ "PROXY TCP4 192.0.2.7  127.0.0.1 1000 25\r\n", 41 },
	{ "PROXY TCP4 192.0.2.7 127.0.0.1 1000 65536\r\n", 43 },
	{ "PROXY TCP4 192.0.2.7 127.0.0.1 01000 25\r\n", 41 },
	{ "PROXY TCP4 192.0.2.7 127.0.0.1 -1 25\r\n", 38 },
	{ "PROXY TCP4 192.0.2.07 127.0.0.1 1000 25\r\n", 41 },
	{ "PROXY TCP4 192.0.2.7 localhost 1000 25\r\n", 40 },
	{ "PROXY TCP4 2001:db8::7 127.0.0.1 1000 25\r\n", 42 },
	{ "PROXY TCP4 192.0.2.7 ::1 1000 25\r\n", 34 },
	{ "PROXY TCP6 192.0.2.7 127.0.0.1 1000 25\r\n", 40 },
	{ "PROXY TCP4 192.0.2.7 127.0.0.1 1000 25\r\r\n", 41 },
	{ V2("\x11\x11\0\x0c" INET_BLOCK), 28 },     /* version 1 */
	{ V2("\x22\x11\0\x0c" INET_BLOCK), 28 },     /* no such command */
	{ V2("\x21\x41\0\x0c" INET_BLOCK), 28 },     /* no such family */
	{ V2("\x21\x13\0\x0c" INET_BLOCK), 28 },     /* no such transport */
	{ V2("\x21\x11\0\x0b" INET_BLOCK), 28 },     /* too short for its addresses */
	{ V2("\x21\x21\0\x0c" INET_BLOCK), 28 },
	{ V2("\x21\x11\0\x0e" INET_BLOCK "\4\0"), 30 },     /* half an extension */
	{ V2("\x21\x11\0\x11" INET_BLOCK "\4\0\3ab"), 33 }, /* one longer than the header */
	{ V2("\x21\x11\xff\xff" INET_BLOCK), 28 },
	{ V2("\x20\x00\x10\x01"), 16 },
	{ "\r\n\r\n\1\r\nQUIT\n\x21\x11\0\x0c", 16 },
};
/* clang-format on */

static void good_headers_are_understood_however_they_come(void **state)
{
	struct proxy_header header;
	char string[INET6_ADDRSTRLEN];
	size_t used;

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		const struct text in = good[i].in;
		for (size_t part = 0; part < in.len; part++)
			assert_int_equal(proxy_parse(text_head(in, part), &header, &used), 0);
		assert_int_equal(proxy_parse(in, &header, &used), 1);
		assert_int_equal(used, in.len);
		assert_int_equal(header.has_client, good[i].client[0] != '\0');
		if (!header.has_client)
			continue;
		net_address_print(&header.client, string);
		assert_string_equal(string, good[i].client);
	}
}

static void what_follows_is_left(void **state)
{
	char octets[300];
	struct proxy_header header;
	size_t used;

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		const struct text in = good[i].in;
		memcpy(octets, in.ptr, in.len);
		memcpy(octets + in.len, "EHLO x\r\n", 8);
		assert_int_equal(
			proxy_parse((struct text){ octets, in.len + 8 }, &header, &used), 1);
		assert_int_equal(used, in.len);
	}
}

static void bad_ones_are_refused(void **state)
{
	struct proxy_header header;
	size_t used;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(proxy_parse(bad[i], &header, &used), -1);
}

/* A line may have 107 octets, whatever is in it; version 2 stays below its limit. */
static void long_ones_are_refused(void **state)
{
	char octets[PROXY_HEADER_LIMIT + 16];
	struct proxy_header header;
	size_t used;

	(void)state;
	memset(octets, 'x', sizeof(octets));
	memcpy(octets, "PROXY UNKNOWN ", 14);
	assert_int_equal(proxy_parse((struct text){ octets, 106 }, &header, &used), 0);
	assert_int_equal(proxy_parse((struct text){ octets, 107 }, &header, &used), -1);
	memcpy(octets + 105, "\r\n", 2);
	assert_int_equal(proxy_parse((struct text){ octets, 107 }, &header, &used), 1);
	memset(octets, 0, sizeof(octets));
	memcpy(octets, V2("\x20\x00\x0f\xf0"), 16);
	assert_int_equal(
		proxy_parse((struct text){ octets, PROXY_HEADER_LIMIT - 1 }, &header, &used), 0);
	assert_int_equal(
		proxy_parse((struct text){ octets, PROXY_HEADER_LIMIT }, &header, &used), 1);
}

/* A unix socket's addresses are of no use to us, but the header is good. */
static void unix_sockets_are_passed_over(void **state)
{
	char octets[16 + 216] = V2("\x21\x31\0\xd8" UNIX_BLOCK);
	struct proxy_header header;
	size_t used;

	(void)state;
	assert_int_equal(proxy_parse((struct text){ octets, sizeof(octets) }, &header, &used), 1);
	assert_false(header.has_client);
	octets[15]--;
	assert_int_equal(proxy_parse((struct text){ octets, sizeof(octets) }, &header, &used), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(good_headers_are_understood_however_they_come),
		cmocka_unit_test(what_follows_is_left),
		cmocka_unit_test(bad_ones_are_refused),
		cmocka_unit_test(long_ones_are_refused),
		cmocka_unit_test(unix_sockets_are_passed_over),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
