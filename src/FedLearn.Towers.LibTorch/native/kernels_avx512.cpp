#define FL_SET avx512
#define VB 64
#define TILE 12
#include "kernels.inc"
