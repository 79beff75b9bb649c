// What the C interface is made of: errors, rows, and the base of all towers.
#pragma once
#include "fedlearn_towers.h"
#include "kernels.h"
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

namespace fl {

struct Error : std::runtime_error {
    int status;
    Error(int status, const std::string& text) : std::runtime_error(text), status(status) {}
};

inline void require(bool holds, const char* text) {
    if (!holds)
        throw Error(FL_MISUSE, text);
}

// The state of a training as bytes: numbers as this machine holds them.
class StateWriter {
public:
    template <class N> void number(N value) { raw(&value, sizeof(N)); }
    void raw(const void* from, size_t length) { _bytes.append(static_cast<const char*>(from), length); }
    // What every state begins with, in the order in which a reader expects it.
    void head(int64_t count, size_t number_bytes, uint64_t seed, int64_t steps, uint64_t evaluation) {
        number<int64_t>(count);
        number<int32_t>((int32_t)number_bytes);
        number<uint64_t>(seed);
        number<int64_t>(steps);
        number<uint64_t>(evaluation);
    }
    std::string take() { return std::move(_bytes); }

private:
    std::string _bytes;
};

class StateReader {
public:
    StateReader(const char* bytes, int64_t length) : _at(bytes), _left(length) {}
    template <class N> N number() {
        N value;
        raw(&value, sizeof(N));
        return value;
    }
    template <class N> void expect(N value) {
        if (number<N>() != value)
            foreign();
    }
    void raw(void* to, int64_t length) {
        const char* from = skip(length);
        std::char_traits<char>::copy(static_cast<char*>(to), from, (size_t)length);
    }
    const char* skip(int64_t length) {
        if (length > _left)
            foreign();
        const char* from = _at;
        _at += length;
        _left -= length;
        return from;
    }
    void end() const {
        if (_left != 0)
            foreign();
    }
    [[noreturn]] static void foreign() { throw Error(FL_DOES_NOT_FIT, "The bytes are not those of this tower's training."); }

private:
    const char* _at;
    int64_t _left;
};

// Memory whose contents need not survive growth, at the boundary of a vector.
template <class T> class Buffer {
public:
    Buffer() = default;
    Buffer(const Buffer&) = delete;
    Buffer& operator=(const Buffer&) = delete;
    Buffer(Buffer&& other) noexcept : _at(other._at), _capacity(other._capacity) { other._at = nullptr; other._capacity = 0; }
    Buffer& operator=(Buffer&&) = delete;
    ~Buffer() { release(); }
    T* need(int64_t count) {
        if (count > _capacity) {
            release();
            _at = static_cast<T*>(::operator new(sizeof(T) * count, std::align_val_t(64)));
            _capacity = count;
        }
        return _at;
    }
    T* get() const { return _at; }

private:
    void release() {
        if (_at != nullptr)
            ::operator delete(_at, std::align_val_t(64));
        _at = nullptr;
        _capacity = 0;
    }
    T* _at = nullptr;
    int64_t _capacity = 0;
};

// All bags of a row together: entries point into the rows of the first layer's matrix, and hold mean pooling's division.
template <class T> struct Sparse {
    std::vector<T> dense;
    std::vector<int64_t> starts;
    std::vector<Entry<T>> entries;
};

// The bags as they came, for a user's module.
template <class T> struct Bag {
    std::vector<int32_t> offsets, ids;
    std::vector<T> weights;
};

}

struct fl_rows {
    int precision = 0, rows = 0, dense_width = 0;
    bool for_module = false;
    uint64_t serial = 0;
    fl::Sparse<float> floats;
    fl::Sparse<double> doubles;
    std::vector<fl::Bag<float>> float_bags; // for modules only, which then have no sparse entries
    std::vector<fl::Bag<double>> double_bags;
    template <class T> fl::Sparse<T>& sparse();
    template <class T> std::vector<fl::Bag<T>>& bags();
};

template <> inline fl::Sparse<float>& fl_rows::sparse<float>() { return floats; }
template <> inline fl::Sparse<double>& fl_rows::sparse<double>() { return doubles; }
template <> inline std::vector<fl::Bag<float>>& fl_rows::bags<float>() { return float_bags; }
template <> inline std::vector<fl::Bag<double>>& fl_rows::bags<double>() { return double_bags; }

struct fl_tower {
    virtual ~fl_tower() = default;
    virtual int64_t parameter_count() const = 0;
    virtual void forward(fl_rows& rows, const int32_t* index, int count, double* output, bool training) = 0;
    virtual void backward(const double* upstream, int64_t count) = 0;
    virtual void gradient(double* destination) = 0;
    virtual void row_norms(const double* upstream, int64_t count, double* norms, int rows) = 0;
    virtual void weighted_rows(const double* weights, int rows, double* sum) = 0;
    virtual void step(const double* gradient) = 0;
    virtual void get_parameters(double* destination) const = 0;
    virtual void set_parameters(const double* source) = 0;
    virtual std::string save() = 0;
    virtual std::string save_training() = 0;
    virtual void restore_training(const char* bytes, int64_t length) = 0;
    virtual std::string faults() { return ""; }
};

namespace fl {

std::unique_ptr<fl_tower> make_tower(const fl_spec& spec, const double* parameters, int64_t count);
std::unique_ptr<fl_tower> make_module(const fl_spec& spec, const int32_t* buckets, const std::string& bytes, bool is_source);

}
