using FedLearn.Dssm;
using FedLearn.Testing;

namespace FedLearn.Towers.Tests;

/// <summary>The kit finds towers that are broken in one way each.</summary>
public sealed class BrokenTowerTests
{
    public static TheoryData<string, string> Faults => new()
    {
        { nameof(TowerConformance.StartsAtTheSharedValues), nameof(Fault.OtherStart) },
        { nameof(TowerConformance.StartsAtTheSharedValues), nameof(Fault.ReportsFault) },
        { nameof(TowerConformance.OutputsAndGradientsAgree), nameof(Fault.InexactOutput) },
        { nameof(TowerConformance.OutputsAndGradientsAgree), nameof(Fault.MeanGradient) },
        { nameof(TowerConformance.OutputsAndGradientsAgree), nameof(Fault.OtherDropout) },
        { nameof(TowerConformance.GradientIsTheDerivative), nameof(Fault.MeanGradient) },
        { nameof(TowerConformance.StartsAtTheSharedValues), nameof(Fault.ReportsNull) },
        { nameof(TowerConformance.LargeBatchesAgree), nameof(Fault.NormsOfSmallBatches) },
        { nameof(TowerConformance.LargeBatchesAgree), nameof(Fault.CapsNorms) },
        { nameof(TowerConformance.LargeBatchesAgree), nameof(Fault.LargeWeightsIgnored) },
        { nameof(TowerConformance.LargeBatchesAgree), nameof(Fault.OutputsOfSmallBatches) },
        { nameof(TowerConformance.LargeBatchesAgree), nameof(Fault.ClipsSteps) },
        { nameof(TowerConformance.RowGradientsAgree), nameof(Fault.NormNotSquared) },
        { nameof(TowerConformance.RowGradientsAgree), nameof(Fault.WeightsIgnored) },
        { nameof(TowerConformance.OptimizerAgrees), nameof(Fault.SkipsZeroGradients) },
        { nameof(TowerConformance.TrainingAgrees), nameof(Fault.StepTwice) },
        { nameof(TowerConformance.AbsentAndEmptyRowsAreExact), nameof(Fault.AbsentIsRowZero) },
        { nameof(TowerConformance.ARowDependsOnItselfAlone), nameof(Fault.MixesRows) },
        { nameof(TowerConformance.EvaluationLeavesTrainingAlone), nameof(Fault.EvaluationIsKept) },
        { nameof(TowerConformance.SavedTowerIsTheSame), nameof(Fault.SavesFloats) },
        { nameof(TowerConformance.ForeignBytesAreRefused), nameof(Fault.TakesAnyBytes) },
        { nameof(TowerConformance.MisuseIsRefused), nameof(Fault.BackwardAnytime) },
        { nameof(TowerConformance.SameCallsGiveSameBits), nameof(Fault.Unstable) },
        { nameof(TowerConformance.ATrainingGoesOnBitForBit), nameof(Fault.ForgetsMoments) },
        { nameof(TowerConformance.ATrainingGoesOnBitForBit), nameof(Fault.ForgetsTheEvaluation) },
    };

    internal enum Fault
    {
        Nowhere, OtherStart, ReportsFault, InexactOutput, MeanGradient, OtherDropout, NormNotSquared, WeightsIgnored, SkipsZeroGradients, StepTwice, AbsentIsRowZero, MixesRows,
        EvaluationIsKept, SavesFloats, TakesAnyBytes, BackwardAnytime, Unstable, ForgetsMoments, ForgetsTheEvaluation,
        ReportsNull, NormsOfSmallBatches, CapsNorms, LargeWeightsIgnored, OutputsOfSmallBatches, ClipsSteps,
    }

    [Theory]
    [MemberData(nameof(Faults))]
    public void Kit_BrokenTower_FindsIt(string check, string fault)
    {
        var factory = new BrokenFactory(Enum.Parse<Fault>(fault));
        Assert.Contains(TowerConformance.Specs, spec => Finds(check, factory, spec));
    }

    [Fact]
    public void Kit_WrapperWithoutFault_FindsNothing()
    {
        foreach (string check in TowerConformance.All.Keys)
            Assert.DoesNotContain(TowerConformance.Specs, spec => Finds(check, new BrokenFactory(Fault.Nowhere), spec));
    }

    // As the documentation of the kit says.
    [Fact]
    public void Kit_OtherStartingValuesOrDropout_FailNoOtherChecks()
    {
        string[] Failed(Func<TowerSpec, bool> where) =>
            [.. TowerConformance.All.Keys.Where(check => TowerConformance.Specs.Where(where).Any(spec => Finds(check, new BrokenFactory(Fault.OtherStart), spec))).Order(StringComparer.Ordinal)];

        Assert.Equal([nameof(TowerConformance.StartsAtTheSharedValues)], Failed(spec => spec.Dropout == 0));
        Assert.Equal(
            [
                nameof(TowerConformance.AbsentAndEmptyRowsAreExact), nameof(TowerConformance.LargeBatchesAgree), nameof(TowerConformance.OutputsAndGradientsAgree), nameof(TowerConformance.RowGradientsAgree),
                nameof(TowerConformance.StartsAtTheSharedValues), nameof(TowerConformance.TrainingAgrees),
            ], Failed(spec => spec.Dropout > 0));
    }

    private static bool Finds(string check, ITowerFactory factory, TowerSpec spec)
    {
        try
        {
            TowerConformance.All[check](factory, spec);
            return false;
        }
        catch (ConformanceException)
        {
            return true;
        }
    }

