// The C interface: exceptions end here.
#include "tower.h"
#include <cstdlib>
#include <cstring>
#include <new>

namespace fl {
fl_rows* make_rows(int precision, bool for_module, int count, int dense_width, const double* dense, int bags, const int32_t* buckets, const int32_t* means, const int32_t* const* offsets,
    const int32_t* const* ids, const double* const* weights);
}

namespace {

void* copy(const void* from, size_t length, size_t extra) {
    char* to = static_cast<char*>(std::malloc(length + extra));
    if (to == nullptr)
        throw std::bad_alloc();
    if (length > 0)
        std::memcpy(to, from, length);
    if (extra > 0)
        std::memset(to + length, 0, extra);
    return to;
}

int report(int status, const char* text, char** message) noexcept {
    if (message != nullptr) {
        const size_t length = std::strlen(text);
        *message = static_cast<char*>(std::malloc(length + 1));
        if (*message != nullptr)
            std::memcpy(*message, text, length + 1);
    }
    return status;
}

template <class F> int call(char** message, F body) noexcept {
    if (message != nullptr)
        *message = nullptr;
    try {
        body();
        return FL_OK;
    } catch (const fl::Error& e) {
        return report(e.status, e.what(), message);
    } catch (const std::bad_alloc&) {
        return report(FL_NO_MEMORY, "There is not enough memory.", message);
    } catch (const std::exception&) {
        // Its text may quote numbers of a row.
        return report(FL_FAILED, "libtorch or the native library failed.", message);
    } catch (...) {
        return report(FL_FAILED, "The native library failed without a reason.", message);
    }
}

fl_tower& live(fl_tower* tower) {
    fl::require(tower != nullptr, "There is no tower.");
    return *tower;
}

fl_tower& fitting(fl_tower* tower, int64_t count) {
    fl::require(count == live(tower).parameter_count(), "There is not one number a parameter.");
    return *tower;
}

}

extern "C" {

int fl_abi_version(void) { return 3; }

void fl_free(void* memory) { std::free(memory); }

int fl_rows_create(int precision, int for_module, int rows, int dense_width, const double* dense, int bags, const int32_t* buckets, const int32_t* means, const int32_t* const* offsets,
    const int32_t* const* ids, const double* const* weights, fl_rows** result, char** message) {
    return call(message, [&] { *result = fl::make_rows(precision, for_module != 0, rows, dense_width, dense, bags, buckets, means, offsets, ids, weights); });
}

void fl_rows_free(fl_rows* rows) { delete rows; }

int fl_tower_create(const fl_spec* spec, const double* parameters, int64_t count, fl_tower** result, char** message) {
    return call(message, [&] { *result = fl::make_tower(*spec, parameters, count).release(); });
}

int fl_module_create(const fl_spec* spec, const int32_t* buckets, const uint8_t* bytes, int64_t length, int is_source, fl_tower** result, char** message) {
    return call(message, [&] { *result = fl::make_module(*spec, buckets, std::string(reinterpret_cast<const char*>(bytes), (size_t)length), is_source != 0).release(); });
}

void fl_tower_free(fl_tower* tower) { delete tower; }

int fl_tower_parameter_count(fl_tower* tower, int64_t* count, char** message) {
    return call(message, [&] { *count = live(tower).parameter_count(); });
}

int fl_tower_forward(fl_tower* tower, fl_rows* rows, const int32_t* index, int count, double* output, int training, char** message) {
    return call(message, [&] {
        fl::require(rows != nullptr && count >= 0, "There are no rows.");
        live(tower).forward(*rows, index, count, output, training != 0);
    });
}

int fl_tower_backward(fl_tower* tower, const double* upstream, int64_t count, char** message) {
    return call(message, [&] { live(tower).backward(upstream, count); });
}

int fl_tower_gradient(fl_tower* tower, double* destination, int64_t count, char** message) {
    return call(message, [&] { fitting(tower, count).gradient(destination); });
}

int fl_tower_row_norms(fl_tower* tower, const double* upstream, int64_t count, double* norms, int rows, char** message) {
    return call(message, [&] { live(tower).row_norms(upstream, count, norms, rows); });
}

int fl_tower_weighted_rows(fl_tower* tower, const double* weights, int rows, double* sum, int64_t count, char** message) {
    return call(message, [&] { fitting(tower, count).weighted_rows(weights, rows, sum); });
}

int fl_tower_step(fl_tower* tower, const double* gradient, int64_t count, char** message) {
    return call(message, [&] { (gradient == nullptr ? live(tower) : fitting(tower, count)).step(gradient); });
}

int fl_tower_get_parameters(fl_tower* tower, double* destination, int64_t count, char** message) {
    return call(message, [&] { fitting(tower, count).get_parameters(destination); });
}

int fl_tower_set_parameters(fl_tower* tower, const double* source, int64_t count, char** message) {
    return call(message, [&] { fitting(tower, count).set_parameters(source); });
}

int fl_tower_save(fl_tower* tower, uint8_t** bytes, int64_t* length, char** message) {
    return call(message, [&] {
        const std::string saved = live(tower).save();
        *bytes = static_cast<uint8_t*>(copy(saved.data(), saved.size(), 1));
        *length = (int64_t)saved.size();
    });
}

int fl_tower_save_training(fl_tower* tower, uint8_t** bytes, int64_t* length, char** message) {
    return call(message, [&] {
        const std::string saved = live(tower).save_training();
        *bytes = static_cast<uint8_t*>(copy(saved.data(), saved.size(), 1));
        *length = (int64_t)saved.size();
    });
}

int fl_tower_restore_training(fl_tower* tower, const uint8_t* bytes, int64_t length, char** message) {
    return call(message, [&] { live(tower).restore_training(reinterpret_cast<const char*>(bytes), length); });
}

int fl_tower_faults(fl_tower* tower, char** text, char** message) {
    return call(message, [&] {
        const std::string found = live(tower).faults();
        *text = static_cast<char*>(copy(found.data(), found.size(), 1));
    });
}

}
