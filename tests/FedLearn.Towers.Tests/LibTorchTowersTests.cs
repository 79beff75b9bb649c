using FedLearn.Diagnostics;
using FedLearn.Dssm;
using FedLearn.Testing;
using FedLearn.Towers.LibTorch;

namespace FedLearn.Towers.Tests;

public sealed class LibTorchTowersTests
{
    private static TowerSpec Spec { get; } = new() { Inputs = new(3, [new("ids", 7, BagPooling.Mean)]), Layers = [9, 4] };

    public static TheoryData<string> Wrong => ["no layer", "empty layer", "no inputs", "no buckets", "dropout 1", "rate 0", "decay", "kind", "too many"];

    [Theory]
    [MemberData(nameof(Wrong))]
    public void Create_SpecOutOfRange_IsRefused(string what)
    {
        TowerSpec spec = what switch
        {
            "no layer" => Spec with { Layers = [] },
            "empty layer" => Spec with { Layers = [4, 0] },
            "no inputs" => Spec with { Inputs = new(0, []) },
            "no buckets" => Spec with { Inputs = new(1, [new("ids", 0, BagPooling.Sum)]) },
            "dropout 1" => Spec with { Dropout = 1 },
            "rate 0" => Spec with { Optimizer = new() { Rate = 0 } },
            "decay" => Spec with { Optimizer = new() { WeightDecay = double.NaN } },
            "kind" => Spec with { Optimizer = new() { Kind = (TowerOptimizerKind)9 } },
            _ => Spec with { Layers = [100_000, 100_000] },
        };
        var error = Assert.Throws<ConfigurationException>(() => new LibTorchTowers().Create(spec, 1));
        Assert.Equal((LibTorchErrors.InvalidTower, 2), (error.Id, error.ExitCode));
    }

    [Fact]
    public void Create_NoThreads_IsRefused() => Assert.Throws<ConfigurationException>(() => new LibTorchTowers { Threads = 0 }.Create(Spec, 1));

    [Fact]
    public void Restore_AnyChangedByte_IsRefused()
    {
        Native.Require();
        using ITower tower = new LibTorchTowers().Create(Spec, 1);
        byte[] state = tower.Save();
        for (int i = 0; i < state.Length; i += 7)
        {
            byte[] changed = [.. state];
            changed[i] ^= 4;
            Assert.Equal(LibTorchErrors.ForeignState, Assert.Throws<BadInputException>(() => new LibTorchTowers().Restore(Spec, changed)).Id);
        }
    }

    [Fact]
    public void Restore_OtherMeaningOfTheParameters_IsRefused()
    {
        Native.Require();
        using ITower tower = new LibTorchTowers().Create(Spec, 1);
        byte[] state = tower.Save();
        TowerSpec[] others =
        [
            Spec with { Precision = TowerPrecision.Float64 }, Spec with { Activation = TowerActivation.Relu }, Spec with { Inputs = new(3, [new("ids", 7, BagPooling.Sum)]) },
            Spec with { Inputs = new(3, [new("other", 7, BagPooling.Mean)]) }, Spec with { Inputs = new(7, [new("ids", 3, BagPooling.Mean)]) },
        ];
        Assert.All(others, other => Assert.Throws<BadInputException>(() => new LibTorchTowers().Restore(other, state)));
        new LibTorchTowers().Restore(Spec with { Optimizer = new() { Rate = 0.5 }, Dropout = 0.2 }, state).Dispose();
    }

    [Fact]
    public void Forward_MoreThanAnyMemoryHolds_SaysWhatToLower()
    {
        Native.Require();
        using ITower tower = new LibTorchTowers().Create(Spec with { Inputs = new(1, []), Layers = [1 << 21, 1], Precision = TowerPrecision.Float64 }, 1);
        // 2^23 rows of 2^21 numbers are as many bytes as a process has addresses for.
        int[] batch = new int[1 << 23];
        InternalFailureException error = Assert.Throws<InternalFailureException>(() => tower.Forward(new TowerRows(new TowerInputs(1, []), 1, [0.5], []), batch, new double[batch.Length], training: true));
        Assert.Equal((LibTorchErrors.NativeFailed, "There is not enough memory.", "Use smaller batches or a smaller tower."), (error.Id, error.Cause, error.Remedy));
    }

