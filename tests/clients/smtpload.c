/*
 * SMTP clients that are a burden: they say nothing, say it slowly, or come and go without end.
 *
 *	smtpload idle PORT [options]    connect (--tls: and STARTTLS), say nothing more, stay
 *	smtpload slow PORT [options]    begin a message, then send an octet a second to each, stay
 *	smtpload flood PORT [options]   --processes that connect, send junk and are gone, for --seconds
 *	                                --polite: not gone before the server has answered and closed
 *	                                --rude: gone before there is a connection
 *
 *	--connections N  --from ADDRESS  --to RECIPIENT  --tls  --processes N  --seconds N
 *
 * Who stays prints "ready" and ends with standard input; then, or at the end of a flood, "units=… lost=…":
 * connections, and those of them that the server has ended (in a flood: that did not come about within a
 * second, or at once where it is rude).
 */
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <netinet/in.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { CONNECTIONS_LIMIT = 20000, PATIENCE_SECONDS = 60, FLOOD_PATIENCE_SECONDS = 1 };

static struct {
	const char *mode, *to;
	struct sockaddr_in server, from;
	int connections, processes, seconds;
	int patience; /* seconds, also for a connection; 0: none at all */
	bool tls, polite;
} plan = { .to = "alice@example.test",
	.connections = 1,
	.processes = 2,
	.seconds = 5,
	.patience = PATIENCE_SECONDS };

static int sockets[CONNECTIONS_LIMIT];

static void die(const char *what)
{
	fprintf(stderr, "smtpload: %s: %s\n", what, strerror(errno));
	exit(1);
}

static double now_seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* -1 with errno. */
static int dial(void)
{
	const struct timeval patience = { .tv_sec = plan.patience };
	const int kind = SOCK_STREAM | SOCK_CLOEXEC | (plan.patience ? 0 : SOCK_NONBLOCK);
	const int fd = socket(AF_INET, kind, 0);

	if (fd < 0)
		return -1;
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
	setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &(int){ 1 }, sizeof(int));
	if ((plan.from.sin_addr.s_addr &&
		    bind(fd, (const struct sockaddr *)&plan.from, sizeof(plan.from)) != 0) ||
		(connect(fd, (const struct sockaddr *)&plan.server, sizeof(plan.server)) != 0 &&
			(plan.patience || errno != EINPROGRESS))) {
		close(fd);
		return -1;
	}
	return fd;
}

/* ---- one session, step by step ---- */

static ssize_t take(int fd, SSL *ssl, char *to, size_t room)
{
	return ssl ? SSL_read(ssl, to, (int)room) : recv(fd, to, room, 0);
}

/* A whole reply with that code. Nothing is pipelined, so nothing lies behind it. */
static void expect(int fd, SSL *ssl, const char *code)
{
	char reply[4096];
	size_t length = 0;
	const char *last = reply;

	for (;;) {
		const ssize_t n = take(fd, ssl, reply + length, sizeof(reply) - 1 - length);
		if (n <= 0)
			die("the server ended, or does not answer");
		length += (size_t)n;
		reply[length] = '\0';
		for (const char *end; (end = strstr(last, "\r\n")); last = end + 2) {
			if (strncmp(last, code, 3) != 0) {
				fprintf(stderr, "smtpload: not %s: %s", code, last);
				exit(1);
			}
			if (last[3] == ' ')
				return;
		}
	}
}

static void say(int fd, SSL *ssl, const char *line, const char *code)
{
	const size_t length = strlen(line);
	const bool sent = ssl ? SSL_write(ssl, line, (int)length) == (int)length
			      : send(fd, line, length, MSG_NOSIGNAL) == (ssize_t)length;

	if (!sent)
		die("send");
	expect(fd, ssl, code);
}

/* What OpenSSL holds at our side is let go; the server does not see that. */
static void secure(int fd, SSL_CTX *context)
{
	SSL *ssl = SSL_new(context);

	say(fd, NULL, "EHLO load.test\r\n", "250");
	say(fd, NULL, "STARTTLS\r\n", "220");
	SSL_set_fd(ssl, fd);
	if (SSL_connect(ssl) != 1) {
		ERR_print_errors_fp(stderr);
		die("TLS");
	}
	say(fd, ssl, "EHLO load.test\r\n", "250");
	SSL_set_quiet_shutdown(ssl, 1);
	SSL_free(ssl);
}

static void begin_message(int fd)
{
	char line[400];

	say(fd, NULL, "EHLO load.test\r\n", "250");
	say(fd, NULL, "MAIL FROM:<load@load.test>\r\n", "250");
	snprintf(line, sizeof(line), "RCPT TO:<%s>\r\n", plan.to);
	say(fd, NULL, line, "250");
	say(fd, NULL, "DATA\r\n", "354");
}

/* ---- those who stay ---- */

static bool is_gone(int fd)
{
	char octet;
	const ssize_t n = recv(fd, &octet, 1, MSG_PEEK | MSG_DONTWAIT);

	return n >= 0 || errno != EAGAIN;
}

