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
	assert_int_equal(
		fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL),
		0);
	listing = store_listing_map(fd, &mapped);
	close(fd);
	assert_non_null(listing);
	maildrop_open(maildrop, listing, mapped, 0x1234abcd);
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

static void answer_all(struct ahead *ahead, enum store_failure failure)
{
	while (!ahead_is_settled(ahead)) {
		struct store_reply reply = { .type = STORE_FETCH, .failure = failure, .fd = -1 };

		if (failure == STORE_OK)
			reply.fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
		ahead_answer(ahead, &reply);
		if (reply.fd >= 0)
			close(reply.fd);
	}
}

/* Asked, answered and taken; how many the question was for. */
static uint32_t fetch(struct ahead *ahead, const struct maildrop *maildrop, uint32_t number)
{
	enum store_failure failure = STORE_OK;
	struct buf uids = { 0 };
	uint32_t asked = 0;
	int fd = -1;

	if (ahead_take(ahead, number, &fd, &failure) == 0) {
		assert_true(ahead_is_settled(ahead));
		ahead_ask(ahead, maildrop, number, &uids);
		asked = (uint32_t)buf_length(&uids) / 4;
		buf_release(&uids);
		answer_all(ahead, STORE_OK);
		assert_int_equal(ahead_take(ahead, number, &fd, &failure), 1);
	}
	assert_true(fd >= 0);
	close(fd);
	return asked;
}

static void questions_grow_in_sequence(void **state)
{
	struct ahead *ahead = ahead_new();
	struct maildrop maildrop;
	uint32_t questions = 0, most = 0;

	(void)state;
	open_listing(&maildrop, 100);
	for (uint32_t number = 1; number <= 100; number++) {
		const uint32_t asked = fetch(ahead, &maildrop, number);

		questions += asked > 0;
		most = asked > most ? asked : most;
	}
	assert_int_equal(most, AHEAD_LIMIT);
	assert_int_equal(questions, 8); /* 1 2 4 8 16 32 32 5 */
	assert_int_equal(fetch(ahead, &maildrop, 50), 1);
	assert_int_equal(fetch(ahead, &maildrop, 50), 1);
	ahead_free(&ahead);
	maildrop_close(&maildrop);
}

static void failures_are_kept_for_their_message(void **state)
{
	struct ahead *ahead = ahead_new();
	struct maildrop maildrop;
	struct buf uids = { 0 };
	enum store_failure failure = STORE_OK;
	int fd = -1;

	(void)state;
	open_listing(&maildrop, 3);
	ahead_ask(ahead, &maildrop, 2, &uids);
	buf_release(&uids);
	assert_int_equal(ahead_take(ahead, 2, &fd, &failure), 0);
	answer_all(ahead, STORE_NO_SUCH_MESSAGE);
	assert_int_equal(ahead_take(ahead, 2, &fd, &failure), -1);
	assert_int_equal(failure, STORE_NO_SUCH_MESSAGE);
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
		cmocka_unit_test(failures_are_kept_for_their_message),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
