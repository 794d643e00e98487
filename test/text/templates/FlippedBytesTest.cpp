//===- FlippedBytesTest.cpp - Damaged sections of templates ------------------===//
#include "compiler/text/templates/TemplateCompiler.h"
#include "runtime/text/templates/Json.h"
#include "runtime/text/templates/Template.h"

#include <gtest/gtest.h>

using namespace edgecc::text;

namespace {

const char *const kSource =
    "{% macro f(a, b=2) %}<{{ a|upper }}{{ caller() if caller }}{{ kwargs }}>{% endmacro %}"
    "{% for m in messages if m.role %}{{ loop.index }}{% if m.content is string %}{{ m['content'][1:]|trim }}"
    "{% elif m.content %}{{ m.content|map(attribute='text')|join(', ') }}{% else %}{% continue %}{% endif %}"
    "{% set ns = namespace(x=loop.last) %}{% set ns.x = {'a': [1, 2.5, none]} %}{{ ns.x|tojson(indent=2) }}{% endfor %}"
    "{% call f('%s' % 5, c=3) %}{{ 'a,b'.split(',') }}{% endcall %}{% for x in [[1]] recursive %}{{ loop(x) if x is iterable "
    "else x }}"
    "{% endfor %}{% filter lower %}{{ 1 < 2 < 3 and not 4 in (5, 6) or 'x' ~ 1 // 2 }}{% endfilter %}";
const char *const kContext =
    R"({"messages": [{"role": "user", "content": " hi "}, {"role": "x", "content": [{"text": "y"}]}, {"role": "z"}]})";

/// Renders `section` with small limits. Returns false if it is refused.
bool renderSection(const std::string &section, std::string *text = nullptr) {
  // A heap block of its own size, so that AddressSanitizer sees each read beyond it.
  std::unique_ptr<uint32_t[]> copy(new uint32_t[section.size() / 4 + 1]);
  memcpy(copy.get(), section.data(), section.size());
  Template program;
  if (program.open(copy.get(), section.size()))
    return false;
  Arena arena;
  Values values(arena);
  Value context;
  EXPECT_EQ(parseJson(kContext, values, context), nullptr);
  TemplateOutput output;
  TemplateFailure failure;
  TemplateLimits limits;
  limits.steps = 3000;
  limits.memory = 4 << 20;
  limits.output = 1 << 20;
  if (program.render(context, output, failure, 0, limits) && text)
    text->assign(output.text.begin(), output.text.end());
  return true;
}

std::string compiled() {
  std::string section, error;
  EXPECT_TRUE(compileTemplate(kSource, "small", section, error)) << error;
  return section;
}

} // namespace

TEST(TemplateSection, RendersWhenIntact) {
  std::string text;
  ASSERT_TRUE(renderSection(compiled(), &text));
  EXPECT_EQ(text.substr(0, 4), "1hi{");
}

TEST(TemplateSection, EveryFlippedBitIsRefusedOrHarmless) {
  const std::string section = compiled();
  size_t refused = 0;
  for (size_t i = 0; i < section.size(); ++i) {
    for (int bit = 0; bit < 8; ++bit) {
      std::string damaged = section;
      damaged[i] = char(damaged[i] ^ 1 << bit);
      refused += !renderSection(damaged);
    }
  }
  EXPECT_GT(refused, section.size());
}

TEST(TemplateSection, ShortenedOrLengthenedIsRefused) {
  const std::string section = compiled();
  for (size_t size = 0; size < section.size(); ++size)
    EXPECT_FALSE(renderSection(section.substr(0, size))) << size;
  EXPECT_FALSE(renderSection(section + "x"));
}

TEST(TemplateSection, CyclesAreRefused) {
  std::string section = compiled();
  TemplateHeader header;
  memcpy(&header, section.data(), sizeof(header));
  for (uint32_t i = 0; i < header.nodeCount; ++i) {
    Node node;
    char *const at = section.data() + sizeof(header) + i * sizeof(node);
    memcpy(&node, at, sizeof(node));
    if (NodeKind(node.kind) != NodeKind::If)
      continue;
    node.b = i;
    memcpy(at, &node, sizeof(node));
    EXPECT_FALSE(renderSection(section));
    return;
  }
  FAIL() << "no If node";
}
