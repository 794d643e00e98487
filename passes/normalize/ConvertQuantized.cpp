#include "passes/normalize/Converter.h"

using namespace mlir;
namespace edgecc {

void addQuantized(ConversionTable &table) { table.domain(""); }

} // namespace edgecc
