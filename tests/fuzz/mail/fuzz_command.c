/*
 * Command lines, MAIL and RCPT arguments (as they come, and with "FROM:" put before them).
 */
#include <string.h>

#include "base/arena.h"
#include "mail/command.h"
#include "tests/fuzz/fuzz.h"

static void check_parameters(struct text argument, const struct command_path *path)
{
	bool mentioned = false;

	REQUIRE(path->parameters <= COMMAND_PARAMETERS);
	for (size_t i = 0; i < path->parameters; i++) {
		const struct command_parameter *p = &path->parameter[i];

		REQUIRE(p->keyword.len > 0);
		REQUIRE(p->value.ptr == NULL || p->value.len > 0);
		REQUIRE(command_mentions(argument, p->keyword));
		mentioned = mentioned || text_equal_nocase(p->keyword, TEXT("SMTPUTF8"));
		for (size_t k = 0; k < p->value.len; k++)
			REQUIRE((unsigned char)p->value.ptr[k] > ' ' && p->value.ptr[k] != '=');
		for (size_t k = 0; k < i; k++)
			REQUIRE(!text_equal_nocase(path->parameter[k].keyword, p->keyword));
	}
	REQUIRE(command_mentions(argument, TEXT("SMTPUTF8")) == mentioned);
}

static void check_path(struct arena *arena, struct text argument, struct text keyword, bool utf8)
{
	struct command_path path;
	enum address_fault address;

	switch (command_parse_path(arena, argument, keyword, utf8, &path, &address)) {
	case COMMAND_OK:
		REQUIRE(address == ADDRESS_OK);
		check_parameters(argument, &path);
		break;
	case COMMAND_ADDRESS:
		REQUIRE(address != ADDRESS_OK);
		break;
	case COMMAND_SYNTAX:
	case COMMAND_TOO_MANY_PARAMETERS:
	case COMMAND_DUPLICATE_PARAMETER:
		REQUIRE(address == ADDRESS_OK);
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *octets, size_t size)
{
	const struct text in = fuzz_text(octets, size);
	const struct command command = command_split(in);
	struct arena *arena = arena_new(4096);
	const struct text from = text_format(arena, "FROM:%.*s", TEXT_ARG(in));

	REQUIRE(command.verb.len + command.argument.len <= in.len);
	REQUIRE(text_find(command.verb, ' ') < 0 && text_find(command.verb, '\t') < 0);
	REQUIRE(text_equal(text_trim(command.argument), command.argument));
	check_path(arena, in, TEXT("FROM"), false);
	check_path(arena, in, TEXT("FROM"), true);
	check_path(arena, from, TEXT("FROM"), false);
	check_path(arena, from, TEXT("FROM"), true);
	check_path(arena, command.argument, TEXT("TO"), true);
	command_mentions(from, TEXT("SMTPUTF8"));
	arena_free(&arena);
	return 0;
}
