// Threads of one tower. Work is split by position only, and no sum is split, so results do not depend on their number.
#pragma once
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace fl {

class Pool {
public:
    explicit Pool(int threads) {
        for (int i = 1; i < threads; i++)
            _workers.emplace_back([this, i] { work(i); });
    }

    ~Pool() {
        {
            std::lock_guard<std::mutex> lock(_mutex);
            _stop = true;
            _round.fetch_add(1, std::memory_order_release);
        }
        _wake.notify_all();
        for (std::thread& worker : _workers)
            worker.join();
    }

    int threads() const { return (int)_workers.size() + 1; }

    // Calls body(from, to) for parts of 0 to count - 1 whose lengths are multiples of grain.
    void run(int64_t count, int64_t grain, const std::function<void(int64_t, int64_t)>& body) {
        const int64_t grains = (count + grain - 1) / grain;
        if (_workers.empty() || grains < 2) {
            if (count > 0)
                body(0, count);
            return;
        }
        {
            std::lock_guard<std::mutex> lock(_mutex);
            _body = &body;
            _count = count;
            _grain = grain;
            _grains = grains;
            _failure = nullptr;
            _left.store((int)_workers.size(), std::memory_order_relaxed);
            _round.fetch_add(1, std::memory_order_release);
        }
        _wake.notify_all();
        part(0);
        for (int spin = 0; _left.load(std::memory_order_acquire) > 0; spin++)
            if (spin > Spins)
                std::this_thread::yield();
        if (_failure)
            std::rethrow_exception(_failure);
    }

private:
    static constexpr int Spins = 2000;

    void part(int i) {
        const int64_t n = threads();
        const int64_t from = _grains * i / n * _grain, end = _grains * (i + 1) / n * _grain;
        const int64_t to = end < _count ? end : _count;
        if (from >= to)
            return;
        try {
            (*_body)(from, to);
        } catch (...) {
            std::lock_guard<std::mutex> lock(_mutex);
            _failure = std::current_exception();
        }
    }

    void work(int i) {
        uint64_t seen = 0;
        for (;;) {
            for (int spin = 0; spin < Spins && _round.load(std::memory_order_acquire) == seen; spin++) {
            }
            {
                std::unique_lock<std::mutex> lock(_mutex);
                _wake.wait(lock, [&] { return _round.load(std::memory_order_relaxed) != seen; });
                seen = _round.load(std::memory_order_relaxed);
                if (_stop)
                    return;
            }
            part(i);
            _left.fetch_sub(1, std::memory_order_release);
        }
    }

    std::vector<std::thread> _workers;
    std::mutex _mutex;
    std::condition_variable _wake;
    std::atomic<uint64_t> _round{0};
    std::atomic<int> _left{0};
    const std::function<void(int64_t, int64_t)>* _body = nullptr;
    int64_t _count = 0, _grain = 1, _grains = 0;
    std::exception_ptr _failure;
    bool _stop = false;
};

}
