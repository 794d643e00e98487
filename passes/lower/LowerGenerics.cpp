//===- LowerGenerics.cpp - linalg.generic -> kernels ------------------------===//
//
// Why by hand and not through upstream bufferization: outside a kernel everything is a value with a symbolic shape, inside
// everything is a contiguous buffer, so a generic becomes a loop nest in one step and nothing is ever allocated. The innermost
// loop is left scalar: pointers are known not to alias, and LLVM's vectorizer does the rest for whatever CPU it is.
//
//===----------------------------------------------------------------------===//
#include "dialects/edge/Shape.h"
#include "mlir/IR/IRMapping.h"
#include "passes/Passes.h"
#include "passes/lower/OuterLoops.h"
#include "llvm/ADT/SetVector.h"

using namespace mlir;
namespace edgecc {
#define GEN_PASS_DEF_LOWERGENERICS
#include "passes/Passes.h.inc"

namespace {

// Element operations that one task should do at least: below, waking a thread costs more than the work.
constexpr int64_t kGrain = 16384;

class GenericLowering {
public:
  GenericLowering(linalg::GenericOp op, ArrayRef<edge::SymbolAttr> symbols) : op(op), symbols(symbols), builder(op) {}

  LogicalResult run();

private:
  void collectOperands();
  LogicalResult computeLoopSizes();
  void splitIntoTasks();
  void emitBody(edge::KernelOp kernel);
  void emitLoops(unsigned level);
  SmallVector<Value> emitReduction(unsigned level, ValueRange accumulators);
  SmallVector<Value> emitPayload(ValueRange accumulators);
  Value loadElement(Value buffer, ValueRange indices, Type element);
  void storeElement(Value value, Value buffer, ValueRange indices);
  SmallVector<Value> indicesOf(AffineMap map);
  Value initialValue(unsigned result);
  bool isFlat();

