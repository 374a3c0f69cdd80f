/*
 * The tables as a sample file and as the manual page restante.conf(5).
 */
#include <ctype.h>
#include <string.h>

#include "base/mem.h"
#include "base/settings.h"
#include "base/settings_private.h"

enum { WIDTH = 78 };

static const char *type_of(enum settings_type type)
{
	switch (type) {
	case SETTINGS_BOOL:
		return "yes or no";
	case SETTINGS_NUMBER:
		return "number";
	case SETTINGS_OCTETS:
		return "size";
	case SETTINGS_SECONDS:
		return "time";
	case SETTINGS_STRING:
		return "text";
	case SETTINGS_LIST:
		return "list";
	}
	return "";
}

static bool is_number(enum settings_type type)
{
	return type == SETTINGS_NUMBER || type == SETTINGS_OCTETS || type == SETTINGS_SECONDS;
}

static bool must_be_set(const struct settings_item *item)
{
	return item->type == SETTINGS_STRING && item->least > 0 && !*item->preset;
}

/* "size, 1K to 2G": what a person has to know of an item beside its help. */
static void describe(const struct settings_item *item, struct buf *to)
{
	char bound[32];

	buf_add_string(to, type_of(item->type));
	if (!is_number(item->type))
		return;
	if (item->least) {
		settings_format_number(item->type, item->least, bound, sizeof(bound));
		buf_format(to, ", %s%s", item->most ? "" : "from ", bound);
	}
	if (item->most) {
		settings_format_number(item->type, item->most, bound, sizeof(bound));
		buf_format(to, "%s%s", item->least ? " to " : ", up to ", bound);
	}
}

void settings_add_quoted(struct buf *to, struct text word)
{
	buf_add_char(to, '"');
	for (size_t i = 0; i < word.len; i++) {
		if (word.ptr[i] == '"' || word.ptr[i] == '\\')
			buf_add_char(to, '\\');
		buf_add_char(to, word.ptr[i]);
	}
	buf_add_char(to, '"');
}

/* The preset as it would be written in the file. */
static void add_preset(struct buf *to, const struct settings_item *item)
{
	struct text rest = text_of(item->preset), word;
	const char *before = " ";

	if (item->type == SETTINGS_STRING) {
		settings_add_quoted(to, rest);
	} else if (item->type != SETTINGS_LIST) {
		buf_add(to, rest);
	} else {
		buf_add_char(to, '{');
		while (text_split(&rest, ' ', &word)) {
			if (word.len == 0)
				continue;
			buf_add_string(to, before);
			settings_add_quoted(to, word);
			before = ", ";
		}
		buf_add_string(to, " }");
	}
}

/* ---- the sample ---- */

static void print_wrapped(FILE *to, const char *before, struct text sentence)
{
	size_t column = 0;
	struct text word;

	while (text_split(&sentence, ' ', &word)) {
		if (column && column + 1 + word.len > WIDTH) {
			fputc('\n', to);
			column = 0;
		}
		column += (size_t)fprintf(to, "%s%.*s", column ? " " : before, TEXT_ARG(word));
	}
	fputc('\n', to);
}

static void print_sample_item(FILE *to, const struct settings_item *item, const char *indent)
{
	struct buf help = { 0 }, preset = { 0 };
	char before[16];

	buf_format(&help, "%s (", item->help);
	describe(item, &help);
	buf_add_string(&help, must_be_set(item) ? "; has to be set)" : ")");
	add_preset(&preset, item);
	snprintf(before, sizeof(before), "%s# ", indent);
	print_wrapped(to, before, buf_text(&help));
	fprintf(to, "%s#%s = %.*s\n\n", indent, item->name, TEXT_ARG(buf_text(&preset)));
	buf_release(&help);
	buf_release(&preset);
}

void settings_print_sample(FILE *to, const struct settings_section *const *sections, size_t count)
{
	fputs("# Settings of restante. A name that stands behind # has the value shown;\n"
	      "# remove the # to change it. restante.conf(5) tells more.\n\n",
		to);
	for (size_t i = 0; i < count; i++) {
		const struct settings_section *section = sections[i];
		if (section->name)
			fprintf(to, "%s {\n", section->name);
		for (size_t j = 0; j < section->count; j++)
			print_sample_item(to, &section->items[j], section->name ? "\t" : "");
		if (section->name)
			fputs("}\n\n", to);
	}
}

/* ---- the manual page ---- */