    private sealed class BrokenFactory(Fault fault) : ITowerFactory
    {
        private readonly ReferenceTowerFactory _inner = new();
        private int _made;

        public ITower Create(TowerSpec spec, long seed) =>
            new BrokenTower(_inner.Create(spec, seed + (fault is Fault.OtherStart || (fault == Fault.Unstable && _made++ % 2 == 1) ? 1 : 0)), fault,
                fault == Fault.OtherDropout ? _inner.Create(spec, seed + 1) : null);

        public ITower Restore(TowerSpec spec, ReadOnlyMemory<byte> state)
        {
            if (fault != Fault.TakesAnyBytes)
                return new BrokenTower(_inner.Restore(spec, state), fault, null);
            return new BrokenTower(_inner.Create(spec, 1), fault, null);
        }
    }

    private sealed class BrokenTower(ITower inner, Fault fault, ITower? other) : ITower
    {

        public TowerInputs Inputs => inner.Inputs;

        public int Width => inner.Width;

        public int ParameterCount => inner.ParameterCount;

        public void Forward(TowerRows rows, ReadOnlySpan<int> index, Span<double> output, bool training)
        {
            int[] changed = index.ToArray();
            if (fault == Fault.AbsentIsRowZero)
                changed = [.. changed.Select(row => row == -1 ? 0 : row)];
            if (other is not null)
            {
                double[] parameters = new double[ParameterCount];
                inner.GetParameters(parameters);
                other.SetParameters(parameters);
                other.Forward(rows, changed, output, training);
            }
            else
                inner.Forward(rows, changed, output, training || fault == Fault.EvaluationIsKept);
            if (fault == Fault.InexactOutput && output.Length > 0)
                output[0] += 1e-3;
            if (fault == Fault.OutputsOfSmallBatches && index.Length > 64)
                output.Clear();
            if (fault == Fault.MixesRows && output.Length > Width)
                output[0] += output[Width];
        }

        public void Backward(ReadOnlySpan<double> upstream)
        {
            double factor = fault == Fault.MeanGradient ? 0.5 : 1;
            try
            {
                (other ?? inner).Backward(upstream.ToArray().Select(g => g * factor).ToArray());
            }
            catch (InvalidOperationException) when (fault == Fault.BackwardAnytime)
            {
                // As if nothing were wrong.
            }
        }

        public void GetGradient(Span<double> destination) => (other ?? inner).GetGradient(destination);

        public void RowGradientNorms(ReadOnlySpan<double> upstream, Span<double> squaredNorms)
        {
            (other ?? inner).RowGradientNorms(upstream, squaredNorms);
            if (fault == Fault.NormNotSquared)
                foreach (ref double norm in squaredNorms)
                    norm = Math.Sqrt(norm);
            if (fault == Fault.CapsNorms)
                foreach (ref double norm in squaredNorms)
                    norm = Math.Min(norm, 1e4);
            if (fault == Fault.NormsOfSmallBatches && squaredNorms.Length > 20)
                squaredNorms.Clear();
        }

        public void WeightedRowGradients(ReadOnlySpan<double> rowWeights, Span<double> sum)
        {
            double[] weights = rowWeights.ToArray();
            if (fault == Fault.WeightsIgnored)
                Array.Fill(weights, 1);
            if (fault == Fault.LargeWeightsIgnored)
                weights = [.. weights.Select(weight => Math.Min(weight, 1))];
            (other ?? inner).WeightedRowGradients(weights, sum);
        }

        public void Step()
        {
            inner.Step();
            if (fault == Fault.StepTwice)
                inner.Step();
        }

        public void Step(ReadOnlySpan<double> gradient)
        {
            double[] before = new double[ParameterCount], after = new double[ParameterCount];
            inner.GetParameters(before);
            inner.Step(fault == Fault.ClipsSteps ? [.. gradient.ToArray().Select(g => Math.Clamp(g, -1, 1))] : gradient);
            if (fault != Fault.SkipsZeroGradients)
                return;
            inner.GetParameters(after);
            for (int j = 0; j < after.Length; j++)
                after[j] = gradient[j] == 0 ? before[j] : after[j];
            inner.SetParameters(after);
        }

        public void GetParameters(Span<double> destination) => inner.GetParameters(destination);

        public void SetParameters(ReadOnlySpan<double> parameters) => inner.SetParameters(parameters);

        public byte[] Save()
        {
            if (fault != Fault.SavesFloats)
                return inner.Save();
            double[] parameters = new double[ParameterCount];
            GetParameters(parameters);
            SetParameters([.. parameters.Select(p => (double)(float)p)]);
            byte[] state = inner.Save();
            SetParameters(parameters);
            return state;
        }

        public byte[] SaveTraining()
        {
            byte[] state = inner.SaveTraining();
            // The reference's state: seed, steps, evaluation, parameters, both moments.
            if (fault == Fault.ForgetsMoments)
                state.AsSpan(sizeof(long) * (3 + ParameterCount)).Clear();
            if (fault == Fault.ForgetsTheEvaluation)
                state.AsSpan(2 * sizeof(long), sizeof(long)).Clear();
            return state;
        }

        public void RestoreTraining(ReadOnlySpan<byte> state) => inner.RestoreTraining(state);

        public IReadOnlyList<string> PrivacyFaults() => fault == Fault.ReportsFault ? ["There is one."] : fault == Fault.ReportsNull ? null! : inner.PrivacyFaults();

        public void Dispose()
        {
            inner.Dispose();
            other?.Dispose();
        }
    }
}
