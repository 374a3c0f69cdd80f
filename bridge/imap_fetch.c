/*
 * Messages of a folder by UID FETCH. Small ones many at a time, in what libetpan keeps in memory as a
 * whole; a large one in slices, so that its size costs no memory.
 */
#include <string.h>
#include <time.h>

#include "base/log.h"
#include "bridge/imap.h"

enum {
	SMALL = 256 << 10,  /* octets of a message that is fetched whole */
	BATCH = 1 << 20,    /* octets of messages fetched together */
	SLICE = 256 << 10,  /* octets of a larger one at a time */
	ENVELOPE = 8 << 10, /* octets that flags and the like of one message may take */
	SLACK = 1 << 20,    /* what else a server may say meanwhile, and what it errs in sizes */
	SLOWEST = 1024,     /* octets a second that messages may come with */
	CRUMBS = 64,        /* slices of a message that may come short */
	REFUSALS = 8,       /* of messages asked for one by one, before the first that is given */
};

static void *needed(void *made)
{
	if (!made)
		LOG_FATAL("out-of-memory", LOG_STRING("what", "IMAP"));
	return made;
}

struct mailimap_set *imap_set(const uint32_t *uids, size_t count)
{
	struct mailimap_set *set = needed(mailimap_set_new_empty());

	for (size_t i = 0; i < count;) {
		size_t k = i + 1;
		while (k < count && uids[k] == uids[k - 1] + 1)
			k++;
		if (mailimap_set_add_interval(set, uids[i], uids[k - 1]) != MAILIMAP_NO_ERROR)
			needed(NULL);
		i = k;
	}
	return set;
}

static struct mailimap_fetch_type *wanted(struct mailimap_fetch_att *const *atts, size_t count)
{
	struct mailimap_fetch_type *type = needed(mailimap_fetch_type_new_fetch_att_list_empty());

	for (size_t i = 0; i < count; i++) {
		if (mailimap_fetch_type_new_fetch_att_list_add(type, needed(atts[i])) !=
			MAILIMAP_NO_ERROR)
			needed(NULL);
	}
	return type;
}

static const char cannot_fetch[] = "messages cannot be fetched";

/* 0; 1: the server refuses, and gives none of them; -1: fault. Takes type. */
static int try_fetch(struct imap *imap, const struct imap_message *messages, size_t count,
	struct mailimap_fetch_type *type, clist **result)
{
	uint32_t uids[SESSION_CHUNK];

	for (size_t i = 0; i < count; i++)
		uids[i] = messages[i].uid;
	struct mailimap_set *set = imap_set(uids, count);
	*result = NULL;
	const int got = mailimap_uid_fetch(imap->etpan, set, type, result);
	mailimap_set_free(set);
	mailimap_fetch_type_free(type);
	if (got == MAILIMAP_ERROR_UID_FETCH && session_check(imap->session) == 0)
		return 1;
	return imap_result(imap, got, cannot_fetch);
}

static int refused(struct imap *imap)
{
	return imap_result(imap, MAILIMAP_ERROR_UID_FETCH, cannot_fetch);
}

/* Takes type. */
static int fetch(struct imap *imap, const struct imap_message *messages, size_t count,
	struct mailimap_fetch_type *type, clist **result)
{
	const int got = try_fetch(imap, messages, count, type, result);

	return got > 0 ? refused(imap) : got;
}

/* ---- what a FETCH response says ---- */

static const struct mailimap_msg_att_static *find_static(
	const struct mailimap_msg_att *told, int type)
{
	for (clistiter *at = clist_begin(told->att_list); at; at = clist_next(at)) {
		const struct mailimap_msg_att_item *item = clist_content(at);
		if (item->att_type == MAILIMAP_MSG_ATT_ITEM_STATIC &&
			item->att_data.att_static->att_type == type)
			return item->att_data.att_static;
	}
	return NULL;
}

/* The message it is about, or NULL: one that was not asked for. */
static struct imap_message *message_of(
	const struct mailimap_msg_att *told, struct imap_message *messages, size_t count)
{
	const struct mailimap_msg_att_static *uid = find_static(told, MAILIMAP_MSG_ATT_UID);
	size_t low = 0, high = count;

	while (uid && low < high) {
		const size_t middle = low + (high - low) / 2;
		if (messages[middle].uid == uid->att_data.att_uid)
			return &messages[middle];
		if (messages[middle].uid < uid->att_data.att_uid)
			low = middle + 1;
		else
			high = middle;
	}
	return NULL;
}

