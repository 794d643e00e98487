#include "passes/normalize/Converter.h"

using namespace mlir;
namespace edgecc {

void addScatters(ConversionTable &table) { table.domain(""); }

} // namespace edgecc
