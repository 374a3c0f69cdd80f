/* Settings: values and their bounds, files with mistakes, lines for a role, sample and manual. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/settings.h"

struct top {
	char *hostname, *state;
	struct settings_list domains;
	bool syslog;
};

struct part {
	struct settings_list listen;
	uint64_t size, idle, sessions;
	char *greeting;
};

#define ITEM(s, field, text, kind, value, low, high) \
	{ \
		.name = (text), .type = (kind), .preset = (value), .least = (low), .most = (high), \
		.offset = offsetof(struct s, field), .help = "What it is. And more." \
	}

static const struct settings_item top_items[] = {
	ITEM(top, hostname, "hostname", SETTINGS_STRING, "localhost", 1, 20),
	ITEM(top, state, "state", SETTINGS_STRING, "/var/lib", 1, 0),
	ITEM(top, domains, "domains", SETTINGS_LIST, "", 0, 30),
	ITEM(top, syslog, "syslog", SETTINGS_BOOL, "no", 0, 0),
};

static const struct settings_item part_items[] = {
	ITEM(part, listen, "listen", SETTINGS_LIST, "*:25 *:587", 0, 0),
	ITEM(part, size, "message-size", SETTINGS_OCTETS, "25M", 1024, 2147483648),
	ITEM(part, idle, "idle-timeout", SETTINGS_SECONDS, "5m", 1, 86400),
	ITEM(part, sessions, "sessions", SETTINGS_NUMBER, "100", 1, 1000),
	ITEM(part, greeting, "greeting", SETTINGS_STRING, "hello \"you\" \\", 0, 0),
};

static int verify_top(const void *values, char *error, size_t error_size)
{
	const struct top *top = values;

	if (top->state[0] == '/')
		return 0;
	snprintf(error, error_size, "state \"%s\" is not absolute; begin with a slash", top->state);
	return -1;
}

static int verify_part(const void *values, char *error, size_t error_size)
{
	const struct part *part = values;

	if (part->listen.count || part->sessions < 1000)
		return 0;
	snprintf(error, error_size, "a thousand sessions and nowhere to listen; set listen");
	return -1;
}

static const struct settings_section top_section = { .items = top_items,
	.count = sizeof(top_items) / sizeof(top_items[0]),
	.size = sizeof(struct top),
	.verify = verify_top };
static const struct settings_section part_section = { .name = "smtp-in",
	.items = part_items,
	.count = sizeof(part_items) / sizeof(part_items[0]),
	.size = sizeof(struct part),
	.verify = verify_part };
static const struct settings_section *const sections[] = { &top_section, &part_section };

/* ---- reading a file ---- */

struct reading {
	struct top top;
	struct part part;
	int result;
	char reports[8000]; /* each with the file's name cut off, and a line end */
	char file[64];
};

static void on_report(void *owner, const char *sentence)
{
	struct reading *reading = owner;
	size_t name = strlen(reading->file);

	assert_memory_equal(sentence, reading->file, name);
	assert_int_equal(sentence[name], ':');
	size_t used = strlen(reading->reports);
	snprintf(reading->reports + used, sizeof(reading->reports) - used, "%s\n",
		sentence + name + 1);
}

static void read_named(struct reading *reading)
{
	void *const values[] = { &reading->top, &reading->part };

	reading->result = settings_read(reading->file, sections, 2, values, on_report, reading);
}

static void read_octets(struct reading *reading, const void *octets, size_t size)
{
	*reading = (struct reading){ .file = "/tmp/test_settings.XXXXXX" };
	int fd = mkstemp(reading->file);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, octets, size), size);
	close(fd);
	read_named(reading);
	unlink(reading->file);
}

static void read_text(struct reading *reading, const char *text)
{
	read_octets(reading, text, strlen(text));
}

static void forget(struct reading *reading)
{
	settings_free(&top_section, &reading->top);
	settings_free(&part_section, &reading->part);
}

static void assert_list(const struct settings_list *list, const char *words)
{
	struct text rest = text_of(words), word;
	size_t count = 0;

	while (*words && text_split(&rest, ' ', &word)) {
		assert_true(count < list->count);
		assert_int_equal(strlen(list->item[count]), word.len);
		assert_memory_equal(list->item[count++], word.ptr, word.len);
	}
	assert_int_equal(list->count, count);
}

