#include "bridge/lmtp.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/ipc.h"
#include "base/log.h"
#include "base/mem.h"
#include "bridge/repair.h"
#include "bridge/stream.h"
#include "mail/reply.h"
#include "mail/wire.h"
#include "mail/xtext.h"

enum {
	PATIENCE_MILLISECONDS = 10 * 60 * 1000, /* RFC 5321 section 4.5.3.2.6 */
	READ_SIZE = 4096,
	LINE_LIMIT = 2048,
	PIECE = 64 << 10,   /* octets gathered before they are written */
	KEYS_A_LINE = 8,    /* of XHAVE */
	LINES_A_ROUND = 64, /* sent before answers are read: both sides have room for that */
};

/* One connection; at most one message is on it, from MAIL to its verdict. */
struct lane {
	int fd; /* -1: not connected */
	struct buf in, out;
	struct wire_lines lines;
	bool due; /* a verdict is */
	uint64_t cookie, octets;
};

struct lmtp {
	struct lmtp_options options;
	struct lane lanes[LMTP_LANES];
	unsigned next;       /* lane */
	struct lane *giving; /* a message is being given */
	struct repair repair;
	uint64_t size_limit;
	struct fault fault;
	struct {
		char line[LINE_LIMIT];
		struct reply reply;
	} heard;
};

struct lmtp *lmtp_new(const struct lmtp_options *options)
{
	struct lmtp *lmtp = mem_new(sizeof(*lmtp));

	lmtp->options = *options;
	for (size_t i = 0; i < LMTP_LANES; i++)
		lmtp->lanes[i].fd = -1;
	return lmtp;
}

static void lane_close(struct lane *lane)
{
	if (lane->fd >= 0)
		close(lane->fd);
	buf_release(&lane->in);
	buf_release(&lane->out);
	*lane = (struct lane){ .fd = -1 };
}

void lmtp_free(struct lmtp **handle)
{
	struct lmtp *lmtp = *handle;

	*handle = NULL;
	for (size_t i = 0; lmtp && i < LMTP_LANES; i++)
		lane_close(&lmtp->lanes[i]);
	mem_free(lmtp);
}

const struct fault *lmtp_fault(const struct lmtp *lmtp)
{
	return &lmtp->fault;
}

uint64_t lmtp_size_limit(const struct lmtp *lmtp)
{
	return lmtp->size_limit;
}

/* ---- octets ---- */

static int broken(struct lmtp *lmtp, const char *what)
{
	return fault_set(&lmtp->fault, FAULT_LOCAL, "this host's delivery agent %s", what);
}

static int await(struct lmtp *lmtp, const struct lane *lane, short events)
{
	const int ready = stream_poll(
		lane->fd, events, lmtp->options.watch, PATIENCE_MILLISECONDS, &lmtp->fault);

	return ready == 0 ? broken(lmtp, "does not answer") : ready < 0 ? -1 : 0;
}

