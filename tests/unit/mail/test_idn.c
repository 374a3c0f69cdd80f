/* One form for what can be written in several ways: a table of addresses and what the store knows them as. */
#include "mail/idn.h"

#include "base/arena.h"
#include "mail/address.h"
#include "tests/unit/mail/check.h"

enum form {
	SAME,    /* canonical is what the second column says */
	INVALID, /* read as an address, but its domain is no name */
	FAULTY,  /* no address at all */
};

#define LABEL63 "aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeeffffffffff000"

static const struct {
	struct text in, canonical;
	enum form form;
} cases[] = {
	/* letters of ASCII: case counts nowhere, dots everywhere */
	{ T("alice@example.test"), T("alice@example.test"), SAME },
	{ T("Alice@example.test"), T("alice@example.test"), SAME },
	{ T("ALICE@EXAMPLE.TEST"), T("alice@example.test"), SAME },
	{ T("a.lice@example.test"), T("a.lice@example.test"), SAME },
	{ T("a.l.i.c.e@example.test"), T("a.l.i.c.e@example.test"), SAME },
	{ T("alice.@example.test"), T(""), FAULTY },
	{ T(".alice@example.test"), T(""), FAULTY },
	{ T("a..b@example.test"), T(""), FAULTY },
	{ T("alice+lists@example.test"), T("alice+lists@example.test"), SAME },
	{ T("Alice+Lists@Example.Test"), T("alice+lists@example.test"), SAME },
	{ T("alice-lists@example.test"), T("alice-lists@example.test"), SAME },
	{ T("o'brien@example.test"), T("o'brien@example.test"), SAME },
	{ T("!#$%&'*+-/=?^_`{|}~@example.test"), T("!#$%&'*+-/=?^_`{|}~@example.test"), SAME },
	{ T("a(comment)@example.test"), T(""), FAULTY },
	{ T("a b@example.test"), T(""), FAULTY },
	{ T("a,b@example.test"), T(""), FAULTY },
	{ T("a@b@example.test"), T(""), FAULTY },
	{ T("@example.test"), T(""), FAULTY },
	{ T("alice@"), T(""), FAULTY },
	/* quoted local parts: the quotes are not part of the name */
	{ T("\"alice\"@example.test"), T("alice@example.test"), SAME },
	{ T("\"Alice\"@example.test"), T("alice@example.test"), SAME },
	{ T("\"al\\ice\"@example.test"), T("alice@example.test"), SAME },
	{ T("\"a.b\"@example.test"), T("a.b@example.test"), SAME },
	{ T("\"a..b\"@example.test"), T("a..b@example.test"), SAME },
	{ T("\".a\"@example.test"), T(".a@example.test"), SAME },
	{ T("\"a b\"@example.test"), T("a b@example.test"), SAME },
	{ T("\"a@b\"@example.test"), T("a@b@example.test"), SAME },
	{ T("\"a\\\"b\"@example.test"), T("a\"b@example.test"), SAME },
	{ T("\"a\\\\b\"@example.test"), T("a\\b@example.test"), SAME },
	{ T("\"a,b\"@example.test"), T("a,b@example.test"), SAME },
	{ T("\"a+b\"@example.test"), T("a+b@example.test"), SAME },
	{ T("\"\"@example.test"), T(""), FAULTY },
	{ T("\"a@example.test"), T(""), FAULTY },
	{ T("\"a\"b@example.test"), T(""), FAULTY },
	{ T("\"a\tb\"@example.test"), T(""), FAULTY },
	/* domains */
	{ T("a@b"), T("a@b"), SAME },
	{ T("a@B-C.d"), T("a@b-c.d"), SAME },
	{ T("a@1.2.3.4"), T("a@1.2.3.4"), SAME },
	{ T("a@[192.0.2.1]"), T("a@[192.0.2.1]"), SAME },
	{ T("a@[IPv6:2001:DB8::1]"), T("a@[ipv6:2001:db8::1]"), SAME },
	{ T("a@[192.0.2.256]"), T(""), FAULTY },
	{ T("a@-b.test"), T(""), FAULTY },
	{ T("a@b-.test"), T(""), FAULTY },
	{ T("a@b..test"), T(""), FAULTY },
	{ T("a@.test"), T(""), FAULTY },
	{ T("a@test."), T(""), FAULTY },
	{ T("a@b_c.test"), T(""), FAULTY },
	{ T("a@" LABEL63 ".test"), T("a@" LABEL63 ".test"), SAME },
	{ T("a@" LABEL63 "0.test"), T(""), FAULTY },
	/* domains beyond ASCII: U-labels and A-labels are one */
	{ T("a@m\xc3\xbcller.test"), T("a@xn--mller-kva.test"), SAME },
	{ T("a@M\xc3\x9cLLER.test"), T("a@xn--mller-kva.test"), SAME },
	{ T("a@mu\xcc\x88ller.test"), T("a@xn--mller-kva.test"), SAME },
	{ T("a@xn--mller-kva.test"), T("a@xn--mller-kva.test"), SAME },
	{ T("a@XN--MLLER-KVA.TEST"), T("a@xn--mller-kva.test"), SAME },
	{ T("a@fa\xc3\x9f.test"), T("a@xn--fa-hia.test"), SAME },
	{ T("a@fass.test"), T("a@fass.test"), SAME },
	{ T("a@\xe4\xbe\x8b\xe5\xad\x90.test"), T("a@xn--fsqu00a.test"), SAME },
	{ T("a@\xe4\xbe\x8b\xe5\xad\x90\xe3\x80\x82test"), T(""), INVALID },
	{ T("a@b\xc3\xbc"
	    "cher.b\xc3\xbc"
	    "cher"),
		T("a@xn--bcher-kva.xn--bcher-kva"), SAME },
	{ T("a@xn--.test"), T(""), FAULTY },
	{ T("a@xn--a.test"), T(""), INVALID },
	{ T("a@xn--n3h.test"), T(""), INVALID },
	{ T("a@xn--Mller-kva\xc3\xbc.test"), T(""), INVALID },
	{ T("a@xn--mller-.test"), T(""), FAULTY },
	{ T("a@xn--MLLER-kva-.test"), T(""), FAULTY },
	{ T("a@\xe2\x98\x83.test"), T(""), INVALID },
	{ T("a@\xe2\x80\x8b.test"), T(""), INVALID },
	{ T("a@\xcc\x88x.test"), T(""), INVALID },
	{ T("a@x\xef\xbc\xa0y.test"), T(""), INVALID },
	{ T("a@x\xef\xbc\x8ey.test"), T(""), INVALID },
	{ T("a@\xef\xbd\x81.test"), T(""), INVALID },
	{ T("a@\xff.test"), T(""), FAULTY },
	/* local parts beyond ASCII: normalisation form C, lower case */
	{ T("j\xc3\xbcrgen@example.test"), T("j\xc3\xbcrgen@example.test"), SAME },
	{ T("J\xc3\x9cRGEN@example.test"), T("j\xc3\xbcrgen@example.test"), SAME },
	{ T("ju\xcc\x88rgen@example.test"), T("j\xc3\xbcrgen@example.test"), SAME },
	{ T("JU\xcc\x88RGEN@example.test"), T("j\xc3\xbcrgen@example.test"), SAME },
	{ T("\"j\xc3\xbcrgen\"@example.test"), T("j\xc3\xbcrgen@example.test"), SAME },
	{ T("jurgen@example.test"), T("jurgen@example.test"), SAME },
	{ T("stra\xc3\x9f"
	    "e@example.test"),
		T("stra\xc3\x9f"
		  "e@example.test"),
		SAME },
	{ T("strasse@example.test"), T("strasse@example.test"), SAME },
	{ T("\xd0\x9f\xd0\xbe\xd1\x87\xd1\x82\xd0\xb0@example.test"),
		T("\xd0\xbf\xd0\xbe\xd1\x87\xd1\x82\xd0\xb0@example.test"), SAME },
	{ T("\xe7\x94\xb5\xe5\xad\x90@example.test"), T("\xe7\x94\xb5\xe5\xad\x90@example.test"),
		SAME },
	{ T("\xe2\x84\xab@example.test"), T("\xc3\xa5@example.test"), SAME },
	{ T("j\xc3\xbcrgen@m\xc3\xbcller.test"), T("j\xc3\xbcrgen@xn--mller-kva.test"), SAME },
	{ T("j\xc3@example.test"), T(""), FAULTY },
	{ T("\xed\xa0\x80@example.test"), T(""), FAULTY },
	{ T("\xc0\xaf@example.test"), T(""), FAULTY },
};

