#include "bridge/session.h"

#include <errno.h>
#include <inttypes.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/priv.h"
#include "base/sanitizer.h"
#include "mail/address.h"
#include "mail/header.h"

enum { REPORT_MILLISECONDS = 200 };

/* ---- what the session before has left: lines of refused.h, a reason, what the protocol keeps ---- */

static void add_hint(const struct session *session, struct buf *hint)
{
	refused_store(&session->refused, time(NULL), hint);
	if (session->why[0])
		buf_format(hint, "why %s\n", session->why);
	buf_add(hint, buf_text(&session->hint));
}

/* What is not understood here is the protocol's; it stands until that knows better. */
static void take_hint(struct session *session)
{
	struct text rest = session->options.hint, line;

	refused_load(&session->refused, rest);
	while (rest.len && text_split(&rest, '\n', &line)) {
		if (text_begins(line, TEXT("why ")))
			snprintf(session->why, sizeof(session->why), "%.*s",
				TEXT_ARG(text_from(line, 4)));
		else if (line.len && !text_begins(line, TEXT("refused ")) &&
			 buf_length(&session->hint) + line.len < SESSION_HINT)
			buf_format(&session->hint, "%.*s\n", TEXT_ARG(line));
	}
}

/* ---- what it tells ---- */

void session_say(struct session *session, enum report_state state)
{
	struct bridge_report *report = &session->report;
	struct buf out = { 0 }, hint = { 0 }, notices = { 0 };

	report->state = state;
	report->fault = session->fault.kind;
	report->folder = text_of(session->folder);
	if (state != REPORT_TOLD)
		report->sentence = text_of(session->fault.sentence);
	for (size_t kind = 0; kind < REPORT_NOTICES; kind++)
		buf_format(&notices, "%s\n", session->notices[kind]);
	report->notices = buf_text(&notices);
	if (state == REPORT_WAITING || state == REPORT_ENDED) {
		add_hint(session, &hint);
		report->hint = buf_text(&hint);
	}
	bridge_report_pack(&out, report);
	/* Whoever does not listen any more has closed, and that is seen where we wait. */
	send(session->options.report, buf_text(&out).ptr, buf_length(&out), MSG_NOSIGNAL);
	report->notices = report->hint = TEXT("");
	buf_release(&notices);
	buf_release(&hint);
	buf_release(&out);
	session->reported = stream_now();
}

void session_tell(struct session *session, const char *format, ...)
{
	char sentence[FAULT_SENTENCE + 1];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(sentence, sizeof(sentence), format, arguments);
	va_end(arguments);
	session->report.sentence = text_of(sentence);
	session_say(session, REPORT_TOLD);
}

/* One line, whatever names are in it. */
static void print_line(char *line, size_t size, const char *format, va_list arguments)
	__attribute__((format(printf, 3, 0)));

static void print_line(char *line, size_t size, const char *format, va_list arguments)
{
	vsnprintf(line, size, format, arguments);
	for (; *line; line++) {
		if ((unsigned char)*line < ' ')
			*line = '?';
	}
}

void session_notice(struct session *session, enum report_notice kind, const char *format, ...)
{
	char sentence[FAULT_SENTENCE + 1];
	va_list arguments;

	va_start(arguments, format);
	print_line(sentence, sizeof(sentence), format, arguments);
	va_end(arguments);
	if (strcmp(sentence, session->notices[kind]) == 0)
		return;
	memcpy(session->notices[kind], sentence, sizeof(sentence));
	if (session->options.purpose != SESSION_SERVE)
		session_tell(session, "%s", sentence);
}

void session_stays(struct session *session, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	print_line(session->why, sizeof(session->why), format, arguments);
	va_end(arguments);
	if (session->options.purpose != SESSION_SERVE)
		session_tell(session, "a message stays there: %s", session->why);
}

void session_say_staying(struct session *session, uint64_t count)
{
	if (count == 0)
		session->notices[REPORT_NOTICE_STAYS][0] = session->why[0] = '\0';
	else if (session->options.purpose == SESSION_SERVE)
		session_notice(session, REPORT_NOTICE_STAYS,
			"messages stay there (%" PRIu64
			"): %s; they are tried again after a day, now by restante bridge run %s",
			count, session->why[0] ? session->why : "this host refused them",
			session->options.account->name);
}

