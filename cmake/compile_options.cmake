# SPDX-License-Identifier: MIT
# What every target is compiled with. No -ffast-math: the search must see a NaN. No contraction to
# fused multiply-add, so that our own loops give the same bits on every x86-64.
add_library(awq_compile_options INTERFACE)
target_include_directories(awq_compile_options INTERFACE ${CMAKE_SOURCE_DIR})
target_compile_definitions(awq_compile_options INTERFACE
  _POSIX_C_SOURCE=200809L AWQ_VERSION="${PROJECT_VERSION}")
target_compile_options(awq_compile_options INTERFACE
  -Wall -Wextra -Wshadow -Wpointer-arith -Wcast-qual -Wundef -Wvla -ffp-contract=off
  "$<$<COMPILE_LANGUAGE:C>:-Wmissing-prototypes;-Wstrict-prototypes>"
  $<$<BOOL:${AWQ_WERROR}>:-Werror>)
if(AWQ_SANITIZE)
  target_compile_options(awq_compile_options INTERFACE
    -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer)
  target_compile_definitions(awq_compile_options INTERFACE AWQ_SANITIZED)
  target_link_options(awq_compile_options INTERFACE -fsanitize=address,undefined)
endif()

# awq_folder(NAME SOURCES... [LINK libraries...]): the static library awq_NAME of one folder.
function(awq_folder name)
  cmake_parse_arguments(ARG "" "" "SOURCES;LINK" ${ARGN})
  add_library(awq_${name} STATIC ${ARG_SOURCES})
  target_link_libraries(awq_${name} PUBLIC awq_compile_options ${ARG_LINK})
endfunction()
