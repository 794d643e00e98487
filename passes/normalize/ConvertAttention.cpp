#include "passes/normalize/Converter.h"

using namespace mlir;
namespace edgecc {

void addAttention(ConversionTable &table) { table.domain(""); }

} // namespace edgecc
