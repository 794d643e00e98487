//===- DotFamilies.h - The integer families, as kernels.def names them ------===//
#ifndef EDGECC_PASSES_KERNELS_DOTFAMILIES_H
#define EDGECC_PASSES_KERNELS_DOTFAMILIES_H

#include "passes/kernels/Quantized.h"

namespace edgecc {

/// int8 x numbers, products in i32 lane by lane: every target.
extern const DotFamily &DotAny;
/// f32 x numbers that are widened in registers, by lanes in a register.
extern const DotFamily &Widen4, &Widen8, &Widen16;
/// The same for NEON.
extern const DotFamily &WidenNeon;
/// vpdpbusd; 512 bits.
extern const DotFamily &Vnni;
/// vpmaddubsw for numbers of 4 bits, vpmaddwd for 8, by channels in a register.
extern const DotFamily &Madd8x4, &Madd8x8, &Madd16x4, &Madd16x8;
/// sdot by lane: rows as they are (vectors), four rows interleaved (matrices).
extern const DotFamily &Sdot, &SdotRows;
/// sdot for vectors times panels of pairs.
extern const DotFamily &SdotPairs;
/// smmla, four rows interleaved.
extern const DotFamily &Smmla;
/// smull, smlal and sadalp.
extern const DotFamily &Smull, &SmullRows;

} // namespace edgecc
#endif // EDGECC_PASSES_KERNELS_DOTFAMILIES_H
