# SPDX-License-Identifier: MIT
# Everything awqrun stands on. README.md's table gives the reason for each.
find_package(Threads REQUIRED)
find_package(PkgConfig REQUIRED)
find_package(MPI REQUIRED COMPONENTS C)
find_package(HDF5 REQUIRED COMPONENTS C)
find_package(ZLIB REQUIRED)
set(BLA_VENDOR OpenBLAS)
find_package(BLAS REQUIRED)
# Loaded when it is used, not linked: kernels/cpu/blas.h says why.
list(GET BLAS_LIBRARIES 0 openblas)
cmake_path(GET openblas PARENT_PATH openblas)
add_library(awq_openblas INTERFACE)
target_compile_definitions(awq_openblas INTERFACE AWQ_OPENBLAS_FOLDER="${openblas}")
target_link_libraries(awq_openblas INTERFACE ${CMAKE_DL_LIBS})
pkg_check_modules(DEFLATE REQUIRED IMPORTED_TARGET libdeflate)
pkg_check_modules(JANSSON REQUIRED IMPORTED_TARGET jansson)
pkg_check_modules(PCRE2 REQUIRED IMPORTED_TARGET libpcre2-8)
pkg_check_modules(UTF8PROC REQUIRED IMPORTED_TARGET libutf8proc)

# CUDA and NCCL are used where they are. NCCL has no CMake package of its own.
include(cuda)
if(AWQ_HAVE_CUDA)
  find_path(NCCL_INCLUDE_DIR nccl.h HINTS ${CUDAToolkit_INCLUDE_DIRS} $ENV{NCCL_ROOT}/include)
  find_library(NCCL_LIBRARY nccl HINTS ${CUDAToolkit_LIBRARY_DIR} $ENV{NCCL_ROOT}/lib)
endif()
