#include "bridge/stream.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "bridge/stream_tls.h"

enum {
	CONNECT_MILLISECONDS = 20000,
	HANDSHAKE_SECONDS = 30,
	HANDSHAKE_OCTETS = 1 << 20,
	BUFFER = 16384,
};

int64_t stream_now(void)
{
	return clock_milliseconds();
}

int stream_poll(int fd, short events, int watch, int64_t milliseconds, struct fault *fault)
{
	const int64_t end = stream_now() + milliseconds;
	struct pollfd fds[] = {
		{ .fd = fd, .events = events },
		{ .fd = watch, .events = POLLIN },
	};

	for (;;) {
		int64_t left = end - stream_now();
		if (left < 0)
			left = 0;
		const int ready = poll(fds, 2, left > INT32_MAX ? INT32_MAX : (int)left);
		if (ready < 0 && errno != EINTR)
			return fault_set(fault, FAULT_LOCAL, "poll: %s", log_errno(errno));
		if (ready > 0 && fds[1].revents)
			return fault_set(fault, FAULT_STOPPED, "told to stop");
		if (ready > 0)
			return 1;
		if (ready == 0 && left == 0)
			return 0;
	}
}

/* ---- connecting ---- */

int stream_resolve(const char *host, unsigned port,
	struct stream_address addresses[STREAM_ADDRESSES], struct fault *fault)
{
	const struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG };
	struct addrinfo *found;
	char service[8];
	int count = 0;

	snprintf(service, sizeof(service), "%u", port);
	const int error = getaddrinfo(host, service, &hints, &found);
	if (error == EAI_NONAME)
		return fault_set(fault, FAULT_NETWORK, "there is no host named %s", host);
	if (error)
		return fault_set(fault, FAULT_NETWORK, "the address of %s is not known now: %s",
			host, error == EAI_SYSTEM ? log_errno(errno) : gai_strerror(error));
	for (const struct addrinfo *at = found; at && count < STREAM_ADDRESSES; at = at->ai_next) {
		if (at->ai_addrlen > sizeof(addresses[count].address))
			continue;
		memcpy(&addresses[count].address, at->ai_addr, at->ai_addrlen);
		addresses[count++].size = at->ai_addrlen;
	}
	freeaddrinfo(found);
	return count;
}

