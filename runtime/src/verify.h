//===- verify.h - The one check of a file -----------------------------------===//
//
// Contract: after verify() returns EDGECC_OK no other code checks indices, offsets, alignments or overflow of what the file
// says. It has no opt-out, and no file may make it (or anything after it) crash, read out of bounds or divide by zero.
// What generated code does is not checked here: embedded code is as trusted as a shared library (README).
//
//===----------------------------------------------------------------------===//
#ifndef EDGECC_RUNTIME_VERIFY_H
#define EDGECC_RUNTIME_VERIFY_H

#include "edgecc/edgecc.h"
#include "runtime/schema/model_generated.h"

namespace edgecc::rt {

/// Checks header and metadata of the `size` bytes at `data` (aligned to 64 bytes); sets `model` to the metadata inside.
edgecc_status verify(const uint8_t *data, uint64_t size, const fb::Model *&model, edgecc_error *error);

/// Compares the SHA-256 of a segment's bytes, wherever they are mapped.
edgecc_status verifyHash(const fb::Segment &segment, const uint8_t *bytes, edgecc_error *error);

} // namespace edgecc::rt
#endif // EDGECC_RUNTIME_VERIFY_H
