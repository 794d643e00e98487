# A part of the runtime for AArch64, as an app links it: with clang, link-time optimization and lld, as in Android's NDK, and stripped.
# Its text and data stay under a budget, and it needs nothing at run time but libc.
#   -DPART=core: runtime/src in 100000 bytes
#   -DPART=text: runtime/text in 150000 bytes. It calls the core, which is not counted.
if(PART STREQUAL text)
  file(GLOB SOURCES ${SOURCE}/runtime/text/Segment.cpp ${SOURCE}/runtime/text/*/*.cpp)
  set(BUDGET 150000)
  set(REST -lm)
else()
  file(GLOB SOURCES ${SOURCE}/runtime/src/*.cpp)
  set(BUDGET 100000)
  set(REST)
endif()
set(LIBRARY ${BINARY}/test/runtime/size_test_${PART}.so)
# Only the API is visible. A library inside of an app has no start files.
file(WRITE ${BINARY}/test/runtime/size_test_${PART}.map "{ global: edgecc_*; local: *; };")
execute_process(COMMAND ${CLANG} --target=aarch64-linux-gnu -std=c++17 -Oz -DNDEBUG -fPIC -shared -s -flto -fuse-ld=lld
  -fvisibility=hidden -fno-exceptions -fno-rtti -fno-threadsafe-statics -fno-asynchronous-unwind-tables -fno-unwind-tables
  -ffunction-sections -fdata-sections -Wl,--gc-sections -nostartfiles -Wl,--version-script=${BINARY}/test/runtime/size_test_${PART}.map
  -DEDGECC_VERSION="0" -I${SOURCE} -I${BINARY} -I${SOURCE}/runtime/include ${SOURCES} -o ${LIBRARY} -nodefaultlibs ${REST} -lc -lgcc
  COMMAND_ERROR_IS_FATAL ANY)
string(REPLACE "g++" "size" SIZE ${CXX})
string(REPLACE "g++" "readelf" READELF ${CXX})
execute_process(COMMAND ${SIZE} ${LIBRARY} OUTPUT_VARIABLE TABLE COMMAND_ERROR_IS_FATAL ANY)
string(REGEX MATCH "\n *([0-9]+)[ \t]+([0-9]+)" IGNORED "${TABLE}")
math(EXPR BYTES "${CMAKE_MATCH_1} + ${CMAKE_MATCH_2}")
message("${PART}: text + data: ${BYTES} bytes of ${BUDGET}")
if(BYTES GREATER BUDGET OR BYTES EQUAL 0)
  message(FATAL_ERROR "the ${PART} of the runtime is over its budget")
endif()
execute_process(COMMAND ${READELF} -d ${LIBRARY} OUTPUT_VARIABLE DYNAMIC COMMAND_ERROR_IS_FATAL ANY)
string(REGEX MATCHALL "NEEDED[^\n]*" NEEDED "${DYNAMIC}")
foreach(library ${NEEDED})
  if(library MATCHES "\\[lib" AND NOT library MATCHES "libc\\.so|libm\\.so|libpthread|libgcc_s|ld-linux")
    message(FATAL_ERROR "the ${PART} needs more than libc: ${library}")
  endif()
endforeach()
execute_process(COMMAND ${READELF} --dyn-syms --wide ${LIBRARY} OUTPUT_VARIABLE SYMBOLS COMMAND_ERROR_IS_FATAL ANY)
if(SYMBOLS MATCHES "UND (_Z[^\n]*|__cxa_(throw|guard)[^\n]*)")
  message(FATAL_ERROR "the ${PART} needs the C++ library: ${CMAKE_MATCH_1}")
endif()
