/*
 * SASL exchanges (RFC 4422), run here so that front ends pass opaque octets and never see a verifier:
 * PLAIN (RFC 4616), LOGIN, SCRAM-SHA-256 and SCRAM-SHA-256-PLUS (RFC 5802, RFC 7677).
 *
 * How a front end uses it (AUTH of POP3, SMTP, IMAP):
 *
 *	AUTH mechanism [initial]    SASL_START with the decoded initial response, if there was one, and the
 *	                            channel binding of its TLS connection (conn_tls_channel_binding)
 *	reply done 0                send the challenge in base64; SASL_STEP with the client's decoded line,
 *	                            or with cancel when it is "*" or the client is gone
 *	reply done 1                failure says how it ended; user is who logged in
 *
 * Every failed exchange is answered like a wrong password: same name, same delay, counted alike. A user
 * who does not exist, or has no SCRAM verifier because only a hash of the password was given, gets a
 * salt made from the name and a key of this store, always the same, and fails at the end.
 */
#ifndef STORE_SASL_H
#define STORE_SASL_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/text.h"

struct sasl;
struct sasl_exchange;

enum {
	SASL_KEY_OCTETS = 32,
	SASL_ITERATIONS = 10000,
	SASL_SALT_OCTETS = 16,
	SASL_VERIFIER_LIMIT = 160, /* octets of a verifier as text */
};

/* How far one step led. */
enum sasl_result {
	SASL_GOES_ON,  /* the challenge is to be sent */
	SASL_PASSWORD, /* complete: sasl_password() is to be checked */
	SASL_PROVEN,   /* complete: the user knows the password */
	SASL_FAILED,
};

/*
 * The SCRAM verifier of the user that a client names, or NULL. *canonical: the user's name in the one form
 * that all its spellings have; both are used at once.
 */
typedef const char *sasl_find(void *owner, struct text name, struct text *canonical);

/* key: a secret that stays, for the salts of users who are not there. Copied. */
struct sasl *sasl_new(const unsigned char key[SASL_KEY_OCTETS], sasl_find *find, void *owner);
void sasl_free(struct sasl **sasl);

/*
 * NULL when there is no such mechanism, or it needs a channel binding of which there is none.
 * binding_type: "tls-unique" (RFC 5929), "tls-exporter" (RFC 9266), or "" for none.
 */
struct sasl_exchange *sasl_begin(
	struct sasl *sasl, struct text mechanism, struct text binding_type, struct text binding);
void sasl_end(struct sasl_exchange **exchange);

/* What the client said, the empty text first if it has said nothing yet. challenge is added to. */
enum sasl_result sasl_step(
	struct sasl_exchange *exchange, struct text response, struct buf *challenge);

/* As the client gave them; valid until sasl_end(). */
struct text sasl_user(const struct sasl_exchange *exchange);
struct text sasl_password(const struct sasl_exchange *exchange);

/*
 * "SCRAM-SHA-256$iterations:salt$StoredKey:ServerKey" (RFC 5803) for a password, with a new salt. Takes
 * milliseconds. False when the password cannot be prepared (RFC 4013) or something fails.
 */
bool sasl_verifier(const char *password, char out[SASL_VERIFIER_LIMIT + 1]);

/* Whether it has that form. */
bool sasl_verifier_is_usable(struct text verifier);

#endif
