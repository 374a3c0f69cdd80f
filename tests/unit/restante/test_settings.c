/* The settings of the whole host: what the tables must have, overrides, lines of mistakes, the demo's. */
#include <dlfcn.h>
#include <errno.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/limits.h"
#include "base/mem.h"
#include "restante/demo_settings.h"
#include "restante/settings.h"

static char directory[64];

static int make_directory(void **state)
{
	(void)state;
	snprintf(directory, sizeof(directory), "/tmp/restante-test-XXXXXX");
	return mkdtemp(directory) ? 0 : -1;
}

static int remove_directory(void **state)
{
	char file[100];

	(void)state;
	snprintf(file, sizeof(file), "%s/file", directory);
	unlink(file);
	return rmdir(directory);
}

/*
 * Stand before the C library's: machines with other cores than are here. 0: as many as there are. allowed -1:
 * more than fit into the set.
 */
static long cores, allowed;

long sysconf(int name)
{
	long (*real)(int) = (long (*)(int))dlsym(RTLD_NEXT, "sysconf");

	return cores && name == _SC_NPROCESSORS_ONLN ? cores : real(name);
}

int sched_getaffinity(pid_t pid, size_t size, cpu_set_t *set)
{
	int (*real)(pid_t, size_t, cpu_set_t *) =
		(int (*)(pid_t, size_t, cpu_set_t *))dlsym(RTLD_NEXT, "sched_getaffinity");

	if (!allowed)
		return real(pid, size, set);
	CPU_ZERO_S(size, set);
	for (int i = 0; i < allowed; i++)
		CPU_SET_S(2 * i + 1, size, set);
	errno = EINVAL;
	return allowed < 0 ? -1 : 0;
}

static const char *write_file(const char *octets, size_t size)
{
	static char path[100];

	snprintf(path, sizeof(path), "%s/file", directory);
	FILE *file = fopen(path, "w");
	assert_non_null(file);
	assert_int_equal(fwrite(octets, 1, size, file), size);
	assert_int_equal(fclose(file), 0);
	return path;
}

struct heard {
	unsigned count;
	char all[4096];
};

static void hear(void *owner, const char *sentence)
{
	struct heard *heard = owner;
	const size_t used = strlen(heard->all);

	heard->count++;
	snprintf(heard->all + used, sizeof(heard->all) - used, "%s\n", sentence);
}

static int read_settings(const char *octets, const char *const *overrides, size_t count,
	struct host_settings **settings, struct heard *heard)
{
	const struct host_source source = {
		.file = write_file(octets, strlen(octets)),
		.overrides = overrides,
		.override_count = count,
	};

	*heard = (struct heard){ 0 };
	return host_settings_read(&source, settings, hear, heard);
}

/* The supervisor looks items up by name: each must be there, with the type it takes. */
static void test_tables_have_what_we_ask_for(void **state)
{
	struct host_settings *settings;
	struct heard heard;

	(void)state;
	assert_int_equal(read_settings("", NULL, 0, &settings, &heard), 0);
	for (size_t i = 0; i < HOST_SERVICES; i++)
		host_settings_list(settings, host_services[i].role, host_services[i].item);
	assert_string_equal(host_settings_string(settings, HOST_MDA, "socket"), "lmtp");
	assert_int_equal(host_settings_socket_mode(settings), 0666);
	for (enum host_role_id role = 0; role < HOST_ROLES; role++) {
		assert_ptr_equal(host_sections[1 + role], host_roles[role].section);
		assert_string_equal(host_roles[role].section->name, host_roles[role].name);
		assert_true(host_settings_workers(settings, role) >= 1);
	}
	assert_int_equal(host_settings_workers(settings, HOST_STORE), 1);
	host_settings_free(&settings);
	assert_null(settings);
}

/*
 * A worker for each core that may be used. The table of limits has columns for so many, and a host that wants
 * more does not start.
 */
