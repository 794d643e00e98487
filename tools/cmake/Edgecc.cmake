# The project's own wrappers: one place for warnings, sanitizers and the precompiled header.

# -fpch-preprocess: without it ccache cannot cache files that use gcc's precompiled headers. Warnings are errors with GCC, which builds
# the release; clang, which builds fuzzers and sanitizers, warns of other things.
set(EDGECC_WARNINGS -Wall -Wextra -Wno-unused-parameter)
if(CMAKE_CXX_COMPILER_ID STREQUAL GNU)
  list(APPEND EDGECC_WARNINGS -Werror -fpch-preprocess)
endif()
# edgecc_sanitize(): what follows, in this folder and those added to it, is built with AddressSanitizer and UndefinedBehaviorSanitizer.
macro(edgecc_sanitize)
  add_compile_options(-fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer -g)
  add_link_options(-fsanitize=address,undefined)
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    # With its sanitizers on, GCC warns of what its own instrumentation looks like.
    list(APPEND EDGECC_WARNINGS -Wno-array-bounds -Wno-maybe-uninitialized -Wno-stringop-overflow -Wno-stringop-overread)
  else()
    # Dynamic types: LLVM's classes have no information about theirs. Lines are enough for a report, and link much faster.
    add_compile_options(-fno-sanitize=vptr,function -gline-tables-only)
    add_link_options(-fno-sanitize=vptr,function)
  endif()
endmacro()
if(EDGECC_SANITIZE)
  edgecc_sanitize()
endif()
if(EDGECC_FUZZ)
  # Everything, since the precompiled header must agree; a fuzzer itself adds -fsanitize=fuzzer, which brings main().
  add_compile_options(-fsanitize=fuzzer-no-link,address -fno-omit-frame-pointer)
  add_link_options(-fsanitize=address)
endif()

# edgecc_library(NAME SOURCES...): a static library of the compiler, with the shared precompiled header.
function(edgecc_library name)
  add_library(${name} STATIC ${ARGN})
  target_compile_options(${name} PRIVATE ${EDGECC_WARNINGS})
  if(TARGET edgecc_pch)
    target_precompile_headers(${name} REUSE_FROM edgecc_pch)
  endif()
endfunction()

# edgecc_loads_plugins(PROGRAM): what plugins may use of passes and dialects is there and visible, whether the program uses it or not.
function(edgecc_loads_plugins program)
  set_target_properties(${program} PROPERTIES ENABLE_EXPORTS ON LINK_LIBRARY_OVERRIDE "WHOLE_ARCHIVE,passes,edge,onnx,plan")
  target_link_libraries(${program} PRIVATE ${CMAKE_DL_LIBS})
endfunction()

# edgecc_program(NAME SOURCES... LINK LIBRARIES...)
function(edgecc_program name)
  cmake_parse_arguments(arg "" "" "LINK" ${ARGN})
  add_executable(${name} ${arg_UNPARSED_ARGUMENTS})
  target_compile_options(${name} PRIVATE ${EDGECC_WARNINGS})
  target_link_libraries(${name} PRIVATE ${arg_LINK})
endfunction()
