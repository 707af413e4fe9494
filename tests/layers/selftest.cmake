# SPDX-License-Identifier: Apache-2.0
# cmake -D CHECK=<check.cmake> -D WORK=<empty folder> -P selftest.cmake
# Plants one violation at a time and expects the check to name it.
cmake_minimum_required(VERSION 3.25)

# plant(message header line): message empty where the header is fine.
function(plant message header line)
  file(REMOVE_RECURSE "${WORK}")
  foreach(neighbour core/a backend/a backend/torch/a backend/eigen/a patch/a nn/a diffusion/a nn/torch/a nn/eigen/a io/a data/a
                    sampling/a training/a training/torch/a metrics/a parallel/a
                    parallel/mpi/a torch)
    file(WRITE "${WORK}/patchdiff/${neighbour}.hpp" "#pragma once\n")
  endforeach()
  if(line MATCHES "^(#|throw)")
    set(text "${line}\n")
  else()
    set(text "#include <vector>\n  #  include ${line}\n")
  endif()
  file(WRITE "${WORK}/patchdiff/${header}" "#pragma once\n\n${text}")
  execute_process(COMMAND "${CMAKE_COMMAND}" -D "INCLUDE=${WORK}" -P "${CHECK}"
                  RESULT_VARIABLE status OUTPUT_VARIABLE output ERROR_VARIABLE output)
  string(REGEX REPLACE "[ \n]+" " " output "${output}")
  if(message STREQUAL "")
    if(NOT status EQUAL 0)
      message(SEND_ERROR "${header} may include ${line}, but the check said: ${output}")
    endif()
  elseif(status EQUAL 0)
    message(SEND_ERROR "${header} includes ${line}, and the check let it pass")
  else()
    string(FIND "${output}" "patchdiff/${header}: ${message}" position)
    if(position EQUAL -1)
      message(SEND_ERROR "${header} includes ${line}, expected '${message}', but the check said: ${output}")
    endif()
  endif()
endfunction()

plant("" core/b.hpp "<patchdiff/core/a.hpp>")
plant("" metrics/b.hpp "<Eigen/Core>")
plant("" backend/torch/b.hpp "<torch/types.h>")
plant("" nn/torch/b.hpp "<patchdiff/diffusion/a.hpp>")
plant("" nn/eigen/b.hpp "<patchdiff/backend/eigen/a.hpp>")
plant("" nn/eigen/b.hpp "<Eigen/Core>")
plant("" training/torch/b.hpp "<patchdiff/nn/torch/a.hpp>")
plant("" training/b.hpp "<patchdiff/io/a.hpp>")
plant("" io/b.hpp "<zlib.h>")
plant("" parallel/b.hpp "<patchdiff/metrics/a.hpp>")
plant("" parallel/mpi/b.hpp "<mpi.h>")
plant("" torch.hpp "<patchdiff/training/torch/a.hpp>")

plant("" backend/torch/b.hpp "#if TORCH_VERSION_MAJOR > 2")
plant("macros may change nothing: #ifdef NDEBUG" core/b.hpp "#ifdef NDEBUG")
plant("macros may change nothing: #define EIGEN_DONT_PARALLELIZE" backend/eigen/b.hpp "#define EIGEN_DONT_PARALLELIZE")

plant("" core/error.hpp "throw Error(text)")
plant("write refuse or require of core/error.hpp instead of: throw DataError(text)" io/b.hpp "throw DataError(text)")

plant("includes patchdiff/backend/a.hpp: layer backend comes after core" core/b.hpp "<patchdiff/backend/a.hpp>")
plant("includes patchdiff/diffusion/a.hpp: layer diffusion comes after nn" nn/b.hpp "<patchdiff/diffusion/a.hpp>")
plant("includes patchdiff/training/a.hpp: layer training comes after sampling" sampling/b.hpp
      "<patchdiff/training/a.hpp>")
plant("includes patchdiff/sampling/a.hpp: sampling and training never include each other" training/b.hpp
      "<patchdiff/sampling/a.hpp>")
plant("includes patchdiff/nn/torch/a.hpp, but only */torch/ and torch.hpp may" diffusion/b.hpp
      "<patchdiff/nn/torch/a.hpp>")
plant("includes patchdiff/backend/eigen/a.hpp, but only */eigen/, metrics/ and eigen.hpp may" backend/b.hpp
      "<patchdiff/backend/eigen/a.hpp>")
plant("includes patchdiff/nn/eigen/a.hpp, but only */eigen/, metrics/ and eigen.hpp may" nn/torch/b.hpp
      "<patchdiff/nn/eigen/a.hpp>")
plant("includes patchdiff/nn/torch/a.hpp, but only */torch/ and torch.hpp may" nn/eigen/b.hpp
      "<patchdiff/nn/torch/a.hpp>")
plant("includes patchdiff/io/a.hpp: layer io comes after nn-backends" nn/eigen/b.hpp "<patchdiff/io/a.hpp>")
plant("includes the umbrella header patchdiff/torch.hpp" training/torch/b.hpp "<patchdiff/torch.hpp>")
plant("includes <torch/torch.h>: LibTorch is for */torch/ and torch.hpp" training/b.hpp "<torch/torch.h>")
plant("includes <ATen/Parallel.h>: LibTorch is for */torch/ and torch.hpp" io/b.hpp "<ATen/Parallel.h>")
plant("includes <Eigen/Dense>: Eigen is for */eigen/, metrics/ and eigen.hpp" patch/b.hpp "<Eigen/Dense>")
plant("includes <zlib.h>: zlib, libpng, JPEG and JSON are for io/" data/b.hpp "<zlib.h>")
plant("includes <nlohmann/json.hpp>: zlib, libpng, JPEG and JSON are for io/" training/b.hpp "<nlohmann/json.hpp>")
plant("includes <mpi.h>: MPI is for */mpi/" parallel/b.hpp "<mpi.h>")
plant("includes patchdiff/parallel/mpi/a.hpp, but only */mpi/ may" parallel/b.hpp "<patchdiff/parallel/mpi/a.hpp>")
plant("includes patchdiff/parallel/a.hpp: layer parallel comes after training" training/b.hpp
      "<patchdiff/parallel/a.hpp>")
plant("includes <catch2/catch.hpp>, which is for tests" core/b.hpp "<catch2/catch.hpp>")
plant("includes <fmt/core.h>, which is for tests and programs" core/b.hpp "<fmt/core.h>")
plant("write <patchdiff/...> instead of quotes" core/b.hpp "\"../backend/a.hpp\"")
plant("includes patchdiff/core/absent.hpp, which does not exist" core/b.hpp "<patchdiff/core/absent.hpp>")
plant("lies in no folder of the table of layers" utils/b.hpp "<patchdiff/core/a.hpp>")
