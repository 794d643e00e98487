//===- unicode_tool.cpp - Runs patterns and normalizers for the tests --------===//
//
//   text-unicode match SYNTAX PATTERN    reads a text, writes the begin and end of each match as two uint32_t
//   text-unicode speed SYNTAX PATTERN    reads a text, prints MB/s and the size of the automaton
//
// SYNTAX is `onig` or `fancy`.
//
//===----------------------------------------------------------------------===//
#include "compiler/text/unicode/Pattern.h"
#include "runtime/text/unicode/Automaton.h"

#include <chrono>
#include <cstdio>
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
  return fail("usage: text-unicode match|speed onig|fancy PATTERN < TEXT");
}
