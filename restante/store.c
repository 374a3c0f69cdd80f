/*
 * restante store verify | rebuild | stats: the index held against the Maildirs, whether a host runs or not;
 * and store import, in import.c.
 */
#include <event2/event.h>
#include <event2/event_struct.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/sys.h"
#include "mail/address.h"
#include "restante/command.h"
#include "restante/directory.h"
#include "restante/import.h"
#include "restante/progress.h"

enum {
	BUSY_MICROSECONDS = 20000, /* until a mailbox at work is asked about again */
	BUSY_LIMIT = 500,
	PROGRESS_MICROSECONDS = 20000, /* between looks at the store's file about it */
	PROGRESS_LIMIT = 200,          /* octets of the file */
	RESTART_LIMIT = 3000,          /* looks whether the store is back */
};

struct account {
	struct account *next;
	struct text address;
	uint32_t messages;
};

struct work {
	struct desk *desk;
	struct arena *arena;
	struct account *accounts, **last;
	uint64_t messages, done_messages; /* of everybody; looked at */
	uint64_t findings;
	struct progress bar;
	char progress[4200]; /* the path of the store's file about it */

	bool done;
	enum store_failure failure;
	bool more;
	struct buf mailbox; /* where to go on */
	uint32_t from;
};

/* ---- questions ---- */

static enum store_failure wait_for_answer(struct work *work)
{
	if (desk_wait(work->desk, &work->done) != 0)
		work->failure = STORE_AWAY;
	work->done = false;
	return work->failure;
}

static void on_users(void *owner, struct store_reply *reply)
{
	struct work *work = owner;
	struct message_reader reader = { .at = reply->of.users.users.ptr,
		.left = reply->of.users.users.len };
	struct store_user user;

	work->failure = reply->failure;
	work->done = true;
	work->more = reply->failure == STORE_OK && reply->of.users.more && reader.left;
	while (work->failure == STORE_OK && reader.left) {
		if (store_user_unpack_from(&reader, &user) != 0) {
			work->failure = STORE_INVALID;
			return;
		}
		struct account *account = arena_take(work->arena, sizeof(*account));
		*account = (struct account){ .address = text_copy(work->arena, user.address),
			.messages = user.messages };
		*work->last = account;
		work->last = &account->next;
		work->messages += user.messages;
	}
}

static enum store_failure list_accounts(struct work *work)
{
	struct text from = TEXT("");

	do {
		const struct account *before = work->accounts;
		for (; before && before->next; before = before->next)
			;
		if (before)
			from = before->address;
		store_client_users(desk_client(work->desk), &(struct store_users){ .from = from },
			on_users, work);
	} while (wait_for_answer(work) == STORE_OK && work->more);
	return work->failure;
}

/* Said with what to do about it. user: "" when it is about nobody in particular. An exit status. */
static int complain(enum store_failure failure, struct text user)
{
	struct directory_verdict verdict = directory_judge(failure);

	if (failure == STORE_NO_SUCH_USER)
		verdict.sentence = "there is no such user; restante user list tells whom there is";
	fprintf(stderr, "restante: %.*s%s%s\n", TEXT_ARG(user), user.len ? ": " : "",
		verdict.sentence);
	return verdict.status;
}

/* ---- verify ---- */

static void on_verified(void *owner, struct store_reply *reply)
{
	const struct store_verify_reply *verified = &reply->of.verify;
	struct work *work = owner;
	struct text rest = verified->findings, line;

	work->failure = reply->failure;
	work->done = true;
	if (reply->failure != STORE_OK)
		return;
	buf_clear(&work->mailbox);
	buf_add(&work->mailbox, verified->mailbox);
	work->from = verified->from;
	work->done_messages += verified->messages;
	while (rest.len && text_split(&rest, '\n', &line)) {
		if (!line.len)
			continue;
		progress_clear(&work->bar);
		printf("%.*s\n", TEXT_ARG(line));
		work->findings++;
	}
}

static enum store_failure verify_account(struct work *work, const struct account *account)
{
	unsigned busy = 0;

	buf_clear(&work->mailbox);
	work->from = 0;
	do {
		const struct store_verify piece = { .user = account->address,
			.mailbox = buf_text(&work->mailbox),
			.from = work->from };
		store_client_verify(desk_client(work->desk), &piece, on_verified, work);
		if (wait_for_answer(work) == STORE_BUSY && ++busy < BUSY_LIMIT) {
			usleep(BUSY_MICROSECONDS);
			continue;
		}
		progress_show(&work->bar, work->done_messages, work->messages, "messages");
		if (work->failure != STORE_OK)
			return work->failure;
	} while (work->failure == STORE_BUSY || buf_length(&work->mailbox));
	return STORE_OK;
}

