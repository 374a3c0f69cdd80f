#include "bridge/imap.h"

enum {
	/* RFC 2177 wants IDLE again before 29 minutes; boxes between us and the server forget sooner. */
	IDLE_SECONDS = 9 * 60,
	NOOP_SECONDS = 20, /* between looks at a server that cannot tell by itself */
};

static unsigned least(unsigned a, unsigned b)
{
	return a < b ? a : b;
}

/* Told in passing, while something else was asked. */
static bool has_news(const struct imap *imap)
{
	return imap->etpan->imap_selection_info->sel_exists != imap->exists;
}

static int idle(struct imap *imap, unsigned seconds)
{
	struct session *session = imap->session;

	imap_expect(imap, IMAP_COMMAND_SECONDS, IMAP_COMMAND_OCTETS);
	if (imap_result(imap, mailimap_idle(imap->etpan), "IDLE failed") != 0)
		return -1;
	if (!has_news(imap) && stream_wait(&session->stream, seconds) < 0)
		return session_check(session);
	imap_expect(imap, IMAP_COMMAND_SECONDS, IMAP_COMMAND_OCTETS);
	return imap_result(imap, mailimap_idle_done(imap->etpan), "IDLE failed");
}

static int look_again(struct imap *imap, unsigned seconds)
{
	struct session *session = imap->session;

	if (stream_wait(&session->stream, seconds) < 0)
		return session_check(session);
	imap_expect(imap, IMAP_COMMAND_SECONDS, IMAP_COMMAND_OCTETS);
	return imap_result(imap, mailimap_noop(imap->etpan), "NOOP failed");
}

int imap_wait(struct imap *imap, unsigned seconds)
{
	const bool selected = imap->etpan->imap_state == MAILIMAP_STATE_SELECTED &&
			      imap->etpan->imap_selection_info;

	if (selected && has_news(imap))
		return 0;
	if (!selected)
		return look_again(imap, least(seconds, NOOP_SECONDS));
	if (imap->capabilities & IMAP_IDLE)
		return idle(imap, least(seconds, IDLE_SECONDS));
	return look_again(imap, least(seconds, NOOP_SECONDS));
}
