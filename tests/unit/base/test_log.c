/* Log lines: one write each, and nothing in them that a peer could forge. */
#include <errno.h>
#include <fcntl.h>
#include <regex.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/sanitizer.h"

enum { LINE_LIMIT = 4096 };

static int standard_error, lines;

/* A datagram a write: what was not one write would not be one datagram. */
static int set_up(void **state)
{
	int pair[2];

	(void)state;
	log_open("test", LOG_LEVEL_INFO);
	standard_error = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
	if (socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, pair) != 0)
		return -1;
	dup2(pair[1], STDERR_FILENO);
	close(pair[1]);
	lines = pair[0];
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	dup2(standard_error, STDERR_FILENO);
	close(standard_error);
	close(lines);
	return 0;
}

/* The next line without its head and its end, or "" when there is none. */
static const char *next_fields(char line[LINE_LIMIT + 1])
{
	ssize_t size = recv(lines, line, LINE_LIMIT + 1, MSG_DONTWAIT);

	if (size <= 0)
		return "";
	assert_true(size <= LINE_LIMIT);
	assert_int_equal(line[size - 1], '\n');
	line[size - 1] = '\0';
	assert_int_equal(strlen(line), size - 1);
	for (ssize_t i = 0; i < size - 1; i++)
		assert_true((unsigned char)line[i] >= 0x20 && line[i] != 0x7f);
	const char *fields = strstr(line, "event=");
	assert_non_null(fields);
	return fields;
}

static void the_head_of_a_line(void **state)
{
	char line[LINE_LIMIT + 1];
	regex_t pattern;

	(void)state;
	LOG_WARNING("something");
	next_fields(line);
	assert_int_equal(
		regcomp(&pattern,
			"^t=20[0-9]{2}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-5][0-9]:[0-6][0-9]"
			"\\.[0-9]{3}Z level=warning role=test pid=[0-9]+ event=something$",
			REG_EXTENDED | REG_NOSUB),
		0);
	assert_int_equal(regexec(&pattern, line, 0, NULL, 0), 0);
	regfree(&pattern);
}

static void values(void **state)
{
	static const struct {
		struct text value;
		const char *written;
	} cases[] = {
		{ { "plain", 5 }, "plain" }, { { "a@b.example", 11 }, "a@b.example" },
		{ { "<>", 2 }, "<>" }, { { "", 0 }, "\"\"" }, { { NULL, 0 }, "\"\"" },
		{ { "a b", 3 }, "\"a b\"" }, { { "a=b", 3 }, "\"a=b\"" },
		{ { "a\"b", 3 }, "\"a\\\"b\"" }, { { "a\\b", 3 }, "\"a\\\\b\"" },
		{ { "a'b", 3 }, "\"a'b\"" },
		{ { "x\r\nt=1 level=error event=forged", 31 },
			"\"x\\x0d\\x0at=1 level=error event=forged\"" },
		{ { "a\0b", 3 }, "\"a\\x00b\"" }, { { "\x1b[31m", 5 }, "\"\\x1b[31m\"" },
		{ { "\x7f", 1 }, "\"\\x7f\"" },
		{ { "gr\xc3\xbc\xc3\x9f", 6 }, "\"gr\xc3\xbc\xc3\x9f\"" },
		{ { "\xe2\x82\xac", 3 }, "\"\xe2\x82\xac\"" },
		{ { "\xf0\x9f\x93\xab", 4 }, "\"\xf0\x9f\x93\xab\"" },
		{ { "\xc3", 1 }, "\"\\xc3\"" },                   /* cut off */
		{ { "\xe2\x82", 2 }, "\"\\xe2\\x82\"" },          /* cut off */
		{ { "\xe2\x82 ", 3 }, "\"\\xe2\\x82 \"" },        /* continued wrongly */
		{ { "\xc0\xaf", 2 }, "\"\\xc0\\xaf\"" },          /* longer than needed */
		{ { "\xe0\x80\xaf", 3 }, "\"\\xe0\\x80\\xaf\"" }, /* longer than needed */
		{ { "\xf0\x80\x80\xaf", 4 }, "\"\\xf0\\x80\\x80\\xaf\"" },
		{ { "\xed\xa0\x80", 3 }, "\"\\xed\\xa0\\x80\"" }, /* half of a pair of UTF-16 */
		{ { "\xf4\x90\x80\x80", 4 }, "\"\\xf4\\x90\\x80\\x80\"" }, /* beyond Unicode */
		{ { "\xff\xfe", 2 }, "\"\\xff\\xfe\"" },
		{ { "\xc2\x85", 2 }, "\"\\xc2\\x85\"" },          /* next line, a control */
		{ { "\xe2\x80\xa8", 3 }, "\"\\xe2\\x80\\xa8\"" }, /* line separator */
	};
	char line[LINE_LIMIT + 1], wanted[200];

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		LOG_INFO("e", LOG_TEXT("v", cases[i].value), LOG_NUMBER("n", i));
		snprintf(wanted, sizeof(wanted), "event=e v=%s n=%zu", cases[i].written, i);
		assert_string_equal(next_fields(line), wanted);
	}
	LOG_INFO("e", LOG_NUMBER("min", INT64_MIN), LOG_STRING("s", NULL), LOG_ERRNO(ENOENT));
	assert_string_equal(next_fields(line),
		"event=e min=-9223372036854775808 s=\"\" error=\"No such file or directory\"");
}

