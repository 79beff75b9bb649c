#include "kernels.h"
#include <cstdlib>
#include <cstring>

namespace fl {

#define FL_DECLARE(SET) namespace SET { extern const Kernels<float> floats; extern const Kernels<double> doubles; }
FL_DECLARE(base)
#ifdef FL_X86
FL_DECLARE(avx2)
FL_DECLARE(avx512)
#endif

namespace {

// FEDLEARN_INSTRUCTIONS=base or avx2 keeps the kernels from using more than that: for tests, and to compare machines.
int level() {
#ifdef FL_X86
    const char* wanted = std::getenv("FEDLEARN_INSTRUCTIONS");
    const int most = wanted == nullptr ? 2 : std::strcmp(wanted, "base") == 0 ? 0 : std::strcmp(wanted, "avx2") == 0 ? 1 : 2;
    __builtin_cpu_init();
    if (most >= 2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl")
        && __builtin_cpu_supports("fma"))
        return 2;
    if (most >= 1 && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        return 1;
#endif
    return 0;
}

template <class T> const Kernels<T>& choose(const Kernels<T>& plain
#ifdef FL_X86
    , const Kernels<T>& wide, const Kernels<T>& widest
#endif
) {
#ifdef FL_X86
    switch (level()) {
    case 2: return widest;
    case 1: return wide;
    }
#endif
    return plain;
}

}

#ifdef FL_X86
template <> const Kernels<float>& kernels<float>() { static const Kernels<float>& set = choose(base::floats, avx2::floats, avx512::floats); return set; }
template <> const Kernels<double>& kernels<double>() { static const Kernels<double>& set = choose(base::doubles, avx2::doubles, avx512::doubles); return set; }
#else
template <> const Kernels<float>& kernels<float>() { return choose(base::floats); }
template <> const Kernels<double>& kernels<double>() { return choose(base::doubles); }
#endif

}
