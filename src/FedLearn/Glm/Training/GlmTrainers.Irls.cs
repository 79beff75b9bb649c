using System.Numerics.Tensors;
using FedLearn.Data;
using FedLearn.Diagnostics;
using FedLearn.Numerics;
using FedLearn.Parties;
using FedLearn.Privacy;
using FedLearn.Protocol;

namespace FedLearn.Glm;

// Newton's method at the active party, over its own columns and the mixed ones of the passive parties: the active party's side, then the passive
// party's. Each passive party sends its columns once, mixed (see ColumnMixing), and gets the weights of the mixed columns back.

internal partial class GlmActiveTrainer
{
    /// <summary>Own columns, then the mixed ones of each passive party; kept for standard errors.</summary>
    private JointColumns? _joint;

    /// <summary>Columns of all parties together at most, where there are passive ones: the time to mix them and to solve for their weights grows with the cube of their number,
    /// and the other parties wait meanwhile. A passive party with d columns, of which min(d, n) cross, mixes them in a time that grows with d min(d, n)^2.</summary>
    internal const int MostColumns = 2_000;

    /// <summary>Columns of a party that trains alone at most: nobody waits, and a matrix of their products takes 3.2 GB.</summary>
    private const int MostAlone = 20_000;

    private async Task<(int Rounds, GlmStopReason Reason)> IrlsAsync(CancellationToken cancellationToken)
    {
        LinearPart own = work.Train;
        (_joint, _) = await JointColumnsAsync(0, trained: false, cancellationToken).ConfigureAwait(false);
        JointColumns joint = _joint!;
        var part = new LinearPart(joint.Rows, own.FreeIntercept, own.Outputs);
        double[] units = _plan.Job.Model.L2 > 0 ? [] : OwnUnits(joint.Rows, own.Features);
        NewtonResult fit;
        (fit, _tolerance) = await ChannelGuard.ComputeAsync(passives, stop =>
        {
            double tolerance = Featureless.Tolerance(RelativeTolerance);
            MultiplyColumns(joint.Rows, units);
            NewtonResult found = OneRoundRefit.Fit(part, _plan.Family, train.Labels, train.Offsets, 1, train.Weights, _plan.Job.Model.L2, tolerance, 0, _plan.Epochs, stop);
            MultiplyColumns(joint.Rows, [.. units.Select(unit => 1 / unit)]);
            return (found, tolerance);
        }, cancellationToken).ConfigureAwait(false);
        _gradientNorm = fit.GradientNorm;
        // A start that is the optimum is one iteration all the same.
        int iterations = Math.Max(1, fit.Iterations), k = own.Outputs, d = own.Features, width = part.Features;
        GlmStopReason reason = fit.Converged ? GlmStopReason.Converged : fit.Iterations < _plan.Epochs ? GlmStopReason.NoFurtherDecrease : GlmStopReason.RoundLimit;
        for (int m = 0; m < k; m++)
        {
            Span<double> weights = _weights.AsSpan(m * d, d);
            fit.Weights.AsSpan(m * width, d).CopyTo(weights);
            if (units.Length > 0)
                TensorPrimitives.Multiply(weights, units, weights);
        }

        fit.Weights.AsSpan(part.Penalised).CopyTo(_weights.AsSpan(own.Penalised));
        for (int p = 0; p < passives.Count; p++)
        {
            (int first, int count) = joint.Blocks[p];
            double[] mixed = [.. Enumerable.Range(0, k).SelectMany(m => fit.Weights[(m * width + first)..(m * width + first + count)])];
            work.CheckFinite(iterations, mixed);
            await _clock.WaitAsync(RoundClock.Now, passives[p].SendAsync(0, Disclosure.Unprotected(new Scalars(ScalarsKind.Direction, mixed), GlmReleases.MixedWeights),
                cancellationToken)).ConfigureAwait(false);
            await _clock.WaitAsync(RoundClock.Now, passives[p].SendAsync(0, Disclosure.Unprotected(new Scalars(ScalarsKind.Step, new double[] { iterations, (int)reason }),
                "optimiser step: mode none"), cancellationToken)).ConfigureAwait(false);
        }

        fit.Scores.CopyTo(_trainScores, 0);
        train.AddOffsets(0, _trainScores);
        _penalty = Penalty(GlmObjective.Norms(fit.Weights, part.Penalised));
        work.Report(iterations, MeanLoss());
        return (iterations, reason);
    }

