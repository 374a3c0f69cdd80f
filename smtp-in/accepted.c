#include "smtp-in/accepted.h"

#include <string.h>

#include "base/mem.h"

enum {
	WAYS = 4, /* places that a question may have */
	SETS = ACCEPTED_PLACES / WAYS,
};

struct accepted_place {
	int64_t until; /* 0: it is free */
	uint64_t size;
	uint32_t length;
	char question[ACCEPTED_LIMIT];
};

/* FNV-1a. Who chooses what collides pushes out four others, no more. */
static struct accepted_place *set_of(const struct accepted *accepted, struct text question)
{
	uint32_t hash = 2166136261U;

	for (size_t i = 0; i < question.len; i++)
		hash = (hash ^ (unsigned char)question.ptr[i]) * 16777619U;
	return &accepted->place[((hash ^ (hash >> 16)) % SETS) * WAYS];
}

static bool is_about(const struct accepted_place *place, struct text question)
{
	return place->until && place->length == question.len &&
	       memcmp(place->question, question.ptr, question.len) == 0;
}

static struct accepted_place *find(const struct accepted *accepted, struct text question)
{
	struct accepted_place *set;

	if (!accepted->place || question.len > ACCEPTED_LIMIT)
		return NULL;
	set = set_of(accepted, question);
	for (size_t i = 0; i < WAYS; i++) {
		if (is_about(&set[i], question))
			return &set[i];
	}
	return NULL;
}

static struct accepted_place *take_oldest(struct accepted *accepted, struct text question)
{
	struct accepted_place *set = set_of(accepted, question), *oldest = set;

	for (size_t i = 1; i < WAYS; i++) {
		if (set[i].until < oldest->until)
			oldest = &set[i];
	}
	oldest->length = (uint32_t)question.len;
	memcpy(oldest->question, question.ptr, question.len);
	return oldest;
}

void accepted_note(
	struct accepted *accepted, struct text question, uint64_t size, int64_t now, int64_t until)
{
	struct accepted_place *place = find(accepted, question);

	if (question.len > ACCEPTED_LIMIT || until <= now)
		return;
	/* A small message is no news of a large one. */
	if (place && now < place->until && size < place->size)
		return;
	if (!accepted->place)
		accepted->place = mem_array(ACCEPTED_PLACES, sizeof(*accepted->place));
	if (!place)
		place = take_oldest(accepted, question);
	place->size = size;
	place->until = until;
}

bool accepted_holds(
	const struct accepted *accepted, struct text question, uint64_t size, int64_t now)
{
	const struct accepted_place *place = find(accepted, question);

	return place && now < place->until && size <= place->size;
}

void accepted_drop(struct accepted *accepted, struct text question)
{
	struct accepted_place *place = find(accepted, question);

	if (place)
		place->until = 0;
}

void accepted_release(struct accepted *accepted)
{
	mem_free(accepted->place);
	accepted->place = NULL;
}
