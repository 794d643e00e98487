//===- CacheType.h - What a KV cache is kept as -----------------------------===//
#ifndef EDGECC_PASSES_QUANTIZE_CACHETYPE_H
#define EDGECC_PASSES_QUANTIZE_CACHETYPE_H

#include "llvm/ADT/StringRef.h"
#include <optional>

namespace edgecc {

enum class CacheType { F32, F16, Int8, Int4 };

/// f32, f16, int8 or int4.
std::optional<CacheType> parseCacheType(llvm::StringRef text);

} // namespace edgecc
#endif // EDGECC_PASSES_QUANTIZE_CACHETYPE_H
