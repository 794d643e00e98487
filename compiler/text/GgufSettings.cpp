//===- GgufSettings.cpp - Single values in the metadata of a GGUF file -------===//
#include "compiler/text/GgufSettings.h"

#include <cstdint>
#include <cstring>
#include <fstream>

namespace edgecc::text {
namespace {

constexpr uint64_t kLongestText = uint64_t(64) << 20;

/// Reads from a file and remembers whether anything was missing.
class Reader {
public:
  explicit Reader(const std::string &path) : file(path, std::ios::binary) {}
  bool good() const { return isGood && file.good(); }

  template <typename T> T number() {
    T value = {};
    isGood &= bool(file.read(reinterpret_cast<char *>(&value), sizeof(value)));
    return value;
  }
  std::string text() {
    const auto size = number<uint64_t>();
    if (!good() || size > kLongestText) {
      isGood = false;
      return "";
    }
    std::string bytes(size_t(size), '\0');
    isGood &= bool(file.read(bytes.data(), std::streamsize(size)));
    return bytes;
  }
  void skip(uint64_t size) { isGood &= bool(file.seekg(std::streamoff(size), std::ios::cur)); }

private:
  std::ifstream file;
  bool isGood = true;
};

enum Type : uint32_t { U8, I8, U16, I16, U32, I32, F32, Bool, Text, Array, U64, I64, F64 };
constexpr uint64_t kSizes[] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};

nlohmann::json readScalar(Reader &reader, uint32_t type) {
  switch (type) {
  case U8: return reader.number<uint8_t>();
  case I8: return reader.number<int8_t>();
  case U16: return reader.number<uint16_t>();
  case I16: return reader.number<int16_t>();
  case U32: return reader.number<uint32_t>();
  case I32: return reader.number<int32_t>();
  case F32: return reader.number<float>();
  case Bool: return reader.number<uint8_t>() != 0;
  case Text: return reader.text();
  case U64: return reader.number<uint64_t>();
  case I64: return reader.number<int64_t>();
  default: return reader.number<double>();
  }
}

} // namespace

bool isGguf(const std::string &path) {
  std::ifstream file(path, std::ios::binary);
  char magic[4];
  return file.read(magic, sizeof(magic)) && memcmp(magic, "GGUF", sizeof(magic)) == 0;
}

bool readGgufSettings(const std::string &path, nlohmann::json &settings, std::string &error) {
  settings = nlohmann::json::object();
  Reader reader(path);
  reader.skip(4);
  reader.number<uint32_t>(); // the version, which the tokenizer's reader checks
  reader.number<uint64_t>();
  const auto count = reader.number<uint64_t>();
  for (uint64_t i = 0; i < count && reader.good(); ++i) {
    const std::string key = reader.text();
    uint32_t type = reader.number<uint32_t>();
    uint64_t elements = 1;
    const bool isArray = type == Array;
    if (isArray) {
      type = reader.number<uint32_t>();
      elements = reader.number<uint64_t>();
    }
    if (type > F64 || type == Array) {
      error = path + ": " + key + ": type " + std::to_string(type) + " of metadata is not supported";
      return false;
    }
    if (!isArray)
      settings[key] = readScalar(reader, type);
    else if (type != Text)
      reader.skip(elements * kSizes[type]);
    else
      for (uint64_t k = 0; k < elements && reader.good(); ++k)
        reader.skip(reader.number<uint64_t>());
  }
  if (reader.good())
    return true;
  error = path + ": the metadata are cut short";
  return false;
}

} // namespace edgecc::text
