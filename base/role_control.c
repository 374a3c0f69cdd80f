#include <stdio.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/role_private.h"
#include "base/tls.h"

void role_free_news(struct role_run *run)
{
	struct role_news *news = &run->news;

	if (news->common)
		settings_free(&common_section, news->common);
	if (news->settings)
		settings_free(run->role->section, news->settings);
	mem_free(news->common);
	mem_free(news->settings);
	tls_drop(&news->tls);
	*news = (struct role_news){ 0 };
}

void role_swap_news(struct role_run *run)
{
	const struct role_news news = run->news;

	run->news.common = run->common;
	run->news.settings = run->settings;
	run->news.tls = run->context.tls;
	run->context.common = run->common = news.common;
	run->context.settings = run->settings = news.settings;
	run->context.tls = news.tls;
}

/* Before the start it is a reason not to start; later the old settings stay in force. */
static void refuse(struct role_run *run, const char *event, const char *sentence)
{
	LOG_ERROR(event, LOG_STRING("error", sentence),
		LOG_STRING("effect",
			run->going ? "the old settings stay" : "the role does not start"));
	run->news.refused = true;
}

static void *load(
	const struct settings_section *section, struct text lines, char *error, size_t size)
{
	void *values = mem_new(section->size);

	if (settings_load(section, lines, values, error, size) == 0)
		return values;
	mem_free(values);
	return NULL;
}

static int take_configure(struct role_run *run, struct text payload)
{
	struct control_configure message;
	char error[300] = "";

	if (control_configure_unpack(payload, &message) != 0)
		return -1;
	role_free_news(run);
	run->news.uid = message.uid;
	run->news.gid = message.gid;
	run->news.common = load(&common_section, message.common, error, sizeof(error));
	if (run->news.common)
		run->news.settings =
			load(run->role->section, message.section, error, sizeof(error));
	if (!run->news.settings)
		refuse(run, "settings-refused", error);
	return 0;
}

static int take_certificate(struct role_run *run, struct text payload)
{
	struct control_certificate message;
	struct role_news *news = &run->news;
	char error[300] = "";

	if (control_certificate_unpack(payload, &message) != 0)
		return -1;
	if (!news->tls)
		news->tls = tls_new(message.chain, message.key, error, sizeof(error));
	else if (tls_add(news->tls, message.chain, message.key, error, sizeof(error)) == 0)
		error[0] = '\0';
	if (!news->tls || error[0])
		refuse(run, "certificate-refused", error);
	/* The key is not to lie about in the memory that messages are read into. */
	text_wipe(message.key);
	return 0;
}

static int take_tickets(struct text payload)
{
	struct control_tickets message;

	if (control_tickets_unpack(payload, &message) != 0 || message.current.len != TLS_TICKET_KEY)
		return -1;
	tls_share_tickets(message.current, message.previous);
	text_wipe(message.current);
	text_wipe(message.previous);
	return 0;
}

static int take_listener(struct role_run *run, struct ipc_frame *frame)
{
	struct control_listener message;

	if (run->going || frame->fd < 0 || control_listener_unpack(frame->payload, &message) != 0)
		return -1;
	int fd = frame->fd;
	frame->fd = -1;
	return role_add_listener(run, message.name, fd);
}

static int take_limits(struct role_run *run, struct ipc_frame *frame)
{
	struct control_limits message;

	if (run->going || run->limits_fd >= 0 || frame->fd < 0 ||
		control_limits_unpack(frame->payload, &message) != 0)
		return -1;
	run->limits_fd = frame->fd;
	run->limits_workers = message.workers;
	frame->fd = -1;
	return 0;
}

static int take_log(struct ipc_frame *frame)
{
	struct control_log message;

	if (frame->fd < 0 || control_log_unpack(frame->payload, &message) != 0)
		return -1;
	log_to_file(frame->fd);
	frame->fd = -1;
	return 0;
}

void role_say_ready(struct role_run *run)
{
	const struct control_ready ready = { .worker = run->context.worker };

	if (!run->control)
		return;
	control_ready_pack(ipc_begin(run->control, CONTROL_READY, 0), &ready);
	ipc_end(run->control, -1);
}