    /// <summary>Powers of two that bring the own columns to a root mean square of about 1, as the mixed ones of the passive parties are without a penalty: rounding would else keep the gradient of a
    /// column of large numbers, such as times in seconds, from ever being short. A penalty has the unit of the columns, so these stay as they are with one.</summary>
    private static double[] OwnUnits(DenseMatrix rows, int own)
    {
        double[] largest = new double[own], squares = new double[own];
        for (int i = 0; i < rows.Rows; i++)
            TensorPrimitives.MaxMagnitude(rows.Row(i)[..own], largest, largest);
        // Relative to the largest, whose power of two neither over- nor underflows.
        TensorPrimitives.Abs<double>(largest, largest);
        for (int i = 0; i < rows.Rows; i++)
            for (int j = 0; j < own; j++)
                squares[j] += largest[j] > 0 ? Math.Pow(rows.Row(i)[j] / largest[j], 2) : 0;
        return [.. squares.Select((square, j) => largest[j] > 0 ? Math.ScaleB(1, Math.Clamp(-(int)Math.Round(Math.Log2(largest[j] * Math.Sqrt(square / rows.Rows))), -1000, 1000)) : 1)];
    }

    /// <summary>Multiplies the first columns by a factor each.</summary>
    private static void MultiplyColumns(DenseMatrix rows, double[] factors)
    {
        for (int i = 0; i < rows.Rows && factors.Length > 0; i++)
            TensorPrimitives.Multiply(rows.Row(i)[..factors.Length], factors, rows.Row(i)[..factors.Length]);
    }

    /// <summary>Own columns beside the mixed ones of every passive party.</summary>
    /// <param name="round">Round of the messages.</param>
    /// <param name="trained">Whether there is a model already, which columns without standard errors must not end: every party's messages are then taken all the same.</param>
    /// <param name="cancellationToken">Stops.</param>
    /// <returns>The columns, or why there are none, which only a trained model leaves open.</returns>
    /// <exception cref="BadInputException">FL3109: nothing is trained yet, and there are too many columns.</exception>
    private async Task<(JointColumns? Columns, MissingInference? Missing)> JointColumnsAsync(int round, bool trained, CancellationToken cancellationToken)
    {
        LinearPart own = work.Train;
        int n = own.Rows, d = own.Features;
        bool penalised = _plan.Job.Model.L2 > 0;

        // Numbers of columns alone at first: what is too much ends here, before any party mixes its columns.
        double[] announced = new double[passives.Count];
        for (int p = 0; p < passives.Count; p++)
            announced[p] = await _clock.WaitAsync(RoundClock.Now, new ValueTask<double>(ReceiveCountAsync(passives[p], round, 0, int.MaxValue, cancellationToken))).ConfigureAwait(false);
        MissingInference? missing = TooMany(announced, trained);
        for (int p = 0; p < passives.Count; p++)
            await _clock.WaitAsync(RoundClock.Now, passives[p].SendAsync(round, Disclosure.Unprotected(new Scalars(ScalarsKind.Step, new double[] { missing is null ? 0 : 1 }),
                "whether the number of columns is legal: mode none"), cancellationToken)).ConfigureAwait(false);
        if (missing is not null)
            return (null, missing);

        // From all at once: a party whose columns are mixed would else wait, with a message that nobody takes, for one that still mixes.
        double[][]?[] received = new double[passives.Count][][];
        async Task ReceiveColumnsAsync(int p, CancellationToken stop)
        {
            // Without a penalty as many as are independent.
            double most = penalised ? Math.Min(announced[p], n) : announced[p];
            int count = (int)await ReceiveCountAsync(passives[p], round, trained ? MissingInference.NoColumns : penalised ? most : 0, most, stop).ConfigureAwait(false);
            if (count == MissingInference.NoColumns)
                return;
            double[][] theirs = new double[count][];
            for (int j = 0; j < count; j++)
                theirs[j] = ChannelGuard.Packed(await passives[p].ReceiveAsync<Scores>(round, n, stop).ConfigureAwait(false), ElementType.Float64, passives[p], round).Values.ToArray();
            received[p] = theirs;
        }

        await _clock.WaitAsync(RoundClock.Now, new ValueTask(ChannelGuard.WhileTheyWaitAsync(passives, stop =>
            ChannelGuard.AllAsync([.. Enumerable.Range(0, passives.Count).Select(p => (Func<CancellationToken, Task>)(one => ReceiveColumnsAsync(p, one)))], stop), cancellationToken))).ConfigureAwait(false);
        if (Array.FindIndex(received, theirs => theirs is null) is >= 0 and var dependent)
            return (null, new(InferenceFault.DependentAtParty, dependent));
        var columns = new List<double[]>();
        var blocks = new List<(int First, int Count)>();
        foreach (double[][]? theirs in received)
        {
            blocks.Add((d + columns.Count, theirs!.Length));
            columns.AddRange(theirs);
        }

        var rows = new DenseMatrix(n, d + columns.Count);
        for (int i = 0; i < n; i++)
        {
            Span<double> row = rows.Row(i);
            own.CopyRow(i, row[..d]);
            for (int j = 0; j < columns.Count; j++)
                row[d + j] = columns[j][i];
        }

        return (new JointColumns(rows, blocks), null);
    }

