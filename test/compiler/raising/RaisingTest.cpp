//===- RaisingTest.cpp - Raised layers are compared with their nodes ----------===//
#include "compiler/Compiler.h"
#include "compiler/raising/HostRaiseChecker.h"
#include "dialects/edge/EdgeDialect.h"
#include "dialects/onnx/OnnxDialect.h"
#include "mlir/IR/Diagnostics.h"
#include "mlir/Parser/Parser.h"
#include "mlir/Pass/PassManager.h"
#include "passes/Pipeline.h"
#include "gtest/gtest.h"

using namespace edgecc;

namespace {

/// softmax(q k^T + mask) v with two sequences and a mask that the graph computes from sizes: a query sees keys up to itself.
const char *const kAttention = R"(
func.func @main(%x: tensor<?x2x?x8xf32> {onnx.name = "x", onnx.dims = ["batch", "", "sequence", ""]}) -> (tensor<*xf32> {onnx.name = "y"}) {
  %zero = onnx.constant {name = "zero", value = dense<0> : tensor<i64>} : tensor<i64>
  %one = onnx.constant {name = "one", value = dense<1> : tensor<i64>} : tensor<i64>
  %column = onnx.constant {name = "column", value = dense<1> : tensor<1xi64>} : tensor<1xi64>
  %hidden = onnx.constant {name = "hidden", value = dense<-3.40282347E+38> : tensor<f32>} : tensor<f32>
  %0 = onnx.node "Shape"(%x) {name = "size", version = 17 : i64, params = {start = 2 : i64, end = 3 : i64}} : (tensor<?x2x?x8xf32>) -> tensor<*xi64>
  %1 = onnx.node "Squeeze"(%0) {name = "n", version = 17 : i64} : (tensor<*xi64>) -> tensor<*xi64>
  %2 = onnx.node "Range"(%zero, %1, %one) {name = "positions", version = 17 : i64} : (tensor<i64>, tensor<*xi64>, tensor<i64>) -> tensor<*xi64>
  %3 = onnx.node "Unsqueeze"(%2, %column) {name = "rows", version = 17 : i64} : (tensor<*xi64>, tensor<1xi64>) -> tensor<*xi64>
  %4 = onnx.node "LessOrEqual"(%2, %3) {name = "visible", version = 17 : i64} : (tensor<*xi64>, tensor<*xi64>) -> tensor<*xi1>
  %5 = onnx.node "Transpose"(%x) {name = "k_t", version = 17 : i64, params = {perm = array<i64: 0, 1, 3, 2>}} : (tensor<?x2x?x8xf32>) -> tensor<*xf32>
  %6 = onnx.node "MatMul"(%x, %5) {name = "qk", version = 17 : i64} : (tensor<?x2x?x8xf32>, tensor<*xf32>) -> tensor<*xf32>
  %7 = onnx.node "Where"(%4, %6, %hidden) {name = "masked", version = 17 : i64} : (tensor<*xi1>, tensor<*xf32>, tensor<f32>) -> tensor<*xf32>
  %8 = onnx.node "Softmax"(%7) {name = "softmax", version = 17 : i64, params = {axis = -1 : i64}} : (tensor<*xf32>) -> tensor<*xf32>
  %9 = onnx.node "MatMul"(%8, %x) {name = "pv", version = 17 : i64} : (tensor<*xf32>, tensor<?x2x?x8xf32>) -> tensor<*xf32>
  return %9 : tensor<*xf32>
})";

