using FedLearn.Diagnostics;
using FedLearn.Dssm;

namespace FedLearn.Testing;

/// <summary>What every implementation of <see cref="ITowerFactory"/> must do for the towers that <see cref="TowerSpec"/> describes. Depends on no test framework.</summary>
/// <remarks><para>Each check throws <see cref="ConformanceException"/> when the towers fail. The reference is <see cref="ReferenceTower"/>, float64 in plain loops. Float64 towers agree with it within
/// <see cref="Tolerance"/> of the largest number of what is compared. A float32 tower rounds every input, parameter and partial sum to within u = 2^-24: a sum of n products is off by at most
/// n + 2 units of the sum of their magnitudes, which are within a small factor of the largest result, and errors of one layer pass the next; so the bound is 8 u times the sum of (inputs + 8) over the layers.</para>
/// <para>A tower of an architecture of one's own has no reference. To it apply <see cref="GradientIsTheDerivative"/>, <see cref="OptimizerAgrees"/>, <see cref="ARowDependsOnItselfAlone"/>,
/// <see cref="EvaluationLeavesTrainingAlone"/>, <see cref="SavedTowerIsTheSame"/>, <see cref="ForeignBytesAreRefused"/>, <see cref="MisuseIsRefused"/>, <see cref="SameCallsGiveSameBits"/> and
/// <see cref="ATrainingGoesOnBitForBit"/>. A tower as <see cref="TowerSpec"/> describes it that starts at other values than those of <see cref="TowerStart"/> fails
/// <see cref="StartsAtTheSharedValues"/> alone; one that draws dropout in another way than <see cref="TowerDropout"/> also fails, where the specification has dropout,
/// <see cref="OutputsAndGradientsAgree"/>, <see cref="RowGradientsAgree"/>, <see cref="LargeBatchesAgree"/>, <see cref="TrainingAgrees"/> and <see cref="AbsentAndEmptyRowsAreExact"/>.</para></remarks>
public static class TowerConformance
{
    private const int BatchRows = 12, LargeRows = 300, Patience = 25;
    private const double Exact = 1e-12, Numerical = 1e-6, NumericalStep = 1e-5;

    /// <summary>A check.</summary>
    /// <param name="factory">Makes the towers.</param>
    /// <param name="spec">One of <see cref="Specs"/>, or another.</param>
    public delegate void Check(ITowerFactory factory, TowerSpec spec);

    /// <summary>Every check, by name.</summary>
    public static IReadOnlyDictionary<string, Check> All { get; } = new Dictionary<string, Check>
    {
        [nameof(StartsAtTheSharedValues)] = StartsAtTheSharedValues,
        [nameof(OutputsAndGradientsAgree)] = OutputsAndGradientsAgree,
        [nameof(GradientIsTheDerivative)] = GradientIsTheDerivative,
        [nameof(RowGradientsAgree)] = RowGradientsAgree,
        [nameof(LargeBatchesAgree)] = LargeBatchesAgree,
        [nameof(OptimizerAgrees)] = OptimizerAgrees,
        [nameof(TrainingAgrees)] = TrainingAgrees,
        [nameof(AbsentAndEmptyRowsAreExact)] = AbsentAndEmptyRowsAreExact,
        [nameof(ARowDependsOnItselfAlone)] = ARowDependsOnItselfAlone,
        [nameof(EvaluationLeavesTrainingAlone)] = EvaluationLeavesTrainingAlone,
        [nameof(SavedTowerIsTheSame)] = SavedTowerIsTheSame,
        [nameof(ForeignBytesAreRefused)] = ForeignBytesAreRefused,
        [nameof(MisuseIsRefused)] = MisuseIsRefused,
        [nameof(SameCallsGiveSameBits)] = SameCallsGiveSameBits,
        [nameof(ATrainingGoesOnBitForBit)] = ATrainingGoesOnBitForBit,
    };

    /// <summary>Towers of every kind: dense, bags of both poolings, both; one to three layers; both activations; layer norm, dropout, weight decay; the three optimisers; both precisions.</summary>
    public static IReadOnlyList<TowerSpec> Specs { get; } = [.. MakeSpecs()];

