/*
 * What is taken for an address is bounded, holds no control characters, and is read back the same when
 * printed.
 */
#include <string.h>

#include "base/arena.h"
#include "base/buf.h"
#include "mail/address.h"
#include "tests/fuzz/fuzz.h"

static void check_octets(struct text t, bool utf8)
{
	for (size_t i = 0; i < t.len; i++) {
		const unsigned char c = (unsigned char)t.ptr[i];

		REQUIRE(c >= ' ' && c != 0x7f);
		REQUIRE(utf8 || c < 0x80);
	}
}

/* The canonical form is its own canonical form, and its domain is ASCII. */
static void check_canonical(struct arena *arena, struct text canonical, bool utf8)
{
	const ptrdiff_t at = canonical.ptr ? text_find_last(canonical, '@') : -1;

	if (!canonical.ptr)
		return;
	check_octets(canonical, utf8);
	/* A literal may have an "@" of its own. */
	if (at < 0 || canonical.ptr[canonical.len - 1] == ']')
		return;
	const struct address again = { .local = text_head(canonical, (size_t)at),
		.domain = text_from(canonical, (size_t)at + 1) };
	check_octets(again.domain, false);
	REQUIRE(text_equal(address_canonical(arena, &again), canonical));
}

static void check_address(struct arena *arena, const struct address *address, bool utf8)
{
	const struct text printed = address_print(arena, address);
	const struct text canonical = address_canonical(arena, address);
	struct address again;
	struct buf out = { 0 };

	check_octets(address->local, utf8);
	check_octets(address->domain, utf8);
	REQUIRE(printed.len <= ADDRESS_PATH_LIMIT - 2);
	check_canonical(arena, canonical, utf8);
	address_add(&out, address);
	REQUIRE(text_equal(buf_text(&out), printed));
	buf_release(&out);
	if (address->domain.len == 0) {
		REQUIRE(address->local.len == 0 ||
			text_equal_nocase(address->local, TEXT("postmaster")));
		return;
	}
	REQUIRE(address->local.len > 0);
	REQUIRE(address_is_literal(address->domain) || address_is_domain(address->domain, utf8));
	REQUIRE(address_parse(arena, printed, utf8, &again) == ADDRESS_OK);
	REQUIRE(text_equal(again.local, address->local));
	REQUIRE(text_equal(again.domain, address->domain));
}

int LLVMFuzzerTestOneInput(const uint8_t *octets, size_t size)
{
	const struct text in = fuzz_text(octets, size);
	struct arena *arena = arena_new(4096);
	struct address address, wide;
	size_t used, wide_used;

	if (address_parse_path(arena, in, true, &wide, &wide_used) == ADDRESS_OK) {
		REQUIRE(wide_used <= in.len && wide_used <= ADDRESS_PATH_LIMIT);
		REQUIRE(in.ptr[0] == '<' && in.ptr[wide_used - 1] == '>');
		check_address(arena, &wide, true);
	}
	/* What is good ASCII is the same under SMTPUTF8. */
	if (address_parse_path(arena, in, false, &address, &used) == ADDRESS_OK) {
		check_address(arena, &address, false);
		REQUIRE(address_parse_path(arena, in, true, &wide, &wide_used) == ADDRESS_OK);
		REQUIRE(used == wide_used && text_equal(address.local, wide.local) &&
			text_equal(address.domain, wide.domain));
	}
	if (address_parse(arena, in, true, &wide) == ADDRESS_OK) {
		REQUIRE(wide.domain.len > 0);
		check_address(arena, &wide, true);
	}
	if (address_parse(arena, in, false, &address) == ADDRESS_OK)
		check_address(arena, &address, false);
	if (address_is_domain(in, false))
		REQUIRE(address_is_domain(in, true));
	if (address_is_literal(in))
		check_octets(in, false);
	arena_free(&arena);
	return 0;
}
