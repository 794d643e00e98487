#include "runtime/src/verify.h"

#include "runtime/src/extent.h"
#include "runtime/src/format.h"
#include "runtime/src/model.h"
#include "runtime/src/sha256.h"
#include "runtime/src/status.h"

#include <stdio.h>
#include <string.h>

namespace edgecc::rt {
namespace {

using TensorVector = flatbuffers::Vector<flatbuffers::Offset<fb::Tensor>>;
using ExtentVector = flatbuffers::Vector<flatbuffers::Offset<fb::Extent>>;

unsigned long long ull(uint64_t value) { return value; }

/// All checks of one file; each returns on its first finding.
class Verifier {
public:
  Verifier(const uint8_t *data, uint64_t size, edgecc_error *error) : data(data), size(size), error(error) {}

  edgecc_status run(const fb::Model *&result);

private:
  edgecc_status header();
  edgecc_status symbols();
  edgecc_status states();
  edgecc_status segments();
  edgecc_status codeSegment(const fb::Segment &segment);
  edgecc_status entries();
  edgecc_status exits();
  edgecc_status bindings(const fb::Entry &entry);
  edgecc_status values(const fb::Entry &entry);
  edgecc_status properties();
  edgecc_status tensors(const char *entry, const char *what, const TensorVector &list);
  edgecc_status shape(const char *where, const char *name, fb::ElementType type, const ExtentVector &extents);

  /// Names are unique within a table and not empty: everything is looked up and reported by name.
  template <typename Vector> edgecc_status names(const char *what, const Vector &list) {
    if (list.size() > kMaxCount)
      return fail(error, EDGECC_MALFORMED, "%s: %u of them, but at most %u are allowed", what, unsigned(list.size()),
                  unsigned(kMaxCount));
    for (uint32_t i = 0; i < list.size(); ++i) {
      const flatbuffers::String &name = *list.Get(i)->name();
      if (name.size() == 0 || strlen(name.c_str()) != name.size())
        return fail(error, EDGECC_MALFORMED, "%s %u has an empty name or one with a zero byte", what, unsigned(i));
      for (uint32_t j = 0; j < i; ++j)
        if (list.Get(j)->name()->size() == name.size() && memcmp(list.Get(j)->name()->c_str(), name.c_str(), name.size()) == 0)
          return fail(error, EDGECC_MALFORMED, "%s '%s' exists twice", what, name.c_str());
    }
    return EDGECC_OK;
  }

