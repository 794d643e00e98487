// Rough figures beside the quality: `edgecc-bench` measures with care. Model and reference take turns, so that others on the
// machine disturb both.
#include "tools/edgecc-eval/Eval.h"

#include <algorithm>

namespace edgecc::tools {
namespace {

double rate(size_t tokens, double seconds) { return double(tokens) / std::max(seconds, 1e-9); }

/// Reads the prompt and then the rest, token by token.
std::string run(const std::vector<int64_t> &tokens, size_t prompt, Compiled &model, Pace &pace) {
  std::vector<float> logits;
  model.writing->reset();
  const auto middle = tokens.begin() + ptrdiff_t(prompt);
  const Pace::Clock::time_point start = Pace::Clock::now();
  std::string fault = model.writing->feed({tokens.begin(), middle}, 0, logits);
  pace.addReading(prompt, start);
  for (auto token = middle; fault.empty() && token != tokens.end(); ++token) {
    const Pace::Clock::time_point start = Pace::Clock::now();
    fault = model.writing->feed({*token}, 0, logits);
    pace.addWriting(start);
  }
  return fault;
}

} // namespace

Json speedOf(const Compiled &model, const Pace &pace, const Pace *reference) {
  Json result = {{"threads", edgecc_session_threads(model.session.handle())}};
  const auto add = [&](const char *what, size_t tokens, double seconds, size_t otherTokens, double otherSeconds) {
    if (!tokens)
      return;
    const std::string name = what;
    result[name + "_tokens_per_second"] = rate(tokens, seconds);
    if (reference && otherTokens)
      result[name + "_speedup"] = rate(tokens, seconds) / rate(otherTokens, otherSeconds);
  };
  const Pace other = reference ? *reference : Pace();
  add("prefill", pace.read, pace.reading, other.read, other.reading);
  add("decode", pace.written, pace.writing, other.written, other.writing);
  return result;
}

std::string measureSpeed(const std::vector<int64_t> &tokens, Compiled &model, Compiled *reference, Json &result) {
  constexpr size_t kRounds = 9, kWritten = 16;
  const size_t prompt = tokens.size() - std::min(kWritten, tokens.size() / 2);
  std::vector<Pace> paces, others;
  for (size_t round = 0; round < kRounds; ++round) {
    if (std::string fault = run(tokens, prompt, model, paces.emplace_back()); !fault.empty())
      return fault;
    if (!reference)
      continue;
    if (std::string fault = run(tokens, prompt, *reference, others.emplace_back()); !fault.empty())
      return fault;
  }
  const auto fastest = [](const std::vector<Pace> &rounds) {
    Pace best = rounds.front();
    for (const Pace &round : rounds) {
      best.reading = std::min(best.reading, round.reading);
      best.writing = std::min(best.writing, round.writing);
    }
    return best;
  };
  const Pace other = reference ? fastest(others) : Pace();
  result = speedOf(model, fastest(paces), reference ? &other : nullptr);
  result["prompt"] = prompt;
  return "";
}

} // namespace edgecc::tools
