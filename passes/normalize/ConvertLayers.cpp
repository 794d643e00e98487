#include "passes/normalize/Converter.h"

using namespace mlir;
namespace edgecc {

void addLayers(ConversionTable &table) { table.domain(""); }

} // namespace edgecc
