//===- Request.h - What shall be pruned -------------------------------------===//
#ifndef EDGECC_PASSES_PRUNE_REQUEST_H
#define EDGECC_PASSES_PRUNE_REQUEST_H

#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"
#include <string>

namespace edgecc {

struct PruneRequest {
  double ffn = 0;         ///< share of the channels inside of MLPs
  double heads = 0;       ///< share of the KV heads
  double width = 0;       ///< share of the channels of the residual stream
  int64_t layers = 0;     ///< whole ones
  std::string targetSize; ///< or as much as it takes: `parseSizeTarget`
  double targetSpeed = 0; ///< or how many times faster a token shall be decoded
  std::string method = "surgeon", compensation = "least-squares", spread = "global";
  std::string layersBy = "output";

  bool any() const { return ffn > 0 || heads > 0 || width > 0 || layers > 0 || hasTarget(); }
  bool hasTarget() const { return !targetSize.empty() || targetSpeed > 0; }
  /// Something that needs no samples.
  bool byWeightsAlone() const { return layers == 0 && method == "magnitude" && compensation == "none"; }
};

/// "ffn=0.2,...": sets the parts that are named.
llvm::Error parsePrune(llvm::StringRef text, PruneRequest &request);

/// Bytes of the artifact's weights, or a factor of those that it would have.
struct SizeTarget {
  int64_t bytes = 0; ///< 0: the factor counts
  double factor = 0;
};

/// "0.8x", or what parseByteCount takes.
llvm::Expected<SizeTarget> parseSizeTarget(llvm::StringRef text);
/// Names of methods that there are not.
llvm::Error checkWords(const PruneRequest &request);
/// What contradicts itself in targets.
llvm::Error checkTargets(const PruneRequest &request);

} // namespace edgecc
#endif // EDGECC_PASSES_PRUNE_REQUEST_H
