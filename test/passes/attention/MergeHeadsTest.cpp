//===- MergeHeadsTest.cpp - Attention with other heads is the same attention ===//
#include "compiler/Compiler.h"
#include "compiler/calibrate/HostCalibrator.h"
#include "dialects/edge/EdgeDialect.h"
#include "mlir/IR/Verifier.h"
#include "mlir/Parser/Parser.h"
#include "passes/attention/MergeLayer.h"
#include "test/passes/Results.h"
#include "gtest/gtest.h"
#include <random>

using namespace edgecc;

namespace {

constexpr int64_t kWidth = 24, kHeads = 4, kDim = 6, kTokens = 40;

/// What stands between the projections and the attention.
struct Kind {
  const char *name;
  int64_t half; ///< channels that are rotated, in pairs; 0: none
  bool isInterleaved, isNormalized, hasBias;
  const char *attributes;     ///< of the attention
  bool hasOutputNorm = false; ///< in front of Wo
};

const Kind kKinds[] = {
    {"plain", 0, false, false, false, "causal = true"},
    {"biased", 0, false, false, true, "causal = true, softcap = 2.0 : f32"},
    {"halves", 3, false, false, false, "causal = true"},
    {"interleaved", 3, true, false, true, "causal = true, window = 7 : i64"},
    {"partial", 2, false, false, false, "causal = true"},
    {"normalized", 3, false, true, false, "causal = true"},
    {"normalizedBehind", 3, false, false, true, "causal = true", true},
};

std::string numbers(const std::vector<float> &values, int64_t columns) {
  std::string text = "dense<[";
  for (size_t i = 0; i < values.size(); ++i) {
    char number[32];
    snprintf(number, sizeof number, "%.9e", values[i]);
    bool begins = columns && i % columns == 0, ends = columns && (i + 1) % columns == 0;
    text += std::string(i ? ", " : "") + (begins ? "[" : "") + number + (ends ? "]" : "");
  }
  return text + "]>";
}

class MergeHeadsTest : public testing::TestWithParam<Kind> {
protected:
  std::vector<float> random(int64_t count, float size) {
    std::vector<float> values(count);
    for (float &value : values)
      value = size * (float(generator() % 2001) / 1000.f - 1.f);
    return values;
  }

  void SetUp() override {
    mlir::DialectRegistry registry;
    registerDialects(registry);
    context.appendDialectRegistry(registry);
    context.loadAllAvailableDialects();
    for (const char *name : {"q", "k", "v", "o"})
      matrices[name] = random(kWidth * kHeads * kDim, 0.5f);
    for (int64_t i = 0; i < 4; ++i) {
      arrays::Array &array = samples.emplace_back()["x"];
      std::vector<float> x = random(kTokens * kWidth, 1);
      array.shape = {1, kTokens, kWidth};
      array.bytes.assign(reinterpret_cast<uint8_t *>(x.data()), reinterpret_cast<uint8_t *>(x.data() + x.size()));
    }
  }

