/*
 * SMTP over TLS from the first octet, measured: one thread, one epoll, several connections at a time.
 *
 *	tlsload messages PORT [options]      kept connections: --count messages in all
 *	tlsload connections PORT [options]   connect, handshake, greeting, QUIT: --count times in all
 *
 *	--connections N  --count N  --size OCTETS  --resume  --tls12  --to ADDRESS
 *
 * A sender of opportunistic TLS: certificates are not verified, MAIL, RCPT and DATA of a message leave in
 * one write (RFC 2920), the message and its end in another. Nothing is allocated for a message. Prints
 * "units=… resumed=… seconds=… cpu=…"; both clocks start when every connection has said EHLO (messages)
 * or has its session ticket (--resume). cpu is this program's own: near to seconds, it was the limit.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
	CONNECTIONS_LIMIT = 256,
	COUNT_LIMIT = 100 * 1000 * 1000,
	SIZE_LIMIT = 1 << 20,
	REPLY_LIMIT = 4096,
	PATIENCE_MILLISECONDS = 60000,
};

enum step {
	STEP_HANDSHAKE,
	STEP_GREETING,
	STEP_HELLO,
	STEP_READY, /* for the others, or for good */
	STEP_ENVELOPE,
	STEP_MESSAGE,
	STEP_GOODBYE,
};

struct client {
	SSL *ssl;
	SSL_SESSION *session;
	enum step step;
	const char *awaited; /* the first digits of the replies to come */
	char in[REPLY_LIMIT];
	size_t length;
};

struct words {
	char *ptr;
	size_t length;
};

static struct {
	bool connections, resume;
	int port, clients;
	long count, size;
	const char *to;
} plan = { .clients = 16, .count = 1000, .size = 4096, .to = "alice@example.test" };

static struct client clients[CONNECTIONS_LIMIT];
static struct words envelope, message;
static SSL_CTX *tls;
static int epoll, ready;
static long begun, done, resumed;
static double start_seconds, start_cpu;

__attribute__((noreturn, format(printf, 1, 2))) static void die(const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	fputs("tlsload: ", stderr);
	vfprintf(stderr, format, arguments);
	va_end(arguments);
	fputc('\n', stderr);
	exit(1);
}

static double now_seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static double cpu_seconds(void)
{
	struct rusage used;

	getrusage(RUSAGE_SELF, &used);
	return (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
	       (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6;
}

/* ---- one step after another ---- */

static void say(struct client *client, const char *octets, size_t length, enum step step,
	const char *awaited)
{
	client->step = step;
	client->awaited = awaited;
	for (int sent; (sent = SSL_write(client->ssl, octets, (int)length)) <= 0;) {
		struct pollfd socket = { .fd = SSL_get_fd(client->ssl), .events = POLLOUT };
		if (SSL_get_error(client->ssl, sent) != SSL_ERROR_WANT_WRITE ||
			poll(&socket, 1, PATIENCE_MILLISECONDS) != 1)
			die("the server takes nothing more");
	}
}

static void open_connection(struct client *client)
{
	const struct sockaddr_in address = { .sin_family = AF_INET,
		.sin_port = htons((uint16_t)plan.port),
		.sin_addr = { htonl(INADDR_LOOPBACK) } };
	const int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	/* At every change, once: nothing of it has to be taken back or asked for again. */
	struct epoll_event event = { .events = EPOLLIN | EPOLLOUT | EPOLLET, .data.ptr = client };

	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){ 1 }, sizeof(int));
	if (connect(fd, (const struct sockaddr *)&address, sizeof(address)) != 0 &&
		errno != EINPROGRESS)
		die("no connection: %s", strerror(errno));
	if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) != 0)
		die("epoll: %s", strerror(errno));
	client->length = 0;
	client->step = STEP_HANDSHAKE;
	client->ssl = SSL_new(tls);
	if (!client->ssl || SSL_set_fd(client->ssl, fd) != 1)
		die("out of memory");
	SSL_set_connect_state(client->ssl);
	if (client->session)
		SSL_set_session(client->ssl, client->session);
}

