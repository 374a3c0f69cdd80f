#include "bridge/report.h"

MESSAGE_DEFINE(bridge_report, BRIDGE_REPORT_FIELDS)
