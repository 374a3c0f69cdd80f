/* Messages: every kind of field there and back, and nothing accepted that is not exactly one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/control.h"
#include "base/message.h"

#define EVERY_FIELDS(F) \
	F(u8, small, 0) \
	F(u32, bounded, 1000) \
	F(text, name, 5) F(u64, large, 0) F(i64, below, 0) F(text, body, 1 << 20)
MESSAGE_DECLARE(every, EVERY_FIELDS)
MESSAGE_DEFINE(every, EVERY_FIELDS)
MESSAGE_DECLARE_SHORT(every)
MESSAGE_DEFINE_SHORT(every, EVERY_FIELDS)

static const struct every sample = {
	.small = 255,
	.bounded = 1000,
	.name = { "a\0b!!", 5 },
	.large = UINT64_MAX - 1,
	.below = -2,
	.body = { "the body", 8 },
};

static const char sample_octets[] =
	"\xff\xe8\x03\0\0\x05\0\0\0a\0b!!\xfe\xff\xff\xff\xff\xff\xff\xff"
	"\xfe\xff\xff\xff\xff\xff\xff\xff\x08\0\0\0the body";

static void expect_sample(const struct every *back)
{
	assert_int_equal(back->small, 255);
	assert_int_equal(back->bounded, 1000);
	assert_true(text_equal(back->name, sample.name));
	assert_true(back->large == UINT64_MAX - 1);
	assert_true(back->below == -2);
	assert_true(text_equal(back->body, sample.body));
}

static void there_and_back(void **state)
{
	struct buf out = { 0 };
	struct every back;

	(void)state;
	every_pack(&out, &sample);
	assert_int_equal(buf_length(&out), sizeof(sample_octets) - 1);
	assert_memory_equal(buf_text(&out).ptr, sample_octets, sizeof(sample_octets) - 1);
	assert_int_equal(every_unpack(buf_text(&out), &back), 0);
	expect_sample(&back);
	assert_in_range(back.body.ptr - buf_text(&out).ptr, 1, buf_length(&out));
	buf_release(&out);
}

/* In memory of exactly that size, so that the sanitizer sees a look behind it. */
static int unpack_copy(struct text octets, struct every *message)
{
	char *copy = malloc(octets.len);

	memcpy(copy, octets.ptr, octets.len);
	int result = every_unpack((struct text){ .ptr = copy, .len = octets.len }, message);
	free(copy);
	return result;
}

static void only_the_whole_of_it(void **state)
{
	struct text whole = { .ptr = sample_octets, .len = sizeof(sample_octets) - 1 };
	struct every message;

	(void)state;
	for (size_t length = 0; length < whole.len; length++)
		assert_int_equal(unpack_copy(text_head(whole, length), &message), -1);
	assert_int_equal(unpack_copy(whole, &message), 0);
	assert_int_equal(
		unpack_copy((struct text){ .ptr = whole.ptr, .len = whole.len + 1 }, &message), -1);
	assert_int_equal(every_unpack((struct text){ 0 }, &message), -1);
}

static void limits(void **state)
{
	char octets[sizeof(sample_octets)];
	const struct text text = { .ptr = octets, .len = sizeof(octets) - 1 };
	struct every message;

	(void)state;
	memcpy(octets, sample_octets, sizeof(octets));
	octets[1] = (char)0xe9; /* 1001 */
	assert_int_equal(unpack_copy(text, &message), -1);
	assert_int_equal(message.bounded, 0);
	memcpy(octets, sample_octets, sizeof(octets));
	octets[5] = 6; /* a name longer than its limit, though the octets are there */
	assert_int_equal(unpack_copy(text, &message), -1);
	assert_int_equal(message.name.len, 0);
	memcpy(octets, sample_octets, sizeof(octets));
	memset(octets + 30, 0xff, 4); /* a body longer than the payload */
	assert_int_equal(unpack_copy(text, &message), -1);
	assert_int_equal(message.body.len, 0);
}

/* Records one behind the other, as in a listing. */
static void a_run_of_records(void **state)
{
	struct buf out = { 0 };
	struct every record;

	(void)state;
	every_pack(&out, &sample);
	every_pack(&out, &sample);
	buf_add_char(&out, 'x');
	struct message_reader in = { .at = buf_text(&out).ptr, .left = buf_length(&out) };
	assert_int_equal(every_unpack_from(&in, &record), 0);
	assert_int_equal(every_unpack_from(&in, &record), 0);
	assert_true(text_equal(record.body, sample.body));
	assert_int_equal(in.left, 1);
	assert_int_equal(every_unpack_from(&in, &record), -1);
	assert_int_equal(record.large, 0);
	/* Once bad, for ever bad. */
	assert_int_equal(message_get_u8(&in, 0), 0);
	assert_true(in.bad);
	buf_release(&out);
}

