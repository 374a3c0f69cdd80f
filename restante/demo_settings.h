/*
 * The settings that `restante demo` makes up.
 */
#ifndef RESTANTE_DEMO_SETTINGS_H
#define RESTANTE_DEMO_SETTINGS_H

#include <stdbool.h>

#include "base/buf.h"

#define DEMO_DOMAIN "example.test"
#define DEMO_HOSTNAME "mail.example.test"
#define DEMO_PASSWORD "restante"

enum { DEMO_USERS = 3, DEMO_PORT_BASE = 10000, DEMO_PORT_BASE_MOST = 64000 };
extern const char *const demo_users[DEMO_USERS]; /* without the domain */

struct demo_options {
	const char *directory; /* absolute */
	unsigned port_base;    /* 0: the kernel chooses every port */
	bool limits;           /* limits per client hold for loopback, too */
	bool ipv6;             /* listen on ::1 as well */
};

/* A settings file; certificate.pem and key.pem are to lie beside it. */
void demo_settings_print(struct buf *out, const struct demo_options *options);

#endif
