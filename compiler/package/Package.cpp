//===- Package.cpp - Places the segments and writes the file --------------------===//
#include "compiler/package/Package.h"
#include "compiler/package/ArtifactFile.h"
#include "compiler/package/JoinPlans.h"
#include "compiler/package/Metadata.h"
#include "compiler/package/Progress.h"
#include "compiler/package/Weights.h"
#include "edgecc/abi.h"
#include "runtime/src/format.h"
#include "llvm/Support/MathExtras.h"

using namespace llvm;
namespace edgecc {

Expected<plan::ModelOp> findPlan(mlir::ModuleOp module) {
  auto plans = module.getOps<plan::ModelOp>();
  if (plans.empty())
    return createStringError("the module has no plan.model; it was not lowered (edge-plan-memory)");
  return *plans.begin();
}

/// Small segments first, the weights last: what a loader looks at lies together.
static uint64_t place(MutableArrayRef<PlacedSegment> segments, uint64_t metadataBytes) {
  uint64_t end = sizeof(rt::FileHeader) + metadataBytes;
  for (PlacedSegment &segment : segments) {
    segment.offset = alignTo(end, segment.alignment);
    end = segment.offset + segment.length;
  }
  return end;
}

static rt::FileHeader header(ArrayRef<char> metadata, uint64_t fileBytes, uint64_t features) {
  rt::FileHeader header = {};
  memcpy(header.magic, rt::kMagic, sizeof header.magic);
  header.version = EDGECC_ABI_VERSION;
  header.features = features;
  header.metadataSize = metadata.size();
  header.fileSize = fileBytes;
  Sha256 hash = sha256(metadata);
  memcpy(header.metadataSha256, hash.data(), hash.size());
  return header;
}

Expected<PackageSummary> package(ArrayRef<mlir::ModuleOp> variants, ArrayRef<CodeImage> images, const PackageOptions &options) {
  auto plan = joinPlans(variants, images);
  if (!plan)
    return plan.takeError();
  auto weights = WeightSegment::collect(*plan);
  if (!weights)
    return weights.takeError();

  std::vector<PlacedSegment> segments;
  segments.push_back({"ledger", fb::SegmentKind::Ledger, 0, options.ledger.size(), 64,
                      sha256(ArrayRef<char>(options.ledger.data(), options.ledger.size())), nullptr});
  for (const CodeImage &image : images)
    segments.push_back({image.variant->name.str(), fb::SegmentKind::Code, 0, image.bytes.size(), options.alignment,
                        sha256(image.bytes), image.variant});
  if (!options.text.empty())
    segments.push_back({"text", fb::SegmentKind::Text, 0, options.text.size(), 64,
                        sha256(ArrayRef<char>(options.text.data(), options.text.size())), nullptr});
  if (weights->bytes())
    segments.push_back({"weights", fb::SegmentKind::Weights, 0, weights->bytes(), options.alignment, {}, nullptr});

  // Offsets and hashes have fixed sizes: placed and written once with the wrong ones, the metadata tell how long they are.
  place(segments, /*metadataBytes=*/0);
  auto metadata = serialize(*plan, images, segments, options);
  if (!metadata)
    return metadata.takeError();
  if (metadata->size() > rt::kMaxMetadataSize)
    return createStringError("the metadata take %zu bytes; the runtime allows %llu", metadata->size(),
                             static_cast<unsigned long long>(rt::kMaxMetadataSize));
  uint64_t room = metadata->size(), fileBytes = place(segments, room);

  auto file = ArtifactFile::create(options.output, fileBytes);
  if (!file)
    return file.takeError();
  Progress progress("writing " + options.output, weights->bytes(), options.progress);
  for (PlacedSegment &segment : segments) {
    Error error = Error::success();
    if (segment.kind == fb::SegmentKind::Ledger)
      error = (*file)->write(segment.offset, ArrayRef<char>(options.ledger.data(), options.ledger.size()));
    else if (segment.kind == fb::SegmentKind::Text)
      error = (*file)->write(segment.offset, ArrayRef<char>(options.text.data(), options.text.size()));
    else if (segment.kind == fb::SegmentKind::Code)
      error = (*file)->write(segment.offset, images[&segment - &segments[1]].bytes);
    else if (auto hash = weights->stream(**file, segment.offset, [&](uint64_t done) { progress.update(done); }))
      segment.hash = *hash;
    else
      error = hash.takeError();
    if (error)
      return error;
  }
  metadata = serialize(*plan, images, segments, options);
  if (!metadata)
    return metadata.takeError();
  if (metadata->size() != room)
    return createStringError("the metadata changed their size from %llu to %zu bytes; this is a bug in edgecc",
                             static_cast<unsigned long long>(room), metadata->size());
  uint64_t features = plan->getBody().getOps<plan::ExitOp>().empty() ? rt::kNoFeatures : rt::kExits;
  rt::FileHeader start = header(*metadata, fileBytes, features);
  if (Error error = (*file)->write(0, ArrayRef<char>(reinterpret_cast<const char *>(&start), sizeof start)))
    return error;
  if (Error error = (*file)->write(sizeof start, *metadata))
    return error;
  if (Error error = (*file)->commit())
    return error;
  return PackageSummary{fileBytes, metadata->size(), weights->bytes()};
}

} // namespace edgecc
