/*
 * Text from a peer: a pointer and a length, never assumed to end in NUL, never owned.
 *
 * It becomes a C string only at the edge of a system or library call, by text_string().
 */
#ifndef BASE_TEXT_H
#define BASE_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct arena;

struct text {
	const char *ptr;
	size_t len;
};

/* A string literal as a text. */
#define TEXT(literal) ((struct text){ .ptr = (literal), .len = sizeof(literal) - 1 })

/* For printf-like calls: "%.*s", TEXT_ARG(t). */
#define TEXT_ARG(t) (int)(t).len, (t).ptr

struct text text_of(const char *string);
bool text_equal(struct text a, struct text b);

/* ASCII letters only, whatever the locale: the rule of every mail protocol. */
bool text_equal_nocase(struct text a, struct text b);
bool text_begins(struct text t, struct text prefix);
bool text_begins_nocase(struct text t, struct text prefix);

/* Octet order; a shorter prefix sorts first. */
int text_compare(struct text a, struct text b);

/* Position of the octet, or -1. */
ptrdiff_t text_find(struct text t, char octet);
ptrdiff_t text_find_last(struct text t, char octet);

/* Without spaces and tabs at both ends. */
struct text text_trim(struct text t);

/* The octets from..end; from beyond the end gives an empty text. */
struct text text_from(struct text t, size_t from);
struct text text_head(struct text t, size_t len);

/*
 * Take the part before the next separator off *rest (the separator goes too) into *part.
 * False when *rest was already used up; a text of n separators gives n + 1 parts. Start with a
 * text whose ptr is not NULL.
 */
bool text_split(struct text *rest, char separator, struct text *part);

/* Decimal digits only, at least one, value <= max: 0, else -1 and *value is untouched. */
int text_to_number(struct text t, uint64_t max, uint64_t *value);

/* Decimal digits, without a NUL, and how many. For long listings, where printf is too slow. */
enum { TEXT_NUMBER = 20 };
size_t text_number(uint64_t number, char out[TEXT_NUMBER]);

/* A NUL-terminated copy in the arena, or NULL when t holds a NUL. */
char *text_string(struct arena *arena, struct text t);

/* A copy in the arena (NUL after it, not counted). */
struct text text_copy(struct arena *arena, struct text t);

/* In lower case, as text_lower() has it: itself, or a copy in the arena where that makes a difference. */
struct text text_lowered(struct arena *arena, struct text t);

/* printf into the arena. */
struct text text_format(struct arena *arena, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

char text_lower(char octet);
bool text_is_ascii(struct text t);

/* Overwrite a secret in memory that may be written to, once it has been used. */
void text_wipe(struct text secret);

#endif
