/* Names of remote folders: what becomes a name here is UTF-8 without controls and within its length. */
#include <string.h>

#include "bridge/folder.h"
#include "mail/utf8.h"
#include "tests/fuzz/fuzz.h"

static void require_name(struct text name)
{
	while (name.len) {
		const unsigned char c = (unsigned char)name.ptr[0];
		const size_t length = c < 0x80 ? c >= 0x20 && c != 0x7f : utf8_length(name);
		REQUIRE(length > 0);
		name = text_from(name, length);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *octets, size_t size)
{
	struct text in = fuzz_text(octets, size);
	struct buf out = { 0 };
	char name[FOLDER_NAME_LIMIT + 1];

	if (folder_decode(in, &out) == 0)
		require_name(buf_text(&out));
	else
		REQUIRE(buf_length(&out) == 0);
	buf_release(&out);
	if (size == 0)
		return 0;
	if (folder_readable(text_from(in, 1), in.ptr[0], name) == 0) {
		REQUIRE(strlen(name) > 0 && strlen(name) <= FOLDER_NAME_LIMIT);
		require_name(text_of(name));
	}
	return 0;
}
