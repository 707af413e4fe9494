// SPDX-License-Identifier: Apache-2.0
#pragma once

/// The components and the Eigen backend: all that a host without LibTorch needs to train and sample.

#include <patchdiff/backend/eigen/eigen_backend.hpp>
#include <patchdiff/backend/eigen/thread_executor.hpp>
#include <patchdiff/components.hpp>
#include <patchdiff/nn/eigen/eigen_song_unet.hpp>
#include <patchdiff/nn/eigen/small_unet.hpp>
