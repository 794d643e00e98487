// A rough figure beside the quality: the fastest of a few rounds, which others on the machine disturb least.
#include "tools/edgecc-eval/Eval.h"

#include <algorithm>
#include <chrono>

namespace edgecc::tools {

std::string measureSpeed(const std::vector<int64_t> &tokens, Compiled &model, Json &result) {
  using Clock = std::chrono::steady_clock;
  constexpr size_t kRounds = 9, kWritten = 16;
  const size_t written = std::min(kWritten, tokens.size() / 2);
  const std::vector<int64_t> prompt(tokens.begin(), tokens.end() - ptrdiff_t(written));
  std::vector<double> prefill, decode;
  std::vector<float> logits;
  for (size_t round = 0; round < kRounds; ++round) {
    model.writing->reset();
    const Clock::time_point start = Clock::now();
    if (std::string fault = model.writing->feed(prompt, 0, logits); !fault.empty())
      return fault;
    const Clock::time_point middle = Clock::now();
    for (size_t i = prompt.size(); i < tokens.size(); ++i)
      if (std::string fault = model.writing->feed({tokens[i]}, 0, logits); !fault.empty())
        return fault;
    prefill.push_back(std::chrono::duration<double>(middle - start).count());
    decode.push_back(std::chrono::duration<double>(Clock::now() - middle).count());
  }
  const auto rate = [](size_t count, const std::vector<double> &seconds) {
    return double(count) / std::max(*std::min_element(seconds.begin(), seconds.end()), 1e-9);
  };
  result = {{"threads", edgecc_session_threads(model.session.handle())},
            {"prompt", prompt.size()},
            {"prefill_tokens_per_second", rate(prompt.size(), prefill)}};
  if (written)
    result["decode_tokens_per_second"] = rate(written, decode);
  return "";
}

} // namespace edgecc::tools
