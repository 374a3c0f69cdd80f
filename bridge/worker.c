#include "bridge/worker.h"

#include <errno.h>
#include <event2/event.h>
#include <event2/event_struct.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "bridge/launcher.h"
#include "bridge/report.h"

enum {
	START_MILLISECONDS = 50,  /* between the first starts of accounts */
	BUSY_MILLISECONDS = 100,  /* until a launcher with too much to do is asked again */
	LAUNCH_SECONDS = 30,      /* within which it has to answer */
	FAILURES_BEHIND_PULL = 2, /* most that count when all was pulled before it broke */
	ANEW_SECONDS = 86400,     /* for which that is told */
	JITTER = 5,               /* one part in so many, to both sides */
};

struct account {
	struct worker *worker;
	const struct bridge_account *settings;
	int reports; /* -1: no process */
	bool asked;  /* the launcher is about to start it, and due is how long that may take */
	struct event readable, due;
	struct bridge_report last; /* without its texts */
	bool ended;                /* its last report has come */
	bool waited;               /* it pulled all there was, and waited for more */
	unsigned failures;         /* in a row */
	time_t pulled_at, next;
	uint64_t pulled, octets, known, refused, deleted; /* by processes before this one */
	/* Of the last session that ended with one; until it went well again. */
	enum fault_kind fault;
	char sentence[FAULT_SENTENCE + 1];
	struct {
		char *sentence; /* NULL: none */
		time_t since;
	} notices[REPORT_NOTICES];
	struct buf hint;
};

struct worker {
	struct worker_options options;
	struct account *accounts;
	struct event answers;
	bool stopping;
	char report[REPORT_LIMIT];
};

/* ---- when ---- */

/* More or less, so that accounts of one server do not all come at once. */
static int64_t jittered(int64_t milliseconds)
{
	uint32_t random = 0;

	if (getrandom(&random, sizeof(random), GRND_NONBLOCK) != sizeof(random))
		return milliseconds;
	const int64_t spread = milliseconds / JITTER;
	return milliseconds - spread + (spread ? (int64_t)random % (2 * spread) : 0);
}

static void schedule(struct account *account, int64_t milliseconds)
{
	const struct timeval delay = { .tv_sec = milliseconds / 1000,
		.tv_usec = milliseconds % 1000 * 1000 };

	if (account->worker->stopping)
		return;
	account->next = time(NULL) + milliseconds / 1000;
	event_add(&account->due, &delay);
}

static void on_due(evutil_socket_t fd, short what, void *argument)
{
	struct account *account = argument;
	struct worker *worker = account->worker;

	(void)fd, (void)what;
	if (account->asked) {
		LOG_ERROR("launcher-silent", LOG_STRING("account", account->settings->name));
		worker->options.lost(worker->options.owner);
		return;
	}
	const int asked = launcher_ask(worker->options.launcher,
		(uint32_t)(account - worker->accounts), buf_text(&account->hint));
	if (asked < 0) {
		worker->options.lost(worker->options.owner);
		return;
	}
	account->asked = asked > 0;
	schedule(account, account->asked ? LAUNCH_SECONDS * 1000 : BUSY_MILLISECONDS);
	account->next = 0;
}

/* ---- a session's end ---- */

static void add_counts(struct account *account)
{
	account->pulled += account->last.pulled;
	account->octets += account->last.octets;
	account->known += account->last.known;
	account->refused += account->last.refused;
	account->deleted += account->last.deleted;
	account->last = (struct bridge_report){ 0 };
}

static void log_end(const struct account *account, const char *event, int64_t pause)
{
	const struct bridge_report *last = &account->last;

	LOG_INFO(event, LOG_STRING("account", account->settings->name),
		LOG_NUMBER("pulled", last->pulled), LOG_NUMBER("octets", last->octets),
		LOG_NUMBER("known", last->known), LOG_NUMBER("refused", last->refused),
		LOG_NUMBER("deleted", last->deleted),
		LOG_STRING("fault", fault_kind_name(last->fault)),
		LOG_STRING("error", last->fault != FAULT_NONE ? account->sentence : ""),
		LOG_NUMBER("again-ms", pause));
}

static void take_end(struct account *account)
{
	int64_t pause;

	event_del(&account->readable);
	close(account->reports);
	account->reports = -1;
	if (!account->ended && !account->worker->stopping) {
		account->last.fault = FAULT_LOCAL;
		static const char died[] = "its process died";
		memcpy(account->sentence, died, sizeof(died));
	}
	const enum fault_kind fault = account->last.fault;
	if (fault == FAULT_NONE || fault == FAULT_STOPPED) {
		account->failures = 0;
		account->fault = FAULT_NONE;
		account->sentence[0] = '\0';
		if (fault == FAULT_NONE)
			account->pulled_at = time(NULL);
		pause = jittered((int64_t)account->settings->every * 1000);
	} else {
		/* What brought mail before it broke is no sign of trouble yet; what took long may be. */
		account->failures = account->last.pulled ? 1 : account->failures + 1;
		if (account->waited && account->failures > FAILURES_BEHIND_PULL)
			account->failures = FAILURES_BEHIND_PULL;
		account->fault = fault;
		pause = jittered((int64_t)fault_pause(fault, account->failures) * 1000);
	}
	log_end(account, account->fault == FAULT_NONE ? "account-pulled" : "account-failed", pause);
	add_counts(account);
	schedule(account, pause);
}

