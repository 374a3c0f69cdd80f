/*
 * The settings that every role receives: the top level of the settings file.
 */
#ifndef BASE_COMMON_H
#define BASE_COMMON_H

#include "base/settings.h"

struct common_settings {
	char *hostname;               /* what we call ourselves in greetings and trace fields */
	struct settings_list domains; /* whose mail we take */
	char *state;                  /* absolute directory: store/ and run/ below it */
	char *log_level;              /* debug info warning error */
	bool syslog;
	uint64_t log_size; /* octets of STATE/log; 0: no such file */
	/* As root, role r runs as uid and gid uid_base + r (enum priv_role). */
	uint64_t uid_base;
	/* How long transfers in progress may take at a clean stop. */
	uint64_t stop_seconds;
	/* Pairs "chain.pem:key.pem", one an item. */
	struct settings_list certificates;
};

extern const struct settings_section common_section;

#endif