  const uint8_t *data;
  uint64_t size;
  edgecc_error *error;
  const fb::Model *model = nullptr;
  uint64_t metadataEnd = 0;
  uint32_t codeSegments = 0;
  int64_t position = -1; ///< index of the Position symbol
};

edgecc_status Verifier::header() {
  if (size < sizeof(FileHeader))
    return fail(error, EDGECC_MALFORMED, "not a model.edge: %llu bytes, but the header alone has %u", ull(size),
                unsigned(sizeof(FileHeader)));
  FileHeader header;
  memcpy(&header, data, sizeof(header));
  if (memcmp(header.magic, kMagic, sizeof(kMagic)) != 0)
    return fail(error, EDGECC_MALFORMED, "not a model.edge: it does not start with 'EDGE'");
  if (header.version != EDGECC_ABI_VERSION)
    return fail(error, EDGECC_UNSUPPORTED,
                "the file has format version %u, this runtime reads version %u: use a matching runtime, or compile again",
                unsigned(header.version), unsigned(EDGECC_ABI_VERSION));
  if (header.features & ~kKnownFeatures)
    return fail(error, EDGECC_UNSUPPORTED,
                "the file needs features (bits 0x%llx) that this runtime does not have: update the runtime",
                ull(header.features & ~kKnownFeatures));
  if (header.fileSize != size)
    return fail(error, EDGECC_MALFORMED, "the file has %llu bytes, but was written with %llu: a download or copy was cut",
                ull(size), ull(header.fileSize));
  if (header.metadataSize == 0 || header.metadataSize > kMaxMetadataSize || header.metadataSize > size - sizeof(FileHeader))
    return fail(error, EDGECC_MALFORMED, "metadata of %llu bytes do not fit in a file of %llu bytes (nor may they exceed %llu)",
                ull(header.metadataSize), ull(size), ull(kMaxMetadataSize));
  const uint8_t *metadata = data + sizeof(FileHeader);
  uint8_t digest[32];
  sha256(metadata, header.metadataSize, digest);
  if (memcmp(digest, header.metadataSha256, sizeof(digest)) != 0)
    return fail(error, EDGECC_MALFORMED, "the metadata do not match their SHA-256: the file is damaged");
  flatbuffers::Verifier structure(metadata, header.metadataSize);
  if (!fb::VerifyModelBuffer(structure))
    return fail(error, EDGECC_MALFORMED, "the metadata are not a well-formed flatbuffer of runtime/schema/model.fbs");
  model = fb::GetModel(metadata);
  metadataEnd = sizeof(FileHeader) + header.metadataSize;
  return EDGECC_OK;
}

edgecc_status Verifier::symbols() {
  if (edgecc_status status = names("symbol", *model->symbols()))
    return status;
  int64_t capacity = -1;
  for (uint32_t i = 0; i < model->symbols()->size(); ++i) {
    const fb::Symbol &symbol = *model->symbols()->Get(i);
    if (symbol.role() > fb::SymbolRole::MAX)
      return fail(error, EDGECC_MALFORMED, "symbol '%s' has the unknown role %u", symbol.name()->c_str(),
                  unsigned(symbol.role()));
    if (symbol.min() < 0 || symbol.max() < symbol.min())
      return fail(error, EDGECC_MALFORMED, "symbol '%s' has the bounds %lld..%lld", symbol.name()->c_str(),
                  static_cast<long long>(symbol.min()), static_cast<long long>(symbol.max()));
    int64_t *unique = symbol.role() == fb::SymbolRole::Position   ? &position
                      : symbol.role() == fb::SymbolRole::Capacity ? &capacity
                                                                  : nullptr;
    if (!unique)
      continue;
    if (*unique >= 0)
      return fail(error, EDGECC_MALFORMED, "symbols '%s' and '%s' have the same role, which only one may have",
                  model->symbols()->Get(uint32_t(*unique))->name()->c_str(), symbol.name()->c_str());
    *unique = i;
  }
  return EDGECC_OK;
}

edgecc_status Verifier::shape(const char *where, const char *name, fb::ElementType type, const ExtentVector &extents) {
  if (type > fb::ElementType::MAX)
    return fail(error, EDGECC_MALFORMED, "%s '%s' has the unknown element type %u", where, name, unsigned(type));
  if (extents.size() > kMaxRank)
    return fail(error, EDGECC_MALFORMED, "%s '%s' has rank %u, but at most %u is allowed", where, name, unsigned(extents.size()),
                unsigned(kMaxRank));
  int64_t bytes = int64_t(edgecc_type_size(edgecc_type(type)));
  for (uint32_t i = 0; i < extents.size(); ++i) {
    Interval bounds;
    if (const char *fault = checkExtent(*extents.Get(i), *model->symbols(), bounds))
      return fail(error, EDGECC_MALFORMED, "%s '%s', dimension %u: %s", where, name, unsigned(i), fault);
    if (bounds.max < 0)
      return fail(error, EDGECC_MALFORMED, "%s '%s', dimension %u: its size is always negative", where, name, unsigned(i));
    // A size of zero must not hide an overflow of the others: the product is taken over sizes of at least one.
    if (__builtin_mul_overflow(bytes, bounds.max > 1 ? bounds.max : 1, &bytes) || uint64_t(bytes) > kMaxBytes)
      return fail(error, EDGECC_MALFORMED, "%s '%s' can exceed %llu bytes within the symbols' bounds", where, name,
                  ull(kMaxBytes));
  }
  return EDGECC_OK;
}

edgecc_status Verifier::states() {
  if (edgecc_status status = names("state", *model->states()))
    return status;
  for (const fb::State *state : *model->states()) {
    if (edgecc_status status = shape("state", state->name()->c_str(), state->type(), *state->shape()))
      return status;
    for (const fb::Extent *extent : *state->shape()) {
      Interval bounds;
      checkExtent(*extent, *model->symbols(), bounds);
      if (bounds.min < 0)
        return fail(error, EDGECC_MALFORMED, "state '%s' can have a negative size", state->name()->c_str());
      for (const fb::Instruction *instruction : *extent->code())
        if (instruction->opcode() == fb::Opcode::Symbol &&
            model->symbols()->Get(uint32_t(instruction->operand()))->role() != fb::SymbolRole::Capacity)
          return fail(error, EDGECC_MALFORMED, "state '%s' depends on symbol '%s', which is not fixed when a session is opened",
                      state->name()->c_str(), model->symbols()->Get(uint32_t(instruction->operand()))->name()->c_str());
    }
  }
  return EDGECC_OK;
}

edgecc_status Verifier::codeSegment(const fb::Segment &segment) {
  const char *name = segment.name()->c_str();
  if (!segment.architecture() || segment.architecture()->size() == 0)
    return fail(error, EDGECC_MALFORMED, "code segment '%s' does not say its architecture", name);
  if (segment.length() == 0)
    return fail(error, EDGECC_MALFORMED, "code segment '%s' is empty", name);
  const bool fixedWidth = strcmp(segment.architecture()->c_str(), "aarch64") == 0;
  for (const fb::Entry *entry : *model->entries()) {
    if (entry->code_offsets()->size() <= codeSegments)
      continue; // entries() reports it
    const uint64_t at = entry->code_offsets()->Get(codeSegments);
    if (at >= segment.length() || (fixedWidth && at % 4 != 0))
      return fail(error, EDGECC_MALFORMED, "entry '%s' starts at %llu in code segment '%s' of %llu bytes", entry->name()->c_str(),
                  ull(at), name, ull(segment.length()));
  }
  ++codeSegments;
  return EDGECC_OK;
}

edgecc_status Verifier::segments() {
  const auto &list = *model->segments();
  if (edgecc_status status = names("segment", list))
    return status;
  for (const fb::Entry *entry : *model->entries())
    if (entry->code_offsets()->size() && reinterpret_cast<uintptr_t>(entry->code_offsets()->Data()) % alignof(uint64_t) != 0)
      return fail(error, EDGECC_MALFORMED, "entry '%s': the table of code offsets is not aligned", entry->name()->c_str());
  const fb::Segment *weights = nullptr;
  for (uint32_t i = 0; i < list.size(); ++i) {
    const fb::Segment &segment = *list.Get(i);
    const char *name = segment.name()->c_str();
    if (segment.kind() > fb::SegmentKind::MAX)
      return fail(error, EDGECC_MALFORMED, "segment '%s' has the unknown kind %u", name, unsigned(segment.kind()));
    // Subtraction first: offset + length can overflow, size - offset cannot once offset <= size.
    if (segment.offset() < metadataEnd || segment.offset() > size || segment.length() > size - segment.offset())
      return fail(error, EDGECC_MALFORMED,
                  "segment '%s': %llu bytes at %llu do not fit between the metadata (end at %llu) and the end (%llu)", name,
                  ull(segment.length()), ull(segment.offset()), ull(metadataEnd), ull(size));
    const uint64_t alignment = segment.alignment();
    const bool paged = segment.kind() == fb::SegmentKind::Weights || segment.kind() == fb::SegmentKind::Code;
    if (alignment == 0 || (alignment & (alignment - 1)) != 0 || alignment > kMaxAlignment ||
        (paged && alignment < kMinPagedAlignment))
      return fail(error, EDGECC_MALFORMED,
                  "segment '%s' has the alignment %llu; a power of two is needed, %llu or more for weights and code", name,
                  ull(alignment), ull(kMinPagedAlignment));
    if (segment.offset() % alignment != 0)
      return fail(error, EDGECC_MALFORMED, "segment '%s' is at %llu, which is not a multiple of its alignment %llu", name,
                  ull(segment.offset()), ull(alignment));
    if (segment.sha256()->size() != 32)
      return fail(error, EDGECC_MALFORMED, "segment '%s' has a SHA-256 of %u bytes", name, unsigned(segment.sha256()->size()));
    for (uint32_t j = 0; j < i; ++j) {
      const fb::Segment &other = *list.Get(j);
      if (segment.offset() < other.offset() + other.length() && other.offset() < segment.offset() + segment.length())
        return fail(error, EDGECC_MALFORMED, "segments '%s' and '%s' overlap", other.name()->c_str(), name);
    }
    if (segment.kind() == fb::SegmentKind::Weights) {
      if (weights)
        return fail(error, EDGECC_MALFORMED, "segments '%s' and '%s' both hold weights; generated code knows one base",
                    weights->name()->c_str(), name);
      weights = &segment;
    }
    if (segment.kind() == fb::SegmentKind::Code)
      if (edgecc_status status = codeSegment(segment))
        return status;
  }
  return EDGECC_OK;
}

edgecc_status Verifier::tensors(const char *entry, const char *what, const TensorVector &list) {
  char where[160];
  snprintf(where, sizeof(where), "entry '%.80s', %s", entry, what);
  if (edgecc_status status = names(where, list))
    return status;
  for (const fb::Tensor *tensor : list)
    if (edgecc_status status = shape(where, tensor->name()->c_str(), tensor->type(), *tensor->shape()))
      return status;
  return EDGECC_OK;
}

// Free symbols get their values from inputs whose extent is that symbol; an expression over one that nothing binds has no value.
edgecc_status Verifier::bindings(const fb::Entry &entry) {
  const auto &symbols = *model->symbols();
  bool bound[kMaxCount];
  for (uint32_t i = 0; i < symbols.size(); ++i)
    bound[i] = symbols.Get(i)->role() != fb::SymbolRole::Free;
  for (const fb::Tensor *input : *entry.inputs())
    for (const fb::Extent *extent : *input->shape())
      if (int64_t symbol = pureSymbol(*extent); symbol >= 0)
        bound[symbol] = true;
  auto check = [&](const char *what, const fb::Extent &extent, int64_t own = -1) {
    for (const fb::Instruction *instruction : *extent.code())
      if (instruction->opcode() == fb::Opcode::Symbol && !bound[instruction->operand()] && instruction->operand() != own)
        return fail(error, EDGECC_MALFORMED, "entry '%s', %s: symbol '%s' is not bound, no input has it as a size",
                    entry.name()->c_str(), what, symbols.Get(uint32_t(instruction->operand()))->name()->c_str());
    return EDGECC_OK;
  };
  for (const TensorVector *list : {entry.inputs(), entry.outputs()})
    for (const fb::Tensor *tensor : *list)
      for (const fb::Extent *extent : *tensor->shape())
        if (edgecc_status status = check(tensor->name()->c_str(), *extent))
          return status;
  for (uint32_t i = 0; i < inputCount(entry); ++i) {
    const fb::Tensor &tensor = inputAt(entry, i);
    if (!tensor.base())
      continue;
    if (edgecc_status status = check(tensor.name()->c_str(), *tensor.base()))
      return status;
    // A size of its own means nothing to the others: any will do.
    for (const fb::Extent *extent : *tensor.shape())
      if (edgecc_status status = check(tensor.name()->c_str(), *extent, pureSymbol(*extent)))
        return status;
  }
  if (entry.sizes())
    for (const fb::Extent *extent : *entry.sizes())
      if (edgecc_status status = check("sizes", *extent))
        return status;
  return entry.advance() ? check("advance", *entry.advance()) : EDGECC_OK;
}

// After the tensors themselves: which values inputs may have.
edgecc_status Verifier::values(const fb::Entry &entry) {
  // Doubles, in which values are compared, hold all integers up to there.
  constexpr int64_t kMost = int64_t(1) << 53;
  auto exact = [&](int64_t low, int64_t high) { return -kMost <= low && low <= high && high <= kMost; };
  for (uint32_t i = 0; i < inputCount(entry); ++i) {
    const fb::Tensor &tensor = inputAt(entry, i);
    const char *name = tensor.name()->c_str();
    if (tensor.ranged() && (tensor.type() < fb::ElementType::i64 || !exact(tensor.low(), tensor.high())))
      return fail(error, EDGECC_MALFORMED, "entry '%s', input '%s' has the range %lld..%lld", entry.name()->c_str(), name,
                  static_cast<long long>(tensor.low()), static_cast<long long>(tensor.high()));
    const bool optional = i >= entry.inputs()->size();
    if (!tensor.base() && !optional)
      continue;
    Interval bounds;
    if (tensor.rule() > fb::Rule::MAX || !tensor.base() || checkExtent(*tensor.base(), *model->symbols(), bounds) ||
        !exact(bounds.min, bounds.max))
      return fail(error, EDGECC_MALFORMED, "entry '%s', input '%s' does not say what it must be", entry.name()->c_str(), name);
    for (uint32_t j = 0; optional && j < entry.inputs()->size(); ++j)
      if (strcmp(inputAt(entry, j).name()->c_str(), name) == 0)
        return fail(error, EDGECC_MALFORMED, "entry '%s' has '%s' as an input and as a checked input", entry.name()->c_str(),
                    name);
  }
  return EDGECC_OK;
}

edgecc_status Verifier::entries() {
  if (edgecc_status status = names("entry", *model->entries()))
    return status;
  if (model->entries()->size() == 0)
    return fail(error, EDGECC_MALFORMED, "the model has no entry");
  for (const fb::Entry *entry : *model->entries()) {
    const char *name = entry->name()->c_str();
    if (edgecc_status status = tensors(name, "input", *entry->inputs()))
      return status;
    if (edgecc_status status = tensors(name, "output", *entry->outputs()))
      return status;
    if (entry->checked())
      if (edgecc_status status = tensors(name, "checked input", *entry->checked()))
        return status;
    if (edgecc_status status = values(*entry))
      return status;
    if (entry->arena_size() > kMaxBytes)
      return fail(error, EDGECC_MALFORMED, "entry '%s' has an arena of %llu bytes", name, ull(entry->arena_size()));
    if (entry->code_offsets()->size() != codeSegments)
      return fail(error, EDGECC_MALFORMED, "entry '%s' has %u code offsets, but there are %u code segments", name,
                  unsigned(entry->code_offsets()->size()), unsigned(codeSegments));
    if (entry->advance()) {
      Interval bounds;
      if (const char *fault = checkExtent(*entry->advance(), *model->symbols(), bounds))
        return fail(error, EDGECC_MALFORMED, "entry '%s', advance: %s", name, fault);
      if (position < 0)
        return fail(error, EDGECC_MALFORMED, "entry '%s' advances, but no symbol has the role Position", name);
    }
    for (uint32_t i = 0; entry->sizes() && i < entry->sizes()->size(); ++i) {
      Interval bounds;
      if (const char *fault = checkExtent(*entry->sizes()->Get(i), *model->symbols(), bounds))
        return fail(error, EDGECC_MALFORMED, "entry '%s', size %u: %s", name, unsigned(i), fault);
    }
    if (edgecc_status status = bindings(*entry))
      return status;
  }
  return EDGECC_OK;
}

// A session counts for each exit which positions are pending, and generated code reads a threshold for each.
edgecc_status Verifier::exits() {
  FileHeader header;
  memcpy(&header, data, sizeof(header));
  const uint32_t count = model->exits() ? model->exits()->size() : 0;
  if ((count != 0) != ((header.features & kExits) != 0))
    return fail(error, EDGECC_MALFORMED, "the model has %u exits, but its header says %s", unsigned(count),
                header.features & kExits ? "that it has some" : "that it has none");
  if (count > kMaxCount)
    return fail(error, EDGECC_MALFORMED, "%u exits, but at most %u are allowed", unsigned(count), unsigned(kMaxCount));
  const auto &symbols = *model->symbols();
  uint32_t pending = 0, last = 0;
  for (uint32_t i = 0; i < count; ++i) {
    const fb::Exit &exit = *model->exits()->Get(i);
    if (exit.layer() <= last || exit.layer() >= model->layers())
      return fail(error, EDGECC_MALFORMED, "exit %u is after layer %u; it must be behind layer %u and before the last of %u",
                  unsigned(i), unsigned(exit.layer()), unsigned(last), unsigned(model->layers()));
    last = exit.layer();
    if (!(exit.threshold() >= 0 && exit.threshold() <= 1) || exit.confidence() > fb::ExitConfidence::MAX)
      return fail(error, EDGECC_MALFORMED, "exit %u has a threshold that is not between 0 and 1, or an unknown confidence",
                  unsigned(i));
    if (exit.pending() == -1)
      continue;
    if (exit.pending() < 0 || uint32_t(exit.pending()) >= symbols.size() ||
        symbols.Get(uint32_t(exit.pending()))->role() != fb::SymbolRole::Pending)
      return fail(error, EDGECC_MALFORMED, "exit %u counts its pending positions in symbol %d, which is none for that",
                  unsigned(i), int(exit.pending()));
    for (uint32_t j = 0; j < i; ++j)
      if (model->exits()->Get(j)->pending() == exit.pending())
        return fail(error, EDGECC_MALFORMED, "exits %u and %u count their pending positions in one symbol", unsigned(j),
                    unsigned(i));
    ++pending;
  }
  for (const fb::Symbol *symbol : symbols)
    if (symbol->role() == fb::SymbolRole::Pending) {
      if (symbol->min() != 0 || symbol->max() < 1)
        return fail(error, EDGECC_MALFORMED, "symbol '%s' counts pending positions from %lld to %lld", symbol->name()->c_str(),
                    static_cast<long long>(symbol->min()), static_cast<long long>(symbol->max()));
      if (pending-- == 0)
        return fail(error, EDGECC_MALFORMED, "symbol '%s' counts the pending positions of no exit", symbol->name()->c_str());
    }
  const bool counts = count && model->exits()->Get(0)->pending() >= 0;
  for (uint32_t i = 0; i < count; ++i)
    if ((model->exits()->Get(i)->pending() >= 0) != counts)
      return fail(error, EDGECC_MALFORMED, "exits 0 and %u: one has pending positions, the other has none", unsigned(i));
  if (counts ? position < 0 || model->fill() < 0 : model->fill() != -1)
    return fail(error, EDGECC_MALFORMED, "exits %s, but the model has %s",
                counts ? "have pending positions" : "have none pending",
                counts ? "no position, or no entry to fill their caches" : "an entry to fill their caches");
  if (counts && uint32_t(model->fill()) >= model->entries()->size())
    return fail(error, EDGECC_MALFORMED, "entry %d would fill the caches, but there are %u entries", int(model->fill()),
                unsigned(model->entries()->size()));
  for (uint32_t i = 0; i < model->entries()->size(); ++i) {
    const fb::Entry &entry = *model->entries()->Get(i);
    if (entry.resumes() < -1 || entry.resumes() >= int64_t(count) || (entry.resumes() >= 0 && (!counts || !entry.advance())))
      return fail(error, EDGECC_MALFORMED, "entry '%s' begins behind exit %d, of which no call leaves anything",
                  entry.name()->c_str(), int(entry.resumes()));
    if (entry.exits() && (count == 0 || entry.resumes() >= 0))
      return fail(error, EDGECC_MALFORMED, "entry '%s' may end early, but there is no exit in it", entry.name()->c_str());
    if (counts && int64_t(i) == model->fill() && (inputCount(entry) || entry.advance() || entry.exits() || entry.resumes() >= 0))
      return fail(error, EDGECC_MALFORMED, "entry '%s' would fill the caches, but it has inputs, advances, or ends early",
                  entry.name()->c_str());
  }
  return EDGECC_OK;
}

edgecc_status Verifier::properties() {
  const flatbuffers::String *previous = nullptr;
  for (const fb::Property *property : *model->properties()) {
    if (previous && !(*previous < *property->key()))
      return fail(error, EDGECC_MALFORMED, "properties '%s' and '%s' are not sorted", previous->c_str(),
                  property->key()->c_str());
    previous = property->key();
  }
  return EDGECC_OK;
}

edgecc_status Verifier::run(const fb::Model *&result) {
  // Symbols before every expression over them, segments before the entries that index them.
  for (auto check : {&Verifier::header, &Verifier::symbols, &Verifier::states, &Verifier::segments, &Verifier::entries,
                     &Verifier::exits, &Verifier::properties})
    if (edgecc_status status = (this->*check)())
      return status;
  result = model;
  return EDGECC_OK;
}

} // namespace

edgecc_status verify(const uint8_t *data, uint64_t size, const fb::Model *&model, edgecc_error *error) {
  return Verifier(data, size, error).run(model);
}

edgecc_status verifyHash(const fb::Segment &segment, const uint8_t *bytes, edgecc_error *error) {
  uint8_t digest[32];
  sha256(bytes, segment.length(), digest);
  if (memcmp(digest, segment.sha256()->data(), sizeof(digest)) != 0)
    return fail(error, EDGECC_MALFORMED, "segment '%s' does not match its SHA-256: the file is damaged", segment.name()->c_str());
  return EDGECC_OK;
}

} // namespace edgecc::rt