static void an_empty_file_gives_the_defaults(void **state)
{
	struct reading reading;

	(void)state;
	read_text(&reading, "");
	assert_string_equal(reading.reports, "");
	assert_int_equal(reading.result, 0);
	assert_string_equal(reading.top.hostname, "localhost");
	assert_string_equal(reading.top.state, "/var/lib");
	assert_list(&reading.top.domains, "");
	assert_false(reading.top.syslog);
	assert_list(&reading.part.listen, "*:25 *:587");
	assert_int_equal(reading.part.size, 25 << 20);
	assert_int_equal(reading.part.idle, 300);
	assert_int_equal(reading.part.sessions, 100);
	assert_string_equal(reading.part.greeting, "hello \"you\" \\");
	forget(&reading);
}

static void every_type_and_spelling_is_read(void **state)
{
	struct reading reading;

	(void)state;
	read_text(&reading, "\xEF\xBB\xBF# comment with \"quote and { brace\n"
			    "hostname=mail.example.org // another\r\n"
			    "/* over\n lines { */ state = '/a b/#c//d' domains = { example.org,\n"
			    "\t\"b\\\"\\\\.org\" , 'it\\'s' }\n"
			    "syslog = yes\n"
			    "smtp-in { listen = {}\n message-size = 2g idle-timeout = \"90s\"\n"
			    " sessions = 7 greeting = '' } # ${HOME}");
	assert_string_equal(reading.reports, "");
	assert_int_equal(reading.result, 0);
	assert_string_equal(reading.top.hostname, "mail.example.org");
	assert_string_equal(reading.top.state, "/a b/#c//d");
	assert_list(&reading.top.domains, "example.org b\"\\.org it's");
	assert_true(reading.top.syslog);
	assert_list(&reading.part.listen, "");
	assert_int_equal(reading.part.size, 2147483648);
	assert_int_equal(reading.part.idle, 90);
	assert_int_equal(reading.part.sessions, 7);
	assert_string_equal(reading.part.greeting, "");
	forget(&reading);
}

/* Each file, and exactly what is reported of it. */
static const struct mistake {
	const char *file, *reports;
} mistakes[] = {
	{ "\n\nhostnam = a\n", "3: there is no \"hostnam\" here; did you mean hostname?\n" },
	{ "hostname = a\nquux = 1\n", "2: there is no \"quux\" here; remove it\n" },
	{ "message-size = 1M\n", "1: \"message-size\" does not belong here; move it to smtp-in\n" },
	{ "smtp-in {\n syslog = no\n}\n",
		"2: \"syslog\" does not belong here; move it to the top of the file\n" },
	{ "smtp-out {\n a = { b, c }\n d { e = f }\n}\nsyslog = maybe\n",
		"1: there is no \"smtp-out\" here; did you mean smtp-in?\n"
		"5: syslog is \"maybe\"; write yes or no\n" },
	{ "smtp-in = 5\n", "1: smtp-in is a section; write smtp-in { ... }\n" },
	{ "hostname { a = b }\n", "1: hostname is not a section; write hostname = value\n" },
	{ "smtp-in { smtp-in { } }\n",
		"1: a section inside a section; close the first one with } before\n" },
	{ "hostname = a\n# x\n/* y\n*/\nhostname = b\n",
		"5: hostname is given again; it stands in line 1 already, keep one of the two\n" },
	{ "domains = { a }\ndomains = { b }\n",
		"2: domains is given again; it stands in line 1 already, keep one of the two\n" },
	{ "smtp-in { }\nsmtp-in { sessions = 0 }\n",
		"2: section smtp-in is given again; it stands in line 1 already, join the two\n"
		"2: sessions is 0; give at least 1\n" },
	{ "syslog = \"true\"\n", "1: syslog is \"true\"; write yes or no\n" },
	{ "smtp-in {\n\tsessions = many\n\tmessage-size = 25MB\n\tidle-timeout = -1\n}\n",
		"2: sessions is \"many\"; write a number\n"
		"3: message-size is \"25MB\"; write a number of octets, or with K, M, G or T as in "
		"25M\n"
		"4: idle-timeout is \"-1\"; write a number of seconds, or with s, m, h or d as in "
		"5m\n" },
	{ "smtp-in {\n\tsessions = 1001\n\tmessage-size = 1023\n\tidle-timeout = 2d\n}\n",
		"2: sessions is 1001; give at most 1000\n"
		"3: message-size is 1023; give at least 1K\n"
		"4: idle-timeout is 2d; give at most 1d\n" },
	{ "smtp-in { sessions = 99999999999999999999\n message-size = 99999999999T\n"
	  " idle-timeout = m }\n",
		"1: sessions is \"99999999999999999999\"; write a number\n"
		"2: message-size is \"99999999999T\"; write a number of octets, or with K, M, G or "
		"T "
		"as in 25M\n"
		"3: idle-timeout is \"m\"; write a number of seconds, or with s, m, h or d as in "
		"5m\n" },
	{ "hostname = ''\n", "1: hostname is empty; give it a value\n" },
	{ "hostname = a.name.that.is.too.long\n", "1: hostname has 23 octets; give at most 20\n" },
	{ "domains = {\n a,\n '',\n "
	  "1234567890123456789012345678901"
	  " }\n",
		"3: an item of domains is empty; give it a value or leave it out\n"
		"4: an item of domains has 31 octets; give at most 30\n" },
	{ "state = relative\n", "1: state \"relative\" is not absolute; begin with a slash\n" },
	{ "\nsmtp-in {\n sessions = 1000\n listen = { }\n}\n",
		"2: a thousand sessions and nowhere to listen; set listen\n" },
	{ "hostname = \"open\nsyslog = 'too\nstate = /ok\n",
		"1: a quote is opened and not closed in this line; close it\n"
		"2: a quote is opened and not closed in this line; close it\n"
		"2: syslog is \"too\"; write yes or no\n" },
	{ "syslog = yes\n/* no end\n\n", "2: this comment has no end; close it with */\n" },
	{ "hostname = \"${HOME}\"\n",
		"1: ${...} is not replaced from the environment; write the value itself\n" },
	{ "hostname = \"a\\n\"\n",
		"1: a backslash escapes only itself and the quote; write \\\\\n" },
	{ "hostname = \"a\tb\"\n", "1: a control character in a word; remove it\n"
				   "1: hostname is empty; give it a value\n" },
	{ "domains += a\n", "1: += does not add to the default; write the whole list with =\n" },
	{ "syslog no\n",
		"1: missing equal sign after option 'syslog'; write name = value, name = { value, "
		"value } or name { ... }\n" },
	{ "}\n", "1: unexpected closing brace; write name = value, name = { value, value } or name "
		 "{ ... }\n" },
	{ "smtp-in {\n sessions = 5\n", "1: this section has no end; close it with }\n" },
	{ "nothing {\n sessions = 5\n", "1: there is no \"nothing\" here; remove it\n"
					"3: the file ends inside braces; close them with }\n" },
};

