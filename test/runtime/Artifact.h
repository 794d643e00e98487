//===- Artifact.h - Small artifacts for tests -------------------------------===//
//
// Why built here and not by the packager: the runtime's tests need no compiler, and some of these files no packager would write.
//
//===----------------------------------------------------------------------===//
#ifndef EDGECC_TEST_RUNTIME_ARTIFACT_H
#define EDGECC_TEST_RUNTIME_ARTIFACT_H

#include "edgecc/edgecc.h"
#include "runtime/schema/model_generated.h"
#include "runtime/src/format.h"

#include <string>
#include <vector>

namespace edgecc::test {

using Program = std::vector<fb::Instruction>;
inline fb::Instruction constant(int64_t value) { return {value, fb::Opcode::Constant}; }
inline fb::Instruction symbol(int64_t index) { return {index, fb::Opcode::Symbol}; }
inline fb::Instruction op(fb::Opcode opcode) { return {0, opcode}; }

struct TensorSpec {
  std::string name;
  fb::ElementType type;
  std::vector<Program> shape;
  // Of a checked input.
  fb::Rule rule = fb::Rule::Equal;
  Program base = {};
  // Of an input whose integers have a range.
  bool ranged = false;
  int64_t low = 0, high = 0;
};

struct SymbolSpec {
  std::string name;
  int64_t min, max;
  fb::SymbolRole role;
};

struct SegmentSpec {
  std::string name;
  fb::SegmentKind kind;
  std::vector<uint8_t> bytes;
  std::string architecture;
  std::vector<std::string> features;
  uint64_t alignment = 4096;
  // What the metadata say instead of the truth, for malformed files.
  int64_t offsetError = 0, lengthError = 0;
};

struct EntrySpec {
  std::string name;
  std::vector<TensorSpec> inputs, outputs;
  uint64_t arena = 0;
  std::vector<uint64_t> codeOffsets;
  Program advance;
  bool exits = false;
  int32_t resumes = -1;
  std::vector<TensorSpec> checked = {};
};

struct ExitSpec {
  uint32_t layer;
  float threshold;
  fb::ExitConfidence confidence;
  int32_t pending;
};

/// All that is in a file, to be changed by a test before it is written.
struct ArtifactSpec {
  std::vector<SymbolSpec> symbols;
  std::vector<TensorSpec> states;
  std::vector<EntrySpec> entries;
  std::vector<SegmentSpec> segments;
  std::vector<std::pair<std::string, std::string>> properties;
  std::vector<ExitSpec> exits;
  uint32_t layers = 0;
  int32_t fill = -1;
  uint64_t features = 0;
};

/// Symbols n (0), sequence (1), past (2), capacity (3); entries main and step of kernels.cpp; ids of step are 0 to 299,
/// and its position_ids, which may be left out, count up from past.
ArtifactSpec smallArtifact();
/// A "model" of three layers with exits after the first two, and a cache; its code, for who runs it, is exits_test.cpp's. Symbols
/// sequence (0), past (1), capacity (2), pending.1 (3), pending.2 (4); entries prefill, decode, verify.1, fill.
ArtifactSpec exitingArtifact();
std::vector<uint8_t> write(const ArtifactSpec &spec);

/// The flat image of kernels.cpp, built for this processor.
std::vector<uint8_t> kernelImage();

/// Bytes at an address with the alignment that is used in place.
class AlignedBytes {
public:
  explicit AlignedBytes(const std::vector<uint8_t> &bytes);
  ~AlignedBytes();
  AlignedBytes(const AlignedBytes &) = delete;
  AlignedBytes &operator=(const AlignedBytes &) = delete;
  uint8_t *data = nullptr;
  size_t size = 0;
};

} // namespace edgecc::test
#endif // EDGECC_TEST_RUNTIME_ARTIFACT_H
