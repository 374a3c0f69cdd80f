#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sysexits.h>

#include "base/log.h"
#include "base/sys.h"
#include "restante/command.h"

#define RESTANTE_VERSION "0.1"

struct subcommand {
	const char *name;
	const char *usage; /* behind the name */
	const char *purpose;
	const char *help;
	int (*function)(const struct command_line *line);
};

#define SETTINGS_HELP "  -c FILE                the settings file (" HOST_SETTINGS_FILE ")\n"
#define OVERRIDE_HELP "  -o SECTION.NAME=VALUE  put a setting over the file's; may be repeated\n"

static const struct subcommand subcommands[] = {
	{ .name = "run",
		.usage = "[-c FILE] [-o NAME=VALUE]...",
		.purpose = "run the mail host, in the foreground",
		.help = SETTINGS_HELP OVERRIDE_HELP "\n"
						    "Logs to standard error, or to syslog when the "
						    "settings say so. SIGHUP reads settings\n"
						    "and certificates again; SIGTERM or Ctrl-C "
						    "ends it when what is in transfer is done.\n",
		.function = command_run },
	{ .name = "demo",
		.usage = "[--dir DIR] [--port-base N] [--limits] [-o NAME=VALUE]...",
		.purpose = "run one with made-up settings, for this machine only",
		.help = "  --dir DIR              keep everything here (as root "
			"/var/lib/restante/demo, else\n"
			"                         ~/.local/state/restante-demo)\n"
			"  --port-base N          ports N+25, N+110 and so on (10000); 0: free "
			"ones, also\n"
			"                         written to DIR/ports\n"
			"  --limits               limits per client hold for this machine, "
			"too\n" OVERRIDE_HELP,
		.function = command_demo },
	{ .name = "check",
		.usage = "[-c FILE] [-o NAME=VALUE]... | --sample | --manual",
		.purpose = "read the settings and say what is wrong, by file and line",
		.help = SETTINGS_HELP OVERRIDE_HELP
		"  --sample               print a settings file with every setting and its "
		"default\n"
		"  --manual               the same as a manual page\n",
		.function = command_check },
	{ .name = "user",
		.usage = "add|list|quota|remove|passwd [ADDRESS [OCTETS [MESSAGES]]] [--hash] [-c "
			 "FILE]",
		.purpose = "add, list and remove users, set passwords and quotas",
		.help = SETTINGS_HELP
		"  --hash                 what is given is not a password but its crypt(5) hash\n"
		"\n"
		"The password is asked for, twice and unseen; or it is the first line of standard "
		"input\n"
		"when that is not a terminal. user quota ADDRESS OCTETS [MESSAGES] sets what the "
		"user may\n"
		"have: a number (K, M, G and T are understood), none, or default. A user who is "
		"removed\n"
		"leaves the mail behind, set aside in STATE/store/removed.\n",
		.function = command_user },
	{ .name = "alias",
		.usage = "add|remove|list|show|import [ADDRESS [MEMBER]... | FILE] [--list] "
			 "[--owner "
			 "ADDRESS] [-c FILE]",
		.purpose = "addresses that lead to others, and mailing lists",
		.help = SETTINGS_HELP
		"  --list                 add: it is a mailing list, whose errors go to its owner\n"
		"  --owner ADDRESS        who that is (postmaster of its domain)\n"
		"\n"
		"alias add ADDRESS MEMBER... makes an alias, or adds members to it; alias remove "
		"ADDRESS\n"
		"removes it, with members only these. @DOMAIN is whoever is not there. An address "
		"without a\n"
		"domain is of the first one in the settings. alias show tells in whose mailboxes "
		"mail for an\n"
		"address ends. alias import reads a file as sendmail and Postfix have it, "
		"aliases(5); all of\n"
		"it or nothing.\n",
		.function = command_alias },
	{ .name = "domain",
		.usage = "add|remove|list [DOMAIN] [-c FILE]",
		.purpose = "domains beside those in the settings",
		.help = SETTINGS_HELP
		"\n"
		"Mail is taken for the domains in the settings and for those added here, from that "
		"moment on.\n"
		"A domain that is removed leaves its users and aliases as they are; they get no "
		"mail.\n",
		.function = command_domain },
	{ .name = "store",
		.usage = "verify [ADDRESS] | rebuild | stats | import --from dovecot [--user "
			 "ADDRESS] DIR "
			 "[-c FILE]",
		.purpose = "hold the index against the Maildirs, make it anew, count, import",
		.help = SETTINGS_HELP
		"  --from dovecot         import: what made the Maildir in DIR\n"
		"  --user ADDRESS         import: whose mail it becomes (the last part of DIR)\n"
		"\n"
		"verify prints every difference, a line each, and changes nothing; its exit status "
		"is 65\n"
		"when there is one. rebuild makes the index from the Maildirs, with the UIDs as "
		"they "
		"were.\n"
		"import takes over a user's mailboxes from another mail server, UIDs, flags and "
		"all; done\n"
		"again it goes on where it was.\n"
		"All of it works while the host runs, too; a rebuild then stops the mail for that "
		"time.\n",
		.function = command_store },
	{ .name = "bridge",
		.usage = "add NAME SETTING=VALUE... | list | remove NAME | test NAME | run NAME "
			 "[-c FILE] "
			 "[-o NAME=VALUE]...",
		.purpose = "pull mail from accounts elsewhere, by IMAP or POP3",
		.help = SETTINGS_HELP OVERRIDE_HELP
		"\n"
		"add writes an account to bridge.conf beside the settings file: host=, user= and "
		"to= are\n"
		"needed, the other settings are those of restante.conf(5); one that takes a list "
		"may be\n"
		"given several times. Without password-file=, password-command= or "
		"token-command= the\n"
		"password is asked for, or is the first line of standard input, and is kept in "
		"a file\n"
		"NAME.password of mode 600. A host that runs begins to pull at once.\n"
		"\n"
		"test tells what would be pulled, and what is wrong if something is. run pulls "
		"now and once.\n"
		"list tells of each account what it does and when it last pulled.\n",
		.function = command_bridge },
	{ .name = "status",
		.usage = "[-c FILE]",
		.purpose = "what runs, since when, and counters",
		.help = SETTINGS_HELP,
		.function = command_status },
	{ .name = "trace",
		.usage = "ID|ADDRESS [--log FILE|-] [-c FILE]",
		.purpose = "tell what happened to a message, or to all from or to an address",
		.help = SETTINGS_HELP
		"  --log FILE             read this log; -: standard input, as from journalctl\n"
		"\n"
		"The id is in the reply that the sender was given, in the message's Received field "
		"and in\n"
		"every log line. Without --log, STATE/log and STATE/log.1 are read (setting "
		"log-size).\n"
		"Exit status 1: the log says nothing of it.\n",
		.function = command_trace },
	{ .name = "version",
		.usage = "",
		.purpose = "print the version",
		.help = "",
		.function = command_version },
	{ .name = "help",
		.usage = "[COMMAND]",
		.purpose = "this, or more about a command",
		.help = "",
		.function = command_help },
};

