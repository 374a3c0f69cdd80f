#include "bridge/settings.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/net.h"

#define AT(field) offsetof(struct bridge_settings, field)

static const struct settings_item items[] = {
	{ .name = "accounts",
		.type = SETTINGS_STRING,
		.preset = "bridge.conf",
		.most = 4000,
		.offset = AT(accounts_file),
		.help = "A file with more accounts, beside this one unless it is an absolute "
			"path; it need not exist. restante bridge add writes it." },
	{ .name = "hand-over",
		.type = SETTINGS_STRING,
		.preset = "lmtp-bridge",
		.least = 1,
		.most = 100,
		.offset = AT(hand_over),
		.help = "The delivery agent's socket for the bridge, in the directory run of the "
			"state." },
	{ .name = "ca-file",
		.type = SETTINGS_STRING,
		.preset = "/etc/ssl/certs/ca-certificates.crt",
		.most = 4000,
		.offset = AT(ca_file),
		.help = "Certificates (PEM) of the authorities that vouch for remote servers." },
	{ .name = "message-size",
		.type = SETTINGS_OCTETS,
		.preset = "128M",
		.least = 1024,
		.most = UINT64_C(1) << 40,
		.offset = AT(message_size),
		.help = "Largest message pulled; a larger one stays where it is, and that is "
			"said. The delivery agent has a limit of its own." },
	{ .name = "memory",
		.type = SETTINGS_OCTETS,
		.preset = "256M",
		.least = 64 << 20,
		.most = UINT64_C(1) << 40,
		.offset = AT(memory),
		.help = "Address space of one account's process; a server that would need more "
			"ends that process and nothing else." },
	{ .name = "patience",
		.type = SETTINGS_SECONDS,
		.preset = "60s",
		.least = 1,
		.most = 3600,
		.offset = AT(patience),
		.help = "A server that says nothing for so long, while an answer is due, is "
			"left." },
	{ .name = "pulls",
		.type = SETTINGS_LIST,
		.preset = "",
		.most = 65536,
		.offset = AT(accounts),
		.help = "" },
};

enum { ITEMS = sizeof(items) / sizeof(items[0]) };

const struct settings_section bridge_section = {
	.name = "bridge",
	.items = items,
	.count = ITEMS - 1,
	.size = sizeof(struct bridge_settings),
};

const struct settings_section bridge_role_section = {
	.name = "bridge",
	.items = items,
	.count = ITEMS,
	.size = sizeof(struct bridge_settings),
};

/* ---- one account ---- */

#undef AT
#define AT(field) offsetof(struct bridge_account, field)

