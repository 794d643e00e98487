// Which values inputs may have: what a session counts by itself is optional and checked, ids stay inside their table.
#include "test/runtime/Artifact.h"

#include "edgecc/edgecc.hpp"

#include <cstring>
#include <gtest/gtest.h>

using namespace edgecc;
using namespace edgecc::test;

namespace {

#define EXPECT_SAYS(status, part) EXPECT_TRUE(!(status) && strstr((status).message(), part)) << (status).message()
#define EXPECT_OK(expression)                                                                                                    \
  do {                                                                                                                           \
    Status status = (expression);                                                                                                \
    EXPECT_TRUE(status) << status.message();                                                                                     \
  } while (0)

class ValuesTest : public testing::Test {
protected:
  /// A model whose entry "step" has the ids alone as a required input, and these beside.
  void open(std::vector<TensorSpec> checked) {
    ArtifactSpec spec = smallArtifact();
    spec.entries[1].inputs.resize(1);
    spec.entries[1].checked = std::move(checked);
    // What reads the bytes goes before them.
    session = Session();
    model = Model();
    bytes = std::make_unique<AlignedBytes>(write(spec));
    Status status = model.openMemory(bytes->data, bytes->size);
    ASSERT_TRUE(status) << status.message();
    edgecc_session_options options;
    edgecc_session_options_init(&options);
    options.threads = 1;
    ASSERT_TRUE(session.open(model, &options));
  }
  Status ids(const std::vector<int64_t> &tokens) {
    return session.setInput("step", "input_ids", {1, int64_t(tokens.size())}, tokens.data());
  }
  template <typename T> Status give(const char *name, const std::vector<int64_t> &shape, const std::vector<T> &values) {
    return session.setInput("step", name, shape, values.data());
  }
  Status run() { return session.run("step"); }
  std::string values(size_t input) {
    char text[128];
    edgecc_model_input_values(model.handle(), 1, input, text, sizeof(text));
    return text;
  }

