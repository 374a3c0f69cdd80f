/*
 * restante alias add | remove | list | show | import, whether a host runs or not.
 */
#include <stdio.h>
#include <string.h>
#include <sysexits.h>

#include "base/arena.h"
#include "base/mem.h"
#include "restante/aliases.h"
#include "restante/directory.h"

enum { SHORT = 4 }; /* members that are shown on the alias's own line */

struct request {
	const struct command_line *line;
	const struct option_list *words; /* the first is the verb */
	const char *owner;
	bool is_list;
	char *file; /* to import; absolute, as the desk is entered elsewhere */
	struct arena *arena;
	struct answer answer;

	struct text from; /* of the next page of a list */
	bool more;
};

/* ---- add, remove ---- */

/* Words from the third on, as a run. */
static int pack_members(
	const struct request *request, const struct host_settings *settings, struct buf *run)
{
	for (size_t i = 2; i < request->words->count; i++) {
		struct store_member member = { 0 };
		const int status =
			directory_address(request->line, request->arena, request->words->item[i],
				directory_domain(settings), false, &member.address);
		if (status != 0)
			return status;
		store_member_pack(run, &member);
	}
	return 0;
}

/* Who gets the errors of a list: who is named, else the postmaster of its domain. */
static int find_owner(const struct request *request, const struct host_settings *settings,
	struct store_alias *alias)
{
	alias->owner = TEXT("");
	if (request->owner)
		return directory_address(request->line, request->arena, request->owner,
			directory_domain(settings), false, &alias->owner);
	if (request->is_list) {
		const ptrdiff_t at = text_find_last(alias->address, '@');
		alias->owner = text_format(request->arena, "postmaster%.*s",
			TEXT_ARG(text_from(alias->address, (size_t)at)));
	}
	return 0;
}

static int add(struct desk *desk, const struct host_settings *settings, struct request *request)
{
	struct buf members = { 0 }, run = { 0 };
	struct store_alias alias;
	int status = directory_address(request->line, request->arena, request->words->item[1],
		directory_domain(settings), true, &alias.address);

	alias.from_file = 0;
	if (status == 0)
		status = find_owner(request, settings, &alias);
	if (status == 0)
		status = pack_members(request, settings, &members);
	if (status == 0) {
		alias.members = buf_text(&members);
		store_alias_pack(&run, &alias);
		store_client_aliases_put(desk_client(desk),
			&(struct store_aliases_put){
				.mode = STORE_ALIASES_ADD, .aliases = buf_text(&run) },
			answer_take, &request->answer);
		status = answer_wait(desk, &request->answer, "alias add");
	}
	buf_release(&members);
	buf_release(&run);
	return status;
}

/* An alias that is whoever is not there is nobody's member. */
static void warn_of_members(struct desk *desk, const struct request *request, struct text gone)
{
	struct address address;

	if (address_parse(request->arena, gone, true, &address) == ADDRESS_OK)
		directory_warn_of_members(desk, address_canonical(request->arena, &address));
}

static int remove_it(
	struct desk *desk, const struct host_settings *settings, struct request *request)
{
	struct store_alias_remove gone;
	struct buf members = { 0 };
	int status = directory_address(request->line, request->arena, request->words->item[1],
		directory_domain(settings), true, &gone.address);

	if (status == 0)
		status = pack_members(request, settings, &members);
	if (status == 0) {
		gone.members = buf_text(&members);
		store_client_alias_remove(desk_client(desk), &gone, answer_take, &request->answer);
		status = answer_wait(desk, &request->answer, "alias remove");
	}
	if (status == 0 && request->words->count == 2)
		warn_of_members(desk, request, gone.address);
	buf_release(&members);
	return status;
}

/* ---- list ---- */

