//===- edgecc-tokenize - Compiles tokenizers, encodes texts, decodes ids -----===//
//
//   edgecc-tokenize compile SOURCE -o FILE        any tokenizer, and the chat template beside it, to tables that the phone reads
//   edgecc-tokenize TEXT --tokenizer T            ids of each document of a file, a document a line; a calibration file (.ids)
//   edgecc-tokenize TEXT --tokenizer T --whole    ids of the file as one text, to the byte
//   edgecc-tokenize IDS --tokenizer T --decode    the text of each line of ids
//
//===----------------------------------------------------------------------===//
#include "compiler/text/TextCompiler.h"
#include "compiler/text/TextEncoder.h"
#include "runtime/files/Inputs.h"
#include "runtime/files/Outputs.h"
#include "runtime/text/Documents.h"
#include "runtime/text/tokenizer/Decoder.h"

#include <CLI/CLI.hpp>
#include <cstdio>
#include <fstream>
#include <sstream>

using namespace edgecc;

namespace {

struct Options {
  std::string input, tokenizer, output, split, source;
  text::TokenizerOptions compile;
  size_t count = SIZE_MAX;
  bool isWhole = false, decodes = false, addsSpecial = true, isTrusted = false, skipsSpecial = false;
};

int complain(const std::string &sentence) {
  fprintf(stderr, "edgecc-tokenize: %s\n", sentence.c_str());
  return 1;
}

int compile(const Options &options) {
  std::string segment, fault = files::findClash({{"-o", options.output}}, {{"SOURCE", options.source}});
  text::TextSummary summary;
  if (!fault.empty() || !text::compileText(options.source, segment, summary, fault, options.compile))
    return complain(fault);
  std::ofstream file(options.output, std::ios::binary);
  file.write(segment.data(), std::streamsize(segment.size()));
  file.close();
  return file ? 0 : complain(options.output + ": cannot be written");
}

/// Writes the ids of a text as a line. A | stands after the first `prompt` of them, if that is not 0.
void printIds(FILE *to, const text::Buffer<int32_t> &ids, size_t prompt) {
  const char *space = "";
  for (size_t i = 0; i < ids.size(); ++i) {
    if (i > 0 && i == prompt)
      fputs(" |", to);
    fprintf(to, "%s%d", space, ids[i]);
    space = " ";
  }
  fputc('\n', to);
}

int encodeFile(const Options &options, text::TextEncoder &encoder, const std::string &contents, FILE *to) {
  std::vector<std::string_view> documents = {contents};
  if (!options.isWhole)
    documents = text::splitDocuments(contents);
  size_t left = options.count;
  for (std::string_view document : documents) {
    if (left-- == 0)
      break;
    text::Buffer<int32_t> ids;
    size_t promptSize = 0;
    const std::string fault = encoder.encodeDocument(document, options.split, ids, promptSize, {options.addsSpecial},
                                                     options.isTrusted ? text::Trust::all() : text::Trust::none());
    if (!fault.empty())
      return complain(options.input + ": " + fault + (options.split.empty() ? "" : " (--split)"));
    printIds(to, ids, promptSize);
  }
  return 0;
}

int decodeFile(const Options &options, const text::CompiledTokenizer &tokenizer, const std::string &contents, FILE *to) {
  std::istringstream lines(contents);
  std::string line;
  for (size_t number = 1; std::getline(lines, line); ++number) {
    text::Decoder decoder(tokenizer, options.skipsSpecial);
    text::Buffer<char> decoded;
    std::istringstream words(line);
    for (std::string word; words >> word;) {
      char *end = nullptr;
      const unsigned long id = strtoul(word.c_str(), &end, 10);
      if (word == "|")
        continue;
      if (*end || id >= tokenizer.size())
        return complain(options.input + ": line " + std::to_string(number) + ": '" + word +
                        "' is no id; the tokenizer has 0 to " + std::to_string(tokenizer.size() - 1));
      decoder.feed(uint32_t(id), decoded);
    }
    decoder.finish(decoded);
    fwrite(decoded.data(), 1, decoded.size(), to);
    fputc('\n', to);
  }
  return 0;
}

} // namespace

int main(int argc, char **argv) {
  CLI::App app("Writes the token ids of each document of a text as a line of numbers.\n"
               "Documents end at <|endoftext|>, or, in a text that has none, with the line.");
  Options options;
  const char *const sources =
      "a Hugging Face directory, tokenizer.json, SentencePiece .model, tiktoken ranks, tekken.json, GGUF, "
      "llama2.c tok*.bin, vocab.txt, or a compiled tokenizer";
  app.add_option("text", options.input, "the text");
  app.add_option("--tokenizer", options.tokenizer, sources);
  app.add_option("-o", options.output, "file to write (default: standard output)");
  app.add_option("--count", options.count, "documents at most");
  app.add_option("--split", options.split, "a mark, such as <act>: a | is written behind its first place, where a prompt ends");
  app.add_option("--pattern", options.compile.pattern,
                 "how tiktoken ranks split text: llama3, llama4, qwen, gpt2, cl100k, o200k, or a regular expression");
  app.add_flag("--whole", options.isWhole, "takes the file as one text, to the byte");
  app.add_flag("--trusted", options.isTrusted, "recognises special tokens in the text");
  app.add_flag("!--no-special", options.addsSpecial, "adds no tokens around a text, such as the begin token");
  app.add_flag("--decode", options.decodes, "reads lines of ids and writes their texts");
  app.add_flag("--skip-special", options.skipsSpecial, "with --decode: leaves special tokens out");
  auto *compileCommand =
      app.add_subcommand("compile", "Compiles a tokenizer, and the chat template beside it, into tables that the phone reads");
  compileCommand->add_option("source", options.source, sources)->required();
  compileCommand->add_option("-o", options.output, "file to write")->required();
  compileCommand->add_option("--pattern", options.compile.pattern, "how tiktoken ranks split text");
  CLI11_PARSE(app, argc, argv);

  if (*compileCommand)
    return compile(options);
  if (options.input.empty() || options.tokenizer.empty())
    return complain("give a text and --tokenizer, or `compile SOURCE -o FILE` (see --help)");
  std::string fault =
      files::findClash({{"-o", options.output}}, {{"the text", options.input}, {"--tokenizer", options.tokenizer}});
  if (!fault.empty())
    return complain(fault);
  text::TextEncoder encoder;
  if (fault = encoder.open(options.tokenizer, options.compile); !fault.empty())
    return complain(fault);
  std::string contents;
  if (!files::readFile(options.input, contents))
    return complain(options.input + ": cannot be opened");
  FILE *to = options.output.empty() ? stdout : fopen(options.output.c_str(), "w");
  if (!to)
    return complain(options.output + ": cannot be written");
  const int status =
      options.decodes ? decodeFile(options, encoder.tokenizer(), contents, to) : encodeFile(options, encoder, contents, to);
  if (status != 0)
    return status;
  if (fflush(to) != 0 || ferror(to))
    return complain((options.output.empty() ? "standard output" : options.output) + ": cannot be written");
  return 0;
}
