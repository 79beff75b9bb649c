#include "tower.h"
#include <algorithm>
#include <atomic>

namespace fl {
namespace {

template <class T>
void fill(fl_rows& rows, const double* dense, int bags, const int32_t* buckets, const int32_t* means, const int32_t* const* offsets, const int32_t* const* ids, const double* const* weights) {
    Sparse<T>& sparse = rows.sparse<T>();
    sparse.dense.assign(dense, dense + (int64_t)rows.rows * rows.dense_width);
    if (rows.for_module) {
        for (int b = 0; b < bags; b++) {
            Bag<T> bag;
            const int32_t count = offsets[b][rows.rows];
            for (int32_t e = 0; e < count; e++)
                require(ids[b][e] >= 0 && ids[b][e] < buckets[b], "An id is outside its buckets.");
            bag.offsets.assign(offsets[b], offsets[b] + rows.rows + 1);
            bag.ids.assign(ids[b], ids[b] + count);
            if (weights[b] == nullptr)
                bag.weights.assign(count, (T)1);
            else
                bag.weights.assign(weights[b], weights[b] + count);
            rows.bags<T>().push_back(std::move(bag));
        }
        return;
    }
    int64_t total = 0;
    for (int b = 0; b < bags; b++)
        total += offsets[b][rows.rows];
    sparse.starts.reserve(rows.rows + 1);
    sparse.entries.reserve(total);
    for (int r = 0; r < rows.rows; r++) {
        sparse.starts.push_back((int64_t)sparse.entries.size());
        int32_t first = rows.dense_width;
        for (int b = 0; b < bags; b++) {
            const int32_t from = offsets[b][r], to = offsets[b][r + 1];
            for (int32_t e = from; e < to; e++) {
                require(ids[b][e] >= 0 && ids[b][e] < buckets[b], "An id is outside its buckets.");
                const double weight = weights[b] == nullptr ? 1 : weights[b][e];
                sparse.entries.push_back({ first + ids[b][e], (T)(means[b] ? weight / (to - from) : weight) });
            }
            first += buckets[b];
        }
    }
    sparse.starts.push_back((int64_t)sparse.entries.size());
}

}

fl_rows* make_rows(int precision, bool for_module, int count, int dense_width, const double* dense, int bags, const int32_t* buckets, const int32_t* means, const int32_t* const* offsets,
    const int32_t* const* ids, const double* const* weights) {
    static std::atomic<uint64_t> serial{0};
    require(count >= 0 && dense_width >= 0 && bags >= 0, "A number of rows is negative.");
    auto rows = std::make_unique<fl_rows>();
    rows->precision = precision;
    rows->for_module = for_module;
    rows->rows = count;
    rows->dense_width = dense_width;
    rows->serial = ++serial;
    if (precision == 0)
        fill<float>(*rows, dense, bags, buckets, means, offsets, ids, weights);
    else
        fill<double>(*rows, dense, bags, buckets, means, offsets, ids, weights);
    return rows.release();
}

}
