#include "test/runtime/Artifact.h"

#include "runtime/src/cpu.h"
#include "runtime/src/sha256.h"

#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>

namespace edgecc::test {

using fb::ElementType;
using fb::Opcode;

std::vector<uint8_t> kernelImage() {
  std::ifstream file(EDGECC_TEST_IMAGE, std::ios::binary);
  return std::vector<uint8_t>(std::istreambuf_iterator<char>(file), {});
}

AlignedBytes::AlignedBytes(const std::vector<uint8_t> &bytes) : size(bytes.size()) {
  void *place = nullptr;
  if (posix_memalign(&place, EDGECC_ALIGNMENT, size ? size : 1) == 0)
    data = static_cast<uint8_t *>(place);
  if (size)
    memcpy(data, bytes.data(), size);
}

AlignedBytes::~AlignedBytes() { free(data); }

ArtifactSpec smallArtifact() {
  ArtifactSpec spec;
  spec.symbols = {{"n", 1, 8, fb::SymbolRole::Free},
                  {"sequence", 1, 16, fb::SymbolRole::Free},
                  {"past", 0, 63, fb::SymbolRole::Position},
                  {"capacity", 4, 64, fb::SymbolRole::Capacity}};
  spec.states = {{"cache", ElementType::i64, {{symbol(3)}}}};
  EntrySpec main;
  main.name = "main";
  main.inputs = {{"x", ElementType::f32, {{symbol(0)}, {constant(3)}}}};
  main.outputs = {{"y", ElementType::f32, {{symbol(0)}, {constant(3)}}}};
  main.arena = 256;
  main.codeOffsets = {0};
  EntrySpec step;
  step.name = "step";
  step.inputs = {{"input_ids", ElementType::i64, {{constant(1)}, {symbol(1)}}},
                 {"attention_mask", ElementType::i64, {{constant(1)}, {symbol(2), symbol(1), op(Opcode::Add)}}}};
  step.inputs[0].ranged = true;
  step.inputs[0].high = 299;
  step.checked = {{"position_ids", ElementType::i32, {{constant(1)}, {symbol(1)}}, fb::Rule::Counting, {symbol(2)}}};
  step.outputs = {{"logits", ElementType::f32, {{constant(1)}, {symbol(1)}, {constant(300)}}}};
  step.codeOffsets = {0x400};
  step.advance = {symbol(1)};
  spec.entries = {main, step};
  const float weights[3] = {10, 20, 30};
  std::vector<uint8_t> bytes(sizeof(weights));
  memcpy(bytes.data(), weights, sizeof(weights));
  spec.segments = {{"weights", fb::SegmentKind::Weights, bytes, "", {}},
                   {"code", fb::SegmentKind::Code, kernelImage(), rt::cpuArchitecture(), {}},
                   {"ledger", fb::SegmentKind::Ledger, {'{', '}'}, "", {}, 64}};
  spec.properties = {{"eos_token_id", "[299]"}, {"vocabulary_size", "300"}};
  return spec;
}

ArtifactSpec exitingArtifact() {
  ArtifactSpec spec;
  spec.symbols = {{"sequence", 1, 16, fb::SymbolRole::Free},
                  {"past", 0, 64, fb::SymbolRole::Position},
                  {"capacity", 4, 64, fb::SymbolRole::Capacity},
                  {"pending.1", 0, 3, fb::SymbolRole::Pending},
                  {"pending.2", 0, 3, fb::SymbolRole::Pending}};
  for (const char *name : {"first", "second", "third", "hidden"})
    spec.states.push_back({name, ElementType::i64, {{symbol(2)}}});
  auto entry = [&](const char *name, Program tokens) {
    EntrySpec result;
    result.name = name;
    result.inputs = {{"input_ids", ElementType::i64, {{constant(1)}, tokens}}};
    result.outputs = {{"depth", ElementType::i64, {{constant(1)}, tokens}}};
    result.advance = tokens;
    return result;
  };
  EntrySpec decode = entry("decode", {constant(1)}), verify = entry("verify.1", {symbol(0)}), fill;
  decode.exits = true;
  verify.resumes = 0;
  fill.name = "fill";
  spec.entries = {entry("prefill", {symbol(0)}), decode, verify, fill};
  spec.exits = {{1, 0.5f, fb::ExitConfidence::Margin, 3}, {2, 0.75f, fb::ExitConfidence::Margin, 4}};
  spec.layers = 3;
  spec.fill = 3;
  spec.features = rt::kExits;
  return spec;
}

namespace {
using Builder = flatbuffers::FlatBufferBuilder;

flatbuffers::Offset<fb::Extent> extent(Builder &builder, const Program &program) {
  return fb::CreateExtent(builder, builder.CreateVectorOfStructs(program));
}

flatbuffers::Offset<flatbuffers::Vector<flatbuffers::Offset<fb::Extent>>> shape(Builder &builder, const TensorSpec &spec) {
  std::vector<flatbuffers::Offset<fb::Extent>> extents;
  for (const Program &program : spec.shape)
    extents.push_back(extent(builder, program));
  return builder.CreateVector(extents);
}

flatbuffers::Offset<flatbuffers::Vector<flatbuffers::Offset<fb::Tensor>>> tensors(Builder &builder,
                                                                                  const std::vector<TensorSpec> &specs) {
  std::vector<flatbuffers::Offset<fb::Tensor>> result;
  for (const TensorSpec &spec : specs) {
    auto sizes = shape(builder, spec);
    auto base = spec.base.empty() ? flatbuffers::Offset<fb::Extent>() : extent(builder, spec.base);
    result.push_back(fb::CreateTensor(builder, builder.CreateString(spec.name), spec.type, sizes, spec.rule, base, spec.ranged,
                                      spec.low, spec.high));
  }
  return builder.CreateVector(result);
}

std::vector<uint8_t> metadata(const ArtifactSpec &spec, const std::vector<uint64_t> &offsets) {
  Builder builder;
  std::vector<flatbuffers::Offset<fb::Symbol>> symbols;
  for (const SymbolSpec &s : spec.symbols)
    symbols.push_back(fb::CreateSymbol(builder, builder.CreateString(s.name), s.min, s.max, s.role));
  std::vector<flatbuffers::Offset<fb::State>> states;
  for (const TensorSpec &s : spec.states) {
    auto sizes = shape(builder, s);
    states.push_back(fb::CreateState(builder, builder.CreateString(s.name), s.type, sizes));
  }
  std::vector<flatbuffers::Offset<fb::Entry>> entries;
  for (const EntrySpec &e : spec.entries) {
    auto name = builder.CreateString(e.name);
    auto inputs = tensors(builder, e.inputs), outputs = tensors(builder, e.outputs);
    auto code = builder.CreateVector(e.codeOffsets);
    auto advance = e.advance.empty() ? flatbuffers::Offset<fb::Extent>() : extent(builder, e.advance);
    auto checked = e.checked.empty() ? flatbuffers::Offset<flatbuffers::Vector<flatbuffers::Offset<fb::Tensor>>>()
                                     : tensors(builder, e.checked);
    entries.push_back(fb::CreateEntry(builder, name, inputs, outputs, e.arena, code, advance, e.exits, e.resumes, checked));
  }
  std::vector<flatbuffers::Offset<fb::Segment>> segments;
  for (size_t i = 0; i < spec.segments.size(); ++i) {
    const SegmentSpec &s = spec.segments[i];
    uint8_t digest[32];
    rt::sha256(s.bytes.data(), s.bytes.size(), digest);
    auto name = builder.CreateString(s.name);
    auto hash = builder.CreateVector(digest, 32);
    auto architecture =
        s.architecture.empty() ? flatbuffers::Offset<flatbuffers::String>() : builder.CreateString(s.architecture);
    auto features = builder.CreateVectorOfStrings(s.features);
    segments.push_back(fb::CreateSegment(builder, name, s.kind, offsets[i] + uint64_t(s.offsetError),
                                         s.bytes.size() + uint64_t(s.lengthError), s.alignment, hash, architecture, features));
  }
  std::vector<flatbuffers::Offset<fb::Property>> properties;
  for (const auto &[key, value] : spec.properties) {
    auto keyText = builder.CreateString(key), valueText = builder.CreateString(value);
    properties.push_back(fb::CreateProperty(builder, keyText, valueText));
  }
  auto name = builder.CreateString("small"), compiler = builder.CreateString("test"), command = builder.CreateString(""),
       hash = builder.CreateString("");
  auto symbolTable = builder.CreateVector(symbols);
  auto stateTable = builder.CreateVector(states);
  auto entryTable = builder.CreateVector(entries);
  auto segmentTable = builder.CreateVector(segments);
  auto propertyTable = builder.CreateVector(properties);
  std::vector<flatbuffers::Offset<fb::Exit>> exits;
  for (const ExitSpec &s : spec.exits)
    exits.push_back(fb::CreateExit(builder, s.layer, s.threshold, s.confidence, s.pending));
  auto exitTable =
      exits.empty() ? flatbuffers::Offset<flatbuffers::Vector<flatbuffers::Offset<fb::Exit>>>() : builder.CreateVector(exits);
  fb::FinishModelBuffer(builder, fb::CreateModel(builder, name, compiler, command, hash, symbolTable, stateTable, entryTable,
                                                 segmentTable, propertyTable, exitTable, spec.layers, spec.fill));
  return std::vector<uint8_t>(builder.GetBufferPointer(), builder.GetBufferPointer() + builder.GetSize());
}
} // namespace

std::vector<uint8_t> write(const ArtifactSpec &spec) {
  // Offsets do not change the metadata's size as long as none is the default 0, which flatbuffers leaves out.
  const size_t metadataSize = metadata(spec, std::vector<uint64_t>(spec.segments.size(), 1)).size();
  std::vector<uint64_t> offsets;
  uint64_t end = sizeof(rt::FileHeader) + metadataSize;
  for (const SegmentSpec &segment : spec.segments) {
    end = (end + segment.alignment - 1) / segment.alignment * segment.alignment;
    offsets.push_back(end);
    end += segment.bytes.size();
  }
  const std::vector<uint8_t> meta = metadata(spec, offsets);
  rt::FileHeader header = {};
  memcpy(header.magic, rt::kMagic, sizeof(header.magic));
  header.version = EDGECC_ABI_VERSION;
  header.features = spec.features;
  header.metadataSize = meta.size();
  header.fileSize = end;
  rt::sha256(meta.data(), meta.size(), header.metadataSha256);
  std::vector<uint8_t> file(end);
  memcpy(file.data(), &header, sizeof(header));
  memcpy(file.data() + sizeof(header), meta.data(), meta.size());
  for (size_t i = 0; i < offsets.size(); ++i)
    if (!spec.segments[i].bytes.empty())
      memcpy(file.data() + offsets[i], spec.segments[i].bytes.data(), spec.segments[i].bytes.size());
  return file;
}

} // namespace edgecc::test
