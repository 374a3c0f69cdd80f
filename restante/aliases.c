#include "restante/aliases.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "base/arena.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/sys.h"
#include "mail/address.h"
#include "mail/aliases.h"
#include "mail/idn.h"
#include "restante/terminal.h"
#include "store/protocol.h"

enum { FILE_LIMIT = 64 << 20, SENTENCE_LIMIT = 1024, INCLUDES_LIMIT = 1000 };

/* An alias on its way into the run. */
struct entry {
	struct text address, printed; /* canonical, and as the store reads it */
	struct text owner;
	struct text *members; /* printed */
	size_t count, room;
	unsigned line;
	bool is_owner; /* "owner-…" */
};

struct reading {
	struct aliases_file *file;
	struct text domain;
	host_report *report;
	void *owner;
	unsigned findings, includes;
	size_t included; /* octets */
	struct entry *entries;
	size_t count, room;
	struct entry *entry; /* under way */
};

static void find(struct reading *reading, const char *name, unsigned line, const char *format, ...)
	__attribute__((format(printf, 4, 5)));

static void find(struct reading *reading, const char *name, unsigned line, const char *format, ...)
{
	char what[SENTENCE_LIMIT / 2], sentence[SENTENCE_LIMIT];
	struct buf safe = { 0 };
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(what, sizeof(what), format, arguments);
	va_end(arguments);
	if (line)
		snprintf(sentence, sizeof(sentence), "%.400s:%u: %s", name, line, what);
	else
		snprintf(sentence, sizeof(sentence), "%.400s: %s", name, what);
	terminal_add(&safe, text_of(sentence));
	buf_add_char(&safe, '\0');
	reading->report(reading->owner, buf_text(&safe).ptr);
	buf_release(&safe);
	reading->findings++;
}

/* ---- addresses ---- */

/* Whether a domain is there: an "@" that is not within quotes. */
static bool has_domain(struct text name)
{
	bool quoted = false;

	for (size_t i = 0; i < name.len; i++) {
		if (quoted && name.ptr[i] == '\\')
			i++;
		else if (name.ptr[i] == '"')
			quoted = !quoted;
		else if (!quoted && name.ptr[i] == '@')
			return true;
	}
	return false;
}

/* The name as an address, canonical and printed. False after having said why not. */
static bool take_address(struct reading *reading, const char *file, unsigned line, struct text name,
	struct text *canonical, struct text *printed)
{
	struct arena *arena = reading->file->arena;
	struct address address;
	struct text whole = name;

	if (text_find(name, '\0') >= 0) {
		find(reading, file, line, "there is a NUL in an address");
		return false;
	}
	if (!has_domain(name)) {
		if (reading->domain.len == 0) {
			find(reading, file, line,
				"\"%.*s\" has no domain, and the settings name none",
				TEXT_ARG(name));
			return false;
		}
		whole = text_format(arena, "%.*s@%.*s", TEXT_ARG(name), TEXT_ARG(reading->domain));
	}
	const enum address_fault fault = address_parse(arena, whole, true, &address);
	if (fault != ADDRESS_OK) {
		find(reading, file, line, "\"%.*s\" is not an address (%s)", TEXT_ARG(name),
			address_fault_text(fault));
		return false;
	}
	*printed = address_print(arena, &address);
	*canonical = address_canonical(arena, &address);
	if (!canonical->ptr)
		find(reading, file, line, "\"%.*s\" has no valid internationalized domain",
			TEXT_ARG(name));
	return canonical->ptr != NULL;
}

/* ---- members ---- */

static void add_member(struct reading *reading, const char *file, const struct aliases_item *item)
{
	struct entry *entry = reading->entry;
	struct text canonical, printed;

	if (!take_address(reading, file, item->line, item->value, &canonical, &printed))
		return;
	if (entry->count == STORE_MEMBERS_LIMIT) {
		find(reading, file, item->line, "more than %d members", (int)STORE_MEMBERS_LIMIT);
		return;
	}
	if (entry->count == entry->room) {
		entry->room = entry->room ? 2 * entry->room : 8;
		struct text *more = arena_take(reading->file->arena, entry->room * sizeof(*more));
		if (entry->count)
			memcpy(more, entry->members, entry->count * sizeof(*more));
		entry->members = more;
	}
	entry->members[entry->count++] = printed;
}

static void include(struct reading *reading, const struct aliases_item *item);

