#include "store/settings.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

#define AT(field) offsetof(struct store_settings, field)

static const struct settings_item items[] = {
	{ .name = "quota-octets",
		.type = SETTINGS_OCTETS,
		.preset = "0",
		.most = UINT64_C(1) << 50,
		.offset = AT(quota_octets),
		.help = "What all mail of a user may take, unless the user has a quota of its own; "
			"0 is no limit." },
	{ .name = "quota-messages",
		.type = SETTINGS_NUMBER,
		.preset = "0",
		.most = UINT32_MAX,
		.offset = AT(quota_messages),
		.help = "How many messages a user may have, unless the user has a quota of its "
			"own; "
			"0 is no limit." },
	{ .name = "message-octets",
		.type = SETTINGS_OCTETS,
		.preset = "0",
		.most = UINT64_C(1) << 40,
		.offset = AT(message_octets),
		.help = "Largest message kept, whoever delivers it; 0 leaves that to the roles "
			"that "
			"take messages." },
	{ .name = "cache",
		.type = SETTINGS_OCTETS,
		.preset = "32M",
		.least = 1 << 20,
		.most = UINT64_C(1) << 40,
		.offset = AT(cache_octets),
		.help = "Memory for pages of the index." },
	{ .name = "checkpoint-octets",
		.type = SETTINGS_OCTETS,
		.preset = "32M",
		.least = 1 << 20,
		.most = UINT64_C(1) << 40,
		.offset = AT(checkpoint_octets),
		.help = "Octets of journal after which a checkpoint is taken. More makes a start "
			"after a crash take longer." },
	{ .name = "checkpoint-seconds",
		.type = SETTINGS_SECONDS,
		.preset = "60s",
		.least = 1,
		.most = 86400,
		.offset = AT(checkpoint_seconds),
		.help = "Time after which a checkpoint is taken when anything has changed." },
	{ .name = "once-days",
		.type = SETTINGS_NUMBER,
		.preset = "400",
		.most = 36500,
		.offset = AT(once_days),
		.help = "Days for which a message that is to be accepted only once (as the bridge "
			"marks those it pulls) is known again, from the last time that it was "
			"offered; 0 is for ever." },
	{ .name = "connections",
		.type = SETTINGS_NUMBER,
		.preset = "20000",
		.least = 1,
		.most = 1000000,
		.offset = AT(connections),
		.help = "Connections at once from all processes of one role; more are closed." },
	{ .name = "password-method",
		.type = SETTINGS_STRING,
		.preset = "yescrypt",
		.least = 1,
		.most = 32,
		.offset = AT(password_method),
		.help = "How new passwords are hashed: yescrypt, bcrypt or sha512-crypt. All three "
			"are accepted." },
	{ .name = "password-cost",
		.type = SETTINGS_NUMBER,
		.preset = "0",
		.most = 5000000,
		.offset = AT(password_cost),
		.help = "Cost of a new hash as crypt(5) counts it: 1 to 9 for yescrypt, 4 to 16 "
			"for "
			"bcrypt, rounds for sha512-crypt; 0 is the method's default." },
	{ .name = "password-scram",
		.type = SETTINGS_BOOL,
		.preset = "yes",
		.offset = AT(password_scram),
		.help = "Keep a SCRAM-SHA-256 verifier beside the hash of a new password, so that "
			"the "
			"password need not cross the wire. Who steals the users file can then "
			"guess "
			"at PBKDF2's speed, not at the slower password-method's." },
	{ .name = "login-threads",
		.type = SETTINGS_NUMBER,
		.preset = "2",
		.least = 1,
		.most = 64,
		.offset = AT(login_threads),
		.help = "Threads that check passwords. A yescrypt hash of default cost takes 16 "
			"MiB "
			"while it is checked." },
	{ .name = "login-waiting",
		.type = SETTINGS_NUMBER,
		.preset = "256",
		.least = 1,
		.most = 100000,
		.offset = AT(login_waiting),
		.help = "Logins that may wait for a thread; more are told to come again." },
	{ .name = "login-remember",
		.type = SETTINGS_SECONDS,
		.preset = "5m",
		.most = 86400,
		.offset = AT(login_remember),
		.help = "How long a password that was right is known again without hashing it "
			"anew; 0 is never. Kept in memory, as a keyed digest." },
	{ .name = "login-delay",
		.type = SETTINGS_SECONDS,
		.preset = "2s",
		.most = 60,
		.offset = AT(login_delay),
		.help = "Time from a login to the answer that it failed; twice as long with each "
			"further failure from the same client address, up to 30 seconds." },
	{ .name = "login-failures",
		.type = SETTINGS_NUMBER,
		.preset = "20",
		.most = 1000000,
		.offset = AT(login_failures),
		.help = "Failed logins from one client address (IPv6: /64) within login-window, "
			"after which its passwords are not looked at; 0 is no limit." },
	{ .name = "login-window",
		.type = SETTINGS_SECONDS,
		.preset = "10m",
		.least = 1,
		.most = 86400,
		.offset = AT(login_window),
		.help = "How long failed logins of a client address count." },
	{ .name = "login-limits-loopback",
		.type = SETTINGS_BOOL,
		.preset = "no",
		.offset = AT(login_limits_loopback),
		.help = "Hold login-failures against clients on this machine, too." },
	{ .name = "postmaster",
		.type = SETTINGS_STRING,
		.preset = "",
		.most = 320,
		.offset = AT(postmaster),
		.help = "Address of who gets the mail for postmaster and abuse, with or without "
			"one of our domains, unless there is a user or alias of that name. Empty: "
			"the first user." },
	{ .name = "separators",
		.type = SETTINGS_STRING,
		.preset = "+",
		.most = 8,
		.offset = AT(separators),
		.help = "Characters that stand between user and detail in an address like "
			"alice+lists@example.org. Empty: there are no such addresses." },
	{ .name = "detail-mailbox",
		.type = SETTINGS_STRING,
		.preset = "existing",
		.least = 1,
		.most = 8,
		.offset = AT(detail_mailbox),
		.help = "Where mail for user+detail goes: inbox; existing, to the mailbox named "
			"like the detail if the user has one; create, to that mailbox, which is "
			"made." },
	{ .name = "aliases",
		.type = SETTINGS_STRING,
		.preset = "",
		.most = 4096,
		.offset = AT(aliases),
		.help = "A file of aliases as sendmail and Postfix have them, aliases(5); read at "
			"the start and at SIGHUP. Empty: none." },
};

