/* Addresses and prefixes from text, and which holds which. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/net.h"

static struct net_address address_of(const char *string)
{
	struct net_address address;

	assert_int_equal(net_address_parse(text_of(string), &address), 0);
	return address;
}

static void addresses_are_read_and_printed(void **state)
{
	static const struct {
		const char *in, *out;
	} good[] = {
		{ "192.0.2.1", "192.0.2.1" },
		{ "::ffff:192.0.2.1", "192.0.2.1" },
		{ "2001:DB8:0::1", "2001:db8::1" },
		{ "::", "::" },
		{ "255.255.255.255", "255.255.255.255" },
	};
	static const char *const bad[] = { "", "192.0.2", "192.0.2.256", "192.0.2.01", "1.2.3.4 ",
		"[::1]", "fe80::1%lo", "example.org",
		"::1::", "2001:0db8:0000:0000:0000:0000:0000:0000:0000:0000:0001" };
	struct net_address address;
	char string[INET6_ADDRSTRLEN];

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		address = address_of(good[i].in);
		net_address_print(&address, string);
		assert_string_equal(string, good[i].out);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(net_address_parse(text_of(bad[i]), &address), -1);
	assert_int_equal(net_address_parse(TEXT("1.2.3.4\0"), &address), -1);
}

static void loopback_is_known(void **state)
{
	static const struct {
		const char *address;
		bool loopback;
	} cases[] = { { "127.0.0.1", true }, { "127.255.3.4", true }, { "::1", true },
		{ "::ffff:127.0.0.1", true }, { "128.0.0.1", false }, { "::2", false },
		{ "::127.0.0.1", false } };

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const struct net_address address = address_of(cases[i].address);
		assert_int_equal(net_address_is_loopback(&address), cases[i].loopback);
	}
}

static void masks_count_within_the_family(void **state)
{
	static const struct {
		const char *in;
		unsigned ipv4, ipv6;
		const char *out;
	} cases[] = {
		{ "192.0.2.77", 32, 64, "192.0.2.77" },
		{ "192.0.2.77", 26, 0, "192.0.2.64" },
		{ "2001:db8:1:2:3:4:5:6", 0, 64, "2001:db8:1:2::" },
		{ "2001:db8:1:2:3:4:5:6", 0, 61, "2001:db8:1::" },
		{ "2001:db8::1", 32, 128, "2001:db8::1" },
		{ "2001:db8::1", 32, 0, "::" },
	};
	char string[INET6_ADDRSTRLEN];

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct net_address address = address_of(cases[i].in);
		net_address_mask(&address, cases[i].ipv4, cases[i].ipv6);
		net_address_print(&address, string);
		assert_string_equal(string, cases[i].out);
	}
}

static void prefixes_hold_addresses(void **state)
{
	static const struct {
		const char *prefix, *address;
		bool holds;
	} cases[] = {
		{ "192.0.2.0/24", "192.0.2.255", true },
		{ "192.0.2.0/24", "192.0.3.0", false },
		{ "192.0.2.1", "192.0.2.1", true },
		{ "192.0.2.1", "192.0.2.0", false },
		{ "0.0.0.0/0", "192.0.2.0", true },
		{ "0.0.0.0/0", "2001:db8::1", false },
		{ "::/0", "2001:db8::1", true },
		{ "2001:db8::/32", "2001:db8:ffff::", true },
		{ "2001:db8::/33", "2001:db8:ffff::", false },
		{ "::1", "::1", true },
		{ "10.0.0.0/8", "10.1.2.3", true },
	};
	static const char *const bad[] = { "192.0.2.1/24", "192.0.2.0/33", "::/129", "10/8", "/8",
		"10.0.0.0/", "10.0.0.0/-1", "10.0.0.0/8/8", "10.0.0.0/ 8", "2001:db8::1/64" };
	struct net_prefix prefix;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const struct net_address address = address_of(cases[i].address);
		assert_int_equal(net_prefix_parse(text_of(cases[i].prefix), &prefix), 0);
		assert_int_equal(net_prefix_holds(&prefix, &address), cases[i].holds);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(net_prefix_parse(text_of(bad[i]), &prefix), -1);
}

static void lists_of_prefixes_are_held_against_addresses(void **state)
{
	char *item[] = { (char *)"192.0.2.0/24", (char *)"2001:db8::1" };
	struct settings_list list = { .count = 2, .item = item };
	static const struct {
		const char *address;
		bool held;
	} cases[] = { { "192.0.2.200", true }, { "192.0.3.1", false }, { "2001:db8::1", true },
		{ "2001:db8::2", false } };

	(void)state;
	assert_null(net_list_check(&list));
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const struct net_address address = address_of(cases[i].address);
		assert_int_equal(net_list_holds(&list, &address), cases[i].held);
	}
	item[1] = (char *)"10.0.0.1/8";
	assert_string_equal(net_list_check(&list), "10.0.0.1/8");
	list.count = 0;
	assert_null(net_list_check(&list));
}

static void a_unix_peer_has_none(void **state)
{
	struct net_address address;
	int pair[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	assert_int_equal(net_address_of_peer(pair[0], &address), -1);
	close(pair[0]);
	close(pair[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(addresses_are_read_and_printed),
		cmocka_unit_test(loopback_is_known),
		cmocka_unit_test(masks_count_within_the_family),
		cmocka_unit_test(prefixes_hold_addresses),
		cmocka_unit_test(lists_of_prefixes_are_held_against_addresses),
		cmocka_unit_test(a_unix_peer_has_none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