/* Seconds since 1970, or 0 when it is no date. */
static int64_t seconds_of(const struct mailimap_date_time *date)
{
	struct tm tm = { .tm_year = date->dt_year - 1900,
		.tm_mon = date->dt_month - 1,
		.tm_mday = date->dt_day,
		.tm_hour = date->dt_hour,
		.tm_min = date->dt_min,
		.tm_sec = date->dt_sec };
	const int zone = date->dt_zone;

	if (date->dt_year < 1970 || date->dt_year > 9999 || date->dt_month < 1 ||
		date->dt_month > 12 || zone < -9999 || zone > 9999)
		return 0;
	return (int64_t)timegm(&tm) - (zone / 100 * 60 + zone % 100) * 60;
}

static void add_letter(struct imap_message *message, char letter)
{
	const size_t length = strlen(message->flags);

	if (!strchr(message->flags, letter) && length + 1 < sizeof(message->flags))
		message->flags[length] = letter;
}

/* An atom, as keywords are, that has no other meaning here. */
static void add_keyword(struct imap_message *message, const char *keyword)
{
	const size_t used = strlen(message->keywords), length = strlen(keyword);

	if (strcasecmp(keyword, "$Forwarded") == 0) {
		add_letter(message, 'P');
		return;
	}
	if (length == 0 || length > 64 || used + length + 2 > sizeof(message->keywords) ||
		strpbrk(keyword, " (){%*\"\\]"))
		return;
	for (size_t i = 0; i < length; i++) {
		if ((unsigned char)keyword[i] < 0x21 || (unsigned char)keyword[i] > 0x7e)
			return;
	}
	if (used)
		message->keywords[used] = ' ';
	memcpy(message->keywords + used + (used != 0), keyword, length);
}

static void add_flag(struct imap_message *message, const struct mailimap_flag *flag)
{
	switch (flag->fl_type) {
	case MAILIMAP_FLAG_ANSWERED:
		add_letter(message, 'R');
		break;
	case MAILIMAP_FLAG_FLAGGED:
		add_letter(message, 'F');
		break;
	case MAILIMAP_FLAG_DELETED:
		add_letter(message, 'T');
		break;
	case MAILIMAP_FLAG_SEEN:
		add_letter(message, 'S');
		break;
	case MAILIMAP_FLAG_DRAFT:
		add_letter(message, 'D');
		break;
	case MAILIMAP_FLAG_KEYWORD:
		add_keyword(message, flag->fl_data.fl_keyword);
		break;
	default: /* \Recent and extensions: the server's own affair */
		break;
	}
}

/* What is told last holds. */
static void take_flags(struct imap_message *message, const struct mailimap_msg_att *told)
{
	for (clistiter *at = clist_begin(told->att_list); at; at = clist_next(at)) {
		const struct mailimap_msg_att_item *item = clist_content(at);
		if (item->att_type != MAILIMAP_MSG_ATT_ITEM_DYNAMIC ||
			!item->att_data.att_dyn->att_list)
			continue;
		memset(message->flags, 0, sizeof(message->flags));
		memset(message->keywords, 0, sizeof(message->keywords));
		for (clistiter *flag = clist_begin(item->att_data.att_dyn->att_list); flag;
			flag = clist_next(flag)) {
			const struct mailimap_flag_fetch *told_flag = clist_content(flag);
			if (told_flag->fl_type == MAILIMAP_FLAG_FETCH_OTHER && told_flag->fl_flag)
				add_flag(message, told_flag->fl_flag);
		}
	}
}

/* Perhaps in several pieces. */
static void take_envelope(struct imap_message *message, const struct mailimap_msg_att *told)
{
	const struct mailimap_msg_att_static *size =
		find_static(told, MAILIMAP_MSG_ATT_RFC822_SIZE);
	const struct mailimap_msg_att_static *date =
		find_static(told, MAILIMAP_MSG_ATT_INTERNALDATE);

	if (size) {
		message->told = true;
		message->size = size->att_data.att_rfc822_size;
	}
	if (date && date->att_data.att_internal_date)
		message->date = seconds_of(date->att_data.att_internal_date);
	take_flags(message, told);
}

