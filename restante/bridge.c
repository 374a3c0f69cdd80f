#include "restante/bridge.h"

#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/mem.h"

struct verb {
	const char *name;
	size_t least, most; /* words behind it */
};

static const struct verb verbs[] = {
	{ "add", 4, 64 },
	{ "list", 0, 0 },
	{ "remove", 1, 1 },
	{ "test", 1, 1 },
	{ "run", 1, 1 },
};

static const struct verb *find_verb(const struct option_list *words)
{
	for (size_t i = 0; words->count && i < sizeof(verbs) / sizeof(verbs[0]); i++) {
		if (strcmp(words->item[0], verbs[i].name) == 0)
			return &verbs[i];
	}
	return NULL;
}

/* right: whether the settings are. Who only looks is shown what can be seen, as by restante status. */
static int carry_out(struct host *host, bool right, const struct option_list *words)
{
	const char *verb = words->item[0];

	if (strcmp(verb, "list") == 0 && (right || access(host->source.file, R_OK) == 0))
		return bridge_list(host, right);
	if (!right)
		return EX_CONFIG;
	if (strcmp(verb, "add") == 0)
		return bridge_add(host, words->item[1], words->item + 2, words->count - 2);
	if (strcmp(verb, "remove") == 0)
		return bridge_remove(host, words->item[1]);
	return bridge_session(host, strcmp(verb, "test") == 0 ? "test" : "pull", words->item[1]);
}

int command_bridge(const struct command_line *line)
{
	const char *file = HOST_SETTINGS_FILE;
	struct option_list words, overrides = { 0 };
	const struct option options[] = {
		{ "-c", OPTION_VALUE, &file },
		{ "-o", OPTION_LIST, &overrides },
	};
	int status = option_parse(line, options, 2, &words);
	const struct verb *verb = status == 0 ? find_verb(&words) : NULL;

	if (status == 0 && !verb)
		status = command_misused(line, "say bridge add, list, remove, test or run");
	else if (status == 0 && (words.count - 1 < verb->least || words.count - 1 > verb->most))
		status = command_misused(line, "bridge %s wants %s", verb->name,
			verb->most == 0   ? "nothing more"
			: verb->most == 1 ? "the name of an account"
					  : "a name, host=, user= and to=");
	if (status == 0) {
		struct host host;
		char *absolute = host_absolute(file);
		host_init(
			&host, &(struct host_source){ absolute, overrides.item, overrides.count });
		const bool right =
			host_settings_read(&host.source, &host.settings, host_complain, NULL) == 0;
		status = carry_out(&host, right, &words);
		host_free(&host);
		mem_free(absolute);
	}
	mem_free(words.item);
	mem_free(overrides.item);
	return status;
}
