//===- inspect.cpp - Looking at a model through the C interface -------------===//
#include "runtime/src/extent.h"
#include "runtime/src/format.h"
#include "runtime/src/model.h"
#include "runtime/src/values.h"

#include <string.h>

using namespace edgecc;
using namespace edgecc::rt;

template <typename Description> static void describe(const Description &tensor, edgecc_tensor_info *info) {
  info->name = tensor.name()->c_str();
  info->type = edgecc_type(tensor.type());
  info->rank = tensor.shape()->size();
  info->tensor = tensor.shape();
}

static const fb::Entry *entryAt(const edgecc_model *model, size_t index) {
  return index < model->metadata->entries()->size() ? model->metadata->entries()->Get(uint32_t(index)) : nullptr;
}

template <typename Vector> static ptrdiff_t findName(const Vector &list, const char *name) {
  for (uint32_t i = 0; name && i < list.size(); ++i)
    if (strcmp(list.Get(i)->name()->c_str(), name) == 0)
      return ptrdiff_t(i);
  return -1;
}

static void describe(const edgecc_model *model, const fb::Extent &extent, edgecc_extent_info *info) {
  Interval bounds = {0, 0};
  checkExtent(extent, *model->metadata->symbols(), bounds);
  info->min = bounds.min;
  info->max = bounds.max;
  writeExtent(extent, *model->metadata->symbols(), info->text, sizeof(info->text));
}

