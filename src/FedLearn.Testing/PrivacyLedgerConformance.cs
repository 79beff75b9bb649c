using System.Security.Cryptography;
using System.Text;
using FedLearn.Diagnostics;
using FedLearn.Privacy;

namespace FedLearn.Testing;

/// <summary>What every implementation of <see cref="IPrivacyLedger"/> must do. Depends on no test framework.</summary>
/// <remarks>A check throws <see cref="ConformanceException"/> where the ledger fails it. That a charge and a message survive a loss of power, no check can tell: kill processes, and look for the sync in a trace.</remarks>
public static class PrivacyLedgerConformance
{
    private const string Party = "bank";
    private static readonly LedgerBudget Two = new(2, 0);

    /// <summary>A check.</summary>
    /// <param name="open">Opens the ledger, as a process does when it starts: every call one over the same charges, with the budget that is handed over; null: none. There is no charge before the first.</param>
    public delegate void Check(Func<LedgerBudget?, IPrivacyLedger> open);

    /// <summary>Checks of every ledger, by name. They open it once, without a budget.</summary>
    public static IReadOnlyDictionary<string, Check> All { get; } = Named(new()
    {
        ["charges are read as they were reserved, in their order"] = open => Reads(open(null)),
        ["what is no charge is refused"] = open => Refuses(open(null)),
        ["a check writes nothing"] = open => ChecksAlone(open(null)),
        ["a run of other terms is refused"] = open => OtherTerms(open(null)),
        ["a run that was not settled counts in full"] = open => InFull(open(null)),
        ["a settled run counts by its share"] = open => ByShare(open(null)),
        ["what is no share is refused"] = open => NoShare(open(null)),
        ["messages are kept one after the other"] = open => InOrder(open(null)),
        ["what was released once is found by its party and key, and counts in full"] = open => KeepsReleases(open(null)),
        ["tables that share one person are found to"] = open => SharedPeople(open(null)),
        ["charges of several threads are all there"] = open => AtOnce(open(null)),
    });

    /// <summary>Checks of a ledger whose charges last beyond its process, by name: run them beside <see cref="All"/>.</summary>
    public static IReadOnlyDictionary<string, Check> Lasting { get; } = Named(new()
    {
        ["charges last"] = Last,
        ["tables are known by all their people after opening again"] = open =>
        {
            open(null).Reserve(Charge(1)).Dispose();
            Shares(open(null).Entries[0].Charge.DataSet);
        },
        ["a budget holds for what earlier processes spent"] = BudgetHolds,
        ["a budget holds for several runs together"] = BudgetOfRuns,
        ["a budget holds for charges at once"] = BudgetAtOnce,
        ["a run goes on with its messages"] = GoesOn,
        ["a message is noised once"] = Once,
        ["messages that are kept no longer are not drawn again"] = NotAgain,
        ["values that stay at the party are kept like messages"] = Local,
        ["a run that was settled cannot go on"] = Ended,
    });

    private static Dictionary<string, Check> Named(Dictionary<string, Check> checks) => checks.ToDictionary(check => check.Key, check => new Check(open =>
    {
        ArgumentNullException.ThrowIfNull(open);
        try
        {
            check.Value(open);
        }
        catch (Exception e) when (e is ConformanceException or FedLearnException) // the latter where what is allowed was refused
        {
            throw new ConformanceException($"privacy ledger, {check.Key}: {e.Message}", e);
        }
    }));

    /// <summary>A charge to try a ledger with: pure epsilon 1 over 2,000 people, in 8 messages.</summary>
    /// <param name="number">Which run, 0 to 255.</param>
    public static PrivacyCharge Charge(int number) => new()
    {
        RunId = Convert.ToHexStringLower([.. new byte[15], (byte)number]),
        Party = Party,
        DataSet = People(0, 2000),
        JobName = "job",
        JobDigest = new string('0', 64),
        Mechanism = "pure: labels",
        Claim = "as tested",
        Parameters = """{"epsilon":1}""",
        Unit = PrivacyUnit.Record,
        Adjacency = Adjacency.ReplaceOne,
        Messages = 8,
        PureEpsilon = 1,
        MuSquared = 0,
    };

