/*
 * The power goes, hundreds of times.
 *
 *	powercut [-n CUTS] [-s SEED] [-e] [-m] [-b marker|flush|sync|fsync|resync] [-c CALL] [-v]
 *
 * One run of the engine is recorded, then trees are made of it as they may be after the power went at
 * some call, and a store is started on each; for one in three the power goes again while it recovers.
 * -e makes some syncs fail while it is recorded: the engine breaks, and goes on with what memory has.
 * -m has most of the work done on mailboxes: made, renamed, deleted, and their names given again.
 * -b breaks a promise on purpose: then a cut must find it, and finding nothing is the failure. resync (with
 * failing syncs): a start that believes memory after one.
 */
#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "store/env.h"
#include "store/journal.h"
#include "tests/crash/record.h"
#include "tests/crash/workload_private.h"

enum { STEPS = 60, RUNS = 2, CHECK_SECONDS = 60, CHECK_FAILED = 3 };
enum { FAILING = 8, FAILING_STEPS = 20, FAILING_RUNS = 12 }; /* with -e: so many syncs at most */

static struct {
	bool marker, flush, resync;
} broken;

/* The engine's own calls go through these (--wrap of the linker). */
int __real_env_log(struct env *env, struct env_txn *txn, struct buf *record);
int __real_env_flush(struct env *env);
int __wrap_env_log(struct env *env, struct env_txn *txn, struct buf *record);
int __wrap_env_flush(struct env *env);
bool __real_resync_is_due(int root);
bool __wrap_resync_is_due(int root);

int __wrap_env_log(struct env *env, struct env_txn *txn, struct buf *record)
{
	enum journal_kind kind;
	struct text payload;

	if (broken.marker && journal_open(buf_text(record), &kind, &payload) == 0 &&
		kind == JOURNAL_MARK)
		return 0;
	return __real_env_log(env, txn, record);
}

int __wrap_env_flush(struct env *env)
{
	return broken.flush ? 0 : __real_env_flush(env);
}

bool __wrap_resync_is_due(int root)
{
	return !broken.resync && __real_resync_is_due(root);
}

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	(void)st, (void)flag, (void)ftw;
	return remove(path);
}

static void remove_tree(const char *path)
{
	nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

struct trial {
	struct workload *workload;
	const char *scratch;
	bool verbose;
};

/* What a trial is like beyond its cut, each by itself. */
enum dice { DICE_SECTORS = 1, DICE_AGAIN, DICE_THOROUGH };

static bool one_in(uint32_t count, uint32_t seed, enum dice dice)
{
	uint64_t hash = (uint64_t)seed << 8 | dice;

	hash = (hash ^ hash >> 31) * UINT64_C(0xbf58476d1ce4e5b9);
	hash = (hash ^ hash >> 29) * UINT64_C(0x94d049bb133111eb);
	return (hash >> 33) % count == 0;
}

/* ---- the power goes again, while the store recovers ---- */

static struct {
	char from[560], to[600];
	ino_t inodes[65536];
	char *paths[65536]; /* of the copy, by inode */
	size_t count;
} copying;

static int copy_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	char to[2048];

	(void)ftw;
	snprintf(to, sizeof(to), "%s%s", copying.to, path + strlen(copying.from));
	if (flag == FTW_D)
		return path[strlen(copying.from)] ? mkdirat(AT_FDCWD, to, S_IRWXU) : 0;
	for (size_t i = 0; i < copying.count; i++) {
		if (copying.inodes[i] == st->st_ino)
			return linkat(AT_FDCWD, copying.paths[i], AT_FDCWD, to, 0);
	}
	char *octets = malloc((size_t)st->st_size + 1);
	const int from = open(path, O_RDONLY | O_CLOEXEC);
	const int file = openat(AT_FDCWD, to, O_WRONLY | O_CREAT | O_CLOEXEC, S_IRUSR | S_IWUSR);
	if (read(from, octets, (size_t)st->st_size) != st->st_size ||
		write(file, octets, (size_t)st->st_size) != st->st_size)
		abort();
	close(from);
	close(file);
	free(octets);
	copying.inodes[copying.count] = st->st_ino;
	copying.paths[copying.count++] = strdup(to);
	return 0;
}

/* Of the tree that the first cut left a store makes another one, and that is cut somewhere on the way. */
static void cut_again(
	struct workload *workload, const struct record_cut *cut, const char *first, char last[700])
{
	char again[700];

