/*
 * A login over TLS by SASL with channel binding, which Python's ssl cannot give for TLS 1.3:
 *
 *	sasl smtp|pop3 PORT MECHANISM USER PASSWORD [--tls12] [--wrong-binding]
 *
 * TLS from the first octet; the mechanism is libgsasl's. SCRAM-SHA-256-PLUS binds by tls-exporter (RFC 9266),
 * with --tls12 by tls-unique (RFC 5929). Prints the binding's type and the server's last line. Exit status: 0
 * logged in, 1 refused, 2 anything else.
 */
#include <getopt.h>
#include <gsasl.h>
#include <netinet/in.h>
#include <openssl/ssl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum { LINE = 8192, BINDING = 64 };

struct login {
	const char *user, *password;
	const char *type; /* of the binding */
	char binding[2 * BINDING];
	bool is_tls12;
	bool is_plus; /* without, telling of a binding would mean that the server has none */
};

__attribute__((noreturn, format(printf, 1, 2))) static void die(const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	vfprintf(stderr, format, arguments);
	va_end(arguments);
	fputc('\n', stderr);
	exit(2);
}

static SSL *connect_to(int port, bool tls12)
{
	const struct sockaddr_in address = { .sin_family = AF_INET,
		.sin_port = htons((uint16_t)port),
		.sin_addr = { htonl(INADDR_LOOPBACK) } };
	const int fd = socket(AF_INET, SOCK_STREAM, 0);
	SSL_CTX *context = SSL_CTX_new(TLS_client_method());

	SSL_CTX_set_max_proto_version(context, tls12 ? TLS1_2_VERSION : TLS1_3_VERSION);
	SSL_CTX_set_min_proto_version(context, tls12 ? TLS1_2_VERSION : TLS1_3_VERSION);
	if (connect(fd, (const struct sockaddr *)&address, sizeof(address)) != 0)
		die("no connection to port %d", port);
	SSL *ssl = SSL_new(context);
	SSL_set_fd(ssl, fd);
	if (SSL_connect(ssl) != 1)
		die("no TLS");
	return ssl;
}

/* Without its CRLF. */
static void read_line(SSL *ssl, char line[LINE])
{
	size_t length = 0;

	while (length == 0 || line[length - 1] != '\n') {
		if (length + 1 == LINE || SSL_read(ssl, line + length, 1) != 1)
			die("the server closed the connection, or does not end its line");
		length++;
	}
	line[length] = '\0';
	line[strcspn(line, "\r\n")] = '\0';
}

__attribute__((format(printf, 2, 3))) static void say(SSL *ssl, const char *format, ...)
{
	char line[LINE];
	va_list arguments;

	va_start(arguments, format);
	const int length = vsnprintf(line, sizeof(line), format, arguments);
	va_end(arguments);
	if (length >= LINE || SSL_write(ssl, line, length) != length)
		die("the line could not be sent");
}

/* ---- the login ---- */

static void take_binding(SSL *ssl, struct login *login, bool wrong)
{
	static const char label[] = "EXPORTER-Channel-Binding";
	unsigned char binding[BINDING];
	size_t length = 32;

	if (login->is_tls12)
		length = SSL_get_finished(ssl, binding, sizeof(binding));
	else if (SSL_export_keying_material(ssl, binding, length, label, sizeof(label) - 1,
			 (const unsigned char *)"", 0, 1) != 1)
		die("nothing can be exported");
	if (wrong)
		binding[0] ^= 1;
	login->type = login->is_tls12 ? "tls-unique" : "tls-exporter";
	EVP_EncodeBlock((unsigned char *)login->binding, binding, (int)length);
}

static int callback(Gsasl *gsasl, Gsasl_session *session, Gsasl_property property)
{
	const struct login *login = gsasl_session_hook_get(session);

	(void)gsasl;
	if (property == GSASL_AUTHID)
		gsasl_property_set(session, property, login->user);
	else if (property == GSASL_PASSWORD)
		gsasl_property_set(session, property, login->password);
	else if (login->is_plus &&
		 property == (login->is_tls12 ? GSASL_CB_TLS_UNIQUE : GSASL_CB_TLS_EXPORTER))
		gsasl_property_set(session, property, login->binding);
	else
		return GSASL_NO_CALLBACK;
	return GSASL_OK;
}

/* The rest of a challenge, or NULL when the line is none. */
static const char *challenge_in(const char *line, bool smtp)
{
	const char *mark = smtp ? "334 " : "+ ";

	return strncmp(line, mark, strlen(mark)) == 0 ? line + strlen(mark) : NULL;
}

static void log_in(
	SSL *ssl, Gsasl_session *session, const char *mechanism, bool smtp, char line[LINE])
{
	const char *challenge;

	say(ssl, "AUTH %s\r\n", mechanism);
	for (read_line(ssl, line); (challenge = challenge_in(line, smtp)); read_line(ssl, line)) {
		char *answer = NULL;
		const int status = gsasl_step64(session, challenge, &answer);
		if (status != GSASL_OK && status != GSASL_NEEDS_MORE)
			die("%s", gsasl_strerror(status));
		say(ssl, "%s\r\n", answer);
		gsasl_free(answer);
	}
}

static void greet(SSL *ssl, bool smtp)
{
	char line[LINE];

	read_line(ssl, line);
	if (!smtp)
		return;
	say(ssl, "EHLO client.test\r\n");
	do {
		read_line(ssl, line);
	} while (line[3] == '-');
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "tls12", no_argument, NULL, 't' },
		{ "wrong-binding", no_argument, NULL, 'w' },
		{ 0 },
	};
	struct login login = { 0 };
	bool wrong = false;
	char line[LINE];
	Gsasl *gsasl;
	Gsasl_session *session;

	for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
		if (option == 't')
			login.is_tls12 = true;
		else if (option == 'w')
			wrong = true;
		else
			return 2;
	}
	if (argc - optind != 5)
		die("usage: sasl smtp|pop3 PORT MECHANISM USER PASSWORD [--tls12] "
		    "[--wrong-binding]");
	const bool smtp = strcmp(argv[optind], "smtp") == 0;
	const char *mechanism = argv[optind + 2];
	login.user = argv[optind + 3];
	login.is_plus = strstr(mechanism, "-PLUS") != NULL;
	login.password = argv[optind + 4];
	SSL *ssl = connect_to(atoi(argv[optind + 1]), login.is_tls12);
	greet(ssl, smtp);
	take_binding(ssl, &login, wrong);
	if (gsasl_init(&gsasl) != GSASL_OK)
		die("no SASL");
	gsasl_callback_set(gsasl, callback);
	if (gsasl_client_start(gsasl, mechanism, &session) != GSASL_OK)
		die("the library has no %s", mechanism);
	gsasl_session_hook_set(session, &login);
	log_in(ssl, session, mechanism, smtp, line);
	printf("%s %s\n", login.type, line);
	return strncmp(line, smtp ? "235" : "+OK", 3) == 0 ? 0 : 1;
}
