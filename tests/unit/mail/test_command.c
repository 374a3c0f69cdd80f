#include "tests/unit/mail/check.h"

#include "base/arena.h"
#include "base/buf.h"
#include "mail/command.h"

static void lines_are_split(void **state)
{
	static const struct {
		struct text in, verb, argument;
	} cases[] = {
		{ T(""), T(""), T("") },
		{ T("QUIT"), T("QUIT"), T("") },
		{ T("QUIT "), T("QUIT"), T("") },
		{ T("quit \t "), T("quit"), T("") },
		{ T("NOOP x"), T("NOOP"), T("x") },
		{ T("NOOP\tx"), T("NOOP"), T("x") },
		{ T("HELP  a  b "), T("HELP"), T("a  b") },
		{ T("MAIL FROM:<a@b> SIZE=1"), T("MAIL"), T("FROM:<a@b> SIZE=1") },
		{ T("MAIL FROM:<>\t"), T("MAIL"), T("FROM:<>") },
		{ T(" QUIT"), T(""), T("QUIT") },
		{ T(" "), T(""), T("") },
		{ T("RCPT\0TO"), T("RCPT\0TO"), T("") },
		{ T("USER \xc3\xbc"), T("USER"), T("\xc3\xbc") },
		{ T("GET / HTTP/1.1"), T("GET"), T("/ HTTP/1.1") },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		const struct command command = command_split(cases[i].in);

		CHECK_TEXT(command.verb, cases[i].verb, cases[i].in);
		CHECK_TEXT(command.argument, cases[i].argument, cases[i].in);
	}
}

/* said: "local@domain|KEYWORD|KEYWORD=value", the parts as they were understood. */
struct path_case {
	struct text in;
	const char *keyword;
	bool utf8;
	enum command_fault fault;
	enum address_fault address;
	const char *said;
};

#define FROM(text, result) \
	{ \
		.in = T(text), .keyword = "FROM", .fault = COMMAND_OK, .said = (result) \
	}
#define TO(text, result) \
	{ \
		.in = T(text), .keyword = "TO", .fault = COMMAND_OK, .said = (result) \
	}
#define UTF8(text, result) \
	{ \
		.in = T(text), .keyword = "FROM", .utf8 = true, .fault = COMMAND_OK, \
		.said = (result) \
	}
#define FAULT(text, what) \
	{ \
		.in = T(text), .keyword = "FROM", .fault = COMMAND_##what, .said = "" \
	}
#define BAD(text) FAULT(text, SYNTAX)
#define BAD_UTF8(text) \
	{ \
		.in = T(text), .keyword = "FROM", .utf8 = true, .fault = COMMAND_SYNTAX, \
		.said = "" \
	}
#define ADDRESS(text, what) \
	{ \
		.in = T(text), .keyword = "FROM", .fault = COMMAND_ADDRESS, \
		.address = ADDRESS_##what, .said = "" \
	}

