using System.Numerics.Tensors;

namespace FedLearn.Glm;

/// <summary>The active party's own model beside scores that enter through a logarithmic link.</summary>
/// <param name="Link">How sums of scores enter a prediction.</param>
/// <param name="Weights">Weights of the own features, shape [d].</param>
/// <param name="Offsets">What the noisy scores received say of each training row's linear predictor, shape [n]; not the rows' own offsets.</param>
/// <param name="Converged">Whether the fit that the weights are from converged.</param>
internal sealed record PeerLinkFit(GlmPeerLink Link, double[] Weights, double[] Offsets, bool Converged)
{
    /// <summary>Smallest factor that scores may multiply the mean with.</summary>
    private const double LeastFactor = .1;

    /// <summary>Deviation of the prior of the slope, relative to the expected slope.</summary>
    private const double SlopeDeviation = .35;

    /// <summary>Slopes that are tried, relative to the expected one; two more lie between it and 1.</summary>
    private static readonly double[] Relative = [1, .75, .5, .25];

    /// <summary>How the passive parties' scores enter, and the own model beside them: mean = exp(x.w + o) u max(1 + g (sum - level)/ybar, 1/10), ybar the mean label, u a unit, 1 or ybar.</summary>
    /// <remarks>
    /// <para>The scores were fitted to labels with noise and err by as much as that leaves them. The slope g expected of an exact score is that of a regression on a value with an error of
    /// known variance, signal/(signal + error). Training rows say little of it, since their scores have noise of their own: g is chosen by the deviance with which the own fit beside the
    /// posterior mean of each row's sum describes the true labels, against a normal prior around the expected slope of a third of its width. Slope 0 is in the family.</para>
    /// <para>The training deviance is at most that of the own features alone: where a slope above 0 is the likelier one all the same, but the noise of the scores does more harm than good, the
    /// training rows make nothing of them. The own weights are then those of the features alone, less what these say already of the scores.</para>
    /// </remarks>
    /// <param name="part">Own rows.</param>
    /// <param name="family">Family with the link log.</param>
    /// <param name="targets">True labels, weights and offsets of the rows.</param>
    /// <param name="scores">Sum of the noisy scores received, shape [n]; units of the label.</param>
    /// <param name="level">What they are expected to be on average, from public numbers; units of the label.</param>
    /// <param name="noise">Variance of their noise together; units of the label squared.</param>
    /// <param name="error">From the variance of the labels, the variance of what their noise leaves in exact scores together; units of the label squared.</param>
    /// <param name="cancellationToken">Stops.</param>
    public static PeerLinkFit Of(LinearPart part, IGlmFamily family, GlmTargets targets, double[] scores, double level, double noise, Func<double, double> error, CancellationToken cancellationToken)
    {
        int n = part.Rows;
        double mean = GlmFamilyExtensions.MeanLabel(targets.Labels, targets.Weights), spread = OneRoundRefit.Variance(targets.Labels);
        (double unit, Attempt alone) = (1, Fit(new double[n]));
        // Without an intercept the unit is the level of the mean.
        if (!part.FreeIntercept && mean > 0 && Fit(Filled(n, Math.Log(mean))) is var levelled && levelled.Deviance < alone.Deviance)
            (unit, alone) = (mean, levelled);
        var best = new PeerLinkFit(new GlmPeerLink(unit, LeastFactor * unit) { Slope = 0 }, alone.Weights, Filled(n, Math.Log(unit)), alone.Converged);
        // Labels are at least 0, so that their means differ by no more than the mean itself.
        double signal = Math.Min(mean * mean / 4, OneRoundRefit.ExplainedShare * spread), expected = signal / (signal + error(spread));
        if (!(mean > 0 && expected > 0 && alone.Deviance > 0 && double.IsFinite(noise / signal)))
            return best;

        double[] shares = new double[n];
        TensorPrimitives.Subtract(scores, level, shares);
        // Not with a free intercept, which would take the level from the noisy scores.
        shares = OneRoundRefit.ShareOf(part.With(1, intercept: false), shares, noise, signal, cancellationToken).Mean;
        TensorPrimitives.Add(shares, level, shares);
        level = TensorPrimitives.Sum<double>(shares) / n;
        double least = Unlikely(0, alone.Deviance);
        foreach (double slope in Relative.Select(r => r * expected).Concat([(1 + expected) / 2, 1]))
        {
            var link = new GlmPeerLink(unit * (1 - slope * level / mean), LeastFactor * unit) { Slope = unit * slope / mean };
            double[] offsets = [.. shares];
            link.Apply(offsets);
            Attempt beside = Fit(offsets);
            if (!(Unlikely(slope, beside.Deviance) < least))
                continue;
            least = Unlikely(slope, beside.Deviance);
            best = beside.Deviance <= alone.Deviance ? new PeerLinkFit(link, beside.Weights, offsets, beside.Converged) : Apart(part, alone, unit, link, offsets, cancellationToken);
        }

        return best;

        Attempt Fit(double[] entering)
        {
            double[] sums = [.. entering];
            targets.AddOffsets(0, sums);
            NewtonResult fit = OneRoundRefit.Fit(part, family, targets.Labels, sums, 1, targets.Weights, cancellationToken: cancellationToken);
            TensorPrimitives.Add(sums, fit.Scores, sums);
            return new Attempt(fit.Weights, targets.DevianceSum(family, sums), fit.Converged);
        }

        // Minus the logarithm of the posterior density of a slope; the mean deviance stands for the dispersion.
        double Unlikely(double slope, double deviance)
        {
            double away = (slope / expected - 1) / SlopeDeviation;
            return n * (deviance / alone.Deviance - 1) / 2 + away * away / 2;
        }
    }

    /// <summary>An own fit.</summary>
    /// <param name="Weights">Own weights.</param>
    /// <param name="Deviance">Training deviance, a sum over the rows.</param>
    /// <param name="Converged">Whether it converged.</param>
    private sealed record Attempt(double[] Weights, double Deviance, bool Converged);

    /// <summary>The scores apart from what the own features say of them: on the training rows there is nothing but the own features.</summary>
    private static PeerLinkFit Apart(LinearPart part, Attempt alone, double unit, GlmPeerLink link, double[] offsets, CancellationToken cancellationToken)
    {
        TensorPrimitives.Subtract(offsets, Math.Log(unit), offsets);
        NewtonResult known = OneRoundRefit.Project(part, offsets, cancellationToken);
        double[] weights = new double[alone.Weights.Length];
        TensorPrimitives.Subtract(alone.Weights, known.Weights, weights);
        TensorPrimitives.Add(known.Scores, Math.Log(unit), offsets);
        return new PeerLinkFit(link, weights, offsets, alone.Converged);
    }

    private static double[] Filled(int n, double value)
    {
        double[] values = new double[n];
        values.AsSpan().Fill(value);
        return values;
    }
}
