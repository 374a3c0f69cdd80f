#include "store/once_keys.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/log.h"
#include "store/checksum.h"
#include "store/users.h"

enum {
	DAY = 86400,
	MONTH_DAYS = 28, /* no month has fewer */
	OLD_PART = 8,    /* of its time, and a key that is asked for is written anew */
	FILE_LIMIT = 1 << 30,
	ROWS_AT_ONCE = 500, /* looked at, or restored, in one go */
	PAUSE_MILLISECONDS = 50,
	CHECKSUM_DIGITS = 8,
	NAME = 16, /* octets of a file's name */
};

/* ---- lines ---- */

/* Blanks stay, the rest of a line ends with the key; what would end the line does not come as it is. */
static void print_key(struct buf *out, struct text key)
{
	for (size_t i = 0; i < key.len; i++) {
		const unsigned char octet = (unsigned char)key.ptr[i];
		if (octet < ' ' || octet == '%' || octet == 0x7f)
			buf_format(out, "%%%02X", (unsigned)octet);
		else
			buf_add_char(out, (char)octet);
	}
}

void once_print(struct buf *out, uint32_t user, const struct index_once *times, struct text key)
{
	struct buf line = { 0 };

	buf_format(&line, "%u %lld", user, (long long)times->time);
	if (times->asked != times->time)
		buf_format(&line, "/%lld", (long long)times->asked);
	buf_add_char(&line, ' ');
	print_key(&line, key);
	const struct text rest = buf_text(&line);
	buf_format(out, "%08x %.*s\n", checksum(0, rest.ptr, rest.len), TEXT_ARG(rest));
	buf_release(&line);
}

