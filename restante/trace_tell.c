#include "restante/trace_tell.h"

#include "base/arena.h"
#include "base/mem.h"
#include "restante/terminal.h"
#include "restante/trace_line.h"

enum { MESSAGES_LIMIT = 1000, STORED_LIMIT = 16 };

/* In the order in which they are told; those of one stage in the order of the log. */
enum stage { STAGE_RECEIVED, STAGE_DELIVERED, STAGES };

/* A line that may matter. */
struct record {
	struct text octets;
	struct text id; /* "": a session of pop3d */
};

struct story {
	struct buf *out;
	struct text wanted;
	struct record *records;
	size_t record_count, record_room;
	struct text ids[MESSAGES_LIMIT];
	size_t count;
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
	add_if(out, ", logged in as ", get(line, "login"), "");
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
	add_if(out, ", by line ", get(line, "filter"), " of the filter");
	if (!text_equal(event, TEXT("delivered")))
		add_answer(out, line, "verdict");
	buf_add_char(out, '\n');
}

/* "user/mailbox:uid" into its parts. */
static bool split_stored(struct text stored, struct text *user, struct text *mailbox, uint64_t *uid)
{
	const ptrdiff_t slash = text_find(stored, '/'), colon = text_find_last(stored, ':');

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
	struct text user, mailbox;
	struct trace_line line;
	uint64_t uid;

	if (!split_stored(stored, &user, &mailbox, &uid))
		return;
	for (size_t i = 0; i < story->record_count; i++) {
		const struct record *record = &story->records[i];
		arena_empty(story->scratch);
		if (record->id.len == 0 &&
			trace_line_parse(story->scratch, record->octets, &line) &&
			text_equal_nocase(get(&line, "user"), user))
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

static void tell_message(struct story *story, struct text id)
{
	struct text places[STORED_LIMIT];
	struct trace_line line;
	size_t count = 0;

	buf_add_string(story->out, "message ");
	terminal_add(story->out, id);
	buf_add_char(story->out, '\n');
	for (enum stage stage = STAGE_RECEIVED; stage < STAGES; stage++) {
		for (size_t i = 0; i < story->record_count; i++) {
			const struct record *record = &story->records[i];
			arena_empty(story->scratch);
			if (!text_equal(record->id, id) ||
				!trace_line_parse(story->scratch, record->octets, &line))
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

static void note_message(struct story *story, struct text id)
{
	for (size_t i = story->count; i > 0; i--) {
		if (text_equal(story->ids[i - 1], id))
			return;
	}
	if (story->count < MESSAGES_LIMIT)
		story->ids[story->count++] = id;
}

static void note_line(struct story *story, struct text octets)
{
	struct trace_line line;

	arena_empty(story->scratch);
	if (!trace_line_parse(story->scratch, octets, &line))
		return;
	const struct text id = get(&line, "id");
	if (id.len == 0 && !text_equal(get(&line, "role"), TEXT("pop3d")))
		return;
	if (story->record_count == story->record_room) {
		story->record_room = story->record_room ? 2 * story->record_room : 1024;
		story->records =
			mem_resize(story->records, story->record_room * sizeof(*story->records));
	}
	struct record *record = &story->records[story->record_count++];
	*record = (struct record){ .octets = octets, .id = text_copy(story->arena, id) };
	if (id.len && concerns(story, &line))
		note_message(story, record->id);
}

size_t trace_tell(struct buf *out, struct text log, struct text wanted)
{
	struct story *story = mem_new(sizeof(*story));
	struct text rest = log, octets;

	story->out = out;
	story->wanted = wanted;
	story->arena = arena_new(4096);
	story->scratch = arena_new(4096);
	while (rest.len && text_split(&rest, '\n', &octets))
		note_line(story, octets);
	for (size_t i = 0; i < story->count; i++)
		tell_message(story, story->ids[i]);
	const size_t count = story->count;
	arena_free(&story->arena);
	arena_free(&story->scratch);
	mem_free(story->records);
	mem_free(story);
	return count;
}
