//===- PlanMemory.cpp - Every buffer gets its place -------------------------===//
//
// Kernels are outlined (equal bodies once: layers are data, not code), tensors between them become offsets into one arena,
// weights offsets into one segment, and each function becomes an entry of type edgecc_entry (runtime/include/edgecc/abi.h).
// What the runtime must know of it is stated as a plan.model.
//
//===----------------------------------------------------------------------===//
#include "dialects/edge/Shape.h"
#include "mlir/Conversion/LLVMCommon/MemRefBuilder.h"
#include "mlir/Conversion/LLVMCommon/TypeConverter.h"
#include "mlir/IR/IRMapping.h"
#include "passes/Passes.h"
#include "runtime/include/edgecc/abi.h"
#include "llvm/ADT/MapVector.h"
#include "llvm/Support/MathExtras.h"
#include <unordered_map>

using namespace mlir;
namespace edgecc {
#define GEN_PASS_DEF_PLANMEMORY
#include "passes/Passes.h.inc"

namespace {

// Fields of edgecc_call, each 8 bytes.
enum CallField { kDims, kArena, kWeights, kStates, kInputs, kOutputs, kParallelFor };

struct Place {
  enum Kind { Arena, Weight, State, Input, Output } kind;
  int64_t index = 0;  // of the state, input or output
  int64_t offset = 0; // in the arena or the weights
};

//===----------------------------------------------------------------------===//
// Kernels: outlined once for equal bodies
//===----------------------------------------------------------------------===//

class KernelOutliner {
public:
  KernelOutliner(ModuleOp module) : module(module), typeConverter(module.getContext()) {}

  /// The function `void (dims, buffers, task)` that does what the kernel's body does.
  func::FuncOp outline(edge::KernelOp kernel);

private:
  func::FuncOp createBody(edge::KernelOp kernel, StringRef name);
  func::FuncOp createTask(func::FuncOp body, StringRef name, unsigned buffers);

  struct Outlined {
    SmallVector<Type> tensors;
    std::unique_ptr<Region> body; // a copy: the kernel's own moves into the function
    func::FuncOp function;
  };