/* ---- reports ---- */

/* What a session says is a stranger's word: it may have been taken over. */
static void copy_sentence(char copy[FAULT_SENTENCE + 1], struct text sentence)
{
	if (sentence.len > FAULT_SENTENCE)
		sentence.len = FAULT_SENTENCE;
	for (size_t i = 0; i < sentence.len; i++)
		copy[i] = (unsigned char)sentence.ptr[i] < ' ' || sentence.ptr[i] == 127
				  ? '?'
				  : sentence.ptr[i];
	copy[sentence.len] = '\0';
}

static void drop_notice(struct account *account, size_t kind)
{
	mem_free(account->notices[kind].sentence);
	account->notices[kind].sentence = NULL;
}

static void keep_notice(struct account *account, size_t kind, struct text sentence)
{
	char *held = account->notices[kind].sentence;
	char copy[FAULT_SENTENCE + 1];

	copy_sentence(copy, sentence);
	if (held && strcmp(held, copy) == 0)
		return;
	LOG_WARNING("account-notice", LOG_STRING("account", account->settings->name),
		LOG_STRING("what", copy));
	drop_notice(account, kind);
	account->notices[kind].sentence = mem_copy(copy, strlen(copy));
	account->notices[kind].since = time(NULL);
}

/* A session that is not through yet has not looked at all that may be told. */
static bool is_over(const struct account *account, size_t kind, bool looked)
{
	return kind == REPORT_NOTICE_ANEW
		       ? time(NULL) - account->notices[kind].since >= ANEW_SECONDS
		       : looked;
}

static void take_notices(struct account *account, const struct bridge_report *report)
{
	const bool looked = report->state == REPORT_WAITING ||
			    (report->state == REPORT_ENDED && report->fault == FAULT_NONE);
	struct text rest = report->notices, line;

	for (size_t kind = 0; kind < REPORT_NOTICES; kind++) {
		if (!text_split(&rest, '\n', &line))
			line = TEXT("");
		if (line.len)
			keep_notice(account, kind, line);
		else if (account->notices[kind].sentence && is_over(account, kind, looked))
			drop_notice(account, kind);
	}
}

static void take_report(struct account *account, const struct bridge_report *report)
{
	/* The last error stands until it went well again, not until the next try. */
	if (report->sentence.len)
		copy_sentence(account->sentence, report->sentence);
	take_notices(account, report);
	if (report->hint.len) {
		buf_clear(&account->hint);
		buf_add(&account->hint, report->hint);
	}
	if (report->state == REPORT_WAITING) {
		account->pulled_at = time(NULL);
		account->fault = FAULT_NONE;
		account->sentence[0] = '\0';
		account->waited = true;
	}
	account->ended = report->state == REPORT_ENDED;
	account->last = *report;
	account->last.folder = account->last.sentence = TEXT("");
	account->last.notices = account->last.hint = TEXT("");
}

static void on_report(evutil_socket_t fd, short what, void *argument)
{
	struct account *account = argument;
	struct worker *worker = account->worker;
	struct bridge_report report;

	(void)what;
	const ssize_t got = recv(fd, worker->report, sizeof(worker->report), MSG_DONTWAIT);
	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	const struct text octets = { .ptr = worker->report, .len = got > 0 ? (size_t)got : 0 };
	if (got <= 0) {
		take_end(account);
	} else if (bridge_report_unpack(octets, &report) == 0) {
		take_report(account, &report);
	} else {
		LOG_ERROR("account-confused", LOG_STRING("account", account->settings->name));
		take_end(account);
	}
}

static void take_process(struct account *account, int reports)
{
	account->reports = reports;
	account->ended = account->waited = false;
	event_assign(&account->readable, account->worker->options.loop, reports,
		EV_READ | EV_PERSIST, on_report, account);
	event_add(&account->readable, NULL);
	if (account->worker->stopping)
		shutdown(reports, SHUT_WR);
}

static void take_refusal(struct account *account, int number)
{
	const int64_t pause =
		jittered((int64_t)fault_pause(FAULT_LOCAL, ++account->failures) * 1000);

	LOG_ERROR("account-not-started", LOG_STRING("account", account->settings->name),
		LOG_ERRNO(number), LOG_NUMBER("again-ms", pause));
	account->fault = FAULT_LOCAL;
	snprintf(account->sentence, sizeof(account->sentence), "its process cannot be started: %s",
		log_errno(number));
	schedule(account, pause);
}