static void print_alias(struct arena *arena, const struct store_alias *alias)
{
	struct message_reader run = { .at = alias->members.ptr, .left = alias->members.len };
	struct buf members = { 0 };
	struct store_member member;
	size_t count = 0;

	if (alias->owner.len)
		printf("# list; errors go to %.*s\n",
			TEXT_ARG(directory_print(arena, alias->owner)));
	for (struct message_reader each = run; each.left; count++) {
		if (store_member_unpack_from(&each, &member) != 0)
			break;
		if (member.missing)
			printf("# there is no %.*s\n",
				TEXT_ARG(directory_print(arena, member.address)));
	}
	while (run.left && store_member_unpack_from(&run, &member) == 0) {
		buf_add_string(&members, count > SHORT ? "\n\t" : " ");
		buf_add(&members, directory_print(arena, member.address));
		if (run.left)
			buf_add_char(&members, ',');
	}
	printf("%.*s:%.*s\n", TEXT_ARG(directory_print(arena, alias->address)),
		TEXT_ARG(buf_text(&members)));
	buf_release(&members);
}

static void on_page(void *owner, struct store_reply *reply)
{
	struct request *request = owner;
	const struct store_aliases_reply *page = &reply->of.aliases;
	struct message_reader run = { .at = page->aliases.ptr, .left = page->aliases.len };
	struct store_alias alias;

	request->answer.done = true;
	request->answer.failure = reply->failure;
	request->more = reply->failure == STORE_OK && page->more && run.left;
	while (reply->failure == STORE_OK && run.left) {
		if (store_alias_unpack_from(&run, &alias) != 0) {
			request->answer.failure = STORE_INVALID;
			return;
		}
		print_alias(request->arena, &alias);
		request->from = text_copy(request->arena, alias.address);
	}
}

static int list(struct desk *desk, struct request *request)
{
	int status;

	request->from = TEXT("");
	do {
		store_client_aliases(desk_client(desk),
			&(struct store_aliases){ .from = request->from }, on_page, request);
		status = answer_wait(desk, &request->answer, "alias list");
	} while (status == EX_OK && request->more);
	return status;
}

/* ---- show ---- */

static void on_lookup(void *owner, struct store_reply *reply)
{
	struct request *request = owner;
	const struct store_lookup_reply *found = &reply->of.lookup;
	struct message_reader run = { .at = found->targets.ptr, .left = found->targets.len };
	struct answer *answer = &request->answer;
	struct store_target target;

	answer->done = true;
	answer->failure = reply->failure;
	if (reply->failure == STORE_REFUSED)
		answer->sentence = TEXT("that is not a domain of this host");
	else if (reply->failure == STORE_NO_SUCH_USER)
		answer->sentence = TEXT("nobody gets mail for this address");
	else if (reply->failure == STORE_INVALID)
		answer->sentence = TEXT("the aliases behind this address lead in a circle");
	while (reply->failure == STORE_OK && run.left &&
		store_target_unpack_from(&run, &target) == 0) {
		printf("%.*s %.*s", TEXT_ARG(directory_print(request->arena, target.user)),
			TEXT_ARG(target.mailbox));
		if (target.owner.len)
			printf(" (list of %.*s)",
				TEXT_ARG(directory_print(request->arena, target.owner)));
		putchar('\n');
	}
}

static int show(struct desk *desk, const struct host_settings *settings, struct request *request)
{
	const char *word = request->words->item[1];
	struct store_lookup lookup = { .address = text_of("postmaster") };
	struct address address;

	if (!text_equal_nocase(text_of(word), lookup.address)) {
		struct text whole;
		const int status = directory_address(request->line, request->arena, word,
			directory_domain(settings), false, &whole);
		if (status != 0)
			return status;
		address_parse(request->arena, whole, true, &address);
		lookup.address = address_canonical(request->arena, &address);
	}
	store_client_lookup(desk_client(desk), &lookup, on_lookup, request);
	return answer_wait(desk, &request->answer, "alias show");
}

/* ---- import ---- */

