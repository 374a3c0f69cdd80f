#include "restante/reload.h"

#include <stdio.h>
#include <string.h>

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

static bool same_lists(const struct settings_list *a, const struct settings_list *b)
{
	if (a->count != b->count)
		return false;
	for (size_t i = 0; i < a->count; i++) {
		if (strcmp(a->item[i], b->item[i]) != 0)
			return false;
	}
	return true;
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

static void compare_bound(const struct host_settings *old, const struct host_settings *new)
{
	static const char *const socket[] = { "socket", "socket-mode" };

	for (size_t i = 0; i < HOST_SERVICES; i++) {
		const struct host_service *service = &host_services[i];
		if (!same_lists(host_settings_list(old, service->role, service->item),
			    host_settings_list(new, service->role, service->item)))
			needs_restart(host_roles[service->role].name, service->item);
	}
	for (size_t i = 0; i < sizeof(socket) / sizeof(socket[0]); i++) {
		if (strcmp(host_settings_string(old, HOST_MDA, socket[i]),
			    host_settings_string(new, HOST_MDA, socket[i])) != 0)
			needs_restart(host_roles[HOST_MDA].name, socket[i]);
	}
	for (enum host_role_id role = 0; role < HOST_ROLES; role++) {
		if (host_settings_workers(old, role) != host_settings_workers(new, role))
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
	certificates_doubt(host->settings, host->source.file, log_doubt, NULL);
	if (host->certificates.count == 0)
		LOG_WARNING("no-certificates",
			LOG_STRING("effect", "no TLS: ports for it are open but of no use"));
	if (host_settings_common(host->settings)->domains.count == 0)
		LOG_WARNING("no-domains", LOG_STRING("effect", "no mail is taken"));
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
	compare_bound(host->settings, settings);
	host_settings_free(&host->settings);
	certificates_free(&host->certificates);
	host->settings = settings;
	host->certificates = certificates;
	host_open_log(settings);
	LOG_INFO("reloaded", LOG_STRING("file", host->source.file));
	host_log_doubts(host);
	return 0;
}
