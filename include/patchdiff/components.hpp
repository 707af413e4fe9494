// SPDX-License-Identifier: Apache-2.0
#pragma once

/// The components that every backend serves.

#include <patchdiff/diffusion/any_denoiser.hpp>
#include <patchdiff/diffusion/autoguided_denoiser.hpp>
#include <patchdiff/diffusion/denoiser.hpp>
#include <patchdiff/diffusion/denoiser_wrapper.hpp>
#include <patchdiff/diffusion/edm_loss.hpp>
#include <patchdiff/diffusion/guided_denoiser.hpp>
#include <patchdiff/diffusion/iddpm.hpp>
#include <patchdiff/diffusion/inpainting_denoiser.hpp>
#include <patchdiff/diffusion/perturb.hpp>
#include <patchdiff/diffusion/posterior_denoiser.hpp>
#include <patchdiff/diffusion/prediction.hpp>
#include <patchdiff/diffusion/sub_vp.hpp>
#include <patchdiff/diffusion/ve.hpp>
#include <patchdiff/diffusion/vp.hpp>
#include <patchdiff/nn/any_network.hpp>
#include <patchdiff/patch/coord_encoder.hpp>
#include <patchdiff/patch/patch_sampler.hpp>
#include <patchdiff/patch/patch_size_schedule.hpp>
#include <patchdiff/sampling/ancestral_euler.hpp>
#include <patchdiff/sampling/bits_per_dimension.hpp>
#include <patchdiff/sampling/churn.hpp>
#include <patchdiff/sampling/dpm_solver_pp_2m.hpp>
#include <patchdiff/sampling/euler.hpp>
#include <patchdiff/sampling/euler_maruyama.hpp>
#include <patchdiff/sampling/heun.hpp>
#include <patchdiff/sampling/likelihood.hpp>
#include <patchdiff/sampling/named_solver.hpp>
#include <patchdiff/sampling/ode_sampler.hpp>
#include <patchdiff/sampling/predictor_corrector.hpp>
#include <patchdiff/sampling/probability_flow.hpp>
#include <patchdiff/sampling/rk45.hpp>
#include <patchdiff/sampling/seam_score.hpp>
#include <patchdiff/sampling/tiled_denoiser.hpp>
#include <patchdiff/sampling/tiling_plan.hpp>
#include <patchdiff/training/adam.hpp>
#include <patchdiff/training/ema.hpp>
#include <patchdiff/training/learning_rate.hpp>
#include <patchdiff/training/loss_table.hpp>
#include <patchdiff/training/power_ema.hpp>
#include <patchdiff/training/train_step.hpp>
#include <patchdiff/training/trainer.hpp>
