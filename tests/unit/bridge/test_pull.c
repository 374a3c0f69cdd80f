/* A session by IMAP with a server that says what stands here, whatever it is asked. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <inttypes.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"
#include "bridge/session.h"
#include "bridge/stream_tls.h"

static struct bridge_settings settings;
static struct bridge_account account;

static void set(const char *name, const char *value)
{
	char error[300];

	assert_int_equal(settings_set(&bridge_account_section, &account, name, text_of(value),
				 error, sizeof(error)),
		0);
}

static int set_up(void **state)
{
	(void)state;
	settings_preset(&bridge_role_section, &settings);
	settings_preset(&bridge_account_section, &account);
	account.name = mem_copy("home", 4);
	set("host", "imap.example.net");
	set("user", "anna");
	set("to", "alice@example.test");
	set("tls", "none");
	set("idle", "no");
	set("folders", "*");
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	settings_free(&bridge_role_section, &settings);
	bridge_account_free(&account);
	return 0;
}

/* What it left and what it told the server: strings for the caller to free with mem_free(). */
struct outcome {
	enum fault_kind fault;
	char *told, *hint;
	char notice[FAULT_SENTENCE + 1]; /* of REPORT_NOTICE_FOLDERS */
};

static struct outcome converse(const char *server, const char *hint)
{
	struct session *session = mem_new(sizeof(*session));
	struct outcome outcome = { .told = mem_new(65536) };
	int pair[2], reports[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, reports), 0);
	assert_int_equal(send(pair[0], server, strlen(server), 0), strlen(server));
	shutdown(pair[0], SHUT_WR);
	session->options = (struct session_options){ .settings = &settings,
		.account = &account,
		.hostname = "mail.example.test",
		.purpose = SESSION_SERVE,
		.report = reports[1] };
	memcpy(session->secret.string, "secret", 7);
	session->report.folder = session->report.sentence = TEXT("");
	buf_add_string(&session->hint, hint);
	session->stream = (struct stream){ .options = { .host = account.host,
						   .patience = 1,
						   .watch = reports[1],
						   .imap = true },
		.fd = pair[1] };
	session->stream.mail =
		mailstream_new(mailstream_low_new(&session->stream, &stream_driver), 16384);
	stream_expect(&session->stream, 10, 16384);
	session_open_host(session);
	imap_serve(session);
	session_check(session);
	stream_close(&session->stream);
	assert_true(recv(pair[0], outcome.told, 65535, 0) > 0);
	outcome.fault = session->fault.kind;
	outcome.hint = mem_copy(buf_text(&session->hint).ptr, buf_length(&session->hint));
	memcpy(outcome.notice, session->notices[REPORT_NOTICE_FOLDERS], sizeof(outcome.notice));
	secret_forget(&session->secret);
	lmtp_free(&session->lmtp);
	buf_release(&session->hint);
	mem_free(session);
	for (int i = 0; i < 2; i++)
		close(reports[i]);
	close(pair[0]);
	return outcome;
}

static void release(struct outcome *outcome)
{
	mem_free(outcome->told);
	mem_free(outcome->hint);
}

#define BEGINNING \
	"* OK ready\r\n" \
	"* CAPABILITY IMAP4rev1\r\n1 OK done\r\n" \
	"2 OK in\r\n" \
	"* CAPABILITY IMAP4rev1\r\n3 OK done\r\n"
#define OPENED(tag, validity) \
	"* 7 EXISTS\r\n* OK [UIDVALIDITY " validity "] .\r\n" tag " OK open\r\n"
#define NONE_FOUND(tag) "* SEARCH\r\n" tag " OK done\r\n"

/*
 * Of mail that is kept there, what was not seen before is looked at, and all of it so often that the store,
 * which forgets what nobody asks for, does not forget.
 */
