#include "restante/trace_tell.h"

#include <stdlib.h>

#include "base/arena.h"
#include "restante/terminal.h"
#include "restante/trace_line.h"

enum { MESSAGES_LIMIT = 1000, STORED_LIMIT = 16 };

/* In the order in which they are told; those of one stage in the order of the log. */
enum stage { STAGE_RECEIVED, STAGE_DELIVERED, STAGES };

/* A line about a message. */
struct record {
	struct text octets;
	struct text id;
	size_t at; /* which line it is */
	bool concerns;
};

/* A session of pop3d in which messages were pulled or deleted: their UIDs lie between these two. */
struct pull {
	struct text octets;
	struct text user;
	uint64_t first, last;
};

/* The records of one message. */
struct message {
	const struct record *records;
	size_t count;
};

struct story {
	struct buf *out;
	struct text wanted;
	size_t lines;
	struct buf records;    /* struct record each */
	struct buf pulls;      /* struct pull each */
	struct arena *arena;   /* what lasts */
	struct arena *scratch; /* of one line */
};

/* ---- words ---- */

/* "before value", and nothing when there is no value. */
static void add_if(struct buf *out, const char *before, struct text value, const char *after)
{
	if (value.len == 0)
		return;
	buf_add_string(out, before);
	terminal_add(out, value);
	buf_add_string(out, after);
}

/* "2026-11-22 01:02:03  role      ". */
static void begin(struct buf *out, const struct trace_line *line, const char *role)
{
	struct text when = text_head(trace_line_get(line, "t"), 19);
	const ptrdiff_t t = text_find(when, 'T');

	buf_add_string(out, "  ");
	if (t < 0) {
		buf_format(out, "%-19s", "");
	} else {
		terminal_add(out, text_head(when, (size_t)t));
		buf_add_char(out, ' ');
		terminal_add(out, text_from(when, (size_t)t + 1));
	}
	buf_format(out, "  %-8s  ", role);
}

static struct text get(const struct trace_line *line, const char *key)
{
	const struct text value = trace_line_get(line, key);

	return text_equal(value, TEXT("none")) || text_equal(value, TEXT("-")) ? TEXT("") : value;
}

static void add_sender(struct buf *out, const struct trace_line *line)
{
	const struct text from = get(line, "from");

	if (from.len)
		add_if(out, " from ", from, "");
	else
		buf_add_string(out, " without a sender");
}

static void add_answer(struct buf *out, const struct trace_line *line, const char *key)
{
	add_if(out, "; answered ", get(line, "code"), "");
	add_if(out, " ", get(line, key), "");
}

/* ---- smtp-in ---- */

static void tell_client(struct buf *out, const struct trace_line *line)
{
	add_if(out, " by ", get(line, "peer"), "");
	add_if(out, " (which calls itself ", get(line, "helo"), ")");
	add_if(out, ", logged in as ", get(line, "auth"), "");
	add_if(out, ", over ", get(line, "tls"), "");
}

static bool is_good(const struct trace_line *line)
{
	return text_begins(get(line, "code"), TEXT("2"));
}

static void tell_received(struct buf *out, const struct trace_line *line)
{
	const struct text event = get(line, "event");

	begin(out, line, "smtp-in");
	if (text_equal(event, TEXT("recipient-refused"))) {
		buf_add_string(out, "would not take it");
		add_sender(out, line);
		add_if(out, " to ", get(line, "to"), "");
		buf_add_string(out, ", offered");
		tell_client(out, line);
		add_answer(out, line, "reply");
	} else if (text_equal(event, TEXT("message-lost"))) {
		buf_add_string(out, "lost the connection while the message came");
		add_sender(out, line);
		tell_client(out, line);
		add_if(out, ": ", get(line, "reply"), "");
	} else if (text_equal(event, TEXT("message"))) {
		buf_add_string(out, is_good(line) ? "received a message" : "refused a message");
		add_sender(out, line);
		add_if(out, ", ", get(line, "size"), " octets");
		add_if(out, ", for ", get(line, "recipients"), " accepted recipient(s)");
		buf_add_string(out, ", sent");
		tell_client(out, line);
		add_answer(out, line, "reply");
	} else {
		terminal_add(out, event);
		add_if(out, ": ", get(line, "reason"), "");
	}
	buf_add_char(out, '\n');
}

/* ---- mda and store ---- */

static void tell_delivered(struct buf *out, const struct trace_line *line)
{
	const struct text event = get(line, "event");

	begin(out, line, "mda");
	if (text_equal(event, TEXT("delivered")))
		buf_add_string(out, "delivered");
	else if (text_equal(event, TEXT("deferred")))
		buf_add_string(out, "could not deliver it for now");
	else if (text_equal(event, TEXT("refused")))
		buf_add_string(out, "refused it for good");
	else
		terminal_add(out, event);
	add_if(out, " to ", get(line, "to"), "");
	add_if(out, ", by the alias ", get(line, "alias"), "");
	add_if(out, ", at first for ", get(line, "orcpt"), "");
	if (!text_equal(event, TEXT("delivered")))
		add_answer(out, line, "verdict");
	buf_add_char(out, '\n');
}

