//===- Eval.h - What is asked of a model, and what comes out -----------------===//
//
// Why on the runtime and the text layer alone: what a recipe costs in quality is measured where the artifact runs, on a phone,
// too.
//
//===----------------------------------------------------------------------===//
#ifndef EDGECC_TOOLS_EVAL_EVAL_H
#define EDGECC_TOOLS_EVAL_EVAL_H

#include "runtime/text/LanguageModel.h"
#include "tools/text/Text.h"

#include <chrono>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <unistd.h>
#include <vector>

namespace edgecc::tools {

using Json = nlohmann::ordered_json;

struct EvalOptions {
  std::string model, reference; ///< files; "" for no reference
  std::string text, completions, tokenizer, entry, half, actions;
  std::string split = "<act>", until = "<end>";
  size_t count = SIZE_MAX;    ///< documents or lines at most
  size_t atLeast = 100;       ///< tokens to predict, or too few for a figure
  int64_t window = INT64_MAX; ///< tokens at most; the context length is the other limit
  uint32_t threads = 0;
  std::string cpu;
  bool speed = true;
};

/// A model, opened, with the way to its logits.
struct Compiled {
  Model model;
  Session session;
  std::optional<text::LanguageModel> scoring, writing;
  Json facts; ///< what the report says about the file

  /// How many layers its calls of one token ran, on average and how often each depth; nothing if it has no exits.
  static void addDepths(const text::LanguageModel &language, Json &result);

  /// "" or why it cannot be measured.
  std::string open(const std::string &path, const EvalOptions &options);
};

/// Tokens that fit in the context; those from `first` on are predicted, the others are what they follow.
struct Window {
  std::vector<int64_t> tokens;
  size_t first = 1;
};

/// The texts of a file as token ids.
struct Windows {
  std::vector<Window> windows;
  size_t documents = 0, predicted = 0;

  std::string read(const EvalOptions &options, const edgecc_text *text, int64_t length, int64_t vocabulary);
};

std::string readFile(const std::string &path, std::string &bytes);
/// FILE.ids has token ids, as edgecc-tokenize writes them.
bool isIdsFile(const std::string &path);
/// "" or which of the tokens of `path` the model does not have.
std::string foreignToken(const std::string &path, const std::vector<int64_t> &tokens, int64_t vocabulary);
/// The half and the number of documents or lines that are asked for.
template <typename T> void select(const EvalOptions &options, std::vector<T> &items) {
  const size_t middle = items.size() / 2;
  if (options.half == "first")
    items.resize(middle);
  else if (options.half == "second")
    items.erase(items.begin(), items.begin() + ptrdiff_t(middle));
  items.resize(std::min(items.size(), options.count));
}

/// How long tokens take, as they are used: prompts at once, what is written one by one.
struct Pace {
  using Clock = std::chrono::steady_clock;
  size_t read = 0, written = 0;    ///< tokens
  double reading = 0, writing = 0; ///< seconds

  void addReading(size_t tokens, Clock::time_point start) { add(read, tokens, reading, start); }
  void addWriting(Clock::time_point start) { add(written, 1, writing, start); }

private:
  static void add(size_t &count, size_t tokens, double &seconds, Clock::time_point start) {
    count += tokens;
    seconds += std::chrono::duration<double>(Clock::now() - start).count();
  }
};

/// Tokens per second, and how many times those of the reference, which may be null.
Json speedOf(const Compiled &model, const Pace &pace, const Pace *reference);

/// Each returns "" or why it could not be measured; `reference` may be null.
std::string measureDivergence(const Windows &windows, Compiled &model, Compiled *reference, Json &result);
std::string measureCompletions(const EvalOptions &options, const edgecc_text *text, Compiled &model, Compiled *reference,
                               Json &result);
std::string measureSpeed(const std::vector<int64_t> &tokens, Compiled &model, Compiled *reference, Json &result);

void printTable(const Json &report);

/// A line on a terminal that says how far it is; nothing elsewhere.
class Progress {
public:
  Progress(const char *what, size_t total) : what(what), total(total), shown(isatty(STDERR_FILENO)) {}
  ~Progress() {
    if (shown)
      fprintf(stderr, "\r\x1b[K");
  }
  void step() {
    if (++done; shown)
      fprintf(stderr, "\r%s: %zu of %zu", what, done, total);
  }

private:
  const char *what;
  size_t total, done = 0;
  bool shown;
};

} // namespace edgecc::tools
#endif // EDGECC_TOOLS_EVAL_EVAL_H