    private static DataSetIdentity People(int first, int count) => DataSetIdentity.Of(
        [.. Enumerable.Range(first, count).Select(i => SHA256.HashData(Encoding.UTF8.GetBytes($"id {i}"))).OrderBy(Convert.ToHexString, StringComparer.Ordinal).SelectMany(digest => digest)]);

    private static byte[] Message(int index) => [.. Enumerable.Range(0, 5 * index + 1).Select(i => (byte)(i + index))];

    private static void Reads(IPrivacyLedger ledger)
    {
        That(ledger.Entries.Count == 0, "there are charges before the first");
        PrivacyCharge[] charges =
        [
            Charge(1), Charge(2) with { Party = "shop" }, Charge(3) with { JobName = "näme \"x\"", JobDigest = "" }, Charge(4) with { Mechanism = "other", Claim = "" }, Charge(5) with { Parameters = """{ "σ": [1] }""" },
            Charge(6) with { Unit = PrivacyUnit.Label, Adjacency = Adjacency.ZeroOut }, Charge(7) with { Messages = 1, PureEpsilon = 1 / 3.0, MuSquared = 1e-300 }, Charge(8) with { TestNoise = true, DataSet = People(5, 3) },
        ];
        foreach (PrivacyCharge charge in charges)
            ledger.Reserve(charge).Dispose();
        LedgerEntry[] read = [.. ledger.Entries];
        That(read.Length == charges.Length, $"of {charges.Length} charges {read.Length} are there");
        foreach ((PrivacyCharge written, LedgerEntry entry) in charges.Zip(read))
            That(entry.Charge.HasTermsOf(written) && entry.Charge.DataSet.Rows == written.DataSet.Rows, $"the charge of run {written.RunId} is another, or in another place");
        That(read.Zip(read.Skip(1)).All(pair => pair.First.At <= pair.Second.At), "a charge is earlier than the one before it");
    }

    private static void Refuses(IPrivacyLedger ledger)
    {
        (string What, PrivacyCharge Charge)[] none =
        [
            ("a run id that is no file name", Charge(1) with { RunId = "../" + new string('a', 29) }), ("a party that is null", Charge(1) with { Party = null! }), ("parameters that are no JSON", Charge(1) with { Parameters = "{" }),
            ("a run without messages", Charge(1) with { Messages = 0 }), ("a negative cost", Charge(1) with { PureEpsilon = -1 }), ("a cost that is no number", Charge(1) with { MuSquared = double.NaN }),
        ];
        foreach ((string what, PrivacyCharge charge) in none)
        {
            Throws(() => ledger.Check(charge), e => e is ArgumentException or ConfigurationException, $"{what} was not refused by Check");
            Throws(() => ledger.Reserve(charge), e => e is ArgumentException or ConfigurationException, $"{what} was not refused by Reserve");
        }

        That(ledger.Entries.Count == 0, "what was refused is in the ledger");
    }

    private static void ChecksAlone(IPrivacyLedger ledger)
    {
        ledger.Check(Charge(1));
        ledger.Check(Charge(1), 3);
        That(ledger.Entries.Count == 0, "a charge that was only checked is in the ledger");
    }

    private static void OtherTerms(IPrivacyLedger ledger)
    {
        using IPrivacyReservation run = ledger.Reserve(Charge(1));
        foreach (PrivacyCharge other in (PrivacyCharge[])[Charge(1) with { PureEpsilon = .5 }, Charge(1) with { Party = "shop" }, Charge(1) with { DataSet = People(1, 2000) }, Charge(1) with { Messages = 9 }])
            Throws(() => ledger.Reserve(other), e => e is FedLearnException, "a run that is in the ledger was reserved again with other terms");
        That(ledger.Entries is [{ Charge: var charge }] && charge.HasTermsOf(Charge(1)), "a refused charge is in the ledger, or changed the first");
    }

