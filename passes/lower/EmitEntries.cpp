//===- EmitEntries.cpp - Steps become a table and one loop over it ------------===//
//
// A call per step would be two kilobytes of code for each layer. Here a layer is a few words of a constant table, and what stands
// in code is: the distinct tasks with their numbers, once per entry, and the loop, once per module. A word is small and free of
// addresses, so that the image needs no relocation.
//
// An exit is three words before its own steps: its number under a task that none has, the place of the confidence, and how many
// words its steps are. The loop either skips these or makes their end its own.
//
//===----------------------------------------------------------------------===//
#include "dialects/edge/Shape.h"
#include "dialects/plan/PlanDialect.h"
#include "passes/Passes.h"
#include "passes/lower/Outline.h"
#include "runtime/include/edgecc/abi.h"
#include "llvm/ADT/MapVector.h"
#include <cstddef>

using namespace mlir;
namespace edgecc {
#define GEN_PASS_DEF_EMITENTRIES
#include "passes/Passes.h.inc"

namespace {

// A step of the table: which task and how many buffers, then a word for each buffer: its memory, and its place there, in units
// of the alignment where that is a byte offset.
constexpr int64_t kTaskBits = 16, kMemoryBits = 3;
constexpr int64_t kMostPlaces = int64_t(1) << (32 - kMemoryBits);

/// The task of an exit.
constexpr int64_t kExit = (int64_t(1) << kTaskBits) - 1;

/// Fields of edgecc_call; dims are the first one, plan::Memory numbers the others. Each is 8 bytes.
constexpr int64_t kParallelFor = 6, kExits = 8, kExitTaken = 9;
static_assert(offsetof(edgecc_call, parallel_for) == 8 * kParallelFor && offsetof(edgecc_call, exits) == 8 * kExits &&
              offsetof(edgecc_call, exit_taken) == 8 * kExitTaken);

bool isByteOffset(plan::Memory memory) { return memory == plan::Memory::Arena || memory == plan::Memory::Weights; }

/// What a step calls, and how often: {task, count} in the entry's list of tasks.
using Task = std::pair<Attribute, AffineMap>;

class EntryEmitter {
public:
  EntryEmitter(ModuleOp module, func::FuncOp runSteps) : module(module), runSteps(runSteps), context(module.getContext()) {}

  LogicalResult emit(plan::EntryOp entry);

private:
  LogicalResult encode(plan::EntryOp entry);
  LogicalResult encode(plan::StepOp step);
  LogicalResult encode(plan::LeaveOp leave);
  LogicalResult encode(Operation *op, plan::PlaceAttr place);