void session_progress(struct session *session)
{
	if (stream_now() - session->reported >= REPORT_MILLISECONDS)
		session_say(session, REPORT_PULLING);
}

int session_check(struct session *session)
{
	const struct fault *faults[] = { &session->stream.fault,
		session->lmtp ? lmtp_fault(session->lmtp) : &session->fault };

	for (size_t i = 0; i < 2; i++) {
		if (session->fault.kind == FAULT_NONE && faults[i]->kind != FAULT_NONE)
			session->fault = *faults[i];
	}
	return session->fault.kind == FAULT_NONE ? 0 : -1;
}

/* ---- messages ---- */

static void on_verdict(void *owner, const struct lmtp_verdict *verdict)
{
	struct session *session = owner;
	const bool stored = verdict->code < 300;

	if (stored) {
		session->report.pulled++;
		session->report.octets += verdict->octets;
	} else if (verdict->code < 500) {
		fault_set(&session->fault, verdict->code == 452 ? FAULT_FULL : FAULT_LOCAL,
			"this host puts mail off: %s", verdict->reply);
		return;
	} else {
		session->report.refused++;
		session_stays(session, "this host refused it: %s", verdict->reply);
	}
	session->report.done++;
	if (session->settled)
		session->settled(session->settled_owner, verdict->cookie, stored);
	session_progress(session);
}

bool session_too_large(struct session *session, uint64_t octets)
{
	const uint64_t here = session->lmtp ? lmtp_size_limit(session->lmtp) : 0;
	uint64_t limit = session->options.settings->message_size;

	if (here && here < limit)
		limit = here;
	if (octets <= limit)
		return false;
	session->report.refused++;
	session->report.done++;
	session_stays(session,
		"its %" PRIu64 " octets are larger than this host takes (%" PRIu64 ")", octets,
		limit);
	return true;
}

void session_refused(struct session *session, const struct once_key *key)
{
	refused_add(&session->refused, key, time(NULL));
}

bool session_was_refused(struct session *session, const struct once_key *key)
{
	if (!refused_has(&session->refused, key, time(NULL)))
		return false;
	session->report.done++;
	return true;
}

struct text session_sender(struct text head)
{
	struct header_field field;
	struct text path = TEXT("");

	/* Only the trace fields before anything else can be the server's own. */
	for (int i = 0; i < 3 && header_next(&head, &field) == 1; i++) {
		if (!text_equal_nocase(field.name, TEXT("Return-Path")))
			continue;
		struct text value = text_trim(field.value);
		if (value.len > 2 && value.ptr[0] == '<' && value.ptr[value.len - 1] == '>')
			path = text_head(text_from(value, 1), value.len - 2);
		break;
	}
	struct arena *arena = arena_new(1024);
	struct address address;
	const bool good = path.len && address_parse(arena, path, false, &address) == ADDRESS_OK &&
			  address.domain.len;
	arena_free(&arena);
	return good ? path : TEXT("");
}

int session_give(struct session *session, struct lmtp_message *message, struct text octets)
{
	struct lmtp *lmtp = session->lmtp;

	message->sender = session_sender(text_head(octets, SESSION_HEAD));
	const int begun = lmtp_begin(lmtp, message);
	if (begun > 0 && lmtp_add(lmtp, octets) == 0)
		lmtp_end(lmtp);
	return session_check(session);
}

int session_known(struct session *session, const struct once_key *keys, size_t count, int64_t *when)
{
	lmtp_known(session->lmtp, keys, count, when);
	return session_check(session);
}

/* ---- beginning ---- */

static int read_pin(const char *text, unsigned char pin[STREAM_PIN])
{
	for (size_t i = 0; i < STREAM_PIN; i++) {
		unsigned octet;
		if (sscanf(text + 2 * i, "%2x", &octet) != 1)
			return -1;
		pin[i] = (unsigned char)octet;
	}
	return 0;
}

/* What a server can make us take is this process's alone. */
static void limit_memory(uint64_t octets)
{
	const struct rlimit space = { .rlim_cur = octets, .rlim_max = octets };
	const struct rlimit none = { 0 };

	setrlimit(RLIMIT_CORE, &none);
	if (!BASE_ADDRESS_SANITIZER)
		setrlimit(RLIMIT_AS, &space);
}

