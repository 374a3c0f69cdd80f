#include "base/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"

enum {
	SMALLEST_BLOCK = 256,
	SECRETS_SIZE =
		16 * 1024, /* a larger block is of mail: no line or frame with a password is */
};

struct text buf_text(const struct buf *buf)
{
	if (!buf->block)
		return TEXT("");
	return (struct text){ .ptr = buf->block + buf->start, .len = buf->end - buf->start };
}

size_t buf_length(const struct buf *buf)
{
	return buf->end - buf->start;
}

/* Moving is worth it only when it frees at least as much as it moves, or long queues turn quadratic. */
static bool can_move(const struct buf *buf, size_t octets)
{
	size_t length = buf_length(buf);

	return buf->start >= length && buf->size - length >= octets;
}

char *buf_room(struct buf *buf, size_t octets)
{
	if (buf->block && buf->size - buf->end >= octets)
		return buf->block + buf->end;
	size_t length = buf_length(buf);
	if (buf->block && can_move(buf, octets)) {
		memmove(buf->block, buf->block + buf->start, length);
	} else {
		size_t size = buf->size < SMALLEST_BLOCK ? SMALLEST_BLOCK : buf->size;
		if (octets > SIZE_MAX / 4 || length > SIZE_MAX / 4)
			LOG_FATAL("out-of-memory", LOG_NUMBER("octets", octets));
		while (size < length + octets)
			size *= 2;
		char *block = mem_resize(NULL, size);
		if (length)
			memcpy(block, buf->block + buf->start, length);
		if (buf->size <= SECRETS_SIZE)
			mem_wipe(buf->block, buf->size);
		mem_free(buf->block);
		buf->block = block;
		buf->size = size;
	}
	buf->start = 0;
	buf->end = length;
	return buf->block + buf->end;
}

void buf_commit(struct buf *buf, size_t octets)
{
	if (octets > buf->size - buf->end)
		LOG_FATAL("buffer-overrun", LOG_NUMBER("octets", octets));
	buf->end += octets;
}

void buf_add(struct buf *buf, struct text octets)
{
	if (octets.len == 0)
		return;
	memcpy(buf_room(buf, octets.len), octets.ptr, octets.len);
	buf->end += octets.len;
}

void buf_add_char(struct buf *buf, char octet)
{
	*buf_room(buf, 1) = octet;
	buf->end++;
}

void buf_add_string(struct buf *buf, const char *string)
{
	buf_add(buf, text_of(string));
}

void buf_format(struct buf *buf, const char *format, ...)
{
	size_t room = 128;

	for (;;) {
		char *at = buf_room(buf, room);
		va_list list;
		va_start(list, format);
		int length = vsnprintf(at, room, format, list);
		va_end(list);
		if (length < 0)
			LOG_FATAL("bad-format", LOG_STRING("format", format));
		if ((size_t)length < room) {
			buf->end += (size_t)length;
			return;
		}
		room = (size_t)length + 1;
	}
}

void buf_consume(struct buf *buf, size_t octets)
{
	if (octets > buf_length(buf))
		LOG_FATAL("buffer-underrun", LOG_NUMBER("octets", octets));
	buf->start += octets;
	if (buf->start == buf->end)
		buf->start = buf->end = 0;
}

void buf_clear(struct buf *buf)
{
	buf->start = buf->end = 0;
}

void buf_release(struct buf *buf)
{
	mem_free(buf->block);
	*buf = (struct buf){ 0 };
}

void buf_wipe(struct buf *buf)
{
	mem_wipe(buf->block, buf->size);
	buf_release(buf);
}