static void close_connection(struct client *client)
{
	const int fd = SSL_get_fd(client->ssl);

	if (plan.resume && SSL_get0_session(client->ssl) != client->session) {
		SSL_SESSION_free(client->session);
		client->session = SSL_get1_session(client->ssl);
	}
	SSL_shutdown(client->ssl);
	SSL_free(client->ssl);
	client->ssl = NULL;
	close(fd);
}

static void begin_unit(struct client *client)
{
	client->step = STEP_READY;
	if (begun++ >= plan.count)
		return;
	if (plan.connections)
		open_connection(client);
	else
		say(client, envelope.ptr, envelope.length, STEP_ENVELOPE, "223");
}

/* The last to be ready starts all. */
static void wait_for_the_others(struct client *client)
{
	client->step = STEP_READY;
	if (++ready < plan.clients)
		return;
	resumed = 0;
	start_seconds = now_seconds();
	start_cpu = cpu_seconds();
	for (int i = 0; i < plan.clients; i++)
		begin_unit(&clients[i]);
}

static bool is_warming_up(void)
{
	return ready < plan.clients;
}

/* All replies that were awaited have come. */
static void go_on(struct client *client)
{
	switch (client->step) {
	case STEP_HANDSHAKE:
	case STEP_READY:
		break;
	case STEP_GREETING:
		if (plan.connections)
			say(client, "QUIT\r\n", 6, STEP_GOODBYE, "2");
		else
			say(client, "EHLO client.test\r\n", 18, STEP_HELLO, "2");
		break;
	case STEP_HELLO:
		wait_for_the_others(client);
		break;
	case STEP_ENVELOPE:
		say(client, message.ptr, message.length, STEP_MESSAGE, "2");
		break;
	case STEP_MESSAGE:
		done++;
		begin_unit(client);
		break;
	case STEP_GOODBYE:
		close_connection(client);
		if (is_warming_up()) {
			wait_for_the_others(client);
		} else {
			done++;
			begin_unit(client);
		}
		break;
	}
}

/* ---- what the server says ---- */

static void take_line(struct client *client, const char *line, size_t length)
{
	if (*client->awaited == '\0' || length < 3 || line[0] != *client->awaited)
		die("%.*s", (int)length, line);
	if (length == 3 || line[3] != '-')
		client->awaited++;
}

static void take_lines(struct client *client)
{
	const char *at = client->in, *stop = client->in + client->length, *end;

	while ((end = memchr(at, '\n', (size_t)(stop - at)))) {
		take_line(client, at, (size_t)(end - at));
		at = end + 1;
	}
	client->length = (size_t)(stop - at);
	if (client->length == sizeof(client->in))
		die("a line without end");
	memmove(client->in, at, client->length);
	if (*client->awaited == '\0')
		go_on(client);
}

static bool is_blocked(const struct client *client, int result)
{
	const int error = SSL_get_error(client->ssl, result);

	if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE)
		return true;
	die("the server closed the connection, or TLS failed: %s",
		ERR_error_string(ERR_get_error(), NULL));
}

static bool shake_hands(struct client *client)
{
	const int result = SSL_do_handshake(client->ssl);

	if (result != 1)
		return !is_blocked(client, result);
	resumed += SSL_session_reused(client->ssl);
	client->step = STEP_GREETING;
	client->awaited = "2";
	return SSL_has_pending(client->ssl);
}

static bool hear(struct client *client)
{
	const int got = SSL_read(client->ssl, client->in + client->length,
		(int)(sizeof(client->in) - client->length));

	if (got <= 0)
		return !is_blocked(client, got);
	client->length += (size_t)got;
	take_lines(client);
	/* Without this question every reading would end in a system call for nothing. */
	return client->ssl && client->step > STEP_HANDSHAKE && SSL_has_pending(client->ssl);
}

