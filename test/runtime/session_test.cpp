#include "test/runtime/Artifact.h"

#include "edgecc/edgecc.hpp"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <fstream>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

using namespace edgecc;
using namespace edgecc::test;

extern "C" void entry_main(const edgecc_call *call);
extern "C" void entry_step(const edgecc_call *call);

namespace {

bool contains(const char *text, const char *part) { return strstr(text, part) != nullptr; }
#define EXPECT_SAYS(status, part) EXPECT_TRUE(!(status) && contains((status).message(), part)) << (status).message()

/// A file that goes away with the test.
struct TemporaryFile {
  explicit TemporaryFile(const std::vector<uint8_t> &bytes) {
    char name[] = "edgecc-test-XXXXXX";
    close(mkstemp(name));
    path = name;
    std::ofstream(path, std::ios::binary).write(reinterpret_cast<const char *>(bytes.data()), std::streamsize(bytes.size()));
  }
  ~TemporaryFile() { unlink(path.c_str()); }
  std::string path;
};

class SessionTest : public testing::Test {
protected:
  SessionTest() : file(write(smallArtifact())) {}

  void open(uint32_t threads = 1, int64_t context = 0, uint64_t limit = 0) {
    Status status = model.open(file.path.c_str());
    ASSERT_TRUE(status) << status.message();
    status = openSession(threads, context, limit);
    ASSERT_TRUE(status) << status.message();
  }
  Status openSession(uint32_t threads, int64_t context, uint64_t limit) {
    edgecc_session_options options;
    edgecc_session_options_init(&options);
    options.threads = threads;
    options.context = context;
    options.memory_limit = limit;
    return session.open(model, &options);
  }

  Status runMain(int64_t n) {
    std::vector<float> x(size_t(n) * 3);
    for (size_t i = 0; i < x.size(); ++i)
      x[i] = float(i);
    if (Status status = session.setInput("main", "x", {n, 3}, x.data()); !status)
      return status;
    return session.run("main");
  }
  /// Feeds tokens; `next` is the prediction after the last.
  Status step(const std::vector<int64_t> &ids, int64_t &next) {
    const int64_t count = int64_t(ids.size()), past = edgecc_session_position(session.handle());
    std::vector<int64_t> mask(size_t(past + count), 1);
    if (Status status = session.setInput("step", "input_ids", {1, count}, ids.data()); !status)
      return status;
    if (Status status = session.setInput("step", "attention_mask", {1, past + count}, mask.data()); !status)
      return status;
    if (Status status = session.run("step"); !status)
      return status;
    edgecc_output output;
    Status status = session.output(model.handle(), "step", "logits", output);
    const float *row = static_cast<const float *>(output.data) + 300 * (count - 1);
    next = std::max_element(row, row + 300) - row;
    return status;
  }

