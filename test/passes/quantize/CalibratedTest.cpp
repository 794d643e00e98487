//===- CalibratedTest.cpp - Passes that look at samples before they round ----===//
//
// A small decoder with everything that factors and rotations have to get through: grouped heads, a gated MLP, norms with scales,
// a tied head. What a pass promises not to change is compared in floats, by running the model before and after.
//
//===----------------------------------------------------------------------===//
#include "compiler/Compiler.h"
#include "compiler/calibrate/HostCalibrator.h"
#include "mlir/Parser/Parser.h"
#include "mlir/Pass/PassManager.h"
#include "passes/Passes.h"
#include "passes/quantize/ChooseOutliers.h"
#include "passes/quantize/ChoosePrecision.h"
#include "passes/quantize/Ledger.h"
#include "passes/quantize/QuantizeWeights.h"
#include "passes/quantize/ScaleChannels.h"
#include "passes/quantize/Tensors.h"
#include "test/passes/Results.h"
#include "llvm/Support/FormatVariadic.h"
#include "gtest/gtest.h"
#include <random>

using namespace edgecc;

namespace {

constexpr int kWidth = 32, kVocabulary = 64, kHidden = 48;

std::string hex(const std::vector<float> &values) {
  std::string text;
  for (float value : values) {
    uint32_t bits = llvm::bit_cast<uint32_t>(value);
    for (int byte = 0; byte < 4; ++byte)
      text += llvm::formatv("{0:X-2}", bits >> (8 * byte) & 255).str();
  }
  return text;
}

class Text {
public:
  /// Declares a weight [n, k] of normal numbers.
  void weight(const char *name, int n, int k, float deviation) {
    std::vector<float> values(n * k);
    for (float &value : values)
      value = deviation * normal(random);
    body += llvm::formatv("%{0} = edge.weight \"{0}\" {{value = dense<\"0x{3}\"> : tensor<{1}x{2}xf32>} : tensor<{1}x{2}xf32>\n",
                          name, n, k, hex(values));
  }
  /// A norm's scale; channel 5 is large.
  void scale(const char *name) {
    std::vector<float> values(kWidth);
    for (float &value : values)
      value = 1 + 0.3f * normal(random);
    values[5] = 20;
    body += llvm::formatv("%{0} = edge.weight \"{0}\" {{value = dense<\"0x{1}\"> : tensor<{2}xf32>} : tensor<{2}xf32>\n", name,
                          hex(values), kWidth);
  }
  void linear(const char *result, const char *input, int k, int n) {
    body += llvm::formatv(
        "%{0} = edge.linear %{1}, %w{0} : tensor<1x?x{2}xf32, #x{2}>, tensor<{3}x{2}xf32> -> tensor<1x?x{3}xf32, #x{3}>\n",
        result, input, k, n);
  }
  void elementwise(const char *result, const char *a, const char *b, int width, const char *op) {
    body +=
        llvm::formatv("%{0}_ = tensor.empty(%s) : tensor<1x?x{3}xf32, #x{3}>\n"
                      "%{0} = linalg.generic {{indexing_maps = [#id, #id, #id], iterator_types = [\"parallel\", \"parallel\", "
                      "\"parallel\"]} ins(%{1}, %{2} : tensor<1x?x{3}xf32, #x{3}>, tensor<1x?x{3}xf32, #x{3}>) outs(%{0}_ : "
                      "tensor<1x?x{3}xf32, #x{3}>) {{\n^bb0(%lhs: f32, %rhs: f32, %old: f32):\n%both = {4} %lhs, %rhs : "
                      "f32\nlinalg.yield %both : "
                      "f32\n} -> tensor<1x?x{3}xf32, #x{3}>\n",
                      result, a, b, width, op);
  }
  void line(const std::string &text) { body += text + "\n"; }

