// A user's TorchScript module as a tower, trained by autograd and our optimisers.
#include "tower.h"
#include <torch/script.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/jit.h>
#include <ATen/Parallel.h>
#include <cmath>
#include <cstring>
#include <mutex>
#include <set>
#include <sstream>
#if !defined(_WIN32)
#include <dlfcn.h>
#endif

namespace fl {
namespace {

constexpr uint64_t Golden = 0x9E3779B97F4A7C15u;

uint64_t mix(uint64_t z) {
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

std::string text_of(const std::exception& e) {
    const c10::Error* known = dynamic_cast<const c10::Error*>(&e);
    std::string text = known != nullptr ? known->what_without_backtrace() : e.what();
    for (char& c : text)
        if (c == '\n' || c == '\r' || c == '\t')
            c = ' ';
    // What failed stands at the end, behind the places that led there.
    constexpr size_t Most = 1000;
    return text.size() > Most ? "..." + text.substr(text.size() - Most) : text;
}

// libtorch's own threads are OpenMP's of the calling thread; those of OpenBLAS are set for the process.
void use_threads(int threads) {
    if (at::get_num_threads() != threads)
        at::set_num_threads(threads);
#if !defined(_WIN32)
    static void (*const blas)(int) = [] {
        void* library = dlopen("libopenblas.so.0", RTLD_LAZY | RTLD_NOLOAD);
        return reinterpret_cast<void (*)(int)>(library == nullptr ? nullptr : dlsym(library, "openblas_set_num_threads"));
    }();
    if (blas != nullptr)
        blas(threads);
#endif
}

// torch's random numbers are one state in a process: it is set for one evaluation and put back.
class RandomState {
public:
    explicit RandomState(uint64_t seed) : _lock(_mutex), _generator(at::detail::getDefaultCPUGenerator()) {
        std::lock_guard<std::mutex> inner(_generator.mutex());
        _before = _generator.get_state();
        _generator.set_current_seed(seed);
    }
    ~RandomState() {
        std::lock_guard<std::mutex> inner(_generator.mutex());
        _generator.set_state(_before);
    }

private:
    static std::mutex _mutex;
    std::lock_guard<std::mutex> _lock;
    at::Generator _generator;
    at::Tensor _before;
};

std::mutex RandomState::_mutex;

// Splits text into its methods and the function start.
void split(const std::string& text, std::string& methods, std::string& start) {
    std::istringstream lines(text);
    std::string line, block;
    auto flush = [&] {
        if (block.rfind("def start(", 0) == 0)
            start += block;
        else
            methods += block;
        block.clear();
    };
    while (std::getline(lines, line)) {
        if (!line.empty() && line.back() == '\r')
            line.pop_back();
        if (line.rfind("def ", 0) == 0)
            flush();
        block += line + "\n";
    }
    flush();
}

torch::jit::Module compile(const std::string& text, uint64_t seed) {
    std::string methods, start;
    split(text, methods, start);
    if (start.empty())
        throw Error(FL_UNREADABLE, "The text has no function 'def start() -> Dict[str, Tensor]' that gives the parameters.");
    torch::jit::Module module("FedLearnTower");
    module.register_attribute("training", c10::BoolType::get(), true);
    {
        RandomState random(mix(seed + Golden));
        auto unit = torch::jit::compile(start);
        c10::IValue values = unit->get_function("start")({});
        if (!values.isGenericDict())
            throw Error(FL_UNREADABLE, "The function start does not give Dict[str, Tensor].");
        for (const auto& item : values.toGenericDict()) {
            const at::Tensor value = item.value().toTensor().detach().clone();
            if (!value.is_floating_point())
                throw Error(FL_UNREADABLE, "The function start gives a parameter that is no floating-point tensor.");
            module.register_parameter(item.key().toStringRef(), value.set_requires_grad(true), false);
        }
    }
    module.define(methods);
    return module;
}

template <class T> class ModuleTower final : public fl_tower {
public:
    ModuleTower(const fl_spec& spec, const int32_t* buckets, const std::string& bytes, bool is_source)
        : _k(kernels<T>()), _type(c10::CppTypeToScalarType<T>::value), _dense(spec.dense_width), _width(spec.layers[spec.layer_count - 1]), _buckets(buckets, buckets + spec.bag_count),
          _seed((uint64_t)spec.seed), _threads(spec.threads) {
        _constants = { spec.optimizer, spec.rate, spec.weight_decay, 1, 1 };
        use_threads(_threads);
        try {
            if (is_source)
                _module = compile(bytes, _seed);
            else {
                std::istringstream stream(bytes);
                _module = torch::jit::load(stream, c10::Device(c10::kCPU));
            }
        } catch (const Error&) {
            throw;
        } catch (const std::exception& e) {
            throw Error(FL_UNREADABLE, "TorchScript does not take it: " + text_of(e));
        }
        collect();
        probe();
    }

    int64_t parameter_count() const override { return _count; }

    void forward(fl_rows& rows, const int32_t* index, int count, double* output, bool training) override {
        require(rows.for_module && rows.precision == (sizeof(T) == 8) && rows.dense_width == _dense && rows.bags<T>().size() == _buckets.size(), "The rows are not of this tower's inputs.");
        use_threads(_threads);
        std::vector<int32_t> present, places;
        for (int i = 0; i < count; i++) {
            require(index[i] >= -1 && index[i] < rows.rows, "A row is outside the rows.");
            if (index[i] >= 0) {
                present.push_back(index[i]);
                places.push_back(i);
            }
        }
        if (training) {
            _evaluation++;
            // A copy: the rows may be gone when gradients of single ones are asked for. And no tensors, which a module may write into.
            _batch = taken(rows, present);
            _output = at::Tensor();
            _has_rows = _rows_ready = false;
        }
        std::fill(output, output + (int64_t)count * _width, 0.0);
        if (!present.empty()) {
            at::Tensor y = guarded([&] {
                if (training) {
                    RandomState random(mix(_seed + Golden * _evaluation));
                    at::AutoGradMode on(true);
                    _output = evaluate(_module, inputs(rows, present), true, (int64_t)present.size());
                    return _output.detach();
                }
                at::NoGradGuard off;
                return evaluate(_module, inputs(rows, present), false, (int64_t)present.size());
            });
            y = y.to(at::kDouble).contiguous();
            const double* from = y.template data_ptr<double>();
            for (size_t i = 0; i < places.size(); i++)
                std::copy(from + i * _width, from + (i + 1) * _width, output + (int64_t)places[i] * _width);
        }
        if (training) {
            _places = places;
            _total = count;
            _has_rows = true;
        }
    }

    void backward(const double* upstream, int64_t count) override {
        require(_has_rows, "A training evaluation comes before its gradients.");
        require(count == _total * _width, "The gradient is not of the size of the last training evaluation's output.");
        use_threads(_threads);
        _gradient.assign(_count, 0);
        if (!_places.empty()) {
            at::Tensor up = at::empty({ (int64_t)_places.size(), _width }, at::kDouble);
            for (size_t i = 0; i < _places.size(); i++)
                std::copy(upstream + (int64_t)_places[i] * _width, upstream + (int64_t)(_places[i] + 1) * _width, up.template data_ptr<double>() + i * _width);
            guarded([&] { return write(gradients(_output, up.to(_type), true), _gradient.data()); });
        }
        _has_gradient = true;
    }

    void gradient(double* destination) override {
        require(_has_gradient, "Backward comes before its gradient is used.");
        _k.to_double(_gradient.data(), destination, _count);
    }

    void row_norms(const double* upstream, int64_t count, double* norms, int rows) override {
        require(_has_rows, "A training evaluation comes before its gradients.");
        require(count == _total * _width && rows == _total, "The gradient is not of the size of the last training evaluation's output.");
        use_threads(_threads);
        std::fill(norms, norms + rows, 0.0);
        _upstream.assign(upstream, upstream + count);
        std::vector<T> row(_count);
        for (size_t i = 0; i < _places.size(); i++) {
            row_gradient(i, row.data());
            double sum = 0;
            for (const T g : row)
                sum += (double)g * g;
            norms[_places[i]] = sum;
        }
        _rows_ready = true;
    }

    void weighted_rows(const double* weights, int rows, double* sum) override {
        require(_rows_ready, "Norms of the rows come before their weighted sum.");
        require(rows == _total, "There is not one factor a row.");
        use_threads(_threads);
        std::fill(sum, sum + _count, 0.0);
        std::vector<T> row(_count);
        for (size_t i = 0; i < _places.size(); i++) {
            row_gradient(i, row.data());
            const double weight = weights[_places[i]];
            for (int64_t j = 0; j < _count; j++)
                sum[j] += weight * row[j];
        }
    }

    void step(const double* gradient) override {
        if (gradient == nullptr)
            require(_has_gradient, "Backward comes before its gradient is used.");
        if (_constants.kind == 1) {
            _steps++;
            _constants.correction1 = 1 - std::pow(0.9, (double)_steps);
            _constants.correction2 = 1 - std::pow(0.999, (double)_steps);
        }
        const std::vector<T> outside = gradient == nullptr ? std::vector<T>() : std::vector<T>(gradient, gradient + _count);
        const T* g = gradient == nullptr ? _gradient.data() : outside.data();
        int64_t at = 0;
        for (at::Tensor& parameter : _parameters) {
            _k.step(_constants, parameter.template data_ptr<T>(), _first.data() + at, _second.data() + at, g + at, parameter.numel());
            at += parameter.numel();
        }
    }

    void get_parameters(double* destination) const override {
        for (const at::Tensor& parameter : _parameters) {
            _k.to_double(parameter.template data_ptr<T>(), destination, parameter.numel());
            destination += parameter.numel();
        }
    }

    void set_parameters(const double* source) override {
        for (at::Tensor& parameter : _parameters) {
            _k.from_double(source, parameter.template data_ptr<T>(), parameter.numel());
            source += parameter.numel();
        }
    }

    std::string save() override {
        _module.eval();
        std::ostringstream stream;
        _module.save(stream);
        return stream.str();
    }

    std::string save_training() override {
        StateWriter state;
        state.head(_count, sizeof(T), _seed, _steps, _evaluation);
        state.raw(_first.data(), sizeof(T) * _count);
        state.raw(_second.data(), sizeof(T) * _count);
        for (const auto& attribute : _module.named_attributes()) {
            const c10::IValue& value = attribute.value;
            if (value.isTensor()) {
                const at::Tensor t = value.toTensor().detach().contiguous();
                state.number<int64_t>((int64_t)t.nbytes());
                state.raw(t.data_ptr(), t.nbytes());
            } else if (value.isInt())
                state.number<int64_t>(value.toInt());
            else if (value.isDouble())
                state.number<double>(value.toDouble());
            else if (value.isBool())
                state.number<char>(value.toBool());
        }
        return state.take();
    }

    void restore_training(const char* bytes, int64_t length) override {
        // Twice: nothing is changed unless all of it fits.
        restore(bytes, length, false);
        restore(bytes, length, true);
    }

    std::string faults() override {
        use_threads(_threads);
        constexpr int Rows = 16;
        std::string found;
        torch::jit::Module copy = _module.deepcopy();
        fl_rows rows = random_rows(Rows, 0x5eed);
        std::vector<int32_t> all;
        for (int i = 0; i < Rows; i++)
            all.push_back(i);
        at::NoGradGuard off;
        std::vector<std::pair<std::string, c10::IValue>> before;
        for (const auto& attribute : copy.named_attributes())
            before.emplace_back(attribute.name, attribute.value.isTensor() ? c10::IValue(attribute.value.toTensor().clone()) : attribute.value);
        at::Tensor batch, again, reversed;
        try {
            batch = seeded(copy, rows, all);
            size_t i = 0;
            for (const auto& attribute : copy.named_attributes()) {
                const auto& [name, value] = before[i++];
                if (changed(value, attribute.value) && name != "training" && (name.size() < 9 || name.substr(name.size() - 9) != ".training"))
                    found += "Evaluating the module in training mode changes its buffer " + name + ", so that rows leave traces outside the parameters' clipped gradients.\n";
            }
            std::vector<int32_t> other(all.rbegin(), all.rend());
            reversed = seeded(copy, rows, other).flip({ 0 });
        } catch (const std::exception& e) {
            return found + "The module fails on public rows in training mode: " + text_of(e) + "\n";
        }
        int differ = 0;
        bool fails = false;
        for (int i = 0; i < Rows; i++) {
            try {
                const at::Tensor alone = seeded(copy, rows, { i })[0];
                if (differs(alone, batch[i]) || differs(reversed[i], batch[i]))
                    differ++;
            } catch (const std::exception&) {
                fails = true;
            }
        }
        if (fails)
            found += "The module fails on a single row in training mode, though not on a batch.\n";
        if (differ > 0)
            found += "In training mode " + std::to_string(differ) + " of " + std::to_string(Rows) + " public rows give another vector alone than inside a batch, by more than 1e-5 relative, from the same "
                "state of the random numbers: the module mixes rows, such as by batch normalisation, or draws random numbers, such as for dropout.\n";
        return found;
    }

private:
    template <class F> auto guarded(F body) -> decltype(body()) {
        try {
            return body();
        } catch (const std::bad_alloc&) {
            throw;
        } catch (const Error&) {
            throw;
        } catch (const std::exception&) {
            throw Error(FL_MODULE_FAILED, "The module failed.");
        }
    }

    void restore(const char* bytes, int64_t length, bool for_real) {
        at::NoGradGuard off;
        StateReader state(bytes, length);
        state.expect<int64_t>(_count);
        state.expect<int32_t>((int32_t)sizeof(T));
        state.expect<uint64_t>(_seed);
        const int64_t steps = state.number<int64_t>();
        const uint64_t evaluation = state.number<uint64_t>();
        const char* first = state.skip((int64_t)sizeof(T) * _count);
        const char* second = state.skip((int64_t)sizeof(T) * _count);
        std::vector<std::pair<std::string, c10::IValue>> plain;
        for (const auto& attribute : _module.named_attributes()) {
            const c10::IValue& value = attribute.value;
            if (value.isTensor()) {
                at::Tensor t = value.toTensor();
                state.expect<int64_t>((int64_t)t.nbytes());
                const char* from = state.skip((int64_t)t.nbytes());
                if (for_real && t.nbytes() > 0) {
                    at::Tensor kept = at::empty_like(t, at::MemoryFormat::Contiguous);
                    std::memcpy(kept.data_ptr(), from, t.nbytes());
                    t.copy_(kept);
                }
            } else if (value.isInt())
                plain.emplace_back(attribute.name, state.number<int64_t>());
            else if (value.isDouble())
                plain.emplace_back(attribute.name, state.number<double>());
            else if (value.isBool())
                plain.emplace_back(attribute.name, state.number<char>() != 0);
        }
        state.end();
        if (!for_real)
            return;
        for (const auto& [name, value] : plain) {
            torch::jit::Module owner = _module;
            size_t from = 0;
            for (size_t dot = name.find('.'); dot != std::string::npos; from = dot + 1, dot = name.find('.', from))
                owner = owner.attr(name.substr(from, dot - from)).toModule();
            owner.setattr(name.substr(from), value);
        }
        std::memcpy(_first.data(), first, sizeof(T) * _count);
        std::memcpy(_second.data(), second, sizeof(T) * _count);
        _steps = steps;
        _evaluation = evaluation;
        _batch = fl_rows();
        _output = at::Tensor();
        _has_rows = _rows_ready = _has_gradient = false;
    }

    void collect() {
        at::NoGradGuard off;
        std::set<const void*> seen;
        auto narrow = [&](at::Tensor t) {
            if (t.is_floating_point() && (t.scalar_type() != _type || !t.is_contiguous()))
                t.set_data(t.to(_type).contiguous());
        };
        for (const auto& buffer : _module.named_buffers())
            narrow(buffer.value);
        for (const auto& parameter : _module.named_parameters()) {
            narrow(parameter.value);
            if (parameter.value.requires_grad() && parameter.value.is_floating_point() && seen.insert(parameter.value.unsafeGetTensorImpl()).second) {
                _parameters.push_back(parameter.value);
                _count += parameter.value.numel();
            }
        }
        if (_count == 0)
            throw Error(FL_DOES_NOT_FIT, "The module has no parameter that requires gradients.");
        if (_count > INT32_MAX)
            throw Error(FL_DOES_NOT_FIT, "The module has more parameters than an array holds.");
        _first.assign(_count, 0);
        _second.assign(_count, 0);
        _gradient.assign(_count, 0);
    }

    void probe() {
        constexpr int Rows = 3;
        fl_rows rows = random_rows(Rows, 1);
        at::NoGradGuard off;
        at::Tensor y;
        try {
            y = run(_module, inputs(rows, { 0, 1, 2 }), false);
        } catch (const std::exception& e) {
            throw Error(FL_DOES_NOT_FIT, "Its forward fails on made-up rows of these inputs, " + std::to_string(_dense) + " columns and " + std::to_string(_buckets.size()) + " bags: " + text_of(e));
        }
        if (!fits(y, Rows)) {
            std::ostringstream shape;
            shape << "For " << Rows << " rows its forward gives a tensor of shape " << y.sizes() << " and type " << y.scalar_type() << ", not [" << Rows << ", " << _width << "] of " << _type << ".";
            throw Error(FL_DOES_NOT_FIT, shape.str());
        }
    }

    bool fits(const at::Tensor& y, int64_t n) const { return y.dim() == 2 && y.size(0) == n && y.size(1) == _width && y.scalar_type() == _type; }

    static at::Tensor run(torch::jit::Module& module, const std::vector<c10::IValue>& inputs, bool training) {
        module.train(training);
        c10::IValue result = module.forward(inputs);
        if (!result.isTensor())
            throw std::runtime_error("forward does not give one tensor.");
        return result.toTensor();
    }

    at::Tensor evaluate(torch::jit::Module& module, const std::vector<c10::IValue>& inputs, bool training, int64_t n) {
        at::Tensor y = run(module, inputs, training);
        if (!fits(y, n))
            throw std::runtime_error("forward gives another shape.");
        return y;
    }

    // Some rows by themselves.
    fl_rows taken(fl_rows& rows, const std::vector<int32_t>& present) {
        fl_rows result;
        std::vector<T>& dense = result.sparse<T>().dense;
        dense.reserve(present.size() * _dense);
        const T* from = rows.sparse<T>().dense.data();
        for (const int32_t r : present)
            dense.insert(dense.end(), from + (int64_t)r * _dense, from + (int64_t)(r + 1) * _dense);
        for (const Bag<T>& bag : rows.bags<T>()) {
            Bag<T> own;
            own.offsets.push_back(0);
            for (const int32_t r : present) {
                own.ids.insert(own.ids.end(), bag.ids.begin() + bag.offsets[r], bag.ids.begin() + bag.offsets[r + 1]);
                own.weights.insert(own.weights.end(), bag.weights.begin() + bag.offsets[r], bag.weights.begin() + bag.offsets[r + 1]);
                own.offsets.push_back((int32_t)own.ids.size());
            }
            result.bags<T>().push_back(std::move(own));
        }
        return result;
    }

    std::vector<c10::IValue> inputs(fl_rows& rows, const std::vector<int32_t>& present) {
        const int64_t n = (int64_t)present.size();
        std::vector<c10::IValue> result;
        if (_dense > 0) {
            at::Tensor x = at::empty({ n, _dense }, _type);
            const T* from = rows.sparse<T>().dense.data();
            for (int64_t i = 0; i < n; i++)
                std::copy(from + (int64_t)present[i] * _dense, from + (int64_t)(present[i] + 1) * _dense, x.template data_ptr<T>() + i * _dense);
            result.emplace_back(x);
        }
        for (const Bag<T>& bag : rows.bags<T>()) {
            std::vector<int64_t> ids, offsets;
            std::vector<T> weights;
            for (const int32_t r : present) {
                offsets.push_back((int64_t)ids.size());
                ids.insert(ids.end(), bag.ids.begin() + bag.offsets[r], bag.ids.begin() + bag.offsets[r + 1]);
                weights.insert(weights.end(), bag.weights.begin() + bag.offsets[r], bag.weights.begin() + bag.offsets[r + 1]);
            }
            result.emplace_back(at::tensor(ids, at::kLong));
            result.emplace_back(at::tensor(offsets, at::kLong));
            at::Tensor w = at::empty({ (int64_t)weights.size() }, _type);
            std::copy(weights.begin(), weights.end(), w.template data_ptr<T>());
            result.emplace_back(w);
        }
        return result;
    }

    std::vector<at::Tensor> gradients(const at::Tensor& y, const at::Tensor& upstream, bool keep) {
        at::AutoGradMode on(true);
        if (!y.requires_grad()) // no parameter reaches the output
            return std::vector<at::Tensor>(_parameters.size());
        return torch::autograd::grad({ y }, _parameters, { upstream }, keep, false, true);
    }

    bool write(const std::vector<at::Tensor>& gradients, T* to) const {
        for (size_t i = 0; i < gradients.size(); i++) {
            const int64_t n = _parameters[i].numel();
            if (gradients[i].defined()) {
                const at::Tensor g = gradients[i].to_dense().to(_type).contiguous();
                std::copy(g.template data_ptr<T>(), g.template data_ptr<T>() + n, to);
            } else
                std::fill(to, to + n, (T)0);
            to += n;
        }
        return true;
    }

    void row_gradient(size_t i, T* to) {
        guarded([&] {
            RandomState random(mix(mix(_seed + Golden * _evaluation) + Golden * (i + 1)));
            at::AutoGradMode on(true);
            const at::Tensor y = evaluate(_module, inputs(_batch, { (int32_t)i }), true, 1);
            at::Tensor up = at::empty({ 1, _width }, at::kDouble);
            std::copy(_upstream.begin() + (int64_t)_places[i] * _width, _upstream.begin() + (int64_t)(_places[i] + 1) * _width, up.template data_ptr<double>());
            return write(gradients(y, up.to(_type), false), to);
        });
    }

    // Made-up rows, the same for every module: dense numbers within +-1, up to five ids a bag.
    fl_rows random_rows(int count, uint64_t seed) {
        uint64_t at = seed;
        auto next = [&] { return mix(at += Golden); };
        auto number = [&] { return (double)(next() >> 11) / 4503599627370496.0 - 1; };
        fl_rows rows;
        rows.rows = count;
        rows.dense_width = (int)_dense;
        for (int64_t i = 0; i < count * _dense; i++)
            rows.sparse<T>().dense.push_back((T)number());
        for (const int32_t buckets : _buckets) {
            Bag<T> bag;
            bag.offsets.push_back(0);
            for (int r = 0; r < count; r++) {
                for (uint64_t e = next() % 6; e > 0; e--) {
                    bag.ids.push_back((int32_t)(next() % (uint64_t)buckets));
                    bag.weights.push_back((T)number());
                }
                bag.offsets.push_back((int32_t)bag.ids.size());
            }
            rows.bags<T>().push_back(std::move(bag));
        }
        return rows;
    }

    at::Tensor seeded(torch::jit::Module& module, fl_rows& rows, const std::vector<int32_t>& present) {
        RandomState random(1);
        return evaluate(module, inputs(rows, present), true, (int64_t)present.size()).detach().to(at::kDouble).clone();
    }

    static bool differs(const at::Tensor& a, const at::Tensor& b) {
        const double scale = b.abs().max().item<double>(), difference = (a - b).abs().max().item<double>();
        return !(difference <= 1e-5 * scale);
    }

    static bool changed(const c10::IValue& a, const c10::IValue& b) {
        if (a.isTensor() && b.isTensor())
            return !at::equal(a.toTensor(), b.toTensor());
        if (a.isInt() && b.isInt())
            return a.toInt() != b.toInt();
        if (a.isDouble() && b.isDouble())
            return a.toDouble() != b.toDouble();
        if (a.isBool() && b.isBool())
            return a.toBool() != b.toBool();
        if (a.isString() && b.isString())
            return a.toStringRef() != b.toStringRef();
        return false;
    }

    const Kernels<T>& _k;
    const c10::ScalarType _type;
    const int64_t _dense, _width;
    const std::vector<int32_t> _buckets;
    const uint64_t _seed;
    const int _threads;
    uint64_t _evaluation = 0;
    StepConstants _constants{};
    torch::jit::Module _module;
    std::vector<at::Tensor> _parameters;
    std::vector<T> _first, _second, _gradient;
    int64_t _count = 0, _total = 0, _steps = 0;
    fl_rows _batch; // the present rows of the last training evaluation
    std::vector<int32_t> _places;
    std::vector<double> _upstream;
    at::Tensor _output;
    bool _has_rows = false, _rows_ready = false, _has_gradient = false;
};

}

std::unique_ptr<fl_tower> make_module(const fl_spec& spec, const int32_t* buckets, const std::string& bytes, bool is_source) {
    if (spec.precision == 0)
        return std::make_unique<ModuleTower<float>>(spec, buckets, bytes, is_source);
    return std::make_unique<ModuleTower<double>>(spec, buckets, bytes, is_source);
}

}