void role_say_shun(struct role_run *run)
{
	const struct control_shun shun = { .worker = run->context.worker };

	if (!run->control)
		return;
	control_shun_pack(ipc_begin(run->control, CONTROL_SHUN, 0), &shun);
	ipc_end(run->control, -1);
}

static void reload(struct role_run *run)
{
	enum log_level level;

	if (!run->news.refused) {
		role_swap_news(run);
		if (log_level_parse(text_of(run->common->log_level), &level) == 0)
			log_open(run->role->name, level);
		if (run->role->reload)
			run->role->reload(&run->context);
		LOG_INFO("reloaded");
	}
	role_free_news(run);
	role_say_ready(run);
}

static int take_go(struct role_run *run, struct text payload)
{
	struct control_go message;

	if (control_go_unpack(payload, &message) != 0)
		return -1;
	if (!run->news.common && !run->news.refused)
		return -1;
	if (run->going) {
		reload(run);
	} else if (run->news.refused) {
		role_fail(run, EX_CONFIG);
	} else {
		/* role_main() goes on from here; what comes behind waits. */
		run->context.worker = message.worker;
		ipc_hold(run->control);
		event_base_loopbreak(run->context.loop);
	}
	return 0;
}

/* Whole lines only, as many as the message takes. */
static struct text bounded_lines(struct text lines)
{
	const size_t limit = 1 << 16;

	if (lines.len <= limit)
		return lines;
	return text_head(lines, (size_t)(text_find_last(text_head(lines, limit), '\n') + 1));
}

static int take_count(struct role_run *run, struct text payload)
{
	struct control_count message;
	struct buf lines = { 0 };

	if (!run->going || control_count_unpack(payload, &message) != 0)
		return -1;
	buf_format(&lines, "uptime=%lld\n", (long long)(role_seconds_now() - run->started));
	if (run->role->count)
		run->role->count(run->context.state, &lines);
	const struct control_counters counters = { .lines = bounded_lines(buf_text(&lines)) };
	control_counters_pack(ipc_begin(run->control, CONTROL_COUNTERS, 0), &counters);
	ipc_end(run->control, -1);
	buf_release(&lines);
	return 0;
}

static int take_stop(struct role_run *run, struct text payload)
{
	struct control_stop message;

	if (control_stop_unpack(payload, &message) != 0)
		return -1;
	role_begin_stop(run, message.seconds);
	return 0;
}

static int take(struct role_run *run, struct ipc_frame *frame)
{
	if (frame->fd >= 0 && frame->type != CONTROL_LISTENER && frame->type != CONTROL_LIMITS &&
		frame->type != CONTROL_LOG)
		return -1;
	switch ((enum control_type)frame->type) {
	case CONTROL_CONFIGURE:
		return take_configure(run, frame->payload);
	case CONTROL_LISTENER:
		return take_listener(run, frame);
	case CONTROL_CERTIFICATE:
		return take_certificate(run, frame->payload);
	case CONTROL_GO:
		return take_go(run, frame->payload);
	case CONTROL_COUNT:
		return take_count(run, frame->payload);
	case CONTROL_STOP:
		return take_stop(run, frame->payload);
	case CONTROL_LIMITS:
		return take_limits(run, frame);
	case CONTROL_TICKETS:
		return take_tickets(frame->payload);
	case CONTROL_LOG:
		return take_log(frame);
	case CONTROL_READY:
	case CONTROL_COUNTERS:
	case CONTROL_SHUN:
		break;
	}
	return -1;
}

static void on_frame(void *owner, struct ipc_frame *frame)
{
	struct role_run *run = owner;

	if (run->failed || take(run, frame) == 0)
		return;
	LOG_ERROR("control-message-refused", LOG_NUMBER("type", frame->type));
	role_fail(run, EX_PROTOCOL);
}

static void on_ended(void *owner, const char *reason)
{
	struct role_run *run = owner;

	ipc_free(&run->control);
	if (run->stopping || run->failed)
		return;
	LOG_WARNING("supervisor-gone", LOG_STRING("reason", reason));
	if (run->going)
		role_begin_stop(run, run->common->stop_seconds);
	else
		role_fail(run, EX_UNAVAILABLE);
}

const struct ipc_handlers role_control_handlers = { .frame = on_frame, .ended = on_ended };
