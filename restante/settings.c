#include "restante/settings.h"

#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/control.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/sys.h"
#include "bridge/settings.h"
#include "mail/address.h"
#include "mail/idn.h"
#include "mda/settings.h"
#include "pop3d/settings.h"
#include "restante/endpoint.h"
#include "restante/locate.h"
#include "smtp-in/settings.h"
#include "store/settings.h"

enum { FILE_LIMIT = 4 << 20, SENTENCE_LIMIT = 1024 };

const struct settings_section *const host_sections[HOST_SECTIONS] = {
	&common_section,
	[1 + HOST_STORE] = &store_section,
	[1 + HOST_MDA] = &mda_section,
	[1 + HOST_SMTP_IN] = &smtp_in_section,
	[1 + HOST_POP3D] = &pop3d_section,
	[1 + HOST_BRIDGE] = &bridge_section,
};

const struct settings_section *const host_manual_sections[HOST_MANUAL_SECTIONS] = {
	&common_section,
	[1 + HOST_STORE] = &store_section,
	[1 + HOST_MDA] = &mda_section,
	[1 + HOST_SMTP_IN] = &smtp_in_section,
	[1 + HOST_POP3D] = &pop3d_section,
	[1 + HOST_BRIDGE] = &bridge_section,
	[HOST_SECTIONS] = &bridge_account_section,
};

struct finding {
	const struct host_source *source;
	host_report *report;
	void *owner;
	unsigned count;
};

static void report_at(struct finding *finding, unsigned line, const char *what)
{
	char sentence[SENTENCE_LIMIT];

	if (line)
		snprintf(
			sentence, sizeof(sentence), "%s:%u: %s", finding->source->file, line, what);
	else
		snprintf(sentence, sizeof(sentence), "%s: %s", finding->source->file, what);
	finding->report(finding->owner, sentence);
	finding->count++;
}

/* The section that an override names, its own name left in *name. NULL: there is none. */
static const struct settings_section *find_section(struct text *name, size_t *index)
{
	const ptrdiff_t dot = text_find(*name, '.');

	*index = 0;
	if (dot < 0)
		return host_sections[0];
	for (*index = 1; *index < HOST_SECTIONS; (*index)++) {
		if (text_equal(
			    text_head(*name, (size_t)dot), text_of(host_sections[*index]->name))) {
			*name = text_from(*name, (size_t)dot + 1);
			return host_sections[*index];
		}
	}
	return NULL;
}

static int apply_override(
	struct host_settings *settings, const char *override, char *error, size_t error_size)
{
	const struct text whole = text_of(override);
	const ptrdiff_t equals = text_find(whole, '=');
	size_t index;

	if (equals <= 0) {
		snprintf(error, error_size, "write -o SECTION.NAME=VALUE, or -o NAME=VALUE");
		return -1;
	}
	struct text name = text_head(whole, (size_t)equals);
	const struct settings_section *section = find_section(&name, &index);
	if (!section) {
		snprintf(error, error_size, "there is no such section");
		return -1;
	}
	char *item = mem_copy(name.ptr, name.len);
	int result = settings_set(section, settings->values[index], item,
		text_from(whole, (size_t)equals + 1), error, error_size);
	mem_free(item);
	return result;
}

static void apply_overrides(struct host_settings *settings, struct finding *finding)
{
	char error[SENTENCE_LIMIT / 2], sentence[SENTENCE_LIMIT];
	const struct host_source *source = finding->source;

	for (size_t i = 0; i < source->override_count; i++) {
		if (apply_override(settings, source->overrides[i], error, sizeof(error)) == 0)
			continue;
		snprintf(sentence, sizeof(sentence), "-o %.400s: %s", source->overrides[i], error);
		finding->report(finding->owner, sentence);
		finding->count++;
	}
	for (size_t i = 0; source->override_count && i < HOST_SECTIONS; i++) {
		if (!host_sections[i]->verify ||
			host_sections[i]->verify(settings->values[i], error, sizeof(error)) == 0)
			continue;
		finding->report(finding->owner, error);
		finding->count++;
	}
}

static void verify_endpoints(
	const struct host_settings *settings, struct text file, struct finding *finding)
{
	char error[SENTENCE_LIMIT / 2], what[SENTENCE_LIMIT];
	struct endpoint endpoint;

	for (size_t i = 0; i < HOST_SERVICES; i++) {
		const struct host_service *service = &host_services[i];
		const char *section = host_roles[service->role].name;
		const struct settings_list *list =
			host_settings_list(settings, service->role, service->item);
		for (size_t k = 0; k < list->count; k++) {
			if (endpoint_parse(
				    text_of(list->item[k]), &endpoint, error, sizeof(error)) == 0)
				continue;
			snprintf(what, sizeof(what), "%s.%s: %s", section, service->item, error);
			report_at(finding, locate_item(file, section, service->item, list->item[k]),
				what);
		}
	}
}

