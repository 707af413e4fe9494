#include <patchdiff/parallel/gather.hpp>
#include <patchdiff/parallel/mpi/mpi_process_group.hpp>
#include <patchdiff/parallel/mpi/mpi_session.hpp>

int main(int argc, char** argv) {
  patchdiff::MPISession mpi(argc, argv);
  patchdiff::MPIProcessGroup group(60);
  return patchdiff::any_process(group, group.rank() == 0, "a flag") ? 0 : 1;
}