static void long_values_are_cut_and_marked(void **state)
{
	char line[LINE_LIMIT + 1];
	char *octets = mem_new(10000);
	const struct text all = { .ptr = octets, .len = 10000 };

	(void)state;
	memset(octets, 'x', 10000);
	LOG_INFO("e", LOG_TEXT("v", text_head(all, 1024)), LOG_STRING("next", "here"));
	const char *fields = next_fields(line);
	assert_int_equal(strlen(fields), strlen("event=e v= next=here") + 1024);
	LOG_INFO("e", LOG_TEXT("v", text_head(all, 1025)), LOG_STRING("next", "here"));
	fields = next_fields(line);
	assert_non_null(strstr(fields, "xxx\"... next=here"));
	/* Escapes are not cut in two. */
	memset(octets, '\n', 10000);
	LOG_INFO("e", LOG_TEXT("v", all));
	fields = next_fields(line);
	assert_string_equal(fields + strlen(fields) - 12, "\\x0a\\x0a\"...");
	mem_free(octets);
}

static void a_line_is_never_longer_than_a_pipe_takes(void **state)
{
	char line[LINE_LIMIT + 1];
	char *octets = mem_new(10000);

	(void)state;
	memset(octets, 'x', 10000);
	/* Every length around the limit, by the length of one more value. */
	for (size_t last = 0; last < 1100; last++) {
		const struct text all = { .ptr = octets, .len = 10000 };
		LOG_INFO("e", LOG_TEXT("a", all), LOG_TEXT("b", all), LOG_TEXT("c", all),
			LOG_TEXT("d", text_head(all, last)), LOG_NUMBER("n", INT64_MIN),
			LOG_STRING("z", "end"));
		const char *fields = next_fields(line);
		const size_t length = strlen(fields);
		assert_true(strcmp(fields + length - 8, " cut=yes") == 0 ||
			    strcmp(fields + length - 6, " z=end") == 0);
	}
	mem_free(octets);
}

static void thresholds(void **state)
{
	static const char *const names[] = { "debug", "info", "warning", "error" };
	char line[LINE_LIMIT + 1];

	(void)state;
	for (enum log_level least = LOG_LEVEL_DEBUG; least <= LOG_LEVEL_ERROR; least++) {
		enum log_level parsed;
		assert_int_equal(log_level_parse(text_of(names[least]), &parsed), 0);
		assert_int_equal(parsed, least);
		log_open("test", least);
		for (enum log_level level = LOG_LEVEL_DEBUG; level <= LOG_LEVEL_ERROR; level++) {
			LOG_EVENT(level, "e");
			assert_int_equal(next_fields(line)[0] != '\0', level >= least);
		}
	}
	enum log_level level;
	assert_int_equal(log_level_parse(TEXT("loud"), &level), -1);
	assert_int_equal(log_level_parse(TEXT(""), &level), -1);
}

static void errno_is_left_alone(void **state)
{
	(void)state;
	dup2(standard_error, STDERR_FILENO);
	int kept = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
	close(STDERR_FILENO);
	errno = ENOSPC;
	LOG_ERROR("nowhere", LOG_ERRNO(errno));
	const int after = errno;
	dup2(kept, STDERR_FILENO);
	close(kept);
	assert_int_equal(after, ENOSPC);
}

static void expect_fatal_end(pid_t child)
{
	int status;

	assert_int_equal(waitpid(child, &status, 0), child);
	if (BASE_ADDRESS_SANITIZER)
		assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
	else
		assert_true(WIFEXITED(status) && WEXITSTATUS(status) == EX_SOFTWARE);
}

static pid_t fork_quietly(void)
{
	const struct rlimit no_core = { 0 };
	pid_t child = fork();

	if (child == 0) {
		setrlimit(RLIMIT_CORE, &no_core);
		sigaction(SIGABRT, &(const struct sigaction){ .sa_handler = SIG_DFL }, NULL);
	}
	return child;
}

static void fatal_ends_the_process(void **state)
{
	char line[LINE_LIMIT + 1];

	(void)state;
	pid_t child = fork_quietly();
	if (child == 0)
		LOG_FATAL("impossible", LOG_NUMBER("n", 1));
	expect_fatal_end(child);
	assert_string_equal(next_fields(line), "event=impossible n=1");
	child = fork_quietly();
	if (child == 0)
		mem_array(SIZE_MAX / 2, 3);
	expect_fatal_end(child);
	next_fields(line);
	assert_non_null(strstr(line, "level=error role=test"));
	assert_non_null(strstr(line, "event=out-of-memory"));
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(the_head_of_a_line),
		CASE(values),
		CASE(long_values_are_cut_and_marked),
		CASE(a_line_is_never_longer_than_a_pipe_takes),
		CASE(thresholds),
		CASE(errno_is_left_alone),
		CASE(fatal_ends_the_process),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