    /// <summary>Largest difference allowed, relative to the largest number of what is compared.</summary>
    /// <param name="spec">The tower.</param>
    public static double Tolerance(TowerSpec spec)
    {
        ArgumentNullException.ThrowIfNull(spec);
        if (spec.Precision == TowerPrecision.Float64)
            return Exact;
        // At most a hundred inputs of a row are not 0: dense numbers, and at most as many ids as the kit's rows have.
        double width = spec.Inputs.DenseWidth + 8 * spec.Inputs.Bags.Count, terms = 0;
        foreach (int layer in spec.Layers)
            (terms, width) = (terms + width + 8, layer);
        return 8 * terms * Math.Pow(2, -24);
    }

    /// <summary>A fresh tower has the parameters of <see cref="TowerStart"/>, and as many as it says.</summary>
    /// <inheritdoc cref="Check" path="/param" />
    public static void StartsAtTheSharedValues(ITowerFactory factory, TowerSpec spec)
    {
        using ITower tower = Make(factory, spec);
        Require(tower.ParameterCount == TowerStart.Count(spec), "the number of parameters is another");
        Require(tower.Width == spec.Layers[^1] && tower.Inputs.Equals(spec.Inputs), "the width or the inputs are others");
        Agree(Parameters(tower), TowerStart.Values(spec, Seed), spec.Precision == TowerPrecision.Float64 ? 0 : Math.Pow(2, -24), "the starting values");
        Require(tower.PrivacyFaults() is { Count: 0 }, "a tower of a specification reports a privacy fault, or null");
    }

    /// <summary>Outputs and gradients are the reference's, in training and outside it.</summary>
    /// <inheritdoc cref="Check" path="/param" />
    public static void OutputsAndGradientsAgree(ITowerFactory factory, TowerSpec spec)
    {
        using ITower tower = Make(factory, spec);
        using ReferenceTower reference = Reference(tower, spec);
        TowerRows rows = RandomRows(spec.Inputs, 30, 1);
        for (int batch = 0; batch < 3; batch++)
        {
            int[] index = Index(rows, batch);
            foreach (bool training in new[] { false, true })
                Agree(Outputs(tower, rows, index, training), Outputs(reference, rows, index, training), Tolerance(spec), training ? "training outputs" : "outputs");
            double[] upstream = Numbers(index.Length * tower.Width, 7 + (ulong)batch);
            tower.Backward(upstream);
            reference.Backward(upstream);
            Agree(Gradient(tower), Gradient(reference), Tolerance(spec), "the gradient");
        }
    }

    /// <summary>The gradient is the derivative of upstream . output, by central differences along random directions. Float64 and tanh only: elsewhere differences say nothing.</summary>
    /// <inheritdoc cref="Check" path="/param" />
    public static void GradientIsTheDerivative(ITowerFactory factory, TowerSpec spec)
    {
        ArgumentNullException.ThrowIfNull(spec);
        if (spec.Precision != TowerPrecision.Float64 || spec.Activation != TowerActivation.Tanh)
            return;
        TowerRows rows = RandomRows(spec.Inputs, 30, 2);
        int[] index = Index(rows, 0);
        using ITower tower = Make(factory, spec);
        double[] upstream = Numbers(index.Length * tower.Width, 3), parameters = Parameters(tower);
        _ = Outputs(tower, rows, index, training: true);
        tower.Backward(upstream);
        double[] gradient = Gradient(tower);
        for (ulong direction = 0; direction < 3; direction++)
        {
            double[] along = Numbers(parameters.Length, 100 + direction);
            double expected = (Value(+1) - Value(-1)) / (2 * NumericalStep), found = Dot(gradient, along);
            Require(Math.Abs(found - expected) <= Numerical * Math.Sqrt(Dot(gradient, gradient) * Dot(along, along)), "the gradient is not the derivative");
            // A fresh tower each time: dropout of the first training evaluation.
            double Value(int sign)
            {
                using ITower moved = Make(factory, spec);
                moved.SetParameters([.. parameters.Select((p, j) => p + sign * NumericalStep * along[j])]);
                return Dot(Outputs(moved, rows, index, training: true), upstream);
            }
        }
    }