/* "user/mailbox:uid" into its parts. */
static bool split_stored(struct text stored, struct text *user, struct text *mailbox, uint64_t *uid)
{
	/* A local part may hold slashes, a domain holds none. */
	const ptrdiff_t at = text_find(stored, '@'), colon = text_find_last(stored, ':');
	const ptrdiff_t behind = text_find(text_from(stored, at < 0 ? 0 : (size_t)at), '/');
	const ptrdiff_t slash = behind < 0 || at < 0 ? behind : at + behind;

	if (slash < 0 || colon < slash ||
		text_to_number(text_from(stored, (size_t)colon + 1), UINT32_MAX, uid) != 0)
		return false;
	*user = text_head(stored, (size_t)slash);
	*mailbox = text_head(text_from(stored, (size_t)slash + 1), (size_t)(colon - slash - 1));
	return true;
}

static void tell_stored(struct buf *out, const struct trace_line *line)
{
	struct text rest = get(line, "stored"), one, user, mailbox;
	uint64_t uid;

	while (rest.len && text_split(&rest, ',', &one)) {
		if (!split_stored(one, &user, &mailbox, &uid))
			continue;
		begin(out, line, "store");
		add_if(out, "kept it in mailbox ", mailbox, "");
		add_if(out, " of ", user, "");
		buf_format(out, " as message %llu", (unsigned long long)uid);
		add_if(out, ", file ", get(line, "file"), "");
		buf_add_char(out, '\n');
	}
	rest = get(line, "before");
	if (rest.len) {
		begin(out, line, "store");
		add_if(out, "had it before in ", rest, ", and kept no second copy");
		buf_add_char(out, '\n');
	}
}

/* ---- who pulled it ---- */

static void tell_session(
	struct story *story, const struct trace_line *line, struct text mailbox, uint64_t uid)
{
	const bool pulled = trace_runs_have(get(line, "pulled"), uid);
	const bool removed = trace_runs_have(get(line, "removed"), uid);

	if (!text_equal(mailbox, TEXT("INBOX")) || (!pulled && !removed))
		return;
	begin(story->out, line, "pop3d");
	add_if(story->out, "", get(line, "user"), "");
	buf_format(story->out, " %s%s%s it by POP3", pulled ? "pulled" : "",
		pulled && removed ? " and " : "", removed ? "deleted" : "");
	add_if(story->out, ", from ", get(line, "peer"), "");
	add_if(story->out, ", over ", get(line, "tls"), "");
	buf_add_char(story->out, '\n');
}

static void tell_pulls_of(struct story *story, struct text stored)
{
	const struct pull *pulls = (const void *)buf_text(&story->pulls).ptr;
	const size_t count = buf_length(&story->pulls) / sizeof(*pulls);
	struct text user, mailbox;
	struct trace_line line;
	uint64_t uid;

	if (!split_stored(stored, &user, &mailbox, &uid))
		return;
	for (size_t i = 0; i < count; i++) {
		const struct pull *pull = &pulls[i];
		if (uid < pull->first || uid > pull->last || !text_equal_nocase(pull->user, user))
			continue;
		arena_empty(story->scratch);
		if (trace_line_parse(story->scratch, pull->octets, &line))
			tell_session(story, &line, mailbox, uid);
	}
}

/* ---- one message ---- */

static void tell_line(struct story *story, const struct trace_line *line, enum stage stage)
{
	const bool by_mda = text_equal(get(line, "role"), TEXT("mda"));

	switch (stage) {
	case STAGE_RECEIVED:
		if (text_equal(get(line, "role"), TEXT("smtp-in")))
			tell_received(story->out, line);
		break;
	case STAGE_DELIVERED:
		if (by_mda)
			tell_delivered(story->out, line);
		if (by_mda)
			tell_stored(story->out, line);
		break;
	case STAGES:
		break;
	}
}

static void note_places(struct story *story, struct text stored, struct text *places, size_t *count)
{
	struct text one;

	while (stored.len && *count < STORED_LIMIT && text_split(&stored, ',', &one))
		places[(*count)++] = text_copy(story->arena, one);
}