static void on_answer(evutil_socket_t fd, short what, void *argument)
{
	struct worker *worker = argument;
	struct launcher_answer answer = { .reports = -1 };
	const int got = launcher_take(fd, &answer);

	(void)what;
	if (got == 0)
		return;
	if (got < 0 || answer.account >= worker->options.count ||
		!worker->accounts[answer.account].asked) {
		if (answer.reports >= 0)
			close(answer.reports);
		event_del(&worker->answers);
		worker->options.lost(worker->options.owner);
		return;
	}
	struct account *account = &worker->accounts[answer.account];
	account->asked = false;
	event_del(&account->due);
	if (answer.reports >= 0)
		take_process(account, answer.reports);
	else
		take_refusal(account, answer.number);
}

/* ---- all of them ---- */

struct worker *worker_new(const struct worker_options *options)
{
	struct worker *worker = mem_new(sizeof(*worker));

	worker->options = *options;
	worker->accounts = mem_array(options->count, sizeof(*worker->accounts));
	event_assign(&worker->answers, options->loop, options->launcher, EV_READ | EV_PERSIST,
		on_answer, worker);
	event_add(&worker->answers, NULL);
	for (size_t i = 0; i < options->count; i++) {
		struct account *account = &worker->accounts[i];
		account->worker = worker;
		account->settings = &options->accounts[i];
		account->reports = -1;
		evtimer_assign(&account->due, options->loop, on_due, account);
		if (account->settings->enabled)
			schedule(account, (int64_t)i * START_MILLISECONDS);
	}
	return worker;
}

void worker_free(struct worker **handle)
{
	struct worker *worker = *handle;

	*handle = NULL;
	if (!worker)
		return;
	event_del(&worker->answers);
	for (size_t i = 0; i < worker->options.count; i++) {
		struct account *account = &worker->accounts[i];
		event_del(&account->due);
		if (account->reports >= 0) {
			event_del(&account->readable);
			close(account->reports);
		}
		for (size_t kind = 0; kind < REPORT_NOTICES; kind++)
			drop_notice(account, kind);
		buf_release(&account->hint);
	}
	mem_free(worker->accounts);
	mem_free(worker);
}

void worker_stop(struct worker *worker)
{
	worker->stopping = true;
	for (size_t i = 0; i < worker->options.count; i++) {
		struct account *account = &worker->accounts[i];
		event_del(&account->due);
		account->next = 0;
		if (account->reports >= 0)
			shutdown(account->reports, SHUT_WR);
	}
}

bool worker_is_busy(const struct worker *worker)
{
	for (size_t i = 0; i < worker->options.count; i++) {
		if (worker->accounts[i].reports >= 0 || worker->accounts[i].asked)
			return true;
	}
	return false;
}

/* ---- status ---- */

static const char *state_of(const struct account *account)
{
	static const char *const names[] = {
		[REPORT_CONNECTING] = "connecting",
		[REPORT_PULLING] = "pulling",
		[REPORT_WAITING] = "waiting",
		[REPORT_TOLD] = "pulling",
		[REPORT_ENDED] = "ending",
	};

	if (!account->settings->enabled)
		return "off";
	if (account->reports < 0)
		return account->fault == FAULT_NONE ? "resting" : "failed";
	return names[account->last.state];
}

static void add_number(
	struct buf *out, const struct account *account, const char *name, uint64_t number)
{
	if (number)
		buf_format(out, "%s.%s=%" PRIu64 "\n", account->settings->name, name, number);
}

static void add_time(struct buf *out, const struct account *account, const char *name, time_t when)
{
	char string[40];
	struct tm tm;

	if (when && gmtime_r(&when, &tm) &&
		strftime(string, sizeof(string), "%Y-%m-%dT%H:%M:%SZ", &tm))
		buf_format(out, "%s.%s=%s\n", account->settings->name, name, string);
}

static void add_account(struct buf *out, const struct account *account)
{
	const struct bridge_report *last = &account->last;

	buf_format(out, "%s.state=%s\n", account->settings->name, state_of(account));
	add_time(out, account, "last-pull", account->pulled_at);
	add_number(out, account, "pulled", account->pulled + last->pulled);
	add_number(out, account, "octets", account->octets + last->octets);
	add_number(out, account, "known", account->known + last->known);
	add_number(out, account, "refused", account->refused + last->refused);
	add_number(out, account, "deleted", account->deleted + last->deleted);
	if (account->reports >= 0 && last->state == REPORT_PULLING) {
		add_number(out, account, "of", last->total);
		add_number(out, account, "done", last->done);
	}
	add_time(out, account, "next-try", account->next);
	if (account->sentence[0] && account->fault != FAULT_NONE)
		buf_format(out, "%s.error=%s\n", account->settings->name, account->sentence);
	for (size_t kind = 0; kind < REPORT_NOTICES; kind++) {
		if (account->notices[kind].sentence)
			buf_format(out, "%s.notice=%s\n", account->settings->name,
				account->notices[kind].sentence);
	}
}

void worker_count(const struct worker *worker, struct buf *out)
{
	buf_format(out, "accounts=%zu\n", worker->options.count);
	for (size_t i = 0; i < worker->options.count; i++)
		add_account(out, &worker->accounts[i]);
}
