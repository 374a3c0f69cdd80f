#include <confuse.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/settings.h"
#include "base/settings_private.h"
#include "base/sys.h"

enum { LARGEST_FILE = 1 << 20, LONGEST_NAME = 64, SENTENCE = 600, MOST_FINDINGS = 100 };

/* libconfuse hands its callbacks no pointer of ours, and its scanner has global state anyway. */
static struct settings_reading *current;

/* ---- findings ---- */

void settings_finding(
	struct settings_reading *reading, int section, unsigned line, const char *format, ...)
{
	char sentence[SENTENCE];
	va_list arguments;

	if (section != SETTINGS_NOWHERE)
		reading->places[section].faulty = true;
	if (reading->findings == MOST_FINDINGS)
		return;
	va_start(arguments, format);
	vsnprintf(sentence, sizeof(sentence), format, arguments);
	va_end(arguments);
	reading->found =
		mem_resize(reading->found, (reading->findings + 1) * sizeof(*reading->found));
	reading->found[reading->findings++] = (struct settings_found){ .line = line,
		.sentence = mem_copy(sentence, strlen(sentence)) };
}

static void report_all(struct settings_reading *reading,
	void (*report)(void *owner, const char *sentence), void *owner)
{
	for (size_t i = 0; i < reading->findings; i++) {
		const struct settings_found *found = &reading->found[i];
		struct buf whole = { 0 };
		buf_add_string(&whole, reading->file);
		if (found->line)
			buf_format(&whole, ":%u", found->line);
		buf_format(&whole, ": %s", found->sentence);
		buf_add_char(&whole, '\0');
		report(owner, buf_text(&whole).ptr);
		buf_release(&whole);
		mem_free(found->sentence);
	}
	mem_free(reading->found);
}

/* Few findings, and those of one line stay in their order: insertion sort. */
static void sort_findings(struct settings_reading *reading)
{
	for (size_t i = 1; i < reading->findings; i++) {
		struct settings_found found = reading->found[i];
		size_t j = i;
		for (; j > 0 && reading->found[j - 1].line > found.line; j--)
			reading->found[j] = reading->found[j - 1];
		reading->found[j] = found;
	}
}

int settings_section_named(const struct settings_reading *reading, struct text name)
{
	for (size_t i = 0; i < reading->count; i++) {
		const char *is = reading->sections[i]->name;
		if (text_equal(is ? text_of(is) : TEXT(""), name))
			return (int)i;
	}
	return SETTINGS_NOWHERE;
}

/* How many octets must be added, removed or changed to make a from b (Levenshtein). */
static size_t distance(struct text a, struct text b)
{
	size_t row[LONGEST_NAME + 1];

	if (a.len > LONGEST_NAME || b.len > LONGEST_NAME)
		return LONGEST_NAME;
	for (size_t j = 0; j <= b.len; j++)
		row[j] = j;
	for (size_t i = 1; i <= a.len; i++) {
		size_t diagonal = row[0];
		row[0] = i;
		for (size_t j = 1; j <= b.len; j++) {
			size_t changed = diagonal + (a.ptr[i - 1] != b.ptr[j - 1]);
			size_t shorter = (row[j] < row[j - 1] ? row[j] : row[j - 1]) + 1;
			diagonal = row[j];
			row[j] = changed < shorter ? changed : shorter;
		}
	}
	return row[b.len];
}

static void consider(struct text name, const char *candidate, const char **best, size_t *least)
{
	size_t d = distance(name, text_of(candidate));

	if (d < *least) {
		*least = d;
		*best = candidate;
	}
}

/* The name that was probably meant: among the section's items and, at the top, the sections. */
static const char *nearest(const struct settings_reading *reading, int section, struct text name)
{
	const char *best = NULL;
	size_t least = name.len / 3 + 2;

	for (size_t i = 0; i < reading->count; i++) {
		const struct settings_section *s = reading->sections[i];
		if (section == SETTINGS_NOWHERE && s->name)
			consider(name, s->name, &best, &least);
		for (size_t j = 0; (int)i == section && j < s->count; j++)
			consider(name, s->items[j].name, &best, &least);
	}
	return best;
}

