/*
 * From fields: each address that is found is one that the envelope's parser takes, and stands in the value.
 * A field with those addresses alone, in brackets, names the same ones.
 */

#include "base/arena.h"
#include "base/buf.h"
#include "mail/mailboxes.h"
#include "tests/fuzz/fuzz.h"

enum { LIMIT = 8 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct text value = fuzz_text(data, size);
	struct arena *arena = arena_new(1024);
	struct address list[LIMIT], again[LIMIT], one;
	struct buf plain = { 0 };
	const int count = mailboxes_parse(arena, value, list, LIMIT);

	REQUIRE(count != 0 && count <= LIMIT);
	for (int i = 0; i < count; i++) {
		const struct text address = address_print(arena, &list[i]);
		REQUIRE(address_parse(arena, address, true, &one) == ADDRESS_OK);
		REQUIRE(text_find(value, '@') >= 0);
		buf_add_string(&plain, i ? ", <" : " <");
		buf_add(&plain, address);
		buf_add_char(&plain, '>');
	}
	if (count > 0) {
		REQUIRE(mailboxes_parse(arena, buf_text(&plain), again, LIMIT) == count);
		for (int i = 0; i < count; i++)
			REQUIRE(text_equal(
				address_print(arena, &list[i]), address_print(arena, &again[i])));
	}
	buf_release(&plain);
	arena_free(&arena);
	return 0;
}
