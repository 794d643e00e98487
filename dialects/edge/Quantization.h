//===- Quantization.h - The numbers behind a quantized weight ---------------===//
//
// The packed form is one per architecture and shared by all its variants. A panel is 16 channels: a row of blocks of one or two
// groups, so that one stream of memory has all that a product needs. A block is
//
//   scales [group][16], zeros [group][16] less the middle (if there are any), zero bytes up to the alignment,
//   numbers [group][16 / unit][step][unit channels][4 bytes].
//
// A step is 4 numbers of a channel of 8 bits, 8 of 4 bits: byte i has number i in the low nibble, number 4 + i in the high one.
//
// With one scale per channel AArch64 has pairs instead: numbers [k / 8][16 / unit][unit channels][8 numbers], 4-bit channels 0
// and 1 of a unit in the low nibbles, 2 and 3 in the high ones. Two channels of eight numbers are what smmla takes; for groups
// that order would cost the vector kernel more than it saves the matrix kernel.
//
//===----------------------------------------------------------------------===//
#ifndef EDGECC_DIALECTS_EDGE_QUANTIZATION_H
#define EDGECC_DIALECTS_EDGE_QUANTIZATION_H

#include "dialects/edge/Shape.h"
#include "llvm/Support/MathExtras.h"

namespace edgecc::edge {

/// Numbers in a group of a channel of k numbers.
inline int64_t groupSize(QuantizationAttr quantization, int64_t k) {
  return quantization.getGroup() ? quantization.getGroup() : k;
}

/// Groups of a channel; the last may be filled up.
inline int64_t groupsOf(QuantizationAttr quantization, int64_t k) { return llvm::divideCeil(k, groupSize(quantization, k)); }

/// Bytes of a group in layout nk.
inline int64_t groupBytes(QuantizationAttr quantization, int64_t k) {
  return llvm::divideCeil(groupSize(quantization, k) * quantization.getBits(), 8);
}

/// What stands for zero where the quantization has no zeros.
inline int64_t middle(QuantizationAttr quantization) { return int64_t(1) << (quantization.getBits() - 1); }

/// What the architectures want of panels.
struct PanelOrder {
  explicit PanelOrder(llvm::StringRef arch) : aarch64(arch == "aarch64") {}
  bool aarch64;
  /// Channels that lie together: a register of 4-byte pieces.
  int64_t unit() const { return aarch64 ? 4 : 16; }
  /// Two's complement of the number less the middle, else the number itself.
  bool isSigned() const { return aarch64; }
  /// A 64-byte register that straddles two cache lines costs twice; smaller ones do not mind.
  int64_t alignment() const { return aarch64 ? 16 : 64; }
};

/// Where things are in a panel, in bytes from its start.
struct QuantizedPanel {
  QuantizedPanel(QuantizationAttr quantization, int64_t k, PanelOrder order)
      : order(order), bits(quantization.getBits()), scaleBytes(quantization.getScale().getIntOrFloatBitWidth() / 8),
        zeros(quantization.getZeros()) {
    sourceSize = groupSize(quantization, k);
    int64_t sources = groupsOf(quantization, k);
    // A sum over a group must fit an i32. Longer groups become several with one scale.
    parts = llvm::divideCeil(sourceSize, kLongestGroup);
    while (sources > 1 && sourceSize % (parts * kFill))
      ++parts;
    size = llvm::alignTo(llvm::divideCeil(sourceSize, parts), kFill);
    groups = llvm::divideCeil(k, size);
    pairs = order.aarch64 && groups == 1;
    int64_t header = kPanelWidth * scaleBytes * (zeros ? 2 : 1);
    blockGroups = header % order.alignment() && groups % 2 == 0 ? 2 : 1;
    headerBytes = llvm::alignTo(header * blockGroups, order.alignment());
    unitBytes = pairs ? 4 * bits : size * order.unit() * bits / 8;
    stepBytes = pairs ? kPanelWidth * bits : order.unit() * 4;
    numberBytes = size * kPanelWidth * bits / 8;
    blockBytes = headerBytes + blockGroups * numberBytes;
    bytes = groups / blockGroups * blockBytes;
  }

  /// Numbers of one channel in a step.
  int64_t step() const { return pairs ? 8 : 32 / bits; }
  int64_t blockOf(int64_t group) const { return group / blockGroups * blockBytes; }
  /// In a block, of its group `inner`, for the panel's first channel.
  int64_t scaleAt(int64_t inner) const { return inner * kPanelWidth * scaleBytes; }
  int64_t zeroAt(int64_t inner) const { return (blockGroups + inner) * kPanelWidth * scaleBytes; }
  int64_t numbersAt(int64_t inner) const { return headerBytes + inner * numberBytes; }

  static constexpr int64_t kFill = 16, kLongestGroup = 32768;

  PanelOrder order;
  int64_t bits, scaleBytes;
  bool zeros, pairs;
  int64_t sourceSize; ///< numbers in a group of layout nk
  int64_t parts;      ///< groups that one of those is cut into
  int64_t size;       ///< numbers of a channel in a group, filled up
  int64_t groups;     ///< of a channel
  /// From a unit to the next, and from a step of a unit to the next.
  int64_t blockGroups, headerBytes, unitBytes, stepBytes, numberBytes, blockBytes, bytes;
};

} // namespace edgecc::edge
#endif // EDGECC_DIALECTS_EDGE_QUANTIZATION_H
