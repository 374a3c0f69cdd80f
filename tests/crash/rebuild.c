/*
 * A tree as a power cut may leave it.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/crash/record.h"
#include "tests/crash/record_private.h"

enum { PATH_SIZE = 4096, BLOCK = 4096, SECTOR = 512 };

enum fate { FATE_NOTHING, FATE_EVERYTHING, FATE_PIECES, FATE_ZEROS, FATES };

struct image {
	size_t synced;        /* calls that a sync of it covered */
	size_t renamed;       /* the last call that changed its names or its size, + 1 */
	size_t names_until;   /* of a directory: its changes before this call are there */
	struct directory now; /* of a directory */
	char *path;           /* of a file: where it was made */
};

/* A sync that failed. */
struct loss {
	size_t at;
	const struct call *call;
	bool whole;     /* no page of it got through */
	size_t *synced; /* of each node, before it */
};

struct rebuilding {
	const struct record_cut *cut;
	struct loss *losses;
	size_t loss_count;
	struct image *images;
	size_t committed; /* changes of names before this call are there */
	uint64_t random;
	unsigned fates;
};

static uint64_t draw(struct rebuilding *rebuilding, uint64_t below)
{
	uint64_t *state = &rebuilding->random;

	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return below ? *state % below : 0;
}

static size_t between(struct rebuilding *rebuilding, size_t low, size_t high)
{
	return low + draw(rebuilding, high - low + 1);
}

/* ---- what syncs promised ---- */

static void note_change(struct rebuilding *rebuilding, size_t at)
{
	const struct call *call = &recorded.calls[at];
	struct image *images = rebuilding->images;

	switch (call->kind) {
	case CALL_ENTER:
		images[call->node].renamed = at + 1;
		images[call->directory].renamed = at + 1;
		break;
	case CALL_LEAVE:
		images[call->directory].renamed = at + 1;
		break;
	case CALL_RENAME:
		images[call->node].renamed = at + 1;
		images[call->directory].renamed = images[call->target].renamed = at + 1;
		break;
	case CALL_WRITE:
		if (call->offset + call->size > recorded.nodes[call->node].size) {
			images[call->node].renamed = at + 1;
			recorded.nodes[call->node].size = call->offset + call->size;
		}
		break;
	case CALL_SIZE:
		images[call->node].renamed = at + 1;
		recorded.nodes[call->node].size = call->size;
		break;
	case CALL_SYNC:
	case CALL_SYNCED:
	case CALL_LOST:
		break;
	}
}

static size_t larger(size_t a, size_t b)
{
	return a > b ? a : b;
}

static void note_loss(struct rebuilding *rebuilding, size_t at, size_t everything)
{
	const struct call *call = &recorded.calls[at];

	rebuilding->losses = realloc(
		rebuilding->losses, (rebuilding->loss_count + 1) * sizeof(*rebuilding->losses));
	struct loss *loss = &rebuilding->losses[rebuilding->loss_count++];
	*loss = (struct loss){ .at = at,
		.call = call,
		.whole = draw(rebuilding, 2) == 0,
		.synced = calloc(recorded.node_count, sizeof(*loss->synced)) };
	for (size_t i = 0; i < recorded.node_count; i++)
		loss->synced[i] = larger(rebuilding->images[i].synced, everything);
}

static void look_at_syncs(struct rebuilding *rebuilding)
{
	struct image *images = rebuilding->images;
	size_t everything = 0;
	bool *commits = calloc(rebuilding->cut->at + 1, sizeof(*commits));

	for (size_t i = 0; i < recorded.node_count; i++)
		recorded.nodes[i].size = 0;
	for (size_t at = 0; at < rebuilding->cut->at; at++) {
		const struct call *call = &recorded.calls[at];
		note_change(rebuilding, at);
		if (call->kind == CALL_SYNC)
			commits[at] = call->everything ||
				      images[call->node].renamed > rebuilding->committed;
		if (call->kind == CALL_LOST)
			note_loss(rebuilding, at, everything);
		if (call->kind != CALL_SYNCED)
			continue;
		const struct call *began = &recorded.calls[call->began];
		if (began->everything)
			everything = larger(everything, call->began);
		else
			images[began->node].synced =
				larger(images[began->node].synced, call->began);
		if (commits[call->began])
			rebuilding->committed = larger(rebuilding->committed, call->began);
	}
	for (size_t i = 0; i < recorded.node_count; i++)
		images[i].synced = larger(images[i].synced, everything);
	free(commits);
}

/* ---- names ---- */

