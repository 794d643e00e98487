//===- CalibrationCache.cpp ---------------------------------------------------===//
#include "compiler/calibrate/CalibrationCache.h"
#include "compiler/calibrate/result_generated.h"
#include "compiler/package/ArtifactFile.h"
#include "llvm/Support/CachePruning.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"

using namespace llvm;
namespace edgecc {
namespace {

/// That of files which LLVM's pruning takes for its own.
constexpr StringLiteral kPrefix = "llvmcache-";
/// What flatbuffers can hold, with room for its tables.
constexpr uint64_t kLargest = FLATBUFFERS_MAX_BUFFER_SIZE - (1 << 20);

uint64_t bytesOf(const Archive &archive) {
  uint64_t bytes = 0;
  for (StringRef part : archive.parts())
    bytes += part.size();
  return bytes;
}

StringRef textOf(const flatbuffers::String *text) { return {text->c_str(), text->size()}; }

} // namespace

Expected<CalibrationCache> CalibrationCache::open(StringRef folder, uint64_t most, std::function<void(const Twine &)> warn) {
  if (std::error_code code = sys::fs::create_directories(folder); code || !sys::fs::is_directory(folder))
    return createStringError("--calibration-cache=" + folder +
                             " is no folder and cannot become one: " + (code ? code.message() : "there is a file of that name"));
  CalibrationCache cache;
  cache.counts.folder = folder.str();
  cache.most = most;
  cache.warn = std::move(warn);
  static int anchor;
  const std::string self = sys::fs::getMainExecutable(nullptr, &anchor);
  auto program = MemoryBuffer::getFile(self, /*IsText=*/false, /*RequiresNullTerminator=*/false);
  if (!program)
    return createStringError("--calibration-cache: cannot read %s, which makes the results: %s", self.c_str(),
                             program.getError().message().c_str());
  cache.programDigest = Digest().add((*program)->getBuffer()).text();
  return cache;
}

std::string CalibrationCache::pathOf(StringRef key) const {
  SmallString<128> path(counts.folder);
  sys::path::append(path, kPrefix + key);
  return path.str().str();
}

Expected<CalibrationCache::Result> CalibrationCache::read(StringRef path, StringRef key) {
  auto descriptor = sys::fs::openNativeFileForRead(path, sys::fs::OF_UpdateAtime);
  if (!descriptor)
    return descriptor.takeError();
  auto file = MemoryBuffer::getOpenFile(*descriptor, path, /*FileSize=*/-1, /*RequiresNullTerminator=*/false);
  sys::fs::closeFile(*descriptor);
  if (!file)
    return errorCodeToError(file.getError());
  Result result{std::move(*file), {}};
  StringRef bytes = result.file->getBuffer();
  const auto *data = reinterpret_cast<const uint8_t *>(bytes.data());
  auto isSound = [&] {
    flatbuffers::Verifier verifier(data, bytes.size());
    return bytes.size() < FLATBUFFERS_MAX_BUFFER_SIZE && kept::VerifyResultBuffer(verifier);
  };
  if (!isSound())
    return createStringError("it is damaged");
  const kept::Result *kept = kept::GetResult(data);
  if (textOf(kept->key()) != key)
    return createStringError("it is the result of something else");
  Digest digest;
  for (const kept::Part *part : *kept->parts()) {
    result.parts.emplace_back(reinterpret_cast<const char *>(part->bytes()->data()), part->bytes()->size());
    digest.add(result.parts.back());
  }
  if (digest.text() != textOf(kept->digest()))
    return createStringError("it is damaged");
  return result;
}

std::optional<CalibrationCache::Result> CalibrationCache::find(StringRef key) {
  const std::string path = pathOf(key);
  if (!sys::fs::exists(path))
    return std::nullopt;
  auto result = read(path, key);
  if (!result) {
    warn(path + ": " + toString(result.takeError()) + "; it is not used, and made anew");
    return std::nullopt;
  }
  ++counts.taken;
  counts.takenBytes += result->file->getBufferSize();
  return std::move(*result);
}

void CalibrationCache::keep(StringRef key, const Archive &archive) {
  uint64_t bytes = bytesOf(archive), allowed = std::min(most, kLargest);
  if (isClosed)
    return;
  if (bytes > allowed)
    return warn("--calibration-cache: a result of " + Twine(bytes) + " bytes is not kept, " + Twine(allowed) +
                " are allowed (--calibration-cache-size)");
  flatbuffers::FlatBufferBuilder builder(bytes + 4096);
  std::vector<flatbuffers::Offset<kept::Part>> parts;
  for (StringRef part : archive.parts())
    parts.push_back(kept::CreatePart(builder, builder.CreateVector(part.bytes_begin(), part.size())));
  auto name = builder.CreateString(key.data(), key.size());
  auto digest = builder.CreateString(archive.digest());
  builder.Finish(kept::CreateResult(builder, name, digest, builder.CreateVector(parts)), kept::ResultIdentifier());
  StringRef contents(reinterpret_cast<const char *>(builder.GetBufferPointer()), builder.GetSize());
  if (Error error = writeWholeFile(pathOf(key), contents)) {
    isClosed = true;
    return warn("--calibration-cache: " + toString(std::move(error)) + "; no result of this compile is kept from here on");
  }
  ++counts.added;
  counts.addedBytes += contents.size();
}

void CalibrationCache::trim() {
  CachePruningPolicy policy;
  policy.Interval = std::chrono::seconds(0);
  policy.Expiration = std::chrono::seconds(0);
  policy.MaxSizeBytes = most;
  if (isClosed || !counts.added)
    return;
  if (counts.takenBytes + counts.addedBytes > most)
    warn("--calibration-cache: the results of this compile have " + Twine(counts.takenBytes + counts.addedBytes) + " bytes, of " +
         Twine(most) + " that are allowed: not all are kept for the next one (--calibration-cache-size)");
  pruneCache(counts.folder, policy);
}

} // namespace edgecc
