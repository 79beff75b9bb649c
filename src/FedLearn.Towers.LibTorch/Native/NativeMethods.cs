using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace FedLearn.Towers.LibTorch.Native;

/// <summary>The C interface of native/fedlearn_towers.h. Every call gives a status and, unless that is 0, a message that <see cref="fl_free"/> frees.</summary>
internal static unsafe partial class NativeMethods
{
    internal const string Library = "fedlearn_towers";
    internal const int AbiVersion = 3;

    /// <summary>A tower without its matrices; laid out as fl_spec.</summary>
    [StructLayout(LayoutKind.Sequential)]
    internal struct Spec
    {
        public int* Layers;
        public int LayerCount;
        public int DenseWidth;
        public int BagCount;
        public int InputWidth;
        public int Activation;
        public int LayerNorm;
        public int Precision;
        public int Optimizer;
        public double Dropout;
        public double Rate;
        public double WeightDecay;
        public long Seed;
        public int Threads;
        public int Reserved;
    }

    [LibraryImport(Library)]
    [UnmanagedCallConv(CallConvs = [typeof(CallConvCdecl)])]
    internal static partial void fl_free(nint memory);

    [LibraryImport(Library)]
    [UnmanagedCallConv(CallConvs = [typeof(CallConvCdecl)])]
    internal static partial int fl_rows_create(int precision, int forModule, int rows, int denseWidth, double* dense, int bags, int* buckets, int* means, int** offsets, int** ids, double** weights, out nint handle, out nint message);

    [LibraryImport(Library)]
    [UnmanagedCallConv(CallConvs = [typeof(CallConvCdecl)])]
    internal static partial void fl_rows_free(nint handle);

    [LibraryImport(Library)]
    [UnmanagedCallConv(CallConvs = [typeof(CallConvCdecl)])]
    internal static partial int fl_tower_create(Spec* spec, double* parameters, long count, out nint handle, out nint message);

    [LibraryImport(Library)]
    [UnmanagedCallConv(CallConvs = [typeof(CallConvCdecl)])]
    internal static partial int fl_module_create(Spec* spec, int* buckets, byte* bytes, long length, int isSource, out nint handle, out nint message);

    [LibraryImport(Library)]
    [UnmanagedCallConv(CallConvs = [typeof(CallConvCdecl)])]
    internal static partial void fl_tower_free(nint handle);

    [LibraryImport(Library)]
    [UnmanagedCallConv(CallConvs = [typeof(CallConvCdecl)])]
    internal static partial int fl_tower_parameter_count(nint tower, out long count, out nint message);

    [LibraryImport(Library)]
    [UnmanagedCallConv(CallConvs = [typeof(CallConvCdecl)])]
    internal static partial int fl_tower_forward(nint tower, nint rows, int* index, int count, double* output, int training, out nint message);

    [LibraryImport(Library)]
    [UnmanagedCallConv(CallConvs = [typeof(CallConvCdecl)])]
    internal static partial int fl_tower_backward(nint tower, double* upstream, long count, out nint message);

    [LibraryImport(Library)]
    [UnmanagedCallConv(CallConvs = [typeof(CallConvCdecl)])]
    internal static partial int fl_tower_gradient(nint tower, double* destination, long count, out nint message);

    [LibraryImport(Library)]
    [UnmanagedCallConv(CallConvs = [typeof(CallConvCdecl)])]
    internal static partial int fl_tower_row_norms(nint tower, double* upstream, long count, double* norms, int rows, out nint message);

    [LibraryImport(Library)]
    [UnmanagedCallConv(CallConvs = [typeof(CallConvCdecl)])]
    internal static partial int fl_tower_weighted_rows(nint tower, double* weights, int rows, double* sum, long count, out nint message);

    [LibraryImport(Library)]
    [UnmanagedCallConv(CallConvs = [typeof(CallConvCdecl)])]
    internal static partial int fl_tower_step(nint tower, double* gradient, long count, out nint message);

    [LibraryImport(Library)]
    [UnmanagedCallConv(CallConvs = [typeof(CallConvCdecl)])]
    internal static partial int fl_tower_get_parameters(nint tower, double* destination, long count, out nint message);

    [LibraryImport(Library)]
    [UnmanagedCallConv(CallConvs = [typeof(CallConvCdecl)])]
    internal static partial int fl_tower_set_parameters(nint tower, double* source, long count, out nint message);

    [LibraryImport(Library)]
    [UnmanagedCallConv(CallConvs = [typeof(CallConvCdecl)])]
    internal static partial int fl_tower_save(nint tower, out nint bytes, out long length, out nint message);

    [LibraryImport(Library)]
    [UnmanagedCallConv(CallConvs = [typeof(CallConvCdecl)])]
    internal static partial int fl_tower_save_training(nint tower, out nint bytes, out long length, out nint message);

    [LibraryImport(Library)]
    [UnmanagedCallConv(CallConvs = [typeof(CallConvCdecl)])]
    internal static partial int fl_tower_restore_training(nint tower, byte* bytes, long length, out nint message);

    [LibraryImport(Library)]
    [UnmanagedCallConv(CallConvs = [typeof(CallConvCdecl)])]
    internal static partial int fl_tower_faults(nint tower, out nint text, out nint message);
}
