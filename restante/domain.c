/*
 * restante domain add | remove | list, whether a host runs or not.
 */
#include <stdio.h>
#include <string.h>
#include <sysexits.h>

#include "base/arena.h"
#include "base/mem.h"
#include "mail/idn.h"
#include "restante/directory.h"

struct request {
	const struct option_list *words; /* the first is the verb */
	struct arena *arena;
	struct answer answer;

	struct text from; /* of the next page of a list */
	bool more;
};

static void on_page(void *owner, struct store_reply *reply)
{
	struct request *request = owner;
	const struct store_domains_reply *page = &reply->of.domains;
	struct message_reader run = { .at = page->domains.ptr, .left = page->domains.len };
	struct store_domain domain;

	request->answer.done = true;
	request->answer.failure = reply->failure;
	request->more = reply->failure == STORE_OK && page->more && run.left;
	while (reply->failure == STORE_OK && run.left) {
		if (store_domain_unpack_from(&run, &domain) != 0) {
			request->answer.failure = STORE_INVALID;
			return;
		}
		printf("%-40.*s %6u user%s %6u alias%s%s\n", TEXT_ARG(domain.domain), domain.users,
			domain.users == 1 ? " " : "s", domain.aliases,
			domain.aliases == 1 ? "" : "es", domain.in_settings ? " (settings)" : "");
		request->from = text_copy(request->arena, domain.domain);
	}
}

static int list(struct desk *desk, struct request *request)
{
	int status;

	request->from = TEXT("");
	do {
		store_client_domains(desk_client(desk),
			&(struct store_domains){ .from = request->from }, on_page, request);
		status = answer_wait(desk, &request->answer, "domain list");
	} while (status == EX_OK && request->more);
	return status;
}

static int serve(struct desk *desk, const struct host_settings *settings, void *owner)
{
	struct request *request = owner;
	const char *verb = request->words->item[0];

	(void)settings;
	if (strcmp(verb, "list") == 0)
		return list(desk, request);
	const struct text domain = text_of(request->words->item[1]);
	if (strcmp(verb, "add") == 0)
		store_client_domain_add(desk_client(desk),
			&(struct store_domain_add){ .domain = domain }, answer_take,
			&request->answer);
	else
		store_client_domain_remove(desk_client(desk),
			&(struct store_domain_remove){ .domain = domain }, answer_take,
			&request->answer);
	return answer_wait(desk, &request->answer, verb);
}

/* Whether the words behind "domain" make sense. */
static int check_words(const struct command_line *line, const struct request *request)
{
	const struct option_list *words = request->words;
	const char *verb = words->count ? words->item[0] : "";

	if (strcmp(verb, "list") == 0)
		return words->count == 1 ? 0 : command_misused(line, "list takes no domain");
	if (strcmp(verb, "add") != 0 && strcmp(verb, "remove") != 0)
		return command_misused(line, "say domain add, remove or list");
	if (words->count != 2)
		return command_misused(line, "%s wants one domain", verb);
	const struct text name = idn_domain(request->arena, text_of(words->item[1]));
	if (!name.ptr || !address_is_domain(name, false))
		return command_misused(line, "\"%s\" is not a domain", words->item[1]);
	return 0;
}

int command_domain(const struct command_line *line)
{
	const char *file = HOST_SETTINGS_FILE;
	struct option_list words;
	struct request request = { .words = &words, .arena = arena_new(4096) };
	const struct option options[] = { { "-c", OPTION_VALUE, &file } };
	int status = option_parse(line, options, 1, &words);

	request.answer = (struct answer){ .arena = request.arena, .sentence = TEXT("") };
	if (status == 0)
		status = check_words(line, &request);
	if (status == 0)
		status = directory_serve(file, serve, &request);
	arena_free(&request.arena);
	mem_free(words.item);
	return status;
}
