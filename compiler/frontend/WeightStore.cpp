//===- WeightStore.cpp - External data, mapped and checked ------------------===//
//
// A model comes from strangers: what it says about files is checked before anything is opened, and what it says about
// offsets before anything is read.
//
//===----------------------------------------------------------------------===//
#include "compiler/frontend/WeightStore.h"
#include "llvm/ADT/ScopeExit.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/SHA256.h"
#include <sys/mman.h>

using namespace edgecc::onnx;
using llvm::StringRef;
namespace fs = llvm::sys::fs;
namespace path = llvm::sys::path;

template <typename... Args> static llvm::Error failure(const Args &...args) {
  std::string message;
  llvm::raw_string_ostream os(message);
  (os << ... << args);
  return llvm::createStringError(message);
}

llvm::Expected<std::shared_ptr<const FileBytes>> FileBytes::map(StringRef path) {
  llvm::Expected<fs::file_t> file = fs::openNativeFileForRead(path);
  if (!file)
    return failure("cannot open ", path, ": ", llvm::toString(file.takeError()));
  llvm::scope_exit close([&] { fs::closeFile(*file); });
  fs::file_status status;
  if (std::error_code error = fs::status(*file, status))
    return failure("cannot read ", path, ": ", error.message());
  if (status.type() != fs::file_type::regular_file)
    return failure("cannot read ", path, ": it is not a regular file");

  auto result = std::make_shared<FileBytes>();
  // An empty file cannot be mapped, and has nothing to map.
  if (status.getSize() == 0)
    return result;
  std::error_code error;
  result->region = fs::mapped_file_region(*file, fs::mapped_file_region::readonly, status.getSize(), 0, error);
  if (error)
    return failure("cannot map ", path, " (", status.getSize(), " bytes): ", error.message());
  result->view = StringRef(result->region.data(), result->region.size());
  return result;
}

std::shared_ptr<const FileBytes> FileBytes::own(std::string bytes) {
  auto result = std::make_shared<FileBytes>();
  result->owned = std::move(bytes);
  result->view = result->owned;
  return result;
}

std::string FileBytes::sha256() const {
  constexpr size_t chunkSize = 16 << 20;
  llvm::SHA256 hash;
  for (StringRef rest = view; !rest.empty(); rest = rest.drop_front(std::min(rest.size(), chunkSize))) {
    StringRef chunk = rest.take_front(chunkSize);
    hash.update(chunk);
    // Hashing touches everything: without this a large model would count as resident memory once over.
    if (region)
      madvise(const_cast<char *>(chunk.data()), chunk.size(), MADV_DONTNEED);
  }
  return llvm::toHex(hash.final(), /*LowerCase=*/true);
}

WeightStore::WeightStore(StringRef modelPath, llvm::ArrayRef<std::string> otherFolders) {
  auto add = [&](StringRef folder) {
    llvm::SmallString<256> real;
    if (!fs::real_path(folder.empty() ? "." : folder, real))
      folders.push_back(real.str().str());
  };
  add(path::parent_path(modelPath));
  llvm::for_each(otherFolders, add);
}

llvm::Expected<std::shared_ptr<const FileBytes>> WeightStore::open(StringRef location) {
  if (location.empty() || location.contains('\0') || path::is_absolute(location))
    return failure("'", location, "' is not a relative path");
  if (llvm::is_contained(llvm::make_range(path::begin(location), path::end(location)), ".."))
    return failure("'", location, "' leads out of the model's folder");
  for (const std::string &folder : folders) {
    llvm::SmallString<256> file(folder), real;
    path::append(file, location);
    if (!fs::exists(file))
      continue;
    if (std::error_code error = fs::real_path(file, real))
      return failure("cannot open ", file, ": ", error.message());
    // The link may lead anywhere inside any of the folders.
    auto holds = [&](StringRef allowed) {
      return StringRef(real).starts_with(allowed) &&
             (allowed.ends_with("/") || StringRef(real).drop_front(allowed.size()).starts_with("/"));
    };
    if (!llvm::any_of(folders, holds))
      return failure("'", location, "' is a link that leads out of the model's folder, to ", real,
                     "; name that folder with --weights-dir if you trust it");
    paths.push_back(real.str().str());
    return FileBytes::map(real);
  }
  return failure("there is no file '", location, "' in ", folders.empty() ? "the model's folder" : folders.front(),
                 "; external data must lie beside the model, or in a folder named with --weights-dir");
}

llvm::Expected<SharedBytes> WeightStore::find(const proto::Tensor &tensor, uint64_t size) {
  StringRef location;
  uint64_t offset = 0, length = size;
  for (const auto &[key, value] : tensor.externalData) {
    if (key == "location")
      location = value;
    else if ((key == "offset" && value.getAsInteger(10, offset)) || (key == "length" && value.getAsInteger(10, length)))
      return failure("tensor '", tensor.name, "': its external ", key, " '", value, "' is not a number of bytes");
  }
  auto [entry, isNew] = files.try_emplace(location);
  if (isNew) {
    auto file = open(location);
    if (!file) {
      files.erase(entry);
      return failure("tensor '", tensor.name, "': ", llvm::toString(file.takeError()));
    }
    entry->second = *file;
  }
  StringRef file = entry->second->bytes();
  if (length != size)
    return failure("tensor '", tensor.name, "' has ", size, " bytes by its type, but ", length, " in ", location);
  // Subtraction first: offset + size can overflow.
  if (offset > file.size() || size > file.size() - offset)
    return failure("tensor '", tensor.name, "': ", size, " bytes at ", offset, " do not lie in ", location, ", which has ",
                   file.size(), "; is the file complete?");
  return SharedBytes{file.substr(offset, size), entry->second};
}
