//===- EmitEntries.cpp - Steps become a table and one loop over it ------------===//
//
// A call per step would be two kilobytes of code for each layer. Here a layer is a few words of a constant table, and what stands
// in code is: the distinct tasks with their numbers, once per entry, and the loop, once per module. A word is small and free of
// addresses, so that the image needs no relocation.
//
//===----------------------------------------------------------------------===//
#include "dialects/edge/Shape.h"
#include "dialects/plan/PlanDialect.h"
#include "passes/Passes.h"
#include "passes/lower/Outline.h"
#include "runtime/include/edgecc/abi.h"
#include "llvm/ADT/MapVector.h"

using namespace mlir;
namespace edgecc {
#define GEN_PASS_DEF_EMITENTRIES
#include "passes/Passes.h.inc"

namespace {

// A step of the table: which task and how many buffers, then a word for each buffer: its memory, and its place there, in units
// of the alignment where that is a byte offset.
constexpr int64_t kTaskBits = 16, kMemoryBits = 3;
constexpr int64_t kMostPlaces = int64_t(1) << (32 - kMemoryBits);

/// Field of edgecc_call; dims are the first one, plan::Memory numbers the others. Each is 8 bytes.
constexpr int64_t kParallelFor = 6;

bool isByteOffset(plan::Memory memory) { return memory == plan::Memory::Arena || memory == plan::Memory::Weights; }

/// What a step calls, and how often: {task, count} in the entry's list of tasks.
using Task = std::pair<Attribute, AffineMap>;

class EntryEmitter {
public:
  EntryEmitter(ModuleOp module, func::FuncOp runSteps) : module(module), runSteps(runSteps), context(module.getContext()) {}

  LogicalResult emit(plan::EntryOp entry);

private:
  LogicalResult encode(plan::EntryOp entry);

