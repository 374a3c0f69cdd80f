/*
 * SMTP over TLS from the first octet, measured: threads, each with one connection at a time.
 *
 *	tlsload messages PORT [options]      kept connections: --count messages in all
 *	tlsload connections PORT [options]   connect, handshake, greeting, QUIT: --count times in all
 *
 *	--threads N  --count N  --size OCTETS  --resume  --tls12  --to ADDRESS
 *
 * MAIL, RCPT and DATA of a message leave together (RFC 2920). Prints "units=… resumed=… seconds=…"; the clock
 * starts when every thread has its first connection (messages) or session ticket (--resume).
 */
#include <getopt.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { THREADS_LIMIT = 256, READ_LIMIT = 16384 };

static int port, threads = 16;
static long count = 1000, size = 4096;
static bool connections, resume;
static const char *to = "alice@example.test";
static SSL_CTX *tls;
static pthread_barrier_t barrier;
static struct timespec begun;
static atomic_long left, resumed;

struct client {
	SSL *ssl;
	SSL_SESSION *session;
	char in[READ_LIMIT];
	size_t length; /* read, and not yet answered for */
};

__attribute__((noreturn, format(printf, 1, 2))) static void die(const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	vfprintf(stderr, format, arguments);
	va_end(arguments);
	fputc('\n', stderr);
	exit(1);
}

static void say(struct client *client, const char *octets, size_t length)
{
	if (SSL_write(client->ssl, octets, (int)length) != (int)length)
		die("the server takes nothing more");
}

/* One reply, of any number of lines; its code has to begin so. */
static void hear(struct client *client, char class)
{
	for (;;) {
		char *end = memchr(client->in, '\n', client->length);
		if (!end) {
			const int got = SSL_read(client->ssl, client->in + client->length,
				(int)(sizeof(client->in) - client->length));
			if (got <= 0)
				die("the server closed the connection");
			client->length += (size_t)got;
			continue;
		}
		const bool last = end - client->in < 4 || client->in[3] != '-';
		if (last && client->in[0] != class)
			die("%.*s", (int)(end - client->in), client->in);
		client->length -= (size_t)(end + 1 - client->in);
		memmove(client->in, end + 1, client->length);
		if (last)
			return;
	}
}

static void open_connection(struct client *client)
{
	const struct sockaddr_in address = { .sin_family = AF_INET,
		.sin_port = htons((uint16_t)port),
		.sin_addr = { htonl(INADDR_LOOPBACK) } };
	const int fd = socket(AF_INET, SOCK_STREAM, 0);

	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){ 1 }, sizeof(int));
	if (connect(fd, (const struct sockaddr *)&address, sizeof(address)) != 0)
		die("no connection");
	client->length = 0;
	client->ssl = SSL_new(tls);
	SSL_set_fd(client->ssl, fd);
	if (client->session)
		SSL_set_session(client->ssl, client->session);
	if (SSL_connect(client->ssl) != 1)
		die("TLS: %s", ERR_error_string(ERR_get_error(), NULL));
	resumed += SSL_session_reused(client->ssl);
	hear(client, '2');
}

static void close_connection(struct client *client)
{
	say(client, "QUIT\r\n", 6);
	hear(client, '2');
	if (resume) {
		SSL_SESSION_free(client->session);
		client->session = SSL_get1_session(client->ssl);
	}
	const int fd = SSL_get_fd(client->ssl);
	SSL_shutdown(client->ssl);
	SSL_free(client->ssl);
	client->ssl = NULL;
	close(fd);
}

static void send_message(struct client *client, const char *message, size_t length)
{
	char envelope[400];

	const int n = snprintf(envelope, sizeof(envelope),
		"MAIL FROM:<sender@example.org>\r\nRCPT TO:<%s>\r\nDATA\r\n", to);
	say(client, envelope, (size_t)n);
	hear(client, '2');
	hear(client, '2');
	hear(client, '3');
	say(client, message, length);
	hear(client, '2');
}

/* A header and lines of 70 octets, dot and all. */
static char *make_message(size_t *length)
{
	char *message = malloc((size_t)size + 200), *at = message;

	at += sprintf(at, "From: sender@example.org\r\nSubject: load\r\n\r\n");
	while (at - message < size) {
		memset(at, 'x', 68);
		memcpy(at + 68, "\r\n", 2);
		at += 70;
	}
	at += sprintf(at, ".\r\n");
	*length = (size_t)(at - message);
	return message;
}

static void *run(void *argument)
{
	struct client *client = argument;
	size_t length;
	char *message = make_message(&length);

	if (!connections || resume)
		open_connection(client);
	if (!connections) {
		say(client, "EHLO client.test\r\n", 18);
		hear(client, '2');
	} else if (resume) {
		close_connection(client);
	}
	if (pthread_barrier_wait(&barrier) == PTHREAD_BARRIER_SERIAL_THREAD)
		clock_gettime(CLOCK_MONOTONIC, &begun);
	pthread_barrier_wait(&barrier);
	while (atomic_fetch_sub(&left, 1) > 0) {
		if (!connections) {
			send_message(client, message, length);
		} else {
			open_connection(client);
			close_connection(client);
		}
	}
	if (!connections)
		close_connection(client);
	SSL_SESSION_free(client->session);
	free(message);
	return NULL;
}

static void read_options(int argc, char **argv)
{
	static const struct option options[] = {
		{ "threads", required_argument, NULL, 'c' },
		{ "count", required_argument, NULL, 'n' },
		{ "size", required_argument, NULL, 's' },
		{ "to", required_argument, NULL, 'r' },
		{ "resume", no_argument, NULL, 'R' },
		{ "tls12", no_argument, NULL, '2' },
		{ 0 },
	};

	for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
		if (option == 'c')
			threads = atoi(optarg);
		else if (option == 'n')
			count = atol(optarg);
		else if (option == 's')
			size = atol(optarg);
		else if (option == 'r')
			to = optarg;
		else if (option == 'R')
			resume = true;
		else if (option == '2')
			SSL_CTX_set_max_proto_version(tls, TLS1_2_VERSION);
		else
			exit(2);
	}
	if (argc - optind != 2 || threads < 1 || threads > THREADS_LIMIT)
		die("usage: tlsload messages|connections PORT [options]");
	connections = strcmp(argv[optind], "connections") == 0;
	port = atoi(argv[optind + 1]);
}

int main(int argc, char **argv)
{
	pthread_t running[THREADS_LIMIT];
	struct client *clients;
	struct timespec ended;

	tls = SSL_CTX_new(TLS_client_method());
	SSL_CTX_set_session_cache_mode(tls, SSL_SESS_CACHE_OFF);
	read_options(argc, argv);
	clients = calloc((size_t)threads, sizeof(*clients));
	left = count;
	pthread_barrier_init(&barrier, NULL, (unsigned)threads);
	for (int i = 0; i < threads; i++) {
		if (pthread_create(&running[i], NULL, run, &clients[i]) != 0)
			die("no thread");
	}
	for (int i = 0; i < threads; i++)
		pthread_join(running[i], NULL);
	clock_gettime(CLOCK_MONOTONIC, &ended);
	free(clients);
	SSL_CTX_free(tls);
	printf("units=%ld resumed=%ld seconds=%.6f\n", count, (long)resumed,
		(double)(ended.tv_sec - begun.tv_sec) +
			(double)(ended.tv_nsec - begun.tv_nsec) / 1e9);
	return 0;
}
