#include "bridge/imap.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"

enum {
	LIST_OCTETS = 4 << 20,
	REST_MILLISECONDS = 100, /* between two looks at a folder */
	HINT_NUMBERS = 6,
	HINT_LINE = HINT_NUMBERS * 21 + 1, /* and the name */
};

void imap_expect(struct imap *imap, unsigned seconds, uint64_t octets)
{
	stream_expect(&imap->session->stream, seconds, octets);
}

static void expect_little(struct imap *imap)
{
	imap_expect(imap, IMAP_COMMAND_SECONDS, IMAP_COMMAND_OCTETS);
}

int imap_result(struct imap *imap, int result, const char *doing)
{
	struct session *session = imap->session;
	struct fault_quote said;

	if (session_check(session) != 0)
		return -1;
	switch (result) {
	case MAILIMAP_NO_ERROR:
	case MAILIMAP_NO_ERROR_AUTHENTICATED:
	case MAILIMAP_NO_ERROR_NON_AUTHENTICATED:
		return 0;
	case MAILIMAP_ERROR_PARSE:
		return fault_set(&session->fault, FAULT_SERVER,
			"%s: the server says what makes no sense", doing);
	case MAILIMAP_ERROR_MEMORY:
		return fault_set(&session->fault, FAULT_SERVER,
			"%s: the answer takes more memory than there is for it", doing);
	default:
		break;
	}
	if (imap->etpan->imap_response)
		secret_hide(&session->secret, imap->etpan->imap_response);
	said = fault_quote(imap->etpan->imap_response);
	return fault_set(&session->fault,
		result == MAILIMAP_ERROR_LOGIN ? FAULT_LOGIN : FAULT_SERVER, "%s%s%s", doing,
		said.string[0] ? "; the server says: " : "", said.string);
}

/* ---- what the server can do ---- */

static void note_capability(struct imap *imap, const char *name, bool is_auth)
{
	static const struct {
		const char *name;
		bool is_auth;
		unsigned bit;
	} known[] = {
		{ "STARTTLS", false, IMAP_STARTTLS },
		{ "LOGINDISABLED", false, IMAP_LOGIN_DISABLED },
		{ "IDLE", false, IMAP_IDLE },
		{ "UIDPLUS", false, IMAP_UIDPLUS },
		{ "SASL-IR", false, IMAP_SASL_IR },
		{ "PLAIN", true, IMAP_AUTH_PLAIN },
		{ "XOAUTH2", true, IMAP_AUTH_XOAUTH2 },
		{ "OAUTHBEARER", true, IMAP_AUTH_OAUTHBEARER },
	};

	for (size_t i = 0; name && i < sizeof(known) / sizeof(known[0]); i++) {
		if (known[i].is_auth == is_auth &&
			text_equal_nocase(text_of(name), text_of(known[i].name)))
			imap->capabilities |= known[i].bit;
	}
}

/* Asked anew in each state: what was told before TLS is anybody's word. */
static int ask_capabilities(struct imap *imap)
{
	struct mailimap_connection_info *info = imap->etpan->imap_connection_info;

	imap->capabilities = 0;
	if (info && info->imap_capability) {
		mailimap_capability_data_free(info->imap_capability);
		info->imap_capability = NULL;
	}
	expect_little(imap);
	if (imap_result(imap, mailimap_custom_command(imap->etpan, "CAPABILITY"),
		    "what the server can do is not told") != 0)
		return -1;
	info = imap->etpan->imap_connection_info;
	const struct mailimap_capability_data *data = info ? info->imap_capability : NULL;
	for (clistiter *at = data && data->cap_list ? clist_begin(data->cap_list) : NULL; at;
		at = clist_next(at)) {
		const struct mailimap_capability *capability = clist_content(at);
		const bool is_auth = capability->cap_type == MAILIMAP_CAPABILITY_AUTH_TYPE;
		note_capability(imap,
			is_auth ? capability->cap_data.cap_auth_type
				: capability->cap_data.cap_name,
			is_auth);
	}
	return 0;
}

/* ---- login ---- */

