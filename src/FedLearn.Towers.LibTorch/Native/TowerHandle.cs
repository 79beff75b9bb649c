using System.Runtime.InteropServices;
using FedLearn.Dssm;

namespace FedLearn.Towers.LibTorch.Native;

/// <summary>A tower in the native library.</summary>
internal sealed unsafe class TowerHandle : SafeHandle
{
    private TowerHandle(TowerPrecision precision, bool isModule) : base(0, ownsHandle: true) => (Precision, IsModule) = (precision, isModule);

    /// <inheritdoc />
    public override bool IsInvalid => handle == 0;

    internal TowerPrecision Precision { get; }

    internal bool IsModule { get; }

    internal int ParameterCount { get; private set; }

    /// <summary>A shipped tower.</summary>
    internal static TowerHandle Create(TowerSpec spec, long seed, double[] parameters, int threads)
    {
        int[] layers = [.. spec.Layers];
        fixed (int* layersAt = layers)
        fixed (double* parametersAt = parameters)
        {
            NativeMethods.Spec native = Native(spec, layersAt, seed, threads);
            NativeStatus.Check(NativeMethods.fl_tower_create(&native, parametersAt, parameters.Length, out nint created, out nint message), message);
            return Own(created, spec, isModule: false);
        }
    }

    /// <summary>A tower of a TorchScript module.</summary>
    internal static TowerHandle CreateModule(TowerSpec spec, long seed, ReadOnlySpan<byte> module, bool isSource, int threads, string place)
    {
        int[] layers = [.. spec.Layers], buckets = [.. spec.Inputs.Bags.Select(bag => bag.Buckets)];
        fixed (int* layersAt = layers, bucketsAt = buckets)
        fixed (byte* bytes = module)
        {
            NativeMethods.Spec native = Native(spec, layersAt, seed, threads);
            NativeStatus.Check(NativeMethods.fl_module_create(&native, bucketsAt, bytes, module.Length, isSource ? 1 : 0, out nint created, out nint message), message, place);
            return Own(created, spec, isModule: true);
        }
    }

    internal void Forward(RowsHandle rows, ReadOnlySpan<int> index, Span<double> output, bool training)
    {
        bool held = false, rowsHeld = false;
        try
        {
            DangerousAddRef(ref held);
            rows.DangerousAddRef(ref rowsHeld);
            fixed (int* indexAt = index)
            fixed (double* outputAt = output)
                NativeStatus.Check(NativeMethods.fl_tower_forward(handle, rows.DangerousGetHandle(), indexAt, index.Length, outputAt, training ? 1 : 0, out nint message), message);
        }
        finally
        {
            if (rowsHeld)
                rows.DangerousRelease();
            if (held)
                DangerousRelease();
        }
    }

    internal void Backward(ReadOnlySpan<double> upstream)
    {
        using Use use = new(this);
        fixed (double* at = upstream)
            NativeStatus.Check(NativeMethods.fl_tower_backward(handle, at, upstream.Length, out nint message), message);
    }

    internal void GetGradient(Span<double> destination)
    {
        using Use use = new(this);
        fixed (double* at = destination)
            NativeStatus.Check(NativeMethods.fl_tower_gradient(handle, at, destination.Length, out nint message), message);
    }

    internal void RowNorms(ReadOnlySpan<double> upstream, Span<double> norms)
    {
        using Use use = new(this);
        fixed (double* upstreamAt = upstream, normsAt = norms)
            NativeStatus.Check(NativeMethods.fl_tower_row_norms(handle, upstreamAt, upstream.Length, normsAt, norms.Length, out nint message), message);
    }

    internal void WeightedRows(ReadOnlySpan<double> weights, Span<double> sum)
    {
        using Use use = new(this);
        fixed (double* weightsAt = weights, sumAt = sum)
            NativeStatus.Check(NativeMethods.fl_tower_weighted_rows(handle, weightsAt, weights.Length, sumAt, sum.Length, out nint message), message);
    }

