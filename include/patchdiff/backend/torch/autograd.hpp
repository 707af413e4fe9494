// SPDX-License-Identifier: Apache-2.0
#pragma once

// LibTorch's autograd and the arithmetic operators of its tensors. These headers include the functions of all of
// LibTorch's operators, unless LibTorch's own macro says that whoever includes them names those that he calls; without,
// a host compiles them in two thirds of the time. The macro is as it was afterwards.
#pragma push_macro("AT_PER_OPERATOR_HEADERS")
#undef AT_PER_OPERATOR_HEADERS
#define AT_PER_OPERATOR_HEADERS
#include <ATen/TensorOperators.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/functions/utils.h>
#pragma pop_macro("AT_PER_OPERATOR_HEADERS")