/* The mda's own rule cannot know which other names the supervisor uses in its directory. */
static void verify_socket(
	const struct host_settings *settings, struct text file, struct finding *finding)
{
	const char *name = host_settings_string(settings, HOST_MDA, "socket");

	if (strcmp(name, "admin") == 0 || strcmp(name, "lock") == 0)
		report_at(finding, locate_item(file, "mda", "socket", NULL),
			"mda.socket: admin and lock are taken; give another name, like lmtp");
}

/* EHLO tells the one, and the delivery agent keeps the other. */
static void verify_recipients(
	const struct host_settings *settings, struct text file, struct finding *finding)
{
	const struct smtp_in_settings *told = host_settings_of(settings, HOST_SMTP_IN);
	const struct mda_settings *kept = host_settings_of(settings, HOST_MDA);

	if (strcmp(told->hand_over, "unix:lmtp-smtp-in") == 0 &&
		told->recipients > kept->recipients)
		report_at(finding, locate_item(file, "smtp-in", "recipients", NULL),
			"smtp-in.recipients: clients are told that a message may have more "
			"recipients than mda.recipients lets through");
}

/* Those in a file of their own, which need not be there. */
static int read_more_accounts(
	struct host_settings *settings, const char *settings_file, host_report *report, void *owner)
{
	char *file = host_settings_accounts_file(settings, settings_file);
	const int result = accounts_read(&settings->accounts, file, report, owner);

	mem_free(file);
	return result;
}

/* base/common.h knows the letters of a domain, and not which of them make a name. */
static void verify_domains(
	const struct host_settings *settings, struct text file, struct finding *finding)
{
	const struct settings_list *domains = &host_settings_common(settings)->domains;
	struct arena *arena = arena_new(512);
	char what[SENTENCE_LIMIT];

	for (size_t i = 0; i < domains->count; i++) {
		const struct text name = idn_domain(arena, text_of(domains->item[i]));
		if (name.ptr && address_is_domain(name, false))
			continue;
		snprintf(what, sizeof(what),
			"domains: \"%.300s\" is no valid internationalized domain",
			domains->item[i]);
		report_at(finding, locate_item(file, NULL, "domains", domains->item[i]), what);
	}
	arena_free(&arena);
}

static void verify_size(struct buf *handed, size_t limit, const char *what, struct finding *finding)
{
	char sentence[SENTENCE_LIMIT / 2];

	if (buf_length(handed) > limit) {
		snprintf(sentence, sizeof(sentence),
			"%s: %zu octets of settings, and at most %zu can be handed to a role; "
			"shorten the lists",
			what, buf_length(handed), limit);
		report_at(finding, 0, sentence);
	}
	buf_clear(handed);
}

/* A role would refuse what is longer, and end. */
static void verify_sizes(const struct host_settings *settings, struct finding *finding)
{
	struct buf handed = { 0 };

	settings_store(&common_section, settings->values[0], &handed);
	verify_size(&handed, CONTROL_COMMON_LIMIT,
		"the top of the file (domains can be added with restante domain add, too)",
		finding);
	for (enum host_role_id role = 0; role < HOST_ROLES; role++) {
		host_settings_store(settings, role, &handed);
		verify_size(&handed, CONTROL_SECTION_LIMIT, host_roles[role].name, finding);
	}
	buf_release(&handed);
}

int host_settings_read(const struct host_source *source, struct host_settings **result,
	host_report *report, void *owner)
{
	struct host_settings *settings = mem_new(sizeof(*settings));
	struct finding finding = { .source = source, .report = report, .owner = owner };
	size_t size = 0;

	for (size_t i = 0; i < HOST_SECTIONS; i++)
		settings->values[i] = mem_new(host_sections[i]->size);
	char *file = sys_read_file(AT_FDCWD, source->file, FILE_LIMIT, &size);
	if (accounts_read_beside(&settings->accounts, source->file,
		    (struct text){ .ptr = file ? file : "", .len = file ? size : 0 }, host_sections,
		    settings->values, HOST_SECTIONS, report, owner) != 0)
		finding.count++;
	if (file) {
		const struct text octets = { .ptr = file, .len = size };
		apply_overrides(settings, &finding);
		verify_endpoints(settings, octets, &finding);
		verify_socket(settings, octets, &finding);
		verify_recipients(settings, octets, &finding);
		if (read_more_accounts(settings, source->file, report, owner) != 0)
			finding.count++;
		verify_domains(settings, octets, &finding);
		verify_sizes(settings, &finding);
	}
	mem_free(file);
	*result = settings;
	return finding.count ? -1 : 0;
}

