#include "pop3d/transfer.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/conn.h"
#include "base/log.h"

enum { PIECE = 32 * 1024 };

void transfer_begin(struct transfer *transfer, int fd, uint64_t size, int64_t lines)
{
	*transfer = (struct transfer){ .fd = fd, .size = size, .lines = lines };
}

void transfer_end(struct transfer *transfer)
{
	if (transfer->fd >= 0)
		close(transfer->fd);
	transfer->fd = -1;
}

/* The octets of a line before its LF, added to what was seen of it before. */
static enum transfer_line extend(enum transfer_line line, struct text octets)
{
	if (octets.len == 0)
		return line;
	return line == TRANSFER_LINE_NOTHING && octets.len == 1 && octets.ptr[0] == '\r'
		       ? TRANSFER_LINE_CR
		       : TRANSFER_LINE_TEXT;
}

size_t transfer_top(struct transfer *transfer, struct text piece)
{
	size_t at = 0;

	while (at < piece.len) {
		const struct text rest = text_from(piece, at);
		const ptrdiff_t newline = text_find(rest, '\n');

		if (transfer->in_body && transfer->lines == 0)
			return at;
		transfer->line = extend(
			transfer->line, newline < 0 ? rest : text_head(rest, (size_t)newline));
		if (newline < 0)
			return piece.len;
		at += (size_t)newline + 1;
		if (transfer->in_body)
			transfer->lines--;
		else if (transfer->line != TRANSFER_LINE_TEXT)
			transfer->in_body = true;
		transfer->line = TRANSFER_LINE_NOTHING;
	}
	return at;
}

static int finish(struct transfer *transfer, struct conn *conn)
{
	conn_commit(conn, wire_encode_end(&transfer->encode, conn_room(conn, 5)));
	transfer_end(transfer);
	return 1;
}

int transfer_run(struct transfer *transfer, struct conn *conn)
{
	static char scratch
		[PIECE]; /* of the process, not of the session: nothing stays in it between calls */

	while (!conn_output_full(conn)) {
		const uint64_t left = transfer->size - transfer->octets;
		const ssize_t got = left == 0 ? 0
					      : read(transfer->fd, scratch,
							left < PIECE ? (size_t)left : PIECE);
		struct text piece = { .ptr = scratch, .len = got > 0 ? (size_t)got : 0 };
		size_t wanted = piece.len;

		if (got < 0 && errno == EINTR)
			continue;
		/* A final dot would tell the client that it has the whole message. */
		if (got < 0 || (got == 0 && left > 0)) {
			if (got < 0)
				LOG_ERROR("read-failed", LOG_ERRNO(errno));
			else
				LOG_ERROR("message-cut-short", LOG_NUMBER("octets", left));
			transfer_end(transfer);
			return -1;
		}
		if (transfer->lines != TRANSFER_ALL)
			wanted = transfer_top(transfer, piece);
		transfer->octets += wanted;
		conn_commit(conn, wire_encode(&transfer->encode, text_head(piece, wanted),
					  conn_room(conn, wire_encode_bound(wanted))));
		/* At its size the file ends: asking once more would cost as much as reading it. */
		if (wanted < piece.len || transfer->octets == transfer->size)
			return finish(transfer, conn);
	}
	return 0;
}