    /// <summary>A number of columns that a passive party announces.</summary>
    private static async Task<double> ReceiveCountAsync(IPartyChannel passive, int round, double least, double most, CancellationToken cancellationToken)
    {
        Scalars told = await ChannelGuard.ReceiveScalarsAsync(passive, round, ScalarsKind.InnerProducts, 1, cancellationToken).ConfigureAwait(false);
        double count = told.Values.Span[0];
        return count >= least && count <= most && count == Math.Floor(count) ? count
            : throw ProtocolErrors.Peer(ProtocolErrors.UnexpectedMessage, passive.RemoteParty, "mixed columns", "announced a number of columns that is not legal.",
                "Check that both parties run the same release of the software.");
    }

    /// <summary>Whether the parties have more columns than Newton's method and standard errors take.</summary>
    /// <param name="announced">Columns of each passive party.</param>
    /// <param name="trained">Whether there is a model already.</param>
    /// <returns>Why there are no standard errors; null where the columns are not too many.</returns>
    /// <exception cref="BadInputException">FL3109: they are, and nothing is trained yet.</exception>
    private MissingInference? TooMany(double[] announced, bool trained)
    {
        bool alone = announced.Length == 0;
        int n = work.Train.Rows, own = work.Train.Features, most = alone ? MostAlone : MostColumns;
        double all = own + announced.Sum(), crossing = own + announced.Sum(count => Math.Min(count, n));
        bool unpenalised = !alone && _plan.Job.Model.L2 == 0 && all > n;
        if (trained && !alone && all + (work.Train.FreeIntercept ? 1 : 0) >= n)
            return new(InferenceFault.TooFewRows);
        for (int p = 0; p < announced.Length && _plan.Job.Inference; p++)
        {
            // Not of columns that are too many by themselves, which the error below says.
            double mixed = Math.Min(announced[p], n);
            if (mixed > MostColumns || GlmMessageRoom.TakesCovariance(mixed, passives[p]))
                continue;
            if (trained)
                return new(InferenceFault.TooManyColumns);
            GlmMessageRoom.CheckCovariance((long)mixed, [passives[p]]);
        }

        if (!unpenalised && crossing <= most && crossing * n <= Array.MaxLength && announced.All(count => count * Math.Pow(Math.Min(count, n), 2) <= Math.Pow(MostColumns, 3)))
            return null;
        if (trained)
            return new(InferenceFault.TooManyColumns);
        throw new BadInputException(GlmErrors.TooManyColumns, "the columns of all parties together", unpenalised
            ? $"there are {all} of them and {n} training rows, and model.l2 is 0: many sets of weights fit equally well."
            : $"there are {all} of them and {n} training rows, more than the active party solves for at once (about {most} columns, or rows where those are fewer).",
            unpenalised ? "Set model.l2 above 0, or use fewer columns or more rows; optimizer lbfgs, without evaluation.inference, finds one of the sets." : "Use optimizer lbfgs, without evaluation.inference.");
    }
}

