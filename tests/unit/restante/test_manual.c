/*
 * docs/man/restante.conf.5 describes the settings that there are. When this fails, put what
 * `restante check --manual` prints above its ".Sh FILES" in place of what stands above ".Sh ADDRESSES".
 */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/sys.h"
#include "restante/settings.h"

/* The page in the tree that this program was built in, or NULL. */
static char *read_page(void)
{
	char *place = realpath("/proc/self/exe", NULL), *page = NULL, path[4200];
	size_t size;

	for (char *slash = strrchr(place, '/'); slash && !page; slash = strrchr(place, '/')) {
		*slash = '\0';
		snprintf(path, sizeof(path), "%s/docs/man/restante.conf.5", place);
		page = sys_read_file(AT_FDCWD, path, 1 << 20, &size);
	}
	free(place);
	return page;
}

static void test_page_is_up_to_date(void **state)
{
	char *generated = NULL, *page = read_page();
	size_t size = 0;
	FILE *memory = open_memstream(&generated, &size);

	(void)state;
	assert_non_null(page);
	settings_print_manual(memory, host_manual_sections, HOST_MANUAL_SECTIONS);
	assert_int_equal(fclose(memory), 0);
	char *files = strstr(generated, ".Sh FILES\n"),
	     *addresses = strstr(page, ".Sh ADDRESSES\n");
	assert_non_null(files);
	assert_non_null(addresses);
	assert_non_null(strstr(page, files));
	*files = *addresses = '\0';
	assert_string_equal(page, generated);
	free(generated);
	mem_free(page);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_page_is_up_to_date),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