static void on_event(struct client *client)
{
	bool more = client->ssl != NULL;

	while (more)
		more = client->step == STEP_HANDSHAKE ? shake_hands(client) : hear(client);
}

/* ---- the run ---- */

static void run(void)
{
	struct epoll_event events[CONNECTIONS_LIMIT];

	for (int i = 0; i < plan.clients; i++) {
		if (plan.connections && !plan.resume)
			wait_for_the_others(&clients[i]);
		else
			open_connection(&clients[i]);
	}
	while (done < plan.count) {
		const int count =
			epoll_wait(epoll, events, CONNECTIONS_LIMIT, PATIENCE_MILLISECONDS);
		if (count <= 0)
			die("the server is silent");
		for (int i = 0; i < count; i++)
			on_event(events[i].data.ptr);
	}
}

/* ---- words and arguments ---- */

static void make_words(void)
{
	char *at = malloc((size_t)plan.size + 200);

	if (!at)
		die("out of memory");
	/* A header and lines of 70 octets, dot and all. */
	message.ptr = at;
	at += sprintf(at, "From: sender@example.org\r\nSubject: load\r\n\r\n");
	while (at - message.ptr < plan.size) {
		memset(at, 'x', 68);
		memcpy(at + 68, "\r\n", 2);
		at += 70;
	}
	at += sprintf(at, ".\r\n");
	message.length = (size_t)(at - message.ptr);
	const int length = asprintf(&envelope.ptr,
		"MAIL FROM:<sender@example.org>\r\nRCPT TO:<%s>\r\nDATA\r\n", plan.to);
	if (length < 0)
		die("out of memory");
	envelope.length = (size_t)length;
}

static long number(const char *string, long most)
{
	char *end;
	const long value = strtol(string, &end, 10);

	if (*end || value < 1 || value > most)
		die("%s is no number from 1 to %ld", string, most);
	return value;
}

static void read_options(int argc, char **argv)
{
	static const struct option options[] = {
		{ "connections", required_argument, NULL, 'c' },
		{ "count", required_argument, NULL, 'n' },
		{ "size", required_argument, NULL, 's' },
		{ "to", required_argument, NULL, 'r' },
		{ "resume", no_argument, NULL, 'R' },
		{ "tls12", no_argument, NULL, '2' },
		{ 0 },
	};

	for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
		if (option == 'c')
			plan.clients = (int)number(optarg, CONNECTIONS_LIMIT);
		else if (option == 'n')
			plan.count = number(optarg, COUNT_LIMIT);
		else if (option == 's')
			plan.size = number(optarg, SIZE_LIMIT);
		else if (option == 'r')
			plan.to = optarg;
		else if (option == 'R')
			plan.resume = true;
		else if (option == '2')
			SSL_CTX_set_max_proto_version(tls, TLS1_2_VERSION);
		else
			exit(2);
	}
	if (argc - optind != 2)
		die("usage: tlsload messages|connections PORT [options]");
	plan.connections = strcmp(argv[optind], "connections") == 0;
	plan.port = (int)number(argv[optind + 1], 65535);
}

int main(int argc, char **argv)
{
	tls = SSL_CTX_new(TLS_client_method());
	epoll = epoll_create1(0);
	if (!tls || epoll < 0)
		die("no TLS, or no epoll");
	SSL_CTX_set_session_cache_mode(tls, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_read_ahead(tls, 1);
	read_options(argc, argv);
	make_words();
	run();
	const double seconds = now_seconds() - start_seconds;
	printf("units=%ld resumed=%ld seconds=%.6f cpu=%.6f\n", done, resumed, seconds,
		cpu_seconds() - start_cpu);
	for (int i = 0; i < plan.clients; i++) {
		if (clients[i].ssl)
			close_connection(&clients[i]);
		SSL_SESSION_free(clients[i].session);
	}
	SSL_CTX_free(tls);
	free(envelope.ptr);
	free(message.ptr);
	return 0;
}
