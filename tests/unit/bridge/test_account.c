#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "base/mem.h"
#include "bridge/fault.h"
#include "bridge/once.h"
#include "bridge/session.h"
#include "bridge/settings.h"

static void preset(struct bridge_account *account)
{
	static const char *const needed[][2] = { { "host", "imap.example.net" }, { "user", "anna" },
		{ "to", "anna@example.org" }, { "password-file", "/secret" } };
	char error[300];

	*account = (struct bridge_account){ .name = mem_copy("home", 4) };
	settings_preset(&bridge_account_section, account);
	for (size_t i = 0; i < 4; i++)
		assert_int_equal(settings_set(&bridge_account_section, account, needed[i][0],
					 text_of(needed[i][1]), error, sizeof(error)),
			0);
}

static void test_rules(void **state)
{
	static const struct {
		const char *name, *value, *fault; /* NULL: fine */
	} cases[] = {
		{ "protocol", "pop3", NULL },
		{ "protocol", "nntp", "protocol" },
		{ "tls", "starttls", NULL },
		{ "tls", "maybe", "tls" },
		{ "token-mechanism", "oauthbearer", NULL },
		{ "token-mechanism", "password", "token-mechanism" },
		{ "password-command", "/bin/pass show", "exactly one" },
		{ "password-file", "", "exactly one" },
		{ "host", "a b", "host" },
		{ "host", "127.0.0.1", NULL },
		{ "host", "2001:db8::1", NULL },
		{ "host", "127.0.0.1:993", "port" },
		{ "host", "imap.example.net:993", "port" },
		{ "host", "[2001:db8::1]", "host" },
		{ "host", "[2001:db8::1]:993", "port" },
		{ "host", "imaps://imap.example.net", "host" },
		{ "to", "anna", "to" },
		{ "to", "anna@", "to" },
		{ "to", "an>na@x", "to" },
		{ "pin", "abcd", "pin" },
		{ "map", "A=B", NULL },
		{ "map", "AB=", "map" },
		{ "map", "==B", "map" },
		{ "delete-after", "30d", NULL },
	};
	char error[300];

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct bridge_account account;
		preset(&account);
		assert_int_equal(settings_set(&bridge_account_section, &account, cases[i].name,
					 text_of(cases[i].value), error, sizeof(error)),
			0);
		const int result = bridge_account_section.verify(&account, error, sizeof(error));
		assert_int_equal(result, cases[i].fault ? -1 : 0);
		if (cases[i].fault)
			assert_non_null(strstr(error, cases[i].fault));
		bridge_account_free(&account);
	}
}

/* As the supervisor hands it over, and back. */
static void test_handed_over(void **state)
{
	struct bridge_account account, again = { .name = NULL };
	struct buf lines = { 0 };
	char error[300];

	(void)state;
	preset(&account);
	assert_int_equal(settings_set(&bridge_account_section, &account, "folders",
				 TEXT("INBOX Sent"), error, sizeof(error)),
		0);
	bridge_account_store(&account, &lines);
	assert_int_equal(bridge_account_load(buf_text(&lines), &again, error, sizeof(error)), 0);
	assert_string_equal(again.name, "home");
	assert_string_equal(again.host, "imap.example.net");
	assert_int_equal(again.folders.count, 2);
	assert_int_equal(bridge_account_port(&again), 993);
	bridge_account_free(&again);
	buf_clear(&lines);
	buf_add_string(&lines, "no name!\n");
	assert_int_equal(bridge_account_load(buf_text(&lines), &again, error, sizeof(error)), -1);
	buf_release(&lines);
	bridge_account_free(&account);
}