extern "C" {

const char *edgecc_type_name(edgecc_type type) {
  const char *const names[] = {"f32", "f16", "bf16", "f64", "i64", "i32", "i16", "i8", "u64", "u32", "u16", "u8", "bool"};
  return unsigned(type) < sizeof(names) / sizeof(*names) ? names[type] : "unknown";
}

size_t edgecc_type_size(edgecc_type type) {
  const uint8_t sizes[] = {4, 2, 2, 8, 8, 4, 2, 1, 8, 4, 2, 1, 1};
  return unsigned(type) < sizeof(sizes) ? sizes[type] : 0;
}

const char *edgecc_status_name(edgecc_status status) {
  const char *const names[] = {
      "ok", "invalid argument", "malformed file", "unsupported", "input/output error", "out of memory", "context full"};
  return unsigned(status) < sizeof(names) / sizeof(*names) ? names[status] : "unknown";
}

const char *edgecc_version(void) { return EDGECC_VERSION; }

void edgecc_model_get_info(const edgecc_model *model, edgecc_model_info *info) {
  const fb::Model &metadata = *model->metadata;
  FileHeader header;
  memcpy(&header, model->file.data(), sizeof(header));
  info->name = metadata.name()->c_str();
  info->compiler = metadata.compiler()->c_str();
  info->command_line = metadata.command_line()->c_str();
  info->source_sha256 = metadata.source_sha256()->c_str();
  info->code = model->codeName;
  info->abi_version = header.version;
  info->features = header.features;
  info->file_size = header.fileSize;
  info->metadata_size = header.metadataSize;
  info->symbol_count = metadata.symbols()->size();
  info->state_count = metadata.states()->size();
  info->entry_count = metadata.entries()->size();
  info->segment_count = metadata.segments()->size();
  info->property_count = metadata.properties()->size();
}

edgecc_status edgecc_model_symbol(const edgecc_model *model, size_t index, edgecc_symbol_info *info) {
  if (index >= model->metadata->symbols()->size())
    return EDGECC_INVALID_ARGUMENT;
  const fb::Symbol &symbol = model->symbol(int64_t(index));
  *info = {symbol.name()->c_str(), symbol.min(), symbol.max(), edgecc_symbol_role(symbol.role())};
  return EDGECC_OK;
}

edgecc_status edgecc_model_state(const edgecc_model *model, size_t index, edgecc_tensor_info *info) {
  if (index >= model->metadata->states()->size())
    return EDGECC_INVALID_ARGUMENT;
  describe(*model->metadata->states()->Get(uint32_t(index)), info);
  return EDGECC_OK;
}

edgecc_status edgecc_model_entry(const edgecc_model *model, size_t index, edgecc_entry_info *info) {
  const fb::Entry *entry = entryAt(model, index);
  if (!entry)
    return EDGECC_INVALID_ARGUMENT;
  *info = {entry->name()->c_str(), inputCount(*entry),          entry->outputs()->size(),
           entry->arena_size(),    entry->advance() != nullptr, entry};
  return EDGECC_OK;
}

edgecc_status edgecc_model_input(const edgecc_model *model, size_t entryIndex, size_t index, edgecc_tensor_info *info) {
  const fb::Entry *entry = entryAt(model, entryIndex);
  if (!entry || index >= inputCount(*entry))
    return EDGECC_INVALID_ARGUMENT;
  describe(inputAt(*entry, uint32_t(index)), info);
  return EDGECC_OK;
}

int edgecc_model_input_is_optional(const edgecc_model *model, size_t entryIndex, size_t index) {
  const fb::Entry *entry = entryAt(model, entryIndex);
  return entry && index >= entry->inputs()->size() && index < inputCount(*entry);
}

void edgecc_model_input_values(const edgecc_model *model, size_t entryIndex, size_t index, char *text, size_t size) {
  const fb::Entry *entry = entryAt(model, entryIndex);
  if (size)
    text[0] = 0;
  if (size && entry && index < inputCount(*entry))
    writeValues(inputAt(*entry, uint32_t(index)), edgecc_model_input_is_optional(model, entryIndex, index),
                *model->metadata->symbols(), text, size);
}

int edgecc_model_input_range(const edgecc_model *model, size_t entryIndex, size_t index, int64_t *low, int64_t *high) {
  const fb::Entry *entry = entryAt(model, entryIndex);
  if (!entry || index >= inputCount(*entry) || !inputAt(*entry, uint32_t(index)).ranged())
    return 0;
  *low = inputAt(*entry, uint32_t(index)).low();
  *high = inputAt(*entry, uint32_t(index)).high();
  return 1;
}

edgecc_status edgecc_model_output(const edgecc_model *model, size_t entryIndex, size_t index, edgecc_tensor_info *info) {
  const fb::Entry *entry = entryAt(model, entryIndex);
  if (!entry || index >= entry->outputs()->size())
    return EDGECC_INVALID_ARGUMENT;
  describe(*entry->outputs()->Get(uint32_t(index)), info);
  return EDGECC_OK;
}

edgecc_status edgecc_model_extent(const edgecc_model *model, const edgecc_tensor_info *tensor, uint32_t dimension,
                                  edgecc_extent_info *info) {
  if (!tensor || !tensor->tensor || dimension >= tensor->rank)
    return EDGECC_INVALID_ARGUMENT;
  const auto *shape = static_cast<const flatbuffers::Vector<flatbuffers::Offset<fb::Extent>> *>(tensor->tensor);
  describe(model, *shape->Get(dimension), info);
  return EDGECC_OK;
}

edgecc_status edgecc_model_advance(const edgecc_model *model, const edgecc_entry_info *entry, edgecc_extent_info *info) {
  if (!entry || !entry->entry)
    return EDGECC_INVALID_ARGUMENT;
  *info = {};
  if (const fb::Extent *advance = static_cast<const fb::Entry *>(entry->entry)->advance())
    describe(model, *advance, info);
  return EDGECC_OK;
}

edgecc_status edgecc_model_segment(const edgecc_model *model, size_t index, edgecc_segment_info *info) {
  if (index >= model->metadata->segments()->size())
    return EDGECC_INVALID_ARGUMENT;
  const fb::Segment &segment = *model->metadata->segments()->Get(uint32_t(index));
  *info = {segment.name()->c_str(),
           edgecc_segment_kind(segment.kind()),
           segment.offset(),
           segment.length(),
           segment.alignment(),
           segment.sha256()->data(),
           segment.architecture() ? segment.architecture()->c_str() : "",
           segment.features() ? segment.features()->size() : 0,
           model->file.data() + segment.offset()};
  return EDGECC_OK;
}

const char *edgecc_model_segment_feature(const edgecc_model *model, size_t segment, size_t index) {
  if (segment >= model->metadata->segments()->size())
    return nullptr;
  const auto *features = model->metadata->segments()->Get(uint32_t(segment))->features();
  return features && index < features->size() ? features->Get(uint32_t(index))->c_str() : nullptr;
}

edgecc_status edgecc_model_property_at(const edgecc_model *model, size_t index, const char **key, const char **value) {
  if (index >= model->metadata->properties()->size())
    return EDGECC_INVALID_ARGUMENT;
  const fb::Property &property = *model->metadata->properties()->Get(uint32_t(index));
  *key = property.key()->c_str();
  *value = property.value()->c_str();
  return EDGECC_OK;
}

const char *edgecc_model_property(const edgecc_model *model, const char *key) {
  for (const fb::Property *property : *model->metadata->properties())
    if (strcmp(property->key()->c_str(), key) == 0)
      return property->value()->c_str();
  return nullptr;
}

ptrdiff_t edgecc_model_find_entry(const edgecc_model *model, const char *name) {
  return findName(*model->metadata->entries(), name);
}

ptrdiff_t edgecc_model_find_input(const edgecc_model *model, size_t entryIndex, const char *name) {
  const fb::Entry *entry = entryAt(model, entryIndex);
  const ptrdiff_t read = entry ? findName(*entry->inputs(), name) : -1;
  const ptrdiff_t checked = entry && entry->checked() ? findName(*entry->checked(), name) : -1;
  return read < 0 && checked >= 0 ? ptrdiff_t(entry->inputs()->size()) + checked : read;
}

ptrdiff_t edgecc_model_find_output(const edgecc_model *model, size_t entryIndex, const char *name) {
  const fb::Entry *entry = entryAt(model, entryIndex);
  return entry ? findName(*entry->outputs(), name) : -1;
}

void edgecc_model_memory(const edgecc_model *model, int64_t context, edgecc_memory_info *info) {
  const int64_t value = model->clampCapacity(context);
  *info = {model->weightBytes(), model->arenaBytes(), model->stateBytes(value), 0, model->totalBytes(value)};
  if (!model->hasCapacity())
    return;
  const fb::Symbol &bounds = model->symbol(model->capacity);
  if (bounds.max() == bounds.min())
    return;
  uint64_t growth = 0;
  for (uint32_t i = 0; i < model->metadata->states()->size(); ++i)
    growth = saturatingAdd(growth, model->exactStateBytes(i, bounds.max()) - model->exactStateBytes(i, bounds.min()));
  info->bytes_per_position = growth / uint64_t(bounds.max() - bounds.min());
}

} // extern "C"
