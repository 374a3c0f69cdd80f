#include "restante/accounts.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/sys.h"
#include "restante/locate.h"
#include "restante/settings.h"

enum { FILE_LIMIT = 1 << 20, SENTENCE_LIMIT = 1024, HANDED_LIMIT = 500000 };

/* One file while it is read: the caller's sections, then one for each account in it. */
struct reading {
	const char *file;
	struct text names[BRIDGE_ACCOUNTS_MOST];
	size_t found;
	struct settings_section *made; /* one an account */
	struct bridge_account *list;
	host_report *report;
	void *owner;
	int result;
};

static void complain(struct reading *reading, const char *name, const char *what)
{
	char sentence[SENTENCE_LIMIT];

	snprintf(sentence, sizeof(sentence), "%s: %s: %s", reading->file, name, what);
	reading->report(reading->owner, sentence);
	reading->result = -1;
}

static void make_absolute(const char *file, char **path)
{
	if (!(*path)[0])
		return;
	char *whole = host_settings_path(file, text_of(*path));
	mem_free(*path);
	*path = whole;
}

/* What was read goes to the others, or is reported and dropped. */
static void take(struct reading *reading, struct accounts *accounts, size_t i)
{
	const size_t prefix = strlen(BRIDGE_ACCOUNT_PREFIX);
	struct bridge_account *account = &reading->list[i];
	const char *section = reading->made[i].name;
	const char *fault = NULL;

	account->name = mem_copy(section + prefix, strlen(section + prefix));
	if (!bridge_name_is_good(text_of(account->name)))
		fault = "the name of an account is letters, digits, - and _, at most 32";
	else if (accounts_find(accounts, account->name))
		fault = "this account stands in another file, too; keep one of the two";
	else if (accounts->count == BRIDGE_ACCOUNTS_MOST)
		fault = "these are more accounts than a bridge takes (256)";
	if (fault) {
		complain(reading, section, fault);
		bridge_account_free(account);
		return;
	}
	make_absolute(reading->file, &account->password_file);
	make_absolute(reading->file, &account->ca_file);
	accounts->list =
		mem_resize(accounts->list, (accounts->count + 1) * sizeof(*accounts->list));
	accounts->list[accounts->count++] = *account;
}

static void read_sections(struct reading *reading, const struct settings_section *const *sections,
	void *const *values, size_t count)
{
	const size_t all = count + reading->found;
	const struct settings_section **every = mem_array(all, sizeof(*every));
	void **into = mem_array(all, sizeof(*into));

	for (size_t i = 0; i < count; i++) {
		every[i] = sections[i];
		into[i] = values[i];
	}
	for (size_t i = 0; i < reading->found; i++) {
		reading->made[i] = bridge_account_section;
		reading->made[i].name = mem_copy(reading->names[i].ptr, reading->names[i].len);
		every[count + i] = &reading->made[i];
		into[count + i] = &reading->list[i];
	}
	if (settings_read(reading->file, every, all, into, reading->report, reading->owner) != 0)
		reading->result = -1;
	mem_free(every);
	mem_free(into);
}

int accounts_read_beside(struct accounts *accounts, const char *file, struct text octets,
	const struct settings_section *const *sections, void *const *values, size_t count,
	host_report *report, void *owner)
{
	struct reading *reading = mem_new(sizeof(*reading));

	reading->file = file;
	reading->report = report;
	reading->owner = owner;
	reading->found = locate_sections(
		octets, TEXT(BRIDGE_ACCOUNT_PREFIX), reading->names, BRIDGE_ACCOUNTS_MOST);
	reading->made = mem_array(reading->found, sizeof(*reading->made));
	reading->list = mem_array(reading->found, sizeof(*reading->list));
	read_sections(reading, sections, values, count);
	for (size_t i = 0; i < reading->found; i++) {
		take(reading, accounts, i);
		mem_free((char *)reading->made[i].name);
	}
	const int result = reading->result;
	mem_free(reading->made);
	mem_free(reading->list);
	mem_free(reading);
	return result;
}

int accounts_read(struct accounts *accounts, const char *file, host_report *report, void *owner)
{
	char sentence[SENTENCE_LIMIT];
	struct buf handed = { 0 };
	size_t size;
	char *octets = sys_read_file(AT_FDCWD, file, FILE_LIMIT, &size);
	int result = 0;

	if (octets) {
		result = accounts_read_beside(accounts, file,
			(struct text){ .ptr = octets, .len = size }, NULL, NULL, 0, report, owner);
	} else if (errno != ENOENT) {
		snprintf(sentence, sizeof(sentence), "%s: %s", file, log_errno(errno));
		report(owner, sentence);
		result = -1;
	}
	mem_free(octets);
	for (size_t i = 0; i < accounts->count; i++)
		bridge_account_store(&accounts->list[i], &handed);
	if (buf_length(&handed) > HANDED_LIMIT) {
		report(owner, "the bridge's accounts are too many or too long all together");
		result = -1;
	}
	buf_release(&handed);
	return result;
}

void accounts_free(struct accounts *accounts)
{
	for (size_t i = 0; i < accounts->count; i++)
		bridge_account_free(&accounts->list[i]);
	mem_free(accounts->list);
	*accounts = (struct accounts){ 0 };
}

const struct bridge_account *accounts_find(const struct accounts *accounts, const char *name)
{
	for (size_t i = 0; i < accounts->count; i++) {
		if (strcmp(accounts->list[i].name, name) == 0)
			return &accounts->list[i];
	}
	return NULL;
}

void accounts_store(
	const struct accounts *accounts, const struct bridge_settings *settings, struct buf *out)
{
	struct bridge_settings whole = *settings;

	whole.accounts = (struct settings_list){ 0 };
	whole.accounts.item = mem_array(accounts->count, sizeof(*whole.accounts.item));
	for (size_t i = 0; i < accounts->count; i++) {
		struct buf lines = { 0 };
		bridge_account_store(&accounts->list[i], &lines);
		whole.accounts.item[whole.accounts.count++] =
			mem_copy(buf_text(&lines).ptr, buf_length(&lines));
		buf_release(&lines);
	}
	settings_store(&bridge_role_section, &whole, out);
	for (size_t i = 0; i < whole.accounts.count; i++)
		mem_free(whole.accounts.item[i]);
	mem_free(whole.accounts.item);
}