  ModuleOp module;
  func::FuncOp runSteps;
  MLIRContext *context;
  llvm::MapVector<Task, int64_t> tasks;
  SmallVector<int32_t> words;
};

LogicalResult EntryEmitter::encode(plan::EntryOp entry) {
  for (plan::StepOp step : entry.getBody().getOps<plan::StepOp>()) {
    int64_t task = tasks.insert({{step.getTaskAttr(), step.getTasks()}, int64_t(tasks.size())}).first->second;
    if (task >> kTaskBits || step.getBuffers().size() >> kTaskBits)
      return step.emitOpError("is beyond the ") << (1 << kTaskBits) << " tasks or buffers that the table of steps can number";
    words.push_back(task | int64_t(step.getBuffers().size()) << kTaskBits);
    for (auto place : step.getBuffers().getAsRange<plan::PlaceAttr>()) {
      int64_t unit = isByteOffset(place.getMemory()) ? EDGECC_ALIGNMENT : 1;
      if (place.getAt() % unit || place.getAt() / unit >= kMostPlaces)
        return step.emitOpError("has a buffer at ")
               << place << "; the table of steps holds multiples of " << unit << " below " << kMostPlaces * unit;
      words.push_back(int64_t(place.getMemory()) | (place.getAt() / unit) << kMemoryBits);
    }
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

/// void (call, tasks, steps, words): the steps one after the other. At most `slots` buffers in a step.
func::FuncOp createRunSteps(ModuleOp module, int64_t slots) {
  MLIRContext *context = module.getContext();
  Location loc = module.getLoc();
  auto pointer = LLVM::LLVMPointerType::get(context);
  Type i64 = IntegerType::get(context, 64), i32 = IntegerType::get(context, 32);
  func::FuncOp function = lower::createFunction(module, "edgecc_run_steps", {pointer, pointer, pointer, i64}, /*isPrivate=*/true);
  function->setAttr("no_inline", UnitAttr::get(context));
  Value call = function.getArgument(0), tasks = function.getArgument(1), steps = function.getArgument(2),
        end = function.getArgument(3);
  OpBuilder builder = OpBuilder::atBlockBegin(&function.front());
  auto constant = [&](int64_t value) -> Value {
    return LLVM::ConstantOp::create(builder, loc, builder.getI64IntegerAttr(value));
  };
  auto element = [&](Type type, Value base, Value index) -> Value {
    return LLVM::LoadOp::create(builder, loc, type, LLVM::GEPOp::create(builder, loc, pointer, type, base, index));
  };
  auto word = [&](Value at) -> Value { return arith::ExtUIOp::create(builder, loc, i64, element(i32, steps, at)); };
  auto low = [&](Value value, int64_t bits) -> Value {
    return arith::AndIOp::create(builder, loc, value, constant((int64_t(1) << bits) - 1));
  };
  auto high = [&](Value value, int64_t bits) -> Value { return arith::ShRUIOp::create(builder, loc, value, constant(bits)); };
  auto plus = [&](Value a, Value b) -> Value { return arith::AddIOp::create(builder, loc, a, b); };

  Value zero = constant(0), one = constant(1);
  Value operands = LLVM::AllocaOp::create(builder, loc, pointer, pointer, constant(slots));
  Value parallelFor = element(pointer, call, constant(kParallelFor));
  auto parallelForType = LLVM::LLVMFunctionType::get(LLVM::LLVMVoidType::get(context), {pointer, pointer, pointer, i64});
  auto loop = scf::WhileOp::create(builder, loc, i64, zero);
  OpBuilder::InsertionGuard guard(builder);
  Block *before = builder.createBlock(&loop.getBefore(), {}, i64, loc);
  Value more = arith::CmpIOp::create(builder, loc, arith::CmpIPredicate::ult, before->getArgument(0), end);
  scf::ConditionOp::create(builder, loc, more, before->getArguments());

  Block *body = builder.createBlock(&loop.getAfter(), {}, i64, loc);
  Value head = word(body->getArgument(0)), count = high(head, kTaskBits), first = plus(body->getArgument(0), one);
  scf::ForOp::create(builder, loc, zero, count, one, ValueRange(), [&](OpBuilder &, Location, Value i, ValueRange) {
    OpBuilder::InsertionGuard inLoop(builder);
    builder.setInsertionPointToEnd(i.getParentBlock());
    Value place = word(plus(first, i)), memory = low(place, kMemoryBits), at = high(place, kMemoryBits);
    Value base = element(pointer, call, memory);
    static_assert(int(plan::Memory::Arena) == 1 && int(plan::Memory::Weights) == 2, "byte offsets come first");
    Value inBytes =
        arith::CmpIOp::create(builder, loc, arith::CmpIPredicate::ule, memory, constant(int64_t(plan::Memory::Weights)));
    auto choice = scf::IfOp::create(builder, loc, TypeRange(pointer), inBytes, /*withElseRegion=*/true);
    {
      OpBuilder::InsertionGuard inChoice(builder);
      builder.setInsertionPointToStart(choice.thenBlock());
      Value bytes = arith::MulIOp::create(builder, loc, at, constant(EDGECC_ALIGNMENT));
      Value address = LLVM::GEPOp::create(builder, loc, pointer, builder.getI8Type(), base, bytes);
      scf::YieldOp::create(builder, loc, address);
      builder.setInsertionPointToStart(choice.elseBlock());
      Value given = element(pointer, base, at);
      scf::YieldOp::create(builder, loc, given);
    }
    LLVM::StoreOp::create(builder, loc, choice.getResult(0), LLVM::GEPOp::create(builder, loc, pointer, pointer, operands, i));
    scf::YieldOp::create(builder, loc);
  });
  Value pair = arith::MulIOp::create(builder, loc, low(head, kTaskBits), constant(2));
  Value task = element(pointer, tasks, pair), number = element(i64, tasks, plus(pair, one));
  LLVM::CallOp::create(builder, loc, parallelForType, ValueRange{parallelFor, call, task, operands, number});
  Value next = plus(first, count);
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
    func::FuncOp runSteps = createRunSteps(module, slots);
    WalkResult result = module.walk([&](plan::EntryOp entry) {
      return failed(EntryEmitter(module, runSteps).emit(entry)) ? WalkResult::interrupt() : WalkResult::advance();
    });
    if (result.wasInterrupted())
      signalPassFailure();
  }
};

} // namespace
} // namespace edgecc
