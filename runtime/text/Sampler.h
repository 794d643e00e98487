//===- Sampler.h - From logits to a token -----------------------------------===//
//
// Why above the core: how a token is chosen is the app's business, and none of it is needed to run an encoder.
//
//===----------------------------------------------------------------------===//
#ifndef EDGECC_RUNTIME_TEXT_SAMPLER_H
#define EDGECC_RUNTIME_TEXT_SAMPLER_H

#include <cstddef>
#include <cstdint>
#include <random>
#include <vector>

namespace edgecc::text {

struct SamplingOptions {
  float temperature = 0;       ///< 0 takes the likeliest token
  uint32_t topK = 0;           ///< 0: all
  float topP = 1;              ///< the smallest set of likeliest tokens with this share; 1: all
  float repetitionPenalty = 1; ///< logits of tokens that were there are divided (negative ones multiplied) by it
  uint64_t seed = 0;           ///< the same seed gives the same text on every machine
};

/// Tokens that may come, and how likely: weights of which `sum` is the sum.
struct Choice {
  std::vector<uint32_t> tokens;
  std::vector<double> weights;
  double sum = 0;
};

class Sampler {
public:
  explicit Sampler(const SamplingOptions &options) : options(options), random(options.seed) {}

  /// `logits` [vocabulary] are changed; `history` are the tokens so far. Logits that are not numbers count as least likely.
  int64_t sample(std::vector<float> &logits, const std::vector<int64_t> &history);

  /// What `sample` draws from.
  Choice choice(std::vector<float> &logits, const std::vector<int64_t> &history) const;
  int64_t draw(const Choice &choice);
  /// In [0, 1).
  double uniform();

private:
  SamplingOptions options;
  std::mt19937_64 random;
};

} // namespace edgecc::text
#endif // EDGECC_RUNTIME_TEXT_SAMPLER_H