  ModuleOp module;
  LLVMTypeConverter typeConverter;
  std::unordered_map<size_t, std::vector<Outlined>> known; // by a hash of the operations
  llvm::StringMap<unsigned> counts;
};

SmallVector<Type> tensorsOf(edge::KernelOp kernel) {
  SmallVector<Type> types(kernel.getIns().getTypes());
  llvm::append_range(types, kernel.getOutputs().getTypes());
  return types;
}

func::FuncOp createFunction(ModuleOp module, StringRef name, TypeRange types, bool isPrivate) {
  OpBuilder builder = OpBuilder::atBlockEnd(module.getBody());
  auto function = func::FuncOp::create(builder, module.getLoc(), name, builder.getFunctionType(types, {}));
  if (isPrivate) {
    function.setPrivate();
    function->setAttr("llvm.linkage", LLVM::LinkageAttr::get(module.getContext(), LLVM::Linkage::Internal));
  }
  function.addEntryBlock();
  return function;
}

// edge.dim i -> dims[i].
void lowerDims(func::FuncOp function, Value dims) {
  function.walk([&](edge::DimOp op) {
    OpBuilder builder(op);
    Type i64 = builder.getI64Type();
    Value address =
        LLVM::GEPOp::create(builder, op.getLoc(), dims.getType(), i64, dims, ArrayRef<LLVM::GEPArg>{int32_t(op.getSymbol())});
    auto value = LLVM::LoadOp::create(builder, op.getLoc(), i64, address);
    // Kernels write to memory between two reads of a size; the size stays.
    value.setInvariant(true);
    op.replaceAllUsesWith(
        UnrealizedConversionCastOp::create(builder, op.getLoc(), builder.getIndexType(), value.getResult()).getResult(0));
    op.erase();
  });
}

func::FuncOp KernelOutliner::createBody(edge::KernelOp kernel, StringRef name) {
  MLIRContext *context = module.getContext();
  auto pointer = LLVM::LLVMPointerType::get(context);
  SmallVector<Type> types = {pointer, IndexType::get(context)};
  types.append(kernel.bufferArgs().size(), pointer);
  func::FuncOp function = createFunction(module, name, types, /*isPrivate=*/true);
  // A body that is inlined into its task loses what is known of its pointers.
  function->setAttr("no_inline", UnitAttr::get(context));
  Block &block = function.front();
  OpBuilder builder = OpBuilder::atBlockBegin(&block);
  Location loc = kernel.getLoc();

  SmallVector<Value> buffers = {block.getArgument(1)};
  for (auto [i, tensor, arg] : llvm::enumerate(tensorsOf(kernel), kernel.bufferArgs())) {
    Value data = block.getArgument(2 + i);
    function.setArgAttr(2 + i, LLVM::LLVMDialect::getNoAliasAttrName(), builder.getUnitAttr());
    auto type = cast<MemRefType>(arg.getType());
    auto descriptor = MemRefDescriptor::poison(builder, loc, typeConverter.convertType(type));
    descriptor.setAllocatedPtr(builder, loc, data);
    descriptor.setAlignedPtr(builder, loc, data);
    Type i64 = builder.getI64Type();
    auto constant = [&](int64_t value) -> Value {
      return LLVM::ConstantOp::create(builder, loc, i64, builder.getI64IntegerAttr(value));
    };
    descriptor.setOffset(builder, loc, constant(0));
    edge::SymbolicShape shape = edge::shapeOf(cast<RankedTensorType>(tensor));
    AffineExpr stride = getAffineConstantExpr(1, context);
    auto value = [&](AffineExpr size) -> Value {
      if (auto known = dyn_cast<AffineConstantExpr>(size))
        return constant(known.getValue());
      return UnrealizedConversionCastOp::create(builder, loc, i64, edge::materialize(builder, loc, size)).getResult(0);
    };
    for (int64_t dim = type.getRank() - 1; dim >= 0; --dim) {
      descriptor.setSize(builder, loc, dim, value(shape[dim]));
      descriptor.setStride(builder, loc, dim, value(stride));
      stride = edge::canonical(stride * shape[dim]);
    }
    buffers.push_back(UnrealizedConversionCastOp::create(builder, loc, type, Value(descriptor)).getResult(0));
  }
  Block &body = kernel.getBody().front();
  body.getTerminator()->erase();
  builder.setInsertionPointToEnd(&block);
  auto end = func::ReturnOp::create(builder, loc);
  block.getOperations().splice(end->getIterator(), body.getOperations());
  for (auto [arg, buffer] : llvm::zip(body.getArguments(), buffers))
    arg.replaceAllUsesWith(buffer);
  builder.setInsertionPointToEnd(&body);
  edge::YieldOp::create(builder, loc, ValueRange());
  lowerDims(function, block.getArgument(0));
  return function;
}

// The runtime passes an array of pointers; the body wants each as an argument, so that they can be declared free of aliases.
func::FuncOp KernelOutliner::createTask(func::FuncOp body, StringRef name, unsigned buffers) {
  MLIRContext *context = module.getContext();
  auto pointer = LLVM::LLVMPointerType::get(context);
  Type i64 = IntegerType::get(context, 64);
  func::FuncOp function = createFunction(module, name, {pointer, pointer, i64}, /*isPrivate=*/true);
  OpBuilder builder = OpBuilder::atBlockBegin(&function.front());
  Location loc = body.getLoc();
  SmallVector<Value> args = {
      function.getArgument(0),
      UnrealizedConversionCastOp::create(builder, loc, builder.getIndexType(), function.getArgument(2)).getResult(0)};
  for (unsigned i = 0; i < buffers; ++i) {
    Value address =
        LLVM::GEPOp::create(builder, loc, pointer, pointer, function.getArgument(1), ArrayRef<LLVM::GEPArg>{int32_t(i)});
    args.push_back(LLVM::LoadOp::create(builder, loc, pointer, address));
  }
  func::CallOp::create(builder, loc, body, args);
  func::ReturnOp::create(builder, loc);
  return function;
}

func::FuncOp KernelOutliner::outline(edge::KernelOp kernel) {
  constexpr auto flags = OperationEquivalence::IgnoreLocations;
  SmallVector<Type> tensors = tensorsOf(kernel);
  llvm::hash_code hash = llvm::hash_combine_range(tensors.begin(), tensors.end());
  kernel.getBody().walk([&](Operation *op) {
    hash = llvm::hash_combine(hash, OperationEquivalence::computeHash(op, OperationEquivalence::ignoreHashValue,
                                                                      OperationEquivalence::ignoreHashValue, flags));
  });
  std::vector<Outlined> &candidates = known[size_t(hash)];
  for (Outlined &candidate : candidates)
    if (candidate.tensors == tensors &&
        OperationEquivalence::isRegionEquivalentTo(candidate.body.get(), &kernel.getBody(), flags))
      return candidate.function;

  unsigned number = counts[kernel.getName()]++;
  std::string name = (kernel.getName() + "_" + Twine(number)).str();
  unsigned buffers = kernel.bufferArgs().size();
  auto copy = std::make_unique<Region>();
  IRMapping mapping;
  kernel.getBody().cloneInto(copy.get(), mapping);
  func::FuncOp function = createTask(createBody(kernel, name), name + ".task", buffers);
  candidates.push_back({tensors, std::move(copy), function});
  return function;
}

//===----------------------------------------------------------------------===//
// Places: weights, states, inputs, outputs, and offsets into the arena
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

