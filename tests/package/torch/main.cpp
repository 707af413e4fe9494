#include <patchdiff/torch.hpp>

#include <cstdio>

int main() {
  const patchdiff::CoordEncoder<patchdiff::TorchBackend> encoder({64, 64});
  const at::Tensor grid = encoder(patchdiff::Places::whole({64, 64}, 1), patchdiff::TorchDevice{});
  std::printf("from %g to %g\n", grid.min().item<double>(), grid.max().item<double>());
}