enum { SUBCOMMANDS = sizeof(subcommands) / sizeof(subcommands[0]) };

static const struct subcommand *find_subcommand(const char *name)
{
	for (size_t i = 0; i < SUBCOMMANDS; i++) {
		if (strcmp(subcommands[i].name, name) == 0)
			return &subcommands[i];
	}
	return NULL;
}

static void print_usage(FILE *to)
{
	fputs("usage: restante COMMAND [ARGUMENT]...\n\n", to);
	for (size_t i = 0; i < SUBCOMMANDS; i++)
		fprintf(to, "  %-9s %s\n", subcommands[i].name, subcommands[i].purpose);
	fputs("\nrestante demo is the place to start; restante help COMMAND tells more.\n", to);
}

static void print_help(const struct subcommand *subcommand)
{
	printf("usage: restante %s %s\n\n%s\n", subcommand->name, subcommand->usage,
		subcommand->purpose);
	if (subcommand->help[0])
		printf("\n%s", subcommand->help);
}

int command_version(const struct command_line *line)
{
	if (line->count)
		return command_misused(line, "version takes no argument");
	puts("restante " RESTANTE_VERSION);
	return EX_OK;
}

int command_help(const struct command_line *line)
{
	if (line->count > 1)
		return command_misused(line, "help is about one command at a time");
	if (line->count == 0) {
		print_usage(stdout);
		return EX_OK;
	}
	const struct subcommand *subcommand = find_subcommand(line->arguments[0]);
	if (!subcommand)
		return command_misused(line, "there is no command \"%s\"", line->arguments[0]);
	print_help(subcommand);
	return EX_OK;
}

static bool wants_help(const struct command_line *line)
{
	for (int i = 0; i < line->count && strcmp(line->arguments[i], "--") != 0; i++) {
		if (strcmp(line->arguments[i], "--help") == 0)
			return true;
	}
	return false;
}

/* Whoever keeps what a command prints must not take a part of it for the whole. */
static int close_output(int status)
{
	const int number = fflush(stdout) != 0 ? errno : ferror(stdout) ? EIO : 0;

	/* A reader that has seen enough is no failure. */
	if (number == 0 || number == EPIPE)
		return status;
	fprintf(stderr, "restante: standard output: %s\n", log_errno(number));
	return status == EX_OK ? EX_IOERR : status;
}

int main(int argc, char **argv)
{
	const struct subcommand *subcommand = argc > 1 ? find_subcommand(argv[1]) : NULL;

	sys_hold_standard();
	/* Directories that other users pass through must not depend on who typed the command. */
	umask(022);
	log_open("restante", LOG_LEVEL_INFO);
	if (argc > 1 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)) {
		print_usage(stdout);
		return close_output(EX_OK);
	}
	if (argc > 1 && strcmp(argv[1], "--version") == 0) {
		puts("restante " RESTANTE_VERSION);
		return close_output(EX_OK);
	}
	if (!subcommand) {
		if (argc > 1)
			fprintf(stderr, "restante: there is no command \"%s\"\n\n", argv[1]);
		print_usage(stderr);
		return EX_USAGE;
	}
	const struct command_line line = {
		.name = subcommand->name,
		.count = argc - 2,
		.arguments = argv + 2,
	};
	if (wants_help(&line)) {
		print_help(subcommand);
		return close_output(EX_OK);
	}
	return close_output(subcommand->function(&line));
}
