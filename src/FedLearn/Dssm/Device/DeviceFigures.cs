using FedLearn.Privacy;

namespace FedLearn.Dssm;

/// <summary>What the noise of a device job is, and what it promises.</summary>
internal static class DeviceFigures
{
    /// <summary>Smallest noise multiplier that keeps the job's budget, or the declared one.</summary>
    public static double Multiplier(DeviceJob job, int honestSurvivors, int coordinates)
    {
        DevicePrivacyOptions privacy = job.Privacy;
        if (privacy.NoiseMultiplier is { } declared)
            return declared;
        PrivacyBudget budget = privacy.Budget!;
        double slack = Slack(honestSurvivors, coordinates);
        if (privacy.BudgetAgainst == DeviceObserver.Server)
        {
            // mu = sqrt(R) (kappa/sigma + slack), solved for sigma.
            double perAttempt = GaussianDp.Mu(budget.Epsilon, budget.Delta) / Math.Sqrt(privacy.MaxParticipations!.Value);
            if (!(perAttempt > slack))
                throw DeviceErrors.Job("privacy.budget", "no noise on the lattice keeps this budget.", "Use a larger epsilon, or fewer participations.");
            return Math.BitIncrement(Kappa(privacy) / (perAttempt - slack));
        }

        double low = 0.05, high = 0.05;
        while (Later(job, high, slack, budget.Delta) > budget.Epsilon)
            if ((high *= 2) > 1e4)
                throw DeviceErrors.Job("privacy.budget", "no noise within the accountant's range keeps this budget.", "Use a larger epsilon or fewer rounds.");
        for (int i = 0; i < 40 && high - low > 1e-5 * high && high > low; i++)
        {
            double middle = low + (high - low) / 2;
            if (Later(job, middle, slack, budget.Delta) > budget.Epsilon)
                low = middle;
            else
                high = middle;
        }

        return high;
    }

    /// <summary>Both figures, and what the server would learn without masks.</summary>
    public static DevicePrivacyStatement Statement(DevicePlan plan, int coordinates)
    {
        DevicePrivacyOptions privacy = plan.Job.Privacy;
        List<string> claims = [], warnings = [];
        if (!plan.IsPrivate)
        {
            claims.Add(privacy.SecureAggregation
                ? $"updates are not noised; the server, honest but curious, sees sums over at least {plan.Threshold} devices"
                : "updates are neither noised nor masked: the server sees every one");
            return new(false, 0, privacy.Clip, 0, 0, 0, [], claims, warnings);
        }

        double sigma = plan.NoiseMultiplier, slack = Slack(plan.HonestSurvivors, coordinates), kappa = Kappa(privacy), delta = privacy.Budget?.Delta ?? privacy.Delta;
        double perAttempt = kappa / sigma + slack, unmasked = perAttempt * Math.Sqrt(plan.HonestSurvivors);
        double mu = (privacy.SecureAggregation ? perAttempt : unmasked) * Math.Sqrt(plan.MaxParticipations);
        string trust = privacy.Server == DeviceServerTrust.Active ? "an active server" : "server honest but curious";
        string adjacency = privacy.Adjacency == Adjacency.ZeroOut ? "zero-out" : "replace-one";
        double serverEpsilon = GaussianDp.Epsilon(mu, delta);
        var server = new DevicePrivacyFigure(DeviceObserver.Server, mu, serverEpsilon, delta, adjacency, Invariant(
            $"unit device, {adjacency}: ({serverEpsilon:0.0000}, {delta:0.0e+0}) against the server, other views of the device and devices that see the roster, over at most {plan.MaxParticipations} participations; no amplification by sampling; {(privacy.SecureAggregation ? $"{trust}, at most {privacy.Colluders} colluders" : "masking off: the server sees single updates")}"));
        double laterEpsilon = Later(plan.Job, sigma, slack, delta);
        var later = new DevicePrivacyFigure(DeviceObserver.Later, null, laterEpsilon, delta, "add/remove", Invariant(
            $"unit device, add/remove: ({laterEpsilon:0.0000}, {delta:0.0e+0}) against later observers of model versions who know no roster, over {plan.Job.Training.Rounds} rounds; every device throws its own secret coin (q = {plan.Job.Training.Participation:0.####})"));
        claims.Add(server.Claim);
        claims.Add(later.Claim);
        warnings.Add("poisoning cannot be checked under masks: a device that does not clip can move the model, and its norm is not seen");
        warnings.Add(Invariant($"with masking off the server would learn mu {unmasked:0.0000} of a single update in each attempt"));
        warnings.Add("not hidden: which devices are enrolled, which take part in an attempt (to the server), and timing");
        if (privacy.ClipPerView)
            warnings.Add("each view clips to C/V by itself: no code on the device sees all views");
        if (privacy.TestNoiseSeed is not null)
            warnings.Insert(0, "NOT PRIVATE: test noise");
        return new(true, sigma, privacy.Clip, plan.HonestSurvivors, plan.MaxParticipations, unmasked, [server, later], claims, warnings);
    }

    /// <summary>1 when a device is zeroed out, 2 when it is replaced.</summary>
    public static double Kappa(DevicePrivacyOptions privacy) => privacy.Adjacency == Adjacency.ZeroOut ? 1 : 2;

    /// <summary>What rounding to the lattice adds to mu of an attempt: step sqrt(d) over sigma C, step = sigma C/(2^24 sqrt(n_min)).</summary>
    public static double Slack(int honestSurvivors, int coordinates) => Math.Sqrt((double)coordinates / honestSurvivors) / INoiseSource.LatticeScale;

    // Poisson sampling with the devices' own coins, add/remove. A device that has spent its cap or is refused takes part less often, which only helps: given earlier
    // versions its probability is at most q.
    private static double Later(DeviceJob job, double sigma, double slack, double delta) => new PldAccountant(SampleVisibility.HiddenFromObserver,
        new SubsampledGaussian(job.Training.Participation, sigma / (1 + slack * sigma), job.Training.Rounds)).Epsilon(delta).Upper;

    private static string Invariant(FormattableString text) => FormattableString.Invariant(text);
}