static void choose_names(struct rebuilding *rebuilding)
{
	const size_t low = rebuilding->committed, high = rebuilding->cut->at;
	const unsigned way = (unsigned)draw(rebuilding, 5);
	const size_t common = between(rebuilding, low, high);

	for (size_t i = 0; i < recorded.node_count; i++)
		rebuilding->images[i].names_until = way == 0   ? low
						    : way == 1 ? high
						    : way == 2 ? common
							       : between(rebuilding, low, high);
}

/*
 * A directory is renamed in both of its places or in neither: what comes later in the one it left never is
 * there without the rename.
 */
static void keep_directories(struct rebuilding *rebuilding)
{
	struct image *images = rebuilding->images;
	bool altered = true;

	while (altered) {
		altered = false;
		for (size_t at = 0; at < rebuilding->cut->at; at++) {
			const struct call *call = &recorded.calls[at];
			if (call->kind != CALL_RENAME || !recorded.nodes[call->node].is_directory ||
				images[call->directory].names_until <= at ||
				images[call->target].names_until > at)
				continue;
			images[call->target].names_until = at + 1;
			altered = true;
		}
	}
}

/* A rename happens as a whole or not at all. */
static void make_names(struct rebuilding *rebuilding)
{
	struct image *images = rebuilding->images;

	for (size_t at = 0; at < rebuilding->cut->at; at++) {
		const struct call *call = &recorded.calls[at];
		struct image *place = &images[call->directory];
		if (call->kind == CALL_ENTER && at < place->names_until) {
			record_enter(&place->now, call->name, call->node);
		} else if (call->kind == CALL_LEAVE && at < place->names_until) {
			record_leave(&place->now, call->name);
		} else if (call->kind == CALL_RENAME && at < images[call->target].names_until) {
			const struct entry *entry = record_find(&place->now, call->name);
			if (entry && entry->node == call->node)
				record_leave(&place->now, call->name);
			record_enter(&images[call->target].now, call->to, call->node);
		}
	}
}

/* ---- octets ---- */

static size_t size_at(size_t node, size_t until)
{
	size_t size = 0;

	for (size_t at = 0; at < until; at++) {
		const struct call *call = &recorded.calls[at];
		if (call->node != node)
			continue;
		if (call->kind == CALL_WRITE && call->offset + call->size > size)
			size = call->offset + call->size;
		else if (call->kind == CALL_SIZE)
			size = call->size;
	}
	return size;
}

/* Up to which call a block is there. */
static size_t until(struct rebuilding *rebuilding, enum fate fate, size_t synced)
{
	const size_t high = rebuilding->cut->at;

	switch (fate) {
	case FATE_NOTHING:
	case FATE_ZEROS:
		return synced;
	case FATE_EVERYTHING:
		return high;
	case FATE_PIECES:
	case FATES:
		break;
	}
	const unsigned way = (unsigned)draw(rebuilding, 3);
	return way == 0 ? synced : way == 1 ? high : between(rebuilding, synced, high);
}

static bool has_lost(const struct call *call, size_t node)
{
	return call->everything ? node < call->size && call->octets[node] : call->node == node;
}

/* Whether what this call wrote into the page was waiting to be written when a sync of it failed. */
static bool is_lost(const struct rebuilding *rebuilding, size_t at, size_t page)
{
	const size_t node = recorded.calls[at].node;

	for (size_t i = 0; i < rebuilding->loss_count; i++) {
		const struct loss *loss = &rebuilding->losses[i];
		if (at >= loss->at || at < loss->synced[node] || !has_lost(loss->call, node))
			continue;
		const uint64_t hash = (rebuilding->cut->seed ^ (i + node) * 31 ^ page) *
				      UINT64_C(0x9e3779b97f4a7c15);
		if (loss->whole || hash >> 63)
			return true;
	}
	return false;
}

/*
 * A block is there up to the last call that wrote to its page and was not lost: a page goes to the disk as a
 * whole, and as it is then.
 */
static void leave_out_lost(
	struct rebuilding *rebuilding, size_t node, size_t *untils, size_t blocks, size_t block)
{
	size_t *kept = calloc(blocks, sizeof(*kept));
	const size_t in_page = BLOCK / block;

	for (size_t at = 0; at < rebuilding->cut->at; at++) {
		const struct call *call = &recorded.calls[at];
		if (call->node != node || call->kind != CALL_WRITE)
			continue;
		const size_t last = (call->offset + call->size - 1) / BLOCK;
		for (size_t page = call->offset / BLOCK; page <= last; page++) {
			if (is_lost(rebuilding, at, page))
				continue;
			for (size_t i = page * in_page; i < (page + 1) * in_page && i < blocks; i++)
				kept[i] = at < untils[i] ? at + 1 : kept[i];
		}
	}
	memcpy(untils, kept, blocks * sizeof(*kept));
	free(kept);
}

