/*
 * A whole session with a server that says what the fuzzer likes, and a delivery agent that is in order:
 * it ends, what it counts is what the agent took, and nothing is deleted there that is not here.
 *
 * The first octet: protocol, what the account keeps, how the agent answers. The rest: all that the server
 * says, whatever it is asked.
 */
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <strings.h>

#include "bridge/session.h"
#include "bridge/stream_tls.h"
#include "tests/fuzz/session.h"

const char *__lsan_default_suppressions(void);

/* libetpan forgets pieces of answers that make no sense; a session's process ends with its session. */
const char *__lsan_default_suppressions(void)
{
	return "leak:libetpan.so\n";
}

enum { CONNECTIONS = LMTP_LANES + 2, KEYS = 64, ROOM = 64 << 10 };

enum { IMAP = 1, KEEP = 2, REFUSES = 4, PUTS_OFF = 8, KNOWS_SOME = 16 };

/* ---- the delivery agent, in a thread ---- */

struct talk {
	int fd; /* -1: none */
	bool data;
	size_t used;
	char octets[ROOM], key[ONCE_LENGTH + 1];
};

static struct {
	int listener;
	pthread_mutex_t lock;
	unsigned mode;
	struct talk talks[CONNECTIONS];
	char keys[KEYS][ONCE_LENGTH + 1]; /* of what it has */
	size_t stored, known, accepted;
} agent = { .lock = PTHREAD_MUTEX_INITIALIZER };

static bool has(const char *key)
{
	for (size_t i = 0; i < agent.stored && i < KEYS; i++) {
		if (strcmp(agent.keys[i], key) == 0)
			return true;
	}
	return (agent.mode & KNOWS_SOME) && key[7] < '8';
}

static void say(const struct talk *talk, const char *line)
{
	fuzz_send(talk->fd, text_of(line));
}

static void answer_have(struct talk *talk, char *keys)
{
	char line[200] = "250", *rest = NULL;

	for (char *key = strtok_r(keys, " ", &rest); key; key = strtok_r(NULL, " ", &rest)) {
		const bool here = has(key);
		agent.known += here;
		strcat(line, here ? " 1700000000" : " -");
	}
	strcat(line, "\r\n");
	say(talk, line);
}

static void end_message(struct talk *talk)
{
	talk->data = false;
	if (agent.mode & REFUSES) {
		say(talk, "554 5.6.0 not this one\r\n");
		return;
	}
	if (agent.mode & PUTS_OFF) {
		say(talk, "451 4.3.0 later\r\n");
		return;
	}
	agent.accepted++;
	if (!has(talk->key) && agent.stored < KEYS)
		memcpy(agent.keys[agent.stored++], talk->key, sizeof(talk->key));
	say(talk, "250 2.0.0 stored\r\n");
}

static void take_line(struct talk *talk, char *line)
{
	char *once;

	if (talk->data) {
		if (strcmp(line, ".") == 0)
			end_message(talk);
	} else if (strncmp(line, "LHLO", 4) == 0) {
		say(talk, "250-here\r\n250-XDELIVER\r\n250 SIZE 65536\r\n");
	} else if (strncmp(line, "DATA", 4) == 0) {
		talk->data = true;
		say(talk, "354 go on\r\n");
	} else if (strncmp(line, "XHAVE ", 6) == 0) {
		answer_have(talk, line + 6);
	} else {
		REQUIRE(strncmp(line, "MAIL FROM:<", 11) == 0 || strcmp(line, "RSET") == 0 ||
			strncmp(line, "RCPT TO:<alice@example.test>", 28) == 0);
		once = strstr(line, " XONCE=");
		if (once)
			snprintf(talk->key, sizeof(talk->key), "%s", once + 7);
		say(talk, "250 2.0.0 well\r\n");
	}
}

static void hear(struct talk *talk)
{
	const ssize_t got = recv(talk->fd, talk->octets + talk->used, ROOM - talk->used, 0);
	char *line = talk->octets, *end;

	if (got <= 0) {
		close(talk->fd);
		talk->fd = -1;
		return;
	}
	talk->used += (size_t)got;
	while ((end = memmem(line, talk->used - (size_t)(line - talk->octets), "\r\n", 2))) {
		*end = '\0';
		take_line(talk, line);
		line = end + 2;
	}
	talk->used -= (size_t)(line - talk->octets);
	memmove(talk->octets, line, talk->used);
	REQUIRE(talk->used < ROOM);
}

static void greet(void)
{
	const int fd = fuzz_accept(agent.listener);

	for (size_t i = 0; fd >= 0 && i < CONNECTIONS; i++) {
		if (agent.talks[i].fd >= 0)
			continue;
		agent.talks[i].fd = fd;
		agent.talks[i].used = 0;
		agent.talks[i].data = false;
		say(&agent.talks[i], "220 here\r\n");
		return;
	}
	if (fd >= 0)
		close(fd);
}

