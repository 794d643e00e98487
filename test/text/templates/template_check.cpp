//===- template_check.cpp - Runs templates for tests -------------------------===//
//
// Reads a JSON object a line: "template" (source, compiled once per distinct text), "context" (JSON as a string), "now". Writes a
// line each: {"output", "trusted"}, {"error", "line", "raised"} or {"refused"}; "notation" comes with all that was compiled.
// With "answer", parses the tool calls of an answer instead. With a folder as its argument, also writes each section with its
// context there, as a start for runtime/fuzz/templates.cpp.
//
//===----------------------------------------------------------------------===//
#include "compiler/text/templates/TemplateCompiler.h"
#include "runtime/text/templates/Json.h"
#include "runtime/text/templates/Template.h"
#include "runtime/text/templates/ToolCalls.h"

#include <nlohmann/json.hpp>

#include <fstream>
#include <iostream>
#include <map>
#include <memory>

using namespace edgecc::text;
using nlohmann::json;

namespace {

struct Compiled {
  std::string section, error;
  Template program;
};

Compiled &compile(const std::string &source) {
  static std::map<std::string, std::unique_ptr<Compiled>> known;
  std::unique_ptr<Compiled> &entry = known[source];
  if (!entry) {
    entry = std::make_unique<Compiled>();
    if (compileTemplate(source, "template", entry->section, entry->error)) {
      if (const char *error = entry->program.open(entry->section.data(), entry->section.size()))
        entry->error = error;
    }
  }
  return *entry;
}

json render(const json &request) {
  Compiled &compiled = compile(request["template"]);
  if (!compiled.error.empty())
    return {{"refused", compiled.error}};
  Arena arena;
  Values values(arena);
  Value context;
  const std::string text = request["context"];
  if (const char *error = parseJson(text, values, context))
    return {{"context", error}};
  for (const char *name : {"bos_token", "eos_token"}) {
    const Value *const token = find(*context.dict, name);
    if (token && token->is(Kind::String))
      values.set(context, name, values.string(token->text->view(), true));
  }
  TemplateOutput output;
  TemplateFailure failure;
  TemplateLimits limits;
  limits.steps = request.value("steps", limits.steps);
  const json notation = toolNotationName(compiled.program.notation());
  if (!compiled.program.render(context, output, failure, request.value("now", int64_t(0)), limits))
    return {{"error", failure.message}, {"line", failure.line}, {"raised", failure.isRaised}, {"notation", notation}};
  json trusted = json::array();
  for (const TextRange &range : output.trusted)
    trusted.push_back({range.begin, range.end});
  return {{"output", std::string(output.text.begin(), output.text.end())}, {"trusted", trusted}, {"notation", notation}};
}

/// The arguments as Python prints them, by a template of our own.
std::string asJson(const Value &value, Arena &arena) {
  Values values(arena);
  const Value context = values.dict();
  values.set(context, "v", value);
  TemplateOutput output;
  TemplateFailure failure;
  compile("{{ v|tojson }}").program.render(context, output, failure);
  return std::string(output.text.begin(), output.text.end());
}

json parseAnswer(const json &request) {
  ToolNotation notation = ToolNotation::None;
  for (uint32_t i = 0; i <= uint32_t(ToolNotation::Last); ++i) {
    if (request["notation"] == toolNotationName(ToolNotation(i)))
      notation = ToolNotation(i);
  }
  Arena arena;
  Values values(arena);
  ToolCalls calls;
  const std::string answer = request["answer"];
  parseToolCalls(notation, answer, values, calls);
  json result = {{"text", std::string(calls.text.begin(), calls.text.end())}, {"calls", json::array()}};
  for (const ToolCall &call : calls.calls)
    result["calls"].push_back({std::string(call.name), asJson(call.arguments, arena)});
  return result;
}

} // namespace

int main(int argc, char **argv) {
  std::ios::sync_with_stdio(false);
  size_t count = 0;
  for (std::string line; std::getline(std::cin, line);) {
    const json request = json::parse(line);
    if (argc > 1 && request.contains("template")) {
      const std::string &section = compile(request["template"]).section, context = request["context"];
      const uint32_t length = uint32_t(section.size());
      std::ofstream file(std::string(argv[1]) + "/" + std::to_string(count++), std::ios::binary);
      file.write(reinterpret_cast<const char *>(&length), sizeof(length)) << section << context;
    }
    std::cout << (request.contains("answer") ? parseAnswer(request) : render(request))
                     .dump(-1, ' ', true, json::error_handler_t::replace)
              << '\n';
  }
}