    private static void InFull(IPrivacyLedger ledger)
    {
        IPrivacyReservation run = ledger.Reserve(Charge(1));
        Costs(ledger, 1, ChargeState.Reserved, "before the first message");
        run.Keep(0, Message(0));
        Costs(ledger, 1, ChargeState.Reserved, "after a message");
        run.Dispose();
        Costs(ledger, 1, ChargeState.Reserved, "once the process had ended");
    }

    private static void ByShare(IPrivacyLedger ledger)
    {
        using (IPrivacyReservation run = ledger.Reserve(Charge(1)))
        {
            run.Keep(0, Message(0));
            run.Settle(.125);
        }

        Costs(ledger, .125, ChargeState.Settled, "with one message of eight");
        using (IPrivacyReservation run = ledger.Reserve(Charge(2)))
            run.Settle(0);
        Costs(ledger, .125, ChargeState.Settled, "after a run that sent nothing");
    }

    private static void NoShare(IPrivacyLedger ledger)
    {
        using IPrivacyReservation run = ledger.Reserve(Charge(1));
        run.Keep(0, Message(0));
        foreach (double share in (double[])[double.NaN, -.1, 1.1, 0])
            Throws(() => run.Settle(share), e => e is ArgumentException, $"share {share} of a run that kept a message was not refused");
        Costs(ledger, 1, ChargeState.Reserved, "after a refused settlement");
    }

    private static void InOrder(IPrivacyLedger ledger)
    {
        using IPrivacyReservation run = ledger.Reserve(Charge(1));
        That(run.RunId == Charge(1).RunId && run.Kept == 0 && run.Find(0) is null, "a new run has another id, or messages");
        run.Prepare(100, 8);
        That(run.Kept == 0, "room that was made counts as a message");
        for (int index = 0; index < 3; index++)
        {
            int at = index, begun = 0;
            Throws(() => run.Keep(at + 1, Message(at)), _ => true, "a message was kept before the one in front of it");
            run.Keep(index, Message(index), () => begun++);
            That(begun == 1, $"what was to begin beside the storage began {begun} times");
            That(run.Kept == index + 1, $"after message {index} it has kept {run.Kept}");
        }
    }

    private static void KeepsReleases(IPrivacyLedger ledger)
    {
        byte[] bytes = Message(20);
        using (IPrivacyReservation run = ledger.Reserve(Charge(1), new KeptRelease("labels", bytes)))
        {
            That(ledger.Find(Party, "labels") is { } found && found.AsSpan().SequenceEqual(bytes), "what was released is not found, or another");
            That(ledger.Find("shop", "labels") is null && ledger.Find(Party, "other") is null, "it was found for another party, or under another key");
            run.Keep(0, bytes);
            run.Settle(.125);
        }

        Costs(ledger, 1, ChargeState.Settled, "though later runs use what it released");
        That(ledger.Find(Party, "labels") is not null, "it is not found once its run has ended");
    }

    private static void SharedPeople(IPrivacyLedger ledger)
    {
        ledger.Reserve(Charge(1)).Dispose();
        Shares(ledger.Entries[0].Charge.DataSet);
    }

    // Ids behind the sketch of the smallest digests, too.
    private static void Shares(DataSetIdentity table)
    {
        for (int person = 0; person < 2000; person += 37)
            That(table.SharesRowsWith(People(person, 1)), "a table that has one of its people was not found to share it");
        That(!table.SharesRowsWith(People(2000, 500)), "a table of other people was found to share some");
    }

    private static void AtOnce(IPrivacyLedger ledger)
    {
        Parallel.For(0, 24, number =>
        {
            using IPrivacyReservation run = ledger.Reserve(Charge(number));
            run.Keep(0, Message(0));
            run.Settle(.5);
        });
        That(ledger.Entries.Select(e => e.Charge.RunId).Distinct().Count() == 24, "a charge of a thread is missing");
        That(ledger.Entries.Count == 24 && ledger.Entries.All(e => e is { State: ChargeState.Settled, Share: .5 }), "a charge is there twice, or a settlement is missing");
    }

