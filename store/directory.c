#include "store/directory.h"

#include <string.h>

#include "base/log.h"
#include "mail/address.h"
#include "mail/idn.h"
#include "store/directory_private.h"

/* ---- domains in memory ---- */

static size_t domain_position(const struct domain_list *list, struct text name)
{
	size_t low = 0, high = list->count;

	while (low < high) {
		const size_t middle = low + (high - low) / 2;
		if (text_compare(text_of(list->names[middle]), name) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

bool domains_has(const struct domain_list *list, struct text name)
{
	const size_t at = domain_position(list, name);

	return at < list->count && text_equal(text_of(list->names[at]), name);
}

void domains_put(struct domain_list *list, struct text name)
{
	const size_t at = domain_position(list, name);

	if (domains_has(list, name))
		return;
	if (list->count == list->room) {
		list->room = list->room ? 2 * list->room : 16;
		list->names = mem_resize(list->names, list->room * sizeof(*list->names));
	}
	memmove(list->names + at + 1, list->names + at, (list->count - at) * sizeof(*list->names));
	list->names[at] = mem_copy(name.ptr, name.len);
	list->count++;
}

void domains_drop(struct domain_list *list, struct text name)
{
	const size_t at = domain_position(list, name);

	if (!domains_has(list, name))
		return;
	mem_free(list->names[at]);
	list->count--;
	memmove(list->names + at, list->names + at + 1, (list->count - at) * sizeof(*list->names));
}

static void domains_clear(struct domain_list *list)
{
	for (size_t i = 0; i < list->count; i++)
		mem_free(list->names[i]);
	mem_free(list->names);
	*list = (struct domain_list){ 0 };
}

struct text directory_domain_of(struct text address)
{
	const ptrdiff_t at = text_find_last(address, '@');

	return at < 0 ? TEXT("") : text_from(address, (size_t)at + 1);
}

bool engine_domain_is_ours(const struct engine *engine, struct text domain)
{
	const struct directory *directory = engine->directory;

	return domains_has(&directory->configured, domain) ||
	       domains_has(&directory->domains, domain);
}

/* ---- aliases in memory ---- */

static char *copy_to(char *at, struct text from, struct text *to)
{
	if (from.len)
		memcpy(at, from.ptr, from.len);
	*to = (struct text){ .ptr = at, .len = from.len };
	return at + from.len;
}

struct alias *alias_new(const struct engine_alias *from)
{
	size_t octets = from->address.len + from->owner.len;

	for (size_t i = 0; i < from->count; i++)
		octets += from->members[i].len;
	struct alias *alias =
		mem_new(sizeof(*alias) + from->count * sizeof(struct text) + octets + 1);
	struct text *members = (struct text *)(alias + 1);
	char *at = (char *)(members + from->count);
	at = copy_to(at, from->address, &alias->public.address);
	at = copy_to(at, from->owner, &alias->public.owner);
	for (size_t i = 0; i < from->count; i++)
		at = copy_to(at, from->members[i], &members[i]);
	alias->public.members = members;
	alias->public.count = from->count;
	alias->public.from_file = from->from_file;
	return alias;
}

static size_t alias_position(const struct directory *directory, struct text address)
{
	size_t low = 0, high = directory->count;

	while (low < high) {
		const size_t middle = low + (high - low) / 2;
		if (text_compare(directory->aliases[middle]->public.address, address) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

struct alias *directory_find(const struct directory *directory, struct text address)
{
	const size_t at = alias_position(directory, address);

	return at < directory->count && text_equal(directory->aliases[at]->public.address, address)
		       ? directory->aliases[at]
		       : NULL;
}

void directory_insert(struct directory *directory, struct alias *alias)
{
	const size_t at = alias_position(directory, alias->public.address);

	if (at < directory->count &&
		text_equal(directory->aliases[at]->public.address, alias->public.address)) {
		mem_free(directory->aliases[at]);
		directory->aliases[at] = alias;
		return;
	}
	if (directory->count == directory->room) {
		directory->room = directory->room ? 2 * directory->room : 16;
		directory->aliases = mem_resize(
			directory->aliases, directory->room * sizeof(*directory->aliases));
	}
	memmove(directory->aliases + at + 1, directory->aliases + at,
		(directory->count - at) * sizeof(*directory->aliases));
	directory->aliases[at] = alias;
	directory->count++;
}

void directory_remove(struct directory *directory, struct text address)
{
	const size_t at = alias_position(directory, address);

	if (!directory_find(directory, address))
		return;
	mem_free(directory->aliases[at]);
	directory->count--;
	memmove(directory->aliases + at, directory->aliases + at + 1,
		(directory->count - at) * sizeof(*directory->aliases));
}

const struct engine_alias *engine_aliases_next(const struct engine *engine, struct text after)
{
	const struct directory *directory = engine->directory;
	size_t at = alias_position(directory, after);

	if (at < directory->count && text_equal(directory->aliases[at]->public.address, after))
		at++;
	return at < directory->count ? &directory->aliases[at]->public : NULL;
}

/* A user of this name would get nothing. */
bool directory_takes(const struct engine *engine, struct text address)
{
	const struct alias *alias = directory_find(engine->directory, address);

	for (size_t i = 0; alias && i < alias->public.count; i++) {
		if (text_equal(alias->public.members[i], address))
			return false;
	}
	return alias != NULL;
}

/* The smaller of the next names in both lists; "" in neither. */
static struct text next_domain(const struct directory *directory, struct text after)
{
	const struct domain_list *const lists[] = { &directory->configured, &directory->domains };
	struct text next = TEXT("");

	for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
		size_t at = domain_position(lists[i], after);
		if (at < lists[i]->count && text_equal(text_of(lists[i]->names[at]), after))
			at++;
		if (at == lists[i]->count)
			continue;
		const struct text name = text_of(lists[i]->names[at]);
		if (next.len == 0 || text_compare(name, next) < 0)
			next = name;
	}
	return next;
}

struct engine_domain directory_count(const struct engine *engine, struct text name)
{
	const struct directory *directory = engine->directory;
	struct engine_domain domain = { .name = name,
		.in_settings = domains_has(&directory->configured, name) };

	for (size_t i = 0; i < engine->user_count; i++)
		domain.users +=
			!engine->users[i]->hidden &&
			text_equal(directory_domain_of(engine->users[i]->public.address), name);
	for (size_t i = 0; i < directory->count; i++)
		domain.aliases += text_equal(
			directory_domain_of(directory->aliases[i]->public.address), name);
	return domain;
}

bool engine_domains_next(
	const struct engine *engine, struct text after, struct engine_domain *domain)
{
	const struct text name = next_domain(engine->directory, after);

	if (name.len == 0)
		return false;
	*domain = directory_count(engine, name);
	return true;
}

/* ---- life ---- */

struct directory *directory_new(void)
{
	struct directory *directory = mem_new(sizeof(*directory));

	directory->arena = arena_new(512);
	directory->scratch = arena_new(4096);
	directory->first = directory->separators = directory->postmaster = TEXT("");
	STAILQ_INIT(&directory->jobs);
	return directory;
}

void directory_clear(struct engine *engine)
{
	struct directory *directory = engine->directory;

	for (size_t i = 0; i < directory->count; i++)
		mem_free(directory->aliases[i]);
	mem_free(directory->aliases);
	directory->aliases = NULL;
	directory->count = directory->room = 0;
	domains_clear(&directory->domains);
}

void directory_free(struct engine *engine)
{
	directory_clear(engine);
	domains_clear(&engine->directory->configured);
	arena_free(&engine->directory->arena);
	arena_free(&engine->directory->scratch);
	mem_free(engine->directory);
	engine->directory = NULL;
}

static void configure_domains(struct directory *directory, const struct directory_options *options)
{
	domains_clear(&directory->configured);
	directory->first = TEXT("");
	for (size_t i = 0; i < options->domain_count; i++) {
		const struct text name = idn_domain(directory->arena, text_of(options->domains[i]));
		if (!name.ptr || !address_is_domain(name, false)) {
			LOG_WARNING("domain-is-none", LOG_STRING("domain", options->domains[i]));
			continue;
		}
		domains_put(&directory->configured, name);
		if (directory->first.len == 0)
			directory->first = text_copy(directory->arena, name);
	}
}

void engine_directory_configure(struct engine *engine, const struct directory_options *options)
{
	struct directory *directory = engine->directory;
	struct address postmaster;
	struct text canonical = TEXT("");

	arena_empty(directory->arena);
	configure_domains(directory, options);
	directory->detail = options->detail;
	directory->separators = text_copy(directory->arena, text_of(options->separators));
	if (options->postmaster[0]) {
		const struct text written =
			text_copy(directory->arena, text_of(options->postmaster));
		if (address_parse(directory->arena, written, true, &postmaster) == ADDRESS_OK)
			canonical = address_canonical(directory->arena, &postmaster);
		if (!canonical.len)
			LOG_WARNING("postmaster-is-no-address", LOG_TEXT("postmaster", written));
	}
	directory->postmaster = canonical;
	users_announce(engine);
}
