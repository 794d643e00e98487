//===- unicode_tool.cpp - Runs patterns and normalizers for the tests --------===//
//
//   text-unicode match SYNTAX PATTERN    reads a text, writes the begin and end of each match as two uint32_t
//   text-unicode speed SYNTAX PATTERN    reads a text, prints MB/s and the size of the automaton
//
//   text-unicode normalize JSON          reads texts that end in a NUL each, writes what they become, with a NUL each
//   text-unicode class NAME              prints the pattern of `punctuation` or `numeric`
//
// SYNTAX is `onig` or `fancy`. JSON is the `normalizer` of a tokenizer.json, or the name of a file that has it.
//
//===----------------------------------------------------------------------===//
#include "compiler/text/unicode/Normalization.h"
#include "compiler/text/unicode/Pattern.h"
#include "runtime/text/unicode/Normalizer.h"

#include <chrono>
#include <cstdio>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

using namespace edgecc::text;

static std::string readInput() {
  std::string text;
  char chunk[65536];
  while (const size_t count = fread(chunk, 1, sizeof(chunk), stdin))
    text.append(chunk, count);
  return text;
}

static int fail(const std::string &what) {
  fprintf(stderr, "%s\n", what.c_str());
  return 1;
}

static void writeWords(const std::vector<uint32_t> &words) { fwrite(words.data(), sizeof(uint32_t), words.size(), stdout); }

static int match(const Automaton &automaton, const std::string &text) {
  std::vector<uint32_t> bounds;
  Matches matches(automaton, text);
  for (size_t begin, end; matches.next(begin, end);) {
    bounds.push_back(uint32_t(begin));
    bounds.push_back(uint32_t(end));
  }
  writeWords(bounds);
  return 0;
}

static int speed(const Automaton &automaton, const std::string &text, size_t bytes) {
  double best = 1e9;
  size_t count = 0;
  for (int round = 0; round < 5; ++round) {
    const auto start = std::chrono::steady_clock::now();
    Matches matches(automaton, text);
    count = 0;
    for (size_t begin, end; matches.next(begin, end);)
      ++count;
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
    best = seconds.count() < best ? seconds.count() : best;
  }
  printf("%.1f MB/s, %zu matches, %zu bytes of tables\n", double(text.size()) / best / 1e6, count, bytes);
  return 0;
}

static int normalize(const std::string &argument) {
  nlohmann::json json = nlohmann::json::parse(argument, nullptr, false);
  if (json.is_discarded())
    json = nlohmann::json::parse(std::ifstream(argument), nullptr, false);
  std::string program, error;
  if (json.is_discarded() || !compileNormalizer(json, "/normalizer", program, error))
    return fail(json.is_discarded() ? "no JSON" : error);
  Normalizer normalizer;
  if (const char *problem = normalizer.open(program.data(), program.size()))
    return fail(problem);
  const std::string texts = readInput();
  NormalizerScratch scratch;
  Buffer<char> out;
  Buffer<uint32_t> origins;
  for (size_t begin = 0; begin < texts.size();) {
    const size_t end = texts.find('\0', begin);
    if (end == std::string::npos)
      return fail("a text has no NUL at its end");
    const std::string_view text(texts.data() + begin, end - begin);
    if (!normalizer.run(text, scratch, out, &origins) || origins.size() != out.size())
      return fail("the normalizer failed");
    for (uint32_t origin : origins)
      if (origin >= text.size())
        return fail("an origin lies outside of the text");
    fwrite(out.data(), 1, out.size(), stdout);
    fputc(0, stdout);
    begin = end + 1;
  }
  fprintf(stderr, "%zu bytes of tables\n", program.size());
  return 0;
}

int main(int argc, char **argv) {
  const std::string command = argc > 1 ? argv[1] : "";
  if (argc == 4 && (command == "match" || command == "speed")) {
    std::string bytes, error;
    const bool fancy = std::string(argv[2]) == "fancy";
    if (!compilePattern(argv[3], bytes, error, fancy ? PatternSyntax::FancyRegex : PatternSyntax::Oniguruma))
      return fail(error);
    Automaton automaton;
    if (const char *problem = automaton.open(bytes.data(), bytes.size()))
      return fail(problem);
    const std::string text = readInput();
    return command == "match" ? match(automaton, text) : speed(automaton, text, bytes.size());
  }
  if (argc == 3 && command == "normalize")
    return normalize(argv[2]);
  if (argc == 3 && command == "class") {
    puts((std::string(argv[2]) == "numeric" ? numericPattern() : punctuationPattern()).c_str());
    return 0;
  }
  return fail("usage: text-unicode match|speed onig|fancy PATTERN < TEXT");
}
