// Exact matches: a prompt up to and including a mark, and one right way to go on.
#include "runtime/text/tokenizer/Decoder.h"
#include "tools/edgecc-eval/Eval.h"

#include <algorithm>
#include <sstream>

namespace edgecc::tools {
namespace {

struct Line {
  std::vector<int64_t> prompt;
  std::string rest; ///< the right text, its end mark included; in a file of ids, these
};

/// How lines are written: as a text with marks, or as token ids, of which two are the marks.
class Lines {
public:
  Lines(const EvalOptions &options, const edgecc_text *own)
      : options(options), own(own), areIds(isIdsFile(options.completions)) {}

  std::string read(std::vector<Line> &lines) const;
  /// Returns what spells the ids of a continuation; nothing for ids.
  std::optional<text::Decoder> decoder() const {
    std::optional<text::Decoder> decoder;
    if (!areIds)
      decoder.emplace(own->tokenizer).resume();
    return decoder;
  }
  bool ended(const std::string &text, int64_t id) const {
    return areIds ? std::to_string(id) == options.until : text.find(options.until) != std::string::npos;
  }

private:
  /// "" or the mark that is missing.
  std::string parse(const std::string &text, Line &line) const;

  const EvalOptions &options;
  const edgecc_text *own;
  bool areIds;
};

std::string Lines::parse(const std::string &text, Line &line) const {
  if (!areIds) {
    const size_t split = text.find(options.split), begin = split + options.split.size();
    if (split == std::string::npos)
      return options.split;
    const size_t end = text.find(options.until, begin);
    if (end == std::string::npos)
      return options.until;
    line.prompt = encode(*own, text.substr(0, begin));
    line.rest = text.substr(begin, end + options.until.size() - begin);
    return "";
  }
  std::istringstream ids(text);
  bool isPrompt = true;
  for (std::string id; ids >> id;) {
    if (!isPrompt) {
      line.rest += " " + id;
      if (id == options.until)
        return "";
      continue;
    }
    line.prompt.push_back(strtoll(id.c_str(), nullptr, 10));
    isPrompt = id != options.split;
  }
  return isPrompt ? options.split : options.until;
}

std::string Lines::read(std::vector<Line> &lines) const {
  std::string bytes;
  if (!areIds && !own)
    return options.completions + " needs --tokenizer FILE: the model has none inside (or give token ids, FILE.ids)";
  if (std::string fault = readFile(options.completions, bytes); !fault.empty())
    return fault;
  std::istringstream stream(bytes);
  size_t number = 1;
  for (std::string text; std::getline(stream, text); ++number)
    if (!text.empty())
      if (std::string mark = parse(text, lines.emplace_back()); !mark.empty())
        return options.completions + ", line " + std::to_string(number) + ": no '" + mark + "' (--split, --until" +
               (areIds ? ": ids, as the file has them)" : ")");
  select(options, lines);
  return lines.empty() ? options.completions + " has no lines" : "";
}

/// Greedy tokens after the prompt until the mark that ends a line, or `most` of them.
std::string goOn(Compiled &model, const Lines &lines, const std::vector<int64_t> &prompt, size_t most, std::string &text,
                 Pace &pace) {
  std::vector<float> logits;
  std::vector<int64_t> next = prompt;
  std::optional<text::Decoder> decoder = lines.decoder();
  text::Buffer<char> piece;
  model.writing->reset();
  text.clear();
  for (bool ended = false, isPrompt = true; most-- > 0 && !ended; isPrompt = false) {
    const Pace::Clock::time_point start = Pace::Clock::now();
    if (std::string fault = model.writing->feed(next, 0, logits); !fault.empty())
      return fault;
    if (isPrompt)
      pace.addReading(next.size(), start);
    else
      pace.addWriting(start);
    const int64_t id = std::max_element(logits.begin(), logits.end()) - logits.begin();
    if (decoder) {
      decoder->feed(uint32_t(id), piece);
      text.append(piece.data(), piece.size());
      piece.clear();
    } else {
      text += " " + std::to_string(id);
    }
    ended = lines.ended(text, id);
    next = {id};
  }
  if (decoder && decoder->finish(piece))
    text.append(piece.data(), piece.size());
  return "";
}

} // namespace

std::string measureCompletions(const EvalOptions &options, const edgecc_text *own, Compiled &model, Compiled *reference,
                               Json &result) {
  const Lines how(options, own);
  std::vector<Line> lines;
  if (std::string fault = how.read(lines); !fault.empty())
    return fault;
  FILE *actions = options.actions.empty() ? nullptr : fopen(options.actions.c_str(), "w");
  if (!options.actions.empty() && !actions)
    return options.actions + ": cannot be written";
  size_t right = 0, referenceRight = 0, same = 0;
  // Weights come from the file with the first line: of several it is not counted.
  Pace cold, referenceCold, pace, referencePace;
  Progress progress("lines", lines.size());
  std::string fault;
  for (const Line &line : lines) {
    const std::vector<int64_t> &prompt = line.prompt;
    // Twice as long as the right text is wrong already; a byte is a token at worst.
    const size_t most = 2 * line.rest.size();
    const bool isCold = &line == &lines.front() && lines.size() > 1;
    std::string text, expected;
    fault = foreignToken(options.completions, prompt, model.writing->vocabulary());
    if (fault.empty())
      fault = goOn(model, how, prompt, most, text, isCold ? cold : pace);
    if (fault.empty() && reference)
      fault = goOn(*reference, how, prompt, most, expected, isCold ? referenceCold : referencePace);
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
  result = {{"lines", lines.size()},
            {"right", right},
            {"accuracy", double(right) / n},
            {"tokens", cold.written + pace.written + lines.size()}};
  Compiled::addDepths(*model.writing, result);
  if (reference) {
    result["reference_accuracy"] = double(referenceRight) / n;
    result["kept"] = referenceRight ? Json(double(right) / double(referenceRight)) : Json();
    result["same"] = double(same) / n;
  }
  if (options.speed)
    result["speed"] = speedOf(model, pace, reference ? &referencePace : nullptr);
  return "";
}

} // namespace edgecc::tools
