#include "store/places.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/sys.h"

enum {
	BUCKETS = 1024,
	OPEN_LIMIT = 256,          /* directories open at once */
	NAMES_LIMIT = 1000 * 1000, /* names in memory, all directories together */
};

struct places {
	int root;
	struct place *buckets[BUCKETS];
	unsigned open;
};

struct places *places_new(int root)
{
	struct places *places = mem_new(sizeof(*places));

	places->root = root;
	return places;
}

static void close_place(struct places *places, struct place *place)
{
	if (place->folder.fd >= 0) {
		sys.close(place->folder.fd);
		place->folder.fd = -1;
		places->open--;
	}
}

void places_set_path(struct places *places, struct place *place, const char *path)
{
	char *copy = path ? mem_copy(path, strlen(path)) : NULL;

	mem_free(place->path);
	place->path = copy;
	if (!path) {
		close_place(places, place);
		folder_forget(&place->folder);
	}
}

void places_forget(struct places *places)
{
	for (size_t i = 0; i < BUCKETS; i++) {
		while (places->buckets[i]) {
			struct place *place = places->buckets[i];
			places->buckets[i] = place->next;
			places_set_path(places, place, NULL);
			mem_free(place);
		}
	}
}

void places_free(struct places **places)
{
	if (!*places)
		return;
	places_forget(*places);
	mem_free(*places);
	*places = NULL;
}

/* Many directories and names are kept; past the limits the names are let go and read again. */
static void make_room(struct places *places)
{
	size_t names = 0;

	if (places->open < OPEN_LIMIT)
		return;
	for (size_t i = 0; i < BUCKETS; i++) {
		for (struct place *place = places->buckets[i]; place; place = place->next) {
			close_place(places, place);
			names += place->folder.names ? names_count(place->folder.names) : 0;
		}
	}
	for (size_t i = 0; i < BUCKETS && names > NAMES_LIMIT; i++) {
		for (struct place *place = places->buckets[i]; place; place = place->next)
			folder_forget(&place->folder);
	}
}

bool places_is_inside(struct text path)
{
	struct text rest = path, level;

	if (path.len == 0 || path.len > MAILDIR_PATH_LIMIT || path.ptr[0] == '/' ||
		text_find(path, '\0') >= 0)
		return false;
	while (text_split(&rest, '/', &level)) {
		if (text_equal(level, TEXT("..")))
			return false;
	}
	return true;
}

static bool is_same(struct index_mailbox_id a, struct index_mailbox_id b)
{
	return a.user == b.user && a.mailbox == b.mailbox;
}

int places_read_id(const struct places *places, const char *path, struct index_mailbox_id *id)
{
	char name[MAILDIR_PATH_LIMIT + 1 + sizeof(MAILDIR_FILE)];
	struct maildir_file file;
	struct buf keywords = { 0 };
	size_t size;

	*id = (struct index_mailbox_id){ 0 };
	snprintf(name, sizeof(name), "%s/" MAILDIR_FILE, path);
	char *octets = sys_read_file(places->root, name, MAILDIR_FILE_LIMIT, &size);
	if (!octets)
		return errno == ENOENT || errno == ENOTDIR ? 0 : errno;
	if (maildir_file_parse((struct text){ .ptr = octets, .len = size }, &file, &keywords) == 0)
		*id = file.id;
	buf_release(&keywords);
	mem_free(octets);
	return 0;
}

void places_user_directory(const char *path, char directory[MAILDIR_PATH_LIMIT + 1])
{
	size_t length = 0;

	for (unsigned levels = 0; path[length]; length++) {
		if (path[length] == '/' && ++levels == 3)
			break;
	}
	memcpy(directory, path, length);
	directory[length] = '\0';
}

static bool is_folder(const char *name)
{
	return (name[0] == '.' && strcmp(name, ".") != 0 && strcmp(name, "..") != 0) ||
	       text_begins(text_of(name), TEXT(MAILDIR_DELETED)) ||
	       text_begins(text_of(name), TEXT(MAILDIR_ASTRAY));
}