	snprintf(copying.from, sizeof(copying.from), "%s", first);
	snprintf(copying.to, sizeof(copying.to), "%.500s.again", first);
	snprintf(again, sizeof(again), "%s", copying.to);
	snprintf(last, 700, "%s.last", first);
	record_free();
	if (mkdir(again, S_IRWXU) != 0 || mkdir(last, S_IRWXU) != 0)
		abort();
	record_start(again);
	if (nftw(first, copy_one, 16, FTW_PHYS) != 0)
		abort();
	const int root = open(again, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	syncfs(root);
	close(root);
	const size_t before = record_count();
	const bool opened = workload_open(workload, again);
	const size_t after = record_count();
	if (opened)
		workload_close(workload);
	record_stop();
	record_rebuild(&(struct record_cut){ .at = before + (cut->seed * 2654435761U >> 8) %
								    (after - before + 1),
			       .seed = cut->seed + 1,
			       .sectors = cut->sectors },
		last);
}

/* In a process of its own: whatever happens there, the next trial starts fresh. */
static bool try_cut(const struct trial *trial, const struct record_cut *cut)
{
	char directory[512];
	int status;

	snprintf(directory, sizeof(directory), "%s/cut", trial->scratch);
	if (mkdir(directory, S_IRWXU) != 0)
		abort();
	const pid_t child = fork();
	if (child == 0) {
		alarm(CHECK_SECONDS);
		log_open("cut", trial->verbose ? LOG_LEVEL_DEBUG : LOG_LEVEL_ERROR);
		if (!trial->verbose && !freopen("/dev/null", "w", stderr))
			abort();
		char last[700], first[560];
		snprintf(first, sizeof(first), "%s/first", directory);
		if (mkdir(first, S_IRWXU) != 0)
			abort();
		record_rebuild(cut, first);
		snprintf(last, sizeof(last), "%s", first);
		if (one_in(3, cut->seed, DICE_AGAIN))
			cut_again(trial->workload, cut, first, last);
		if (workload_check(
			    trial->workload, last, cut->at, one_in(4, cut->seed, DICE_THOROUGH)))
			_exit(0);
		printf("cut at %zu, seed %u%s: %s\n", cut->at, cut->seed,
			cut->sectors ? ", sectors" : "", workload_finding(trial->workload));
		fflush(stdout);
		_exit(CHECK_FAILED);
	}
	waitpid(child, &status, 0);
	remove_tree(directory);
	if (status == 0)
		return true;
	if (!WIFEXITED(status) || WEXITSTATUS(status) != CHECK_FAILED)
		printf("cut at %zu, seed %u%s: the store ended with status %x\n", cut->at,
			cut->seed, cut->sectors ? ", sectors" : "", status);
	return false;
}

/* Up to a sync that fails, or to the end. */
static bool run(struct workload *workload, const char *directory, bool failing)
{
	const size_t failed = record_failed();

	if (workload_run(workload, directory, failing ? FAILING_STEPS : STEPS))
		return true;
	/* It may not open: then the next one has to, or the one after. */
	return !workload_is_open(workload) && record_failed() > failed;
}

static struct workload *record(const char *scratch, uint32_t seed, bool failing, bool reshapes)
{
	struct workload *workload = workload_new(seed, record_count);
	char directory[512];

	snprintf(directory, sizeof(directory), "%s/recorded", scratch);
	if (mkdir(directory, S_IRWXU) != 0)
		abort();
	record_start(directory);
	if (reshapes)
		workload_reshape(workload);
	workload_expect_faults(workload, failing);
	if (failing)
		record_fail_syncs(FAILING);
	for (unsigned i = 0; i < (failing ? FAILING_RUNS : RUNS); i++) {
		if (!run(workload, directory, failing)) {
			printf("without any cut: %s\n", workload_finding(workload));
			exit(1);
		}
	}
	record_stop();
	workload_expect_faults(workload, false);
	remove_tree(directory);
	return workload;
}

static void choose_lie(const char *what)
{
	broken.marker = strcmp(what, "marker") == 0;
	broken.flush = strcmp(what, "flush") == 0;
	broken.resync = strcmp(what, "resync") == 0;
	if (strcmp(what, "sync") == 0)
		record_lie(RECORD_LIE_SYNCFS);
	else if (strcmp(what, "fsync") == 0)
		record_lie(RECORD_LIE_FSYNC);
	else if (!broken.marker && !broken.flush && !broken.resync) {
		fprintf(stderr, "-b takes marker, flush, sync, fsync or resync\n");
		exit(64);
	}
}

/* Rarely amid zeros. */
static size_t choose(uint32_t number, size_t calls)
{
	uint32_t hash = number;
	size_t at;

	for (unsigned tries = 0; tries < 16; tries++) {
		hash = (hash + 1) * 2654435761U;
		hash ^= hash >> 15;
		at = (uint64_t)hash * calls >> 32;
		if (!record_is_dull(at))
			break;
	}
	return at;
}

int main(int argc, char **argv)
{
	char scratch[] = "/tmp/powercut.XXXXXX", shared[] = "/dev/shm/powercut.XXXXXX";
	struct trial trial = { .scratch = mkdtemp(shared) };
	unsigned cuts = 400, seed = 1, found = 0;
	bool failing = false, reshapes = false;
	const char *lie = NULL;
	size_t only = 0;
	int option;

	while ((option = getopt(argc, argv, "n:s:b:c:emv")) != -1) {
		if (option == 'n')
			cuts = (unsigned)strtoul(optarg, NULL, 10);
		else if (option == 's')
			seed = (unsigned)strtoul(optarg, NULL, 10);
		else if (option == 'b')
			lie = optarg;
		else if (option == 'c')
			only = strtoul(optarg, NULL, 10);
		else if (option == 'e')
			failing = true;
		else if (option == 'm')
			reshapes = true;
		else if (option == 'v')
			trial.verbose = true;
		else
			return 64;
	}
	if (!trial.scratch && !(trial.scratch = mkdtemp(scratch)))
		return 1;
	if (lie)
		choose_lie(lie);
	failing |= broken.resync;
	/* What fails then is meant to. */
	log_open("powercut", LOG_LEVEL_ERROR + (failing && !trial.verbose));
	trial.workload = record(trial.scratch, seed, failing, reshapes);
	const size_t calls = record_count();
	printf("%zu calls recorded, %zu promises, %zu syncs failed\n", calls,
		workload_kept(trial.workload), record_failed());
	fflush(stdout);
	broken.marker = broken.flush = broken.resync = false;
	for (unsigned i = 0; i < cuts && !(lie && found); i++) {
		const uint32_t number = seed * 100000 + i;
		const struct record_cut cut = { .at = only ? only : choose(seed * 7919 + i, calls),
			.seed = number,
			.sectors = one_in(3, number, DICE_SECTORS) };
		found += !try_cut(&trial, &cut);
	}
	printf("%u cuts, %u with a finding\n", cuts, found);
	remove_tree(trial.scratch);
	workload_free(&trial.workload);
	record_free();
	return lie ? !found : found != 0;
}
