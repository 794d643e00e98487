//===- Snapshots.cpp ----------------------------------------------------------===//
#include "compiler/diff/Snapshots.h"
#include "compiler/Compiler.h"
#include "dialects/onnx/OnnxDialect.h"
#include "mlir/IR/OperationSupport.h"
#include "mlir/Pass/PassInstrumentation.h"
#include <mutex>

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
    else if (!last && isa<mlir::ModuleOp>(op))
      last.emplace(op); // the first pass of another phase
  }
  void runAfterPass(mlir::Pass *pass, mlir::Operation *op) override {
    if (isa<mlir::ModuleOp>(op)) {
      // Passes on functions come in one without a name.
      look(pass->getArgument().empty() ? StringRef(ofFunctions) : pass->getArgument(), op);
      ofFunctions.clear();
      return;
    }
    std::lock_guard<std::mutex> lock(mutex);
    if (!StringRef(ofFunctions).contains(pass->getArgument()))
      ofFunctions += (ofFunctions.empty() ? "" : ", ") + pass->getArgument().str();
  }

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
  std::mutex mutex; // functions are worked on in parallel
  std::string ofFunctions;
};

} // namespace

Expected<std::vector<Snapshot>> takeSnapshots(Options options, mlir::MLIRContext &context) {
  std::vector<Snapshot> snapshots;
  // Which layers run is decided call by call; what they compute does not depend on it.
  options.exits = {};
  options.configure = [&](mlir::PassManager &passes) {
    passes.addInstrumentation(std::make_unique<Watcher>(snapshots));
    return mlir::success();
  };
  auto module = compressed(options, context);
  if (!module)
    return module.takeError();
  // A model that was converted before, and nothing that shall be lost.
  if (snapshots.empty())
    snapshots.push_back({"", std::move(*module)});
  return snapshots;
}

} // namespace edgecc
