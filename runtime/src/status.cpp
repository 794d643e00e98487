#include "runtime/src/status.h"

#include <stdarg.h>
#include <stdio.h>

namespace edgecc::rt {

edgecc_status fail(edgecc_error *error, edgecc_status status, const char *format, ...) {
  if (error) {
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(error->message, sizeof(error->message), format, arguments);
    va_end(arguments);
  }
  return status;
}

HumanBytes::HumanBytes(uint64_t bytes) {
  const char *const units[] = {"B", "kB", "MB", "GB", "TB", "PB", "EB"};
  unsigned unit = 0;
  uint64_t scaled = bytes, rest = 0;
  for (; scaled >= 1000; ++unit) {
    rest = scaled % 1000;
    scaled /= 1000;
  }
  if (unit == 0)
    snprintf(text, sizeof(text), "%u B", unsigned(bytes));
  else
    snprintf(text, sizeof(text), "%u.%02u %s", unsigned(scaled), unsigned(rest / 10), units[unit]);
}

ShapeText::ShapeText(const int64_t *shape, uint32_t rank) {
  size_t used = size_t(snprintf(text, sizeof(text), "["));
  for (uint32_t i = 0; i < rank && used < sizeof(text) - 32; ++i)
    used += size_t(snprintf(text + used, sizeof(text) - used, "%s%lld", i ? ", " : "", static_cast<long long>(shape[i])));
  snprintf(text + used, sizeof(text) - used, "]");
}

} // namespace edgecc::rt
