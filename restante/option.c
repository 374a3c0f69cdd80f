#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>

#include "base/mem.h"
#include "restante/command.h"

int command_misused(const struct command_line *line, const char *format, ...)
{
	va_list arguments;

	fputs("restante: ", stderr);
	va_start(arguments, format);
	vfprintf(stderr, format, arguments);
	va_end(arguments);
	fprintf(stderr, "; see restante help %s\n", line->name);
	return EX_USAGE;
}

static void append(struct option_list *list, const char *item)
{
	list->item = mem_resize(list->item, (list->count + 1) * sizeof(*list->item));
	list->item[list->count++] = item;
}

static const struct option *find_option(
	const struct option *options, size_t count, struct text name)
{
	for (size_t i = 0; i < count; i++) {
		if (text_equal(text_of(options[i].name), name))
			return &options[i];
	}
	return NULL;
}

static void take_value(const struct option *option, const char *value)
{
	switch (option->kind) {
	case OPTION_FLAG:
		break;
	case OPTION_VALUE:
		*(const char **)option->to = value;
		break;
	case OPTION_LIST:
		append(option->to, value);
		break;
	}
}

/* The option at arguments[*at]; *at moves to its last word. */
static int take_option(
	const struct command_line *line, const struct option *options, size_t count, int *at)
{
	const char *argument = line->arguments[*at];
	const struct text whole = text_of(argument);
	const ptrdiff_t equals = text_begins(whole, TEXT("--")) ? text_find(whole, '=') : -1;
	const struct text name = equals < 0 ? whole : text_head(whole, (size_t)equals);
	const struct option *option = find_option(options, count, name);

	if (!option)
		return command_misused(line, "%s has no option %s", line->name, argument);
	if (option->kind == OPTION_FLAG) {
		if (equals >= 0)
			return command_misused(line, "%s takes no value", option->name);
		*(bool *)option->to = true;
		return 0;
	}
	if (equals < 0 && *at + 1 >= line->count)
		return command_misused(line, "%s wants a value", option->name);
	take_value(option, equals < 0 ? line->arguments[++*at] : argument + equals + 1);
	return 0;
}

int option_parse(const struct command_line *line, const struct option *options, size_t count,
	struct option_list *rest)
{
	bool ended = false;

	*rest = (struct option_list){ 0 };
	for (int at = 0; at < line->count; at++) {
		const char *argument = line->arguments[at];
		if (!ended && strcmp(argument, "--") == 0) {
			ended = true;
		} else if (!ended && argument[0] == '-' && argument[1]) {
			const int status = take_option(line, options, count, &at);
			if (status != 0) {
				mem_free(rest->item);
				*rest = (struct option_list){ 0 };
				return status;
			}
		} else {
			append(rest, argument);
		}
	}
	return 0;
}
