#include "runtime/src/session.h"

#include "runtime/src/cpu.h"
#include "runtime/src/extent.h"
#include "runtime/src/status.h"
#include "runtime/src/values.h"

#include <new>
#include <stdlib.h>
#include <string.h>
#include <time.h>

using namespace edgecc;
using namespace edgecc::rt;

using Long = long long;

Slot::~Slot() {
  if (!fence.isUsed())
    free(data);
}

EntrySlots::~EntrySlots() {
  for (uint32_t i = 0; inputs && i < inputCount; ++i)
    inputs[i].~Slot();
  for (uint32_t i = 0; outputs && i < outputCount; ++i)
    outputs[i].~Slot();
  free(inputs);
  free(outputs);
  free(inputPointers);
  free(outputPointers);
}

// One element more than needed: calloc(0) may be null.
template <typename T> static T *newArray(uint32_t count) {
  T *array = static_cast<T *>(calloc(size_t(count) + 1, sizeof(T)));
  for (uint32_t i = 0; array && i < count; ++i)
    new (&array[i]) T();
  return array;
}

bool EntrySlots::create(uint32_t inputNumber, uint32_t outputNumber) {
  inputCount = inputNumber;
  outputCount = outputNumber;
  inputs = newArray<Slot>(inputCount);
  outputs = newArray<Slot>(outputCount);
  inputPointers = newArray<const uint8_t *>(inputCount);
  outputPointers = newArray<uint8_t *>(outputCount);
  return inputs && outputs && inputPointers && outputPointers;
}

edgecc_session::edgecc_session(edgecc_model *model) : model(model) { model->references.fetch_add(1, std::memory_order_relaxed); }

edgecc_session::~edgecc_session() {
  for (uint32_t i = 0; entries && i < model->metadata->entries()->size(); ++i)
    entries[i].~EntrySlots();
  for (uint32_t i = 0; stateFences && i < model->metadata->states()->size(); ++i)
    stateFences[i].~Fence();
  free(stateFences);
  free(entries);
  free(dims);
  free(statePointers);
  free(exits);
  free(thresholds);
  free(seen);
  edgecc_model_close(model);
}

// Memory grows with the context (sizes are monotonous), so the longest that fits is found by halving.
static int64_t longestContext(const edgecc_model &model, int64_t upTo, uint64_t limit) {
  int64_t low = model.symbol(model.capacity).min() - 1, high = upTo;
  while (low < high) {
    const int64_t middle = low + (high - low + 1) / 2;
    if (model.totalBytes(middle) <= limit)
      low = middle;
    else
      high = middle - 1;
  }
  return low;
}

edgecc_status edgecc_session::chooseContext(int64_t wanted, edgecc_error *error) {
  const uint64_t limit = memoryLimit ? memoryLimit : UINT64_MAX;
  if (!model->hasCapacity()) {
    context = INT64_MAX;
    if (model->totalBytes(0) > limit)
      return fail(error, EDGECC_OUT_OF_MEMORY, "%s: needs %s (weights %s, states %s, arena %s) but %s are allowed",
                  model->metadata->name()->c_str(), HumanBytes(model->totalBytes(0)).text, HumanBytes(model->weightBytes()).text,
                  HumanBytes(model->stateBytes(0)).text, HumanBytes(model->arenaBytes()).text, HumanBytes(limit).text);
    return EDGECC_OK;
  }
  const fb::Symbol &bounds = model->symbol(model->capacity);
  if (wanted != 0 && (wanted < bounds.min() || wanted > bounds.max()))
    return fail(error, EDGECC_INVALID_ARGUMENT, "%s: a context of %lld was asked for, but '%s' can be %lld to %lld",
                model->metadata->name()->c_str(), Long(wanted), bounds.name()->c_str(), Long(bounds.min()), Long(bounds.max()));
  const int64_t most = wanted ? wanted : bounds.max();
  const int64_t fitting = longestContext(*model, most, limit);
  context = wanted ? wanted : fitting;
  if (context >= bounds.min() && model->totalBytes(context) <= limit)
    return EDGECC_OK;
  // Without a wish the shortest context did not fit either: say what that one needs.
  const int64_t asked = wanted ? wanted : bounds.min();
  char advice[128];
  if (fitting >= bounds.min() && fitting > 0)
    snprintf(advice, sizeof(advice), "context %lld fits (%s)", Long(fitting), HumanBytes(model->totalBytes(fitting)).text);
  else
    snprintf(advice, sizeof(advice), "no context length fits");
  return fail(error, EDGECC_OUT_OF_MEMORY, "%s: needs %s (weights %s, cache %s at context %lld, arena %s) but %s are allowed; %s",
              model->metadata->name()->c_str(), HumanBytes(model->totalBytes(asked)).text, HumanBytes(model->weightBytes()).text,
              HumanBytes(model->stateBytes(asked)).text, Long(asked), HumanBytes(model->arenaBytes()).text,
              HumanBytes(limit).text, advice);
}

