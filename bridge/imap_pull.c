/*
 * One folder: which UIDs are there, which of them are not here, fetch those, delete what may go.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "base/log.h"
#include "base/mem.h"
#include "bridge/imap.h"

enum {
	/*
	 * The store forgets a key that nobody asks for, after a day at the earliest; of what stays there each
	 * one is asked for within this time.
	 */
	WHOLE_SECONDS = REFUSED_SECONDS / 2,
	SEARCH_SECONDS = 300,
	SEARCH_OCTETS = 7 << 20, /* libetpan keeps a line in memory, and no more of it than that */
};

struct pull {
	struct imap *imap;
	struct imap_folder *folder;
	uint32_t uids[SESSION_CHUNK]; /* of the chunk */
	struct once_key keys[SESSION_CHUNK];
	int64_t when[SESSION_CHUNK];
	struct imap_message messages[SESSION_CHUNK]; /* those of the chunk that are not here */
	size_t missing;
	struct imap_staying staying;  /* of the chunk */
	uint32_t gone[SESSION_CHUNK]; /* to delete there */
	size_t gone_count;
	uint64_t octets; /* of what a test found missing */
	uint64_t found;
};

/* ---- SELECT ---- */

/* One that the server does not open, as that of somebody else, keeps nothing from the others. */
static void say_closed(struct imap *imap, const struct imap_folder *folder)
{
	session_notice(imap->session, REPORT_NOTICE_FOLDERS,
		"folder %.150s cannot be opened; the server says: %s", folder->name,
		fault_quote(imap->etpan->imap_response).string);
}

static int open_folder(struct imap *imap, struct imap_folder *folder)
{
	const struct bridge_account *account = imap->session->options.account;
	const bool deletes = !account->keep || account->delete_after;
	const bool tests = imap->session->options.purpose == SESSION_TEST;

	imap_expect(imap, IMAP_COMMAND_SECONDS, IMAP_COMMAND_OCTETS);
	const int result = deletes && !tests ? mailimap_select(imap->etpan, folder->remote)
					     : mailimap_examine(imap->etpan, folder->remote);
	folder->closed = result == MAILIMAP_ERROR_SELECT || result == MAILIMAP_ERROR_EXAMINE;
	if (folder->closed && session_check(imap->session) == 0) {
		say_closed(imap, folder);
		return 0;
	}
	if (imap_result(imap, result, "a folder cannot be opened") != 0)
		return -1;
	const struct mailimap_selection_info *info = imap->etpan->imap_selection_info;
	if (!info || info->sel_uidvalidity == 0)
		return fault_set(&imap->session->fault, FAULT_SERVER,
			"folder %s has no UIDVALIDITY, without which nothing is pulled once",
			folder->name);
	imap->exists = info->sel_exists;
	if (folder->uidvalidity && folder->uidvalidity != info->sel_uidvalidity) {
		session_notice(imap->session, REPORT_NOTICE_ANEW,
			"the server made folder %s anew (UIDVALIDITY %u, before %u): all of it is "
			"pulled again",
			folder->name, info->sel_uidvalidity, folder->uidvalidity);
		folder->next = 1;
		folder->staying = (struct imap_staying){ 0 };
	}
	folder->uidvalidity = info->sel_uidvalidity;
	return 0;
}

/* ---- UID SEARCH ---- */

