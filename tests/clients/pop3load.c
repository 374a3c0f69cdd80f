/*
 * A POP3 client that measures: many connections in one epoll loop, each going through its commands with
 * a window of them under way. It reads replies no closer than it must, so that the server is what is slow.
 *
 *	pop3load sessions PORT [options]   log in, STAT, QUIT, and again, --count times in all
 *	pop3load retr PORT [options]       log in, RETR every message once, QUIT
 *	pop3load idle PORT [options]       log in, say "ready", stay until standard input ends
 *	pop3load stall PORT [options]      log in, RETR everything, read none of it, say "ready", stay
 *
 *	--connections N  --window N  --count N  --first N  --user PREFIX  --password P  --tls
 *
 * Connection i logs in as PREFIX<first + i>@example.test. Prints "units=… octets=… seconds=…".
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
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

enum { CONNECTIONS_LIMIT = 20000, WINDOW_LIMIT = 1000, READ_SIZE = 256 * 1024, EVENTS = 256 };

enum mode { MODE_SESSIONS, MODE_RETR, MODE_IDLE, MODE_STALL };

/* What the next reply answers. */
enum stage {
	STAGE_GREETING,
	STAGE_USER,
	STAGE_PASS,
	STAGE_STAT,
	STAGE_RETR,
	STAGE_QUIT,
	STAGE_OVER
};

/* Where in a reply of many lines the octets so far have led. */
enum spot { SPOT_STATUS, SPOT_LINE, SPOT_TEXT, SPOT_CR, SPOT_DOT, SPOT_DOT_CR };

struct connection {
	int fd, number;
	SSL *ssl;
	bool connecting, shaking, wants_write;
	enum stage stage;
	enum spot spot;
	char status[128];
	size_t status_length;
	unsigned long messages, asked, got;
	char out[32 * WINDOW_LIMIT];
	size_t out_length, out_sent;
};

static enum mode mode;
static int port, connections = 1, first;
static unsigned window = 1;
static unsigned long count = 1, begun_sessions, units, octets, ready, over;
static const char *user = "u", *password = "restante";
static bool secure;
static SSL_CTX *tls;
static SSL_SESSION *resumed;
static int loop;
static struct timespec begin;
static bool timing;

__attribute__((noreturn, format(printf, 1, 2))) static void die(const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	vfprintf(stderr, format, arguments);
	va_end(arguments);
	fputc('\n', stderr);
	exit(1);
}

static void start_timing(void)
{
	if (!timing)
		clock_gettime(CLOCK_MONOTONIC, &begin);
	timing = true;
}

static double seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)(now.tv_sec - begin.tv_sec) + (double)(now.tv_nsec - begin.tv_nsec) / 1e9;
}

static void watch(struct connection *c)
{
	struct epoll_event event = { .events = EPOLLIN, .data.ptr = c };

	if (c->connecting || c->wants_write || c->out_sent < c->out_length)
		event.events |= EPOLLOUT;
	if (mode == MODE_STALL && c->stage == STAGE_RETR && c->out_sent == c->out_length)
		event.events = 0;
	epoll_ctl(loop, EPOLL_CTL_MOD, c->fd, &event);
}

static void open_connection(struct connection *c)
{
	struct sockaddr_in address = { .sin_family = AF_INET,
		.sin_port = htons((uint16_t)port),
		.sin_addr = { htonl(INADDR_LOOPBACK) } };
	struct epoll_event event = { .events = EPOLLIN | EPOLLOUT, .data.ptr = c };

	c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (c->fd < 0)
		die("socket: %s", strerror(errno));
	setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &(int){ 1 }, sizeof(int));
	if (connect(c->fd, (struct sockaddr *)&address, sizeof(address)) != 0 &&
		errno != EINPROGRESS)
		die("connect: %s", strerror(errno));
	c->connecting = true;
	c->stage = STAGE_GREETING;
	c->spot = SPOT_STATUS;
	c->status_length = c->out_length = c->out_sent = 0;
	c->messages = c->asked = c->got = 0;
	if (secure) {
		c->ssl = SSL_new(tls);
		SSL_set_fd(c->ssl, c->fd);
		if (resumed)
			SSL_set_session(c->ssl, resumed);
		SSL_set_connect_state(c->ssl);
		c->shaking = true;
	}
	epoll_ctl(loop, EPOLL_CTL_ADD, c->fd, &event);
	begun_sessions++;
}

