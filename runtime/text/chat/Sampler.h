//===- Sampler.h - From logits to a token -----------------------------------===//
//
// The order of the steps is that of transformers: logit bias, penalties, temperature, top-k, top-p, min-p. All of it is
// deterministic: a seed gives the same tokens on every machine.
//
//===----------------------------------------------------------------------===//
#ifndef EDGECC_RUNTIME_TEXT_CHAT_SAMPLER_H
#define EDGECC_RUNTIME_TEXT_CHAT_SAMPLER_H

#include "runtime/text/Buffer.h"

#include <random>

namespace edgecc::text {

struct SamplingOptions {
  float temperature = 0; ///< 0 takes the likeliest token
  uint32_t topK = 0;     ///< only the k likeliest tokens; 0: all
  float topP = 1;        ///< the smallest set of likeliest tokens with this probability; 1: all
  float minP = 0;        ///< only tokens at least this likely, relative to the likeliest; 0: all
  float repetitionPenalty =
      1; ///< logits of tokens in the history are divided (negative ones multiplied) by it (Keskar et al. 2019)
  float presencePenalty = 0;  ///< subtracted from logits of tokens that were generated
  float frequencyPenalty = 0; ///< subtracted once for each time a token was generated
  uint64_t seed = 0;
};

struct LogitBias {
  int32_t id;
  float bias; ///< added to the logit; -infinity forbids the token
};

/// Tokens that may come next, likeliest first where the order matters, and their weights, which add up to `sum`.
struct Choice {
  Buffer<uint32_t> tokens;
  Buffer<double> weights;
  double sum = 0;
};

class Sampler {
public:
  explicit Sampler(const SamplingOptions &options) : options(options), random(options.seed) {}

  /// Adds to the logit of a token from now on. Returns false when memory ran out.
  bool addBias(LogitBias bias) { return biases.push(bias); }

  /// Picks a token. `logits` [vocabulary] are changed; `history` are the tokens so far, of which those from `generatedFrom` on
  /// were generated. Both are arrays with data() and size(). NaN counts as least likely.
  template <typename Logits, typename History> int64_t sample(Logits &logits, const History &history, size_t generatedFrom = 0) {
    return draw(choice(logits, history, generatedFrom));
  }
  /// Returns what sample() draws from.
  template <typename Logits, typename History> Choice choice(Logits &logits, const History &history, size_t generatedFrom = 0) {
    bias(logits.data(), logits.size());
    penalize(logits.data(), logits.size(), history.data(), history.size(), generatedFrom);
    return choose(logits.data(), logits.size());
  }
  int64_t draw(const Choice &choice);
  /// Returns a number in [0, 1).
  double uniform();

private:
  void bias(float *logits, size_t count);
  template <typename Id> void penalize(float *logits, size_t count, const Id *history, size_t size, size_t generatedFrom);
  Choice choose(const float *logits, size_t count);

  SamplingOptions options;
  std::mt19937_64 random;
  Buffer<LogitBias> biases;
  Buffer<uint32_t> seen; ///< tokens of the history, each once
  Buffer<int32_t> times; ///< [vocabulary]: how often a token was generated, plus 1; 0 if it is not in the history
};

template <typename Id> void Sampler::penalize(float *logits, size_t count, const Id *history, size_t size, size_t generatedFrom) {
  if (options.repetitionPenalty == 1 && options.presencePenalty == 0 && options.frequencyPenalty == 0)
    return;
  if (times.size() < count && !times.resize(count))
    return;
  for (size_t i = 0; i < size; ++i) {
    if (history[i] < 0 || uint64_t(history[i]) >= count)
      continue;
    int32_t &time = times[size_t(history[i])];
    if (time == 0) {
      time = 1;
      seen.push(uint32_t(history[i]));
    }
    time += i >= generatedFrom;
  }
  for (uint32_t id : seen) {
    float &logit = logits[id];
    logit = logit > 0 ? logit / options.repetitionPenalty : logit * options.repetitionPenalty;
    const int32_t generated = times[id] - 1;
    logit -= options.frequencyPenalty * float(generated) + (generated > 0 ? options.presencePenalty : 0);
    times[id] = 0;
  }
  seen.clear();
}

/// Returns the natural logarithm of the probability of `id` in logits [count].
double logProbability(const float *logits, size_t count, size_t id);

} // namespace edgecc::text
#endif // EDGECC_RUNTIME_TEXT_CHAT_SAMPLER_H
