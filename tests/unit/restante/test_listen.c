/* Sockets: bound where the settings say, for whom they are, and told apart when they cannot be had. */
#include <arpa/inet.h>
#include <dirent.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "restante/banner.h"
#include "restante/listen.h"

static char directory[64];

static int enter_directory(void **state)
{
	(void)state;
	snprintf(directory, sizeof(directory), "/tmp/restante-test-XXXXXX");
	return mkdtemp(directory) ? chdir(directory) : -1;
}

static int leave_directory(void **state)
{
	(void)state;
	unlink("conf");
	return chdir("/") == 0 ? rmdir(directory) : -1;
}

static char heard[2000];

static void hear(void *owner, const char *sentence)
{
	(void)owner;
	const size_t used = strlen(heard);
	snprintf(heard + used, sizeof(heard) - used, "%s\n", sentence);
}

static struct host_settings *read_settings(const char *octets)
{
	const struct host_source source = { .file = "conf" };
	struct host_settings *settings;
	FILE *file = fopen("conf", "w");

	assert_non_null(file);
	fputs(octets, file);
	assert_int_equal(fclose(file), 0);
	heard[0] = '\0';
	assert_int_equal(host_settings_read(&source, &settings, hear, NULL), 0);
	return settings;
}

static const char loopback[] = "smtp-in { listen = { 127.0.0.1:0, 127.0.0.1:0 } }\n"
			       "pop3d { listen = { 127.0.0.1:0 }\n listen-tls = { } }\n"
			       "mda { socket-mode = 0660 }\n";

static const struct listener *find(const struct listeners *listeners, const char *name)
{
	for (size_t i = 0; i < listeners->count; i++) {
		if (strcmp(listeners->list[i].name, name) == 0)
			return &listeners->list[i];
	}
	return NULL;
}

static void check_socket(
	const struct host_settings *settings, const char *name, mode_t mode, int role)
{
	const uid_t uid = geteuid() != 0 ? geteuid()
			  : role < 0
				  ? 0
				  : (uid_t)host_settings_common(settings)->uid_base + (uid_t)role;
	struct stat st;

	assert_int_equal(lstat(name, &st), 0);
	assert_true(S_ISSOCK(st.st_mode));
	assert_int_equal(st.st_mode & 07777, mode);
	assert_int_equal(st.st_uid, uid);
}

static void test_all_bound(void **state)
{
	struct host_settings *settings = read_settings(loopback);
	struct listeners listeners;

	(void)state;
	assert_int_equal(listeners_bind(&listeners, settings, NULL, hear, NULL), 0);
	assert_string_equal(heard, "");
	check_socket(settings, "store-smtp-in", 0600, PRIV_SMTP_IN);
	check_socket(settings, "store-mda", 0600, PRIV_MDA);
	check_socket(settings, "store-pop3d", 0600, PRIV_POP3D);
	check_socket(settings, "store-admin", 0600, -1);
	check_socket(settings, "lmtp", 0660, -1);
	check_socket(settings, "lmtp-smtp-in", 0600, PRIV_SMTP_IN);
	check_socket(settings, "admin", 0600, -1);
	assert_int_equal(find(&listeners, "store-pop3d")->role, HOST_STORE);
	assert_int_equal(find(&listeners, "lmtp")->role, HOST_MDA);
	assert_int_equal(find(&listeners, "smtp")->role, HOST_SMTP_IN);
	assert_null(find(&listeners, "pop3s"));
	listeners_free(&listeners);
	assert_int_equal(access("lmtp", F_OK), -1);
	assert_int_equal(access("admin", F_OK), -1);
	host_settings_free(&settings);
}

/* The ports that the kernel chose are told, and a client finds them. */
static void test_ports(void **state)
{
	struct host_settings *settings = read_settings(loopback);
	struct listeners listeners;
	struct buf ports = { 0 };
	unsigned smtp, pop3;

	(void)state;
	assert_int_equal(listeners_bind(&listeners, settings, NULL, hear, NULL), 0);
	banner_print_ports(&ports, &listeners);
	buf_add_char(&ports, '\0');
	assert_int_equal(sscanf(buf_text(&ports).ptr, "smtp=%u\npop3=%u\n", &smtp, &pop3), 2);
	const struct sockaddr_in address = {
		.sin_family = AF_INET,
		.sin_port = htons((uint16_t)pop3),
		.sin_addr = { htonl(INADDR_LOOPBACK) },
	};
	const int fd = socket(AF_INET, SOCK_STREAM, 0);
	assert_int_equal(connect(fd, (const struct sockaddr *)&address, sizeof(address)), 0);
	close(fd);
	buf_release(&ports);
	listeners_free(&listeners);
	host_settings_free(&settings);
}