static const char sample_short[] = "\xff\xe8\x07\x05"
				   "a\0b!!\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01"
				   "\x03\x08the body";

static void the_short_form(void **state)
{
	struct text whole = { .ptr = sample_short, .len = sizeof(sample_short) - 1 };
	struct buf out = { 0 };
	struct every back;

	(void)state;
	every_pack_short(&out, &sample);
	assert_int_equal(buf_length(&out), whole.len);
	assert_memory_equal(buf_text(&out).ptr, sample_short, whole.len);
	assert_int_equal(every_unpack_short(whole, &back), 0);
	expect_sample(&back);
	for (size_t length = 0; length < whole.len; length++) {
		char *copy = malloc(length ? length : 1);
		memcpy(copy, sample_short, length);
		assert_int_equal(
			every_unpack_short((struct text){ .ptr = copy, .len = length }, &back), -1);
		free(copy);
	}
	whole.len++;
	assert_int_equal(every_unpack_short(whole, &back), -1);
	buf_release(&out);
}

static void short_numbers(void **state)
{
	static const int64_t numbers[] = { 0, 1, -1, 63, -64, 64, -65, 1 << 20, INT32_MIN,
		INT64_MAX, INT64_MIN };
	struct buf out = { 0 };

	(void)state;
	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
		buf_clear(&out);
		message_add_short_i64(&out, numbers[i]);
		message_add_short_u64(&out, (uint64_t)numbers[i]);
		message_add_short_u32(&out, (uint32_t)numbers[i]);
		struct message_reader in = { .at = buf_text(&out).ptr, .left = buf_length(&out) };
		assert_true(message_get_short_i64(&in, 0) == numbers[i]);
		assert_true(message_get_short_u64(&in, 0) == (uint64_t)numbers[i]);
		assert_true(message_get_short_u32(&in, 0) == (uint32_t)numbers[i]);
		assert_true(!in.bad && in.left == 0);
	}
	buf_release(&out);
}

static void short_numbers_that_are_none(void **state)
{
	static const struct {
		struct text octets;
		uint32_t limit;
		bool is_large; /* read as u64 */
	} table[] = {
		{ TEXT(""), 0, false },
		{ TEXT("\x80"), 0, false },
		{ { "\x80\0", 2 }, 0, false }, /* could be shorter */
		{ { "\x81\x80\0", 3 }, 0, false },
		{ TEXT("\x65"), 100, false },
		{ TEXT("\xe5\x01"), 100, false },
		{ TEXT("\xff\xff\xff\xff\x1f"), 0, false }, /* 33 bits */
		{ TEXT("\x80\x80\x80\x80\x80\x01"), 0, false },
		{ TEXT("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x03"), 0, true }, /* 65 bits */
		{ TEXT("\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01"), 0, true },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		struct message_reader in = { .at = table[i].octets.ptr,
			.left = table[i].octets.len };
		if (table[i].is_large)
			assert_true(message_get_short_u64(&in, table[i].limit) == 0);
		else
			assert_int_equal(message_get_short_u32(&in, table[i].limit), 0);
		assert_true(in.bad);
		assert_int_equal(in.left, table[i].octets.len);
	}
}

static void what_the_supervisor_says(void **state)
{
	struct buf out = { 0 };
	struct control_configure configure = {
		.common = TEXT("hostname=a\n"), .section = TEXT(""), .uid = 5, .gid = 6
	};

	(void)state;
	control_configure_pack(&out, &configure);
	memset(&configure, 0, sizeof(configure));
	assert_int_equal(control_configure_unpack(buf_text(&out), &configure), 0);
	assert_true(text_equal(configure.common, TEXT("hostname=a\n")));
	assert_int_equal(configure.section.len, 0);
	assert_int_equal(configure.uid, 5);
	assert_int_equal(configure.gid, 6);
	buf_release(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(there_and_back),
		cmocka_unit_test(only_the_whole_of_it),
		cmocka_unit_test(limits),
		cmocka_unit_test(a_run_of_records),
		cmocka_unit_test(the_short_form),
		cmocka_unit_test(short_numbers),
		cmocka_unit_test(short_numbers_that_are_none),
		cmocka_unit_test(what_the_supervisor_says),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
