/* SHA-256 against the examples of FIPS 180-4, whole and in pieces. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/digest.h"

static void known_digests(void **state)
{
	static const struct {
		const char *octets, *hex;
	} cases[] = {
		{ "", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855" },
		{ "abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad" },
		{ "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
			"248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1" },
	};
	struct digest *digest = digest_new();
	char hex[DIGEST_HEX + 1];

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const struct text octets = text_of(cases[i].octets);

		digest_add(digest, octets);
		digest_end(digest, hex);
		assert_string_equal(hex, cases[i].hex);
		for (size_t j = 0; j < octets.len; j++)
			digest_add(digest, text_head(text_from(octets, j), 1));
		digest_end(digest, hex);
		assert_string_equal(hex, cases[i].hex);
	}
	digest_free(&digest);
	digest_free(&digest);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(known_digests) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
