#include "tools/edgecc-run/Generate.h"

#include "runtime/text/LanguageModel.h"
#include "runtime/text/Tokenizer.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>

namespace edgecc::tools {
namespace {

using Clock = std::chrono::steady_clock;

int complain(const std::string &sentence) {
  fprintf(stderr, "edgecc-run: %s\n", sentence.c_str());
  return 1;
}

double secondsSince(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

std::vector<int64_t> stopIds(const Model &model, const text::Tokenizer *tokenizer, const GenerateOptions &options) {
  if (options.ignoreStop || !options.stopIds.empty())
    return options.ignoreStop ? std::vector<int64_t>() : options.stopIds;
  std::vector<int64_t> ids = tokenizer ? tokenizer->ends() : std::vector<int64_t>();
  // "2" or "[1, 2]", as in config.json
  const char *at = edgecc_model_property(model.handle(), "eos_token_id");
  while (at && *at) {
    char *end = nullptr;
    const long long id = strtoll(at, &end, 10);
    if (end != at)
      ids.push_back(id);
    at = end == at ? at + 1 : end;
  }
  return ids;
}

} // namespace

int runGenerate(const Model &model, Session &session, const GenerateOptions &options) {
  std::string fault;
  std::unique_ptr<text::Tokenizer> tokenizer = text::openTokenizer(model, options.tokenizer, fault);
  if (!fault.empty())
    return complain(fault);
  if (options.prompt && !tokenizer)
    return complain("--prompt needs --tokenizer FILE: the model has none inside (or give --ids)");
  text::LanguageModel language(model, session);
  if (fault = language.find(options.entry); !fault.empty())
    return complain(fault);
  std::vector<int64_t> history = options.prompt ? tokenizer->encode(*options.prompt) : options.ids;
  for (int64_t id : history)
    if (id < 0 || id >= language.vocabulary())
      return complain("token " + std::to_string(id) + " is not in the model's vocabulary of " +
                      std::to_string(language.vocabulary()) + (options.prompt ? ": the tokenizer belongs to another model" : ""));
  const std::vector<int64_t> stops = stopIds(model, tokenizer.get(), options);
  const bool asText = tokenizer && !options.printIds;
  if (asText && options.prompt)
    printf("%s", options.prompt->c_str());

  text::Sampler sampler(options.sampling);
  std::vector<float> logits;
  std::vector<int64_t> next = history;
  const size_t promptSize = history.size();
  const Clock::time_point start = Clock::now();
  Clock::time_point first = start;
  uint32_t written = 0;
  for (; written < options.maxTokens; ++written) {
    if (fault = language.feed(next, options.prefillChunk, logits); !fault.empty())
      break;
    const int64_t id = sampler.sample(logits, history);
    if (written == 0)
      first = Clock::now();
    if (std::find(stops.begin(), stops.end(), id) != stops.end())
      break;
    if (asText)
      printf("%s", tokenizer->decode(history.empty() ? -1 : history.back(), id).c_str());
    else
      printf("%s%lld", written ? "," : "", static_cast<long long>(id));
    fflush(stdout);
    history.push_back(id);
    next = {id};
  }
  printf("\n");
  fflush(stdout);
  if (!fault.empty() && written == 0)
    return complain(fault);
  const double prompt = std::chrono::duration<double>(first - start).count(), rest = secondsSince(first);
  fprintf(stderr,
          "prompt: %zu tokens, first token after %.1f ms (%.1f tokens/s); written: %u tokens, %.1f tokens/s; %u threads\n",
          promptSize, prompt * 1e3, double(promptSize) / std::max(prompt, 1e-9), written,
          written > 1 ? double(written - 1) / std::max(rest, 1e-9) : 0.0, edgecc_session_threads(session.handle()));
  // A full context ends the text but is no failure of what was written.
  if (!fault.empty())
    fprintf(stderr, "edgecc-run: stopped: %s\n", fault.c_str());
  return 0;
}

} // namespace edgecc::tools