static const struct method {
	const char *name;
	uint64_t least, most; /* cost */
} methods[] = {
	{ "yescrypt", 1, 9 },
	{ "bcrypt", 4, 16 },
	{ "sha512-crypt", 1000, 5000000 },
};

static int verify_method(const struct store_settings *settings, char *error, size_t error_size)
{
	for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]); i++) {
		const struct method *method = &methods[i];
		if (strcmp(settings->password_method, method->name) != 0)
			continue;
		if (settings->password_cost == 0 ||
			(settings->password_cost >= method->least &&
				settings->password_cost <= method->most))
			return 0;
		snprintf(error, error_size,
			"password-cost %llu is not one of %s; give %llu to %llu, or 0",
			(unsigned long long)settings->password_cost, method->name,
			(unsigned long long)method->least, (unsigned long long)method->most);
		return -1;
	}
	snprintf(error, error_size,
		"password-method \"%s\" is unknown; use yescrypt, bcrypt or sha512-crypt",
		settings->password_method);
	return -1;
}

/* Enough to catch a slip; the grammar of addresses is mail/address.h's. */
static bool looks_like_address(struct text address)
{
	const ptrdiff_t at = text_find_last(address, '@');

	for (size_t i = 0; i < address.len; i++) {
		if ((unsigned char)address.ptr[i] <= ' ' || address.ptr[i] == '<' ||
			address.ptr[i] == '>')
			return false;
	}
	return at > 0 && (size_t)at + 1 < address.len;
}

static int verify_addresses(const struct store_settings *settings, char *error, size_t error_size)
{
	static const char *const details[] = { "inbox", "existing", "create" };
	bool known = false;

	for (size_t i = 0; i < sizeof(details) / sizeof(details[0]); i++)
		known = known || strcmp(settings->detail_mailbox, details[i]) == 0;
	if (!known) {
		snprintf(error, error_size,
			"detail-mailbox \"%s\" is unknown; use inbox, existing or create",
			settings->detail_mailbox);
		return -1;
	}
	if (strpbrk(settings->separators, "@. \t\"\\<>(),:;[]")) {
		snprintf(error, error_size,
			"separators \"%s\" cannot stand in an address; use characters like + or -",
			settings->separators);
		return -1;
	}
	if (settings->postmaster[0] && !looks_like_address(text_of(settings->postmaster))) {
		snprintf(error, error_size,
			"postmaster \"%s\" is not an address; write it like alice@example.org",
			settings->postmaster);
		return -1;
	}
	return 0;
}

static int verify(const void *values, char *error, size_t error_size)
{
	const struct store_settings *settings = values;

	if (verify_addresses(settings, error, error_size) != 0)
		return -1;
	return verify_method(settings, error, error_size);
}

const struct settings_section store_section = {
	.name = "store",
	.items = items,
	.count = sizeof(items) / sizeof(items[0]),
	.size = sizeof(struct store_settings),
	.verify = verify,
};