edgecc_status edgecc_session::open(const edgecc_session_options &options, edgecc_error *error) {
  if (!model->functions)
    return fail(error, EDGECC_INVALID_ARGUMENT, "%s: the model was opened for inspection only", model->metadata->name()->c_str());
  memoryLimit = options.memory_limit ? options.memory_limit : model->memoryLimit;
  if (edgecc_status status = chooseContext(options.context, error))
    return status;
  const char *fence = getenv("EDGECC_FENCE");
  fenced = fence && strcmp(fence, "1") == 0;
  const fb::Model &metadata = *model->metadata;
  const uint32_t entryCount = metadata.entries()->size(), stateCount = metadata.states()->size();
  entries = newArray<EntrySlots>(entryCount);
  dims = newArray<int64_t>(metadata.symbols()->size());
  statePointers = newArray<uint8_t *>(stateCount);
  exits = newArray<edgecc_exit_point>(model->exitCount());
  thresholds = newArray<float>(model->exitCount());
  seen = newArray<int64_t>(model->exitCount());
  bool created = entries && dims && statePointers && exits && thresholds && seen;
  for (uint32_t i = 0; created && i < model->exitCount(); ++i)
    thresholds[i] = metadata.exits()->Get(i)->threshold();
  for (uint32_t i = 0; created && i < entryCount; ++i)
    created = entries[i].create(inputCount(*metadata.entries()->Get(i)), metadata.entries()->Get(i)->outputs()->size());
  if (!created)
    return fail(error, EDGECC_OUT_OF_MEMORY, "the system has no memory left");
  if (edgecc_status status = allocateStates(error))
    return status;
  if (!fenced)
    if (edgecc_status status = arena.allocate(model->arenaBytes(), error))
      return status;
  profiler = options.profiler;
  profilerUser = options.profiler_user;
  pool.start(options.threads ? options.threads : performanceCores());
  return EDGECC_OK;
}

edgecc_status edgecc_session::allocateStates(edgecc_error *error) {
  const uint32_t count = model->metadata->states()->size();
  if (fenced) {
    bool allocated = (stateFences = newArray<Fence>(count)) != nullptr;
    for (uint32_t i = 0; allocated && i < count; ++i)
      allocated = (statePointers[i] = stateFences[i].place(model->exactStateBytes(i, context))) != nullptr;
    return allocated ? EDGECC_OK : fail(error, EDGECC_OUT_OF_MEMORY, "the system has no memory left for fenced states");
  }
  if (edgecc_status status = states.allocate(model->stateBytes(context), error))
    return status;
  uint64_t offset = 0;
  for (uint32_t i = 0; i < count; ++i) {
    statePointers[i] = states.data() + offset;
    offset += model->stateBytes(i, context);
  }
  return EDGECC_OK;
}

edgecc_status edgecc_session::reserve(Slot &slot, uint64_t bytes, const char *name, edgecc_error *error) {
  const bool grows = !slot.data || bytes > slot.reserved;
  if (!grows && !fenced)
    return EDGECC_OK;
  const uint64_t wanted = grows ? alignedSize(bytes ? bytes : 1) : slot.reserved;
  const uint64_t total = saturatingAdd(memory(), wanted - slot.reserved);
  if (memoryLimit && total > memoryLimit)
    return fail(error, EDGECC_OUT_OF_MEMORY, "'%s' needs %s; with it the session would hold %s, but %s are allowed", name,
                HumanBytes(bytes).text, HumanBytes(total).text, HumanBytes(memoryLimit).text);
  void *place = nullptr;
  if (fenced)
    place = slot.fence.place(bytes);
  else if (wanted != size_t(wanted) || posix_memalign(&place, EDGECC_ALIGNMENT, size_t(wanted)) != 0)
    place = nullptr;
  if (!place)
    return fail(error, EDGECC_OUT_OF_MEMORY, "'%s' needs %s, which the system does not have", name, HumanBytes(bytes).text);
  slotBytes += wanted - slot.reserved;
  if (!fenced)
    free(slot.data);
  slot.data = static_cast<uint8_t *>(place);
  slot.reserved = wanted;
  return EDGECC_OK;
}

