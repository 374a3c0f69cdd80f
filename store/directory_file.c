/*
 * The directory on disk: rows of the index, and lines of the text file that users_file.c writes.
 *
 *	table directory: key                            value
 *	'd' domain                                      (version only)
 *	'a' address NUL number u32                      owner, whether from a file, some of the members
 *
 *	domain example.net
 *	alias sales@example.test - - alice@example.test bob@example.test
 *	alias team@example.test bob@example.test file alice@example.test
 *
 * An alias has as many rows as its members need, so that none is larger than a scan of the table reads at
 * once. In the text file an alias is address, owner or "-", where it came from, and members, each with
 * %XX as in the lines of users.
 */
#include <endian.h>
#include <errno.h>
#include <string.h>

#include "store/directory_private.h"

enum {
	/* Of members, from which on another row begins. */
	ROW_OCTETS = INDEX_MEMBERS_LIMIT - STORE_ADDRESS_LIMIT - 8,
	KEY_LIMIT = 1 + STORE_ADDRESS_LIMIT + 1 + 4,
	DOMAIN_ROW = 'd',
	ALIAS_ROW = 'a',
};

/* ---- rows ---- */

static size_t domain_key(struct text domain, char key[KEY_LIMIT])
{
	key[0] = DOMAIN_ROW;
	memcpy(key + 1, domain.ptr, domain.len);
	return 1 + domain.len;
}

static size_t alias_key(struct text address, uint32_t number, char key[KEY_LIMIT])
{
	key[0] = ALIAS_ROW;
	memcpy(key + 1, address.ptr, address.len);
	key[1 + address.len] = '\0';
	number = htobe32(number);
	memcpy(key + 2 + address.len, &number, sizeof(number));
	return 2 + address.len + sizeof(number);
}

int directory_put_domain(struct engine *engine, struct env_txn *txn, struct text domain)
{
	const struct index_domain row = { .version = INDEX_VERSION };
	char key[KEY_LIMIT];

	buf_clear(&engine->value);
	index_domain_pack(&engine->value, &row);
	return env_put(engine->env, txn, ENV_DIRECTORY,
		(struct text){ .ptr = key, .len = domain_key(domain, key) },
		buf_text(&engine->value));
}

int directory_delete_domain(struct engine *engine, struct env_txn *txn, struct text domain)
{
	char key[KEY_LIMIT];

	return env_delete(engine->env, txn, ENV_DIRECTORY,
		(struct text){ .ptr = key, .len = domain_key(domain, key) });
}

/* Members from *at on, as many as a row takes. */
static void pack_members(const struct engine_alias *alias, size_t *at, struct buf *run)
{
	buf_clear(run);
	while (*at < alias->count && buf_length(run) < ROW_OCTETS) {
		const struct store_member member = { .address = alias->members[(*at)++] };
		store_member_pack(run, &member);
	}
}

int directory_put_alias(struct engine *engine, struct env_txn *txn, const struct alias *alias)
{
	const struct engine_alias *public = &alias->public;
	char key[KEY_LIMIT];
	uint32_t number = 0;
	int error = 0;

	for (size_t at = 0; at < public->count && error == 0; number++) {
		pack_members(public, &at, &engine->run);
		const struct index_alias row = { .version = INDEX_VERSION,
			.from_file = public->from_file,
			.owner = public->owner,
			.members = buf_text(&engine->run) };
		buf_clear(&engine->value);
		index_alias_pack(&engine->value, &row);
		error = env_put(engine->env, txn, ENV_DIRECTORY,
			(struct text){ .ptr = key, .len = alias_key(public->address, number, key) },
			buf_text(&engine->value));
	}
	return error;
}

int directory_delete_alias(struct engine *engine, struct env_txn *txn, const struct alias *alias)
{
	char key[KEY_LIMIT];
	uint32_t number = 0;
	int error = 0;

	for (size_t at = 0; at < alias->public.count && error == 0; number++) {
		pack_members(&alias->public, &at, &engine->run);
		error = env_delete(engine->env, txn, ENV_DIRECTORY,
			(struct text){
				.ptr = key, .len = alias_key(alias->public.address, number, key) });
	}
	return error;
}

int directory_put_all(struct engine *engine, struct env_txn *txn)
{
	const struct directory *directory = engine->directory;
	int error = 0;

	for (size_t i = 0; i < directory->domains.count && error == 0; i++)
		error = directory_put_domain(engine, txn, text_of(directory->domains.names[i]));
	for (size_t i = 0; i < directory->count && error == 0; i++)
		error = directory_put_alias(engine, txn, directory->aliases[i]);
	return error;
}

/* ---- from the rows ---- */

struct loading {
	struct engine *engine;
	struct arena *arena;
	struct engine_alias alias; /* whose rows are being read; address.len 0: none */
	struct text *members;
	uint32_t rows;
	bool damaged;
};

static void finish_alias(struct loading *loading)
{
	if (loading->alias.address.len)
		directory_insert(loading->engine->directory, alias_new(&loading->alias));
	loading->alias = (struct engine_alias){ .address = TEXT("") };
	loading->rows = 0;
	arena_empty(loading->arena);
}

static bool begin_alias(struct loading *loading, struct text address, const struct index_alias *row)
{
	if (text_find(address, '@') < 0)
		return false;
	loading->members =
		arena_take(loading->arena, STORE_MEMBERS_LIMIT * sizeof(*loading->members));
	loading->alias = (struct engine_alias){ .address = text_copy(loading->arena, address),
		.owner = text_copy(loading->arena, row->owner),
		.from_file = row->from_file,
		.members = loading->members };
	return true;
}

