//===- LinearGroups.cpp - Which linears share a kernel ----------------------===//
//
// A step of an entry is a barrier for all threads, and a decoded token passes hundreds of them. Query, key and value are products
// of one input: one step, whose tasks are those of all three, in one piece of code. The two products of a gated MLP are one as
// well, and only act(gate) * up is ever written.
//
//===----------------------------------------------------------------------===//
#include "mlir/IR/OperationSupport.h"
#include "passes/lower/Lower.h"

using namespace mlir;
namespace edgecc::lower {
namespace {

/// More parts are more to choose from in every task, and no model has them.
constexpr size_t kMostParts = 4;

Type elementOf(Value value) { return cast<RankedTensorType>(value.getType()).getElementType(); }

/// The same kernel, but for the number of columns.
bool sameProduct(edge::LinearOp a, edge::LinearOp b) {
  auto bytes = [](edge::LinearOp op) { return op.getWeight().getType().getShape().drop_front(); };
  return a.getInput() == b.getInput() && a.getLayout() == edge::WeightLayout::Panels && b.getLayout() == a.getLayout() &&
         a.getQuantization() == b.getQuantization() && elementOf(a.getWeight()) == elementOf(b.getWeight()) &&
         bytes(a) == bytes(b) && a.getOutliers() == b.getOutliers();
}

bool sameEpilogue(edge::LinearOp a, edge::LinearOp b) {
  if (elementOf(a.getResult()) != elementOf(b.getResult()) || a.getExtras().size() != b.getExtras().size() ||
      a.getResult().getType().getRank() == 1)
    return false;
  for (auto [x, y] : llvm::zip(a.getExtras(), b.getExtras()))
    if (elementOf(x) != elementOf(y) ||
        cast<RankedTensorType>(x.getType()).getRank() != cast<RankedTensorType>(y.getType()).getRank())
      return false;
  return OperationEquivalence::isRegionEquivalentTo(&a.getEpilogue(), &b.getEpilogue(), OperationEquivalence::IgnoreLocations);
}

/// Whether a value is there before `op`, or can be: weights and their reshapes go anywhere.
bool isMovable(Value value, Operation *op) {
  Operation *maker = value.getDefiningOp();
  return !maker || maker->isBeforeInBlock(op) || isa<edge::WeightOp>(maker) ||
         (isa<edge::ReshapeOp>(maker) && isMovable(maker->getOperand(0), op));
}

void moveBefore(Value value, Operation *op) {
  Operation *maker = value.getDefiningOp();
  if (!maker || maker->isBeforeInBlock(op))
    return;
  for (Value operand : maker->getOperands())
    moveBefore(operand, op);
  maker->moveBefore(op);
}

/// Whole tiles must end where a part does.
bool endsWithTile(edge::LinearOp op, const Machine &machine) {
  auto kernels = kernelsOf(op, machine);
  return !kernels.empty() && op.outputChannels() % (widestTile(kernels) * edge::kPanelWidth) == 0;
}

/// The product whose elements `op` takes as an extra, if nobody else does.
edge::LinearOp gateOf(edge::LinearOp op) {
  for (Value extra : op.getExtras()) {
    auto gate = extra.getDefiningOp<edge::LinearOp>();
    if (gate && gate->hasOneUse() && gate->getBlock() == op->getBlock() && sameProduct(gate, op) &&
        isa<FloatType>(elementOf(gate.getResult())) &&
        gate.getResult().getType().getShape() == op.getResult().getType().getShape())
      return gate;
  }
  return {};
}

} // namespace

std::vector<LinearGroup> groupLinears(ArrayRef<Operation *> layers, const Machine &machine) {
  SmallVector<edge::LinearOp> linears;
  for (Operation *op : layers)
    if (auto linear = dyn_cast<edge::LinearOp>(op))
      linears.push_back(linear);
  llvm::SmallPtrSet<Operation *, 16> taken;
  DenseMap<Operation *, edge::LinearOp> gates;
  for (edge::LinearOp linear : linears)
    if (edge::LinearOp gate = gateOf(linear); gate && !taken.contains(gate) && taken.insert(linear).second) {
      taken.insert(gate);
      gates[linear] = gate;
    }
  std::vector<LinearGroup> groups;
  for (auto [i, first] : llvm::enumerate(linears)) {
    if (edge::LinearOp gate = gates.lookup(first))
      groups.push_back({{first}, gate});
    if (!taken.insert(first).second)
      continue;
    LinearGroup group{{first}, {}};
    // Only neighbours: results that are made long before they are read would cost memory.
    for (edge::LinearOp other : ArrayRef(linears).drop_front(i + 1)) {
      if (other.getInput() != first.getInput() || group.parts.size() == kMostParts)
        break;
      bool fits = !taken.contains(other) && sameProduct(first, other) && sameEpilogue(first, other) &&
                  endsWithTile(first, machine) && endsWithTile(other, machine) &&
                  llvm::all_of(other->getOperands(), [&](Value operand) { return isMovable(operand, first); });
      if (!fits)
        continue;
      for (Value operand : other->getOperands())
        moveBefore(operand, first);
      taken.insert(other);
      group.parts.push_back(other);
    }
    groups.push_back(group);
  }
  return groups;
}

} // namespace edgecc::lower