/* Among all that the user has, the directory with these numbers: into path, or it becomes "". */
static int search(const struct places *places, struct index_mailbox_id wanted,
	char path[MAILDIR_PATH_LIMIT + 1])
{
	char directory[MAILDIR_PATH_LIMIT + 1];
	const struct dirent *entry;
	struct index_mailbox_id id;
	int error = 0;

	places_user_directory(path, directory);
	path[0] = '\0';
	DIR *dir = sys_open_directory(places->root, directory, O_NOFOLLOW);
	if (!dir)
		return errno == ENOENT || errno == ENOTDIR ? 0 : errno;
	while (error == 0 && (entry = readdir(dir)) != NULL) {
		char below[MAILDIR_PATH_LIMIT + MAILDIR_NAME_LIMIT + 2];
		if (!is_folder(entry->d_name))
			continue;
		const int length =
			snprintf(below, sizeof(below), "%s/%s", directory, entry->d_name);
		if (length > MAILDIR_PATH_LIMIT)
			continue;
		error = places_read_id(places, below, &id);
		if (error == 0 && is_same(id, wanted)) {
			memcpy(path, below, (size_t)length + 1);
			break;
		}
	}
	closedir(dir);
	return error;
}

/*
 * Where a mailbox is that was at `directory` when the record was written: still there, or where it was
 * renamed to later, or there without its text file, or nowhere.
 */
static int resolve(struct places *places, struct text directory, struct place *place)
{
	char path[MAILDIR_PATH_LIMIT + 1];
	struct index_mailbox_id there;
	struct stat st;

	snprintf(path, sizeof(path), "%.*s", TEXT_ARG(directory));
	int error = places_read_id(places, path, &there);
	if (error == 0 && !is_same(there, place->id)) {
		error = search(places, place->id, path);
		if (error == 0 && !path[0] && there.user == 0) {
			snprintf(path, sizeof(path), "%.*s", TEXT_ARG(directory));
			if (sys.fstatat(places->root, path, &st, AT_SYMLINK_NOFOLLOW) != 0 ||
				!S_ISDIR(st.st_mode))
				path[0] = '\0';
		}
	}
	if (error == 0)
		places_set_path(places, place, path[0] ? path : NULL);
	return error;
}

static struct place **find(struct places *places, struct index_mailbox_id id)
{
	const uint32_t hash = (id.user * 2654435761U ^ id.mailbox) * 2654435761U;
	struct place **place = &places->buckets[(hash >> 16) % BUCKETS];

	while (*place && !is_same((*place)->id, id))
		place = &(*place)->next;
	return place;
}

int places_known(struct places *places, struct text directory, uint32_t user, uint32_t mailbox,
	struct place **place)
{
	const struct index_mailbox_id id = { .user = user, .mailbox = mailbox };

	*place = NULL;
	if (!places_is_inside(directory))
		return EBADMSG;
	struct place **at = find(places, id);
	if (!*at) {
		struct place *found = mem_new(sizeof(*found));
		found->id = id;
		found->folder.fd = -1;
		const int error = resolve(places, directory, found);
		if (error) {
			mem_free(found);
			return error;
		}
		*at = found;
	}
	*place = *at;
	return 0;
}

int places_visit(struct places *places, struct text path, uint32_t user, uint32_t mailbox,
	struct place **place)
{
	make_room(places);
	const int error = places_known(places, path, user, mailbox, place);

	if (error)
		return error;
	if ((*place)->path && (*place)->folder.fd < 0) {
		(*place)->folder.fd = sys.openat(places->root, (*place)->path,
			O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW, 0);
		if ((*place)->folder.fd >= 0)
			places->open++;
		else if (errno == ENOENT || errno == ENOTDIR)
			places_set_path(places, *place, NULL);
		else
			return errno;
	}
	if (!(*place)->path)
		*place = NULL;
	return 0;
}
