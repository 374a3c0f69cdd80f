/*
 * A certificate for localhost and its key, of no worth to anybody: so that STARTTLS has somewhere to go.
 */
#ifndef TESTS_FUZZ_SMTP_IN_CERTIFICATE_H
#define TESTS_FUZZ_SMTP_IN_CERTIFICATE_H

static const char certificate_chain[] =
	"-----BEGIN CERTIFICATE-----\n"
	"MIIBfjCCASWgAwIBAgIUFBMRoMGnpBp+E/M2RYk1d2mR9jgwCgYIKoZIzj0EAwIw\n"
	"FDESMBAGA1UEAwwJbG9jYWxob3N0MCAXDTI2MTEyMjAyMDE0NloYDzIxMjYxMDI5\n"
	"MDIwMTQ2WjAUMRIwEAYDVQQDDAlsb2NhbGhvc3QwWTATBgcqhkjOPQIBBggqhkjO\n"
	"PQMBBwNCAARtGkiWJOyRWhlRVZEsP2LWJ5ESYcH2nirj9O63p5cYMNFuutIWWkMG\n"
	"BX3SkbLDRZoKlSBXsHzxIj5igQBjqtr7o1MwUTAdBgNVHQ4EFgQUuLvEuumafblo\n"
	"Ew++Y/BlkD2F/K8wHwYDVR0jBBgwFoAUuLvEuumafbloEw++Y/BlkD2F/K8wDwYD\n"
	"VR0TAQH/BAUwAwEB/zAKBggqhkjOPQQDAgNHADBEAiB+OuxG8rwebCWxPfe/VFsF\n"
	"aX09l1fvQHt/ZqgvVFNJ+QIgbgZOO8A3ZF5jlQqh6nwZyBcLI44ZryiSD7Jbo4Nc\n"
	"uio=\n"
	"-----END CERTIFICATE-----\n";

static const char certificate_key[] =
	"-----BEGIN PRIVATE KEY-----\n"
	"MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgoJ7qyz0H/aGaPiQm\n"
	"nM/hEk2GtpBkDMVWC9+aHEAvaIihRANCAARtGkiWJOyRWhlRVZEsP2LWJ5ESYcH2\n"
	"nirj9O63p5cYMNFuutIWWkMGBX3SkbLDRZoKlSBXsHzxIj5igQBjqtr7\n"
	"-----END PRIVATE KEY-----\n";

#endif