static int flush(struct lmtp *lmtp, struct lane *lane)
{
	while (buf_length(&lane->out)) {
		const struct text out = buf_text(&lane->out);
		const ssize_t put = send(lane->fd, out.ptr, out.len, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (put > 0)
			buf_consume(&lane->out, (size_t)put);
		else if (put < 0 && errno != EAGAIN && errno != EINTR)
			return broken(lmtp, "went away");
		else if (await(lmtp, lane, POLLOUT) != 0)
			return -1;
	}
	return 0;
}

static int fill(struct lmtp *lmtp, struct lane *lane)
{
	for (;;) {
		char *room = buf_room(&lane->in, READ_SIZE);
		const ssize_t got = recv(lane->fd, room, READ_SIZE, MSG_DONTWAIT);
		if (got > 0) {
			buf_commit(&lane->in, (size_t)got);
			return 0;
		}
		if (got == 0 || (errno != EAGAIN && errno != EINTR))
			return broken(lmtp, "went away");
		if (await(lmtp, lane, POLLIN) != 0)
			return -1;
	}
}

/* One line of a reply in lmtp->heard: 1: its last; 0: more lines follow; -1: fault. */
static int read_line(struct lmtp *lmtp, struct lane *lane, struct reply_reader *reader)
{
	enum wire_fault fault;
	struct text line;
	size_t used;
	int got;

	while ((got = wire_line(&lane->lines, buf_text(&lane->in), LINE_LIMIT, &line, &used,
			&fault)) == 0) {
		if (fill(lmtp, lane) != 0)
			return -1;
	}
	if (got > 0) {
		memcpy(lmtp->heard.line, line.ptr, line.len);
		line.ptr = lmtp->heard.line;
		lmtp->heard.line[line.len] = '\0';
		got = reply_read_line(reader, line, &lmtp->heard.reply);
	}
	buf_consume(&lane->in, used);
	return got < 0 ? broken(lmtp, "says what makes no sense") : got;
}

/* A whole reply: its code, the last line's text in lmtp->heard; -1: fault. */
static int read_reply(struct lmtp *lmtp, struct lane *lane)
{
	struct reply_reader reader = { 0 };
	int last;

	while ((last = read_line(lmtp, lane, &reader)) == 0)
		;
	return last < 0 ? -1 : (int)lmtp->heard.reply.code;
}

/* ---- connections ---- */

static int greet(struct lmtp *lmtp, struct lane *lane)
{
	struct reply_reader reader = { 0 };
	bool delivers = false;
	int last = 0;

	if (read_reply(lmtp, lane) != 220)
		return broken(lmtp, "takes nobody now");
	buf_format(&lane->out, "LHLO %s\r\n", lmtp->options.hostname);
	if (flush(lmtp, lane) != 0)
		return -1;
	while (last == 0) {
		last = read_line(lmtp, lane, &reader);
		const struct text text = lmtp->heard.reply.text;
		if (last >= 0 && text_equal_nocase(text, TEXT("XDELIVER")))
			delivers = true;
		if (last >= 0 && text_begins_nocase(text, TEXT("SIZE ")))
			text_to_number(text_from(text, 5), UINT64_MAX, &lmtp->size_limit);
	}
	if (last < 0 || lmtp->heard.reply.code != 250)
		return broken(lmtp, "does not know us");
	return delivers ? 0 : broken(lmtp, "has no XDELIVER, without which nothing is pulled once");
}

static int lane_open(struct lmtp *lmtp, struct lane *lane)
{
	if (lane->fd >= 0)
		return 0;
	lane->fd = ipc_connect(lmtp->options.path);
	if (lane->fd < 0)
		return fault_set(&lmtp->fault, FAULT_LOCAL,
			"no delivery agent at %s: %s; is the host running?", lmtp->options.path,
			log_errno(errno));
	return greet(lmtp, lane);
}

static int tell_verdict(struct lmtp *lmtp, const struct lane *lane)
{
	char text[LINE_LIMIT + 16];

	snprintf(text, sizeof(text), "%u %.*s", lmtp->heard.reply.code,
		TEXT_ARG(lmtp->heard.reply.text));
	lmtp->options.verdict(lmtp->options.owner, &(struct lmtp_verdict){ .cookie = lane->cookie,
							   .octets = lane->octets,
							   .code = lmtp->heard.reply.code,
							   .reply = text });
	return 0;
}

static int settle(struct lmtp *lmtp, struct lane *lane)
{
	if (!lane->due)
		return 0;
	if (read_reply(lmtp, lane) < 0)
		return -1;
	lane->due = false;
	return tell_verdict(lmtp, lane);
}

int lmtp_settle(struct lmtp *lmtp)
{
	for (unsigned i = 0; i < LMTP_LANES; i++) {
		if (settle(lmtp, &lmtp->lanes[(lmtp->next + i) % LMTP_LANES]) != 0)
			return -1;
	}
	return 0;
}

/* The lane that was used longest ago, free. */
static struct lane *take_lane(struct lmtp *lmtp)
{
	struct lane *lane = &lmtp->lanes[lmtp->next];

	lmtp->next = (lmtp->next + 1) % LMTP_LANES;
	if (settle(lmtp, lane) != 0 || lane_open(lmtp, lane) != 0)
		return NULL;
	return lane;
}

/* ---- a message ---- */

static void add_parameter(struct buf *out, const char *name, const char *value)
{
	if (!value || !value[0])
		return;
	buf_format(out, " %s=", name);
	xtext_encode(out, text_of(value));
}

static void add_envelope(struct lmtp *lmtp, struct buf *out, const struct lmtp_message *message)
{
	buf_format(out, "MAIL FROM:<%.*s>", TEXT_ARG(message->sender));
	if (message->size)
		buf_format(out, " SIZE=%" PRIu64, message->size);
	if (message->date > 0)
		buf_format(out, " XDATE=%" PRId64, message->date);
	buf_add_string(out, " BODY=8BITMIME");
	buf_format(out, "\r\nRCPT TO:<%s>", lmtp->options.to);
	add_parameter(out, "XONCE", message->key.string);
	add_parameter(out, "XMAILBOX", message->mailbox);
	add_parameter(out, "XKEYWORDS", message->keywords);
	if (message->flags && message->flags[0])
		buf_format(out, " XFLAGS=%s", message->flags);
	buf_add_string(out, "\r\nDATA\r\n");
}

/* The answers to MAIL, RCPT and DATA. 1: it may come; 0: refused, verdict told; -1: fault. */
static int read_permission(struct lmtp *lmtp, struct lane *lane)
{
	bool told = false;
	int code = 0;

	for (int i = 0; i < 3; i++) {
		code = read_reply(lmtp, lane);
		if (code < 0)
			return -1;
		/* The first refusal is the reason; what follows only follows from it. */
		if (code >= 400 && !told)
			tell_verdict(lmtp, lane);
		told = told || code >= 400;
	}
	if (!told && code == 354)
		return 1;
	if (!told)
		return broken(lmtp, "says what makes no sense");
	if (code == 354)
		return broken(lmtp, "wants a message it refused");
	buf_add_string(&lane->out, "RSET\r\n");
	if (flush(lmtp, lane) != 0)
		return -1;
	return read_reply(lmtp, lane) == 250 ? 0 : broken(lmtp, "says what makes no sense");
}

int lmtp_begin(struct lmtp *lmtp, const struct lmtp_message *message)
{
	struct lane *lane = take_lane(lmtp);

	if (!lane)
		return -1;
	lane->cookie = message->cookie;
	lane->octets = 0;
	add_envelope(lmtp, &lane->out, message);
	if (flush(lmtp, lane) != 0)
		return -1;
	const int allowed = read_permission(lmtp, lane);
	lmtp->giving = allowed > 0 ? lane : NULL;
	return allowed;
}

int lmtp_add(struct lmtp *lmtp, struct text octets)
{
	struct lane *lane = lmtp->giving;

	lane->octets += octets.len;
	repair_add(&lmtp->repair, octets, &lane->out);
	return buf_length(&lane->out) < PIECE ? 0 : flush(lmtp, lane);
}

int lmtp_end(struct lmtp *lmtp)
{
	struct lane *lane = lmtp->giving;

	lmtp->giving = NULL;
	repair_end(&lmtp->repair, &lane->out);
	lane->due = true;
	return flush(lmtp, lane);
}

void lmtp_abandon(struct lmtp *lmtp)
{
	if (lmtp->giving)
		lane_close(lmtp->giving);
	lmtp->giving = NULL;
	lmtp->repair = (struct repair){ 0 };
}

/* ---- what is here already ---- */

static size_t min(size_t a, size_t b)
{
	return a < b ? a : b;
}

/* "- 1732250000 -": one word a key. */
static int read_known(struct lmtp *lmtp, struct lane *lane, size_t count, int64_t *when)
{
	const int code = read_reply(lmtp, lane);
	struct text rest = lmtp->heard.reply.text, word;

	if (code < 0)
		return -1;
	if (code != 250)
		return fault_set(&lmtp->fault, FAULT_LOCAL,
			"this host cannot tell what is here already: %d %.*s", code,
			TEXT_ARG(rest));
	for (size_t i = 0; i < count; i++) {
		uint64_t seconds;
		if (!text_split(&rest, ' ', &word) || word.len == 0)
			return broken(lmtp, "says what makes no sense");
		if (text_to_number(word, INT64_MAX, &seconds) == 0)
			when[i] = (int64_t)seconds;
		else
			when[i] = -1;
	}
	return 0;
}

/* One round of lines and answers, within a transaction that has its recipient. */
static int ask_round(struct lmtp *lmtp, struct lane *lane, const struct once_key *keys,
	size_t count, int64_t *when)
{
	for (size_t i = 0; i < count; i += KEYS_A_LINE) {
		buf_add_string(&lane->out, "XHAVE");
		for (size_t k = i; k < min(count, i + KEYS_A_LINE); k++) {
			buf_add_char(&lane->out, ' ');
			xtext_encode(&lane->out, text_of(keys[k].string));
		}
		buf_add_string(&lane->out, "\r\n");
	}
	if (flush(lmtp, lane) != 0)
		return -1;
	for (size_t i = 0; i < count; i += KEYS_A_LINE) {
		if (read_known(lmtp, lane, min(KEYS_A_LINE, count - i), when + i) != 0)
			return -1;
	}
	return 0;
}

static int expect(struct lmtp *lmtp, struct lane *lane, int wanted)
{
	const int code = read_reply(lmtp, lane);

	if (code == wanted)
		return 0;
	return code < 0 ? -1
			: fault_set(&lmtp->fault, FAULT_LOCAL, "%s is refused here: %d %.*s",
				  lmtp->options.to, code, TEXT_ARG(lmtp->heard.reply.text));
}

int lmtp_known(struct lmtp *lmtp, const struct once_key *keys, size_t count, int64_t *when)
{
	const size_t round = KEYS_A_LINE * LINES_A_ROUND;

	if (count == 0)
		return 0;
	struct lane *lane = take_lane(lmtp);
	if (!lane)
		return -1;
	buf_format(&lane->out, "MAIL FROM:<>\r\nRCPT TO:<%s>\r\n", lmtp->options.to);
	if (flush(lmtp, lane) != 0 || expect(lmtp, lane, 250) != 0 || expect(lmtp, lane, 250) != 0)
		return -1;
	for (size_t i = 0; i < count; i += round) {
		if (ask_round(lmtp, lane, keys + i, min(round, count - i), when + i) != 0)
			return -1;
	}
	buf_add_string(&lane->out, "RSET\r\n");
	return flush(lmtp, lane) != 0 ? -1 : expect(lmtp, lane, 250);
}
