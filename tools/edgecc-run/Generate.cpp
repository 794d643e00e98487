#include "tools/edgecc-run/Generate.h"

#include "runtime/text/LanguageModel.h"
#include "runtime/text/tokenizer/Decoder.h"

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

std::vector<int64_t> stopIds(const Model &model, const edgecc_text *own, const GenerateOptions &options) {
  if (options.ignoreStop || !options.stopIds.empty())
    return options.ignoreStop ? std::vector<int64_t>() : options.stopIds;
  std::vector<int64_t> ids;
  if (own) {
    // The beginning of another text ends this one.
    ids = {own->tokenizer.endId(), own->tokenizer.beginId()};
    ids.insert(ids.end(), own->stopIds, own->stopIds + own->defaults.stopCount);
  }
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

void printStats(const Model &model, const text::LanguageModel &language, const text::Speculation &speculation) {
  const uint32_t layers = edgecc_model_layers(model.handle());
  uint64_t calls = 0, executed = 0;
  std::string counts;
  for (size_t depth = 0; depth < language.depths().size(); ++depth) {
    const uint64_t count = language.depths()[depth];
    calls += count;
    executed += count * depth;
    if (count)
      counts += (counts.empty() ? "" : ", ") + std::to_string(count) + " after " + std::to_string(depth);
  }
  if (calls == 0)
    return;
  fprintf(stderr, "exits: %.2f of %u layers on average; of %llu tokens %s\n", double(executed) / double(calls), layers,
          static_cast<unsigned long long>(calls), counts.c_str());
  if (speculation.verified)
    fprintf(stderr, "verified: %llu of %llu drafts accepted, %.2f tokens for each of %llu batches\n",
            static_cast<unsigned long long>(speculation.accepted), static_cast<unsigned long long>(speculation.drafted),
            double(speculation.drafted) / double(speculation.verified), static_cast<unsigned long long>(speculation.verified));
}

} // namespace

int runGenerate(const Model &model, Session &session, const edgecc_text *own, const GenerateOptions &options) {
  if (options.prompt && !own)
    return complain("--prompt needs --tokenizer FILE: the model has none inside (or give --ids)");
  std::string fault;
  text::LanguageModel language(model, session);
  if (fault = language.find(options.entry); !fault.empty())
    return complain(fault);
  std::vector<int64_t> history = options.prompt ? encode(*own, *options.prompt) : options.ids;
  for (int64_t id : history)
    if (id < 0 || id >= language.vocabulary())
      return complain("token " + std::to_string(id) + " is not in the model's vocabulary of " +
                      std::to_string(language.vocabulary()) + (options.prompt ? ": the tokenizer belongs to another model" : ""));
  size_t exit = 0;
  if (options.verifyExits) {
    if (fault = findExit(model, options.exits.layer, exit); !fault.empty())
      return complain(fault);
    if (fault = language.draftAt(exit); !fault.empty())
      return complain(fault);
  }
  const std::vector<int64_t> stops = stopIds(model, own, options);
  std::optional<text::Decoder> decoder;
  if (own && !options.printIds) {
    decoder.emplace(own->tokenizer);
    if (!history.empty() && !own->tokenizer.isSpecial(uint32_t(history.back())))
      decoder->resume();
    if (options.prompt)
      printf("%s", options.prompt->c_str());
  }
  text::Buffer<char> piece;
  const auto printPiece = [&] {
    fwrite(piece.data(), 1, piece.size(), stdout);
    piece.clear();
  };

  text::Sampler sampler(options.sampling);
  edgecc_exit_info drafting = {};
  edgecc_model_exit(model.handle(), exit, &drafting);
  text::Speculation speculation(sampler, options.drafts,
                                options.exits.threshold ? float(*options.exits.threshold) : drafting.threshold);
  std::vector<float> logits;
  const size_t promptSize = history.size();
  const Clock::time_point start = Clock::now();
  Clock::time_point first = start;
  uint32_t written = 0;
  bool stopped = false;
  while (written < options.maxTokens && !stopped) {
    const size_t known = history.size();
    if (options.verifyExits && written > 0) {
      fault = speculation.next(language, history);
    } else {
      fault = language.feed(written == 0 ? history : std::vector<int64_t>{history.back()}, options.prefillChunk, logits);
      if (fault.empty())
        history.push_back(sampler.sample(logits, history));
    }
    if (!fault.empty())
      break;
    if (written == 0)
      first = Clock::now();
    for (size_t i = known; i < history.size() && written < options.maxTokens && !stopped; ++i) {
      const int64_t id = history[i];
      if (std::find(stops.begin(), stops.end(), id) != stops.end()) {
        stopped = true;
        break;
      }
      if (decoder) {
        decoder->feed(uint32_t(id), piece);
        printPiece();
      } else {
        printf("%s%lld", written ? "," : "", static_cast<long long>(id));
      }
      fflush(stdout);
      ++written;
    }
  }
  if (decoder) {
    decoder->finish(piece);
    printPiece();
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
  if (options.stats)
    printStats(model, language, speculation);
  // A full context ends the text but is no failure of what was written.
  if (!fault.empty())
    fprintf(stderr, "edgecc-run: stopped: %s\n", fault.c_str());
  return 0;
}

} // namespace edgecc::tools