void host_settings_free(struct host_settings **handle)
{
	struct host_settings *settings = *handle;

	*handle = NULL;
	if (!settings)
		return;
	for (size_t i = 0; i < HOST_SECTIONS; i++) {
		settings_free(host_sections[i], settings->values[i]);
		mem_free(settings->values[i]);
	}
	accounts_free(&settings->accounts);
	mem_free(settings);
}

const struct common_settings *host_settings_common(const struct host_settings *settings)
{
	return settings->values[0];
}

void host_settings_store(
	const struct host_settings *settings, enum host_role_id role, struct buf *out)
{
	if (role == HOST_BRIDGE)
		accounts_store(&settings->accounts, host_settings_of(settings, role), out);
	else
		settings_store(host_roles[role].section, host_settings_of(settings, role), out);
}

char *host_settings_accounts_file(const struct host_settings *settings, const char *settings_file)
{
	return host_settings_path(
		settings_file, text_of(host_settings_string(settings, HOST_BRIDGE, "accounts")));
}

const void *host_settings_of(const struct host_settings *settings, enum host_role_id role)
{
	return settings->values[1 + role];
}

/* NULL when the section has no item of that name. */
static const void *find_value(const struct host_settings *settings, enum host_role_id role,
	const char *name, enum settings_type type)
{
	const struct settings_section *section = host_roles[role].section;

	for (size_t i = 0; i < section->count; i++) {
		const struct settings_item *item = &section->items[i];
		if (item->type == type && strcmp(item->name, name) == 0)
			return (const char *)settings->values[1 + role] + item->offset;
	}
	return NULL;
}

static const void *get_value(const struct host_settings *settings, enum host_role_id role,
	const char *name, enum settings_type type)
{
	const void *value = find_value(settings, role, name, type);

	if (!value)
		LOG_FATAL("setting-unknown", LOG_STRING("section", host_roles[role].name),
			LOG_STRING("name", name));
	return value;
}

const struct settings_list *host_settings_list(
	const struct host_settings *settings, enum host_role_id role, const char *name)
{
	return get_value(settings, role, name, SETTINGS_LIST);
}

const char *host_settings_string(
	const struct host_settings *settings, enum host_role_id role, const char *name)
{
	char *const *value = get_value(settings, role, name, SETTINGS_STRING);

	return *value;
}

/* Those that we may run on: in a container, or under taskset, they are fewer than the machine has. */
static uint64_t count_cores(void)
{
	cpu_set_t ours;

	if (sched_getaffinity(0, sizeof(ours), &ours) == 0)
		return (uint64_t)CPU_COUNT(&ours);
	const long cores =
		sysconf(_SC_NPROCESSORS_ONLN); /* more of them than the set has room for */
	return cores < 1 ? 1 : (uint64_t)cores;
}

unsigned host_settings_workers(const struct host_settings *settings, enum host_role_id role)
{
	const uint64_t *value = find_value(settings, role, "workers", SETTINGS_NUMBER);

	if (!value)
		return 1;
	const uint64_t wanted = *value ? *value : count_cores();
	return wanted < LIMITS_WORKERS ? (unsigned)wanted : LIMITS_WORKERS;
}

unsigned host_settings_socket_mode(const struct host_settings *settings)
{
	const char *digits = host_settings_string(settings, HOST_MDA, "socket-mode");
	unsigned mode = 0;

	while (*digits >= '0' && *digits <= '7')
		mode = mode * 8 + (unsigned)(*digits++ - '0');
	return mode & 0777;
}

char *host_settings_path(const char *settings_file, struct text path)
{
	const char *slash = strrchr(settings_file, '/');
	const size_t base = slash ? (size_t)(slash - settings_file) + 1 : 0;

	if (path.len && path.ptr[0] == '/')
		return mem_copy(path.ptr, path.len);
	char *whole = mem_new(base + path.len + 1);
	memcpy(whole, settings_file, base);
	memcpy(whole + base, path.ptr, path.len);
	return whole;
}
