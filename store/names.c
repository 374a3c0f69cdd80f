#include "store/names.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <string.h>

#include "base/arena.h"
#include "base/mem.h"
#include "base/sys.h"
#include "store/checksum.h"
#include "store/maildir.h"

enum { BLOCK = 64 * 1024, SMALLEST_TABLE = 64 };

struct place {
	uint32_t hash;
	uint32_t index; /* of the entry, and 1; 0: free */
};

struct names {
	struct arena *arena;
	struct name *entries;
	size_t count, room;
	struct place *table; /* by hash of the base name */
	size_t size;         /* of the table, a power of two, more than twice the count */
};

struct text names_base(const char *leaf)
{
	const struct text name = text_from(text_of(leaf), 4);
	const ptrdiff_t colon = text_find(name, ':');

	return colon < 0 ? name : text_head(name, (size_t)colon);
}

static struct place *free_place(const struct names *names, uint32_t hash)
{
	size_t at = hash & (names->size - 1);

	while (names->table[at].index)
		at = (at + 1) & (names->size - 1);
	return &names->table[at];
}

/* The place of that base name, or the free one where it belongs. */
static struct place *find_place(const struct names *names, struct text base, uint32_t hash)
{
	size_t at = hash & (names->size - 1);

	while (names->table[at].index &&
		(names->table[at].hash != hash ||
			!text_equal(names->entries[names->table[at].index - 1].base, base)))
		at = (at + 1) & (names->size - 1);
	return &names->table[at];
}

static uint32_t hash_of(struct text base)
{
	return checksum(0, base.ptr, base.len);
}

static void grow(struct names *names)
{
	struct place *old = names->table;
	const size_t old_size = names->size;

	names->size = old_size ? 2 * old_size : SMALLEST_TABLE;
	names->table = mem_array(names->size, sizeof(*names->table));
	for (size_t i = 0; i < old_size; i++) {
		if (old[i].index)
			*free_place(names, old[i].hash) = old[i];
	}
	mem_free(old);
}

/* An entry stays in the table when its file goes, so that probing goes on over it. */
static void add(struct names *names, const char *leaf)
{
	if (2 * (names->count + 1) >= names->size)
		grow(names);
	if (names->count == names->room) {
		names->room = names->room ? 2 * names->room : SMALLEST_TABLE;
		names->entries = mem_resize(names->entries, names->room * sizeof(*names->entries));
	}
	const struct text copy = text_copy(names->arena, text_of(leaf));
	struct name *name = &names->entries[names->count];
	*name = (struct name){ .leaf = copy.ptr, .base = names_base(copy.ptr) };
	const uint32_t sum = hash_of(name->base);
	struct place *place = find_place(names, name->base, sum);
	names->count++;
	if (place->index)
		name->is_double = true;
	else
		*place = (struct place){ .hash = sum, .index = (uint32_t)names->count };
}

static int read_directory(struct names *names, int mailbox, const char *part)
{
	char leaf[MAILDIR_LEAF_LIMIT + 1];
	const struct dirent *entry;
	DIR *dir = sys_open_directory(mailbox, part, 0);

	if (!dir)
		return errno == ENOENT ? 0 : -1;
	memcpy(leaf, part, 3);
	leaf[3] = '/';
	while (errno = 0, (entry = readdir(dir)) != NULL) {
		const struct text file = text_of(entry->d_name);
		if (!maildir_is_message(file) ||
			(entry->d_type != DT_REG && entry->d_type != DT_UNKNOWN))
			continue;
		memcpy(leaf + 4, file.ptr, file.len + 1);
		add(names, leaf);
	}
	const int error = errno;
	closedir(dir);
	errno = error;
	return error ? -1 : 0;
}

struct names *names_read(int mailbox)
{
	struct names *names = mem_new(sizeof(*names));

	names->arena = arena_new(BLOCK);
	grow(names);
	/* new/ first: a file that moves from new/ to cur/ meanwhile is seen twice rather than not at all. */
	if (read_directory(names, mailbox, "new") != 0 ||
		read_directory(names, mailbox, "cur") != 0) {
		const int error = errno;
		names_free(&names);
		errno = error;
	}
	return names;
}

void names_free(struct names **names)
{
	if (!*names)
		return;
	arena_free(&(*names)->arena);
	mem_free((*names)->entries);
	mem_free((*names)->table);
	mem_free(*names);
	*names = NULL;
}

size_t names_count(const struct names *names)
{
	return names->count;
}

struct name *names_at(const struct names *names, size_t index)
{
	return &names->entries[index];
}

struct name *names_find(const struct names *names, struct text base)
{
	const uint32_t at = find_place(names, base, hash_of(base))->index;
	struct name *name = at ? &names->entries[at - 1] : NULL;

	return name && name->leaf ? name : NULL;
}

void names_set(struct names *names, const char *leaf)
{
	const struct text base = names_base(leaf);
	const uint32_t at = find_place(names, base, hash_of(base))->index;

	if (!at) {
		add(names, leaf);
		return;
	}
	struct name *name = &names->entries[at - 1];
	const struct text copy = text_copy(names->arena, text_of(leaf));
	name->leaf = copy.ptr;
	name->base = names_base(copy.ptr);
}

void names_remove(struct names *names, struct name *name)
{
	(void)names;
	name->leaf = NULL; /* its base stays readable: the arena has it */
}
