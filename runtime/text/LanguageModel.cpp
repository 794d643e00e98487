#include "runtime/text/LanguageModel.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace edgecc::text {

static bool isInteger(edgecc_type type) { return type == EDGECC_I64 || type == EDGECC_I32; }
static bool isFloat(edgecc_type type) { return type == EDGECC_F32 || type == EDGECC_F16 || type == EDGECC_BF16; }

static float widenHalf(uint16_t half) {
  const int exponent = half >> 10 & 31, mantissa = half & 1023;
  float value = exponent == 31 ? (mantissa ? NAN : INFINITY)
                               : std::ldexp(float(exponent ? mantissa | 1024 : mantissa), std::max(exponent, 1) - 25);
  return half & 0x8000 ? -value : value;
}

std::string LanguageModel::describe(size_t index, Entry &entry) {
  edgecc_entry_info info;
  edgecc_model_entry(model, index, &info);
  entry.index = index;
  entry.name = info.name;
  entry.advances = info.advances;
  edgecc_tensor_info tensor, tokens = {}, logits = {};
  for (size_t i = info.input_count; i-- > 0;) {
    edgecc_model_input(model, index, i, &tensor);
    const bool fits =
        !edgecc_model_input_is_optional(model, index, i) && isInteger(tensor.type) && (tensor.rank == 1 || tensor.rank == 2);
    if (fits && (strcmp(tensor.name, "input_ids") == 0 || !tokens.name || strcmp(tokens.name, "input_ids") != 0)) {
      tokens = tensor;
      entry.tokens = i;
    }
  }
  for (size_t i = info.output_count; i-- > 0;) {
    edgecc_model_output(model, index, i, &tensor);
    if (isFloat(tensor.type) && tensor.rank >= 2 &&
        (strcmp(tensor.name, "logits") == 0 || !logits.name || strcmp(logits.name, "logits") != 0)) {
      logits = tensor;
      entry.logits = i;
    }
  }
  if (!tokens.name || !logits.name)
    return "entry '" + entry.name +
           "' has no integer input [batch, sequence] or no floating-point output [batch, sequence, vocabulary]";
  edgecc_extent_info extent;
  edgecc_model_extent(model, &tokens, tokens.rank - 1, &extent);
  entry.tokenType = tokens.type;
  entry.tokenRank = tokens.rank;
  entry.shortest = std::max<int64_t>(extent.min, 1);
  entry.longest = extent.max;
  edgecc_model_extent(model, &logits, logits.rank - 1, &extent);
  vocabularySize = extent.max;
  return "";
}

std::string LanguageModel::find(const std::string &name) {
  std::vector<ptrdiff_t> indices;
  for (const char *known : {"prefill", "decode"})
    if (ptrdiff_t index = edgecc_model_find_entry(model, known); name.empty() && index >= 0)
      indices.push_back(index);
  if (indices.empty())
    indices.push_back(name.empty() ? 0 : edgecc_model_find_entry(model, name.c_str()));
  for (ptrdiff_t index : indices) {
    if (index < 0)
      return "the model has no entry '" + name + "'; see --list";
    entries.emplace_back();
    if (std::string fault = describe(size_t(index), entries.back()); !fault.empty())
      return fault;
  }
  std::sort(entries.begin(), entries.end(),
            [](const Entry &a, const Entry &b) { return a.longest != b.longest ? a.longest > b.longest : a.index < b.index; });
  return "";
}

