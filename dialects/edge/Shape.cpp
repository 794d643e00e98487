//===- Shape.cpp - Symbolic shapes in tensor types --------------------------===//
//
// Sizes are kept as polynomials: exporters write the same size as `s0 * 8 * s1`, `8 * (s1 * s0)` or `s0 * s1 + 7 * s0 * s1`, and
// reshapes are only provable when these are equal. Affine expressions print well but are not canonical for products of symbols.
//
//===----------------------------------------------------------------------===//
#include "dialects/edge/Shape.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/BuiltinOps.h"

#include <limits>
#include <map>

using namespace mlir;
namespace edgecc::edge {

namespace {

// What a monomial multiplies: a symbol, or a division or remainder that stays as it is.
struct Atom {
  AffineExprKind kind = AffineExprKind::SymbolId;
  unsigned symbol = 0; // SymbolId
  std::string text;    // otherwise: its printed form, for a stable order
  AffineExpr expr;     // the atom itself

  bool operator<(const Atom &other) const {
    return std::tie(kind, symbol, text) < std::tie(other.kind, other.symbol, other.text);
  }
  bool operator==(const Atom &other) const { return kind == other.kind && symbol == other.symbol && text == other.text; }
};

using Monomial = std::vector<Atom>; // sorted; empty for the constant
using Polynomial = std::map<Monomial, int64_t>;

// Numbers of a graph may be the ends of the type: what overflows wraps, as it does when the graph is run.
int64_t wrappingSum(int64_t a, int64_t b) { return int64_t(uint64_t(a) + uint64_t(b)); }
int64_t wrappingProduct(int64_t a, int64_t b) { return int64_t(uint64_t(a) * uint64_t(b)); }

void addTo(Polynomial &sum, const Monomial &monomial, int64_t factor) {
  int64_t &entry = sum[monomial];
  entry = wrappingSum(entry, factor);
  if (entry == 0)
    sum.erase(monomial);
}

Polynomial multiply(const Polynomial &a, const Polynomial &b) {
  Polynomial result;
  for (auto &[ma, fa] : a)
    for (auto &[mb, fb] : b) {
      Monomial m = ma;
      m.insert(m.end(), mb.begin(), mb.end());
      std::sort(m.begin(), m.end());
      addTo(result, m, wrappingProduct(fa, fb));
    }
  return result;
}

AffineExpr toExpr(const Polynomial &polynomial, MLIRContext *context);

Polynomial opaque(AffineExpr expr) {
  Atom atom;
  atom.kind = expr.getKind();
  llvm::raw_string_ostream(atom.text) << expr;
  atom.expr = expr;
  return {{{atom}, 1}};
}

std::optional<Polynomial> divide(const Polynomial &a, const Polynomial &b);

Polynomial toPolynomial(AffineExpr expr) {
  MLIRContext *context = expr.getContext();
  switch (expr.getKind()) {
  case AffineExprKind::Constant: {
    int64_t value = cast<AffineConstantExpr>(expr).getValue();
    return value == 0 ? Polynomial{} : Polynomial{{Monomial{}, value}};
  }
  case AffineExprKind::SymbolId: {
    Atom atom;
    atom.symbol = cast<AffineSymbolExpr>(expr).getPosition();
    atom.expr = expr;
    return {{{atom}, 1}};
  }
  case AffineExprKind::DimId: return opaque(expr);
  case AffineExprKind::Add: {
    auto binary = cast<AffineBinaryOpExpr>(expr);
    Polynomial sum = toPolynomial(binary.getLHS());
    for (auto &[monomial, factor] : toPolynomial(binary.getRHS()))
      addTo(sum, monomial, factor);
    return sum;
  }
  case AffineExprKind::Mul: {
    auto binary = cast<AffineBinaryOpExpr>(expr);
    return multiply(toPolynomial(binary.getLHS()), toPolynomial(binary.getRHS()));
  }
  case AffineExprKind::Mod:
  case AffineExprKind::FloorDiv:
  case AffineExprKind::CeilDiv: {
    auto binary = cast<AffineBinaryOpExpr>(expr);
    Polynomial lhs = toPolynomial(binary.getLHS()), rhs = toPolynomial(binary.getRHS());
    if (expr.getKind() != AffineExprKind::Mod)
      if (auto quotient = divide(lhs, rhs))
        return *quotient;
    AffineExpr a = toExpr(lhs, context), b = toExpr(rhs, context);
    AffineExpr rebuilt = expr.getKind() == AffineExprKind::Mod        ? a % b
                         : expr.getKind() == AffineExprKind::FloorDiv ? a.floorDiv(b)
                                                                      : a.ceilDiv(b);
    if (rebuilt.getKind() == expr.getKind())
      return opaque(rebuilt);
    return toPolynomial(rebuilt);
  }
  }
  llvm_unreachable("all kinds are handled");
}

AffineExpr toExpr(const Polynomial &polynomial, MLIRContext *context) {
  AffineExpr sum;
  // The constant (empty monomial) sorts first but reads better last.
  for (auto it = polynomial.rbegin(); it != polynomial.rend(); ++it) {
    AffineExpr term;
    for (const Atom &atom : it->first)
      term = term ? term * atom.expr : atom.expr;
    term = term ? (it->second == 1 ? term : term * it->second) : getAffineConstantExpr(it->second, context);
    sum = sum ? sum + term : term;
  }
  return sum ? sum : getAffineConstantExpr(0, context);
}

// Exact division by a polynomial of one term, or of several when the quotient is a constant or a single term.
std::optional<Polynomial> divide(const Polynomial &a, const Polynomial &b) {
  if (b.empty())
    return std::nullopt;
  if (a.empty())
    return Polynomial{};
  const Monomial &divisor = b.begin()->first;
  Polynomial quotient;
  if (b.size() == 1) {
    int64_t number = b.begin()->second;
    for (auto &[monomial, factor] : a) {
      if (number != -1 && factor % number != 0)
        return std::nullopt;
      Monomial rest = monomial;
      for (const Atom &atom : divisor) {
        auto it = std::find(rest.begin(), rest.end(), atom);
        if (it == rest.end())
          return std::nullopt;
        rest.erase(it);
      }
      addTo(quotient, rest, number == -1 ? wrappingProduct(factor, -1) : factor / number);
    }
    return quotient;
  }
  // Long division on the last (largest) terms; exact or nothing.
  Polynomial rest = a;
  for (int step = 0; step < 16 && !rest.empty(); ++step) {
    auto term = divide({{rest.rbegin()->first, rest.rbegin()->second}}, {{b.rbegin()->first, b.rbegin()->second}});
    if (!term)
      return std::nullopt;
    for (auto &[monomial, factor] : *term)
      addTo(quotient, monomial, factor);
    for (auto &[monomial, factor] : multiply(*term, b))
      addTo(rest, monomial, wrappingProduct(factor, -1));
  }
  if (!rest.empty())
    return std::nullopt;
  return quotient;
}

} // namespace

AffineExpr canonical(AffineExpr expr) { return toExpr(toPolynomial(expr), expr.getContext()); }

AffineExpr divideExactly(AffineExpr a, AffineExpr b) {
  auto quotient = divide(toPolynomial(a), toPolynomial(b));
  return quotient ? toExpr(*quotient, a.getContext()) : AffineExpr();
}

SymbolicShape shapeOf(RankedTensorType type) {
  if (auto encoding = dyn_cast_or_null<AffineMapAttr>(type.getEncoding()))
    return llvm::to_vector(encoding.getValue().getResults());
  SymbolicShape shape;
  for (int64_t size : type.getShape())
    shape.push_back(getAffineConstantExpr(size, type.getContext()));
  return shape;
}

SymbolicShape shapeOf(Value value) { return shapeOf(cast<RankedTensorType>(value.getType())); }

AffineMap symbolMap(ArrayRef<AffineExpr> exprs, MLIRContext *context) {
  unsigned symbols = 0;
  for (AffineExpr expr : exprs)
    expr.walk([&](AffineExpr part) {
      if (auto symbol = dyn_cast<AffineSymbolExpr>(part))
        symbols = std::max(symbols, symbol.getPosition() + 1);
    });
  return AffineMap::get(0, symbols, exprs, context);
}

RankedTensorType tensorType(ArrayRef<AffineExpr> shape, Type element) {
  MLIRContext *context = element.getContext();
  SymbolicShape exprs;
  SmallVector<int64_t> sizes;
  bool dynamic = false;
  for (AffineExpr size : shape) {
    exprs.push_back(canonical(size));
    auto constant = dyn_cast<AffineConstantExpr>(exprs.back());
    sizes.push_back(constant ? constant.getValue() : ShapedType::kDynamic);
    dynamic |= !constant;
  }
  return RankedTensorType::get(sizes, element, dynamic ? AffineMapAttr::get(symbolMap(exprs, context)) : Attribute());
}

MemRefType bufferType(RankedTensorType type) {
  Type element = type.getElementType();
  if (element.isInteger(1))
    element = IntegerType::get(type.getContext(), 8);
  return MemRefType::get(type.getShape(), element);
}

AffineExpr product(ArrayRef<AffineExpr> factors, MLIRContext *context) {
  AffineExpr result = getAffineConstantExpr(1, context);
  for (AffineExpr factor : factors)
    result = result * factor;
  return canonical(result);
}

SmallVector<SymbolAttr> symbolsOf(Operation *op) {
  auto module = dyn_cast<ModuleOp>(op);
  if (!module)
    module = op->getParentOfType<ModuleOp>();
  SmallVector<SymbolAttr> symbols;
  if (auto array = module->getAttrOfType<ArrayAttr>(EdgeDialect::kSymbolsAttr))
    for (Attribute attribute : array)
      symbols.push_back(cast<SymbolAttr>(attribute));
  return symbols;
}

std::pair<int64_t, int64_t> boundsOf(AffineExpr expr, ArrayRef<SymbolAttr> symbols) {
  if (auto constant = dyn_cast<AffineConstantExpr>(expr))
    return {constant.getValue(), constant.getValue()};
  if (auto symbol = dyn_cast<AffineSymbolExpr>(expr)) {
    if (symbol.getPosition() >= symbols.size())
      return {0, std::numeric_limits<int32_t>::max()};
    return {symbols[symbol.getPosition()].getMin(), symbols[symbol.getPosition()].getMax()};
  }
  auto binary = cast<AffineBinaryOpExpr>(expr);
  auto [la, ha] = boundsOf(binary.getLHS(), symbols);
  auto [lb, hb] = boundsOf(binary.getRHS(), symbols);
  switch (expr.getKind()) {
  case AffineExprKind::Add: {
    auto plus = [](int64_t a, int64_t b) {
      int64_t result;
      bool overflow = llvm::AddOverflow(a, b, result);
      return !overflow ? result : a < 0 ? std::numeric_limits<int64_t>::min() : std::numeric_limits<int64_t>::max();
    };
    return {plus(la, lb), plus(ha, hb)};
  }
  case AffineExprKind::Mul: {
    auto times = [](int64_t a, int64_t b) {
      int64_t result;
      bool overflow = llvm::MulOverflow(a, b, result);
      return overflow ? std::numeric_limits<int64_t>::max() / 4 : result;
    };
    return std::minmax({times(la, lb), times(la, hb), times(ha, lb), times(ha, hb)});
  }
  case AffineExprKind::FloorDiv:
    return {llvm::divideFloorSigned(la, std::max<int64_t>(hb, 1)), llvm::divideFloorSigned(ha, std::max<int64_t>(lb, 1))};
  case AffineExprKind::CeilDiv:
    return {llvm::divideCeilSigned(la, std::max<int64_t>(hb, 1)), llvm::divideCeilSigned(ha, std::max<int64_t>(lb, 1))};
  default: return {0, std::max<int64_t>(hb - 1, 0)};
  }
}

bool mayBeEqual(AffineExpr a, AffineExpr b, ArrayRef<SymbolAttr> symbols) {
  auto [low, high] = boundsOf(canonical(a - b), symbols);
  return low <= 0 && high >= 0;
}

int64_t maxElements(RankedTensorType type, ArrayRef<SymbolAttr> symbols) {
  return std::max<int64_t>(boundsOf(product(shapeOf(type), type.getContext()), symbols).second, 0);
}

int64_t elementBytes(Type element) { return llvm::divideCeil(element.getIntOrFloatBitWidth(), 8); }

Value materialize(OpBuilder &builder, Location loc, AffineExpr size) {
  if (auto constant = dyn_cast<AffineConstantExpr>(size))
    return arith::ConstantIndexOp::create(builder, loc, constant.getValue());
  if (auto symbol = dyn_cast<AffineSymbolExpr>(size))
    return DimOp::create(builder, loc, builder.getIndexType(), symbol.getPosition());
  auto binary = cast<AffineBinaryOpExpr>(size);
  Value lhs = materialize(builder, loc, binary.getLHS()), rhs = materialize(builder, loc, binary.getRHS());
  switch (size.getKind()) {
  case AffineExprKind::Add: return arith::AddIOp::create(builder, loc, lhs, rhs);
  case AffineExprKind::Mul: return arith::MulIOp::create(builder, loc, lhs, rhs);
  case AffineExprKind::FloorDiv: return arith::FloorDivSIOp::create(builder, loc, lhs, rhs);
  case AffineExprKind::CeilDiv: return arith::CeilDivSIOp::create(builder, loc, lhs, rhs);
  default: return arith::RemSIOp::create(builder, loc, lhs, rhs);
  }
}

Value emptyTensor(OpBuilder &builder, Location loc, RankedTensorType type) {
  SmallVector<Value> sizes;
  for (auto [size, expr] : llvm::zip(type.getShape(), shapeOf(type)))
    if (ShapedType::isDynamic(size))
      sizes.push_back(materialize(builder, loc, expr));
  return tensor::EmptyOp::create(builder, loc, type, sizes);
}

} // namespace edgecc::edge