    /// <summary>Norms of the rows' gradients and their weighted sums are the reference's, and with weights 1 the sum is the gradient.</summary>
    /// <inheritdoc cref="Check" path="/param" />
    public static void RowGradientsAgree(ITowerFactory factory, TowerSpec spec)
    {
        using ITower tower = Make(factory, spec);
        using ReferenceTower reference = Reference(tower, spec);
        TowerRows rows = RandomRows(spec.Inputs, 30, 3);
        for (int batch = 0; batch < 2; batch++)
        {
            int[] index = Index(rows, batch);
            double[] upstream = Numbers(index.Length * tower.Width, 11), norms = new double[index.Length], expected = new double[index.Length];
            _ = Outputs(tower, rows, index, training: true);
            _ = Outputs(reference, rows, index, training: true);
            tower.RowGradientNorms(upstream, norms);
            reference.RowGradientNorms(upstream, expected);
            Agree(norms, expected, 2 * Tolerance(spec), "squared norms of the rows' gradients");
            foreach (double[] weights in new[] { Numbers(index.Length, 13), [.. Enumerable.Repeat(1.0, index.Length)] })
            {
                double[] sum = new double[tower.ParameterCount], wanted = new double[tower.ParameterCount];
                tower.WeightedRowGradients(weights, sum);
                reference.WeightedRowGradients(weights, wanted);
                Agree(sum, wanted, Tolerance(spec), "the weighted sum of the rows' gradients");
            }

            // One row at a time: its norm is that of its weighted sum, in float64 whatever the tower computes in.
            for (int i = 0; i < index.Length; i += 5)
            {
                double[] one = new double[index.Length], sum = new double[tower.ParameterCount];
                one[i] = 1;
                tower.WeightedRowGradients(one, sum);
                Require(Math.Abs(Dot(sum, sum) - norms[i]) <= Exact * Math.Max(norms[i], 1e-300), "a row's norm is not that of its own gradient");
            }
        }
    }

    /// <summary>Outputs, gradients, rows' norms and their weighted sums are the reference's in a batch of hundreds of rows with upstream gradients and weights far above 1, and so are steps with
    /// gradients from outside far above 1, which noise is.</summary>
    /// <inheritdoc cref="Check" path="/param" />
    public static void LargeBatchesAgree(ITowerFactory factory, TowerSpec spec)
    {
        const double Large = 1000, Steps = 3;
        using ITower tower = Make(factory, spec);
        using ReferenceTower reference = Reference(tower, spec);
        TowerRows rows = RandomRows(spec.Inputs, 30, 13);
        int[] index = [.. Enumerable.Range(0, LargeRows).Select(i => i % 11 == 10 ? -1 : (7 * i) % rows.Rows)];
        double tolerance = 2 * Tolerance(spec);
        foreach (bool training in new[] { false, true })
            Agree(Outputs(tower, rows, index, training), Outputs(reference, rows, index, training), tolerance, "outputs of a large batch");
        double[] upstream = Scaled(index.Length * tower.Width, 31), norms = new double[index.Length], expected = new double[index.Length];
        tower.RowGradientNorms(upstream, norms);
        reference.RowGradientNorms(upstream, expected);
        Agree(norms, expected, tolerance, "squared norms of the rows' gradients in a large batch");
        double[] weights = Scaled(index.Length, 33), sum = new double[tower.ParameterCount], wanted = new double[tower.ParameterCount];
        tower.WeightedRowGradients(weights, sum);
        reference.WeightedRowGradients(weights, wanted);
        Agree(sum, wanted, tolerance, "the sum of the rows' gradients under large weights");
        tower.Backward(upstream);
        reference.Backward(upstream);
        Agree(Gradient(tower), Gradient(reference), tolerance, "the gradient of a large batch");
        for (ulong step = 0; step < Steps; step++)
        {
            double[] gradient = Scaled(tower.ParameterCount, 35 + step);
            tower.Step(gradient);
            reference.Step(gradient);
        }

        Agree(Parameters(tower), Parameters(reference), spec.Precision == TowerPrecision.Float64 ? Exact : 8 * Patience * Math.Pow(2, -24), "parameters after steps with large gradients");

        static double[] Scaled(int count, ulong seed) => [.. Numbers(count, seed).Select(value => Large * value)];
    }