static int start_tls(struct imap *imap)
{
	struct session *session = imap->session;

	if (ask_capabilities(imap) != 0)
		return -1;
	if (!(imap->capabilities & IMAP_STARTTLS))
		return fault_set(&session->fault, FAULT_TLS,
			"the server offers no STARTTLS, or somebody between removes it; nothing "
			"was sent in the clear");
	expect_little(imap);
	const int result = mailimap_starttls(imap->etpan);
	if (result == MAILIMAP_ERROR_STARTTLS && session->stream.mail->read_buffer_len)
		return fault_set(&session->fault, FAULT_TLS,
			"somebody put words between STARTTLS and TLS; nothing was sent in the "
			"clear");
	if (result == MAILIMAP_ERROR_STARTTLS)
		return fault_set(&session->fault, FAULT_TLS, "the server refuses STARTTLS");
	if (imap_result(imap, result, "STARTTLS failed") != 0)
		return -1;
	if (stream_start_tls(&session->stream) != 0)
		return session_check(session);
	return 0;
}

/* One line of the server's, before libetpan looks at it. NULL with a fault. */
static const char *peek_line(struct imap *imap)
{
	const char *line = mailimap_read_line(imap->etpan);

	if (!line)
		imap_result(imap, MAILIMAP_ERROR_STREAM, "login");
	return line;
}

static int send_line(struct imap *imap, struct text line)
{
	mailstream *mail = imap->session->stream.mail;

	if (mailstream_write(mail, line.ptr, line.len) == (ssize_t)line.len &&
		mailstream_write(mail, "\r\n", 2) == 2 && mailstream_flush(mail) == 0)
		return 0;
	return imap_result(imap, MAILIMAP_ERROR_STREAM, "login");
}

/* The lines of AUTHENTICATE (RFC 9051 section 6.2.2), with SASL-IR or without, up to the tagged one. */
static int exchange(
	struct imap *imap, const char *mechanism, struct text coded, struct text refusal)
{
	const bool at_once = imap->capabilities & IMAP_SASL_IR;
	struct buf line = { 0 };
	bool given = at_once;

	buf_format(&line, "AUTHENTICATE %s%s", mechanism, at_once ? " " : "");
	if (at_once)
		buf_add(&line, coded);
	int result = send_line(imap, buf_text(&line));
	buf_wipe(&line);
	for (int i = 0; result == 0 && i < 4; i++) {
		const char *said = peek_line(imap);
		if (!said)
			return -1;
		if (said[0] != '+')
			return 0;
		/* Asked again, it is a refusal with details. */
		result = send_line(imap, given ? refusal : coded);
		given = true;
	}
	return result != 0 ? -1 : imap_result(imap, MAILIMAP_ERROR_PARSE, "login");
}

/* Takes octets. refusal: what a challenge after the response is answered with. */
static int authenticate(
	struct imap *imap, const char *mechanism, struct buf *octets, struct text refusal)
{
	struct mailimap_response *response = NULL;
	const struct text coded = secret_code(&imap->session->secret, octets);

	expect_little(imap);
	if (imap_result(imap, mailimap_send_current_tag(imap->etpan), "login") != 0 ||
		exchange(imap, mechanism, coded, refusal) != 0)
		return -1;
	if (imap_result(imap, mailimap_parse_response(imap->etpan, &response),
		    "the server refuses user and password") != 0)
		return -1;
	const int verdict = response->rsp_resp_done->rsp_data.rsp_tagged->rsp_cond_state->rsp_type;
	mailimap_response_free(response);
	if (verdict != MAILIMAP_RESP_COND_STATE_OK)
		return imap_result(imap, MAILIMAP_ERROR_LOGIN, "the server refuses the login");
	imap->etpan->imap_state = MAILIMAP_STATE_AUTHENTICATED;
	return 0;
}

