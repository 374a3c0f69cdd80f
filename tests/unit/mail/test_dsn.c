#include "mail/dsn.h"

#include "base/arena.h"
#include "base/buf.h"
#include "tests/unit/mail/check.h"

#define X10 "0123456789"
#define X50 X10 X10 X10 X10 X10
#define X100 X50 X50
#define X480 X100 X100 X100 X100 X50 X10 X10 X10

/* A parameter as the parser of MAIL and RCPT gives it. */
static struct command_parameter parameter_of(struct text t)
{
	const ptrdiff_t equals = text_find(t, '=');
	struct command_parameter made = { .keyword = t };

	if (equals >= 0) {
		made.keyword = text_head(t, (size_t)equals);
		made.value = text_from(t, (size_t)equals + 1);
	}
	return made;
}

/* What is taken is handed on as the third column says. */
static const struct {
	struct text parameter;
	enum dsn_result result;
	struct text handed_on;
} mail_cases[] = {
	{ T("RET=FULL"), DSN_TAKEN, T(" RET=FULL") },
	{ T("ret=hdrs"), DSN_TAKEN, T(" RET=HDRS") },
	{ T("RET"), DSN_FAULT, T("") },
	{ T("RET=SOME"), DSN_FAULT, T("") },
	{ T("RET=FULL,HDRS"), DSN_FAULT, T("") },
	{ T("ENVID=QQ314159"), DSN_TAKEN, T(" ENVID=QQ314159") },
	{ T("envid=a+20b+3Dc+2Bd"), DSN_TAKEN, T(" ENVID=a+20b+3Dc+2Bd") },
	{ T("ENVID=" X100), DSN_TAKEN, T(" ENVID=" X100) },
	{ T("ENVID=" X100 "x"), DSN_FAULT, T("") },
	{ T("ENVID"), DSN_FAULT, T("") },
	{ T("ENVID=a+b"), DSN_FAULT, T("") },
	{ T("ENVID=a+2b"), DSN_FAULT, T("") },
	{ T("ENVID=a+0D+0Ab"), DSN_FAULT, T("") },
	{ T("ENVID=a+00"), DSN_FAULT, T("") },
	{ T("ENVID=+7F"), DSN_FAULT, T("") },
	{ T("ENVID=+C3+BC"), DSN_FAULT, T("") },
	{ T("ENVID=\xc3\xbc"), DSN_FAULT, T("") },
	{ T("SIZE=1"), DSN_FOREIGN, T("") },
	{ T("NOTIFY=NEVER"), DSN_FOREIGN, T("") },
	{ T("RETURN=FULL"), DSN_FOREIGN, T("") },
};

static void parameters_of_mail(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(mail_cases); i++) {
		const struct command_parameter given = parameter_of(mail_cases[i].parameter);
		struct arena *arena = arena_new(256);
		struct dsn_message dsn = { 0 };
		const char *sentence = NULL;
		struct buf out = { 0 };

		CHECK_NUMBER(dsn_take_mail(arena, &given, &dsn, &sentence), mail_cases[i].result,
			given.keyword);
		assert_int_equal(sentence != NULL, mail_cases[i].result == DSN_FAULT);
		assert_int_equal(dsn_is_said_of_message(&dsn), mail_cases[i].result == DSN_TAKEN);
		dsn_add_mail(&out, &dsn);
		CHECK_TEXT(buf_text(&out), mail_cases[i].handed_on, mail_cases[i].parameter);
		buf_release(&out);
		arena_free(&arena);
	}
}