edgecc_status edgecc_session::setInput(size_t entryIndex, size_t index, edgecc_type type, const int64_t *shape, uint32_t rank,
                                       const void *data, edgecc_error *error) {
  if (entryIndex >= model->metadata->entries()->size())
    return fail(error, EDGECC_INVALID_ARGUMENT, "there is no entry %llu, the model has %u",
                static_cast<unsigned long long>(entryIndex), unsigned(model->metadata->entries()->size()));
  const fb::Entry &entry = *model->metadata->entries()->Get(uint32_t(entryIndex));
  if (index >= inputCount(entry))
    return fail(error, EDGECC_INVALID_ARGUMENT, "entry '%s' has no input %llu, it has %u", entry.name()->c_str(),
                static_cast<unsigned long long>(index), unsigned(inputCount(entry)));
  const fb::Tensor &input = inputAt(entry, uint32_t(index));
  const char *name = input.name()->c_str();
  Slot &slot = entries[entryIndex].inputs[index];
  if (!data && index >= entry.inputs()->size()) {
    slot.filled = false;
    return EDGECC_OK;
  }
  if (type != edgecc_type(input.type()))
    return fail(error, EDGECC_INVALID_ARGUMENT, "entry '%s': input '%s' is %s, but %s was given", entry.name()->c_str(), name,
                edgecc_type_name(edgecc_type(input.type())), edgecc_type_name(type));
  if (rank != input.shape()->size() || (rank && !shape))
    return fail(error, EDGECC_INVALID_ARGUMENT, "entry '%s': input '%s' has rank %u, but rank %u was given",
                entry.name()->c_str(), name, unsigned(input.shape()->size()), unsigned(rank));
  uint64_t bytes = edgecc_type_size(type);
  for (uint32_t d = 0; d < rank; ++d) {
    Interval bounds;
    checkExtent(*input.shape()->Get(d), *model->metadata->symbols(), bounds);
    if (shape[d] < 0 || shape[d] < bounds.min || shape[d] > bounds.max) {
      char text[128];
      writeExtent(*input.shape()->Get(d), *model->metadata->symbols(), text, sizeof(text));
      return fail(error, EDGECC_INVALID_ARGUMENT,
                  "entry '%s': input '%s' has the shape %s, but dimension %u ('%s') can be %lld to %lld", entry.name()->c_str(),
                  name, ShapeText(shape, rank).text, unsigned(d), text, Long(bounds.min < 0 ? 0 : bounds.min), Long(bounds.max));
    }
    bytes *= uint64_t(shape[d]);
  }
  if (bytes && !data)
    return fail(error, EDGECC_INVALID_ARGUMENT, "entry '%s': input '%s' has no data", entry.name()->c_str(), name);
  if (edgecc_status status = checkRange(entry, input, shape, data, error))
    return status;
  if (edgecc_status status = reserve(slot, bytes, name, error))
    return status;
  if (bytes)
    memcpy(slot.data, data, bytes);
  // Generated code counts on 0 and 1; callers have any non-zero byte.
  if (type == EDGECC_BOOL)
    for (uint64_t i = 0; i < bytes; ++i)
      slot.data[i] = slot.data[i] != 0;
  for (uint32_t d = 0; d < rank; ++d)
    slot.shape[d] = shape[d];
  slot.bytes = bytes;
  slot.filled = true;
  entries[entryIndex].inputPointers[index] = slot.data;
  return EDGECC_OK;
}

static void parallelFor(const edgecc_call *call, edgecc_task task, uint8_t *const *buffers, int64_t count) {
  static_cast<ThreadPool *>(call->runtime)->parallelFor(task, call->dims, buffers, count);
}

static uint64_t nanoseconds() {
  timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return uint64_t(time.tv_sec) * 1000000000u + uint64_t(time.tv_nsec);
}

static void profiledParallelFor(const edgecc_call *call, edgecc_task task, uint8_t *const *buffers, int64_t count) {
  edgecc_session *session = static_cast<edgecc_session *>(call->runtime);
  const uint64_t begin = nanoseconds();
  session->pool.parallelFor(task, call->dims, buffers, count);
  session->profile(reinterpret_cast<uintptr_t>(task), count, begin);
}

void edgecc_session::profile(uintptr_t function, int64_t tasks, uint64_t begin) const {
  const uint64_t end = nanoseconds();
  // Static code has no segment: its addresses are the linker's business.
  profiler(profilerUser, function - reinterpret_cast<uintptr_t>(model->code.data()), tasks, begin, end);
}