static int login_with_token(struct imap *imap)
{
	const struct bridge_account *account = imap->session->options.account;
	const bool bearer = strcmp(account->token_mechanism, "oauthbearer") == 0;
	struct buf octets = { 0 };

	if (!(imap->capabilities & (bearer ? IMAP_AUTH_OAUTHBEARER : IMAP_AUTH_XOAUTH2)))
		return fault_set(&imap->session->fault, FAULT_SETTINGS,
			"the server does not take tokens by %s", account->token_mechanism);
	secret_add_token(&imap->session->secret, account, &octets);
	/* RFC 7628 section 3.2.3: a lone %x01 in base64; XOAUTH2 wants an empty line. */
	return authenticate(imap, bearer ? "OAUTHBEARER" : "XOAUTH2", &octets,
		bearer ? TEXT("AQ==") : TEXT(""));
}

static int login_with_password(struct imap *imap)
{
	struct session *session = imap->session;
	const char *user = session->options.account->user, *password = session->secret.string;
	struct buf octets = { 0 };

	if (imap->capabilities & IMAP_AUTH_PLAIN) {
		buf_add_char(&octets, '\0');
		buf_add_string(&octets, user);
		buf_add_char(&octets, '\0');
		buf_add_string(&octets, password);
		return authenticate(imap, "PLAIN", &octets, TEXT(""));
	}
	if (imap->capabilities & IMAP_LOGIN_DISABLED)
		return fault_set(&session->fault, FAULT_LOGIN,
			"the server takes no password on this connection%s",
			session->stream.ssl ? "" : "; try tls = starttls");
	expect_little(imap);
	return imap_result(imap, mailimap_login(imap->etpan, user, password),
		"the server refuses user and password");
}

int imap_login(struct imap *imap)
{
	struct session *session = imap->session;
	const enum bridge_tls tls = bridge_account_tls(session->options.account);

	if (tls == BRIDGE_TLS_IMPLICIT && stream_start_tls(&session->stream) != 0)
		return session_check(session);
	expect_little(imap);
	const int greeting = mailimap_connect(imap->etpan, session->stream.mail);
	if (imap_result(imap, greeting, "the server does not greet as IMAP does") != 0)
		return -1;
	if (greeting == MAILIMAP_NO_ERROR_AUTHENTICATED)
		return fault_set(&session->fault, FAULT_SERVER,
			"the server takes us for somebody who has logged in already");
	if (tls == BRIDGE_TLS_STARTTLS && start_tls(imap) != 0)
		return -1;
	if (ask_capabilities(imap) != 0)
		return -1;
	const int result =
		session->secret.is_token ? login_with_token(imap) : login_with_password(imap);
	secret_forget(&session->secret);
	return result == 0 ? ask_capabilities(imap) : -1;
}

/* ---- folders ---- */

static bool is_selectable(const struct mailimap_mbx_list_flags *flags)
{
	return !flags || flags->mbf_type != MAILIMAP_MBX_LIST_FLAGS_SFLAG ||
	       flags->mbf_sflag != MAILIMAP_MBX_LIST_SFLAG_NOSELECT;
}

static struct imap_folder *find_folder(struct imap *imap, const char *name)
{
	struct imap_folder *folder = imap->folders;

	while (folder && strcmp(folder->name, name) != 0)
		folder = folder->following;
	return folder;
}

static struct imap_folder *find_remote(struct imap *imap, struct text remote)
{
	struct imap_folder *folder = imap->folders;

	while (folder && !text_equal(text_of(folder->remote), remote))
		folder = folder->following;
	return folder;
}

/* By this name it is opened, and its messages are told from others: however it is listed, the same one. */
static struct text remote_name(const struct mailimap_mailbox_list *entry)
{
	struct text name = text_of(entry->mb_name);

	if (entry->mb_delimiter && name.len && name.ptr[name.len - 1] == entry->mb_delimiter)
		name.len--;
	return text_equal_nocase(name, TEXT("INBOX")) ? TEXT("INBOX") : name;
}