    internal void Step()
    {
        using Use use = new(this);
        NativeStatus.Check(NativeMethods.fl_tower_step(handle, null, 0, out nint message), message);
    }

    internal void Step(ReadOnlySpan<double> gradient)
    {
        using Use use = new(this);
        fixed (double* at = gradient)
            NativeStatus.Check(NativeMethods.fl_tower_step(handle, at, gradient.Length, out nint message), message);
    }

    internal void GetParameters(Span<double> destination)
    {
        using Use use = new(this);
        fixed (double* at = destination)
            NativeStatus.Check(NativeMethods.fl_tower_get_parameters(handle, at, destination.Length, out nint message), message);
    }

    internal void SetParameters(ReadOnlySpan<double> parameters)
    {
        using Use use = new(this);
        fixed (double* at = parameters)
            NativeStatus.Check(NativeMethods.fl_tower_set_parameters(handle, at, parameters.Length, out nint message), message);
    }

    internal byte[] SaveModule()
    {
        using Use use = new(this);
        NativeStatus.Check(NativeMethods.fl_tower_save(handle, out nint bytes, out long length, out nint message), message);
        return Take(bytes, length);
    }

    internal byte[] SaveTraining()
    {
        using Use use = new(this);
        NativeStatus.Check(NativeMethods.fl_tower_save_training(handle, out nint bytes, out long length, out nint message), message);
        return Take(bytes, length);
    }

    /// <summary>Whether the bytes were those of this tower's training; if not, nothing was changed.</summary>
    internal bool RestoreTraining(ReadOnlySpan<byte> state)
    {
        using Use use = new(this);
        fixed (byte* at = state)
        {
            int status = NativeMethods.fl_tower_restore_training(handle, at, state.Length, out nint message);
            if (status == NativeStatus.DoesNotFit)
            {
                NativeStatus.Take(message);
                return false;
            }

            NativeStatus.Check(status, message);
            return true;
        }
    }

    private static byte[] Take(nint bytes, long length)
    {
        try
        {
            return new ReadOnlySpan<byte>((void*)bytes, checked((int)length)).ToArray();
        }
        finally
        {
            NativeMethods.fl_free(bytes);
        }
    }

    internal string[] Faults()
    {
        using Use use = new(this);
        NativeStatus.Check(NativeMethods.fl_tower_faults(handle, out nint text, out nint message), message);
        return NativeStatus.Take(text)?.Split('\n', StringSplitOptions.RemoveEmptyEntries) ?? [];
    }

    /// <inheritdoc />
    protected override bool ReleaseHandle()
    {
        NativeMethods.fl_tower_free(handle);
        return true;
    }

    private static TowerHandle Own(nint created, TowerSpec spec, bool isModule)
    {
        var tower = new TowerHandle(spec.Precision, isModule);
        tower.SetHandle(created);
        NativeStatus.Check(NativeMethods.fl_tower_parameter_count(created, out long count, out nint message), message);
        tower.ParameterCount = checked((int)count);
        return tower;
    }

    private static NativeMethods.Spec Native(TowerSpec spec, int* layers, long seed, int threads) => new()
    {
        Layers = layers,
        LayerCount = spec.Layers.Count,
        DenseWidth = spec.Inputs.DenseWidth,
        BagCount = spec.Inputs.Bags.Count,
        InputWidth = spec.Inputs.Width,
        Activation = (int)spec.Activation,
        LayerNorm = spec.LayerNorm ? 1 : 0,
        Precision = (int)spec.Precision,
        Optimizer = (int)spec.Optimizer.Kind,
        Dropout = spec.Dropout,
        Rate = spec.Optimizer.Rate,
        WeightDecay = spec.Optimizer.WeightDecay,
        Seed = seed,
        Threads = threads,
    };

    // Keeps the handle from being released during a call.
    private readonly ref struct Use
    {
        private readonly TowerHandle _tower;

        public Use(TowerHandle tower)
        {
            bool held = false;
            tower.DangerousAddRef(ref held);
            _tower = tower;
        }

        public void Dispose() => _tower.DangerousRelease();
    }
}