static const struct {
	struct text parameter;
	bool utf8;
	enum dsn_result result;
	struct text handed_on;
} recipient_cases[] = {
	{ T("NOTIFY=NEVER"), false, DSN_TAKEN, T(" NOTIFY=NEVER") },
	{ T("notify=success"), false, DSN_TAKEN, T(" NOTIFY=SUCCESS") },
	{ T("NOTIFY=DELAY,FAILURE,SUCCESS"), false, DSN_TAKEN, T(" NOTIFY=SUCCESS,FAILURE,DELAY") },
	{ T("NOTIFY=FAILURE,DELAY"), false, DSN_TAKEN, T(" NOTIFY=FAILURE,DELAY") },
	{ T("NOTIFY"), false, DSN_FAULT, T("") },
	{ T("NOTIFY=NEVER,FAILURE"), false, DSN_FAULT, T("") },
	{ T("NOTIFY=FAILURE,FAILURE"), false, DSN_FAULT, T("") },
	{ T("NOTIFY=FAILURE,"), false, DSN_FAULT, T("") },
	{ T("NOTIFY=,"), false, DSN_FAULT, T("") },
	{ T("NOTIFY=ALWAYS"), false, DSN_FAULT, T("") },
	{ T("ORCPT=rfc822;alice@example.test"), false, DSN_TAKEN,
		T(" ORCPT=rfc822;alice@example.test") },
	{ T("orcpt=RFC822;a+2Bb+20c@example.test"), false, DSN_TAKEN,
		T(" ORCPT=RFC822;a+2Bb+20c@example.test") },
	{ T("ORCPT=x400;/c+3Dde/"), false, DSN_TAKEN, T(" ORCPT=x400;/c+3Dde/") },
	{ T("ORCPT=rfc822;" X480 "1234567890123"), false, DSN_TAKEN,
		T(" ORCPT=rfc822;" X480 "1234567890123") },
	{ T("ORCPT=rfc822;" X480 "12345678901234"), false, DSN_FAULT, T("") },
	{ T("ORCPT"), false, DSN_FAULT, T("") },
	{ T("ORCPT=alice@example.test"), false, DSN_FAULT, T("") },
	{ T("ORCPT=rfc822;"), false, DSN_FAULT, T("") },
	{ T("ORCPT=;alice@example.test"), false, DSN_FAULT, T("") },
	{ T("ORCPT=rfc 822;a"), false, DSN_FAULT, T("") },
	{ T("ORCPT=rfc822;a+b"), false, DSN_FAULT, T("") },
	{ T("ORCPT=rfc822;a+0Ab"), false, DSN_FAULT, T("") },
	{ T("ORCPT=rfc822;\xc3\xbc@example.test"), true, DSN_FAULT, T("") },
	{ T("ORCPT=utf-8;\xc3\xbc@example.test"), true, DSN_TAKEN,
		T(" ORCPT=utf-8;\xc3\xbc@example.test") },
	{ T("ORCPT=utf-8;\xc3\xbc@example.test"), false, DSN_FAULT, T("") },
	{ T("ORCPT=utf-8;\xff@example.test"), true, DSN_FAULT, T("") },
	{ T("ORCPT=UTF-8;\\x{FC}@example.test"), false, DSN_TAKEN,
		T(" ORCPT=UTF-8;\\x{FC}@example.test") },
	{ T("ORCPT=utf-8;\\x{1F642}"), false, DSN_TAKEN, T(" ORCPT=utf-8;\\x{1F642}") },
	{ T("ORCPT=utf-8;\\x{10FFFF}!~"), false, DSN_TAKEN, T(" ORCPT=utf-8;\\x{10FFFF}!~") },
	{ T("ORCPT=utf-8;a\x7f"), false, DSN_FAULT, T("") },
	{ T("ORCPT=utf-8;\\x{}"), false, DSN_FAULT, T("") },
	{ T("ORCPT=utf-8;\\x{A}"), false, DSN_FAULT, T("") },
	{ T("ORCPT=utf-8;\\x{C"), false, DSN_FAULT, T("") },
	{ T("ORCPT=utf-8;\\x{fc}"), false, DSN_FAULT, T("") },
	{ T("ORCPT=utf-8;\\x{1234567}"), false, DSN_FAULT, T("") },
	{ T("ORCPT=utf-8;a\\b"), false, DSN_FAULT, T("") },
	{ T("ORCPT=utf-8;a+2Bb"), false, DSN_FAULT, T("") },
	{ T("RET=FULL"), false, DSN_FOREIGN, T("") },
	{ T("SMTPUTF8"), false, DSN_FOREIGN, T("") },
};

static void parameters_of_recipients(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(recipient_cases); i++) {
		const struct command_parameter given = parameter_of(recipient_cases[i].parameter);
		const enum dsn_result result = recipient_cases[i].result;
		struct arena *arena = arena_new(256);
		struct dsn_recipient dsn = { 0 };
		const char *sentence = NULL;
		struct buf out = { 0 };

		CHECK_NUMBER(
			dsn_take_recipient(arena, &given, recipient_cases[i].utf8, &dsn, &sentence),
			result, recipient_cases[i].parameter);
		assert_int_equal(sentence != NULL, result == DSN_FAULT);
		assert_int_equal(dsn_is_said_of_recipient(&dsn), result == DSN_TAKEN);
		dsn_add_recipient(&out, &dsn);
		CHECK_TEXT(
			buf_text(&out), recipient_cases[i].handed_on, recipient_cases[i].parameter);
		buf_release(&out);
		arena_free(&arena);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(parameters_of_mail),
		cmocka_unit_test(parameters_of_recipients),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