/* INBOX first, for that is where somebody waits for mail. */
static void add_folder(struct imap *imap, const struct mailimap_mailbox_list *entry)
{
	const struct bridge_account *account = imap->session->options.account;
	struct imap_folder *folder = mem_new(sizeof(*folder)), **at = &imap->folders;
	const struct text remote = remote_name(entry);

	if (folder_readable(remote, entry->mb_delimiter, folder->name) != 0) {
		session_notice(imap->session, REPORT_NOTICE_FOLDERS,
			"a folder has a name that cannot be one here: %s",
			fault_quote(entry->mb_name).string);
		mem_free(folder);
		return;
	}
	if (!is_selectable(entry->mb_flag) || !folder_is_wanted(account, folder->name) ||
		find_remote(imap, remote)) {
		mem_free(folder);
		return;
	}
	if (folder_local(account, folder->name, folder->local) != 0) {
		session_notice(imap->session, REPORT_NOTICE_FOLDERS,
			"the name of folder %s gets too long here; its mail stays there",
			folder->name);
		mem_free(folder);
		return;
	}
	if (find_folder(imap, folder->name))
		session_notice(imap->session, REPORT_NOTICE_FOLDERS,
			"the server has several folders that are all %s here; their mail goes "
			"into the one mailbox",
			folder->name);
	folder->remote = mem_copy(remote.ptr, remote.len);
	while (*at && strcmp(folder->name, "INBOX") != 0)
		at = &(*at)->following;
	folder->following = *at;
	*at = folder;
}

static void say_missing(struct imap *imap)
{
	const struct settings_list *wanted = &imap->session->options.account->folders;

	for (size_t i = 0; i < wanted->count; i++) {
		if (strcmp(wanted->item[i], "*") != 0 && !find_folder(imap, wanted->item[i]))
			session_notice(imap->session, REPORT_NOTICE_FOLDERS,
				"there is no folder %.200s on the server", wanted->item[i]);
	}
}

static int list_folders(struct imap *imap)
{
	clist *list = NULL;
	clistiter *at;
	size_t count = 0;

	imap_expect(imap, IMAP_COMMAND_SECONDS, LIST_OCTETS);
	if (imap_result(imap, mailimap_list(imap->etpan, "", "*", &list),
		    "the folders are not listed") != 0)
		return -1;
	for (at = clist_begin(list); at && count < IMAP_FOLDERS_MOST; at = clist_next(at), count++)
		add_folder(imap, clist_content(at));
	if (at)
		session_notice(imap->session, REPORT_NOTICE_FOLDERS,
			"the server has more folders than are looked at (%d)", IMAP_FOLDERS_MOST);
	mailimap_list_result_free(list);
	say_missing(imap);
	return 0;
}

/* ---- what the session before has left: lines "UIDVALIDITY next count first again looked name" ---- */

static int take_numbers(struct text *line, uint64_t numbers[HINT_NUMBERS])
{
	static const uint64_t most[HINT_NUMBERS] = { UINT32_MAX, UINT64_C(1) << 32,
		SESSION_MESSAGES_MOST, UINT32_MAX, INT64_MAX, INT64_MAX };
	struct text word;

	for (size_t i = 0; i < HINT_NUMBERS; i++) {
		if (!text_split(line, ' ', &word) ||
			text_to_number(word, most[i], &numbers[i]) != 0)
			return -1;
	}
	return 0;
}

static void take_hint(struct imap *imap)
{
	struct text rest = buf_text(&imap->session->hint), line;
	uint64_t numbers[HINT_NUMBERS];

	while (rest.len && text_split(&rest, '\n', &line)) {
		if (take_numbers(&line, numbers) != 0)
			continue;
		struct imap_folder *folder = find_remote(imap, line);
		if (!folder)
			continue;
		folder->uidvalidity = (uint32_t)numbers[0];
		folder->next = numbers[1];
		folder->staying = (struct imap_staying){ .count = numbers[2],
			.first = (uint32_t)numbers[3],
			.again = (int64_t)numbers[4] };
		folder->looked = (int64_t)numbers[5];
	}
}

static void leave_hint(struct imap *imap)
{
	struct buf *hint = &imap->session->hint;

	buf_clear(hint);
	for (const struct imap_folder *at = imap->folders; at; at = at->following) {
		if (at->uidvalidity &&
			buf_length(hint) + HINT_LINE + strlen(at->remote) < SESSION_HINT)
			buf_format(hint,
				"%u %" PRIu64 " %" PRIu64 " %u %" PRId64 " %" PRId64 " %s\n",
				at->uidvalidity, at->next, at->staying.count, at->staying.first,
				at->staying.again, at->looked, at->remote);
	}
}

