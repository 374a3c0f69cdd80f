#include "restante/roles.h"

#include "bridge/settings.h"
#include "mda/settings.h"
#include "pop3d/settings.h"
#include "smtp-in/settings.h"
#include "store/settings.h"

const struct host_role host_roles[HOST_ROLES] = {
	[HOST_STORE] = { .name = "store",
		.priv = PRIV_STORE,
		.section = &store_section,
		.stop = HOST_STOP_STORE,
		.ready_seconds = 3600 },
	[HOST_MDA] = { .name = "mda",
		.priv = PRIV_MDA,
		.section = &mda_section,
		.stop = HOST_STOP_MDA,
		.ready_seconds = 30 },
	[HOST_SMTP_IN] = { .name = "smtp-in",
		.priv = PRIV_SMTP_IN,
		.section = &smtp_in_section,
		.stop = HOST_STOP_NETWORK,
		.tls = true,
		.limits = true,
		.ready_seconds = 30 },
	[HOST_POP3D] = { .name = "pop3d",
		.priv = PRIV_POP3D,
		.section = &pop3d_section,
		.stop = HOST_STOP_NETWORK,
		.tls = true,
		.limits = true,
		.ready_seconds = 30 },
	[HOST_BRIDGE] = { .name = "bridge",
		.priv = PRIV_BRIDGE,
		.section = &bridge_section,
		.stop = HOST_STOP_NETWORK,
		.ready_seconds = 30 },
};

const struct host_service host_services[HOST_SERVICES] = {
	{ "smtp", HOST_SMTP_IN, "listen", "SMTP" },
	{ "smtps", HOST_SMTP_IN, "listen-tls", "SMTP over TLS" },
	{ "submission", HOST_SMTP_IN, "listen-submission", "submission" },
	{ "submissions", HOST_SMTP_IN, "listen-submissions", "submission over TLS" },
	{ "pop3", HOST_POP3D, "listen", "POP3" },
	{ "pop3s", HOST_POP3D, "listen-tls", "POP3 over TLS" },
	{ "lmtp", HOST_MDA, "listen", "LMTP" },
};
