/*
 * syslog(3) for log.c, in a file of its own: its header and ours both define LOG_INFO.
 */
#ifndef BASE_LOG_SYSLOG_H
#define BASE_LOG_SYSLOG_H

#include <stddef.h>

/*
 * Connects at once, while the process may; anew when it was connected. role must live as long as the process.
 */
void log_syslog_open(const char *role);

/* severity: 0 (emergency) to 7 (debug). */
void log_syslog_write(int severity, const char *line, size_t size);

#endif
