#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/id.h"
#include "base/log.h"
#include "base/mem.h"
#include "restante/command.h"
#include "restante/host.h"
#include "restante/trace_tell.h"

enum { PIECE = 1 << 16, NOTHING_FOUND = 1 };

/* The log is kept in memory while its lines are looked through, and so bounded. */
static const size_t log_limit = (size_t)1 << 30;

static int fail(const char *path, const char *why)
{
	fprintf(stderr, "restante: %s: %s\n", path, why);
	return EX_NOINPUT;
}

static int read_all(int fd, const char *path, struct buf *log)
{
	ssize_t got;

	while ((got = read(fd, buf_room(log, PIECE), PIECE)) != 0) {
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return fail(path, log_errno(errno));
		buf_commit(log, (size_t)got);
		if (buf_length(log) > log_limit)
			return fail(path, "too large; give the part that matters with --log");
	}
	return EX_OK;
}

/* missing: what to say when there is no such file; "": nothing, that is no fault. */
static int read_file(const char *path, const char *missing, struct buf *log)
{
	const int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0 && errno == ENOENT)
		return missing[0] ? fail(path, missing) : EX_OK;
	if (fd < 0 && errno == EACCES)
		return fail(path, "Permission denied; be root, or the user who runs the host");
	if (fd < 0)
		return fail(path, log_errno(errno));
	const int status = read_all(fd, path, log);
	close(fd);
	return status;
}

/* The host's own, the older one first. */
static int read_kept(const char *settings_file, struct buf *log)
{
	const struct host_source source = { .file = settings_file };
	struct host_settings *settings = NULL;
	struct buf path = { 0 };
	int status = EX_CONFIG;

	if (host_settings_read(&source, &settings, host_complain, NULL) == 0) {
		buf_format(&path, "%s/log.1", host_settings_common(settings)->state);
		buf_add_char(&path, '\0');
		status = read_file(buf_text(&path).ptr, "", log);
		buf_clear(&path);
		buf_format(&path, "%s/log", host_settings_common(settings)->state);
		buf_add_char(&path, '\0');
		if (status == EX_OK)
			status = read_file(buf_text(&path).ptr,
				"there is none: no host has run there, or with log-size = 0; --log "
				"names another",
				log);
	}
	host_settings_free(&settings);
	buf_release(&path);
	return status;
}

static bool is_sensible(struct text wanted)
{
	struct id id;

	return text_find(wanted, '@') > 0 || id_parse(wanted, &id) == 0;
}

static int tell(struct text log, const char *wanted)
{
	struct buf out = { 0 };
	size_t left_out;
	const size_t count = trace_tell(&out, log, text_of(wanted), &left_out);

	fwrite(buf_text(&out).ptr, 1, buf_length(&out), stdout);
	buf_release(&out);
	if (fflush(stdout) != 0)
		return EX_IOERR;
	if (left_out)
		fprintf(stderr,
			"restante: the last %zu messages are told, %zu earlier ones are left out; "
			"for one of those give its id\n",
			count, left_out);
	if (count)
		return EX_OK;
	fprintf(stderr, "restante: the log says nothing of it\n");
	return NOTHING_FOUND;
}

int command_trace(const struct command_line *line)
{
	const char *settings_file = HOST_SETTINGS_FILE, *log_file = NULL;
	const struct option options[] = {
		{ .name = "-c", .kind = OPTION_VALUE, .to = &settings_file },
		{ .name = "--log", .kind = OPTION_VALUE, .to = &log_file },
	};
	struct option_list rest = { 0 };
	struct buf log = { 0 };
	int status = option_parse(line, options, sizeof(options) / sizeof(options[0]), &rest);

	if (status == EX_OK && (rest.count != 1 || !is_sensible(text_of(rest.item[0]))))
		status = command_misused(line, "trace takes the id of a message, or an address");
	else if (status == EX_OK && !log_file)
		status = read_kept(settings_file, &log);
	else if (status == EX_OK && strcmp(log_file, "-") == 0)
		status = read_all(STDIN_FILENO, "standard input", &log);
	else if (status == EX_OK)
		status = read_file(log_file, log_errno(ENOENT), &log);
	if (status == EX_OK)
		status = tell(buf_text(&log), rest.item[0]);
	buf_release(&log);
	mem_free(rest.item);
	return status;
}
