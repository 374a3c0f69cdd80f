/* Exchanges against libgsasl's client side, with every kind of channel binding, and verifiers as text. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <gsasl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/sasl.h"

#include <cmocka.h>

static char verifier[SASL_VERIFIER_LIMIT + 1];
static bool removed;
static Gsasl *gsasl;

static const char *find(void *owner, struct text name, struct text *canonical)
{
	(void)owner;
	*canonical = name;
	return text_equal(name, TEXT("alice")) && !removed ? verifier : NULL;
}

/* What the client is made to believe; empty: nothing is told. */
struct belief {
	const char *mechanism, *user, *password, *acting, *unique, *exporter;
};

static Gsasl_session *client_of(const struct belief *belief)
{
	Gsasl_session *client;

	assert_int_equal(gsasl_client_start(gsasl, belief->mechanism, &client), GSASL_OK);
	gsasl_property_set(client, GSASL_AUTHID, belief->user);
	gsasl_property_set(client, GSASL_PASSWORD, belief->password);
	if (belief->acting)
		gsasl_property_set(client, GSASL_AUTHZID, belief->acting);
	if (belief->unique)
		gsasl_property_set(client, GSASL_CB_TLS_UNIQUE, belief->unique);
	if (belief->exporter)
		gsasl_property_set(client, GSASL_CB_TLS_EXPORTER, belief->exporter);
	return client;
}

/* between: called before each answer of the client's, or NULL. */
static enum sasl_result play(struct sasl *sasl, const struct belief *belief, const char *type,
	struct text binding, void (*between)(int turn))
{
	struct sasl_exchange *exchange =
		sasl_begin(sasl, text_of(belief->mechanism), text_of(type), binding);
	Gsasl_session *client = client_of(belief);
	struct buf challenge = { 0 };
	enum sasl_result result;

	assert_non_null(exchange);
	result = sasl_step(exchange, TEXT(""), &challenge);
	for (int turn = 0; result == SASL_GOES_ON && turn < 8; turn++) {
		char *said = NULL;
		size_t length = 0;
		const struct text asked = buf_length(&challenge) ? buf_text(&challenge) : TEXT("");
		const int status = gsasl_step(client, asked.ptr, asked.len, &said, &length);
		buf_clear(&challenge);
		if (between)
			between(turn);
		if (status != GSASL_OK && status != GSASL_NEEDS_MORE)
			break;
		result = sasl_step(exchange,
			length ? (struct text){ .ptr = said, .len = length } : TEXT(""),
			&challenge);
		gsasl_free(said);
	}
	if (result == SASL_PASSWORD) {
		assert_true(text_equal(sasl_user(exchange), text_of(belief->user)));
		assert_true(text_equal(sasl_password(exchange), text_of(belief->password)));
	}
	gsasl_finish(client);
	buf_release(&challenge);
	sasl_end(&exchange);
	assert_null(exchange);
	return result;
}

static void exchanges(void **state)
{
	static const unsigned char key[SASL_KEY_OCTETS] = { 1, 2, 3 };
	static const struct {
		struct belief belief;
		const char *type, *binding;
		enum sasl_result result;
	} cases[] = {
		{ { "PLAIN", "alice", "geheim", NULL, NULL, NULL }, "", "", SASL_PASSWORD },
		{ { "PLAIN", "alice", "wrong", NULL, NULL, NULL }, "", "", SASL_PASSWORD },
		{ { "PLAIN", "alice", "geheim", "alice", NULL, NULL }, "", "", SASL_PASSWORD },
		{ { "PLAIN", "alice", "geheim", "bob", NULL, NULL }, "", "", SASL_FAILED },
		{ { "LOGIN", "alice", "geheim", NULL, NULL, NULL }, "", "", SASL_PASSWORD },
		{ { "SCRAM-SHA-256", "alice", "geheim", NULL, NULL, NULL }, "", "", SASL_PROVEN },
		{ { "SCRAM-SHA-256", "alice", "geheim", "alice", NULL, NULL }, "", "",
			SASL_PROVEN },
		{ { "SCRAM-SHA-256", "alice", "geheim", "bob", NULL, NULL }, "", "", SASL_FAILED },
		{ { "SCRAM-SHA-256", "alice", "wrong", NULL, NULL, NULL }, "", "", SASL_FAILED },
		{ { "SCRAM-SHA-256", "nobody", "geheim", NULL, NULL, NULL }, "", "", SASL_FAILED },
		{ { "SCRAM-SHA-256", "alice", "geheim", NULL, NULL, NULL }, "tls-unique", "bind",
			SASL_PROVEN },
		{ { "SCRAM-SHA-256-PLUS", "alice", "geheim", NULL, "YmluZA==", NULL }, "tls-unique",
			"bind", SASL_PROVEN },
		{ { "SCRAM-SHA-256-PLUS", "alice", "geheim", NULL, NULL, "YmluZA==" },
			"tls-exporter", "bind", SASL_PROVEN },
		{ { "SCRAM-SHA-256-PLUS", "alice", "geheim", NULL, "YmluZB==", NULL }, "tls-unique",
			"kind", SASL_FAILED },
		{ { "SCRAM-SHA-256-PLUS", "alice", "geheim", NULL, NULL, "YmluZA==" },
			"tls-exporter", "kind", SASL_FAILED },
		{ { "SCRAM-SHA-256-PLUS", "alice", "wrong", NULL, NULL, "YmluZA==" },
			"tls-exporter", "bind", SASL_FAILED },
	};
	struct sasl *sasl = sasl_new(key, find, NULL);

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const enum sasl_result result = play(
			sasl, &cases[i].belief, cases[i].type, text_of(cases[i].binding), NULL);

		if (result != cases[i].result)
			fail_msg("case %zu: %d, not %d", i, (int)result, (int)cases[i].result);
	}
	sasl_free(&sasl);
	assert_null(sasl);
}

