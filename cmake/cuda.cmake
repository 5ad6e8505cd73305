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

# 8.0 and 9.0, and PTX for what comes after.
if(NOT DEFINED CMAKE_CUDA_ARCHITECTURES)
  set(CMAKE_CUDA_ARCHITECTURES 80-real 90)
endif()
set(CMAKE_CUDA_COMPILER ${AWQ_NVCC})
set(CMAKE_CUDA_STANDARD 17)
set(CMAKE_CUDA_STANDARD_REQUIRED ON)
set(CMAKE_CUDA_EXTENSIONS OFF)
enable_language(CUDA)
find_package(CUDAToolkit REQUIRED)
set(AWQ_HAVE_CUDA ON)
