/* mda -d against an LMTP server that follows a script: what it says, and the status it ends with. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/mem.h"
#include "mda/deliver_stdin.h"

enum { ARGUMENTS = 12, PATIENCE = 120 };

static char directory[] = "/tmp/mda-deliver-XXXXXX";
static char socket_path[100];

/* The server's side of one delivery: its replies in order, NULL: it closes instead. */
struct script {
	const char *greeting, *lhlo, *mail, *rcpt, *data, *verdict;
};

static const struct script all_good = {
	.greeting = "220 x\r\n",
	.lhlo = "250-x\r\n250-PIPELINING\r\n250 8BITMIME\r\n",
	.mail = "250 2.1.0 ok\r\n",
	.rcpt = "250 2.1.5 ok\r\n",
	.data = "354 go\r\n",
	.verdict = "250 2.0.0 stored\r\n",
};

/* What one delivery came to. */
struct result {
	int status;
	char mail[600], rcpt[600]; /* lines that the server saw */
	struct buf message;        /* as sent, with the final dot */
	char errors[1024];
};

/* The client may have gone: what counts is its status. */
static void reply(int fd, const char *string)
{
	if (string)
		send(fd, string, strlen(string), MSG_NOSIGNAL);
}

/* An octet. A call with a time limit is interrupted when the process is stopped and goes on. */
static bool receive(int fd, char *octet)
{
	ssize_t got;

	do
		got = recv(fd, octet, 1, 0);
	while (got < 0 && errno == EINTR);
	return got == 1;
}

/* A line with its CRLF; false at the end of the stream. */
static bool read_line(int fd, char *line, size_t size)
{
	size_t length = 0;

	while (length + 1 < size && receive(fd, line + length)) {
		if (line[length++] == '\n') {
			line[length] = '\0';
			return true;
		}
	}
	return false;
}

static void serve_message(int fd, struct result *result)
{
	char line[2000];

	while (read_line(fd, line, sizeof(line))) {
		buf_add_string(&result->message, line);
		if (strcmp(line, ".\r\n") == 0)
			return;
	}
}

static void serve(int fd, const struct script *script, struct result *result)
{
	char line[600];

	reply(fd, script->greeting);
	if (!script->greeting || !script->lhlo || !read_line(fd, line, sizeof(line)))
		return;
	assert_int_equal(strncmp(line, "LHLO ", 5), 0);
	reply(fd, script->lhlo);
	if (!script->mail || !read_line(fd, result->mail, sizeof(result->mail)))
		return;
	reply(fd, script->mail);
	if (!script->rcpt || !read_line(fd, result->rcpt, sizeof(result->rcpt)))
		return;
	reply(fd, script->rcpt);
	if (!script->data || !read_line(fd, line, sizeof(line)))
		return;
	assert_string_equal(line, "DATA\r\n");
	reply(fd, script->data);
	serve_message(fd, result);
	reply(fd, script->verdict);
}

static const struct timeval patience = { .tv_sec = PATIENCE };

static int listen_here(void)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(address.sun_path, sizeof(address.sun_path), "%s", socket_path);
	unlink(socket_path);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(listen(fd, 1), 0);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	return fd;
}

/* The child: the command with this standard input. */
static void run_command(int input, int errors, const char *const *arguments)
{
	char *argv[ARGUMENTS + 1] = { (char *)"mda" };
	int argc = 1;

	for (; arguments[argc - 1] && argc < ARGUMENTS; argc++)
		argv[argc] = (char *)arguments[argc - 1];
	dup2(input, STDIN_FILENO);
	dup2(errors, STDERR_FILENO);
	_exit(deliver_stdin(argc, argv));
}

