// The shipped towers: explicit forward and backward passes over buffers that are kept from batch to batch.
#include "tower.h"
#include "pool.h"
#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>

namespace fl {
namespace {

constexpr uint64_t Golden = 0x9E3779B97F4A7C15u;
constexpr int64_t RowGrain = 96; // rows that pass all layers together: their activations stay in the second cache
constexpr int64_t ColumnGrain = 12;

uint64_t mix(uint64_t z) {
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

template <class T> void transpose(const T* from, int64_t rows, int64_t columns, T* to) {
    constexpr int64_t Block = 16;
    for (int64_t r = 0; r < rows; r += Block)
        for (int64_t c = 0; c < columns; c += Block)
            for (int64_t i = r; i < std::min(r + Block, rows); i++)
                for (int64_t j = c; j < std::min(c + Block, columns); j++)
                    to[j * rows + i] = from[i * columns + j];
}

struct Layer {
    int64_t in, out, matrix, bias, gain, shift; // places in the parameters; gain and shift are -1 without layer norm
};

// Activations of an evaluation and what is found from them going back.
template <class T> struct Pass {
    explicit Pass(size_t layers) : linear(layers), y(layers), h(layers), normal(layers), deviation(layers), delta(layers), above(layers), transposed(layers) {}
    Buffer<T> dense;
    std::vector<Buffer<T>> linear; // W x + b, only where layer norm follows
    std::vector<Buffer<T>> y;      // after the activation
    std::vector<Buffer<T>> h;      // after dropout, only where it acts
    std::vector<Buffer<T>> normal, deviation;
    std::vector<Buffer<T>> delta;  // dL/d(W x + b)
    std::vector<Buffer<T>> above;  // dL/d(gain * normal + shift), only with layer norm
    std::vector<Buffer<T>> transposed;
};

template <class T> class Tower final : public fl_tower {
public:
    Tower(const fl_spec& spec, const double* parameters, int64_t count)
        : _k(kernels<T>()), _kd(kernels<double>()), _activation(spec.activation), _norm(spec.layer_norm != 0), _dense(spec.dense_width), _inputs(spec.input_width),
          _dropout(spec.dropout), _seed((uint64_t)spec.seed), _kept(spec.layer_count), _evaluated(spec.layer_count), _rows_pass(spec.layer_count), _pool(spec.threads) {
        _constants = { spec.optimizer, spec.rate, spec.weight_decay, 1, 1 };
        int64_t at = 0, in = _inputs;
        for (int l = 0; l < spec.layer_count; l++) {
            Layer layer{ in, spec.layers[l], at, at + in * spec.layers[l], -1, -1 };
            at = layer.bias + layer.out;
            if (_norm && l < spec.layer_count - 1) {
                layer.gain = at;
                layer.shift = at + layer.out;
                at += 2 * layer.out;
            }
            in = layer.out;
            _layers.push_back(layer);
        }
        require(at == count, "There is not one number a parameter.");
        _count = at;
        _parameters.need(_count);
        _first.need(_count);
        _second.need(_count);
        _gradient.need(_count);
        std::memset(_first.get(), 0, sizeof(T) * _count);
        std::memset(_second.get(), 0, sizeof(T) * _count);
        std::memset(_gradient.get(), 0, sizeof(T) * _count);
        _touched.assign(_inputs, 0);
        set_parameters(parameters);
    }

    int64_t parameter_count() const override { return _count; }

    void forward(fl_rows& rows, const int32_t* index, int count, double* output, bool training) override {
        require(!rows.for_module && rows.precision == (sizeof(T) == 8) && rows.dense_width == _dense, "The rows are not of this tower's inputs.");
        const int64_t width = _layers.back().out;
        if (training) {
            settle();
            _has_rows = false;
            _rows_ready = false;
            _evaluation++;
        }
        std::vector<int32_t>& present = training ? _present : _evaluated_present;
        std::vector<int32_t>& places = training ? _places : _evaluated_places;
        present.clear();
        places.clear();
        for (int i = 0; i < count; i++) {
            require(index[i] >= -1 && index[i] < rows.rows, "A row is outside the rows.");
            if (index[i] >= 0) {
                present.push_back(index[i]);
                places.push_back(i);
            }
        }
        const int64_t n = (int64_t)present.size();
        Pass<T>& pass = training ? _kept : _evaluated;
        prepare(pass, n, training);
        if (n < count)
            std::memset(output, 0, sizeof(double) * count * width);
        _pool.run(n, RowGrain, [&](int64_t from, int64_t to) {
            for (int64_t i = from; i < to; i += RowGrain)
                evaluate(pass, rows, present.data(), places.data(), i, std::min(i + RowGrain, to), training);
            const T* y = pass.y.back().get();
            for (int64_t i = from; i < to; i++)
                _k.to_double(y + i * width, output + places[i] * width, width);
        });
        if (training) {
            note_rows(rows);
            _n = n;
            _total = count;
            _has_rows = true;
        }
    }

    void backward(const double* upstream, int64_t count) override {
        require(_has_rows, "A training evaluation comes before its gradients.");
        require(count == _total * _layers.back().out, "The gradient is not of the size of the last training evaluation's output.");
        columns();
        deltas(_k, _kept, _parameters.get(), upstream);
        T* g = _gradient.get();
        for (size_t l = 0; l < _layers.size(); l++)
            products(_k, _kept, l, _kept.delta[l].get(), _kept.above[l].get(), g, false);
        _pending = true;
        _used = false;
    }

    void gradient(double* destination) override {
        materialise();
        _k.to_double(_gradient.get(), destination, _count);
    }

    void row_norms(const double* upstream, int64_t count, double* norms, int rows) override {
        require(_has_rows, "A training evaluation comes before its gradients.");
        require(count == _total * _layers.back().out && rows == _total, "The gradient is not of the size of the last training evaluation's output.");
        columns();
        widen();
        deltas(_kd, _rows_pass, _wide.get(), upstream);
        std::memset(norms, 0, sizeof(double) * rows);
        _pool.run(_n, 1, [&](int64_t from, int64_t to) {
            for (int64_t i = from; i < to; i++) {
                double sum = 0;
                for (size_t l = 0; l < _layers.size(); l++) {
                    const int64_t out = _layers[l].out;
                    const double* d = _rows_pass.delta[l].get() + i * out;
                    sum += squares(d, out) * ((l == 0 ? _squares[i] : squares(input(_rows_pass, l) + i * _layers[l].in, _layers[l].in)) + 1);
                    if (_layers[l].gain >= 0) {
                        const double* a = _rows_pass.above[l].get() + i * out;
                        const double* x = _rows_pass.normal[l].get() + i * out;
                        for (int64_t j = 0; j < out; j++)
                            sum += a[j] * a[j] * (x[j] * x[j] + 1);
                    }
                }
                norms[_places[i]] = sum;
            }
        });
        _rows_ready = true;
    }

    void weighted_rows(const double* weights, int rows, double* sum) override {
        require(_rows_ready, "Norms of the rows come before their weighted sum.");
        require(rows == _total, "There is not one factor a row.");
        std::memset(sum, 0, sizeof(double) * _count);
        for (size_t l = 0; l < _layers.size(); l++) {
            const int64_t out = _layers[l].out;
            const bool normed = _layers[l].gain >= 0;
            double* scaled = _scaled.need(_n * out);
            double* scaled_above = normed ? _scaled_above.need(_n * out) : nullptr;
            const double* delta = _rows_pass.delta[l].get();
            const double* above = _rows_pass.above[l].get();
            for (int64_t i = 0; i < _n; i++)
                for (int64_t j = 0; j < out; j++) {
                    scaled[i * out + j] = weights[_places[i]] * delta[i * out + j];
                    if (normed)
                        scaled_above[i * out + j] = weights[_places[i]] * above[i * out + j];
                }
            products(_kd, _rows_pass, l, scaled, scaled_above, sum, true);
        }
    }

    void step(const double* gradient) override {
        if (gradient == nullptr)
            require(_pending || _materialised, "Backward comes before its gradient is used.");
        if (_constants.kind == 1) {
            _steps++;
            _constants.correction1 = 1 - std::pow(0.9, (double)_steps);
            _constants.correction2 = 1 - std::pow(0.999, (double)_steps);
        }
        T *p = _parameters.get(), *m = _first.get(), *v = _second.get(), *g = _gradient.get();
        if (gradient != nullptr) {
            T* narrow = _outside.need(_count);
            _pool.run(_count, 4096, [&](int64_t from, int64_t to) {
                _k.from_double(gradient + from, narrow + from, to - from);
                _k.step(_constants, p + from, m + from, v + from, narrow + from, to - from);
            });
            std::fill(_touched.begin(), _touched.end(), 1);
            return;
        }
        const int64_t out = _layers[0].out, sparse = (_inputs - _dense) * out, head = _dense * out;
        if (!_pending || sparse == 0) {
            _pool.run(_count, 4096, [&](int64_t from, int64_t to) { _k.step(_constants, p + from, m + from, v + from, g + from, to - from); });
            if (!_pending)
                std::fill(_touched.begin(), _touched.end(), 1);
            _used = true;
            return;
        }
        if (head > 0)
            _k.step(_constants, p, m, v, g, head);
        const int64_t tail = head + sparse;
        _k.step(_constants, p + tail, m + tail, v + tail, g + tail, _count - tail);
        // Gradient and step of the sparse rows in one pass. Where the gradient, the decay and the moments are 0, a step changes nothing.
        const T* delta = _kept.delta[0].get();
        _pool.run(_inputs - _dense, 8, [&](int64_t from, int64_t to) {
            std::vector<T> row(out);
            for (int64_t c = from; c < to; c++) {
                const int64_t entries = _column_starts[c + 1] - _column_starts[c], at = head + c * out;
                char& touched = _touched[_dense + c];
                if (entries == 0 && _constants.decay == 0 && (_constants.kind != 1 || !touched))
                    continue;
                touched |= entries > 0;
                std::fill(row.begin(), row.end(), (T)0);
                _k.gather(_column_entries.data() + _column_starts[c], entries, delta, out, row.data());
                _k.step(_constants, p + at, m + at, v + at, row.data(), out);
            }
        });
        _used = true;
    }

    void get_parameters(double* destination) const override { _k.to_double(_parameters.get(), destination, _count); }
    void set_parameters(const double* source) override { _k.from_double(source, _parameters.get(), _count); }
    std::string save() override { throw Error(FL_MISUSE, "A shipped tower is saved by its parameters."); }

    std::string save_training() override {
        StateWriter state;
        state.head(_count, sizeof(T), _seed, _steps, _evaluation);
        for (const Buffer<T>* numbers : { &_parameters, &_first, &_second })
            state.raw(numbers->get(), sizeof(T) * _count);
        return state.take();
    }

    void restore_training(const char* bytes, int64_t length) override {
        StateReader state(bytes, length);
        state.expect<int64_t>(_count);
        state.expect<int32_t>((int32_t)sizeof(T));
        state.expect<uint64_t>(_seed);
        const int64_t steps = state.number<int64_t>();
        const uint64_t evaluation = state.number<uint64_t>();
        const char* numbers[3];
        for (const char*& at : numbers)
            at = state.skip((int64_t)sizeof(T) * _count);
        state.end();
        std::memcpy(_parameters.get(), numbers[0], sizeof(T) * _count);
        std::memcpy(_first.get(), numbers[1], sizeof(T) * _count);
        std::memcpy(_second.get(), numbers[2], sizeof(T) * _count);
        _steps = steps;
        _evaluation = evaluation;
        // A row with moments must be stepped on; one without was reached by no gradient, or by one that left nothing.
        const int64_t out = _layers[0].out;
        for (int64_t c = 0; c < _inputs; c++) {
            const T *m = _first.get() + c * out, *v = _second.get() + c * out;
            _touched[c] = std::any_of(m, m + out, [](T x) { return x != 0; }) || std::any_of(v, v + out, [](T x) { return x != 0; });
        }
        _has_rows = _rows_ready = _pending = _used = _materialised = false;
    }

private:
    static double squares(const double* x, int64_t n) {
        double sum = 0;
        for (int64_t i = 0; i < n; i++)
            sum += x[i] * x[i];
        return sum;
    }

    bool drops(size_t layer) const { return _dropout > 0 && layer + 1 < _layers.size(); }

    void prepare(Pass<T>& pass, int64_t n, bool training) {
        pass.dense.need(n * _dense);
        for (size_t l = 0; l < _layers.size(); l++) {
            const int64_t size = n * _layers[l].out;
            pass.y[l].need(size);
            if (drops(l) && training)
                pass.h[l].need(size);
            if (_layers[l].gain >= 0) {
                pass.linear[l].need(size);
                pass.normal[l].need(size);
                pass.deviation[l].need(n);
            }
        }
    }

    // Outputs of a layer as the next one reads them.
    template <class U> const U* input(const Pass<U>& pass, size_t layer) const { return drops(layer - 1) ? pass.h[layer - 1].get() : pass.y[layer - 1].get(); }

    void evaluate(Pass<T>& pass, fl_rows& rows, const int32_t* present, const int32_t* places, int64_t from, int64_t to, bool training) {
        const Sparse<T>& sparse = rows.sparse<T>();
        const T* p = _parameters.get();
        const int64_t n = to - from;
        for (size_t l = 0; l < _layers.size(); l++) {
            const Layer& layer = _layers[l];
            const int64_t out = layer.out;
            T* y = pass.y[l].get() + from * out;
            T* z = layer.gain >= 0 ? pass.linear[l].get() + from * out : y;
            for (int64_t i = 0; i < n; i++)
                std::memcpy(z + i * out, p + layer.bias, sizeof(T) * out);
            if (l == 0) {
                if (_dense > 0) {
                    T* x = pass.dense.get() + from * _dense;
                    for (int64_t i = 0; i < n; i++)
                        std::memcpy(x + i * _dense, sparse.dense.data() + (int64_t)present[from + i] * _dense, sizeof(T) * _dense);
                    _k.multiply(x, _dense, 1, p, out, z, out, n, out, _dense);
                }
                if (_inputs > _dense)
                    for (int64_t i = 0; i < n; i++) {
                        const int64_t start = sparse.starts[present[from + i]];
                        _k.gather(sparse.entries.data() + start, sparse.starts[present[from + i] + 1] - start, p, out, z + i * out);
                    }
            } else {
                const T* x = (training ? input(pass, l) : pass.y[l - 1].get()) + from * layer.in;
                _k.multiply(x, layer.in, 1, p + layer.matrix, out, z, out, n, out, layer.in);
            }
            if (layer.gain >= 0)
                _k.norm_forward(z, p + layer.gain, p + layer.shift, pass.normal[l].get() + from * out, pass.deviation[l].get() + from, y, n, out);
            (_activation == 0 ? _k.tanh : _k.relu)(y, n * out);
            if (training && drops(l)) {
                T* h = pass.h[l].get() + from * out;
                const uint64_t key = mix(mix(_seed + Golden * _evaluation) + Golden * (uint64_t)(l + 1));
                for (int64_t i = 0; i < n; i++)
                    for (int64_t j = 0; j < out; j++)
                        h[i * out + j] = y[i * out + j] * mask(key, (uint64_t)places[from + i] * out + j);
            }
        }
    }

    T mask(uint64_t key, uint64_t element) const {
        return (double)(mix(key + Golden * (element + 1)) >> 11) * (1.0 / 9007199254740992.0) < _dropout ? (T)0 : (T)(1 / (1 - _dropout));
    }

    void note_rows(fl_rows& rows) {
        // The item tower sees the same rows at every step: what depends on them alone is kept.
        if (_serial == rows.serial && _same == _present)
            return;
        _same = _present;
        _serial = rows.serial;
        _columns_ready = false;
        _squares_ready = false;
        const Sparse<T>& sparse = rows.sparse<T>();
        // A copy of what the backward pass needs, so that the rows may end before it.
        _row_starts.clear();
        _row_entries.clear();
        _row_starts.push_back(0);
        if (_inputs > _dense)
            for (const int32_t r : _present) {
                _row_entries.insert(_row_entries.end(), sparse.entries.begin() + sparse.starts[r], sparse.entries.begin() + sparse.starts[r + 1]);
                _row_starts.push_back((int64_t)_row_entries.size());
            }
        else
            _row_starts.resize(_present.size() + 1, 0);
    }

    // The batch by columns of the first matrix, rows in order.
    void columns() {
        if (_columns_ready)
            return;
        _column_starts.assign(_inputs - _dense + 1, 0);
        for (const Entry<T>& e : _row_entries)
            _column_starts[e.at - _dense + 1]++;
        std::partial_sum(_column_starts.begin(), _column_starts.end(), _column_starts.begin());
        _column_entries.resize(_row_entries.size());
        _next.assign(_column_starts.begin(), _column_starts.end());
        for (size_t r = 0; r + 1 < _row_starts.size(); r++)
            for (int64_t e = _row_starts[r]; e < _row_starts[r + 1]; e++)
                _column_entries[_next[_row_entries[e].at - _dense]++] = { (int32_t)r, _row_entries[e].weight };
        _columns_ready = true;
    }

    template <class U> void deltas(const Kernels<U>& k, Pass<U>& pass, const U* p, const double* upstream) {
        const size_t last = _layers.size() - 1;
        for (size_t l = 0; l <= last; l++) {
            pass.delta[l].need(_n * _layers[l].out);
            if (_layers[l].gain >= 0)
                pass.above[l].need(_n * _layers[l].out);
            if (l > 0)
                transpose(p + _layers[l].matrix, _layers[l].in, _layers[l].out, pass.transposed[l].need(_layers[l].in * _layers[l].out));
        }
        _pool.run(_n, RowGrain, [&](int64_t first, int64_t end) {
            for (int64_t from = first; from < end; from += RowGrain) {
                const int64_t n = std::min(from + RowGrain, end) - from;
                for (size_t l = last + 1; l-- > 0;) {
                    const Layer& layer = _layers[l];
                    U* delta = pass.delta[l].get() + from * layer.out;
                    if (l == last)
                        for (int64_t i = 0; i < n; i++)
                            k.from_double(upstream + _places[from + i] * layer.out, delta + i * layer.out, layer.out);
                    else {
                        const Layer& upper = _layers[l + 1];
                        std::memset(delta, 0, sizeof(U) * n * layer.out);
                        k.multiply(pass.delta[l + 1].get() + from * upper.out, upper.out, 1, pass.transposed[l + 1].get(), upper.in, delta, layer.out, n, layer.out, upper.out);
                        if (drops(l)) {
                            const uint64_t key = mix(mix(_seed + Golden * _evaluation) + Golden * (uint64_t)(l + 1));
                            for (int64_t i = 0; i < n; i++)
                                for (int64_t j = 0; j < layer.out; j++)
                                    delta[i * layer.out + j] *= mask(key, (uint64_t)_places[from + i] * layer.out + j);
                        }
                    }
                    const U* y = pass.y[l].get() + from * layer.out;
                    U* through = layer.gain >= 0 ? pass.above[l].get() + from * layer.out : delta;
                    (_activation == 0 ? k.tanh_backward : k.relu_backward)(delta, y, through, n * layer.out);
                    if (layer.gain >= 0)
                        k.norm_backward(through, p + layer.gain, pass.normal[l].get() + from * layer.out, pass.deviation[l].get() + from, delta, n, layer.out);
                }
            }
        });
    }

    // Gradient of one layer's parameters; of the sparse part only where asked for, since a step finds it itself.
    template <class U> void products(const Kernels<U>& k, const Pass<U>& pass, size_t l, const U* delta, const U* above, U* gradient, bool with_sparse) {
        const Layer& layer = _layers[l];
        const int64_t in = l == 0 ? _dense : layer.in;
        const U* x = l == 0 ? pass.dense.get() : input(pass, l);
        _pool.run(in, ColumnGrain, [&](int64_t from, int64_t to) {
            U* g = gradient + layer.matrix + from * layer.out;
            std::memset(g, 0, sizeof(U) * (to - from) * layer.out);
            k.multiply(x + from, 1, in, delta, layer.out, g, layer.out, to - from, layer.out, _n);
        });
        if (l == 0 && with_sparse)
            sparse_gradient(k, delta, gradient);
        std::memset(gradient + layer.bias, 0, sizeof(U) * layer.out);
        k.column_sums(delta, _n, layer.out, gradient + layer.bias);
        if (layer.gain >= 0) {
            std::memset(gradient + layer.gain, 0, sizeof(U) * 2 * layer.out);
            k.column_products(above, pass.normal[l].get(), _n, layer.out, gradient + layer.gain);
            k.column_sums(above, _n, layer.out, gradient + layer.shift);
        }
    }

    template <class U> void sparse_gradient(const Kernels<U>& k, const U* delta, U* gradient) {
        const int64_t out = _layers[0].out;
        _pool.run(_inputs - _dense, 8, [&](int64_t from, int64_t to) {
            std::vector<Entry<U>> wide;
            for (int64_t c = from; c < to; c++) {
                U* g = gradient + (_dense + c) * out;
                std::memset(g, 0, sizeof(U) * out);
                wide.clear();
                for (int64_t e = _column_starts[c]; e < _column_starts[c + 1]; e++)
                    wide.push_back({ _column_entries[e].at, (U)_column_entries[e].weight });
                k.gather(wide.data(), (int64_t)wide.size(), delta, out, g);
            }
        });
    }

    // Completes the gradient that a step would find by itself.
    void materialise() {
        require(_pending || _materialised, "Backward comes before its gradient is used.");
        if (!_pending)
            return;
        if (_inputs > _dense)
            sparse_gradient(_k, _kept.delta[0].get(), _gradient.get());
        _pending = false;
        _materialised = true;
    }

    // A gradient that no step has used survives the next training evaluation.
    void settle() {
        if (_pending && !_used)
            materialise();
        else if (_pending) {
            _pending = false;
            _materialised = false;
        }
    }

    // The evaluation in float64: the numbers that the tower computed with, exactly.
    void widen() {
        _k.to_double(_parameters.get(), _wide.need(_count), _count);
        _k.to_double(_kept.dense.get(), _rows_pass.dense.need(_n * _dense), _n * _dense);
        for (size_t l = 0; l < _layers.size(); l++) {
            const int64_t size = _n * _layers[l].out;
            _k.to_double(_kept.y[l].get(), _rows_pass.y[l].need(size), size);
            if (drops(l))
                _k.to_double(_kept.h[l].get(), _rows_pass.h[l].need(size), size);
            if (_layers[l].gain >= 0) {
                _k.to_double(_kept.normal[l].get(), _rows_pass.normal[l].need(size), size);
                _k.to_double(_kept.deviation[l].get(), _rows_pass.deviation[l].need(_n), _n);
            }
        }
        if (_squares_ready)
            return;
        _squares.assign(_n, 0);
        std::vector<Entry<T>> row;
        for (int64_t i = 0; i < _n; i++) {
            double sum = squares(_rows_pass.dense.get() + i * _dense, _dense);
            row.assign(_row_entries.begin() + _row_starts[i], _row_entries.begin() + _row_starts[i + 1]);
            std::stable_sort(row.begin(), row.end(), [](const Entry<T>& a, const Entry<T>& b) { return a.at < b.at; });
            for (size_t e = 0; e < row.size();) {
                double weight = 0;
                const int32_t at = row[e].at;
                for (; e < row.size() && row[e].at == at; e++)
                    weight += row[e].weight;
                sum += weight * weight;
            }
            _squares[i] = sum;
        }
        _squares_ready = true;
    }

    const Kernels<T>& _k;
    const Kernels<double>& _kd;
    const int _activation;
    const bool _norm;
    const int64_t _dense, _inputs;
    const double _dropout;
    const uint64_t _seed;
    uint64_t _evaluation = 0;
    std::vector<Layer> _layers;
    int64_t _count = 0, _n = 0, _total = 0, _steps = 0;
    StepConstants _constants{};
    Buffer<T> _parameters, _first, _second, _gradient, _outside;
    Buffer<double> _wide, _scaled, _scaled_above;
    std::vector<char> _touched; // rows of the first matrix that a gradient has reached
    Pass<T> _kept, _evaluated;
    Pass<double> _rows_pass;
    std::vector<int32_t> _present, _places, _evaluated_present, _evaluated_places, _same;
    uint64_t _serial = 0;
    std::vector<int64_t> _row_starts, _column_starts, _next;
    std::vector<Entry<T>> _row_entries, _column_entries;
    std::vector<double> _squares;
    bool _has_rows = false, _columns_ready = false, _squares_ready = false, _rows_ready = false, _pending = false, _used = false, _materialised = false;
    Pool _pool;
};

}

std::unique_ptr<fl_tower> make_tower(const fl_spec& spec, const double* parameters, int64_t count) {
    if (spec.precision == 0)
        return std::make_unique<Tower<float>>(spec, parameters, count);
    return std::make_unique<Tower<double>>(spec, parameters, count);
}

}