static const char *home_of(const struct settings_reading *reading, struct text name)
{
	for (size_t i = 0; i < reading->count; i++) {
		const struct settings_section *s = reading->sections[i];
		if (settings_find(s, name))
			return s->name ? s->name : "the top of the file";
	}
	return NULL;
}

void settings_report_unknown(
	struct settings_reading *reading, int section, unsigned line, struct text name)
{
	const char *home = home_of(reading, name), *meant = nearest(reading, section, name);
	struct text shown = text_head(name, name.len < LONGEST_NAME ? name.len : LONGEST_NAME);

	if (home)
		settings_finding(reading, section, line,
			"\"%.*s\" does not belong here; move it to %s", TEXT_ARG(shown), home);
	else if (meant)
		settings_finding(reading, section, line,
			"there is no \"%.*s\" here; did you mean %s?", TEXT_ARG(shown), meant);
	else
		settings_finding(reading, section, line, "there is no \"%.*s\" here; remove it",
			TEXT_ARG(shown));
}

/* ---- libconfuse ---- */

static int on_value(cfg_t *cfg, cfg_opt_t *opt, const char *value, void *result)
{
	int section = settings_section_named(current, TEXT(""));
	char error[SENTENCE];

	*(const char **)result = value;
	if (strcmp(cfg->name, "root") != 0)
		section = settings_section_named(current, text_of(cfg->name));
	const struct settings_item *item =
		settings_find(current->sections[section], text_of(opt->name));
	void *values = current->values[section];
	/* The first item of a list takes the place of the default. */
	if (item->type == SETTINGS_LIST && opt->nvalues == 1)
		settings_list_clear(settings_at(item, values));
	if (settings_set_value(item, values, text_of(value), error, sizeof(error)) != 0)
		settings_finding(current, section, (unsigned)cfg->line, "%s", error);
	return 0;
}

static void on_error(cfg_t *cfg, const char *format, va_list arguments)
	__attribute__((format(printf, 2, 0)));

static void on_error(cfg_t *cfg, const char *format, va_list arguments)
{
	char sentence[SENTENCE];

	vsnprintf(sentence, sizeof(sentence), format, arguments);
	settings_finding(current, SETTINGS_NOWHERE, (unsigned)cfg->line,
		"%s; write name = value, name = { value, value } or name { ... }", sentence);
}

static cfg_opt_t option_of(const struct settings_item *item)
{
	return (cfg_opt_t){ .name = item->name,
		.type = CFGT_STR,
		.flags = CFGF_NODEFAULT | (item->type == SETTINGS_LIST ? CFGF_LIST : 0),
		.parsecb = on_value };
}

static cfg_opt_t *options_of(const struct settings_section *section, size_t more)
{
	cfg_opt_t *options = mem_array(section->count + more + 1, sizeof(*options));

	for (size_t i = 0; i < section->count; i++)
		options[i] = option_of(&section->items[i]);
	return options;
}

static cfg_t *grammar_of(const struct settings_reading *reading)
{
	static const struct settings_section nothing;
	int top = settings_section_named(reading, TEXT(""));
	const struct settings_section *common =
		top == SETTINGS_NOWHERE ? &nothing : reading->sections[top];
	cfg_opt_t *options = options_of(common, reading->count);
	size_t used = common->count;

	for (size_t i = 0; i < reading->count; i++) {
		const struct settings_section *s = reading->sections[i];
		if (s->name)
			options[used++] = (cfg_opt_t){
				.name = s->name, .type = CFGT_SEC, .subopts = options_of(s, 0)
			};
	}
	cfg_t *cfg = cfg_init(options, CFGF_NONE);
	if (!cfg)
		LOG_FATAL("out-of-memory", LOG_STRING("what", "settings"));
	while (used-- > common->count)
		mem_free(options[used].subopts);
	mem_free(options);
	cfg_set_error_function(cfg, on_error);
	return cfg;
}