static bool load_alias(struct loading *loading, struct text key, struct text value)
{
	struct index_alias row;
	struct store_member member;
	uint32_t number;

	if (key.len < 6 || key.len > KEY_LIMIT || key.ptr[key.len - 5] != '\0' ||
		index_alias_decode(value, &row) != 0)
		return false;
	memcpy(&number, key.ptr + key.len - 4, sizeof(number));
	number = be32toh(number);
	const struct text address = text_head(text_from(key, 1), key.len - 6);
	if (number == 0) {
		finish_alias(loading);
		if (!begin_alias(loading, address, &row))
			return false;
	}
	if (number != loading->rows || !text_equal(address, loading->alias.address))
		return false;
	loading->rows++;
	struct message_reader run = { .at = row.members.ptr, .left = row.members.len };
	while (run.left) {
		if (loading->alias.count == STORE_MEMBERS_LIMIT ||
			store_member_unpack_from(&run, &member) != 0)
			return false;
		loading->members[loading->alias.count++] =
			text_copy(loading->arena, member.address);
	}
	return true;
}

static bool load_domain(struct loading *loading, struct text key, struct text value)
{
	struct index_domain row;

	if (key.len < 2 || key.len > 1 + STORE_ADDRESS_LIMIT || text_find(key, '\0') >= 0 ||
		index_domain_decode(value, &row) != 0)
		return false;
	domains_put(&loading->engine->directory->domains, text_from(key, 1));
	return true;
}

static int load_row(void *owner, struct text key, struct text value)
{
	struct loading *loading = owner;

	if (key.len && key.ptr[0] == ALIAS_ROW)
		loading->damaged = !load_alias(loading, key, value);
	else if (key.len && key.ptr[0] == DOMAIN_ROW)
		loading->damaged = !load_domain(loading, key, value);
	else
		loading->damaged = true;
	return loading->damaged;
}

int directory_load(struct engine *engine)
{
	struct loading loading = { .engine = engine, .arena = arena_new(65536) };
	const int error = env_scan(engine->env, ENV_DIRECTORY, TEXT(""), load_row, &loading);

	if (error == 0 && !loading.damaged)
		finish_alias(&loading);
	arena_free(&loading.arena);
	return error ? error : loading.damaged ? EBADMSG : 0;
}

/* ---- the text file ---- */

void directory_print(const struct engine *engine, struct buf *out)
{
	const struct directory *directory = engine->directory;

	for (size_t i = 0; i < directory->domains.count; i++) {
		buf_add_string(out, "domain ");
		users_print_address(text_of(directory->domains.names[i]), out);
		buf_add_char(out, '\n');
	}
	for (size_t i = 0; i < directory->count; i++) {
		const struct engine_alias *alias = &directory->aliases[i]->public;
		buf_add_string(out, "alias ");
		users_print_address(alias->address, out);
		buf_add_char(out, ' ');
		if (alias->owner.len)
			users_print_address(alias->owner, out);
		else
			buf_add_char(out, '-');
		buf_add_string(out, alias->from_file ? " file" : " -");
		for (size_t k = 0; k < alias->count; k++) {
			buf_add_char(out, ' ');
			users_print_address(alias->members[k], out);
		}
		buf_add_char(out, '\n');
	}
}

/* One word of a line, in the arena. */
static bool parse_word(struct arena *arena, struct text *rest, struct text *address)
{
	struct buf octets = { 0 };
	struct text word;
	const bool good = text_split(rest, ' ', &word) && users_parse_address(word, &octets) == 0 &&
			  text_find(buf_text(&octets), '\0') < 0;

	if (good)
		*address = text_copy(arena, buf_text(&octets));
	buf_release(&octets);
	return good;
}

static bool parse_alias(struct engine *engine, struct arena *arena, struct text rest)
{
	struct text *members = arena_take(arena, STORE_MEMBERS_LIMIT * sizeof(*members));
	struct engine_alias alias = { .members = members };
	struct text origin;

	if (!parse_word(arena, &rest, &alias.address) || text_find(alias.address, '@') < 0 ||
		!parse_word(arena, &rest, &alias.owner) || !text_split(&rest, ' ', &origin))
		return false;
	alias.from_file = text_equal(origin, TEXT("file"));
	if (text_equal(alias.owner, TEXT("-")))
		alias.owner = TEXT("");
	while (rest.ptr && rest.len) {
		if (alias.count == STORE_MEMBERS_LIMIT ||
			!parse_word(arena, &rest, &members[alias.count++]))
			return false;
	}
	if (alias.count == 0 || directory_find(engine->directory, alias.address))
		return false;
	directory_insert(engine->directory, alias_new(&alias));
	return true;
}

int directory_parse(struct engine *engine, struct text line)
{
	struct arena *arena = arena_new(4096);
	struct text rest, domain;
	bool good = false;

	if (text_begins(line, TEXT("alias "))) {
		good = parse_alias(engine, arena, text_from(line, 6));
	} else if (text_begins(line, TEXT("domain "))) {
		rest = text_from(line, 7);
		good = parse_word(arena, &rest, &domain);
		if (good)
			domains_put(&engine->directory->domains, domain);
	}
	arena_free(&arena);
	return good ? 0 : -1;
}
