#include "runtime/files/Inputs.h"
#include "runtime/text/Documents.h"
#include "tools/edgecc-eval/Eval.h"

#include <algorithm>
#include <sstream>

namespace edgecc::tools {

std::string readFile(const std::string &path, std::string &bytes) {
  return files::readFile(path, bytes) ? "" : path + ": cannot be read";
}

bool isIdsFile(const std::string &path) { return path.size() > 4 && path.compare(path.size() - 4, 4, ".ids") == 0; }

std::string foreignToken(const std::string &path, const std::vector<int64_t> &tokens, int64_t vocabulary) {
  for (int64_t id : tokens)
    if (id < 0 || id >= vocabulary)
      return "token " + std::to_string(id) + " of " + path + " is not in the model's vocabulary of " +
             std::to_string(vocabulary) + (isIdsFile(path) ? "" : ": the tokenizer belongs to another model");
  return "";
}

/// A line of token ids; false at what is no number.
static bool parseIds(const std::string &line, std::vector<int64_t> &ids) {
  std::istringstream stream(line);
  for (int64_t id; stream >> id;)
    ids.push_back(id);
  return stream.eof();
}

std::string Windows::read(const EvalOptions &options, const edgecc_text *text, int64_t length, int64_t vocabulary) {
  std::string bytes;
  if (std::string fault = readFile(options.text, bytes); !fault.empty())
    return fault;
  const bool areIds = isIdsFile(options.text);
  if (!areIds && !text)
    return options.text + " needs --tokenizer FILE: the model has none inside (or give token ids, FILE.ids)";
  std::vector<std::string_view> texts = text::splitDocuments(bytes);
  select(options, texts);
  documents = texts.size();
  for (std::string_view document : texts) {
    std::vector<int64_t> ids;
    if (!areIds)
      ids = encode(*text, document);
    else if (!parseIds(std::string(document), ids))
      return options.text + ": '" + std::string(document.substr(0, 40)) + "' is no line of token ids";
    if (std::string fault = foreignToken(options.text, ids, vocabulary); !fault.empty())
      return fault;
    // What goes on after the context is full follows half a context, not nothing.
    for (size_t done = 1; done < ids.size();) {
      const size_t begin = done == 1 ? 0 : done - std::max<size_t>(size_t(length) / 2, 1);
      const size_t end = std::min(begin + size_t(length), ids.size());
      windows.push_back({{ids.begin() + ptrdiff_t(begin), ids.begin() + ptrdiff_t(end)}, done - begin});
      predicted += end - done;
      done = end;
    }
  }
  if (predicted < options.atLeast)
    return options.text + " gives " + std::to_string(predicted) + " tokens to predict in " + std::to_string(documents) +
           " documents; a figure needs " + std::to_string(options.atLeast) + " (--at-least)";
  return "";
}

} // namespace edgecc::tools
