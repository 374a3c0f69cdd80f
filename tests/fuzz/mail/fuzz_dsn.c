/*
 * DSN parameters of MAIL and RCPT lines: what is taken can be handed on, is taken again just so, and brings
 * nothing into a line that could end it or begin another parameter.
 */
#include "base/arena.h"
#include "base/buf.h"
#include "mail/dsn.h"
#include "tests/fuzz/fuzz.h"

static void check_line(struct text printed, bool utf8)
{
	for (size_t i = 0; i < printed.len; i++) {
		const unsigned char c = (unsigned char)printed.ptr[i];

		REQUIRE(c >= ' ' && c != 0x7f && (c < 0x80 || utf8));
	}
}

/* The line that the parameters were handed on in. */
static struct command_path parse(
	struct arena *arena, struct text keyword, struct text parameters, bool utf8)
{
	const struct text argument =
		text_format(arena, "%.*s:<a@b.test>%.*s", TEXT_ARG(keyword), TEXT_ARG(parameters));
	enum address_fault address;
	struct command_path path;

	REQUIRE(command_parse_path(arena, argument, keyword, utf8, &path, &address) == COMMAND_OK);
	return path;
}

static void try_mail(struct arena *arena, const struct command_path *path)
{
	struct buf out = { 0 }, again = { 0 };
	struct dsn_message dsn = { 0 }, second = { 0 };
	const char *sentence;

	for (size_t i = 0; i < path->parameters; i++)
		(void)dsn_take_mail(arena, &path->parameter[i], &dsn, &sentence);
	dsn_add_mail(&out, &dsn);
	check_line(buf_text(&out), false);
	const struct command_path handed_on = parse(arena, TEXT("FROM"), buf_text(&out), false);
	for (size_t i = 0; i < handed_on.parameters; i++)
		REQUIRE(dsn_take_mail(arena, &handed_on.parameter[i], &second, &sentence) ==
			DSN_TAKEN);
	dsn_add_mail(&again, &second);
	REQUIRE(text_equal(buf_text(&out), buf_text(&again)));
	buf_release(&out);
	buf_release(&again);
}

static void try_recipient(struct arena *arena, const struct command_path *path, bool utf8)
{
	struct buf out = { 0 }, again = { 0 };
	struct dsn_recipient dsn = { 0 }, second = { 0 };
	const char *sentence;

	for (size_t i = 0; i < path->parameters; i++)
		(void)dsn_take_recipient(arena, &path->parameter[i], utf8, &dsn, &sentence);
	dsn_add_recipient(&out, &dsn);
	check_line(buf_text(&out), utf8);
	const struct command_path handed_on = parse(arena, TEXT("TO"), buf_text(&out), utf8);
	for (size_t i = 0; i < handed_on.parameters; i++)
		REQUIRE(dsn_take_recipient(arena, &handed_on.parameter[i], utf8, &second,
				&sentence) == DSN_TAKEN);
	dsn_add_recipient(&again, &second);
	REQUIRE(text_equal(buf_text(&out), buf_text(&again)));
	buf_release(&out);
	buf_release(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *octets, size_t size)
{
	struct text in = fuzz_text(octets, size);
	const bool utf8 = fuzz_octet(&in) & 1;
	struct arena *arena = arena_new(4096);
	const struct text argument = text_format(arena, "TO:<a@b.test> %.*s", TEXT_ARG(in));
	enum address_fault address;
	struct command_path path;

	if (command_parse_path(arena, argument, TEXT("TO"), utf8, &path, &address) == COMMAND_OK) {
		try_mail(arena, &path);
		try_recipient(arena, &path, utf8);
	}
	arena_free(&arena);
	return 0;
}
