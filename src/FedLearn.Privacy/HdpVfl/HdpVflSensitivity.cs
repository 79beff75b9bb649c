using FedLearn.Privacy.Numerics;

namespace FedLearn.Privacy;

/// <summary>Transcript sensitivities of HDP-VFL.</summary>
/// <remarks>Given everything it received, a party's weights on neighbouring tables drift apart by at most D_t: D_0 = 0,
/// D_{t+1} = min(2k, c D_t + increment if the changed row is in batch t), c the contraction factor of a step. Its message then moves by the
/// row's own bound and, on each other row of the batch, by at most others(D_t). The received values may be chosen by an adversary.
/// Results are rounded up by at most 5e-14 relative. Proofs: docs/proofs/sensitivity.md.</remarks>
public static class HdpVflSensitivity
{
    /// <summary>Rounding up: sums and the recursion run in double-double arithmetic, elementary functions err by a few 1e-16.</summary>
    private const double Margin = 2e-14;

    /// <summary>The exact recursion, with projection, contraction and the family's own bounds.</summary>
    /// <param name="parameters">The job's public numbers.</param>
    /// <returns>Both parties' bounds.</returns>
    /// <exception cref="Diagnostics.ConfigurationException">FL2300, FL2302: a number out of range; FL2303: the bound is not finite.</exception>
    /// <exception cref="Diagnostics.PrivacyRefusedException">FL5000, FL5001, FL5002, FL5014: see <see cref="HdpVflParameters.Validate"/>.</exception>
    public static HdpVflBounds Tight(HdpVflParameters parameters)
    {
        ArgumentNullException.ThrowIfNull(parameters);
        parameters.Validate(Calibration.Tight);
        return new(Worst(parameters, ActiveTerms(parameters)),
            parameters.Unit == PrivacyUnit.Label ? new(0, 0, 0, 0) : Worst(parameters, PassiveTerms(parameters)));
    }

