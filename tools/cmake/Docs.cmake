# `ninja docs`: what the .td and .def files say, as Markdown in build/docs.
set(DOCS ${CMAKE_BINARY_DIR}/docs)
set(TBLGEN_DOC ${LLVM_TOOLS_BINARY_DIR}/mlir-tblgen -I ${MLIR_INCLUDE_DIRS} -I ${CMAKE_SOURCE_DIR})
find_package(Python3 COMPONENTS Interpreter REQUIRED)

# edgecc_doc(NAME SOURCES... COMMAND ...): one page from the standard output of a command.
function(edgecc_doc name)
  cmake_parse_arguments(arg "" "" "SOURCES;COMMAND" ${ARGN})
  add_custom_command(OUTPUT ${DOCS}/${name}.md COMMAND ${CMAKE_COMMAND} -E make_directory ${DOCS}
    COMMAND ${arg_COMMAND} > ${DOCS}/${name}.md DEPENDS ${arg_SOURCES} VERBATIM)
  set_property(GLOBAL APPEND PROPERTY EDGECC_DOCS ${DOCS}/${name}.md)
endfunction()

foreach(dialect onnx:OnnxOps edge:EdgeOps plan:PlanOps)
  string(REGEX MATCH "^([a-z]+):(.*)$" _ ${dialect})
  set(name ${CMAKE_MATCH_1})
  set(td ${CMAKE_SOURCE_DIR}/dialects/${name}/${CMAKE_MATCH_2}.td)
  edgecc_doc(${name} SOURCES ${td} COMMAND ${TBLGEN_DOC} -gen-dialect-doc -dialect=${name} ${td})
endforeach()
edgecc_doc(passes SOURCES ${CMAKE_SOURCE_DIR}/passes/Passes.td
  COMMAND ${TBLGEN_DOC} -gen-pass-doc ${CMAKE_SOURCE_DIR}/passes/Passes.td)
file(GLOB_RECURSE DEFS CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/passes/*.def ${CMAKE_SOURCE_DIR}/compiler/*.def)
edgecc_doc(tables SOURCES ${DEFS} ${CMAKE_SOURCE_DIR}/tools/dev/def_tables.py
  COMMAND ${Python3_EXECUTABLE} ${CMAKE_SOURCE_DIR}/tools/dev/def_tables.py ${DEFS})

get_property(pages GLOBAL PROPERTY EDGECC_DOCS)
add_custom_target(docs DEPENDS ${pages})