/* 0, or an errno; -1: we are to stop. */
static int connect_to(struct stream *stream, const struct stream_address *to)
{
	const int on = 1;
	int number = 0;
	socklen_t size = sizeof(number);

	stream->fd = socket(
		to->address.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_TCP);
	if (stream->fd < 0)
		return errno;
	setsockopt(stream->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	setsockopt(stream->fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
	if (connect(stream->fd, (const struct sockaddr *)&to->address, to->size) == 0)
		return 0;
	if (errno != EINPROGRESS)
		return errno;
	const int ready = stream_poll(
		stream->fd, POLLOUT, stream->options.watch, CONNECT_MILLISECONDS, &stream->fault);
	if (ready <= 0)
		return ready < 0 ? -1 : ETIMEDOUT;
	if (getsockopt(stream->fd, SOL_SOCKET, SO_ERROR, &number, &size) != 0)
		return errno;
	return number;
}

int stream_open(struct stream *stream, const struct stream_options *options,
	const struct stream_address *addresses, int count)
{
	int number = ENETUNREACH;

	*stream = (struct stream){ .options = *options, .fd = -1 };
	for (int i = 0; i < count; i++) {
		number = connect_to(stream, &addresses[i]);
		if (number == 0)
			break;
		if (stream->fd >= 0)
			close(stream->fd);
		stream->fd = -1;
		if (number < 0)
			return -1;
	}
	if (stream->fd < 0)
		return fault_set(&stream->fault, FAULT_NETWORK, "%s port %u: %s", options->host,
			options->port, log_errno(number));
	mailstream_low *low = mailstream_low_new(stream, &stream_driver);
	stream->mail = low ? mailstream_new(low, BUFFER) : NULL;
	if (!stream->mail)
		LOG_FATAL("out-of-memory", LOG_STRING("what", "stream"));
	stream_expect(stream, options->patience, BUFFER);
	return 0;
}

void stream_close(struct stream *stream)
{
	/* Its close function is ours, and closes what follows. */
	if (stream->mail)
		mailstream_close(stream->mail);
	stream->mail = NULL;
	stream_shut(stream);
}

void stream_shut(struct stream *stream)
{
	stream_tls_free(stream);
	if (stream->fd >= 0)
		close(stream->fd);
	stream->fd = -1;
}

void stream_expect(struct stream *stream, unsigned seconds, uint64_t octets)
{
	stream->deadline = stream_now() + (int64_t)seconds * 1000;
	stream->budget = octets;
}

int stream_await(struct stream *stream, short events)
{
	const int64_t patience = (int64_t)stream->options.patience * 1000;
	const int64_t left = stream->deadline - stream_now();
	const int ready = left <= 0 ? 0
				    : stream_poll(stream->fd, events, stream->options.watch,
					      left < patience ? left : patience, &stream->fault);

	if (ready == 0)
		return fault_set(&stream->fault, FAULT_NETWORK,
			left <= patience ? "%s takes too long to answer"
					 : "%s says nothing any more",
			stream->options.host);
	return ready;
}

int stream_wait(struct stream *stream, unsigned seconds)
{
	if (stream->mail->read_buffer_len || stream_tls_pending(stream))
		return 1;
	return stream_poll(
		stream->fd, POLLIN, stream->options.watch, (int64_t)seconds * 1000, &stream->fault);
}

int stream_start_tls(struct stream *stream)
{
	stream->mail->read_buffer_len = 0;
	stream->guard = (struct imap_guard){ 0 };
	stream_expect(stream, HANDSHAKE_SECONDS, HANDSHAKE_OCTETS);
	if (stream_tls_handshake(stream) != 0)
		return -1;
	stream_expect(stream, stream->options.patience, BUFFER);
	return 0;
}

/* ---- octets ---- */

static ssize_t lost(struct stream *stream, ssize_t result, int number)
{
	return fault_set(&stream->fault, FAULT_NETWORK,
		result == 0 ? "%s closed the connection" : "the connection to %s broke: %s",
		stream->options.host, log_errno(number));
}

static ssize_t read_plain(struct stream *stream, void *octets, size_t size)
{
	for (;;) {
		const ssize_t got = recv(stream->fd, octets, size, 0);
		if (got > 0)
			return got;
		if (got == 0 || (errno != EAGAIN && errno != EINTR))
			return lost(stream, got, errno);
		if (stream_await(stream, POLLIN) < 0)
			return -1;
	}
}

static ssize_t write_plain(struct stream *stream, const void *octets, size_t size)
{
	for (;;) {
		const ssize_t put = send(stream->fd, octets, size, MSG_NOSIGNAL);
		if (put >= 0)
			return put;
		if (errno != EAGAIN && errno != EINTR)
			return lost(stream, put, errno);
		if (stream_await(stream, POLLOUT) < 0)
			return -1;
	}
}

/* ---- libetpan's driver ---- */

static ssize_t driver_read(mailstream_low *low, void *octets, size_t size)
{
	struct stream *stream = low->data;

	if (stream->fault.kind != FAULT_NONE || stream->fd < 0)
		return -1;
	const ssize_t got = stream->ssl ? stream_tls_read(stream, octets, size)
					: read_plain(stream, octets, size);
	if (got <= 0)
		return -1;
	enum imap_guard_verdict verdict = IMAP_GUARD_FINE;
	if (stream->options.imap)
		verdict = imap_guard_take(&stream->guard,
			(struct text){ .ptr = octets, .len = (size_t)got }, stream->budget);
	if (verdict == IMAP_GUARD_TOO_DEEP)
		return fault_set(&stream->fault, FAULT_SERVER,
			"%s sends lists in lists without end", stream->options.host);
	if (verdict == IMAP_GUARD_TOO_LARGE || (uint64_t)got > stream->budget)
		return fault_set(&stream->fault, FAULT_SERVER,
			"%s sends more than an answer can have", stream->options.host);
	stream->budget -= (uint64_t)got;
	stream->received += (uint64_t)got;
	return got;
}

static ssize_t driver_write(mailstream_low *low, const void *octets, size_t size)
{
	struct stream *stream = low->data;

	if (stream->fault.kind != FAULT_NONE || stream->fd < 0)
		return -1;
	return stream->ssl ? stream_tls_write(stream, octets, size)
			   : write_plain(stream, octets, size);
}

static int driver_close(mailstream_low *low)
{
	stream_shut(low->data);
	return 0;
}

static int driver_fd(mailstream_low *low)
{
	const struct stream *stream = low->data;

	return stream->fd;
}

static void driver_free(mailstream_low *low)
{
	free(low);
}

static void driver_cancel(mailstream_low *low)
{
	(void)low;
}

mailstream_low_driver stream_driver = {
	.mailstream_read = driver_read,
	.mailstream_write = driver_write,
	.mailstream_close = driver_close,
	.mailstream_get_fd = driver_fd,
	.mailstream_free = driver_free,
	.mailstream_cancel = driver_cancel,
};
