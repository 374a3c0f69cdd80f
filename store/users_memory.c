/*
 * All users in memory: in order of address, and by number. The latter are chains in as many places as there
 * is room for users; numbers are given one after the other, so a chain is hardly longer than one.
 */
#include <string.h>

#include "store/mailbox.h"
#include "store/users.h"

size_t users_position(const struct engine *engine, struct text address)
{
	size_t low = 0, high = engine->user_count;

	while (low < high) {
		const size_t middle = low + (high - low) / 2;
		if (text_compare(engine->users[middle]->public.address, address) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

struct user *users_find(struct engine *engine, struct text address)
{
	const size_t at = users_position(engine, address);

	return at < engine->user_count && text_equal(engine->users[at]->public.address, address)
		       ? engine->users[at]
		       : NULL;
}

/* ---- by number ---- */

static struct user **chain_of(const struct engine *engine, uint32_t number)
{
	return &engine->by_number[number & (engine->user_room - 1)];
}

struct user *users_with_number(const struct engine *engine, uint32_t number)
{
	struct user *user = engine->user_room ? *chain_of(engine, number) : NULL;

	while (user && user->public.number != number)
		user = user->next_by_number;
	return user;
}

static void put_in_chain(struct engine *engine, struct user *user)
{
	struct user **chain = chain_of(engine, user->public.number);

	user->next_by_number = *chain;
	*chain = user;
}

static void take_from_chain(struct engine *engine, const struct user *user)
{
	struct user **at = chain_of(engine, user->public.number);

	while (*at != user)
		at = &(*at)->next_by_number;
	*at = user->next_by_number;
}

/* ---- all of them ---- */

static void forget_hash(struct user *user)
{
	if (user->hash)
		mem_wipe(user->hash, strlen(user->hash));
	if (user->crypt)
		mem_wipe(user->crypt, strlen(user->crypt));
	mem_free(user->hash);
	mem_free(user->crypt);
}

void users_set_hash(struct user *user, struct text hash)
{
	const ptrdiff_t blank = text_find(hash, ' ');

	forget_hash(user);
	user->hash = mem_copy(hash.ptr, hash.len);
	user->crypt = mem_copy(hash.ptr, blank < 0 ? hash.len : (size_t)blank);
	user->public.hash = user->crypt;
	user->public.scram = blank < 0 ? NULL : user->hash + blank + 1;
}

static void grow(struct engine *engine)
{
	engine->user_room = engine->user_room ? 2 * engine->user_room : 16;
	engine->users = mem_resize(engine->users, engine->user_room * sizeof(*engine->users));
	mem_free(engine->by_number);
	engine->by_number = mem_array(engine->user_room, sizeof(*engine->by_number));
	for (size_t i = 0; i < engine->user_count; i++)
		put_in_chain(engine, engine->users[i]);
}

struct user *users_insert(
	struct engine *engine, struct text address, uint32_t number, struct text hash)
{
	const size_t at = users_position(engine, address);
	struct user *user = mem_new(sizeof(*user));

	user->address = mem_copy(address.ptr, address.len);
	user->public.address = text_of(user->address);
	user->public.number = number;
	user->next_mailbox = 1;
	users_set_hash(user, hash);
	if (engine->user_count == engine->user_room)
		grow(engine);
	memmove(engine->users + at + 1, engine->users + at,
		(engine->user_count - at) * sizeof(*engine->users));
	engine->users[at] = user;
	engine->user_count++;
	put_in_chain(engine, user);
	return user;
}

static void user_free(struct user *user)
{
	forget_hash(user);
	mem_free(user->address);
	mem_free(user);
}

void users_remove(struct engine *engine, struct user *user)
{
	const size_t at = users_position(engine, user->public.address);

	if (user->account)
		account_drop(engine, user->account);
	take_from_chain(engine, user);
	engine->user_count--;
	memmove(engine->users + at, engine->users + at + 1,
		(engine->user_count - at) * sizeof(*engine->users));
	user_free(user);
}

void users_free(struct engine *engine)
{
	for (size_t i = 0; i < engine->user_count; i++)
		user_free(engine->users[i]);
	mem_free(engine->users);
	mem_free(engine->by_number);
	engine->users = engine->by_number = NULL;
	engine->user_count = engine->user_room = 0;
	buf_wipe(&engine->users_text);
	directory_clear(engine);
}
