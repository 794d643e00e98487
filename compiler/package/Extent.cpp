//===- Extent.cpp ---------------------------------------------------------------===//
#include "compiler/package/Extent.h"
#include "mlir/IR/AffineExpr.h"
#include "mlir/Support/LLVM.h"
#include "runtime/src/format.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
namespace edgecc {
namespace {

fb::Opcode opcodeOf(AffineExprKind kind) {
  switch (kind) {
  case AffineExprKind::Add: return fb::Opcode::Add;
  case AffineExprKind::Mul: return fb::Opcode::Mul;
  case AffineExprKind::Mod: return fb::Opcode::Mod;
  case AffineExprKind::FloorDiv: return fb::Opcode::FloorDiv;
  case AffineExprKind::CeilDiv: return fb::Opcode::CeilDiv;
  default: llvm_unreachable("not a binary expression");
  }
}

/// Values on the stack at most while `expr` is computed.
unsigned depth(AffineExpr expr) {
  auto binary = dyn_cast<AffineBinaryOpExpr>(expr);
  return binary ? std::max(depth(binary.getLHS()), depth(binary.getRHS()) + 1) : 1;
}

void append(AffineExpr expr, std::vector<fb::Instruction> &code) {
  if (auto constant = dyn_cast<AffineConstantExpr>(expr)) {
    code.emplace_back(constant.getValue(), fb::Opcode::Constant);
  } else if (auto symbol = dyn_cast<AffineSymbolExpr>(expr)) {
    code.emplace_back(symbol.getPosition(), fb::Opcode::Symbol);
  } else {
    auto binary = cast<AffineBinaryOpExpr>(expr);
    append(binary.getLHS(), code);
    append(binary.getRHS(), code);
    code.emplace_back(0, opcodeOf(binary.getKind()));
  }
}

} // namespace

llvm::Expected<std::vector<fb::Instruction>> postfix(AffineExpr expr) {
  if (!expr.isSymbolicOrConstant())
    return llvm::createStringError("a size is an expression of dimensions; sizes are expressions of the module's symbols");
  std::vector<fb::Instruction> code;
  append(expr, code);
  if (code.size() > rt::kMaxExtentCode || depth(expr) > rt::kMaxExtentStack)
    return llvm::createStringError("a size takes %zu instructions and %u values at once; the runtime allows %u and %u",
                                   code.size(), depth(expr), rt::kMaxExtentCode, rt::kMaxExtentStack);
  return code;
}

int64_t evaluate(AffineExpr expr, ArrayRef<int64_t> values) {
  if (auto constant = dyn_cast<AffineConstantExpr>(expr))
    return constant.getValue();
  if (auto symbol = dyn_cast<AffineSymbolExpr>(expr))
    return values[symbol.getPosition()];
  auto binary = cast<AffineBinaryOpExpr>(expr);
  int64_t left = evaluate(binary.getLHS(), values), right = evaluate(binary.getRHS(), values);
  switch (binary.getKind()) {
  case AffineExprKind::Add: return left + right;
  case AffineExprKind::Mul: return left * right;
  case AffineExprKind::FloorDiv: return right == 0 ? 0 : llvm::divideFloorSigned(left, right);
  case AffineExprKind::CeilDiv: return right == 0 ? 0 : llvm::divideCeilSigned(left, right);
  default: return right == 0 ? 0 : llvm::mod(left, right);
  }
}

} // namespace edgecc
