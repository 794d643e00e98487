//===- WrongScale.cpp - A pass with a bug, for edgecc-diff to find ------------===//
#include "passes/Passes.h"
#include "passes/Plugin.h"

using namespace mlir;
using namespace edgecc;

namespace {

struct WrongScale : PassWrapper<WrongScale, OperationPass<func::FuncOp>> {
  MLIR_DEFINE_EXPLICIT_INTERNAL_INLINE_TYPE_ID(WrongScale)

  WrongScale() = default;
  WrongScale(const WrongScale &other) : PassWrapper(other) {}
  StringRef getArgument() const final { return "wrong-scale"; }
  StringRef getDescription() const final { return "one attention divides by too little"; }

  void runOnOperation() override {
    getOperation().walk([&](edge::AttentionOp attention) {
      if (auto name = attention->getLoc()->findInstanceOf<NameLoc>(); name && name.getName() == layer)
        attention.setScale(APFloat(2 * attention.getScale().convertToFloat()));
    });
  }

  Option<std::string> layer{*this, "layer", llvm::cl::desc("the node of the attention")};
};

} // namespace

EDGECC_PASS_PLUGIN("wrong-scale", [] { PassRegistration<WrongScale>(); })
