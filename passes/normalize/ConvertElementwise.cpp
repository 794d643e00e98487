#include "passes/normalize/Converter.h"

using namespace mlir;
namespace edgecc {

void addElementwise(ConversionTable &table) { table.domain(""); }

} // namespace edgecc