/* Deliver input, an open file, to a server with that script; NULL: there is no server. */
static struct result deliver_file(
	int input, const struct script *script, const char *const *arguments)
{
	int listener = script ? listen_here() : -1, errors = memfd_create("errors", 0);
	struct result result = { 0 };
	int status;

	pid_t child = fork();
	assert_true(child >= 0);
	if (child == 0)
		run_command(input, errors, arguments);
	if (listener >= 0) {
		int fd;
		do
			fd = accept(listener, NULL, NULL);
		while (fd < 0 && errno == EINTR);
		assert_true(fd >= 0);
		setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
		serve(fd, script, &result);
		close(fd);
		close(listener);
		unlink(socket_path);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	result.status = WEXITSTATUS(status);
	assert_true(pread(errors, result.errors, sizeof(result.errors) - 1, 0) >= 0);
	close(errors);
	return result;
}

static struct result deliver(
	struct text input, const struct script *script, const char *const *arguments)
{
	int fd = memfd_create("input", MFD_CLOEXEC);

	assert_int_equal(write(fd, input.ptr, input.len), input.len);
	assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
	struct result result = deliver_file(fd, script, arguments);
	close(fd);
	return result;
}

#define TO_ALICE \
	(const char *const[]) \
	{ \
		"-s", socket_path, "-d", "alice@example.test", NULL \
	}

static void check_message(const struct result *result, struct text expected)
{
	const struct text got = buf_text(&result->message);

	assert_int_equal(got.len, expected.len);
	assert_memory_equal(got.ptr, expected.ptr, got.len);
}

/* ---- the message ---- */

static void messages_are_made_fit_for_the_wire(void **state)
{
	static const struct {
		struct text in, out;
	} table[] = {
		{ TEXT("Subject: x\n\nbody\n"), TEXT("Subject: x\r\n\r\nbody\r\n.\r\n") },
		{ TEXT("Subject: x\r\n\r\nbody\r\n"), TEXT("Subject: x\r\n\r\nbody\r\n.\r\n") },
		{ TEXT("Subject: x\n\nno end"), TEXT("Subject: x\r\n\r\nno end\r\n.\r\n") },
		{ TEXT("\n.\n..\n.x\n"), TEXT("\r\n..\r\n...\r\n..x\r\n.\r\n") },
		{ TEXT(".first\n"), TEXT("..first\r\n.\r\n") },
		{ TEXT(""), TEXT(".\r\n") },
		{ TEXT("a\rb\n"), TEXT("a b\r\n.\r\n") },
		{ TEXT("From root Sun Nov 22\nSubject: x\n\ny\n"),
			TEXT("Subject: x\r\n\r\ny\r\n.\r\n") },
		{ TEXT("x\nFrom here on\n"), TEXT("x\r\nFrom here on\r\n.\r\n") },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		struct result result = deliver(table[i].in, &all_good, TO_ALICE);
		assert_int_equal(result.status, EX_OK);
		assert_string_equal(result.errors, "");
		assert_string_equal(result.rcpt, "RCPT TO:<alice@example.test>\r\n");
		check_message(&result, table[i].out);
		buf_release(&result.message);
	}
}

static void large_messages_arrive_whole(void **state)
{
	struct buf in = { 0 }, out = { 0 };

	(void)state;
	for (int i = 0; i < 40000; i++) {
		buf_format(&in, "%s line %d of many\n", i % 3 ? "" : ".", i);
		buf_format(&out, "%s line %d of many\r\n", i % 3 ? "" : "..", i);
	}
	buf_add_string(&out, ".\r\n");
	struct result result = deliver(buf_text(&in), &all_good, TO_ALICE);
	assert_int_equal(result.status, EX_OK);
	check_message(&result, buf_text(&out));
	buf_release(&result.message);
	buf_release(&in);
	buf_release(&out);
}

static void the_sender_is_found(void **state)
{
	static const struct {
		const char *option; /* of -f, or NULL */
		const char *input;
		const char *mail; /* pattern */
	} table[] = {
		{ NULL, "x\n", "MAIL FROM:<> BODY=8BITMIME\r\n" },
		{ "", "x\n", "MAIL FROM:<> *" },
		{ "<>", "x\n", "MAIL FROM:<> *" },
		{ "bob@b.test", "x\n", "MAIL FROM:<bob@b.test> *" },
		{ "<bob@b.test>", "x\n", "MAIL FROM:<bob@b.test> *" },
		{ "MAILER-DAEMON", "x\n", "MAIL FROM:<> *" },
		{ "bob", "x\n", "MAIL FROM:<bob@*> *" },
		{ "two words@b.test", "x\n", "MAIL FROM:<> *" },
		{ "bob@b.test>\r\nRCPT TO:<carol@example.test", "x\n", "MAIL FROM:<> *" },
		{ NULL, "From bob@b.test Sun Nov 22\nx\n", "MAIL FROM:<bob@b.test> *" },
		{ NULL, "From MAILER-DAEMON Sun Nov 22\nx\n", "MAIL FROM:<> *" },
		{ "carol@c.test", "From bob@b.test Sun Nov 22\nx\n", "MAIL FROM:<carol@c.test> *" },
		{ "", "From bob@b.test Sun Nov 22\nx\n", "MAIL FROM:<> *" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		const char *arguments[] = { "-s", socket_path, "-d", "alice@example.test", NULL,
			NULL, NULL };
		if (table[i].option) {
			arguments[4] = "-f";
			arguments[5] = table[i].option;
		}
		struct result result = deliver(text_of(table[i].input), &all_good, arguments);
		assert_int_equal(result.status, EX_OK);
		if (fnmatch(table[i].mail, result.mail, 0) != 0)
			fail_msg("expected \"%s\" but it said \"%s\"", table[i].mail, result.mail);
		check_message(&result, TEXT("x\r\n.\r\n"));
		buf_release(&result.message);
	}
}

/* ---- statuses ---- */

static void every_refusal_has_its_status(void **state)
{
	static const struct {
		size_t step; /* which reply of the script */
		const char *reply;
		int status;
	} table[] = {
		{ offsetof(struct script, greeting), "421 4.3.2 stopping\r\n", EX_TEMPFAIL },
		{ offsetof(struct script, greeting), "554 no\r\n", EX_UNAVAILABLE },
		{ offsetof(struct script, greeting), "SSH-2.0-x\r\n", EX_TEMPFAIL },
		{ offsetof(struct script, greeting), "220 bare\n220 x\r\n", EX_TEMPFAIL },
		{ offsetof(struct script, greeting), NULL, EX_TEMPFAIL },
		{ offsetof(struct script, lhlo), "500 5.5.1 this is SMTP\r\n", EX_UNAVAILABLE },
		{ offsetof(struct script, lhlo), "250-x\r\n251 y\r\n", EX_TEMPFAIL },
		{ offsetof(struct script, lhlo), NULL, EX_TEMPFAIL },
		{ offsetof(struct script, mail), "451 4.3.0 later\r\n", EX_TEMPFAIL },
		{ offsetof(struct script, mail), "552 5.3.4 too large\r\n", EX_UNAVAILABLE },
		{ offsetof(struct script, mail), NULL, EX_TEMPFAIL },
		{ offsetof(struct script, rcpt), "550 5.1.1 no such user here\r\n", EX_NOUSER },
		{ offsetof(struct script, rcpt), "550 5.7.1 not ours\r\n", EX_NOPERM },
		{ offsetof(struct script, rcpt), "452 4.2.2 full\r\n", EX_TEMPFAIL },
		{ offsetof(struct script, rcpt), "451 4.3.0 away\r\n", EX_TEMPFAIL },
		{ offsetof(struct script, rcpt), NULL, EX_TEMPFAIL },
		{ offsetof(struct script, data), "451 4.3.0 away\r\n", EX_TEMPFAIL },
		{ offsetof(struct script, data), "250 2.0.0 what\r\n", EX_TEMPFAIL },
		{ offsetof(struct script, data), NULL, EX_TEMPFAIL },
		{ offsetof(struct script, verdict), "451 4.3.0 away\r\n", EX_TEMPFAIL },
		{ offsetof(struct script, verdict), "452 4.3.1 no space\r\n", EX_TEMPFAIL },
		{ offsetof(struct script, verdict), "554 5.6.0 odd\r\n", EX_DATAERR },
		{ offsetof(struct script, verdict), "554 5.4.6 loop\r\n", EX_UNAVAILABLE },
		{ offsetof(struct script, verdict), "552 5.3.4 too large\r\n", EX_UNAVAILABLE },
		{ offsetof(struct script, verdict), "354 what\r\n", EX_TEMPFAIL },
		{ offsetof(struct script, verdict), NULL, EX_TEMPFAIL },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		struct script script = all_good;
		memcpy((char *)&script + table[i].step, &table[i].reply, sizeof(table[i].reply));
		struct result result = deliver(TEXT("Subject: x\n\ny\n"), &script, TO_ALICE);
		if (result.status != table[i].status)
			fail_msg("case %zu: status %d: %s", i, result.status, result.errors);
		assert_int_equal(strncmp(result.errors, "mda: ", 5), 0);
		buf_release(&result.message);
	}
}

static void without_a_server_a_later_attempt_helps(void **state)
{
	(void)state;
	struct result result = deliver(TEXT("x\n"), NULL, TO_ALICE);
	assert_int_equal(result.status, EX_TEMPFAIL);
	assert_non_null(strstr(result.errors, socket_path));
	char endless[300];
	memset(endless, 'x', sizeof(endless) - 1);
	endless[sizeof(endless) - 1] = '\0';
	result = deliver(
		TEXT("x\n"), NULL, (const char *const[]){ "-s", endless, "-d", "a@b.test", NULL });
	assert_int_equal(result.status, EX_TEMPFAIL);
}

static void wrong_arguments_are_told(void **state)
{
	static const char *const table[][ARGUMENTS] = {
		{ "-d", NULL },
		{ "-x", "-d", "alice@example.test", NULL },
		{ "-d", "alice@example.test", "more", NULL },
		{ "-d", "alice@example.test", "-s", "a", "-c", "b", NULL },
		{ "-f", "a@b.test", NULL },
		{ "-d", "alice", NULL },
		{ "-d", "", NULL },
		{ "-d", "alice@example.test\r\nRSET", NULL },
		{ "-d", "alice@", NULL },
		{ "-d", "\xe4@example.test", NULL },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		struct result result = deliver(TEXT("x\n"), NULL, table[i]);
		assert_int_equal(result.status, EX_USAGE);
		assert_true(result.errors[0] != '\0');
	}
}

/* Half a message must never be taken for one. */
static void input_that_cannot_be_read_is_not_sent(void **state)
{
	int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	(void)state;
	struct result result = deliver_file(fd, NULL, TO_ALICE);
	assert_int_equal(result.status, EX_IOERR);
	close(fd);
}

static void postmaster_needs_no_domain(void **state)
{
	(void)state;
	struct result result = deliver(TEXT("x\n"), &all_good,
		(const char *const[]){ "-s", socket_path, "-d", "Postmaster", NULL });
	assert_int_equal(result.status, EX_OK);
	assert_string_equal(result.rcpt, "RCPT TO:<Postmaster>\r\n");
	buf_release(&result.message);
}

static void a_detail_joins_the_user(void **state)
{
	static const struct {
		const char *detail, *rcpt;
	} cases[] = {
		{ "lists", "RCPT TO:<alice+lists@example.test>\r\n" },
		{ "", "RCPT TO:<alice@example.test>\r\n" },
		{ "a+b", "RCPT TO:<alice+a+b@example.test>\r\n" },
		{ "two words", "RCPT TO:<\"alice+two words\"@example.test>\r\n" },
		/* What cannot stand in an address must not cost the message. */
		{ "a\r\nQUIT", "RCPT TO:<alice@example.test>\r\n" },
		{ "\xff", "RCPT TO:<alice@example.test>\r\n" },
		{ "gr\xc3\xbc\xc3\x9f"
		  "e",
			"RCPT TO:<alice+gr\xc3\xbc\xc3\x9f"
			"e@example.test>\r\n" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct result result = deliver(TEXT("x\n"), &all_good,
			(const char *const[]){ "-s", socket_path, "-a", cases[i].detail, "-d",
				"alice@example.test", NULL });
		assert_int_equal(result.status, EX_OK);
		assert_string_equal(result.rcpt, cases[i].rcpt);
		buf_release(&result.message);
	}
}

static void addresses_beyond_ascii_are_announced(void **state)
{
	static const struct {
		const char *lhlo, *sender, *recipient, *mail, *rcpt;
	} cases[] = {
		{ "250-x\r\n250-SMTPUTF8\r\n250 8BITMIME\r\n", "\xc3\xa4@b.test", "a@b.test",
			"MAIL FROM:<\xc3\xa4@b.test> BODY=8BITMIME SMTPUTF8\r\n",
			"RCPT TO:<a@b.test>\r\n" },
		{ "250-x\r\n250-8BITMIME\r\n250 SMTPUTF8\r\n", "", "\xc3\xa4@\xc3\xb6.test",
			"MAIL FROM:<> BODY=8BITMIME SMTPUTF8\r\n",
			"RCPT TO:<\xc3\xa4@\xc3\xb6.test>\r\n" },
		{ "250-x\r\n250 SMTPUTF8\r\n", "a@b.test", "a@b.test", "MAIL FROM:<a@b.test>\r\n",
			"RCPT TO:<a@b.test>\r\n" },
		{ "250 x\r\n", "\xc3\xa4@b.test", "a@b.test", "MAIL FROM:<\xc3\xa4@b.test>\r\n",
			"RCPT TO:<a@b.test>\r\n" },
		/* No UTF-8: nobody. */
		{ "250-x\r\n250 SMTPUTF8\r\n", "\xe4@b.test", "a@b.test", "MAIL FROM:<>\r\n",
			"RCPT TO:<a@b.test>\r\n" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct script script = all_good;

		script.lhlo = cases[i].lhlo;
		struct result result = deliver(TEXT("x\n"), &script,
			(const char *const[]){ "-s", socket_path, "-f", cases[i].sender, "-d",
				cases[i].recipient, NULL });
		assert_int_equal(result.status, EX_OK);
		assert_string_equal(result.mail, cases[i].mail);
		assert_string_equal(result.rcpt, cases[i].rcpt);
		buf_release(&result.message);
	}
}

/* ---- where the server is ---- */

static void the_socket_is_found(void **state)
{
	char file[160], run[160];
	struct result result;

	(void)state;
	setenv("RESTANTE_SOCKET", socket_path, 1);
	result = deliver(
		TEXT("x\n"), &all_good, (const char *const[]){ "-d", "alice@example.test", NULL });
	assert_int_equal(result.status, EX_OK);
	buf_release(&result.message);
	unsetenv("RESTANTE_SOCKET");

	snprintf(run, sizeof(run), "%s/run", directory);
	assert_int_equal(mkdir(run, 0700), 0);
	snprintf(socket_path, sizeof(socket_path), "%s/run/other", directory);
	snprintf(file, sizeof(file), "%s/restante.conf", directory);
	FILE *settings = fopen(file, "w");
	fprintf(settings,
		"hostname = \"x.test\"\nstate = \"%s\"\nsmtp-in {\n\tlisten = { \"*:25\" }\n}\n"
		"mda {\n\tsocket = \"other\"\n}\npop3d { listen = {} }\n",
		directory);
	fclose(settings);
	result = deliver(TEXT("x\n"), &all_good,
		(const char *const[]){ "-c", file, "-d", "alice@example.test", NULL });
	assert_int_equal(result.status, EX_OK);
	assert_string_equal(result.errors, "");
	buf_release(&result.message);
	unlink(file);
	rmdir(run);
	result = deliver(TEXT("x\n"), NULL,
		(const char *const[]){ "-c", file, "-d", "alice@example.test", NULL });
	assert_int_equal(result.status, EX_TEMPFAIL);
}

static int make_directory(void **state)
{
	(void)state;
	if (!mkdtemp(directory))
		return -1;
	snprintf(socket_path, sizeof(socket_path), "%s/lmtp", directory);
	return 0;
}

static int remove_directory(void **state)
{
	(void)state;
	unlink(socket_path);
	return rmdir(directory);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(messages_are_made_fit_for_the_wire),
		cmocka_unit_test(large_messages_arrive_whole),
		cmocka_unit_test(the_sender_is_found),
		cmocka_unit_test(every_refusal_has_its_status),
		cmocka_unit_test(without_a_server_a_later_attempt_helps),
		cmocka_unit_test(wrong_arguments_are_told),
		cmocka_unit_test(input_that_cannot_be_read_is_not_sent),
		cmocka_unit_test(postmaster_needs_no_domain),
		cmocka_unit_test(a_detail_joins_the_user),
		cmocka_unit_test(addresses_beyond_ascii_are_announced),
		cmocka_unit_test(the_socket_is_found),
	};

	unsetenv("RESTANTE_SOCKET");
	return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
