/* C interface of FedLearn's towers. Every call returns a status, 0 when it succeeded; otherwise *message is an owned UTF-8 text that fl_free frees.
   No exception crosses. A handle is used by one thread at a time. Matrices are row-major; numbers cross in double whatever a tower computes in. */
#ifndef FEDLEARN_TOWERS_H
#define FEDLEARN_TOWERS_H

#include <stdint.h>

#if defined(_WIN32)
#define FL_API __declspec(dllexport)
#else
#define FL_API __attribute__((visibility("default")))
#endif

#ifdef __cplusplus
extern "C" {
#endif

enum { FL_OK = 0, FL_MISUSE = 1, FL_NO_MEMORY = 2, FL_FAILED = 3, FL_UNREADABLE = 4, FL_DOES_NOT_FIT = 5, FL_MODULE_FAILED = 6 };

typedef struct fl_rows fl_rows;
typedef struct fl_tower fl_tower;

typedef struct fl_spec {
    const int32_t* layers;
    int32_t layer_count, dense_width, bag_count, input_width;
    int32_t activation; /* 0 tanh, 1 ReLU */
    int32_t layer_norm;
    int32_t precision; /* 0 float, 1 double */
    int32_t optimizer; /* 0 SGD, 1 Adam, 2 Adagrad */
    double dropout, rate, weight_decay;
    int64_t seed;
    int32_t threads, reserved;
} fl_spec;

FL_API int fl_abi_version(void);
FL_API void fl_free(void* memory);

/* Copies rows. offsets[b] has rows + 1 numbers; weights[b] may be null; means[b] is 1 where a bag is divided by its number of ids.
   for_module: the copy is for towers of fl_module_create, else for those of fl_tower_create. */
FL_API int fl_rows_create(int precision, int for_module, int rows, int dense_width, const double* dense, int bags, const int32_t* buckets, const int32_t* means,
    const int32_t* const* offsets, const int32_t* const* ids, const double* const* weights, fl_rows** result, char** message);
FL_API void fl_rows_free(fl_rows* rows);

FL_API int fl_tower_create(const fl_spec* spec, const double* parameters, int64_t count, fl_tower** result, char** message);
/* is_source: TorchScript text, else the bytes of a file. */
FL_API int fl_module_create(const fl_spec* spec, const int32_t* buckets, const uint8_t* bytes, int64_t length, int is_source, fl_tower** result, char** message);
FL_API void fl_tower_free(fl_tower* tower);

FL_API int fl_tower_parameter_count(fl_tower* tower, int64_t* count, char** message);
FL_API int fl_tower_forward(fl_tower* tower, fl_rows* rows, const int32_t* index, int count, double* output, int training, char** message);
FL_API int fl_tower_backward(fl_tower* tower, const double* upstream, int64_t count, char** message);
FL_API int fl_tower_gradient(fl_tower* tower, double* destination, int64_t count, char** message);
FL_API int fl_tower_row_norms(fl_tower* tower, const double* upstream, int64_t count, double* norms, int rows, char** message);
FL_API int fl_tower_weighted_rows(fl_tower* tower, const double* weights, int rows, double* sum, int64_t count, char** message);
/* gradient null: the one that fl_tower_backward found. */
FL_API int fl_tower_step(fl_tower* tower, const double* gradient, int64_t count, char** message);
FL_API int fl_tower_get_parameters(fl_tower* tower, double* destination, int64_t count, char** message);
FL_API int fl_tower_set_parameters(fl_tower* tower, const double* source, int64_t count, char** message);
/* Of a module: the bytes of a TorchScript file, freed by fl_free. */
FL_API int fl_tower_save(fl_tower* tower, uint8_t** bytes, int64_t* length, char** message);
/* All that training changes: parameters, moments, steps, number of the evaluation, buffers of a module. Freed by fl_free. */
FL_API int fl_tower_save_training(fl_tower* tower, uint8_t** bytes, int64_t* length, char** message);
/* FL_DOES_NOT_FIT, and nothing changed, when the bytes are those of another tower. */
FL_API int fl_tower_restore_training(fl_tower* tower, const uint8_t* bytes, int64_t length, char** message);
/* Sentences, one a line; empty when a row's output depends on that row alone. */
FL_API int fl_tower_faults(fl_tower* tower, char** text, char** message);

#ifdef __cplusplus
}
#endif
#endif
