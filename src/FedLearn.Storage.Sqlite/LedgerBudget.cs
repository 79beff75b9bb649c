using FedLearn.Diagnostics;
using FedLearn.Privacy;

namespace FedLearn.Storage.Sqlite;

/// <summary>What one person's record may cost over the life of a ledger, for replacing it.</summary>
/// <param name="Epsilon">Privacy loss in nats; finite, at least 0.</param>
/// <param name="Delta">Probability of exceeding it; at least 0, below 1. With 0 only pure releases are allowed.</param>
public sealed record LedgerBudget(double Epsilon, double Delta)
{
    /// <summary>Largest epsilon that one more job may be calibrated to, at <see cref="Delta"/>.</summary>
    /// <param name="spent">What was spent so far.</param>
    /// <param name="pure">Whether the job's releases are pure (delta 0); otherwise they are Gaussian.</param>
    /// <param name="adjacency">Neighbour relation of the job. A zero-out job counts twice.</param>
    /// <returns>Epsilon in nats, rounded down to four decimals; 0 when nothing is left.</returns>
    public double Left(PrivacyTotal spent, bool pure = false, Adjacency adjacency = Adjacency.ReplaceOne)
    {
        ArgumentNullException.ThrowIfNull(spent);
        bool Fits(double epsilon) => (spent + (pure ? PrivacyTotal.OfPure(epsilon) : PrivacyTotal.OfMu(GaussianDp.Mu(epsilon, Delta)))
            .Group(adjacency == Adjacency.ZeroOut ? 2 : 1)).Fits(Epsilon, Delta);
        if (!pure && Delta == 0)
            return 0;
        // Whole multiples of the last decimal: the smallest that does not fit, by bisection.
        double fits = 0, fails = Math.Ceiling(Math.Min(Epsilon, 1e9) * 1e4) + 2;
        while (fails - fits > 1)
        {
            double middle = Math.Floor((fits + fails) / 2);
            if (Fits(middle / 1e4))
                fits = middle;
            else
                fails = middle;
        }

        return fits / 1e4;
    }

    internal void Check()
    {
        if (!(Epsilon >= 0 && double.IsFinite(Epsilon) && Delta >= 0 && Delta < 1))
            throw new ConfigurationException(PrivacyErrors.InvalidBudget, "ledger budget", "epsilon is not a finite number of at least 0, or delta not at least 0 and below 1.",
                "Give a budget such as epsilon 3 and delta 1e-5.");
    }
}
