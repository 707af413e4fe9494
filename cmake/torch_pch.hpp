// SPDX-License-Identifier: Apache-2.0
// Compiled once per build folder for all tests and programs: what nearly every LibTorch file needs, and no more.
// (torch/nn.h and torch/optim.h would double the time of every file that uses it: their templates are emitted there.)
#pragma once

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/nn/module.h>
#include <torch/optim/adam.h>