/* The client's answers: its first message, its proof, and the empty one after the server's proof. */
enum { FIRST, PROOF, LAST, TURNS };

static int changes_at;

static void change_password(int turn)
{
	if (turn == changes_at)
		assert_true(sasl_verifier("geheim", verifier));
}

static void remove_user(int turn)
{
	removed = turn >= changes_at;
}

/* A password that was changed, or a user who was removed, is not known to an exchange that began before. */
static void outdated(void **state)
{
	static const unsigned char key[SASL_KEY_OCTETS] = { 1, 2, 3 };
	const struct belief belief = { "SCRAM-SHA-256", "alice", "geheim", NULL, NULL, NULL };
	struct sasl *sasl = sasl_new(key, find, NULL);

	(void)state;
	for (changes_at = FIRST; changes_at <= TURNS; changes_at++) {
		const bool late = changes_at == TURNS;
		assert_int_equal(play(sasl, &belief, "", TEXT(""), change_password),
			late || changes_at == FIRST ? SASL_PROVEN : SASL_FAILED);
		assert_int_equal(play(sasl, &belief, "", TEXT(""), remove_user),
			late ? SASL_PROVEN : SASL_FAILED);
		removed = false;
	}
	sasl_free(&sasl);
}

static void mechanisms(void **state)
{
	static const unsigned char key[SASL_KEY_OCTETS] = { 0 };
	static const char *const none[] = { "", "CRAM-MD5", "DIGEST-MD5", "ANONYMOUS", "EXTERNAL",
		"SCRAM-SHA-1", "GSSAPI", "NTLM", "PLAIN ", "SCRAM-SHA-256-PLUS" };
	struct sasl *sasl = sasl_new(key, find, NULL);
	struct sasl_exchange *exchange;
	char binding[65] = { 0 };

	(void)state;
	for (size_t i = 0; i < sizeof(none) / sizeof(none[0]); i++)
		assert_null(sasl_begin(sasl, text_of(none[i]), TEXT(""), TEXT("")));
	assert_null(sasl_begin(sasl, TEXT("SCRAM-SHA-256-PLUS"), TEXT("tls-other"), TEXT("x")));
	assert_null(sasl_begin(sasl, TEXT("SCRAM-SHA-256-PLUS"), TEXT("tls-unique"), TEXT("")));
	assert_null(sasl_begin(sasl, TEXT("SCRAM-SHA-256-PLUS"), TEXT("tls-unique"),
		(struct text){ .ptr = binding, .len = sizeof(binding) }));
	exchange = sasl_begin(sasl, TEXT("plain"), TEXT(""), TEXT(""));
	assert_non_null(exchange);
	sasl_end(&exchange);
	sasl_free(&sasl);
}

static void verifiers(void **state)
{
	static const char *const bad[] = { "", "x", "SCRAM-SHA-256$",
		"SCRAM-SHA-256$4096:c2FsdA==", "SCRAM-SHA-256$4096:c2FsdA==$:",
		"SCRAM-SHA-1$4096:c2FsdA==$YQ==:YQ==", "SCRAM-SHA-256$4096:c2FsdA==$YQ==:YQ==" };
	char other[SASL_VERIFIER_LIMIT + 1], cut[SASL_VERIFIER_LIMIT + 1];

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_false(sasl_verifier_is_usable(text_of(bad[i])));
	assert_true(sasl_verifier("geheim", other));
	assert_string_not_equal(other, verifier); /* salted */
	for (size_t length = 0; length < strlen(verifier); length++) {
		memcpy(cut, verifier, length);
		cut[length] = '\0';
		assert_false(sasl_verifier_is_usable(text_of(cut)));
	}
	assert_true(sasl_verifier("g\xc3\xa4nz neu", other));
	assert_false(sasl_verifier("", other));
	assert_false(sasl_verifier("\xff", other)); /* not UTF-8 */
	assert_false(sasl_verifier("a\x07z", other));
}

/* RFC 7677 section 3. */
static void known_exchange(void **state)
{
	(void)state;
	assert_true(sasl_verifier_is_usable(TEXT("SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$"
						 "WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:"
						 "wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=")));
}

static int setup(void **state)
{
	(void)state;
	return gsasl_init(&gsasl) == GSASL_OK && sasl_verifier("geheim", verifier) &&
			       sasl_verifier_is_usable(text_of(verifier))
		       ? 0
		       : -1;
}

static int teardown(void **state)
{
	(void)state;
	gsasl_done(gsasl);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(exchanges),
		cmocka_unit_test(outdated),
		cmocka_unit_test(mechanisms),
		cmocka_unit_test(verifiers),
		cmocka_unit_test(known_exchange),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