static void complain(void *owner, const char *sentence)
{
	(void)owner;
	fprintf(stderr, "%s\n", sentence);
}

static void on_imported(void *owner, struct store_reply *reply)
{
	answer_take(&((struct request *)owner)->answer, reply);
}

static int import(struct desk *desk, const struct host_settings *settings, struct request *request)
{
	struct answer *answer = &request->answer;
	struct aliases_file file;
	int status = aliases_read(&file, request->file, directory_domain(settings), complain, NULL);

	if (status == EX_OK) {
		store_client_aliases_put(desk_client(desk),
			&(struct store_aliases_put){
				.mode = STORE_ALIASES_SET, .aliases = buf_text(&file.run) },
			on_imported, request);
		if (desk_wait(desk, &answer->done) != 0)
			answer->failure = STORE_AWAY;
		aliases_report(&file, answer->sentence, complain, NULL);
		/* What was to be said is said with its line. */
		const bool told = answer->sentence.len > 0;
		answer->sentence = TEXT("");
		answer->done = true;
		status = told && answer->failure != STORE_OK
				 ? EX_DATAERR
				 : answer_wait(desk, answer, "alias import");
		if (answer->failure == STORE_OK)
			printf("%zu alias%s read, %u changed\n", file.count,
				file.count == 1 ? "" : "es", answer->changed);
	}
	aliases_release(&file);
	return status;
}

/* ---- the command ---- */

static int serve(struct desk *desk, const struct host_settings *settings, void *owner)
{
	struct request *request = owner;
	const char *verb = request->words->item[0];

	if (strcmp(verb, "add") == 0)
		return add(desk, settings, request);
	if (strcmp(verb, "remove") == 0)
		return remove_it(desk, settings, request);
	if (strcmp(verb, "show") == 0)
		return show(desk, settings, request);
	if (strcmp(verb, "import") == 0)
		return import(desk, settings, request);
	return list(desk, request);
}

/* Whether the words behind "alias" make sense. */
static int check_words(const struct request *request)
{
	static const struct {
		const char *verb;
		size_t least, most;
		const char *wants;
	} verbs[] = {
		{ "add", 3, 2 + STORE_MEMBERS_LIMIT, "an address and its members" },
		{ "remove", 2, 2 + STORE_MEMBERS_LIMIT, "an address, and perhaps members" },
		{ "list", 1, 1, "no address" },
		{ "show", 2, 2, "one address" },
		{ "import", 2, 2, "one file" },
	};
	const size_t count = request->words->count;

	for (size_t i = 0; count && i < sizeof(verbs) / sizeof(verbs[0]); i++) {
		if (strcmp(request->words->item[0], verbs[i].verb) != 0)
			continue;
		if (count < verbs[i].least || count > verbs[i].most)
			return command_misused(
				request->line, "%s wants %s", verbs[i].verb, verbs[i].wants);
		if ((request->owner || request->is_list) && i != 0)
			return command_misused(request->line, "--list and --owner go with add");
		return 0;
	}
	return command_misused(request->line, "say alias add, remove, list, show or import");
}

int command_alias(const struct command_line *line)
{
	const char *file = HOST_SETTINGS_FILE;
	struct option_list words;
	struct request request = { .line = line, .words = &words };
	const struct option options[] = {
		{ "-c", OPTION_VALUE, &file },
		{ "--owner", OPTION_VALUE, &request.owner },
		{ "--list", OPTION_FLAG, &request.is_list },
	};
	int status = option_parse(line, options, 3, &words);

	if (status == 0)
		status = check_words(&request);
	if (status == 0) {
		request.arena = request.answer.arena = arena_new(4096);
		request.answer.sentence = TEXT("");
		if (strcmp(words.item[0], "import") == 0)
			request.file = host_from_here(words.item[1]);
		status = directory_serve(file, serve, &request);
		mem_free(request.file);
		arena_free(&request.arena);
	}
	mem_free(words.item);
	return status;
}
