#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "pop3d/ahead.h"
#include "pop3d/maildrop.h"
#include "store/client.h"

/* A maildrop over a listing as the store sends it: UIDs 10, 20, … and wire sizes 100, 200, …. */
static void open_listing(struct maildrop *maildrop, uint32_t count)
{
	const int fd = memfd_create("listing", MFD_ALLOW_SEALING | MFD_CLOEXEC);
	const struct store_listing head = { .count = count };
	const struct store_listing *listing;
	size_t mapped;

	assert_true(fd >= 0);
	assert_int_equal(write(fd, &head, sizeof(head)), sizeof(head));
	for (uint32_t i = 1; i <= count; i++) {
		const struct store_listing_entry entry = {
			.uid = i * 10, .size = i * 90, .wire = i * 100
		};

		assert_int_equal(write(fd, &entry, sizeof(entry)), sizeof(entry));
	}
	assert_int_equal(fcntl(fd, F_ADD_SEALS,
				 F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_FUTURE_WRITE | F_SEAL_SEAL),
		0);
	listing = store_listing_map(fd, &mapped);
	close(fd);
	assert_non_null(listing);
	maildrop_open(
		maildrop, listing, mapped, 0x1234abcd, (uint64_t)count * (count + 1) / 2 * 100);
}

static void numbers_and_octets(void **state)
{
	struct maildrop maildrop;

	(void)state;
	open_listing(&maildrop, 3);
	assert_int_equal(maildrop.messages, 3);
	assert_int_equal(maildrop.octets, 600);
	assert_int_equal(maildrop_find(&maildrop, 2)->uid, 20);
	assert_null(maildrop_find(&maildrop, 0));
	assert_null(maildrop_find(&maildrop, 4));
	assert_null(maildrop_find(&maildrop, UINT64_MAX));
	maildrop_close(&maildrop);
}

static void marks_come_and_go(void **state)
{
	struct maildrop maildrop;
	struct buf uids = { 0 };

	(void)state;
	open_listing(&maildrop, 20);
	assert_true(maildrop_delete(&maildrop, 1));
	assert_false(maildrop_delete(&maildrop, 1));
	assert_true(maildrop_delete(&maildrop, 20));
	assert_false(maildrop_delete(&maildrop, 21));
	assert_true(maildrop_is_deleted(&maildrop, 20));
	assert_false(maildrop_is_deleted(&maildrop, 21));
	assert_null(maildrop_find(&maildrop, 20));
	assert_int_equal(maildrop.octets, 21000 - 100 - 2000);
	maildrop_deleted_uids(&maildrop, &uids);
	assert_int_equal(buf_length(&uids), 8);
	assert_memory_equal(buf_text(&uids).ptr, "\x0a\0\0\0\xc8\0\0\0", 8);
	buf_release(&uids);
	maildrop_reset(&maildrop);
	assert_int_equal(maildrop.octets, 21000);
	assert_int_equal(maildrop.deleted, 0);
	assert_non_null(maildrop_find(&maildrop, 20));
	maildrop_close(&maildrop);
}

static void empty_maildrop(void **state)
{
	struct maildrop maildrop;

	(void)state;
	open_listing(&maildrop, 0);
	assert_null(maildrop_find(&maildrop, 1));
	assert_false(maildrop_delete(&maildrop, 1));
	assert_int_equal(maildrop.octets, 0);
	maildrop_close(&maildrop);
}

static void uidl_holds_validity_and_uid(void **state)
{
	struct maildrop maildrop;
	char uidl[MAILDROP_UIDL + 1];

	(void)state;
	open_listing(&maildrop, 1);
	maildrop_uidl(&maildrop, 10, uidl);
	assert_string_equal(uidl, "1234abcd0000000a");
	maildrop_close(&maildrop);
}

/* Answers to all that was asked for; each "file" is as long as its place in the order. */
static void answer_all(struct ahead *ahead, enum store_failure failure)
{
	while (ahead->answered < ahead->asked) {
		struct store_reply reply = { .type = STORE_FETCH, .failure = failure, .fd = -1 };

		reply.of.fetch.size = ahead->first + ahead->answered;
		if (failure == STORE_OK)
			reply.fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
		ahead_answer(ahead, &reply);
		assert_int_equal(reply.fd, -1);
	}
}

