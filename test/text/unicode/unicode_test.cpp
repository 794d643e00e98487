//===- unicode_test.cpp - Patterns, automata and normalizers -----------------===//
#include "compiler/text/unicode/Normalization.h"
#include "compiler/text/unicode/Pattern.h"
#include "runtime/text/unicode/Normalizer.h"

#include <gtest/gtest.h>
#include <memory>
#include <nlohmann/json.hpp>
#include <random>

using namespace edgecc::text;

namespace {

const std::string kLlama3 = R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*)"
                            R"(|\s*[\r\n]+|\s+(?!\S)|\s+)";

/// Returns the matches joined by `|`, or the error.
std::string matches(const std::string &pattern, const std::string &text, PatternSyntax syntax = PatternSyntax::Oniguruma) {
  std::string bytes, error, result;
  if (!compilePattern(pattern, bytes, error, syntax))
    return error;
  Automaton automaton;
  EXPECT_STREQ(automaton.open(bytes.data(), bytes.size()), nullptr);
  Matches found(automaton, text);
  for (size_t begin, end; found.next(begin, end);)
    result += (result.empty() ? "" : "|") + text.substr(begin, end - begin);
  return result;
}

std::string compileNormalizerText(const std::string &json) {
  std::string program, error;
  EXPECT_TRUE(compileNormalizer(nlohmann::json::parse(json), "/normalizer", program, error)) << error;
  return program;
}

std::string normalize(const std::string &program, const std::string &text, Buffer<uint32_t> *origins = nullptr) {
  Normalizer normalizer;
  EXPECT_STREQ(normalizer.open(program.data(), program.size()), nullptr);
  NormalizerScratch scratch;
  Buffer<char> out;
  EXPECT_TRUE(normalizer.run(text, scratch, out, origins));
  return std::string(view(out));
}

TEST(Pattern, TakesTheFirstAlternativeThatMatchesNotTheLongest) {
  EXPECT_EQ(matches("a|ab", "abab"), "a|a");
  EXPECT_EQ(matches("ab|a", "aab"), "a|ab");
  EXPECT_EQ(matches("a+?b?", "aab"), "a|ab");
}

TEST(Pattern, LooksAheadByOneCharacter) {
  EXPECT_EQ(matches(R"(\s+(?!\S)|\s+|\S+)", "a   b  "), "a|  | |b|  ");
  EXPECT_EQ(matches("a(?=b)", "ab a"), "a");
  EXPECT_EQ(matches(R"(\bab)", "ab cab ab"), "ab|ab");
}

TEST(Pattern, PossessiveRepetitionsGiveNothingBack) {
  EXPECT_EQ(matches("a++a|b", "aab", PatternSyntax::FancyRegex), "b");
  EXPECT_EQ(matches("a{1,2}+a", "aaa", PatternSyntax::FancyRegex), "aaa");
  EXPECT_EQ(matches("a{1,2}+a", "aa", PatternSyntax::FancyRegex), "");
}

TEST(Pattern, AnchorsFollowTheSyntax) {
  EXPECT_EQ(matches("^a", "a\na"), "a|a");
  EXPECT_EQ(matches("^a", "a\na", PatternSyntax::FancyRegex), "a");
}

TEST(Pattern, IgnoresCaseByUnicode) { EXPECT_EQ(matches("(?i:'s|k)", "'S'\u017F K\u212A"), "'S|'\u017F|K|\u212A"); }

TEST(Pattern, InvalidBytesAreReplacementCharacters) {
  EXPECT_EQ(matches("[^a]+", "a\xE2\x82"
                             "a\xFF"),
            "\xE2\x82|\xFF");
}

TEST(Pattern, RefusesWhatItCannotDoWithTheOffset) {
  EXPECT_EQ(matches("ab(?=cd)", ""),
            "the pattern cannot be compiled: offset 2: a look-around is supported for one character or class only");
  EXPECT_EQ(matches(R"((a)\1)", ""), R"(the pattern cannot be compiled: offset 3: `\1` is not supported)");
  EXPECT_EQ(matches("[a", ""), "the pattern cannot be compiled: offset 0: a class has no `]`");
  EXPECT_EQ(matches("a)", ""), "the pattern cannot be compiled: offset 1: `)` has no `(`");
  EXPECT_EQ(matches(R"(\p{Nonsense})", ""), "the pattern cannot be compiled: offset 0: `Nonsense` is no property of Unicode");
  EXPECT_NE(matches("(?:[ab]*a[ab]{40})", "").find("larger than 256 KB"), std::string::npos);
}