static void tell_message(struct story *story, const struct message *message)
{
	struct text places[STORED_LIMIT];
	struct trace_line line;
	size_t count = 0;

	buf_add_string(story->out, "message ");
	terminal_add(story->out, message->records[0].id);
	buf_add_char(story->out, '\n');
	for (enum stage stage = STAGE_RECEIVED; stage < STAGES; stage++) {
		for (size_t i = 0; i < message->count; i++) {
			arena_empty(story->scratch);
			if (!trace_line_parse(story->scratch, message->records[i].octets, &line))
				continue;
			tell_line(story, &line, stage);
			if (stage == STAGE_DELIVERED)
				note_places(story, get(&line, "stored"), places, &count);
		}
	}
	for (size_t i = 0; i < count; i++)
		tell_pulls_of(story, places[i]);
	buf_add_char(story->out, '\n');
}

/* ---- which messages ---- */

static bool is_stored_for(struct text stored, struct text address)
{
	struct text one, user, mailbox;
	uint64_t uid;

	while (stored.len && text_split(&stored, ',', &one)) {
		if (split_stored(one, &user, &mailbox, &uid) && text_equal_nocase(user, address))
			return true;
	}
	return false;
}

static bool concerns(const struct story *story, const struct trace_line *line)
{
	const struct text wanted = story->wanted;

	if (text_find(wanted, '@') < 0)
		return text_equal_nocase(get(line, "id"), wanted);
	return text_equal_nocase(get(line, "from"), wanted) ||
	       trace_list_has(get(line, "to"), wanted) ||
	       trace_list_has(get(line, "alias"), wanted) ||
	       is_stored_for(get(line, "stored"), wanted);
}

/* ---- the log ---- */

static void note_pull(struct story *story, struct text octets, const struct trace_line *line)
{
	struct pull pull = { .octets = octets, .first = UINT64_MAX };

	trace_runs_bounds(get(line, "pulled"), &pull.first, &pull.last);
	trace_runs_bounds(get(line, "removed"), &pull.first, &pull.last);
	if (pull.first > pull.last)
		return;
	pull.user = text_copy(story->arena, get(line, "user"));
	buf_add(&story->pulls, (struct text){ .ptr = (const char *)&pull, .len = sizeof(pull) });
}

static void note_line(struct story *story, struct text octets)
{
	struct trace_line line;

	arena_empty(story->scratch);
	if (!trace_line_parse(story->scratch, octets, &line))
		return;
	const struct text id = get(&line, "id");
	if (id.len == 0) {
		if (text_equal(get(&line, "role"), TEXT("pop3d")))
			note_pull(story, octets, &line);
		return;
	}
	const struct record record = { .octets = octets,
		.id = text_copy(story->arena, id),
		.at = story->lines++,
		.concerns = concerns(story, &line) };
	buf_add(&story->records,
		(struct text){ .ptr = (const char *)&record, .len = sizeof(record) });
}

static int compare_records(const void *left, const void *right)
{
	const struct record *a = left, *b = right;
	const int order = text_compare(a->id, b->id);

	return order ? order : a->at < b->at ? -1 : a->at > b->at;
}

static int compare_messages(const void *left, const void *right)
{
	const struct message *a = left, *b = right;

	return a->records->at < b->records->at ? -1 : a->records->at > b->records->at;
}

/* The messages that are wanted (struct message each), in the order of their first lines. */
static void find_messages(struct story *story, struct buf *messages)
{
	struct record *records = (void *)buf_text(&story->records).ptr;
	const size_t count = buf_length(&story->records) / sizeof(*records);
	size_t next;

	if (count)
		qsort(records, count, sizeof(*records), compare_records);
	for (size_t i = 0; i < count; i = next) {
		bool concerned = false;
		for (next = i; next < count && text_equal(records[next].id, records[i].id); next++)
			concerned |= records[next].concerns;
		const struct message message = { .records = &records[i], .count = next - i };
		if (concerned)
			buf_add(messages, (struct text){ .ptr = (const char *)&message,
						  .len = sizeof(message) });
	}
	struct message *found = (void *)buf_text(messages).ptr;
	if (buf_length(messages))
		qsort(found, buf_length(messages) / sizeof(*found), sizeof(*found),
			compare_messages);
}

size_t trace_tell(struct buf *out, struct text log, struct text wanted, size_t *left_out)
{
	struct story story = {
		.out = out, .wanted = wanted, .arena = arena_new(4096), .scratch = arena_new(4096)
	};
	struct text rest = log, octets;
	struct buf messages = { 0 };

	while (rest.len && text_split(&rest, '\n', &octets))
		note_line(&story, octets);
	find_messages(&story, &messages);
	const struct message *list = (const void *)buf_text(&messages).ptr;
	const size_t count = buf_length(&messages) / sizeof(*list);
	*left_out = count > MESSAGES_LIMIT ? count - MESSAGES_LIMIT : 0;
	for (size_t i = *left_out; i < count; i++)
		tell_message(&story, &list[i]);
	buf_release(&messages);
	buf_release(&story.records);
	buf_release(&story.pulls);
	arena_free(&story.arena);
	arena_free(&story.scratch);
	return count - *left_out;
}
