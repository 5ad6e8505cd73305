# SPDX-License-Identifier: MIT
# Sets AWQ_HAVE_CUDA and enables the language where the CUDA backend is built: with -DAWQ_CUDA=auto
# where nvcc is found, =on or not at all, =off nowhere.
set(AWQ_HAVE_CUDA OFF)
string(TOLOWER "${AWQ_CUDA}" wanted)
if(NOT wanted MATCHES "^(auto|on|off)$")
  message(FATAL_ERROR "AWQ_CUDA is '${AWQ_CUDA}'; it may be auto, on or off")
elseif(wanted STREQUAL "off")
  return()
endif()

# nvcc is often not on the path.
find_program(AWQ_NVCC nvcc HINTS $ENV{CUDA_HOME}/bin $ENV{CUDA_PATH}/bin /usr/local/cuda/bin)
if(NOT AWQ_NVCC)
  if(wanted STREQUAL "on")
    message(FATAL_ERROR "AWQ_CUDA=on, but there is no nvcc; install the CUDA toolkit, or say where "
      "nvcc is with -DAWQ_NVCC=/path/to/nvcc")
  endif()
  return()
endif()

# Machine code for a GPU of each generation, as far as this toolkit knows it: 8.6 and 8.9 run 8.0's,
# 10.3 runs 10.0's. PTX of the oldest, which every other one can compile for itself, and of the
# newest, for those to come.
set(AWQ_CUDA_ARCHITECTURES 80 90 100 120 CACHE STRING
  "compute capabilities that machine code is made for, of those that nvcc knows")
if(NOT DEFINED CMAKE_CUDA_ARCHITECTURES)
  execute_process(COMMAND ${AWQ_NVCC} --list-gpu-code OUTPUT_VARIABLE known)
  set(real ${AWQ_CUDA_ARCHITECTURES})
  foreach(architecture IN LISTS AWQ_CUDA_ARCHITECTURES)
    if(NOT known MATCHES "sm_${architecture}[\r\n]")
      list(REMOVE_ITEM real ${architecture})
    endif()
  endforeach()
  if(NOT real)
    message(FATAL_ERROR "AWQ_CUDA_ARCHITECTURES is '${AWQ_CUDA_ARCHITECTURES}', and nvcc knows "
      "none of them; 'nvcc --list-gpu-code' says which it does")
  endif()
  list(SORT real COMPARE NATURAL)
  list(GET real 0 oldest)
  list(GET real -1 newest)
  set(CMAKE_CUDA_ARCHITECTURES ${real})
  list(TRANSFORM CMAKE_CUDA_ARCHITECTURES APPEND -real)
  list(APPEND CMAKE_CUDA_ARCHITECTURES ${oldest}-virtual ${newest}-virtual)
  list(REMOVE_DUPLICATES CMAKE_CUDA_ARCHITECTURES)
endif()
set(CMAKE_CUDA_COMPILER ${AWQ_NVCC})
set(CMAKE_CUDA_STANDARD 17)
set(CMAKE_CUDA_STANDARD_REQUIRED ON)
set(CMAKE_CUDA_EXTENSIONS OFF)
enable_language(CUDA)
find_package(CUDAToolkit REQUIRED)
set(AWQ_HAVE_CUDA ON)
