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

    /// <summary>Columns of all parties together at most: a square matrix of so many fits in an array.</summary>
    private const int MostColumns = 20_000;

    private async Task<(int Rounds, GlmStopReason Reason)> IrlsAsync(CancellationToken cancellationToken)
    {
        LinearPart own = work.Train;
        (_joint, _) = await JointColumnsAsync(0, trained: false, cancellationToken).ConfigureAwait(false);
        JointColumns joint = _joint!;
        var part = new LinearPart(joint.Rows, own.FreeIntercept, own.Outputs);
        _tolerance = GradientTolerance();
        NewtonResult fit = OneRoundRefit.Fit(part, _plan.Family, train.Labels, train.Offsets, 1, train.Weights, _plan.Job.Model.L2, _tolerance, 0, _plan.Epochs, cancellationToken);
        _gradientNorm = fit.GradientNorm;
        // A start that is the optimum is one iteration all the same.
        int iterations = Math.Max(1, fit.Iterations), k = own.Outputs, d = own.Features, width = part.Features;
        GlmStopReason reason = fit.Converged ? GlmStopReason.Converged : fit.Iterations < _plan.Epochs ? GlmStopReason.NoFurtherDecrease : GlmStopReason.RoundLimit;
        for (int m = 0; m < k; m++)
            fit.Weights.AsSpan(m * width, d).CopyTo(_weights.AsSpan(m * d));
        fit.Weights.AsSpan(part.Penalised).CopyTo(_weights.AsSpan(own.Penalised));
        for (int p = 0; p < passives.Count; p++)
        {
            (int first, int count) = joint.Blocks[p];
            double[] mixed = [.. Enumerable.Range(0, k).SelectMany(m => fit.Weights[(m * width + first)..(m * width + first + count)])];
            work.CheckFinite(iterations, mixed);
            await _clock.WaitAsync(RoundClock.Now, passives[p].SendAsync(0, Disclosure.Unprotected(new Scalars(ScalarsKind.Direction, mixed), "weights of the party's own mixed columns: mode none"),
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
        double most = Array.MaxLength / (double)n;
        MissingInference? missing = d > (_plan.Job.Inference ? Math.Min(MostColumns, most) : most) ? TooMany(d, "") : null;
        var columns = new List<double[]>();
        var blocks = new List<(int First, int Count)>();
        for (int p = 0; p < passives.Count; p++)
        {
            IPartyChannel passive = passives[p];
            Scalars told = await _clock.WaitAsync(RoundClock.Now, ChannelGuard.ReceiveScalarsAsync(passive, round, ScalarsKind.InnerProducts, 1, cancellationToken)).ConfigureAwait(false);
            double count = told.Values.Span[0];
            if (trained && count == MissingInference.NoColumns)
            {
                missing ??= new(InferenceFault.DependentAtParty, p);
                continue;
            }

            // Whitened columns are independent, so no more of them than rows; and all have to fit one matrix.
            if (!(count >= 0 && count <= MostColumns && count == Math.Floor(count)))
                throw ProtocolErrors.Peer(ProtocolErrors.UnexpectedMessage, passive.RemoteParty, "mixed columns", "announced a number of columns that is not legal.",
                    "Use another optimiser, without evaluation.inference, for so many columns.");
            int all = d + columns.Count + (int)count;
            if (all > (_plan.Job.Model.L2 > 0 ? MostColumns : n) || all > Math.Min(MostColumns, most))
                missing ??= TooMany(all, "at least ");

            blocks.Add((d + columns.Count, (int)count));
            for (int j = 0; j < (int)count; j++)
            {
                Scores column = await _clock.WaitAsync(RoundClock.Now, passive.ReceiveAsync<Scores>(round, n, cancellationToken)).ConfigureAwait(false);
                if (missing is null)
                    columns.Add(column.Values.ToArray());
            }
        }

        if (missing is not null)
            return (null, missing);
        var rows = new DenseMatrix(n, d + columns.Count);
        for (int i = 0; i < n; i++)
        {
            Span<double> row = rows.Row(i);
            own.CopyRow(i, row[..d]);
            for (int j = 0; j < columns.Count; j++)
                row[d + j] = columns[j][i];
        }

        return (new JointColumns(rows, blocks), null);

        MissingInference TooMany(int count, string atLeast)
        {
            bool unpenalised = _plan.Job.Model.L2 == 0 && count > n && passives.Count > 0;
            return trained ? new(unpenalised ? InferenceFault.TooFewRows : InferenceFault.TooManyColumns)
                : throw new BadInputException(GlmErrors.TooManyColumns, "the columns of all parties together", unpenalised
                    ? $"there are {atLeast}{count} of them and {n} training rows, and model.l2 is 0: many sets of weights fit equally well."
                    : $"there are {count} of them and {n} training rows, more than one matrix at the active party takes.",
                    unpenalised ? "Set model.l2 above 0, or use fewer columns or more rows; optimizer lbfgs, without evaluation.inference, finds one of the sets." : "Use optimizer lbfgs, without evaluation.inference.");
        }
    }
}

/// <summary>The active party's columns and the mixed ones of the passive parties.</summary>
/// <param name="Rows">Shape [n x (own + mixed)].</param>
/// <param name="Blocks">First mixed column and their number, for each passive party.</param>
internal sealed record JointColumns(DenseMatrix Rows, IReadOnlyList<(int First, int Count)> Blocks);

internal sealed partial class GlmPassiveTrainer
{
    private ColumnMixing? _mixing;

    private async Task<(int Rounds, GlmStopReason Reason)> IrlsAsync(CancellationToken cancellationToken)
    {
        LinearPart own = work.Train;
        ColumnMixing mixing = await SendMixedColumnsAsync(0, cancellationToken).ConfigureAwait(false) ?? throw ColumnMixing.Dependent();
        int k = own.Outputs;
        Scalars mixed = await _clock.WaitAsync(RoundClock.Now, ChannelGuard.ReceiveScalarsAsync(active, 0, ScalarsKind.Direction, k * mixing.Count, cancellationToken)).ConfigureAwait(false);
        for (int m = 0; m < k; m++)
            mixing.Weights(mixed.Values.Span.Slice(m * mixing.Count, mixing.Count)).CopyTo(_weights, m * own.Features);
        Scalars end = await _clock.WaitAsync(RoundClock.Now, ChannelGuard.ReceiveScalarsAsync(active, 0, ScalarsKind.Step, 2, cancellationToken)).ConfigureAwait(false);
        int iterations = (int)Math.Clamp(end.Values.Span[0], 1, _plan.Epochs);
        work.Report(iterations, null);
        return (iterations, ChannelGuard.Choice<GlmStopReason>(end.Values.Span[1], active, 0));
    }

    /// <summary>Announces the number of mixed columns and sends them, one a message.</summary>
    /// <returns>The mixing; null where standard errors need all columns and they depend on each other, of which nothing has been sent.</returns>
    private async Task<ColumnMixing?> SendMixedColumnsAsync(int round, CancellationToken cancellationToken)
    {
        LinearPart own = work.Train.With(1, intercept: false);
        _mixing = ColumnMixing.Of(own, penalised: _plan.Job.Model.L2 > 0, needsAll: _plan.Job.Inference);
        if (_mixing is not { } mixing)
            return null;
        await SendScalarsAsync(round, [mixing.Count], cancellationToken).ConfigureAwait(false);
        for (int j = 0; j < mixing.Count; j++)
        {
            double[] column = new double[own.Rows];
            own.Scores(0, mixing.Direction(j), column);
            work.CheckFinite(round, column);
            await _clock.WaitAsync(RoundClock.Now, active.SendAsync(round, Disclosure.Unprotected(new Scores(column), "mixed columns: mode none"), cancellationToken)).ConfigureAwait(false);
        }

        return mixing;
    }
}
