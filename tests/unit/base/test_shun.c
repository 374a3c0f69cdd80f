/* Filters on sockets that listen, with clients of many addresses: those of 127.0.0.0/8, and ::1. */
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/shun.h"

enum { PATIENCE = 120 * 1000 }; /* milliseconds */

union address {
	struct sockaddr any;
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;
};

static socklen_t size_of(const union address *address)
{
	return address->any.sa_family == AF_INET ? sizeof(address->v4) : sizeof(address->v6);
}

static union address address_of(const char *string)
{
	union address address = { .any.sa_family = AF_UNSPEC };
	struct net_address octets;

	assert_int_equal(net_address_parse(text_of(string), &octets), 0);
	if (net_address_is_ipv4(&octets)) {
		address.v4.sin_family = AF_INET;
		memcpy(&address.v4.sin_addr, octets.octets + 12, 4);
	} else {
		address.v6.sin6_family = AF_INET6;
		memcpy(&address.v6.sin6_addr, octets.octets, 16);
	}
	return address;
}

static struct net_prefix prefix_of(const char *string)
{
	struct net_prefix prefix;

	assert_int_equal(net_prefix_parse(text_of(string), &prefix), 0);
	return prefix;
}

/* At that address. *address is given its port. */
static int listen_at(union address *address)
{
	socklen_t size = size_of(address);
	const int fd = socket(address->any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(bind(fd, &address->any, size), 0);
	assert_int_equal(listen(fd, 100), 0);
	assert_int_equal(getsockname(fd, &address->any, &size), 0);
	return fd;
}

static int knock(const union address *to, const char *from)
{
	const union address own = address_of(from);
	const int fd = socket(to->any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	assert_int_equal(bind(fd, &own.any, size_of(&own)), 0);
	assert_true(connect(fd, &to->any, size_of(to)) == 0 || errno == EINPROGRESS);
	return fd;
}

static bool is_connected(int fd, int patience)
{
	struct pollfd poll_fd = { .fd = fd, .events = POLLOUT };

	return poll(&poll_fd, 1, patience) == 1;
}

/* Only root may, since some kernel. */
static void attach(int fd, const struct net_prefix *list, size_t count)
{
	if (shun_attach(fd, list, count) == 0)
		return;
	assert_int_equal(errno, EPERM);
	assert_int_not_equal(geteuid(), 0);
	skip();
}

static void who_is_listed_is_not_heard(void **state)
{
	static const struct {
		const char *client;
		const char *list[3];
		bool heard;
	} cases[] = {
		{ "127.0.0.2", { "127.0.0.2" }, false },
		{ "127.0.0.3", { "127.0.0.2" }, true },
		{ "127.0.0.2", { "127.0.0.1", "10.0.0.0/8", "127.0.0.2" }, false },
		{ "127.0.0.4", { "127.0.0.1", "10.0.0.0/8", "127.0.0.2" }, true },
		{ "127.0.0.3", { "127.0.0.0/30" }, false },
		{ "127.0.0.4", { "127.0.0.0/30" }, true },
		{ "127.0.0.2", { "2001:db8::/64", "127.0.0.0/8" }, false },
		{ "127.0.0.2", { "::7f00:2", "::ffff:0:7f00:2" }, true },
		{ "::1", { "::1" }, false },
		{ "::1", { "::2", "127.0.0.1" }, true },
		{ "::1", { "::/64" }, false },
		{ "::1", { "::/127" }, false },
		{ "::1", { "::/40" }, false },
		{ "::1", { "2001:db8::/64", "0:0:0:1::/64", "8000::/1" }, true },
		/* It holds all of IPv4, as that is written there, and does not mean it. */
		{ "127.0.0.2", { "::/64" }, true },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const bool v6 = strchr(cases[i].client, ':') != NULL;
		union address here = address_of(v6 ? "::1" : "127.0.0.1");
		union address there = address_of("127.0.0.1");
		const int listener = listen_at(&here), other = listen_at(&there);
		struct net_prefix list[3];
		size_t count = 0;

		while (count < 3 && cases[i].list[count]) {
			list[count] = prefix_of(cases[i].list[count]);
			count++;
		}
		attach(listener, list, count);
		const int client = knock(&here, cases[i].client);
		/* What takes no more than this has been decided then. */
		const int later = knock(&there, "127.0.0.1");
		assert_true(is_connected(later, PATIENCE));
		if (is_connected(client, cases[i].heard ? PATIENCE : 0) != cases[i].heard)
			fail_msg("case %zu", i);
		close(later);
		close(client);
		close(other);
		close(listener);
	}
}

static void it_is_heard_again_and_others_all_the_time(void **state)
{
	union address here = address_of("127.0.0.1");
	const struct net_prefix one = prefix_of("127.0.0.2");
	const int listener = listen_at(&here);
	const int before = knock(&here, "127.0.0.2");
	char octet = 'a';

	(void)state;
	assert_true(is_connected(before, PATIENCE));
	const int accepted = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	attach(listener, &one, 1);
	attach(listener, &one, 1);
	const int client = knock(&here, "127.0.0.2");
	const int other = knock(&here, "127.0.0.3");
	assert_true(is_connected(other, PATIENCE));
	assert_false(is_connected(client, 0));
	/* A connection that is there knows nothing of it, nor one that comes meanwhile. */
	assert_int_equal(write(before, &octet, 1), 1);
	assert_int_equal(read(accepted, &octet, 1), 1);
	const int meanwhile = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	shun_release(meanwhile);
	assert_int_equal(write(other, &octet, 1), 1);
	assert_int_equal(read(meanwhile, &octet, 1), 1);
	/* TCP knocks again by itself. */
	attach(listener, NULL, 0);
	assert_true(is_connected(client, PATIENCE));
	close(meanwhile);
	close(other);
	close(client);
	close(accepted);
	close(before);
	close(listener);
}

/* As long as programs can be, and not one prefix more. */
static void as_many_as_there_may_be(void **state)
{
	union address here = address_of("127.0.0.1");
	const int listener = listen_at(&here);
	struct net_prefix list[SHUN_MOST + 1];

	(void)state;
	for (unsigned i = 0; i <= SHUN_MOST; i++) {
		list[i] = prefix_of("2001:db8:1:2:3:4:5:0/127");
		list[i].address.octets[15] = (unsigned char)(2 * i);
	}
	list[SHUN_MOST - 1] = prefix_of("127.0.0.2");
	attach(listener, list, SHUN_MOST);
	const int client = knock(&here, "127.0.0.2"), other = knock(&here, "127.0.0.3");
	assert_true(is_connected(other, PATIENCE));
	assert_false(is_connected(client, 0));
	assert_int_equal(shun_attach(listener, list, SHUN_MOST + 1), -1);
	assert_int_equal(errno, EINVAL);
	close(other);
	close(client);
	close(listener);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(who_is_listed_is_not_heard),
		cmocka_unit_test(it_is_heard_again_and_others_all_the_time),
		cmocka_unit_test(as_many_as_there_may_be),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