  ModuleOp module;
  func::FuncOp runSteps;
  MLIRContext *context;
  llvm::MapVector<Task, int64_t> tasks;
  SmallVector<int32_t> words;
};

LogicalResult EntryEmitter::encode(Operation *op, plan::PlaceAttr place) {
  int64_t unit = isByteOffset(place.getMemory()) ? EDGECC_ALIGNMENT : 1;
  if (place.getAt() % unit || place.getAt() / unit >= kMostPlaces)
    return op->emitOpError("has a buffer at ")
           << place << "; the table of steps holds multiples of " << unit << " below " << kMostPlaces * unit;
  words.push_back(int64_t(place.getMemory()) | (place.getAt() / unit) << kMemoryBits);
  return success();
}

LogicalResult EntryEmitter::encode(plan::StepOp step) {
  int64_t task = tasks.insert({{step.getTaskAttr(), step.getTasks()}, int64_t(tasks.size())}).first->second;
  if (task >= kExit || step.getBuffers().size() >> kTaskBits)
    return step.emitOpError("is beyond the ") << kExit << " tasks or buffers that the table of steps can number";
  words.push_back(task | int64_t(step.getBuffers().size()) << kTaskBits);
  for (auto place : step.getBuffers().getAsRange<plan::PlaceAttr>())
    if (failed(encode(step, place)))
      return failure();
  return success();
}

LogicalResult EntryEmitter::encode(plan::LeaveOp leave) {
  words.push_back(kExit | int64_t(leave.getNumber()) << kTaskBits);
  if (failed(encode(leave, leave.getConfidence())))
    return failure();
  size_t length = words.size();
  words.push_back(0);
  for (plan::StepOp step : leave.getBody().getOps<plan::StepOp>())
    if (failed(encode(step)))
      return failure();
  words[length] = words.size() - length - 1;
  return success();
}

LogicalResult EntryEmitter::encode(plan::EntryOp entry) {
  for (Operation &op : entry.getBody().front()) {
    if (auto step = dyn_cast<plan::StepOp>(op); step && failed(encode(step)))
      return failure();
    if (auto leave = dyn_cast<plan::LeaveOp>(op); leave && failed(encode(leave)))
      return failure();
  }
  return success();
}

LogicalResult EntryEmitter::emit(plan::EntryOp entry) {
  if (failed(encode(entry)))
    return failure();
  Location loc = entry.getLoc();
  auto pointer = LLVM::LLVMPointerType::get(context);
  func::FuncOp code = lower::createFunction(module, entry.getFunction(), {pointer}, /*isPrivate=*/false);
  OpBuilder builder = OpBuilder::atBlockBegin(&code.front());
  Type i64 = builder.getI64Type();
  auto constant = [&](int64_t value) -> Value {
    return LLVM::ConstantOp::create(builder, loc, builder.getI64IntegerAttr(value));
  };
  Value call = code.getArgument(0);
  if (!words.empty()) {
    std::string name = (entry.getFunction() + ".steps").str();
    auto type = LLVM::LLVMArrayType::get(builder.getI32Type(), words.size());
    auto value =
        DenseElementsAttr::get(RankedTensorType::get({int64_t(words.size())}, builder.getI32Type()), ArrayRef<int32_t>(words));
    OpBuilder atEnd = OpBuilder::atBlockEnd(module.getBody());
    auto table = LLVM::GlobalOp::create(atEnd, loc, type, /*isConstant=*/true, LLVM::Linkage::Internal, name, value);

    auto pairType = LLVM::LLVMStructType::getLiteral(context, {pointer, i64});
    Value list = LLVM::AllocaOp::create(builder, loc, pointer, pairType, constant(tasks.size()));
    for (auto &[task, number] : tasks) {
      auto symbol = cast<FlatSymbolRefAttr>(task.first);
      auto function = module.lookupSymbol<func::FuncOp>(symbol);
      if (!function)
        return entry.emitOpError("has a step of the task ") << symbol << ", which is not in the module";
      auto field = [&](int32_t index) -> Value {
        return LLVM::GEPOp::create(builder, loc, pointer, pairType, list, ArrayRef<LLVM::GEPArg>{int32_t(number), index});
      };
      Value address = func::ConstantOp::create(builder, loc, function.getFunctionType(), function.getName());
      address = UnrealizedConversionCastOp::create(builder, loc, pointer, address).getResult(0);
      LLVM::StoreOp::create(builder, loc, address, field(0));
      Value count = edge::materialize(builder, loc, task.second.getResult(0));
      count = UnrealizedConversionCastOp::create(builder, loc, i64, count).getResult(0);
      LLVM::StoreOp::create(builder, loc, count, field(1));
    }
    Value steps = LLVM::AddressOfOp::create(builder, loc, table);
    func::CallOp::create(builder, loc, runSteps, ValueRange{call, list, steps, constant(words.size())});
  }
  func::ReturnOp::create(builder, loc);
  Value dims = LLVM::LoadOp::create(builder, loc, pointer, call);
  dims.getDefiningOp()->moveBefore(&code.front(), code.front().begin());
  lower::lowerDims(code, dims);
  return success();
}

/// Writes the loop over a table of steps, void (call, tasks, steps, words), for steps of at most `slots` buffers.
class LoopWriter {
public:
  LoopWriter(ModuleOp module, int64_t slots, bool hasExits)
      : context(module.getContext()), loc(module.getLoc()), builder(context), slots(slots), hasExits(hasExits) {
    function = lower::createFunction(module, "edgecc_run_steps", {pointer, pointer, pointer, i64}, /*isPrivate=*/true);
    function->setAttr("no_inline", UnitAttr::get(context));
    call = function.getArgument(0), tasks = function.getArgument(1), steps = function.getArgument(2);
  }

