//===- CacheType.h - What a KV cache is kept as -----------------------------===//
#ifndef EDGECC_PASSES_QUANTIZE_CACHETYPE_H
#define EDGECC_PASSES_QUANTIZE_CACHETYPE_H

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "llvm/Support/Error.h"
#include <optional>

namespace edgecc {

enum class CacheType { F32, F16, Int8, Int4 };

/// f32, f16, int8 or int4.
std::optional<CacheType> parseCacheType(llvm::StringRef text);

/// Whether edge-quantize-cache finds caches for it.
llvm::Error checkCaches(mlir::func::FuncOp main, llvm::StringRef type);

} // namespace edgecc
#endif // EDGECC_PASSES_QUANTIZE_CACHETYPE_H