edgecc_status edgecc_session::run(size_t index, edgecc_error *error) {
  if (index >= model->metadata->entries()->size())
    return fail(error, EDGECC_INVALID_ARGUMENT, "there is no entry %llu, the model has %u",
                static_cast<unsigned long long>(index), unsigned(model->metadata->entries()->size()));
  const fb::Entry &entry = *model->metadata->entries()->Get(uint32_t(index));
  EntrySlots &slots = entries[index];
  int64_t advance = 0;
  if (edgecc_status status = bind(entry, slots, error))
    return status;
  if (edgecc_status status = computeAdvance(entry, advance, error))
    return status;
  if (edgecc_status status = checkResume(entry, advance, error))
    return status;
  for (uint32_t i = 0; i < slots.inputCount; ++i)
    if (slots.inputs[i].filled && inputAt(entry, i).base())
      if (edgecc_status status = checkRule(entry, i, slots.inputs[i], dims, error))
        return status;
  if (exitsAreFull(entry)) {
    edgecc_status status = run(size_t(model->metadata->fill()), error);
    if (status == EDGECC_OK)
      status = bind(entry, slots, error);
    if (status != EDGECC_OK)
      return status;
  }
  for (uint32_t i = 0; i < slots.outputCount; ++i) {
    const fb::Tensor &output = *entry.outputs()->Get(i);
    int64_t shape[kMaxRank];
    uint64_t bytes = edgecc_type_size(edgecc_type(output.type()));
    for (uint32_t d = 0; d < output.shape()->size(); ++d) {
      shape[d] = evaluate(*output.shape()->Get(d), dims);
      if (shape[d] < 0)
        return fail(error, EDGECC_INVALID_ARGUMENT, "entry '%s': with these inputs dimension %u of output '%s' would be %lld",
                    entry.name()->c_str(), unsigned(d), output.name()->c_str(), Long(shape[d]));
      bytes *= uint64_t(shape[d]);
    }
    Slot &slot = slots.outputs[i];
    if (edgecc_status status = reserve(slot, bytes, output.name()->c_str(), error))
      return status;
    memcpy(slot.shape, shape, sizeof(shape));
    slot.bytes = bytes;
    slots.outputPointers[i] = slot.data;
  }
  setThresholds();
  uint8_t *const workspace = fenced ? arenaFence.place(entry.arena_size()) : arena.data();
  if (!workspace)
    return fail(error, EDGECC_OUT_OF_MEMORY, "the system has no memory left for a fenced arena");
  const uint8_t *weights = model->weights ? model->file.data() + model->weights->offset() : workspace;
  edgecc_call call = {dims,        workspace, weights, statePointers, slots.inputPointers, slots.outputPointers,
                      parallelFor, &pool,     exits,   &exitTaken};
  if (!profiler) {
    model->functions[index](&call);
  } else {
    call.parallel_for = profiledParallelFor;
    call.runtime = this;
    const uint64_t begin = nanoseconds();
    model->functions[index](&call);
    profile(reinterpret_cast<uintptr_t>(model->functions[index]), 0, begin);
  }
  if (fenced)
    if (edgecc_status status = checkFences(entry, slots, error))
      return status;
  for (uint32_t i = 0; i < slots.outputCount; ++i)
    slots.outputs[i].filled = true;
  // What was true of this call is not of the next one.
  for (uint32_t i = entry.inputs()->size(); i < slots.inputCount; ++i)
    slots.inputs[i].filled = false;
  position += advance;
  countExits(index, position - advance);
  return EDGECC_OK;
}

void edgecc_session::zeroStates(bool onlyWithoutPositions) {
  if (!onlyWithoutPositions && !fenced)
    return states.zero();
  for (uint32_t i = 0; i < model->metadata->states()->size(); ++i)
    if (!onlyWithoutPositions || !model->stateHasPositions(i))
      memset(statePointers[i], 0, model->exactStateBytes(i, context));
}

edgecc_status edgecc_session::setPosition(int64_t wanted, edgecc_error *error) {
  if (wanted < 0 || wanted > position)
    return fail(error, EDGECC_INVALID_ARGUMENT, "the session is at position %lld and can go back to 0..%lld, not to %lld",
                Long(position), Long(position), Long(wanted));
  if (wanted == position)
    return EDGECC_OK;
  if (wanted == 0)
    zeroStates(/*onlyWithoutPositions=*/true);
  for (uint32_t i = 0; wanted && i < model->metadata->states()->size(); ++i)
    if (!model->stateHasPositions(i))
      return fail(error, EDGECC_INVALID_ARGUMENT,
                  "state '%s' does not keep its past, so the session cannot go back to position %lld: save and restore it",
                  model->metadata->states()->Get(i)->name()->c_str(), Long(wanted));
  position = wanted;
  forgetExits(wanted);
  return EDGECC_OK;
}