    /// <summary>What one visit of the changed row moves when both tables reach it with the same weights.</summary>
    /// <param name="p">The job's public numbers, validated.</param>
    /// <param name="side">Which party.</param>
    /// <returns>Bound on the row's own entry, and on its part of the gradient's sum, both as L2 norms.</returns>
    internal static (double Own, double Gradient) Visit(HdpVflParameters p, PartySide side)
    {
        Terms terms = side == PartySide.Active ? ActiveTerms(p) : PassiveTerms(p);
        // A record's part of the gradient moves by kappa R U C, the constant of the weight-noise theorem for either side and any family that clips.
        double bound = side == PartySide.Active && p.Family == GlmFamilyKind.Multinomial ? p.ResidualBound : p.ReceivedBound;
        double residual = p.Unit == PrivacyUnit.Label ? terms.Residual : p.Kappa * bound;
        return (terms.Own, p.RowNorm * residual);
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
                (DoubleDouble)(b * p.Releases) * moved * moved + (DoubleDouble)(4.0 * p.Epochs) * own * moved, 0) with
            { FinalDrift = Math.Min(2 * p.WeightNorm, drift) * (1 + Margin) };
    }

    /// <summary>Most batches of a fixed partition; the recursion keeps two numbers and more for each, about a gigabyte here.</summary>
    internal const int MostBatches = 1 << 25;

    /// <summary>What the recursion needs to know of a party.</summary>
    /// <param name="Own">Bound on the movement of the changed row's own entry; for unit label, at equal weights.</param>
    /// <param name="Residual">Bound on the movement of the row's residual times its unit vector: eta R times it over b is the increment of D.</param>
    /// <param name="Contraction">c, at most 1.</param>
    /// <param name="Others">Bound on the movement of another row's entry, given D.</param>
    private readonly record struct Terms(double Own, double Residual, DoubleDouble Contraction, Func<double, double> Others);

    /// <summary>Passive party: with the received residuals given, its step is affine in w, so c = |1 - eta lambda| for any data.</summary>
    private static Terms PassiveTerms(HdpVflParameters p) => new(
        p.Kappa * p.RowNorm * p.WeightNorm,
        p.Kappa * p.ReceivedBound,
        Contraction(p, p.L2),
        drift => p.RowNorm * drift);

    /// <summary>Active party: its step descends a convex function, (lambda + U beta R^2)-smooth, whatever scores it received.</summary>
    private static Terms ActiveTerms(HdpVflParameters p)
    {
        double clip = p.ResidualClip, norm = p.RowNorm, weight = p.LargestWeight, target = p.TargetBound ?? 0;
        double score = norm * p.WeightNorm + p.OffsetBound, beta = p.Smoothness;
        DoubleDouble contraction = DoubleDouble.Max(Contraction(p, p.L2), Contraction(p, (DoubleDouble)norm * norm * p.ExactSmoothness + p.L2));

        // Bounds before the weight u: `change` on |r - r'| of a replaced record, `label` on that of a replaced label at one linear predictor,
        // `largest` on |r|. The received score is arbitrary, so `largest` is attained, by zero-out and by a weight that goes from U to 0.
        (double change, double label, double largest) = p.Family switch
        {
            // Residual theta - y: |theta - theta'| + |y - y'| at most.
            GlmFamilyKind.Gaussian => (Math.Min(2 * clip, 2 * (score + target)), Math.Min(2 * clip, 2 * target), clip),

            // Residual sigmoid(theta) - y, y in {0, 1}: sup over the received m of sigmoid(h - m) + sigmoid(h + m) = 2 sigmoid(h).
            GlmFamilyKind.Binomial => (Math.Min(2 * clip, 2 / (1 + Math.Exp(-score))), Math.Min(2 * clip, 1), Math.Min(clip, 1)),

            // Residual e^theta - y lies in [-min(C, k_y), C].
            GlmFamilyKind.Poisson => (clip + Math.Min(clip, target), Math.Min(clip + Math.Min(clip, target), target), clip),

            // Residual p - e_y, unclipped, at most sqrt 2 long; a label alone moves e_y, by sqrt 2.
            GlmFamilyKind.Multinomial => (2 * p.ResidualBound / weight, p.ResidualBound / weight, p.ResidualBound / weight),

            // Any residual clipped to [-C, C].
            _ => (2 * clip, 2 * clip, clip),
        };

        double own = weight * (p.Unit, p.Adjacency) switch
        {
            (PrivacyUnit.Label, _) => label,
            (_, Adjacency.ZeroOut) => largest,
            _ => p.WeightBound is null ? change : Math.Max(change, largest),
        };
        double residual = p.Unit == PrivacyUnit.Label ? own : p.Kappa * p.ResidualBound;

        // Other rows: beta R D, but for binomial the sup of sigmoid(m + v/2) - sigmoid(m - v/2) = tanh(v/4). Never more than the range of the residual at
        // one label: for classes two probability vectors are at most sqrt 2 apart.
        Func<double, double> others = p.Family switch
        {
            GlmFamilyKind.Binomial => drift => weight * Math.Min(2 * clip, Math.Tanh(norm * drift / 4)),
            GlmFamilyKind.Poisson => drift => Math.Min(weight * change, beta * norm * drift),
            GlmFamilyKind.Multinomial => drift => Math.Min(p.ResidualBound, beta * norm * drift),
            _ => drift => Math.Min(weight * 2 * clip, beta * norm * drift),
        };
        return new(own, residual, contraction, others);
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
        if (p.Schedule == BatchSchedule.Reshuffled)
            return Envelope(p, terms);

        if (p.Batches > MostBatches)
            throw PrivacyErrors.Configuration(PrivacyErrors.InvalidLayout, "batches", FormattableString.Invariant($"there are more than {MostBatches:N0} of them an epoch, and a fixed partition needs a sum for each."),
                "Use fewer batches, reshuffled ones, or weight noise.");

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

        // The smaller batch has the larger increments, and the last batch the fewest steps after its last visit: both are the last position.
        return Finish(p, terms, worst, position, small.OwnBatch, small.AfterLastVisit);
    }

    /// <summary>A bound over all schedules that visit each row once an epoch, in batches of the layout's sizes.</summary>
    /// <remarks>With factor 1 instead of c, D never falls. So before its m-th visit, from 0, D is at most D_m = min(2k, m increment) with the
    /// smallest batch in the increment, and after it at most D_{m+1}, wherever in the epochs the visits are. An epoch has b - 1 other rows in
    /// the record's batch and n - b elsewhere, which move by others(D_m) and others(D_{m+1}) at most: most with the smallest b.</remarks>
    private static PartyBound Envelope(HdpVflParameters p, Terms terms)
    {
        int size = new BatchLayout(p.Rows, p.Batches).SmallestSize;
        DoubleDouble increment = Increment(p, terms, size), cap = 2 * p.WeightNorm, drift = 0, sum = 0, ownBatch = 0;
        for (int epoch = 0; epoch < p.Epochs; epoch++)
        {
            DoubleDouble next = DoubleDouble.Min(cap, drift + increment);
            double before = terms.Others(drift.Hi), after = terms.Others(next.Hi);
            int times = next == drift ? p.Epochs - epoch : 1;
            ownBatch += DoubleDouble.Product(before, before) * times;
            sum += (DoubleDouble.Product(before, before) * (size - 1) + DoubleDouble.Product(after, after) * (p.Rows - size)) * times;
            if (times > 1)
                break;
            drift = next;
        }

        return Finish(p, terms, sum, 0, ownBatch, DoubleDouble.Min(cap, increment * p.Epochs));
    }

    private static DoubleDouble Increment(HdpVflParameters p, Terms terms, int size) => (DoubleDouble)p.StepSize * p.RowNorm * terms.Residual / size;

    // Unit label: the row's features are the same in both tables, but its weights are not, so that its entry moves by `Own` and, like any other
    // row's, by others(D). By Minkowski's inequality the sequence moves by the root of the sum of others(D)^2 over the visits more.
    private static PartyBound Finish(HdpVflParameters p, Terms terms, DoubleDouble driftSquared, int position, DoubleDouble ownBatch, DoubleDouble last) =>
        Round((DoubleDouble)p.Epochs * terms.Own * terms.Own, driftSquared, position) with
        {
            OwnRowSlack = p.Unit == PrivacyUnit.Label ? Up(ownBatch) : 0,
            FinalDrift = last.Hi * (1 + Margin),
        };

    private static PartyBound Round(DoubleDouble ownSquared, DoubleDouble driftSquared, int position)
    {
        double sensitivity = Up(ownSquared + driftSquared);
        // Smaller squares lose digits, and their root would be less than the sensitivity, down to 0.
        if (!double.IsFinite(sensitivity) || ownSquared.Hi < 1e-270)
            throw PrivacyErrors.Configuration(PrivacyErrors.BoundOverflow, "weightNorm, residualClip, rowNorm, target bound",
                "the square of the sensitivity is beyond the range of a double.", "Use bounds that are nearer to 1.");
        return new(sensitivity, Up(ownSquared), Up(driftSquared), position);
    }

    private static double Up(DoubleDouble square) => Math.Sqrt(square.Hi) * (1 + Margin);

    /// <summary>Sums over the epochs of others(D)^2 at each phase q (steps since the record's last visit), for one batch size.</summary>
    /// <param name="Every">Element q: sum over the phases 1 to q - 1 and all epochs. Length r + 1.</param>
    /// <param name="ButLast">The same without the last epoch.</param>
    /// <param name="OwnBatch">Sum over all epochs at phase 0, the record's own batch.</param>
    /// <param name="AfterLastVisit">D right after the record's last visit.</param>
    private readonly record struct Columns(double[] Every, double[] ButLast, DoubleDouble OwnBatch, DoubleDouble AfterLastVisit)
    {
        public static Columns Of(HdpVflParameters p, Terms terms, int size)
        {
            int r = p.Batches, epochs = p.Epochs;
            DoubleDouble increment = Increment(p, terms, size), cap = 2 * p.WeightNorm, drift = DoubleDouble.Zero;
            DoubleDouble afterVisit = drift;
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
            return new(Prefix(sums), butLast, sums[0], afterVisit);

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
                    if (q == 0)
                        afterVisit = drift;
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
