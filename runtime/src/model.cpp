#include "runtime/src/model.h"

#include "runtime/src/cpu.h"
#include "runtime/src/extent.h"
#include "runtime/src/format.h"
#include "runtime/src/status.h"
#include "runtime/src/verify.h"

#include <new>
#include <stdlib.h>
#include <string.h>

using namespace edgecc;
using namespace edgecc::rt;

// Hashing runs at some hundreds of megabytes per second: below this it is not felt, above it opening would be.
static constexpr uint64_t kHashedByDefault = uint64_t(4) << 20;

edgecc_model::~edgecc_model() { free(functions); }

uint64_t edgecc_model::exactStateBytes(uint32_t state, int64_t value) const {
  // A state's extents name the capacity symbol only (verified), so one value stands for all symbols.
  const fb::State &description = *metadata->states()->Get(state);
  uint64_t bytes = edgecc_type_size(edgecc_type(description.type()));
  for (const fb::Extent *extent : *description.shape())
    bytes *= uint64_t(evaluateUniform(*extent, value));
  return bytes;
}

uint64_t edgecc_model::stateBytes(uint32_t state, int64_t value) const { return alignedSize(exactStateBytes(state, value)); }

uint64_t edgecc_model::stateBytes(int64_t value) const {
  uint64_t bytes = 0;
  for (uint32_t i = 0; i < metadata->states()->size(); ++i)
    bytes = saturatingAdd(bytes, stateBytes(i, value));
  return bytes;
}

uint64_t edgecc_model::arenaBytes() const {
  uint64_t bytes = 0;
  for (const fb::Entry *entry : *metadata->entries())
    bytes = entry->arena_size() > bytes ? entry->arena_size() : bytes;
  return bytes;
}

uint64_t edgecc_model::totalBytes(int64_t value) const {
  return saturatingAdd(weightBytes(), saturatingAdd(stateBytes(value), arenaBytes()));
}

int64_t edgecc_model::clampCapacity(int64_t value) const {
  if (!hasCapacity())
    return 0;
  const fb::Symbol &bounds = symbol(capacity);
  return value < bounds.min() ? bounds.min() : value > bounds.max() ? bounds.max() : value;
}

bool edgecc_model::stateHasPositions(uint32_t state) const {
  for (const fb::Extent *extent : *metadata->states()->Get(state)->shape())
    for (const fb::Instruction *instruction : *extent->code())
      if (instruction->opcode() == fb::Opcode::Symbol)
        return true;
  return false;
}

static bool equals(const flatbuffers::String *text, const char *other) {
  return text && text->size() == strlen(other) && memcmp(text->Data(), other, text->size()) == 0;
}

// The last segment whose architecture and features the machine has, so that the packager orders them from plain to best.
static edgecc_status chooseCode(edgecc_model &model, const char *cpu, edgecc_error *error) {
  const fb::Segment *chosen = nullptr;
  uint32_t chosenIndex = 0, index = 0;
  bool named = false;
  for (const fb::Segment *segment : *model.metadata->segments())
    named |= cpu && segment->kind() == fb::SegmentKind::Code && equals(segment->name(), cpu);
  for (const fb::Segment *segment : *model.metadata->segments()) {
    if (segment->kind() != fb::SegmentKind::Code)
      continue;
    bool fits = equals(segment->architecture(), cpuArchitecture()) && (!named || equals(segment->name(), cpu));
    if (segment->features())
      for (const flatbuffers::String *feature : *segment->features())
        fits = fits && cpuHas(feature->c_str()) && (!cpu || named || listHas(cpu, feature->c_str()));
    if (fits) {
      chosen = segment;
      chosenIndex = index;
    }
    ++index;
  }
  if (!chosen)
    return fail(error, EDGECC_UNSUPPORTED, "none of the %u code segments runs on this %s processor%s%s: compile for this target",
                unsigned(index), cpuArchitecture(), cpu ? ", limited to EDGECC_CPU=" : "", cpu ? cpu : "");
  if (edgecc_status status = model.code.mapCode(model.file, chosen->offset(), chosen->length(), error))
    return status;
  if (edgecc_status status = verifyHash(*chosen, model.code.data(), error))
    return status;
  for (uint32_t i = 0; i < model.metadata->entries()->size(); ++i) {
    uint8_t *address = model.code.data() + model.metadata->entries()->Get(i)->code_offsets()->Get(chosenIndex);
    memcpy(&model.functions[i], &address, sizeof(address));
  }
  model.codeName = chosen->name()->c_str();
  return EDGECC_OK;
}

static edgecc_status takeStaticCode(edgecc_model &model, const edgecc_static_code &code, edgecc_error *error) {
  if (code.abi_version != EDGECC_ABI_VERSION)
    return fail(error, EDGECC_UNSUPPORTED, "the linked code has ABI version %u, this runtime has %u: compile the model again",
                unsigned(code.abi_version), unsigned(EDGECC_ABI_VERSION));
  const char *buildId = edgecc_model_property(&model, "build_id");
  if (code.build_id && buildId && strcmp(code.build_id, buildId) != 0)
    return fail(error, EDGECC_UNSUPPORTED, "the linked code belongs to build '%s', the model file to build '%s'", code.build_id,
                buildId);
  for (uint32_t i = 0; i < model.metadata->entries()->size(); ++i) {
    const char *name = model.metadata->entries()->Get(i)->name()->c_str();
    for (uint32_t j = 0; j < code.entry_count; ++j)
      if (strcmp(code.entries[j].name, name) == 0)
        model.functions[i] = code.entries[j].function;
    if (!model.functions[i])
      return fail(error, EDGECC_UNSUPPORTED, "the linked code has no entry '%s'", name);
  }
  model.codeName = "static";
  return EDGECC_OK;
}

