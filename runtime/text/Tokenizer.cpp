#include "runtime/text/Tokenizer.h"

#include "runtime/text/Segment.h"
#include "runtime/text/tokenizer/Decoder.h"

#include <cstring>
#include <fstream>
#include <iterator>

namespace edgecc::text {
namespace {

/// A compiled tokenizer that owns its section.
class OwningTokenizer final : public Tokenizer {
public:
  const char *open(std::string_view section) {
    memory.resize(section.size() / sizeof(uint64_t) + 1); // aligned to 8 bytes
    memcpy(memory.data(), section.data(), section.size());
    return tokenizer.open(memory.data(), section.size());
  }

  std::vector<int64_t> encode(std::string_view text) const override {
    Scratch scratch;
    Buffer<int32_t> ids;
    tokenizer.encode(text, Trust::none(), {}, scratch, ids);
    return std::vector<int64_t>(ids.begin(), ids.end());
  }

  std::string decode(int64_t previous, int64_t id) const override {
    if (id < 0 || id >= size() || tokenizer.isSpecial(uint32_t(id)))
      return "";
    const std::string_view bytes = tokenizer.bytesOf(uint32_t(id));
    if (tokenizer.decodesBytes())
      return std::string(bytes);
    if (tokenizer.flagsOf(uint32_t(id)) & kTokenByte)
      return std::string(1, char(strtol(std::string(bytes.substr(3, 2)).c_str(), nullptr, 16)));
    Buffer<char> text;
    Decoder decoder(tokenizer);
    if (previous >= 0 && !tokenizer.isSpecial(uint32_t(previous)))
      decoder.resume();
    decoder.feed(uint32_t(id), text);
    decoder.finish(text);
    return std::string(text.begin(), text.end());
  }

  int64_t size() const override { return tokenizer.size(); }

  std::vector<int64_t> ends() const override {
    std::vector<int64_t> ids;
    for (int32_t id : {tokenizer.endId(), tokenizer.beginId()})
      if (id >= 0)
        ids.push_back(id);
    return ids;
  }

private:
  std::vector<uint64_t> memory;
  CompiledTokenizer tokenizer;
};

/// Opens bytes that are a tokenizer section, or a text segment with one. Null without a sentence if they are neither.
std::unique_ptr<Tokenizer> openCompiled(std::string_view bytes, std::string &error) {
  if (bytes.substr(0, sizeof(kTextMagic)) == std::string_view(kTextMagic, sizeof(kTextMagic))) {
    Segment segment;
    if (const char *fault = segment.open(bytes.data(), bytes.size())) {
      error = fault;
      return nullptr;
    }
    bytes = segment.section(SectionKind::Tokenizer);
    if (bytes.empty()) {
      error = "the text segment holds no tokenizer";
      return nullptr;
    }
  }
  if (bytes.substr(0, sizeof(kTokenizerMagic)) != std::string_view(kTokenizerMagic, sizeof(kTokenizerMagic)))
    return nullptr;
  auto tokenizer = std::make_unique<OwningTokenizer>();
  if (const char *fault = tokenizer->open(bytes)) {
    error = fault;
    return nullptr;
  }
  return tokenizer;
}

} // namespace

std::unique_ptr<Tokenizer> Tokenizer::parse(std::string_view bytes, std::string &error) {
  error.clear();
  std::string section;
  std::unique_ptr<Tokenizer> tokenizer = openCompiled(bytes, error);
  if (tokenizer || !error.empty() || !compileTokenizerSource("", bytes, section, error))
    return tokenizer;
  return openCompiled(section, error);
}

std::unique_ptr<Tokenizer> Tokenizer::open(const std::string &path, std::string &error) {
  error.clear();
  std::string section;
  char magic[4] = {};
  std::ifstream file(path, std::ios::binary);
  if (file.read(magic, sizeof(magic)) && (memcmp(magic, kTokenizerMagic, 4) == 0 || memcmp(magic, kTextMagic, 4) == 0)) {
    file.seekg(0);
    const std::string bytes(std::istreambuf_iterator<char>(file), {});
    std::unique_ptr<Tokenizer> tokenizer = openCompiled(bytes, error);
    error = tokenizer ? "" : path + ": " + error;
    return tokenizer;
  }
  return compileTokenizerSource(path, {}, section, error) ? openCompiled(section, error) : nullptr;
}

} // namespace edgecc::text
