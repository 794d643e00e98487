//===- binding.cpp - From the shapes of inputs to the values of symbols -----===//
//
// Why apart: this is where a user's mistakes are met, so the sentences are here. Generated code trusts what passes.
//
//===----------------------------------------------------------------------===//
#include "runtime/src/extent.h"
#include "runtime/src/session.h"
#include "runtime/src/status.h"

using namespace edgecc;
using namespace edgecc::rt;

using Long = long long;

edgecc_status edgecc_session::bind(const fb::Entry &entry, const EntrySlots &slots, edgecc_error *error) {
  const auto &symbols = *model->metadata->symbols();
  const char *entryName = entry.name()->c_str();
  constexpr int64_t kUnbound = -1; // sizes are not negative
  for (uint32_t i = 0; i < symbols.size(); ++i)
    dims[i] = kUnbound;
  if (model->position >= 0) {
    const fb::Symbol &symbol = model->symbol(model->position);
    if (position > symbol.max())
      return fail(error, EDGECC_CONTEXT_FULL,
                  "entry '%s': the session is at position %lld, but '%s' may be at most %lld: rewind or reset it", entryName,
                  Long(position), symbol.name()->c_str(), Long(symbol.max()));
    if (position < symbol.min())
      return fail(error, EDGECC_INVALID_ARGUMENT,
                  "entry '%s': the session is at position %lld, but '%s' must be at least %lld: run the prompt first", entryName,
                  Long(position), symbol.name()->c_str(), Long(symbol.min()));
    dims[model->position] = position;
  }
  if (model->capacity >= 0)
    dims[model->capacity] = context;
  for (uint32_t i = 0; model->exitsLeavePositions() && i < model->exitCount(); ++i)
    dims[model->metadata->exits()->Get(i)->pending()] = pending(i);

  for (uint32_t i = 0; i < slots.inputCount; ++i) {
    const fb::Tensor &input = inputAt(entry, i);
    if (!slots.inputs[i].filled && i >= entry.inputs()->size())
      continue;
    if (!slots.inputs[i].filled)
      return fail(error, EDGECC_INVALID_ARGUMENT, "entry '%s': input '%s' has not been set", entryName, input.name()->c_str());
    for (uint32_t d = 0; d < input.shape()->size(); ++d) {
      const int64_t symbol = pureSymbol(*input.shape()->Get(d));
      if (symbol >= 0 && dims[symbol] == kUnbound)
        dims[symbol] = slots.inputs[i].shape[d];
    }
  }
  // The verifier made sure that what nothing binds is not used by any size of this entry.
  for (uint32_t i = 0; i < symbols.size(); ++i)
    if (dims[i] == kUnbound)
      dims[i] = model->symbol(i).min();

  for (uint32_t i = 0; i < slots.inputCount; ++i) {
    const fb::Tensor &input = inputAt(entry, i);
    for (uint32_t d = 0; slots.inputs[i].filled && d < input.shape()->size(); ++d) {
      const int64_t expected = evaluate(*input.shape()->Get(d), dims);
      if (slots.inputs[i].shape[d] == expected)
        continue;
      char text[128];
      writeExtent(*input.shape()->Get(d), symbols, text, sizeof(text));
      return fail(error, EDGECC_INVALID_ARGUMENT,
                  "entry '%s': input '%s' has the shape %s, but dimension %u is '%s', which is %lld here", entryName,
                  input.name()->c_str(), ShapeText(slots.inputs[i].shape, input.shape()->size()).text, unsigned(d), text,
                  Long(expected));
    }
  }
  for (uint32_t i = 0; entry.sizes() && i < entry.sizes()->size(); ++i) {
    const fb::Extent &size = *entry.sizes()->Get(i);
    if (evaluate(size, dims) >= 0)
      continue;
    char text[128];
    writeExtent(size, symbols, text, sizeof(text));
    return fail(
        error, EDGECC_INVALID_ARGUMENT,
        "entry '%s': with these inputs '%s' would be %lld, but it must not be negative: a size, the end of a slice or the "
        "equality of two sizes inside of the model depends on it",
        entryName, text, Long(evaluate(size, dims)));
  }
  return EDGECC_OK;
}

edgecc_status edgecc_session::computeAdvance(const fb::Entry &entry, int64_t &advance, edgecc_error *error) const {
  advance = entry.advance() ? evaluate(*entry.advance(), dims) : 0;
  if (advance < 0)
    return fail(error, EDGECC_INVALID_ARGUMENT, "entry '%s' would move the position back by %lld", entry.name()->c_str(),
                Long(-advance));
  if (advance <= context - position)
    return EDGECC_OK;
  const int64_t longest = model->hasCapacity() ? model->symbol(model->capacity).max() : context;
  return fail(error, EDGECC_CONTEXT_FULL,
              "entry '%s': %lld positions after %lld do not fit in the context of %lld: %s (the model allows %lld)",
              entry.name()->c_str(), Long(advance), Long(position), Long(context),
              longest > context ? "rewind, or open a session with a longer context" : "rewind or reset the session",
              Long(longest));
}
