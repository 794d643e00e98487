//===- format.h - The first 64 bytes of model.edge --------------------------===//
//
// Why a header of its own: the packager writes what the runtime reads, and both take the layout from here. No includes but
// <stdint.h>, so that anything may include it.
//
//   0                      64                 64 + metadataSize        segment.offset
//   | FileHeader           | flatbuffer       | padding                | segment | padding | segment ...        | fileSize
//
// All integers are little-endian. The flatbuffer is runtime/schema/model.fbs (finished with its file identifier, not
// size-prefixed); segments follow in any order, do not overlap, and start at multiples of their alignment.
//
//===----------------------------------------------------------------------===//
#ifndef EDGECC_RUNTIME_FORMAT_H
#define EDGECC_RUNTIME_FORMAT_H

#include <stdint.h>

namespace edgecc::rt {

struct FileHeader {
  char magic[4];              ///< kMagic
  uint32_t version;           ///< EDGECC_ABI_VERSION (abi.h)
  uint64_t features;          ///< FeatureBits that a runtime must know to load this file
  uint64_t metadataSize;      ///< bytes of the flatbuffer that starts at sizeof(FileHeader)
  uint64_t fileSize;          ///< bytes of the whole file: a truncated download is told from a malformed one
  uint8_t metadataSha256[32]; ///< of the flatbuffer; segments carry their own hashes in it
};
static_assert(sizeof(FileHeader) == 64, "the header is 64 bytes on every platform");

constexpr char kMagic[4] = {'E', 'D', 'G', 'E'};

/// What an old runtime must not ignore.
enum FeatureBits : uint64_t {
  kNoFeatures = 0,
  kExits = 1u << 0 ///< Model.exits: generated code reads edgecc_call.exits
};
constexpr uint64_t kKnownFeatures = kExits;

/// Limits of the loader; a packager that stays below them is never refused for size.
constexpr uint64_t kMaxMetadataSize = uint64_t(16) << 20;
constexpr uint64_t kMinPagedAlignment = 4096; ///< of Weights and Code segments; 16384 loads on every phone
constexpr uint64_t kMaxAlignment = uint64_t(1) << 30;
constexpr uint64_t kMaxBytes = uint64_t(1) << 60; ///< of one tensor, state or arena at the declared bounds
constexpr uint32_t kMaxRank = 16;
constexpr uint32_t kMaxCount = 4096;      ///< symbols, states, entries, segments, tensors of an entry: each
constexpr uint32_t kMaxExtentCode = 1024; ///< instructions of one extent
constexpr uint32_t kMaxExtentStack = 32;  ///< values it may hold at once

} // namespace edgecc::rt
#endif // EDGECC_RUNTIME_FORMAT_H
