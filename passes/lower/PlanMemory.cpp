//===- PlanMemory.cpp - Every buffer gets its place -------------------------===//
//
// Tensors between kernels become offsets into one arena, weights offsets into one segment, and each function an entry: a list of
// steps. It is all stated as a plan.model; EmitEntries turns the steps into code.
//
//===----------------------------------------------------------------------===//
#include "dialects/edge/Checked.h"
#include "dialects/edge/Shape.h"
#include "passes/Passes.h"
#include "passes/lower/Outline.h"
#include "runtime/include/edgecc/abi.h"
#include "llvm/ADT/MapVector.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
namespace edgecc {
#define GEN_PASS_DEF_PLANMEMORY
#include "passes/Passes.h.inc"

namespace {

//===----------------------------------------------------------------------===//
// Views and copies
//===----------------------------------------------------------------------===//

// Reshapes and in-place updates share memory with what they come from.
Value rootOf(Value value) {
  while (true) {
    if (auto reshape = value.getDefiningOp<edge::ReshapeOp>()) {
      value = reshape.getInput();
      continue;
    }
    auto kernel = value.getDefiningOp<edge::KernelOp>();
    unsigned result = kernel ? cast<OpResult>(value).getResultNumber() : 0;
    if (!kernel || result >= kernel.getInouts().size())
      return value;
    value = kernel.getInouts()[result];
  }
}

// %copy = a kernel that copies, byte for byte.
Value insertCopy(OpBuilder &builder, Location loc, Value value) {
  auto type = cast<RankedTensorType>(value.getType());
  AffineExpr total = edge::product(edge::shapeOf(type), type.getContext());
  constexpr int64_t chunk = 65536;
  auto kernel = edge::KernelOp::create(builder, loc, TypeRange(type), "copy",
                                       edge::symbolMap({total.ceilDiv(chunk)}, type.getContext()), value, ValueRange());
  OpBuilder::InsertionGuard guard(builder);
  Block *block = builder.createBlock(&kernel.getBody());
  MemRefType buffer = edge::bufferType(type);
  Value task = block->addArgument(builder.getIndexType(), loc);
  SmallVector<Value> flat;
  for (int i = 0; i < 2; ++i) {
    Value arg = block->addArgument(buffer, loc);
    SmallVector<ReassociationIndices> all(buffer.getRank() == 0 ? 0 : 1);
    for (int64_t dim = 0; dim < buffer.getRank(); ++dim)
      all[0].push_back(dim);
    if (buffer.getRank() > 1)
      arg = memref::CollapseShapeOp::create(
          builder, loc,
          MemRefType::get({buffer.hasStaticShape() ? buffer.getNumElements() : ShapedType::kDynamic}, buffer.getElementType()),
          arg, all);
    flat.push_back(arg);
  }
  if (buffer.getRank() == 0) {
    memref::StoreOp::create(builder, loc, memref::LoadOp::create(builder, loc, flat[0], ValueRange()), flat[1], ValueRange());
  } else {
    Value step = arith::ConstantIndexOp::create(builder, loc, chunk), one = arith::ConstantIndexOp::create(builder, loc, 1);
    Value begin = arith::MulIOp::create(builder, loc, task, step);
    Value end = arith::MinSIOp::create(builder, loc, arith::AddIOp::create(builder, loc, begin, step),
                                       edge::materialize(builder, loc, total));
    scf::ForOp::create(builder, loc, begin, end, one, ValueRange(), [&](OpBuilder &nested, Location, Value i, ValueRange) {
      memref::StoreOp::create(nested, loc, memref::LoadOp::create(nested, loc, flat[0], i), flat[1], i);
      scf::YieldOp::create(nested, loc);
    });
  }
  edge::YieldOp::create(builder, loc, ValueRange());
  return kernel.getResult(0);
}

class EntryPlanner {
public:
  EntryPlanner(func::FuncOp function, ArrayRef<edge::SymbolAttr> symbols, const llvm::MapVector<Attribute, int64_t> &weights)
      : function(function), symbols(symbols), weights(weights) {}

