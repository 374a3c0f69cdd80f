#include "mail/command.h"

#include <string.h>

#include "base/arena.h"
#include "mail/utf8.h"

static bool is_blank(char c)
{
	return c == ' ' || c == '\t';
}

static bool is_let_dig(char c)
{
	return (c >= '0' && c <= '9') || (text_lower(c) >= 'a' && text_lower(c) <= 'z');
}

struct command command_split(struct text line)
{
	size_t n = 0;

	while (n < line.len && !is_blank(line.ptr[n]))
		n++;
	return (struct command){
		.verb = text_head(line, n),
		.argument = text_trim(text_from(line, n)),
	};
}

/* "keyword:" and the one blank after it that is tolerated; *rest is what follows. */
static bool take_keyword(struct text argument, struct text keyword, struct text *rest)
{
	if (!text_begins_nocase(argument, keyword))
		return false;
	*rest = text_from(argument, keyword.len);
	if (!text_begins(*rest, TEXT(":")))
		return false;
	*rest = text_from(*rest, 1);
	if (text_begins(*rest, TEXT(" ")))
		*rest = text_from(*rest, 1);
	return true;
}

/* The next parameter of `KEYWORD=value KEYWORD`, blanks before it dropped. False: no more. */
static bool next_parameter(struct text *rest, struct command_parameter *parameter)
{
	struct text word;
	ptrdiff_t equals;
	size_t n = 0;

	while (rest->len > 0 && rest->ptr[0] == ' ')
		*rest = text_from(*rest, 1);
	if (rest->len == 0)
		return false;
	while (n < rest->len && rest->ptr[n] != ' ')
		n++;
	word = text_head(*rest, n);
	*rest = text_from(*rest, n);
	equals = text_find(word, '=');
	*parameter = (struct command_parameter){ .keyword = word };
	if (equals >= 0) {
		parameter->keyword = text_head(word, (size_t)equals);
		parameter->value = text_from(word, (size_t)equals + 1);
	}
	return true;
}

static bool is_keyword(struct text t)
{
	if (t.len == 0 || t.ptr[0] == '-')
		return false;
	for (size_t i = 0; i < t.len; i++) {
		if (!is_let_dig(t.ptr[i]) && t.ptr[i] != '-')
			return false;
	}
	return true;
}

static bool is_value(struct text t, bool utf8)
{
	if (t.len == 0)
		return false;
	while (t.len > 0) {
		size_t n = 1;

		if ((unsigned char)t.ptr[0] > 127)
			n = utf8 ? utf8_length(t) : 0;
		else if (t.ptr[0] <= ' ' || t.ptr[0] == '=' || t.ptr[0] > '~')
			return false;
		if (n == 0)
			return false;
		t = text_from(t, n);
	}
	return true;
}

static bool is_duplicate(const struct command_path *path, struct text keyword)
{
	for (size_t i = 0; i < path->parameters; i++) {
		if (text_equal_nocase(path->parameter[i].keyword, keyword))
			return true;
	}
	return false;
}

enum command_fault command_parse_path(struct arena *arena, struct text argument,
	struct text keyword, bool utf8, struct command_path *path, enum address_fault *address)
{
	struct command_parameter parameter;
	struct text rest;
	size_t used;

	*path = (struct command_path){ 0 };
	*address = ADDRESS_OK;
	if (!take_keyword(argument, keyword, &rest) || !text_begins(rest, TEXT("<")))
		return COMMAND_SYNTAX;
	*address = address_parse_path(arena, rest, utf8, &path->address, &used);
	if (*address != ADDRESS_OK)
		return COMMAND_ADDRESS;
	rest = text_from(rest, used);
	if (rest.len > 0 && rest.ptr[0] != ' ')
		return COMMAND_SYNTAX;
	while (next_parameter(&rest, &parameter)) {
		if (!is_keyword(parameter.keyword))
			return COMMAND_SYNTAX;
		if (parameter.value.ptr != NULL && !is_value(parameter.value, utf8))
			return COMMAND_SYNTAX;
		if (is_duplicate(path, parameter.keyword))
			return COMMAND_DUPLICATE_PARAMETER;
		if (path->parameters == COMMAND_PARAMETERS)
			return COMMAND_TOO_MANY_PARAMETERS;
		path->parameter[path->parameters++] = parameter;
	}
	return COMMAND_OK;
}

/* What follows the path that t begins with; a '>' inside quotes or brackets is not its end. */
static struct text after_path(struct text t)
{
	char until = '>';

	for (size_t i = 0; i < t.len; i++) {
		if (until == '"' && t.ptr[i] == '\\')
			i++;
		else if (t.ptr[i] == until && until == '>')
			return text_from(t, i + 1);
		else if (t.ptr[i] == until)
			until = '>';
		else if (until == '>' && t.ptr[i] == '"')
			until = '"';
		else if (until == '>' && t.ptr[i] == '[')
			until = ']';
	}
	return TEXT("");
}

bool command_mentions(struct text argument, struct text keyword)
{
	struct text rest = after_path(argument);
	struct command_parameter parameter;

	if (rest.len > 0 && rest.ptr[0] != ' ')
		return false;
	while (next_parameter(&rest, &parameter)) {
		if (text_equal_nocase(parameter.keyword, keyword))
			return true;
	}
	return false;
}