/// Rows joined to a cache.
const char *const kCache = R"(
func.func @main(%q: tensor<?x?x2x8xf32> {onnx.name = "input_ids", onnx.dims = ["batch", "sequence", "", ""]},
                %pk: tensor<?x2x?x8xf32> {onnx.name = "past_key_values.0.key", onnx.dims = ["batch", "", "past", ""]},
                %pv: tensor<?x2x?x8xf32> {onnx.name = "past_key_values.0.value", onnx.dims = ["batch", "", "past", ""]})
    -> (tensor<*xf32> {onnx.name = "y"}, tensor<*xf32> {onnx.name = "present.0.key"}, tensor<*xf32> {onnx.name = "present.0.value"}) {
  %0 = onnx.node "Transpose"(%q) {name = "q_t", version = 17 : i64, params = {perm = array<i64: 0, 2, 1, 3>}} : (tensor<?x?x2x8xf32>) -> tensor<*xf32>
  %1 = onnx.node "Concat"(%pk, %0) {name = "k_all", version = 17 : i64, params = {axis = 2 : i64}} : (tensor<?x2x?x8xf32>, tensor<*xf32>) -> tensor<*xf32>
  %2 = onnx.node "Concat"(%pv, %0) {name = "v_all", version = 17 : i64, params = {axis = -2 : i64}} : (tensor<?x2x?x8xf32>, tensor<*xf32>) -> tensor<*xf32>
  %3 = onnx.node "Transpose"(%1) {name = "k_t", version = 17 : i64, params = {perm = array<i64: 0, 1, 3, 2>}} : (tensor<*xf32>) -> tensor<*xf32>
  %4 = onnx.node "MatMul"(%0, %3) {name = "qk", version = 17 : i64} : (tensor<*xf32>, tensor<*xf32>) -> tensor<*xf32>
  %5 = onnx.node "Softmax"(%4) {name = "softmax", version = 17 : i64, params = {axis = -1 : i64}} : (tensor<*xf32>) -> tensor<*xf32>
  %6 = onnx.node "MatMul"(%5, %2) {name = "pv", version = 17 : i64} : (tensor<*xf32>, tensor<*xf32>) -> tensor<*xf32>
  return %6, %1, %2 : tensor<*xf32>, tensor<*xf32>, tensor<*xf32>
})";

/// Two norms of one input; EPSILON is the second one's.
const char *const kNorms = R"(
func.func @main(%x: tensor<2x3x8xf32>) -> (tensor<2x3x8xf32>, tensor<2x3x8xf32>) {
  %a = edge.rms_norm %x {epsilon = 1.0e-5 : f32} : tensor<2x3x8xf32> -> tensor<2x3x8xf32>
  %b = edge.rms_norm %x {epsilon = EPSILON : f32} : tensor<2x3x8xf32> -> tensor<2x3x8xf32>
  return %a, %b : tensor<2x3x8xf32>, tensor<2x3x8xf32>
})";

/// Keeps the verdicts of another checker, and refutes the claims that it is told to.
class Recorder : public RaiseChecker {
public:
  explicit Recorder(RaiseChecker *real, size_t refuted = ~size_t(0)) : real(real), refuted(refuted) {}

  std::vector<ClaimVerdict> check(mlir::func::FuncOp function, llvm::ArrayRef<Claim> claims) override {
    verdicts = real ? real->check(function, claims) : std::vector<ClaimVerdict>(claims.size());
    if (refuted < verdicts.size())
      verdicts[refuted] = {ClaimVerdict::Refuted, "it is the one"};
    refuted = ~size_t(0);
    return verdicts;
  }

  std::vector<ClaimVerdict> verdicts;

private:
  RaiseChecker *real;
  size_t refuted;
};

class RaisingTest : public testing::Test {
protected:
  void SetUp() override {
    mlir::DialectRegistry registry;
    registerDialects(registry);
    context.appendDialectRegistry(registry);
    context.loadAllAvailableDialects();
  }

  /// The model converted to edge ops; remarks go to `remarks`.
  mlir::OwningOpRef<mlir::ModuleOp> convert(const char *text, RaiseChecker &checker) {
    auto module = mlir::parseSourceString<mlir::ModuleOp>(text, &context);
    EXPECT_TRUE(module);
    mlir::Builder builder(&context);
    (*module)->setAttr("edge.bounds",
                       builder.getDictionaryAttr(builder.getNamedAttr("batch", builder.getDenseI64ArrayAttr({1, 4}))));
    mlir::ScopedDiagnosticHandler handler(&context, [&](mlir::Diagnostic &said) {
      remarks.push_back(said.str());
      return mlir::success();
    });
    mlir::PassManager passes(&context);
    buildNormalizePipeline(passes, &checker);
    EXPECT_TRUE(succeeded(passes.run(*module)));
    return module;
  }

