#include "base/log_syslog.h"

#include <syslog.h>

void log_syslog_open(const char *role)
{
	closelog();
	openlog(role, LOG_NDELAY | LOG_PID, LOG_MAIL);
}

void log_syslog_write(int severity, const char *line, size_t size)
{
	syslog(severity, "%.*s", (int)size, line);
}