static int by_uid(const void *a, const void *b)
{
	const uint32_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

/* Ascending UIDs of at least `from`, each once; on the heap. Takes key. */
static int search(struct imap *imap, struct mailimap_search_key *key, uint64_t from,
	uint32_t **uids, size_t *count)
{
	clist *found = NULL;
	size_t used = 0;

	*uids = NULL;
	*count = 0;
	imap_expect(imap, SEARCH_SECONDS, SEARCH_OCTETS);
	const int result = imap_result(imap, mailimap_uid_search(imap->etpan, NULL, key, &found),
		"the messages are not listed");
	mailimap_search_key_free(key);
	if (result != 0)
		return -1;
	*uids = mem_array((size_t)clist_count(found) + 1, sizeof(**uids));
	for (clistiter *at = clist_begin(found); at; at = clist_next(at)) {
		const uint32_t *uid = clist_content(at);
		if (*uid >= from && *uid)
			(*uids)[used++] = *uid;
	}
	mailimap_search_result_free(found);
	qsort(*uids, used, sizeof(**uids), by_uid);
	for (size_t i = 0; i < used; i++) {
		if (*count == 0 || (*uids)[i] != (*uids)[*count - 1])
			(*uids)[(*count)++] = (*uids)[i];
	}
	return 0;
}

/* ---- deleting there ---- */

/* 0; 1: the server refuses, which is told and keeps nothing else from being pulled; -1: fault. */
static int deletion_result(struct imap *imap, int result)
{
	if ((result != MAILIMAP_ERROR_UID_STORE && result != MAILIMAP_ERROR_EXPUNGE) ||
		session_check(imap->session) != 0)
		return imap_result(imap, result, "messages cannot be deleted there");
	session_notice(imap->session, REPORT_NOTICE_MARKED,
		"what is here of folder %.150s cannot be deleted there; the server says: %s",
		imap->session->folder, fault_quote(imap->etpan->imap_response).string);
	return 1;
}

static int expunge(struct imap *imap, struct mailimap_set *set)
{
	imap_expect(imap, IMAP_COMMAND_SECONDS, IMAP_COMMAND_OCTETS);
	if (imap->capabilities & IMAP_UIDPLUS)
		return deletion_result(imap, mailimap_uid_expunge(imap->etpan, set));
	/*
	 * Without UIDPLUS, EXPUNGE would take what somebody else has marked, too; marked they are, and
	 * any mail program's next EXPUNGE takes them.
	 */
	session_notice(imap->session, REPORT_NOTICE_MARKED,
		"the server has no UIDPLUS: what is here is marked as deleted there, and goes with "
		"any mail program's next EXPUNGE");
	return 0;
}

static int delete_there(struct imap *imap, const uint32_t *uids, size_t count)
{
	struct mailimap_flag_list *flags = mailimap_flag_list_new_empty();
	struct mailimap_flag *deleted = mailimap_flag_new_deleted();

	if (!flags || !deleted || mailimap_flag_list_add(flags, deleted) != MAILIMAP_NO_ERROR)
		LOG_FATAL("out-of-memory", LOG_STRING("what", "IMAP"));
	struct mailimap_store_att_flags *store =
		mailimap_store_att_flags_new_add_flags_silent(flags);
	struct mailimap_set *set = imap_set(uids, count);
	imap_expect(imap, IMAP_COMMAND_SECONDS, IMAP_COMMAND_OCTETS);
	int result = deletion_result(imap, mailimap_uid_store(imap->etpan, set, store));
	if (result == 0)
		result = expunge(imap, set);
	mailimap_store_att_flags_free(store);
	mailimap_set_free(set);
	if (result == 0 && imap->capabilities & IMAP_UIDPLUS)
		imap->session->report.deleted += count;
	return result < 0 ? -1 : 0;
}

/* Only after the verdict, or after the store said that it is here. */
static void may_go(struct pull *pull, uint32_t uid)
{
	if (!pull->imap->session->options.account->keep)
		pull->gone[pull->gone_count++] = uid;
}

static int delete_gone(struct pull *pull)
{
	if (pull->gone_count == 0)
		return 0;
	qsort(pull->gone, pull->gone_count, sizeof(pull->gone[0]), by_uid);
	return delete_there(pull->imap, pull->gone, pull->gone_count);
}

/* ---- what is not here and stays there ---- */

static void add_staying(struct imap_staying *staying, const struct imap_staying *more)
{
	if (more->count == 0)
		return;
	staying->count += more->count;
	if (staying->first == 0 || more->first < staying->first)
		staying->first = more->first;
	if (staying->again == 0 || more->again < staying->again)
		staying->again = more->again;
}

static void leave_there(struct pull *pull, uint32_t uid)
{
	add_staying(&pull->staying,
		&(struct imap_staying){
			.count = 1, .first = uid, .again = time(NULL) + REFUSED_SECONDS });
}

/*
 * The first UID to look at; what stays is looked at again when its time has come, and so is everything. A
 * clock that was set back is no reason to wait for years.
 */
static uint64_t look_from(const struct imap_folder *folder, bool keep, int64_t now)
{
	const struct imap_staying *staying = &folder->staying;
	const int64_t left = staying->again - now, since = now - folder->looked;

	if (!keep || folder->next == 0 || since < 0 || since >= WHOLE_SECONDS)
		return 1;
	if (staying->first && staying->first < folder->next &&
		(left <= 0 || left > REFUSED_SECONDS))
		return staying->first;
	return folder->next;
}

/* ---- a chunk ---- */

static void on_settled(void *owner, uint64_t cookie, bool stored)
{
	struct pull *pull = owner;

	if (cookie >= pull->missing)
		return;
	pull->messages[cookie].settled = true;
	if (stored) {
		may_go(pull, pull->messages[cookie].uid);
		return;
	}
	session_refused(pull->imap->session, &pull->messages[cookie].key);
	leave_there(pull, pull->messages[cookie].uid);
}

/* Which are not here, in pull->messages. */
static int find_missing(struct pull *pull, size_t count)
{
	struct session *session = pull->imap->session;

	for (size_t i = 0; i < count; i++)
		pull->keys[i] = once_imap(session->options.account, pull->folder->remote,
			pull->folder->uidvalidity, pull->uids[i]);
	if (session_known(session, pull->keys, count, pull->when) != 0)
		return -1;
	for (size_t i = 0; i < count; i++) {
		if (pull->when[i] >= 0) {
			session->report.known++;
			session->report.done++;
			may_go(pull, pull->uids[i]);
			continue;
		}
		pull->messages[pull->missing++] =
			(struct imap_message){ .uid = pull->uids[i], .key = pull->keys[i] };
	}
	return 0;
}

static int by_message_uid(const void *uid, const void *message)
{
	return by_uid(uid, &((const struct imap_message *)message)->uid);
}

/*
 * Of some the server said nothing, or no size. It is asked whether they are there at all: one that has gone
 * is done with, one that has not is not.
 */
static int judge_untold(struct pull *pull)
{
	uint32_t untold[SESSION_CHUNK], *there;
	size_t count = 0, found;

	for (size_t i = 0; i < pull->missing; i++) {
		if (!pull->messages[i].told)
			untold[count++] = pull->messages[i].uid;
	}
	if (count == 0)
		return 0;
	struct mailimap_search_key *key = mailimap_search_key_new_uid(imap_set(untold, count));
	if (!key)
		LOG_FATAL("out-of-memory", LOG_STRING("what", "IMAP"));
	if (search(pull->imap, key, 1, &there, &found) != 0)
		return -1;
	for (size_t i = 0; i < found; i++) {
		const struct imap_message *message = bsearch(&there[i], pull->messages,
			pull->missing, sizeof(*pull->messages), by_message_uid);
		if (!message || message->told)
			continue;
		session_stays(pull->imap->session,
			"the server lists UID %u of folder %s and does not tell its size",
			message->uid, pull->folder->name);
		leave_there(pull, message->uid);
	}
	mem_free(there);
	return 0;
}

/* Those that nothing was told of or that are too large are taken out. */
static void drop_unwanted(struct pull *pull)
{
	struct session *session = pull->imap->session;
	size_t kept = 0;

	for (size_t i = 0; i < pull->missing; i++) {
		const struct imap_message *message = &pull->messages[i];
		if (!message->told)
			session->report.done++;
		else if (session_too_large(session, message->size) ||
			 session_was_refused(session, &message->key))
			leave_there(pull, message->uid);
		else
			pull->messages[kept++] = *message;
	}
	pull->missing = kept;
}

/* A server may list a message and yet not give it; without an error, that is no reason to end. */
static void note_not_given(struct pull *pull)
{
	struct session *session = pull->imap->session;

	for (size_t i = 0; i < pull->missing; i++) {
		if (pull->messages[i].settled)
			continue;
		session->report.done++;
		session_stays(session, "the server lists UID %u of folder %s and does not give it",
			pull->messages[i].uid, pull->folder->name);
		session_refused(session, &pull->messages[i].key);
		leave_there(pull, pull->messages[i].uid);
	}
}

static int pull_chunk(struct pull *pull, const uint32_t *uids, size_t count)
{
	struct imap *imap = pull->imap;
	struct session *session = imap->session;

	memcpy(pull->uids, uids, count * sizeof(*uids));
	pull->missing = pull->gone_count = 0;
	pull->staying = (struct imap_staying){ 0 };
	if (find_missing(pull, count) != 0)
		return -1;
	if (pull->missing && imap_fetch_envelopes(imap, pull->messages, pull->missing) != 0)
		return -1;
	if (session->options.purpose == SESSION_TEST) {
		for (size_t i = 0; i < pull->missing; i++)
			pull->octets += pull->messages[i].size;
		pull->found += pull->missing;
		return 0;
	}
	if (judge_untold(pull) != 0)
		return -1;
	drop_unwanted(pull);
	session->settled = on_settled;
	session->settled_owner = pull;
	int result = imap_fetch_messages(imap, pull->folder, pull->messages, pull->missing);
	/* What is under way is settled even when the server has gone. */
	if (lmtp_settle(session->lmtp) != 0 && result == 0)
		result = session_check(session);
	session->settled = NULL;
	if (result == 0)
		result = session_check(session);
	if (result != 0)
		return -1;
	note_not_given(pull);
	return delete_gone(pull);
}

/* ---- what is old enough to go ---- */

static int expire_chunk(struct pull *pull, const uint32_t *uids, size_t count)
{
	struct session *session = pull->imap->session;

	pull->gone_count = 0;
	for (size_t i = 0; i < count; i++)
		pull->keys[i] = once_imap(session->options.account, pull->folder->remote,
			pull->folder->uidvalidity, uids[i]);
	if (session_known(session, pull->keys, count, pull->when) != 0)
		return -1;
	for (size_t i = 0; i < count; i++) {
		if (pull->when[i] >= 0)
			pull->gone[pull->gone_count++] = uids[i];
	}
	return delete_gone(pull);
}

static int expire(struct pull *pull)
{
	struct imap *imap = pull->imap;
	const uint64_t age = imap->session->options.account->delete_after;
	const time_t before = time(NULL) - (time_t)age;
	struct tm tm;
	uint32_t *uids;
	size_t count;

	if (age == 0 || !gmtime_r(&before, &tm))
		return 0;
	struct mailimap_date *date =
		mailimap_date_new(tm.tm_mday, tm.tm_mon + 1, tm.tm_year + 1900);
	struct mailimap_search_key *key = date ? mailimap_search_key_new_before(date) : NULL;
	if (!key)
		LOG_FATAL("out-of-memory", LOG_STRING("what", "IMAP"));
	int result = search(imap, key, 1, &uids, &count);
	for (size_t i = 0; i < count && result == 0; i += SESSION_CHUNK)
		result = expire_chunk(
			pull, uids + i, count - i < SESSION_CHUNK ? count - i : SESSION_CHUNK);
	mem_free(uids);
	return result;
}

/* ---- the folder ---- */

static int pull_uids(struct pull *pull, const uint32_t *uids, size_t count)
{
	struct session *session = pull->imap->session;

	if (count > SESSION_MESSAGES_MOST)
		return fault_set(&session->fault, FAULT_SERVER,
			"folder %s has more messages than are pulled (%d)", pull->folder->name,
			SESSION_MESSAGES_MOST);
	session->report.total += count;
	for (size_t i = 0; i < count; i += SESSION_CHUNK) {
		const size_t length = count - i < SESSION_CHUNK ? count - i : SESSION_CHUNK;
		if (pull_chunk(pull, uids + i, length) != 0)
			return -1;
		if (session->options.purpose == SESSION_TEST)
			continue;
		add_staying(&pull->folder->staying, &pull->staying);
		pull->folder->next = (uint64_t)uids[i + length - 1] + 1;
		session_progress(session);
	}
	return 0;
}

static int pull_new(struct pull *pull)
{
	struct imap *imap = pull->imap;
	struct session *session = imap->session;
	const int64_t now = time(NULL);
	const uint64_t from = look_from(pull->folder, session->options.account->keep, now);
	uint32_t *uids;
	size_t count;

	if (imap->exists == 0)
		pull->folder->staying = (struct imap_staying){ 0 };
	if (imap->exists == 0 || from > UINT32_MAX)
		return 0;
	/* All of them are looked at again, if not now then by the session after. */
	if (from <= pull->folder->staying.first) {
		pull->folder->staying = (struct imap_staying){ 0 };
		pull->folder->next = from;
	}
	struct mailimap_set *set = mailimap_set_new_interval((uint32_t)from, 0);
	struct mailimap_search_key *key = set ? mailimap_search_key_new_uid(set) : NULL;
	if (!key)
		LOG_FATAL("out-of-memory", LOG_STRING("what", "IMAP"));
	int result = search(imap, key, from, &uids, &count);
	if (result == 0)
		result = pull_uids(pull, uids, count);
	if (result == 0 && from == 1)
		pull->folder->looked = now;
	if (result == 0 && session->options.purpose == SESSION_TEST)
		session_tell(session,
			"folder %s: %zu messages, of which %" PRIu64 " (%" PRIu64
			" octets) are not here yet; they would go to %s",
			pull->folder->name, count, pull->found, pull->octets, pull->folder->local);
	mem_free(uids);
	return result;
}

int imap_pull_folder(struct imap *imap, struct imap_folder *folder)
{
	struct pull *pull = mem_new(sizeof(*pull));
	struct session *session = imap->session;

	pull->imap = imap;
	pull->folder = folder;
	memcpy(session->folder, folder->name, strlen(folder->name) + 1);
	int result = open_folder(imap, folder);
	if (result == 0 && !folder->closed)
		result = pull_new(pull);
	if (result == 0 && !folder->closed && session->options.purpose != SESSION_TEST)
		result = expire(pull);
	mem_free(pull);
	return result;
}