static void every_form_of_an_address(void **state)
{
	struct arena *arena = arena_new(1024);

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct address address;
		const enum address_fault fault = address_parse(arena, cases[i].in, true, &address);
		CHECK_NUMBER(fault != ADDRESS_OK, cases[i].form == FAULTY, cases[i].in);
		if (fault != ADDRESS_OK)
			continue;
		const struct text canonical = address_canonical(arena, &address);
		CHECK_NUMBER(canonical.ptr == NULL, cases[i].form == INVALID, cases[i].in);
		if (canonical.ptr)
			CHECK_TEXT(canonical, cases[i].canonical, cases[i].in);
	}
	arena_free(&arena);
}

static void a_name_is_its_own_canonical_form(void **state)
{
	struct arena *arena = arena_new(1024);

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		if (cases[i].form != SAME)
			continue;
		const ptrdiff_t at = text_find_last(cases[i].canonical, '@');
		const struct text local = text_head(cases[i].canonical, (size_t)at);
		const struct text domain = text_from(cases[i].canonical, (size_t)at + 1);
		CHECK_TEXT(idn_local(arena, local), local, cases[i].in);
		CHECK_TEXT(idn_domain(arena, domain), domain, cases[i].in);
	}
	arena_free(&arena);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_form_of_an_address),
		cmocka_unit_test(a_name_is_its_own_canonical_form),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
