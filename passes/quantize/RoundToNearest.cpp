//===- RoundToNearest.cpp ---------------------------------------------------===//
//
// Loops over kLanes independent sums: the compiler makes vectors of them without being allowed to reorder floating point.
//
//===----------------------------------------------------------------------===//
#include "passes/quantize/RoundToNearest.h"
#include "llvm/ADT/bit.h"
#include "llvm/Support/MathExtras.h"
#include <cmath>

using llvm::bit_cast;
namespace edgecc {
namespace {

constexpr int64_t kLanes = 16;

/// Ratios of the range that is kept to the range there is: first far apart, then closer around the best.
constexpr int kCoarse = 9, kFine = 8;
constexpr float kWidest = 1.05f, kStep = 0.9f;

/// To the nearest integer, half to even; |x| < 2^22.
inline float nearest(float x) {
  constexpr float kShift = 12582912.0f; // 1.5 * 2^23: the fraction falls off
  return (x + kShift) - kShift;
}

inline float number(float weight, float inverse, float low, float high) {
  float d = nearest(weight * inverse);
  d = d > low ? d : low; // NaN becomes the lowest value
  return d > high ? high : d;
}

/// Sums of weight * number and number^2 for the scale 1 / inverse. The best scale for these numbers is their quotient, and what
/// it explains of the weights' squares is product^2 / square.
struct Fit {
  float product = 0, square = 0;
  float explained() const { return square > 0 ? product * product / square : 0; }
};

template <bool kWeighted>
Fit fit(const float *weights, const float *importance, int64_t count, float inverse, float low, float high) {
  float product[kLanes] = {}, square[kLanes] = {};
  for (int64_t i = 0; i < count; i += kLanes)
    for (int64_t lane = 0; lane < kLanes; ++lane) {
      float weight = weights[i + lane], d = number(weight, inverse, low, high), counted = d;
      if constexpr (kWeighted)
        counted *= importance[i + lane];
      product[lane] += weight * counted;
      square[lane] += d * counted;
    }
  Fit sum;
  for (int64_t lane = 0; lane < kLanes; ++lane) {
    sum.product += product[lane];
    sum.square += square[lane];
  }
  return sum;
}

std::pair<float, float> extremes(const float *weights, int64_t count) {
  float least[kLanes] = {}, most[kLanes] = {};
  for (int64_t i = 0; i < count; i += kLanes)
    for (int64_t lane = 0; lane < kLanes; ++lane) {
      float weight = weights[i + lane];
      least[lane] = weight < least[lane] ? weight : least[lane];
      most[lane] = weight > most[lane] ? weight : most[lane];
    }
  float low = 0, high = 0;
  for (int64_t lane = 0; lane < kLanes; ++lane) {
    low = std::min(low, least[lane]);
    high = std::max(high, most[lane]);
  }
  return {low, high};
}

} // namespace

double RoundingError::relative() const { return power > 0 ? std::sqrt(lost / power) : 0; }

double RoundingError::decibels() const { return lost > 0 ? 10 * std::log10(power / lost) : 200; }

ChannelRounder::ChannelRounder(edge::QuantizationAttr quantization, int64_t k)
    : bits(quantization.getBits()), group(edge::groupSize(quantization, k)), groups(edge::groupsOf(quantization, k)),
      bytes(edge::groupBytes(quantization, k)), paddedGroup(llvm::alignTo(group, kLanes)), hasZeros(quantization.getZeros()),
      halfScales(quantization.getScale().isF16()) {}

float Grid::nearest(float weight) const { return number(weight, inverse(), low, high); }

float Grid::inverse() const { return scale != 0 && std::isfinite(1 / scale) ? 1 / scale : 0; }

float ChannelRounder::stored(float scale) const { return halfScales ? fromHalf(toHalf(scale)) : scale; }

Grid ChannelRounder::choose(const float *weights, const float *importance) const {
  const int64_t top = (1 << bits) - 1, middle = 1 << (bits - 1);
  auto [least, most] = extremes(weights, paddedGroup);
  // The scale that just covers the group, and what stands for zero.
  Grid grid;
  grid.zero = middle;
  float inverse;
  if (hasZeros) {
    float range = most - least;
    grid.zero = range > 0 ? std::lround(-least / range * top) : 0;
    inverse = top / range;
    grid.low = -grid.zero, grid.high = top - grid.zero;
  } else {
    // Two's complement has one number more below zero. With 4 bits it is worth having: the scale takes the sign that puts the
    // largest weight there. With 8 it is not, and kernels are simpler without.
    float largest = most > -least ? most : least;
    grid.low = bits == 4 ? -8 : -127, grid.high = bits == 4 ? 7 : 127;
    inverse = bits == 4 ? grid.low / largest : grid.high / std::abs(largest);
  }
  // Weights below the smallest scales are zero: their inverse is no number.
  if (!std::isfinite(inverse))
    return grid;
  Fit best;
  float bestRatio = 1;
  auto consider = [&](float ratio) {
    Fit found = (importance ? fit<true> : fit<false>)(weights, importance, paddedGroup, inverse / ratio, grid.low, grid.high);
    if (found.explained() > best.explained())
      best = found, bestRatio = ratio;
  };
  // Weights that were rounded before lie on a grid whose ends are met exactly by these; they come out as they were.
  consider(1);
  if (!hasZeros)
    consider(-grid.low / grid.high);
  float ratio = kWidest;
  for (int i = 0; i < kCoarse; ++i, ratio *= kStep)
    consider(ratio);
  float around = bestRatio, width = (1 - kStep) * around;
  for (int i = 0; i < kFine; ++i)
    consider(around + width * ((i + 0.5f) / kFine * 2 - 1));
  grid.scale = stored(best.square > 0 ? best.product / best.square : 0);
  return grid;
}

void ChannelRounder::store(int64_t g, const Grid &grid, char *scales, uint8_t *zeros) const {
  if (halfScales) {
    uint16_t half = toHalf(grid.scale);
    std::memcpy(scales + g * 2, &half, 2);
  } else {
    std::memcpy(scales + g * 4, &grid.scale, 4);
  }
  if (hasZeros)
    zeros[g] = grid.zero;
}

RoundingError ChannelRounder::round(const float *channel, const float *importance, uint8_t *numbers, char *scales,
                                    uint8_t *zeros) const {
  RoundingError error;
  for (int64_t g = 0; g < groups; ++g) {
    const float *weights = channel + g * paddedGroup;
    Grid grid = choose(weights, importance ? importance + g * paddedGroup : nullptr);
    store(g, grid, scales, zeros);
    error += storeNumbers(g, grid, weights, weights, numbers);
  }
  return error;
}

RoundingError ChannelRounder::storeNumbers(int64_t g, const Grid &grid, const float *weights, const float *targets,
                                           uint8_t *numbers) const {
  const float inverse = grid.inverse();
  float lost[kLanes] = {}, power[kLanes] = {};
  uint8_t *out = numbers + g * bytes;
  for (int64_t i = 0; i < paddedGroup; i += kLanes) {
    uint8_t found[kLanes];
    for (int64_t lane = 0; lane < kLanes; ++lane) {
      float weight = weights[i + lane], d = number(targets[i + lane], inverse, grid.low, grid.high),
            miss = weight - grid.scale * d;
      lost[lane] += miss * miss;
      power[lane] += weight * weight;
      found[lane] = uint8_t(int32_t(d) + int32_t(grid.zero));
    }
    int64_t count = std::min(kLanes, group - i);
    if (bits == 8)
      std::memcpy(out + i, found, count);
    else
      for (int64_t j = 0; j < count; j += 2)
        out[(i + j) / 2] = found[j] | (j + 1 < count ? found[j + 1] : grid.zero) << 4;
  }
  RoundingError error;
  for (int64_t lane = 0; lane < kLanes; ++lane)
    error += {lost[lane], power[lane]};
  return error;
}

uint16_t toHalf(float value) {
  uint32_t bits = bit_cast<uint32_t>(value), sign = bits >> 16 & 0x8000;
  bits &= 0x7fffffff;
  if (bits >= bit_cast<uint32_t>(65520.0f))
    return sign | 0x7bff;
  // Below 2^-14 the unit is 2^-24: adding 0.5 puts it at the end of the mantissa.
  if (bits < bit_cast<uint32_t>(0x1p-14f))
    return sign | (bit_cast<uint32_t>(bit_cast<float>(bits) + 0.5f) - bit_cast<uint32_t>(0.5f));
  bits += 0xfff + (bits >> 13 & 1);
  return sign | ((bits - (112u << 23)) >> 13);
}

float fromHalf(uint16_t half) {
  float value = bit_cast<float>(uint32_t(half & 0x7fff) << 13) * 0x1p112f;
  return half & 0x8000 ? -value : value;
}

bool widenHalf(const char *from, int64_t count, float *to) {
  uint32_t wrong = 0;
  for (int64_t i = 0; i < count; ++i) {
    uint16_t half;
    std::memcpy(&half, from + i * 2, 2);
    uint32_t size = uint32_t(half & 0x7fff);
    wrong |= size >= 0x7c00;
    // The exponent moves by 112; a product does that for the smallest, too.
    float value = bit_cast<float>(size << 13) * 0x1p112f;
    to[i] = bit_cast<float>(bit_cast<uint32_t>(value) | uint32_t(half & 0x8000) << 16);
  }
  return !wrong;
}

bool widenBrainFloat(const char *from, int64_t count, float *to) {
  uint32_t wrong = 0;
  for (int64_t i = 0; i < count; ++i) {
    uint16_t half;
    std::memcpy(&half, from + i * 2, 2);
    wrong |= (half & 0x7f80) == 0x7f80;
    to[i] = bit_cast<float>(uint32_t(half) << 16);
  }
  return !wrong;
}

bool widenFloat(const char *from, int64_t count, float *to) {
  uint32_t wrong = 0;
  for (int64_t i = 0; i < count; ++i) {
    uint32_t bits;
    std::memcpy(&bits, from + i * 4, 4);
    wrong |= (bits & 0x7f800000) == 0x7f800000;
    to[i] = bit_cast<float>(bits);
  }
  return !wrong;
}

} // namespace edgecc
