//===- JoinPlansTest.cpp - The plans of all CPU variants become one -----------===//
#include "compiler/package/JoinPlans.h"
#include "dialects/edge/EdgeDialect.h"
#include "mlir/Parser/Parser.h"
#include "gtest/gtest.h"

using namespace edgecc;

namespace {

const char *const kPlan = R"(
module attributes {edge.symbols = [#edge.symbol<"n", 1, 8, free>, #edge.symbol<"past", 0, 63, position>, #edge.symbol<"context", 1, 64, capacity>]} {
  plan.model "m" attributes {facts = {answer = 42 : i64}, layers = 2 : i64} {
    plan.state "cache" : "f32" affine_map<()[s0, s1, s2] -> (s2, 16)>
    plan.weight "a" at 0 bytes 16 {value = dense<1.0> : tensor<4xf32>}
    plan.weight "b" at 64 bytes 16 {value = dense<2.0> : tensor<4xf32>}
    plan.exit after 1 "margin" at_least 5.000000e-01
    plan.entry "prefill" function @prefill arena 640 advance affine_map<()[s0, s1, s2] -> (s0)> {
      plan.tensor "x" : "f32" affine_map<()[s0, s1, s2] -> (s0, 4)>
      plan.tensor output "y" : "f32" affine_map<()[s0, s1, s2] -> (s0, 4)>
      plan.step @loops.task tasks affine_map<()[s0, s1, s2] -> (s0)> [#plan.place<arena 64>]
    }
    plan.entry "decode" function @decode arena 128 advance affine_map<()[s0, s1, s2] -> (1)> {
      plan.tensor "x" : "f32" affine_map<()[s0, s1, s2] -> (1, 4)>
      plan.leave 0 if #plan.place<arena 64> {
        plan.step @loops.task tasks affine_map<()[s0, s1, s2] -> (1)> [#plan.place<arena 0>]
      }
    }
    plan.entry "fill" function @fill arena 0 resumes 0 fills {}
  }
})";

class JoinPlansTest : public testing::Test {
protected:
  void SetUp() override {
    context.loadDialect<edge::EdgeDialect, plan::PlanDialect>();
    names[0].name = "old", names[1].name = "new";
    images[0].variant = &names[0], images[1].variant = &names[1];
    first = parse(kPlan);
  }

  mlir::OwningOpRef<mlir::ModuleOp> parse(std::string text) {
    auto module = mlir::parseSourceString<mlir::ModuleOp>(text, &context);
    EXPECT_TRUE(module) << text;
    return module;
  }

  /// The plan where `from` is replaced, everywhere.
  static std::string changed(llvm::StringRef from, llvm::StringRef to) {
    std::string text = kPlan;
    size_t at = text.find(from.str());
    EXPECT_NE(at, std::string::npos) << from.str();
    for (; at != std::string::npos; at = text.find(from.str(), at + to.size()))
      text.replace(at, from.size(), to.str());
    return text;
  }

  /// What is said when the second variant's plan is `text`; empty if the two join.
  std::string complaint(const std::string &text) {
    auto other = parse(text);
    auto joined = joinPlans({*first, *other}, images);
    return joined ? "" : llvm::toString(joined.takeError());
  }

  mlir::MLIRContext context;
  Variant names[2];
  CodeImage images[2];
  mlir::OwningOpRef<mlir::ModuleOp> first;
};

TEST_F(JoinPlansTest, TheLargestArenaOfEachEntryIsTaken) {
  std::string text = changed("arena 640", "arena 64");
  text.replace(text.find("arena 128"), 9, "arena 960");
  auto other = parse(text);
  auto joined = joinPlans({*first, *other}, images);
  ASSERT_TRUE(bool(joined)) << llvm::toString(joined.takeError());
  std::vector<int64_t> arenas;
  for (plan::EntryOp entry : joined->getBody().getOps<plan::EntryOp>())
    arenas.push_back(entry.getArena());
  EXPECT_EQ(arenas, (std::vector<int64_t>{640, 960, 0}));
}

TEST_F(JoinPlansTest, StepsAndPlacesInTheArenaMayDiffer) {
  EXPECT_EQ(complaint(changed("plan.step @loops.task tasks affine_map<()[s0, s1, s2] -> (s0)> [#plan.place<arena 64>]", "")), "");
  EXPECT_EQ(complaint(changed("if #plan.place<arena 64>", "if #plan.place<arena 0>")), "");
}

TEST_F(JoinPlansTest, EverythingElseIsRefused) {
  const struct {
    const char *from, *to, *where;
  } cases[] = {
      {"\"n\", 1, 8", "\"n\", 1, 9", "the symbols"},
      {"answer = 42", "answer = 43", "the model's name, facts or layers"},
      {"plan.state \"cache\" : \"f32\"", "plan.state \"cache\" : \"f16\"", "state 'cache'"},
      {"plan.weight \"b\" at 64", "plan.weight \"b\" at 128", "weight 'b' at 64"},
      {"dense<2.0>", "dense<3.0>", "weight 'b' at 64"},
      {"plan.weight \"b\" at 64 bytes 16 {value = dense<2.0> : tensor<4xf32>}", "", "weight 'b' at 64"},
      {"plan.weight \"a\"", "plan.weight \"c\"", "weight 'a' at 0"},
      {"at_least 5.000000e-01", "at_least 6.000000e-01", "the exit after layer 1"},
      {"function @decode", "function @other", "entry 'decode'"},
      {"advance affine_map<()[s0, s1, s2] -> (1)>", "advance affine_map<()[s0, s1, s2] -> (2)>", "entry 'decode'"},
      {"resumes 0 fills", "resumes 1 fills", "entry 'fill'"},
      {"resumes 0 fills", "resumes 0", "entry 'fill'"},
      {"plan.tensor output \"y\" : \"f32\"", "plan.tensor output \"y\" : \"f16\"", "tensor 'y' of entry 'prefill'"},
      {"plan.entry \"fill\" function @fill arena 0 resumes 0 fills {}", "", "entry 'fill', which only one of them has"},
  };
  for (const auto &[from, to, where] : cases)
    EXPECT_EQ(complaint(changed(from, to)),
              std::string("the memory plans of the variants 'old' and 'new' disagree at ") + where +
                  "; they may differ in code, steps and arenas only, so this is a bug in edgecc (--variant makes a file for one "
                  "of them)")
        << from;
}

TEST_F(JoinPlansTest, EveryImageHasAPlan) {
  auto joined = joinPlans({*first}, images);
  ASSERT_FALSE(bool(joined));
  EXPECT_EQ(llvm::toString(joined.takeError()), "there are 1 memory plans for 2 code images; this is a bug in edgecc");
}

} // namespace
