# SPDX-License-Identifier: Apache-2.0
# Every public header, below include/, by the target that provides it. The test `headers.list` fails when this differs
# from the files on disk, and `layers` when a header includes one that its target does not provide.

# patchdiff::patchdiff: needs fmt alone.
set(PATCHDIFF_CORE_HEADERS
    patchdiff/backend/backend.hpp
    patchdiff/backend/operations.hpp
    patchdiff/core/describe.hpp
    patchdiff/core/error.hpp
    patchdiff/core/flow.hpp
    patchdiff/core/image_size.hpp
    patchdiff/core/named_enum.hpp
    patchdiff/core/nearest_name.hpp
    patchdiff/core/philox.hpp
    patchdiff/core/pixel_map.hpp
    patchdiff/core/places.hpp
    patchdiff/core/precision.hpp
    patchdiff/core/random_stream.hpp
    patchdiff/core/shape.hpp
    patchdiff/core/train_state.hpp
    patchdiff/data/array_dataset.hpp
    patchdiff/data/data_order.hpp
    patchdiff/data/dataset.hpp
    patchdiff/data/loader.hpp
    patchdiff/diffusion/any_denoiser.hpp
    patchdiff/diffusion/denoiser.hpp
    patchdiff/diffusion/denoiser_wrapper.hpp
    patchdiff/diffusion/edm.hpp
    patchdiff/diffusion/edm_loss.hpp
    patchdiff/diffusion/formulation.hpp
    patchdiff/diffusion/guided_denoiser.hpp
    patchdiff/diffusion/preconditioning.hpp
    patchdiff/diffusion/sigma_distribution.hpp
    patchdiff/diffusion/training_noise.hpp
    patchdiff/diffusion/weighting.hpp
    patchdiff/io/atomic_file.hpp
    patchdiff/io/csv_log.hpp
    patchdiff/io/image_grid.hpp
    patchdiff/io/picture.hpp
    patchdiff/io/read_file.hpp
    patchdiff/io/safetensors_tensor.hpp
    patchdiff/io/safetensors_type.hpp
    patchdiff/metrics/feature_extractor.hpp
    patchdiff/nn/conditioning.hpp
    patchdiff/nn/network.hpp
    patchdiff/patch/coord_encoder.hpp
    patchdiff/patch/image_batch.hpp
    patchdiff/patch/multiplier_rule.hpp
    patchdiff/patch/patch_plan.hpp
    patchdiff/patch/patch_sampler.hpp
    patchdiff/patch/patch_size_schedule.hpp
    patchdiff/sampling/edm_sigmas.hpp
    patchdiff/sampling/ode_sampler.hpp
    patchdiff/sampling/pixel_noise.hpp
    patchdiff/sampling/solvers.hpp
    patchdiff/sampling/window.hpp
    patchdiff/training/adam.hpp
    patchdiff/training/ema.hpp
    patchdiff/training/optimizer.hpp
    patchdiff/training/step_report.hpp
    patchdiff/training/train_step.hpp)

# patchdiff::eigen: includes Eigen.
set(PATCHDIFF_EIGEN_HEADERS
    patchdiff/metrics/feature_statistics.hpp
    patchdiff/metrics/frechet_distance.hpp)

# patchdiff::io: reaches zlib, libpng or nlohmann-json.
set(PATCHDIFF_IO_HEADERS
    patchdiff/data/idx_array.hpp
    patchdiff/data/idx_dataset.hpp
    patchdiff/io/gunzip.hpp
    patchdiff/io/load_weights.hpp
    patchdiff/io/model_file.hpp
    patchdiff/io/png.hpp
    patchdiff/io/safetensors_header.hpp
    patchdiff/io/safetensors_reader.hpp
    patchdiff/io/safetensors_writer.hpp
    patchdiff/io/save_weights.hpp
    patchdiff/io/settings_json.hpp)

# patchdiff::torch: the headers below a torch/ folder, and torch.hpp.
set(PATCHDIFF_TORCH_HEADERS
    patchdiff/backend/torch/compat.hpp
    patchdiff/backend/torch/cpu_kernels.hpp
    patchdiff/backend/torch/torch_backend.hpp
    patchdiff/metrics/torch/feature_classifier.hpp
    patchdiff/nn/torch/autocast_guard.hpp
    patchdiff/nn/torch/autograd_network.hpp
    patchdiff/nn/torch/song_unet.hpp
    patchdiff/nn/torch/torch_parameters.hpp
    patchdiff/nn/torch/unet_layers.hpp
    patchdiff/torch.hpp
    patchdiff/training/torch/torch_optimizer.hpp)