static void test_all_is_asked_for_in_time(void **state)
{
	static const char server[] = BEGINNING "* LIST () \"/\" INBOX\r\n4 OK done\r\n" OPENED(
		"5", "7") NONE_FOUND("6") "* BYE\r\n7 OK bye\r\n";
	static const struct {
		int64_t looked; /* seconds ago */
		const char *keep, *search;
		bool is_whole;
	} cases[] = {
		{ 0, "yes", "6 UID SEARCH UID 100:*\r\n", false },
		{ 3600, "yes", "6 UID SEARCH UID 100:*\r\n", false },
		{ 86400 - 3600, "yes", "6 UID SEARCH UID 1:*\r\n", true },
		{ INT64_C(1000) * 86400, "yes", "6 UID SEARCH UID 1:*\r\n", true },
		/* The clock was set back. */
		{ -3600, "yes", "6 UID SEARCH UID 1:*\r\n", true },
		{ 0, "no", "6 UID SEARCH UID 1:*\r\n", true },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const int64_t now = time(NULL), looked = now - cases[i].looked;
		uint64_t last;
		char hint[100];

		set("keep", cases[i].keep);
		snprintf(hint, sizeof(hint), "7 100 0 0 0 %" PRId64 " INBOX\n", looked);
		struct outcome outcome = converse(server, hint);
		assert_int_equal(outcome.fault, FAULT_NONE);
		assert_non_null(strstr(outcome.told, cases[i].search));
		assert_int_equal(sscanf(outcome.hint, "7 100 0 0 0 %" SCNu64 " INBOX", &last), 1);
		if (cases[i].is_whole)
			assert_true((int64_t)last >= now);
		else
			assert_int_equal(last, looked);
		release(&outcome);
	}
}

/* The separator is '.', so that a '/' in a name is none; no two of these are the same there. */
static void test_folders_of_one_name(void **state)
{
	static const char server[] = BEGINNING
		"* LIST () \".\" Work.a_b\r\n* LIST () \".\" inbox\r\n* LIST () \".\" Work.a/b\r\n"
		"* LIST () \".\" Work.a/b.\r\n* LIST () \".\" INBOX\r\n4 OK done\r\n" OPENED(
			"5", "7") NONE_FOUND("6") OPENED("7", "8") NONE_FOUND("8") OPENED("9", "9")
			NONE_FOUND("10") "* BYE\r\n11 OK bye\r\n";
	char hint[300];

	(void)state;
	set("keep", "yes");
	snprintf(hint, sizeof(hint),
		"9 300 0 0 0 %" PRId64 " Work.a/b\n8 200 0 0 0 %" PRId64
		" Work.a_b\n7 100 0 0 0 %" PRId64 " INBOX\n",
		(int64_t)time(NULL), (int64_t)time(NULL), (int64_t)time(NULL));
	struct outcome outcome = converse(server, hint);
	assert_int_equal(outcome.fault, FAULT_NONE);
	static const char *const told[] = { "5 EXAMINE INBOX\r\n", "6 UID SEARCH UID 100:*\r\n",
		"7 EXAMINE \"Work.a_b\"\r\n", "8 UID SEARCH UID 200:*\r\n",
		"9 EXAMINE \"Work.a/b\"\r\n", "10 UID SEARCH UID 300:*\r\n", "11 LOGOUT\r\n" };
	const char *at = outcome.told;
	for (size_t i = 0; i < sizeof(told) / sizeof(told[0]); i++) {
		at = strstr(at, told[i]);
		assert_non_null(at);
	}
	assert_non_null(strstr(outcome.notice, "several folders that are all Work/a_b here"));
	assert_non_null(strstr(outcome.hint, " Work.a/b\n"));
	assert_non_null(strstr(outcome.hint, " Work.a_b\n"));
	release(&outcome);
}

/* What the server does not open keeps nothing from the others; when it opens none, that is a fault. */
static void test_closed_folders(void **state)
{
	static const struct {
		const char *first, *second;
		enum fault_kind fault;
	} cases[] = {
		{ "5 NO not yours\r\n", OPENED("6", "8") NONE_FOUND("7") "* BYE\r\n8 OK bye\r\n",
			FAULT_NONE },
		{ OPENED("5", "7") NONE_FOUND("6"), "7 NO not yours\r\n* BYE\r\n8 OK bye\r\n",
			FAULT_NONE },
		{ "5 NO not yours\r\n", "6 NO not yours\r\n", FAULT_SERVER },
	};

	(void)state;
	set("keep", "yes");
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct buf server = { 0 };
		buf_format(&server, "%s* LIST () \"/\" a\r\n* LIST () \"/\" b\r\n4 OK done\r\n%s%s",
			BEGINNING, cases[i].first, cases[i].second);
		buf_add_char(&server, '\0');
		struct outcome outcome = converse(buf_text(&server).ptr, "");
		assert_int_equal(outcome.fault, cases[i].fault);
		assert_non_null(strstr(outcome.told, "EXAMINE a\r\n"));
		assert_non_null(strstr(outcome.told, "EXAMINE b\r\n"));
		assert_non_null(
			strstr(outcome.notice, "cannot be opened; the server says: not yours"));
		release(&outcome);
		buf_release(&server);
	}
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_all_is_asked_for_in_time),
		TEST(test_folders_of_one_name),
		TEST(test_closed_folders),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