static int digit(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static int parse_key(struct text escaped, struct buf *key)
{
	buf_clear(key);
	for (size_t i = 0; i < escaped.len; i++) {
		if (escaped.ptr[i] != '%') {
			buf_add_char(key, escaped.ptr[i]);
			continue;
		}
		if (i + 2 >= escaped.len || digit(escaped.ptr[i + 1]) < 0 ||
			digit(escaped.ptr[i + 2]) < 0)
			return -1;
		buf_add_char(
			key, (char)(digit(escaped.ptr[i + 1]) << 4 | digit(escaped.ptr[i + 2])));
		i += 2;
	}
	return buf_length(key) > 0 && buf_length(key) <= STORE_ONCE_LIMIT ? 0 : -1;
}

static int parse_times(struct text field, struct index_once *times)
{
	const ptrdiff_t slash = text_find(field, '/');
	uint64_t time, asked;

	if (text_to_number(slash < 0 ? field : text_head(field, (size_t)slash), INT64_MAX, &time) !=
		0)
		return -1;
	asked = time;
	if (slash >= 0 &&
		text_to_number(text_from(field, (size_t)slash + 1), INT64_MAX, &asked) != 0)
		return -1;
	*times = (struct index_once){ .time = (int64_t)time, .asked = (int64_t)asked };
	return 0;
}

/* 0, or -1: torn, or not a line of ours. */
static int parse_line(struct text line, uint32_t *user, struct index_once *times, struct buf *key)
{
	char sum[CHECKSUM_DIGITS + 1];
	struct text rest = line, part[3];
	uint64_t number;

	for (size_t i = 0; i < 3; i++) {
		if (!text_split(&rest, ' ', &part[i]))
			return -1;
	}
	if (part[0].len != CHECKSUM_DIGITS || !rest.ptr)
		return -1;
	const struct text summed = text_from(line, CHECKSUM_DIGITS + 1);
	snprintf(sum, sizeof(sum), "%08x", checksum(0, summed.ptr, summed.len));
	if (!text_equal(part[0], text_of(sum)) ||
		text_to_number(part[1], UINT32_MAX - 1, &number) != 0 ||
		parse_times(part[2], times) != 0)
		return -1;
	*user = (uint32_t)number;
	return parse_key(rest, key);
}

/* ---- in the index ---- */

static int put_row(struct engine *engine, struct env_txn *txn, uint32_t user,
	const struct index_once *times, struct text key)
{
	unsigned char octets[INDEX_ONCE_KEY_LIMIT];
	const struct text row_key = { .ptr = (char *)octets,
		.len = index_once_key(user, key, octets) };

	buf_clear(&engine->value);
	index_once_encode(&engine->value, times);
	return env_put(engine->env, txn, ENV_ONCE, row_key, buf_text(&engine->value));
}

int once_put(struct engine *engine, struct env_txn *txn, uint32_t user,
	const struct index_once *times, struct text key, struct buf *lines)
{
	const int error = put_row(engine, txn, user, times, key);

	if (error)
		return error;
	once_print(lines, user, times, key);
	journal_begin(&engine->record, JOURNAL_ONCE);
	journal_once_write(&engine->record,
		&(struct journal_once){ .user = user, .time = times->time, .key = key },
		times->asked);
	journal_seal(&engine->record);
	return env_log(engine->env, txn, &engine->record);
}

bool once_is_expired(const struct engine *engine, int64_t asked, int64_t now)
{
	return engine->options.once_days && now - asked > (int64_t)engine->options.once_days * DAY;
}

bool once_is_old(const struct engine *engine, int64_t asked, int64_t now)
{
	return engine->options.once_days &&
	       now - asked > (int64_t)engine->options.once_days * DAY / OLD_PART;
}

/* ---- in the file ---- */

void once_shown(struct engine *engine, struct text lines)
{
	buf_add(&engine->once.pending, lines);
}

void once_begin(struct engine *engine)
{
	/* After a checkpoint that failed there is some already. */
	buf_add(&engine->once.writing, buf_text(&engine->once.pending));
	buf_clear(&engine->once.pending);
}

void once_written(struct engine *engine)
{
	buf_clear(&engine->once.writing);
}

int once_write(struct engine *engine)
{
	return once_append(engine, buf_text(&engine->once.writing));
}

int once_append(struct engine *engine, struct text lines)
{
	const time_t now = time(NULL);
	struct tm tm;
	char path[64];
	int error = 0;

	if (lines.len == 0)
		return 0;
	if (sys.mkdirat(engine->root, "once", S_IRWXU) != 0 && errno != EEXIST)
		return errno;
	gmtime_r(&now, &tm);
	snprintf(path, sizeof(path), "once/%04d-%02d", (tm.tm_year + 1900) % 10000, tm.tm_mon + 1);
	const int file = sys.openat(engine->root, path,
		O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, S_IRUSR | S_IWUSR);
	if (file < 0)
		return errno;
	/* Whatever was torn before ends here. */
	if ((!engine->once.whole && sys_write_all(file, "\n", 1) != 0) ||
		sys_write_all(file, lines.ptr, lines.len) != 0)
		error = errno;
	if (sys.close(file) != 0 && error == 0)
		error = errno;
	engine->once.whole = error == 0;
	return error;
}

/* ---- files as a whole ---- */

static int by_name(const void *a, const void *b)
{
	return strcmp(a, b);
}

/* Names of the files, sorted, on the heap; NULL with errno. */
static char (*list_files(struct engine *engine, size_t *count))[NAME]
{
	char(*names)[NAME] = mem_array(1, sizeof(*names));
	const struct dirent *entry;
	DIR *dir = sys_open_directory(engine->root, "once", O_NOFOLLOW);

	*count = 0;
	if (!dir) {
		const int error = errno;
		if (error == ENOENT)
			return names;
		mem_free(names);
		errno = error;
		return NULL;
	}
	while ((entry = readdir(dir)) != NULL) {
		if (entry->d_name[0] == '.' || strlen(entry->d_name) != strlen("2026-11"))
			continue;
		names = mem_resize(names, (*count + 1) * sizeof(*names));
		snprintf(names[(*count)++], NAME, "%s", entry->d_name);
	}
	closedir(dir);
	qsort(names, *count, sizeof(*names), by_name);
	return names;
}

/* Those in which nothing can be that still counts. */
static void remove_expired_files(struct engine *engine)
{
	const time_t now = time(NULL);
	char path[NAME + 8];
	struct tm tm;
	size_t count;
	char(*names)[NAME] = engine->options.once_days ? list_files(engine, &count) : NULL;

	gmtime_r(&now, &tm);
	for (size_t i = 0; names && i < count; i++) {
		int year, month;
		if (sscanf(names[i], "%4d-%2d", &year, &month) != 2)
			continue;
		const int months = (tm.tm_year + 1900 - year) * 12 + tm.tm_mon + 1 - month;
		if (months - 1 <= (int)(engine->options.once_days / MONTH_DAYS))
			continue;
		snprintf(path, sizeof(path), "once/%s", names[i]);
		sys.unlinkat(engine->root, path, 0);
	}
	mem_free(names);
}

static int restore_file(struct engine *engine, const char *name, uint64_t *keys)
{
	const int64_t now = time(NULL);
	char path[NAME + 8];
	struct text rest, line;
	struct buf key = { 0 };
	struct env_txn *txn;
	size_t size;

	snprintf(path, sizeof(path), "once/%s", name);
	char *octets = sys_read_file(engine->root, path, FILE_LIMIT, &size);
	if (!octets)
		return errno;
	rest = (struct text){ .ptr = octets, .len = size };
	int error = env_begin(engine->env, &txn);
	for (unsigned rows = 0; error == 0 && rest.len && text_split(&rest, '\n', &line);) {
		struct index_once times;
		uint32_t user;
		if (parse_line(line, &user, &times, &key) != 0 ||
			once_is_expired(engine, times.asked, now) ||
			!users_with_number(engine, user))
			continue;
		error = put_row(engine, txn, user, &times, buf_text(&key));
		++*keys;
		if (error == 0 && ++rows % ROWS_AT_ONCE == 0) {
			error = env_commit(txn);
			txn = NULL;
			if (error == 0)
				error = env_begin(engine->env, &txn);
		}
	}
	if (error == 0)
		error = env_commit(txn);
	else if (txn)
		env_abort(txn);
	buf_release(&key);
	mem_free(octets);
	return error;
}

int once_restore(struct engine *engine)
{
	uint64_t keys = 0;
	size_t count;
	char(*names)[NAME] = list_files(engine, &count);
	int error = names ? 0 : errno;

	for (size_t i = 0; i < count && error == 0; i++)
		error = restore_file(engine, names[i], &keys);
	mem_free(names);
	if (keys)
		LOG_INFO("once-keys-restored", LOG_NUMBER("keys", keys));
	return error;
}

/* ---- forgetting ---- */

struct forgetting {
	const struct engine *engine;
	int64_t now;
	struct buf expired; /* keys, u32 length and octets each */
	struct buf last;    /* the key where the look ended */
	unsigned looked;
};

static int look(void *owner, struct text key, struct text value)
{
	struct forgetting *forgetting = owner;
	struct index_once row;

	if (forgetting->looked++ == ROWS_AT_ONCE) {
		buf_add(&forgetting->last, key);
		return 1;
	}
	if (index_once_decode(value, &row) == 0 &&
		once_is_expired(forgetting->engine, row.asked, forgetting->now))
		message_add_text(&forgetting->expired, key);
	return 0;
}

static int delete_expired(struct engine *engine, struct text keys)
{
	struct message_reader in = { .at = keys.ptr, .left = keys.len };
	struct env_txn *txn;

	if (keys.len == 0)
		return 0;
	int error = env_begin(engine->env, &txn);
	if (error)
		return error;
	while (in.left && error == 0)
		error = env_delete(
			engine->env, txn, ENV_ONCE, message_get_text(&in, INDEX_ONCE_KEY_LIMIT));
	if (error == 0)
		return env_commit(txn);
	env_abort(txn);
	return error;
}

static void on_timer(evutil_socket_t fd, short what, void *context)
{
	const struct timeval soon = { .tv_usec = PAUSE_MILLISECONDS * 1000 };
	const struct timeval later = { .tv_sec = DAY };
	struct engine *engine = context;
	struct forgetting forgetting = { .engine = engine, .now = time(NULL) };

	(void)fd, (void)what;
	if (engine->broken)
		return;
	if (buf_length(&engine->once.place) == 0)
		remove_expired_files(engine);
	int error =
		env_scan(engine->env, ENV_ONCE, buf_text(&engine->once.place), look, &forgetting);
	if (error == 0)
		error = delete_expired(engine, buf_text(&forgetting.expired));
	if (error)
		engine_env_failure(engine, "once", error);
	buf_clear(&engine->once.place);
	buf_add(&engine->once.place, buf_text(&forgetting.last));
	event_add(engine->once.timer, buf_length(&forgetting.last) ? &soon : &later);
	buf_release(&forgetting.expired);
	buf_release(&forgetting.last);
}

int once_start(struct engine *engine)
{
	if (engine->options.once_days == 0)
		return 0;
	engine->once.timer = event_new(engine->loop, -1, 0, on_timer, engine);
	return engine->once.timer &&
			       event_add(engine->once.timer, &(struct timeval){ .tv_sec = 1 }) == 0
		       ? 0
		       : ENOMEM;
}

void once_free(struct engine *engine)
{
	if (engine->once.timer)
		event_free(engine->once.timer);
	engine->once.timer = NULL;
	buf_release(&engine->once.pending);
	buf_release(&engine->once.writing);
	buf_release(&engine->once.place);
}
