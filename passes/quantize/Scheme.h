//===- Scheme.h - How a layer is quantized, in a word -----------------------===//
#ifndef EDGECC_PASSES_QUANTIZE_SCHEME_H
#define EDGECC_PASSES_QUANTIZE_SCHEME_H

#include "dialects/edge/EdgeDialect.h"
#include "llvm/Support/Error.h"
#include "llvm/Support/GlobPattern.h"

namespace edgecc {

/// `w4g32a8`: 4-bit weights, a scale for each 32 of a channel, int8 activations. What a word may say is in `parseScheme`.
struct Scheme {
  std::string text = "none";
  int64_t bits = 0;   ///< of a weight; 0: the layer stays as it is
  int64_t group = 0;  ///< weights that share a scale; 0: those of a channel
  bool zeros = false; ///< a zero point with each scale
  edge::ActivationPrecision activations = edge::ActivationPrecision::Float;

  bool isNone() const { return bits == 0; }
  /// Of a weight with its share of scales and zero points, where groups are full; a channel's own scale is not counted.
  double leastBits() const { return double(bits) + (group ? (16.0 + (zeros ? 8 : 0)) / double(group) : 0); }
  /// For channels of k numbers. Scales of groups are f16: they are many. A channel's own is f32, which no range of weights
  /// leaves.
  edge::QuantizationAttr attribute(mlir::MLIRContext *context, int64_t k, bool isLookup) const;
};

llvm::Expected<Scheme> parseScheme(llvm::StringRef text);

/// `lm_head*=w8a8`: the layers that a pattern fits.
struct LayerScheme {
  std::string pattern;
  llvm::GlobPattern glob;
  Scheme scheme;
};

llvm::Expected<LayerScheme> parseLayerScheme(llvm::StringRef text);

} // namespace edgecc
#endif // EDGECC_PASSES_QUANTIZE_SCHEME_H
