using FedLearn.Privacy.Numerics;

namespace FedLearn.Privacy;

/// <summary>Transcript sensitivities of HDP-VFL for replace-one neighbours.</summary>
/// <remarks>Given everything it received, a party's weights on neighbouring tables drift apart by at most D_t: D_0 = 0,
/// D_{t+1} = min(2k, c D_t + increment if the replaced row is in batch t), c the contraction factor of a step. Its message then moves by the
/// row's own bound and, on each other row of the batch, by at most others(D_t). The received values may be chosen by an adversary.
/// Results are rounded up by at most 5e-14 relative.</remarks>
public static class HdpVflSensitivity
{
    /// <summary>Rounding up: sums and the recursion run in double-double arithmetic, elementary functions err by a few 1e-16.</summary>
    private const double Margin = 2e-14;

    /// <summary>The exact recursion, with projection, contraction and the family's own bounds.</summary>
    /// <param name="parameters">The job's public numbers.</param>
    /// <returns>Both parties' bounds.</returns>
    /// <exception cref="Diagnostics.ConfigurationException">FL2300, FL2302: a number out of range; FL2303: the bound is not finite.</exception>
    /// <exception cref="Diagnostics.PrivacyRefusedException">FL5000, FL5001, FL5002: see <see cref="HdpVflParameters.Validate"/>.</exception>
    public static HdpVflBounds Tight(HdpVflParameters parameters)
    {
        ArgumentNullException.ThrowIfNull(parameters);
        parameters.Validate(Calibration.Tight);
        return new(Worst(parameters, ActiveTerms(parameters)), Worst(parameters, PassiveTerms(parameters)));
    }

    /// <summary>The published formulas: final drift at all steps, no contraction, no cap, own bound 2k + drift (HDP-VFL, arXiv 2009.02763).</summary>
    /// <param name="parameters">The job's public numbers; the row norm is 1.</param>
    /// <returns>Both parties' bounds; the own term is what the replaced row gives without drift.</returns>
    /// <remarks>With L = C, b = floor(n/r), D = 2 eta L e/b and q = beta_theta k + beta_y k_y: passive T b D^2 + e (4k^2 + 4kD), active
    /// T b (beta_theta D)^2 + e (4q^2 + 4q beta_theta D), each under a square root. Gaussian: beta_theta = beta_y = 1; binomial: 0.25, 1.1 and
    /// k_y = 1 unless given; Poisson: e^(2k), 1, the linear predictor held within +-2k.</remarks>
    /// <exception cref="Diagnostics.ConfigurationException">FL2300, FL2302: a number out of range; FL2303: the bound is not finite.</exception>
    /// <exception cref="Diagnostics.PrivacyRefusedException">FL5000 to FL5003: see <see cref="HdpVflParameters.Validate"/>.</exception>
    public static HdpVflBounds Paper(HdpVflParameters parameters)
    {
        ArgumentNullException.ThrowIfNull(parameters);
        HdpVflParameters p = parameters;
        p.Validate(Calibration.Paper);
        (double betaTheta, double betaY) = p.Family switch
        {
            GlmFamilyKind.Gaussian => (1.0, 1.0),
            GlmFamilyKind.Binomial => (0.25, 1.1),
            _ => (Math.Exp(2 * p.WeightNorm), 1.0),
        };
        double b = p.Rows / p.Batches, drift = 2 * p.StepSize * p.ResidualClip * p.Epochs / b;
        double q = betaTheta * p.WeightNorm + betaY * (p.TargetBound ?? 1);
        return new(Bound(q, betaTheta * drift), Bound(p.WeightNorm, drift));

        PartyBound Bound(double own, double moved) =>
            Round((DoubleDouble)(4.0 * p.Epochs) * own * own,
                (DoubleDouble)(b * p.Releases) * moved * moved + (DoubleDouble)(4.0 * p.Epochs) * own * moved, 0);
    }

    /// <summary>What the recursion needs to know of a party.</summary>
    /// <param name="Own">Bound on the movement of the replaced row's own entry.</param>
    /// <param name="Contraction">c, at most 1.</param>
    /// <param name="Increment">Increment of D times the batch size: 2 eta R times the residual bound.</param>
    /// <param name="Others">Bound on the movement of another row's entry, given D.</param>
    private readonly record struct Terms(double Own, DoubleDouble Contraction, DoubleDouble Increment, Func<double, double> Others);

    /// <summary>Passive party: with the received residuals given, its step is affine in w, so c = |1 - eta lambda| for any data.</summary>
    private static Terms PassiveTerms(HdpVflParameters p) => new(
        2 * p.RowNorm * p.WeightNorm,
        Contraction(p, p.L2),
        (DoubleDouble)2 * p.StepSize * p.RowNorm * p.ResidualClip,
        drift => p.RowNorm * drift);

    /// <summary>Active party: its step descends a convex function, (lambda + beta R^2)-smooth, whatever scores it received.</summary>
    private static Terms ActiveTerms(HdpVflParameters p)
    {
        double clip = p.ResidualClip, norm = p.RowNorm, target = p.TargetBound ?? 0, beta = p.Smoothness;
        DoubleDouble contraction = DoubleDouble.Max(Contraction(p, p.L2), Contraction(p, (DoubleDouble)norm * norm * beta + p.L2));
        DoubleDouble step = (DoubleDouble)2 * p.StepSize * norm;
        switch (p.Family)
        {
            // Residual theta - y, clipped: own |theta - theta'| + |y - y'|, others 1-Lipschitz.
            case GlmFamilyKind.Gaussian:
                return new(Math.Min(2 * clip, 2 * (norm * p.WeightNorm + target)), contraction, step * clip,
                    drift => Math.Min(2 * clip, norm * drift));

            // Residual sigmoid(theta) - y. Own: sup over the received m of sigmoid(kR - m) + sigmoid(kR + m) = 2 sigmoid(kR).
            // Others: sup of sigmoid(m + u/2) - sigmoid(m - u/2) = tanh(u/4).
            case GlmFamilyKind.Binomial:
                return new(Math.Min(2 * clip, 2 / (1 + Math.Exp(-norm * p.WeightNorm))), contraction, step * Math.Min(clip, 1),
                    drift => Math.Min(2 * clip, Math.Tanh(norm * drift / 4)));

            // Residual e^theta - y lies in [-min(C, k_y), C], and moves only while e^theta < C + y <= C + k_y.
            default:
                double own = clip + Math.Min(clip, target);
                return new(own, contraction, step * clip, drift => Math.Min(own, beta * norm * drift));
        }
    }

