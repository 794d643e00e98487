//===- Counted.cpp ------------------------------------------------------------===//
#include "compiler/calibrate/Counted.h"
#include "dialects/edge/Checked.h"
#include "dialects/edge/EdgeDialect.h"
#include "dialects/edge/Shape.h"
#include "llvm/Support/FormatVariadic.h"

using namespace llvm;
namespace edgecc {
namespace {

/// Element `i`; nothing for types that no exporter gives such an input.
std::optional<double> elementOf(const arrays::Array &array, size_t i) {
  auto read = [&](auto value) {
    std::memcpy(&value, array.bytes.data() + i * sizeof(value), sizeof(value));
    return double(value);
  };
  switch (array.type) {
  case EDGECC_F32: return read(float());
  case EDGECC_F64: return read(double());
  case EDGECC_I64: return read(int64_t());
  case EDGECC_I32: return read(int32_t());
  case EDGECC_BOOL: return array.bytes[i] != 0;
  default: return std::nullopt;
  }
}

} // namespace

SmallVector<mlir::AffineExpr> symbolsIn(mlir::func::FuncOp main, const std::map<std::string, arrays::Array> &arrays) {
  SmallVector<mlir::AffineExpr> sizes;
  for (auto [i, symbol] : enumerate(edge::symbolsOf(main)))
    sizes.push_back(symbol.getRole() == edge::SymbolRole::Position ? mlir::getAffineConstantExpr(0, main.getContext())
                                                                   : mlir::getAffineSymbolExpr(i, main.getContext()));
  for (mlir::BlockArgument argument : main.getArguments()) {
    auto name = main.getArgAttrOfType<mlir::StringAttr>(argument.getArgNumber(), edge::EdgeDialect::kNameAttr);
    auto found = name ? arrays.find(name.str()) : arrays.end();
    if (found == arrays.end())
      continue;
    for (auto [size, length] : zip(edge::shapeOf(argument), found->second.shape))
      if (auto symbol = dyn_cast<mlir::AffineSymbolExpr>(size))
        sizes[symbol.getPosition()] = mlir::getAffineConstantExpr(length, main.getContext());
  }
  return sizes;
}

Error checkCounted(mlir::func::FuncOp main, const std::map<std::string, arrays::Array> &arrays) {
  auto checked = main->getAttrOfType<mlir::ArrayAttr>(edge::kCheckedAttr);
  if (!checked)
    return Error::success();
  SmallVector<mlir::AffineExpr> symbols = symbolsIn(main, arrays);
  for (auto input : checked.getAsRange<mlir::DictionaryAttr>()) {
    StringRef name = input.getAs<mlir::StringAttr>("name").getValue();
    auto found = arrays.find(name.str());
    mlir::NamedAttribute rule = *input.getAs<mlir::DictionaryAttr>("values").begin();
    mlir::AffineExpr expr = cast<mlir::AffineMapAttr>(rule.getValue()).getValue().getResult(0).replaceSymbols(symbols);
    auto base = dyn_cast<mlir::AffineConstantExpr>(edge::canonical(expr));
    if (found == arrays.end() || !base)
      continue;
    const arrays::Array &array = found->second;
    const size_t count = array.bytes.size() / edgecc_type_size(array.type), last = array.shape.empty() ? 1 : array.shape.back();
    for (size_t i = 0; i < count; ++i) {
      int64_t along = int64_t(i % last), wanted = base.getValue();
      if (rule.getName() == "counting")
        wanted += along;
      else if (rule.getName() == "below")
        wanted = along < wanted;
      auto value = elementOf(array, i);
      if (!value || *value != double(wanted))
        return createStringError(
            "'%s' is %s at element %zu of row %zu, but the model counts %lld there by itself: sequences of one "
            "file have one length and no padding; give shorter ones in another file, or leave '%s' out",
            name.str().c_str(), value ? formatv("{0}", *value).str().c_str() : "of another type", size_t(along), i / last,
            static_cast<long long>(wanted), name.str().c_str());
    }
  }
  return Error::success();
}

} // namespace edgecc