static void close_connection(struct connection *c)
{
	if (c->ssl) {
		SSL_shutdown(c->ssl);
		SSL_free(c->ssl);
	}
	c->ssl = NULL;
	close(c->fd);
	c->stage = STAGE_OVER;
	if (mode == MODE_SESSIONS) {
		units++;
		if (begun_sessions < count) {
			open_connection(c);
			return;
		}
	}
	over++;
}

__attribute__((format(printf, 2, 3))) static void say(struct connection *c, const char *format, ...)
{
	va_list arguments;

	if (c->out_sent == c->out_length)
		c->out_sent = c->out_length = 0;
	va_start(arguments, format);
	const int length = vsnprintf(
		c->out + c->out_length, sizeof(c->out) - c->out_length, format, arguments);
	va_end(arguments);
	if (length < 0 || (size_t)length >= sizeof(c->out) - c->out_length)
		die("commands do not fit");
	c->out_length += (size_t)length;
}

static void ask_more(struct connection *c)
{
	while (c->asked < c->messages && c->asked - c->got < window)
		say(c, "RETR %lu\r\n", ++c->asked);
}

static void logged_in(struct connection *c)
{
	if (mode == MODE_SESSIONS || mode == MODE_RETR || mode == MODE_STALL) {
		say(c, "STAT\r\n");
		c->stage = STAGE_STAT;
		return;
	}
	c->stage = STAGE_OVER;
	ready++;
}

/* A whole reply has come. */
static void answered(struct connection *c)
{
	if (strncmp(c->status, "+OK", 3) != 0)
		die("connection %d, stage %d: %s", c->number, (int)c->stage, c->status);
	switch (c->stage) {
	case STAGE_GREETING:
		say(c, "USER %s%d@example.test\r\n", user, first + c->number);
		c->stage = STAGE_USER;
		break;
	case STAGE_USER:
		say(c, "PASS %s\r\n", password);
		c->stage = STAGE_PASS;
		break;
	case STAGE_PASS:
		logged_in(c);
		break;
	case STAGE_STAT:
		c->messages = strtoul(c->status + 3, NULL, 10);
		if (mode == MODE_SESSIONS) {
			say(c, "QUIT\r\n");
			c->stage = STAGE_QUIT;
			break;
		}
		/* The clock starts when every connection is ready to ask. */
		c->stage = STAGE_RETR;
		ready++;
		break;
	case STAGE_RETR:
		c->got++;
		units++;
		if (c->got == c->messages) {
			say(c, "QUIT\r\n");
			c->stage = STAGE_QUIT;
		} else if (c->asked - c->got <= window / 2) {
			ask_more(c);
		}
		break;
	case STAGE_QUIT:
		close_connection(c);
		break;
	case STAGE_OVER:
		break;
	}
}

static void end_of_status(struct connection *c)
{
	c->status[c->status_length] = '\0';
	c->status_length = 0;
	if (c->stage == STAGE_RETR && c->status[0] == '+')
		c->spot = SPOT_LINE;
	else
		answered(c);
}

/* The octets of a message up to the end of it, or all. memchr does the walking. */
static size_t skip_text(struct connection *c, const char *at, size_t length)
{
	const char *end = at + length, *p = at;

	while (p < end) {
		switch (c->spot) {
		case SPOT_LINE:
			c->spot = *p == '.' ? SPOT_DOT : SPOT_TEXT;
			p += *p == '.';
			break;
		case SPOT_DOT:
			c->spot = *p == '\r' ? SPOT_DOT_CR : SPOT_TEXT;
			p++;
			break;
		case SPOT_DOT_CR:
			if (*p != '\n')
				die("a dot, CR and no LF");
			c->spot = SPOT_STATUS;
			return (size_t)(p + 1 - at);
		case SPOT_TEXT:
		case SPOT_CR:
		case SPOT_STATUS:
			p = memchr(p, '\n', (size_t)(end - p));
			if (!p)
				return length;
			p++;
			c->spot = SPOT_LINE;
			break;
		}
	}
	return length;
}