  std::string body;

private:
  std::mt19937 random{7};
  std::normal_distribution<float> normal;
};

std::string model() {
  Text text;
  text.weight("table", kVocabulary, kWidth, 1);
  text.line("%x0 = edge.embedding %ids, %table : tensor<1x?xi64, #ids>, tensor<64x32xf32> -> tensor<1x?x32xf32, #x32>");
  for (const char *name : {"norm1", "norm2", "norm3"})
    text.scale(name);
  text.weight("wq", 32, 32, 0.2f), text.weight("wk", 16, 32, 0.2f), text.weight("wv", 16, 32, 0.2f),
      text.weight("wo", 32, 32, 0.2f);
  text.weight("wup", kHidden, 32, 0.2f), text.weight("wgate", kHidden, 32, 0.2f), text.weight("wdown", 32, kHidden, 0.2f);
  auto norm = [&](const char *result, const char *input, const char *scale) {
    text.line(
        llvm::formatv("%{0} = edge.rms_norm %{1}, %{2} : tensor<32xf32> {{epsilon = 1.0e-5 : f32} : tensor<1x?x32xf32, #x32> -> "
                      "tensor<1x?x32xf32, #x32>",
                      result, input, scale));
  };
  norm("n1", "x0", "norm1");
  text.linear("q", "n1", 32, 32), text.linear("k", "n1", 32, 16), text.linear("v", "n1", 32, 16);
  text.line("%qh = edge.reshape %q : tensor<1x?x32xf32, #x32> -> tensor<1x?x4x8xf32, #heads4>");
  text.line("%kh = edge.reshape %k : tensor<1x?x16xf32, #x16> -> tensor<1x?x2x8xf32, #heads2>");
  text.line("%vh = edge.reshape %v : tensor<1x?x16xf32, #x16> -> tensor<1x?x2x8xf32, #heads2>");
  text.line(
      "%ah = edge.attention %qh, %kh, %vh {scale = 0.35 : f32, length = #length, offset = #zero, causal = true} : "
      "tensor<1x?x4x8xf32, #heads4>, tensor<1x?x2x8xf32, #heads2>, tensor<1x?x2x8xf32, #heads2> -> tensor<1x?x4x8xf32, #heads4>");
  text.line("%a = edge.reshape %ah : tensor<1x?x4x8xf32, #heads4> -> tensor<1x?x32xf32, #x32>");
  text.linear("o", "a", 32, 32);
  text.elementwise("x1", "x0", "o", 32, "arith.addf");
  norm("n2", "x1", "norm2");
  text.linear("up", "n2", 32, kHidden), text.linear("gate", "n2", 32, kHidden);
  text.elementwise("act", "gate", "gate", kHidden, "arith.maximumf");
  text.elementwise("h", "act", "up", kHidden, "arith.mulf");
  text.linear("down", "h", kHidden, 32);
  text.elementwise("x2", "x1", "down", 32, "arith.addf");
  norm("n3", "x2", "norm3");
  text.line("%y = edge.linear %n3, %table : tensor<1x?x32xf32, #x32>, tensor<64x32xf32> -> tensor<1x?x64xf32, #x64>");
  return R"(
#ids = affine_map<()[s0] -> (1, s0)>
#x16 = affine_map<()[s0] -> (1, s0, 16)>
#x32 = affine_map<()[s0] -> (1, s0, 32)>
#x48 = affine_map<()[s0] -> (1, s0, 48)>
#x64 = affine_map<()[s0] -> (1, s0, 64)>
#heads2 = affine_map<()[s0] -> (1, s0, 2, 8)>
#heads4 = affine_map<()[s0] -> (1, s0, 4, 8)>
#length = affine_map<()[s0] -> (s0)>
#zero = affine_map<() -> (0)>
#id = affine_map<(d0, d1, d2) -> (d0, d1, d2)>
module attributes {edge.symbols = [#edge.symbol<"sequence", 1, 16, free>]} {
  func.func @main(%ids: tensor<1x?xi64, #ids> {edge.name = "ids", edge.element = "i64"})
      -> (tensor<1x?x64xf32, #x64> {edge.name = "logits", edge.element = "f32"}) {
    %s = edge.dim 0
)" + text.body +
         "return %y : tensor<1x?x64xf32, #x64>\n}\n}\n";
}

class CalibratedTest : public testing::Test {
protected:
  void SetUp() override {
    mlir::DialectRegistry registry;
    registerDialects(registry);
    context.appendDialectRegistry(registry);
    context.loadAllAvailableDialects();
    module = mlir::parseSourceString<mlir::ModuleOp>(model(), &context);
    ASSERT_TRUE(module);
    main = module->lookupSymbol<mlir::func::FuncOp>("main");
    std::mt19937 random(3);
    std::vector<Sample> samples;
    for (int i = 0; i < 24; ++i) {
      std::vector<int64_t> ids(16);
      for (int64_t &id : ids)
        id = random() % kVocabulary;
      arrays::Array &array = samples.emplace_back()["ids"];
      array.type = EDGECC_I64;
      array.shape = {1, 16};
      array.bytes.assign(reinterpret_cast<uint8_t *>(ids.data()), reinterpret_cast<uint8_t *>(ids.data() + ids.size()));
    }
    calibrator.emplace(std::move(samples), 1, false);
  }

  /// The logits of all samples.
  std::vector<float> logits() { return firstResults(*calibrator, main); }

  static double difference(const std::vector<float> &a, const std::vector<float> &b) {
    double lost = 0, power = 0;
    for (auto [x, y] : llvm::zip_equal(a, b)) {
      lost += double(x - y) * (x - y);
      power += double(x) * x;
    }
    return std::sqrt(lost / power);
  }

  /// Runs a pass and says what it said, remarks and errors.
  std::string run(std::unique_ptr<mlir::Pass> pass) {
    std::string said;
    mlir::ScopedDiagnosticHandler handler(&context, [&](mlir::Diagnostic &diagnostic) {
      said += diagnostic.str() + "\n";
      return mlir::success();
    });
    mlir::PassManager passes(&context);
    passes.addPass(std::move(pass));
    succeeded = mlir::succeeded(passes.run(*module));
    return said;
  }

  edge::WeightOp weight(llvm::StringRef name) {
    for (auto op : main.getOps<edge::WeightOp>())
      if (op.getName() == name)
        return op;
    return {};
  }

  mlir::MLIRContext context;
  mlir::OwningOpRef<mlir::ModuleOp> module;
  mlir::func::FuncOp main;
  std::optional<HostCalibrator> calibrator;
  bool succeeded = false;
};

TEST_F(CalibratedTest, FactorsAreFoldedExactly) {
  for (const char *algorithm : {"awq", "smoothquant"}) {
    SetUp();
    std::vector<float> before = logits();
    mlir::Attribute scale = weight("norm1").getValue(), value = weight("wv").getValue(), up = weight("wup").getValue();
    std::string said = run(createScaleChannels({algorithm, "w4g16a8", {}}, &*calibrator));
    EXPECT_TRUE(succeeded) << said;
    EXPECT_LT(difference(before, logits()), 1e-5) << algorithm;
    EXPECT_NE(weight("norm1").getValue(), scale) << "the norm takes the factors of q, k and v\n" << said;
    if (llvm::StringRef(algorithm) == "awq") {
      EXPECT_NE(weight("wv").getValue(), value);
      EXPECT_NE(weight("wup").getValue(), up);
    }
    EXPECT_NE(said.find("its input is not scaled: its weight has other readers"), std::string::npos) << "the head is tied\n"
                                                                                                     << said;
  }
}

TEST_F(CalibratedTest, ScaledChannelsLoseLess) {
  std::vector<float> before = logits();
  // The same rounding on both sides: what is compared is the factors.
  run(createQuantizeWeights({"w4g16", {}, "weighted"}, nullptr, &*calibrator));
  ASSERT_TRUE(succeeded);
  double without = difference(before, logits());
  SetUp();
  run(createScaleChannels({"awq", "w4g16", {"table=none"}}, &*calibrator));
  run(createQuantizeWeights({"w4g16", {}, "weighted"}, nullptr, &*calibrator));
  EXPECT_TRUE(succeeded);
  EXPECT_LT(difference(before, logits()), without);
}

TEST_F(CalibratedTest, RotationIsExact) {
  std::vector<float> before = logits();
  std::string said = run(createRotateResidual());
  EXPECT_TRUE(succeeded) << said;
  EXPECT_LT(difference(before, logits()), 1e-5);
  EXPECT_NE(said.find("the residual stream of 32 channels is rotated: 2 layers write to it, 6 read it"), std::string::npos)
      << said;
  EXPECT_NE(said.find("weight 'table' was a table as well, and is stored twice now"), std::string::npos) << said;
  auto ones = mlir::cast<mlir::DenseElementsAttr>(weight("norm1").getValue());
  EXPECT_TRUE(ones.isSplat());
  EXPECT_TRUE(weight("table.head"));
}

TEST_F(CalibratedTest, FeedbackLosesLess) {
  std::vector<float> before = logits();
  run(createQuantizeWeights({"w4g16", {}, "nearest"}, nullptr, nullptr));
  double nearest = difference(before, logits());
  SetUp();
  std::string said = run(createQuantizeWeights({"w4g16", {}, "feedback"}, nullptr, &*calibrator));
  ASSERT_TRUE(succeeded) << said;
  EXPECT_LT(difference(before, logits()), 0.8 * nearest);
  std::vector<LedgerEntry> ledger = readLedger(*module);
  EXPECT_EQ(ledger.size(), 8u);
  for (LedgerEntry &entry : ledger) {
    EXPECT_LT(entry.figures["output_error"], entry.figures["output_error_nearest"]) << entry.weight;
    EXPECT_GT(entry.figures["output_error"], 0) << entry.weight;
  }
}

TEST_F(CalibratedTest, LargeChannelsStayFloats) {
  std::vector<float> before = logits();
  run(createQuantizeWeights({"w8a8", {}, "nearest"}, nullptr, nullptr));
  double nearest = difference(before, logits());
  SetUp();
  std::string said = run(createChooseOutliers({"w8a8", {}, 12, 0}, &*calibrator));
  ASSERT_TRUE(succeeded) << said;
  auto linear = *main.getOps<edge::LinearOp>().begin();
  auto outliers = linear->getAttrOfType<mlir::DenseI32ArrayAttr>("edge.outliers");
  ASSERT_TRUE(outliers) << said;
  EXPECT_TRUE(llvm::is_contained(outliers.asArrayRef(), 5)) << "the channel whose norm's scale is 20";
  EXPECT_LE(outliers.size(), 8) << "of 32: the others are not large";
  run(createQuantizeWeights({"w8a8", {}, "nearest"}, nullptr, nullptr));
  EXPECT_LT(difference(before, logits()), 0.7 * nearest);
}

TEST_F(CalibratedTest, BytesGoWhereTheyMatter) {
  int64_t weights = 64 * 32 + 32 * 32 + 2 * 16 * 32 + 32 * 32 + 3 * 48 * 32, others = 3 * 32 * 4;
  int64_t small = weights * (0.5 + 2 / 16.0) + others, budget = small + weights / 8;
  std::string said = run(createChoosePrecision({{"w4g16", "w8g16"}, budget, 0, 0}, &*calibrator, nullptr, "x86-64"));
  ASSERT_TRUE(succeeded) << said;
  int chosen[2] = {};
  std::vector<float> before = logits();
  for (auto linear : main.getOps<edge::LinearOp>())
    ++chosen[linear->getAttrOfType<mlir::StringAttr>("edge.scheme") == "w8g16"];
  EXPECT_GT(chosen[0], 0) << said;
  EXPECT_GT(chosen[1], 0) << said;
  run(createQuantizeWeights({"none", {}, "nearest"}, nullptr, nullptr));
  int64_t bytes = others;
  for (const LedgerEntry &entry : readLedger(*module)) {
    bytes += entry.after;
    EXPECT_GT(entry.figures.at("divergence"), 0) << entry.weight;
  }
  EXPECT_LE(bytes, budget);
  EXPECT_GT(bytes, small);
}

TEST_F(CalibratedTest, BudgetsThatCannotBeKept) {
  std::string said = run(createChoosePrecision({{"w4g16", "w8g16"}, 1000, 0, 0}, &*calibrator, nullptr, "x86-64"));
  EXPECT_FALSE(succeeded);
  EXPECT_NE(said.find("1000 bytes cannot be reached: with the smallest of the schemes for each weight it is "), std::string::npos)
      << said;
  said = run(createChoosePrecision({{"w4g16", "w8g16"}, 0, 4, 0}, &*calibrator, nullptr, "x86-64"));
  EXPECT_NE(said.find("4.00 bits of a weight cannot be reached: with the smallest of the schemes it is 5.000"), std::string::npos)
      << said;
  said = run(createChoosePrecision({{"w4g16", "w8g16"}, 0, 0, 1e-9}, &*calibrator, nullptr, "x86-64"));
  EXPECT_NE(said.find("cannot be reached: with the best of the schemes for each weight it is"), std::string::npos) << said;
}

TEST_F(CalibratedTest, SamplesAreNeeded) {
  EXPECT_NE(run(createQuantizeWeights({"w4g16", {}, "feedback"}, nullptr, nullptr)).find("needs samples"), std::string::npos);
  EXPECT_NE(run(createScaleChannels({"awq", "w4g16", {}}, nullptr)).find("needs samples"), std::string::npos);
  std::vector<Sample> one(1);
  std::vector<int64_t> ids(16, 1);
  one[0]["ids"].type = EDGECC_I64;
  one[0]["ids"].shape = {1, 16};
  one[0]["ids"].bytes.assign(reinterpret_cast<uint8_t *>(ids.data()), reinterpret_cast<uint8_t *>(ids.data() + ids.size()));
  HostCalibrator few(one, 1, false);
  std::string said = run(createQuantizeWeights({"w4g16", {}, "feedback"}, nullptr, &few));
  EXPECT_FALSE(succeeded);
  EXPECT_NE(
      said.find("weight 'wdown': the samples have 16 tokens, which say too little of its 48 inputs; give at least 48 tokens"),
      std::string::npos)
      << said;
}

} // namespace
