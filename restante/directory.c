#include "restante/directory.h"

#include <stdio.h>
#include <string.h>
#include <sysexits.h>

#include "base/arena.h"
#include "base/log.h"
#include "base/mem.h"
#include "mail/idn.h"

void answer_take(void *owner, struct store_reply *reply)
{
	const struct store_aliases_put_reply *said = &reply->of.aliases_put;
	struct answer *answer = owner;

	answer->done = true;
	answer->failure = reply->failure;
	answer->sentence = TEXT("");
	answer->changed = 0;
	if (reply->failure == STORE_AWAY)
		return;
	answer->sentence = text_copy(answer->arena, said->sentence);
	answer->changed = said->changed;
}

struct directory_verdict directory_judge(enum store_failure failure)
{
	struct directory_verdict verdict = { EX_UNAVAILABLE, store_failure_name(failure) };

	switch (failure) {
	case STORE_OK:
		verdict.status = EX_OK;
		break;
	case STORE_NO_SUCH_USER:
		verdict.status = EX_NOUSER;
		break;
	case STORE_ALREADY_EXISTS:
		verdict.status = EX_CANTCREAT;
		break;
	case STORE_INVALID:
	case STORE_TOO_LARGE:
		verdict.status = EX_DATAERR;
		break;
	case STORE_REFUSED:
		verdict.status = EX_NOPERM;
		break;
	case STORE_NO_SPACE:
		verdict.status = EX_IOERR;
		verdict.sentence = "the disk is full; make room and try again";
		break;
	case STORE_NOT_DURABLE:
		verdict.status = EX_IOERR;
		verdict.sentence = "it could not be written to the disk; the log tells why";
		break;
	case STORE_BUSY:
		verdict.status = EX_TEMPFAIL;
		verdict.sentence = "the store is busy with it; try again";
		break;
	case STORE_AWAY:
		verdict.status = EX_TEMPFAIL;
		verdict.sentence =
			"the store has ended meanwhile, and its log tells why; try again";
		break;
	case STORE_LOCKED:
	case STORE_OVER_QUOTA:
		verdict.status = EX_TEMPFAIL;
		break;
	case STORE_NO_SUCH_MAILBOX:
	case STORE_NO_SUCH_MESSAGE:
	case STORE_BAD_LOGIN:
	case STORE_DAMAGED:
	case STORE_FAILURES:
		break;
	}
	return verdict;
}

int answer_wait(struct desk *desk, struct answer *answer, const char *verb)
{
	if (desk_wait(desk, &answer->done) != 0)
		answer->failure = STORE_AWAY;
	answer->done = false;
	const struct directory_verdict verdict = directory_judge(answer->failure);
	if (answer->sentence.len)
		fprintf(stderr, "restante: %.*s\n", TEXT_ARG(answer->sentence));
	else if (answer->failure != STORE_OK)
		fprintf(stderr, "restante: %s: %s\n", verb, verdict.sentence);
	return verdict.status;
}

int directory_serve(const char *settings_file,
	int (*serve)(struct desk *desk, const struct host_settings *settings, void *owner),
	void *owner)
{
	char *file = host_absolute(settings_file);
	struct host host;
	int status = EX_CONFIG;

	host_init(&host, &(struct host_source){ .file = file });
	if (host_settings_read(&host.source, &host.settings, host_complain, NULL) == 0) {
		log_open("restante", LOG_LEVEL_WARNING);
		struct desk *desk = desk_enter(&host, &status);
		if (desk) {
			status = serve(desk, host.settings, owner);
			desk_leave(&desk);
		}
	}
	host_free(&host);
	mem_free(file);
	return status;
}

struct search {
	struct arena *arena;
	struct text gone;
	struct text from; /* of the next page */
	bool done, more;
};

static bool leads_nowhere(const struct search *search, const struct store_alias *alias)
{
	struct message_reader run = { .at = alias->members.ptr, .left = alias->members.len };
	struct store_member member;

	while (run.left && store_member_unpack_from(&run, &member) == 0) {
		if (member.missing && text_equal(member.address, search->gone))
			return true;
	}
	return false;
}

static void on_aliases(void *owner, struct store_reply *reply)
{
	struct search *search = owner;
	const struct store_aliases_reply *page = &reply->of.aliases;
	struct message_reader run = { .at = page->aliases.ptr, .left = page->aliases.len };
	struct store_alias alias;

	search->done = true;
	search->more = false;
	while (reply->failure == STORE_OK && run.left) {
		if (store_alias_unpack_from(&run, &alias) != 0)
			return;
		search->more = page->more;
		const struct text name = directory_print(search->arena, alias.address);
		if (leads_nowhere(search, &alias))
			fprintf(stderr,
				"restante: %.*s still has this address among its members; restante "
				"alias remove %.*s %.*s\n",
				TEXT_ARG(name), TEXT_ARG(name),
				TEXT_ARG(directory_print(search->arena, search->gone)));
		search->from = text_copy(search->arena, alias.address);
	}
}

void directory_warn_of_members(struct desk *desk, struct text gone)
{
	struct search search = { .arena = arena_new(4096), .gone = gone, .from = TEXT("") };

	do {
		search.done = false;
		store_client_aliases(desk_client(desk),
			&(struct store_aliases){ .from = search.from }, on_aliases, &search);
	} while (desk_wait(desk, &search.done) == 0 && search.more);
	arena_free(&search.arena);
}

struct text directory_domain(const struct host_settings *settings)
{
	const struct settings_list *domains = &host_settings_common(settings)->domains;

	return domains->count ? text_of(domains->item[0]) : TEXT("");
}

int directory_address(const struct command_line *line, struct arena *arena, const char *word,
	struct text domain, bool catch_all, struct text *address)
{
	struct address parsed;
	struct text whole = text_of(word);

	if (catch_all && word[0] == '@') {
		const struct text name = idn_domain(arena, text_of(word + 1));
		if (!name.ptr || !address_is_domain(name, false))
			return command_misused(line, "\"%s\" is not a domain", word + 1);
		*address = whole;
		return 0;
	}
	if (!strchr(word, '@')) {
		if (domain.len == 0)
			return command_misused(
				line, "\"%s\" has no domain, and the settings name none", word);
		whole = text_format(arena, "%s@%.*s", word, TEXT_ARG(domain));
	}
	const enum address_fault fault = address_parse(arena, whole, true, &parsed);
	if (fault != ADDRESS_OK)
		return command_misused(
			line, "\"%s\" is not an address (%s)", word, address_fault_text(fault));
	if (!address_canonical(arena, &parsed).ptr)
		return command_misused(line, "\"%s\" has no valid internationalized domain", word);
	*address = whole;
	return 0;
}

struct text directory_print(struct arena *arena, struct text canonical)
{
	const ptrdiff_t at = text_find_last(canonical, '@');
	const struct address address = {
		.local = text_head(canonical, at > 0 ? (size_t)at : 0),
		.domain = text_from(canonical, (size_t)at + 1),
	};

	return at > 0 ? address_print(arena, &address) : canonical;
}
