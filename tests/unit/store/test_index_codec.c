#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "store/index_codec.h"

static void test_values(void **state)
{
	const struct index_message message = { .version = INDEX_VERSION,
		.place = INDEX_CUR,
		.flags = 63,
		.keywords = UINT64_MAX,
		.size = 1,
		.wire = 2,
		.received = -3,
		.modseq = 4,
		.base = TEXT("base") };
	struct index_message read;
	struct index_user user;
	struct buf out = { 0 };

	(void)state;
	index_message_encode(&out, &message);
	assert_int_equal(index_message_decode(buf_text(&out), &read), 0);
	assert_int_equal(read.version, INDEX_VERSION);
	assert_int_equal(read.received, -3);
	assert_true(read.keywords == UINT64_MAX);
	assert_true(text_equal(read.base, TEXT("base")));
	/* Cut, lengthened, of another version or out of bounds: damage. */
	for (size_t length = 0; length < buf_length(&out); length++)
		assert_int_equal(
			index_message_decode(text_head(buf_text(&out), length), &read), -1);
	((char *)buf_text(&out).ptr)[1] = 2;
	assert_int_equal(index_message_decode(buf_text(&out), &read), -1);
	((char *)buf_text(&out).ptr)[1] = 1;
	((char *)buf_text(&out).ptr)[0]++;
	assert_int_equal(index_message_decode(buf_text(&out), &read), -1);
	((char *)buf_text(&out).ptr)[0]--;
	buf_add_char(&out, '\0');
	assert_int_equal(index_message_decode(buf_text(&out), &read), -1);
	buf_clear(&out);

	char hash[INDEX_HASH_LIMIT + 1];
	memset(hash, '$', sizeof(hash));
	for (size_t length = INDEX_HASH_LIMIT; length <= sizeof(hash); length++) {
		buf_clear(&out);
		index_user_pack(&out, &(struct index_user){ .version = INDEX_VERSION,
					      .number = 1,
					      .hash = { .ptr = hash, .len = length } });
		assert_int_equal(index_user_decode(buf_text(&out), &user),
			length <= INDEX_HASH_LIMIT ? 0 : -1);
	}
	buf_release(&out);
}

/* Rows of before the short form was are still there, and what was written of them is what is read. */
static void test_both_forms(void **state)
{
	const struct index_mailbox mailbox = { .version = INDEX_VERSION,
		.uidvalidity = 1795310862,
		.uidnext = UINT32_MAX,
		.ceiling = 2,
		.modseq = UINT64_MAX,
		.messages = 3,
		.unseen = 2,
		.octets = 1 << 20,
		.wire = 1 << 21,
		.expunged_since = 5,
		.expunged = 6,
		.new_seen = INT64_MAX,
		.cur_seen = -1,
		.name = TEXT("INBOX"),
		.keywords = TEXT("$Junk work") };
	struct index_mailbox long_one, short_one;
	struct buf out[2] = { 0 };

	(void)state;
	index_mailbox_pack(&out[0], &mailbox);
	index_mailbox_encode(&out[1], &mailbox);
	assert_true(buf_length(&out[1]) < buf_length(&out[0]));
	assert_int_equal(index_mailbox_decode(buf_text(&out[0]), &long_one), 0);
	assert_int_equal(index_mailbox_decode(buf_text(&out[1]), &short_one), 0);
	assert_true(text_equal(short_one.name, mailbox.name));
	assert_true(text_equal(short_one.keywords, mailbox.keywords));
	short_one.name = long_one.name;
	short_one.keywords = long_one.keywords;
	buf_clear(&out[1]);
	index_mailbox_pack(&out[1], &short_one);
	assert_true(text_equal(buf_text(&out[0]), buf_text(&out[1])));
	/* The sign of a deleted one is none of them. */
	assert_int_equal(index_mailbox_decode(index_deleted(), &long_one), -1);
	buf_release(&out[0]);
	buf_release(&out[1]);

	struct index_message read;
	index_message_pack(
		&out[0], &(struct index_message){
				 .version = INDEX_VERSION, .received = 7, .base = TEXT("base") });
	assert_int_equal(index_message_decode(buf_text(&out[0]), &read), 0);
	assert_true(read.received == 7 && text_equal(read.base, TEXT("base")));
	assert_int_equal(index_message_decode(text_from(buf_text(&out[0]), 1), &read), -1);
	buf_release(&out[0]);
}