/* Octets of one long header field, so that the message is never complete. */
static void drip(void)
{
	for (int i = 0; i < plan.connections; i++)
		send(sockets[i], "x", 1, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static int stay(bool slow)
{
	SSL_CTX *context = plan.tls ? SSL_CTX_new(TLS_client_method()) : NULL;
	struct pollfd input = { .fd = STDIN_FILENO, .events = POLLIN };
	int lost = 0;

	for (int i = 0; i < plan.connections; i++) {
		sockets[i] = dial();
		if (sockets[i] < 0)
			die("connect");
		expect(sockets[i], NULL, "220");
		if (plan.tls)
			secure(sockets[i], context);
		if (slow)
			begin_message(sockets[i]);
	}
	puts("ready");
	fflush(stdout);
	while (poll(&input, 1, 1000) == 0) {
		if (slow)
			drip();
	}
	for (int i = 0; i < plan.connections; i++)
		lost += is_gone(sockets[i]);
	printf("units=%d lost=%d\n", plan.connections, lost);
	SSL_CTX_free(context);
	return 0;
}

/* ---- the flood ---- */

struct tally {
	uint64_t units, lost;
};

/* Up to its end, or to ours. */
static void hear_out(int fd)
{
	char reply[512];

	shutdown(fd, SHUT_WR);
	while (recv(fd, reply, sizeof(reply), 0) > 0)
		;
}

static void flood_alone(struct tally *tally)
{
	static const struct linger none = { .l_onoff = 1 };
	const double end = now_seconds() + plan.seconds;
	char junk[1024];

	memset(junk, 'J', sizeof(junk));
	for (size_t i = 63; i < sizeof(junk); i += 64)
		junk[i] = '\n';
	while (now_seconds() < end) {
		const int fd = dial();
		tally->units++;
		if (fd < 0) {
			tally->lost++;
			continue;
		}
		if (send(fd, junk, sizeof(junk), MSG_NOSIGNAL) < 0)
			tally->lost++;
		else if (plan.polite)
			hear_out(fd);
		/* No time-wait: ports would run out before the server does. */
		setsockopt(fd, SOL_SOCKET, SO_LINGER, &none, sizeof(none));
		close(fd);
	}
}

static int flood(void)
{
	const size_t size = (size_t)plan.processes * sizeof(struct tally);
	struct tally *tallies =
		mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct tally sum = { 0 };

	if (tallies == MAP_FAILED)
		die("mmap");
	for (int i = 0; i < plan.processes; i++) {
		const pid_t pid = fork();
		if (pid < 0)
			die("fork");
		if (pid == 0) {
			flood_alone(&tallies[i]);
			_exit(0);
		}
	}
	while (wait(NULL) > 0)
		;
	for (int i = 0; i < plan.processes; i++) {
		sum.units += tallies[i].units;
		sum.lost += tallies[i].lost;
	}
	printf("units=%llu lost=%llu\n", (unsigned long long)sum.units,
		(unsigned long long)sum.lost);
	return 0;
}

/* ---- arguments ---- */

static int number(const char *string, int most)
{
	char *end;
	const long value = strtol(string, &end, 10);

	if (*end || value < 1 || value > most) {
		fprintf(stderr, "smtpload: %s is no number from 1 to %d\n", string, most);
		exit(2);
	}
	return (int)value;
}

static void read_options(int argc, char **argv)
{
	static const struct option options[] = {
		{ "connections", required_argument, NULL, 'c' },
		{ "from", required_argument, NULL, 'f' },
		{ "to", required_argument, NULL, 't' },
		{ "tls", no_argument, NULL, 's' },
		{ "polite", no_argument, NULL, 'o' },
		{ "rude", no_argument, NULL, 'r' },
		{ "processes", required_argument, NULL, 'p' },
		{ "seconds", required_argument, NULL, 'n' },
		{ 0 },
	};

	plan.from.sin_family = AF_INET;
	for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
		if (option == 'c')
			plan.connections = number(optarg, CONNECTIONS_LIMIT);
		else if (option == 'f' && inet_pton(AF_INET, optarg, &plan.from.sin_addr) == 1)
			continue;
		else if (option == 't')
			plan.to = optarg;
		else if (option == 's')
			plan.tls = true;
		else if (option == 'o')
			plan.polite = true;
		else if (option == 'r')
			plan.patience = 0;
		else if (option == 'p')
			plan.processes = number(optarg, 64);
		else if (option == 'n')
			plan.seconds = number(optarg, 3600);
		else
			exit(2);
	}
	if (argc - optind != 2) {
		fputs("usage: smtpload idle|slow|flood PORT [options]\n", stderr);
		exit(2);
	}
	plan.mode = argv[optind];
	plan.server = (struct sockaddr_in){ .sin_family = AF_INET,
		.sin_port = htons((uint16_t)number(argv[optind + 1], 65535)),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
}

int main(int argc, char **argv)
{
	struct rlimit descriptors;

	read_options(argc, argv);
	if (getrlimit(RLIMIT_NOFILE, &descriptors) == 0) {
		descriptors.rlim_cur = descriptors.rlim_max;
		setrlimit(RLIMIT_NOFILE, &descriptors);
	}
	if (strcmp(plan.mode, "flood") == 0) {
		plan.patience = plan.patience ? FLOOD_PATIENCE_SECONDS : 0;
		return flood();
	}
	if (strcmp(plan.mode, "slow") == 0 || strcmp(plan.mode, "idle") == 0)
		return stay(plan.mode[0] == 's');
	fprintf(stderr, "smtpload: what is %s?\n", plan.mode);
	return 2;
}
