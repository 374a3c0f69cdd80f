#include "bridge/command.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/common.h"
#include "base/control.h"
#include "base/log.h"
#include "base/mem.h"
#include "bridge/launcher.h"
#include "bridge/report.h"

enum { BAR = 30 };

/* What came over descriptor 3, in the forms it is needed in. */
struct handed {
	struct buf octets;
	struct control_configure message;
	struct common_settings common;
	struct bridge_settings settings;
	struct bridge_account account;
};

static int complain(const char *what)
{
	fprintf(stderr, "restante: %s\n", what);
	return EX_SOFTWARE;
}

static void read_all(struct buf *octets)
{
	for (;;) {
		char *room = buf_room(octets, 4096);
		const ssize_t got = read(CONTROL_FD, room, 4096);
		if (got <= 0 || buf_length(octets) > CONTROL_PAYLOAD)
			return;
		buf_commit(octets, (size_t)got);
	}
}

/* The account of that name. 0, or an exit status after having said why not. */
static int take_handed(struct handed *handed, const char *name)
{
	char error[400];

	read_all(&handed->octets);
	if (control_configure_unpack(buf_text(&handed->octets), &handed->message) != 0)
		return complain("bridge pull and bridge test are for restante to call");
	if (settings_load(&common_section, handed->message.common, &handed->common, error,
		    sizeof(error)) != 0 ||
		settings_load(&bridge_role_section, handed->message.section, &handed->settings,
			error, sizeof(error)) != 0)
		return complain(error);
	for (size_t i = 0; i < handed->settings.accounts.count; i++) {
		if (bridge_account_load(text_of(handed->settings.accounts.item[i]),
			    &handed->account, error, sizeof(error)) != 0)
			return complain(error);
		if (strcmp(handed->account.name, name) == 0)
			return 0;
		bridge_account_free(&handed->account);
	}
	fprintf(stderr, "restante: there is no account %s\n", name);
	return EX_USAGE;
}

/* ---- to the terminal ---- */

static void print_bar(const struct bridge_report *report)
{
	const uint64_t total = report->total ? report->total : 1;
	const int filled = (int)((report->done < total ? report->done : total) * BAR / total);

	printf("\r\033[K[%.*s%*s] %" PRIu64 "/%" PRIu64 "  %.1f MB  %.*s", filled,
		"##############################", BAR - filled, "", report->done, report->total,
		(double)report->octets / 1e6, TEXT_ARG(report->folder));
	fflush(stdout);
}

static void print_report(const struct bridge_report *report, bool terminal)
{
	const char *clear = terminal ? "\r\033[K" : "";

	switch ((enum report_state)report->state) {
	case REPORT_TOLD:
		printf("%s%.*s\n", clear, TEXT_ARG(report->sentence));
		break;
	case REPORT_PULLING:
		if (terminal && report->total)
			print_bar(report);
		break;
	case REPORT_ENDED:
		printf("%s", clear);
		if (report->fault != FAULT_NONE)
			printf("%.*s\n", TEXT_ARG(report->sentence));
		break;
	case REPORT_CONNECTING:
	case REPORT_WAITING:
		break;
	}
	fflush(stdout);
}

static void print_sum(const struct bridge_report *report)
{
	printf("%" PRIu64 " pulled (%" PRIu64 " octets), %" PRIu64 " were here already, %" PRIu64
	       " refused, %" PRIu64 " deleted there\n",
		report->pulled, report->octets, report->known, report->refused, report->deleted);
}

/* Until the session's socket closes. The last report, without its texts. */
static struct bridge_report follow(int reports)
{
	static char octets[REPORT_LIMIT];
	const bool terminal = isatty(STDOUT_FILENO);
	struct bridge_report report, last = { .state = REPORT_CONNECTING };
	ssize_t got;

	while ((got = recv(reports, octets, sizeof(octets), 0)) > 0) {
		if (bridge_report_unpack(
			    (struct text){ .ptr = octets, .len = (size_t)got }, &report) != 0)
			break;
		print_report(&report, terminal);
		last = report;
		last.folder = last.sentence = last.hint = TEXT("");
	}
	return last;
}

static int converse(const struct handed *handed, enum session_purpose purpose)
{
	const struct sigaction usual = { .sa_handler = SIG_DFL };
	const struct session_options options = {
		.settings = &handed->settings,
		.account = &handed->account,
		.hostname = handed->common.hostname,
		.purpose = purpose,
		.uid = handed->message.uid,
		.hint = TEXT(""),
	};
	int reports, status = 0;

	sigaction(SIGCHLD, &usual, NULL);
	fflush(NULL);
	const pid_t pid = launcher_fork(&options, &reports);
	if (pid < 0)
		return complain("no process can be started");
	const struct bridge_report last = follow(reports);
	close(reports);
	if (waitpid(pid, &status, 0) != pid)
		status = 0;
	if (last.state != REPORT_ENDED) {
		complain("the account's process died");
		return EX_SOFTWARE;
	}
	if (purpose == SESSION_PULL)
		print_sum(&last);
	else if (last.fault == FAULT_NONE)
		puts("all is well");
	return WIFEXITED(status) ? WEXITSTATUS(status) : EX_SOFTWARE;
}

int command_bridge(const char *verb, const char *name)
{
	struct handed handed = { .octets = { 0 } };
	const bool tests = strcmp(verb, "test") == 0;

	log_open("bridge", LOG_LEVEL_ERROR);
	int status = take_handed(&handed, name);
	if (status == 0)
		status = converse(&handed, tests ? SESSION_TEST : SESSION_PULL);
	bridge_account_free(&handed.account);
	settings_free(&bridge_role_section, &handed.settings);
	settings_free(&common_section, &handed.common);
	buf_release(&handed.octets);
	return status;
}