static void test_banner_names_what_there_is(void **state)
{
	struct host_settings *settings = read_settings(loopback);
	struct listeners listeners;
	struct buf banner = { 0 };

	(void)state;
	assert_int_equal(listeners_bind(&listeners, settings, NULL, hear, NULL), 0);
	banner_print(&banner, &listeners, "/it's here/restante", "/some/where");
	buf_add_char(&banner, '\0');
	const char *text = buf_text(&banner).ptr;
	assert_non_null(strstr(text, find(&listeners, "smtp")->where));
	assert_non_null(strstr(text, find(&listeners, "pop3")->where));
	assert_non_null(strstr(text, "    '/it'\\''s here/restante' trace bob@example.test -c "
				     "/some/where/restante.conf\n"));
	assert_non_null(strstr(text, "| curl "));
	assert_null(strstr(text, "submission"));
	buf_release(&banner);
	listeners_free(&listeners);
	host_settings_free(&settings);
}

static void test_taken_addresses_are_all_named(void **state)
{
	struct host_settings *first = read_settings(loopback), *second;
	struct listeners listeners, more;
	char octets[300];

	(void)state;
	assert_int_equal(listeners_bind(&listeners, first, NULL, hear, NULL), 0);
	const char *smtp = find(&listeners, "smtp")->where, *pop3 = find(&listeners, "pop3")->where;
	snprintf(octets, sizeof(octets),
		"smtp-in { listen = { %s } }\npop3d { listen = { %s, 192.0.2.1:0 }\n"
		"listen-tls = { } }\nmda { socket = other }\n",
		smtp, pop3);
	second = read_settings(octets);
	assert_int_equal(listeners_bind(&more, second, "try elsewhere", hear, NULL), -1);
	assert_int_equal(more.count, 0);
	assert_non_null(strstr(heard, smtp));
	assert_non_null(strstr(heard, pop3));
	assert_non_null(strstr(heard, "smtp-in.listen: Address already in use\n"));
	assert_string_equal(heard + strlen(heard) - 15, "\ntry elsewhere\n");
	assert_non_null(strstr(heard, "192.0.2.1:0 for POP3, pop3d.listen: "));
	listeners_free(&listeners);
	host_settings_free(&first);
	host_settings_free(&second);
}

/* What a killed host left is replaced; a file that is no socket is not ours to remove. */
static void test_stale_sockets(void **state)
{
	struct host_settings *settings = read_settings(loopback);
	struct listeners listeners, again;
	struct stat st;

	(void)state;
	assert_int_equal(listeners_bind(&listeners, settings, NULL, hear, NULL), 0);
	assert_int_equal(listeners_bind(&again, settings, NULL, hear, NULL), 0);
	listeners_free(&listeners);
	listeners_free(&again);
	FILE *file = fopen("store-mda", "w");
	assert_int_equal(fclose(file), 0);
	assert_int_equal(listeners_bind(&listeners, settings, NULL, hear, NULL), -1);
	assert_non_null(strstr(heard, "store-mda"));
	assert_int_equal(stat("store-mda", &st), 0);
	unlink("store-mda");
	host_settings_free(&settings);
}

static void test_store_alone(void **state)
{
	struct host_settings *settings = read_settings(loopback);
	struct listeners listeners;

	(void)state;
	assert_int_equal(listeners_bind_store_admin(&listeners, settings, hear, NULL), 0);
	assert_int_equal(listeners.count, 1);
	check_socket(settings, "store-admin", 0600, -1);
	listeners_free(&listeners);
	host_settings_free(&settings);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_all_bound),
		cmocka_unit_test(test_ports),
		cmocka_unit_test(test_banner_names_what_there_is),
		cmocka_unit_test(test_taken_addresses_are_all_named),
		cmocka_unit_test(test_stale_sockets),
		cmocka_unit_test(test_store_alone),
	};

	return cmocka_run_group_tests(tests, enter_directory, leave_directory);
}
