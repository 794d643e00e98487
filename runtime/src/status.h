//===- status.h - A status with a sentence ----------------------------------===//
//
// Why not an exception or an Expected: the core is C at its border and lives without the C++ library. A failing function
// formats its sentence into the caller's buffer and returns the status in one expression.
//
//===----------------------------------------------------------------------===//
#ifndef EDGECC_RUNTIME_STATUS_H
#define EDGECC_RUNTIME_STATUS_H

#include "edgecc/edgecc.h"

namespace edgecc::rt {

/// Formats into `error` (may be null) and returns `status`.
__attribute__((format(printf, 3, 4))) edgecc_status fail(edgecc_error *error, edgecc_status status, const char *format, ...);

/// "2.61 GB", decimal, for messages.
struct HumanBytes {
  explicit HumanBytes(uint64_t bytes);
  char text[32];
};

/// "[2, 1, 384]"
struct ShapeText {
  ShapeText(const int64_t *shape, uint32_t rank);
  char text[256];
};

} // namespace edgecc::rt
#endif // EDGECC_RUNTIME_STATUS_H
