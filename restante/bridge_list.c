/*
 * `restante bridge list`: the accounts of the settings, and what the bridge that runs says of them.
 */
#include <stdio.h>
#include <string.h>
#include <sysexits.h>

#include "base/buf.h"
#include "restante/bridge.h"
#include "restante/status.h"

/* What the bridge told: "NAME.KEY=VALUE" lines. */
struct told {
	struct buf lines;
};

static int take(void *owner, const struct admin_status_reply *reply)
{
	struct told *told = owner;
	struct message_reader reader = { .at = reply->processes.ptr, .left = reply->processes.len };

	while (reader.left) {
		struct admin_process process;
		if (admin_process_unpack_from(&reader, &process) != 0)
			return -1;
		if (text_equal(process.role, TEXT("bridge")))
			buf_add(&told->lines, process.counters);
	}
	return 0;
}

/* The next value of that name in rest: it may have several. */
static bool take_value(struct text *rest, const char *account, const char *key, struct text *value)
{
	struct text line;
	char name[BRIDGE_NAME_LIMIT + 32];

	snprintf(name, sizeof(name), "%s.%s=", account, key);
	while (rest->len && text_split(rest, '\n', &line)) {
		if (!text_begins(line, text_of(name)))
			continue;
		*value = text_from(line, strlen(name));
		return true;
	}
	return false;
}

static void print_account(const struct told *told, const struct bridge_account *account)
{
	static const struct {
		const char *key, *words;
	} rows[] = {
		{ "last-pull", "last pull" },
		{ "pulled", "pulled" },
		{ "refused", "refused" },
		{ "deleted", "deleted there" },
		{ "next-try", "next try" },
		{ "error", "error" },
		{ "notice", "notice" },
	};
	struct text rest = buf_text(&told->lines), state, value;

	if (!take_value(&rest, account->name, "state", &state))
		state = TEXT("not running");

	printf("%-16s %s %s@%s port %u, to %s, %s: %.*s\n", account->name, account->protocol,
		account->user, account->host, bridge_account_port(account), account->to,
		account->keep ? "kept there" : "deleted there", TEXT_ARG(state));
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		rest = buf_text(&told->lines);
		while (take_value(&rest, account->name, rows[i].key, &value))
			printf("%16s %s: %.*s\n", "", rows[i].words, TEXT_ARG(value));
	}
}

int bridge_list(struct host *host, bool right)
{
	const struct accounts *accounts = &host->settings->accounts;
	struct told told = { .lines = { 0 } };
	bool absent;
	const int status = status_ask(host, take, &told, &absent);

	for (size_t i = 0; i < accounts->count; i++)
		print_account(&told, &accounts->list[i]);
	buf_release(&told.lines);
	fflush(stdout);
	if (!right && status == EX_OK)
		status_tell_of_mistakes(host);
	if (absent)
		return right ? EX_OK : EX_CONFIG;
	return status;
}
