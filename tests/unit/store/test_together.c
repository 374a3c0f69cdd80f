/*
 * What goes piece by piece, all at once: copies, moves, expunges, flags, what reshapes the mailboxes, and
 * what other programs do to the Maildirs, drawn at random from the same seeds each time. Everything comes to
 * an end, nothing is half done or counted twice, and the index is what the Maildirs say.
 */
#include "store/verify.h"
#include "tests/unit/store/mailboxes_fixture.h"

enum { PIECE = 3, ROUNDS = 25, AT_ONCE = 8, FEW = 12, MANY = 150, ROOM = 4096, NAMES = 4 };

static const char *const names[NAMES] = { "INBOX", "a", "b", "c" };
static const char *const folders[NAMES] = { HOME, HOME "/.a", HOME "/.b", HOME "/.c" };

struct act {
	bool done, is_expunge;
	enum store_failure failure;
	size_t made; /* messages more, when it gives STORE_OK */
	size_t gone; /* whatever it gives */
	struct engine_view *view;
};

struct together {
	struct fixture *fixture;
	uint32_t random;
	struct engine_view *views[NAMES];
	struct act acts[AT_ONCE];
	size_t count;
	bool reckons; /* nobody took messages that he did not count */
	size_t dropped;
	bool others; /* did something behind the store's back */
};

static uint32_t draw(struct together *together, uint32_t below)
{
	together->random = together->random * 1664525 + 1013904223;
	return (uint32_t)((uint64_t)(together->random >> 8) * below >> 24);
}

static void turn(struct fixture *fixture)
{
	assert_int_equal(event_base_loop(fixture->loop, EVLOOP_ONCE), 0);
}

/* ---- what there is ---- */

static void add_messages(void *owner, const struct store_mailbox *mailbox)
{
	*(size_t *)owner += mailbox->messages;
}

static size_t messages(struct fixture *fixture)
{
	size_t sum = 0;

	assert_int_equal(
		engine_mailboxes(fixture->engine, TEXT(ALICE), add_messages, &sum), STORE_OK);
	return sum;
}

static void verify(struct fixture *fixture)
{
	char mailbox[STORE_MAILBOX_LIMIT + 1] = "";
	struct verify_piece piece = { .user = TEXT(ALICE), .mailbox = TEXT("") };
	bool more = true;

	while (more) {
		struct verify_result result = { 0 };
		assert_int_equal(engine_verify(fixture->engine, &piece, &result), STORE_OK);
		if (buf_length(&result.findings))
			print_error("%.*s", TEXT_ARG(buf_text(&result.findings)));
		assert_int_equal(buf_length(&result.findings), 0);
		snprintf(mailbox, sizeof(mailbox), "%.*s", TEXT_ARG(buf_text(&result.mailbox)));
		piece.mailbox = text_of(mailbox);
		piece.from = result.from;
		more = buf_length(&result.mailbox) > 0;
		buf_release(&result.findings);
		buf_release(&result.mailbox);
	}
}

/* ---- requests ---- */

static void on_done(void *owner, const struct engine_result *result)
{
	struct act *act = owner;

	assert_false(act->done);
	act->done = true;
	act->failure = result->failure;
	act->view = result->view;
	if (act->is_expunge)
		act->gone = result->changed;
	else if (act->made)
		act->made = result->failure == STORE_OK ? act->made : 0;
}

static void on_pairs(void *owner, const struct engine_result *result)
{
	struct act *act = owner;

	on_done(owner, result);
	if (result->failure != STORE_OK)
		assert_int_equal(result->pairs, 0);
	act->made = result->pairs;
	for (size_t i = 1; i < result->pairs; i++) {
		assert_true(result->from[i] > result->from[i - 1]);
		assert_true(result->to[i] > result->to[i - 1]);
	}
}

static struct act *act_new(struct together *together)
{
	struct act *act = &together->acts[together->count++];

