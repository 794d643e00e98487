#include "passes/normalize/Converter.h"

using namespace mlir;
namespace edgecc {

void addConvolutions(ConversionTable &table) { table.domain(""); }

} // namespace edgecc