/* One call's part in each block that it touches. */
static void put_octets(const struct call *call, size_t at, const size_t *untils, size_t block,
	char *octets, size_t size)
{
	for (size_t from = call->offset; from < call->offset + call->size && from < size;) {
		size_t end = (from / block + 1) * block;
		if (end > call->offset + call->size)
			end = call->offset + call->size;
		if (end > size)
			end = size;
		if (at < untils[from / block])
			memcpy(octets + from, call->octets + (from - call->offset), end - from);
		from = end;
	}
}

static char *make_octets(struct rebuilding *rebuilding, size_t node, size_t *size)
{
	const size_t synced = rebuilding->images[node].synced, high = rebuilding->cut->at;
	const size_t block = rebuilding->cut->sectors && draw(rebuilding, 2) ? SECTOR : BLOCK;
	const enum fate fate = rebuilding->fates < FATES ? (enum fate)rebuilding->fates
							 : (enum fate)draw(rebuilding, FATES);
	const size_t sized = fate == FATE_NOTHING      ? synced
			     : fate == FATE_EVERYTHING ? high
						       : between(rebuilding, synced, high);

	*size = size_at(node, sized);
	char *octets = calloc(1, *size + 1);
	const size_t blocks = *size / block + 1;
	size_t *untils = calloc(blocks, sizeof(*untils));
	for (size_t i = 0; i < blocks; i++)
		untils[i] = until(rebuilding, fate, synced);
	if (rebuilding->loss_count)
		leave_out_lost(rebuilding, node, untils, blocks, block);
	for (size_t at = 0; at < high; at++) {
		const struct call *call = &recorded.calls[at];
		if (call->node != node)
			continue;
		if (call->kind == CALL_WRITE)
			put_octets(call, at, untils, block, octets, *size);
		else if (call->kind == CALL_SIZE && at < sized && call->size < *size)
			memset(octets + call->size, 0, *size - call->size);
	}
	free(untils);
	return octets;
}

/* ---- the tree ---- */

static void make_file(struct rebuilding *rebuilding, size_t node, const char *path)
{
	struct image *image = &rebuilding->images[node];
	size_t size;

	if (image->path) {
		if (link(image->path, path) != 0)
			abort();
		return;
	}
	image->path = strdup(path);
	char *octets = make_octets(rebuilding, node, &size);
	const int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, S_IRUSR | S_IWUSR);
	if (fd < 0 || write(fd, octets, size) != (ssize_t)size || close(fd) != 0)
		abort();
	free(octets);
}

static void make_directory(struct rebuilding *rebuilding, size_t node, const char *path)
{
	const struct directory *now = &rebuilding->images[node].now;
	char below[PATH_SIZE];

	for (size_t i = 0; i < now->count; i++) {
		const struct entry *entry = &now->entries[i];
		if ((size_t)snprintf(below, sizeof(below), "%s/%s", path, entry->name) >=
			sizeof(below))
			abort();
		if (!recorded.nodes[entry->node].is_directory) {
			make_file(rebuilding, entry->node, below);
			continue;
		}
		if (mkdir(below, S_IRWXU) != 0)
			abort();
		make_directory(rebuilding, entry->node, below);
	}
}

void record_rebuild(const struct record_cut *cut, const char *directory)
{
	struct rebuilding rebuilding = { .cut = cut,
		.random = (cut->seed + UINT64_C(1)) * UINT64_C(0x9e3779b97f4a7c15),
		.images = calloc(recorded.node_count, sizeof(*rebuilding.images)) };

	for (int i = 0; i < 8; i++)
		draw(&rebuilding, 1);
	/* One fate for all, or for each file its own. */
	rebuilding.fates = (unsigned)draw(&rebuilding, 2 * FATES);
	look_at_syncs(&rebuilding);
	choose_names(&rebuilding);
	keep_directories(&rebuilding);
	make_names(&rebuilding);
	make_directory(&rebuilding, 0, directory);
	for (size_t i = 0; i < recorded.node_count; i++) {
		free(rebuilding.images[i].now.entries);
		free(rebuilding.images[i].path);
	}
	free(rebuilding.images);
	for (size_t i = 0; i < rebuilding.loss_count; i++)
		free(rebuilding.losses[i].synced);
	free(rebuilding.losses);
}
