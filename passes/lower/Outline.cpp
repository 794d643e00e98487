//===- Outline.cpp - Kernels become functions ---------------------------------===//
#include "passes/lower/Outline.h"
#include "dialects/edge/Shape.h"
#include "mlir/Conversion/LLVMCommon/MemRefBuilder.h"
#include "mlir/IR/IRMapping.h"
#include "passes/Passes.h"

using namespace mlir;
namespace edgecc::lower {

static SmallVector<Type> tensorsOf(edge::KernelOp kernel) {
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

} // namespace edgecc::lower
