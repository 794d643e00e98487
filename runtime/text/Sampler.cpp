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

Choice Sampler::choice(std::vector<float> &logits, const std::vector<int64_t> &history) const {
  // Not-a-number would break the order below.
  for (float &logit : logits)
    if (std::isnan(logit))
      logit = -std::numeric_limits<float>::infinity();
  if (options.repetitionPenalty != 1)
    penalize(logits, history, options.repetitionPenalty);
  const auto top = std::max_element(logits.begin(), logits.end());
  const float highest = *top;
  if (options.temperature <= 0 || !std::isfinite(highest))
    return {{uint32_t(top - logits.begin())}, {1}, 1};

  Choice choice;
  std::vector<uint32_t> &order = choice.tokens;
  order.resize(logits.size());
  std::iota(order.begin(), order.end(), 0u);
  const auto likelier = [&](uint32_t a, uint32_t b) { return logits[a] != logits[b] ? logits[a] > logits[b] : a < b; };
  if (options.topK && options.topK < order.size()) {
    std::partial_sort(order.begin(), order.begin() + long(options.topK), order.end(), likelier);
    order.resize(options.topK);
  } else if (options.topP < 1) {
    std::sort(order.begin(), order.end(), likelier);
  }
  for (uint32_t token : order)
    choice.weights.push_back(std::exp(double(logits[token] - highest) / options.temperature));
  choice.sum = std::accumulate(choice.weights.begin(), choice.weights.end(), 0.0);
  if (options.topP < 1) {
    double share = 0;
    size_t kept = 0;
    while (kept < order.size() && share < options.topP * choice.sum)
      share += choice.weights[kept++];
    kept = std::max<size_t>(kept, 1);
    order.resize(kept);
    choice.weights.resize(kept);
    choice.sum = std::accumulate(choice.weights.begin(), choice.weights.end(), 0.0);
  }
  return choice;
}

// 53 bits by hand: the standard distributions differ between libraries.
double Sampler::uniform() { return double(random() >> 11) * 0x1p-53; }

int64_t Sampler::draw(const Choice &choice) {
  if (options.temperature <= 0)
    return choice.tokens.front();
  double remaining = uniform() * choice.sum;
  size_t chosen = 0;
  while (chosen + 1 < choice.tokens.size() && remaining >= choice.weights[chosen])
    remaining -= choice.weights[chosen++];
  return choice.tokens[chosen];
}

int64_t Sampler::sample(std::vector<float> &logits, const std::vector<int64_t> &history) { return draw(choice(logits, history)); }

} // namespace edgecc::text
