using System.Globalization;
using FedLearn.Diagnostics;

namespace FedLearn.Privacy;

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

    /// <summary>Refuses a charge that does not fit beside what a ledger holds already. A ledger calls it in the transaction in which it writes the charge.</summary>
    /// <param name="entries">All charges of the ledger. A run that is among them has been paid for, and fits.</param>
    /// <param name="charge">What a run would cost.</param>
    /// <param name="place">Where the ledger is, for the error.</param>
    /// <param name="runs">How many such runs, at least 1.</param>
    /// <exception cref="PrivacyRefusedException">FL5020: over the budget; the message says what is left.</exception>
    /// <remarks>A budget holds for records and for labels. A label is part of its record, so charges for records count for labels as well, and what was
    /// spent on labels is never less: a charge of either kind fits when it fits beside that. A zero-out charge counts twice.</remarks>
    public void Check(IEnumerable<LedgerEntry> entries, PrivacyCharge charge, string place, int runs = 1)
    {
        ArgumentNullException.ThrowIfNull(entries);
        ArgumentNullException.ThrowIfNull(charge);
        ArgumentException.ThrowIfNullOrEmpty(place);
        ArgumentOutOfRangeException.ThrowIfLessThan(runs, 1);
        LedgerEntry[] all = [.. entries];
        if (all.Any(e => e.Charge.RunId == charge.RunId))
            return;
        PrivacyTotal spent = Sum(all.Where(e => e.Costs(charge.Party, charge.DataSet, PrivacyUnit.Label)));
        PrivacyTotal wanted = Sum([new LedgerEntry(charge with { PureEpsilon = runs * charge.PureEpsilon, MuSquared = runs * charge.MuSquared }, ChargeState.Reserved, 1, default)]);
        if ((spent + wanted).Fits(Epsilon, Delta))
            return;
        bool pure = charge.MuSquared == 0;
        double left = Left(spent, pure, charge.Adjacency);
        if (runs > 1 && left > 0)
        {
            // Of Gaussian releases nothing is left at delta 0, where they have no epsilon.
            double cost = wanted.Epsilon(pure ? 0 : Delta);
            throw PrivacyErrors.Refused(PrivacyErrors.BudgetSpent, place, string.Create(CultureInfo.InvariantCulture,
                $"{runs} runs of the job cost up to epsilon {cost:0.####} together, and would exceed the lifetime budget (epsilon {Epsilon:R} at delta {Delta:R}) of the people in the table; what is left for all of them together is epsilon {left:0.####} at delta {(pure ? 0 : Delta):R}."),
                "Plan fewer runs, which of a cross-validation are fewer folds or a smaller grid; ask for less in each; or raise the budget, which is a decision about these people and not about the software.");
        }

        throw PrivacyErrors.Refused(PrivacyErrors.BudgetSpent, place, string.Create(CultureInfo.InvariantCulture,
            $"the job would exceed the lifetime budget (epsilon {Epsilon:R} at delta {Delta:R}) of the people in the table; what is left for one more job is epsilon {left:0.####} at delta {(pure ? 0 : Delta):R}."),
            left > 0 ? "Ask for no more than that, or raise the budget, which is a decision about these people and not about the software."
            : "Raise the budget, which is a decision about these people and not about the software, or use the data no more.");
    }

    /// <summary>Refuses what is no budget.</summary>
    /// <exception cref="ConfigurationException">FL2301: epsilon or delta is outside its range.</exception>
    public void Validate()
    {
        if (!(Epsilon >= 0 && double.IsFinite(Epsilon) && Delta >= 0 && Delta < 1))
            throw new ConfigurationException(PrivacyErrors.InvalidBudget, "ledger budget", "epsilon is not a finite number of at least 0, or delta not at least 0 and below 1.",
                "Give a budget such as epsilon 3 and delta 1e-5.");
    }

    private static PrivacyTotal Sum(IEnumerable<LedgerEntry> entries) => entries.Aggregate(PrivacyTotal.Zero, (sum, e) => sum + new PrivacyTotal(e.PureEpsilon, e.MuSquared));
}
