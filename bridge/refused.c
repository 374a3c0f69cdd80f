#include "bridge/refused.h"

#include <inttypes.h>
#include <string.h>

static bool is_due(int64_t when, int64_t now)
{
	/* A clock that was set back is no reason to wait for years. */
	return now < when || now - when >= REFUSED_SECONDS;
}

void refused_load(struct refused *refused, struct text hint)
{
	struct text line, word;

	while (hint.len && text_split(&hint, '\n', &line)) {
		struct once_key key;
		uint64_t when;
		if (!text_split(&line, ' ', &word) || !text_equal(word, TEXT("refused")) ||
			!text_split(&line, ' ', &word) || word.len != ONCE_LENGTH ||
			text_find(word, '\0') >= 0 || text_to_number(line, INT64_MAX, &when) != 0)
			continue;
		memcpy(key.string, word.ptr, word.len);
		key.string[word.len] = '\0';
		refused_add(refused, &key, (int64_t)when);
	}
}

void refused_store(const struct refused *refused, int64_t now, struct buf *hint)
{
	for (size_t i = 0; i < refused->count; i++) {
		/* Oldest first, as it is loaded again. */
		const size_t at =
			refused->count < REFUSED_MOST ? i : (refused->next + i) % REFUSED_MOST;
		if (!is_due(refused->entries[at].when, now))
			buf_format(hint, "refused %s %" PRId64 "\n",
				refused->entries[at].key.string, refused->entries[at].when);
	}
}

static size_t find(const struct refused *refused, const struct once_key *key)
{
	size_t i = 0;

	while (i < refused->count && strcmp(refused->entries[i].key.string, key->string) != 0)
		i++;
	return i;
}

void refused_add(struct refused *refused, const struct once_key *key, int64_t now)
{
	size_t at = find(refused, key);

	if (at == refused->count) {
		at = refused->next;
		refused->next = (refused->next + 1) % REFUSED_MOST;
		refused->count += refused->count < REFUSED_MOST;
	}
	refused->entries[at].key = *key;
	refused->entries[at].when = now;
}

bool refused_has(const struct refused *refused, const struct once_key *key, int64_t now)
{
	const size_t at = find(refused, key);

	return at < refused->count && !is_due(refused->entries[at].when, now);
}
