#include <sysexits.h>

#include "base/mem.h"
#include "restante/command.h"
#include "restante/supervisor.h"

static const char advice[] = "end the program that listens there, or change the settings";

int command_run(const struct command_line *line)
{
	const char *file = HOST_SETTINGS_FILE;
	struct option_list overrides = { 0 }, rest;
	const struct option options[] = {
		{ "-c", OPTION_VALUE, &file },
		{ "-o", OPTION_LIST, &overrides },
	};
	const struct supervisor_hooks hooks = { 0 };
	struct host host;
	int status = option_parse(line, options, 2, &rest);

	if (status == 0 && rest.count)
		status = command_misused(line, "run does not take \"%s\"", rest.item[0]);
	if (status == 0) {
		char *absolute = host_absolute(file);
		host_init(
			&host, &(struct host_source){ absolute, overrides.item, overrides.count });
		status = supervisor_run(&host, advice, &hooks);
		host_free(&host);
		mem_free(absolute);
	}
	mem_free(rest.item);
	mem_free(overrides.item);
	return status;
}
