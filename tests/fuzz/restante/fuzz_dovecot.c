/*
 * Files of a Maildir tree that anybody may have written: whatever is in them, what comes out is in bounds
 * and leads nowhere else.
 */
#include <string.h>

#include "restante/dovecot.h"
#include "store/protocol.h"
#include "tests/fuzz/fuzz.h"

static void check_uidlist(struct text octets)
{
	struct arena *arena = arena_new(1024);
	struct dovecot_error error = { 0 };
	struct dovecot_uidlist list;
	uint32_t last = 0;

	if (dovecot_uidlist_parse(arena, octets, &list, &error) != 0) {
		REQUIRE(error.line > 0 && error.why);
	} else {
		REQUIRE(list.uidvalidity && list.uidvalidity <= STORE_UIDVALIDITY_LIMIT);
		for (size_t i = 0; i < list.count; i++) {
			REQUIRE(list.uids[i].uid > last && list.uids[i].uid < list.uidnext);
			REQUIRE(list.uids[i].base.len && text_find(list.uids[i].base, '/') < 0);
			last = list.uids[i].uid;
		}
	}
	arena_free(&arena);
}

static void check_keywords(struct text octets)
{
	struct text names[DOVECOT_KEYWORDS];
	struct dovecot_error error = { 0 };

	if (dovecot_keywords_parse(octets, names, &error) != 0) {
		REQUIRE(error.line > 0 && error.why);
		return;
	}
	for (size_t i = 0; i < DOVECOT_KEYWORDS; i++)
		REQUIRE(text_find(names[i], ' ') < 0 && text_find(names[i], '\n') < 0);
}

static void check_subscriptions(struct text octets, char separator)
{
	struct dovecot_error error = { 0 };
	struct buf folders = { 0 };
	struct text rest, line;

	if (dovecot_subscriptions_parse(octets, separator, &folders, &error) != 0) {
		REQUIRE(error.line > 0 && error.why);
	} else {
		rest = buf_text(&folders);
		while (rest.len && text_split(&rest, '\n', &line)) {
			REQUIRE(rest.ptr && line.len <= DOVECOT_FOLDER_LIMIT);
			REQUIRE(line.len == 0 || (line.ptr[0] == '.' && line.len > 1));
			REQUIRE(text_find(line, '/') < 0 && text_find(line, '\0') < 0);
			REQUIRE(!text_equal(line, TEXT("..")));
		}
	}
	buf_release(&folders);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct text octets = fuzz_text(data, size);
	struct dovecot_name name;

	check_uidlist(octets);
	check_keywords(octets);
	check_subscriptions(octets, '.');
	check_subscriptions(octets, '/');
	dovecot_name_parse(octets, &name);
	REQUIRE(name.base.len <= size && text_find(name.base, ':') < 0);
	REQUIRE(name.keywords < 1U << DOVECOT_KEYWORDS);
	(void)dovecot_is_compressed(octets);
	return 0;
}
