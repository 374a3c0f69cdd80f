/* Users through the server: added, listed, given passwords, removed. */
#include "tests/unit/store/store_peer.h"

/* ---- users ---- */

static void test_users(void **state)
{
	struct peer admin, mda, login;

	(void)state;
	open_peer(&admin, STORE_BY_ADMIN);
	open_peer(&mda, STORE_BY_MDA);
	open_peer(&login, STORE_BY_SMTP_IN);
	assert_int_equal(ASK(user_add, &admin, .address = TEXT("Carol@Example.TEST"),
				 .password = TEXT("geheim"))
				 .failure,
		STORE_OK);
	assert_int_equal(mda.directory, 1);
	assert_int_equal(ask_login(&login, "carol", "geheim").failure, STORE_OK);
	assert_int_equal(ask_login(&login, "carol", "restante").failure, STORE_BAD_LOGIN);
	assert_int_equal(
		ASK(user_add, &admin, .address = TEXT("carol@example.test"), .password = TEXT("x"))
			.failure,
		STORE_ALREADY_EXISTS);
	assert_int_equal(ASK(user_add, &admin, .address = TEXT("dave@example.test"),
				 .password = TEXT("$2a$05$CCCCCCCCCCCCCCCCCCCCC."
						  "E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"),
				 .hashed = 1)
				 .failure,
		STORE_OK);
	assert_int_equal(ask_login(&login, "dave", "U*U").failure, STORE_OK);

	static const struct {
		const char *address, *password;
		uint8_t hashed;
	} bad[] = {
		{ "eve@example.test", "", 0 },
		{ "eve@example.test", "plain", 1 },
		{ "eve@example.test", "x", 2 },
		{ "eve", "x", 0 },
		{ "", "x", 0 },
		{ "@example.test", "x", 0 },
		{ "eve@", "x", 0 },
		{ "e ve@example.test", "x", 0 },
		{ "eve@exa/mple.test", "x", 0 },
	};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(
			ASK(user_add, &admin, .address = text_of(bad[i].address),
				.password = text_of(bad[i].password), .hashed = bad[i].hashed)
				.failure,
			STORE_INVALID);

	assert_int_equal(ASK(user_password, &admin, .address = TEXT("nobody@example.test"),
				 .password = TEXT("x"))
				 .failure,
		STORE_NO_SUCH_USER);
	assert_int_equal(ASK(user_remove, &admin, .address = TEXT("nobody@example.test")).failure,
		STORE_NO_SUCH_USER);
	assert_int_equal(
		ASK(user_remove, &admin, .address = TEXT("not an address")).failure, STORE_INVALID);
	close_peer(&admin);
	close_peer(&mda);
	close_peer(&login);
}

static char listed[4096];

static void on_users(void *owner, struct store_reply *reply)
{
	struct message_reader run = {
		.at = reply->of.users.users.ptr,
		.left = reply->of.users.users.len,
	};
	struct store_user user;

	assert_int_equal(reply->failure, STORE_OK);
	assert_false(reply->of.users.more);
	listed[0] = '\0';
	while (run.left) {
		char line[400];
		assert_int_equal(store_user_unpack_from(&run, &user), 0);
		snprintf(line, sizeof(line), "%.*s %u %llu;", TEXT_ARG(user.address), user.messages,
			(unsigned long long)user.octets);
		strncat(listed, line, sizeof(listed) - strlen(listed) - 1);
	}
	*(bool *)owner = true;
}

static const char *list_users(struct peer *admin, const char *from)
{
	bool done = false;

	store_client_users(
		admin->client, &(struct store_users){ .from = text_of(from) }, on_users, &done);
	assert_true(host_run_until(&host, &done));
	return listed;
}

static void test_list_users(void **state)
{
	struct peer admin, mda;

	(void)state;
	open_peer(&admin, STORE_BY_ADMIN);
	open_peer(&mda, STORE_BY_MDA);
	assert_int_equal(deliver(&mda, "bob@" HOST_DOMAIN, TEXT("\nhello\n")), STORE_OK);
	assert_string_equal(list_users(&admin, ""), "alice@example.test 0 0;bob@example.test 1 7;");
	assert_string_equal(list_users(&admin, "alice@example.test"), "bob@example.test 1 7;");
	assert_string_equal(list_users(&admin, "b"), "bob@example.test 1 7;");
	assert_string_equal(list_users(&admin, "bob@example.test"), "");
	close_peer(&admin);
	close_peer(&mda);
}

static void on_removed(void *owner, struct store_reply *reply)
{
	assert_int_equal(reply->failure, STORE_OK);
	*(bool *)owner = true;
}

/* While one is being removed the others are listed. */
static void test_list_while_removing(void **state)
{
	struct peer admin;
	bool removed = false;

	(void)state;
	open_peer(&admin, STORE_BY_ADMIN);
	store_client_user_remove(admin.client,
		&(struct store_user_remove){ .address = TEXT("alice@example.test") }, on_removed,
		&removed);
	assert_string_equal(list_users(&admin, ""), "bob@example.test 0 0;");
	assert_true(removed || host_run_until(&host, &removed));
	close_peer(&admin);
}

/* Who is removed while logged in loses the session, and the name's next owner inherits nothing. */
static void test_remove_user(void **state)
{
	struct peer admin, mda, alice;

	(void)state;
	open_peer(&admin, STORE_BY_ADMIN);
	open_peer(&mda, STORE_BY_MDA);
	log_in(&alice, STORE_BY_POP3D, "alice");
	assert_int_equal(
		ASK(user_remove, &admin, .address = TEXT("alice@example.test")).failure, STORE_OK);
	assert_true(host_run_until(&host, &alice.ended));
	assert_int_equal(mda.directory, 1);
	assert_int_equal(ASK(lookup, &mda, .address = TEXT("alice@example.test")).failure,
		STORE_NO_SUCH_USER);
	close_peer(&alice);
	open_peer(&alice, STORE_BY_POP3D);
	assert_int_equal(ask_login(&alice, "alice", "restante").failure, STORE_BAD_LOGIN);
	close_peer(&alice);
	close_peer(&admin);
	close_peer(&mda);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_users),
		TEST(test_list_users),
		TEST(test_list_while_removing),
		TEST(test_remove_user),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
