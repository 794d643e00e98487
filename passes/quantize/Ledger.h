//===- Ledger.h - What was lost, layer by layer -----------------------------===//
#ifndef EDGECC_PASSES_QUANTIZE_LEDGER_H
#define EDGECC_PASSES_QUANTIZE_LEDGER_H

#include "mlir/IR/BuiltinOps.h"
#include <map>
#include <string>
#include <vector>

namespace edgecc {

/// One changed weight or cache: an entry of the module's attribute `edge.ledger`, and of the artifact's ledger.
struct LedgerEntry {
  std::string weight;            ///< the name of the tensor, or of the cache
  std::string layer;             ///< the first layer that reads it
  std::string scheme;            ///< what was done
  int64_t before = 0, after = 0; ///< bytes
  double error = 0;              ///< ||w - w'|| / ||w||
  double decibels = 0;           ///< signal to noise
  /// What else was measured, by name: "output_error", ...
  std::map<std::string, double> figures = {};
  bool isCache = false; ///< bytes at the longest context; what is lost depends on the text

  /// A weight that was rounded, a cache that is kept otherwise, a part that went, or an attention with fewer KV heads (bytes of
  /// cache per token). The error of the latter two is that of their layer's output.
  enum class Kind { weight, cache, part, heads };
  Kind kind() const {
    llvm::StringRef what(scheme);
    return isCache                        ? Kind::cache
           : what.starts_with("pruned")   ? Kind::part
           : what.starts_with("kv-heads") ? Kind::heads
                                          : Kind::weight;
  }
};

void addToLedger(mlir::ModuleOp module, llvm::ArrayRef<LedgerEntry> entries);
std::vector<LedgerEntry> readLedger(mlir::ModuleOp module);

} // namespace edgecc
#endif // EDGECC_PASSES_QUANTIZE_LEDGER_H