  ClaimVerdict compareNorms(const std::string &epsilon) {
    std::string text = kNorms;
    text.replace(text.find("EPSILON"), 7, epsilon);
    auto module = mlir::parseSourceString<mlir::ModuleOp>(text, &context);
    auto main = module->lookupSymbol<mlir::func::FuncOp>("main");
    mlir::Operation *end = main.front().getTerminator();
    return HostRaiseChecker(1).check(main, Claim{end->getOperand(0), end->getOperand(1)}).front();
  }

  template <typename Op> static size_t count(mlir::ModuleOp module) {
    size_t found = 0;
    module.walk([&](Op) { ++found; });
    return found;
  }

  mlir::MLIRContext context;
  std::vector<std::string> remarks;
};

TEST_F(RaisingTest, AnAttentionIsWhatItsNodesCompute) {
  HostRaiseChecker host(1);
  Recorder recorder(&host);
  auto module = convert(kAttention, recorder);
  ASSERT_EQ(recorder.verdicts.size(), 1u);
  EXPECT_EQ(recorder.verdicts[0].kind, ClaimVerdict::Holds) << recorder.verdicts[0].reason;
  EXPECT_EQ(count<edge::AttentionOp>(*module), 1u);
}

TEST_F(RaisingTest, CachesAndWhatReadsThemHold) {
  HostRaiseChecker host(1);
  Recorder recorder(&host);
  auto module = convert(kCache, recorder);
  ASSERT_EQ(recorder.verdicts.size(), 3u);
  for (const ClaimVerdict &verdict : recorder.verdicts)
    EXPECT_EQ(verdict.kind, ClaimVerdict::Holds) << verdict.reason;
  EXPECT_EQ(count<edge::AppendOp>(*module), 2u);
}

TEST_F(RaisingTest, NodesOfARefutedClaimStay) {
  Recorder recorder(nullptr, 0);
  auto module = convert(kAttention, recorder);
  EXPECT_EQ(count<edge::AttentionOp>(*module), 0u);
  EXPECT_EQ(count<edge::SoftmaxOp>(*module), 1u);
  ASSERT_EQ(remarks.size(), 1u);
  EXPECT_EQ(remarks[0], "pv (MatMul): looks like the end of a layer, but it is the one: the nodes stay as they are");
}

TEST_F(RaisingTest, AnotherEpsilonShows) {
  EXPECT_EQ(compareNorms("1.0e-5").kind, ClaimVerdict::Holds);
  ClaimVerdict verdict = compareNorms("1.0e-4");
  EXPECT_EQ(verdict.kind, ClaimVerdict::Refuted);
  EXPECT_NE(verdict.reason.find("differ from what its nodes compute"), std::string::npos) << verdict.reason;
}

TEST_F(RaisingTest, AMaskThatOnlyTheNodesHaveShows) {
  HostRaiseChecker host(1);
  // The claim of an attention whose causal flag was lost.
  struct Forgetting : RaiseChecker {
    explicit Forgetting(RaiseChecker &real) : real(real) {}
    std::vector<ClaimVerdict> check(mlir::func::FuncOp function, llvm::ArrayRef<Claim> claims) override {
      function.walk([](edge::AttentionOp op) { op.setCausal(false); });
      return verdicts = real.check(function, claims);
    }
    RaiseChecker &real;
    std::vector<ClaimVerdict> verdicts;
  } forgetting(host);
  auto module = convert(kAttention, forgetting);
  EXPECT_EQ(count<edge::AttentionOp>(*module), 0u);
  ASSERT_EQ(remarks.size(), 1u);
  EXPECT_NE(remarks[0].find("batch = "), std::string::npos) << remarks[0];
}

} // namespace
