//===- tokenizer_check.cpp - Encodes and decodes many texts for the tests ----===//
//
// Reads records from standard input: uint32_t number of bytes, then the text. Writes for each: uint32_t number of ids, the ids as
// int32_t, uint32_t number of bytes, and what the ids decode to, fed one at a time.
//
// `tokenizer_check --seeds FOLDER` writes inputs for the fuzzers of runtime/fuzz instead, a folder for each.
//
//===----------------------------------------------------------------------===//
#include "SmallTokenizers.h"
#include "compiler/text/SegmentWriter.h"
#include "compiler/text/templates/TemplateCompiler.h"
#include "compiler/text/tokenizer/Tokenizers.h"
#include "runtime/text/tokenizer/Decoder.h"

#include <chrono>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

using namespace edgecc::text;

static bool read(void *to, size_t size) { return fread(to, 1, size, stdin) == size; }
static void write(const void *data, size_t count, size_t width) {
  const auto number = uint32_t(count);
  fwrite(&number, sizeof(number), 1, stdout);
  fwrite(data, width, count, stdout);
}
static double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

/// Writes a segment, a text and ids of each small tokenizer. Returns whether all of them compile.
static bool writeSeeds(const std::filesystem::path &folder) {
  const auto write = [&](const char *name, size_t number, const std::string &bytes) {
    std::filesystem::create_directories(folder / name);
    std::ofstream(folder / name / std::to_string(number), std::ios::binary) << bytes;
  };
  const auto withLength = [](const std::string &section) {
    const auto length = uint32_t(section.size());
    return std::string(reinterpret_cast<const char *>(&length), sizeof(length)) + section;
  };
  size_t number = 0;
  for (const char *source : edgecc::test::kSmallTokenizers) {
    std::string tokenizer, chat, error;
    if (!compileTokenizerBytes(source, {}, tokenizer, error) ||
        !compileTemplate("{% for m in messages %}<s>{{ m['role']|upper }}: {{ m.content.strip() }}\n{% endfor %}", "seed", chat,
                         error)) {
      fprintf(stderr, "tokenizer_check: %s\n", error.c_str());
      return false;
    }
    SegmentWriter segment;
    segment.add(SectionKind::Tokenizer, tokenizer);
    segment.add(SectionKind::Template, chat);
    write("segment", number, segment.finish());
    write("encode", number,
          withLength(tokenizer) + "\7hello <|end|> a\xe2\x96\x81"
                                  "ab<s></s> plays.\xc3\xa9\n<b>");
    std::string ids(1, '\0');
    for (char id = 0; id < 16; ++id)
      ids += {id, '\0'};
    write("decode", number, withLength(tokenizer) + ids);
    ++number;
  }
  return true;
}

int main(int argc, char **argv) {
  if (argc == 3 && std::string_view(argv[1]) == "--seeds")
    return writeSeeds(argv[2]) ? 0 : 1;
  TokenizerOptions options;
  bool addSpecial = false, trusted = true, skipSpecial = false, writes = true;
  const char *path = nullptr;
  for (int i = 1; i < argc; ++i) {
    const std::string_view argument = argv[i];
    if (argument == "--special")
      addSpecial = true;
    else if (argument == "--untrusted")
      trusted = false;
    else if (argument == "--skip-special")
      skipSpecial = true;
    else if (argument == "--time")
      writes = false;
    else if (argument == "--pattern" && i + 1 < argc)
      options.pattern = argv[++i];
    else
      path = argv[i];
  }
  std::string section, error;
  double start = now();
  if (!path || !compileTokenizer(path, options, section, error)) {
    fprintf(stderr, "tokenizer_check: %s\n", error.c_str());
    return 1;
  }
  const double compiled = now() - start;
  start = now();
  CompiledTokenizer tokenizer;
  if (const char *fault = tokenizer.open(section.data(), section.size())) {
    fprintf(stderr, "tokenizer_check: %s\n", fault);
    return 1;
  }
  const double opened = now() - start;
  double encoding = 0, decoding = 0;
  size_t bytes = 0, tokens = 0;
  Scratch scratch;
  std::vector<std::string> texts;
  for (uint32_t size; read(&size, sizeof(size));) {
    texts.emplace_back(size, '\0');
    if (!read(texts.back().data(), size))
      return 1;
  }
  const Trust trust = trusted ? Trust::all() : Trust::none();
  for (const std::string &text : texts) {
    Buffer<int32_t> ids;
    Buffer<char> decoded;
    start = now();
    if (!tokenizer.encode(text, trust, {addSpecial}, scratch, ids)) {
      fprintf(stderr, "tokenizer_check: encoding failed\n");
      return 1;
    }
    encoding += now() - start;
    start = now();
    Decoder decoder(tokenizer, skipSpecial);
    for (int32_t id : ids)
      decoder.feed(uint32_t(id), decoded);
    decoder.finish(decoded);
    decoding += now() - start;
    bytes += text.size();
    tokens += ids.size();
    if (!writes)
      continue;
    write(ids.data(), ids.size(), sizeof(int32_t));
    write(decoded.data(), decoded.size(), 1);
  }
  fprintf(stderr,
          "{\"compile_s\": %.3f, \"open_ms\": %.3f, \"section\": %zu, \"bytes\": %zu, \"tokens\": %zu, \"encode_mb_s\": %.2f, "
          "\"decode_mb_s\": %.2f}\n",
          compiled, opened * 1e3, section.size(), bytes, tokens, double(bytes) / 1e6 / encoding, double(bytes) / 1e6 / decoding);
  return 0;
}