  linalg::GenericOp op;
  ArrayRef<edge::SymbolAttr> symbols;
  OpBuilder builder;
  llvm::SetVector<Value> ins; // tensors that the kernel reads
  edge::SymbolicShape sizes;  // per loop
  SmallVector<unsigned> parallel, reduction;
  unsigned taskLoops = 0; // leading parallel loops that are spread over tasks
  int64_t chunk = 1;      // iterations of those, linearized, in a task
  DenseMap<Value, Value> bufferOf;
  SmallVector<Value> results;   // output buffers
  SmallVector<Value> induction; // per loop
};

Value stripCasts(Value value) {
  while (auto cast = value.getDefiningOp<tensor::CastOp>())
    value = cast.getSource();
  return value;
}

// Where a reduction starts: the scalar of a linalg.fill, or null for a tensor.
Value fillScalar(Value init) {
  auto fill = stripCasts(init).getDefiningOp<linalg::FillOp>();
  return fill ? fill.getInputs()[0] : Value();
}

bool isEmpty(Value init) { return stripCasts(init).getDefiningOp<tensor::EmptyOp>() != nullptr; }

void GenericLowering::collectOperands() {
  for (Value input : op.getInputs())
    if (isa<RankedTensorType>(input.getType()))
      ins.insert(input);
  for (Value init : op.getOutputs())
    if (!isEmpty(init) && !fillScalar(init))
      ins.insert(init);
  op.getRegion().walk([&](tensor::ExtractOp extract) { ins.insert(extract.getTensor()); });
}

LogicalResult GenericLowering::computeLoopSizes() {
  sizes.assign(op.getNumLoops(), AffineExpr());
  for (OpOperand &operand : op->getOpOperands()) {
    auto type = dyn_cast<RankedTensorType>(operand.get().getType());
    if (!type)
      continue;
    edge::SymbolicShape shape = edge::shapeOf(type);
    for (auto [expr, size] : llvm::zip(op.getMatchingIndexingMap(&operand).getResults(), shape))
      if (auto dim = dyn_cast<AffineDimExpr>(expr))
        sizes[dim.getPosition()] = size;
  }
  for (auto [loop, size] : llvm::enumerate(sizes))
    if (!size)
      return op.emitOpError("has a loop ") << loop << " whose size no operand gives";
  for (auto [loop, kind] : llvm::enumerate(op.getIteratorTypesArray()))
    (kind == utils::IteratorType::parallel ? parallel : reduction).push_back(loop);
  return success();
}

// Returns whether one long loop can walk all operands in the same order. An element at a place of its own needs the operand's
// shape.
bool GenericLowering::isFlat() {
  if (!reduction.empty() || op.getNumLoops() <= 1)
    return false;
  if (!llvm::all_of(op.getIndexingMapsArray(), [](AffineMap map) { return map.isIdentity(); }))
    return false;
  auto needsPlaces = [](Operation *inner) {
    return isa<linalg::IndexOp, tensor::ExtractOp>(inner) ? WalkResult::interrupt() : WalkResult::advance();
  };
  return !op.getRegion().walk(needsPlaces).wasInterrupted();
}

void GenericLowering::splitIntoTasks() {
  int64_t inner = 1;
  for (unsigned loop : reduction)
    inner *= std::max<int64_t>(edge::boundsOf(sizes[loop], symbols).second, 1);
  // The last parallel loop stays whole inside a task (it is the one that is vectorized), unless it is the only one.
  taskLoops = parallel.size();
  while (taskLoops > 1) {
    int64_t size = std::max<int64_t>(edge::boundsOf(sizes[parallel[taskLoops - 1]], symbols).second, 1);
    if (taskLoops != parallel.size() && inner * size > kGrain)
      break;
    inner *= size;
    --taskLoops;
  }
  chunk = std::max<int64_t>(kGrain / std::max<int64_t>(inner, 1), 1);
}

LogicalResult GenericLowering::run() {
  collectOperands();
  if (failed(computeLoopSizes()))
    return failure();
  if (isFlat()) {
    AffineExpr total = edge::product(sizes, op.getContext());
    sizes.assign(1, total);
    parallel.assign(1, 0);
  }
  splitIntoTasks();
  edge::SymbolicShape outer;
  for (unsigned i = 0; i < taskLoops; ++i)
    outer.push_back(sizes[parallel[i]]);
  AffineExpr tasks = edge::product(outer, op.getContext()).ceilDiv(chunk);

  auto kernel = edge::KernelOp::create(builder, op.getLoc(), op.getResultTypes(), "loops",
                                       edge::symbolMap({tasks}, op.getContext()), ins.getArrayRef(), ValueRange());
  emitBody(kernel);
  op.replaceAllUsesWith(kernel.getOutputs());
  op.erase();
  return success();
}

void GenericLowering::emitBody(edge::KernelOp kernel) {
  Location loc = op.getLoc();
  Block *block = builder.createBlock(&kernel.getBody());
  Value task = block->addArgument(builder.getIndexType(), loc);
  for (Value input : ins)
    bufferOf[input] = block->addArgument(edge::bufferType(cast<RankedTensorType>(input.getType())), loc);
  for (Type type : op.getResultTypes())
    results.push_back(block->addArgument(edge::bufferType(cast<RankedTensorType>(type)), loc));
  builder.setInsertionPointToEnd(block);
  edge::YieldOp::create(builder, loc, ValueRange());
  builder.setInsertionPointToStart(block);

  // A flat nest sees its buffers as one dimension.
  if (sizes.size() != op.getNumLoops()) {
    auto flatten = [&](Value buffer) -> Value {
      auto type = cast<MemRefType>(buffer.getType());
      auto flat = MemRefType::get({type.hasStaticShape() ? type.getNumElements() : ShapedType::kDynamic}, type.getElementType());
      SmallVector<ReassociationIndices> all(1);
      for (int64_t i = 0; i < type.getRank(); ++i)
        all[0].push_back(i);
      return memref::CollapseShapeOp::create(builder, loc, flat, buffer, all);
    };
    // In the operands' order: equal kernels must come out equal.
    for (Value input : ins)
      bufferOf[input] = flatten(bufferOf[input]);
    for (Value &result : results)
      result = flatten(result);
  }

  induction.assign(sizes.size(), Value());
  if (parallel.empty()) {
    emitLoops(0);
    return;
  }
  Value step = arith::ConstantIndexOp::create(builder, loc, chunk), one = arith::ConstantIndexOp::create(builder, loc, 1);
  edge::SymbolicShape outer;
  for (unsigned i = 0; i < taskLoops; ++i)
    outer.push_back(sizes[parallel[i]]);
  Value total = edge::materialize(builder, loc, edge::product(outer, op.getContext()));
  Value begin = arith::MulIOp::create(builder, loc, task, step);
  Value end = arith::MinSIOp::create(builder, loc, arith::AddIOp::create(builder, loc, begin, step), total);
  auto loop = scf::ForOp::create(builder, loc, begin, end, one);
  builder.setInsertionPointToStart(loop.getBody());
  Value rest = loop.getInductionVar();
  for (unsigned i = taskLoops; i-- > 1;) {
    Value size = edge::materialize(builder, loc, sizes[parallel[i]]);
    induction[parallel[i]] = arith::RemUIOp::create(builder, loc, rest, size);
    rest = arith::DivUIOp::create(builder, loc, rest, size);
  }
  induction[parallel[0]] = rest;
  emitLoops(taskLoops);
}

void GenericLowering::emitLoops(unsigned level) {
  Location loc = op.getLoc();
  if (level < parallel.size()) {
    Value zero = arith::ConstantIndexOp::create(builder, loc, 0), one = arith::ConstantIndexOp::create(builder, loc, 1);
    auto loop = scf::ForOp::create(builder, loc, zero, edge::materialize(builder, loc, sizes[parallel[level]]), one);
    OpBuilder::InsertionGuard guard(builder);
    builder.setInsertionPointToStart(loop.getBody());
    induction[parallel[level]] = loop.getInductionVar();
    emitLoops(level + 1);
    keepOuterLoop(loop);
    return;
  }
  SmallVector<Value> values;
  if (!reduction.empty())
    for (unsigned i = 0; i < results.size(); ++i)
      values.push_back(initialValue(i));
  values = emitReduction(0, values);
  for (auto [i, value] : llvm::enumerate(values)) {
    AffineMap map = op.getMatchingIndexingMap(op.getDpsInitOperand(i));
    storeElement(value, results[i], indicesOf(map));
  }
}

SmallVector<Value> GenericLowering::emitReduction(unsigned level, ValueRange accumulators) {
  if (level == reduction.size())
    return emitPayload(accumulators);
  Location loc = op.getLoc();
  Value zero = arith::ConstantIndexOp::create(builder, loc, 0), one = arith::ConstantIndexOp::create(builder, loc, 1);
  auto loop = scf::ForOp::create(builder, loc, zero, edge::materialize(builder, loc, sizes[reduction[level]]), one, accumulators);
  OpBuilder::InsertionGuard guard(builder);
  builder.setInsertionPointToStart(loop.getBody());
  induction[reduction[level]] = loop.getInductionVar();
  SmallVector<Value> inner = emitReduction(level + 1, loop.getRegionIterArgs());
  scf::YieldOp::create(builder, loc, inner);
  keepOuterLoop(loop);
  return llvm::to_vector_of<Value>(loop.getResults());
}

Value GenericLowering::initialValue(unsigned result) {
  Value init = op.getOutputs()[result];
  if (Value scalar = fillScalar(init))
    return builder.clone(*scalar.getDefiningOp())->getResult(cast<OpResult>(scalar).getResultNumber());
  AffineMap map = op.getMatchingIndexingMap(op.getDpsInitOperand(result));
  return loadElement(bufferOf[init], indicesOf(map), cast<RankedTensorType>(init.getType()).getElementType());
}

SmallVector<Value> GenericLowering::indicesOf(AffineMap map) {
  if (induction.size() != op.getNumLoops())
    return {induction[0]};
  SmallVector<Value> indices;
  for (AffineExpr expr : map.getResults()) {
    if (auto dim = dyn_cast<AffineDimExpr>(expr))
      indices.push_back(induction[dim.getPosition()]);
    else
      indices.push_back(
          affine::AffineApplyOp::create(builder, op.getLoc(), AffineMap::get(map.getNumDims(), 0, expr), induction));
  }
  return indices;
}

Value GenericLowering::loadElement(Value buffer, ValueRange indices, Type element) {
  Value value = memref::LoadOp::create(builder, op.getLoc(), buffer, indices);
  if (element.isInteger(1)) {
    Value zero = arith::ConstantIntOp::create(builder, op.getLoc(), 0, 8);
    value = arith::CmpIOp::create(builder, op.getLoc(), arith::CmpIPredicate::ne, value, zero);
  }
  return value;
}

void GenericLowering::storeElement(Value value, Value buffer, ValueRange indices) {
  if (value.getType().isInteger(1))
    value = arith::ExtUIOp::create(builder, op.getLoc(), builder.getI8Type(), value);
  memref::StoreOp::create(builder, op.getLoc(), value, buffer, indices);
}

SmallVector<Value> GenericLowering::emitPayload(ValueRange accumulators) {
  Block &payload = op.getRegion().front();
  IRMapping mapping;
  for (auto [i, operand] : llvm::enumerate(op.getDpsInputOperands())) {
    Value value = operand->get();
    BlockArgument arg = payload.getArgument(i);
    if (isa<RankedTensorType>(value.getType())) {
      if (!arg.use_empty())
        mapping.map(arg, loadElement(bufferOf[value], indicesOf(op.getMatchingIndexingMap(operand)), arg.getType()));
    } else {
      mapping.map(arg, builder.clone(*value.getDefiningOp())->getResult(cast<OpResult>(value).getResultNumber()));
    }
  }
  for (unsigned i = 0; i < results.size(); ++i) {
    BlockArgument arg = payload.getArgument(op.getNumDpsInputs() + i);
    if (!accumulators.empty())
      mapping.map(arg, accumulators[i]);
    else if (!arg.use_empty())
      mapping.map(arg, initialValue(i));
  }
  // Scalars and sizes from outside come along: a kernel captures nothing.
  std::function<void(Operation &)> cloneCaptured = [&](Operation &inner) {
    inner.walk([&](Operation *nested) {
      for (Value operand : nested->getOperands()) {
        if (mapping.contains(operand) || isa<RankedTensorType>(operand.getType()) ||
            op->isAncestor(operand.getParentRegion()->getParentOp()))
          continue;
        Operation *def = operand.getDefiningOp();
        cloneCaptured(*def);
        builder.clone(*def, mapping);
      }
    });
  };
  for (Operation &inner : payload.without_terminator()) {
    cloneCaptured(inner);
    if (auto index = dyn_cast<linalg::IndexOp>(inner)) {
      mapping.map(index.getResult(), induction[index.getDim()]);
    } else if (auto extract = dyn_cast<tensor::ExtractOp>(inner)) {
      SmallVector<Value> indices;
      for (Value value : extract.getIndices())
        indices.push_back(mapping.lookupOrDefault(value));
      mapping.map(extract.getResult(), loadElement(bufferOf[extract.getTensor()], indices, extract.getType()));
    } else {
      builder.clone(inner, mapping);
    }
  }
  SmallVector<Value> values;
  Operation *yield = payload.getTerminator();
  cloneCaptured(*yield);
  for (Value value : yield->getOperands())
    values.push_back(mapping.lookupOrDefault(value));
  return values;
}

struct LowerGenerics : impl::LowerGenericsBase<LowerGenerics> {
  void runOnOperation() override {
    SmallVector<edge::SymbolAttr> symbols = edge::symbolsOf(getOperation());
    SmallVector<linalg::GenericOp> generics;
    getOperation().walk([&](linalg::GenericOp op) { generics.push_back(op); });
    for (linalg::GenericOp op : generics)
      if (failed(GenericLowering(op, symbols).run()))
        return signalPassFailure();
    // What only described outputs is dead now.
    for (Block &block : getOperation())
      for (Operation &op : llvm::make_early_inc_range(llvm::reverse(block)))
        if (isOpTriviallyDead(&op))
          op.erase();
  }
};

} // namespace
} // namespace edgecc
