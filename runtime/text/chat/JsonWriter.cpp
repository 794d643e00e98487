//===- JsonWriter.cpp - Values as JSON ----------------------------------------===//
#include "runtime/text/chat/JsonWriter.h"

#include "runtime/text/templates/Json.h"

#include <math.h>
#include <stdio.h>

namespace edgecc::text {

void writeJson(Buffer<char> &to, std::string_view text) {
  to.push('"');
  for (char c : text) {
    if (c == '"' || c == '\\') {
      to.push('\\');
      to.push(c);
    } else if (static_cast<unsigned char>(c) < 0x20) {
      char escape[8];
      snprintf(escape, sizeof(escape), "\\u%04x", static_cast<unsigned>(c));
      append(to, escape);
    } else {
      to.push(c);
    }
  }
  to.push('"');
}

/// Appends the shortest decimal that is read as the same number. JSON has no NaN and no infinity: they become null.
static void writeNumber(Buffer<char> &to, double number) {
  char text[40] = "null";
  for (int digits = 15; isfinite(number) && digits <= 17; ++digits) {
    snprintf(text, sizeof(text), "%.*g", digits, number);
    for (char *c = text; *c; ++c)
      if (*c == ',') // the decimal point of some locales
        *c = '.';
    if (parseNumber(text) == number)
      break;
  }
  append(to, text);
}

void writeJson(Buffer<char> &to, const Value &value) {
  char text[24];
  switch (value.kind) {
  case Kind::Bool: append(to, value.boolean ? "true" : "false"); return;
  case Kind::Integer:
    snprintf(text, sizeof(text), "%lld", static_cast<long long>(value.integer));
    append(to, text);
    return;
  case Kind::Float: writeNumber(to, value.number); return;
  case Kind::String: writeJson(to, value.text->view()); return;
  case Kind::List:
    to.push('[');
    for (uint32_t i = 0; i < value.list->count; ++i) {
      append(to, i ? ", " : "");
      writeJson(to, value.list->elements[i]);
    }
    to.push(']');
    return;
  case Kind::Dict:
    to.push('{');
    for (uint32_t i = 0; i < value.dict->count; ++i) {
      append(to, i ? ", " : "");
      writeJson(to, value.dict->entries[i].key);
      append(to, ": ");
      writeJson(to, value.dict->entries[i].value);
    }
    to.push('}');
    return;
  default: append(to, "null"); return;
  }
}

} // namespace edgecc::text
