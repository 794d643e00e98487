//===- Code.cpp -------------------------------------------------------------===//
#include "passes/kernels/Code.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/IR/Matchers.h"

using namespace mlir;
namespace edgecc {

static bool isFloat(Var a) { return isa<FloatType>(getElementTypeOrSelf(a.type())); }

static Type withLanes(Type element, int64_t count) { return count == 1 ? element : Type(VectorType::get({count}, element)); }

static Type sameLanes(Type type, Type element) {
  auto vector = dyn_cast<VectorType>(type);
  return vector ? Type(vector.clone(element)) : element;
}

Var Var::same(double number) const {
  Type element = getElementTypeOrSelf(type());
  TypedAttr attr;
  if (isa<FloatType>(element))
    attr = code->getFloatAttr(element, number);
  else
    attr = code->getIntegerAttr(element, int64_t(number));
  if (auto vector = dyn_cast<VectorType>(type()))
    attr = DenseElementsAttr::get(vector, Attribute(attr));
  return Var(*code, arith::ConstantOp::create(*code, attr));
}

std::optional<int64_t> Var::known() const { return getConstantIntValue(value); }

template <typename FloatOp, typename IntOp> static Var arithmetic(Var a, Var b) {
  Code &code = a.builder();
  if (isFloat(a))
    return Var(code, FloatOp::create(code, a, b));
  return Var(code, code.createOrFold<IntOp>(Value(a), Value(b)));
}

Var operator+(Var a, Var b) { return arithmetic<arith::AddFOp, arith::AddIOp>(a, b); }
Var operator-(Var a, Var b) { return arithmetic<arith::SubFOp, arith::SubIOp>(a, b); }
Var operator-(Var a) { return Var(a.builder(), arith::NegFOp::create(a.builder(), a)); }
Var operator*(Var a, Var b) { return arithmetic<arith::MulFOp, arith::MulIOp>(a, b); }
Var operator/(Var a, Var b) { return arithmetic<arith::DivFOp, arith::DivUIOp>(a, b); }
Var operator%(Var a, Var b) { return arithmetic<arith::RemFOp, arith::RemUIOp>(a, b); }
Var min(Var a, Var b) { return arithmetic<arith::MinNumFOp, arith::MinSIOp>(a, b); }
Var max(Var a, Var b) { return arithmetic<arith::MaxNumFOp, arith::MaxSIOp>(a, b); }

Var operator<<(Var a, int64_t bits) { return Var(a.builder(), arith::ShLIOp::create(a.builder(), a, a.same(bits))); }
Var operator>>(Var a, int64_t bits) { return Var(a.builder(), arith::ShRUIOp::create(a.builder(), a, a.same(bits))); }
Var shiftSigned(Var a, int64_t bits) { return Var(a.builder(), arith::ShRSIOp::create(a.builder(), a, a.same(bits))); }

static Var compare(arith::CmpFPredicate floats, arith::CmpIPredicate integers, Var a, Var b) {
  Code &code = a.builder();
  if (isFloat(a))
    return Var(code, arith::CmpFOp::create(code, floats, a, b));
  return Var(code, code.createOrFold<arith::CmpIOp>(integers, Value(a), Value(b)));
}

Var operator<(Var a, Var b) { return compare(arith::CmpFPredicate::OLT, arith::CmpIPredicate::slt, a, b); }
Var operator<=(Var a, Var b) { return compare(arith::CmpFPredicate::OLE, arith::CmpIPredicate::sle, a, b); }
Var operator==(Var a, Var b) { return compare(arith::CmpFPredicate::OEQ, arith::CmpIPredicate::eq, a, b); }
Var operator&(Var a, Var b) { return Var(a.builder(), a.builder().createOrFold<arith::AndIOp>(Value(a), Value(b))); }
Var operator^(Var a, Var b) { return Var(a.builder(), a.builder().createOrFold<arith::XOrIOp>(Value(a), Value(b))); }
Var select(Var condition, Var a, Var b) {
  return Var(a.builder(), a.builder().createOrFold<arith::SelectOp>(Value(condition), Value(a), Value(b)));
}
Var exp(Var x) { return Var(x.builder(), math::ExpOp::create(x.builder(), x)); }
Var log(Var x) { return Var(x.builder(), math::LogOp::create(x.builder(), x)); }
Var tanh(Var x) { return Var(x.builder(), math::TanhOp::create(x.builder(), x)); }
Var sqrt(Var x) { return Var(x.builder(), math::SqrtOp::create(x.builder(), x)); }
Var abs(Var x) { return Var(x.builder(), math::AbsFOp::create(x.builder(), x)); }
Var round(Var x) { return Var(x.builder(), math::RoundEvenOp::create(x.builder(), x)); }

Var Code::index(int64_t value) { return var(arith::ConstantIndexOp::create(*this, value)); }
Var Code::f32(double value) { return var(arith::ConstantOp::create(*this, getF32FloatAttr(value))); }
Var Code::size(AffineExpr expr) { return var(edge::materialize(*this, getLoc(), expr)); }

Var Code::splat(Var scalar, int64_t to) {
  if (to == 1)
    return scalar;
  return var(vector::BroadcastOp::create(*this, withLanes(scalar.type(), to), scalar));
}

Var Code::iota(int64_t count) {
  auto type = VectorType::get({count}, getI64Type());
  return var(arith::ConstantOp::create(
      *this, DenseElementsAttr::get(type, ArrayRef<int64_t>(llvm::to_vector(llvm::seq<int64_t>(0, count))))));
}

Value Code::flat(Value buffer, AffineExpr elements) {
  auto type = cast<MemRefType>(buffer.getType());
  if (type.getRank() == 1)
    return buffer;
  auto count = constantSize(elements);
  OpFoldResult size = count ? OpFoldResult(getIndexAttr(*count)) : OpFoldResult(Value(this->size(elements)));
  auto result = MemRefType::get({count.value_or(ShapedType::kDynamic)}, type.getElementType());
  return memref::ReinterpretCastOp::create(*this, result, buffer, getIndexAttr(0), ArrayRef<OpFoldResult>{size},
                                           ArrayRef<OpFoldResult>{getIndexAttr(1)});
}

Value Code::choose(Var index, ArrayRef<Value> buffers) {
  Value chosen = buffers.back();
  if (buffers.size() > 1 && !llvm::all_equal(llvm::map_range(buffers, [](Value it) { return it.getType(); }))) {
    Type any = MemRefType::get({ShapedType::kDynamic}, cast<MemRefType>(chosen.getType()).getElementType());
    SmallVector<Value> sized = llvm::map_to_vector(
        buffers, [&](Value it) { return it.getType() == any ? it : Value(memref::CastOp::create(*this, any, it)); });
    return choose(index, sized);
  }
  for (int64_t i = int64_t(buffers.size()) - 2; i >= 0; --i)
    chosen = createOrFold<arith::SelectOp>(Value(index == i), buffers[i], chosen);
  return chosen;
}

Var Code::loadRaw(Value buffer, Var at, int64_t count) {
  Type element = cast<MemRefType>(buffer.getType()).getElementType();
  if (count == 1)
    return var(memref::LoadOp::create(*this, buffer, ValueRange{at}));
  return var(vector::LoadOp::create(*this, VectorType::get({count}, element), buffer, ValueRange{at}));
}

Var Code::load(Value buffer, Var at, int64_t count) {
  Var raw = loadRaw(buffer, at, count);
  return isFloat(raw) ? convert(raw, getF32Type()) : raw;
}

void Code::store(Value buffer, Var at, Var value) {
  Type element = cast<MemRefType>(buffer.getType()).getElementType();
  value = convert(value, element);
  if (isa<VectorType>(value.type()))
    vector::StoreOp::create(*this, value, buffer, ValueRange{at});
  else
    memref::StoreOp::create(*this, value, buffer, ValueRange{at});
}

Value Code::stack(int64_t count, Type element) {
  OpBuilder::InsertionGuard guard(*this);
  // In a loop it would grow the stack in every round.
  setInsertionPointToStart(entry);
  return memref::AllocaOp::create(*this, MemRefType::get({count}, element), getI64IntegerAttr(64));
}

Var Code::convert(Var value, Type element) {
  Type from = getElementTypeOrSelf(value.type());
  if (from == element)
    return value;
  Type to = sameLanes(value.type(), element);
  unsigned fromBits = from.getIntOrFloatBitWidth(), toBits = element.getIntOrFloatBitWidth();
  if (isa<FloatType>(from)) {
    if (fromBits == toBits) // f16 and bf16
      return convert(convert(value, getF32Type()), element);
    if (fromBits < toBits)
      return var(arith::ExtFOp::create(*this, to, Value(value)));
    return var(arith::TruncFOp::create(*this, to, Value(value)));
  }
  if (isa<FloatType>(element))
    return var(arith::SIToFPOp::create(*this, to, Value(value)));
  if (fromBits == 1)
    return var(arith::ExtUIOp::create(*this, to, value));
  if (fromBits < toBits)
    return var(arith::ExtSIOp::create(*this, to, value));
  return var(arith::TruncIOp::create(*this, to, value));
}

Var Code::toI64(Var index) { return var(createOrFold<arith::IndexCastOp>(getI64Type(), Value(index))); }
Var Code::toIndex(Var integer) { return var(createOrFold<arith::IndexCastOp>(getIndexType(), Value(integer))); }

Var Code::fma(Var a, Var b, Var c) {
  if (isa<VectorType>(a.type()))
    return var(vector::FMAOp::create(*this, a, b, c));
  return var(math::FmaOp::create(*this, a, b, c));
}

Var Code::loadBytes(Value bytes, Var at, Type element, int64_t count) {
  int64_t width = element.getIntOrFloatBitWidth() / 8;
  if (width == 1)
    return loadRaw(bytes, at, count);
  Var loaded = bitcast(loadRaw(bytes, at, count * width), element);
  return count == 1 ? extract(loaded, 0) : loaded;
}

void Code::storeBytes(Value bytes, Var at, Var value) {
  if (!isa<VectorType>(value.type()))
    value = var(vector::BroadcastOp::create(*this, vectorOf(1, value.type()), value));
  Var raw = bitcast(value, getI8Type());
  vector::StoreOp::create(*this, raw, bytes, ValueRange{at});
}

Var Code::bitcast(Var vector, Type element) {
  auto type = cast<VectorType>(vector.type());
  int64_t count = type.getNumElements() * type.getElementTypeBitWidth() / element.getIntOrFloatBitWidth();
  return var(vector::BitCastOp::create(*this, vectorOf(count, element), vector));
}

Var Code::shuffle(Var a, Var b, ArrayRef<int64_t> lanes) { return var(vector::ShuffleOp::create(*this, a, b, lanes)); }

Var Code::intrinsic(StringRef name, Type result, ArrayRef<Var> operands) {
  SmallVector<Value> values(operands.begin(), operands.end());
  return var(LLVM::CallIntrinsicOp::create(*this, result, getStringAttr(name), values).getResult(0));
}

Var Code::after(Var index, ArrayRef<Var> values) {
  SmallVector<Value> operands{toI64(index)};
  std::string constraints = "=r,0";
  for (Var value : values) {
    bool isIndex = value.type().isIndex();
    operands.push_back(isIndex ? toI64(value) : value);
    constraints += isIndex ? ",r" : ",w";
  }
  auto nothing = LLVM::InlineAsmOp::create(*this, getI64Type(), operands, /*asm_string=*/"", constraints,
                                           /*has_side_effects=*/false, /*is_align_stack=*/false, LLVM::TailCallKind::None,
                                           LLVM::AsmDialectAttr(), ArrayAttr());
  return toIndex(var(nothing.getResult(0)));
}

Var Code::extract(Var vector, int64_t lane) {
  if (!isa<VectorType>(vector.type()))
    return vector;
  return var(vector::ExtractOp::create(*this, vector, lane));
}

Var Code::fold(Fold how, Var value) {
  auto type = dyn_cast<VectorType>(value.type());
  if (!type)
    return value;
  if (how == Fold::Max)
    return var(vector::ReductionOp::create(*this, vector::CombiningKind::MAXNUMF, value));
  int64_t count = type.getNumElements();
  assert(llvm::isPowerOf2_64(count) && "half of the lanes are added to the other half");
  for (int64_t half = count / 2; half > 0; half /= 2) {
    SmallVector<int64_t> low = llvm::to_vector(llvm::seq<int64_t>(0, half)), high = llvm::to_vector(llvm::seq(half, 2 * half));
    value = shuffle(value, value, low) + shuffle(value, value, high);
  }
  return extract(value, 0);
}

SmallVector<Var> Code::loop(Var lo, Var hi, int64_t step, ArrayRef<Var> carried,
                            function_ref<SmallVector<Var>(Var, ArrayRef<Var>)> body) {
  if (lo.known() && hi.known()) {
    if (*hi.known() <= *lo.known())
      return SmallVector<Var>(carried);
    if (*hi.known() - *lo.known() <= step)
      return body(lo, carried);
  }
  SmallVector<Value> inits(carried.begin(), carried.end());
  auto loop = scf::ForOp::create(*this, lo, hi, index(step), inits);
  {
    OpBuilder::InsertionGuard guard(*this);
    setInsertionPointToStart(loop.getBody());
    SmallVector<Var> inside;
    for (Value arg : loop.getRegionIterArgs())
      inside.push_back(var(arg));
    SmallVector<Var> next = body(var(loop.getInductionVar()), inside);
    SmallVector<Value> yields(next.begin(), next.end());
    if (carried.empty())
      return {};
    scf::YieldOp::create(*this, yields);
  }
  SmallVector<Var> results;
  for (Value result : loop.getResults())
    results.push_back(var(result));
  return results;
}

void Code::loop(Var lo, Var hi, int64_t step, function_ref<void(Var)> body) {
  loop(lo, hi, step, {}, [&](Var i, ArrayRef<Var>) {
    body(i);
    return SmallVector<Var>();
  });
}

void Code::branch(Var condition, function_ref<void()> then, function_ref<void()> otherwise) {
  if (auto known = condition.known()) {
    if (*known)
      then();
    else if (otherwise)
      otherwise();
    return;
  }
  auto op = scf::IfOp::create(*this, condition, /*withElseRegion=*/bool(otherwise));
  OpBuilder::InsertionGuard guard(*this);
  setInsertionPointToStart(op.thenBlock());
  then();
  if (otherwise) {
    setInsertionPointToStart(op.elseBlock());
    otherwise();
  }
}

void Code::sweep(Var n, function_ref<void(Var, int64_t)> body) {
  Var whole = n - n % lanes;
  loop(index(0), whole, lanes, [&](Var i) { body(i, lanes); });
  loop(whole, n, 1, [&](Var i) { body(i, 1); });
}

Var Code::accumulate(Var n, Fold how, Var init, function_ref<Var(Var, Var, int64_t)> step) {
  int64_t width = how == Fold::Add ? kSumLanes : lanes;
  Var whole = n - n % width;
  // Every lane starts with the neutral element, so that `init` counts once.
  Var neutral = f32(how == Fold::Add ? 0.0 : -std::numeric_limits<double>::infinity());
  Var result = init;
  if (!whole.known() || *whole.known() > 0) {
    SmallVector<Var> wide = loop(index(0), whole, width, {splat(neutral, width)},
                                 [&](Var i, ArrayRef<Var> acc) { return SmallVector<Var>{step(acc[0], i, width)}; });
    Var folded = fold(how, wide[0]);
    result = how == Fold::Add ? result + folded : max(result, folded);
  }
  return loop(whole, n, 1, {result}, [&](Var i, ArrayRef<Var> acc) { return SmallVector<Var>{step(acc[0], i, 1)}; })[0];
}

Var Code::sweep(Var n, Fold how, Var init, function_ref<Var(Var, int64_t)> body) {
  return accumulate(n, how, init, [&](Var acc, Var i, int64_t count) {
    Var value = body(i, count);
    return how == Fold::Add ? acc + value : max(acc, value);
  });
}

Var Code::dot(Var n, function_ref<std::pair<Var, Var>(Var, int64_t)> factors) {
  return accumulate(n, Fold::Add, f32(0), [&](Var acc, Var i, int64_t count) {
    auto [a, b] = factors(i, count);
    return fma(a, b, acc);
  });
}

std::optional<int64_t> constantSize(AffineExpr size) {
  if (auto constant = dyn_cast<AffineConstantExpr>(size))
    return constant.getValue();
  return std::nullopt;
}

} // namespace edgecc
