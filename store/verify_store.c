/*
 * What belongs to no user: the text file of the users, Maildirs of nobody, rows of nobody.
 */
#include <dirent.h>
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "store/garbage.h"
#include "store/names.h"
#include "store/users.h"
#include "store/verify_private.h"

enum {
	USERS_LIMIT = 1 << 30,
	NUMBERS = 20000, /* of users whose rows are looked for in one piece */
};

/* The next piece's mailbox, which only says that there is one. */
#define MORE TEXT("-")

/* ---- the text file ---- */

static void look_at_users_file(struct engine *engine, struct verify_result *result)
{
	struct buf wanted = { 0 };
	size_t size = 0;
	char *octets = sys_read_file(engine->root, "users", USERS_LIMIT, &size);

	users_print(engine, &wanted);
	if (!octets)
		verify_find(
			result, NULL, "the file users cannot be read: %s", env_error_text(errno));
	else if (!text_equal((struct text){ .ptr = octets, .len = size }, buf_text(&wanted)))
		verify_find(result, NULL, "the file users is not what the index says");
	if (octets)
		mem_wipe(octets, size);
	mem_free(octets);
	buf_wipe(&wanted);
}

/* ---- Maildirs ---- */

static int compare_paths(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

bool verify_is_bare(int fd, const char *path)
{
	const struct dirent *entry;
	DIR *dir = sys_open_directory(fd, path, O_NOFOLLOW);
	struct names *names = dir ? names_read(dirfd(dir)) : NULL;
	bool bare = names && names_count(names) == 0;
	int parts = 0;

	names_free(&names);
	if (!dir)
		return false;
	while (bare && (entry = readdir(dir)) != NULL) {
		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
			continue;
		bare = strcmp(entry->d_name, "cur") == 0 || strcmp(entry->d_name, "new") == 0 ||
		       strcmp(entry->d_name, "tmp") == 0;
		parts++;
	}
	closedir(dir);
	return bare && parts == 3;
}

struct directories {
	struct engine *engine;
	struct verify_result *result;
	char **known; /* of the users, sorted */
	size_t count;
};

static void look_at_local(const struct directories *all, const char *path)
{
	char cur[2 * MAILDIR_NAME_LIMIT + 24];
	struct stat st;

	snprintf(cur, sizeof(cur), "%.*s/cur", 2 * MAILDIR_NAME_LIMIT + 16, path);
	if (sys.fstatat(all->engine->root, cur, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
		S_ISDIR(st.st_mode) &&
		!bsearch(&path, all->known, all->count, sizeof(*all->known), compare_paths) &&
		!verify_is_bare(all->engine->root, path))
		verify_find(all->result, NULL, "a Maildir of nobody: %s", path);
}

/* Each directory in there; those of mail/ hold those of users. */
static void look_at_level(const struct directories *all, const char *above, bool is_domain)
{
	char path[2 * MAILDIR_NAME_LIMIT + 16];
	const struct dirent *entry;
	DIR *dir = sys_open_directory(all->engine->root, above, O_NOFOLLOW);

	if (!dir) {
		if (errno != ENOTDIR && errno != ELOOP)
			verify_find(all->result, NULL, "%s cannot be read: %s", above,
				env_error_text(errno));
		return;
	}
	while ((entry = readdir(dir)) != NULL) {
		if (entry->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "%s/%s", above, entry->d_name);
		if (is_domain)
			look_at_local(all, path);
		else
			look_at_level(all, path, true);
	}
	closedir(dir);
}

static void look_at_directories(struct engine *engine, struct verify_result *result)
{
	struct directories all = { .engine = engine,
		.result = result,
		.known = mem_array(engine->user_count + 1, sizeof(*all.known)) };
	char directory[MAILDIR_DIRECTORY_LIMIT + 1];

	for (size_t i = 0; i < engine->user_count; i++) {
		if (maildir_user_directory(engine->users[i]->public.address, directory) == 0)
			all.known[all.count++] = mem_copy(directory, strlen(directory));
	}
	if (all.count)
		qsort(all.known, all.count, sizeof(*all.known), compare_paths);
	look_at_level(&all, "mail", false);
	while (all.count)
		mem_free(all.known[--all.count]);
	mem_free(all.known);
}

/* ---- rows ---- */

static int compare_numbers(const void *a, const void *b)
{
	const uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

static uint32_t *known_numbers(const struct engine *engine)
{
	uint32_t *numbers = mem_array(engine->user_count + 1, sizeof(*numbers));

	for (size_t i = 0; i < engine->user_count; i++)
		numbers[i] = engine->users[i]->public.number;
	if (engine->user_count)
		qsort(numbers, engine->user_count, sizeof(*numbers), compare_numbers);
	return numbers;
}

/* The smallest number from this one on that has a row in the table; 0: there is none. */
static uint32_t next_number(
	struct engine *engine, enum env_table table, uint32_t from, struct buf *key, int *error)
{
	const uint32_t octets = htobe32(from);
	uint32_t number = 0;

	if (env_next(engine->env, table,
		    (struct text){ .ptr = (const char *)&octets, .len = sizeof(octets) }, key,
		    error) == 1 &&
		buf_length(key) >= sizeof(number))
		memcpy(&number, buf_text(key).ptr, sizeof(number));
	return be32toh(number);
}

static int look_at_rows(struct engine *engine, uint32_t from, struct verify_result *result)
{
	static const struct {
		enum env_table table;
		const char *name;
	} tables[] = { { ENV_MAILBOXES, "mailboxes" }, { ENV_MESSAGES, "messages" },
		{ ENV_EXPUNGED, "expunges" }, { ENV_ONCE, "once-keys" },
		{ ENV_EXPUNGING, "expunges under way" }, { ENV_COPYING, "copies under way" } };
	struct buf key = { 0 };
	uint32_t *known = known_numbers(engine);
	int error = 0;

	for (size_t i = 0; i < sizeof(tables) / sizeof(tables[0]) && error == 0; i++) {
		uint32_t number = from;
		while (number && number - from < NUMBERS &&
			(number = next_number(engine, tables[i].table, number, &key, &error)) !=
				0) {
			if (number - from < NUMBERS &&
				!bsearch(&number, known, engine->user_count, sizeof(number),
					compare_numbers) &&
				!garbage_has_user(engine, number))
				verify_find(result, NULL, "%s of user %u, who is not there",
					tables[i].name, number);
			/* What is beyond is the next piece's. */
			if (number - from >= NUMBERS)
				result->from = from + NUMBERS;
			number++;
		}
	}
	mem_free(known);
	buf_release(&key);
	return error;
}

enum store_failure verify_store(
	struct engine *engine, const struct verify_piece *piece, struct verify_result *result)
{
	int error = 0;

	if (!STAILQ_EMPTY(&engine->users_waiting) || !STAILQ_EMPTY(&engine->users_writing) ||
		!STAILQ_EMPTY(&engine->staged) || !STAILQ_EMPTY(&engine->flushing))
		return STORE_BUSY;
	if (piece->from == 0) {
		look_at_users_file(engine, result);
		look_at_directories(engine, result);
		result->from = 1;
	} else {
		error = look_at_rows(engine, piece->from, result);
	}
	if (result->from)
		buf_add(&result->mailbox, MORE);
	return error ? engine_env_failure(engine, "verify", error) : STORE_OK;
}