/* The octets of keys are in the order of what they stand for. */
static void test_once(void **state)
{
	const struct index_once rows[] = { { 7, 7 }, { 7, 9 }, { 9, 7 }, { 0, -1 } };

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct buf out = { 0 };
		struct index_once read;
		index_once_encode(&out, &rows[i]);
		/* As it always was for a key that was not asked for again. */
		assert_int_equal(buf_length(&out), i == 0 ? 9 : 17);
		assert_int_equal(index_once_decode(buf_text(&out), &read), 0);
		assert_true(read.time == rows[i].time && read.asked == rows[i].asked);
		for (size_t length = 0; length < buf_length(&out); length++)
			assert_int_equal(
				index_once_decode(text_head(buf_text(&out), length), &read),
				length == 9 ? 0 : -1);
		buf_add_char(&out, '\0');
		assert_int_equal(index_once_decode(buf_text(&out), &read), -1);
		buf_release(&out);
	}
}

static void test_keys(void **state)
{
	static const struct {
		struct index_mailbox_id id;
		uint32_t uid;
	} ascending[] = {
		{ { 1, 1 }, 1 },
		{ { 1, 1 }, 255 },
		{ { 1, 1 }, 256 },
		{ { 1, 1 }, UINT32_MAX },
		{ { 1, 2 }, 1 },
		{ { 1, 256 }, 1 },
		{ { 2, 1 }, 1 },
		{ { UINT32_MAX, 1 }, 1 },
	};
	unsigned char before[INDEX_MESSAGE_KEY] = { 0 }, key[INDEX_MESSAGE_KEY];

	(void)state;
	for (size_t i = 0; i < sizeof(ascending) / sizeof(ascending[0]); i++) {
		struct index_mailbox_id id;
		uint32_t uid;
		index_message_key(ascending[i].id, ascending[i].uid, key);
		assert_true(memcmp(before, key, sizeof(key)) < 0);
		memcpy(before, key, sizeof(key));
		const struct text octets = { .ptr = (char *)key, .len = sizeof(key) };
		assert_int_equal(index_message_key_decode(octets, &id, &uid), 0);
		assert_int_equal(uid, ascending[i].uid);
		assert_int_equal(id.user, ascending[i].id.user);
		assert_int_equal(id.mailbox, ascending[i].id.mailbox);
		assert_int_equal(index_message_key_decode(text_head(octets, 11), &id, &uid), -1);
		assert_int_equal(index_mailbox_key_decode(octets, &id), -1);
	}

	unsigned char expunged[INDEX_EXPUNGED_KEY], later[INDEX_EXPUNGED_KEY];
	const struct index_mailbox_id id = { .user = 1, .mailbox = 2 };
	struct index_mailbox_id read;
	uint64_t modseq;
	uint32_t uid;
	index_expunged_key(id, UINT64_C(0x1ffffffff), 9, expunged);
	index_expunged_key(id, UINT64_C(0x200000000), 1, later);
	assert_true(memcmp(expunged, later, sizeof(later)) < 0);
	const struct text octets = { .ptr = (char *)later, .len = sizeof(later) };
	const struct text shorter = text_head(octets, sizeof(later) - 1);
	assert_int_equal(index_expunged_key_decode(shorter, &read, &modseq, &uid), -1);
	assert_int_equal(index_expunged_key_decode(octets, &read, &modseq, &uid), 0);
	assert_true(modseq == UINT64_C(0x200000000) && uid == 1 && read.mailbox == 2);

	unsigned char once[INDEX_ONCE_KEY_LIMIT];
	assert_int_equal(index_once_key(258, TEXT("key"), once), 7);
	assert_memory_equal(once, "\0\0\1\2key", 7);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_values),
		cmocka_unit_test(test_both_forms),
		cmocka_unit_test(test_once),
		cmocka_unit_test(test_keys),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
