#include <stdio.h>
#include <string.h>
#include <sysexits.h>

#include "base/arena.h"
#include "base/mem.h"
#include "mail/address.h"
#include "restante/command.h"
#include "restante/directory.h"
#include "restante/password.h"

struct request {
	const char *verb; /* add, list, quota, remove, passwd */
	struct arena *arena;
	struct text address; /* canonical */
	struct text printed; /* as people write it: a quoted local part has its quotes */
	struct password password;
	bool hashed;
	uint64_t octets, messages; /* quota */

	bool done;
	bool is_foreign; /* the address is in a domain that is not ours */
	enum store_failure failure;
	char from[STORE_ADDRESS_LIMIT + 1]; /* of the next page of a list */
	bool more;
};

/* ---- answers ---- */

static void on_done(void *owner, struct store_reply *reply)
{
	struct request *request = owner;

	request->failure = reply->failure;
	request->done = true;
}

/* "/1000", or "" without a limit. */
static const char *limit_text(uint64_t limit, char text[24])
{
	text[0] = '\0';
	if (limit && limit != STORE_QUOTA_NONE)
		snprintf(text, 24, "/%llu", (unsigned long long)limit);
	return text;
}

static void print_user(struct arena *arena, const struct store_user *user)
{
	char messages[24], octets[24];

	printf("%-40.*s %8u%s message%s %12llu%s octets\n",
		TEXT_ARG(directory_print(arena, user->address)), user->messages,
		limit_text(user->quota_messages, messages), user->messages == 1 ? " " : "s",
		(unsigned long long)user->octets, limit_text(user->quota_octets, octets));
}

/* False when the page is not what it should be. */
static bool print_page(struct request *request, struct text users)
{
	struct message_reader reader = { .at = users.ptr, .left = users.len };

	while (reader.left) {
		struct store_user user;
		if (store_user_unpack_from(&reader, &user) != 0)
			return false;
		print_user(request->arena, &user);
		memcpy(request->from, user.address.ptr, user.address.len);
		request->from[user.address.len] = '\0';
	}
	return true;
}

static void on_page(void *owner, struct store_reply *reply)
{
	struct request *request = owner;
	const struct store_users_reply *page = &reply->of.users;

	request->failure = reply->failure;
	request->done = true;
	request->more = false;
	if (reply->failure != STORE_OK)
		return;
	if (print_page(request, page->users))
		request->more = page->more && page->users.len;
	else
		request->failure = STORE_INVALID;
}

/* ---- questions ---- */

static int wait_for_answer(struct desk *desk, struct request *request)
{
	if (desk_wait(desk, &request->done) != 0)
		request->failure = STORE_AWAY;
	return request->failure == STORE_OK ? 0 : -1;
}

static int list_users(struct desk *desk, struct request *request)
{
	do {
		const struct store_users page = { .from = text_of(request->from) };
		request->done = false;
		store_client_users(desk_client(desk), &page, on_page, request);
		if (wait_for_answer(desk, request) != 0)
			return -1;
	} while (request->more);
	return 0;
}

static struct text password_text(const struct request *request)
{
	return (struct text){ request->password.octets, request->password.length };
}

static int change_users(struct desk *desk, struct request *request)
{
	struct store_client *client = desk_client(desk);
	const struct store_user_add add = { request->printed, password_text(request),
		request->hashed };
	const struct store_user_password password = { request->printed, password_text(request),
		request->hashed };
	const struct store_user_remove gone = { request->printed };
	const struct store_user_quota quota = { request->printed, request->octets,
		request->messages };

	if (strcmp(request->verb, "add") == 0)
		store_client_user_add(client, &add, on_done, request);
	else if (strcmp(request->verb, "passwd") == 0)
		store_client_user_password(client, &password, on_done, request);
	else if (strcmp(request->verb, "quota") == 0)
		store_client_user_quota(client, &quota, on_done, request);
	else
		store_client_user_remove(client, &gone, on_done, request);
	return wait_for_answer(desk, request);
}

/* ---- the command ---- */

static int report_failure(const struct request *request)
{
	struct directory_verdict verdict = directory_judge(request->failure);

	if (request->failure == STORE_OK)
		return EX_OK;
	if (request->failure == STORE_ALREADY_EXISTS)
		verdict.sentence = "this user or alias exists already; restante user passwd sets a "
				   "new password";
	else if (request->failure == STORE_INVALID)
		verdict.sentence = request->hashed
					   ? "not a crypt(5) hash that the store takes: yescrypt, "
					     "bcrypt or sha512-crypt"
					   : "the store takes no such address or password; a "
					     "password has at most 511 octets, 72 with bcrypt";
	fprintf(stderr, "restante: %s%s%.*s: %s\n", request->verb, request->printed.len ? " " : "",
		TEXT_ARG(request->printed), verdict.sentence);
	return verdict.status;
}

static void on_domain(void *owner, struct store_reply *reply)
{
	struct request *request = owner;

	request->is_foreign = reply->failure == STORE_REFUSED;
	request->done = true;
}

