#pragma once
#include <nlohmann/json.hpp>
namespace edgecc::text { std::string compileNormalizer(const nlohmann::json &, const std::string &path); }
