#include "restante/reload.h"

#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/log.h"

static void log_mistake(void *owner, const char *sentence)
{
	(void)owner;
	LOG_ERROR("settings-mistake", LOG_STRING("what", sentence));
}

static void needs_restart(const char *section, const char *name)
{
	LOG_WARNING(
		"setting-needs-restart", LOG_STRING("section", section), LOG_STRING("name", name));
}

/* What a role reads when it starts, and listeners are made from when the host does. */
static const struct {
	enum host_role_id role;
	const char *name;
} at_start[] = {
	{ HOST_STORE, "quota-octets" },
	{ HOST_STORE, "quota-messages" },
	{ HOST_STORE, "message-octets" },
	{ HOST_STORE, "cache" },
	{ HOST_STORE, "checkpoint-octets" },
	{ HOST_STORE, "checkpoint-seconds" },
	{ HOST_STORE, "once-days" },
	{ HOST_STORE, "password-method" },
	{ HOST_STORE, "password-cost" },
	{ HOST_STORE, "password-scram" },
	{ HOST_STORE, "login-threads" },
	{ HOST_STORE, "login-waiting" },
	{ HOST_MDA, "socket" },
	{ HOST_MDA, "socket-mode" },
};

static bool is_same(const struct host_settings *a, const struct host_settings *b,
	enum host_role_id role, const struct settings_item *item)
{
	const struct settings_section one = { .items = item, .count = 1 };
	struct buf in_a = { 0 }, in_b = { 0 };

	settings_store(&one, host_settings_of(a, role), &in_a);
	settings_store(&one, host_settings_of(b, role), &in_b);
	const bool same = text_equal(buf_text(&in_a), buf_text(&in_b));
	buf_release(&in_a);
	buf_release(&in_b);
	return same;
}

static void compare(const struct host_settings *started, const struct host_settings *new,
	enum host_role_id role, const char *name)
{
	const struct settings_section *section = host_roles[role].section;

	for (size_t i = 0; i < section->count; i++) {
		const struct settings_item *item = &section->items[i];
		if (strcmp(item->name, name) == 0 && !is_same(started, new, role, item))
			needs_restart(host_roles[role].name, name);
	}
}

/* Its sandbox has connections by TCP only when they were wanted at its start. */
static void compare_hand_over(const struct host_settings *started, const struct host_settings *new)
{
	static const struct text tcp = { .ptr = "inet:", .len = 5 };

	if (text_begins(text_of(host_settings_string(new, HOST_SMTP_IN, "hand-over")), tcp) &&
		!text_begins(
			text_of(host_settings_string(started, HOST_SMTP_IN, "hand-over")), tcp))
		needs_restart(host_roles[HOST_SMTP_IN].name, "hand-over");
}

static void keep_common(struct common_settings *old, struct common_settings *new)
{
	if (strcmp(old->state, new->state) != 0) {
		char *state = new->state;
		needs_restart("", "state");
		new->state = old->state;
		old->state = state;
	}
	if (old->uid_base != new->uid_base) {
		needs_restart("", "uid-base");
		new->uid_base = old->uid_base;
	}
	if (old->syslog != new->syslog) {
		needs_restart("", "syslog");
		new->syslog = old->syslog;
	}
	/* Roles can be given another file to write to, but not none. */
	if (old->log_size && !new->log_size) {
		needs_restart("", "log-size");
		new->log_size = old->log_size;
	}
}

static void compare_all(const struct host_settings *started, const struct host_settings *new)
{
	for (size_t i = 0; i < HOST_SERVICES; i++)
		compare(started, new, host_services[i].role, host_services[i].item);
	for (size_t i = 0; i < sizeof(at_start) / sizeof(at_start[0]); i++)
		compare(started, new, at_start[i].role, at_start[i].name);
	compare_hand_over(started, new);
	for (enum host_role_id role = 0; role < HOST_ROLES; role++) {
		if (host_settings_workers(started, role) != host_settings_workers(new, role))
			needs_restart(host_roles[role].name, "workers");
	}
}

void host_open_log(const struct host_settings *settings)
{
	enum log_level level = LOG_LEVEL_INFO;

	log_level_parse(text_of(host_settings_common(settings)->log_level), &level);
	log_open("restante", level);
}

static void log_doubt(void *owner, const char *sentence)
{
	(void)owner;
	LOG_WARNING("settings-doubt", LOG_STRING("what", sentence));
}

void host_log_doubts(const struct host *host)
{
	certificates_doubt(&host->certificates, host->settings, host->source.file, log_doubt, NULL);
	if (host->certificates.count == 0)
		LOG_WARNING("no-certificates",
			LOG_STRING("effect", "no TLS: ports for it are open but of no use"));
	if (host_settings_common(host->settings)->domains.count == 0)
		LOG_WARNING("no-domains",
			LOG_STRING("effect", "no mail is taken but for domains that were added"));
}

int host_reload(struct host *host)
{
	struct host_settings *settings;
	struct certificates certificates;

	if (host_settings_read(&host->source, &settings, log_mistake, NULL) != 0 ||
		certificates_read(&certificates, settings, host->source.file, log_mistake, NULL) !=
			0) {
		host_settings_free(&settings);
		LOG_ERROR("reload-refused", LOG_STRING("file", host->source.file));
		return -1;
	}
	keep_common(host->settings->values[0], settings->values[0]);
	compare_all(host->started ? host->started : host->settings, settings);
	if (host->started)
		host_settings_free(&host->settings);
	else
		host->started = host->settings;
	certificates_free(&host->certificates);
	host->settings = settings;
	host->certificates = certificates;
	host_open_log(settings);
	LOG_INFO("reloaded", LOG_STRING("file", host->source.file));
	host_log_doubts(host);
	return 0;
}
