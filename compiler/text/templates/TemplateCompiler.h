//===- TemplateCompiler.h - Compiles a chat template into a section ----------===//
#ifndef EDGECC_COMPILER_TEXT_TEMPLATES_TEMPLATECOMPILER_H
#define EDGECC_COMPILER_TEXT_TEMPLATES_TEMPLATECOMPILER_H

#include <string>
#include <string_view>

namespace edgecc::text {

/// Compiles Jinja `source`, as transformers' apply_chat_template runs it, into the bytes of a section of kind Template. Returns
/// false with "NAME:LINE: what is not supported" in `error`. `name` is that of the file, for messages.
bool compileTemplate(std::string_view source, const std::string &name, std::string &section, std::string &error);

} // namespace edgecc::text
#endif // EDGECC_COMPILER_TEXT_TEMPLATES_TEMPLATECOMPILER_H
