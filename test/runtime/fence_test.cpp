// EDGECC_FENCE=1: code that writes outside of its memory is stopped, or the call fails and says where.
#include "test/runtime/Artifact.h"

#include "edgecc/edgecc.hpp"

#include <cstdlib>
#include <cstring>
#include <gtest/gtest.h>
#include <unistd.h>

using namespace edgecc;
using namespace edgecc::test;

namespace {

enum Memory { Arena, State, Input, Output };

/// A session whose entry `poke` has an arena of 192 bytes, a state of 40 (context 5), an input of 20 and an output of 12.
class FenceTest : public testing::Test {
protected:
  void SetUp() override {
    setenv("EDGECC_FENCE", "1", 1);
    ArtifactSpec spec = smallArtifact();
    EntrySpec poke;
    poke.name = "poke";
    poke.inputs = {{"where", fb::ElementType::i64, {{constant(2)}}}, {"x", fb::ElementType::u8, {{symbol(0)}, {constant(5)}}}};
    poke.outputs = {{"y", fb::ElementType::f32, {{constant(3)}}}};
    poke.arena = 192;
    poke.codeOffsets = {0x800};
    spec.entries.push_back(poke);
    spec.entries[0].arena = 4 * pageSize();
    bytes = write(spec);
    open();
  }
  void TearDown() override { unsetenv("EDGECC_FENCE"); }

  void open() {
    Status status = model.openMemory(bytes.data(), bytes.size());
    ASSERT_TRUE(status) << status.message();
    edgecc_session_options options;
    edgecc_session_options_init(&options);
    options.threads = 1;
    options.context = 5;
    status = session.open(model, &options);
    ASSERT_TRUE(status) << status.message();
  }

  /// Writes a byte at `offset` of a buffer; `n` times 5 bytes are given as x.
  Status poke(Memory memory, int64_t offset, int64_t n = 4) {
    const int64_t where[2] = {memory, offset};
    const uint8_t x[40] = {};
    Status status = session.setInput("poke", "where", {2}, where);
    if (status)
      status = session.setInput("poke", "x", {n, 5}, x);
    return status ? session.run("poke") : status;
  }
  static int64_t pageSize() { return sysconf(_SC_PAGESIZE); }

  std::vector<uint8_t> bytes;
  Model model;
  Session session;
};

constexpr int64_t kSizes[] = {192, 40, 20, 12};
const char *const kNames[] = {"the arena", "state cache", "input x", "output y"};

TEST_F(FenceTest, TheMemoryItselfMayBeWritten) {
  for (Memory memory : {Arena, State, Input, Output})
    for (int64_t offset : {int64_t(0), kSizes[memory] - 1}) {
      Status status = poke(memory, offset);
      EXPECT_TRUE(status) << kNames[memory] << ": " << status.message();
    }
}

TEST_F(FenceTest, WritesBetweenTheMemoryAndTheFenceAreReported) {
  for (Memory memory : {State, Input, Output}) {
    for (int64_t offset : {kSizes[memory], int64_t(63), int64_t(-1), int64_t(-64)}) {
      Status status = poke(memory, offset);
      char said[128];
      snprintf(said, sizeof(said), "entry 'poke': its code wrote to byte %lld of %s, which has %lld bytes",
               static_cast<long long>(offset), kNames[memory], static_cast<long long>(kSizes[memory]));
      EXPECT_FALSE(status) << said;
      EXPECT_STREQ(status.message(), said);
      open();
    }
  }
  EXPECT_FALSE(poke(Arena, -1));
}

TEST_F(FenceTest, WritesToTheFenceEndTheProcess) {
  for (Memory memory : {Arena, State, Input, Output}) {
    const int64_t end = (kSizes[memory] + 63) / 64 * 64;
    EXPECT_DEATH((void)poke(memory, end), "") << kNames[memory];
    EXPECT_DEATH((void)poke(memory, end - pageSize() - 1), "") << kNames[memory];
  }
}

TEST_F(FenceTest, ASmallerInputHasItsOwnFence) {
  ASSERT_TRUE(poke(Arena, 0, 8));
  ASSERT_TRUE(poke(Arena, 0, 2));
  EXPECT_FALSE(poke(Input, 10, 2));
  EXPECT_DEATH((void)poke(Input, 64, 2), "");
}

TEST_F(FenceTest, ReportsTheSameMemory) {
  ASSERT_TRUE(poke(Arena, 0));
  const uint64_t fenced = edgecc_session_memory(session.handle());
  unsetenv("EDGECC_FENCE");
  open();
  ASSERT_TRUE(poke(Arena, 0));
  EXPECT_EQ(edgecc_session_memory(session.handle()), fenced);
  EXPECT_TRUE(poke(Output, 12)) << "nothing is checked without the variable";
}

TEST_F(FenceTest, StatesAreSavedRestoredAndZeroed) {
  ASSERT_TRUE(poke(State, 3));
  std::vector<uint8_t> saved(edgecc_session_save_size(session.handle()));
  edgecc_error error;
  ASSERT_EQ(edgecc_session_save(session.handle(), saved.data(), saved.size(), &error), EDGECC_OK);
  edgecc_session_reset(session.handle());
  std::vector<uint8_t> zeroed(saved.size());
  ASSERT_EQ(edgecc_session_save(session.handle(), zeroed.data(), zeroed.size(), &error), EDGECC_OK);
  EXPECT_NE(saved, zeroed);
  ASSERT_EQ(edgecc_session_restore(session.handle(), saved.data(), saved.size(), &error), EDGECC_OK);
  ASSERT_EQ(edgecc_session_save(session.handle(), zeroed.data(), zeroed.size(), &error), EDGECC_OK);
  EXPECT_EQ(saved, zeroed);
  EXPECT_TRUE(poke(State, 39)) << "the fence's pattern is whole";
}

} // namespace