  /// y = o(attention(q(x), cache of k(x), cache of v(x))).
  void build() {
    const Kind &kind = GetParam();
    std::string text = R"(
#x = affine_map<()[s0, s1, s2] -> (1, s0, 24)>
#h = affine_map<()[s0, s1, s2] -> (1, s0, 4, 6)>
#c = affine_map<()[s0, s1, s2] -> (1, 4, s2, 6)>
#a = affine_map<()[s0, s1, s2] -> (1, s0, HALF)>
#id = affine_map<(d0, d1, d2) -> (d0, d1, d2)>
#channel = affine_map<(d0, d1, d2) -> (d2)>
#at = affine_map<()[s0, s1, s2] -> (s1)>
module attributes {edge.symbols = [#edge.symbol<"sequence", 1, 64, free>, #edge.symbol<"past", 0, 63, position>, #edge.symbol<"context", 1, 64, capacity>]} {
  func.func @main(%x: tensor<1x?x24xf32, #x> {edge.name = "x", edge.element = "f32"},
                  %kc: tensor<1x4x?x6xf32, #c> {edge.name = "past.key", edge.element = "f32", edge.state = 0},
                  %vc: tensor<1x4x?x6xf32, #c> {edge.name = "past.value", edge.element = "f32", edge.state = 1})
      -> (tensor<1x?x24xf32, #x> {edge.name = "y", edge.element = "f32"},
          tensor<1x4x?x6xf32, #c> {edge.name = "past.key", edge.element = "f32", edge.state = 0},
          tensor<1x4x?x6xf32, #c> {edge.name = "past.value", edge.element = "f32", edge.state = 1})
      attributes {edge.advance = affine_map<()[s0, s1, s2] -> (s0)>} {
    %n = edge.dim 0
    %empty = tensor.empty(%n) : tensor<1x?x24xf32, #x>
)";
    std::string half = std::to_string(kind.half);
    text.replace(text.find("HALF"), 4, half);
    if (kind.half) {
      std::string type = "tensor<1x?x" + half + "xf32, #a>";
      text += "%e = tensor.empty(%n) : " + type + "\n";
      for (const char *function : {"cos", "sin"})
        text += std::string("%") + function + " = linalg.generic {indexing_maps = [#id], iterator_types = [\"parallel\", " +
                "\"parallel\", \"parallel\"]} outs(%e : " + type + R"() {
    ^bb0(%out: f32):
      %i = linalg.index 1 : index
      %j = linalg.index 2 : index
      %one = arith.constant 1 : index
      %j1 = arith.addi %j, %one : index
      %p = arith.muli %i, %j1 : index
      %pi = arith.index_cast %p : index to i32
      %pf = arith.sitofp %pi : i32 to f32
      %z = math.)" +
                function + " %pf : f32\n linalg.yield %z : f32\n} -> " + type + "\n";
    }
    for (const char *part : {"q", "k", "v"}) {
      std::string name = part, last = "%" + name + "0";
      text += "%w" + name + " = edge.weight \"w" + name + "\" {value = " + numbers(matrices[part], kWidth) +
              " : tensor<24x24xf32>} : tensor<24x24xf32>\n";
      text += last + " = edge.linear %x, %w" + name + " : tensor<1x?x24xf32, #x>, tensor<24x24xf32> -> tensor<1x?x24xf32, #x>\n";
      if (kind.hasBias) {
        text += "%b" + name + " = edge.weight \"b" + name +
                "\" {value = " + numbers(biases.count(name) ? biases[name] : random(kWidth, 0.5f), 0) +
                " : tensor<24xf32>} : tensor<24xf32>\n";
        text += "%" + name +
                "1 = linalg.generic {indexing_maps = [#id, #channel, #id], iterator_types = [\"parallel\", \"parallel\", " +
                "\"parallel\"]} ins(" + last + ", %b" + name +
                " : tensor<1x?x24xf32, #x>, tensor<24xf32>) outs(%empty : tensor<1x?x24xf32, #x>) {\n" +
                "^bb0(%in: f32, %bias: f32, %out: f32):\n%s = arith.addf %in, %bias : f32\nlinalg.yield %s : f32\n} -> "
                "tensor<1x?x24xf32, #x>\n";
        last = "%" + name + "1";
      }
      text += "%" + name + "2 = edge.reshape " + last + " : tensor<1x?x24xf32, #x> -> tensor<1x?x4x6xf32, #h>\n";
      last = "%" + name + "2";
      if (kind.isNormalized && name != "v") {
        text += "%s" + name + " = edge.weight \"s" + name + "\" {value = " + numbers(random(kDim, 1), 0) +
                " : tensor<6xf32>} : tensor<6xf32>\n";
        text += "%" + name + "3 = edge.rms_norm " + last + ", %s" + name +
                " : tensor<6xf32> {epsilon = 1.0e-5 : f32} : tensor<1x?x4x6xf32, #h> -> tensor<1x?x4x6xf32, #h>\n";
        last = "%" + name + "3";
      }
      if (kind.half && name != "v") {
        text += "%" + name + "4 = edge.rope " + last + ", %cos, %sin" + (kind.isInterleaved ? " {interleaved}" : "") +
                " : tensor<1x?x4x6xf32, #h>, tensor<1x?x" + half + "xf32, #a> -> tensor<1x?x4x6xf32, #h>\n";
        last = "%" + name + "4";
      }
      if (name == "q")
        query = last;
      else
        text += "%" + name + "n = edge.append %" + name + "c, " + last +
                " at #at : tensor<1x4x?x6xf32, #c>, tensor<1x?x4x6xf32, #h> -> tensor<1x4x?x6xf32, #c>\n";
    }
    text += "%z = edge.attention " + query + ", %kn, %vn {scale = 0.7 : f32, length = affine_map<()[s0, s1, s2] -> (s0 + s1)>, " +
            "offset = #at, key_heads_first, " + kind.attributes +
            "} : tensor<1x?x4x6xf32, #h>, tensor<1x4x?x6xf32, #c>, tensor<1x4x?x6xf32, #c> -> tensor<1x?x4x6xf32, #h>\n" +
            "%flat = edge.reshape %z : tensor<1x?x4x6xf32, #h> -> tensor<1x?x24xf32, #x>\n";
    if (kind.hasOutputNorm)
      text += "%so = edge.weight \"so\" {value = " + numbers(random(kWidth, 1), 0) + " : tensor<24xf32>} : tensor<24xf32>\n" +
              "%read = edge.rms_norm %flat, %so : tensor<24xf32> {epsilon = 1.0e-5 : f32} : tensor<1x?x24xf32, #x> -> "
              "tensor<1x?x24xf32, #x>\n";
    text += "%wo = edge.weight \"wo\" {value = " + numbers(matrices["o"], kWidth) +
            " : tensor<24x24xf32>} : tensor<24x24xf32>\n" + "%y = edge.linear " + (kind.hasOutputNorm ? "%read" : "%flat") +
            ", %wo : tensor<1x?x24xf32, #x>, tensor<24x24xf32> -> tensor<1x?x24xf32, #x>\n" +
            "return %y, %kn, %vn : tensor<1x?x24xf32, #x>, tensor<1x4x?x6xf32, #c>, tensor<1x4x?x6xf32, #c>\n}\n}";
    module = mlir::parseSourceString<mlir::ModuleOp>(text, &context);
    ASSERT_TRUE(module) << text;
    main = module->lookupSymbol<mlir::func::FuncOp>("main");
    calibrator = std::make_unique<HostCalibrator>(samples, 1, false);
  }

  AttentionBlock block() {
    auto found = findAttentionBlock(*main.getOps<edge::AttentionOp>().begin());
    if (found)
      return *found;
    ADD_FAILURE() << llvm::toString(found.takeError());
    std::abort();
  }

  BlockWeights weights() { return readWeights(block()); }

  /// The model's output on all samples, run from the beginning.
  Eigen::VectorXf run() {
    calibrator->restart();
    std::vector<float> seen = firstResults(*calibrator, main);
    return Eigen::Map<Eigen::VectorXf>(seen.data(), seen.size());
  }

  BlockSamples sample() {
    auto sampled = sampleBlock(*calibrator, block(), "test");
    if (sampled)
      return std::move(*sampled);
    ADD_FAILURE() << llvm::toString(sampled.takeError());
    return {};
  }

  void rebuild(const BlockWeights &weights) {
    auto rebuilt = rebuildBlock(block(), weights);
    EXPECT_EQ(rebuilt ? "" : llvm::toString(rebuilt.takeError()), "");
    EXPECT_TRUE(succeeded(mlir::verify(*module)));
  }

  std::mt19937 generator{1};
  std::map<std::string, std::vector<float>> matrices, biases;
  std::string query;
  mlir::MLIRContext context;
  mlir::OwningOpRef<mlir::ModuleOp> module;
  mlir::func::FuncOp main;
  std::unique_ptr<HostCalibrator> calibrator;
  std::vector<Sample> samples;
};

TEST_P(MergeHeadsTest, ABuiltBlockIsTheSame) {
  build();
  Eigen::VectorXf before = run();
  rebuild(weights());
  // A scale behind the heads is in Wo then, whose products are rounded otherwise.
  EXPECT_LE((run() - before).norm(), GetParam().hasOutputNorm ? 1e-6 * before.norm() : 0);
}

TEST_P(MergeHeadsTest, TheFunctionIsWhatTheModelComputes) {
  build();
  BlockSamples samples = sample();
  auto function = BlockFunction::of(block());
  ASSERT_TRUE(bool(function));
  EXPECT_LT(function->error(weights(), samples), 1e-5);
}

TEST_P(MergeHeadsTest, AlignmentAloneChangesNothing) {
  build();
  Eigen::VectorXf before = run();
  BlockSamples samples = sample();
  BlockWeights weights = this->weights();
  HeadMerger merger(block(), weights, samples.inputs);
  BlockWeights aligned = merger.align({{0, 2}, {1, 3}});
  EXPECT_GT((aligned.value - weights.value).norm(), 0.1 * weights.value.norm());
  if (GetParam().hasOutputNorm)
    // What turns values is not turned back behind a norm: they are what they were, in the order of the groups.
    for (auto [i, head] : {std::pair(0, 0), {1, 2}, {2, 1}, {3, 3}}) {
      aligned.value.middleRows(i * kDim, kDim) = weights.value.middleRows(head * kDim, kDim);
      aligned.valueBias.segment(i * kDim, kDim) = weights.valueBias.segment(head * kDim, kDim);
      aligned.output.middleCols(i * kDim, kDim) = weights.output.middleCols(head * kDim, kDim);
    }
  rebuild(aligned);
  EXPECT_LT((run() - before).norm(), 1e-4 * before.norm());
}

TEST_P(MergeHeadsTest, EqualHeadsAreFolded) {
  // Heads 2 and 3 are 0 and 1 but for what their kind lets through.
  auto copy = [&](const char *name, int64_t to, int64_t from, auto &&number) {
    std::vector<float> &m = matrices[name];
    for (int64_t i = 0; i < kDim; ++i)
      for (int64_t j = 0; j < kWidth; ++j)
        m[(to * kDim + i) * kWidth + j] = number(i, [&](int64_t row) { return m[(from * kDim + row) * kWidth + j]; });
  };
  bool scales = !GetParam().isNormalized && !GetParam().hasBias;
  for (int64_t head : {0, 1}) {
    copy("k", head + 2, head, [&](int64_t i, auto row) { return scales ? -3 * row(i) : row(i); });
    copy("v", head + 2, head, [&](int64_t i, auto row) {
      return GetParam().hasBias || GetParam().hasOutputNorm ? row(i) : row(i) + 2 * row((i + 1) % kDim);
    });
  }
  for (const char *name : {"k", "v"}) {
    biases[name] = random(kWidth, 0.5f);
    std::copy_n(biases[name].begin(), 2 * kDim, biases[name].begin() + 2 * kDim);
  }
  build();
  Eigen::VectorXf before = run();
  std::string why;
  auto folded = foldEqualHeads(block(), weights(), std::ldexp(1.0, -23), why);
  ASSERT_TRUE(folded.has_value()) << why;
  rebuild(*folded);
  EXPECT_EQ(block().key.heads, 2);
  EXPECT_EQ(llvm::cast<mlir::RankedTensorType>(main.getArgument(1).getType()).getDimSize(1), 2);
  EXPECT_LT((run() - before).norm(), 1e-5 * before.norm());
}

TEST_P(MergeHeadsTest, EachStepLosesLess) {
  build();
  BlockSamples samples = sample();
  double last = 1e9;
  for (Merge how : {Merge::Group, Merge::Align, Merge::Solve, Merge::Fit}) {
    if (how == Merge::Align && GetParam().isNormalized)
      continue; // Nothing can be turned behind a norm.
    auto merged = mergeLayer(block(), samples, 2, how, 100);
    ASSERT_TRUE(bool(merged)) << llvm::toString(merged.takeError());
    EXPECT_LT(merged->error, last) << int(how);
    last = merged->error;
  }
  auto merged = mergeLayer(block(), samples, 2, Merge::Fit, 100);
  ASSERT_TRUE(bool(merged));
  rebuild(merged->weights);
  Eigen::VectorXf now = run(), target = Eigen::Map<Eigen::VectorXf>(samples.targets.data(), samples.targets.size());
  EXPECT_NEAR((now - target).norm() / target.norm(), merged->error, 1e-4);
}

TEST_P(MergeHeadsTest, WhatCountsMoreIsFittedBetter) {
  build();
  BlockSamples alike = sample(), weighted = alike;
  EXPECT_TRUE((alike.weights.array() == 1).all());
  for (auto [first, length] : weighted.sequences) {
    weighted.weights.segment(first, length / 2).setConstant(0.05f);
    weighted.weights.segment(first + length / 2, length - length / 2).setConstant(1.95f);
  }
  auto function = BlockFunction::of(block());
  ASSERT_TRUE(bool(function));
  for (Merge how : {Merge::Solve, Merge::Fit}) {
    auto forAll = mergeLayer(block(), alike, 2, how, 100), forSome = mergeLayer(block(), weighted, 2, how, 100);
    ASSERT_TRUE(forAll && forSome);
    EXPECT_LT(forSome->error, 0.99 * function->error(forAll->weights, weighted)) << int(how);
    EXPECT_NEAR(forSome->error, function->error(forSome->weights, weighted), 1e-4);
  }
}

INSTANTIATE_TEST_SUITE_P(Kinds, MergeHeadsTest, testing::ValuesIn(kKinds),
                         [](const auto &info) { return std::string(info.param.name); });

} // namespace
