#include "mda/have.h"

#include <inttypes.h>

#include "base/arena.h"
#include "mail/xtext.h"
#include "mda/session.h"
#include "mda/store_link.h"
#include "mda/verdict.h"
#include "store/client.h"

/* One XHAVE that the store is asked about; in the transaction's arena. */
struct session_have {
	struct session *session;
	size_t keys, pending; /* pending: users not yet answered for */
	enum store_failure failure;
	int64_t times[HAVE_KEYS_LIMIT];
};

static void reply(struct session *session, const struct session_have *have)
{
	struct buf words = { 0 };

	if (have->failure != STORE_OK) {
		const struct reply refusal = verdict_reply(have->failure);
		session_reply(session, &refusal);
		return;
	}
	for (size_t i = 0; i < have->keys; i++) {
		if (have->times[i] < 0)
			buf_format(&words, "%s-", i ? " " : "");
		else
			buf_format(&words, "%s%" PRId64, i ? " " : "", have->times[i]);
	}
	session_reply(session,
		&(struct reply){ .code = 250, .enhanced = { 2, 0, 0 }, .text = buf_text(&words) });
	buf_release(&words);
}

static void take_times(struct session_have *have, struct text times)
{
	struct message_reader reader = { .at = times.ptr, .left = times.len };

	for (size_t i = 0; i < have->keys; i++) {
		const int64_t time = message_get_i64(&reader, 0);
		if (time < 0 || have->times[i] < 0)
			have->times[i] = -1;
		else if (time > have->times[i])
			have->times[i] = time;
	}
	if (reader.bad || reader.left)
		have->failure = STORE_INVALID;
}

static void on_once(void *owner, struct store_reply *answer)
{
	struct session_have *have = owner;
	struct session *session = have->session;

	if (answer->failure != STORE_OK)
		have->failure = answer->failure;
	else
		take_times(have, answer->of.once.times);
	if (--have->pending)
		return;
	session->mail->have = NULL;
	reply(session, have);
	conn_release(session->conn);
	conn_again(session->conn);
}

/* The keys as the store takes them; their number, 0 when something is wrong with them. */
static size_t read_keys(struct text argument, struct buf *keys)
{
	struct buf octets = { 0 };
	struct text word;
	size_t count = 0;
	bool good = true;

	while (good && text_split(&argument, ' ', &word)) {
		buf_clear(&octets);
		good = count++ < HAVE_KEYS_LIMIT && xtext_decode(word, &octets) &&
		       buf_length(&octets) && buf_length(&octets) <= STORE_ONCE_LIMIT;
		if (good)
			store_once_key_pack(
				keys, &(struct store_once_key){ .key = buf_text(&octets) });
	}
	buf_release(&octets);
	return good ? count : 0;
}

/* Ask for every user that the transaction leads to. The number of them. */
static size_t ask(struct session_have *have, struct store_client *client, struct text keys)
{
	struct plan_target *targets;
	const size_t count = plan_targets(&have->session->mail->plan, false, &targets);
	struct text before = TEXT("");
	size_t asked = 0;

	/* By user: each one stands in a row. */
	for (size_t i = 0; i < count; i++) {
		if (text_equal(targets[i].keep->user, before))
			continue;
		before = targets[i].keep->user;
		asked++;
		store_client_once(client, &(struct store_once){ .user = before, .keys = keys },
			on_once, have);
	}
	return asked;
}

void have_run(struct session *session, struct text argument)
{
	struct session_mail *mail = session->mail;
	struct store_client *client = store_link_client(session->worker->link);
	struct session_have *have = arena_take(mail->arena, sizeof(*have));
	struct buf keys = { 0 };

	have->session = session;
	have->keys = read_keys(argument, &keys);
	if (have->keys == 0) {
		session_fault(session, &REPLY(501, 5, 5, 4, "XHAVE wants up to 16 keys as xtext"));
	} else if (!client) {
		have->failure = STORE_AWAY;
		reply(session, have);
	} else if ((have->pending = ask(have, client, buf_text(&keys))) == 0) {
		/* Nothing of it would be kept: there is nothing that could count. */
		for (size_t i = 0; i < have->keys; i++)
			have->times[i] = -1;
		reply(session, have);
	} else {
		mail->have = have;
		conn_hold(session->conn);
	}
	buf_release(&keys);
}

void have_forget(struct session *session)
{
	struct store_client *client = store_link_client(session->worker->link);

	if (session->mail->have && client)
		store_client_forget(client, session->mail->have);
	session->mail->have = NULL;
}
