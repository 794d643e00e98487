//===- WeightMatrix.cpp -----------------------------------------------------===//
#include "passes/attention/WeightMatrix.h"
#include "passes/lower/WeightMemory.h"
#include "passes/quantize/RoundToNearest.h"

using namespace mlir;
namespace edgecc {

double roundingUnit(Type element) { return std::ldexp(1.0, 1 - int(cast<FloatType>(element).getFPMantissaWidth())); }

llvm::Expected<RowMatrix> readRows(edge::WeightOp weight, edge::WeightLayout layout, int64_t first, int64_t count) {
  auto type = cast<RankedTensorType>(weight.getValue().getType());
  Type element = type.getElementType();
  // Whatever its rank was: [n, k] or [k, n].
  int64_t n = 1, k = type.getNumElements();
  if (layout == edge::WeightLayout::KN && type.getRank() > 1) {
    n = type.getShape().back();
    k /= n;
  } else if (type.getRank() > 0) {
    n = type.getDimSize(0);
    k = n ? k / n : 0;
  }
  auto fail = [&](const char *why) { return llvm::createStringError("weight '" + weight.getName() + "' " + why); };
  if (!element.isF32() && !element.isF16() && !element.isBF16())
    return fail("is of no float type that can be changed: f32, f16 or bf16");
  if (first < 0 || first + count > n)
    return fail("has fewer rows than its layer reads");
  RowMatrix rows(count, k);
  if (auto dense = dyn_cast<DenseElementsAttr>(weight.getValue()); dense && dense.isSplat()) {
    rows.setConstant(float(dense.getSplatValue<APFloat>().convertToDouble()));
    return rows;
  }
  ArrayRef<char> bytes = rawBytes(weight.getValue());
  int64_t size = edge::elementBytes(element);
  if (int64_t(bytes.size()) != n * k * size)
    return fail("has no numbers");
  auto widen = element.isF32() ? widenFloat : element.isF16() ? widenHalf : widenBrainFloat;
  bool finite = true;
  if (layout == edge::WeightLayout::KN && type.getRank() > 1) {
    std::vector<float> line(count);
    for (int64_t i = 0; i < k; ++i) {
      finite &= widen(bytes.data() + (i * n + first) * size, count, line.data());
      rows.col(i) = Eigen::Map<const Eigen::VectorXf>(line.data(), count);
    }
  } else {
    finite = widen(bytes.data() + first * k * size, count * k, rows.data());
  }
  if (!finite)
    return fail("has infinite or undefined numbers");
  return rows;
}

llvm::Expected<edge::WeightOp> createWeight(OpBuilder &builder, Location loc, StringRef name, const RowMatrix &matrix, Type element) {
  int64_t size = edge::elementBytes(element);
  auto blob = allocateWeight(matrix.size() * size);
  if (!blob)
    return blob.takeError();
  char *to = blob->getMutableData().data();
  for (int64_t i = 0; i < matrix.size(); ++i, to += size) {
    float value = matrix.data()[i];
    if (element.isF32()) {
      std::memcpy(to, &value, 4);
      continue;
    }
    uint16_t bits = toHalf(value);
    if (element.isBF16()) {
      APFloat narrow(value);
      bool loses;
      narrow.convert(APFloat::BFloat(), APFloat::rmNearestTiesToEven, &loses);
      bits = uint16_t(narrow.bitcastToAPInt().getZExtValue());
    }
    std::memcpy(to, &bits, 2);
  }
  SmallVector<int64_t> shape{matrix.rows()};
  if (matrix.cols() != 1)
    shape.push_back(matrix.cols());
  auto type = RankedTensorType::get(shape, element);
  auto value = DenseResourceElementsAttr::get(type, name, std::move(*blob));
  return edge::WeightOp::create(builder, loc, type, builder.getStringAttr(name), value);
}

} // namespace edgecc