template <typename Read> std::string LanguageModel::feedPieces(const std::vector<int64_t> &tokens, uint32_t chunk, Read read) {
  if (tokens.empty())
    return "there are no tokens to start from";
  if (!entries[0].advances) {
    everything.insert(everything.end(), tokens.begin(), tokens.end());
    std::string fault = call(entries[0], everything.data(), int64_t(everything.size()));
    return fault.empty() ? read(entries[0], tokens.size(), true) : fault;
  }
  const int64_t limit = chunk ? int64_t(chunk) : INT64_MAX;
  for (int64_t done = 0, count = 0, total = int64_t(tokens.size()); done < total; done += count) {
    // The narrowest entry that takes all that is left; the widest if none does.
    const Entry *entry = nullptr;
    count = std::min(limit, total - done);
    for (const Entry &candidate : entries)
      if (candidate.shortest <= count && (!entry || candidate.longest >= count))
        entry = &candidate;
    if (!entry)
      return "the model takes " + std::to_string(entries.back().shortest) + " tokens per call at least, not " +
             std::to_string(count);
    count = std::min(count, entry->longest);
    std::string fault = call(*entry, tokens.data() + done, count);
    if (fault.empty())
      fault = read(*entry, size_t(count), done + count == total);
    if (!fault.empty())
      return fault;
  }
  return "";
}

std::string LanguageModel::feed(const std::vector<int64_t> &tokens, uint32_t chunk, std::vector<float> &logits) {
  return feedPieces(tokens, chunk, [&](const Entry &entry, size_t, bool last) {
    logits.clear();
    return last ? readLogits(entry, 1, logits) : std::string();
  });
}

std::string LanguageModel::score(const std::vector<int64_t> &tokens, std::vector<float> &logits) {
  logits.clear();
  return feedPieces(tokens, 0, [&](const Entry &entry, size_t rows, bool) { return readLogits(entry, rows, logits); });
}

void LanguageModel::reset() {
  edgecc_session_reset(session);
  everything.clear();
}

std::string LanguageModel::setIntegers(const Entry &entry, size_t input, const edgecc_tensor_info &tensor,
                                       std::vector<int64_t> values) {
  std::vector<int64_t> shape(tensor.rank, 1);
  shape.back() = int64_t(values.size());
  // Positions [3, batch, tokens]: text has the same ones in each row.
  for (uint32_t d = 0; tensor.rank > 2 && d + 1 < tensor.rank; ++d) {
    edgecc_extent_info extent;
    edgecc_model_extent(model, &tensor, d, &extent);
    shape[d] = std::max<int64_t>(extent.min, 1);
    const std::vector<int64_t> once = values;
    for (int64_t i = 1; i < shape[d]; ++i)
      values.insert(values.end(), once.begin(), once.end());
  }
  std::vector<int32_t> narrow;
  const void *data = values.data();
  if (tensor.type == EDGECC_I32) {
    narrow.assign(values.begin(), values.end());
    data = narrow.data();
  }
  Status status = Status::of([&](edgecc_error *error) {
    return edgecc_session_set_input(session, entry.index, input, tensor.type, shape.data(), tensor.rank, data, error);
  });
  return status.message();
}

std::string LanguageModel::call(const Entry &entry, const int64_t *tokens, int64_t count) {
  const int64_t position = entry.advances ? edgecc_session_position(session) : 0;
  edgecc_tensor_info tensor;
  for (size_t i = 0; edgecc_model_input(model, entry.index, i, &tensor) == EDGECC_OK; ++i) {
    // What the model counts by itself need not be said.
    if (edgecc_model_input_is_optional(model, entry.index, i))
      continue;
    std::vector<int64_t> values(tokens, tokens + count);
    // What exporters add and the compiler could not remove: one sequence, nothing masked, positions in order.
    if (i != entry.tokens) {
      const std::string name = tensor.name;
      if (name == "attention_mask")
        values.assign(size_t(position + count), 1);
      else if (name == "token_type_ids")
        values.assign(size_t(count), 0);
      else if (name == "position_ids" || name == "cache_position")
        for (int64_t p = 0; p < count; ++p)
          values[size_t(p)] = position + p;
      else
        return "input '" + name + "' of entry '" + entry.name +
               "' is none that text needs; run the model on arrays instead (--input)";
      if (!isInteger(tensor.type) || tensor.rank == 0)
        return "input '" + name + "' of entry '" + entry.name + "' is not of an integer type with a rank";
    }
    if (std::string fault = setIntegers(entry, i, tensor, std::move(values)); !fault.empty())
      return fault;
  }
  Status status = Status::of([&](edgecc_error *error) { return edgecc_session_run(session, entry.index, error); });
  if (status && edgecc_model_entry_exits(model, entry.index)) {
    edgecc_exit_report report;
    edgecc_session_exit_report(session, &report);
    depthCounts.resize(edgecc_model_layers(model) + 1);
    ++depthCounts[report.last_layer];
  }
  return status.message();
}

