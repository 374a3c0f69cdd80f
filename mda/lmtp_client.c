#include "mda/lmtp_client.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

enum { CONNECT_SECONDS = 30, READ_SIZE = 4096, LINE_LIMIT = 4 * REPLY_LINE_LIMIT };

int lmtp_client_connect(struct lmtp_client *client, const char *path)
{
	const struct timeval patience = { .tv_sec = CONNECT_SECONDS };
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	*client = (struct lmtp_client){ .fd = -1 };
	if (strlen(path) >= sizeof(address.sun_path)) {
		errno = ENAMETOOLONG;
		return -1;
	}
	memcpy(address.sun_path, path, strlen(path));
	client->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (client->fd < 0)
		return -1;
	/* Of a unix socket this bounds the wait for a place in the listener's queue, too. */
	setsockopt(client->fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
	if (connect(client->fd, (const struct sockaddr *)&address, sizeof(address)) == 0)
		return 0;
	const int number = errno;
	lmtp_client_close(client);
	errno = number;
	return -1;
}

void lmtp_client_close(struct lmtp_client *client)
{
	if (client->fd >= 0)
		close(client->fd);
	client->fd = -1;
	buf_release(&client->in);
}

static int wait_for(const struct lmtp_client *client, short event, unsigned seconds)
{
	struct pollfd poller = { .fd = client->fd, .events = event };
	int ready;

	do
		ready = poll(&poller, 1, (int)seconds * 1000);
	while (ready < 0 && errno == EINTR);
	if (ready == 0)
		errno = ETIMEDOUT;
	return ready > 0 ? 0 : -1;
}

int lmtp_client_send(struct lmtp_client *client, struct text octets, unsigned seconds)
{
	while (octets.len) {
		ssize_t sent =
			send(client->fd, octets.ptr, octets.len, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (sent >= 0) {
			octets = text_from(octets, (size_t)sent);
		} else if (errno == EAGAIN) {
			if (wait_for(client, POLLOUT, seconds) != 0)
				return -1;
		} else if (errno != EINTR) {
			return -1;
		}
	}
	return 0;
}

static int read_more(struct lmtp_client *client, unsigned seconds)
{
	ssize_t got;

	if (wait_for(client, POLLIN, seconds) != 0)
		return -1;
	do
		got = recv(client->fd, buf_room(&client->in, READ_SIZE), READ_SIZE, 0);
	while (got < 0 && errno == EINTR);
	if (got == 0)
		errno = ECONNRESET;
	if (got <= 0)
		return -1;
	buf_commit(&client->in, (size_t)got);
	return 0;
}

/* A line of the reply: 1 it was the last, 0 others follow, -1 with errno. */
static int read_line(struct lmtp_client *client, unsigned seconds, struct reply *reply)
{
	enum wire_fault fault;
	struct text line;
	int found;

	buf_consume(&client->in, client->read);
	while ((found = wire_line(&client->lines, buf_text(&client->in), LINE_LIMIT, &line,
			&client->read, &fault)) == 0) {
		buf_consume(&client->in, client->read);
		client->read = 0;
		if (read_more(client, seconds) != 0)
			return -1;
	}
	int last = found > 0 ? reply_read_line(&client->reader, line, reply) : -1;
	if (last < 0)
		errno = EPROTO;
	return last;
}

int lmtp_client_reply(struct lmtp_client *client, unsigned seconds, struct reply *reply)
{
	int last;

	client->eight_bit = client->utf8 = false;
	do {
		last = read_line(client, seconds, reply);
		if (last >= 0 && text_equal_nocase(reply->text, TEXT("8BITMIME")))
			client->eight_bit = true;
		if (last >= 0 && text_equal_nocase(reply->text, TEXT("SMTPUTF8")))
			client->utf8 = true;
	} while (last == 0);
	return last > 0 ? 0 : -1;
}