    [Fact]
    public void Save_Format_IsTheDocumentedOne()
    {
        Native.Require();
        using ITower tower = new LibTorchTowers().Create(Spec, 77);
        byte[] state = tower.Save();
        Assert.Equal("FLTOWER\u0001"u8.ToArray(), state[..8]);
        Assert.Equal(0, state[8]);
        Assert.Equal(77, BitConverter.ToInt64(state, 41));
        Assert.Equal(tower.ParameterCount, BitConverter.ToInt64(state, 49));
        Assert.Equal(57 + 4 * tower.ParameterCount + 32, state.Length);
        Assert.Equal((float)TowerStart.Values(Spec, 77)[0], BitConverter.ToSingle(state, 57));
    }

    [Fact]
    public void Calls_AfterDispose_AreErrors()
    {
        Native.Require();
        ITower tower = new LibTorchTowers().Create(Spec, 1);
        tower.Dispose();
        tower.Dispose();
        Assert.Throws<ObjectDisposedException>(() => tower.GetParameters(new double[tower.ParameterCount]));
        Assert.Throws<ObjectDisposedException>(() => tower.Forward(TowerConformance.RandomRows(Spec.Inputs, 2, 1), [0], new double[4], training: false));
    }

    [Fact]
    public void Rows_Collected_FreeTheirCopyAndOthersWorkOn()
    {
        Native.Require();
        using ITower tower = new LibTorchTowers().Create(Spec, 1);
        double[] outputs = new double[4];
        for (int i = 0; i < 200; i++)
        {
            tower.Forward(TowerConformance.RandomRows(Spec.Inputs, 50, (ulong)i), [i % 50], outputs, training: true);
            if (i % 50 == 0)
                GC.Collect();
            tower.Backward(outputs); // of rows that may be gone
            tower.Step();
        }

        Assert.All(outputs, y => Assert.InRange(y, -1, 1));
    }

    [Theory]
    [InlineData(TowerPrecision.Float32, 3)]
    [InlineData(TowerPrecision.Float64, 5)]
    public void Tanh_WholeRange_IsWithinUnitsInTheLastPlace(TowerPrecision precision, double units)
    {
        Native.Require();
        var spec = new TowerSpec { Inputs = new(1, []), Layers = [1], Precision = precision };
        using ITower tower = new LibTorchTowers().Create(spec, 1);
        tower.SetParameters([1, 0]);
        double[] x = [.. Enumerable.Range(-40_000, 80_001).Select(i => Round(i * i * (i < 0 ? -1 : 1) / 6.4e7)), 0, -0.0, 1e-30, -1e-30, 100, -100, 1e30, 1e-8];
        double[] y = new double[x.Length];
        tower.Forward(new TowerRows(spec.Inputs, x.Length, [.. x.Select(Round)], []), [.. Enumerable.Range(0, x.Length)], y, training: false);
        for (int i = 0; i < x.Length; i++)
        {
            double expected = Math.Tanh(Round(x[i]));
            double unit = precision == TowerPrecision.Float32 ? MathF.BitIncrement((float)Math.Abs(expected)) - MathF.Abs((float)expected) : Math.BitIncrement(Math.Abs(expected)) - Math.Abs(expected);
            Assert.True(Math.Abs(y[i] - expected) <= units * unit, $"tanh({x[i]:R}) is {y[i]:R}, not {expected:R}");
        }

        double Round(double value) => precision == TowerPrecision.Float32 ? (float)value : value;
    }
}