static void *serve(void *unused)
{
	for (;;) {
		struct pollfd fds[CONNECTIONS + 1];
		for (size_t i = 0; i < CONNECTIONS; i++)
			fds[i] = (struct pollfd){ .fd = agent.talks[i].fd, .events = POLLIN };
		fds[CONNECTIONS] = (struct pollfd){ .fd = agent.listener, .events = POLLIN };
		REQUIRE(poll(fds, CONNECTIONS + 1, -1) > 0);
		pthread_mutex_lock(&agent.lock);
		for (size_t i = 0; i < CONNECTIONS; i++) {
			if (fds[i].revents)
				hear(&agent.talks[i]);
		}
		if (fds[CONNECTIONS].revents)
			greet();
		pthread_mutex_unlock(&agent.lock);
	}
	return unused;
}

/* ---- the session ---- */

static struct bridge_settings settings;
static struct bridge_account account;

static char directory[] = "/tmp/fuzz-pull-XXXXXX";
static char path[sizeof(directory) + 8];

static void clean_up(void)
{
	unlink(path);
	rmdir(directory);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	pthread_t thread;

	(void)argc, (void)argv;
	REQUIRE(mkdtemp(directory));
	atexit(clean_up);
	snprintf(path, sizeof(path), "%s/lmtp", directory);
	agent.listener = fuzz_listen(path);
	for (size_t i = 0; i < CONNECTIONS; i++)
		agent.talks[i].fd = -1;
	REQUIRE(pthread_create(&thread, NULL, serve, NULL) == 0);
	settings_preset(&bridge_role_section, &settings);
	settings_preset(&bridge_account_section, &account);
	fuzz_set(&bridge_role_section, &settings, "hand-over", path);
	account.name = mem_copy("home", 4);
	fuzz_set(&bridge_account_section, &account, "host", "imap.example.net");
	fuzz_set(&bridge_account_section, &account, "user", "anna");
	fuzz_set(&bridge_account_section, &account, "to", "alice@example.test");
	fuzz_set(&bridge_account_section, &account, "tls", "none");
	fuzz_set(&bridge_account_section, &account, "idle", "no");
	fuzz_set(&bridge_account_section, &account, "folders", "*");
	return 0;
}

static struct session *begin(int server, int reports)
{
	struct session *session = mem_new(sizeof(*session));

	session->options = (struct session_options){ .settings = &settings,
		.account = &account,
		.hostname = "mail.example.test",
		.purpose = SESSION_SERVE,
		.report = reports };
	memcpy(session->secret.string, "secret", 7);
	session->report.folder = session->report.sentence = TEXT("");
	session->stream = (struct stream){ .options = { .host = account.host,
						   .patience = 1,
						   .watch = reports,
						   .imap = (agent.mode & IMAP) != 0 },
		.fd = server };
	session->stream.mail =
		mailstream_new(mailstream_low_new(&session->stream, &stream_driver), 16384);
	stream_expect(&session->stream, 1, 16384);
	session_open_host(session);
	return session;
}

/* How often the server was told so, behind a tag where there are tags. */
static size_t count(struct text told, struct text command)
{
	struct text line;
	size_t found = 0;

	while (told.len && text_split(&told, '\n', &line)) {
		while (line.len && line.ptr[0] >= '0' && line.ptr[0] <= '9')
			line = text_from(line, 1);
		if (line.len && line.ptr[0] == ' ')
			line = text_from(line, 1);
		found += text_begins(line, command);
	}
	return found;
}

static void check(const struct session *session, struct text told)
{
	const size_t here = agent.known + agent.accepted;
	const size_t deletions = count(told, TEXT("DELE ")) + count(told, TEXT("UID STORE ")) +
				 count(told, TEXT("UID EXPUNGE "));

	REQUIRE(session->report.pulled == agent.accepted);
	REQUIRE(session->fault.kind != FAULT_STOPPED);
	REQUIRE(deletions == 0 || !(agent.mode & KEEP));
	/* By IMAP many at once; each DELE is of one message. */
	REQUIRE(deletions == 0 || here);
	REQUIRE((agent.mode & IMAP) || deletions <= here);
}

int LLVMFuzzerTestOneInput(const uint8_t *octets, size_t size)
{
	static char told[1 << 20];
	struct text in = fuzz_text(octets, size);
	int server[2], reports[2];

	pthread_mutex_lock(&agent.lock);
	agent.mode = fuzz_octet(&in);
	agent.stored = agent.known = agent.accepted = 0;
	pthread_mutex_unlock(&agent.lock);
	account.keep = agent.mode & KEEP;
	fuzz_pair(server);
	fuzz_pair(reports);
	fuzz_send(server[0], in);
	shutdown(server[0], SHUT_WR);
	struct session *session = begin(server[1], reports[1]);
	const int result = agent.mode & IMAP ? imap_serve(session) : pop3_serve(session);
	session_check(session);
	REQUIRE(result == 0 || session->fault.kind != FAULT_NONE);
	stream_close(&session->stream);
	const ssize_t got = recv(server[0], told, sizeof(told), 0);
	pthread_mutex_lock(&agent.lock);
	check(session, (struct text){ .ptr = told, .len = got > 0 ? (size_t)got : 0 });
	pthread_mutex_unlock(&agent.lock);
	secret_forget(&session->secret);
	lmtp_free(&session->lmtp);
	buf_release(&session->hint);
	mem_free(session);
	close(server[0]);
	close(reports[0]);
	close(reports[1]);
	return 0;
}
