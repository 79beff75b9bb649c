namespace FedLearn.Privacy;

/// <summary>Noise on a histogram of the items of a party's training events, such as popularity or the shares of a logQ correction, and what it costs.</summary>
/// <param name="Noise">The noise, of one release.</param>
/// <param name="Unit">The unit that the budget is for: replacing the item of one event (sample, event), or of all of a user's M.</param>
/// <param name="Sensitivity">L2 distance that the counts can move: sqrt 2, or sqrt 2 M, and the slack of the lattice.</param>
public sealed record HistogramCalibration(NoiseCalibration Noise, EmbeddingUnit Unit, double Sensitivity)
{
    /// <summary>Finds the noise that keeps a budget.</summary>
    /// <param name="unit">What the budget is for.</param>
    /// <param name="maxSamplesPerUser">Cap M on a user's events in the histogram; needed for unit user.</param>
    /// <param name="events">Bound on the count of one item, such as the public number of training events. At least 1.</param>
    /// <param name="epsilon">Privacy loss in nats. Finite, above 0.</param>
    /// <param name="delta">Probability of exceeding it. Above 0 and below 0.1.</param>
    /// <exception cref="Diagnostics.ConfigurationException">FL2301, FL2313: a number out of range.</exception>
    /// <exception cref="Diagnostics.PrivacyRefusedException">FL5144: unit user without M; FL5004, FL5005: the budget.</exception>
    public static HistogramCalibration Calibrate(EmbeddingUnit unit, int? maxSamplesPerUser, int events, double epsilon, double delta)
    {
        var p = new EmbeddingParameters { Claim = EmbeddingClaim.OwnMessages, Clip = 1, Width = 1, BatchSize = events, MaxSamplesPerUser = maxSamplesPerUser, HistoryEvents = 0 };
        p.Validate();
        p.CheckUnit(unit);
        HdpVflCalibration.CheckBudget(epsilon, delta);
        int moved = unit == EmbeddingUnit.User ? maxSamplesPerUser!.Value : 1;
        // M events of one item become M of another; spread over more items they move the counts less. Counts are no multiples of the step: 2M of them may be rounded.
        double exact = Math.Sqrt(2) * moved, mu = GaussianDp.Mu(epsilon, delta);
        double sigma = HdpVflCalibration.WithLattice(exact * (1 + 1e-15), mu, Math.Sqrt(2.0 * moved));
        return new(new(mu, sigma, 1, events), unit, exact + sigma / INoiseSource.LatticeScale * Math.Sqrt(2.0 * moved));
    }
}
