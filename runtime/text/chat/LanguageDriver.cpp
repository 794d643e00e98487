//===- LanguageDriver.cpp - Tokens in, logits out ----------------------------===//
#include "runtime/text/chat/LanguageDriver.h"

#include "runtime/text/chat/Fail.h"

#include <math.h>

namespace edgecc::text {

static bool isInteger(edgecc_type type) { return type == EDGECC_I64 || type == EDGECC_I32; }
static bool isFloat(edgecc_type type) { return type == EDGECC_F32 || type == EDGECC_F16 || type == EDGECC_BF16; }

static float widenHalf(uint16_t half) {
  const int exponent = half >> 10 & 31, mantissa = half & 1023;
  const float value = exponent == 31 ? (mantissa ? NAN : INFINITY)
                                     : ldexpf(float(exponent ? mantissa | 1024 : mantissa), (exponent ? exponent : 1) - 25);
  return half & 0x8000 ? -value : value;
}

edgecc_status LanguageDriver::describe(size_t index, Entry &entry, edgecc_error *error) {
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
    return fail(error, EDGECC_INVALID_ARGUMENT,
                "entry '%s' has no integer input [batch, sequence] or no floating-point output [batch, sequence, vocabulary]",
                entry.name);
  edgecc_extent_info extent;
  edgecc_model_extent(model, &tokens, tokens.rank - 1, &extent);
  entry.shortest = extent.min > 1 ? extent.min : 1;
  entry.longest = extent.max;
  edgecc_model_extent(model, &logits, logits.rank - 1, &extent);
  vocabularySize = extent.max;
  return EDGECC_OK;
}

edgecc_status LanguageDriver::find(const char *name, edgecc_error *error) {
  entryCount = 0;
  ptrdiff_t found[2];
  size_t count = 0;
  for (const char *known : {"prefill", "decode"})
    if (ptrdiff_t index = edgecc_model_find_entry(model, known); !name && index >= 0)
      found[count++] = index;
  if (count == 0)
    found[count++] = name ? edgecc_model_find_entry(model, name) : 0;
  for (size_t i = 0; i < count; ++i) {
    if (found[i] < 0)
      return fail(error, EDGECC_INVALID_ARGUMENT, "the model has no entry '%s'", name);
    if (edgecc_status status = describe(size_t(found[i]), entries[i], error))
      return status;
  }
  if (count == 2 && entries[1].longest > entries[0].longest) {
    const Entry first = entries[0];
    entries[0] = entries[1];
    entries[1] = first;
  }
  entryCount = count;
  return EDGECC_OK;
}

size_t LanguageDriver::position() const {
  return entries[0].advances ? size_t(edgecc_session_position(session)) : everything.size();
}

void LanguageDriver::reset() {
  edgecc_session_reset(session);
  everything.clear();
}

edgecc_status LanguageDriver::rewind(size_t count, edgecc_error *error) {
  if (count == position())
    return EDGECC_OK;
  if (!entries[0].advances) {
    everything.truncate(count);
    return EDGECC_OK;
  }
  return edgecc_session_set_position(session, int64_t(count), error);
}

edgecc_status LanguageDriver::run(const Entry &entry, const int32_t *tokens, size_t count, size_t rows, Buffer<float> &logits,
                                  edgecc_error *error) {
  if (edgecc_status status = call(entry, tokens, count, error))
    return status;
  return rows ? readLogits(entry, rows, logits, error) : EDGECC_OK;
}

edgecc_status LanguageDriver::feed(const int32_t *tokens, size_t count, uint32_t chunk, Buffer<float> &logits,
                                   const bool *isCancelled, edgecc_error *error) {
  return feedParts(tokens, count, chunk, Rows::Last, logits, isCancelled, error);
}

edgecc_status LanguageDriver::score(const int32_t *tokens, size_t count, Buffer<float> &logits, edgecc_error *error) {
  return feedParts(tokens, count, 0, Rows::All, logits, nullptr, error);
}

edgecc_status LanguageDriver::feedParts(const int32_t *tokens, size_t count, uint32_t chunk, Rows rows, Buffer<float> &logits,
                                        const bool *isCancelled, edgecc_error *error) {
  logits.clear();
  if (count == 0)
    return fail(error, EDGECC_INVALID_ARGUMENT, "there are no tokens to start from");
  if (!entries[0].advances) {
    const size_t before = everything.size();
    if (!everything.append(tokens, count))
      return outOfMemory(error);
    edgecc_status status = call(entries[0], everything.data(), everything.size(), error);
    if (status != EDGECC_OK) {
      everything.truncate(before);
      return status;
    }
    return readLogits(entries[0], rows == Rows::All ? count : 1, logits, error);
  }
  for (size_t done = 0, part = 0; done < count; done += part) {
    if (isCancelled && __atomic_load_n(isCancelled, __ATOMIC_RELAXED))
      return EDGECC_OK;
    part = chunk && chunk < count - done ? chunk : count - done;
    // The narrowest entry that takes all that is left; the widest if none does.
    const Entry *entry = nullptr;
    for (size_t i = 0; i < entryCount; ++i)
      if (entries[i].shortest <= int64_t(part) && (!entry || entries[i].longest >= int64_t(part)))
        entry = &entries[i];
    if (!entry)
      return fail(error, EDGECC_INVALID_ARGUMENT, "the model takes %lld tokens per call at least, not %zu",
                  static_cast<long long>(smallest().shortest), part);
    part = int64_t(part) < entry->longest ? part : size_t(entry->longest);
    const size_t wanted = rows == Rows::All ? part : size_t(done + part == count);
    if (edgecc_status status = run(*entry, tokens + done, part, wanted, logits, error))
      return status;
  }
  return EDGECC_OK;
}

edgecc_status LanguageDriver::setIntegers(const Entry &entry, size_t input, const edgecc_tensor_info &tensor,
                                          edgecc_error *error) {
  int64_t shape[16];
  if (tensor.rank == 0 || tensor.rank > 16)
    return fail(error, EDGECC_INVALID_ARGUMENT, "input '%s' of entry '%s' has rank %u", tensor.name, entry.name, tensor.rank);
  for (uint32_t d = 0; d < tensor.rank; ++d)
    shape[d] = 1;
  shape[tensor.rank - 1] = int64_t(values.size());
  // Positions [3, batch, tokens]: text has the same ones in each row.
  for (uint32_t d = 0; tensor.rank > 2 && d + 1 < tensor.rank; ++d) {
    edgecc_extent_info extent;
    edgecc_model_extent(model, &tensor, d, &extent);
    shape[d] = extent.min > 1 ? extent.min : 1;
    const size_t once = values.size();
    for (int64_t row = 1; row < shape[d]; ++row)
      for (size_t i = 0; i < once; ++i)
        values.push(values[i]);
  }
  const void *data = values.data();
  if (tensor.type == EDGECC_I32) {
    narrow.clear();
    for (int64_t value : values)
      narrow.push(int32_t(value));
    data = narrow.data();
  }
  if (values.failed() || narrow.failed())
    return outOfMemory(error);
  return edgecc_session_set_input(session, entry.index, input, tensor.type, shape, tensor.rank, data, error);
}

edgecc_status LanguageDriver::call(const Entry &entry, const int32_t *tokens, size_t count, edgecc_error *error) {
  const int64_t first = entry.advances ? edgecc_session_position(session) : 0;
  edgecc_tensor_info tensor;
  for (size_t i = 0; edgecc_model_input(model, entry.index, i, &tensor) == EDGECC_OK; ++i) {
    // What the model counts by itself need not be said.
    if (edgecc_model_input_is_optional(model, entry.index, i))
      continue;
    values.clear();
    // What exporters add and the compiler could not remove: one sequence, nothing masked, positions in order.
    if (i == entry.tokens) {
      for (size_t t = 0; t < count; ++t)
        values.push(tokens[t]);
    } else if (strcmp(tensor.name, "attention_mask") == 0) {
      for (int64_t t = 0; t < first + int64_t(count); ++t)
        values.push(1);
    } else if (strcmp(tensor.name, "token_type_ids") == 0) {
      values.resize(count);
    } else if (strcmp(tensor.name, "position_ids") == 0 || strcmp(tensor.name, "cache_position") == 0) {
      for (size_t t = 0; t < count; ++t)
        values.push(first + int64_t(t));
    } else {
      return fail(error, EDGECC_INVALID_ARGUMENT,
                  "input '%s' of entry '%s' is none that text needs; run the model on arrays instead", tensor.name, entry.name);
    }
    if (!isInteger(tensor.type))
      return fail(error, EDGECC_INVALID_ARGUMENT, "input '%s' of entry '%s' is not of an integer type", tensor.name, entry.name);
    if (edgecc_status status = setIntegers(entry, i, tensor, error))
      return status;
  }
  if (edgecc_status status = edgecc_session_run(session, entry.index, error))
    return status;
  return edgecc_model_entry_exits(model, entry.index) ? countDepth(error) : EDGECC_OK;
}

edgecc_status LanguageDriver::countDepth(edgecc_error *error) {
  edgecc_exit_report report;
  edgecc_session_exit_report(session, &report);
  if (!depthCounts.resize(edgecc_model_layers(model) + 1))
    return outOfMemory(error);
  ++depthCounts[report.last_layer];
  return EDGECC_OK;
}

edgecc_status LanguageDriver::readLogits(const Entry &entry, size_t rows, Buffer<float> &logits, edgecc_error *error) const {
  edgecc_output output;
  if (edgecc_status status = edgecc_session_output(session, entry.index, entry.logits, &output, error))
    return status;
  const size_t vocabulary = size_t(output.shape[output.rank - 1]), size = edgecc_type_size(output.type),
               count = rows * vocabulary;
  if (count == 0 || output.bytes < size * vocabulary)
    return fail(error, EDGECC_INVALID_ARGUMENT, "entry '%s' gave no logits", entry.name);
  if (output.bytes < size * count)
    return fail(error, EDGECC_INVALID_ARGUMENT, "entry '%s' gives the logits of its last token only; take 'score' or 'decode'",
                entry.name);
  const uint8_t *from = static_cast<const uint8_t *>(output.data) + output.bytes - count * size;
  if (!logits.resize(logits.size() + count))
    return outOfMemory(error);
  float *to = logits.end() - count;
  if (output.type == EDGECC_F32) {
    memcpy(to, from, count * size);
    return EDGECC_OK;
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
  return EDGECC_OK;
}

} // namespace edgecc::text