static const struct path_case path_cases[] = {
	FROM("FROM:<a@b>", "a@b"),
	FROM("from:<a@b>", "a@b"),
	FROM("FrOm:<A@B>", "A@b"),
	FROM("FROM:<>", ""),
	FROM("FROM: <a@b>", "a@b"),
	FROM("FROM: <>", ""),
	FROM("FROM:<@x,@y:a@b>", "a@b"),
	FROM("FROM:<\"a b\"@c> SIZE=1", "\"a b\"@c|SIZE=1"),
	FROM("FROM:<\"a> SMTPUTF8\"@c>", "\"a> SMTPUTF8\"@c"),
	FROM("FROM:<postmaster>", "postmaster"),
	TO("TO:<a@b>", "a@b"),
	TO("to:<Postmaster>", "Postmaster"),
	TO("TO:<a@b> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;a+2Bb@c",
		"a@b|NOTIFY=SUCCESS,FAILURE|ORCPT=rfc822;a+2Bb@c"),
	/* parameters */
	FROM("FROM:<a@b> SIZE=100 BODY=8BITMIME", "a@b|SIZE=100|BODY=8BITMIME"),
	FROM("FROM:<a@b> size=100 body=8bitmime", "a@b|size=100|body=8bitmime"),
	FROM("FROM:<> SMTPUTF8", "|SMTPUTF8"),
	FROM("FROM:<a@b>  SIZE=1   RET=HDRS  ", "a@b|SIZE=1|RET=HDRS"),
	FROM("FROM:<a@b> ", "a@b"),
	FROM("FROM:<a@b> AUTH=<>", "a@b|AUTH=<>"),
	FROM("FROM:<a@b> X-y-1=!\"#$%&'()*+,-./:;<>?@[\\]^_`{|}~",
		"a@b|X-y-1=!\"#$%&'()*+,-./:;<>?@[\\]^_`{|}~"),
	FROM("FROM:<a@b> 8BIT", "a@b|8BIT"),
	FROM("FROM:<a@b> A- B--C", "a@b|A-|B--C"),
	FROM("FROM:<a@b> A B C D E F G H I J K L M N O P", "a@b|A|B|C|D|E|F|G|H|I|J|K|L|M|N|O|P"),
	FAULT("FROM:<a@b> A B C D E F G H I J K L M N O P Q", TOO_MANY_PARAMETERS),
	FAULT("FROM:<a@b> SIZE=1 SIZE=2", DUPLICATE_PARAMETER),
	FAULT("FROM:<a@b> SIZE=1 size=1", DUPLICATE_PARAMETER),
	FAULT("FROM:<a@b> SMTPUTF8 BODY=7BIT smtputf8", DUPLICATE_PARAMETER),
	FAULT("FROM:<a@b> SIZE SIZE=1", DUPLICATE_PARAMETER),
	FAULT("FROM:<a@b> A B C=1 D C=2", DUPLICATE_PARAMETER),
	BAD("FROM:<a@b> SIZE="),
	BAD("FROM:<a@b> =1"),
	BAD("FROM:<a@b> ="),
	BAD("FROM:<a@b> SIZE==1"),
	BAD("FROM:<a@b> SIZE=1=2"),
	BAD("FROM:<a@b> -A"),
	BAD("FROM:<a@b> A_B"),
	BAD("FROM:<a@b> A.B=1"),
	BAD("FROM:<a@b> <c@d>"),
	BAD("FROM:<a@b>,<c@d>"),
	BAD("FROM:<a@b>SIZE=1"),
	BAD("FROM:<a@b>>"),
	BAD("FROM:<a@b>\tSIZE=1"),
	BAD("FROM:<a@b> SIZE=1\tBODY=7BIT"),
	BAD("FROM:<a@b> SIZE=1\0"),
	BAD("FROM:<a@b> SIZE=\0"),
	BAD("FROM:<a@b> SI\0ZE"),
	BAD("FROM:<a@b> X=a\x7f"),
	BAD("FROM:<a@b> X=a\rb"),
	BAD("FROM:<a@b> X=a\nb"),
	BAD("FROM:<a@b> X=\xc3\xbc"),
	BAD("FROM:<a@b> \xc3\xbc"),
	/* what stands before the path */
	BAD(""),
	BAD("FROM"),
	BAD("FROM:"),
	BAD("FROM: "),
	BAD("FROM:a@b"),
	BAD("FROM: a@b"),
	BAD("FROM:  <a@b>"),
	BAD("FROM:\t<a@b>"),
	BAD("FROM :<a@b>"),
	BAD("FROM <a@b>"),
	BAD("FROM<a@b>"),
	BAD("FROMM:<a@b>"),
	BAD("FRO:<a@b>"),
	BAD("TO:<a@b>"),
	BAD("<a@b>"),
	BAD(":<a@b>"),
	BAD("FROM:Alice <a@b>"),
	BAD("FROM:\"a\"@b"),
	/* the path itself */
	ADDRESS("FROM:<a@b", SYNTAX),
	ADDRESS("FROM:<", SYNTAX),
	ADDRESS("FROM:<a>", SYNTAX),
	ADDRESS("FROM:< >", SYNTAX),
	ADDRESS("FROM:<a@b SIZE=1>", SYNTAX),
	ADDRESS("FROM:<a@b\r\nRCPT TO:<c@d>", SYNTAX),
	ADDRESS("FROM:<<a@b>>", SYNTAX),
	ADDRESS("FROM:<\xc3\xbc@b>", 8BIT),
	ADDRESS("FROM:<\xc3\xbc@b> SMTPUTF8", 8BIT),
	/* SMTPUTF8 */
	UTF8("FROM:<\xc3\xbc@\xc3\xbc.x> SMTPUTF8", "\xc3\xbc@\xc3\xbc.x|SMTPUTF8"),
	UTF8("FROM:<a@b> X=\xe2\x82\xac", "a@b|X=\xe2\x82\xac"),
	BAD_UTF8("FROM:<a@b> X=\xff"),
	BAD_UTF8("FROM:<a@b> X=\xe2\x82"),
	BAD_UTF8("FROM:<a@b> \xe2\x82\xac=X"),
};

