//===- Snapshots.cpp ----------------------------------------------------------===//
#include "compiler/diff/Snapshots.h"
#include "compiler/Compiler.h"
#include "dialects/onnx/OnnxDialect.h"
#include "mlir/IR/OperationSupport.h"
#include "mlir/Pass/PassInstrumentation.h"

using namespace llvm;
namespace edgecc {
namespace {

/// Weights are handles, so that a copy of a module costs its graph alone.
class Watcher : public mlir::PassInstrumentation {
public:
  explicit Watcher(std::vector<Snapshot> &snapshots) : snapshots(snapshots) {}

  void runBeforePass(mlir::Pass *, mlir::Operation *op) override {
    if (snapshots.empty())
      look("", op);
  }
  void runAfterPass(mlir::Pass *pass, mlir::Operation *op) override { look(pass->getArgument(), op); }

private:
  void look(StringRef pass, mlir::Operation *op) {
    auto module = dyn_cast<mlir::ModuleOp>(op);
    // What is still a graph of ONNX cannot be run.
    if (!module || module.walk([](onnx::NodeOp) { return mlir::WalkResult::interrupt(); }).wasInterrupted())
      return;
    mlir::OperationFingerPrint now(op);
    if (last && *last == now)
      return;
    last = now;
    // Common subexpressions belong to the conversion that leaves them.
    if (pass == "cse" && !snapshots.empty())
      snapshots.back().module = module.clone();
    else
      snapshots.push_back({pass.str(), module.clone()});
  }

  std::vector<Snapshot> &snapshots;
  std::optional<mlir::OperationFingerPrint> last;
};

} // namespace

Expected<std::vector<Snapshot>> takeSnapshots(Options options, mlir::MLIRContext &context) {
  std::vector<Snapshot> snapshots;
  options.emit = Emit::Edge;
  options.output = "/dev/null";
  options.configure = [&](mlir::PassManager &passes) {
    passes.addInstrumentation(std::make_unique<Watcher>(snapshots));
    return mlir::success();
  };
  auto report = compile(options, context);
  if (!report)
    return report.takeError();
  if (snapshots.empty())
    return createStringError("%s: nothing is converted and nothing lost; name a pass, e.g. --quant=w8a8", options.input.c_str());
  return snapshots;
}

} // namespace edgecc