    /// <summary>Many steps with gradients from outside lead where the reference goes.</summary>
    /// <inheritdoc cref="Check" path="/param" />
    public static void OptimizerAgrees(ITowerFactory factory, TowerSpec spec)
    {
        using ITower tower = Make(factory, spec);
        using ReferenceTower reference = Reference(tower, spec);
        for (int step = 0; step < Patience; step++)
        {
            double[] gradient = Numbers(tower.ParameterCount, 1000 + (ulong)step);
            // Some parameters see no gradient for a while, as rare ids do.
            for (int j = 0; j < gradient.Length; j += 3)
                gradient[j] = step % 4 == 0 ? gradient[j] : 0;
            tower.Step(gradient);
            reference.Step(gradient);
        }

        // A float32 step rounds its moments and its result: a few units each time.
        Agree(Parameters(tower), Parameters(reference), spec.Precision == TowerPrecision.Float64 ? Exact : 8 * Patience * Math.Pow(2, -24), "parameters after many steps");
    }

    /// <summary>Training with own gradients leads where the reference goes. Float64 only: where a gradient cancels to almost nothing, Adam's first steps have the sign of the rounding.</summary>
    /// <inheritdoc cref="Check" path="/param" />
    public static void TrainingAgrees(ITowerFactory factory, TowerSpec spec)
    {
        ArgumentNullException.ThrowIfNull(spec);
        if (spec.Precision != TowerPrecision.Float64)
            return;
        using ITower tower = Make(factory, spec);
        using ReferenceTower reference = Reference(tower, spec);
        TowerRows rows = RandomRows(spec.Inputs, 30, 4);
        for (int step = 0; step < Patience; step++)
        {
            int[] index = Index(rows, step);
            double[] upstream = Numbers(index.Length * tower.Width, 500 + (ulong)step);
            foreach (ITower each in new[] { tower, reference })
            {
                _ = Outputs(each, rows, index, training: true);
                each.Backward(upstream);
                if (step % 3 == 0)
                    _ = Gradient(each);
                each.Step();
            }
        }

        // Rounding of 1e-16 in a gradient of 1e-8, Adam's epsilon, moves a step of the rate by 1e-8 of it, and the tower's curvature multiplies differences from step to step.
        Agree(Parameters(tower), Parameters(reference), 1e-8, "parameters after training");
    }

    /// <summary>An absent row has the vector 0 and no gradient; a row without ids and with dense numbers of 0 is what the biases make of it; batches may be empty or all absent.</summary>
    /// <inheritdoc cref="Check" path="/param" />
    public static void AbsentAndEmptyRowsAreExact(ITowerFactory factory, TowerSpec spec)
    {
        using ITower tower = Make(factory, spec);
        using ReferenceTower reference = Reference(tower, spec);
        TowerRows rows = RandomRows(spec.Inputs, 30, 5), empty = EmptyRows(spec.Inputs);
        foreach ((TowerRows from, int[] index) in new[] { (rows, [-1, 3, -1, 3, 4, -1]), (rows, [-1, -1]), (rows, []), (empty, new[] { 0, -1, 1 }) })
        {
            double[] outputs = Outputs(tower, from, index, training: true), upstream = Numbers(index.Length * tower.Width, 17), norms = new double[index.Length];
            Agree(outputs, Outputs(reference, from, index, training: true), Tolerance(spec), "outputs with absent or empty rows");
            tower.RowGradientNorms(upstream, norms);
            for (int i = 0; i < index.Length; i++)
                if (index[i] < 0)
                    Require(norms[i] == 0 && outputs.Skip(i * tower.Width).Take(tower.Width).All(y => y == 0), "an absent row has a vector or a gradient");
            tower.Backward(upstream);
            reference.Backward(upstream);
            Agree(Gradient(tower), Gradient(reference), Tolerance(spec), "the gradient with absent or empty rows");
            for (int i = 0; i < upstream.Length; i++)
                upstream[i] = index[i / tower.Width] < 0 ? 1e6 : upstream[i];
            double[] before = Gradient(tower);
            tower.Backward(upstream);
            Require(before.SequenceEqual(Gradient(tower)), "the upstream gradient of an absent row matters");
        }
    }

