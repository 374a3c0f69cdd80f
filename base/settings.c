#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/settings.h"
#include "base/settings_private.h"

enum { SHOWN = 60 }; /* octets of a wrong value that a sentence repeats */

struct unit {
	char letter;
	uint64_t factor;
};

static const struct unit no_units[] = { { 0 } };
static const struct unit octet_units[] = { { 't', 1ULL << 40 }, { 'g', 1 << 30 }, { 'm', 1 << 20 },
	{ 'k', 1 << 10 }, { 0 } };
static const struct unit second_units[] = { { 'd', 86400 }, { 'h', 3600 }, { 'm', 60 }, { 's', 1 },
	{ 0 } };

static const struct unit *units_of(enum settings_type type)
{
	switch (type) {
	case SETTINGS_OCTETS:
		return octet_units;
	case SETTINGS_SECONDS:
		return second_units;
	case SETTINGS_BOOL:
	case SETTINGS_NUMBER:
	case SETTINGS_STRING:
	case SETTINGS_LIST:
		break;
	}
	return no_units;
}

void settings_format_number(enum settings_type type, uint64_t number, char *to, size_t size)
{
	for (const struct unit *unit = units_of(type); unit->letter; unit++) {
		if (number && number % unit->factor == 0 && unit->factor > 1) {
			char letter = unit->letter;
			if (type == SETTINGS_OCTETS)
				letter = (char)(letter - 'a' + 'A');
			snprintf(to, size, "%" PRIu64 "%c", number / unit->factor, letter);
			return;
		}
	}
	snprintf(to, size, "%" PRIu64, number);
}

/* ---- sentences ---- */

struct shown {
	char string[SHOWN + 4];
};

/* A value fit for a sentence: short, and without octets that would disturb a terminal. */
static struct shown show(struct text value)
{
	struct shown shown = { 0 };
	size_t length = value.len < SHOWN ? value.len : SHOWN;

	for (size_t i = 0; i < length; i++) {
		unsigned char octet = (unsigned char)value.ptr[i];
		shown.string[i] = (char)(octet < ' ' || octet == 127 ? '?' : octet);
	}
	if (length < value.len)
		memcpy(shown.string + length, "...", 3);
	return shown;
}

static const char *remedy_of(enum settings_type type)
{
	switch (type) {
	case SETTINGS_BOOL:
		return "write yes or no";
	case SETTINGS_NUMBER:
		return "write a number";
	case SETTINGS_OCTETS:
		return "write a number of octets, or with K, M, G or T as in 25M";
	case SETTINGS_SECONDS:
		return "write a number of seconds, or with s, m, h or d as in 5m";
	case SETTINGS_STRING:
	case SETTINGS_LIST:
		break;
	}
	return "write text without control characters";
}

static int say_wrong(
	const struct settings_item *item, struct text value, char *error, size_t error_size)
{
	snprintf(error, error_size, "%s is \"%s\"; %s", item->name, show(value).string,
		remedy_of(item->type));
	return -1;
}

/* ---- numbers ---- */

static int parse_number(const struct settings_item *item, struct text value, uint64_t *number)
{
	uint64_t factor = 1;

	char last = value.len ? text_lower(value.ptr[value.len - 1]) : 0;
	for (const struct unit *unit = units_of(item->type); unit->letter; unit++) {
		if (unit->letter == last) {
			factor = unit->factor;
			value.len--;
			break;
		}
	}
	if (text_to_number(value, UINT64_MAX / factor, number) != 0)
		return -1;
	*number *= factor;
	return 0;
}

static int check_number(
	const struct settings_item *item, uint64_t number, char *error, size_t error_size)
{
	char is[32], bound[32];
	bool is_low = number < item->least;

	if (!is_low && (item->most == 0 || number <= item->most))
		return 0;
	settings_format_number(item->type, number, is, sizeof(is));
	settings_format_number(item->type, is_low ? item->least : item->most, bound, sizeof(bound));
	snprintf(error, error_size, "%s is %s; give at %s %s", item->name, is,
		is_low ? "least" : "most", bound);
	return -1;
}

/* ---- text ---- */

static int check_length(
	const struct settings_item *item, size_t length, char *error, size_t error_size)
{
	const char *what = item->type == SETTINGS_LIST ? "an item of " : "";
	/* Lists are stored with blanks between their items, and an empty item means nothing. */
	uint64_t least = item->type == SETTINGS_LIST && item->least == 0 ? 1 : item->least;

	if (length == 0 && least > 0) {
		snprintf(error, error_size, "%s%s is empty; give it a value%s", what, item->name,
			item->type == SETTINGS_LIST ? " or leave it out" : "");
		return -1;
	}
	if (length < least) {
		snprintf(error, error_size, "%s%s has %zu octets; give at least %" PRIu64, what,
			item->name, length, least);
		return -1;
	}
	if (item->most && length > item->most) {
		snprintf(error, error_size, "%s%s has %zu octets; give at most %" PRIu64, what,
			item->name, length, item->most);
		return -1;
	}
	return 0;
}

static bool has_octet_below(struct text value, unsigned char limit)
{
	for (size_t i = 0; i < value.len; i++) {
		if ((unsigned char)value.ptr[i] < limit || value.ptr[i] == 127)
			return true;
	}
	return false;
}

