//===- Panels.h - Weights in the order that the kernels read ----------------===//
#ifndef EDGECC_PASSES_LOWER_PANELS_H
#define EDGECC_PASSES_LOWER_PANELS_H

#include "dialects/edge/Quantization.h"

namespace edgecc {

/// A weight as it is: [n, k] or [k, n].
struct FloatSource {
  const char *data;
  int64_t n, k, elementBytes;
  bool rowsOfK; ///< [n, k]
};

/// Panels [first, last) of `to`, [ceil(n / 16), k, 16]; what is beyond n is zero.
void packPanels(const FloatSource &source, char *to, int64_t first, int64_t last);

/// A quantized weight in layout nk (edge.linear); none of the data need be aligned.
struct QuantizedSource {
  edge::QuantizationAttr quantization;
  const char *numbers, *scales, *zeros; ///< zeros: null if there are none
  bool byteZeros;                       ///< zeros are bytes, else of the scales' type
  int64_t n, k;
};

/// Panels [first, last) of `to`, each as `panel` says; channels beyond n have a scale of zero.
void packQuantizedPanels(const QuantizedSource &source, const edge::QuantizedPanel &panel, char *to, int64_t first, int64_t last);

} // namespace edgecc
#endif // EDGECC_PASSES_LOWER_PANELS_H