/* Whatever tells two messages apart makes another key; a host name's case does not. */
static void test_keys(void **state)
{
	struct bridge_account a, b;
	char error[300];

	(void)state;
	preset(&a);
	preset(&b);
	const struct once_key key = once_imap(&a, "INBOX", 1, 2);
	assert_int_equal(strlen(key.string), ONCE_LENGTH);
	assert_string_equal(key.string, once_imap(&b, "INBOX", 1, 2).string);
	assert_string_not_equal(key.string, once_imap(&a, "INBOX", 1, 3).string);
	assert_string_not_equal(key.string, once_imap(&a, "INBOX", 12, 2).string);
	assert_string_not_equal(key.string, once_imap(&a, "INBOX1", 1, 2).string);
	const struct once_uidl uidl = once_pop3(&a, TEXT("1/2")),
			       other = once_pop3(&a, TEXT("uid-1"));
	assert_string_not_equal(key.string, once_of_uidl(&uidl).string);
	/* Another way to make them would pull everything again. */
	assert_string_equal(key.string,
		"bridge/f89eaf27e7d8075b9765ff6504cc6810a02737380f60a874fbe8de1f5f657066");
	assert_string_equal(once_of_uidl(&other).string,
		"bridge/d1a5c054291e647f7835c55de997be5f4fddc336551dcb67aa1724d0036c9ce4");
	assert_int_equal(settings_set(&bridge_account_section, &b, "host", TEXT("IMAP.example.net"),
				 error, sizeof(error)),
		0);
	assert_string_equal(key.string, once_imap(&b, "INBOX", 1, 2).string);
	assert_int_equal(settings_set(&bridge_account_section, &b, "user", TEXT("Anna"), error,
				 sizeof(error)),
		0);
	assert_string_not_equal(key.string, once_imap(&b, "INBOX", 1, 2).string);
	struct once_digest *digest = once_content_new(&a);
	once_content_add(digest, TEXT("ab"));
	once_content_add(digest, TEXT("c"));
	const struct once_key content = once_content_end(&digest);
	assert_null(digest);
	digest = once_content_new(&a);
	once_content_add(digest, TEXT("abc"));
	assert_string_equal(content.string, once_content_end(&digest).string);
	bridge_account_free(&a);
	bridge_account_free(&b);
}

static void test_sender(void **state)
{
	static const struct {
		const char *head, *sender;
	} cases[] = {
		{ "Return-Path: <a@example.org>\r\nFrom: b\r\n\r\n", "a@example.org" },
		{ "return-path:<a@example.org>\n\n", "a@example.org" },
		{ "Delivered-To: x\r\nReturn-Path: <a@example.org>\r\n\r\n", "a@example.org" },
		{ "Return-Path: <>\r\n\r\n", "" },
		{ "Return-Path: a@example.org\r\n\r\n", "" },
		{ "Return-Path: <a b@example.org>\r\n\r\n", "" },
		{ "Return-Path: <a@example.org> X\r\n\r\n", "" },
		{ "Return-Path: <a@example.org\r\n RCPT TO:<b>>\r\n\r\n", "" },
		{ "From: x\r\n\r\nReturn-Path: <a@example.org>\r\n", "" },
		{ "", "" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_true(text_equal(
			session_sender(text_of(cases[i].head)), text_of(cases[i].sender)));
}

static void test_pauses_grow(void **state)
{
	(void)state;
	for (enum fault_kind kind = FAULT_SETTINGS; kind < FAULT_KINDS; kind++) {
		unsigned before = 0;
		for (unsigned failures = 1; failures < 40; failures++) {
			const unsigned pause = fault_pause(kind, failures);
			assert_true(pause >= before && pause >= 1 && pause <= 4 * 3600);
			before = pause;
		}
		assert_true(before > fault_pause(kind, 1));
	}
	assert_true(fault_pause(FAULT_LOGIN, 1) >= 60);
	assert_string_equal(fault_quote("a\r\nb\033[31m\xff").string, "ab?[31m?");
	assert_string_equal(fault_quote(NULL).string, "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rules),
		cmocka_unit_test(test_handed_over),
		cmocka_unit_test(test_keys),
		cmocka_unit_test(test_sender),
		cmocka_unit_test(test_pauses_grow),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