static void paths_and_parameters_are_read(void **state)
{
	struct arena *arena = arena_new(1024);

	(void)state;
	for (size_t i = 0; i < COUNT(path_cases); i++) {
		const struct path_case *c = &path_cases[i];
		enum address_fault address = ADDRESS_LOCAL_TOO_LONG;
		struct buf said = { 0 };
		struct command_path path;

		CHECK_NUMBER(command_parse_path(
				     arena, c->in, text_of(c->keyword), c->utf8, &path, &address),
			c->fault, c->in);
		CHECK_NUMBER(address, c->address, c->in);
		if (c->fault == COMMAND_OK) {
			address_add(&said, &path.address);
			for (size_t k = 0; k < path.parameters; k++) {
				buf_add_char(&said, '|');
				buf_add(&said, path.parameter[k].keyword);
				if (path.parameter[k].value.ptr == NULL)
					continue;
				buf_add_char(&said, '=');
				buf_add(&said, path.parameter[k].value);
			}
			CHECK_TEXT(buf_text(&said), text_of(c->said), c->in);
		}
		buf_release(&said);
		arena_empty(arena);
	}
	arena_free(&arena);
}

static void parameters_are_noticed_before_the_path_is_read(void **state)
{
	static const struct {
		struct text in;
		bool mentions;
	} cases[] = {
		{ T("FROM:<a@b> SMTPUTF8"), true },
		{ T("FROM:<a@b> smtputf8"), true },
		{ T("FROM:<a@b> SIZE=1 SMTPUTF8 BODY=8BITMIME"), true },
		{ T("FROM:<\xc3\xbc@b> SMTPUTF8"), true },
		{ T("FROM:<\"a>b\"@c> SMTPUTF8"), true },
		{ T("FROM:<\"\\\"> \"@c> SMTPUTF8"), true },
		{ T("FROM:<> SMTPUTF8"), true },
		{ T("FROM:<a@[t:x>y]> SMTPUTF8"), true },
		{ T("FROM:<a@[t:\"]> SMTPUTF8"), true },
		{ T("FROM:<\"[\"@[t:\"<>]> SMTPUTF8"), true },
		{ T("FROM:<a@b> SMTPUTF8=1"), true },
		{ T("FROM:<a@b>"), false },
		{ T("FROM:<a@b> SMTPUTF88"), false },
		{ T("FROM:<a@b> SMTPUTF"), false },
		{ T("FROM:<a@b> X=SMTPUTF8"), false },
		{ T("FROM:<a@b>SMTPUTF8"), false },
		{ T("FROM:<\"> SMTPUTF8 \"@b>"), false },
		{ T("FROM:<\"a\\\"> SMTPUTF8 \"@b>"), false },
		{ T("FROM:<\"a> SMTPUTF8"), false },
		{ T("FROM:a@b SMTPUTF8"), false },
		{ T("SMTPUTF8"), false },
		{ T("FROM:<\"a\\"), false },
		{ T(">"), false },
		{ T(""), false },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++)
		CHECK_NUMBER(command_mentions(cases[i].in, TEXT("SMTPUTF8")), cases[i].mentions,
			cases[i].in);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lines_are_split),
		cmocka_unit_test(paths_and_parameters_are_read),
		cmocka_unit_test(parameters_are_noticed_before_the_path_is_read),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
