/* What one of our processes tells another: accounts as the supervisor hands them over, and reports. */
#include "bridge/report.h"
#include "bridge/settings.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *octets, size_t size)
{
	const struct text in = fuzz_text(octets, size);
	struct bridge_account account = { .name = NULL }, again = { .name = NULL };
	struct bridge_report report;
	char error[400];

	if (bridge_report_unpack(in, &report) == 0)
		REQUIRE(report.state <= REPORT_ENDED && report.fault < FAULT_KINDS &&
			report.sentence.len <= FAULT_SENTENCE);
	if (bridge_account_load(in, &account, error, sizeof(error)) != 0)
		return 0;
	struct buf out = { 0 };
	bridge_account_store(&account, &out);
	REQUIRE(bridge_account_load(buf_text(&out), &again, error, sizeof(error)) == 0);
	bridge_account_free(&account);
	bridge_account_free(&again);
	buf_release(&out);
	return 0;
}
