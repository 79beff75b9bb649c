#define FL_SET base
#define VB 16
#define TILE 6
#include "kernels.inc"
