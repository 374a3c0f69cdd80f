/*
 * One line an event: t=… level=… role=… pid=… event=… and key=value fields, to standard error or syslog.
 *
 * A value is quoted when it holds anything but plain characters; control characters and octets that
 * are not UTF-8 become \xNN, so no peer can forge a line. A line is one write(2).
 *
 *	LOG_INFO("accepted", LOG_TEXT("id", id), LOG_NUMBER("size", octets));
 */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include <stdint.h>

#include "base/text.h"

enum log_level { LOG_LEVEL_DEBUG, LOG_LEVEL_INFO, LOG_LEVEL_WARNING, LOG_LEVEL_ERROR };

enum log_field_kind { LOG_FIELD_END, LOG_FIELD_TEXT, LOG_FIELD_NUMBER, LOG_FIELD_OPTIONAL };

struct log_field {
	enum log_field_kind kind;
	const char *key;
	struct text text;
	int64_t number;
};

#define LOG_TEXT(k, t) \
	{ \
		.kind = LOG_FIELD_TEXT, .key = (k), .text = (t) \
	}
#define LOG_STRING(k, s) \
	{ \
		.kind = LOG_FIELD_TEXT, .key = (k), .text = text_of(s) \
	}
/* Left out when it is empty. */
#define LOG_OPTIONAL(k, t) \
	{ \
		.kind = LOG_FIELD_OPTIONAL, .key = (k), .text = (t) \
	}
#define LOG_NUMBER(k, n) \
	{ \
		.kind = LOG_FIELD_NUMBER, .key = (k), .number = (int64_t)(n) \
	}
#define LOG_ERRNO(number) LOG_STRING("error", log_errno(number))

#define LOG_EVENT(level, ...) LOG_EVENT_(level, __VA_ARGS__, { .kind = LOG_FIELD_END })
#define LOG_EVENT_(level, event, ...) \
	log_write((level), (event), (const struct log_field[]){ __VA_ARGS__ })
#define LOG_DEBUG(...) LOG_EVENT(LOG_LEVEL_DEBUG, __VA_ARGS__)
#define LOG_INFO(...) LOG_EVENT(LOG_LEVEL_INFO, __VA_ARGS__)
#define LOG_WARNING(...) LOG_EVENT(LOG_LEVEL_WARNING, __VA_ARGS__)
#define LOG_ERROR(...) LOG_EVENT(LOG_LEVEL_ERROR, __VA_ARGS__)

/* role must live as long as the process. Nothing below the threshold is written. */
void log_open(const char *role, enum log_level threshold);

/* "debug", "info", "warning" or "error". 0, or -1. */
int log_level_parse(struct text name, enum log_level *level);

/*
 * From now on to syslog(3), facility mail. Call before the sandbox is closed, and again when its
 * descriptor was closed.
 */
void log_to_syslog(void);

/*
 * A file that lines go to as well, for restante trace; opened to append. -1: none any more. Takes the
 * descriptor, and closes the one before.
 */
void log_to_file(int fd);

/* event is a fixed word of ours; fields end with LOG_FIELD_END. */
void log_write(enum log_level level, const char *event, const struct log_field *fields);

/* A description that stays valid until the next call in this thread. */
const char *log_errno(int number);

/*
 * Say it and end the process with EX_SOFTWARE, for what cannot happen and for memory. A sanitizer build
 * aborts.
 */
void log_fatal(const char *event, const struct log_field *fields) __attribute__((noreturn));
#define LOG_FATAL(...) LOG_FATAL_(__VA_ARGS__, { .kind = LOG_FIELD_END })
#define LOG_FATAL_(event, ...) log_fatal((event), (const struct log_field[]){ __VA_ARGS__ })

#endif
