#include "store/journal.h"

#include <endian.h>
#include <string.h>

#include "store/checksum.h"

MESSAGE_DEFINE(journal_deliver, JOURNAL_DELIVER_FIELDS)
MESSAGE_DEFINE(journal_target, JOURNAL_TARGET_FIELDS)
MESSAGE_DEFINE(journal_move, JOURNAL_MOVE_FIELDS)
MESSAGE_DEFINE(journal_step, JOURNAL_STEP_FIELDS)
MESSAGE_DEFINE(journal_remove, JOURNAL_REMOVE_FIELDS)
MESSAGE_DEFINE(journal_leaf, JOURNAL_LEAF_FIELDS)
MESSAGE_DEFINE(journal_file, JOURNAL_FILE_FIELDS)
MESSAGE_DEFINE(journal_aside, JOURNAL_ASIDE_FIELDS)
MESSAGE_DEFINE(journal_once, JOURNAL_ONCE_FIELDS)
MESSAGE_DEFINE(journal_rename, JOURNAL_RENAME_FIELDS)
MESSAGE_DEFINE(journal_disown, JOURNAL_DISOWN_FIELDS)
MESSAGE_DEFINE(journal_copy, JOURNAL_COPY_FIELDS)
MESSAGE_DEFINE(journal_subscriptions, JOURNAL_SUBSCRIPTIONS_FIELDS)

enum { VERSION_AT = 16, CHECKSUM_AT = 17 };

void journal_begin(struct buf *record, enum journal_kind kind)
{
	const uint32_t type = JOURNAL_FIRST_TYPE + (uint32_t)kind;
	char *header;

	buf_clear(record);
	header = buf_room(record, JOURNAL_HEADER);
	memset(header, 0, JOURNAL_HEADER);
	memcpy(header, &type, sizeof(type));
	header[VERSION_AT] = JOURNAL_VERSION;
	buf_commit(record, JOURNAL_HEADER);
}

void journal_seal(struct buf *record)
{
	struct text all = buf_text(record);
	const uint32_t sum =
		htole32(checksum(0, all.ptr + JOURNAL_HEADER, all.len - JOURNAL_HEADER));

	memcpy((char *)all.ptr + CHECKSUM_AT, &sum, sizeof(sum));
}

int journal_open(struct text record, enum journal_kind *kind, struct text *payload)
{
	uint32_t type, sum;

	if (record.len < JOURNAL_HEADER)
		return -1;
	memcpy(&type, record.ptr, sizeof(type));
	memcpy(&sum, record.ptr + CHECKSUM_AT, sizeof(sum));
	*payload = text_from(record, JOURNAL_HEADER);
	if (type <= JOURNAL_FIRST_TYPE || type >= JOURNAL_FIRST_TYPE + JOURNAL_KINDS ||
		record.ptr[VERSION_AT] != JOURNAL_VERSION ||
		le32toh(sum) != checksum(0, payload->ptr, payload->len))
		return -1;
	*kind = (enum journal_kind)(type - JOURNAL_FIRST_TYPE);
	return 0;
}

void journal_once_write(struct buf *out, const struct journal_once *record, int64_t asked)
{
	journal_once_pack(out, record);
	if (asked != record->time)
		message_add_i64(out, asked);
}

int journal_once_read(struct text payload, struct journal_once *record, int64_t *asked)
{
	struct message_reader in = { .at = payload.ptr, .left = payload.len };

	if (journal_once_unpack_from(&in, record) != 0)
		return -1;
	*asked = in.left ? message_get_i64(&in, 0) : record->time;
	return !in.bad && in.left == 0 ? 0 : -1;
}