/// <summary>The active party's columns and the mixed ones of the passive parties.</summary>
/// <param name="Rows">Shape [n x (own + mixed)].</param>
/// <param name="Blocks">First mixed column and their number, for each passive party.</param>
internal sealed record JointColumns(DenseMatrix Rows, IReadOnlyList<(int First, int Count)> Blocks);

internal sealed partial class GlmPassiveTrainer
{
    private ColumnMixing? _mixing;
    private string _dependent = "";

    private async Task<(int Rounds, GlmStopReason Reason)> IrlsAsync(CancellationToken cancellationToken)
    {
        LinearPart own = work.Train;
        ColumnMixing mixing = await SendMixedColumnsAsync(0, trained: false, cancellationToken).ConfigureAwait(false) ?? throw ColumnMixing.Dependent(work.Zeros, _dependent);
        int k = own.Outputs;
        Scalars mixed = await _clock.WaitAsync(RoundClock.Now, ChannelGuard.ReceiveScalarsAsync(active, 0, ScalarsKind.Direction, k * mixing.Count, cancellationToken)).ConfigureAwait(false);
        for (int m = 0; m < k; m++)
            mixing.Weights(mixed.Values.Span.Slice(m * mixing.Count, mixing.Count)).CopyTo(_weights, m * own.Features);
        Scalars end = await _clock.WaitAsync(RoundClock.Now, ChannelGuard.ReceiveScalarsAsync(active, 0, ScalarsKind.Step, 2, cancellationToken)).ConfigureAwait(false);
        int iterations = (int)Math.Clamp(end.Values.Span[0], 1, _plan.Epochs);
        work.Report(iterations, null);
        return (iterations, ChannelGuard.Choice<GlmStopReason>(end.Values.Span[1], active, 0));
    }

    /// <summary>Announces the number of columns and, where the active party takes so many, mixes them, announces the number of mixed ones and sends them, one a message.</summary>
    /// <returns>The mixing; null where columns are too many, or standard errors need all of them and they depend on each other, of which nothing has been sent.</returns>
    private async Task<ColumnMixing?> SendMixedColumnsAsync(int round, bool trained, CancellationToken cancellationToken)
    {
        LinearPart own = work.Train.With(1, intercept: false);
        await SendScalarsAsync(round, [own.Features], cancellationToken).ConfigureAwait(false);
        Scalars verdict = await _clock.WaitAsync(RoundClock.Now, ChannelGuard.ReceiveScalarsAsync(active, round, ScalarsKind.Step, 1, cancellationToken)).ConfigureAwait(false);
        if (verdict.Values.Span[0] != 0)
            return trained ? null : throw ProtocolErrors.Peer(ProtocolErrors.UnexpectedMessage, active.RemoteParty, $"round {round}", "took no columns, and trains with them.",
                "Check that both parties run the same release of the software.");

        // Off this thread, which thus hears of a cancellation in the middle of a factorisation.
        (_mixing, int[] dependent) = await ChannelGuard.ComputeAsync([active], _ => ColumnMixing.Of(own, penalised: _plan.Job.Model.L2 > 0, needsAll: _plan.Job.Inference), cancellationToken).ConfigureAwait(false);
        _dependent = FeatureMap.Listed([.. dependent.Select(j => work.Columns[j])], 10);
        if (_mixing is not { } mixing)
        {
            if (trained)
                await SendScalarsAsync(round, [MissingInference.NoColumns], cancellationToken).ConfigureAwait(false);
            return null;
        }

        await SendScalarsAsync(round, [mixing.Count], cancellationToken).ConfigureAwait(false);
        for (int j = 0; j < mixing.Count; j++)
        {
            double[] column = new double[own.Rows];
            own.Scores(0, mixing.Direction(j), column);
            work.CheckFinite(round, column);
            await _clock.WaitAsync(RoundClock.Now, active.SendAsync(round, Disclosure.Unprotected(new Scores(column), GlmReleases.MixedColumns), cancellationToken)).ConfigureAwait(false);
        }

        return mixing;
    }
}