  LogicalResult plan();
  void emit(KernelOutliner &outliner, OpBuilder &planBuilder);

private:
  void copyWhereShared();
  LogicalResult placeArguments();
  void placeArena();
  Place placeOf(Value value) { return places.find(rootOf(value))->second; }

  func::FuncOp function;
  ArrayRef<edge::SymbolAttr> symbols;
  const llvm::MapVector<Attribute, int64_t> &weights;
  DenseMap<Value, Place> places; // of roots
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
  for (OpOperand &operand : end->getOpOperands()) {
    if (function.getResultAttr(operand.getOperandNumber(), edge::EdgeDialect::kStateAttr))
      continue;
    Value root = rootOf(operand.get());
    if (isa<BlockArgument>(root) || root.getDefiningOp<edge::WeightOp>() || !taken.insert(root).second) {
      OpBuilder builder(end);
      operand.set(insertCopy(builder, end->getLoc(), operand.get()));
    }
  }
}

LogicalResult EntryPlanner::placeArguments() {
  int64_t inputs = 0, outputs = 0;
  for (BlockArgument arg : function.getArguments()) {
    if (auto state = function.getArgAttrOfType<IntegerAttr>(arg.getArgNumber(), edge::EdgeDialect::kStateAttr))
      places[arg] = {Place::State, state.getInt()};
    else
      places[arg] = {Place::Input, inputs++};
  }
  for (auto weight : function.getOps<edge::WeightOp>())
    places[weight.getResult()] = {Place::Weight, 0, weights.find(weight.getValue())->second};
  for (OpOperand &operand : function.front().getTerminator()->getOpOperands()) {
    Value root = rootOf(operand.get());
    if (auto state = function.getResultAttrOfType<IntegerAttr>(operand.getOperandNumber(), edge::EdgeDialect::kStateAttr)) {
      auto it = places.find(root);
      if (it == places.end() || it->second.kind != Place::State || it->second.index != state.getInt())
        return function.emitError("state ") << state.getInt() << " is not updated in place: result " << operand.getOperandNumber()
                                            << " does not come from it by in-place kernels";
      continue;
    }
    places[root] = {Place::Output, outputs++};
  }
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
    places[interval->root] = {Place::Arena, 0, offset};
    arena = std::max<int64_t>(arena, llvm::alignTo(offset + interval->bytes, EDGECC_ALIGNMENT));
  }
}

LogicalResult EntryPlanner::plan() {
  copyWhereShared();
  if (failed(placeArguments()))
    return failure();
  placeArena();
  return success();
}