static void take(struct connection *c, const char *at, size_t length)
{
	octets += length;
	while (length > 0 && c->stage != STAGE_OVER) {
		size_t used;
		if (c->spot != SPOT_STATUS) {
			used = skip_text(c, at, length);
			if (c->spot == SPOT_STATUS)
				answered(c);
		} else {
			const char *newline = memchr(at, '\n', length);
			used = newline ? (size_t)(newline + 1 - at) : length;
			size_t keep = used;
			if (keep > sizeof(c->status) - 1 - c->status_length)
				keep = sizeof(c->status) - 1 - c->status_length;
			memcpy(c->status + c->status_length, at, keep);
			c->status_length += keep;
			if (newline) {
				const int fd = c->fd;
				end_of_status(c);
				if (c->fd != fd || c->connecting)
					return; /* another session has begun */
			}
		}
		at += used;
		length -= used;
	}
}

static bool shake(struct connection *c)
{
	ERR_clear_error();
	const int result = SSL_do_handshake(c->ssl);

	c->wants_write = false;
	if (result == 1) {
		c->shaking = false;
		return true;
	}
	const int error = SSL_get_error(c->ssl, result);
	if (error != SSL_ERROR_WANT_READ && error != SSL_ERROR_WANT_WRITE)
		die("TLS handshake: %s", ERR_error_string(ERR_get_error(), NULL));
	c->wants_write = error == SSL_ERROR_WANT_WRITE;
	return false;
}

static void flush(struct connection *c)
{
	while (c->out_sent < c->out_length) {
		const size_t left = c->out_length - c->out_sent;
		ssize_t sent = c->ssl ? SSL_write(c->ssl, c->out + c->out_sent, (int)left)
				      : send(c->fd, c->out + c->out_sent, left, MSG_NOSIGNAL);
		if (sent <= 0)
			return;
		c->out_sent += (size_t)sent;
	}
}

/* Zero when nothing is there now. */
static size_t receive(struct connection *c, char *to, size_t room)
{
	size_t total = 0;

	if (!c->ssl) {
		const ssize_t got = recv(c->fd, to, room, 0);
		if (got > 0)
			return (size_t)got;
		if (got < 0 && errno == EAGAIN)
			return 0;
		die("connection %d, stage %d: %s", c->number, (int)c->stage,
			got ? strerror(errno) : "the server closed");
	}
	while (total < room) {
		ERR_clear_error();
		const int got = SSL_read(c->ssl, to + total, (int)(room - total));
		if (got > 0) {
			total += (size_t)got;
			continue;
		}
		const int error = SSL_get_error(c->ssl, got);
		if (error != SSL_ERROR_WANT_READ && total == 0)
			die("connection %d, stage %d: TLS ended", c->number, (int)c->stage);
		break;
	}
	return total;
}

static void serve(struct connection *c, unsigned events)
{
	static char space[READ_SIZE];

	if (c->connecting) {
		int error = 0;
		socklen_t size = sizeof(error);
		getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &size);
		if (error)
			die("connect: %s", strerror(error));
		c->connecting = false;
	}
	if (c->shaking && !shake(c)) {
		watch(c);
		return;
	}
	if (events & (EPOLLIN | EPOLLHUP)) {
		const size_t got = receive(c, space, sizeof(space));
		take(c, space, got);
	}
	if (c->stage == STAGE_OVER && mode != MODE_IDLE)
		return;
	if (!c->connecting) {
		const bool unsent = c->out_sent < c->out_length;
		flush(c);
		if (unsent == (c->out_sent < c->out_length) && !(events & EPOLLOUT))
			return;
	}
	watch(c);
}

static int on_new_session(SSL *ssl, SSL_SESSION *session)
{
	(void)ssl;
	if (resumed)
		SSL_SESSION_free(resumed);
	resumed = session;
	return 1;
}