/* The store would refuse mail for a domain that nobody says is ours. */
static void warn_of_domain(struct desk *desk, struct request *request)
{
	char address[STORE_ADDRESS_LIMIT + 16];
	const struct text domain =
		text_from(request->address, (size_t)text_find_last(request->address, '@') + 1);

	snprintf(address, sizeof(address), "postmaster@%.*s", TEXT_ARG(domain));
	request->done = false;
	store_client_lookup(desk_client(desk),
		&(struct store_lookup){ .address = text_of(address) }, on_domain, request);
	if (desk_wait(desk, &request->done) == 0 && request->is_foreign)
		fprintf(stderr,
			"restante: %.*s is not among the domains in the settings; mail for it is "
			"refused until it is, or until restante domain add %.*s\n",
			TEXT_ARG(domain), TEXT_ARG(domain));
}

static int serve(struct desk *desk, const struct host_settings *settings, void *owner)
{
	struct request *request = owner;

	(void)settings;
	if (strcmp(request->verb, "list") == 0)
		list_users(desk, request);
	else
		change_users(desk, request);
	const int status = report_failure(request);
	if (status == EX_OK && strcmp(request->verb, "add") == 0)
		warn_of_domain(desk, request);
	if (status == EX_OK && strcmp(request->verb, "remove") == 0)
		directory_warn_of_members(desk, request->address);
	return status;
}

/* "500", "10M", "none", "default". 0, or -1. */
static int read_quota(const char *word, uint64_t *quota)
{
	static const char units[] = "kmgt";
	struct text digits = text_of(word);
	unsigned shift = 0;

	*quota = 0;
	if (strcmp(word, "default") == 0)
		return 0;
	*quota = STORE_QUOTA_NONE;
	if (strcmp(word, "none") == 0)
		return 0;
	const char *unit = digits.len ? strchr(units, text_lower(word[digits.len - 1])) : NULL;
	if (unit) {
		shift = 10 * (unsigned)(unit - units + 1);
		digits.len--;
	}
	/* 0 would read as "nothing at all" and is stored as "the default". */
	if (text_to_number(digits, STORE_QUOTA_NONE >> shift, quota) != 0 || *quota == 0)
		return -1;
	*quota <<= shift;
	return 0;
}

static int read_quotas(
	const struct command_line *line, const struct option_list *words, struct request *request)
{
	if (words->count < 3 || words->count > 4)
		return command_misused(line, "quota wants an address, octets and perhaps messages");
	if (read_quota(words->item[2], &request->octets) != 0)
		return command_misused(line,
			"\"%s\" is not a quota: a number of octets (K, M, G and T are understood), "
			"default or none",
			words->item[2]);
	if (words->count == 4 && read_quota(words->item[3], &request->messages) != 0)
		return command_misused(line, "\"%s\" is not a number of messages, default or none",
			words->item[3]);
	return 0;
}

static bool wants_password(const struct request *request)
{
	return strcmp(request->verb, "add") == 0 || strcmp(request->verb, "passwd") == 0;
}

/* Whether the words behind "user" make sense; and the address, in the form the store knows. */
static int read_request(const struct command_line *line, const struct option_list *words,
	struct arena *arena, struct request *request)
{
	static const char *const verbs[] = { "add", "list", "quota", "remove", "passwd" };
	struct address address;

	for (size_t i = 0; words->count && i < sizeof(verbs) / sizeof(verbs[0]); i++) {
		if (strcmp(words->item[0], verbs[i]) == 0)
			request->verb = verbs[i];
	}
	if (!request->verb)
		return command_misused(line, "say user add, list, quota, remove or passwd");
	if (request->hashed && !wants_password(request))
		return command_misused(line, "--hash goes with add and passwd");
	if (strcmp(request->verb, "list") == 0)
		return words->count == 1 ? 0 : command_misused(line, "list takes no address");
	if (strcmp(request->verb, "quota") == 0) {
		const int status = read_quotas(line, words, request);
		if (status != 0)
			return status;
	} else if (words->count != 2) {
		return command_misused(line, "%s wants one address", request->verb);
	}
	const enum address_fault fault =
		address_parse(arena, text_of(words->item[1]), true, &address);
	if (fault != ADDRESS_OK || address.domain.len == 0)
		return command_misused(line, "\"%s\" is not an address (%s)", words->item[1],
			fault == ADDRESS_OK ? "the domain is missing" : address_fault_text(fault));
	request->address = address_canonical(arena, &address);
	request->printed = address_print(arena, &address);
	if (!request->address.ptr)
		return command_misused(
			line, "\"%s\" has no valid internationalized domain", words->item[1]);
	return 0;
}

static int ask_password(struct request *request)
{
	char prompt[STORE_ADDRESS_LIMIT + 40];

	snprintf(prompt, sizeof(prompt), "%s for %.*s", request->hashed ? "Hash" : "Password",
		TEXT_ARG(request->printed));
	return password_get(prompt, &request->password);
}

int command_user(const struct command_line *line)
{
	const char *file = HOST_SETTINGS_FILE;
	struct request request = { .address = TEXT(""), .printed = TEXT("") };
	struct option_list words;
	const struct option options[] = {
		{ "-c", OPTION_VALUE, &file },
		{ "--hash", OPTION_FLAG, &request.hashed },
	};
	struct arena *arena = request.arena = arena_new(4096);
	int status = option_parse(line, options, 2, &words);

	if (status == 0)
		status = read_request(line, &words, arena, &request);
	if (status == 0 && wants_password(&request))
		status = ask_password(&request);
	if (status == 0)
		status = directory_serve(file, serve, &request);
	password_forget(&request.password);
	arena_free(&arena);
	mem_free(words.item);
	return status;
}
