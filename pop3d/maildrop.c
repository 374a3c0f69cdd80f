#include "pop3d/maildrop.h"

#include "base/mem.h"
#include "store/client.h"

void maildrop_open(struct maildrop *maildrop, const struct store_listing *listing, size_t mapped,
	uint32_t uidvalidity, uint64_t octets)
{
	*maildrop = (struct maildrop){ .listing = listing,
		.mapped = mapped,
		.uidvalidity = uidvalidity,
		.messages = (uint32_t)listing->count,
		.octets = octets,
		.whole = octets };
}

void maildrop_close(struct maildrop *maildrop)
{
	if (maildrop->listing != NULL)
		store_listing_unmap(maildrop->listing, maildrop->mapped);
	mem_free(maildrop->marks);
	*maildrop = (struct maildrop){ 0 };
}

static bool marked(const struct maildrop *maildrop, uint32_t index)
{
	return maildrop->marks != NULL && (maildrop->marks[index / 8] >> (index % 8) & 1) != 0;
}

const struct store_listing_entry *maildrop_find(const struct maildrop *maildrop, uint64_t number)
{
	if (number < 1 || number > maildrop->messages || marked(maildrop, (uint32_t)number - 1))
		return NULL;
	return &maildrop->listing->entry[number - 1];
}

bool maildrop_is_deleted(const struct maildrop *maildrop, uint64_t number)
{
	return number >= 1 && number <= maildrop->messages &&
	       marked(maildrop, (uint32_t)number - 1);
}

bool maildrop_delete(struct maildrop *maildrop, uint64_t number)
{
	const struct store_listing_entry *entry = maildrop_find(maildrop, number);

	if (entry == NULL)
		return false;
	if (maildrop->marks == NULL)
		maildrop->marks = mem_array((size_t)maildrop->messages / 8 + 1, 1);
	maildrop->marks[(number - 1) / 8] |= (uint8_t)(1U << ((number - 1) % 8));
	maildrop->deleted++;
	maildrop->octets -= entry->wire;
	return true;
}

void maildrop_expire(struct maildrop *maildrop, int64_t before)
{
	for (uint32_t i = 0; i < maildrop->messages; i++)
		if (maildrop->listing->entry[i].received < before &&
			maildrop->deleted < STORE_UIDS_LIMIT / sizeof(uint32_t))
			maildrop_delete(maildrop, (uint64_t)i + 1);
}

void maildrop_reset(struct maildrop *maildrop)
{
	mem_free(maildrop->marks);
	maildrop->marks = NULL;
	maildrop->deleted = 0;
	maildrop->octets = maildrop->whole;
}

void maildrop_deleted_uids(const struct maildrop *maildrop, struct buf *out)
{
	for (uint32_t i = 0; i < maildrop->messages && maildrop->deleted > 0; i++)
		if (marked(maildrop, i))
			message_add_u32(out, maildrop->listing->entry[i].uid);
}

void maildrop_uidl(const struct maildrop *maildrop, uint32_t uid, char out[MAILDROP_UIDL + 1])
{
	static const char digits[] = "0123456789abcdef";
	uint64_t id = (uint64_t)maildrop->uidvalidity << 32 | uid;

	for (int i = MAILDROP_UIDL - 1; i >= 0; i--, id >>= 4)
		out[i] = digits[id & 15];
	out[MAILDROP_UIDL] = '\0';
}
