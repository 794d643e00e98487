//===- Metadata.h - plan ops as the flatbuffer of model.edge ---------------------===//
#ifndef EDGECC_COMPILER_PACKAGE_METADATA_H
#define EDGECC_COMPILER_PACKAGE_METADATA_H

#include "compiler/package/Package.h"
#include "compiler/package/Weights.h"
#include "runtime/schema/model_generated.h"

namespace edgecc {

/// A segment on its way into the file. Its place and hash are known only in the end; the metadata's size does not depend on them.
struct PlacedSegment {
  std::string name;
  fb::SegmentKind kind;
  uint64_t offset = 0, length = 0, alignment = 64;
  Sha256 hash = {};
  const Variant *variant = nullptr; ///< of code
};

/// The finished flatbuffer. Code segments are in the order of `images`.
llvm::Expected<std::vector<char>> serialize(plan::ModelOp plan, llvm::ArrayRef<CodeImage> images,
                                            llvm::ArrayRef<PlacedSegment> segments, const PackageOptions &options);

} // namespace edgecc
#endif // EDGECC_COMPILER_PACKAGE_METADATA_H
