//===- Tokenizers.cpp - Compiles a tokenizer from any source -----------------===//
#include "compiler/text/tokenizer/Tokenizers.h"
#include "compiler/text/tokenizer/Sources.h"
#include "runtime/text/Segment.h"

#include <filesystem>
#include <fstream>
#include <iterator>

namespace edgecc::text {

using nlohmann::json;
namespace fs = std::filesystem;

namespace {

std::string readFile(const fs::path &path) {
  std::ifstream file(path, std::ios::binary);
  if (!file)
    throw Refusal{"cannot be opened"};
  return std::string(std::istreambuf_iterator<char>(file), {});
}

/// Reads a GGUF file up to the tensors: at most the first 256 MB.
std::string readHead(const fs::path &path) {
  std::ifstream file(path, std::ios::binary);
  std::string bytes(size_t(std::min<uintmax_t>(fs::file_size(path), 256u << 20)), '\0');
  if (!file.read(bytes.data(), std::streamsize(bytes.size())))
    throw Refusal{"cannot be read"};
  return bytes;
}

json parseJson(std::string_view bytes) {
  json root = json::parse(bytes, nullptr, false);
  if (root.is_discarded())
    throw Refusal{"is no valid JSON"};
  return root;
}

/// Returns the contents of a JSON file of a directory, or null if there is no such file.
json optionalJson(const fs::path &path) {
  if (!fs::exists(path))
    return nullptr;
  json root = json::parse(readFile(path), nullptr, false);
  if (root.is_discarded())
    throw Refusal{path.filename().string() + ": is no valid JSON"};
  return root;
}

Companions companionsOf(const fs::path &folder) {
  return {optionalJson(folder / "tokenizer_config.json"), optionalJson(folder / "special_tokens_map.json"),
          optionalJson(folder / "generation_config.json"), optionalJson(folder / "config.json")};
}

bool isTiktoken(std::string_view bytes) {
  const std::string_view line = bytes.substr(0, std::min(bytes.find('\n'), bytes.size()));
  const size_t blank = line.find(' ');
  return blank != 0 && blank != std::string_view::npos && blank + 1 < line.size() &&
         line.substr(0, blank).find_first_not_of("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=") ==
             std::string_view::npos &&
         line.substr(blank + 1).find_first_not_of("0123456789\r") == std::string_view::npos;
}

/// Reads a file that says by its contents what it is.
TokenizerDescription describe(std::string_view bytes, const TokenizerOptions &options) {
  if (bytes.empty())
    throw Refusal{"is empty"};
  if (bytes.substr(0, 4) == "GGUF")
    return readGguf(bytes);
  if (bytes.find_first_not_of(" \t\r\n") != std::string_view::npos && bytes[bytes.find_first_not_of(" \t\r\n")] == '{') {
    const json root = parseJson(bytes);
    if (root.contains("model"))
      return readHuggingFace(root);
    if (root.contains("config") && root.contains("vocab") && root["vocab"].is_array())
      return readTekken(root);
    throw Refusal{"is neither a tokenizer.json of Hugging Face nor a tekken.json"};
  }
  if (isTiktoken(bytes))
    return readTiktoken(bytes, options.pattern);
  if (isLlama2c(bytes))
    return readLlama2c(bytes);
  // A SentencePiece model begins with its first piece: field 1, a message.
  if (bytes[0] == 0x0A)
    return readSentencePiece(bytes);
  throw Refusal{"is no tokenizer: neither JSON, SentencePiece, tiktoken ranks, GGUF nor a llama2.c vocabulary"};
}

bool isSection(std::string_view bytes) { return bytes.substr(0, 4) == std::string_view(kTokenizerMagic, 4); }

/// Returns the tokenizer section in a text segment.
std::string sectionOf(std::string_view segmentBytes) {
  Segment segment;
  if (const char *fault = segment.open(segmentBytes.data(), segmentBytes.size()))
    throw Refusal{fault};
  const std::string_view section = segment.section(SectionKind::Tokenizer);
  if (section.empty())
    throw Refusal{"holds no tokenizer"};
  return std::string(section);
}

std::string compileDirectory(const fs::path &folder, const TokenizerOptions &options, fs::path &used) {
  const Companions companions = companionsOf(folder);
  TokenizerDescription d;
  std::string error;
  const auto exists = [&](const char *name) {
    used = folder / name;
    return fs::exists(used);
  };
  if (exists("tokenizer.json"))
    d = readHuggingFace(parseJson(readFile(used)));
  else if (exists("tekken.json"))
    d = readTekken(parseJson(readFile(used)));
  else if (exists("tokenizer.model"))
    d = describe(readFile(used), options);
  else if (exists("vocab.json") && fs::exists(folder / "merges.txt"))
    d = readHuggingFace(fromVocabularyAndMerges(parseJson(readFile(used)), readFile(folder / "merges.txt"), companions));
  else if (exists("vocab.txt"))
    d = readHuggingFace(fromVocabularyText(readFile(used), companions));
  else {
    used = folder;
    throw Refusal{"has no tokenizer: neither tokenizer.json, tekken.json, tokenizer.model, vocab.json with merges.txt, nor "
                  "vocab.txt"};
  }
  applyCompanions(d, companions);
  const std::string section = writeTokenizer(std::move(d), error);
  if (section.empty())
    throw Refusal{error};
  return section;
}

std::string compileContents(std::string_view bytes, const TokenizerOptions &options) {
  if (isSection(bytes))
    return std::string(bytes);
  if (bytes.substr(0, 4) == std::string_view(kTextMagic, 4))
    return sectionOf(bytes);
  std::string error;
  const std::string section = writeTokenizer(describe(bytes, options), error);
  if (section.empty())
    throw Refusal{error};
  return section;
}

std::string compileFile(const fs::path &path, const TokenizerOptions &options) {
  std::string error;
  const std::string name = path.filename().string();
  std::ifstream file(path, std::ios::binary);
  char magic[4] = {};
  if (file.read(magic, 4) && std::string_view(magic, 4) == "GGUF")
    return compileContents(readHead(path), options);
  TokenizerDescription d;
  if (name == "vocab.txt" || name == "vocab.json") {
    const Companions companions = companionsOf(path.parent_path());
    const fs::path merges = path.parent_path() / "merges.txt";
    if (name == "vocab.json" && !fs::exists(merges))
      throw Refusal{"needs merges.txt beside it"};
    d = readHuggingFace(name == "vocab.txt" ? fromVocabularyText(readFile(path), companions)
                                            : fromVocabularyAndMerges(parseJson(readFile(path)), readFile(merges), companions));
    applyCompanions(d, companions);
  } else {
    const std::string bytes = readFile(path);
    if (name != "tokenizer.json")
      return compileContents(bytes, options);
    d = describe(bytes, options);
    applyCompanions(d, companionsOf(path.parent_path()));
  }
  const std::string section = writeTokenizer(std::move(d), error);
  if (section.empty())
    throw Refusal{error};
  return section;
}

} // namespace

bool compileTokenizer(const std::string &path, const TokenizerOptions &options, std::string &section, std::string &error) {
  fs::path used = path;
  try {
    std::error_code ignored;
    if (!fs::exists(path, ignored))
      throw Refusal{"does not exist"};
    section = fs::is_directory(path, ignored) ? compileDirectory(path, options, used) : compileFile(path, options);
    return true;
  } catch (const Refusal &refusal) {
    error = used.string() + ": " + refusal.sentence;
  } catch (const std::exception &exception) {
    error = used.string() + ": has a value of another type than expected (" + exception.what() + ")";
  }
  return false;
}

bool compileTokenizerBytes(std::string_view bytes, const TokenizerOptions &options, std::string &section, std::string &error) {
  try {
    section = compileContents(bytes, options);
    return true;
  } catch (const Refusal &refusal) {
    error = refusal.sentence;
  } catch (const std::exception &exception) {
    error = std::string("has a value of another type than expected (") + exception.what() + ")";
  }
  return false;
}

} // namespace edgecc::text