  LogicalResult place();
  /// The plan.entry; its kernels are outlined on the way, and the function goes.
  void state(lower::KernelOutliner &outliner, OpBuilder &planBuilder);

private:
  void copyWhereShared();
  void moveTails();
  LogicalResult placeArguments();
  void placeArena();
  SmallVector<AffineExpr> unsureSizes(AffineMap sizes);
  plan::PlaceAttr in(plan::Memory memory, int64_t at) { return plan::PlaceAttr::get(function.getContext(), memory, at); }
  plan::PlaceAttr placeOf(Value value) { return places.find(rootOf(value))->second; }

  func::FuncOp function;
  ArrayRef<edge::SymbolAttr> symbols;
  const llvm::MapVector<Attribute, int64_t> &weights;
  DenseMap<Value, plan::PlaceAttr> places;   // of roots
  DenseMap<Operation *, edge::ExitOp> tails; // kernels that run only if the call ends at this exit
  int64_t arena = 0;
};

int64_t bytesOf(RankedTensorType type, ArrayRef<edge::SymbolAttr> symbols) {
  return edge::maxElements(type, symbols) * edge::elementBytes(type.getElementType());
}

// Whether anybody but this operand sees the value, by any of its shapes, when the kernel updates it or later.
bool isReadLater(OpOperand &updated) {
  Operation *kernel = updated.getOwner();
  SmallVector<Value> views{updated.get()};
  while (auto reshape = views[0].getDefiningOp<edge::ReshapeOp>())
    views[0] = reshape.getInput();
  for (unsigned i = 0; i < views.size(); ++i)
    for (OpOperand &use : views[i].getUses()) {
      if (auto reshape = dyn_cast<edge::ReshapeOp>(use.getOwner()))
        views.push_back(reshape.getResult());
      else if (&use != &updated && !use.getOwner()->isBeforeInBlock(kernel))
        return true;
    }
  return false;
}

// An output must have memory of its own, and what a kernel updates in place must not be read by anybody later.
void EntryPlanner::copyWhereShared() {
  Operation *end = function.front().getTerminator();
  for (edge::KernelOp kernel : llvm::to_vector(function.getOps<edge::KernelOp>()))
    for (OpOperand &operand : kernel.getInoutsMutable()) {
      Value root = rootOf(operand.get());
      auto arg = dyn_cast<BlockArgument>(root);
      bool isState = arg && function.getArgAttr(arg.getArgNumber(), edge::EdgeDialect::kStateAttr);
      bool readLater = isReadLater(operand);
      if (isState ? readLater : readLater || arg || root.getDefiningOp<edge::WeightOp>()) {
        OpBuilder builder(kernel);
        operand.set(insertCopy(builder, kernel.getLoc(), operand.get()));
      }
    }
  llvm::SmallPtrSet<Value, 8> taken;
  auto own = [&](OpOperand &operand) {
    Value root = rootOf(operand.get());
    if (isa<BlockArgument>(root) || root.getDefiningOp<edge::WeightOp>() || !taken.insert(root).second) {
      OpBuilder builder(operand.getOwner());
      operand.set(insertCopy(builder, operand.getOwner()->getLoc(), operand.get()));
    }
  };
  for (OpOperand &operand : end->getOpOperands())
    if (!function.getResultAttr(operand.getOperandNumber(), edge::EdgeDialect::kStateAttr))
      own(operand);
  for (edge::ExitOp exit : function.getOps<edge::ExitOp>())
    for (OpOperand &operand : exit.getOutputsMutable())
      own(operand);
}

// What only the outputs of an exit are computed from need not be computed if the call goes on: such kernels stand directly before
// the exit and become its own steps.
void EntryPlanner::moveTails() {
  for (edge::ExitOp exit : function.getOps<edge::ExitOp>()) {
    auto isOutput = [&](OpOperand &use) {
      return use.getOwner() == exit && use.get() != exit.getConfidence() && use.get() != exit.getKept();
    };
    Operation *first = exit;
    for (Operation &op :
         llvm::make_early_inc_range(llvm::reverse(llvm::make_range(function.front().begin(), exit->getIterator())))) {
      bool moves = isa<edge::KernelOp, edge::ReshapeOp>(op) && !op.use_empty() && llvm::all_of(op.getUses(), [&](OpOperand &use) {
        return isOutput(use) || tails.lookup(use.getOwner()) == exit;
      });
      if (!moves)
        continue;
      op.moveBefore(first);
      first = &op;
      tails[&op] = exit;
    }
  }
}

LogicalResult EntryPlanner::placeArguments() {
  int64_t inputs = 0, outputs = 0;
  for (BlockArgument arg : function.getArguments()) {
    if (auto state = function.getArgAttrOfType<IntegerAttr>(arg.getArgNumber(), edge::EdgeDialect::kStateAttr))
      places[arg] = in(plan::Memory::State, state.getInt());
    else
      places[arg] = in(plan::Memory::Input, inputs++);
  }
  for (auto weight : function.getOps<edge::WeightOp>())
    places[weight.getResult()] = in(plan::Memory::Weights, weights.find(weight.getValue())->second);
  for (OpOperand &operand : function.front().getTerminator()->getOpOperands()) {
    Value root = rootOf(operand.get());
    if (auto state = function.getResultAttrOfType<IntegerAttr>(operand.getOperandNumber(), edge::EdgeDialect::kStateAttr)) {
      auto it = places.find(root);
      if (it == places.end() || it->second != in(plan::Memory::State, state.getInt()))
        return function.emitError("state ") << state.getInt() << " is not updated in place: result " << operand.getOperandNumber()
                                            << " does not come from it by in-place kernels";
      continue;
    }
    places[root] = in(plan::Memory::Output, outputs++);
  }
  for (edge::ExitOp exit : function.getOps<edge::ExitOp>())
    for (auto [i, output] : llvm::enumerate(exit.getOutputs()))
      places[rootOf(output)] = in(plan::Memory::Output, i);
  return success();
}

// Greedy by size: the largest first, each at the lowest offset that is free while it lives (Pisarchyk and Lee 2020, "greedy by
// size"); bounds, not values, of the dimensions count.
void EntryPlanner::placeArena() {
  struct Interval {
    Value root;
    int64_t bytes, first, last, offset;
  };
  llvm::MapVector<Value, Interval> intervals;
  DenseMap<Operation *, int64_t> time;
  for (auto [i, op] : llvm::enumerate(function.front()))
    time[&op] = i;
  for (auto kernel : function.getOps<edge::KernelOp>())
    for (Value result : kernel.getOutputs()) {
      Value root = rootOf(result);
      if (!places.count(root)) {
        auto [it, isNew] = intervals.insert(
            {root, {root, bytesOf(cast<RankedTensorType>(root.getType()), symbols), time[kernel], time[kernel], 0}});
        it->second.last = std::max(it->second.last, time[kernel]);
      }
    }
  for (Operation &op : function.front())
    for (Value operand : op.getOperands())
      if (auto it = intervals.find(rootOf(operand)); it != intervals.end())
        it->second.last = std::max(it->second.last, time[&op]);

  SmallVector<Interval *> order;
  for (auto &[root, interval] : intervals)
    order.push_back(&interval);
  llvm::stable_sort(order, [](Interval *a, Interval *b) { return a->bytes > b->bytes; });
  SmallVector<Interval *> placed;
  for (Interval *interval : order) {
    SmallVector<std::pair<int64_t, int64_t>> busy;
    for (Interval *other : placed)
      if (other->first <= interval->last && interval->first <= other->last)
        busy.push_back({other->offset, other->offset + other->bytes});
    llvm::sort(busy);
    int64_t offset = 0;
    for (auto [begin, end] : busy) {
      if (offset + interval->bytes <= begin)
        break;
      offset = std::max<int64_t>(offset, llvm::alignTo(end, EDGECC_ALIGNMENT));
    }
    interval->offset = offset;
    placed.push_back(interval);
    places[interval->root] = in(plan::Memory::Arena, offset);
    arena = std::max<int64_t>(arena, llvm::alignTo(offset + interval->bytes, EDGECC_ALIGNMENT));
  }
}

LogicalResult EntryPlanner::place() {
  copyWhereShared();
  moveTails();
  if (failed(placeArguments()))
    return failure();
  placeArena();
  return success();
}

/// Those that can be negative in this entry. All their symbols are bound here: by the session, or by the size of an input.
SmallVector<AffineExpr> EntryPlanner::unsureSizes(AffineMap sizes) {
  llvm::DenseSet<AffineExpr> bound;
  for (auto [i, symbol] : llvm::enumerate(symbols))
    if (symbol.getRole() != edge::SymbolRole::Free)
      bound.insert(getAffineSymbolExpr(i, function.getContext()));
  for (BlockArgument arg : function.getArguments())
    if (!function.getArgAttr(arg.getArgNumber(), edge::EdgeDialect::kStateAttr))
      for (AffineExpr size : edge::shapeOf(arg))
        bound.insert(size);
  SmallVector<AffineExpr> unsure;
  for (AffineExpr size : sizes.getResults()) {
    bool known = true;
    size.walk([&](AffineExpr part) { known &= !isa<AffineSymbolExpr>(part) || bound.contains(part); });
    if (known && edge::boundsOf(size, symbols).first < 0)
      unsure.push_back(size);
  }
  return unsure;
}

void EntryPlanner::state(lower::KernelOutliner &outliner, OpBuilder &planBuilder) {
  MLIRContext *context = function.getContext();
  Location loc = function.getLoc();

  auto stringAttr = [&](Attribute attribute, StringRef fallback) {
    auto string = dyn_cast_or_null<StringAttr>(attribute);
    return string ? string : StringAttr::get(context, fallback);
  };
  std::string symbol = ("edgecc_entry_" + function.getName()).str();
  auto entry = plan::EntryOp::create(
      planBuilder, loc, function.getName(), symbol, arena, function->getAttrOfType<AffineMapAttr>("edge.advance"),
      function->getAttrOfType<IntegerAttr>(edge::EdgeDialect::kResumesAttr), function->hasAttr(edge::EdgeDialect::kFillsAttr));
  OpBuilder inside(context);
  inside.createBlock(&entry.getBody());
  auto planTensor = [&](StringAttr name, StringAttr element, AffineMapAttr shape, bool output) {
    return plan::TensorOp::create(inside, loc, name, element, shape, output ? inside.getUnitAttr() : UnitAttr());
  };
  auto planValue = [&](Type type, Attribute name, Attribute element, bool output) {
    AffineMap shape = edge::symbolMap(edge::shapeOf(cast<RankedTensorType>(type)), context);
    return planTensor(stringAttr(name, "unnamed"), stringAttr(element, "f32"), AffineMapAttr::get(shape), output);
  };
  for (BlockArgument arg : function.getArguments())
    if (unsigned i = arg.getArgNumber(); !function.getArgAttr(i, edge::EdgeDialect::kStateAttr)) {
      auto input = planValue(arg.getType(), function.getArgAttr(i, edge::EdgeDialect::kNameAttr),
                             function.getArgAttr(i, edge::EdgeDialect::kElementAttr), false);
      if (Attribute values = function.getArgAttr(i, edge::kValuesAttr))
        input->setAttr(edge::kValuesAttr, values);
    }
  for (auto [i, type] : llvm::enumerate(function.getResultTypes()))
    if (!function.getResultAttr(i, edge::EdgeDialect::kStateAttr))
      planValue(type, function.getResultAttr(i, edge::EdgeDialect::kNameAttr),
                function.getResultAttr(i, edge::EdgeDialect::kElementAttr), true);
  if (auto sizes = function->getAttrOfType<AffineMapAttr>(edge::kSizesAttr))
    if (SmallVector<AffineExpr> unsure = unsureSizes(sizes.getValue()); !unsure.empty())
      entry->setAttr(edge::kSizesAttr, AffineMapAttr::get(edge::symbolMap(unsure, context)));
  if (auto checked = function->getAttrOfType<ArrayAttr>(edge::kCheckedAttr))
    for (auto input : checked.getAsRange<DictionaryAttr>()) {
      auto tensor = planTensor(input.getAs<StringAttr>("name"), input.getAs<StringAttr>("element"),
                               input.getAs<AffineMapAttr>("shape"), false);
      tensor->setAttr(edge::kCheckedAttr, inside.getUnitAttr());
      tensor->setAttr(edge::kValuesAttr, input.get("values"));
    }

  auto step = [&](OpBuilder &builder, edge::KernelOp kernel) {
    SmallVector<Attribute> buffers;
    for (Value operand : kernel.getIns())
      buffers.push_back(placeOf(operand));
    for (Value operand : kernel.getOutputs())
      buffers.push_back(placeOf(operand));
    func::FuncOp task = outliner.outline(kernel);
    plan::StepOp::create(builder, kernel.getLoc(), task.getName(), kernel.getTasks(), builder.getArrayAttr(buffers));
  };
  SmallVector<edge::KernelOp> tail;
  for (Operation &op : llvm::make_early_inc_range(function.front())) {
    if (auto kernel = dyn_cast<edge::KernelOp>(op)) {
      if (tails.count(kernel))
        tail.push_back(kernel);
      else
        step(inside, kernel);
    } else if (auto exit = dyn_cast<edge::ExitOp>(op)) {
      auto leave = plan::LeaveOp::create(inside, exit.getLoc(), exit.getNumber(), placeOf(exit.getConfidence()));
      OpBuilder ending(context);
      ending.createBlock(&leave.getBody());
      for (edge::KernelOp kernel : tail)
        step(ending, kernel);
      tail.clear();
    }
  }
  function.erase();
}

struct PlanMemory : impl::PlanMemoryBase<PlanMemory> {
  void runOnOperation() override {
    ModuleOp module = getOperation();
    SmallVector<edge::SymbolAttr> symbols = edge::symbolsOf(module);
    SmallVector<func::FuncOp> functions(module.getOps<func::FuncOp>());

    OpBuilder builder = OpBuilder::atBlockEnd(module.getBody());
    auto name = module.getSymName().value_or("model");
    auto model = plan::ModelOp::create(builder, module.getLoc(), name, DictionaryAttr::get(&getContext()));
    if (auto facts = module->getAttrOfType<DictionaryAttr>("edge.facts"))
      model.setFactsAttr(facts);
    builder.createBlock(&model.getBody());

    planStates(functions, builder);
    planExits(model, builder);
    llvm::MapVector<Attribute, int64_t> weights;
    int64_t offset = 0;
    module.walk([&](edge::WeightOp weight) {
      if (!weights.insert({weight.getValue(), offset}).second)
        return;
      auto type = cast<RankedTensorType>(weight.getResult().getType());
      int64_t bytes = type.getNumElements() * edge::elementBytes(type.getElementType());
      plan::WeightOp::create(builder, weight.getLoc(), weight.getName(), offset, bytes, weight.getValue());
      offset = llvm::alignTo(offset + bytes, EDGECC_ALIGNMENT);
    });
    lower::KernelOutliner outliner(module);
    for (func::FuncOp function : functions) {
      EntryPlanner planner(function, symbols, weights);
      if (failed(planner.place()))
        return signalPassFailure();
      planner.state(outliner, builder);
    }
  }

