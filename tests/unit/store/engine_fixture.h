/*
 * An engine in a directory of its own, and calls that wait for their callback.
 */
#ifndef TESTS_UNIT_STORE_ENGINE_FIXTURE_H
#define TESTS_UNIT_STORE_ENGINE_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dirent.h>
#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "base/sys.h"
#include "store/engine.h"

/* Berkeley DB does not give back what an environment in panic holds; here that process goes on. */
const char *__lsan_default_suppressions(void);

const char *__lsan_default_suppressions(void)
{
	return "leak:libdb-5.3";
}

static const char *const fixture_hash = "$y$j9T$notareal$hash";

struct fixture {
	char directory[64];
	struct event_base *loop;
	struct engine *engine;
	struct engine_options options;
};

struct fixture_answer {
	bool done;
	struct engine_result result;
	char user[STORE_ADDRESS_LIMIT + 1];
};

static inline void fixture_start(struct fixture *fixture)
{
	fixture->loop = event_base_new();
	fixture->engine = engine_open(fixture->loop, fixture->directory, &fixture->options);
	assert_non_null(fixture->engine);
}

/* The store is stopped, and does not open. */
static inline void fixture_expect_no_start(struct fixture *fixture)
{
	fixture->loop = event_base_new();
	assert_null(engine_open(fixture->loop, fixture->directory, &fixture->options));
	event_base_free(fixture->loop);
	fixture->loop = NULL;
}

static inline void fixture_stop(struct fixture *fixture)
{
	engine_close(&fixture->engine);
	event_base_free(fixture->loop);
	fixture->loop = NULL;
}

static inline void fixture_restart(struct fixture *fixture)
{
	fixture_stop(fixture);
	fixture_start(fixture);
}

static inline int fixture_setup(void **state)
{
	struct fixture *fixture = calloc(1, sizeof(*fixture));

	log_open("test", LOG_LEVEL_ERROR);
	snprintf(fixture->directory, sizeof(fixture->directory), "/tmp/test-engine.XXXXXX");
	assert_non_null(mkdtemp(fixture->directory));
	fixture->options = (struct engine_options){ .hostname = "mail.example.test" };
	fixture_start(fixture);
	*state = fixture;
	return 0;
}

static int fixture_unlink(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	(void)st, (void)flag, (void)ftw;
	return remove(path);
}

static inline void fixture_remove_tree(const char *path)
{
	nftw(path, fixture_unlink, 32, FTW_DEPTH | FTW_PHYS);
}

static inline int fixture_teardown(void **state)
{
	struct fixture *fixture = *state;

	if (fixture->loop)
		fixture_stop(fixture);
	fixture_remove_tree(fixture->directory);
	free(fixture);
	return 0;
}

/* As by kill -9: nothing is closed, and what was not flushed is gone. */
static inline void fixture_die(void)
{
	raise(SIGKILL);
}

/*
 * Work at the store in a process of its own, which must die of fixture_die(). Afterwards the parent's engine
 * is not open.
 */
static inline void fixture_in_child(struct fixture *fixture, void (*work)(struct fixture *fixture))
{
	int status;

	if (fixture->loop)
		fixture_stop(fixture);
	const pid_t child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		fixture_start(fixture);
		work(fixture);
		_exit(1); /* the work was to be cut short */
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGKILL);
}

static inline void fixture_done(void *owner, const struct engine_result *result)
{
	struct fixture_answer *answer = owner;

	assert_false(answer->done);
	answer->done = true;
	answer->result = *result;
	snprintf(answer->user, sizeof(answer->user), "%.*s", TEXT_ARG(result->user));
}

/* Never within the call, and not without the loop. */
static inline void fixture_wait(struct fixture *fixture, struct fixture_answer *answer)
{
	assert_false(answer->done);
	while (!answer->done)
		assert_int_equal(event_base_loop(fixture->loop, EVLOOP_ONCE), 0);
}

static inline enum store_failure fixture_add_user(struct fixture *fixture, const char *address)
{
	struct fixture_answer answer = { 0 };

	engine_user_add(fixture->engine, text_of(address), fixture_hash, fixture_done, &answer);
	fixture_wait(fixture, &answer);
	return answer.result.failure;
}

static inline enum store_failure fixture_deliver_to(struct fixture *fixture,
	const char *const *users, size_t count, struct text body, struct text once)
{
	struct engine_recipient recipients[8];
	struct fixture_answer answer = { 0 };

	for (size_t i = 0; i < count; i++)
		recipients[i] = (struct engine_recipient){
			.user = text_of(users[i]), .mailbox = TEXT(""), .keywords = TEXT("")
		};
	engine_deliver(fixture->engine,
		&(struct engine_delivery){ .id = TEXT("test"),
			.once = once,
			.body = body,
			.recipients = recipients,
			.count = count },
		fixture_done, &answer);
	fixture_wait(fixture, &answer);
	return answer.result.failure;
}

static inline enum store_failure fixture_deliver(
	struct fixture *fixture, const char *user, const char *body)
{
	return fixture_deliver_to(fixture, &user, 1, text_of(body), TEXT(""));
}

static inline enum store_failure fixture_select(struct fixture *fixture, const char *user,
	const char *mailbox, enum store_select_mode mode, struct engine_view **view)
{
	struct fixture_answer answer = { 0 };

	engine_select(
		fixture->engine, text_of(user), text_of(mailbox), mode, fixture_done, &answer);
	fixture_wait(fixture, &answer);
	*view = answer.result.view;
	return answer.result.failure;
}

