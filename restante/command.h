/*
 * The one command a person types: its subcommands. Each gets the arguments behind its own name and
 * returns an exit status (sysexits.h).
 */
#ifndef RESTANTE_COMMAND_H
#define RESTANTE_COMMAND_H

#include "restante/settings.h"

struct command_line {
	const char *name; /* of the subcommand */
	int count;
	char **arguments;
};

int command_run(const struct command_line *line);
int command_demo(const struct command_line *line);
int command_check(const struct command_line *line);
int command_user(const struct command_line *line);
int command_alias(const struct command_line *line);
int command_domain(const struct command_line *line);
int command_store(const struct command_line *line);
int command_bridge(const struct command_line *line);
int command_status(const struct command_line *line);
int command_trace(const struct command_line *line);
int command_version(const struct command_line *line);
int command_help(const struct command_line *line);

/* "restante: " and a sentence to standard error, and where to read on. EX_USAGE. */
int command_misused(const struct command_line *line, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* ---- options, in any order with the other arguments ---- */

enum option_kind {
	OPTION_FLAG,  /* bool */
	OPTION_VALUE, /* const char * */
	OPTION_LIST,  /* struct option_list, appended to */
};

struct option_list {
	const char **item; /* on the heap; the texts are the command line's */
	size_t count;
};

struct option {
	const char *name; /* "-c" or "--dir" */
	enum option_kind kind;
	void *to;
};

/*
 * Take the options out of the command line: "-c FILE", "--dir DIR" or "--dir=DIR"; "--" ends them. What
 * is left is in *rest, to be freed. 0, or EX_USAGE after having said what is wrong.
 */
int option_parse(const struct command_line *line, const struct option *options, size_t count,
	struct option_list *rest);

#endif