int imap_fetch_envelopes(struct imap *imap, struct imap_message *messages, size_t count)
{
	struct mailimap_fetch_att *const atts[] = {
		mailimap_fetch_att_new_uid(),
		mailimap_fetch_att_new_flags(),
		mailimap_fetch_att_new_internaldate(),
		mailimap_fetch_att_new_rfc822_size(),
	};
	clist *result;

	imap_expect(imap, IMAP_COMMAND_SECONDS, SLACK + (uint64_t)count * ENVELOPE);
	if (fetch(imap, messages, count, wanted(atts, 4), &result) != 0)
		return -1;
	for (clistiter *at = clist_begin(result); at; at = clist_next(at)) {
		struct imap_message *message = message_of(clist_content(at), messages, count);
		if (message)
			take_envelope(message, clist_content(at));
	}
	mailimap_fetch_list_free(result);
	return 0;
}

/* ---- bodies ---- */

static struct lmtp_message envelope_of(
	const struct imap_folder *folder, const struct imap_message *message, size_t index)
{
	return (struct lmtp_message){
		.key = message->key,
		.sender = TEXT(""),
		.mailbox = folder->local,
		.flags = message->flags,
		.keywords = message->keywords,
		.date = message->date,
		.size = message->size,
		.cookie = index,
	};
}

/* The octets that a response brings for BODY[]; ptr NULL: none. */
static struct text body_of(const struct mailimap_msg_att *told)
{
	const struct mailimap_msg_att_static *body =
		find_static(told, MAILIMAP_MSG_ATT_BODY_SECTION);

	if (!body || !body->att_data.att_body_section->sec_body_part)
		return (struct text){ 0 };
	return (struct text){ .ptr = body->att_data.att_body_section->sec_body_part,
		.len = body->att_data.att_body_section->sec_length };
}

/* Messages that are fetched together. */
struct batch {
	struct imap *imap;
	const struct imap_folder *folder;
	struct imap_message *messages; /* of the chunk */
	size_t given;
};

static void expect_messages(struct imap *imap, const struct imap_message *messages, size_t count)
{
	uint64_t octets = 0;

	for (size_t i = 0; i < count; i++)
		octets += messages[i].size;
	imap_expect(imap, IMAP_COMMAND_SECONDS + (unsigned)(octets / SLOWEST),
		SLACK + octets + octets / 8 + (uint64_t)count * 512);
}

/* Messages that come stop being told: what is told again is given once. */
static int give_response(
	struct batch *batch, const struct mailimap_msg_att *told, size_t first, size_t count)
{
	struct imap_message *message = message_of(told, batch->messages + first, count);
	const struct text body = body_of(told);

	/* A server that has lost a message has been seen to give an empty one. */
	if (!message || !message->told || !body.ptr || (body.len == 0 && message->size))
		return 0;
	struct lmtp_message envelope =
		envelope_of(batch->folder, message, (size_t)(message - batch->messages));
	message->told = false;
	batch->given++;
	return session_give(batch->imap->session, &envelope, body);
}

/* 0; 1: the server refuses, and gives none of them; -1: fault. */
static int give_some(struct batch *batch, size_t first, size_t count)
{
	struct mailimap_fetch_att *const atts[] = {
		mailimap_fetch_att_new_uid(),
		mailimap_fetch_att_new_body_peek_section(needed(mailimap_section_new(NULL))),
	};
	clist *list;

	expect_messages(batch->imap, batch->messages + first, count);
	int result = try_fetch(batch->imap, batch->messages + first, count, wanted(atts, 2), &list);
	if (result != 0)
		return result;
	for (clistiter *at = clist_begin(list); at && result == 0; at = clist_next(at))
		result = give_response(batch, clist_content(at), first, count);
	mailimap_fetch_list_free(list);
	return result;
}

/*
 * A message that the server cannot read makes it refuse all that were asked for with it, or those behind it:
 * they are asked for one by one. It refuses them for itself when it gives others; else it gives nothing now.
 */
static int give_batch(struct batch *batch, size_t first, size_t count)
{
	unsigned refusals = 0;

	batch->given = 0;
	int result = give_some(batch, first, count);
	const bool refuses = result > 0;
	for (size_t i = first; i < first + count && count > 1 && result >= 0; i++) {
		if (!batch->messages[i].told)
			continue;
		result = give_some(batch, i, 1);
		refusals += batch->given == 0;
		if (refusals == REFUSALS)
			break;
	}
	if (result < 0)
		return -1;
	return refuses && batch->given == 0 ? refused(batch->imap) : 0;
}

/* A message that is on its way into this host, slice by slice. */
struct giving {
	struct imap *imap;
	struct imap_message *message;
	struct lmtp_message envelope;
	uint64_t offset;
	unsigned crumbs;
	bool begun;
};