static void say_staying(struct imap *imap)
{
	uint64_t count = 0;

	for (const struct imap_folder *at = imap->folders; at; at = at->following)
		count += at->staying.count;
	session_say_staying(imap->session, count);
}

/* ---- the session ---- */

static int pull_all(struct imap *imap)
{
	struct session *session = imap->session;
	bool opened = false;

	for (struct imap_folder *at = imap->folders; at; at = at->following) {
		const int result = imap_pull_folder(imap, at);
		leave_hint(imap);
		if (result != 0)
			return -1;
		opened = opened || !at->closed;
	}
	if (imap->folders && !opened)
		return fault_set(&session->fault, FAULT_SERVER, "%s",
			session->notices[REPORT_NOTICE_FOLDERS]);
	say_staying(imap);
	return 0;
}

/* A server that tells of something all the time does not keep us busy all the time. */
static int take_rest(struct imap *imap, int64_t since)
{
	struct session *session = imap->session;
	const int64_t left = since + REST_MILLISECONDS - stream_now();

	if (left <= 0)
		return 0;
	stream_poll(-1, 0, session->options.report, left, &session->fault);
	return session_check(session);
}

/*
 * Stay with the first folder; look at the others every now and then. 0 when that folder is closed: then
 * there is nothing to wait in.
 */
static int stay(struct imap *imap)
{
	struct session *session = imap->session;
	const int64_t every = (int64_t)session->options.account->every * 1000;
	int64_t others_due = stream_now() + every;
	int result = 0;

	/* The folder that is waited in is the one that is open. */
	if (imap->folders->following)
		result = imap_pull_folder(imap, imap->folders);
	while (result == 0 && !imap->folders->closed) {
		const int64_t now = stream_now(), left = others_due - now;
		session_say(session, REPORT_WAITING);
		result = imap_wait(imap, left > 0 ? (unsigned)(left / 1000 + 1) : 0);
		if (result == 0)
			result = take_rest(imap, now);
		if (result == 0 && stream_now() >= others_due) {
			result = pull_all(imap);
			if (result == 0 && imap->folders->following)
				result = imap_pull_folder(imap, imap->folders);
			others_due = stream_now() + every;
		} else if (result == 0) {
			result = imap_pull_folder(imap, imap->folders);
			say_staying(imap);
		}
		leave_hint(imap);
	}
	return result;
}

static int converse(struct imap *imap)
{
	struct session *session = imap->session;
	const struct bridge_account *account = session->options.account;

	if (imap_login(imap) != 0)
		return -1;
	if (session->options.purpose == SESSION_TEST)
		session_tell(session, "%s port %u: logged in as %s", account->host,
			bridge_account_port(account), account->user);
	session_say(session, REPORT_PULLING);
	if (list_folders(imap) != 0)
		return -1;
	take_hint(imap);
	if (pull_all(imap) != 0)
		return -1;
	if (session->options.purpose == SESSION_SERVE && account->idle && imap->folders)
		return stay(imap);
	return 0;
}

int imap_serve(struct session *session)
{
	struct imap imap = { .session = session, .etpan = mailimap_new(0, NULL) };

	if (!imap.etpan)
		LOG_FATAL("out-of-memory", LOG_STRING("what", "IMAP"));
	int result = converse(&imap);
	if (result == 0) {
		expect_little(&imap);
		mailimap_logout(imap.etpan);
		if (!imap.etpan->imap_stream)
			session->stream.mail = NULL;
	}
	/* The stream is closed by who opened it. */
	imap.etpan->imap_stream = NULL;
	mailimap_free(imap.etpan);
	while (imap.folders) {
		struct imap_folder *folder = imap.folders;
		imap.folders = folder->following;
		mem_free(folder->remote);
		mem_free(folder);
	}
	return result;
}
