using System.Globalization;
using System.Runtime.InteropServices;
using System.Security.Cryptography;
using System.Text.Json.Nodes;
using FedLearn.Data;
using FedLearn.Parties;
using FedLearn.Privacy;

namespace FedLearn.Glm;

/// <summary>The active party's labels, released once: drawn for every row of its table, kept in its ledger together with their charge, and sent again
/// by later jobs free of charge, over whatever common rows those have.</summary>
internal sealed class LabelRelease(GlmPlan plan, GlmPartyInput input, GlmPartyOptions options, GlmAccount account)
{
    private int[]? _places;

    /// <summary>Whether an earlier job drew the labels.</summary>
    public bool Reused { get; private set; }

    /// <summary>What both sides know of the randomised response.</summary>
    public static RandomizedResponse ResponseOf(GlmPlan plan) => ResponseOf(plan.Job);

    /// <inheritdoc cref="ResponseOf(GlmPlan)" />
    public static RandomizedResponse ResponseOf(GlmJob job)
    {
        GlmPartyOptions active = job.Parties.First(p => p.Party.Role == Coordination.PartyRole.Active);
        return new((active.Budget ?? job.Privacy.Budget)!.Epsilon, Math.Max(2, job.Model.Family.Outputs));
    }

    /// <summary>Mechanism of continuous or count labels.</summary>
    public NoisyTargetMechanism Mechanism() => Mechanism(plan, options, options.LabelRange!.Value);

    /// <summary>Bytes of the released labels of so many rows. A passive party's job may lack their range, which adds bits only where it lies far from 0 for its width.</summary>
    public static long BytesOf(GlmPlan plan, int rows)
    {
        GlmPartyOptions active = plan.Job.Parties.First(p => p.Party.Role == Coordination.PartyRole.Active);
        return plan.HasClasses ? rows
            : MessageRoom.PackedBytes(rows, (ElementType.Lattice, Mechanism(plan, active, active.LabelRange ?? (-1, 1)).BitsOf(plan.Job.Training.LatticeBits)));
    }

    private static NoisyTargetMechanism Mechanism(GlmPlan plan, GlmPartyOptions active, (double Low, double High) range)
    {
        PrivacyBudget budget = plan.BudgetOf(active)!;
        return new NoisyTargetMechanism(range.Low, range.High, budget.Epsilon, budget.Delta);
    }

    /// <summary>Refuses what the party's budget does not allow, before a peer is met.</summary>
    /// <returns>What would be charged; nothing for labels that an earlier job drew.</returns>
    public PrivacyTotal Check()
    {
        bool labelsOnly = plan.Mode == PrivacyMode.LabelDp;
        if (plan.HasClasses)
        {
            RandomizedResponse response = ResponseOf(plan);
            PrivacyUnit unit = labelsOnly ? PrivacyUnit.Label : PrivacyUnit.Record;
            return account.Ledger.Find(account.Party, KeyOf(response, unit)) is null
                ? account.Check("randomised response: labels", unit, response.Epsilon, 0) : PrivacyTotal.Zero;
        }

        NoisyTargetMechanism mechanism = Mechanism();
        return account.Ledger.Find(account.Party, KeyOf(mechanism)) is null
            ? account.Check("gaussian: labels", PrivacyUnit.Record, 0, mechanism.Mu * mechanism.Mu) : PrivacyTotal.Zero;
    }

    /// <summary>Randomised 0/1 labels of some rows of the table.</summary>
    /// <param name="response">The mechanism.</param>
    /// <param name="rows">Rows of the table.</param>
    /// <param name="unit">What the charge protects: the record when nothing else of it is released, else the label.</param>
    public Released<RandomizedLabels> Randomized(RandomizedResponse response, int[] rows, PrivacyUnit unit)
    {
        string key = KeyOf(response, unit);
        // Q under this name is what ledgers have, and a run that goes on finds its charge by every word of it.
        Keep(key, unit, "randomised response: labels", new JsonObject { ["epsilon"] = response.Epsilon, ["flipProbability"] = response.OtherProbability },
            response.Epsilon, 0, () => response.Randomize([.. Ordered().Select(y => (byte)plan.Family.Canonical(y))],
                plan.Job.Privacy.TestNoiseSeed is { } seed ? new TestUniform(unchecked((ulong)seed), account.Party + "\0labels") : new CsprngUniform()));
        return response.Release(account.Ledger, account.Party, key, Places(rows));
    }