/* Text between mdoc's macros: no backslash and no line that begins with a control character is left. */
static void print_mdoc(FILE *to, struct text text)
{
	bool at_start = true;

	for (size_t i = 0; i < text.len; i++) {
		char c = text.ptr[i];
		if (at_start && (c == '.' || c == '\''))
			fputs("\\&", to);
		if (c == '\\')
			fputs("\\e", to);
		else if (c == '"')
			fputs("\\(dq", to);
		else
			fputc(c, to);
		at_start = c == '\n';
	}
}

/* mdoc wants every sentence on a line of its own. */
static void print_mdoc_sentences(FILE *to, const char *sentences)
{
	const char *end;

	while ((end = strpbrk(sentences, ".?!")) && end[1] == ' ' &&
		isupper((unsigned char)end[2])) {
		print_mdoc(to,
			(struct text){ .ptr = sentences, .len = (size_t)(end - sentences) + 1 });
		fputc('\n', to);
		sentences = end + 2;
	}
	print_mdoc(to, text_of(sentences));
	fputc('\n', to);
}

static void print_manual_item(FILE *to, const struct settings_item *item)
{
	struct buf facts = { 0 };

	fprintf(to, ".It Ic %s\n", item->name);
	print_mdoc_sentences(to, item->help);
	describe(item, &facts);
	if (must_be_set(item)) {
		buf_add_string(&facts, "; has to be set");
	} else {
		buf_add_string(&facts, "; default ");
		add_preset(&facts, item);
	}
	fputs("(Value: ", to);
	print_mdoc(to, buf_text(&facts));
	fputs(".)\n", to);
	buf_release(&facts);
}

static void print_manual_section(FILE *to, const struct settings_section *section)
{
	if (section->name)
		fprintf(to, ".Ss Section %s\n", section->name);
	else
		fputs(".Ss Top of the file\n", to);
	fputs(".Bl -tag -width Ds\n", to);
	for (size_t i = 0; i < section->count; i++)
		print_manual_item(to, &section->items[i]);
	fputs(".El\n", to);
}

static const char manual_head[] =
	".Dd November 22, 2026\n"
	".Dt RESTANTE.CONF 5\n"
	".Os\n"
	".Sh NAME\n"
	".Nm restante.conf\n"
	".Nd settings of the mail host restante\n"
	".Sh SYNOPSIS\n"
	".Pa /etc/restante/restante.conf\n"
	".Sh DESCRIPTION\n"
	"The file holds settings of the form\n"
	".Dl name = value\n"
	"at its top and in one section for each role:\n"
	".Bd -literal -offset indent\n"
	"hostname = mail.example.org\n"
	"smtp-in {\n"
	"\tlisten = { \"192.0.2.1:25\", \"[2001:db8::1]:25\" }\n"
	"\tlisten-submission = \"*:587\"\n"
	"}\n"
	".Ed\n"
	".Pp\n"
	"A value is a word, or text in single or double quotes on one line, where a\n"
	"backslash stands before a quote or a backslash that is meant.\n"
	"A list is values between braces with commas between them, and replaces the default as a "
	"whole.\n"
	"A size is a number of octets, or a number with\n"
	".Cm K , M , G\n"
	"or\n"
	".Cm T\n"
	"(powers of 1024).\n"
	"A time is a number of seconds, or a number with\n"
	".Cm s , m , h\n"
	"or\n"
	".Cm d .\n"
	"Comments begin with\n"
	".Li #\n"
	"or\n"
	".Li //\n"
	"and end with the line, or stand between\n"
	".Li /*\n"
	"and\n"
	".Li */ .\n"
	"Nothing is replaced from the environment.\n"
	"Every name may be given once.\n"
	".Pp\n"
	".Ic restante check\n"
	"reads the file and says what is wrong in it.\n"
	".Sh SETTINGS\n";

static const char manual_foot[] = ".Sh FILES\n"
				  ".Bl -tag -width Ds\n"
				  ".It Pa /etc/restante/restante.conf\n"
				  "The default place of the file.\n"
				  ".El\n"
				  ".Sh SEE ALSO\n"
				  ".Xr restante 1\n";

void settings_print_manual(FILE *to, const struct settings_section *const *sections, size_t count)
{
	fputs(manual_head, to);
	for (size_t i = 0; i < count; i++)
		print_manual_section(to, sections[i]);
	fputs(manual_foot, to);
}
