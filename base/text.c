#include "base/text.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/arena.h"
#include "base/log.h"
#include "base/mem.h"

struct text text_of(const char *string)
{
	return (struct text){ .ptr = string ? string : "", .len = string ? strlen(string) : 0 };
}

bool text_equal(struct text a, struct text b)
{
	return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

char text_lower(char octet)
{
	return octet >= 'A' && octet <= 'Z' ? (char)(octet + ('a' - 'A')) : octet;
}

bool text_equal_nocase(struct text a, struct text b)
{
	if (a.len != b.len)
		return false;
	for (size_t i = 0; i < a.len; i++) {
		if (text_lower(a.ptr[i]) != text_lower(b.ptr[i]))
			return false;
	}
	return true;
}

bool text_begins(struct text t, struct text prefix)
{
	return text_equal(text_head(t, prefix.len), prefix);
}

bool text_begins_nocase(struct text t, struct text prefix)
{
	return text_equal_nocase(text_head(t, prefix.len), prefix);
}

int text_compare(struct text a, struct text b)
{
	size_t shared = a.len < b.len ? a.len : b.len;
	int order = shared ? memcmp(a.ptr, b.ptr, shared) : 0;

	return order ? order : (a.len > b.len) - (a.len < b.len);
}

ptrdiff_t text_find(struct text t, char octet)
{
	const char *at = t.len ? memchr(t.ptr, octet, t.len) : NULL;

	return at ? at - t.ptr : -1;
}

ptrdiff_t text_find_last(struct text t, char octet)
{
	const char *at = t.len ? memrchr(t.ptr, octet, t.len) : NULL;

	return at ? at - t.ptr : -1;
}

static bool is_blank(char octet)
{
	return octet == ' ' || octet == '\t';
}

struct text text_trim(struct text t)
{
	while (t.len && is_blank(t.ptr[0]))
		t = text_from(t, 1);
	while (t.len && is_blank(t.ptr[t.len - 1]))
		t.len--;
	return t;
}

struct text text_from(struct text t, size_t from)
{
	if (from > t.len)
		from = t.len;
	if (from == 0)
		return t;
	return (struct text){ .ptr = t.ptr + from, .len = t.len - from };
}

struct text text_head(struct text t, size_t len)
{
	if (len < t.len)
		t.len = len;
	return t;
}

bool text_split(struct text *rest, char separator, struct text *part)
{
	if (!rest->ptr)
		return false;
	ptrdiff_t at = text_find(*rest, separator);
	if (at < 0) {
		*part = *rest;
		*rest = (struct text){ 0 };
	} else {
		*part = text_head(*rest, (size_t)at);
		*rest = text_from(*rest, (size_t)at + 1);
	}
	return true;
}

int text_to_number(struct text t, uint64_t max, uint64_t *value)
{
	uint64_t sum = 0;

	if (t.len == 0)
		return -1;
	for (size_t i = 0; i < t.len; i++) {
		char digit = t.ptr[i];
		if (digit < '0' || digit > '9')
			return -1;
		if (__builtin_mul_overflow(sum, 10, &sum) ||
			__builtin_add_overflow(sum, (uint64_t)(digit - '0'), &sum) || sum > max)
			return -1;
	}
	*value = sum;
	return 0;
}

size_t text_number(uint64_t number, char out[TEXT_NUMBER])
{
	static const char pairs[] = "00010203040506070809101112131415161718192021222324"
				    "25262728293031323334353637383940414243444546474849"
				    "50515253545556575859606162636465666768697071727374"
				    "75767778798081828384858687888990919293949596979899";
	size_t length = 1;

	for (uint64_t power = 10; number >= power && length < TEXT_NUMBER; power *= 10)
		length++;
	for (size_t at = length; at >= 2; number /= 100) {
		at -= 2;
		memcpy(out + at, pairs + 2 * (number % 100), 2);
	}
	if (length % 2)
		out[0] = (char)('0' + number);
	return length;
}

char *text_string(struct arena *arena, struct text t)
{
	if (text_find(t, '\0') >= 0)
		return NULL;
	char *copy = arena_take(arena, t.len + 1);
	if (t.len)
		memcpy(copy, t.ptr, t.len);
	return copy;
}

struct text text_copy(struct arena *arena, struct text t)
{
	char *copy = arena_take(arena, t.len + 1);

	if (t.len)
		memcpy(copy, t.ptr, t.len);
	return (struct text){ .ptr = copy, .len = t.len };
}

struct text text_lowered(struct arena *arena, struct text t)
{
	char *lowered;

	for (size_t i = 0; i < t.len; i++) {
		if (t.ptr[i] == text_lower(t.ptr[i]))
			continue;
		lowered = arena_take(arena, t.len);
		for (size_t k = 0; k < t.len; k++)
			lowered[k] = text_lower(t.ptr[k]);
		return (struct text){ .ptr = lowered, .len = t.len };
	}
	return t;
}

struct text text_format(struct arena *arena, const char *format, ...)
{
	va_list list, again;

	va_start(list, format);
	va_copy(again, list);
	int length = vsnprintf(NULL, 0, format, list);
	va_end(list);
	if (length < 0)
		LOG_FATAL("bad-format", LOG_STRING("format", format));
	char *string = arena_take(arena, (size_t)length + 1);
	vsnprintf(string, (size_t)length + 1, format, again);
	va_end(again);
	return (struct text){ .ptr = string, .len = (size_t)length };
}

bool text_is_ascii(struct text t)
{
	for (size_t i = 0; i < t.len; i++) {
		if ((unsigned char)t.ptr[i] > 127)
			return false;
	}
	return true;
}

void text_wipe(struct text secret)
{
	mem_wipe((char *)secret.ptr, secret.len);
}