    private static void Last(Func<LedgerBudget?, IPrivacyLedger> open)
    {
        using (IPrivacyReservation run = open(null).Reserve(Charge(1), new KeptRelease("labels", Message(3))))
            run.Keep(0, Message(3));
        using (IPrivacyReservation run = open(null).Reserve(Charge(2)))
        {
            run.Keep(0, Message(0));
            run.Settle(.25);
        }

        IPrivacyLedger ledger = open(null);
        That(ledger.Entries is [{ State: ChargeState.Reserved, Share: 1 }, { State: ChargeState.Settled, Share: .25 }], "a charge, or its settlement, is not there after opening again");
        That(ledger.Entries[0].Charge.HasTermsOf(Charge(1)) && ledger.Entries[1].Charge.HasTermsOf(Charge(2)), "a charge is another after opening again");
        That(ledger.Find(Party, "labels") is { } found && found.AsSpan().SequenceEqual(Message(3)), "what was released once is not found after opening again");
    }

    private static void BudgetHolds(Func<LedgerBudget?, IPrivacyLedger> open)
    {
        open(Two).Reserve(Charge(1)).Dispose();
        open(Two).Reserve(Charge(2)).Dispose();
        IPrivacyLedger ledger = open(Two);
        That(ledger.Entries.Count == 2, "a charge within the budget is not in the ledger");
        foreach (PrivacyCharge over in (PrivacyCharge[])[Charge(3) with { PureEpsilon = .01 }, Charge(3) with { DataSet = People(1999, 10) }, Charge(3) with { Unit = PrivacyUnit.Label }])
        {
            OverBudget(() => ledger.Check(over), "Check");
            OverBudget(() => ledger.Reserve(over), "Reserve");
        }

        That(ledger.Entries.Count == 2, "a charge over the budget is in the ledger");
        ledger.Check(Charge(2)); // it has been paid for
        ledger.Reserve(Charge(2)).Dispose();
        ledger.Reserve(Charge(4) with { DataSet = People(5000, 10) }).Dispose();
        ledger.Reserve(Charge(5) with { Party = "shop" }).Dispose();
        That(ledger.Entries.Count == 4, "a charge of other people, or of another party, is missing, or a run was charged twice");
    }

    private static void BudgetOfRuns(Func<LedgerBudget?, IPrivacyLedger> open)
    {
        open(Two).Reserve(Charge(1) with { PureEpsilon = .5 }).Dispose();
        IPrivacyLedger ledger = open(Two);
        PrivacyCharge half = Charge(2) with { PureEpsilon = .5 };
        ledger.Check(half, 3);
        OverBudget(() => ledger.Check(half, 4), "Check of several runs");
    }

    private static void BudgetAtOnce(Func<LedgerBudget?, IPrivacyLedger> open)
    {
        int refused = 0;
        IPrivacyLedger[] ledgers = [.. Enumerable.Range(0, 8).Select(_ => open(Two))];
        Parallel.For(0, 24, number =>
        {
            try
            {
                ledgers[number % ledgers.Length].Reserve(Charge(number) with { PureEpsilon = .25 }).Dispose();
            }
            catch (PrivacyRefusedException e) when (e.Id == PrivacyErrors.BudgetSpent)
            {
                Interlocked.Increment(ref refused);
            }
        });
        That(open(Two).Entries.Count == 8 && refused == 16, $"of 24 charges at once, of which 8 are within the budget, {open(Two).Entries.Count} are in the ledger");
    }

    private static void GoesOn(Func<LedgerBudget?, IPrivacyLedger> open)
    {
        using (IPrivacyReservation run = open(null).Reserve(Charge(1)))
            for (int index = 0; index < 3; index++)
                run.Keep(index, Message(index));
        using (IPrivacyReservation run = open(null).Reserve(Charge(1)))
        {
            That(run.Kept == 3, $"of 3 messages {run.Kept} were kept");
            for (int index = Math.Max(0, 3 - run.KeepsAtLeast); index < 3; index++)
                That(run.Find(index) is { } kept && kept.AsSpan().SequenceEqual(Message(index)), "a message is not what was kept");
            That(run.Find(3) is null, "a message was found that had not been kept");
            run.Keep(3, Message(3));
            run.Settle(.5);
        }

        Costs(open(null), .5, ChargeState.Settled, "after two processes of one run");
    }