static inline struct engine_view *fixture_open(
	struct fixture *fixture, const char *user, const char *mailbox)
{
	struct engine_view *view;

	assert_int_equal(
		fixture_select(fixture, user, mailbox, STORE_SELECT_SHARED, &view), STORE_OK);
	return view;
}

static inline struct engine_result fixture_update(struct fixture *fixture, struct engine_view *view,
	enum store_update_kind kind, uint32_t flags, const char *keywords, const uint32_t *uids,
	size_t count)
{
	struct fixture_answer answer = { 0 };

	engine_view_update(
		view, kind, flags, text_of(keywords), uids, count, fixture_done, &answer);
	fixture_wait(fixture, &answer);
	return answer.result;
}

/* A copy of the listing, to be freed. */
static inline struct store_listing *fixture_list_fd(int fd)
{
	struct stat st;

	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(fcntl(fd, F_GET_SEALS),
		F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_FUTURE_WRITE | F_SEAL_SEAL);
	struct store_listing *listing = malloc((size_t)st.st_size);
	assert_int_equal(pread(fd, listing, (size_t)st.st_size, 0), st.st_size);
	assert_int_equal((size_t)st.st_size,
		sizeof(*listing) + listing->count * sizeof(struct store_listing_entry));
	close(fd);
	return listing;
}

static inline struct store_listing *fixture_list(
	struct engine_view *view, struct engine_status *status)
{
	int fd;

	assert_int_equal(engine_view_listing(view, &fd, status), STORE_OK);
	return fixture_list_fd(fd);
}

/* The message's octets as a string, to be freed; NULL when it is gone. */
static inline char *fixture_fetch(struct engine_view *view, uint32_t uid)
{
	uint64_t size;
	int fd;

	if (engine_view_fetch(view, uid, &fd, &size) != STORE_OK)
		return NULL;
	char *octets = calloc(1, size + 1);
	assert_int_equal(pread(fd, octets, size, 0), (ssize_t)size);
	close(fd);
	return octets;
}

/* Names in a directory below the store's, sorted, dot files left out; to be freed with the names. */
static inline int fixture_hidden(const struct dirent *entry)
{
	return entry->d_name[0] != '.';
}

static inline int fixture_names(
	const struct fixture *fixture, const char *path, struct dirent ***names)
{
	char whole[512];

	snprintf(whole, sizeof(whole), "%s/%s", fixture->directory, path);
	return scandir(whole, names, fixture_hidden, alphasort);
}

static inline int fixture_count(const struct fixture *fixture, const char *path)
{
	struct dirent **names;
	const int count = fixture_names(fixture, path, &names);

	for (int i = 0; i < count; i++)
		free(names[i]);
	if (count >= 0)
		free(names);
	return count;
}

/* "DIRECTORY/path/NAME" of the only file there. */
static inline void fixture_only_file(
	const struct fixture *fixture, const char *path, char *whole, size_t size)
{
	struct dirent **names;

	assert_int_equal(fixture_names(fixture, path, &names), 1);
	snprintf(whole, size, "%s/%s/%s", fixture->directory, path, names[0]->d_name);
	free(names[0]);
	free(names);
}

/*
 * Until what changes from now on has another time than what was changed before: kernels before 6.13 know
 * no finer one than the tick of their clock, and what another program did within that is seen half a
 * minute later.
 */
static inline void fixture_tick(void)
{
	const int fd = memfd_create("tick", MFD_CLOEXEC);
	struct stat first, now;

	assert_int_equal(pwrite(fd, "x", 1, 0), 1);
	assert_int_equal(fstat(fd, &first), 0);
	do {
		assert_int_equal(pwrite(fd, "x", 1, 0), 1);
		assert_int_equal(fstat(fd, &now), 0);
	} while (now.st_mtim.tv_sec == first.st_mtim.tv_sec &&
		 now.st_mtim.tv_nsec == first.st_mtim.tv_nsec);
	close(fd);
}

static inline void fixture_write(
	const struct fixture *fixture, const char *path, const char *octets)
{
	char whole[512];

	snprintf(whole, sizeof(whole), "%s/%s", fixture->directory, path);
	FILE *file = fopen(whole, "w");
	assert_non_null(file);
	fputs(octets, file);
	assert_int_equal(fclose(file), 0);
}

/* ---- files that cannot be opened ---- */

static struct {
	const char *path; /* how it begins, as sys.openat gets it */
	int error;
	unsigned times;
	int (*openat)(int dir, const char *path, int flags, mode_t mode);
} fixture_refusal;

static inline int fixture_refusing_openat(int dir, const char *path, int flags, mode_t mode)
{
	if (strncmp(path, fixture_refusal.path, strlen(fixture_refusal.path)) == 0) {
		fixture_refusal.times++;
		errno = fixture_refusal.error;
		return -1;
	}
	return fixture_refusal.openat(dir, path, flags, mode);
}

/* Until fixture_let_open(). */
static inline void fixture_refuse_to_open(const char *path, int error)
{
	if (sys.openat != fixture_refusing_openat)
		fixture_refusal.openat = sys.openat;
	fixture_refusal.path = path;
	fixture_refusal.error = error;
	fixture_refusal.times = 0;
	sys.openat = fixture_refusing_openat;
}

static inline void fixture_let_open(void)
{
	sys.openat = fixture_refusal.openat;
}

#endif