  TemporaryFile file;
  Model model;
  Session session;
};

TEST_F(SessionTest, RunsForEverySizeInBounds) {
  for (uint32_t threads : {1u, 4u}) {
    open(threads);
    for (int64_t n = 1; n <= 8; ++n) {
      Status status = runMain(n);
      ASSERT_TRUE(status) << status.message();
      edgecc_output output;
      ASSERT_TRUE(session.output(model.handle(), "main", "y", output));
      ASSERT_EQ(output.rank, 2u);
      EXPECT_EQ(output.shape[0], n);
      EXPECT_EQ(output.bytes, size_t(n) * 12);
      for (int64_t i = 0; i < 3 * n; ++i)
        EXPECT_EQ(static_cast<const float *>(output.data)[i], float(i + 10 * (i % 3 + 1)));
    }
  }
}

TEST_F(SessionTest, OpensFromMemoryAlignedOrNot) {
  const std::vector<uint8_t> bytes = write(smallArtifact());
  std::vector<uint8_t> shifted(bytes.size() + 65);
  for (size_t shift : {0, 1}) {
    uint8_t *start = shifted.data() + (64 - reinterpret_cast<uintptr_t>(shifted.data()) % 64) + shift;
    memcpy(start, bytes.data(), bytes.size());
    Status status = model.openMemory(start, bytes.size());
    ASSERT_TRUE(status) << status.message();
    ASSERT_TRUE(openSession(2, 0, 0));
    EXPECT_TRUE(runMain(5));
    session = Session();
  }
}

TEST_F(SessionTest, RunsStaticallyLinkedCode) {
  ArtifactSpec spec = smallArtifact();
  spec.segments.erase(spec.segments.begin() + 1);
  for (EntrySpec &entry : spec.entries)
    entry.codeOffsets.clear();
  spec.properties.insert(spec.properties.begin(), {"build_id", "abc"});
  TemporaryFile bare(write(spec));
  Status status = model.open(bare.path.c_str());
  EXPECT_SAYS(status, "--code=static");

  const edgecc_static_entry table[] = {{"step", entry_step}, {"main", entry_main}};
  edgecc_static_code code = {EDGECC_ABI_VERSION, 2, "abc", table};
  edgecc_model_options options;
  edgecc_model_options_init(&options);
  options.code = &code;
  status = model.open(bare.path.c_str(), &options);
  ASSERT_TRUE(status) << status.message();
  ASSERT_TRUE(openSession(2, 0, 0));
  EXPECT_TRUE(runMain(3));

  code.build_id = "xyz";
  EXPECT_SAYS(model.open(bare.path.c_str(), &options), "belongs to build 'xyz', the model file to build 'abc'");
  code.build_id = nullptr;
  code.entry_count = 1;
  EXPECT_SAYS(model.open(bare.path.c_str(), &options), "no entry 'main'");
}

TEST_F(SessionTest, RefusesWrongInputsWithNumbersAndGoesOn) {
  open();
  const float x[27] = {};
  const int64_t ids[32] = {};
  EXPECT_SAYS(session.run("main"), "input 'x' has not been set");
  EXPECT_SAYS(session.run("maim"), "no entry 'maim'");
  EXPECT_SAYS(session.setInput("main", "z", {2, 3}, x), "no input 'z'; its inputs are 'x'");
  EXPECT_SAYS(session.setInput("main", "x", {2, 3}, ids), "input 'x' is f32, but i64 was given");
  EXPECT_SAYS(session.setInput("main", "x", {2, 3, 1}, x), "has rank 2, but rank 3 was given");
  EXPECT_SAYS(session.setInput("main", "x", {9, 3}, x), "shape [9, 3], but dimension 0 ('n') can be 1 to 8");
  EXPECT_SAYS(session.setInput("main", "x", {0, 3}, x), "dimension 0 ('n') can be 1 to 8");
  EXPECT_SAYS(session.setInput("main", "x", {-1, 3}, x), "can be 1 to 8");
  EXPECT_SAYS(session.setInput("main", "x", {2, 4}, x), "dimension 1 ('3') can be 3 to 3");
  EXPECT_SAYS(session.setInput<float>("main", "x", {2, 3}, nullptr), "has no data");
  ASSERT_TRUE(session.setInput("step", "input_ids", {1, 2}, ids));
  ASSERT_TRUE(session.setInput("step", "attention_mask", {1, 5}, ids));
  EXPECT_SAYS(session.run("step"),
              "'attention_mask' has the shape [1, 5], but dimension 1 is 'past + sequence', which is 2 here");
  EXPECT_EQ(edgecc_session_position(session.handle()), 0);
  EXPECT_TRUE(runMain(8));
}

TEST_F(SessionTest, OutputsExistAfterARunOnly) {
  open();
  edgecc_output output;
  EXPECT_SAYS(session.output(model.handle(), "main", "y", output), "has not run yet");
  EXPECT_SAYS(session.output(model.handle(), "main", "no", output), "there is no output");
}

TEST_F(SessionTest, AProfilerHearsOfEachKernelAndThenOfTheCall) {
  struct Event {
    uint64_t code;
    int64_t tasks;
    uint64_t begin, end;
  };
  std::vector<Event> events;
  ASSERT_TRUE(model.open(file.path.c_str()));
  edgecc_session_options options;
  edgecc_session_options_init(&options);
  options.threads = 2;
  options.profiler_user = &events;
  options.profiler = [](void *user, uint64_t code, int64_t tasks, uint64_t begin, uint64_t end) {
    static_cast<std::vector<Event> *>(user)->push_back({code, tasks, begin, end});
  };
  ASSERT_TRUE(session.open(model, &options));
  ASSERT_TRUE(runMain(4));
  ASSERT_EQ(events.size(), 2u);
  const Event &kernel = events[0], &call = events[1];
  EXPECT_EQ(kernel.tasks, 4);
  EXPECT_EQ(call.tasks, 0);
  // Both are places in the image, the entry where the metadata says.
  EXPECT_LT(kernel.code, kernelImage().size());
  EXPECT_EQ(call.code, smallArtifact().entries[0].codeOffsets[0]);
  EXPECT_LE(call.begin, kernel.begin);
  EXPECT_LE(kernel.begin, kernel.end);
  EXPECT_LE(kernel.end, call.end);
}

TEST_F(SessionTest, KeepsStateRewindsAndResets) {
  open(2);
  int64_t next = 0;
  ASSERT_TRUE(step({5, 7}, next));
  EXPECT_EQ(next, 12);
  ASSERT_TRUE(step({1}, next));
  EXPECT_EQ(next, 13);
  EXPECT_EQ(edgecc_session_position(session.handle()), 3);
  edgecc_error error;
  ASSERT_EQ(edgecc_session_set_position(session.handle(), 1, &error), EDGECC_OK);
  ASSERT_TRUE(step({20}, next));
  EXPECT_EQ(next, 25);
  EXPECT_EQ(edgecc_session_set_position(session.handle(), 3, &error), EDGECC_INVALID_ARGUMENT);
  EXPECT_TRUE(contains(error.message, "at position 2 and can go back to 0..2, not to 3")) << error.message;
  edgecc_session_reset(session.handle());
  ASSERT_TRUE(step({4}, next));
  EXPECT_EQ(next, 4);
}

TEST_F(SessionTest, ContextFullIsRefusedAndRewindingHelps) {
  open(1, 6);
  EXPECT_EQ(edgecc_session_context(session.handle()), 6);
  int64_t next = 0;
  ASSERT_TRUE(step({1, 2, 3, 4}, next));
  Status status = step({5, 6, 7}, next);
  EXPECT_EQ(status.code(), EDGECC_CONTEXT_FULL);
  EXPECT_SAYS(status, "3 positions after 4 do not fit in the context of 6");
  EXPECT_SAYS(status, "the model allows 64");
  ASSERT_TRUE(step({5, 6}, next));
  EXPECT_EQ(next, 21);
  EXPECT_EQ(step({1}, next).code(), EDGECC_CONTEXT_FULL);
  ASSERT_EQ(edgecc_session_set_position(session.handle(), 2, nullptr), EDGECC_OK);
  ASSERT_TRUE(step({1}, next));
  EXPECT_EQ(next, 4);
}

TEST_F(SessionTest, PositionBeyondItsBoundIsContextFull) {
  open(1, 64);
  int64_t next = 0;
  for (int i = 0; i < 4; ++i)
    ASSERT_TRUE(step(std::vector<int64_t>(16, 1), next));
  EXPECT_EQ(next, 64);
  EXPECT_EQ(step({1}, next).code(), EDGECC_CONTEXT_FULL);
  EXPECT_SAYS(session.run("step"), "at position 64, but 'past' may be at most 63");
}

TEST_F(SessionTest, SavesAndRestores) {
  open(1, 32);
  int64_t next = 0;
  ASSERT_TRUE(step({5, 7}, next));
  std::vector<uint8_t> saved(edgecc_session_save_size(session.handle()));
  ASSERT_EQ(edgecc_session_save(session.handle(), saved.data(), saved.size(), nullptr), EDGECC_OK);
  EXPECT_EQ(edgecc_session_save(session.handle(), saved.data(), saved.size() - 1, nullptr), EDGECC_INVALID_ARGUMENT);
  ASSERT_TRUE(openSession(1, 32, 0));
  ASSERT_EQ(edgecc_session_restore(session.handle(), saved.data(), saved.size(), nullptr), EDGECC_OK);
  ASSERT_TRUE(step({1}, next));
  EXPECT_EQ(next, 13);
  edgecc_error error;
  EXPECT_NE(edgecc_session_restore(session.handle(), saved.data(), saved.size() - 1, &error), EDGECC_OK);
  ++saved[0];
  EXPECT_NE(edgecc_session_restore(session.handle(), saved.data(), saved.size(), &error), EDGECC_OK);
  --saved[0];
  ASSERT_TRUE(openSession(1, 16, 0));
  saved.resize(2 * saved.size());
  EXPECT_NE(edgecc_session_restore(session.handle(), saved.data(), saved.size(), &error), EDGECC_OK);
}

TEST_F(SessionTest, AMemoryLimitIsKeptWithNumbers) {
  open();
  edgecc_memory_info memory;
  edgecc_model_memory(model.handle(), 64, &memory);
  EXPECT_EQ(memory.weights, 12u);
  EXPECT_EQ(memory.arena, 256u);
  EXPECT_EQ(memory.states, 512u);
  EXPECT_EQ(memory.bytes_per_position, 8u);
  EXPECT_EQ(memory.total, 780u);
  Status status = openSession(1, 64, 600);
  EXPECT_EQ(status.code(), EDGECC_OUT_OF_MEMORY);
  EXPECT_SAYS(
      status,
      "needs 780 B (weights 12 B, cache 512 B at context 64, arena 256 B) but 600 B are allowed; context 40 fits (588 B)");
  EXPECT_SAYS(openSession(1, 0, 100), "no context length fits");
  // Without a wish the longest context that fits is taken.
  ASSERT_TRUE(openSession(1, 0, 600));
  EXPECT_EQ(edgecc_session_context(session.handle()), 40);
  // Inputs and outputs count, too; a refusal leaves the session as it was.
  EXPECT_SAYS(runMain(4), "but 600 B are allowed");
  EXPECT_EQ(edgecc_session_memory(session.handle()), 588u);
  ASSERT_TRUE(openSession(1, 4, 600));
  EXPECT_TRUE(runMain(4));
}

TEST_F(SessionTest, AContextOutOfBoundsIsRefused) {
  open();
  EXPECT_SAYS(openSession(1, 65, 0), "a context of 65 was asked for, but 'capacity' can be 4 to 64");
  EXPECT_SAYS(openSession(1, 3, 0), "can be 4 to 64");
}

TEST_F(SessionTest, ASessionOutlivesTheModelHandle) {
  open();
  edgecc_session *raw = session.handle();
  model = Model();
  const float x[3] = {1, 2, 3};
  const int64_t shape[2] = {1, 3};
  EXPECT_EQ(edgecc_session_set_input(raw, 0, 0, EDGECC_F32, shape, 2, x, nullptr), EDGECC_OK);
  EXPECT_EQ(edgecc_session_run(raw, 0, nullptr), EDGECC_OK);
}

TEST_F(SessionTest, SessionsShareAModel) {
  open(2);
  Session other;
  ASSERT_TRUE(other.open(model));
  int64_t next = 0;
  ASSERT_TRUE(step({5}, next));
  EXPECT_EQ(edgecc_session_position(other.handle()), 0);
}

TEST_F(SessionTest, ARecurrentStateCannotRewind) {
  ArtifactSpec spec = smallArtifact();
  spec.states.push_back({"recurrent", fb::ElementType::f32, {{constant(4)}}});
  TemporaryFile recurrent(write(spec));
  ASSERT_TRUE(model.open(recurrent.path.c_str()));
  ASSERT_TRUE(openSession(1, 0, 0));
  int64_t next = 0;
  ASSERT_TRUE(step({5, 7}, next));
  edgecc_error error;
  EXPECT_EQ(edgecc_session_set_position(session.handle(), 1, &error), EDGECC_INVALID_ARGUMENT);
  EXPECT_TRUE(contains(error.message, "state 'recurrent' does not keep its past")) << error.message;
  EXPECT_EQ(edgecc_session_set_position(session.handle(), 0, &error), EDGECC_OK);
}

TEST_F(SessionTest, TheLastFittingCodeIsTaken) {
  ArtifactSpec spec = smallArtifact();
  const bool arm = spec.segments[1].architecture == "aarch64";
  SegmentSpec plain = spec.segments[1], better = plain, impossible = plain, foreign = plain;
  better.name = "better";
  better.features = {arm ? "neon" : "sse4.2"};
  impossible.name = "impossible";
  impossible.features = {"warp-drive"};
  foreign.name = "foreign";
  foreign.architecture = arm ? "x86_64" : "aarch64";
  spec.segments.insert(spec.segments.begin() + 2, {better, impossible, foreign});
  for (EntrySpec &entry : spec.entries)
    entry.codeOffsets.assign(4, entry.codeOffsets[0]);
  TemporaryFile fat(write(spec));
  edgecc_model_options options;
  edgecc_model_options_init(&options);
  edgecc_model_info info;
  const std::pair<const char *, const char *> cases[] = {
      {nullptr, "better"}, {"baseline", "code"}, {arm ? "fp16,neon" : "avx2,sse4.2", "better"}, {"code", "code"}};
  for (auto [cpu, expected] : cases) {
    options.cpu = cpu;
    Status status = model.open(fat.path.c_str(), &options);
    ASSERT_TRUE(status) << status.message();
    edgecc_model_get_info(model.handle(), &info);
    EXPECT_STREQ(info.code, expected) << (cpu ? cpu : "all");
    ASSERT_TRUE(openSession(1, 0, 0));
    EXPECT_TRUE(runMain(2));
  }
  for (const char *cpu : {"impossible", "foreign"}) {
    options.cpu = cpu;
    EXPECT_SAYS(model.open(fat.path.c_str(), &options), "none of the 4 code segments runs on this");
  }
  setenv("EDGECC_CPU", "baseline", 1);
  ASSERT_TRUE(model.open(fat.path.c_str()));
  unsetenv("EDGECC_CPU");
  edgecc_model_get_info(model.handle(), &info);
  EXPECT_STREQ(info.code, "code");
}

TEST_F(SessionTest, AModelForInspectionHasNoSessions) {
  edgecc_model_options options;
  edgecc_model_options_init(&options);
  options.flags = EDGECC_INSPECT_ONLY;
  ASSERT_TRUE(model.open(file.path.c_str(), &options));
  EXPECT_SAYS(openSession(1, 0, 0), "for inspection only");
  edgecc_tensor_info mask;
  edgecc_extent_info extent;
  ASSERT_EQ(edgecc_model_input(model.handle(), 1, 1, &mask), EDGECC_OK);
  ASSERT_EQ(edgecc_model_extent(model.handle(), &mask, 1, &extent), EDGECC_OK);
  EXPECT_STREQ(extent.text, "past + sequence");
  EXPECT_EQ(extent.min, 1);
  EXPECT_EQ(extent.max, 79);
  EXPECT_STREQ(edgecc_model_property(model.handle(), "vocabulary_size"), "300");
  EXPECT_EQ(edgecc_model_property(model.handle(), "none"), nullptr);
}

// Weights are neither read nor hashed at opening: a process that read them would have them in memory.
TEST(Files, OfEightGigabytesOpenWithoutReadingWeights) {
  constexpr uint64_t kWeights = uint64_t(8) << 30;
  constexpr long kMostKilobytes = 256 << 10;
  ArtifactSpec spec = smallArtifact();
  std::swap(spec.segments[0], spec.segments[2]); // weights last, so that the file can simply be made longer
  spec.segments[2].lengthError = int64_t(kWeights - spec.segments[2].bytes.size());
  std::vector<uint8_t> bytes = write(spec);
  rt::FileHeader header;
  memcpy(&header, bytes.data(), sizeof(header));
  header.fileSize += uint64_t(spec.segments[2].lengthError);
  memcpy(bytes.data(), &header, sizeof(header));
  TemporaryFile file(bytes);
  ASSERT_EQ(truncate(file.path.c_str(), off_t(header.fileSize)), 0);
  // The largest memory that this process has held, in KiB.
  const auto peak = [] {
    rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_maxrss;
  };
  // An emulator keeps books of every page of a mapping. They belong to the memory before the model is opened.
  const int descriptor = ::open(file.path.c_str(), O_RDONLY);
  void *mapped = mmap(nullptr, header.fileSize, PROT_READ, MAP_PRIVATE, descriptor, 0);
  ASSERT_NE(mapped, MAP_FAILED);
  munmap(mapped, header.fileSize);
  close(descriptor);

  const long before = peak();
  Model model;
  Status status = model.open(file.path.c_str());
  ASSERT_TRUE(status) << status.message();
  Session session;
  ASSERT_TRUE(session.open(model));
  EXPECT_LT(peak() - before, kMostKilobytes);
}

TEST(Files, ThatCannotBeOpenedAreNamed) {
  Model model;
  EXPECT_SAYS(model.open("no-such-file.edge"), "no-such-file.edge: cannot be opened: No such file");
  EXPECT_SAYS(model.open("."), ": is not a file");
  TemporaryFile empty({});
  EXPECT_SAYS(model.open(empty.path.c_str()), "the file is empty");
}

} // namespace