static int confine(struct fault *fault)
{
	if (priv_confine(PRIV_BRIDGE, 0) == 0)
		return 0;
	return fault_set(fault, FAULT_LOCAL, "the sandbox cannot be closed: %s", log_errno(errno));
}

/* Everything that needs rights or files, in this order: each step gives up what the next can do without. */
static int prepare(struct session *session, struct ssl_ctx_st **tls,
	struct stream_address addresses[STREAM_ADDRESSES])
{
	const struct session_options *options = &session->options;
	const struct bridge_account *account = options->account;
	const bool in_clear = bridge_account_tls(account) == BRIDGE_TLS_NONE;
	const char *ca = account->ca_file[0] ? account->ca_file : options->settings->ca_file;
	struct fault *fault = &session->fault;

	if (secret_read(account, &session->secret, fault) != 0)
		return -1;
	*tls = in_clear ? NULL : stream_tls_new(ca, account->pin[0] != '\0', fault);
	if (!*tls && !in_clear)
		return -1;
	if (geteuid() == 0 && options->uid && priv_drop(options->uid, options->uid) != 0)
		return fault_set(
			fault, FAULT_LOCAL, "root cannot be given up: %s", log_errno(errno));
	const int count =
		stream_resolve(account->host, bridge_account_port(account), addresses, fault);
	if (count < 0 || confine(fault) != 0)
		return -1;
	return count;
}

void session_open_host(struct session *session)
{
	const struct session_options *options = &session->options;

	session->lmtp = lmtp_new(&(struct lmtp_options){
		.path = options->settings->hand_over,
		.hostname = options->hostname,
		.to = options->account->to,
		.watch = options->report,
		.verdict = on_verdict,
		.owner = session,
	});
}

static int serve(struct session *session, struct ssl_ctx_st *tls,
	const struct stream_address *addresses, int count)
{
	const struct session_options *options = &session->options;
	const struct bridge_account *account = options->account;
	unsigned char pin[STREAM_PIN];
	const bool pop3 = bridge_account_protocol(account) == BRIDGE_POP3;
	const bool pinned = account->pin[0] && read_pin(account->pin, pin) == 0;

	session_open_host(session);
	int result = stream_open(&session->stream,
		&(struct stream_options){ .host = account->host,
			.port = bridge_account_port(account),
			.patience = (unsigned)options->settings->patience,
			.watch = options->report,
			.tls = tls,
			.pin = pinned ? pin : NULL,
			.imap = !pop3 },
		addresses, count);
	if (result == 0)
		result = pop3 ? pop3_serve(session) : imap_serve(session);
	if (result != 0)
		session_check(session);
	stream_close(&session->stream);
	return result;
}

static int exit_status(enum fault_kind kind)
{
	switch (kind) {
	case FAULT_NONE:
	case FAULT_STOPPED:
		return EX_OK;
	case FAULT_SETTINGS:
		return EX_CONFIG;
	case FAULT_NETWORK:
	case FAULT_LOCAL:
	case FAULT_FULL:
		return EX_TEMPFAIL;
	case FAULT_TLS:
	case FAULT_SERVER:
		return EX_PROTOCOL;
	case FAULT_LOGIN:
		return EX_NOPERM;
	case FAULT_KINDS:
		break;
	}
	return EX_SOFTWARE;
}

int session_run(const struct session_options *options)
{
	const struct sigaction ignore = { .sa_handler = SIG_IGN };
	struct session *session = mem_new(sizeof(*session));
	struct stream_address addresses[STREAM_ADDRESSES];
	struct ssl_ctx_st *tls = NULL;

	session->options = *options;
	session->stream.fd = -1;
	session->report.folder = session->report.sentence = TEXT("");
	take_hint(session);
	/* A server that has gone is an error of a write, also in TLS, which takes no flag for that. */
	sigaction(SIGPIPE, &ignore, NULL);
	limit_memory(options->settings->memory);
	session_say(session, REPORT_CONNECTING);
	const int count = prepare(session, &tls, addresses);
	if (count >= 0)
		serve(session, tls, addresses, count);
	SSL_CTX_free(tls);
	session_say(session, REPORT_ENDED);
	const int status = exit_status(session->fault.kind);
	secret_forget(&session->secret);
	lmtp_free(&session->lmtp);
	buf_release(&session->hint);
	mem_free(session);
	return status;
}
