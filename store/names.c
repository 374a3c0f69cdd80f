#include "store/names.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <string.h>

#include "base/arena.h"
#include "base/mem.h"
#include "base/sys.h"
#include "store/maildir.h"

enum { BLOCK = 64 * 1024, SMALLEST_TABLE = 64 };

struct names {
	struct arena *arena;
	struct name *entries;
	size_t count, room;
	uint32_t *table; /* index + 1 of an entry, by hash of its base name; 0: free */
	size_t size;     /* of the table, a power of two, more than twice the count */
};

static uint64_t hash(struct text base)
{
	uint64_t sum = UINT64_C(0xcbf29ce484222325);

	for (size_t i = 0; i < base.len; i++)
		sum = (sum ^ (unsigned char)base.ptr[i]) * UINT64_C(0x100000001b3);
	return sum ^ sum >> 32;
}

struct text names_base(const char *leaf)
{
	const struct text name = text_from(text_of(leaf), 4);
	const ptrdiff_t colon = text_find(name, ':');

	return colon < 0 ? name : text_head(name, (size_t)colon);
}

/* The slot of that base name, or the free one where it belongs. */
static uint32_t *slot(const struct names *names, struct text base)
{
	size_t at = hash(base) & (names->size - 1);

	while (names->table[at] && !text_equal(names->entries[names->table[at] - 1].base, base))
		at = (at + 1) & (names->size - 1);
	return &names->table[at];
}

static void grow(struct names *names)
{
	names->size = names->size ? 2 * names->size : SMALLEST_TABLE;
	mem_free(names->table);
	names->table = mem_array(names->size, sizeof(*names->table));
	for (size_t i = 0; i < names->count; i++) {
		if (!names->entries[i].is_double)
			*slot(names, names->entries[i].base) = (uint32_t)i + 1;
	}
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
	uint32_t *place = slot(names, name->base);
	names->count++;
	if (*place)
		name->is_double = true;
	else
		*place = (uint32_t)names->count;
}

static int read_directory(struct names *names, int mailbox, const char *part)
{
	char leaf[MAILDIR_LEAF_LIMIT + 1];
	const struct dirent *entry;
	const int fd = sys.openat(mailbox, part, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);

	if (fd < 0)
		return errno == ENOENT ? 0 : -1;
	DIR *dir = sys.fdopendir(fd);
	if (!dir) {
		sys.close(fd);
		return -1;
	}
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
	const uint32_t at = *slot(names, base);
	struct name *name = at ? &names->entries[at - 1] : NULL;

	return name && name->leaf ? name : NULL;
}

void names_set(struct names *names, const char *leaf)
{
	const uint32_t at = *slot(names, names_base(leaf));

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