static void test_many_cores(void **state)
{
	static const struct {
		long cores, allowed;
		unsigned workers;
	} cases[] = { { 1, 1, 1 }, { 64, 64, 64 }, { 65, 65, 64 }, { 256, 256, 64 }, { 64, 3, 3 },
		{ 256, 1, 1 }, { 2048, -1, 64 }, { 2, -1, 2 }, { -1, -1, 1 } };
	struct host_settings *settings;
	struct heard heard;

	(void)state;
	assert_int_equal(read_settings("", NULL, 0, &settings, &heard), 0);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		cores = cases[i].cores;
		allowed = cases[i].allowed;
		const unsigned workers = host_settings_workers(settings, HOST_SMTP_IN);
		assert_int_equal(workers, cases[i].workers);
		const int fd = limits_make(workers);
		assert_true(fd >= 0);
		close(fd);
	}
	cores = allowed = 0;
	assert_int_equal(limits_make(LIMITS_WORKERS + 1), -1);
	assert_int_equal(errno, EINVAL);
	host_settings_free(&settings);
}

/* What a role would refuse is a mistake here: a reload would end every role. */
static void test_all_can_be_handed_over(void **state)
{
	struct buf octets = { 0 };
	struct host_settings *settings;
	struct heard heard;

	(void)state;
	buf_add_string(&octets, "domains = { a.test");
	for (unsigned i = 0; i < 18000; i++)
		buf_format(&octets, ", domain%u.test", i);
	buf_add_string(&octets, " }\nmda { listen = { 127.0.0.1:1");
	for (unsigned i = 0; i < 33000; i++)
		buf_add_string(&octets, ", 127.0.0.1:10000");
	buf_add_string(&octets, " } }\n");
	buf_add_char(&octets, '\0');
	assert_int_equal(read_settings(buf_text(&octets).ptr, NULL, 0, &settings, &heard), -1);
	assert_int_equal(heard.count, 2);
	assert_non_null(strstr(heard.all, "/file: the top of the file"));
	assert_non_null(strstr(heard.all, "/file: mda: "));
	host_settings_free(&settings);
	buf_release(&octets);
}

/* "xn--a" claims to be an A-label and is none. */
static void test_domains_are_names(void **state)
{
	struct host_settings *settings;
	struct heard heard;

	(void)state;
	assert_int_equal(read_settings("domains = { m\xc3\xbcller.test, xn--mller-kva.test,\n"
				       "	xn--a.test }\n",
				 NULL, 0, &settings, &heard),
		-1);
	assert_non_null(strstr(
		heard.all, ":2: domains: \"xn--a.test\" is no valid internationalized domain\n"));
	host_settings_free(&settings);
}

/* What EHLO tells has to get through; another LMTP server has limits of its own. */
static void test_recipients_are_kept(void **state)
{
	static const char octets[] = "domains = { a.example }\n"
				     "smtp-in { recipients = 300 }\n"
				     "mda { recipients = 200 }\n";
	const char *const elsewhere[] = { "smtp-in.hand-over=inet:127.0.0.1:24" };
	struct host_settings *settings;
	struct heard heard;

	(void)state;
	assert_int_equal(read_settings(octets, NULL, 0, &settings, &heard), -1);
	assert_int_equal(heard.count, 1);
	assert_non_null(strstr(heard.all, "/file:2: smtp-in.recipients: "));
	host_settings_free(&settings);
	assert_int_equal(read_settings(octets, elsewhere, 1, &settings, &heard), 0);
	host_settings_free(&settings);
}

static void test_mistakes_have_lines(void **state)
{
	static const char octets[] = "domains = { a.example }\n"
				     "pop3d {\n"
				     "	listen = { \"*:110\",\n"
				     "		\"here:110\" }\n"
				     "}\n"
				     "mda { socket = admin\n"
				     "	listen = { [::1]:24, 7 } }\n";
	struct host_settings *settings;
	struct heard heard;

	(void)state;
	assert_int_equal(read_settings(octets, NULL, 0, &settings, &heard), -1);
	assert_int_equal(heard.count, 3);
	assert_non_null(strstr(heard.all, "/file:4: pop3d.listen: \"here:110\""));
	assert_non_null(strstr(heard.all, "/file:6: mda.socket: "));
	assert_non_null(strstr(heard.all, "/file:7: mda.listen: \"7\" has no port"));
	host_settings_free(&settings);
}

