/* Who is not to be heard is kept out at the role's listeners, at a second try when the first one failed. */
#include <errno.h>
#include <event2/event.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/limits.h"
#include "restante/shunning.h"

static unsigned attached, refusals;

/* In the C library's place: the kernel lets only root have filters, and here it is asked by nobody. */
int setsockopt(int fd, int level, int name, const void *value, socklen_t size)
{
	if (level != SOL_SOCKET || name != SO_ATTACH_FILTER)
		return (int)syscall(SYS_setsockopt, fd, level, name, value, size);
	if (refusals) {
		refusals--;
		errno = ENOMEM;
		return -1;
	}
	attached++;
	return 0;
}

static void test_tried_again(void **state)
{
	static const struct host_service service = { .name = "smtp", .role = HOST_SMTP_IN };
	struct listener listeners[] = {
		{ .name = "smtp", .role = HOST_SMTP_IN, .service = &service, .fd = 0 },
		{ .name = "smtps", .role = HOST_SMTP_IN, .service = &service, .fd = 0 },
	};
	struct host host = { .loop = event_base_new(),
		.listeners = { .list = listeners, .count = 2 } };
	struct net_prefix prefix;

	(void)state;
	assert_int_equal(net_prefix_parse(TEXT("127.0.0.2"), &prefix), 0);
	struct limits *table = limits_open(limits_make(1), 1, 0);
	assert_non_null(table);
	host.limits[HOST_SMTP_IN].table = table;
	struct shunning *shunning = shunning_new(&host);
	refusals = 1; /* at one of the two listeners */
	assert_true(limits_shun(table, &prefix, LIMITS_SHUN_SECONDS, clock_milliseconds()));
	shunning_look(shunning);
	for (unsigned looks = 0; attached < 3 && looks < 4; looks++)
		event_base_loop(host.loop, EVLOOP_ONCE);
	assert_int_equal(attached, 3);
	/* They have it: it stays so. */
	event_base_loop(host.loop, EVLOOP_ONCE);
	assert_int_equal(attached, 3);
	shunning_free(&shunning);
	limits_close(&table);
	event_base_free(host.loop);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_tried_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