    private static void Once(Func<LedgerBudget?, IPrivacyLedger> open)
    {
        using (IPrivacyReservation run = open(null).Reserve(Charge(1)))
        {
            run.Keep(0, Message(0));
            Throws(() => run.Keep(0, Message(1)), _ => true, "a message was kept twice");
        }

        using IPrivacyReservation again = open(null).Reserve(Charge(1));
        Throws(() => again.Keep(0, Message(1)), _ => true, "a message was kept twice, the second time by another process");
        That(again.Kept == 1 && again.Find(0) is { } kept && kept.AsSpan().SequenceEqual(Message(0)), "a second message has taken the place of the first");
    }

    private static void NotAgain(Func<LedgerBudget?, IPrivacyLedger> open)
    {
        const int Messages = 200;
        PrivacyCharge charge = Charge(1) with { Messages = Messages };
        using (IPrivacyReservation run = open(null).Reserve(charge))
        {
            run.KeepNoMore(2);
            for (int index = 0; index < Messages; index++)
                run.Keep(index, Message(index % 7));
        }

        using IPrivacyReservation again = open(null).Reserve(charge);
        That(again.Kept == Messages, $"of {Messages} messages {again.Kept} were kept");
        for (int index = 0; index < Messages; index++)
        {
            try
            {
                That(again.Find(index) is { } kept && kept.AsSpan().SequenceEqual(Message(index % 7)), "a message that had been noised is another, or can be noised again");
            }
            catch (PrivacyRefusedException) when (index < Messages - 2)
            {
                // It is kept no longer, and a second noise is never drawn.
            }
        }
    }

    private static void Local(Func<LedgerBudget?, IPrivacyLedger> open)
    {
        using (IPrivacyReservation run = open(null).Reserve(Charge(1)))
        {
            if (!run.KeepsLocally)
                return;
            That(run.FindLocal(0) is null, "a value was found that had not been kept");
            run.Keep(0, Message(5));
            run.KeepLocal(0, Message(0));
            run.KeepLocal(1, Message(1));
        }

        using IPrivacyReservation again = open(null).Reserve(Charge(1));
        for (int index = 0; index < 2; index++)
            That(again.FindLocal(index) is { } kept && kept.AsSpan().SequenceEqual(Message(index)), "a value is not what was kept");
        That(again.FindLocal(2) is null && again.Kept == 1, "a value was found that had not been kept, or counts as a message");
        Throws(() => again.KeepLocal(1, Message(2)), _ => true, "a value was kept twice");
    }

    private static void Ended(Func<LedgerBudget?, IPrivacyLedger> open)
    {
        using (IPrivacyReservation run = open(null).Reserve(Charge(1)))
        {
            run.Keep(0, Message(0));
            run.Settle(.125);
        }

        Throws(() => open(null).Reserve(Charge(1)), e => e is PrivacyRefusedException, "a run that was settled was reserved again");
        Costs(open(null), .125, ChargeState.Settled, "after it was refused to go on");
    }

    private static void Costs(IPrivacyLedger ledger, double epsilon, ChargeState state, string when)
    {
        double spent = ledger.Spent(Party, People(0, 2000), PrivacyUnit.Record).PureEpsilon;
        That(spent == epsilon && ledger.Entries.All(entry => entry.State == state), $"{when} the ledger adds up to epsilon {spent} and not {epsilon}, or a charge is not {state}");
    }

    private static void OverBudget(Action action, string where) =>
        Throws(action, e => e is PrivacyRefusedException { Id: PrivacyErrors.BudgetSpent }, $"{where} did not refuse a charge over the budget (FL5020)");

    private static void Throws(Action action, Func<Exception, bool> isRight, string fault)
    {
        try
        {
            action();
        }
#pragma warning disable CA1031 // whatever an implementation throws is a finding or what is asked for
        catch (Exception e)
#pragma warning restore CA1031
        {
            That(isRight(e), $"{fault}, but {e.GetType().Name}");
            return;
        }

        throw new ConformanceException(fault);
    }

    private static void That(bool holds, string fault)
    {
        if (!holds)
            throw new ConformanceException(fault);
    }
}
