/*
 * Room on the disk: when there is too little for mail, and what is kept back for the store itself.
 *
 * A full disk must not keep the store from starting, nor its users from deleting: both write to the
 * journal and to the index. So some blocks lie in a file of their own, which goes when nothing else is
 * left, whoever took it, and comes back when there is room again.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/log.h"
#include "store/checkpoint.h"
#include "store/space.h"

#define RESERVE_FILE "reserve"

enum {
	LOW_OCTETS = 64 << 20,   /* left on the disk below which no mail is taken */
	LOW_PART = 16,           /* or, on a small disk, one part in so many */
	LOOK_MILLISECONDS = 50,  /* between two looks at the disk */
	RESERVE_LEAST = 1 << 20, /* octets of the file */
	RESERVE_MOST = 8 << 20,
	RESERVE_PART = 16,
};

static uint64_t between(uint64_t least, uint64_t wanted, uint64_t most)
{
	return wanted < least ? least : wanted > most ? most : wanted;
}

uint64_t space_part(const struct engine *engine, unsigned part, uint64_t least, uint64_t most)
{
	return between(least, engine->disk_octets / part, most);
}

static int look(const struct engine *engine, uint64_t *size, uint64_t *available)
{
	struct statfs space;

	if (fstatfs(engine->root, &space) != 0)
		return -1;
	*size = (uint64_t)space.f_blocks * (uint64_t)space.f_bsize;
	*available = (uint64_t)space.f_bavail * (uint64_t)space.f_bsize;
	return 0;
}

static uint64_t reserve_size(const struct engine *engine)
{
	return space_part(engine, RESERVE_PART, RESERVE_LEAST, RESERVE_MOST);
}

static void release(struct engine *engine)
{
	/* A journalling file system gives the blocks away only when it has noted that they are free. */
	if (sys.unlinkat(engine->root, RESERVE_FILE, 0) == 0 && sys.fsync(engine->root) == 0)
		LOG_WARNING("reserve-released", LOG_NUMBER("octets", reserve_size(engine)));
	else if (errno != ENOENT)
		LOG_WARNING("reserve", LOG_ERRNO(errno));
	engine->has_reserve = false;
}

/* Where the file system cannot do that, there is none. */
static void reserve(struct engine *engine)
{
	const int file = sys.openat(engine->root, RESERVE_FILE,
		O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, S_IRUSR | S_IWUSR);

	if (file < 0)
		return;
	engine->has_reserve = fallocate(file, 0, 0, (off_t)reserve_size(engine)) == 0;
	sys.close(file);
	if (!engine->has_reserve)
		sys.unlinkat(engine->root, RESERVE_FILE, 0);
	engine->reserve_tried = true;
}

void space_begin(struct engine *engine)
{
	uint64_t available;
	struct stat st;

	if (look(engine, &engine->disk_octets, &available) != 0)
		return;
	engine->has_reserve =
		sys.fstatat(engine->root, RESERVE_FILE, &st, AT_SYMLINK_NOFOLLOW) == 0;
	if (engine->has_reserve && available < reserve_size(engine))
		release(engine);
}

bool engine_space_is_low(struct engine *engine)
{
	const int64_t now = clock_milliseconds();
	uint64_t available;

	if (now - engine->space_checked < LOOK_MILLISECONDS)
		return engine->space_low;
	engine->space_checked = now;
	if (look(engine, &engine->disk_octets, &available) != 0)
		return engine->space_low;
	const uint64_t limit = space_part(engine, LOW_PART, 0, LOW_OCTETS);
	/* What was kept back is not for mail, wherever it is. */
	const bool low = available < limit + (engine->has_reserve ? 0 : reserve_size(engine));
	if (low != engine->space_low) {
		LOG_WARNING(low ? "disk-almost-full" : "disk-has-space",
			LOG_NUMBER("octets", available));
		engine->reserve_tried = false;
	}
	engine->space_low = low;
	if (engine->has_reserve && available < reserve_size(engine) / 2)
		release(engine);
	else if (!engine->has_reserve && !engine->reserve_tried &&
		 available > limit + 2 * reserve_size(engine))
		reserve(engine);
	/* Old log files, and large messages that nobody has any more, go with a checkpoint. */
	if (low && env_logged(engine->env) != engine->checkpoint.logged)
		checkpoint_start(engine);
	return low;
}