static void test_overrides(void **state)
{
	static const char *const good[] = { "hostname=mail.example", "pop3d.listen=*:1 [::1]:2",
		"pop3d.workers=3", "mda.socket-mode=0600" };
	static const char *const bad[] = { "hostname", "=x", "nobody.listen=1", "pop3d.nothing=1",
		"pop3d.workers=-1", "pop3d.listen=x", "state=relative" };
	struct host_settings *settings;
	struct heard heard;

	(void)state;
	assert_int_equal(read_settings("", good, 4, &settings, &heard), 0);
	assert_string_equal(host_settings_common(settings)->hostname, "mail.example");
	assert_int_equal(host_settings_list(settings, HOST_POP3D, "listen")->count, 2);
	assert_int_equal(host_settings_workers(settings, HOST_POP3D), 3);
	assert_int_equal(host_settings_socket_mode(settings), 0600);
	host_settings_free(&settings);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_int_equal(read_settings("", &bad[i], 1, &settings, &heard), -1);
		assert_int_equal(heard.count, 1);
		host_settings_free(&settings);
	}
}

static void test_missing_file(void **state)
{
	const struct host_source source = { .file = "/nonexistent/restante.conf" };
	struct heard heard = { 0 };
	struct host_settings *settings;

	(void)state;
	assert_int_equal(host_settings_read(&source, &settings, hear, &heard), -1);
	assert_int_equal(heard.count, 1);
	host_settings_free(&settings);
}

static void test_paths_begin_at_the_file(void **state)
{
	static const struct {
		const char *file, *path, *result;
	} cases[] = {
		{ "/etc/restante/restante.conf", "a.pem", "/etc/restante/a.pem" },
		{ "/etc/restante/restante.conf", "/b.pem", "/b.pem" },
		{ "restante.conf", "a.pem", "a.pem" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char *path = host_settings_path(cases[i].file, text_of(cases[i].path));
		assert_string_equal(path, cases[i].result);
		mem_free(path);
	}
}

/* What the demo makes up is read back as it was meant, whatever its directory is called. */
static void test_demo_settings(void **state)
{
	static const char *const names[] = { "/tmp/plain", "/tmp/with blanks and \"quotes\"",
		"/tmp/back\\slash\\", "/tmp/$HOME#{}=,'//", "/tmp/\xc3\xa4" };

	(void)state;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		const struct demo_options options = {
			.directory = names[i],
			.port_base = i ? 10000 : 0,
			.limits = i == 1,
			.ipv6 = i == 2,
		};
		struct buf octets = { 0 };
		struct host_settings *settings;
		struct heard heard;
		demo_settings_print(&octets, &options);
		buf_add_char(&octets, '\0');
		assert_int_equal(
			read_settings(buf_text(&octets).ptr, NULL, 0, &settings, &heard), 0);
		assert_string_equal(host_settings_common(settings)->state, names[i]);
		const struct settings_list *listen =
			host_settings_list(settings, HOST_SMTP_IN, "listen");
		assert_int_equal(listen->count, i == 2 ? 2 : 1);
		assert_string_equal(listen->item[0], i ? "127.0.0.1:10025" : "127.0.0.1:0");
		assert_string_equal(host_settings_string(settings, HOST_STORE, "postmaster"),
			"alice@example.test");
		host_settings_free(&settings);
		buf_release(&octets);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_tables_have_what_we_ask_for),
		cmocka_unit_test(test_many_cores),
		cmocka_unit_test(test_all_can_be_handed_over),
		cmocka_unit_test(test_domains_are_names),
		cmocka_unit_test(test_recipients_are_kept),
		cmocka_unit_test(test_mistakes_have_lines),
		cmocka_unit_test(test_overrides),
		cmocka_unit_test(test_missing_file),
		cmocka_unit_test(test_paths_begin_at_the_file),
		cmocka_unit_test(test_demo_settings),
	};

	return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
