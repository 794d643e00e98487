//===- Fail.h - A status with a sentence, for the text library ---------------===//
#ifndef EDGECC_RUNTIME_TEXT_CHAT_FAIL_H
#define EDGECC_RUNTIME_TEXT_CHAT_FAIL_H

#include "edgecc/edgecc.h"

#include <stdarg.h>
#include <stdio.h>

namespace edgecc::text {

/// Formats a sentence into `error` (may be null) and returns `status`.
__attribute__((format(printf, 3, 4))) inline edgecc_status fail(edgecc_error *error, edgecc_status status, const char *format,
                                                                ...) {
  if (error) {
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(error->message, sizeof(error->message), format, arguments);
    va_end(arguments);
  }
  return status;
}

inline edgecc_status outOfMemory(edgecc_error *error) { return fail(error, EDGECC_OUT_OF_MEMORY, "out of memory"); }

} // namespace edgecc::text
#endif // EDGECC_RUNTIME_TEXT_CHAT_FAIL_H