/* Asked, answered and taken, and more asked for; how many the questions were for. */
static uint32_t fetch(struct ahead *ahead, const struct maildrop *maildrop, uint32_t number)
{
	struct ahead_message message;
	struct buf uids = { 0 };
	uint32_t asked = 0;

	if (ahead_take(ahead, number, &message) == 0) {
		ahead_ask(ahead, maildrop, number, &uids);
		asked = (uint32_t)buf_length(&uids) / 4;
		answer_all(ahead, STORE_OK);
		assert_int_equal(ahead_take(ahead, number, &message), 1);
	}
	assert_true(message.fd >= 0);
	assert_int_equal(message.size, number);
	close(message.fd);
	buf_clear(&uids);
	ahead_ask_more(ahead, maildrop, &uids);
	asked += (uint32_t)buf_length(&uids) / 4;
	buf_release(&uids);
	answer_all(ahead, STORE_OK);
	return asked;
}

static void questions_grow_in_sequence(void **state)
{
	unsigned held = 0;
	struct ahead *ahead = ahead_new(&held);
	struct maildrop maildrop;
	uint32_t total = 0;

	(void)state;
	open_listing(&maildrop, 300);
	assert_int_equal(fetch(ahead, &maildrop, 1), 1);
	assert_int_equal(fetch(ahead, &maildrop, 2), 2 + 4);
	for (uint32_t number = 3; number <= 300; number++) {
		const uint32_t asked = fetch(ahead, &maildrop, number);

		assert_in_range(asked, 0, AHEAD_QUESTION);
		assert_true(held <= AHEAD_ROOM);
		total += asked;
	}
	assert_int_equal(total, 300 - 7); /* none twice */
	assert_int_equal(held, 0);
	assert_int_equal(fetch(ahead, &maildrop, 50), 1);
	assert_int_equal(fetch(ahead, &maildrop, 50), 1);
	assert_int_equal(fetch(ahead, &maildrop, 299), 1);
	assert_int_equal(fetch(ahead, &maildrop, 300), 1);
	ahead_free(&ahead);
	assert_int_equal(held, 0);
	maildrop_close(&maildrop);
}

static void what_is_passed_over_is_closed(void **state)
{
	unsigned held = 0;
	struct ahead *ahead = ahead_new(&held);
	struct maildrop maildrop;

	(void)state;
	open_listing(&maildrop, 40);
	for (uint32_t number = 1; number <= 8; number++)
		fetch(ahead, &maildrop, number);
	assert_true(held > 4);
	fetch(ahead, &maildrop, 12);
	fetch(ahead, &maildrop, 2);
	assert_int_equal(held, 0);
	ahead_free(&ahead);
	maildrop_close(&maildrop);
}

static void a_full_process_asks_one_by_one(void **state)
{
	unsigned held = AHEAD_DESCRIPTORS;
	struct ahead *ahead = ahead_new(&held);
	struct maildrop maildrop;

	(void)state;
	open_listing(&maildrop, 40);
	for (uint32_t number = 1; number <= 40; number++)
		assert_int_equal(fetch(ahead, &maildrop, number), 1);
	assert_int_equal(held, AHEAD_DESCRIPTORS);
	ahead_free(&ahead);
	maildrop_close(&maildrop);
}

static void failures_are_kept_for_their_message(void **state)
{
	unsigned held = 0;
	struct ahead *ahead = ahead_new(&held);
	struct maildrop maildrop;
	struct ahead_message message;
	struct buf uids = { 0 };

	(void)state;
	open_listing(&maildrop, 3);
	ahead_ask(ahead, &maildrop, 2, &uids);
	assert_int_equal(ahead_take(ahead, 2, &message), 0);
	ahead_ask(ahead, &maildrop, 1, &uids); /* waits for the answer first */
	assert_int_equal(buf_length(&uids), 4);
	buf_release(&uids);
	answer_all(ahead, STORE_NO_SUCH_MESSAGE);
	assert_int_equal(ahead_take(ahead, 2, &message), -1);
	assert_int_equal(message.failure, STORE_NO_SUCH_MESSAGE);
	ahead_free(&ahead);
	maildrop_close(&maildrop);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(numbers_and_octets),
		cmocka_unit_test(marks_come_and_go),
		cmocka_unit_test(empty_maildrop),
		cmocka_unit_test(uidl_holds_validity_and_uid),
		cmocka_unit_test(questions_grow_in_sequence),
		cmocka_unit_test(what_is_passed_over_is_closed),
		cmocka_unit_test(a_full_process_asks_one_by_one),
		cmocka_unit_test(failures_are_kept_for_their_message),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
