/*
 * What a person may have written: lines of settings and addresses to listen on. A line that is told lies
 * in the file; an address that is taken is printed so that it is read back the same.
 */
#include <string.h>

#include "restante/endpoint.h"
#include "restante/locate.h"
#include "tests/fuzz/fuzz.h"

static void check_lines(struct text file)
{
	static const char *const sections[] = { NULL, "smtp-in", "pop3d" };
	unsigned lines = 1;

	for (size_t i = 0; i < file.len; i++)
		lines += file.ptr[i] == '\n';
	for (size_t i = 0; i < sizeof(sections) / sizeof(sections[0]); i++) {
		const unsigned line = locate_item(file, sections[i], "listen", NULL);
		const unsigned value = locate_item(file, sections[i], "listen", "*:25");
		REQUIRE(line <= lines && value <= lines);
		REQUIRE((line == 0) == (value == 0));
	}
}

static void check_endpoint(struct text in)
{
	struct endpoint endpoint, again;
	char error[300], printed[ENDPOINT_TEXT_LIMIT];

	if (endpoint_parse(in, &endpoint, error, sizeof(error)) != 0) {
		REQUIRE(error[0] && strlen(error) < sizeof(error));
		return;
	}
	REQUIRE(endpoint.count == 1 || endpoint.count == 2);
	for (size_t i = 0; i < endpoint.count; i++) {
		endpoint_print(&endpoint.address[i], printed);
		REQUIRE(endpoint_parse(text_of(printed), &again, error, sizeof(error)) == 0);
		REQUIRE(again.count == 1 && again.port == endpoint.port);
		REQUIRE(memcmp(&again.address[0], &endpoint.address[i], sizeof(again.address[0])) ==
			0);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *octets, size_t size)
{
	const struct text in = fuzz_text(octets, size);

	check_lines(in);
	check_endpoint(in);
	return 0;
}