void EntryPlanner::emit(KernelOutliner &outliner, OpBuilder &planBuilder) {
  MLIRContext *context = function.getContext();
  auto module = function->getParentOfType<ModuleOp>();
  Location loc = function.getLoc();
  auto pointer = LLVM::LLVMPointerType::get(context);

  // plan.entry
  auto stringAttr = [&](Attribute attribute, StringRef fallback) {
    auto string = dyn_cast_or_null<StringAttr>(attribute);
    return string ? string : StringAttr::get(context, fallback);
  };
  std::string symbol = ("edgecc_entry_" + function.getName()).str();
  auto entry = plan::EntryOp::create(planBuilder, loc, function.getName(), symbol, arena,
                                     function->getAttrOfType<AffineMapAttr>("edge.advance"));
  OpBuilder tensorBuilder(context);
  tensorBuilder.createBlock(&entry.getBody());
  auto planTensor = [&](Type type, Attribute name, Attribute element, bool output) {
    auto tensor = cast<RankedTensorType>(type);
    plan::TensorOp::create(tensorBuilder, loc, stringAttr(name, "unnamed"), stringAttr(element, "f32"),
                           AffineMapAttr::get(edge::symbolMap(edge::shapeOf(tensor), context)),
                           output ? tensorBuilder.getUnitAttr() : UnitAttr());
  };
  for (BlockArgument arg : function.getArguments())
    if (unsigned i = arg.getArgNumber(); !function.getArgAttr(i, edge::EdgeDialect::kStateAttr))
      planTensor(arg.getType(), function.getArgAttr(i, edge::EdgeDialect::kNameAttr),
                 function.getArgAttr(i, edge::EdgeDialect::kElementAttr), false);
  for (auto [i, type] : llvm::enumerate(function.getResultTypes()))
    if (!function.getResultAttr(i, edge::EdgeDialect::kStateAttr))
      planTensor(type, function.getResultAttr(i, edge::EdgeDialect::kNameAttr),
                 function.getResultAttr(i, edge::EdgeDialect::kElementAttr), true);

  // void edgecc_entry_NAME(const edgecc_call *)
  func::FuncOp code = createFunction(module, symbol, {pointer}, /*isPrivate=*/false);
  OpBuilder builder = OpBuilder::atBlockBegin(&code.front());
  Value call = code.getArgument(0);
  auto load = [&](Value base, int64_t index) -> Value {
    Value address = LLVM::GEPOp::create(builder, loc, pointer, pointer, base, ArrayRef<LLVM::GEPArg>{int32_t(index)});
    return LLVM::LoadOp::create(builder, loc, pointer, address);
  };
  Value fields[kParallelFor + 1];
  for (int field = kDims; field <= kParallelFor; ++field)
    fields[field] = load(call, field);
  size_t most = 1;
  for (auto kernel : function.getOps<edge::KernelOp>())
    most = std::max(most, kernel.bufferArgs().size());
  Value slots = LLVM::AllocaOp::create(builder, loc, pointer, pointer,
                                       LLVM::ConstantOp::create(builder, loc, builder.getI64IntegerAttr(most)));
  auto at = [&](Value base, int64_t offset) -> Value {
    Value bytes = LLVM::ConstantOp::create(builder, loc, builder.getI64IntegerAttr(offset));
    return LLVM::GEPOp::create(builder, loc, pointer, builder.getI8Type(), base, ValueRange{bytes});
  };
  auto address = [&](Value value) -> Value {
    Place place = placeOf(value);
    switch (place.kind) {
    case Place::Arena: return at(fields[kArena], place.offset);
    case Place::Weight: return at(fields[kWeights], place.offset);
    case Place::State: return load(fields[kStates], place.index);
    case Place::Input: return load(fields[kInputs], place.index);
    case Place::Output: return load(fields[kOutputs], place.index);
    }
    llvm_unreachable("all kinds are handled");
  };
  for (edge::KernelOp kernel : llvm::to_vector(function.getOps<edge::KernelOp>())) {
    SmallVector<Value> operands(kernel.getIns());
    llvm::append_range(operands, kernel.getOutputs());
    for (auto [i, operand] : llvm::enumerate(operands)) {
      Value slot = LLVM::GEPOp::create(builder, loc, pointer, pointer, slots, ArrayRef<LLVM::GEPArg>{int32_t(i)});
      LLVM::StoreOp::create(builder, loc, address(operand), slot);
    }
    func::FuncOp task = outliner.outline(kernel);
    AffineExpr count = kernel.getTasks().getResult(0);
    if (isa<AffineConstantExpr>(count) && cast<AffineConstantExpr>(count).getValue() == 1) {
      Value zero = LLVM::ConstantOp::create(builder, loc, builder.getI64IntegerAttr(0));
      func::CallOp::create(builder, loc, task, ValueRange{fields[kDims], slots, zero});
      continue;
    }
    Value tasks = edge::materialize(builder, loc, count);
    tasks = UnrealizedConversionCastOp::create(builder, loc, builder.getI64Type(), tasks).getResult(0);
    Value function = func::ConstantOp::create(builder, loc, task.getFunctionType(), task.getName());
    function = UnrealizedConversionCastOp::create(builder, loc, pointer, function).getResult(0);
    LLVM::CallOp::create(
        builder, loc,
        LLVM::LLVMFunctionType::get(LLVM::LLVMVoidType::get(context), {pointer, pointer, pointer, builder.getI64Type()}),
        ValueRange{fields[kParallelFor], call, function, slots, tasks});
  }
  func::ReturnOp::create(builder, loc);
  lowerDims(code, fields[kDims]);
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
    KernelOutliner outliner(module);
    for (func::FuncOp function : functions) {
      EntryPlanner planner(function, symbols, weights);
      if (failed(planner.plan()))
        return signalPassFailure();
      planner.emit(outliner, builder);
    }
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
