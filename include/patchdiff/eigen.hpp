// SPDX-License-Identifier: Apache-2.0
#pragma once

/// The neutral components and the Eigen backend: all that a host without LibTorch needs to train and sample.

#include <patchdiff/backend/eigen/eigen_backend.hpp>
#include <patchdiff/backend/eigen/thread_executor.hpp>
#include <patchdiff/diffusion/any_denoiser.hpp>
#include <patchdiff/diffusion/denoiser.hpp>
#include <patchdiff/diffusion/denoiser_wrapper.hpp>
#include <patchdiff/diffusion/edm_loss.hpp>
#include <patchdiff/diffusion/guided_denoiser.hpp>
#include <patchdiff/nn/eigen/small_unet.hpp>
#include <patchdiff/patch/coord_encoder.hpp>
#include <patchdiff/patch/patch_sampler.hpp>
#include <patchdiff/patch/patch_size_schedule.hpp>
#include <patchdiff/sampling/ode_sampler.hpp>
#include <patchdiff/training/adam.hpp>
#include <patchdiff/training/ema.hpp>
#include <patchdiff/training/train_step.hpp>
