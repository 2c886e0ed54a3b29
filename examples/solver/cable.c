/* Passive cable with sealed ends and a current at its start: how much of the voltage arrives at the other end?
 *
 *     cable LAMBDA_UM LENGTH_UM
 *
 * Built with -DUSE_MPI the cable is cut into as many parts as there are ranks; the numbers are the same. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#ifdef USE_MPI
#include <mpi.h>
#endif

enum { COMPARTMENTS = 10 };

int main(int argc, char **argv)
{
    int rank = 0, size = 1;
#ifdef USE_MPI
    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
#endif
    if (argc != 3) {
        fprintf(stderr, "usage: cable LAMBDA_UM LENGTH_UM\n");
        return 2;
    }
    double lambda_um = atof(argv[1]), length_um = atof(argv[2]);
    if (!(lambda_um > 0 && length_um > 0)) {
        fprintf(stderr, "lengths must be positive: lambda_um=%s length_um=%s\n", argv[1], argv[2]);
        return 3;
    }
    /* Explicit Euler; time in units of the time constant. */
    double dx_um = length_um / COMPARTMENTS;
    double coupling = (lambda_um / dx_um) * (lambda_um / dx_um);
    double dt = 0.4 / (coupling + 1.0);
    long steps = (long)ceil(6.0 / dt);
    int first = rank * COMPARTMENTS / size, end = (rank + 1) * COMPARTMENTS / size;
    int left = rank - 1, right = rank + 1 < size ? rank + 1 : -1;
    double old[COMPARTMENTS + 2] = {0}, new[COMPARTMENTS + 2] = {0};
    for (long step = 0; step < steps; step++) {
#ifdef USE_MPI
        MPI_Sendrecv(&old[first + 1], 1, MPI_DOUBLE, left < 0 ? MPI_PROC_NULL : left, 0, &old[end + 1], 1, MPI_DOUBLE,
                     right < 0 ? MPI_PROC_NULL : right, 0, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
        MPI_Sendrecv(&old[end], 1, MPI_DOUBLE, right < 0 ? MPI_PROC_NULL : right, 1, &old[first], 1, MPI_DOUBLE,
                     left < 0 ? MPI_PROC_NULL : left, 1, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
#endif
        if (left < 0)
            old[0] = old[1];
        if (right < 0)
            old[COMPARTMENTS + 1] = old[COMPARTMENTS];
        for (int i = first + 1; i <= end; i++)
            new[i] = old[i] + dt * (coupling * (old[i - 1] - 2 * old[i] + old[i + 1]) - old[i] + (i == 1));
        for (int i = first + 1; i <= end; i++)
            old[i] = new[i];
    }
    double ends[2] = {old[1], old[COMPARTMENTS]};
#ifdef USE_MPI
    MPI_Bcast(&ends[0], 1, MPI_DOUBLE, 0, MPI_COMM_WORLD);
    MPI_Bcast(&ends[1], 1, MPI_DOUBLE, size - 1, MPI_COMM_WORLD);
#endif
    double ratio = ends[1] / ends[0];
    if (rank == 0)
        printf("%ld steps on %d ranks\nDH-OUTPUT: {\"loss\": %.17g, \"ratio\": %.17g, \"ranks\": %d}\n", steps, size,
               (ratio - 0.5) * (ratio - 0.5), ratio, size);
#ifdef USE_MPI
    MPI_Finalize();
#endif
    return 0;
}