  void planExits(plan::ModelOp model, OpBuilder &builder) {
    auto exits = getOperation()->getAttrOfType<ArrayAttr>(edge::EdgeDialect::kExitsAttr);
    if (!exits)
      return;
    if (auto layers = getOperation()->getAttrOfType<IntegerAttr>(edge::EdgeDialect::kLayersAttr))
      model.setLayers(layers.getInt());
    for (auto exit : exits.getAsRange<edge::ExitPointAttr>())
      plan::ExitOp::create(builder, model.getLoc(), exit.getLayer(), exit.getThreshold().getValue(),
                           edge::stringifyExitConfidence(exit.getConfidence()),
                           exit.getPending() < 0 ? IntegerAttr() : builder.getI64IntegerAttr(exit.getPending()));
  }

  // Entries share the states: the first function that has state i describes it.
  void planStates(ArrayRef<func::FuncOp> functions, OpBuilder &builder) {
    for (func::FuncOp function : functions) {
      bool any = false;
      for (BlockArgument arg : function.getArguments()) {
        unsigned i = arg.getArgNumber();
        if (!function.getArgAttr(i, edge::EdgeDialect::kStateAttr))
          continue;
        any = true;
        auto name = function.getArgAttrOfType<StringAttr>(i, edge::EdgeDialect::kNameAttr);
        auto element = function.getArgAttrOfType<StringAttr>(i, edge::EdgeDialect::kElementAttr);
        plan::StateOp::create(builder, function.getLoc(), name, element,
                              AffineMapAttr::get(edge::symbolMap(edge::shapeOf(arg), function.getContext())));
      }
      if (any)
        return;
    }
  }
};

} // namespace
} // namespace edgecc