static void mistakes_are_named_by_line_with_a_remedy(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(mistakes) / sizeof(mistakes[0]); i++) {
		struct reading reading;
		read_text(&reading, mistakes[i].file);
		assert_string_equal(reading.reports, mistakes[i].reports);
		assert_int_equal(reading.result, -1);
		forget(&reading);
	}
}

static void a_nul_in_the_file_is_reported(void **state)
{
	static const char file[] = "hostname = a\0b\nsyslog = x\n";
	struct reading reading;

	(void)state;
	read_octets(&reading, file, sizeof(file) - 1);
	assert_string_equal(reading.reports, "1: a control character in a word; remove it\n"
					     "1: hostname is empty; give it a value\n"
					     "2: syslog is \"x\"; write yes or no\n");
	forget(&reading);
}

static void a_file_that_cannot_be_read_is_reported(void **state)
{
	struct reading reading = { .file = "/nonexistent/restante.conf" };

	(void)state;
	read_named(&reading);
	assert_int_equal(reading.result, -1);
	assert_string_equal(reading.reports,
		" cannot be read: No such file or directory; create it or name another file\n");
	forget(&reading);
}

static void endless_mistakes_are_cut_off(void **state)
{
	struct buf file = { 0 };
	struct reading reading;
	size_t lines = 0;

	(void)state;
	for (int i = 0; i < 5000; i++)
		buf_add_string(&file, "x=1\n");
	read_octets(&reading, buf_text(&file).ptr, buf_length(&file));
	for (const char *c = reading.reports; *c; c++)
		lines += *c == '\n';
	assert_int_equal(lines, 100);
	buf_release(&file);
	forget(&reading);
}

static void a_required_item_must_be_set(void **state)
{
	static const struct settings_item items[] = { ITEM(
		top, hostname, "hostname", SETTINGS_STRING, "", 1, 0) };
	static const struct settings_section required = { .items = items, .count = 1 };
	static const struct settings_section *const one[] = { &required };
	struct reading reading = { .file = "/dev/null" };
	void *const values[] = { &reading.top };

	(void)state;
	assert_int_equal(settings_read("/dev/null", one, 1, values, on_report, &reading), -1);
	assert_string_equal(reading.reports, "1: hostname is empty; give it a value\n");
	settings_free(&required, &reading.top);
}

