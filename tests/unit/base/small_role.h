/*
 * The role of test_role.c: it greets on the listener "hello", and on "stay" waits for the client to go.
 */
#ifndef TESTS_SMALL_ROLE_H
#define TESTS_SMALL_ROLE_H

#include <event2/event.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/role.h"

struct small_settings {
	char *greeting;
};

static const struct settings_item small_items[] = {
	{ .name = "greeting",
		.type = SETTINGS_STRING,
		.preset = "hello",
		.least = 1,
		.most = 20,
		.offset = offsetof(struct small_settings, greeting),
		.help = "What is said to a client." },
};

static const struct settings_section small_section = {
	.name = "small", .items = small_items, .count = 1, .size = sizeof(struct small_settings)
};

struct guest {
	struct guest *next;
	struct event *gone;
	int fd;
};

static struct guest *guests;
static unsigned greeted, guest_count;

static void drop_guest(struct guest *guest)
{
	struct guest **at = &guests;

	while (*at != guest)
		at = &(*at)->next;
	*at = guest->next;
	event_free(guest->gone);
	close(guest->fd);
	mem_free(guest);
	guest_count--;
}

static void on_guest(evutil_socket_t fd, short what, void *argument)
{
	char octet;

	(void)what;
	if (read(fd, &octet, 1) <= 0)
		drop_guest(argument);
}

struct worker {
	const struct role_context *context;
};

static struct worker *small_start(struct role_context *context)
{
	static struct worker small;

	small.context = context;
	return &small;
}

static void small_accept(struct worker *worker, const char *listener, int fd)
{
	const struct role_context *context = worker->context;
	const struct small_settings *settings = context->settings;
	const bool confined =
		open("/etc/passwd", O_RDONLY) < 0 && socket(AF_INET, SOCK_DGRAM, 0) < 0;
	char line[100];

	if (strcmp(listener, "stay") == 0) {
		struct guest *guest = mem_new(sizeof(*guest));
		guest->gone = event_new(context->loop, fd, EV_READ | EV_PERSIST, on_guest, guest);
		guest->fd = fd;
		guest->next = guests;
		guests = guest;
		guest_count++;
		event_add(guest->gone, NULL);
		return;
	}
	int length = snprintf(line, sizeof(line), "%s confined=%d tls=%d uid=%d\n",
		settings->greeting, confined, context->tls != NULL, (int)getuid());
	if (write(fd, line, (size_t)length) == length)
		greeted++;
	close(fd);
}

static void small_count(const struct worker *worker, struct buf *out)
{
	(void)worker;
	buf_format(out, "greeted=%u\nguests=%u\n", greeted, guest_count);
}

static bool small_busy(const struct worker *worker)
{
	(void)worker;
	return guest_count > 0;
}

static void small_end(struct worker **worker)
{
	(void)worker;
	while (guests)
		drop_guest(guests);
}

static const struct role small_role = {
	.name = "small",
	.priv = PRIV_POP3D,
	.section = &small_section,
	.start = small_start,
	.accept = small_accept,
	.count = small_count,
	.busy = small_busy,
	.end = small_end,
};

#endif