    /// <summary>|1 - eta curvature|, or 1 when a coordinate is not penalised.</summary>
    private static DoubleDouble Contraction(HdpVflParameters p, DoubleDouble curvature)
    {
        DoubleDouble factor = DoubleDouble.Abs(1 - curvature * p.StepSize);
        return p.FreeIntercept ? DoubleDouble.Max(1, factor) : factor;
    }

    /// <summary>The worst record over all batch positions: Delta^2 = max over j of the sum over t, the maximum outside the sum.</summary>
    private static PartyBound Worst(HdpVflParameters p, Terms terms)
    {
        // Records of one batch have one bound, and D depends on the batch only through its size and a shift in time: before the record's
        // first visit D is 0. So two recursions (ceil and floor) serve all r positions.
        var layout = new BatchLayout(p.Rows, p.Batches);
        int r = layout.Count, larger = layout.Larger;
        var (large, small) = (default(Columns), Columns.Of(p, terms, layout.SmallestSize));
        if (larger > 0)
            large = Columns.Of(p, terms, layout.LargestSize);

        (DoubleDouble worst, int position) = (-1, 0);
        for (int t = 0; t < r; t++)
        {
            // Sum over the steps s after the first visit, batch (t + s) mod r having floor + 1 rows when that index is below `larger`, with
            // phase q = s mod r: phases below r - t occur in every epoch, the others once less.
            Columns columns = t < larger ? large : small;
            double[] all = columns.Every, fewer = columns.ButLast;
            DoubleDouble drift = (DoubleDouble)layout.SmallestSize * (all[r - t] + (fewer[r] - (DoubleDouble)fewer[r - t]))
                + (fewer[Math.Min(r, larger + r - t)] - (DoubleDouble)fewer[r - t])
                + all[Math.Max(0, Math.Min(larger, r) - t)]
                + (DoubleDouble)(layout.Size(t) - 1) * columns.OwnBatch;
            if (drift.Hi > worst.Hi)
                (worst, position) = (drift, t);
        }

        return Round((DoubleDouble)p.Epochs * terms.Own * terms.Own, worst, position);
    }

    private static PartyBound Round(DoubleDouble ownSquared, DoubleDouble driftSquared, int position)
    {
        double sensitivity = Up(ownSquared + driftSquared);
        if (!double.IsFinite(sensitivity))
            throw PrivacyErrors.Configuration(PrivacyErrors.BoundOverflow, "weightNorm, residualClip, rowNorm, target bound",
                "the sensitivity is beyond the range of a double.", "Use smaller bounds.");
        return new(sensitivity, Up(ownSquared), Up(driftSquared), position);

        static double Up(DoubleDouble square) => Math.Sqrt(square.Hi) * (1 + Margin);
    }

    /// <summary>Sums over the epochs of others(D)^2 at each phase q (steps since the record's last visit), for one batch size.</summary>
    /// <param name="Every">Element q: sum over the phases 1 to q - 1 and all epochs. Length r + 1.</param>
    /// <param name="ButLast">The same without the last epoch.</param>
    /// <param name="OwnBatch">Sum over all epochs at phase 0, the record's own batch.</param>
    private readonly record struct Columns(double[] Every, double[] ButLast, DoubleDouble OwnBatch)
    {
        public static Columns Of(HdpVflParameters p, Terms terms, int size)
        {
            int r = p.Batches, epochs = p.Epochs;
            DoubleDouble increment = terms.Increment / size, cap = 2 * p.WeightNorm, drift = DoubleDouble.Zero;
            var sums = new DoubleDouble[r];
            int epoch = 0;
            while (epoch < epochs - 1)
            {
                DoubleDouble start = drift;
                RunEpoch(1);
                epoch++;

                // Once an epoch ends where it began (the cap, or the balance of contraction and increments), the rest are like it.
                if (drift.Hi == start.Hi && Math.Abs(drift.Lo - start.Lo) <= 1e-30 * drift.Hi && epoch < epochs - 1)
                {
                    RunEpoch(epochs - 1 - epoch);
                    epoch = epochs - 1;
                }
            }

            double[] butLast = Prefix(sums);
            RunEpoch(1);
            return new(Prefix(sums), butLast, sums[0]);

            void RunEpoch(int times)
            {
                for (int q = 0; q < r; q++)
                {
                    double others = terms.Others(drift.Hi);
                    sums[q] += DoubleDouble.Product(others, others) * times;
                    drift = terms.Contraction * drift;
                    if (q == 0)
                        drift += increment;
                    drift = DoubleDouble.Min(cap, drift);
                }
            }
        }

        private static double[] Prefix(DoubleDouble[] sums)
        {
            var prefix = new double[sums.Length + 1];
            DoubleDouble sum = DoubleDouble.Zero;
            for (int q = 1; q < sums.Length; q++)
            {
                sum += sums[q];
                prefix[q + 1] = sum.Hi;
            }

            return prefix;
        }
    }
}
