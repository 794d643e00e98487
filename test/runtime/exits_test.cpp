#include "test/runtime/Artifact.h"

#include "edgecc/edgecc.hpp"

#include <cmath>
#include <gtest/gtest.h>

using namespace edgecc;
using namespace edgecc::test;

namespace {

// What the compiler would generate for a model of three layers, each with a cache of one number per position. A layer that sees a
// token writes the token, a layer that a position is filled in for writes the negative hidden state, token + 100 * layer. The
// confidence at each exit is the token / 100. The output is how many layers were run.

int64_t fills = 0; // calls of `fill`

struct Call {
  const edgecc_call &call;
  int64_t tokens() const { return call.dims[0]; }
  int64_t past() const { return call.dims[1]; }
  int64_t pending(int exit) const { return call.dims[3 + exit]; }
  int64_t *state(int i) const { return reinterpret_cast<int64_t *>(call.states[i]); }
  int64_t token(int64_t i) const { return reinterpret_cast<const int64_t *>(call.inputs[0])[i]; }
  void answer(int64_t i, int64_t depth) const { reinterpret_cast<int64_t *>(call.outputs[0])[i] = depth; }

  void fill(int exit) const {
    for (int64_t p = past() - pending(exit); p < past(); ++p)
      state(exit + 1)[p] = -state(3)[p];
  }
  void layer(int number, int64_t count) const {
    if (number > 0)
      fill(number - 1);
    for (int64_t i = 0; i < count; ++i)
      state(number)[past() + i] = token(i);
  }
  bool leaves(int exit) const {
    state(3)[past()] = token(0) + 100 * (exit + 1);
    edgecc_exit_point &point = call.exits[exit];
    point.confidence = float(token(0)) / 100;
    if (!(point.confidence >= point.threshold))
      return false;
    *call.exit_taken = exit;
    answer(0, exit + 1);
    return true;
  }
};

void prefill(const edgecc_call *given) {
  const Call call{*given};
  for (int number = 0; number < 3; ++number)
    call.layer(number, call.tokens());
  for (int64_t i = 0; i < call.tokens(); ++i)
    call.answer(i, 3);
}

void decode(const edgecc_call *given) {
  const Call call{*given};
  for (int number = 0; number < 3; ++number) {
    call.layer(number, 1);
    if (number < 2 && call.leaves(number))
      return;
  }
  call.answer(0, 3);
}

void verify(const edgecc_call *given) {
  const Call call{*given};
  for (int number = 1; number < 3; ++number)
    call.layer(number, call.tokens());
}

void fill(const edgecc_call *given) {
  ++fills;
  Call{*given}.fill(0);
  Call{*given}.fill(1);
}

constexpr edgecc_static_entry kEntries[] = {{"prefill", prefill}, {"decode", decode}, {"verify.1", verify}, {"fill", fill}};
constexpr edgecc_static_code kCode = {EDGECC_ABI_VERSION, 4, nullptr, kEntries};

class Exits : public testing::Test {
protected:
  Exits() : file(write(exitingArtifact())) {
    edgecc_model_options options;
    edgecc_model_options_init(&options);
    options.code = &kCode;
    Status status = model.openMemory(file.data, file.size, &options);
    EXPECT_TRUE(status) << status.message();
    status = open(session);
    EXPECT_TRUE(status) << status.message();
    fills = 0;
  }
  Status open(Session &which) {
    edgecc_session_options options;
    edgecc_session_options_init(&options);
    options.threads = 1;
    return which.open(model, &options);
  }
  Status run(const char *entry, const std::vector<int64_t> &tokens) {
    if (Status status = session.setInput(entry, "input_ids", {1, int64_t(tokens.size())}, tokens.data()); !status)
      return status;
    return session.run(entry);
  }
  /// The number of layers that a token took.
  int64_t step(int64_t token) {
    Status status = run("decode", {token});
    EXPECT_TRUE(status) << status.message();
    edgecc_output depth;
    EXPECT_TRUE(session.output(model.handle(), "decode", "depth", depth));
    edgecc_exit_report report;
    edgecc_session_exit_report(session.handle(), &report);
    EXPECT_EQ(int64_t(report.last_layer), *static_cast<const int64_t *>(depth.data));
    EXPECT_EQ(report.exit, report.last_layer == 3 ? -1 : int64_t(report.last_layer) - 1);
    return report.last_layer;
  }
  Status force(int64_t exit) {
    return Status::of([&](edgecc_error *error) { return edgecc_session_force_exit(session.handle(), exit, error); });
  }
  Status threshold(size_t exit, float value) {
    return Status::of(
        [&](edgecc_error *error) { return edgecc_session_set_exit_threshold(session.handle(), exit, value, error); });
  }
  Status rewind(int64_t position) {
    return Status::of([&](edgecc_error *error) { return edgecc_session_set_position(session.handle(), position, error); });
  }
  /// The states lie at the end of what a session saves, before a number for each exit.
  std::vector<int64_t> state(size_t number, size_t count) {
    std::vector<uint8_t> saved(edgecc_session_save_size(session.handle()));
    EXPECT_EQ(edgecc_session_save(session.handle(), saved.data(), saved.size(), nullptr), EDGECC_OK);
    const int64_t *states = reinterpret_cast<const int64_t *>(saved.data() + saved.size() - 2 * 8 - 4 * 64 * 8) + 64 * number;
    return std::vector<int64_t>(states, states + count);
  }

