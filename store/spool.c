/*
 * Large bodies: files in spool/, on the mail's file system, written by the sessions' peers and linked
 * into mailboxes by the delivery.
 *
 * A body that came this way is not in the log; its record names the file. So the file stays until a
 * checkpoint has made the links durable: recovery may need it to link again.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/id.h"
#include "base/log.h"
#include "store/space.h"
#include "store/spool.h"

struct spool *spool_find(struct engine *engine, uint32_t number)
{
	struct spool *spool;

	TAILQ_FOREACH (spool, &engine->spools, link) {
		if (spool->number == number)
			return spool;
	}
	return NULL;
}

static void unlink_spool(struct engine *engine, const char *name)
{
	if (sys.unlinkat(engine->spool_directory, name, 0) != 0 && errno != ENOENT)
		LOG_WARNING("spool", LOG_STRING("file", name), LOG_ERRNO(errno));
}

static void forget(struct engine *engine, struct spool *spool)
{
	TAILQ_REMOVE(&engine->spools, spool, link);
	engine->spool_count -= spool->shown == 0;
	mem_free(spool);
}

void spool_discard(struct engine *engine, struct spool *spool)
{
	unlink_spool(engine, spool->name);
	forget(engine, spool);
}

enum store_failure engine_spool(
	struct engine *engine, uint64_t size_hint, int *fd, uint32_t *number)
{
	*fd = -1;
	if (engine->broken || engine->closing || engine->spool_count >= ENGINE_SPOOLS)
		return STORE_BUSY;
	if (engine->options.message_octets && size_hint > engine->options.message_octets)
		return STORE_TOO_LARGE;
	if (engine_space_is_low(engine))
		return STORE_NO_SPACE;
	struct spool *spool = mem_new(sizeof(*spool));
	do
		spool->number = ++engine->last_spool;
	while (spool->number == 0);
	snprintf(spool->name, sizeof(spool->name), "%s", id_new().string);
	*fd = sys.openat(engine->spool_directory, spool->name,
		O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, S_IRUSR | S_IWUSR);
	if (*fd < 0) {
		const int error = errno;
		mem_free(spool);
		return engine_errno_failure(error);
	}
	TAILQ_INSERT_TAIL(&engine->spools, spool, link);
	engine->spool_count++;
	*number = spool->number;
	return STORE_OK;
}

void engine_spool_drop(struct engine *engine, uint32_t number)
{
	struct spool *spool = spool_find(engine, number);

	if (spool && !spool->claimed)
		spool_discard(engine, spool);
}

/*
 * A read lease is granted only while nobody has the file open for writing: its octets cannot change any
 * more, and the name is known to nobody but us.
 */
int spool_claim(struct engine *engine, struct spool *spool)
{
	const int fd = sys.openat(
		engine->spool_directory, spool->name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW, 0);

	if (fd < 0)
		return -1;
	if (fcntl(fd, F_SETLEASE, F_RDLCK) != 0) {
		const int error = errno == EAGAIN ? EBUSY : errno;
		sys.close(fd);
		errno = error;
		return -1;
	}
	fcntl(fd, F_SETLEASE, F_UNLCK);
	spool->claimed = true;
	return fd;
}

void spool_shown(struct engine *engine, uint32_t number)
{
	struct spool *spool = spool_find(engine, number);

	if (!spool)
		return;
	spool->shown = engine->shown_count;
	engine->spool_count--;
	engine->spools_shown++;
}

void spools_after_checkpoint(struct engine *engine, uint64_t shown)
{
	struct spool *spool = TAILQ_FIRST(&engine->spools);

	while (spool) {
		struct spool *next = TAILQ_NEXT(spool, link);
		if (spool->shown && spool->shown <= shown)
			spool_discard(engine, spool);
		spool = next;
	}
}

/* What an earlier run left: recovery has linked what it had to. */
int spools_init(struct engine *engine)
{
	const struct dirent *entry;
	const int fd = sys.openat(engine->root, "spool", O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);

	if (fd < 0)
		return errno;
	engine->spool_directory = fd;
	DIR *dir = sys_open_directory(fd, ".", 0);
	if (!dir)
		return errno;
	while ((entry = readdir(dir)) != NULL) {
		if (entry->d_name[0] != '.')
			unlink_spool(engine, entry->d_name);
	}
	closedir(dir);
	return 0;
}

/* After a stop without a checkpoint the next start links from it, like the one after a crash. */
static bool is_needed(const struct engine *engine, const struct spool *spool)
{
	return spool->claimed && (spool->shown == 0 || spool->shown > engine->checkpoint.covered);
}

void spools_free(struct engine *engine)
{
	struct spool *spool;

	while ((spool = TAILQ_FIRST(&engine->spools)) != NULL) {
		if (is_needed(engine, spool))
			forget(engine, spool);
		else
			spool_discard(engine, spool);
	}
	if (engine->spool_directory >= 0)
		sys.close(engine->spool_directory);
	engine->spool_directory = -1;
}