static edgecc_status open(edgecc_model &model, const edgecc_model_options &options, edgecc_error *error) {
  if (edgecc_status status = verify(model.file.data(), model.file.size(), model.metadata, error))
    return status;
  for (const fb::Segment *segment : *model.metadata->segments()) {
    if (segment->kind() == fb::SegmentKind::Weights)
      model.weights = segment;
    if ((options.flags & EDGECC_VERIFY_ALL) || model.file.size() <= kHashedByDefault)
      if (edgecc_status status = verifyHash(*segment, model.file.data() + segment->offset(), error))
        return status;
  }
  for (uint32_t i = 0; i < model.metadata->symbols()->size(); ++i) {
    if (model.symbol(i).role() == fb::SymbolRole::Position)
      model.position = i;
    if (model.symbol(i).role() == fb::SymbolRole::Capacity)
      model.capacity = i;
  }
  model.memoryLimit = options.memory_limit;
  if (options.flags & EDGECC_INSPECT_ONLY)
    return EDGECC_OK;
  model.functions = static_cast<edgecc_entry *>(calloc(model.metadata->entries()->size(), sizeof(edgecc_entry)));
  if (!model.functions)
    return fail(error, EDGECC_OUT_OF_MEMORY, "the system has no memory left");
  if (options.code)
    return takeStaticCode(model, *options.code, error);
  if (model.metadata->entries()->Get(0)->code_offsets()->size() == 0)
    return fail(error, EDGECC_UNSUPPORTED,
                "the file holds no code (--code=static): pass the table from the generated header in the options");
  return chooseCode(model, options.cpu ? options.cpu : getenv("EDGECC_CPU"), error);
}

// `prepare` gives the model its bytes. One way through for files and memory, and one place that frees what failed.
template <typename Prepare>
static edgecc_status openWith(const char *what, Prepare prepare, const edgecc_model_options *given, edgecc_model **result,
                              edgecc_error *error) {
  edgecc_model_options options;
  edgecc_model_options_init(&options);
  if (!result || (given && given->size == 0))
    return fail(error, EDGECC_INVALID_ARGUMENT,
                "edgecc_model_open: no place for the model, or options without edgecc_model_options_init");
  *result = nullptr;
  if (given)
    memcpy(&options, given, given->size < sizeof(options) ? given->size : sizeof(options));
  void *place = malloc(sizeof(edgecc_model));
  if (!place)
    return fail(error, EDGECC_OUT_OF_MEMORY, "the system has no memory left");
  edgecc_model *model = new (place) edgecc_model;
  edgecc_error inner;
  inner.message[0] = 0;
  edgecc_status status = prepare(*model, &inner);
  if (status == EDGECC_OK) {
    edgecc_error sentence;
    sentence.message[0] = 0;
    status = open(*model, options, &sentence);
    if (status != EDGECC_OK)
      fail(&inner, status, "%.500s: %.500s", what, sentence.message);
  }
  if (status != EDGECC_OK) {
    edgecc_model_close(model);
    return fail(error, status, "%s", inner.message);
  }
  *result = model;
  return EDGECC_OK;
}

extern "C" {

void edgecc_model_options_init(edgecc_model_options *options) {
  memset(options, 0, sizeof(*options));
  options->size = sizeof(*options);
}

edgecc_status edgecc_model_open(const char *path, const edgecc_model_options *options, edgecc_model **model,
                                edgecc_error *error) {
  if (!path)
    return fail(error, EDGECC_INVALID_ARGUMENT, "edgecc_model_open: no path");
  return openWith(path, [&](edgecc_model &m, edgecc_error *e) { return m.file.mapFile(path, e); }, options, model, error);
}

edgecc_status edgecc_model_open_memory(const void *data, size_t size, const edgecc_model_options *options, edgecc_model **model,
                                       edgecc_error *error) {
  if (!data && size)
    return fail(error, EDGECC_INVALID_ARGUMENT, "edgecc_model_open_memory: no data");
  auto prepare = [&](edgecc_model &m, edgecc_error *e) {
    if (reinterpret_cast<uintptr_t>(data) % EDGECC_ALIGNMENT == 0) {
      m.file.borrow(data, size);
      return EDGECC_OK;
    }
    if (edgecc_status status = m.file.allocate(size, e))
      return status;
    memcpy(m.file.data(), data, size);
    return EDGECC_OK;
  };
  return openWith("model in memory", prepare, options, model, error);
}

void edgecc_model_close(edgecc_model *model) {
  if (!model || model->references.fetch_sub(1, std::memory_order_acq_rel) != 1)
    return;
  model->~edgecc_model();
  free(model);
}

} // extern "C"