  AlignedBytes file;
  Model model;
  Session session;
};

using Numbers = std::vector<int64_t>;

TEST_F(Exits, AreWhatTheFileSays) {
  edgecc_exit_info info;
  ASSERT_EQ(edgecc_model_exit(model.handle(), 1, &info), EDGECC_OK);
  EXPECT_EQ(info.layer, 2u);
  EXPECT_EQ(info.threshold, 0.75f);
  EXPECT_STREQ(edgecc_exit_confidence_name(info.confidence), "margin");
  EXPECT_EQ(edgecc_model_exit(model.handle(), 2, &info), EDGECC_INVALID_ARGUMENT);
  EXPECT_EQ(edgecc_model_layers(model.handle()), 3u);
  EXPECT_TRUE(edgecc_model_entry_exits(model.handle(), 1));
  EXPECT_FALSE(edgecc_model_entry_exits(model.handle(), 0));
  EXPECT_EQ(edgecc_model_find_resuming(model.handle(), 0), 2);
  EXPECT_EQ(edgecc_model_find_resuming(model.handle(), 1), -1);
}

TEST_F(Exits, AreTakenByThresholdsOrForce) {
  EXPECT_EQ(step(60), 1);
  EXPECT_EQ(step(40), 3);
  EXPECT_FLOAT_EQ(edgecc_session_exit_confidence(session.handle(), 1), 0.4f);
  ASSERT_TRUE(threshold(0, 0.9f));
  EXPECT_EQ(step(80), 2);
  EXPECT_EQ(step(90), 1);
  EXPECT_EQ(edgecc_session_exit_confidence(session.handle(), 1), -1); // it did not come there
  ASSERT_TRUE(force(EDGECC_EXIT_NEVER));
  EXPECT_EQ(step(99), 3);
  ASSERT_TRUE(force(1));
  EXPECT_EQ(step(99), 2);
  EXPECT_EQ(step(0), 2);
  ASSERT_TRUE(force(EDGECC_EXIT_IF_SURE));
  EXPECT_EQ(step(80), 2);
}

TEST_F(Exits, ThatDoNotExistAreRefused) {
  for (float value : {-0.1f, 1.1f, NAN})
    EXPECT_NE(std::string(threshold(0, value).message()).find("between 0 and 1"), std::string::npos);
  EXPECT_NE(std::string(threshold(2, 0.5f).message()).find("there is no exit 2, the model has 2"), std::string::npos);
  EXPECT_NE(std::string(force(2).message()).find("there is no exit 2, the model has 2"), std::string::npos);
  EXPECT_FALSE(force(-3));
}

TEST_F(Exits, WhatWasSkippedIsFilledInWithTheNextDeeperCall) {
  ASSERT_TRUE(run("prefill", {1, 2}));
  EXPECT_EQ(step(60), 1);
  EXPECT_EQ(step(70), 1);
  EXPECT_EQ(state(1, 4), (Numbers{1, 2, 0, 0}));
  ASSERT_TRUE(threshold(0, 1));
  EXPECT_EQ(step(80), 2); // the second layer sees all, the third still nothing
  EXPECT_EQ(state(1, 5), (Numbers{1, 2, -160, -170, 80}));
  EXPECT_EQ(state(2, 5), (Numbers{1, 2, 0, 0, 0}));
  ASSERT_TRUE(run("prefill", {3, 4}));
  EXPECT_EQ(state(1, 7), (Numbers{1, 2, -160, -170, 80, 3, 4}));
  EXPECT_EQ(state(2, 7), (Numbers{1, 2, -160, -170, -280, 3, 4}));
  EXPECT_EQ(fills, 0);
}

TEST_F(Exits, AFullBatchIsFilledInByItself) {
  for (int64_t token = 60; token < 64; ++token)
    EXPECT_EQ(step(token), 1);
  EXPECT_EQ(fills, 1);
  EXPECT_EQ(state(2, 4), (Numbers{-160, -161, -162, 0}));
  ASSERT_TRUE(force(EDGECC_EXIT_NEVER));
  EXPECT_EQ(step(64), 3);
  EXPECT_EQ(state(2, 5), (Numbers{-160, -161, -162, -163, 64}));
}

TEST_F(Exits, RewindingForgetsWhatIsPending) {
  ASSERT_TRUE(run("prefill", {1}));
  EXPECT_EQ(step(60), 1);
  EXPECT_EQ(step(61), 1);
  ASSERT_TRUE(rewind(2));
  EXPECT_EQ(step(10), 3);
  EXPECT_EQ(state(2, 3), (Numbers{1, -160, 10}));
  ASSERT_TRUE(rewind(0));
  EXPECT_EQ(step(20), 3);
  EXPECT_EQ(state(2, 3), (Numbers{20, -160, 10}));
}

TEST_F(Exits, PendingPositionsAreSavedAndRestored) {
  EXPECT_EQ(step(60), 1);
  EXPECT_EQ(step(61), 1);
  std::vector<uint8_t> saved(edgecc_session_save_size(session.handle()));
  ASSERT_EQ(edgecc_session_save(session.handle(), saved.data(), saved.size(), nullptr), EDGECC_OK);
  edgecc_session_reset(session.handle());
  EXPECT_EQ(step(5), 3);
  auto restore = [&] {
    return Status::of(
        [&](edgecc_error *error) { return edgecc_session_restore(session.handle(), saved.data(), saved.size(), error); });
  };
  ASSERT_TRUE(restore());
  EXPECT_EQ(step(7), 3);
  EXPECT_EQ(state(1, 3), (Numbers{-160, -161, 7}));
  for (int64_t seen : {-1, 3, 1 << 20}) {
    memcpy(saved.data() + saved.size() - sizeof(seen), &seen, sizeof(seen));
    Status status = restore();
    EXPECT_NE(std::string(status.message()).find("2 positions behind exit 1, which cannot be"), std::string::npos);
  }
}

TEST_F(Exits, TheRestGoesOnFromWhatAnExitLeft) {
  ASSERT_TRUE(run("prefill", {1}));
  ASSERT_TRUE(force(0));
  step(60), step(61);
  ASSERT_TRUE(rewind(1));
  Status status = run("verify.1", {60, 61, 62});
  EXPECT_NE(std::string(status.message()).find("with 3 positions from 1 on, but calls that ended there have left 2"),
            std::string::npos)
      << status.message();
  ASSERT_TRUE(run("verify.1", {60, 61}));
  EXPECT_EQ(state(2, 3), (Numbers{1, 60, 61}));
  EXPECT_EQ(edgecc_session_position(session.handle()), 3);
  edgecc_exit_report report;
  edgecc_session_exit_report(session.handle(), &report);
  EXPECT_EQ(report.first_layer, 1u);
  EXPECT_EQ(report.last_layer, 3u);
  // Another exit, or another call between, leaves nothing to go on from.
  ASSERT_TRUE(force(1));
  step(62);
  ASSERT_TRUE(rewind(3));
  EXPECT_FALSE(run("verify.1", {62}));
  ASSERT_TRUE(force(0));
  step(63);
  ASSERT_TRUE(run("prefill", {2}));
  ASSERT_TRUE(rewind(3));
  EXPECT_FALSE(run("verify.1", {63}));
}

} // namespace
