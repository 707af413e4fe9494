// SPDX-License-Identifier: Apache-2.0
#pragma once

/// The components and the LibTorch backend: all that a host needs to train and sample.

#include <patchdiff/backend/torch/torch_backend.hpp>
#include <patchdiff/components.hpp>
#include <patchdiff/diffusion/torch/autograd_misfit.hpp>
#include <patchdiff/nn/torch/dhariwal_unet.hpp>
#include <patchdiff/nn/torch/song_unet.hpp>
#include <patchdiff/nn/torch/usable_precision.hpp>
#include <patchdiff/training/torch/loss_scale.hpp>
