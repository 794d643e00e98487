// Exact matches: a prompt up to and including a mark, and one right way to go on.
#include "tools/edgecc-eval/Eval.h"

#include <algorithm>

namespace edgecc::tools {
namespace {

struct Line {
  std::string_view prompt, rest; ///< rest: up to and including the mark that ends it
};

std::string splitLines(const EvalOptions &options, std::string_view text, std::vector<Line> &lines) {
  size_t number = 0;
  while (!text.empty()) {
    const size_t length = std::min(text.find('\n'), text.size());
    const std::string_view line = text.substr(0, length);
    text.remove_prefix(std::min(length + 1, text.size()));
    ++number;
    if (line.empty())
      continue;
    const size_t split = line.find(options.split);
    const size_t begin = split + options.split.size();
    const size_t end = split == std::string_view::npos ? split : line.find(options.until, begin);
    if (end == std::string_view::npos)
      return options.completions + ", line " + std::to_string(number) + ": no '" +
             (split == std::string_view::npos ? options.split : options.until) + "' (--split, --until)";
    lines.push_back({line.substr(0, begin), line.substr(begin, end + options.until.size() - begin)});
  }
  select(options, lines);
  return lines.empty() ? options.completions + " has no lines" : "";
}

/// Greedy tokens after the prompt until their text has the mark, or `most` of them.
std::string goOn(Compiled &model, const text::Tokenizer &tokenizer, const std::vector<int64_t> &prompt, const std::string &until,
                 size_t most, std::string &text, size_t &tokens) {
  std::vector<float> logits;
  std::vector<int64_t> next = prompt;
  int64_t last = prompt.back();
  model.writing->reset();
  for (text.clear(); most-- > 0 && text.find(until) == std::string::npos; ++tokens) {
    if (std::string fault = model.writing->feed(next, 0, logits); !fault.empty())
      return fault;
    const int64_t id = std::max_element(logits.begin(), logits.end()) - logits.begin();
    text += tokenizer.decode(last, id);
    next = {last = id};
  }
  return "";
}

} // namespace

std::string measureCompletions(const EvalOptions &options, const text::Tokenizer &tokenizer, Compiled &model, Compiled *reference,
                               Json &result) {
  std::string bytes;
  std::vector<Line> lines;
  if (std::string fault = readFile(options.completions, bytes); !fault.empty())
    return fault;
  if (std::string fault = splitLines(options, bytes, lines); !fault.empty())
    return fault;
  FILE *actions = options.actions.empty() ? nullptr : fopen(options.actions.c_str(), "w");
  if (!options.actions.empty() && !actions)
    return options.actions + ": cannot be written";
  size_t right = 0, referenceRight = 0, same = 0, tokens = 0, referenceTokens = 0;
  Progress progress("lines", lines.size());
  std::string fault;
  for (const Line &line : lines) {
    const std::vector<int64_t> prompt = tokenizer.encode(line.prompt);
    // Twice as long as the right text is wrong already; a byte is a token at worst.
    const size_t most = 2 * line.rest.size();
    std::string text, expected;
    if (prompt.empty() || *std::max_element(prompt.begin(), prompt.end()) >= model.writing->vocabulary())
      fault = "the tokenizer belongs to another model: a prompt has tokens beyond the vocabulary of " +
              std::to_string(model.writing->vocabulary());
    else
      fault = goOn(model, tokenizer, prompt, options.until, most, text, tokens);
    if (fault.empty() && reference)
      fault = goOn(*reference, tokenizer, prompt, options.until, most, expected, referenceTokens);
    if (!fault.empty())
      break;
    right += text == line.rest;
    referenceRight += expected == line.rest;
    same += text == expected;
    if (actions)
      fprintf(actions, "%s\n", text.c_str());
    progress.step();
  }
  if (actions && (ferror(actions) | fclose(actions)) != 0 && fault.empty())
    fault = options.actions + ": cannot be written";
  if (!fault.empty())
    return fault;
  const double n = double(lines.size());
  result = {{"lines", lines.size()}, {"right", right}, {"accuracy", double(right) / n}, {"tokens", tokens}};
  if (reference) {
    result["reference_accuracy"] = double(referenceRight) / n;
    result["kept"] = referenceRight ? Json(double(right) / double(referenceRight)) : Json();
    result["same"] = double(same) / n;
  }
  return "";
}

} // namespace edgecc::tools
