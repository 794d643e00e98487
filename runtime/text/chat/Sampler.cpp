//===- Sampler.cpp - From logits to a token ----------------------------------===//
#include "runtime/text/chat/Sampler.h"

#include <algorithm>
#include <math.h>

namespace edgecc::text {

void Sampler::bias(float *logits, size_t count) {
  // Not-a-number would break the order of logits.
  for (size_t i = 0; i < count; ++i)
    if (isnan(logits[i]))
      logits[i] = -INFINITY;
  for (const LogitBias &one : biases)
    if (one.id >= 0 && size_t(one.id) < count)
      logits[one.id] += one.bias;
}

Choice Sampler::choose(const float *logits, size_t count) {
  Choice choice;
  const size_t top = size_t(std::max_element(logits, logits + count) - logits);
  const float highest = logits[top];
  if (options.temperature <= 0 || !isfinite(highest)) {
    choice.tokens.push(uint32_t(top));
    choice.weights.push(1);
    choice.sum = 1;
    return choice;
  }
  const auto weightOf = [&](uint32_t id) { return exp(double(logits[id] - highest) / options.temperature); };
  const auto likelier = [&](uint32_t a, uint32_t b) { return logits[a] != logits[b] ? logits[a] > logits[b] : a < b; };

  // min-p is a bound on the logits; what it drops need not be sorted.
  Buffer<uint32_t> &order = choice.tokens;
  const double lowest = options.minP > 0 ? double(highest) + options.temperature * log(double(options.minP)) : -INFINITY;
  double whole = 0; // of all tokens that top-k leaves
  const bool hasTopK = options.topK && options.topK < count;
  for (uint32_t id = 0; id < count; ++id) {
    if (!hasTopK && options.topP < 1)
      whole += weightOf(id);
    if (double(logits[id]) >= lowest)
      order.push(id);
  }
  if (hasTopK) {
    const size_t kept = std::min<size_t>(options.topK, order.size());
    std::partial_sort(order.begin(), order.begin() + kept, order.end(), likelier);
    // The share of top-p is of the k likeliest, also where min-p drops some of them.
    if (kept < options.topK && options.topP < 1) {
      Buffer<uint32_t> all;
      for (uint32_t id = 0; id < count; ++id)
        all.push(id);
      std::partial_sort(all.begin(), all.begin() + options.topK, all.end(), likelier);
      for (size_t i = 0; i < options.topK; ++i)
        whole += weightOf(all[i]);
    } else {
      for (size_t i = 0; i < kept; ++i)
        whole += weightOf(order[i]);
    }
    order.truncate(kept);
  }
  // top-p needs the likeliest in order, but seldom many of them.
  size_t sorted = hasTopK ? order.size() : 0, taken = 0;
  double share = 0;
  while (taken < order.size() && (options.topP >= 1 || taken == 0 || share < double(options.topP) * whole)) {
    if (options.topP < 1 && taken == sorted) {
      sorted = std::min(order.size(), std::max<size_t>(256, 4 * sorted));
      std::partial_sort(order.begin() + taken, order.begin() + sorted, order.end(), likelier);
    }
    const double weight = weightOf(order[taken++]);
    choice.weights.push(weight);
    share += weight;
  }
  order.truncate(taken);
  choice.sum = share;
  return choice;
}

// 53 bits by hand: the standard distributions differ between libraries.
double Sampler::uniform() { return double(random() >> 11) * 0x1p-53; }

int64_t Sampler::draw(const Choice &choice) {
  if (options.temperature <= 0)
    return choice.tokens[0];
  double remaining = uniform() * choice.sum;
  size_t chosen = 0;
  while (chosen + 1 < choice.tokens.size() && remaining >= choice.weights[chosen])
    remaining -= choice.weights[chosen++];
  return choice.tokens[chosen];
}

double logProbability(const float *logits, size_t count, size_t id) {
  const float highest = *std::max_element(logits, logits + count);
  double sum = 0;
  for (size_t i = 0; i < count; ++i)
    sum += exp(double(logits[i] - highest));
  return double(logits[id] - highest) - log(sum);
}

} // namespace edgecc::text
