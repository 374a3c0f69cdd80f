/*
 * `restante bridge add` and `remove`: the file of accounts, which a person may edit, too.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/sys.h"
#include "restante/bridge.h"
#include "restante/locate.h"
#include "restante/password.h"
#include "restante/status.h"

enum { FILE_LIMIT = 1 << 20, SENTENCE = 600 };

static int complain(int status, const char *what, const char *why)
{
	fprintf(stderr, "restante: %s: %s\n", what, why);
	return status;
}

/* ---- the file ---- */

/* Empty when there is none. 0, or an exit status. */
static int read_accounts(const char *path, struct buf *octets)
{
	size_t size;
	char *file = sys_read_file(AT_FDCWD, path, FILE_LIMIT, &size);

	if (!file)
		return errno == ENOENT ? 0 : complain(EX_NOINPUT, path, log_errno(errno));
	buf_add(octets, (struct text){ .ptr = file, .len = size });
	mem_free(file);
	return 0;
}

static int write_file(const char *path, struct text octets)
{
	if (sys_replace_file(AT_FDCWD, path, octets.ptr, octets.len, 0600) == 0)
		return 0;
	return complain(EX_CANTCREAT, path, log_errno(errno));
}

/* A host that runs reads its settings again. */
static void tell_host(struct host *host)
{
	char error[5000];
	pid_t holder = 0;

	/*
	 * The lock's file tells which process it is. One that is no host, but a command that has the store to
	 * itself, would die of the signal.
	 */
	if (state_open(&host->state, host_settings_common(host->settings)->state, &holder, error,
		    sizeof(error)) == STATE_IN_USE &&
		holder > 0 && status_host_runs(host) && kill(holder, SIGHUP) == 0)
		puts("the host that runs was told");
}

/* ---- add ---- */

static const struct settings_item *find_item(struct text name)
{
	for (size_t i = 0; i < bridge_account_section.count; i++) {
		if (text_equal(text_of(bridge_account_section.items[i].name), name))
			return &bridge_account_section.items[i];
	}
	return NULL;
}

static bool is_command(const struct settings_item *item)
{
	return strstr(item->name, "-command") != NULL;
}

/* What it takes for one account to be written. */
struct draft {
	struct bridge_account account;
	bool given[64]; /* by the item's number */
};

static void add_to_list(struct settings_list *list, struct text value, bool first)
{
	if (first) {
		for (size_t i = 0; i < list->count; i++)
			mem_free(list->item[i]);
		list->count = 0;
	}
	list->item = mem_resize(list->item, (list->count + 1) * sizeof(*list->item));
	list->item[list->count++] = mem_copy(value.ptr, value.len);
}

static int take_word(struct draft *draft, const char *word)
{
	const struct text whole = text_of(word);
	const ptrdiff_t equals = text_find(whole, '=');
	const struct settings_item *item =
		equals < 0 ? NULL : find_item(text_head(whole, (size_t)equals));
	char error[SENTENCE];

	if (!item)
		return complain(EX_USAGE, word,
			"not a setting of an account; write SETTING=VALUE as in restante.conf(5)");
	const struct text value = text_from(whole, (size_t)equals + 1);
	bool *given = &draft->given[item - bridge_account_section.items];
	if (item->type == SETTINGS_LIST && !is_command(item)) {
		add_to_list((struct settings_list *)((char *)&draft->account + item->offset), value,
			!*given);
	} else if (settings_set(&bridge_account_section, &draft->account, item->name, value, error,
			   sizeof(error)) != 0) {
		return complain(EX_USAGE, word, error);
	}
	*given = true;
	return 0;
}

static void add_value(struct buf *out, const struct settings_item *item, const void *at)
{
	const struct settings_list *list = at;

	switch (item->type) {
	case SETTINGS_BOOL:
		buf_add_string(out, *(const bool *)at ? "yes" : "no");
		return;
	case SETTINGS_NUMBER:
	case SETTINGS_OCTETS:
	case SETTINGS_SECONDS:
		buf_format(out, "%llu", (unsigned long long)*(const uint64_t *)at);
		return;
	case SETTINGS_STRING:
		settings_add_quoted(out, text_of(*(char *const *)at));
		return;
	case SETTINGS_LIST:
		break;
	}
	buf_add_char(out, '{');
	for (size_t i = 0; i < list->count; i++) {
		buf_add_string(out, i ? ", " : " ");
		settings_add_quoted(out, text_of(list->item[i]));
	}
	buf_add_string(out, " }");
}

static void add_section(struct buf *out, const struct draft *draft, const char *name)
{
	buf_format(out, "%s" BRIDGE_ACCOUNT_PREFIX "%s {\n", buf_length(out) ? "\n" : "", name);
	for (size_t i = 0; i < bridge_account_section.count; i++) {
		const struct settings_item *item = &bridge_account_section.items[i];
		if (!draft->given[i])
			continue;
		buf_format(out, "\t%s = ", item->name);
		add_value(out, item, (const char *)&draft->account + item->offset);
		buf_add_char(out, '\n');
	}
	buf_add_string(out, "}\n");
}

enum { PASSWORD_FILE_NAME = BRIDGE_NAME_LIMIT + 16 };

/* Beside the file of accounts. */
static void name_password_file(const char *name, char file[PASSWORD_FILE_NAME])
{
	snprintf(file, PASSWORD_FILE_NAME, "%s.password", name);
}

