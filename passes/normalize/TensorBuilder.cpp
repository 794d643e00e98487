//===- TensorBuilder.cpp - Emitting linalg on symbolic shapes ---------------===//
#include "passes/normalize/Converter.h"
#include "passes/normalize/Scalars.h"

using namespace mlir;
namespace edgecc {

Type computeType(Type element) {
  if (element.isF16() || element.isBF16())
    return Float32Type::get(element.getContext());
  return element;
}

//===----------------------------------------------------------------------===//
// Scalars
//===----------------------------------------------------------------------===//

Value TensorBuilder::f32(OpBuilder &b, Location loc, double value) {
  return arith::ConstantOp::create(b, loc, b.getF32FloatAttr(value));
}

Value TensorBuilder::index(OpBuilder &b, Location loc, int64_t value) { return arith::ConstantIndexOp::create(b, loc, value); }

Value TensorBuilder::scalar(OpBuilder &b, Location loc, Type type, double value) {
  if (isa<FloatType>(type))
    return arith::ConstantOp::create(b, loc, b.getFloatAttr(type, value));
  return arith::ConstantOp::create(b, loc, b.getIntegerAttr(type, int64_t(value)));
}

Value TensorBuilder::load(OpBuilder &b, Location loc, Value tensor, ValueRange indices) {
  Value value = tensor::ExtractOp::create(b, loc, tensor, indices);
  Type wide = computeType(value.getType());
  return wide == value.getType() ? value : arith::ExtFOp::create(b, loc, wide, value).getResult();
}

Value TensorBuilder::castScalar(OpBuilder &b, Location loc, Value value, Type to, bool fromUnsigned, bool toUnsigned) {
  Type from = value.getType();
  if (from == to)
    return value;
  if (from.isIndex() || to.isIndex()) {
    if (from.isIndex() && isa<FloatType>(to))
      return castScalar(b, loc, arith::IndexCastOp::create(b, loc, b.getI64Type(), value), to);
    return arith::IndexCastOp::create(b, loc, to, value);
  }
  bool fromFloat = isa<FloatType>(from), toFloat = isa<FloatType>(to);
  if (to.isInteger(1)) {
    Value zero = scalar(b, loc, from, 0);
    return fromFloat ? arith::CmpFOp::create(b, loc, arith::CmpFPredicate::UNE, value, zero).getResult()
                     : arith::CmpIOp::create(b, loc, arith::CmpIPredicate::ne, value, zero).getResult();
  }
  if (fromFloat && toFloat) {
    if (from.getIntOrFloatBitWidth() == to.getIntOrFloatBitWidth())
      return castScalar(b, loc, castScalar(b, loc, value, b.getF32Type()), to);
    return from.getIntOrFloatBitWidth() < to.getIntOrFloatBitWidth() ? arith::ExtFOp::create(b, loc, to, value).getResult()
                                                                     : arith::TruncFOp::create(b, loc, to, value).getResult();
  }
  if (fromFloat) {
    if (from.getIntOrFloatBitWidth() < 32)
      value = arith::ExtFOp::create(b, loc, b.getF32Type(), value);
    return scalars::toInteger(b, loc, value, mlir::cast<IntegerType>(to), toUnsigned);
  }
  if (toFloat) {
    Type wide = computeType(to);
    value = fromUnsigned || from.isInteger(1) ? arith::UIToFPOp::create(b, loc, wide, value).getResult()
                                              : arith::SIToFPOp::create(b, loc, wide, value).getResult();
    return castScalar(b, loc, value, to);
  }
  unsigned fromBits = from.getIntOrFloatBitWidth(), toBits = to.getIntOrFloatBitWidth();
  if (fromBits > toBits)
    return arith::TruncIOp::create(b, loc, to, value);
  if (fromUnsigned || fromBits == 1)
    return arith::ExtUIOp::create(b, loc, to, value);
  return arith::ExtSIOp::create(b, loc, to, value);
}

//===----------------------------------------------------------------------===//
// Tensors
//===----------------------------------------------------------------------===//

static std::string textOf(ArrayRef<AffineExpr> shape) {
  std::string text;
  llvm::raw_string_ostream stream(text);
  llvm::interleave(shape, stream, [&](AffineExpr size) { stream << size; }, "x");
  return "[" + text + "]";
}

static std::optional<int64_t> constantOf(AffineExpr expr) {
  auto constant = dyn_cast<AffineConstantExpr>(edge::canonical(expr));
  return constant ? std::optional(constant.getValue()) : std::nullopt;
}

bool TensorBuilder::areSizes(ArrayRef<AffineExpr> shape) {
  int64_t elements = 1;
  for (AffineExpr size : shape) {
    int64_t known = constantOf(size).value_or(1);
    if (known < 0) {
      misfit("a result has the size " + Twine(known));
      return false;
    }
    if (llvm::MulOverflow(elements, known, elements) || elements > int64_t(1) << 48) {
      misfit("a result has the shape " + textOf(shape) + ", more elements than any memory holds");
      return false;
    }
  }
  return true;
}

Value TensorBuilder::empty(ArrayRef<AffineExpr> shape, Type element) {
  if (!areSizes(shape))
    return empty(SmallVector<AffineExpr>(shape.size(), expr(1)), element);
  return edge::emptyTensor(builder, loc, edge::tensorType(shape, element));
}

static linalg::GenericOp createGeneric(TensorBuilder &t, ArrayRef<Value> inputs, Value init, ArrayRef<AffineMap> maps,
                                       ArrayRef<utils::IteratorType> iterators,
                                       llvm::function_ref<Value(OpBuilder &, Location, ValueRange)> body) {
  return linalg::GenericOp::create(t.builder, t.loc, init.getType(), inputs, init, maps, iterators,
                                   [&](OpBuilder &b, Location loc, ValueRange args) {
    Value result = body(b, loc, args);
    Type element = mlir::cast<RankedTensorType>(init.getType()).getElementType();
    linalg::YieldOp::create(b, loc, TensorBuilder::castScalar(b, loc, result, element));
  });
}

static Value widen(OpBuilder &b, Location loc, Value value) {
  return TensorBuilder::castScalar(b, loc, value, computeType(value.getType()));
}

Value TensorBuilder::map(ArrayRef<Value> inputs, ArrayRef<AffineExpr> shape, Type element, Body body) {
  unsigned rank = shape.size();
  SmallVector<AffineMap> maps;
  for (Value input : inputs) {
    edge::SymbolicShape inputShape = edge::shapeOf(input);
    SmallVector<AffineExpr> results;
    bool fits = inputShape.size() <= rank;
    for (auto [size, wanted] : llvm::zip(llvm::reverse(inputShape), llvm::reverse(shape)))
      if (auto own = constantOf(size), other = constantOf(wanted); own && other && *own != 1 && *own != *other)
        fits = false;
    if (!fits) {
      misfit("shape " + textOf(inputShape) + " does not broadcast to " + textOf(shape));
      return empty(shape, element);
    }
    for (auto [i, size] : llvm::enumerate(inputShape)) {
      unsigned dim = rank - inputShape.size() + i;
      bool repeated = NodeContext::isOne(size) && !NodeContext::isOne(edge::canonical(shape[dim]));
      results.push_back(repeated ? expr(0) : getAffineDimExpr(dim, context()));
    }
    maps.push_back(AffineMap::get(rank, 0, results, context()));
  }
  maps.push_back(AffineMap::getMultiDimIdentityMap(rank, context()));
  SmallVector<utils::IteratorType> iterators(rank, utils::IteratorType::parallel);
  return createGeneric(*this, inputs, empty(shape, element), maps, iterators, [&](OpBuilder &b, Location loc, ValueRange args) {
    SmallVector<Value> wide;
    for (Value arg : args.drop_back())
      wide.push_back(widen(b, loc, arg));
    return body(b, loc, wide);
  }).getResult(0);
}

Value TensorBuilder::compute(ArrayRef<AffineExpr> shape, Type element, Body body) {
  unsigned rank = shape.size();
  SmallVector<utils::IteratorType> iterators(rank, utils::IteratorType::parallel);
  return createGeneric(*this, {}, empty(shape, element), AffineMap::getMultiDimIdentityMap(rank, context()), iterators,
                       [&](OpBuilder &b, Location loc, ValueRange) {
    SmallVector<Value> indices;
    for (unsigned i = 0; i < rank; ++i)
      indices.push_back(linalg::IndexOp::create(b, loc, i));
    return body(b, loc, indices);
  }).getResult(0);
}

Value TensorBuilder::reduce(ArrayRef<Value> inputs, ArrayRef<int64_t> axes, TypedAttr init, Body body) {
  edge::SymbolicShape inputShape = edge::shapeOf(inputs[0]), shape;
  unsigned rank = inputShape.size();
  SmallVector<AffineExpr> kept;
  SmallVector<utils::IteratorType> iterators(rank, utils::IteratorType::parallel);
  for (int64_t axis : axes)
    iterators[axis] = utils::IteratorType::reduction;
  for (unsigned i = 0; i < rank; ++i)
    if (iterators[i] == utils::IteratorType::parallel) {
      kept.push_back(getAffineDimExpr(i, context()));
      shape.push_back(inputShape[i]);
    }
  SmallVector<AffineMap> maps(inputs.size(), AffineMap::getMultiDimIdentityMap(rank, context()));
  maps.push_back(AffineMap::get(rank, 0, kept, context()));
  Value start = arith::ConstantOp::create(builder, loc, init);
  Value filled = linalg::FillOp::create(builder, loc, start, empty(shape, init.getType())).getResult(0);
  return createGeneric(*this, inputs, filled, maps, iterators, [&](OpBuilder &b, Location loc, ValueRange args) {
    SmallVector<Value> wide;
    for (Value arg : args.drop_back())
      wide.push_back(widen(b, loc, arg));
    wide.push_back(args.back());
    return body(b, loc, wide);
  }).getResult(0);
}

Value TensorBuilder::contract(Value lhs, AffineMap lhsMap, Value rhs, AffineMap rhsMap, AffineMap resultMap,
                              ArrayRef<AffineExpr> shape, Type element) {
  Type accumulator = isa<FloatType>(element) ? computeType(element) : element;
  SmallVector<utils::IteratorType> iterators(resultMap.getNumDims(), utils::IteratorType::reduction);
  for (AffineExpr result : resultMap.getResults())
    iterators[mlir::cast<AffineDimExpr>(result).getPosition()] = utils::IteratorType::parallel;
  Value zero = arith::ConstantOp::create(builder, loc, mlir::cast<TypedAttr>(builder.getZeroAttr(accumulator)));
  Value filled = linalg::FillOp::create(builder, loc, zero, empty(shape, accumulator)).getResult(0);
  Value result = createGeneric(*this, {lhs, rhs}, filled, {lhsMap, rhsMap, resultMap}, iterators,
                               [&](OpBuilder &b, Location loc, ValueRange args) -> Value {
    Value a = castScalar(b, loc, args[0], accumulator), c = castScalar(b, loc, args[1], accumulator);
    if (!isa<FloatType>(accumulator))
      return arith::AddIOp::create(b, loc, args[2], arith::MulIOp::create(b, loc, a, c));
    // Any order of the sum will do; this one lets it be vectorized.
    auto fast = arith::FastMathFlags::reassoc | arith::FastMathFlags::contract;
    Value product = arith::MulFOp::create(b, loc, a, c, fast);
    return arith::AddFOp::create(b, loc, args[2], product, fast);
  }).getResult(0);
  return cast(result, element);
}

Value TensorBuilder::reshape(Value value, ArrayRef<AffineExpr> shape) {
  auto type = mlir::cast<RankedTensorType>(value.getType());
  RankedTensorType wanted = edge::tensorType(shape, type.getElementType());
  if (wanted == type)
    return value;
  auto elements = constantOf(edge::product(edge::shapeOf(type), context())), others = constantOf(edge::product(shape, context()));
  if (!areSizes(shape) || (elements && others && *elements != *others)) {
    if (elements && others)
      misfit("shape " + textOf(edge::shapeOf(type)) + " has not the elements of " + textOf(shape));
    return empty(shape, type.getElementType());
  }
  if (auto inner = value.getDefiningOp<edge::ReshapeOp>())
    return reshape(inner.getInput(), shape);
  return edge::ReshapeOp::create(builder, loc, wanted, value).getResult();
}

/// result[i...] = input[permuted i...], and nothing else.
static bool isTranspose(linalg::GenericOp op) {
  if (op.getNumDpsInputs() != 1 || op.getNumDpsInits() != 1 || op.getNumReductionLoops() != 0)
    return false;
  SmallVector<AffineMap> maps = op.getIndexingMapsArray();
  return maps[0].isPermutation() && maps[1].isIdentity() &&
         op.getBody()->getTerminator()->getOperand(0) == op.getBody()->getArgument(0);
}

Value TensorBuilder::transpose(Value value, ArrayRef<int64_t> permutation) {
  edge::SymbolicShape inputShape = edge::shapeOf(value), shape;
  unsigned rank = permutation.size();
  // A transpose of a transpose reads what the first one read; often that is all.
  if (auto generic = value.getDefiningOp<linalg::GenericOp>(); generic && isTranspose(generic)) {
    AffineMap source = generic.getIndexingMapsArray()[0];
    SmallVector<int64_t> composed(rank);
    for (unsigned i = 0; i < rank; ++i)
      composed[i] = llvm::find(source.getResults(), getAffineDimExpr(permutation[i], context())) - source.getResults().begin();
    Value input = generic.getDpsInputs()[0];
    return llvm::is_sorted(composed) ? input : transpose(input, composed);
  }
  SmallVector<AffineExpr> results(rank);
  SmallVector<int64_t> moved; // dimensions that are not 1, in their new order
  for (auto [i, source] : llvm::enumerate(permutation)) {
    shape.push_back(inputShape[source]);
    results[source] = getAffineDimExpr(i, context());
    if (!NodeContext::isOne(inputShape[source]))
      moved.push_back(source);
  }
  if (llvm::is_sorted(moved))
    return reshape(value, shape);
  SmallVector<utils::IteratorType> iterators(rank, utils::IteratorType::parallel);
  Type element = mlir::cast<RankedTensorType>(value.getType()).getElementType();
  return createGeneric(*this, value, empty(shape, element),
                       {AffineMap::get(rank, 0, results, context()), AffineMap::getMultiDimIdentityMap(rank, context())},
                       iterators, [](OpBuilder &, Location, ValueRange args) {
    return args[0];
  }).getResult(0);
}

Value TensorBuilder::broadcast(Value value, ArrayRef<AffineExpr> shape) {
  auto type = mlir::cast<RankedTensorType>(value.getType());
  if (edge::tensorType(shape, type.getElementType()) == type)
    return value;
  return map({value}, shape, type.getElementType(), [](OpBuilder &, Location, ValueRange args) { return args[0]; });
}

Value TensorBuilder::cast(Value value, Type element, bool fromUnsigned, bool toUnsigned) {
  auto type = mlir::cast<RankedTensorType>(value.getType());
  if (type.getElementType() == element)
    return value;
  return map({value}, edge::shapeOf(type), element, [&](OpBuilder &b, Location l, ValueRange args) {
    return castScalar(b, l, args[0], element, fromUnsigned, toUnsigned);
  });
}

Value TensorBuilder::splat(ArrayRef<AffineExpr> shape, TypedAttr scalar) {
  return compute(shape, scalar.getType(),
                 [&](OpBuilder &b, Location l, ValueRange) -> Value { return arith::ConstantOp::create(b, l, scalar); });
}

Value TensorBuilder::constant(DenseElementsAttr value, StringRef name) {
  return edge::WeightOp::create(builder, loc, value.getType(), name, value);
}

SmallVector<Value> TensorBuilder::kernel(StringRef name, AffineExpr tasks, ArrayRef<Value> inputs, ArrayRef<Value> inouts,
                                         ArrayRef<RankedTensorType> outputs,
                                         llvm::function_ref<void(OpBuilder &, Location, ValueRange)> body) {
  for (RankedTensorType output : outputs)
    (void)areSizes(edge::shapeOf(output));
  SmallVector<Type> results;
  for (Value inout : inouts)
    results.push_back(inout.getType());
  llvm::append_range(results, outputs);
  auto op =
      edge::KernelOp::create(builder, loc, results, name, edge::symbolMap({edge::canonical(tasks)}, context()), inputs, inouts);
  OpBuilder::InsertionGuard guard(builder);
  Block *block = builder.createBlock(&op.getBody());
  block->addArgument(builder.getIndexType(), loc);
  for (Value input : inputs)
    block->addArgument(edge::bufferType(mlir::cast<RankedTensorType>(input.getType())), loc);
  for (Type type : results)
    block->addArgument(edge::bufferType(mlir::cast<RankedTensorType>(type)), loc);
  body(builder, loc, block->getArguments());
  edge::YieldOp::create(builder, loc, ValueRange());
  return llvm::to_vector_of<Value>(op.getOutputs());
}

} // namespace edgecc
