/* Files of aliases(5), as what is read from them and what is wrong in them. */
#include "mail/aliases.h"

#include "base/arena.h"
#include "base/buf.h"
#include "tests/unit/mail/check.h"

static const char letters[] = { [ALIASES_ADDRESS] = '=',
	[ALIASES_INCLUDE] = '<',
	[ALIASES_COMMAND] = '|',
	[ALIASES_FILE] = '/' };

static void print_items(struct buf *out, const struct aliases_item *item)
{
	for (; item; item = item->next)
		buf_format(
			out, " %u%c[%.*s]", item->line, letters[item->kind], TEXT_ARG(item->value));
	buf_add_char(out, ';');
}

static void print_all(struct buf *out, struct text file, struct arena *arena)
{
	struct aliases_reader reader = { .rest = file };
	struct aliases_entry entry;
	const char *error;
	unsigned line;
	int result;

	while ((result = aliases_next(&reader, arena, &entry, &line, &error)) != 0) {
		if (result < 0) {
			buf_format(out, "%u!%s;", line, error);
			continue;
		}
		buf_format(out, "%u[%.*s]", entry.line, TEXT_ARG(entry.name));
		print_items(out, entry.items);
	}
}

static const struct {
	struct text file, read;
} files[] = {
	{ T(""), T("") },
	{ T("\n\n"), T("") },
	{ T("# a comment\n  # another\n"), T("") },
	{ T("root: alice"), T("1[root] 1=[alice];") },
	{ T("root: alice\n"), T("1[root] 1=[alice];") },
	{ T("root:alice\r\nwww:root\r\n"), T("1[root] 1=[alice];2[www] 2=[root];") },
	{ T("root : alice , bob\n"), T("1[root] 1=[alice] 1=[bob];") },
	{ T("all: a,\n\tb,\n  c\nx: y\n"), T("1[all] 1=[a] 2=[b] 3=[c];4[x] 4=[y];") },
	{ T("all:\n\ta\n"), T("1[all] 2=[a];") },
	{ T("all: a\n\t, b\n"), T("1[all] 1=[a] 2=[b];") },
	{ T("all: a,\n# in between\n\n\tb\n"), T("1[all] 1=[a] 4=[b];") },
	{ T("all: a,,b,\n"), T("1[all] 1=[a] 1=[b];") },
	{ T("all: a\n\tb\n"), T("2!a comma is missing before this line;") },
	{ T("a@example.org: b@example.net\n"), T("1[a@example.org] 1=[b@example.net];") },
	{ T("@example.org: a\n"), T("1[@example.org] 1=[a];") },
	{ T("\"a b\": \"c, d\"\n"), T("1[\"a b\"] 1=[\"c, d\"];") },
	{ T("\"a:b\": c\n"), T("1[\"a:b\"] 1=[c];") },
	{ T("\"a\\\"b\": \"c\\\"d\"@e\n"), T("1[\"a\\\"b\"] 1=[\"c\\\"d\"@e];") },
	{ T("a: b # no comment\n"), T("1[a] 1=[b # no comment];") },
	{ T("a: Bob Brown <bob@example.org>, c\n"), T("1[a] 1=[bob@example.org] 1=[c];") },
	{ T("a: \"Brown, Bob\" <bob>\n"), T("1[a] 1=[bob];") },
	{ T("a: bob (the boss), c\n"), T("1[a] 1=[bob] 1=[c];") },
	{ T("a: \\a, b\n"), T("1[a] 1=[a] 1=[b];") },
	{ T("a: |/usr/bin/x\n"), T("1[a] 1|[|/usr/bin/x];") },
	{ T("a: \"|/usr/bin/x -y, z\"\n"), T("1[a] 1|[|/usr/bin/x -y, z];") },
	{ T("a: /var/mail/a, \"/b c\"\n"), T("1[a] 1/[/var/mail/a] 1/[/b c];") },
	{ T("a: :include:/etc/x\n"), T("1[a] 1<[/etc/x];") },
	{ T("a: :Include: \"/etc/x y\"\n"), T("1[a] 1<[/etc/x y];") },
	{ T("a: \":include:/etc/x,y\"\n"), T("1[a] 1<[/etc/x,y];") },
	{ T("a: :include:\n"), T("1!:include: wants the path of a file;") },
	{ T("a:\n"), T("1!there is no member behind the colon;") },
	{ T("a: ,\n"), T("1!there is no member behind the colon;") },
	{ T(": b\n"), T("1!there is no name before the colon;") },
	{ T("a b\nc: d\n"),
		T("1!there is no colon; an alias is written name: member, member;2[c] 2=[d];") },
	{ T("\tb\nc: d\n"), T("1!a line that begins with a blank continues an alias, and there is "
			      "none before it;2[c] 2=[d];") },
	{ T("a: \"b\n\tc\nd: e\n"), T("1!a quotation mark is not closed;3[d] 3=[e];") },
	{ T("\"a: b\n"), T("1!a quotation mark is not closed;") },
	{ T("a: <b\n"), T("1!\"<\" is not closed;") },
	{ T("a: <>\n"), T("1!there is no address;") },
	{ T("a: b (c) d\n"), T("1!a remark in parentheses has to come last;") },
	{ T("j\xc3\xbcrgen: m\n"), T("1[j\xc3\xbcrgen] 1=[m];") },
};