    /// <summary>Outside dropout a row's vector is the same, bit for bit, alone and in any batch.</summary>
    /// <inheritdoc cref="Check" path="/param" />
    public static void ARowDependsOnItselfAlone(ITowerFactory factory, TowerSpec spec)
    {
        using ITower tower = Make(factory, spec);
        TowerRows rows = RandomRows(spec.Inputs, 30, 6);
        int[] all = [.. Enumerable.Range(0, rows.Rows)];
        double[] together = Outputs(tower, rows, all, training: false);
        foreach (int row in all)
            Require(Outputs(tower, rows, [row], training: false).AsSpan().SequenceEqual(together.AsSpan(row * tower.Width, tower.Width)), "a row's vector depends on the rows beside it");
    }

    /// <summary>An evaluation outside training changes neither the kept one nor the dropout of the next.</summary>
    /// <inheritdoc cref="Check" path="/param" />
    public static void EvaluationLeavesTrainingAlone(ITowerFactory factory, TowerSpec spec)
    {
        using ITower disturbed = Make(factory, spec), quiet = Make(factory, spec);
        TowerRows rows = RandomRows(spec.Inputs, 30, 7), others = RandomRows(spec.Inputs, 20, 8);
        for (int step = 0; step < 3; step++)
        {
            int[] index = Index(rows, step);
            double[] upstream = Numbers(index.Length * disturbed.Width, 19);
            foreach (ITower tower in new[] { disturbed, quiet })
            {
                _ = Outputs(tower, rows, index, training: true);
                if (tower == disturbed)
                    _ = Outputs(tower, others, [.. index.Select((_, i) => i)], training: false);
                tower.Backward(upstream);
                if (tower == disturbed)
                    _ = Outputs(tower, others, [.. index.Select((_, i) => i + 1)], training: false);
                tower.Step();
            }
        }

        Require(Parameters(disturbed).SequenceEqual(Parameters(quiet)), "an evaluation outside training changes training");
    }

    /// <summary>A restored tower has the same parameters and outputs, bit for bit, and can be saved and trained again.</summary>
    /// <inheritdoc cref="Check" path="/param" />
    public static void SavedTowerIsTheSame(ITowerFactory factory, TowerSpec spec)
    {
        ArgumentNullException.ThrowIfNull(factory);
        using ITower tower = Make(factory, spec);
        TowerRows rows = RandomRows(spec.Inputs, 30, 9);
        int[] index = Index(rows, 0);
        tower.Step(Numbers(tower.ParameterCount, 21));
        byte[] state = tower.Save();
        using ITower restored = factory.Restore(spec, state);
        Require(Parameters(restored).SequenceEqual(Parameters(tower)), "a restored tower has other parameters");
        Require(Outputs(restored, rows, index, training: false).SequenceEqual(Outputs(tower, rows, index, training: false)), "a restored tower gives other vectors");
        Require(restored.Save().AsSpan().SequenceEqual(state), "a restored tower is saved as other bytes");
        _ = Outputs(restored, rows, index, training: true);
        restored.Backward(Numbers(index.Length * tower.Width, 23));
        restored.Step();
        Require(Parameters(restored).All(double.IsFinite), "a restored tower cannot be trained");
    }

    /// <summary>Bytes of another tower, or cut short, are refused; nothing crashes.</summary>
    /// <inheritdoc cref="Check" path="/param" />
    public static void ForeignBytesAreRefused(ITowerFactory factory, TowerSpec spec)
    {
        ArgumentNullException.ThrowIfNull(factory);
        ArgumentNullException.ThrowIfNull(spec);
        using ITower tower = Make(factory, spec);
        byte[] state = tower.Save();
        foreach (byte[] foreign in new byte[][] { [], [1, 2, 3], state[..^1], state[..(state.Length / 2)], [.. state, 0] })
            Refuses(() => factory.Restore(spec, foreign).Dispose(), "bytes that are not those of the tower");
        Refuses(() => factory.Restore(spec with { Layers = [.. spec.Layers, 2] }, state).Dispose(), "bytes of a tower with other layers");
    }