  std::unique_ptr<AlignedBytes> bytes;
  Model model;
  Session session;
};

const Program kPast = {symbol(2)}, kSequence = {symbol(1)}, kTotal = {symbol(2), symbol(1), op(fb::Opcode::Add)};
const TensorSpec kPositions = {"position_ids", fb::ElementType::i32, {{constant(1)}, kSequence}, fb::Rule::Counting, kPast};
const TensorSpec kMask = {"attention_mask", fb::ElementType::i64, {{constant(2)}, kTotal}, fb::Rule::Equal, {constant(1)}};

TEST_F(ValuesTest, ACheckedInputMayBeLeftOut) {
  open({kPositions, kMask});
  EXPECT_OK(ids({5, 7}));
  EXPECT_OK(run());
  EXPECT_EQ(edgecc_session_position(session.handle()), 2);
}

TEST_F(ValuesTest, CheckedInputsAreInputsBehindTheOthers) {
  open({kPositions, kMask});
  edgecc_entry_info entry;
  ASSERT_EQ(edgecc_model_entry(model.handle(), 1, &entry), EDGECC_OK);
  EXPECT_EQ(entry.input_count, 3u);
  edgecc_tensor_info input;
  ASSERT_EQ(edgecc_model_input(model.handle(), 1, 2, &input), EDGECC_OK);
  EXPECT_STREQ(input.name, "attention_mask");
  EXPECT_EQ(edgecc_model_input(model.handle(), 1, 3, &input), EDGECC_INVALID_ARGUMENT);
  EXPECT_EQ(edgecc_model_find_input(model.handle(), 1, "position_ids"), 1);
  EXPECT_EQ(edgecc_model_find_input(model.handle(), 1, "input_ids"), 0);
  EXPECT_FALSE(edgecc_model_input_is_optional(model.handle(), 1, 0));
  EXPECT_TRUE(edgecc_model_input_is_optional(model.handle(), 1, 1));
  EXPECT_FALSE(edgecc_model_input_is_optional(model.handle(), 1, 3));
  EXPECT_SAYS(give<float>("mask", {1}, {1}), "its inputs are 'input_ids', 'position_ids', 'attention_mask'");
}

TEST_F(ValuesTest, ValuesAreSaidInWords) {
  TensorSpec below = kMask;
  below.rule = fb::Rule::Below;
  below.base = kTotal;
  below.shape[1] = {constant(8)};
  TensorSpec count = kMask;
  count.name = "seqlens_k";
  count.base = {symbol(2), symbol(1), op(fb::Opcode::Add), constant(-1), op(fb::Opcode::Add)};
  open({kPositions, below, count});
  EXPECT_EQ(values(0), "must be 0 to 299");
  EXPECT_EQ(values(1), "optional, must count up from past");
  EXPECT_EQ(values(2), "optional, must be 1 in the first past + sequence, 0 in the others");
  EXPECT_EQ(values(3), "optional, must be past + sequence - 1");
  EXPECT_EQ(values(4), "");
}

TEST_F(ValuesTest, OtherValuesAreRefusedWithTheFirstPlace) {
  open({kPositions, kMask});
  EXPECT_OK(ids({5, 7, 9}));
  EXPECT_OK(give<int64_t>("attention_mask", {2, 3}, {1, 1, 1, 0, 0, 1}));
  Status status = run();
  EXPECT_SAYS(status, "entry 'step': input 'attention_mask' is 0 at [1, 0], but must be 1 there");
  EXPECT_SAYS(status, "Run sequences of other lengths one by one, or leave this input out");
  EXPECT_EQ(edgecc_session_position(session.handle()), 0);
  EXPECT_OK(give<int64_t>("attention_mask", {2, 3}, {1, 1, 1, 1, 1, 1}));
  EXPECT_OK(give<int32_t>("position_ids", {1, 3}, {0, 1, 1}));
  EXPECT_SAYS(run(), "input 'position_ids' is 1 at [0, 2], but must be 2 there");
  EXPECT_OK(give<int32_t>("position_ids", {1, 3}, {0, 1, 2}));
  EXPECT_OK(run());
}

TEST_F(ValuesTest, TheyAreCountedFromThePosition) {
  open({kPositions});
  EXPECT_OK(ids({5, 7}));
  EXPECT_OK(run());
  EXPECT_OK(give<int32_t>("position_ids", {1, 2}, {0, 1}));
  EXPECT_SAYS(run(), "is 0 at [0, 0], but must be 2 there");
  EXPECT_OK(give<int32_t>("position_ids", {1, 2}, {2, 3}));
  EXPECT_OK(run());
}

TEST_F(ValuesTest, ARunTakesThemAndARefusedOneDoesNot) {
  open({kPositions});
  EXPECT_OK(ids({5}));
  EXPECT_OK(give<int32_t>("position_ids", {1, 1}, {0}));
  EXPECT_OK(run());
  EXPECT_OK(run()); // at position 1, where what was given for the call before would be wrong
  EXPECT_OK(give<int32_t>("position_ids", {1, 1}, {9}));
  EXPECT_SAYS(run(), "is 9 at [0, 0], but must be 2 there");
  EXPECT_SAYS(run(), "is 9 at [0, 0], but must be 2 there");
  EXPECT_OK(session.setInput<int32_t>("step", "position_ids", {}, nullptr));
  EXPECT_OK(run());
}

TEST_F(ValuesTest, TheirShapesMustFit) {
  open({kPositions, kMask});
  EXPECT_OK(ids({5, 7}));
  EXPECT_OK(give<int32_t>("position_ids", {1, 3}, {0, 1, 2}));
  EXPECT_SAYS(run(), "input 'position_ids' has the shape [1, 3], but dimension 1 is 'sequence', which is 2 here");
  EXPECT_SAYS(give<int32_t>("position_ids", {2, 2}, {0, 1, 0, 1}), "dimension 0 ('1') can be 1 to 1");
  EXPECT_SAYS(give<int64_t>("position_ids", {1, 2}, {0, 1}), "is i32, but i64 was given");
  EXPECT_SAYS(give<int32_t>("position_ids", {2}, {0, 1}), "has rank 2, but rank 1 was given");
}

TEST_F(ValuesTest, ASizeOfItsOwnMayBeAny) {
  TensorSpec mask = kMask;
  mask.shape[0] = {symbol(0)}; // n, which no other input of this entry has
  open({mask});
  EXPECT_OK(ids({5}));
  EXPECT_OK(give<int64_t>("attention_mask", {3, 1}, {1, 1, 1}));
  EXPECT_OK(run());
  EXPECT_OK(give<int64_t>("attention_mask", {3, 2}, {1, 1, 1, 1, 1, 0}));
  EXPECT_SAYS(run(), "is 0 at [2, 1], but must be 1 there");
}

TEST_F(ValuesTest, AStaticMaskIsOneBelowWhatIsFilled) {
  TensorSpec mask = kMask;
  mask.shape = {{constant(4)}};
  mask.rule = fb::Rule::Below;
  mask.base = kTotal;
  open({mask});
  EXPECT_OK(ids({5, 7}));
  EXPECT_OK(give<int64_t>("attention_mask", {4}, {1, 1, 1, 0}));
  EXPECT_SAYS(run(), "is 1 at [2], but must be 0 there");
  EXPECT_OK(give<int64_t>("attention_mask", {4}, {1, 1, 0, 0}));
  EXPECT_OK(run());
}

TEST_F(ValuesTest, EveryElementTypeIsUnderstood) {
  using Type = fb::ElementType;
  // 2 at position 2, as each type has it, and a value that is a little more.
  const struct {
    Type type;
    std::vector<uint8_t> right, wrong;
    const char *said;
  } cases[] = {{Type::f32, {0, 0, 0, 0x40}, {0, 0, 0x20, 0x40}, "is 2.5 at [0]"},
               {Type::f16, {0, 0x40}, {0, 0x41}, "is 2.5 at [0]"},
               {Type::f16, {0, 0x40}, {1, 0}, "is 5.96046447753906e-08 at [0]"},
               {Type::f16, {0, 0x40}, {0, 0xfc}, "is -inf at [0]"},
               {Type::bf16, {0, 0x40}, {0x20, 0x40}, "is 2.5 at [0]"},
               {Type::f64, {0, 0, 0, 0, 0, 0, 0, 0x40}, {0, 0, 0, 0, 0, 0, 4, 0x40}, "is 2.5 at [0]"},
               {Type::i64, {2, 0, 0, 0, 0, 0, 0, 0}, {2, 0, 0, 0, 1, 0, 0, 0}, "is 4294967298 at [0]"},
               {Type::i32, {2, 0, 0, 0}, {254, 255, 255, 255}, "is -2 at [0]"},
               {Type::i16, {2, 0}, {254, 255}, "is -2 at [0]"},
               {Type::i8, {2}, {254}, "is -2 at [0]"},
               {Type::u64, {2, 0, 0, 0, 0, 0, 0, 0}, {2, 0, 0, 0, 1, 0, 0, 0}, "is 4294967298 at [0]"},
               {Type::u32, {2, 0, 0, 0}, {254, 255, 255, 255}, "is 4294967294 at [0]"},
               {Type::u16, {2, 0}, {254, 255}, "is 65534 at [0]"},
               {Type::u8, {2}, {254}, "is 254 at [0]"}};
  const int64_t shape[] = {1};
  for (const auto &c : cases) {
    open({{"held", c.type, {{constant(1)}}, fb::Rule::Equal, kPast}});
    EXPECT_OK(ids({5, 7}));
    EXPECT_OK(run());
    auto set = [&](const std::vector<uint8_t> &data) {
      return edgecc_session_set_input(session.handle(), 1, 1, edgecc_type(c.type), shape, 1, data.data(), nullptr);
    };
    EXPECT_EQ(set(c.wrong), EDGECC_OK);
    EXPECT_SAYS(run(), c.said);
    EXPECT_EQ(set(c.right), EDGECC_OK);
    EXPECT_OK(run());
  }
  open({{"mask", Type::boolean, {kTotal}, fb::Rule::Equal, {constant(1)}}});
  EXPECT_OK(ids({5, 7}));
  const uint8_t mask[] = {255, 0}; // any byte but 0 is true
  const int64_t two[] = {2};
  EXPECT_EQ(edgecc_session_set_input(session.handle(), 1, 1, EDGECC_BOOL, two, 1, mask, nullptr), EDGECC_OK);
  EXPECT_SAYS(run(), "is 0 at [1], but must be 1 there");
}

TEST_F(ValuesTest, ARequiredInputMayHaveARule) {
  ArtifactSpec spec = smallArtifact();
  spec.entries[1].inputs[1].base = {constant(1)};
  const AlignedBytes file(write(spec));
  ASSERT_TRUE(model.openMemory(file.data, file.size));
  ASSERT_TRUE(session.open(model));
  EXPECT_EQ(values(1), "must be 1");
  EXPECT_OK(ids({5, 7}));
  EXPECT_SAYS(run(), "input 'attention_mask' has not been set");
  EXPECT_OK(give<int64_t>("attention_mask", {1, 2}, {1, 0}));
  Status status = run();
  EXPECT_SAYS(status, "input 'attention_mask' is 0 at [0, 1], but must be 1 there");
  EXPECT_FALSE(strstr(status.message(), "leave this input out"));
  EXPECT_OK(give<int64_t>("attention_mask", {1, 2}, {1, 1}));
  EXPECT_OK(run());
  session = Session();
  model = Model();
}

TEST_F(ValuesTest, IdsOutOfRangeAreRefusedWhenTheyAreSet) {
  open({});
  EXPECT_SAYS(ids({5, 300}), "entry 'step': input 'input_ids' is 300 at [0, 1], but it can be 0 to 299");
  EXPECT_SAYS(ids({-1}), "input 'input_ids' is -1 at [0, 0]");
  EXPECT_SAYS(ids({0, 1, INT64_MAX}), "is 9.22337203685478e+18 at [0, 2]");
  EXPECT_OK(ids({299, 0}));
  EXPECT_OK(run());
  EXPECT_SAYS(ids({300}), "can be 0 to 299");
  EXPECT_OK(run()); // what was set before is still set
  int64_t low = 1, high = 1;
  EXPECT_TRUE(edgecc_model_input_range(model.handle(), 1, 0, &low, &high));
  EXPECT_EQ(low, 0);
  EXPECT_EQ(high, 299);
  EXPECT_FALSE(edgecc_model_input_range(model.handle(), 0, 0, &low, &high));
}

} // namespace
