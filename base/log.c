#include "base/log.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

#include "base/log_syslog.h"
#include "base/sanitizer.h"

enum {
	LINE_LIMIT =
		4096, /* PIPE_BUF: what a pipe takes whole, so lines of many writers do not mix */
	VALUE_LIMIT =
		1024,  /* of one value as written: one long field must not push out the others */
	END_ROOM = 16, /* kept free for " cut=yes\n" */
};

struct line {
	size_t used;
	bool cut; /* fields were left out */
	char octets[LINE_LIMIT];
};

static struct {
	const char *role;
	enum log_level threshold;
	bool syslog;
	int file; /* -1: none */
} settings = { .role = "restante", .threshold = LOG_LEVEL_INFO, .file = -1 };

static const char *level_name(enum log_level level)
{
	switch (level) {
	case LOG_LEVEL_DEBUG:
		return "debug";
	case LOG_LEVEL_INFO:
		return "info";
	case LOG_LEVEL_WARNING:
		return "warning";
	case LOG_LEVEL_ERROR:
		return "error";
	}
	return "error";
}

int log_level_parse(struct text name, enum log_level *level)
{
	for (enum log_level l = LOG_LEVEL_DEBUG; l <= LOG_LEVEL_ERROR; l++) {
		if (text_equal(name, text_of(level_name(l)))) {
			*level = l;
			return 0;
		}
	}
	return -1;
}

void log_open(const char *role, enum log_level threshold)
{
	settings.role = role;
	settings.threshold = threshold;
}

void log_to_syslog(void)
{
	log_syslog_open(settings.role);
	settings.syslog = true;
}

void log_to_file(int fd)
{
	if (settings.file >= 0)
		close(settings.file);
	settings.file = fd;
}

/* All of it or nothing. */
static bool put(struct line *line, size_t limit, const char *octets, size_t size)
{
	if (size > limit - line->used)
		return false;
	memcpy(line->octets + line->used, octets, size);
	line->used += size;
	return true;
}

static bool put_string(struct line *line, const char *string)
{
	return put(line, LINE_LIMIT - END_ROOM, string, strlen(string));
}

static bool is_plain(char octet)
{
	return (octet >= '0' && octet <= '9') || (octet >= 'a' && octet <= 'z') ||
	       (octet >= 'A' && octet <= 'Z') ||
	       (octet && strchr("!#$%&()*+,-./:;<>?@[]^_{|}~", octet));
}

/* Octets of the character that begins with this one; 0 when none does (RFC 3629 section 4). */
static size_t utf8_length(unsigned char first)
{
	if (first < 0x80)
		return 1;
	if (first < 0xc2 || first > 0xf4)
		return 0;
	return first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
}

/*
 * Octets of the character at the start of t that may stand in a line as they are: 0 for controls, what
 * is not UTF-8 (RFC 3629), and the separators U+2028 and U+2029.
 */
static size_t printable(struct text t)
{
	const unsigned char *at = (const unsigned char *)t.ptr;
	size_t length = utf8_length(at[0]);

	if (length == 0 || length > t.len)
		return 0;
	if (length == 1)
		return at[0] >= 0x20 && at[0] != 0x7f;
	unsigned code = at[0] & (0xffU >> (length + 1));
	for (size_t i = 1; i < length; i++) {
		if ((at[i] & 0xc0) != 0x80)
			return 0;
		code = code << 6 | (at[i] & 0x3fU);
	}
	if (code < 0xa0 || (length == 3 && code < 0x800) || (length == 4 && code < 0x10000))
		return 0;
	if ((code >= 0xd800 && code <= 0xdfff) || code > 0x10ffff || code == 0x2028 ||
		code == 0x2029)
		return 0;
	return length;
}

/* One character of a quoted value; false when it does not fit. */
static bool put_quoted(struct line *line, size_t limit, struct text t, size_t *taken)
{
	char escape[5];

	*taken = printable(t);
	if (*taken == 1 && (t.ptr[0] == '"' || t.ptr[0] == '\\')) {
		escape[0] = '\\';
		escape[1] = t.ptr[0];
		return put(line, limit, escape, 2);
	}
	if (*taken)
		return put(line, limit, t.ptr, *taken);
	*taken = 1;
	snprintf(escape, sizeof(escape), "\\x%02x", (unsigned char)t.ptr[0]);
	return put(line, limit, escape, 4);
}