	*act = (struct act){ 0 };
	return act;
}

/* Some that are seen, or all of them. */
static size_t choose(struct together *together, struct engine_view *view, uint32_t *uids)
{
	const uint32_t of = 1 + draw(together, 3);
	size_t count = 0;
	int fd;

	if (engine_view_listing(view, &fd, NULL) != STORE_OK)
		return 0; /* the mailbox is deleted */
	struct store_listing *listing = fixture_list_fd(fd);
	for (size_t i = 0; i < listing->count && count < ROOM; i++) {
		if (draw(together, of) == 0)
			uids[count++] = listing->entry[i].uid;
	}
	free(listing);
	return count;
}

static void deliver_one(struct together *together, const char *to)
{
	const struct engine_recipient recipient = {
		.user = TEXT(ALICE), .mailbox = text_of(to), .keywords = TEXT("red")
	};
	struct act *act = act_new(together);

	act->made = 1;
	engine_deliver(together->fixture->engine,
		&(struct engine_delivery){ .id = TEXT("test"),
			.once = TEXT(""),
			.body = TEXT("x\n"),
			.recipients = &recipient,
			.count = 1 },
		on_done, act);
}

static void ask_messages(struct together *together, struct engine_view *view, const char *to)
{
	static uint32_t uids[ROOM];
	struct fixture *fixture = together->fixture;
	const size_t count = choose(together, view, uids);
	/* There is an end to what they become. */
	const uint32_t kind = draw(together, messages(fixture) < MANY ? 8 : 5);
	struct act *act = act_new(together);

	act->is_expunge = kind < 2;
	if (kind < 2)
		engine_view_update(
			view, STORE_UPDATE_EXPUNGE, 0, TEXT(""), uids, count, on_done, act);
	else if (kind == 2)
		engine_view_update(view, STORE_UPDATE_FLAGS_ADD, STORE_FLAG_SEEN, TEXT("blue"),
			uids, count, on_done, act);
	else
		engine_view_copy(view, text_of(to), kind < 5, uids, count,
			kind < 5 ? on_done : on_pairs, act);
}

static void ask_mailboxes(struct together *together, const char *name, const char *to)
{
	struct engine *engine = together->fixture->engine;
	const uint32_t kind = draw(together, 8);
	struct act *act = act_new(together);

	if (kind < 2)
		engine_create(engine, TEXT(ALICE), text_of(name), on_done, act);
	else if (kind == 2)
		engine_delete(engine, TEXT(ALICE), text_of(name), on_done, act);
	else if (kind < 6)
		engine_rename(engine, TEXT(ALICE), text_of(name), text_of(to), on_done, act);
	else
		engine_select(
			engine, TEXT(ALICE), text_of(name), STORE_SELECT_SHARED, on_done, act);
	together->reckons &= kind != 2;
}

/* ---- other programs ---- */

static void drop(struct together *together, const char *folder)
{
	static unsigned number;
	char name[128];

	snprintf(name, sizeof(name), "%s/new", folder);
	if (fixture_count(together->fixture, name) < 0)
		return;
	snprintf(name, sizeof(name), "%s/new/17%08u.dropped", folder, ++number);
	fixture_write(together->fixture, name, "x\n");
	together->dropped++;
	together->others = true;
}

static void take_away(struct together *together, const char *folder)
{
	const struct fixture *fixture = together->fixture;
	struct dirent **found;
	char part[128], whole[512];

	snprintf(part, sizeof(part), "%s/%s", folder, draw(together, 2) ? "new" : "cur");
	const int count = fixture_names(fixture, part, &found);
	if (count < 0)
		return;
	for (int i = 0; i < count; i++) {
		snprintf(whole, sizeof(whole), "%s/%s/%s", fixture->directory, part,
			found[i]->d_name);
		if (draw(together, 4) == 0)
			assert_int_equal(unlink(whole), 0);
		free(found[i]);
	}
	free(found);
	together->others = true;
	together->reckons = false;
}

