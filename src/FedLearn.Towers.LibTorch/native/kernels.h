// Numeric kernels, one set for each instruction set, chosen once at run time.
#pragma once
#include <cstdint>

namespace fl {

// One entry of a sparse row, or of a column of the batch.
template <class T> struct Entry { int32_t at; T weight; };

struct StepConstants { int kind; double rate, decay, correction1, correction2; };

template <class T> struct Kernels {
    // C (m x n) += A B with A(i, p) = a[i * a_row + p * a_column], B and C row-major. Every element is one sum over p in order, whatever m and n are.
    void (*multiply)(const T* a, int64_t a_row, int64_t a_column, const T* b, int64_t b_row, T* c, int64_t c_row, int64_t m, int64_t n, int64_t k);
    // out (width) += sum of weight * matrix[at].
    void (*gather)(const Entry<T>* entries, int64_t count, const T* matrix, int64_t width, T* out);
    void (*tanh)(T* y, int64_t n);
    void (*relu)(T* y, int64_t n);
    // delta = above times the activation's derivative, by its value y; delta may be above.
    void (*tanh_backward)(const T* above, const T* y, T* delta, int64_t n);
    void (*relu_backward)(const T* above, const T* y, T* delta, int64_t n);
    void (*column_sums)(const T* a, int64_t rows, int64_t width, T* sums);
    void (*column_products)(const T* a, const T* b, int64_t rows, int64_t width, T* sums);
    void (*step)(const StepConstants& c, T* parameters, T* first, T* second, const T* gradient, int64_t n);
    void (*norm_forward)(const T* z, const T* gain, const T* bias, T* normal, T* deviation, T* out, int64_t rows, int64_t width);
    void (*norm_backward)(const T* above, const T* gain, const T* normal, const T* deviation, T* delta, int64_t rows, int64_t width);
    void (*to_double)(const T* from, double* to, int64_t n);
    void (*from_double)(const double* from, T* to, int64_t n);
};

template <class T> const Kernels<T>& kernels();

}
