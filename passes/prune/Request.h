//===- Request.h - What shall be pruned -------------------------------------===//
#ifndef EDGECC_PASSES_PRUNE_REQUEST_H
#define EDGECC_PASSES_PRUNE_REQUEST_H

#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"
#include <string>

namespace edgecc {

struct PruneRequest {
  double ffn = 0;          ///< share of the channels inside of MLPs
  double heads = 0;        ///< share of the KV heads
  int64_t layers = 0;      ///< whole ones
  int64_t targetBytes = 0; ///< of all weights, after heads and channels went
  double targetSpeed = 0;  ///< or: how many times fewer bytes of weights are read for a token
  std::string method = "surgeon", compensation = "least-squares", spread = "global";
  std::string layersBy = "output";

  bool any() const { return ffn > 0 || heads > 0 || layers > 0 || hasTarget(); }
  bool hasTarget() const { return targetBytes > 0 || targetSpeed > 0; }
  /// Something that needs no samples.
  bool byWeightsAlone() const { return layers == 0 && !hasTarget() && method == "magnitude" && compensation == "none"; }
};

/// "ffn=0.2,...": sets the parts that are named.
llvm::Error parsePrune(llvm::StringRef text, PruneRequest &request);

} // namespace edgecc
#endif // EDGECC_PASSES_PRUNE_REQUEST_H
