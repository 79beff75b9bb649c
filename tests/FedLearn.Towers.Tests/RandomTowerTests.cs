using FedLearn.Dssm;
using FedLearn.Testing;
using FedLearn.Tests.Shared;
using FedLearn.Towers.LibTorch;
using FsCheck;
using FsCheck.Fluent;

namespace FedLearn.Towers.Tests;

public sealed class RandomTowerTests
{
    // ReLU in float32 is left out: a sum within rounding of 0 has another derivative there.
    private static Gen<TowerSpec> SpecGen { get; } =
        from dense in Gen.Choose(0, 40)
        from bags in Gen.Choose(1, 60).ArrayOf().Resize(3)
        from pooling in Gen.Choose(0, 1)
        from layers in Gen.Choose(1, 150).NonEmptyListOf().Resize(3)
        from relu in Gen.Choose(0, 1)
        from norm in Gen.Choose(0, 1)
        from dropout in Gen.Elements(0.0, 0.0, 0.1, 0.6)
        from precision in Gen.Choose(0, 1)
        from optimizer in Gen.Choose(0, 2)
        where dense + bags.Length > 0
        select new TowerSpec
        {
            Inputs = new(dense, [.. bags.Select((buckets, b) => new BagField($"bag{b}", buckets, (BagPooling)((pooling + b) % 2)))]),
            Layers = [.. layers],
            Activation = (TowerActivation)(relu * precision),
            LayerNorm = norm == 1,
            Dropout = dropout,
            Precision = (TowerPrecision)precision,
            Optimizer = new() { Kind = (TowerOptimizerKind)optimizer, WeightDecay = 0.01 * norm },
        };

    [Fact]
    public void LibTorchTowers_RandomSpecs_AgreeWithTheReference()
    {
        Native.Require();
        Prop.ForAll(SpecGen.ToArbitrary(), spec =>
        {
            var factory = new LibTorchTowers();
            // Layer norm of a single number, or of numbers that are almost equal, divides by next to nothing; float32 then keeps no digits.
            bool stable = !spec.LayerNorm || spec.Precision == TowerPrecision.Float64;
            if (stable)
            {
                TowerConformance.OutputsAndGradientsAgree(factory, spec);
                TowerConformance.RowGradientsAgree(factory, spec);
                TowerConformance.AbsentAndEmptyRowsAreExact(factory, spec);
            }

            TowerConformance.OptimizerAgrees(factory, spec);
            TowerConformance.ARowDependsOnItselfAlone(factory, spec);
            TowerConformance.SavedTowerIsTheSame(factory, spec);
        }).Check(Config.QuickThrowOnFailure.WithMaxTest(TestCounts.Of(40)));
    }

    [Fact]
    public void LibTorchTowers_MoreThreads_GiveTheSameBits()
    {
        Native.Require();
        Prop.ForAll(SpecGen.ToArbitrary(), Gen.Choose(2, 5).ToArbitrary(), (spec, threads) => Assert.Equal(Trained(spec, 1), Trained(spec, threads)))
            .Check(Config.QuickThrowOnFailure.WithMaxTest(TestCounts.Of(15)));
    }

    [Fact]
    public void LibTorchTowers_RowsWithoutAGradientLeftOut_GiveTheSameBits()
    {
        Native.Require();
        Prop.ForAll(SpecGen.ToArbitrary(), spec => Assert.Equal(Left(spec, leavesOut: false), Left(spec, leavesOut: true))).Check(Config.QuickThrowOnFailure.WithMaxTest(TestCounts.Of(40)));
    }

    // As the item tower is trained: at each step some rows have a gradient, and keep their places.
    private static byte[] Left(TowerSpec spec, bool leavesOut)
    {
        const int Rows = 300;
        using ITower tower = new LibTorchTowers().Create(spec, 5);
        TowerRows rows = TowerConformance.RandomRows(spec.Inputs, Rows, 12);
        double[] outputs = new double[Rows * tower.Width];
        for (int step = 0; step < 5; step++)
        {
            bool[] present = [.. Enumerable.Range(0, Rows).Select(i => (i * 7 + step) % 5 == 0 && i < 200)];
            tower.Forward(rows, [.. present.Select((there, i) => there || !leavesOut ? i : -1)], outputs, training: true);
            tower.Backward([.. outputs.Select((y, i) => present[i / tower.Width] ? y : 0)]);
            tower.Step();
        }

        return tower.SaveTraining();
    }

    // Batches that are longer than what one thread takes at a time.
    private static double[] Trained(TowerSpec spec, int threads)
    {
        const int Rows = 500;
        using ITower tower = new LibTorchTowers { Threads = threads }.Create(spec, 5);
        TowerRows rows = TowerConformance.RandomRows(spec.Inputs, Rows, 12);
        double[] outputs = new double[Rows * tower.Width], parameters = new double[tower.ParameterCount], norms = new double[Rows], sum = new double[tower.ParameterCount];
        int[] index = [.. Enumerable.Range(0, Rows).Select(i => i % 7 == 3 ? -1 : i * 3 % Rows)];
        for (int step = 0; step < 3; step++)
        {
            tower.Forward(rows, index, outputs, training: true);
            tower.RowGradientNorms(outputs, norms);
            tower.WeightedRowGradients(norms, sum);
            tower.Backward(outputs);
            tower.Step();
        }

        tower.GetParameters(parameters);
        return [.. outputs, .. norms, .. sum, .. parameters];
    }
}