static const struct settings_item account_items[] = {
	{ .name = "protocol",
		.type = SETTINGS_STRING,
		.preset = "imap",
		.least = 4,
		.most = 4,
		.offset = AT(protocol),
		.help = "imap or pop3." },
	{ .name = "host",
		.type = SETTINGS_STRING,
		.preset = "",
		.least = 1,
		.most = 253,
		.offset = AT(host),
		.help = "The remote server: a name, which its certificate has to bear, or an "
			"address." },
	{ .name = "port",
		.type = SETTINGS_NUMBER,
		.preset = "0",
		.most = 65535,
		.offset = AT(port),
		.help = "Its port; 0 is the usual one: 993 or 995, without implicit TLS 143 or "
			"110." },
	{ .name = "tls",
		.type = SETTINGS_STRING,
		.preset = "implicit",
		.least = 4,
		.most = 8,
		.offset = AT(tls),
		.help = "implicit: TLS from the first octet. starttls: after STARTTLS or STLS; a "
			"server that offers neither is left. none: password and mail in the "
			"clear." },
	{ .name = "ca-file",
		.type = SETTINGS_STRING,
		.preset = "",
		.most = 4000,
		.offset = AT(ca_file),
		.help = "The authority (PEM) that vouches for this server, in place of the "
			"system's. May be the server's own self-signed certificate." },
	{ .name = "pin",
		.type = SETTINGS_STRING,
		.preset = "",
		.most = 100,
		.offset = AT(pin),
		.help = "SHA-256 of the server's public key (SubjectPublicKeyInfo), in "
			"hexadecimal: this key and no other; names, dates and authorities are then "
			"not looked at." },
	{ .name = "user",
		.type = SETTINGS_STRING,
		.preset = "",
		.least = 1,
		.most = 255,
		.offset = AT(user),
		.help = "Whom to log in as." },
	{ .name = "password-file",
		.type = SETTINGS_STRING,
		.preset = "",
		.most = 4000,
		.offset = AT(password_file),
		.help = "A file whose first line is the password; beside this file unless it is "
			"an absolute path." },
	{ .name = "password-command",
		.type = SETTINGS_LIST,
		.preset = "",
		.least = 1,
		.most = 4000,
		.offset = AT(password_command),
		.help = "A program (absolute path) and its arguments; the first line it prints is "
			"the password. Asked at every login." },
	{ .name = "token-command",
		.type = SETTINGS_LIST,
		.preset = "",
		.least = 1,
		.most = 4000,
		.offset = AT(token_command),
		.help = "The same for an OAuth 2.0 access token." },
	{ .name = "token-mechanism",
		.type = SETTINGS_STRING,
		.preset = "xoauth2",
		.least = 7,
		.most = 11,
		.offset = AT(token_mechanism),
		.help = "How the token is shown: xoauth2 or oauthbearer." },
	{ .name = "folders",
		.type = SETTINGS_LIST,
		.preset = "INBOX",
		.least = 1,
		.most = 255,
		.offset = AT(folders),
		.help = "IMAP: folders to pull, in UTF-8 with / between levels; * is all." },
	{ .name = "skip",
		.type = SETTINGS_LIST,
		.preset = "",
		.least = 1,
		.most = 255,
		.offset = AT(skip),
		.help = "IMAP: folders not to pull, when all are." },
	{ .name = "map",
		.type = SETTINGS_LIST,
		.preset = "",
		.least = 3,
		.most = 511,
		.offset = AT(map),
		.help = "IMAP: other names here, REMOTE=LOCAL each, as Gesendet=Sent. What is "
			"below a folder moves with it." },
	{ .name = "to",
		.type = SETTINGS_STRING,
		.preset = "",
		.least = 3,
		.most = 320,
		.offset = AT(to),
		.help = "The address of this host that gets the mail." },
	{ .name = "keep",
		.type = SETTINGS_BOOL,
		.preset = "yes",
		.offset = AT(keep),
		.help = "Whether mail stays on the server. With no it is deleted there, each "
			"message once it is safe here." },
	{ .name = "delete-after",
		.type = SETTINGS_SECONDS,
		.preset = "0",
		.most = UINT64_C(36500) * 86400,
		.offset = AT(delete_after),
		.help = "With keep = yes: delete on the server what is here and older than that, "
			"as 30d; 0 never." },
	{ .name = "idle",
		.type = SETTINGS_BOOL,
		.preset = "yes",
		.offset = AT(idle),
		.help = "IMAP: stay connected and be told of new mail at once, where the server "
			"can (RFC 2177)." },
	{ .name = "every",
		.type = SETTINGS_SECONDS,
		.preset = "5m",
		.least = 1,
		.most = 7 * 86400,
		.offset = AT(every),
		.help = "How often to look for new mail; while waiting in one folder, for the "
			"others." },
	{ .name = "enabled",
		.type = SETTINGS_BOOL,
		.preset = "yes",
		.offset = AT(enabled),
		.help = "With no, only restante bridge run pulls." },
};

static bool is_one_of(const char *word, const char *const *words, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (strcmp(word, words[i]) == 0)
			return true;
	}
	return false;
}

/* libetpan writes commands into 513 octets and looks for nothing; what is odd does not reach it. */
static bool is_plain(const char *string)
{
	for (; *string; string++) {
		if ((unsigned char)*string <= ' ' || *string == 127 || *string == '"' ||
			*string == '\\')
			return false;
	}
	return true;
}

static int verify_words(const struct bridge_account *account, char *error, size_t size)
{
	static const char *const protocols[] = { "imap", "pop3" };
	static const char *const tls[] = { "implicit", "starttls", "none" };
	static const char *const mechanisms[] = { "xoauth2", "oauthbearer" };

	if (!is_one_of(account->protocol, protocols, 2))
		snprintf(error, size, "protocol \"%s\" is not known; write imap or pop3",
			account->protocol);
	else if (!is_one_of(account->tls, tls, 3))
		snprintf(error, size, "tls \"%s\" is not known; write implicit, starttls or none",
			account->tls);
	else if (!is_one_of(account->token_mechanism, mechanisms, 2))
		snprintf(error, size,
			"token-mechanism \"%s\" is not known; write xoauth2 or oauthbearer",
			account->token_mechanism);
	else
		return 0;
	return -1;
}

static int verify_secret(const struct bridge_account *account, char *error, size_t size)
{
	const unsigned ways = (account->password_file[0] != '\0') +
			      (account->password_command.count != 0) +
			      (account->token_command.count != 0);
	const struct settings_list *command = account->password_command.count
						      ? &account->password_command
						      : &account->token_command;

	if (ways != 1) {
		snprintf(error, size,
			"password-file, password-command or token-command: give exactly one");
		return -1;
	}
	if (command->count && command->item[0][0] != '/') {
		snprintf(error, size, "%s is to begin with a program's absolute path",
			account->password_command.count ? "password-command" : "token-command");
		return -1;
	}
	return 0;
}