/* ---- lines for a role ---- */

static void what_is_stored_can_be_loaded(void **state)
{
	struct part part = { 0 }, loaded = { 0 };
	struct buf lines = { 0 };
	char error[300] = "";

	(void)state;
	settings_preset(&part_section, &part);
	mem_free(part.greeting);
	part.greeting = mem_copy("a\nb\\n \\s =", 11);
	mem_free(part.listen.item[0]);
	part.listen.item[0] = mem_copy("x y\\\n", 5);
	part.size = UINT32_MAX;
	settings_store(&part_section, &part, &lines);
	buf_add_char(&lines, '\0');
	assert_string_equal(buf_text(&lines).ptr, "listen=x\\sy\\\\\\n *:587\n"
						  "message-size=4294967295\n"
						  "idle-timeout=300\n"
						  "sessions=100\n"
						  "greeting=a\\nb\\\\n \\\\s =\n");
	/* Larger than allowed: what a peer says is checked again. */
	struct text text = text_of(buf_text(&lines).ptr);
	assert_int_equal(settings_load(&part_section, text, &loaded, error, sizeof(error)), -1);
	assert_string_equal(error, "message-size is 4294967295; give at most 2G");
	assert_null(loaded.greeting);
	buf_clear(&lines);
	part.size = 4096;
	settings_store(&part_section, &part, &lines);
	text = buf_text(&lines);
	assert_int_equal(settings_load(&part_section, text, &loaded, error, sizeof(error)), 0);
	assert_string_equal(loaded.greeting, part.greeting);
	assert_int_equal(loaded.listen.count, 2);
	assert_string_equal(loaded.listen.item[0], "x y\\\n");
	assert_string_equal(loaded.listen.item[1], "*:587");
	assert_int_equal(loaded.size, 4096);
	assert_int_equal(loaded.idle, 300);
	settings_free(&part_section, &loaded);
	settings_free(&part_section, &part);
	buf_release(&lines);
}

static const char *const bad_lines[] = {
	"",
	"hostname=a\nstate=/\ndomains=\nsyslog=no",
	"hostname=a\nstate=/\ndomains=\n",
	"hostname=a\nstate=/\ndomains=\nsyslog=no\nsyslog=no\n",
	"hostname=a\nstate=/\ndomains=\nsyslog=no\nother=1\n",
	"hostname=a\nstate=/\ndomains=\nsyslog=no\n\n",
	"hostname=a\nstate=/\ndomains=\nsyslog=No\n",
	"hostname=\nstate=/\ndomains=\nsyslog=no\n",
	"hostname=a\nstate=relative\ndomains=\nsyslog=no\n",
	"hostname=a\\\nstate=/\ndomains=\nsyslog=no\n",
	"hostname=a\\x\nstate=/\ndomains=\nsyslog=no\n",
	"hostname=a\\s\nstate=/\ndomains=\nsyslog=no\n",
	"hostname=a\nstate=/\ndomains=a  b\nsyslog=no\n",
	"hostname=a\nstate=/\ndomains=a \nsyslog=no\n",
	"hostname=a\nstate=/\ndomains= a\nsyslog=no\n",
	"hostname =a\nstate=/\ndomains=a\nsyslog=no\n",
	"hostname\nstate=/\ndomains=\nsyslog=no\n",
};

static void loading_is_strict(void **state)
{
	static const char nul[] = "hostname=a\0b\nstate=/\ndomains=\nsyslog=no\n";
	struct top top = { 0 };
	char error[300];

	(void)state;
	struct text good = TEXT("syslog=yes\nhostname=a\nstate=/\ndomains=b c\n");
	assert_int_equal(settings_load(&top_section, good, &top, error, sizeof(error)), 0);
	assert_list(&top.domains, "b c");
	assert_true(top.syslog);
	settings_free(&top_section, &top);
	for (size_t i = 0; i < sizeof(bad_lines) / sizeof(bad_lines[0]); i++) {
		struct text bad = text_of(bad_lines[i]);
		memset(&top, 0, sizeof(top));
		error[0] = 0;
		if (settings_load(&top_section, bad, &top, error, sizeof(error)) != -1)
			fail_msg("accepted: %s", bad_lines[i]);
		assert_string_not_equal(error, "");
		assert_null(top.hostname);
		assert_int_equal(top.domains.count, 0);
	}
	memset(&top, 0, sizeof(top));
	struct text bad = { .ptr = nul, .len = sizeof(nul) - 1 };
	assert_int_equal(settings_load(&top_section, bad, &top, error, sizeof(error)), -1);
}