TEST(Normalizer, KeepsTheOriginOfEachByte) {
  Buffer<uint32_t> origins;
  const std::string program = compileNormalizerText(
      R"({"type": "Sequence", "normalizers": [{"type": "NFD"}, {"type": "Replace", "pattern": {"String": " "}, "content": "__"}]})");
  EXPECT_EQ(normalize(program, "a\u00E9 b", &origins), "ae\u0301__b");
  const std::vector<uint32_t> expected = {0, 1, 1, 1, 3, 3, 4};
  EXPECT_EQ(std::vector<uint32_t>(origins.begin(), origins.end()), expected);
}

TEST(Normalizer, SortsALongRunOfMarksInLinearTime) {
  std::string marks, sorted;
  for (int i = 0; i < 200000; ++i)
    marks += i % 2 ? "\u0323" : "\u0301";
  const std::string result = normalize(compileNormalizerText(R"({"type": "NFD"})"), "a" + marks);
  EXPECT_EQ(result.substr(0, 5), "a\u0323\u0323");
  EXPECT_EQ(result.size(), marks.size() + 1);
}

TEST(Normalizer, RefusesUnknownComponentsByPath) {
  std::string program, error;
  const auto json = nlohmann::json::parse(R"({"type": "Sequence", "normalizers": [{"type": "NFC"}, {"type": "Magic"}]})");
  EXPECT_FALSE(compileNormalizer(json, "/normalizer", program, error));
  EXPECT_EQ(error, "/normalizer/normalizers/1: the normalizer `Magic` is not supported");
}

/// Changes bytes of `good` and runs `use` on a copy of exactly its size, so that AddressSanitizer sees reads outside of it.
template <typename Use> void corrupt(const std::string &good, int rounds, Use use) {
  std::mt19937 random(1);
  for (int round = 0; round < rounds; ++round) {
    size_t size = good.size();
    if (round % 8 == 0)
      size = random() % size;
    std::unique_ptr<uint32_t[]> aligned(new uint32_t[size / 4 + 1]);
    char *const bytes = reinterpret_cast<char *>(aligned.get()) + (size % 4 ? 0 : 4); // its end is the end of the memory
    memcpy(bytes, good.data(), size);
    for (unsigned i = 0; size > 0 && i <= random() % 4; ++i)
      bytes[round % 2 ? random() % size : random() % (size < 600 ? size : 600)] = char(random());
    use(bytes, size);
  }
}

TEST(Corruption, AChangedAutomatonIsRefusedOrHarmless) {
  std::string bytes, error;
  ASSERT_TRUE(compilePattern(kLlama3, bytes, error)) << error;
  const std::string text = "Don't  stop\xFF \u4F60\u597D \U0001F600 1234\r\n\r\n  x";
  int opened = 0;
  corrupt(bytes, 4000, [&](const char *data, size_t size) {
    Automaton automaton;
    if (automaton.open(data, size))
      return;
    ++opened;
    Matches found(automaton, text);
    size_t count = 0;
    for (size_t begin, end; found.next(begin, end); ++count)
      ASSERT_TRUE(begin <= end && end <= text.size() && count <= 2 * text.size());
  });
  EXPECT_GT(opened, 0);
}

TEST(Corruption, AChangedNormalizerIsRefusedOrHarmless) {
  const std::string text = "A\u0301\u0323\xFF \uAC00\u11A8 \u1100\u1161 \u01C4";
  int opened = 0;
  for (const char *json : {R"({"type": "NFKC"})", R"({"type": "Lowercase"})", R"({"type": "Strip"})",
                           R"({"type": "Precompiled", "precompiled_charsmap": "EAAAAAAAAAAAAAAAAAAAAAAAAABhYgA="})"}) {
    corrupt(compileNormalizerText(json), 2000, [&](const char *data, size_t size) {
      Normalizer normalizer;
      if (normalizer.open(data, size))
        return;
      ++opened;
      NormalizerScratch scratch;
      Buffer<char> out;
      Buffer<uint32_t> origins;
      EXPECT_TRUE(normalizer.run(text, scratch, out, &origins));
      EXPECT_EQ(out.size(), origins.size());
    });
  }
  EXPECT_GT(opened, 0);
}

} // namespace
