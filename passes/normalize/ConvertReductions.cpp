#include "passes/normalize/Converter.h"

using namespace mlir;
namespace edgecc {

void addReductions(ConversionTable &table) { table.domain(""); }

} // namespace edgecc
