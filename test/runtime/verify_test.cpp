#include "test/runtime/Artifact.h"

#include "edgecc/edgecc.hpp"
#include "runtime/src/sha256.h"

#include <cmath>
#include <cstring>
#include <gtest/gtest.h>

using namespace edgecc;
using namespace edgecc::test;
using fb::Opcode;

namespace {

/// Loads and, if that works, runs main; "" or the refusal. Refusals must say something.
std::string load(const std::vector<uint8_t> &bytes, bool reseal = false) {
  AlignedBytes file(bytes);
  if (reseal && file.size >= sizeof(rt::FileHeader)) {
    // Whoever can write a file can also write a hash: everything behind it must hold on its own.
    rt::FileHeader header;
    memcpy(&header, file.data, sizeof(header));
    header.fileSize = file.size;
    if (header.metadataSize <= file.size - sizeof(header))
      rt::sha256(file.data + sizeof(header), header.metadataSize, header.metadataSha256);
    memcpy(file.data, &header, sizeof(header));
  }
  Model model;
  if (Status status = model.openMemory(file.data, file.size); !status) {
    EXPECT_GT(strlen(status.message()), 10u);
    return status.message();
  }
  // A changed model may want other inputs or more memory: that is refused too, by the session.
  edgecc_session_options options;
  edgecc_session_options_init(&options);
  options.threads = 1;
  options.memory_limit = 1 << 20;
  Session session;
  if (Status status = session.open(model, &options); !status)
    return status.message();
  if (reseal)
    return ""; // offsets into code are the author's word: what was resealed is not executed
  const float x[6] = {0, 1, 2, 3, 4, 5};
  if (Status status = session.setInput("main", "x", {2, 3}, x); !status)
    return status.message();
  if (Status status = session.run("main"); !status)
    return status.message();
  edgecc_output output;
  EXPECT_TRUE(session.output(model.handle(), "main", "y", output));
  const float expected[6] = {10, 21, 32, 13, 24, 35};
  EXPECT_EQ(memcmp(output.data, expected, sizeof(expected)), 0);
  return "";
}

#define EXPECT_REFUSED(spec, part)                                                                                               \
  do {                                                                                                                           \
    const std::string sentence = load(write(spec));                                                                              \
    EXPECT_NE(sentence.find(part), std::string::npos) << "'" << sentence << "'";                                                 \
  } while (0)

TEST(Verify, TakesASoundFile) { EXPECT_EQ(load(write(smallArtifact())), ""); }

TEST(Verify, EveryPrefixIsRefused) {
  const std::vector<uint8_t> bytes = write(smallArtifact());
  for (size_t size = 0; size < bytes.size(); ++size)
    ASSERT_NE(load(std::vector<uint8_t>(bytes.begin(), bytes.begin() + long(size))), "") << size;
}

TEST(Verify, EveryFlippedByteIsRefusedOrMakesNoDifference) {
  const std::vector<uint8_t> bytes = write(smallArtifact());
  size_t refused = 0;
  for (size_t i = 0; i < bytes.size(); ++i) {
    std::vector<uint8_t> flipped = bytes;
    flipped[i] ^= 0xff;
    refused += !load(flipped).empty();
  }
  EXPECT_GT(refused, 1000u); // all of header, metadata and segments; padding makes no difference
}

TEST(Verify, NoChangeOfTheMetadataGetsPastWithAFreshHash) {
  const std::vector<uint8_t> bytes = write(smallArtifact());
  rt::FileHeader header;
  memcpy(&header, bytes.data(), sizeof(header));
  for (size_t i = 0; i < sizeof(header) + header.metadataSize; ++i)
    for (uint8_t change : {0x01, 0x80, 0xff}) {
      std::vector<uint8_t> flipped = bytes;
      flipped[i] ^= change;
      load(flipped, /*reseal=*/true); // either is fine; the sanitizers watch
    }
  for (size_t size = 0; size < sizeof(header) + header.metadataSize; ++size)
    EXPECT_NE(load(std::vector<uint8_t>(bytes.begin(), bytes.begin() + long(size)), /*reseal=*/true), "");
}

TEST(Verify, AnUnknownFeatureIsACleanRefusal) {
  std::vector<uint8_t> bytes = write(smallArtifact());
  bytes[offsetof(rt::FileHeader, features) + 7] = 0x80;
  EXPECT_NE(load(bytes).find("needs features (bits 0x8000000000000000)"), std::string::npos);
  bytes = write(smallArtifact());
  bytes[offsetof(rt::FileHeader, version)] = 99;
  EXPECT_NE(load(bytes).find("format version 99, this runtime reads version 1"), std::string::npos);
}

TEST(Verify, SegmentsMustLieInTheFile) {
  for (int64_t error : {int64_t(-8192), int64_t(1) << 40, INT64_MAX - 4095, int64_t(-4096)}) {
    ArtifactSpec spec = smallArtifact();
    spec.segments[0].offsetError = error;
    EXPECT_NE(load(write(spec)), "");
  }
  ArtifactSpec spec = smallArtifact();
  spec.segments[0].lengthError = -13; // all ones: offset + length overflows
  EXPECT_REFUSED(spec, "do not fit between the metadata");
  spec = smallArtifact();
  spec.segments[0].lengthError = 4096;
  EXPECT_REFUSED(spec, "overlap");
  spec = smallArtifact();
  spec.segments[0].offsetError = 8;
  EXPECT_REFUSED(spec, "not a multiple of its alignment");
  for (uint64_t alignment : {uint64_t(64), uint64_t(2048)}) {
    spec = smallArtifact();
    spec.segments[1].alignment = alignment;
    EXPECT_REFUSED(spec, "a power of two is needed");
  }
}

TEST(Verify, SegmentsAreWhatTheySay) {
  ArtifactSpec spec = smallArtifact();
  spec.segments.push_back(spec.segments[0]);
  EXPECT_REFUSED(spec, "'weights' exists twice");
  spec.segments.back().name = "more";
  EXPECT_REFUSED(spec, "both hold weights");
  spec = smallArtifact();
  spec.segments[1].architecture = "";
  EXPECT_REFUSED(spec, "does not say its architecture");
  spec = smallArtifact();
  spec.segments[0].kind = fb::SegmentKind(9);
  EXPECT_REFUSED(spec, "unknown kind 9");
}

TEST(Verify, EntriesStartInsideTheCode) {
  ArtifactSpec spec = smallArtifact();
  spec.entries[0].codeOffsets = {1 << 20};
  EXPECT_REFUSED(spec, "entry 'main' starts at 1048576 in code segment 'code'");
  spec = smallArtifact();
  spec.entries[1].codeOffsets = {};
  EXPECT_REFUSED(spec, "has 0 code offsets, but there are 1");
  spec = smallArtifact();
  spec.entries.clear();
  EXPECT_REFUSED(spec, "no entry");
  spec = smallArtifact();
  spec.entries[0].arena = UINT64_MAX;
  EXPECT_REFUSED(spec, "arena of");
}

TEST(Verify, ExitsAreChecked) {
  const auto change = [](void (*how)(ArtifactSpec &)) {
    ArtifactSpec spec = exitingArtifact();
    how(spec);
    return spec;
  };
  // Sound, but for the code, which is linked.
  EXPECT_REFUSED(exitingArtifact(), "the file holds no code");
  const std::pair<void (*)(ArtifactSpec &), const char *> cases[] = {
      {[](ArtifactSpec &s) { s.features = 0; }, "has 2 exits, but its header says that it has none"},
      {[](ArtifactSpec &s) { s = smallArtifact(), s.features = rt::kExits; },
       "has 0 exits, but its header says that it has some"},
      {[](ArtifactSpec &s) { s.exits[1].layer = 1; }, "exit 1 is after layer 1; it must be behind layer 1"},
      {[](ArtifactSpec &s) { s.exits[0].layer = 0; }, "exit 0 is after layer 0"},
      {[](ArtifactSpec &s) { s.layers = 2; }, "exit 1 is after layer 2; it must be behind layer 1 and before the last of 2"},
      {[](ArtifactSpec &s) { s.exits[0].threshold = 1.5f; }, "exit 0 has a threshold that is not between 0 and 1"},
      {[](ArtifactSpec &s) { s.exits[0].threshold = NAN; }, "exit 0 has a threshold that is not between 0 and 1"},
      {[](ArtifactSpec &s) { s.exits[0].confidence = fb::ExitConfidence(9); }, "an unknown confidence"},
      {[](ArtifactSpec &s) { s.exits[0].pending = 1; }, "counts its pending positions in symbol 1, which is none for that"},
      {[](ArtifactSpec &s) { s.exits[0].pending = 99; }, "symbol 99"},
      {[](ArtifactSpec &s) { s.exits[0].pending = -7; }, "symbol -7"},
      {[](ArtifactSpec &s) { s.exits[1].pending = 3; }, "exits 0 and 1 count their pending positions in one symbol"},
      {[](ArtifactSpec &s) { s.exits[1].pending = -1; }, "the pending positions of no exit"},
      {[](ArtifactSpec &s) { s.exits.pop_back(); }, "symbol 'pending.2' counts the pending positions of no exit"},
      {[](ArtifactSpec &s) { s.symbols[4].min = 1; }, "symbol 'pending.2' counts pending positions from 1 to 3"},
      {[](ArtifactSpec &s) { s.symbols[4].max = 0; }, "symbol 'pending.2' counts pending positions from 0 to 0"},
      {[](ArtifactSpec &s) { s.symbols[3].role = fb::SymbolRole(4); }, "unknown role 4"},
      {[](ArtifactSpec &s) { s.fill = -1; }, "no entry to fill their caches"},
      {[](ArtifactSpec &s) { s.fill = 4; }, "entry 4 would fill the caches, but there are 4 entries"},
      {[](ArtifactSpec &s) { s.fill = 1; }, "entry 'decode' would fill the caches, but it has inputs"},
      {[](ArtifactSpec &s) { s.entries[2].resumes = 2; }, "entry 'verify.1' begins behind exit 2"},
      {[](ArtifactSpec &s) { s.entries[2].resumes = -2; }, "entry 'verify.1' begins behind exit -2"},
      {[](ArtifactSpec &s) { s.entries[3].resumes = 0; }, "entry 'fill' begins behind exit 0"},
      {[](ArtifactSpec &s) { s.entries[2].exits = true; }, "entry 'verify.1' may end early, but there is no exit in it"},
      {[](ArtifactSpec &s) { s = smallArtifact(), s.entries[0].exits = true; }, "entry 'main' may end early"},
      {[](ArtifactSpec &s) { s = smallArtifact(), s.fill = 0; }, "an entry to fill their caches"},
  };
  for (const auto &[how, part] : cases)
    EXPECT_REFUSED(change(how), part);
}

TEST(Verify, NoChangeOfTheExitsGetsPastWithAFreshHash) {
  const std::vector<uint8_t> bytes = write(exitingArtifact());
  for (size_t i = 0; i < bytes.size(); ++i)
    for (uint8_t change : {0x01, 0x80, 0xff}) {
      std::vector<uint8_t> flipped = bytes;
      flipped[i] ^= change;
      load(flipped, /*reseal=*/true); // the sanitizers watch
    }
}

TEST(Verify, ProgramsAreChecked) {
  const std::pair<Program, const char *> cases[] = {
      {{}, "empty or too long"},
      {Program(5000, constant(1)), "empty or too long"},
      {Program(40, constant(1)), "too deep a stack"},
      {{constant(1), constant(1)}, "exactly one value"},
      {{op(Opcode::Add)}, "empty stack"},
      {{constant(1), op(Opcode::Mod)}, "empty stack"},
      {{symbol(4)}, "a symbol that does not exist"},
      {{symbol(-1)}, "a symbol that does not exist"},
      {{symbol(0), constant(0), op(Opcode::FloorDiv)}, "positive constant"},
      {{symbol(0), constant(-1), op(Opcode::CeilDiv)}, "positive constant"},
      {{constant(6), symbol(0), op(Opcode::Mod)}, "positive constant"},
      {{symbol(0), constant(INT64_MAX), op(Opcode::Mul)}, "overflow 64 bits"},
      {{symbol(0), constant(INT64_MAX), op(Opcode::Add)}, "overflow 64 bits"},
      {{constant(-5)}, "always negative"},
      {{constant(int64_t(1) << 60)}, "can exceed"},
      {{op(Opcode(7))}, "unknown instruction"},
  };
  for (const auto &[program, part] : cases) {
    ArtifactSpec spec = smallArtifact();
    spec.entries[0].outputs[0].shape[0] = program;
    EXPECT_REFUSED(spec, part);
  }
  // A zero does not hide an overflow of the other sizes.
  ArtifactSpec spec = smallArtifact();
  spec.entries[0].outputs[0].shape = {{constant(0)}, {constant(int64_t(1) << 40)}, {constant(int64_t(1) << 40)}};
  EXPECT_REFUSED(spec, "can exceed");
}

TEST(Verify, SymbolsAreChecked) {
  ArtifactSpec spec = smallArtifact();
  spec.symbols[0].min = 9;
  EXPECT_REFUSED(spec, "symbol 'n' has the bounds 9..8");
  spec = smallArtifact();
  spec.symbols[0].min = -1;
  EXPECT_REFUSED(spec, "symbol 'n' has the bounds -1..8");
  spec = smallArtifact();
  spec.symbols[0].role = fb::SymbolRole::Capacity;
  EXPECT_REFUSED(spec, "have the same role");
  spec = smallArtifact();
  spec.symbols[0].role = fb::SymbolRole(7);
  EXPECT_REFUSED(spec, "unknown role 7");
  spec = smallArtifact();
  spec.symbols[0].name = "";
  EXPECT_REFUSED(spec, "symbol 0 has an empty name");
  spec = smallArtifact();
  spec.symbols[2].role = fb::SymbolRole::Free;
  EXPECT_REFUSED(spec, "no symbol has the role Position");
}

TEST(Verify, StatesAndSizesHaveValues) {
  ArtifactSpec spec = smallArtifact();
  spec.states[0].shape = {{symbol(1)}};
  EXPECT_REFUSED(spec, "not fixed when a session is opened");
  spec = smallArtifact();
  spec.states[0].shape = {{symbol(3), constant(-10), op(Opcode::Add)}};
  EXPECT_REFUSED(spec, "can have a negative size");
  spec = smallArtifact();
  spec.entries[0].outputs[0].shape[0] = {symbol(1)};
  EXPECT_REFUSED(spec, "symbol 'sequence' is not bound");
  spec = smallArtifact();
  spec.entries[0].inputs[0].shape.assign(17, {constant(1)});
  EXPECT_REFUSED(spec, "rank 17");
  spec = smallArtifact();
  spec.entries[0].inputs[0].type = fb::ElementType(13);
  EXPECT_REFUSED(spec, "unknown element type 13");
}

TEST(Verify, InputsSayWhichValuesTheyMayHave) {
  ArtifactSpec spec = smallArtifact();
  TensorSpec &checked = spec.entries[1].checked[0];
  const TensorSpec sound = checked;
  checked.rule = fb::Rule(3);
  EXPECT_REFUSED(spec, "input 'position_ids' does not say what it must be");
  checked = sound, checked.base = {};
  EXPECT_REFUSED(spec, "input 'position_ids' does not say what it must be");
  checked = sound, checked.base = {symbol(9)};
  EXPECT_REFUSED(spec, "input 'position_ids' does not say what it must be");
  checked = sound, checked.base = {constant(INT64_MAX)}; // counting on would overflow
  EXPECT_REFUSED(spec, "input 'position_ids' does not say what it must be");
  checked = sound, checked.base = {symbol(0)};
  EXPECT_REFUSED(spec, "position_ids: symbol 'n' is not bound");
  checked = sound, checked.shape[0] = {symbol(0), constant(1), op(Opcode::Add)};
  EXPECT_REFUSED(spec, "position_ids: symbol 'n' is not bound");
  checked = sound, checked.shape.assign(17, {constant(1)});
  EXPECT_REFUSED(spec, "checked input 'position_ids' has rank 17");
  checked = sound, checked.name = "input_ids";
  EXPECT_REFUSED(spec, "has 'input_ids' as an input and as a checked input");
  checked = sound, spec.entries[1].checked.push_back(sound);
  EXPECT_REFUSED(spec, "'position_ids' exists twice");
  for (auto [low, high] : {std::pair<int64_t, int64_t>(1, 0), {INT64_MIN, 0}, {0, INT64_MAX}}) {
    spec = smallArtifact();
    spec.entries[1].inputs[0].low = low, spec.entries[1].inputs[0].high = high;
    EXPECT_REFUSED(spec, "input 'input_ids' has the range");
  }
  spec = smallArtifact();
  spec.entries[0].inputs[0].ranged = true;
  EXPECT_REFUSED(spec, "input 'x' has the range");
  spec = smallArtifact();
  spec.entries[1].inputs[1].base = {symbol(0)};
  EXPECT_REFUSED(spec, "attention_mask: symbol 'n' is not bound");
  spec = exitingArtifact();
  spec.entries[3].checked = {sound};
  spec.entries[3].checked[0].shape = {{constant(1)}};
  spec.entries[3].checked[0].base = {symbol(1)};
  EXPECT_REFUSED(spec, "would fill the caches, but it has inputs");
}

TEST(Verify, PropertiesAreSorted) {
  ArtifactSpec spec = smallArtifact();
  std::swap(spec.properties[0], spec.properties[1]);
  EXPECT_REFUSED(spec, "are not sorted");
}

TEST(Verify, ANegativeOutputIsRefusedWhenItComesUp) {
  ArtifactSpec spec = smallArtifact();
  spec.entries[0].outputs[0].shape[0] = {symbol(0), constant(-3), op(Opcode::Add)};
  EXPECT_REFUSED(spec, "dimension 0 of output 'y' would be -1");
}

TEST(Sha256, MatchesTheStandardsExamples) {
  const auto hex = [](const std::string &text) {
    uint8_t digest[32];
    rt::sha256(text.data(), text.size(), digest);
    char out[65];
    for (int i = 0; i < 32; ++i)
      snprintf(out + 2 * i, 3, "%02x", digest[i]);
    return std::string(out);
  };
  EXPECT_EQ(hex(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(hex("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(hex("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"),
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  EXPECT_EQ(hex(std::string(1000000, 'a')), "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

} // namespace
