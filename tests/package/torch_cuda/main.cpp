// LibTorch's CUDA libraries are loaded although no symbol of theirs need be named; with a GPU, a kernel of the host
// runs between LibTorch's.
#include <patchdiff/torch.hpp>

#include <c10/core/impl/DeviceGuardImplInterface.h>
#include <c10/cuda/CUDAStream.h>

#include <cstdio>

void count_on(float* values, int size, cudaStream_t stream);

int main() {
  using B = patchdiff::TorchBackend;
  if (!c10::impl::hasDeviceGuardImpl(at::kCUDA)) {
    std::puts("LibTorch's CUDA libraries are not loaded");
    return 1;
  }
  if (!at::hasCUDA()) {
    std::puts("no GPU");
    return 0;
  }
  const patchdiff::TorchDevice gpu{at::Device(at::kCUDA, 0), at::kFloat};
  const at::Tensor values = B::zeros({4}, gpu);
  count_on(values.data_ptr<float>(), 4, c10::cuda::getCurrentCUDAStream());
  return B::to_host(values + 1) == std::vector<double>{1, 2, 3, 4} ? 0 : 1;
}