static int verify(struct work *work, struct text only)
{
	uint64_t users = 0;

	if (list_accounts(work) != STORE_OK)
		return complain(work->failure, TEXT(""));
	if (!only.len) {
		const enum store_failure failure =
			verify_account(work, &(struct account){ .address = TEXT("") });
		if (failure != STORE_OK)
			return complain(failure, TEXT(""));
	}
	for (struct account *account = work->accounts; account; account = account->next) {
		if (only.len && !text_equal(only, account->address))
			continue;
		const uint64_t before = work->findings;
		const enum store_failure failure = verify_account(work, account);
		/* Removed while we were at it: nothing is wrong with that. */
		if (failure == STORE_NO_SUCH_USER && !only.len)
			continue;
		if (failure != STORE_OK) {
			progress_clear(&work->bar);
			return complain(failure, account->address);
		}
		users++;
		if (!work->bar.on)
			printf("%.*s: %llu finding%s\n", TEXT_ARG(account->address),
				(unsigned long long)(work->findings - before),
				work->findings - before == 1 ? "" : "s");
	}
	progress_clear(&work->bar);
	if (only.len && users == 0)
		return complain(STORE_NO_SUCH_USER, only);
	printf("%llu users, %llu messages, %llu findings\n", (unsigned long long)users,
		(unsigned long long)work->done_messages, (unsigned long long)work->findings);
	return work->findings ? EX_DATAERR : EX_OK;
}

/* ---- stats ---- */

static void on_stats(void *owner, struct store_reply *reply)
{
	struct work *work = owner;
	struct text rest = reply->of.stats.counters, line;

	work->failure = reply->failure;
	work->done = true;
	while (reply->failure == STORE_OK && rest.len && text_split(&rest, '\n', &line)) {
		const ptrdiff_t equals = text_find(line, '=');
		if (equals > 0)
			printf("%-22.*s %12.*s\n", (int)equals, line.ptr,
				TEXT_ARG(text_from(line, (size_t)equals + 1)));
	}
}

static int stats(struct work *work, struct text only)
{
	(void)only;
	store_client_stats(
		desk_client(work->desk), &(struct store_stats){ .options = 0 }, on_stats, work);
	if (wait_for_answer(work) != STORE_OK || list_accounts(work) != STORE_OK)
		return complain(work->failure, TEXT(""));
	printf("%-22s %12llu\n", "messages-kept", (unsigned long long)work->messages);
	return EX_OK;
}

/* ---- rebuild ---- */

static void on_answer(void *owner, struct store_reply *reply)
{
	struct work *work = owner;

	work->failure = reply->failure;
	work->done = true;
}

/* The store that is asked ends; another one rebuilds when it starts. */
static int rebuild(struct work *work, struct text only)
{
	(void)only;
	store_client_rebuild(
		desk_client(work->desk), &(struct store_rebuild){ .really = 1 }, on_answer, work);
	return wait_for_answer(work) == STORE_OK ? EX_OK : complain(work->failure, TEXT(""));
}

static void show_rebuilt(struct work *work, uint64_t users, uint64_t of, uint64_t messages)
{
	char text[64];

	snprintf(text, sizeof(text), "users, %llu messages", (unsigned long long)messages);
	progress_show(&work->bar, users, of, text);
}

static int await_rebuilt(struct work *work, struct text only)
{
	uint64_t users = 0;

	(void)only;
	if (list_accounts(work) != STORE_OK)
		return EX_TEMPFAIL;
	for (const struct account *account = work->accounts; account; account = account->next)
		users++;
	show_rebuilt(work, users, users, work->messages);
	progress_clear(&work->bar);
	printf("rebuilt: %llu messages\n", (unsigned long long)work->messages);
	return EX_OK;
}

/* The store says how far it is in a file: it cannot answer yet. */
static void on_progress(evutil_socket_t fd, short what, void *argument)
{
	struct work *work = argument;
	size_t size;
	char *octets = sys_read_file(AT_FDCWD, work->progress, PROGRESS_LIMIT, &size);
	unsigned long long users, of, messages;

	(void)fd, (void)what;
	if (octets && sscanf(octets, "%llu %llu %llu", &users, &of, &messages) == 3)
		show_rebuilt(work, users, of, messages);
	mem_free(octets);
}

/* ---- the command ---- */

typedef int store_duty(struct work *work, struct text only);

