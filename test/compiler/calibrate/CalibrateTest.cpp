//===- CalibrateTest.cpp - What flows through a model, seen from a pass ------===//
#include "compiler/Compiler.h"
#include "compiler/calibrate/HostCalibrator.h"
#include "compiler/calibrate/Segment.h"
#include "dialects/edge/EdgeDialect.h"
#include "mlir/Parser/Parser.h"
#include "passes/calibrate/Statistics.h"
#include "llvm/Support/FileSystem.h"
#include "gtest/gtest.h"

using namespace edgecc;

namespace {

/// Two linear layers around a cache: y = (W1 x, appended, read back) W2.
const char *const kModel = R"(
#x = affine_map<()[s0, s1, s2] -> (1, s0, 16)>
#rows = affine_map<()[s0, s1, s2] -> (1, s0, 1, 16)>
#cache = affine_map<()[s0, s1, s2] -> (1, 1, s2, 16)>
module attributes {edge.symbols = [#edge.symbol<"sequence", 1, 8, free>, #edge.symbol<"past", 0, 63, position>, #edge.symbol<"context", 1, 64, capacity>]} {
  func.func @main(%x: tensor<1x?x16xf32, #x> {edge.name = "x", edge.element = "f32"},
                  %cache: tensor<1x1x?x16xf32, #cache> {edge.name = "cache", edge.element = "f32", edge.state = 0})
      -> (tensor<1x?x16xf32, #x> {edge.name = "y", edge.element = "f32"},
          tensor<1x1x?x16xf32, #cache> {edge.name = "cache", edge.element = "f32", edge.state = 0})
      attributes {edge.advance = affine_map<()[s0, s1, s2] -> (s0)>} {
    %two = edge.weight "two" {value = dense<2.0> : tensor<16x16xf32>} : tensor<16x16xf32>
    %half = edge.weight "half" {value = dense<0.5> : tensor<16x16xf32>} : tensor<16x16xf32>
    %a = edge.linear %x, %two : tensor<1x?x16xf32, #x>, tensor<16x16xf32> -> tensor<1x?x16xf32, #x>
    %heads = edge.reshape %a : tensor<1x?x16xf32, #x> -> tensor<1x?x1x16xf32, #rows>
    %next = edge.append %cache, %heads at affine_map<()[s0, s1, s2] -> (s1)> : tensor<1x1x?x16xf32, #cache>, tensor<1x?x1x16xf32, #rows> -> tensor<1x1x?x16xf32, #cache>
    %b = edge.attention %heads, %next, %next {scale = 1.0 : f32, length = affine_map<()[s0, s1, s2] -> (s0 + s1)>, offset = affine_map<()[s0, s1, s2] -> (s1)>, causal = true, key_heads_first} : tensor<1x?x1x16xf32, #rows>, tensor<1x1x?x16xf32, #cache>, tensor<1x1x?x16xf32, #cache> -> tensor<1x?x1x16xf32, #rows>
    %flat = edge.reshape %b : tensor<1x?x1x16xf32, #rows> -> tensor<1x?x16xf32, #x>
    %y = edge.linear %flat, %half : tensor<1x?x16xf32, #x>, tensor<16x16xf32> -> tensor<1x?x16xf32, #x>
    return %y, %next : tensor<1x?x16xf32, #x>, tensor<1x1x?x16xf32, #cache>
  }
})";

class CalibrateTest : public testing::Test {
protected:
  void SetUp() override {
    mlir::DialectRegistry registry;
    registerDialects(registry);
    context.appendDialectRegistry(registry);
    context.loadAllAvailableDialects();
    module = mlir::parseSourceString<mlir::ModuleOp>(kModel, &context);
    ASSERT_TRUE(module);
    main = module->lookupSymbol<mlir::func::FuncOp>("main");
    linears = llvm::to_vector(main.getOps<edge::LinearOp>());
    // Sample i has i + 2 tokens; element j of token t is j when t = i, else 0.
    for (int64_t i = 0; i < 2; ++i) {
      std::vector<float> x((i + 2) * 16);
      for (int64_t j = 0; j < 16; ++j)
        x[i * 16 + j] = float(j);
      arrays::Array &array = samples.emplace_back()["x"];
      array.shape = {1, i + 2, 16};
      array.bytes.assign(reinterpret_cast<uint8_t *>(x.data()), reinterpret_cast<uint8_t *>(x.data() + x.size()));
    }
  }

  /// All that is observed of `value`, sample after sample.
  static std::vector<float> observe(HostCalibrator &calibrator, mlir::Value value) {
    std::vector<float> seen;
    llvm::Error error = calibrator.observe("test", value, [&](size_t, llvm::ArrayRef<Observed> values) {
      seen.insert(seen.end(), values[0].data.begin(), values[0].data.end());
      return llvm::Error::success();
    });
    EXPECT_EQ(llvm::toString(std::move(error)), "");
    return seen;
  }

  mlir::MLIRContext context;
  mlir::OwningOpRef<mlir::ModuleOp> module;
  mlir::func::FuncOp main;
  llvm::SmallVector<edge::LinearOp> linears;
  std::vector<Sample> samples;
};

TEST_F(CalibrateTest, ObservesArgumentsAndValues) {
  HostCalibrator calibrator(samples, 1, false);
  std::vector<float> x = observe(calibrator, main.getArgument(0));
  ASSERT_EQ(x.size(), 5u * 16);
  EXPECT_EQ(x[3], 3.f);
  EXPECT_EQ(x[(2 + 1) * 16 + 5], 5.f);
  std::vector<float> a = observe(calibrator, linears[0].getResult());
  EXPECT_EQ(a[0], 240.f) << "2 * (0 + 1 + ... + 15) in each channel";
  EXPECT_EQ(a[16], 0.f);
}

TEST_F(CalibrateTest, StartsWhereItWasCut) {
  HostCalibrator calibrator(samples, 2, false);
  std::vector<float> whole = observe(calibrator, linears[1].getResult());
  // In front of the append, between it and its reader, and behind both: rows that were written to a state are written again.
  for (mlir::Operation &op : main.front()) {
    if (!llvm::isa<edge::AppendOp, edge::AttentionOp, edge::LinearOp>(op))
      continue;
    calibrator.restart();
    EXPECT_EQ(llvm::toString(calibrator.advanceTo(&op)), "");
    EXPECT_EQ(observe(calibrator, linears[1].getResult()), whole) << op.getName().getStringRef().str();
  }
}

TEST_F(CalibrateTest, WhatStandsBeforeTheCutIsNotRunAgain) {
  HostCalibrator calibrator(samples, 1, false);
  std::vector<float> whole = observe(calibrator, linears[1].getResult());
  EXPECT_EQ(llvm::toString(calibrator.advanceTo(linears[1])), "");
  linears[0].getWeightMutable().assign(linears[1].getWeight());
  EXPECT_EQ(observe(calibrator, linears[1].getResult()), whole);
  calibrator.restart();
  EXPECT_NE(observe(calibrator, linears[1].getResult()), whole);
}

TEST_F(CalibrateTest, Statistics) {
  HostCalibrator calibrator(samples, 1, false);
  auto statistics = channelStatistics(calibrator, "test", {main.getArgument(0), linears[0].getResult()});
  ASSERT_TRUE(bool(statistics));
  EXPECT_EQ((*statistics)[0].tokens, 5);
  EXPECT_EQ((*statistics)[0].largest[7], 7.f);
  EXPECT_EQ((*statistics)[0].squares[7], 98.0);
  EXPECT_EQ((*statistics)[1].sum[0], 480.0);
  unsigned seen = 0;
  // Room for one matrix: two runs.
  llvm::Error error = secondMoments(calibrator, "test", {main.getArgument(0), linears[0].getResult()}, 1500,
                                    [&](size_t i, const SecondMoment &moment) {
    EXPECT_EQ(moment.tokens, 5);
    EXPECT_EQ(moment.sum(2, 3), i == 0 ? 12.f : 2 * 240.f * 240.f);
    EXPECT_EQ(moment.sum(3, 2), moment.sum(2, 3));
    ++seen;
    return llvm::Error::success();
  });
  EXPECT_EQ(llvm::toString(std::move(error)), "");
  EXPECT_EQ(seen, 2u);
}

/// A folder for results, and what passes ask for.
class RememberTest : public CalibrateTest {
protected:
  void SetUp() override {
    CalibrateTest::SetUp();
    ASSERT_FALSE(llvm::sys::fs::createUniqueDirectory("edgecc-cache", folder));
  }
  void TearDown() override { (void)llvm::sys::fs::remove_directories(folder); }

  /// The sum of all numbers of `value`; `runs` counts the samples that were run for it. Behind a cut at `cut`, if there is one.
  double sum(mlir::Value value, mlir::Operation *cut = nullptr, llvm::StringRef kind = "sum",
             llvm::function_ref<void()> behindCut = [] {}) {
    auto cache = CalibrationCache::open(folder, 1 << 20, [](const llvm::Twine &what) { ADD_FAILURE() << what.str(); });
    EXPECT_TRUE(bool(cache));
    HostCalibrator calibrator(samples, 1, false, &*cache);
    if (cut) {
      EXPECT_EQ(llvm::toString(calibrator.advanceTo(cut)), "");
    }
    behindCut();
    double sum = 0;
    auto add = [&](size_t, llvm::ArrayRef<Observed> values) {
      ++runs;
      for (float number : values[0].data)
        sum += number;
      return llvm::Error::success();
    };
    llvm::Error error = calibrator.gather("test", value, kind, [&](Archive &archive) { archive(sum); }, add);
    EXPECT_EQ(llvm::toString(std::move(error)), "");
    return sum;
  }

  llvm::SmallString<128> folder;
  unsigned runs = 0;
};

TEST_F(RememberTest, TheSameIsNotRunAgain) {
  double seen = sum(linears[1].getResult());
  EXPECT_EQ(runs, 2u);
  EXPECT_EQ(sum(linears[1].getResult()), seen);
  EXPECT_EQ(runs, 2u);
  // Nor in a copy of the module with another name and history: what counts is what is run.
  mlir::OwningOpRef<mlir::ModuleOp> copy = module->clone();
  copy->setName("copy");
  auto function = copy->lookupSymbol<mlir::func::FuncOp>("main");
  EXPECT_EQ(sum((*std::next(function.getOps<edge::LinearOp>().begin())).getResult()), seen);
  EXPECT_EQ(runs, 2u);
}

TEST_F(RememberTest, AnythingElseIs) {
  mlir::Value value = linears[1].getResult();
  sum(value);
  sum(value, nullptr, "another kind");
  EXPECT_EQ(runs, 4u);
  sum(linears[0].getResult());
  EXPECT_EQ(runs, 6u);
  samples[1]["x"].bytes[70] ^= 1;
  sum(value);
  EXPECT_EQ(runs, 8u) << "other numbers";
  samples[1].prompt = 1;
  sum(value);
  EXPECT_EQ(runs, 10u) << "another prompt";
  samples.pop_back();
  sum(value);
  EXPECT_EQ(runs, 11u) << "fewer samples";
  edge::WeightOp weight = linears[0].getWeight().getDefiningOp<edge::WeightOp>();
  weight.setValueAttr(mlir::DenseElementsAttr::get(weight.getType(), 2.5f));
  sum(value);
  EXPECT_EQ(runs, 12u) << "another weight";
}

TEST_F(RememberTest, WeightsInMemoryCountByTheirNumbers) {
  edge::WeightOp weight = linears[0].getWeight().getDefiningOp<edge::WeightOp>();
  auto number = [&](float value) {
    std::vector<float> numbers(256, value);
    weight.setValueAttr(mlir::DenseResourceElementsAttr::get(
        weight.getType(), "w", mlir::HeapAsmResourceBlob::allocateAndCopyInferAlign(llvm::ArrayRef<float>(numbers))));
  };
  number(3);
  double three = sum(linears[1].getResult());
  number(4);
  EXPECT_NE(sum(linears[1].getResult()), three);
  EXPECT_EQ(runs, 4u);
  number(3); // another resource
  EXPECT_EQ(sum(linears[1].getResult()), three);
  EXPECT_EQ(runs, 4u);
}

TEST_F(RememberTest, WhatStandsBeforeTheCutCountsAsItWas) {
  mlir::Value value = linears[1].getResult(), two = linears[0].getWeight(), half = linears[1].getWeight();
  double seen = sum(value, linears[1]);
  auto change = [&] { linears[0].getWeightMutable().assign(half); };
  EXPECT_EQ(sum(value, linears[1], "sum", change), seen);
  EXPECT_EQ(runs, 2u) << "changed behind the cut's back";
  EXPECT_NE(sum(value, linears[1]), seen);
  EXPECT_EQ(runs, 4u) << "changed before";
  linears[0].getWeightMutable().assign(two);
  EXPECT_EQ(sum(value, linears[1], "another kind", change), seen) << "run late, as it was when the cut was made";
}

TEST_F(CalibrateTest, TokensAreKnownWithoutARun) {
  HostCalibrator calibrator(samples, 1, false);
  EXPECT_EQ(calibrator.tokensOf(main.getArgument(0)), 5);
  EXPECT_EQ(calibrator.tokensOf(linears[1].getInput()), 5);
  // A row for each position that there is room for: how many is no input's size.
  EXPECT_EQ(calibrator.tokensOf(main.getArgument(1)), std::nullopt);
  arrays::Array &mask = samples[1]["attention_mask"];
  mask.type = EDGECC_BOOL;
  mask.shape = {1, 3};
  mask.bytes = {1, 1, 0};
  EXPECT_EQ(HostCalibrator(samples, 1, false).tokensOf(linears[0].getResult()), 4) << "one of the second sample's is none";
}

TEST_F(CalibrateTest, FillingDoesNotCount) {
  std::vector<float> data{1, 2, 3, 4, 5, 6, 7, 8};
  std::vector<int64_t> shape{1, 4, 2};
  std::vector<uint8_t> tokens{1, 0, 1, 0};
  RowMatrix rows = tokenRows({shape, data, tokens, {}});
  ASSERT_EQ(rows.rows(), 2);
  EXPECT_EQ(rows(1, 1), 6.f);
}

TEST_F(CalibrateTest, WhatFollowsPromptsCountsAsMuchAsThese) {
  samples[1].prompt = 2; // of 3 tokens; the last one is what the model goes on from
  HostCalibrator calibrator(samples, 1, false);
  std::vector<float> weights;
  SecondMoment moment;
  ChannelStatistics channels;
  Eigen::MatrixXf expected = Eigen::MatrixXf::Zero(16, 16);
  auto add = [&](size_t, llvm::ArrayRef<Observed> seen) {
    for (int64_t i = 0; i < seen[0].rows(); ++i) {
      weights.push_back(seen[0].weight(i));
      Eigen::Map<const Eigen::VectorXf> row(seen[0].row(i).data(), 16);
      expected += weights.back() * row * row.transpose();
    }
    moment.add(seen[0]);
    channels.add(seen[0]);
    return llvm::Error::success();
  };
  ASSERT_FALSE(calibrator.observe("test", linears[1].getInput(), add));
  EXPECT_EQ(weights, (std::vector<float>{5 / 8.f, 5 / 8.f, 5 / 2.f, 5 / 8.f, 5 / 8.f}));
  moment.complete();
  EXPECT_LT((moment.sum - expected).norm(), 1e-5 * expected.norm());
  EXPECT_LT((channels.squares.cast<float>() - expected.diagonal()).norm(), 1e-5 * expected.norm());
}

TEST_F(CalibrateTest, TokensAreChosenByWhatTheyCount) {
  std::vector<float> data{0, 1, 2, 3, 4, 5}, weights{0.5f, 0.5f, 0.5f, 0.5f, 2, 2};
  std::vector<int64_t> shape{1, 6, 1};
  auto chosen = [&](llvm::ArrayRef<float> weights, int64_t count, double shift) {
    RowMatrix rows = someRows({shape, data, {}, weights}, count, shift);
    return std::vector<float>(rows.data(), rows.data() + rows.size());
  };
  EXPECT_EQ(chosen({}, 3, 0), (std::vector<float>{0, 2, 4}));
  EXPECT_EQ(chosen({}, 1, 0.9), (std::vector<float>{5}));
  EXPECT_EQ(chosen({}, 9, 0), data);
  EXPECT_EQ(chosen(weights, 3, 0), (std::vector<float>{0, 4, 5}));
}

TEST_F(CalibrateTest, SaysWhatASampleLacks) {
  samples[1].clear();
  HostCalibrator calibrator(samples, 1, false);
  llvm::Error error =
      calibrator.observe("test", linears[0].getResult(), [](size_t, llvm::ArrayRef<Observed>) { return llvm::Error::success(); });
  EXPECT_EQ(llvm::toString(std::move(error)), "calibration sample 1: there is no array for the model's input 'x'");
}

} // namespace
