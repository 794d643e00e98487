//===- LowerLayers.cpp - edge layer ops -> edge.kernel ----------------------===//
#include "passes/Passes.h"
#include "passes/lower/FusedRows.h"
#include "passes/lower/Lower.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
namespace edgecc {
#define GEN_PASS_DEF_LOWERLAYERS
#include "passes/Passes.h.inc"

namespace lower {

edge::KernelOp createKernel(OpBuilder &builder, Location loc, StringRef name, AffineExpr tasks, ValueRange ins, ValueRange inouts,
                            TypeRange outputs, int64_t lanes, Body body) {
  MLIRContext *context = builder.getContext();
  auto kernel = edge::KernelOp::create(builder, loc, outputs, builder.getStringAttr(name),
                                       AffineMapAttr::get(edge::symbolMap({tasks}, context)), ins, inouts);
  Block &block = kernel.getBody().emplaceBlock();
  block.addArgument(builder.getIndexType(), loc);
  Code code(loc, &block, lanes);
  SmallVector<Value> buffers;
  auto addBuffers = [&](TypeRange types) {
    for (Type type : types) {
      auto tensor = cast<RankedTensorType>(type);
      buffers.push_back(code.flat(block.addArgument(edge::bufferType(tensor), loc), elements(tensor)));
    }
  };
  addBuffers(ins.getTypes());
  addBuffers(outputs);
  body(code, code.var(block.getArgument(0)), buffers);
  edge::YieldOp::create(code);
  return kernel;
}

AffineExpr leading(RankedTensorType type, int64_t except) {
  auto shape = edge::shapeOf(type);
  return edge::product(ArrayRef(shape).drop_back(std::min<int64_t>(except, shape.size())), type.getContext());
}

AffineExpr elements(RankedTensorType type) { return leading(type, 0); }

void forRows(Code &code, Var task, int64_t perTask, AffineExpr rows, function_ref<void(Var)> body) {
  Var first = task * perTask;
  auto count = constantSize(rows);
  Var last = count && *count % perTask == 0 ? first + perTask : min(first + perTask, code.size(rows));
  if (perTask == 1)
    return body(first);
  code.loop(first, last, 1, body);
}

int64_t rowsPerTask(AffineExpr width) {
  constexpr int64_t kElements = 4096;
  // A width that is not known is that of a sequence: a few hundred.
  return std::max<int64_t>(1, kElements / std::max<int64_t>(1, constantSize(width).value_or(512)));
}

} // namespace lower

namespace {

struct LowerLayers : impl::LowerLayersBase<LowerLayers> {
  void runOnOperation() override {
    Machine machine = Machine::of(getOperation());
    SmallVector<Operation *> layers;
    getOperation().walk([&](Operation *op) {
      // What is in a region belongs to the op around it (the epilogue of a linear).
      if (op->getParentOp() == getOperation() && isa<edge::EdgeDialect>(op->getDialect()))
        layers.push_back(op);
    });
    lower::InputQuantizer inputs(machine);
    // A group is lowered where its first part stands, and this erases all its linears: no other one may be visited.
    DenseMap<Operation *, const lower::LinearGroup *> groups;
    DenseSet<Operation *> erasedWithGroup;
    std::vector<lower::LinearGroup> found = lower::groupLinears(layers, machine);
    for (const lower::LinearGroup &group : found) {
      groups[group.parts.front()] = &group;
      for (edge::LinearOp part : ArrayRef(group.parts).drop_front())
        erasedWithGroup.insert(part);
      if (group.gate)
        erasedWithGroup.insert(group.gate);
    }
    llvm::erase_if(layers, [&](Operation *op) { return erasedWithGroup.contains(op); });
    SmallVector<Operation *> fused;
    for (Operation *op : layers) {
      if (auto rope = dyn_cast<edge::RopeOp>(op); rope && failed(lower::checkRope(rope)))
        return signalPassFailure();
      if (lower::isFused(op, machine)) {
        fused.push_back(op);
        continue;
      }
      auto group = groups.find(op);
      if (failed(group != groups.end() ? lower::lowerLinear(*group->second, inputs, machine) : lowerLayer(op, machine)))
        return signalPassFailure();
    }
    for (Operation *op : llvm::reverse(fused))
      op->erase();
  }

  static LogicalResult lowerLayer(Operation *op, const Machine &machine) {
    return llvm::TypeSwitch<Operation *, LogicalResult>(op)
        .Case([&](edge::AttentionOp it) { return lower::lowerAttention(it, machine); })
        .Case([&](edge::RopeOp it) { return lower::lowerRope(it, machine); })
        .Case<edge::RmsNormOp, edge::LayerNormOp>([&](Operation *it) { return lower::lowerNorm(it, machine); })
        .Case([&](edge::SoftmaxOp it) { return lower::lowerSoftmax(it, machine); })
        .Case([&](edge::ConfidenceOp it) { return lower::lowerConfidence(it, machine); })
        .Case([&](edge::EmbeddingOp it) { return lower::lowerEmbedding(it, machine); })
        .Case([&](edge::AppendOp it) {
      return lower::lowerAppend(it, machine);
    }).Default([](Operation *) { return success(); });
  }
};

} // namespace
} // namespace edgecc