static void take_items(
	struct reading *reading, const char *file, const struct aliases_item *item, bool included)
{
	for (; item; item = item->next) {
		switch (item->kind) {
		case ALIASES_ADDRESS:
			add_member(reading, file, item);
			break;
		case ALIASES_COMMAND:
			find(reading, file, item->line,
				"\"%.*s\": no program is run for mail here; let it fetch the mail "
				"of a user",
				TEXT_ARG(item->value));
			break;
		case ALIASES_FILE:
			find(reading, file, item->line,
				"\"%.*s\": mail is not written to files here; give a user",
				TEXT_ARG(item->value));
			break;
		case ALIASES_INCLUDE:
			if (included)
				find(reading, file, item->line,
					"an included file cannot include another one");
			else
				include(reading, item);
			break;
		}
	}
}

/* The real path of a file below the directory of the aliases file; NULL after having said why not. */
static char *find_included(struct reading *reading, const struct aliases_item *item)
{
	struct arena *arena = reading->file->arena;
	const char *name = reading->file->name;
	const char *slash = strrchr(name, '/');
	const struct text above =
		slash ? text_head(text_of(name), (size_t)(slash - name) + 1) : TEXT("./");
	const char *path = text_string(arena,
		item->value.ptr[0] == '/'
			? item->value
			: text_format(arena, "%.*s%.*s", TEXT_ARG(above), TEXT_ARG(item->value)));
	char *allowed = realpath(text_string(arena, above), NULL);
	char *real = path ? realpath(path, NULL) : NULL;
	const size_t length = allowed ? strlen(allowed) : 0;

	if (!real || !allowed) {
		find(reading, name, item->line, "%.*s: %s", TEXT_ARG(item->value),
			log_errno(path ? errno : EINVAL));
	} else if (strncmp(real, allowed, length) != 0 ||
		   (real[length] != '/' && strcmp(allowed, "/") != 0)) {
		find(reading, name, item->line, "%.*s: only files below %s are included",
			TEXT_ARG(item->value), allowed);
		free(real);
		real = NULL;
	}
	free(allowed);
	return real;
}

static void include(struct reading *reading, const struct aliases_item *item)
{
	struct aliases_reader reader = { 0 };
	struct aliases_item *items;
	const char *error;
	unsigned line;
	size_t size;
	int result;

	if (reading->includes++ == INCLUDES_LIMIT) {
		find(reading, reading->file->name, item->line, "too many included files");
		return;
	}
	char *path = find_included(reading, item);
	char *octets =
		path ? sys_read_file(AT_FDCWD, path, FILE_LIMIT - reading->included, &size) : NULL;
	if (octets) {
		reading->included += size;
		/* The texts of its members point into it. */
		reader.rest = text_copy(
			reading->file->arena, (struct text){ .ptr = octets, .len = size });
		while ((result = aliases_next_included(
				&reader, reading->file->arena, &items, &line, &error)) != 0) {
			if (result < 0)
				find(reading, path, line, "%s", error);
			else
				take_items(reading, path, items, true);
		}
	} else if (path) {
		find(reading, reading->file->name, item->line, "%.*s: %s", TEXT_ARG(item->value),
			log_errno(errno));
	}
	mem_free(octets);
	free(path);
}

/* ---- entries ---- */

static struct entry *new_entry(struct reading *reading)
{
	if (reading->count == reading->room) {
		reading->room = reading->room ? 2 * reading->room : 64;
		reading->entries =
			mem_resize(reading->entries, reading->room * sizeof(*reading->entries));
	}
	reading->entries[reading->count] = (struct entry){ .owner = TEXT("") };
	return &reading->entries[reading->count++];
}

static bool take_name(
	struct reading *reading, const struct aliases_entry *from, struct entry *entry)
{
	const char *name = reading->file->name;

	entry->line = from->line;
	if (from->name.ptr[0] != '@')
		return take_address(
			reading, name, from->line, from->name, &entry->address, &entry->printed);
	const struct text domain = idn_domain(reading->file->arena, text_from(from->name, 1));
	if (!domain.ptr || !address_is_domain(domain, false)) {
		find(reading, name, from->line, "\"%.*s\" is not a domain", TEXT_ARG(from->name));
		return false;
	}
	entry->address = text_format(reading->file->arena, "@%.*s", TEXT_ARG(domain));
	entry->printed = entry->address;
	return true;
}

static void read_entries(struct reading *reading, struct text octets)
{
	struct aliases_reader reader = { .rest = octets.len ? octets : TEXT("") };
	struct aliases_entry from;
	const char *error;
	unsigned line;
	int result;

	while ((result = aliases_next(&reader, reading->file->arena, &from, &line, &error)) != 0) {
		if (result < 0) {
			find(reading, reading->file->name, line, "%s", error);
			continue;
		}
		reading->entry = new_entry(reading);
		if (!take_name(reading, &from, reading->entry)) {
			reading->count--;
			continue;
		}
		take_items(reading, reading->file->name, from.items, false);
	}
}

