/* Log lines read back, and the stories told of them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "base/arena.h"
#include "restante/trace_line.h"
#include "restante/trace_tell.h"

static void lines_are_read(void **state)
{
	static const struct {
		const char *line;
		bool is_ours;
		const char *key, *value;
	} cases[] = {
		{ "t=1 level=info role=mda pid=5 event=delivered id=abc", true, "id", "abc" },
		{ "t=1 event=x a=\"b c\" d=e", true, "a", "b c" },
		{ "t=1 event=x a=\"b c\" d=e", true, "d", "e" },
		{ "t=1 event=x a=\"q\\\"r\\\\s\"", true, "a", "q\"r\\s" },
		{ "t=1 event=x a=\"cut\"... b=c", true, "b", "c" },
		{ "t=1 event=x a=\"\\x1b[2J\"", true, "a", "\\x1b[2J" },
		{ "t=1 event=x a=", true, "a", "" },
		{ "t=1 event=x", true, "nothing", "" },
		{ "Nov 22 05:00:00 mx restante[7]: level=info role=mda event=x id=a", true, "id",
			"a" },
		{ "2026-11-22T05:00:00 mx mda[7]: t=9 event=x id=a", true, "t", "9" },
		{ "t=1 event=x a=\"unclosed", false, NULL, NULL },
		{ "t=1 event=x a", false, NULL, NULL },
		{ "t=1 event=x =b", false, NULL, NULL },
		{ "t=1 level=info", false, NULL, NULL },
		{ "kernel: something else", false, NULL, NULL },
		{ "", false, NULL, NULL },
	};
	struct arena *arena = arena_new(1024);

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct trace_line line;

		assert_int_equal(
			trace_line_parse(arena, text_of(cases[i].line), &line), cases[i].is_ours);
		if (cases[i].is_ours)
			assert_true(text_equal(
				trace_line_get(&line, cases[i].key), text_of(cases[i].value)));
	}
	arena_free(&arena);
}

static void lists_are_searched(void **state)
{
	static const struct {
		const char *runs;
		uint64_t number;
		bool has;
	} cases[] = { { "", 1, false }, { "1", 1, true }, { "1", 2, false }, { "2-4", 3, true },
		{ "2-4", 5, false }, { "1,7-9,12", 12, true }, { "1,7-9,12", 8, true },
		{ "1,7-9,12", 10, false }, { "1,...", 1, true }, { "x,3", 3, true },
		{ "3-x", 3, false }, { "-3", 3, false }, { "4294967295", 4294967295, true },
		{ "99999999999", 99999999999, false } };

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_int_equal(
			trace_runs_have(text_of(cases[i].runs), cases[i].number), cases[i].has);
	assert_true(trace_list_has(TEXT("a@b,c@d"), TEXT("C@D")));
	assert_false(trace_list_has(TEXT("a@b,c@d"), TEXT("c@")));
	assert_false(trace_list_has(TEXT(""), TEXT("")));
}

static const char sample[] =
	"t=2026-11-22T05:12:06.945Z level=info role=smtp-in pid=1 event=recipient-refused id=m1 "
	"peer=192.0.2.1 helo=x from=a@b.test to=no@example.test code=550 reply=\"no such user\"\n"
	"t=2026-11-22T05:12:06.946Z level=info role=mda pid=2 event=delivered id=m1 peer=local "
	"from=a@b.test to=info@example.test alias=info@example.test recipients=1 size=9 code=250 "
	"verdict=stored stored=bob@example.test/INBOX:7,carol@example.test/Lists/x:3 file=f1 ms=1\n"
	"t=2026-11-22T05:12:06.947Z level=info role=smtp-in pid=1 event=message id=m1 "
	"peer=192.0.2.1 "
	"helo=x tls=TLSv1.3 from=a@b.test recipients=1 size=9 code=250 reply=\"Accepted as m1\"\n"
	"something else entirely\n"
	"t=2026-11-22T05:13:00.000Z level=info role=pop3d pid=3 event=session peer=192.0.2.9 "
	"user=bob@example.test tls=- pulled=1-8 removed=7 end=quit\n"
	"t=2026-11-22T05:13:01.000Z level=info role=pop3d pid=3 event=session peer=192.0.2.9 "
	"user=carol@example.test tls=- pulled=3 end=quit\n"
	"t=2026-11-22T05:14:00.000Z level=info role=mda pid=2 event=deferred id=m2 peer=local "
	"from=a@b.test to=bob@example.test code=452 verdict=\"no room\"\n"
	"t=2026-11-22T05:15:00.000Z level=info role=mda pid=2 event=delivered id=m3 peer=local "
	"from=\"\" to=bob@example.test code=250 before=bob@example.test/INBOX\n";

static const char story_1[] =
	"message m1\n"
	"  2026-11-22 05:12:06  smtp-in   would not take it from a@b.test to no@example.test, "
	"offered "
	"by 192.0.2.1 (which calls itself x); answered 550 no such user\n"
	"  2026-11-22 05:12:06  smtp-in   received a message from a@b.test, 9 octets, for 1 "
	"accepted "
	"recipient(s), sent by 192.0.2.1 (which calls itself x), over TLSv1.3; answered 250 "
	"Accepted "
	"as m1\n"
	"  2026-11-22 05:12:06  mda       delivered to info@example.test, by the alias "
	"info@example.test\n"
	"  2026-11-22 05:12:06  store     kept it in mailbox INBOX of bob@example.test as message "
	"7, "
	"file f1\n"
	"  2026-11-22 05:12:06  store     kept it in mailbox Lists/x of carol@example.test as "
	"message "
	"3, file f1\n"
	"  2026-11-22 05:13:00  pop3d     bob@example.test pulled and deleted it by POP3, from "
	"192.0.2.9\n"
	"\n";
static const char story_2[] = "message m2\n"
			      "  2026-11-22 05:14:00  mda       could not deliver it for now to "
			      "bob@example.test; answered 452 no room\n\n";
static const char story_3[] = "message m3\n"
			      "  2026-11-22 05:15:00  mda       delivered to bob@example.test\n"
			      "  2026-11-22 05:15:00  store     had it before in "
			      "bob@example.test/INBOX, and kept no second "
			      "copy\n\n";

static void stories_are_told(void **state)
{
	static const struct {
		const char *wanted;
		const char *told[3];
	} cases[] = {
		{ "m1", { story_1 } },
		{ "M1", { story_1 } },
		{ "m2", { story_2 } },
		{ "no@example.test", { story_1 } },
		{ "INFO@example.test", { story_1 } },
		{ "carol@example.test", { story_1 } },
		{ "bob@example.test", { story_1, story_2, story_3 } },
		{ "a@b.test", { story_1, story_2 } },
		{ "m", { NULL } },
		{ "m4", { NULL } },
		{ "b@example.test", { NULL } },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct buf out = { 0 }, wanted = { 0 };
		size_t count = 0, left_out;

		for (; count < 3 && cases[i].told[count]; count++)
			buf_add_string(&wanted, cases[i].told[count]);
		buf_add_char(&wanted, '\0');
		assert_int_equal(
			trace_tell(&out, text_of(sample), text_of(cases[i].wanted), &left_out),
			count);
		assert_int_equal(left_out, 0);
		buf_add_char(&out, '\0');
		assert_string_equal(buf_text(&out).ptr, buf_text(&wanted).ptr);
		buf_release(&out);
		buf_release(&wanted);
	}
}

/* The last ones, each with the session that pulled it and no other. */
static void of_many_the_last_are_told(void **state)
{
	enum { ALL = 1200, TOLD = 1000 };
	struct buf log = { 0 }, out = { 0 };
	size_t left_out, pulls = 0;

	(void)state;
	for (unsigned i = 1; i <= ALL; i++)
		buf_format(&log,
			"t=2026-11-22T05:12:06Z event=delivered role=mda id=m%u to=bob@x "
			"stored=b/ob@x/INBOX:%u\n"
			"t=2026-11-22T05:12:07Z event=session role=pop3d user=B/ob@x "
			"pulled=%u removed=...\n"
			"t=2026-11-22T05:12:07Z event=session role=pop3d user=other@x pulled=%u\n",
			i, i, i, i);
	assert_int_equal(trace_tell(&out, buf_text(&log), TEXT("bob@x"), &left_out), TOLD);
	assert_int_equal(left_out, ALL - TOLD);
	buf_add_char(&out, '\0');
	const char *told = buf_text(&out).ptr;
	assert_memory_equal(told, "message m201\n", 13);
	assert_non_null(strstr(told, "message m1200\n"));
	for (; (told = strstr(told, " B/ob@x pulled it by POP3")); told++)
		pulls++;
	assert_int_equal(pulls, TOLD);
	assert_null(strstr(buf_text(&out).ptr, "other@x"));
	buf_release(&log);
	buf_release(&out);
}

/* A log that somebody else wrote may hold anything; a terminal must not act on it. */
static void nothing_acts_on_a_terminal(void **state)
{
	static const char hostile[] = "t=\x1b[2J event=message role=smtp-in id=m1 "
				      "from=\"\x1b]0;x\x07\" helo=\xff\xc2\x9b code=250 "
				      "reply=\"\x7f\r\b\xe2\x80\xa8\"\n";
	struct buf out = { 0 };
	size_t left_out;

	(void)state;
	assert_int_equal(trace_tell(&out, text_of(hostile), TEXT("m1"), &left_out), 1);
	const struct text told = buf_text(&out);
	assert_true(told.len > 0);
	for (size_t i = 0; i < told.len; i++) {
		const unsigned char octet = (unsigned char)told.ptr[i];
		assert_true(octet == '\n' || (octet >= ' ' && octet < 0x7f));
	}
	buf_release(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lines_are_read),
		cmocka_unit_test(lists_are_searched),
		cmocka_unit_test(stories_are_told),
		cmocka_unit_test(of_many_the_last_are_told),
		cmocka_unit_test(nothing_acts_on_a_terminal),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