/* A name, or an address without brackets: what looks like one and is none has a port or a scheme in it. */
static bool is_host(const char *host)
{
	struct net_address address;

	return strpbrk(host, ":[]/") ? net_address_parse(text_of(host), &address) == 0
				     : is_plain(host);
}

static bool is_pin(const char *pin)
{
	return pin[0] == '\0' || (strlen(pin) == 64 && strspn(pin, "0123456789abcdefABCDEF") == 64);
}

static int verify_map(const struct bridge_account *account, char *error, size_t size)
{
	for (size_t i = 0; i < account->map.count; i++) {
		const char *equals = strchr(account->map.item[i], '=');
		if (equals && equals != account->map.item[i] && equals[1])
			continue;
		snprintf(error, size, "map \"%s\": write REMOTE=LOCAL", account->map.item[i]);
		return -1;
	}
	return 0;
}

static int verify_account(const void *values, char *error, size_t size)
{
	const struct bridge_account *account = values;
	const char *at = strrchr(account->to, '@');

	if (verify_words(account, error, size) != 0 || verify_secret(account, error, size) != 0 ||
		verify_map(account, error, size) != 0)
		return -1;
	if (!is_host(account->host))
		snprintf(error, size,
			"host \"%s\" is not a name or an address; write that alone, and a port "
			"other "
			"than the usual one as port",
			account->host);
	else if (strpbrk(account->user, "\r\n"))
		snprintf(error, size, "user holds a line end");
	else if (!at || at == account->to || !at[1] || !is_plain(account->to) ||
		 strpbrk(account->to, "<>"))
		snprintf(error, size, "to \"%s\" is not an address of this host", account->to);
	else if (!is_pin(account->pin))
		snprintf(error, size,
			"pin is to be 64 hexadecimal digits; restante bridge test tells the "
			"server's");
	else if (!account->keep && account->delete_after)
		snprintf(error, size, "delete-after is for keep = yes; keep = no deletes at once");
	else
		return 0;
	return -1;
}

const struct settings_section bridge_account_section = {
	.name = BRIDGE_ACCOUNT_PREFIX "NAME",
	.items = account_items,
	.count = sizeof(account_items) / sizeof(account_items[0]),
	.size = sizeof(struct bridge_account),
	.verify = verify_account,
};

bool bridge_name_is_good(struct text name)
{
	if (name.len == 0 || name.len > BRIDGE_NAME_LIMIT)
		return false;
	for (size_t i = 0; i < name.len; i++) {
		const char c = text_lower(name.ptr[i]);
		if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_'))
			return false;
	}
	return true;
}

enum bridge_protocol bridge_account_protocol(const struct bridge_account *account)
{
	return strcmp(account->protocol, "pop3") == 0 ? BRIDGE_POP3 : BRIDGE_IMAP;
}

enum bridge_tls bridge_account_tls(const struct bridge_account *account)
{
	if (strcmp(account->tls, "starttls") == 0)
		return BRIDGE_TLS_STARTTLS;
	return strcmp(account->tls, "none") == 0 ? BRIDGE_TLS_NONE : BRIDGE_TLS_IMPLICIT;
}

unsigned bridge_account_port(const struct bridge_account *account)
{
	const bool implicit = bridge_account_tls(account) == BRIDGE_TLS_IMPLICIT;

	if (account->port)
		return (unsigned)account->port;
	if (bridge_account_protocol(account) == BRIDGE_POP3)
		return implicit ? 995 : 110;
	return implicit ? 993 : 143;
}

void bridge_account_store(const struct bridge_account *account, struct buf *out)
{
	buf_format(out, "%s\n", account->name);
	settings_store(&bridge_account_section, account, out);
}

int bridge_account_load(
	struct text text, struct bridge_account *account, char *error, size_t error_size)
{
	struct text name;

	if (!text_split(&text, '\n', &name) || !bridge_name_is_good(name)) {
		snprintf(error, error_size, "an account without a name");
		return -1;
	}
	if (settings_load(&bridge_account_section, text, account, error, error_size) != 0)
		return -1;
	account->name = mem_copy(name.ptr, name.len);
	return 0;
}

void bridge_account_free(struct bridge_account *account)
{
	settings_free(&bridge_account_section, account);
	mem_free(account->name);
	account->name = NULL;
}
