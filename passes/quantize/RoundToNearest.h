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

/// What a group's numbers stand for: scale * d for the integers d from low to high. What is stored is d + zero.
struct Grid {
  float scale = 0, low = 0, high = 0;
  int64_t zero = 0;

  /// The d nearest to a weight.
  float nearest(float weight) const;
  /// 1 / scale; 0 if there is none.
  float inverse() const;
};

/// Rounds channels of k floats, in the form that edge.linear has in layout nk.
class ChannelRounder {
public:
  ChannelRounder(edge::QuantizationAttr quantization, int64_t k);

  /// Floats of a channel, filled up to whole groups and lanes.
  int64_t paddedLength() const { return groups * paddedGroup; }
  /// Where input channel i is in that.
  int64_t paddedIndex(int64_t i) const { return i / group * paddedGroup + i % group; }
  int64_t groupCount() const { return groups; }
  int64_t paddedGroupLength() const { return paddedGroup; }
  int64_t groupLength() const { return group; }
  int64_t numberBytes() const { return groups * bytes; }
  int64_t scaleBytes() const { return groups * (halfScales ? 2 : 4); }
  int64_t zeroBytes() const { return hasZeros ? groups : 0; }

  /// `channel` is padded with zeros; `zeros` may be null if there are none. `importance`, which may be null, says how much the
  /// squared error of each weight counts when a scale is chosen.
  RoundingError round(const float *channel, const float *importance, uint8_t *numbers, char *scales, uint8_t *zeros) const;

  /// The same in steps, for who decides numbers by other means than nearness. The grid of the least squared error for a group,
  /// its scale as it will be stored:
  Grid choose(const float *weights, const float *importance) const;
  /// A scale as it will be stored.
  float stored(float scale) const;
  void store(int64_t g, const Grid &grid, char *scales, uint8_t *zeros) const;
  /// The numbers nearest to `targets`; the error is that of `weights`.
  RoundingError storeNumbers(int64_t g, const Grid &grid, const float *weights, const float *targets, uint8_t *numbers) const;

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