    /// <summary>Calls out of order and wrong lengths are errors, and the tower stays usable.</summary>
    /// <inheritdoc cref="Check" path="/param" />
    public static void MisuseIsRefused(ITowerFactory factory, TowerSpec spec)
    {
        using ITower tower = Make(factory, spec);
        TowerRows rows = RandomRows(spec.Inputs, 30, 10);
        int[] index = Index(rows, 0);
        int size = index.Length * tower.Width, count = tower.ParameterCount;
        Refuses(() => tower.Backward(new double[size]), "Backward before Forward");
        Refuses(() => tower.RowGradientNorms(new double[size], new double[index.Length]), "RowGradientNorms before Forward");
        Refuses(() => tower.WeightedRowGradients(new double[index.Length], new double[count]), "WeightedRowGradients before RowGradientNorms");
        Refuses(tower.Step, "Step before Backward");
        Refuses(() => tower.GetGradient(new double[count]), "GetGradient before Backward");
        Refuses(() => tower.Forward(rows, index, new double[size + 1], training: true), "an output that is too long");
        Refuses(() => tower.Forward(rows, [rows.Rows], new double[tower.Width], training: true), "a row past the end");
        Refuses(() => tower.Forward(rows, [-2], new double[tower.Width], training: true), "a row below -1");
        Refuses(() => tower.Forward(OtherRows(), [0], new double[tower.Width], training: false), "rows of other inputs");
        Refuses(() => tower.Step(new double[count + 1]), "a gradient that is too long");
        Refuses(() => tower.GetParameters(new double[count - 1]), "a destination that is too short");
        Refuses(() => tower.SetParameters(new double[count + 1]), "too many parameters");
        double[] infinite = new double[count];
        infinite[count - 1] = double.PositiveInfinity;
        Refuses(() => tower.SetParameters(infinite), "an infinite parameter");
        _ = Outputs(tower, rows, index, training: true);
        Refuses(() => tower.Backward(new double[size - 1]), "an upstream gradient that is too short");
        Refuses(() => tower.RowGradientNorms(new double[size], new double[index.Length + 1]), "too many norms");
        tower.RowGradientNorms(new double[size], new double[index.Length]);
        Refuses(() => tower.WeightedRowGradients(new double[index.Length - 1], new double[count]), "too few weights");
        Refuses(() => tower.WeightedRowGradients(new double[index.Length], new double[count - 1]), "a sum that is too short");
        tower.Backward(Numbers(size, 25));
        Refuses(() => tower.GetGradient(new double[count + 1]), "a destination that is too long");
        tower.Step();

        TowerRows OtherRows()
        {
            var other = new TowerInputs(spec.Inputs.DenseWidth + 1, []);
            return new TowerRows(other, 1, new double[other.DenseWidth], []);
        }
    }

    /// <summary>The same calls in the same order give the same bits.</summary>
    /// <inheritdoc cref="Check" path="/param" />
    public static void SameCallsGiveSameBits(ITowerFactory factory, TowerSpec spec)
    {
        TowerRows rows = RandomRows(spec.Inputs, 30, 11);
        double[][] results = new double[2][];
        for (int run = 0; run < 2; run++)
        {
            using ITower tower = Make(factory, spec);
            for (int step = 0; step < 5; step++)
            {
                int[] index = Index(rows, step);
                _ = Outputs(tower, rows, index, training: true);
                tower.Backward(Numbers(index.Length * tower.Width, (ulong)step));
                tower.Step();
            }

            results[run] = Parameters(tower);
        }

        Require(results[0].SequenceEqual(results[1]), "the same calls give other bits");
    }