  func::FuncOp run();

private:
  using Pair = SmallVector<Value, 2>; // where the next step is, and where the steps end

  Pair step(Value head, Value first, Value end);
  Pair leave(Value head, Value first, Value end);
  Value address(Value place);

  Value constant(int64_t value) { return LLVM::ConstantOp::create(builder, loc, builder.getI64IntegerAttr(value)); }
  Value at(Type type, Value base, Value index) { return LLVM::GEPOp::create(builder, loc, pointer, type, base, index); }
  Value element(Type type, Value base, Value index) { return LLVM::LoadOp::create(builder, loc, type, at(type, base, index)); }
  Value word(Value index) { return arith::ExtUIOp::create(builder, loc, i64, element(i32, steps, index)); }
  Value low(Value value, int64_t bits) { return arith::AndIOp::create(builder, loc, value, constant((int64_t(1) << bits) - 1)); }
  Value high(Value value, int64_t bits) { return arith::ShRUIOp::create(builder, loc, value, constant(bits)); }
  Value plus(Value a, Value b) { return arith::AddIOp::create(builder, loc, a, b); }
  /// One pair of values or the other.
  Pair choose(Value condition, function_ref<Pair()> then, function_ref<Pair()> otherwise, TypeRange types);

  MLIRContext *context;
  Location loc;
  OpBuilder builder;
  int64_t slots;
  bool hasExits;
  Type pointer = LLVM::LLVMPointerType::get(context), i64 = IntegerType::get(context, 64), i32 = IntegerType::get(context, 32);
  func::FuncOp function;
  Value call, tasks, steps, operands, parallelFor;
};

LoopWriter::Pair LoopWriter::choose(Value condition, function_ref<Pair()> then, function_ref<Pair()> otherwise, TypeRange types) {
  auto choice = scf::IfOp::create(builder, loc, types, condition, /*withElseRegion=*/true);
  OpBuilder::InsertionGuard guard(builder);
  builder.setInsertionPointToStart(choice.thenBlock());
  Pair values = then();
  scf::YieldOp::create(builder, loc, values);
  builder.setInsertionPointToStart(choice.elseBlock());
  values = otherwise();
  scf::YieldOp::create(builder, loc, values);
  return Pair(choice.getResults());
}

/// Where a buffer lies in this call.
Value LoopWriter::address(Value place) {
  Value memory = low(place, kMemoryBits), number = high(place, kMemoryBits);
  Value base = element(pointer, call, memory);
  static_assert(int(plan::Memory::Arena) == 1 && int(plan::Memory::Weights) == 2, "byte offsets come first");
  Value inBytes =
      arith::CmpIOp::create(builder, loc, arith::CmpIPredicate::ule, memory, constant(int64_t(plan::Memory::Weights)));
  auto offset = [&]() -> Pair {
    Value bytes = arith::MulIOp::create(builder, loc, number, constant(EDGECC_ALIGNMENT));
    return {at(builder.getI8Type(), base, bytes)};
  };
  return choose(inBytes, offset, [&]() -> Pair { return {element(pointer, base, number)}; }, pointer)[0];
}

LoopWriter::Pair LoopWriter::step(Value head, Value first, Value end) {
  Value count = high(head, kTaskBits);
  scf::ForOp::create(builder, loc, constant(0), count, constant(1), ValueRange(),
                     [&](OpBuilder &, Location, Value i, ValueRange) {
    OpBuilder::InsertionGuard inLoop(builder);
    builder.setInsertionPointToEnd(i.getParentBlock());
    LLVM::StoreOp::create(builder, loc, address(word(plus(first, i))), at(pointer, operands, i));
    scf::YieldOp::create(builder, loc);
  });
  Value pair = arith::MulIOp::create(builder, loc, low(head, kTaskBits), constant(2));
  Value task = element(pointer, tasks, pair), number = element(i64, tasks, plus(pair, constant(1)));
  auto type = LLVM::LLVMFunctionType::get(LLVM::LLVMVoidType::get(context), {pointer, pointer, pointer, i64});
  LLVM::CallOp::create(builder, loc, type, ValueRange{parallelFor, call, task, operands, number});
  return {plus(first, count), end};
}

LoopWriter::Pair LoopWriter::leave(Value head, Value first, Value end) {
  Type f32 = builder.getF32Type();
  Value number = high(head, kTaskBits), own = plus(first, constant(2));
  Value after = plus(own, word(plus(first, constant(1))));
  Value confidence = LLVM::LoadOp::create(builder, loc, f32, address(word(first)));
  // {threshold, confidence} of this exit
  Value point = at(i64, element(pointer, call, constant(kExits)), number);
  Value threshold = LLVM::LoadOp::create(builder, loc, f32, point);
  LLVM::StoreOp::create(builder, loc, confidence, at(f32, point, constant(1)));
  Value sure = arith::CmpFOp::create(builder, loc, arith::CmpFPredicate::OGE, confidence, threshold);
  auto taken = [&]() -> Pair {
    LLVM::StoreOp::create(builder, loc, number, element(pointer, call, constant(kExitTaken)));
    return {own, after};
  };
  return choose(sure, taken, [&]() -> Pair { return {after, end}; }, {i64, i64});
}

func::FuncOp LoopWriter::run() {
  builder.setInsertionPointToStart(&function.front());
  operands = LLVM::AllocaOp::create(builder, loc, pointer, pointer, constant(slots));
  parallelFor = element(pointer, call, constant(kParallelFor));
  SmallVector<Value> start = {constant(0), function.getArgument(3)};
  auto loop = scf::WhileOp::create(builder, loc, TypeRange{i64, i64}, start);
  OpBuilder::InsertionGuard guard(builder);
  Block *before = builder.createBlock(&loop.getBefore(), {}, {i64, i64}, {loc, loc});
  Value more = arith::CmpIOp::create(builder, loc, arith::CmpIPredicate::ult, before->getArgument(0), before->getArgument(1));
  scf::ConditionOp::create(builder, loc, more, before->getArguments());

  Block *body = builder.createBlock(&loop.getAfter(), {}, {i64, i64}, {loc, loc});
  Value head = word(body->getArgument(0)), first = plus(body->getArgument(0), constant(1)), end = body->getArgument(1);
  auto doStep = [&] { return step(head, first, end); };
  Pair next;
  if (hasExits) {
    Value isExit = arith::CmpIOp::create(builder, loc, arith::CmpIPredicate::eq, low(head, kTaskBits), constant(kExit));
    next = choose(isExit, [&] { return leave(head, first, end); }, doStep, {i64, i64});
  } else {
    next = doStep();
  }
  scf::YieldOp::create(builder, loc, next);
  builder.setInsertionPointAfter(loop);
  func::ReturnOp::create(builder, loc);
  return function;
}

struct EmitEntries : impl::EmitEntriesBase<EmitEntries> {
  void runOnOperation() override {
    ModuleOp module = getOperation();
    int64_t slots = 0;
    module.walk([&](plan::StepOp step) { slots = std::max<int64_t>(slots, step.getBuffers().size()); });
    bool hasExits = module.walk([](plan::LeaveOp) { return WalkResult::interrupt(); }).wasInterrupted();
    func::FuncOp runSteps = LoopWriter(module, slots, hasExits).run();
    WalkResult result = module.walk([&](plan::EntryOp entry) {
      return failed(EntryEmitter(module, runSteps).emit(entry)) ? WalkResult::interrupt() : WalkResult::advance();
    });
    if (result.wasInterrupted())
      signalPassFailure();
  }
};

} // namespace
} // namespace edgecc
