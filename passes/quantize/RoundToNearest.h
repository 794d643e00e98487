//===- RoundToNearest.h - Floats to a few bits and a scale ------------------===//
//
// Why not scale = largest / 7: the largest weight of a group is rare, and the error of all others grows with the scale. The scale
// is searched: for a number of clipping ratios the weights are rounded, the best scale for these numbers is known in closed form
// (least squares), and the ratio with the smallest squared error is taken. The scale is then stored in its type, and the numbers
// are chosen for what was stored, so that a narrow type costs next to nothing.
//
//===----------------------------------------------------------------------===//
#ifndef EDGECC_PASSES_QUANTIZE_ROUNDTONEAREST_H
#define EDGECC_PASSES_QUANTIZE_ROUNDTONEAREST_H

#include "dialects/edge/Quantization.h"

namespace edgecc {

/// Squares summed up: what was lost, and what there was.
struct RoundingError {
  double lost = 0, power = 0;

  void operator+=(const RoundingError &other) {
    lost += other.lost;
    power += other.power;
  }
  /// ||w - quantized w|| / ||w||
  double relative() const;
  /// Signal to noise, dB.
  double decibels() const;
};

/// Rounds channels of k floats, in the form that edge.linear has in layout nk.
class ChannelRounder {
public:
  ChannelRounder(edge::QuantizationAttr quantization, int64_t k);

  /// Floats of a channel, filled up to whole groups and lanes.
  int64_t paddedLength() const { return groups * paddedGroup; }
  int64_t numberBytes() const { return groups * bytes; }
  int64_t scaleBytes() const { return groups * (halfScales ? 2 : 4); }
  int64_t zeroBytes() const { return hasZeros ? groups : 0; }

  /// `channel` is padded with zeros; `zeros` may be null if there are none.
  RoundingError round(const float *channel, uint8_t *numbers, char *scales, uint8_t *zeros) const;

private:
  int64_t bits, group, groups, bytes, paddedGroup;
  bool hasZeros, halfScales;
};

/// To f16, half to even, what is too large to the largest; and back.
uint16_t toHalf(float value);
float fromHalf(uint16_t half);

/// Widens `count` numbers of 16 or 32 bits to f32; false if one is infinite or no number.
bool widenHalf(const char *from, int64_t count, float *to);
bool widenBrainFloat(const char *from, int64_t count, float *to);
bool widenFloat(const char *from, int64_t count, float *to);

} // namespace edgecc
#endif // EDGECC_PASSES_QUANTIZE_ROUNDTONEAREST_H
