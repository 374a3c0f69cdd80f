/*
 * The settings file and the lines that a role loads. The first octet chooses. What was accepted must
 * survive storing and loading.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/common.h"
#include "base/mem.h"
#include "tests/fuzz/fuzz.h"

struct part {
	struct settings_list listen;
	uint64_t size, idle;
	char *greeting;
};

static const struct settings_item items[] = {
	{ .name = "listen",
		.type = SETTINGS_LIST,
		.preset = "*:25",
		.offset = offsetof(struct part, listen) },
	{ .name = "size",
		.type = SETTINGS_OCTETS,
		.preset = "1M",
		.least = 10,
		.offset = offsetof(struct part, size) },
	{ .name = "idle",
		.type = SETTINGS_SECONDS,
		.preset = "5m",
		.most = 86400,
		.offset = offsetof(struct part, idle) },
	{ .name = "greeting",
		.type = SETTINGS_STRING,
		.preset = "",
		.offset = offsetof(struct part, greeting) },
};

static const struct settings_section part_section = {
	.name = "part", .items = items, .count = 4, .size = sizeof(struct part)
};
static const struct settings_section *const sections[] = { &common_section, &part_section };

static void check_that_it_loads(
	const struct settings_section *section, const void *values, void *loaded)
{
	struct buf first = { 0 }, second = { 0 };
	char error[300];

	settings_store(section, values, &first);
	if (settings_load(section, buf_text(&first), loaded, error, sizeof(error)) != 0)
		abort();
	settings_store(section, loaded, &second);
	if (!text_equal(buf_text(&first), buf_text(&second)))
		abort();
	settings_free(section, loaded);
	buf_release(&first);
	buf_release(&second);
}

static void on_report(void *owner, const char *sentence)
{
	size_t *reports = owner;

	++*reports;
	/* FILE:LINE: or FILE: and then what is wrong; and what to do */
	if (!strstr(sentence, ": ") || !strchr(sentence, ';'))
		abort();
}

static void read_file(const uint8_t *octets, size_t size)
{
	struct common_settings common = { 0 }, loaded_common = { 0 };
	struct part part = { 0 }, loaded_part = { 0 };
	void *const values[] = { &common, &part };
	size_t reports = 0;
	char name[32];
	int fd = memfd_create("settings", MFD_CLOEXEC);

	if (fd < 0 || write(fd, octets, size) != (ssize_t)size)
		abort();
	snprintf(name, sizeof(name), "/proc/self/fd/%d", fd);
	int result = settings_read(name, sections, 2, values, on_report, &reports);
	close(fd);
	if ((result == 0) != (reports == 0))
		abort();
	if (result == 0) {
		check_that_it_loads(&common_section, &common, &loaded_common);
		check_that_it_loads(&part_section, &part, &loaded_part);
	}
	settings_free(&common_section, &common);
	settings_free(&part_section, &part);
}

static void load_lines(const uint8_t *octets, size_t size)
{
	struct part part = { 0 }, again = { 0 };
	struct text lines = fuzz_text(octets, size);
	char error[300];

	if (settings_load(&part_section, lines, &part, error, sizeof(error)) == 0)
		check_that_it_loads(&part_section, &part, &again);
	settings_free(&part_section, &part);
}

int LLVMFuzzerTestOneInput(const uint8_t *octets, size_t size)
{
	if (size == 0)
		return 0;
	if (octets[0] & 1)
		load_lines(octets + 1, size - 1);
	else
		read_file(octets + 1, size - 1);
	return 0;
}
