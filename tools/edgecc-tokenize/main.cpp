//===- edgecc-tokenize - Texts to token ids, a document a line ---------------===//
//
// Why a program of its own: libsentencepiece brings its own copy of protobuf, which must not meet the one that reads ONNX models.
// `edgecc --calibrate FILE.txt` runs it; its output is a calibration file, too (.ids).
//
//===----------------------------------------------------------------------===//
#include "runtime/files/Outputs.h"
#include "runtime/text/Documents.h"
#include "runtime/text/Tokenizer.h"

#include <CLI/CLI.hpp>
#include <cstdio>
#include <fstream>
#include <iterator>

using namespace edgecc;

static int complain(const std::string &sentence) {
  fprintf(stderr, "edgecc-tokenize: %s\n", sentence.c_str());
  return 1;
}

int main(int argc, char **argv) {
  CLI::App app("Writes the token ids of each document of a text as a line of numbers.\n"
               "Documents end at <|endoftext|>, or, in a text that has none, with the line.");
  std::string path, tokenizerPath, output, split;
  size_t count = SIZE_MAX;
  app.add_option("text", path, "the text")->required();
  app.add_option("--tokenizer", tokenizerPath, "a SentencePiece .model or a llama2.c tok*.bin")->required();
  app.add_option("-o", output, "file to write (default: standard output)");
  app.add_option("--count", count, "documents at most");
  app.add_option("--split", split, "a mark, such as <act>: a | is written behind its first place, where a prompt ends");
  CLI11_PARSE(app, argc, argv);

  std::string fault = files::findClash({{"-o", output}}, {{"the text", path}, {"--tokenizer", tokenizerPath}});
  if (!fault.empty())
    return complain(fault);
  std::unique_ptr<text::Tokenizer> tokenizer = text::Tokenizer::open(tokenizerPath, fault);
  if (!tokenizer)
    return complain(fault);
  std::ifstream file(path, std::ios::binary);
  if (!file)
    return complain(path + ": cannot be opened");
  const std::string text(std::istreambuf_iterator<char>(file), {});
  FILE *to = output.empty() ? stdout : fopen(output.c_str(), "w");
  if (!to)
    return complain(output + ": cannot be written");
  for (std::string_view document : text::splitDocuments(text)) {
    if (count-- == 0)
      break;
    const std::vector<int64_t> ids = tokenizer->encode(document);
    const size_t mark = split.empty() ? std::string_view::npos : document.find(split);
    if (!split.empty() && mark == std::string_view::npos)
      return complain(path + ": there is no '" + split + "' in '" + std::string(document.substr(0, 60)) + "' (--split)");
    const size_t prompt = split.empty() ? 0 : tokenizer->encode(document.substr(0, mark + split.size())).size();
    const char *space = "";
    for (size_t i = 0; i < ids.size(); ++i) {
      if (i > 0 && i == prompt)
        fputs(" |", to);
      fprintf(to, "%s%lld", space, static_cast<long long>(ids[i]));
      space = " ";
    }
    fputc('\n', to);
  }
  if (fflush(to) != 0 || ferror(to))
    return complain((output.empty() ? "standard output" : output) + ": cannot be written");
  return 0;
}
