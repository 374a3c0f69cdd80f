/* Whatever a file of aliases holds, reading it ends, and what is read lies within the file or the arena. */
#include "base/arena.h"
#include "mail/aliases.h"
#include "tests/fuzz/fuzz.h"

static size_t check_items(const struct aliases_item *item, unsigned lines)
{
	size_t octets = 0;

	for (; item; item = item->next) {
		REQUIRE(item->line >= 1 && item->line <= lines);
		REQUIRE(item->value.len > 0);
		for (size_t i = 0; i < item->value.len; i++)
			octets += item->value.ptr[i] != '\n';
		REQUIRE((item->kind == ALIASES_COMMAND) ==
			(item->value.ptr[0] == '|' && item->kind != ALIASES_ADDRESS &&
				item->kind != ALIASES_INCLUDE));
	}
	return octets;
}

int LLVMFuzzerTestOneInput(const uint8_t *octets, size_t size)
{
	const struct text file = fuzz_text(octets, size);
	struct arena *arena = arena_new(4096);
	struct aliases_reader reader = { .rest = file };
	struct aliases_entry entry;
	struct aliases_item *items;
	const char *error;
	unsigned line = 0, before = 0;
	size_t read = 0;
	int result;

	while ((result = aliases_next(&reader, arena, &entry, &line, &error)) != 0) {
		REQUIRE(line >= 1 && line <= reader.line && reader.line > before);
		before = reader.line;
		if (result > 0) {
			REQUIRE(entry.name.len > 0 && entry.items && entry.line <= line);
			read += entry.name.len + check_items(entry.items, reader.line);
		} else {
			REQUIRE(error && *error);
		}
	}
	REQUIRE(read <= size);
	reader = (struct aliases_reader){ .rest = file };
	while ((result = aliases_next_included(&reader, arena, &items, &line, &error)) != 0) {
		if (result > 0)
			check_items(items, reader.line);
		else
			REQUIRE(error && *error);
	}
	arena_free(&arena);
	return 0;
}
