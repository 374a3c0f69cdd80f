/* What record.c notes and rebuild.c makes trees of. */
#ifndef TESTS_CRASH_RECORD_PRIVATE_H
#define TESTS_CRASH_RECORD_PRIVATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum call_kind {
	CALL_ENTER,  /* directory, name, node: a file or directory gets a name */
	CALL_LEAVE,  /* directory, name */
	CALL_RENAME, /* directory, name, target, to, node */
	CALL_WRITE,  /* node, offset, size, octets */
	CALL_SIZE,   /* node, size: cut or lengthened */
	CALL_SYNC,   /* node, everything: a sync begins */
	CALL_SYNCED, /* began: the call that began it */
	CALL_LOST,   /* a sync failed: of node; or everything, octets: which nodes lost some */
};

struct call {
	enum call_kind kind;
	bool everything;
	size_t node, directory, target;
	const char *name, *to;
	uint64_t offset;
	size_t size, began;
	char *octets;
};

struct entry {
	const char *name; /* of the call that made it */
	size_t node;
};

struct directory {
	struct entry *entries;
	size_t count, room;
};

/* A file or directory. The first one is the tree's root. */
struct node {
	bool is_directory;
	ino_t inode;
	uint64_t size;
	bool dirty; /* there is something for a sync to do */
	bool failed; /* a sync of everything has lost some of it, and the file's own has not said so yet */
	struct directory names;
};

struct recorded {
	struct call *calls;
	size_t count, room;
	struct node *nodes;
	size_t node_count, node_room;
};

extern struct recorded recorded;

struct entry *record_find(struct directory *directory, const char *name);
void record_enter(struct directory *directory, const char *name, size_t node);
void record_leave(struct directory *directory, const char *name);

#endif
