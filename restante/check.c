#include <stdio.h>
#include <sysexits.h>

#include "base/mem.h"
#include "restante/aliases.h"
#include "restante/certificate.h"
#include "restante/command.h"
#include "restante/directory.h"
#include "restante/host.h"
#include "restante/settings.h"

static void print_mistake(void *owner, const char *sentence)
{
	unsigned *count = owner;

	fprintf(stderr, "%s\n", sentence);
	++*count;
}

/* It works, and yet. */
static void print_doubt(void *owner, const char *sentence)
{
	(void)owner;
	fprintf(stderr, "%s\n", sentence);
}

static void check_aliases(
	const struct host_source *source, const struct host_settings *settings, unsigned *mistakes)
{
	const char *name = host_settings_string(settings, HOST_STORE, "aliases");
	struct aliases_file file;

	if (!name[0])
		return;
	char *path = host_settings_path(source->file, text_of(name));
	aliases_read(&file, path, directory_domain(settings), print_mistake, mistakes);
	aliases_release(&file);
	mem_free(path);
}

static int check(const struct host_source *source)
{
	unsigned mistakes = 0;
	struct host_settings *settings;
	struct certificates certificates;

	host_settings_read(source, &settings, print_mistake, &mistakes);
	certificates_read(&certificates, settings, source->file, print_mistake, &mistakes);
	certificates_doubt(&certificates, settings, source->file, print_doubt, NULL);
	certificates_free(&certificates);
	check_aliases(source, settings, &mistakes);
	host_settings_free(&settings);
	if (mistakes == 0) {
		printf("%s: no mistakes\n", source->file);
		return EX_OK;
	}
	fprintf(stderr, "%s: %u mistake%s\n", source->file, mistakes, mistakes == 1 ? "" : "s");
	return EX_CONFIG;
}

/* As run does: what has no slash at its start begins where the file is, not where a link to it is. */
static int check_file(const char *file, const struct option_list *overrides)
{
	char *absolute = host_absolute(file);
	const int status =
		check(&(struct host_source){ absolute, overrides->item, overrides->count });

	mem_free(absolute);
	return status;
}

int command_check(const struct command_line *line)
{
	const char *file = HOST_SETTINGS_FILE;
	bool sample = false, manual = false;
	struct option_list overrides = { 0 }, rest;
	const struct option options[] = {
		{ "-c", OPTION_VALUE, &file },
		{ "-o", OPTION_LIST, &overrides },
		{ "--sample", OPTION_FLAG, &sample },
		{ "--manual", OPTION_FLAG, &manual },
	};
	int status = option_parse(line, options, 4, &rest);

	if (status == 0 && rest.count)
		status = command_misused(line, "check takes -c before \"%s\"", rest.item[0]);
	else if (status == 0 && sample)
		settings_print_sample(stdout, host_sections, HOST_SECTIONS);
	else if (status == 0 && manual)
		settings_print_manual(stdout, host_manual_sections, HOST_MANUAL_SECTIONS);
	else if (status == 0)
		status = check_file(file, &overrides);
	mem_free(rest.item);
	mem_free(overrides.item);
	return status;
}
