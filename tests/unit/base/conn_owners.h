/* What tests of connections make an owner do with its input, and how its peer reads. */
#ifndef TESTS_UNIT_BASE_CONN_OWNERS_H
#define TESTS_UNIT_BASE_CONN_OWNERS_H

#include "tests/unit/base/conn_side.h"

/* What the peer has received so far, up to size octets. */
static inline size_t peer_read(struct side *side, struct buf *to)
{
	size_t sum = 0;
	ssize_t n;

	while ((n = recv(side->peer, buf_room(to, 65536), 65536, 0)) > 0) {
		buf_commit(to, (size_t)n);
		sum += (size_t)n;
	}
	return sum;
}

static inline void answer_lines(struct side *side)
{
	struct text rest = conn_input(side->conn), line;

	while (text_find(rest, '\n') >= 0) {
		text_split(&rest, '\n', &line);
		conn_consume(side->conn, line.len + 1);
		conn_printf(side->conn, "250 %.*s ok\r\n", (int)(line.len - 1), line.ptr);
	}
}

/* A reply of `number` octets, produced as room comes. */
static inline void produce(struct side *side)
{
	while (side->number && !conn_output_full(side->conn)) {
		size_t piece = side->number < 1000 ? side->number : 1000;
		char *to = conn_room(side->conn, piece);
		for (size_t i = 0; i < piece; i++)
			to[i] = (char)(side->number - i);
		conn_commit(side->conn, piece);
		side->number -= piece;
	}
}

static inline void start_producing(struct side *side)
{
	conn_consume(side->conn, conn_input(side->conn).len);
	side->number = 20 << 20;
	produce(side);
}

static inline void take_line_and_hold(struct side *side)
{
	ptrdiff_t end = text_find(conn_input(side->conn), '\n');

	if (end < 0)
		return;
	take(side, (size_t)end + 1);
	conn_hold(side->conn);
}

static inline void take_one_and_again(struct side *side)
{
	if (conn_input(side->conn).len)
		take(side, 1);
	conn_again(side->conn);
}

#endif
