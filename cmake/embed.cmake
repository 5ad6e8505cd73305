# SPDX-License-Identifier: MIT
# awq_embed(NAME TEXT): NAME.c in the build folder, which defines `const char NAME[]` as the text,
# byte by byte, and a final NUL. Sets NAME_SOURCE to its path.
function(awq_embed name text)
  string(HEX "${text}" bytes)
  string(REGEX REPLACE "(..)" "0x\\1, " bytes "${bytes}")
  set(source ${CMAKE_CURRENT_BINARY_DIR}/${name}.c)
  file(CONFIGURE OUTPUT ${source} CONTENT
"extern const char ${name}[];
const char ${name}[] = {${bytes}0};
")
  set(${name}_SOURCE ${source} PARENT_SCOPE)
endfunction()

# awq_read(VARIABLE FILE): a file's text; configures again when it changes.
function(awq_read variable file)
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${file})
  file(READ ${file} text)
  set(${variable} "${text}" PARENT_SCOPE)
endfunction()