    /// <summary>Noisy labels of some rows of the table.</summary>
    /// <param name="mechanism">The mechanism.</param>
    /// <param name="rows">Rows of the table.</param>
    public Released<NoisyTargets> Noisy(NoisyTargetMechanism mechanism, int[] rows)
    {
        string key = KeyOf(mechanism);
        Keep(key, PrivacyUnit.Record, "gaussian: labels", new JsonObject { ["mu"] = mechanism.Mu, ["sigmaCharged"] = mechanism.Sigma, ["sensitivity"] = mechanism.High - mechanism.Low },
            0, mechanism.Mu * mechanism.Mu, () => mechanism.Randomize([.. Ordered()], account.Noise(account.Party + "\0labels")));
        return mechanism.Release(account.Ledger, account.Party, key, input.Table.Ids.Count, Places(rows), plan.Job.Training.LatticeBits);
    }

    // Labels paid for as a part of their records serve for labels too, not the other way round.
    private string KeyOf(RandomizedResponse response, PrivacyUnit unit)
    {
        string description = string.Create(CultureInfo.InvariantCulture, $"randomised response, {response.Classes} classes, epsilon {response.Epsilon:R}"), key = Key(PrivacyUnit.Record, description);
        return unit == PrivacyUnit.Label && account.Ledger.Find(account.Party, key) is null ? Key(unit, description) : key;
    }

    private string KeyOf(NoisyTargetMechanism mechanism) =>
        Key(PrivacyUnit.Record, string.Create(CultureInfo.InvariantCulture, $"gaussian, range {mechanism.Low:R} to {mechanism.High:R}, sigma {mechanism.Sigma:R}"));

    private void Keep(string key, PrivacyUnit unit, string name, JsonObject parameters, double pureEpsilon, double muSquared, Func<byte[]> draw)
    {
        bool kept = account.Ledger.Find(account.Party, key) is not null, goesOn = kept && account.IsUnderWay(name);
        Reused = kept && !goesOn;
        // Charge and labels are written in one step: neither can exist without the other. A run that goes on finds both.
        if (!Reused)
            account.Reserve(name, parameters, unit, 1, pureEpsilon, muSquared, goesOn ? null : new KeptRelease(key, draw()));
        else if (plan.Mode == PrivacyMode.LabelDp)
            account.ReserveDisclosed("training residuals", PrivacyUnit.Label, []);
    }

    // Labels are kept in the order of the ids' digests, so that a table with its rows in another order finds its own.
    private IEnumerable<double> Ordered() => RowIds.Order(input.Table.Ids, 0).Rows.Select(row => input.Table.Labels![row]);

    private int[] Places(int[] rows)
    {
        if (_places is null)
        {
            int[] order = RowIds.Order(input.Table.Ids, 0).Rows;
            _places = new int[order.Length];
            for (int i = 0; i < order.Length; i++)
                _places[order[i]] = i;
        }

        return [.. rows.Select(row => _places[row])];
    }

    /// <summary>The same key means the same people, the same labels and the same mechanism; labels drawn with test noise are never taken for others.</summary>
    private string Key(PrivacyUnit unit, string mechanism)
    {
        string labels = Convert.ToHexStringLower(SHA256.HashData(MemoryMarshal.AsBytes<double>([.. Ordered()])));
        string noise = plan.Job.Privacy.TestNoiseSeed is { } seed ? string.Create(CultureInfo.InvariantCulture, $"test noise {seed}") : "secure";
        return $"labels/1; {mechanism}; {unit}; {noise}; {account.DataSet.Fingerprint}; {labels}";
    }
}