static void ask(struct together *together)
{
	const char *name = names[draw(together, NAMES)], *to = names[draw(together, NAMES)];
	struct engine_view *view = together->views[draw(together, NAMES)];
	const uint32_t kind = draw(together, 10);

	if (kind == 8 && draw(together, 2) == 0)
		drop(together, folders[draw(together, NAMES)]);
	else if (kind == 9 && draw(together, 8) == 0)
		take_away(together, folders[draw(together, NAMES)]);
	else if (kind == 0)
		deliver_one(together, name);
	else if (kind == 1)
		ask_mailboxes(together, name, to);
	else if (view)
		ask_messages(together, view, to);
}

/* ---- rounds ---- */

static void open_views(struct together *together)
{
	for (size_t i = 0; i < NAMES; i++)
		fixture_select(together->fixture, ALICE, names[i], STORE_SELECT_SHARED,
			&together->views[i]);
}

static void close_views(struct together *together)
{
	for (size_t i = 0; i < NAMES; i++)
		engine_view_close(&together->views[i]);
	for (size_t i = 0; i < together->count; i++)
		engine_view_close(&together->acts[i].view);
}

/* What others did may not be seen at once, but by who selects a mailbox after another start. */
static void look_again(struct together *together)
{
	fixture_restart(together->fixture);
	open_views(together);
	close_views(together);
}

static void end(struct together *together, size_t before)
{
	struct fixture *fixture = together->fixture;
	size_t expected = before + together->dropped;
	uint32_t counted;
	uint64_t octets;

	for (size_t i = 0; i < together->count; i++) {
		while (!together->acts[i].done)
			turn(fixture);
	}
	while (engine_is_busy(fixture->engine))
		turn(fixture);
	for (size_t i = 0; i < together->count; i++)
		expected = expected + together->acts[i].made - together->acts[i].gone;
	close_views(together);
	together->count = 0;
	if (together->others)
		look_again(together);
	if (together->reckons)
		assert_int_equal(messages(fixture), expected);
	assert_int_equal(engine_usage(fixture->engine, TEXT(ALICE), &counted, &octets), STORE_OK);
	assert_int_equal(counted, messages(fixture));
	assert_int_equal(octets, 2 * messages(fixture));
	verify(fixture);
}

/* What was under way is answered, and taken back or finished by the start. */
static void stop(struct together *together)
{
	engine_close(&together->fixture->engine);
	for (size_t i = 0; i < together->count; i++) {
		assert_true(together->acts[i].done);
		together->acts[i].view = NULL;
	}
	memset(together->views, 0, sizeof(together->views));
	together->count = 0;
	event_base_free(together->fixture->loop);
	fixture_start(together->fixture);
	together->reckons = false;
}

static void run_round(struct together *together)
{
	struct fixture *fixture = together->fixture;
	const size_t before = messages(fixture);

	together->count = 0;
	together->reckons = true;
	together->dropped = 0;
	together->others = false;
	open_views(together);
	while (together->count < AT_ONCE) {
		ask(together);
		for (uint32_t turns = draw(together, 4); turns; turns--) {
			if (engine_is_busy(fixture->engine))
				turn(fixture);
		}
	}
	if (draw(together, 6) == 0)
		stop(together);
	end(together, before);
}

static void test_together(void **state)
{
	struct fixture *fixture = *state;

	fixture->options.update_messages = PIECE;
	fixture_restart(fixture);
	assert_int_equal(fixture_add_user(fixture, ALICE), STORE_OK);
	for (uint32_t seed = 1; seed <= 3; seed++) {
		struct together together = { .fixture = fixture, .random = seed };
		for (int i = 0; i < FEW; i++)
			assert_int_equal(deliver(fixture, names[i % NAMES], "x\n", ""), STORE_OK);
		for (int i = 0; i < ROUNDS; i++)
			run_round(&together);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_together),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