static void files_are_read(void **state)
{
	struct arena *arena = arena_new(1024);

	(void)state;
	for (size_t i = 0; i < COUNT(files); i++) {
		struct buf out = { 0 };

		print_all(&out, files[i].file, arena);
		buf_add_char(&out, '\0');
		CHECK_TEXT(text_of(buf_text(&out).ptr), files[i].read, files[i].file);
		buf_release(&out);
	}
	arena_free(&arena);
}

static void included_files_are_members_alone(void **state)
{
	static const struct {
		struct text file, read;
	} table[] = {
		{ T(""), T("") },
		{ T("# list\na\nb\n"), T(" 2=[a]; 3=[b];") },
		{ T("a, b\n\n  c,\nd"), T(" 1=[a] 1=[b]; 3=[c]; 4=[d];") },
		{ T("Bob <bob@example.org>\n|x\n"), T(" 1=[bob@example.org]; 2|[|x];") },
		{ T(":include:/y\n\"\nz\n"),
			T(" 1<[/y];2!a quotation mark is not closed; 3=[z];") },
	};
	struct arena *arena = arena_new(1024);

	(void)state;
	for (size_t i = 0; i < COUNT(table); i++) {
		struct aliases_reader reader = { .rest = table[i].file };
		struct aliases_item *items;
		struct buf out = { 0 };
		const char *error;
		unsigned line;
		int result;

		while ((result = aliases_next_included(&reader, arena, &items, &line, &error))) {
			if (result > 0)
				print_items(&out, items);
			else
				buf_format(&out, "%u!%s;", line, error);
		}
		CHECK_TEXT(buf_text(&out), table[i].read, table[i].file);
		buf_release(&out);
	}
	arena_free(&arena);
}

/* It would take minutes if each line looked at all that follow. */
static void members_may_be_commented_out(void **state)
{
	enum { LINES = 200000 };
	struct arena *arena = arena_new(4096);
	struct buf file = { 0 }, out = { 0 };

	(void)state;
	buf_add_string(&file, "all: a,\n");
	for (unsigned i = 0; i < LINES; i++)
		buf_add_string(&file, "#\n");
	buf_add_string(&file, "\tb\n");
	print_all(&out, buf_text(&file), arena);
	CHECK_TEXT(buf_text(&out), TEXT("1[all] 1=[a] 200002=[b];"), TEXT("comments"));
	buf_release(&file);
	buf_release(&out);
	arena_free(&arena);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(files_are_read),
		cmocka_unit_test(members_may_be_commented_out),
		cmocka_unit_test(included_files_are_members_alone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