enum slice { SLICE_FAULT = -1, SLICE_LAST, SLICE_MORE, SLICE_NONE };

/*
 * Whether more is to come behind a slice. RFC822.SIZE is but a promise, and a slice may come short: the end
 * is an empty one, or a short one where the promise is kept. No octets at all, not even none, are of a
 * message that is gone by now.
 */
static enum slice judge_slice(struct giving *giving, struct text body)
{
	struct fault *fault = &giving->imap->session->fault;
	const uint64_t promised = giving->message->size;
	const uint64_t end = giving->offset + body.len;

	if (!body.ptr)
		return giving->offset < promised ? SLICE_NONE : SLICE_LAST;
	if (body.len > SLICE)
		return fault_set(fault, FAULT_SERVER,
			"the server sends more of a message than was asked for");
	if (body.len == 0 || (body.len < SLICE && end >= promised))
		return SLICE_LAST;
	giving->crumbs += body.len < SLICE;
	if (giving->crumbs > CRUMBS || end > UINT32_MAX || end > promised + promised / 8 + SLACK)
		return fault_set(
			fault, FAULT_SERVER, "a message has no end where the server says it has");
	return SLICE_MORE;
}

/* SLICE_LAST also when this host does not want the rest. */
static enum slice give_octets(struct giving *giving, struct text body)
{
	struct lmtp *lmtp = giving->imap->session->lmtp;
	const enum slice slice = judge_slice(giving, body);

	if (slice == SLICE_FAULT || body.len == 0)
		return slice;
	if (!giving->begun) {
		giving->envelope.sender = session_sender(text_head(body, SESSION_HEAD));
		giving->begun = lmtp_begin(lmtp, &giving->envelope) > 0;
		if (!giving->begun)
			return SLICE_LAST;
	}
	giving->offset += body.len;
	lmtp_add(lmtp, body);
	return slice;
}

static enum slice give_slice(struct giving *giving)
{
	struct mailimap_fetch_att *const atts[] = {
		mailimap_fetch_att_new_uid(),
		mailimap_fetch_att_new_body_peek_section_partial(
			needed(mailimap_section_new(NULL)), (uint32_t)giving->offset, SLICE),
	};
	struct imap *imap = giving->imap;
	struct text body = { 0 };
	clist *list;

	imap_expect(imap, IMAP_COMMAND_SECONDS + SLICE / SLOWEST, SLACK + SLICE);
	if (fetch(imap, giving->message, 1, wanted(atts, 2), &list) != 0)
		return SLICE_FAULT;
	for (clistiter *at = clist_begin(list); at && !body.ptr; at = clist_next(at)) {
		if (message_of(clist_content(at), giving->message, 1))
			body = body_of(clist_content(at));
	}
	const enum slice slice = give_octets(giving, body);
	mailimap_fetch_list_free(list);
	return session_check(imap->session) != 0 ? SLICE_FAULT : slice;
}

static int give_large(struct imap *imap, const struct imap_folder *folder,
	struct imap_message *messages, size_t index)
{
	struct giving giving = { .imap = imap,
		.message = &messages[index],
		.envelope = envelope_of(folder, &messages[index], index) };
	struct session *session = imap->session;
	enum slice slice;

	do
		slice = give_slice(&giving);
	while (slice == SLICE_MORE);
	if (giving.begun && slice == SLICE_LAST)
		lmtp_end(session->lmtp);
	else if (giving.begun)
		lmtp_abandon(session->lmtp);
	return session_check(session);
}

/* How many from here on are fetched together; 0: the first is too large for that. */
static size_t batch_length(const struct imap_message *messages, size_t count)
{
	uint64_t octets = 0;
	size_t length = 0;

	while (length < count && messages[length].size <= SMALL &&
		octets + messages[length].size <= BATCH)
		octets += messages[length++].size;
	return length;
}

int imap_fetch_messages(struct imap *imap, const struct imap_folder *folder,
	struct imap_message *messages, size_t count)
{
	struct batch batch = { .imap = imap, .folder = folder, .messages = messages };
	int result = 0;

	for (size_t i = 0; i < count && result == 0;) {
		const size_t length = batch_length(messages + i, count - i);
		if (length)
			result = give_batch(&batch, i, length);
		else
			result = give_large(imap, folder, messages, i);
		i += length ? length : 1;
		session_progress(imap->session);
	}
	return result;
}