/* Quoted when it must be. A value that was cut short reads "its beginning"... */
static void put_text(struct line *line, struct text t)
{
	const size_t room = LINE_LIMIT - END_ROOM - line->used;
	const size_t limit = line->used + (room < VALUE_LIMIT ? room : VALUE_LIMIT);
	size_t plain = 0, taken;

	while (plain < t.len && is_plain(t.ptr[plain]))
		plain++;
	if (plain && plain == t.len && put(line, limit, t.ptr, t.len))
		return;
	const size_t closing = sizeof("\"...") - 1;
	put(line, limit, "\"", 1);
	while (t.len && put_quoted(line, limit - closing, t, &taken))
		t = text_from(t, taken);
	put_string(line, t.len ? "\"..." : "\"");
}

static void put_field(struct line *line, const struct log_field *field)
{
	char number[24];

	/* Enough for the key, its value's quotes and a number: beyond that the field is left out. */
	if (strlen(field->key) + 32 > LINE_LIMIT - END_ROOM - line->used) {
		line->cut = true;
		return;
	}
	put_string(line, " ");
	put_string(line, field->key);
	put_string(line, "=");
	if (field->kind == LOG_FIELD_NUMBER) {
		snprintf(number, sizeof(number), "%lld", (long long)field->number);
		put_string(line, number);
	} else {
		put_text(line, field->text);
	}
}

/* Returns where the part begins that syslog, which has a clock of its own, is given. */
static size_t begin_line(struct line *line, enum log_level level, const char *event)
{
	struct timespec now;
	struct tm date;
	char head[160];

	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &date);
	snprintf(head, sizeof(head), "t=%04d-%02d-%02dT%02d:%02d:%02d.%03dZ ", date.tm_year + 1900,
		date.tm_mon + 1, date.tm_mday, date.tm_hour, date.tm_min, date.tm_sec,
		(int)(now.tv_nsec / 1000000));
	put_string(line, head);
	size_t after_time = line->used;
	snprintf(head, sizeof(head), "level=%s role=%s pid=%d event=", level_name(level),
		settings.role, (int)getpid());
	put_string(line, head);
	put_text(line, text_of(event));
	return after_time;
}

/* RFC 5424 section 6.2.1; the numbers of syslog(3) are the same. */
static int syslog_severity(enum log_level level)
{
	switch (level) {
	case LOG_LEVEL_DEBUG:
		return 7;
	case LOG_LEVEL_INFO:
		return 6;
	case LOG_LEVEL_WARNING:
		return 4;
	case LOG_LEVEL_ERROR:
		return 3;
	}
	return 3;
}

void log_write(enum log_level level, const char *event, const struct log_field *fields)
{
	const int saved = errno;
	struct line line;

	if (level < settings.threshold)
		return;
	line.used = 0;
	line.cut = false;
	size_t after_time = begin_line(&line, level, event);
	for (; fields->kind != LOG_FIELD_END; fields++) {
		if (fields->kind != LOG_FIELD_OPTIONAL || fields->text.len)
			put_field(&line, fields);
	}
	if (line.cut)
		put(&line, LINE_LIMIT, " cut=yes", 8);
	put(&line, LINE_LIMIT, "\n", 1);
	if (settings.file >= 0) {
		while (write(settings.file, line.octets, line.used) < 0 && errno == EINTR)
			;
	}
	if (settings.syslog) {
		log_syslog_write(syslog_severity(level), line.octets + after_time,
			line.used - after_time - 1);
	} else {
		while (write(STDERR_FILENO, line.octets, line.used) < 0 && errno == EINTR)
			;
	}
	errno = saved;
}

const char *log_errno(int number)
{
	static _Thread_local char description[128];

	return strerror_r(number, description, sizeof(description));
}

void log_fatal(const char *event, const struct log_field *fields)
{
	log_write(LOG_LEVEL_ERROR, event, fields);
	/* There a fuzzer keeps the input that led here. */
	if (BASE_ADDRESS_SANITIZER)
		abort();
	_exit(EX_SOFTWARE);
}
