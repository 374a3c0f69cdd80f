#include <errno.h>
#include <sanitizer/asan_interface.h> /* its macros do nothing in other builds */
#include <string.h>
#include <sys/socket.h>

#include "base/conn_private.h"
#include "base/mem.h"

enum { READ_SIZE = 64 * 1024 };

/*
 * One reading space for all connections: octets land behind a headroom, and the few that the owner
 * had left are copied in front of them, so input is always one run and idle connections hold none.
 */
static struct {
	char *block;
	size_t headroom;
} space;

static char *space_take(size_t headroom)
{
	if (!space.block || space.headroom < headroom) {
		if (space.block)
			ASAN_UNPOISON_MEMORY_REGION(space.block, space.headroom + READ_SIZE);
		mem_free(space.block);
		space.headroom = headroom < READ_SIZE / 4 ? READ_SIZE / 4 : headroom;
		space.block = mem_new(space.headroom + READ_SIZE);
	}
	ASAN_UNPOISON_MEMORY_REGION(space.block, space.headroom + READ_SIZE);
	return space.block + space.headroom;
}

/* So that a parser which looks beyond its text is caught, as it would be in memory of its own. */
static void space_fence(struct text used)
{
	ASAN_POISON_MEMORY_REGION(used.ptr + used.len,
		(size_t)(space.block + space.headroom + READ_SIZE - used.ptr) - used.len);
	(void)used;
}

static enum conn_io clear_read(struct conn *conn, char *to, size_t room, size_t *got)
{
	ssize_t n = recv(conn->fd, to, room, 0);

	if (n > 0) {
		*got = (size_t)n;
		return CONN_IO_DONE;
	}
	if (n == 0)
		return CONN_IO_EOF;
	if (errno == EAGAIN || errno == EINTR)
		return CONN_IO_AGAIN;
	conn->detail = strerrordesc_np(errno);
	return CONN_IO_FAILED;
}

enum conn_io conn_io_read(struct conn *conn)
{
	size_t left = buf_length(&conn->in), room = conn->limits->input - left, got = 0;
	char *to = space_take(left);
	enum conn_io io;

	if (room > READ_SIZE)
		room = READ_SIZE;
	io = conn->ssl ? conn_tls_read(conn, to, room, &got) : clear_read(conn, to, room, &got);
	if (io != CONN_IO_DONE)
		return io;
	if (left)
		memcpy(to - left, buf_text(&conn->in).ptr, left);
	buf_wipe(&conn->in);
	conn->view = (struct text){ .ptr = to - left, .len = left + got };
	space_fence(conn->view);
	return io;
}

void conn_io_keep(struct conn *conn)
{
	if (conn->state != CONN_STATE_OPEN)
		buf_wipe(&conn->in);
	else if (conn->view.len)
		buf_add(&conn->in, conn->view);
	else if (buf_length(&conn->in) == 0)
		buf_wipe(&conn->in);
	if (conn->secrets)
		text_wipe(conn->view);
	conn->view = (struct text){ 0 };
}

int conn_io_flags(const struct conn *conn)
{
	return conn->state == CONN_STATE_OPEN ? MSG_NOSIGNAL : MSG_NOSIGNAL | MSG_MORE;
}

static enum conn_io clear_write(struct conn *conn, struct text octets, size_t *sent)
{
	ssize_t n = send(conn->fd, octets.ptr, octets.len, conn_io_flags(conn));

	if (n >= 0) {
		*sent = (size_t)n;
		return CONN_IO_DONE;
	}
	if (errno == EAGAIN || errno == EINTR)
		return CONN_IO_AGAIN;
	conn->detail = strerrordesc_np(errno);
	return CONN_IO_FAILED;
}

enum conn_io conn_io_write(struct conn *conn)
{
	struct text octets = buf_text(&conn->out);
	size_t sent = 0;
	enum conn_io io;

	if (octets.len == 0)
		return CONN_IO_DONE;
	io = conn->ssl ? conn_tls_write(conn, octets, &sent) : clear_write(conn, octets, &sent);
	if (sent) {
		buf_consume(&conn->out, sent);
		conn->progress = true;
	}
	return io == CONN_IO_DONE && sent < octets.len ? CONN_IO_AGAIN : io;
}

enum conn_io conn_io_shut(struct conn *conn)
{
	if (conn->ssl && conn->secure)
		conn_tls_close_notify(conn);
	if (conn->eof || shutdown(conn->fd, SHUT_WR) != 0)
		return CONN_IO_EOF;
	return conn_io_discard(conn);
}

enum conn_io conn_io_discard(struct conn *conn)
{
	size_t got;
	enum conn_io io = clear_read(conn, space_take(0), READ_SIZE, &got);

	return io == CONN_IO_DONE ? CONN_IO_AGAIN : io;
}
