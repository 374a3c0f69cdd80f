/*
 * A POP3 and SMTP client on libetpan: an implementation that shares nothing with ours.
 *
 *	etpan smtp HOST PORT plain|starttls|tls FROM TO...   < message
 *	etpan pop3 HOST PORT plain|stls|tls USER PASSWORD list
 *	etpan pop3 HOST PORT plain|stls|tls USER PASSWORD retr N      message to standard output
 *	etpan pop3 HOST PORT plain|stls|tls USER PASSWORD dele N
 */
#include <libetpan/libetpan.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void fail(const char *what, int error)
{
	fprintf(stderr, "etpan: %s failed: libetpan error %d\n", what, error);
	exit(1);
}

static void must(const char *what, int error, int good)
{
	if (error != good)
		fail(what, error);
}

static char *read_all(FILE *from, size_t *length)
{
	size_t size = 1 << 20;
	char *octets = malloc(size);
	size_t got;

	*length = 0;
	while (octets != NULL && (got = fread(octets + *length, 1, size - *length, from)) > 0) {
		*length += got;
		if (*length == size)
			octets = realloc(octets, size *= 2);
	}
	if (octets == NULL)
		fail("memory", 0);
	return octets;
}

static void push(const char *host, uint16_t port, const char *tls, int argc, char **argv)
{
	mailsmtp *smtp = mailsmtp_new(0, NULL);
	size_t length;
	char *message = read_all(stdin, &length);

	if (strcmp(tls, "tls") == 0)
		must("connect", mailsmtp_ssl_connect(smtp, host, port), MAILSMTP_NO_ERROR);
	else
		must("connect", mailsmtp_socket_connect(smtp, host, port), MAILSMTP_NO_ERROR);
	must("EHLO", mailesmtp_ehlo(smtp), MAILSMTP_NO_ERROR);
	if (strcmp(tls, "starttls") == 0) {
		must("STARTTLS", mailsmtp_socket_starttls(smtp), MAILSMTP_NO_ERROR);
		must("EHLO", mailesmtp_ehlo(smtp), MAILSMTP_NO_ERROR);
	}
	must("MAIL", mailesmtp_mail(smtp, argv[0], 1, "etpan"), MAILSMTP_NO_ERROR);
	for (int i = 1; i < argc; i++)
		must("RCPT", mailesmtp_rcpt(smtp, argv[i], 0, NULL), MAILSMTP_NO_ERROR);
	must("DATA", mailsmtp_data(smtp), MAILSMTP_NO_ERROR);
	must("message", mailsmtp_data_message(smtp, message, length), MAILSMTP_NO_ERROR);
	must("QUIT", mailsmtp_quit(smtp), MAILSMTP_NO_ERROR);
	mailsmtp_free(smtp);
	free(message);
}

static void list(mailpop3 *pop3)
{
	carray *messages;

	must("LIST", mailpop3_list(pop3, &messages), MAILPOP3_NO_ERROR);
	for (unsigned i = 0; i < carray_count(messages); i++) {
		const struct mailpop3_msg_info *info = carray_get(messages, i);

		if (info != NULL)
			printf("%u %u %s\n", info->msg_index, (unsigned)info->msg_size,
				info->msg_uidl);
	}
}

static void retrieve(mailpop3 *pop3, unsigned number)
{
	char *message;
	size_t length;

	must("RETR", mailpop3_retr(pop3, number, &message, &length), MAILPOP3_NO_ERROR);
	fwrite(message, 1, length, stdout);
	mailpop3_retr_free(message);
}

static void pull(const char *host, uint16_t port, const char *tls, int argc, char **argv)
{
	mailpop3 *pop3 = mailpop3_new(0, NULL);

	if (strcmp(tls, "tls") == 0)
		must("connect", mailpop3_ssl_connect(pop3, host, port), MAILPOP3_NO_ERROR);
	else
		must("connect", mailpop3_socket_connect(pop3, host, port), MAILPOP3_NO_ERROR);
	if (strcmp(tls, "stls") == 0)
		must("STLS", mailpop3_socket_starttls(pop3), MAILPOP3_NO_ERROR);
	must("login", mailpop3_login(pop3, argv[0], argv[1]), MAILPOP3_NO_ERROR);
	if (strcmp(argv[2], "list") == 0)
		list(pop3);
	else if (strcmp(argv[2], "retr") == 0 && argc == 4)
		retrieve(pop3, (unsigned)strtoul(argv[3], NULL, 10));
	else if (strcmp(argv[2], "dele") == 0 && argc == 4)
		must("DELE", mailpop3_dele(pop3, (unsigned)strtoul(argv[3], NULL, 10)),
			MAILPOP3_NO_ERROR);
	else
		fail("unknown action", 0);
	must("QUIT", mailpop3_quit(pop3), MAILPOP3_NO_ERROR);
	mailpop3_free(pop3);
}

int main(int argc, char **argv)
{
	if (argc >= 7 && strcmp(argv[1], "smtp") == 0)
		push(argv[2], (uint16_t)strtoul(argv[3], NULL, 10), argv[4], argc - 5, argv + 5);
	else if (argc >= 8 && strcmp(argv[1], "pop3") == 0)
		pull(argv[2], (uint16_t)strtoul(argv[3], NULL, 10), argv[4], argc - 5, argv + 5);
	else {
		fprintf(stderr, "usage: etpan smtp|pop3 HOST PORT plain|starttls|stls|tls ...\n");
		return 64;
	}
	return 0;
}
