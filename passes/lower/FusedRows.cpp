//===- FusedRows.cpp - Norms and RoPE where their result is read ------------===//
#include "passes/lower/FusedRows.h"
#include "passes/lower/Lower.h"

using namespace mlir;
namespace edgecc::lower {

/// Floats of a row on the stack at most.
static constexpr int64_t kMostChannels = 8192;

static bool isNorm(Operation *op) { return isa<edge::RmsNormOp, edge::LayerNormOp>(op); }

/// Linears that read one layout of their common input, which a kernel of its own writes.
static bool isQuantizedOnce(Value value, const Machine &machine) {
  std::optional<ActivationLayout> common;
  Value outliers;
  for (OpOperand &use : value.getUses()) {
    auto linear = dyn_cast<edge::LinearOp>(use.getOwner());
    if (!linear || use.getOperandNumber() != 0 || linear.getLayout() != edge::WeightLayout::Panels)
      return false;
    auto layout = activationLayout(linear, machine);
    if (!layout || (common && (!(*common == *layout) || outliers != linear.getOutliers())))
      return false;
    common = layout, outliers = linear.getOutliers();
  }
  return common.has_value();
}

bool isFused(Operation *op, const Machine &machine) {
  bool norm = isNorm(op);
  if (!norm && !isa<edge::RopeOp>(op))
    return false;
  Value result = op->getResult(0);
  int64_t width = cast<RankedTensorType>(result.getType()).getShape().back();
  if (ShapedType::isDynamic(width) || width > kMostChannels)
    return false;
  Operation *reader = result.hasOneUse() ? *result.user_begin() : nullptr;
  if (!norm) {
    auto append = dyn_cast_or_null<edge::AppendOp>(reader);
    return append && append.getRows() == result;
  }
  if (auto rope = dyn_cast_or_null<edge::RopeOp>(reader))
    return rope.getInput() == result;
  return isQuantizedOnce(result, machine);
}

FusedRows::FusedRows(Value value) : value(value) {
  Operation *op = value.getDefiningOp();
  while (op && (isNorm(op) || isa<edge::RopeOp>(op))) {
    ops.insert(ops.begin(), op);
    op = op->getOperand(0).getDefiningOp();
  }
  ins.push_back(ops.empty() ? value : ops.front()->getOperand(0));
  for (Operation *op : ops)
    llvm::append_range(ins, op->getOperands().drop_front());
}

std::string FusedRows::name(StringRef what) const {
  std::string name;
  for (Operation *op : ops)
    name += (op->getName().stripDialect() + "_").str();
  return name + what.str();
}

void FusedRows::enter(Code &code, ArrayRef<Value> buffers) {
  this->buffers.assign(buffers.begin(), buffers.begin() + ins.size());
  for (Operation *op : ops)
    rows.push_back(code.stack(cast<RankedTensorType>(op->getResult(0).getType()).getShape().back()));
}

Row FusedRows::operator()(Code &code, Var row) const {
  Var width = code.size(edge::shapeOf(value).back());
  Row from{buffers.front(), row * width};
  ArrayRef<Value> parameters = ArrayRef(buffers).drop_front();
  for (auto [op, buffer] : llvm::zip_equal(ops, rows)) {
    Row to{buffer, code.index(0)};
    ArrayRef<Value> own = parameters.take_front(op->getNumOperands() - 1);
    parameters = parameters.drop_front(own.size());
    if (auto rope = dyn_cast<edge::RopeOp>(op))
      emitRope(code, rope, row, from, own[0], own[1], to);
    else
      emitNorm(code, op, from, width, own, to);
    from = to;
  }
  return from;
}

} // namespace edgecc::lower
