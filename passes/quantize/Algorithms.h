//===- Algorithms.h - Who decides how weights are rounded -------------------===//
#ifndef EDGECC_PASSES_QUANTIZE_ALGORITHMS_H
#define EDGECC_PASSES_QUANTIZE_ALGORITHMS_H

#include "llvm/Support/Error.h"

namespace edgecc {

/// `awq,gptq`: what is done before and while weights are rounded. With none of these: to nearest.
struct QuantizeAlgorithms {
  bool rotate = false;      ///< the residual stream, by a Hadamard matrix
  bool awq = false;         ///< channel scales by the weights' error
  bool smoothQuant = false; ///< channel scales by the activations' error
  bool llmInt8 = false;     ///< large input channels stay floats
  bool gptq = false;        ///< error feedback

  bool needSamples() const { return awq || smoothQuant || llmInt8 || gptq; }
  /// The option of edge-quantize-weights.
  const char *rounding() const { return gptq ? "feedback" : awq ? "weighted" : "nearest"; }
};

/// Errors name what is not known, or does not go together.
llvm::Expected<QuantizeAlgorithms> parseAlgorithms(llvm::StringRef text);

} // namespace edgecc
#endif // EDGECC_PASSES_QUANTIZE_ALGORITHMS_H
