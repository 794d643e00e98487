#include "runtime/text/Sampler.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

namespace edgecc::text {

static void penalize(std::vector<float> &logits, const std::vector<int64_t> &history, float penalty) {
  std::vector<int64_t> seen = history;
  std::sort(seen.begin(), seen.end());
  seen.erase(std::unique(seen.begin(), seen.end()), seen.end());
  for (int64_t id : seen)
    if (id >= 0 && uint64_t(id) < logits.size())
      logits[size_t(id)] = logits[size_t(id)] > 0 ? logits[size_t(id)] / penalty : logits[size_t(id)] * penalty;
}

int64_t Sampler::sample(std::vector<float> &logits, const std::vector<int64_t> &history) {
  // Not-a-number would break the order below.
  for (float &logit : logits)
    if (std::isnan(logit))
      logit = -std::numeric_limits<float>::infinity();
  if (options.repetitionPenalty != 1)
    penalize(logits, history, options.repetitionPenalty);
  if (options.temperature <= 0)
    return std::max_element(logits.begin(), logits.end()) - logits.begin();

  order.resize(logits.size());
  std::iota(order.begin(), order.end(), 0u);
  const auto likelier = [&](uint32_t a, uint32_t b) { return logits[a] != logits[b] ? logits[a] > logits[b] : a < b; };
  size_t kept = order.size();
  if (options.topK && options.topK < kept) {
    kept = options.topK;
    std::partial_sort(order.begin(), order.begin() + long(kept), order.end(), likelier);
  } else if (options.topP < 1) {
    std::sort(order.begin(), order.end(), likelier);
  }
  const float highest = *std::max_element(logits.begin(), logits.end());
  if (!std::isfinite(highest))
    return std::max_element(logits.begin(), logits.end()) - logits.begin();
  weights.resize(kept);
  double sum = 0;
  for (size_t i = 0; i < kept; ++i)
    sum += weights[i] = std::exp(double(logits[order[i]] - highest) / options.temperature);
  if (options.topP < 1) {
    double share = 0;
    size_t i = 0;
    while (i < kept && share < options.topP * sum)
      share += weights[i++];
    kept = std::max<size_t>(i, 1);
    sum = std::accumulate(weights.begin(), weights.begin() + long(kept), 0.0);
  }
  // 53 bits by hand: the standard distributions differ between libraries.
  double remaining = double(random() >> 11) * 0x1p-53 * sum;
  size_t chosen = 0;
  while (chosen + 1 < kept && remaining >= weights[chosen])
    remaining -= weights[chosen++];
  return order[chosen];
}

} // namespace edgecc::text