    /// <summary>A tower that takes over a saved training gives the bits that the one which saved goes on to give: parameters, moments, steps, dropout. Bytes of another training are refused and
    /// change nothing.</summary>
    /// <inheritdoc cref="Check" path="/param" />
    public static void ATrainingGoesOnBitForBit(ITowerFactory factory, TowerSpec spec)
    {
        TowerRows rows = RandomRows(spec.Inputs, 30, 12);
        using ITower first = Make(factory, spec);
        for (int step = 0; step < 3; step++)
            _ = Train(first, rows, step);
        byte[] state = first.SaveTraining();
        using ITower second = Make(factory, spec);
        _ = Train(second, rows, 8);
        double[] before = Parameters(second);
        foreach (byte[] foreign in new byte[][] { [], [1, 2, 3], state[..^1], state[..(state.Length / 2)], [.. state, 0] })
            Refuses(() => second.RestoreTraining(foreign), "bytes that are not those of the tower's training");
        Require(Parameters(second).SequenceEqual(before), "refused bytes have changed the tower");
        second.RestoreTraining(state);
        Require(second.SaveTraining().AsSpan().SequenceEqual(state), "a training that was taken over is saved as other bytes");
        for (int step = 3; step < 7; step++)
            Require(Train(second, rows, step).SequenceEqual(Train(first, rows, step)), "a training that was taken over gives other bits");
        Require(second.SaveTraining().AsSpan().SequenceEqual(first.SaveTraining()), "a training that was taken over ends in another state");
    }

    // One step, by the tower's own gradient or by one from outside; vectors before it and parameters after it.
    private static double[] Train(ITower tower, TowerRows rows, int step)
    {
        int[] index = Index(rows, step);
        double[] outputs = Outputs(tower, rows, index, training: true);
        double[] upstream = Numbers(index.Length * tower.Width, (ulong)(40 + step));
        if (step % 3 == 2)
        {
            double[] norms = new double[index.Length], sum = new double[tower.ParameterCount];
            tower.RowGradientNorms(upstream, norms);
            tower.WeightedRowGradients([.. norms.Select(norm => 1 / (1 + norm))], sum);
            tower.Step(sum);
        }
        else
        {
            tower.Backward(upstream);
            tower.Step();
        }

        return [.. outputs, .. Parameters(tower)];
    }

    /// <summary>Rows for tests: dense numbers within 1; bags that may be empty, may repeat an id and may have weights.</summary>
    /// <param name="inputs">What a row has.</param>
    /// <param name="count">Number of rows.</param>
    /// <param name="seed">Decides the rows.</param>
    public static TowerRows RandomRows(TowerInputs inputs, int count, ulong seed)
    {
        ArgumentNullException.ThrowIfNull(inputs);
        var numbers = new Numbering(seed);
        double[] dense = [.. Enumerable.Range(0, count * inputs.DenseWidth).Select(_ => numbers.Next())];
        var bags = new List<BagRows>();
        foreach (BagField bag in inputs.Bags)
        {
            var ids = new List<int>();
            int[] offsets = new int[count + 1];
            for (int r = 0; r < count; r++)
            {
                for (int left = numbers.Below(6); left > 0; left--)
                    ids.Add(numbers.Below(4) == 0 && ids.Count > offsets[r] ? ids[^1] : numbers.Below(bag.Buckets));
                offsets[r + 1] = ids.Count;
            }

            bags.Add(new BagRows(offsets, [.. ids], bags.Count % 2 == 0 ? [.. ids.Select(_ => numbers.Next())] : null));
        }

        return new TowerRows(inputs, count, dense, bags);
    }

    private const long Seed = 20_240_607;