std::string LanguageModel::forceExit(int64_t exit) {
  Status status = Status::of([&](edgecc_error *error) { return edgecc_session_force_exit(session, exit, error); });
  return status.message();
}

std::string LanguageModel::draftAt(size_t exit) {
  edgecc_exit_info info;
  if (edgecc_model_exit(model, exit, &info) != EDGECC_OK)
    return "the model has no exit " + std::to_string(exit);
  const ptrdiff_t index = edgecc_model_find_resuming(model, exit);
  if (index < 0)
    return "the model cannot verify what ends after layer " + std::to_string(info.layer) + "; compile it with --exit-verify";
  if (!edgecc_model_entry_exits(model, entries.back().index))
    return "entry '" + entries.back().name + "' has no exits";
  draftExit = exit;
  if (std::string fault = describe(size_t(index), rest); !fault.empty())
    return fault;
  return forceExit(EDGECC_EXIT_NEVER);
}

std::string LanguageModel::draft(int64_t token, std::vector<float> &logits, float &confidence) {
  std::string fault = forceExit(int64_t(draftExit));
  if (fault.empty())
    fault = call(entries.back(), &token, 1);
  if (std::string other = forceExit(EDGECC_EXIT_NEVER); fault.empty())
    fault = other;
  confidence = edgecc_session_exit_confidence(session, draftExit);
  logits.clear();
  return fault.empty() ? readLogits(entries.back(), 1, logits) : fault;
}

std::string LanguageModel::verify(const std::vector<int64_t> &tokens, std::vector<std::vector<float>> &logits) {
  std::string fault = forget(tokens.size());
  if (fault.empty())
    fault = call(rest, tokens.data(), int64_t(tokens.size()));
  std::vector<float> all;
  if (fault.empty())
    fault = readLogits(rest, tokens.size(), all);
  logits.clear();
  for (auto row = all.begin(); row != all.end(); row += vocabularySize)
    logits.emplace_back(row, row + vocabularySize);
  return fault;
}

std::string LanguageModel::forget(size_t positions) {
  Status status = Status::of([&](edgecc_error *error) {
    return edgecc_session_set_position(session, edgecc_session_position(session) - int64_t(positions), error);
  });
  return status.message();
}

std::string LanguageModel::readLogits(const Entry &entry, size_t rows, std::vector<float> &logits) const {
  edgecc_output output;
  Status status =
      Status::of([&](edgecc_error *error) { return edgecc_session_output(session, entry.index, entry.logits, &output, error); });
  if (!status)
    return status.message();
  const size_t vocabulary = size_t(output.shape[output.rank - 1]), size = edgecc_type_size(output.type),
               count = rows * vocabulary;
  if (count == 0 || output.bytes < size * vocabulary)
    return "entry '" + entry.name + "' gave no logits";
  if (output.bytes < count * size)
    return "entry '" + entry.name + "' gives the logits of its last token only; take 'score' or 'decode'";
  const uint8_t *from = static_cast<const uint8_t *>(output.data) + output.bytes - count * size;
  logits.resize(logits.size() + count);
  float *to = logits.data() + logits.size() - count;
  if (output.type == EDGECC_F32) {
    memcpy(to, from, count * size);
    return "";
  }
  for (size_t i = 0; i < count; ++i) {
    uint16_t bits;
    memcpy(&bits, from + 2 * i, sizeof(bits));
    const uint32_t wide = uint32_t(bits) << 16;
    if (output.type == EDGECC_BF16)
      memcpy(&to[i], &wide, sizeof(float));
    else
      to[i] = widenHalf(bits);
  }
  return "";
}

} // namespace edgecc::text