static void parse(int argc, char **argv)
{
	static const char *const modes[] = { "sessions", "retr", "idle", "stall" };
	static const struct option options[] = { { "connections", 1, NULL, 'c' },
		{ "window", 1, NULL, 'w' }, { "count", 1, NULL, 'n' }, { "first", 1, NULL, 'f' },
		{ "user", 1, NULL, 'u' }, { "password", 1, NULL, 'p' }, { "tls", 0, NULL, 't' },
		{ 0 } };
	int option;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (option) {
		case 'c':
			connections = (int)strtol(optarg, NULL, 10);
			break;
		case 'w':
			window = (unsigned)strtoul(optarg, NULL, 10);
			break;
		case 'n':
			count = strtoul(optarg, NULL, 10);
			break;
		case 'f':
			first = (int)strtol(optarg, NULL, 10);
			break;
		case 'u':
			user = optarg;
			break;
		case 'p':
			password = optarg;
			break;
		case 't':
			secure = true;
			break;
		default:
			die("usage: pop3load MODE PORT [options]");
		}
	}
	if (argc - optind != 2 || connections < 1 || connections > CONNECTIONS_LIMIT ||
		window < 1 || window > WINDOW_LIMIT)
		die("usage: pop3load MODE PORT [options]");
	for (int i = 0; i < 4; i++) {
		if (strcmp(argv[optind], modes[i]) == 0)
			mode = (enum mode)i;
		else if (i == 3 && mode == MODE_SESSIONS && strcmp(argv[optind], modes[0]) != 0)
			die("no such mode: %s", argv[optind]);
	}
	port = (int)strtol(argv[optind + 1], NULL, 10);
}

static void begin_retrieving(struct connection *all)
{
	start_timing();
	octets = 0;
	for (int i = 0; i < connections; i++) {
		ask_more(&all[i]);
		flush(&all[i]);
		watch(&all[i]);
	}
}

static void stay(void)
{
	char octet;

	printf("ready\n");
	fflush(stdout);
	while (read(STDIN_FILENO, &octet, 1) > 0)
		continue;
}

/* Connections are opened a few at a time: a listener's backlog is not what is measured. */
static void run(struct connection *all)
{
	struct epoll_event events[EVENTS];
	const bool gathers = mode == MODE_IDLE || mode == MODE_STALL || mode == MODE_RETR;
	const unsigned long most = gathers ? 64 : (unsigned long)connections;
	int opened = 0;
	bool asked = false;

	while (over < (unsigned long)connections) {
		while (opened < connections && (unsigned long)opened - ready < most) {
			all[opened].number = opened;
			open_connection(&all[opened++]);
		}
		const int n = epoll_wait(loop, events, EVENTS, 60000);
		if (n == 0)
			die("nothing came for a minute");
		for (int i = 0; i < n; i++)
			serve(events[i].data.ptr, events[i].events);
		if (gathers && !asked && ready == (unsigned long)connections) {
			asked = true;
			if (mode != MODE_IDLE)
				begin_retrieving(all);
			if (mode != MODE_RETR) {
				stay();
				return;
			}
		}
	}
}

int main(int argc, char **argv)
{
	struct rlimit limit;

	parse(argc, argv);
	getrlimit(RLIMIT_NOFILE, &limit);
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
	if (secure) {
		tls = SSL_CTX_new(TLS_client_method());
		SSL_CTX_set_session_cache_mode(
			tls, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
		SSL_CTX_sess_set_new_cb(tls, on_new_session);
	}
	loop = epoll_create1(EPOLL_CLOEXEC);
	struct connection *all = calloc((size_t)connections, sizeof(*all));
	if (loop < 0 || !all)
		die("out of memory");
	if (mode == MODE_SESSIONS) {
		if ((unsigned long)connections > count)
			die("--count must be at least --connections");
		start_timing();
	}
	run(all);
	const double took = seconds();
	printf("units=%lu octets=%lu seconds=%.4f\n", units, octets, timing ? took : 0.0);
	free(all);
	return 0;
}
