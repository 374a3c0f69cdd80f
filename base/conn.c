#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/conn.h"
#include "base/conn_private.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/net.h"
#include "base/tls.h"

void conn_close(struct conn *conn)
{
	event_del(&conn->read_event);
	event_del(&conn->write_event);
	event_del(&conn->timer);
	if (conn->fd >= 0)
		close(conn->fd);
	conn->fd = -1;
	buf_wipe(&conn->in);
	buf_release(&conn->out);
	buf_release(&conn->raw);
	conn->view = (struct text){ 0 };
}

void conn_destroy(struct conn *conn)
{
	conn_tls_free(conn);
	mem_free(conn);
}

void conn_set_peer(struct conn *conn, const struct net_address *address)
{
	conn->peer_is_ipv6 = !net_address_is_ipv4(address);
	net_address_print(address, conn->peer);
}

static void name_peer(struct conn *conn)
{
	struct net_address address;
	int family = AF_UNSPEC;
	socklen_t size = sizeof(family);

	if (net_address_of_peer(conn->fd, &address) == 0)
		conn_set_peer(conn, &address);
	else if (getsockopt(conn->fd, SOL_SOCKET, SO_DOMAIN, &family, &size) == 0 &&
		 family == AF_UNIX)
		snprintf(conn->peer, sizeof(conn->peer), "local");
	else
		snprintf(conn->peer, sizeof(conn->peer), "unknown");
}

struct conn *conn_new(struct event_base *loop, int fd, const struct conn_handlers *handlers,
	const struct conn_limits *limits, void *owner)
{
	struct conn *conn = mem_new(sizeof(*conn));
	int flags = fcntl(fd, F_GETFL);

	*conn = (struct conn){ .handlers = handlers,
		.limits = limits,
		.owner = owner,
		.fd = fd,
		.idle_seconds = limits->idle_seconds };
	if (flags >= 0 && !(flags & O_NONBLOCK))
		fcntl(fd, F_SETFL, flags | O_NONBLOCK);
	name_peer(conn);
	if (strcmp(conn->peer, "local") != 0)
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){ 1 }, sizeof(int));
	conn_round_begin(conn, loop);
	return conn;
}

void conn_free(struct conn **conn)
{
	struct conn *gone = *conn;

	*conn = NULL;
	if (!gone)
		return;
	conn_close(gone);
	if (gone->in_round)
		gone->freed = true;
	else
		conn_destroy(gone);
}

void conn_idle_limit(struct conn *conn, unsigned seconds)
{
	conn->idle_seconds = seconds;
	conn->progress = true;
	if (!conn->in_round)
		conn_round_deadline(conn);
}

struct text conn_input(const struct conn *conn)
{
	return conn->view.ptr ? conn->view : buf_text(&conn->in);
}

void conn_consume(struct conn *conn, size_t octets)
{
	bool was_stuck = conn_input(conn).len >= conn->limits->input;

	if (octets > conn_input(conn).len)
		LOG_FATAL("input-overrun", LOG_NUMBER("octets", octets));
	if (conn->view.ptr)
		conn->view = text_from(conn->view, octets);
	else
		buf_consume(&conn->in, octets);
	if (was_stuck)
		conn_round_ask(conn);
}

void conn_again(struct conn *conn)
{
	conn->again = true;
	conn_round_ask(conn);
}

void conn_hold(struct conn *conn)
{
	conn->held = true;
	if (!conn->in_round)
		conn_round_deadline(conn);
}

void conn_release(struct conn *conn)
{
	conn->held = false;
	if (conn_input(conn).len)
		conn->due = true;
	conn_round_ask(conn);
}

void conn_alarm(struct conn *conn, unsigned milliseconds)
{
	conn_round_alarm(conn, milliseconds);
}

void conn_cork(struct conn *conn, bool corked)
{
	conn->corked = corked;
	if (corked && !conn->in_round)
		conn_round_deadline(conn);
	else if (!corked)
		conn_round_ask(conn);
}

static void queued(struct conn *conn)
{
	if (buf_length(&conn->out) >= conn->limits->output_high)
		conn->was_full = true;
	conn_round_ask(conn);
}

static bool takes_output(const struct conn *conn)
{
	return !conn->freed && conn->state < CONN_STATE_LINGERING;
}

void conn_write(struct conn *conn, struct text octets)
{
	if (!takes_output(conn))
		return;
	buf_add(&conn->out, octets);
	queued(conn);
}

void conn_printf(struct conn *conn, const char *format, ...)
{
	va_list arguments;
	char *line = NULL;

	va_start(arguments, format);
	int length = vasprintf(&line, format, arguments);
	va_end(arguments);
	if (length < 0)
		LOG_FATAL("out-of-memory", LOG_STRING("what", "reply"));
	conn_write(conn, (struct text){ .ptr = line, .len = (size_t)length });
	mem_free(line);
}

char *conn_room(struct conn *conn, size_t octets)
{
	return buf_room(&conn->out, octets);
}

void conn_commit(struct conn *conn, size_t octets)
{
	buf_commit(&conn->out, octets);
	if (takes_output(conn))
		queued(conn);
	else
		buf_release(&conn->out);
}

size_t conn_output_length(const struct conn *conn)
{
	return buf_length(&conn->out);
}

bool conn_output_full(const struct conn *conn)
{
	return buf_length(&conn->out) >= conn->limits->output_high;
}

void conn_finish(struct conn *conn)
{
	if (conn->state != CONN_STATE_OPEN)
		return;
	conn->state = CONN_STATE_FINISHING;
	conn_round_ask(conn);
}

static void start_tls(struct conn *conn, struct tls *tls, bool with_input)
{
	if (conn->tls || conn->state != CONN_STATE_OPEN)
		return;
	conn->tls = tls_keep(tls);
	if (with_input)
		buf_add(&conn->raw, conn_input(conn));
	conn->view = (struct text){ 0 };
	/* Its memory goes at the end of the round: the owner may still look at the command before. */
	buf_clear(&conn->in);
	conn->due = false;
	conn_round_ask(conn);
}

void conn_start_tls(struct conn *conn, struct tls *tls)
{
	start_tls(conn, tls, false);
}

void conn_start_tls_here(struct conn *conn, struct tls *tls)
{
	start_tls(conn, tls, true);
}

const char *conn_peer(const struct conn *conn)
{
	return conn->peer;
}

bool conn_peer_is_ipv6(const struct conn *conn)
{
	return conn->peer_is_ipv6;
}

unsigned conn_local_port(const struct conn *conn)
{
	struct sockaddr_storage address = { 0 };
	socklen_t size = sizeof(address);

	if (conn->fd < 0 || getsockname(conn->fd, (struct sockaddr *)&address, &size) != 0)
		return 0;
	if (address.ss_family == AF_INET)
		return ntohs(((const struct sockaddr_in *)&address)->sin_port);
	if (address.ss_family == AF_INET6)
		return ntohs(((const struct sockaddr_in6 *)&address)->sin6_port);
	return 0;
}