static void one_value_can_be_set(void **state)
{
	struct part part = { 0 };
	char error[300] = "";

	(void)state;
	settings_preset(&part_section, &part);
	assert_int_equal(settings_set(&part_section, &part, "message-size", TEXT("1K"), error,
				 sizeof(error)),
		0);
	assert_int_equal(part.size, 1024);
	assert_int_equal(settings_set(&part_section, &part, "listen", TEXT(" [::1]:25  a:1 "),
				 error, sizeof(error)),
		0);
	assert_list(&part.listen, "[::1]:25 a:1");
	assert_int_equal(
		settings_set(&part_section, &part, "listen", TEXT("a b\x01"), error, sizeof(error)),
		-1);
	assert_list(&part.listen, "[::1]:25 a:1");
	assert_string_equal(error, "listen is \"b?\"; write text without control characters");
	assert_int_equal(
		settings_set(&part_section, &part, "message-size", TEXT("1"), error, sizeof(error)),
		-1);
	assert_int_equal(part.size, 1024);
	assert_int_equal(
		settings_set(&part_section, &part, "nope", TEXT("1"), error, sizeof(error)), -1);
	assert_string_equal(error, "there is no setting \"nope\"; see the sample for the names");
	settings_free(&part_section, &part);
}

/* ---- sample and manual ---- */

static char *print(void (*printer)(FILE *, const struct settings_section *const *, size_t))
{
	char *text = NULL;
	size_t size;
	FILE *to = open_memstream(&text, &size);

	printer(to, sections, 2);
	fclose(to);
	return text;
}

static void the_sample_means_the_defaults(void **state)
{
	char *sample = print(settings_print_sample);
	struct reading untouched, uncommented;
	struct buf a = { 0 }, b = { 0 };

	(void)state;
	assert_non_null(strstr(sample, "\n#hostname = \"localhost\"\n"));
	assert_non_null(strstr(sample, "\nsmtp-in {\n"));
	assert_non_null(strstr(sample, "(size, 1K to 2G)\n\t#message-size = 25M\n"));
	assert_non_null(strstr(sample, "\t#listen = { \"*:25\", \"*:587\" }\n"));
	read_text(&untouched, sample);
	assert_string_equal(untouched.reports, "");
	for (char *c = sample; *c; c++) {
		if (*c == '#' && c[1] != ' ')
			*c = ' ';
	}
	read_text(&uncommented, sample);
	assert_string_equal(uncommented.reports, "");
	settings_store(&top_section, &untouched.top, &a);
	settings_store(&part_section, &untouched.part, &a);
	settings_store(&top_section, &uncommented.top, &b);
	settings_store(&part_section, &uncommented.part, &b);
	assert_true(text_equal(buf_text(&a), buf_text(&b)));
	buf_release(&a);
	buf_release(&b);
	forget(&untouched);
	forget(&uncommented);
	free(sample);
}

static void the_manual_has_every_item(void **state)
{
	char *manual = print(settings_print_manual);

	(void)state;
	assert_memory_equal(manual, ".Dd ", 4);
	assert_non_null(strstr(manual, ".Ss Section smtp-in\n"));
	for (size_t i = 0; i < 2; i++) {
		for (size_t j = 0; j < sections[i]->count; j++) {
			char macro[80];
			snprintf(macro, sizeof(macro),
				"\n.It Ic %s\nWhat it is.\nAnd more.\n(Value: ",
				sections[i]->items[j].name);
			assert_non_null(strstr(manual, macro));
		}
	}
	assert_non_null(strstr(manual, "default \\(dqhello \\e\\(dqyou\\e\\(dq \\e\\e\\(dq"));
	free(manual);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_empty_file_gives_the_defaults),
		cmocka_unit_test(every_type_and_spelling_is_read),
		cmocka_unit_test(mistakes_are_named_by_line_with_a_remedy),
		cmocka_unit_test(a_nul_in_the_file_is_reported),
		cmocka_unit_test(a_file_that_cannot_be_read_is_reported),
		cmocka_unit_test(endless_mistakes_are_cut_off),
		cmocka_unit_test(a_required_item_must_be_set),
		cmocka_unit_test(what_is_stored_can_be_loaded),
		cmocka_unit_test(loading_is_strict),
		cmocka_unit_test(one_value_can_be_set),
		cmocka_unit_test(the_sample_means_the_defaults),
		cmocka_unit_test(the_manual_has_every_item),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