void settings_list_clear(struct settings_list *list)
{
	for (size_t i = 0; i < list->count; i++)
		mem_free(list->item[i]);
	mem_free(list->item);
	*list = (struct settings_list){ 0 };
}

void settings_list_add(struct settings_list *list, struct text item)
{
	list->item = mem_resize(list->item, (list->count + 1) * sizeof(*list->item));
	list->item[list->count++] = mem_copy(item.ptr, item.len);
}

/* ---- one value ---- */

static int set_bool(const struct settings_item *item, bool *to, struct text value, char *error,
	size_t error_size)
{
	if (!text_equal(value, TEXT("yes")) && !text_equal(value, TEXT("no")))
		return say_wrong(item, value, error, error_size);
	*to = text_equal(value, TEXT("yes"));
	return 0;
}

static int set_number(const struct settings_item *item, uint64_t *to, struct text value,
	char *error, size_t error_size)
{
	uint64_t number;

	if (parse_number(item, value, &number) != 0)
		return say_wrong(item, value, error, error_size);
	if (check_number(item, number, error, error_size) != 0)
		return -1;
	*to = number;
	return 0;
}

static void replace_string(char **to, struct text value)
{
	mem_free(*to);
	*to = mem_copy(value.ptr, value.len);
}

int settings_set_octets(const struct settings_item *item, void *values, struct text value,
	char *error, size_t error_size)
{
	void *to = settings_at(item, values);

	switch (item->type) {
	case SETTINGS_BOOL:
		return set_bool(item, to, value, error, error_size);
	case SETTINGS_NUMBER:
	case SETTINGS_OCTETS:
	case SETTINGS_SECONDS:
		return set_number(item, to, value, error, error_size);
	case SETTINGS_STRING:
	case SETTINGS_LIST:
		break;
	}
	if (text_find(value, '\0') >= 0)
		return say_wrong(item, value, error, error_size);
	if (check_length(item, value.len, error, error_size) != 0)
		return -1;
	if (item->type == SETTINGS_LIST)
		settings_list_add(to, value);
	else
		replace_string(to, value);
	return 0;
}

int settings_set_value(const struct settings_item *item, void *values, struct text value,
	char *error, size_t error_size)
{
	if (has_octet_below(value, ' '))
		return say_wrong(item, value, error, error_size);
	return settings_set_octets(item, values, value, error, error_size);
}

int settings_check_value(
	const struct settings_item *item, const void *values, char *error, size_t error_size)
{
	const void *at = (const char *)values + item->offset;

	switch (item->type) {
	case SETTINGS_BOOL:
		return 0;
	case SETTINGS_NUMBER:
	case SETTINGS_OCTETS:
	case SETTINGS_SECONDS:
		return check_number(item, *(const uint64_t *)at, error, error_size);
	case SETTINGS_STRING:
		return check_length(item, strlen(*(char *const *)at), error, error_size);
	case SETTINGS_LIST:
		break;
	}
	const struct settings_list *list = at;
	for (size_t i = 0; i < list->count; i++) {
		if (check_length(item, strlen(list->item[i]), error, error_size) != 0)
			return -1;
	}
	return 0;
}

/* ---- the public face ---- */

const struct settings_item *settings_find(const struct settings_section *section, struct text name)
{
	for (size_t i = 0; i < section->count; i++) {
		if (text_equal(text_of(section->items[i].name), name))
			return &section->items[i];
	}
	return NULL;
}

static void free_item(const struct settings_item *item, void *values)
{
	void *at = settings_at(item, values);

	if (item->type == SETTINGS_STRING) {
		mem_free(*(char **)at);
		*(char **)at = NULL;
	}
	if (item->type == SETTINGS_LIST)
		settings_list_clear(at);
}

void settings_free(const struct settings_section *section, void *values)
{
	for (size_t i = 0; i < section->count; i++)
		free_item(&section->items[i], values);
}

/* A list's words into fresh memory first, so that a bad one leaves the list as it was. */
static int set_list(const struct settings_item *item, void *values, struct text words, char *error,
	size_t error_size)
{
	struct settings_list *list = settings_at(item, values), old = *list;
	struct text word;

	*list = (struct settings_list){ 0 };
	while (text_split(&words, ' ', &word)) {
		if (word.len && settings_set_value(item, values, word, error, error_size) != 0) {
			settings_list_clear(list);
			*list = old;
			return -1;
		}
	}
	settings_list_clear(&old);
	return 0;
}

int settings_set(const struct settings_section *section, void *values, const char *name,
	struct text value, char *error, size_t error_size)
{
	const struct settings_item *item = settings_find(section, text_of(name));

	if (!item) {
		snprintf(error, error_size,
			"there is no setting \"%s\"; see the sample for the names",
			show(text_of(name)).string);
		return -1;
	}
	if (item->type == SETTINGS_LIST)
		return set_list(item, values, value, error, error_size);
	return settings_set_value(item, values, value, error, error_size);
}

void settings_preset(const struct settings_section *section, void *values)
{
	for (size_t i = 0; i < section->count; i++) {
		/* A preset may lie outside the bounds: then the item has to be set. */
		struct settings_item item = section->items[i];
		char error[200];
		item.least = item.most = 0;
		struct settings_section one = { .items = &item, .count = 1 };
		if (settings_set(&one, values, item.name, text_of(item.preset), error,
			    sizeof(error)) != 0)
			LOG_FATAL("preset-is-wrong", LOG_STRING("error", error));
	}
}
