#define FL_SET avx2
#define VB 32
#define TILE 6
#include "kernels.inc"