/* Where the password will be, unless the account says it. True: that file is ours to write. */
static bool plan_password(struct draft *draft, const char *name)
{
	struct bridge_account *account = &draft->account;
	char file[PASSWORD_FILE_NAME];

	if (account->password_file[0] || account->password_command.count ||
		account->token_command.count)
		return false;
	name_password_file(name, file);
	mem_free(account->password_file);
	account->password_file = mem_copy(file, strlen(file));
	draft->given[find_item(TEXT("password-file")) - bridge_account_section.items] = true;
	return true;
}

static int ask_password(const struct bridge_account *account, const char *path)
{
	struct password password;
	char prompt[BRIDGE_NAME_LIMIT + 320];
	struct buf line = { 0 };

	snprintf(prompt, sizeof(prompt), "Password of %s at %s", account->user, account->host);
	int status = password_get(prompt, &password);
	if (status != 0)
		return status;
	buf_add(&line, (struct text){ .ptr = password.octets, .len = password.length });
	buf_add_char(&line, '\n');
	status = write_file(path, buf_text(&line));
	buf_wipe(&line);
	password_forget(&password);
	return status;
}

/* Bounds and rules, as reading the file would find them. */
static int check_draft(struct draft *draft)
{
	struct bridge_account again = { .name = NULL };
	struct buf lines = { 0 };
	char error[SENTENCE];

	settings_store(&bridge_account_section, &draft->account, &lines);
	const int result = settings_load(
		&bridge_account_section, buf_text(&lines), &again, error, sizeof(error));
	if (result == 0)
		settings_free(&bridge_account_section, &again);
	buf_release(&lines);
	return result == 0 ? 0 : complain(EX_USAGE, "this account", error);
}

/* Nobody is asked for the password of an account that is refused, and nothing is left of that. */
static int write_account(struct host *host, struct draft *draft, const char *name)
{
	char *path = host_settings_accounts_file(host->settings, host->source.file);
	const bool ours = plan_password(draft, name);
	char *password_path = host_settings_path(path, text_of(draft->account.password_file));
	struct buf octets = { 0 };
	bool written = false; /* the password */
	int status = check_draft(draft);

	if (status == 0)
		status = read_accounts(path, &octets);
	if (status == 0 && ours) {
		status = ask_password(&draft->account, password_path);
		written = status == 0;
	}
	if (written) {
		/* A person takes time, in which somebody may have changed the file. */
		buf_clear(&octets);
		status = read_accounts(path, &octets);
	}
	if (status == 0) {
		add_section(&octets, draft, name);
		status = write_file(path, buf_text(&octets));
	}
	if (status != 0 && written)
		unlink(password_path);
	if (status == 0)
		printf("account %s is in %s\n", name, path);
	buf_release(&octets);
	mem_free(password_path);
	mem_free(path);
	return status;
}

int bridge_add(struct host *host, const char *name, const char *const *words, size_t count)
{
	struct draft draft = { .given = { false } };
	int status = 0;

	if (!bridge_name_is_good(text_of(name)))
		return complain(EX_USAGE, name,
			"the name of an account is letters, digits, - and _, at most 32");
	if (accounts_find(&host->settings->accounts, name))
		return complain(EX_CANTCREAT, name, "there is an account of that name already");
	settings_preset(&bridge_account_section, &draft.account);
	for (size_t i = 0; i < count && status == 0; i++)
		status = take_word(&draft, words[i]);
	if (status == 0 && !draft.account.host[0])
		status = complain(EX_USAGE, name, "host= is missing");
	if (status == 0)
		status = write_account(host, &draft, name);
	settings_free(&bridge_account_section, &draft.account);
	if (status == 0)
		tell_host(host);
	return status;
}

/* ---- remove ---- */

/* The file that `add` made for this account, if it did and no other account names it. */
static int remove_password(
	const struct accounts *accounts, const char *accounts_file, const char *name)
{
	char file[PASSWORD_FILE_NAME];
	bool ours = false, others = false;
	int status = 0;

	name_password_file(name, file);
	char *path = host_settings_path(accounts_file, text_of(file));
	for (size_t i = 0; i < accounts->count; i++) {
		const struct bridge_account *account = &accounts->list[i];
		if (strcmp(account->password_file, path) == 0)
			*(strcmp(account->name, name) == 0 ? &ours : &others) = true;
	}
	if (ours && !others && unlink(path) != 0 && errno != ENOENT)
		status = complain(EX_CANTCREAT, path, log_errno(errno));
	mem_free(path);
	return status;
}

int bridge_remove(struct host *host, const char *name)
{
	char *path = host_settings_accounts_file(host->settings, host->source.file);
	struct buf octets = { 0 }, rest = { 0 }, section = { 0 };
	size_t from, to;
	int status = read_accounts(path, &octets);

	buf_format(&section, BRIDGE_ACCOUNT_PREFIX "%s", name);
	if (status == 0 && !locate_section(buf_text(&octets), buf_text(&section), &from, &to)) {
		const bool elsewhere = accounts_find(&host->settings->accounts, name) != NULL;
		status = complain(EX_USAGE, name,
			elsewhere ? "this account stands in the settings file; remove it there"
				  : "there is no such account");
	}
	if (status == 0) {
		const struct text all = buf_text(&octets);
		while (to < all.len && all.ptr[to] == '\n')
			to++;
		buf_add(&rest, text_head(all, from));
		buf_add(&rest, text_from(all, to));
		status = write_file(path, buf_text(&rest));
	}
	if (status == 0) {
		status = remove_password(&host->settings->accounts, path, name);
		tell_host(host);
	}
	buf_release(&octets);
	buf_release(&rest);
	buf_release(&section);
	mem_free(path);
	return status;
}
