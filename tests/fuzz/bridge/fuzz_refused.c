/* A hint of any kind: what is understood of it is bounded, and comes out as it went in. */
#include <string.h>

#include "bridge/refused.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *octets, size_t size)
{
	struct text in = fuzz_text(octets, size);
	/* Near what is in the hint, or nothing would be held. */
	const int64_t now = (int64_t)fuzz_octet(&in) * 1000;
	struct refused first = { 0 }, second = { 0 };
	struct buf hint = { 0 }, again = { 0 };

	refused_load(&first, in);
	REQUIRE(first.count <= REFUSED_MOST && first.next < REFUSED_MOST);
	refused_store(&first, now, &hint);
	REQUIRE(buf_length(&hint) <= REFUSED_OCTETS);
	for (size_t i = 0; i < first.count; i++) {
		const struct once_key *key = &first.entries[i].key;
		REQUIRE(strlen(key->string) <= ONCE_LENGTH);
		for (size_t k = 0; k < i; k++)
			REQUIRE(strcmp(first.entries[k].key.string, key->string) != 0);
	}
	refused_load(&second, buf_text(&hint));
	for (size_t i = 0; i < second.count; i++) {
		REQUIRE(refused_has(&second, &second.entries[i].key, now));
		REQUIRE(refused_has(&first, &second.entries[i].key, now));
	}
	refused_store(&second, now, &again);
	REQUIRE(text_equal(buf_text(&hint), buf_text(&again)));
	buf_release(&hint);
	buf_release(&again);
	return 0;
}