    private static IEnumerable<TowerSpec> MakeSpecs()
    {
        TowerInputs[] inputs =
        [
            new(5, []), new(0, [new("ids", 11, BagPooling.Sum)]), new(0, [new("ids", 40, BagPooling.Mean)]), new(3, [new("genre", 7, BagPooling.Mean), new("title", 19, BagPooling.Sum)]),
        ];
        int[][] layers = [[4], [9, 4], [37, 16, 3], [130, 20], [64, 32]];
        int number = 0;
        foreach (TowerPrecision precision in Enum.GetValues<TowerPrecision>())
            foreach (TowerInputs each in inputs)
                foreach (int[] widths in layers)
                {
                    number++;
                    yield return new TowerSpec
                    {
                        Inputs = each,
                        Layers = widths,
                        Activation = (TowerActivation)(number % 2),
                        LayerNorm = number % 3 == 0,
                        Dropout = number % 4 == 0 ? 0.3 : 0,
                        Precision = precision,
                        Optimizer = new() { Kind = (TowerOptimizerKind)(number % 3), Rate = 0.01, WeightDecay = number % 5 == 0 ? 0.02 : 0 },
                    };
                }
    }

    private static ITower Make(ITowerFactory factory, TowerSpec spec)
    {
        ArgumentNullException.ThrowIfNull(factory);
        return factory.Create(spec, Seed);
    }

    // The reference with the tower's own parameters: those of a float32 tower are rounded.
    private static ReferenceTower Reference(ITower tower, TowerSpec spec) => new(spec, Seed, Parameters(tower));

    private static TowerRows EmptyRows(TowerInputs inputs) =>
        new(inputs, 2, new double[2 * inputs.DenseWidth], [.. inputs.Bags.Select(_ => new BagRows(new int[3], []))]);

    private static int[] Index(TowerRows rows, int batch) =>
        [.. Enumerable.Range(0, BatchRows).Select(i => (i + batch) % 6 == 5 ? -1 : (7 * i + 5 * batch) % rows.Rows), batch % rows.Rows];

    private static double[] Outputs(ITower tower, TowerRows rows, int[] index, bool training)
    {
        double[] outputs = new double[index.Length * tower.Width];
        tower.Forward(rows, index, outputs, training);
        return outputs;
    }

    private static double[] Parameters(ITower tower)
    {
        double[] parameters = new double[tower.ParameterCount];
        tower.GetParameters(parameters);
        return parameters;
    }

    private static double[] Gradient(ITower tower)
    {
        double[] gradient = new double[tower.ParameterCount];
        tower.GetGradient(gradient);
        return gradient;
    }

    private static double[] Numbers(int count, ulong seed)
    {
        var numbers = new Numbering(seed);
        return [.. Enumerable.Range(0, count).Select(_ => numbers.Next())];
    }

    private static double Dot(double[] a, double[] b) => a.Zip(b, (x, y) => x * y).Sum();

    private static void Agree(double[] found, double[] expected, double tolerance, string what)
    {
        double scale = expected.Length == 0 ? 0 : expected.Max(Math.Abs), worst = expected.Length == 0 ? 0 : found.Zip(expected, (a, b) => Math.Abs(a - b)).Max();
        Require(found.Length == expected.Length && worst <= tolerance * scale, $"{what} differ from the reference's by {worst / scale:0.0e+0} of the largest; {tolerance:0.0e+0} is allowed");
    }

    private static void Require(bool holds, string fault)
    {
        if (!holds)
            throw new ConformanceException($"The tower does not conform: {fault}.");
    }

    private static void Refuses(Action call, string what)
    {
        try
        {
            call();
        }
        catch (Exception e) when (e is ArgumentException or InvalidOperationException or FedLearnException)
        {
            Require(!string.IsNullOrWhiteSpace(e.Message), $"the error for {what} says nothing");
            return;
        }
        catch (Exception e)
        {
            throw new ConformanceException($"The tower does not conform: {what} gives {e.GetType().Name}.", e);
        }

        throw new ConformanceException($"The tower does not conform: {what} is accepted.");
    }

    // Numbers that are the same everywhere.
    private sealed class Numbering(ulong seed)
    {
        private long _counter;

        public double Next() => 2.0 * Draw() / (1L << 32) - 1;

        public int Below(int bound) => (int)(Draw() * (ulong)bound >> 32);

        // 32 bits of a counter hash.
        private ulong Draw()
        {
            unchecked
            {
                ulong z = seed * 0xD1342543DE82EF95 + (ulong)++_counter * 0x9E3779B97F4A7C15;
                z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
                z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
                return (z ^ (z >> 31)) >> 32;
            }
        }
    }
}