static int serve(const char *file, store_duty *duty, struct text only)
{
	struct work work = { .arena = arena_new(4096) };
	const struct timeval often = { .tv_usec = PROGRESS_MICROSECONDS };
	struct host host;
	struct event timer;
	int status = EX_CONFIG;

	progress_init(&work.bar);
	work.last = &work.accounts;
	host_init(&host, &(struct host_source){ .file = file });
	event_assign(&timer, host.loop, -1, EV_PERSIST, on_progress, &work);
	if (host_settings_read(&host.source, &host.settings, host_complain, NULL) == 0) {
		log_open("restante", LOG_LEVEL_WARNING);
		snprintf(work.progress, sizeof(work.progress), "%s/store/rebuild.progress",
			host_settings_common(host.settings)->state);
		if (duty == await_rebuilt)
			event_add(&timer, &often);
		work.desk = desk_enter(&host, &status);
		if (work.desk) {
			status = duty(&work, only);
			desk_leave(&work.desk);
		}
	}
	event_del(&timer);
	host_free(&host);
	buf_release(&work.mailbox);
	arena_free(&work.arena);
	return status;
}

static int serve_rebuild(const char *file)
{
	int status = serve(file, rebuild, TEXT(""));

	for (unsigned i = 0; status == EX_OK && i < RESTART_LIMIT; i++) {
		status = serve(file, await_rebuilt, TEXT(""));
		if (status != EX_TEMPFAIL)
			return status;
		status = EX_OK;
		usleep(BUSY_MICROSECONDS);
	}
	if (status != EX_OK)
		return status;
	fprintf(stderr,
		"restante: the store still makes its index; the host's log tells when it has "
		"it\n");
	return EX_TEMPFAIL;
}

static int read_address(
	const struct command_line *line, const char *word, struct arena *arena, struct text *only)
{
	struct address address;

	if (address_parse(arena, text_of(word), true, &address) != ADDRESS_OK ||
		address.domain.len == 0)
		return command_misused(line, "\"%s\" is not an address", word);
	*only = address_canonical(arena, &address);
	if (!only->ptr)
		return command_misused(line, "\"%s\" has no valid internationalized domain", word);
	return 0;
}

/* The one word of an import is a directory. */
static int run_verb(const struct command_line *line, const char *verb, const char *word,
	const char *file, const struct import_options *import)
{
	struct arena *arena = arena_new(1024);
	struct text only = TEXT("");
	int status = EX_OK;

	if (strcmp(verb, "import") == 0)
		status = import_command(line, file, import, word);
	else if (word)
		status = read_address(line, word, arena, &only);
	if (status == EX_OK && strcmp(verb, "rebuild") == 0)
		status = serve_rebuild(file);
	else if (status == EX_OK && strcmp(verb, "import") != 0)
		status = serve(file, strcmp(verb, "verify") == 0 ? verify : stats, only);
	arena_free(&arena);
	return status;
}

int command_store(const struct command_line *line)
{
	static const struct {
		const char *verb;
		size_t least, most; /* words behind it */
	} verbs[] = { { "verify", 0, 1 }, { "rebuild", 0, 0 }, { "stats", 0, 0 },
		{ "import", 1, 1 } };
	enum { VERBS = sizeof(verbs) / sizeof(verbs[0]) };
	const char *file = HOST_SETTINGS_FILE;
	struct import_options import = { 0 };
	struct option_list words;
	const struct option options[] = { { "-c", OPTION_VALUE, &file },
		{ "--from", OPTION_VALUE, &import.from },
		{ "--user", OPTION_VALUE, &import.user } };
	int status = option_parse(line, options, sizeof(options) / sizeof(options[0]), &words);
	const char *verb = words.count ? words.item[0] : "";
	size_t at = 0;

	while (at < VERBS && strcmp(verb, verbs[at].verb) != 0)
		at++;
	if (status == 0 && at == VERBS)
		status = command_misused(line, "say store verify, rebuild, stats or import");
	if (status == 0 && words.count - 1 > verbs[at].most)
		status = command_misused(
			line, "%s does not take \"%s\"", verb, words.item[words.count - 1]);
	if (status == 0 && words.count - 1 < verbs[at].least)
		status = command_misused(line, "%s needs a directory", verb);
	if (status == 0 && (import.from || import.user) && strcmp(verb, "import") != 0)
		status = command_misused(line, "--from and --user are for store import");
	if (status == 0) {
		char *absolute = host_absolute(file);
		status = run_verb(
			line, verb, words.count > 1 ? words.item[1] : NULL, absolute, &import);
		mem_free(absolute);
	}
	mem_free(words.item);
	return status;
}
