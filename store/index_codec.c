#include "store/index_codec.h"

#include <endian.h>
#include <string.h>

MESSAGE_DEFINE(index_counters, INDEX_COUNTERS_FIELDS)
MESSAGE_DEFINE(index_user, INDEX_USER_FIELDS)
MESSAGE_DEFINE(index_mailbox, INDEX_MAILBOX_FIELDS)
MESSAGE_DEFINE(index_message, INDEX_MESSAGE_FIELDS)
MESSAGE_DEFINE(index_expunging, INDEX_EXPUNGING_FIELDS)
MESSAGE_DEFINE(index_copying, INDEX_COPYING_FIELDS)
MESSAGE_DEFINE(index_domain, INDEX_DOMAIN_FIELDS)
MESSAGE_DEFINE(index_alias, INDEX_ALIAS_FIELDS)
MESSAGE_DEFINE_SHORT(index_mailbox, INDEX_MAILBOX_FIELDS)
MESSAGE_DEFINE_SHORT(index_message, INDEX_MESSAGE_FIELDS)

#define DECODE(tag) \
	int tag##_decode(struct text value, struct tag *row) \
	{ \
		return tag##_unpack(value, row) == 0 && row->version == INDEX_VERSION ? 0 : -1; \
	}
DECODE(index_user)
DECODE(index_expunging)
DECODE(index_copying)
DECODE(index_domain)
DECODE(index_alias)

unsigned index_format(struct text counters)
{
	return counters.len ? (unsigned char)counters.ptr[0] : 0;
}

int index_counters_decode(struct text value, struct index_counters *counters)
{
	const unsigned format = index_format(value);

	return format >= INDEX_VERSION && format <= INDEX_FORMAT
		       ? index_counters_unpack(value, counters)
		       : -1;
}

#define CODE_SHORT(tag) \
	void tag##_encode(struct buf *out, const struct tag *row) \
	{ \
		struct tag written = *row; \
		written.version = INDEX_SHORT_VERSION; \
		tag##_pack_short(out, &written); \
	} \
	int tag##_decode(struct text value, struct tag *row) \
	{ \
		if (value.len && value.ptr[0] == INDEX_VERSION) \
			return tag##_unpack(value, row); \
		if (tag##_unpack_short(value, row) != 0 || row->version != INDEX_SHORT_VERSION) \
			return -1; \
		row->version = INDEX_VERSION; \
		return 0; \
	}
CODE_SHORT(index_mailbox)
CODE_SHORT(index_message)

void index_once_encode(struct buf *out, const struct index_once *row)
{
	message_add_u8(out, INDEX_VERSION);
	message_add_i64(out, row->time);
	if (row->asked != row->time)
		message_add_i64(out, row->asked);
}

int index_once_decode(struct text value, struct index_once *row)
{
	struct message_reader in = { .at = value.ptr, .left = value.len };
	const bool ours = message_get_u8(&in, 0) == INDEX_VERSION;

	row->time = row->asked = message_get_i64(&in, 0);
	const bool renewed = in.left != 0;
	if (renewed)
		row->asked = message_get_i64(&in, 0);
	return ours && !in.bad && in.left == 0 && renewed == (row->asked != row->time) ? 0 : -1;
}

static void put_u32(unsigned char *at, uint32_t value)
{
	value = htobe32(value);
	memcpy(at, &value, sizeof(value));
}

static void put_u64(unsigned char *at, uint64_t value)
{
	value = htobe64(value);
	memcpy(at, &value, sizeof(value));
}

static uint32_t get_u32(const char *at)
{
	uint32_t value;

	memcpy(&value, at, sizeof(value));
	return be32toh(value);
}

static uint64_t get_u64(const char *at)
{
	uint64_t value;

	memcpy(&value, at, sizeof(value));
	return be64toh(value);
}

struct text index_deleted(void)
{
	static const char version = INDEX_VERSION;

	return (struct text){ .ptr = &version, .len = sizeof(version) };
}

bool index_is_deleted(struct text value)
{
	return text_equal(value, index_deleted());
}

void index_mailbox_key(struct index_mailbox_id id, unsigned char key[INDEX_MAILBOX_KEY])
{
	put_u32(key, id.user);
	put_u32(key + 4, id.mailbox);
}

int index_mailbox_key_decode(struct text key, struct index_mailbox_id *id)
{
	if (key.len != INDEX_MAILBOX_KEY)
		return -1;
	*id = (struct index_mailbox_id){ .user = get_u32(key.ptr),
		.mailbox = get_u32(key.ptr + 4) };
	return 0;
}

void index_message_key(
	struct index_mailbox_id id, uint32_t uid, unsigned char key[INDEX_MESSAGE_KEY])
{
	index_mailbox_key(id, key);
	put_u32(key + 8, uid);
}

int index_message_key_decode(struct text key, struct index_mailbox_id *id, uint32_t *uid)
{
	if (key.len != INDEX_MESSAGE_KEY)
		return -1;
	*uid = get_u32(key.ptr + 8);
	return index_mailbox_key_decode(text_head(key, INDEX_MAILBOX_KEY), id);
}

void index_expunged_key(struct index_mailbox_id id, uint64_t modseq, uint32_t uid,
	unsigned char key[INDEX_EXPUNGED_KEY])
{
	index_mailbox_key(id, key);
	put_u64(key + 8, modseq);
	put_u32(key + 16, uid);
}

int index_expunged_key_decode(
	struct text key, struct index_mailbox_id *id, uint64_t *modseq, uint32_t *uid)
{
	if (key.len != INDEX_EXPUNGED_KEY)
		return -1;
	*modseq = get_u64(key.ptr + 8);
	*uid = get_u32(key.ptr + 16);
	return index_mailbox_key_decode(text_head(key, INDEX_MAILBOX_KEY), id);
}

size_t index_once_key(uint32_t user, struct text once, unsigned char key[INDEX_ONCE_KEY_LIMIT])
{
	once = text_head(once, STORE_ONCE_LIMIT);
	put_u32(key, user);
	memcpy(key + 4, once.ptr, once.len);
	return 4 + once.len;
}