/* libconfuse calls nobody for "name = { }". */
static void empty_lists(struct settings_reading *reading, cfg_t *cfg)
{
	for (size_t i = 0; i < reading->count; i++) {
		const struct settings_section *s = reading->sections[i];
		cfg_t *part = s->name ? cfg_getsec(cfg, s->name) : cfg;
		for (size_t j = 0; part && j < s->count; j++) {
			if (s->items[j].type == SETTINGS_LIST && reading->places[i].item_lines[j] &&
				cfg_size(part, s->items[j].name) == 0)
				settings_list_clear(settings_at(&s->items[j], reading->values[i]));
		}
	}
}

static void parse(struct settings_reading *reading, struct text octets)
{
	struct buf scanned = { 0 };

	settings_scan(reading, octets, &scanned);
	buf_add_char(&scanned, '\0');
	current = reading;
	cfg_t *cfg = grammar_of(reading);
	if (cfg_parse_buf(cfg, buf_text(&scanned).ptr) != CFG_SUCCESS && reading->findings == 0)
		settings_finding(reading, SETTINGS_NOWHERE, (unsigned)cfg->line,
			"the file cannot be understood from here on; compare with the sample");
	empty_lists(reading, cfg);
	cfg_free(cfg);
	current = NULL;
	buf_release(&scanned);
}

/* ---- all sections ---- */

/* The line of the item that the sentence begins with, else of its section. */
static unsigned line_of(const struct settings_reading *reading, size_t i, const char *sentence)
{
	const struct settings_section *s = reading->sections[i];
	struct text word = text_head(text_of(sentence), strcspn(sentence, " :,;"));
	const struct settings_item *item = settings_find(s, word);
	unsigned line = item ? reading->places[i].item_lines[item - s->items] : 0;

	if (line == 0)
		line = reading->places[i].line;
	return line ? line : 1;
}

static void check_section(struct settings_reading *reading, size_t i)
{
	const struct settings_section *s = reading->sections[i];
	char error[SENTENCE];

	for (size_t j = 0; j < s->count; j++) {
		if (reading->places[i].item_lines[j] == 0 &&
			settings_check_value(
				&s->items[j], reading->values[i], error, sizeof(error)) != 0)
			settings_finding(reading, (int)i, line_of(reading, i, ""), "%s", error);
	}
	if (reading->places[i].faulty || !s->verify)
		return;
	if (s->verify(reading->values[i], error, sizeof(error)) != 0)
		settings_finding(reading, (int)i, line_of(reading, i, error), "%s", error);
}

static int read_file(struct settings_reading *reading)
{
	size_t size;
	char *octets = sys_read_file(AT_FDCWD, reading->file, LARGEST_FILE, &size);

	if (!octets) {
		settings_finding(reading, SETTINGS_NOWHERE, 0,
			"cannot be read: %s; create it or name another file", log_errno(errno));
		return -1;
	}
	parse(reading, (struct text){ .ptr = octets, .len = size });
	mem_free(octets);
	for (size_t i = 0; i < reading->count; i++)
		check_section(reading, i);
	return reading->findings ? -1 : 0;
}

int settings_read(const char *file, const struct settings_section *const *sections, size_t count,
	void *const *values, void (*report)(void *owner, const char *sentence), void *owner)
{
	struct settings_reading reading = { .file = file,
		.sections = sections,
		.count = count,
		.values = values,
		.places = mem_array(count, sizeof(*reading.places)) };

	for (size_t i = 0; i < count; i++) {
		settings_preset(sections[i], values[i]);
		reading.places[i].item_lines = mem_array(sections[i]->count, sizeof(unsigned));
	}
	int result = read_file(&reading);
	sort_findings(&reading);
	report_all(&reading, report, owner);
	for (size_t i = 0; i < count; i++)
		mem_free(reading.places[i].item_lines);
	mem_free(reading.places);
	return result;
}