static int compare(const void *left, const void *right)
{
	const struct entry *a = left, *b = right;
	const int order = text_compare(a->address, b->address);

	return order ? order : a->line < b->line ? -1 : a->line > b->line;
}

static int compare_address(const void *key, const void *element)
{
	return text_compare(*(const struct text *)key, ((const struct entry *)element)->address);
}

static void find_doubles(struct reading *reading)
{
	for (size_t i = 1; i < reading->count; i++) {
		const struct entry *entry = &reading->entries[i], *before = entry - 1;
		if (text_equal(entry->address, before->address))
			find(reading, reading->file->name, entry->line,
				"%.*s is there already, in line %u", TEXT_ARG(entry->address),
				before->line);
	}
}

/* "owner-x" is who gets the errors of x, if there is an x. */
static void find_owners(struct reading *reading)
{
	for (size_t i = 0; i < reading->count; i++) {
		struct entry *entry = &reading->entries[i];
		const struct text name =
			text_format(reading->file->arena, "owner-%.*s", TEXT_ARG(entry->address));
		const struct entry *owner = bsearch(
			&name, reading->entries, reading->count, sizeof(*entry), compare_address);
		if (owner)
			entry->owner = owner->printed;
	}
}

static void pack(struct reading *reading)
{
	struct aliases_file *file = reading->file;
	struct buf members = { 0 };

	file->lines = arena_take(file->arena, (reading->count + 1) * sizeof(*file->lines));
	for (size_t i = 0; i < reading->count; i++) {
		const struct entry *entry = &reading->entries[i];
		buf_clear(&members);
		for (size_t k = 0; k < entry->count; k++)
			store_member_pack(
				&members, &(struct store_member){ .address = entry->members[k] });
		store_alias_pack(&file->run, &(struct store_alias){ .address = entry->printed,
						     .owner = entry->owner,
						     .members = buf_text(&members) });
		file->lines[file->count++] =
			(struct aliases_line){ .address = entry->address, .line = entry->line };
		if (buf_length(&file->run) <= STORE_ALIASES_LIMIT)
			continue;
		find(reading, file->name, entry->line, "more aliases than can be taken at once");
		break;
	}
	buf_release(&members);
}

int aliases_read(struct aliases_file *file, const char *name, struct text domain,
	host_report *report, void *owner)
{
	struct reading reading = {
		.file = file, .domain = domain, .report = report, .owner = owner
	};
	size_t size;

	*file = (struct aliases_file){ .arena = arena_new(1 << 16), .name = name };
	char *octets = sys_read_file(AT_FDCWD, name, FILE_LIMIT, &size);
	if (!octets) {
		find(&reading, name, 0, "%s", log_errno(errno));
		return EX_NOINPUT;
	}
	read_entries(&reading, (struct text){ .ptr = octets, .len = size });
	if (reading.count)
		qsort(reading.entries, reading.count, sizeof(*reading.entries), compare);
	find_doubles(&reading);
	if (reading.count)
		find_owners(&reading);
	if (reading.findings == 0)
		pack(&reading);
	mem_free(reading.entries);
	mem_free(octets);
	return reading.findings ? EX_DATAERR : EX_OK;
}

void aliases_release(struct aliases_file *file)
{
	arena_free(&file->arena);
	buf_release(&file->run);
	*file = (struct aliases_file){ 0 };
}

static int compare_line(const void *key, const void *element)
{
	return text_compare(
		*(const struct text *)key, ((const struct aliases_line *)element)->address);
}

/* The line of the first alias that a sentence names; 0: of none. */
static unsigned line_of(const struct aliases_file *file, struct text sentence)
{
	struct text rest = sentence, word;

	while (file->count && text_split(&rest, ' ', &word)) {
		if (word.len && word.ptr[word.len - 1] == ':')
			word.len--;
		const struct aliases_line *line =
			bsearch(&word, file->lines, file->count, sizeof(*line), compare_line);
		if (line)
			return line->line;
	}
	return 0;
}

size_t aliases_report(
	const struct aliases_file *file, struct text sentences, host_report *report, void *owner)
{
	struct text rest = sentences, sentence;
	char whole[SENTENCE_LIMIT + 64];
	size_t count = 0;

	while (sentences.len && text_split(&rest, '\n', &sentence)) {
		const unsigned line = line_of(file, sentence);
		if (line)
			snprintf(whole, sizeof(whole), "%.400s:%u: %.*s", file->name, line,
				TEXT_ARG(sentence));
		else
			snprintf(whole, sizeof(whole), "%.400s: %.*s", file->name,
				TEXT_ARG(sentence));
		report(owner, whole);
		count++;
	}
	return count;
}
