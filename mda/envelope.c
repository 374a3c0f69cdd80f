#include "base/arena.h"
#include "base/log.h"
#include "base/mem.h"
#include "mda/have.h"
#include "mda/parameters.h"
#include "mda/redirect.h"
#include "mda/session.h"
#include "mda/verdict.h"

enum {
	ARENA_BLOCK = 2048,
	ARENA_LIMIT = 2 << 20, /* what an envelope may take, refused recipients included */
};

void session_begin_mail(struct session *session, const struct session_sender *sender)
{
	struct session_mail *mail = mem_new(sizeof(*mail));

	mail->arena = arena_new(ARENA_BLOCK);
	mail->id = sender->id.string[0] ? sender->id : id_new();
	mail->sender.local = text_copy(mail->arena, sender->address.local);
	mail->sender.domain = text_copy(mail->arena, sender->address.domain);
	mail->size = sender->size;
	mail->utf8 = sender->utf8;
	mail->each = sender->each;
	mail->dsn = sender->dsn;
	mail->dsn.envelope_id = text_copy(mail->arena, sender->dsn.envelope_id);
	mail->date = sender->date;
	mail->last_answer = &mail->first_answer;
	mail->begun = session_now();
	plan_init(&mail->plan, mail->arena);
	session->mail = mail;
	session_set_timeout(session);
}

void session_drop_mail(struct session *session)
{
	struct session_mail *mail = session->mail;

	if (!mail)
		return;
	have_forget(session);
	resolve_forget(session->worker->resolve, mail->arena);
	body_release(&mail->body);
	arena_free(&mail->arena);
	mem_free(mail);
	session->mail = NULL;
}

/* ---- the queue of answers ---- */

static const struct reply no_room = { 452, { 4, 5, 3 },
	TEXT("too many recipients, send the rest in another message") };

static void answer(struct session *session, const struct session_answer *answer)
{
	const struct reply *refusal =
		answer->recipient ? plan_recipient_refusal(answer->recipient) : NULL;

	if (!answer->recipient) {
		session_fault(session, &answer->reply);
	} else if (refusal) {
		if (refusal->code >= 500)
			session->worker->counters.recipients_refused++;
		else
			session->worker->counters.recipients_deferred++;
		session_reply(session, refusal);
	} else if (!plan_has_room(&session->mail->plan, answer->recipient)) {
		session->worker->counters.recipients_deferred++;
		session_reply(session, &no_room);
	} else {
		plan_wish(session->mail->arena, answer->recipient, &answer->wish);
		plan_add(&session->mail->plan, answer->recipient);
		session_reply(session, &REPLY(250, 2, 1, 5, "recipient ok"));
	}
}

/* Say what can be said without overtaking anybody. */
static void answer_in_turn(struct session *session)
{
	struct session_mail *mail = session->mail;

	while (mail->first_answer && mail->first_answer->ready) {
		struct session_answer *first = mail->first_answer;
		mail->first_answer = first->next;
		if (!mail->first_answer)
			mail->last_answer = &mail->first_answer;
		mail->answers--;
		answer(session, first);
		if (session->phase == SESSION_ENDING)
			return;
	}
	if (session->held && mail->answers == 0) {
		session->held = false;
		conn_release(session->conn);
	}
}

static struct session_answer *queue_answer(struct session *session)
{
	struct session_mail *mail = session->mail;
	struct session_answer *answer = arena_take(mail->arena, sizeof(*answer));

	answer->session = session;
	*mail->last_answer = answer;
	mail->last_answer = &answer->next;
	mail->answers++;
	return answer;
}

static void on_resolved(void *owner, struct plan_recipient *recipient)
{
	struct session_answer *answer = owner;

	(void)recipient;
	answer->ready = true;
	answer_in_turn(answer->session);
}

static bool has_room(const struct session *session)
{
	const struct session_mail *mail = session->mail;

	return mail->plan.recipients + mail->answers <
	       session->worker->options.settings->recipients;
}

void session_add_recipient(
	struct session *session, const struct address *address, const struct parameters *parameters)
{
	struct session_mail *mail = session->mail;
	const bool room = has_room(session);

	/* Thousands of recipients that nobody has: no mail server does that. */
	if (arena_used(mail->arena) > ARENA_LIMIT) {
		session_end(session, &REPLY(421, 4, 7, 0, "too many recipients in one message"));
		return;
	}
	struct session_answer *answer = queue_answer(session);

	answer->recipient = plan_recipient_new(mail->arena, address);
	answer->recipient->dsn = parameters->dsn_recipient;
	answer->wish = parameters->wish;
	answer->ready = true;
	if (!room)
		plan_add_refuse(mail->arena, answer->recipient, &no_room);
	else
		answer->ready = redirect_recipient(session->worker->resolve, mail->arena,
			answer->recipient, mail->size, on_resolved, answer);
	answer_in_turn(session);
}

void session_refuse_recipient(struct session *session, const struct reply *reply)
{
	struct session_answer *answer = queue_answer(session);

	answer->reply = *reply;
	answer->ready = true;
	answer_in_turn(session);
}
