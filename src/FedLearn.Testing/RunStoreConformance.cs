using FedLearn.Coordination;
using FedLearn.Diagnostics;

namespace FedLearn.Testing;

/// <summary>What every implementation of <see cref="IRunStore"/> must do. Depends on no test framework.</summary>
/// <remarks>A check throws <see cref="ConformanceException"/> where the store fails it.</remarks>
public static class RunStoreConformance
{
    private static readonly byte[] Terms = [.. Enumerable.Range(0, 32).Select(i => (byte)i)], OtherTerms = new byte[32];

    /// <summary>A check.</summary>
    /// <param name="open">Opens the store, as a process does when it starts: every call one over the same states. The store is empty before the first.</param>
    public delegate void Check(Func<IRunStore> open);

    /// <summary>Every check, by name.</summary>
    public static IReadOnlyDictionary<string, Check> All { get; } = new Dictionary<string, Action<Func<IRunStore>>>
    {
        ["a store without runs finds none"] = NoRun,
        ["a run without a state is not found"] = NoState,
        ["states are read as they were written, the newest two"] = NewestTwo,
        ["a run is found by its party and terms alone"] = ByPartyAndTerms,
        ["a run goes on after its process has ended"] = GoesOn,
        ["a state may be written again"] = WrittenAgain,
        ["what a run began with stays beside its states"] = StartStays,
        ["what a run began with cannot change once it has a state"] = StartIsFixed,
        ["a removed run is gone"] = Removed,
        ["a new run forgets those that were cut off"] = NewForgetsOld,
        ["a run that is gone cannot go on"] = Gone,
        ["masked messages are found as they were kept, where they are kept"] = MaskedMessages,
    }.ToDictionary(check => check.Key, check => new Check(open => Run(check.Key, check.Value, open)));

    private static void Run(string name, Action<Func<IRunStore>> check, Func<IRunStore> open)
    {
        ArgumentNullException.ThrowIfNull(open);
        try
        {
            check(open);
        }
        catch (ConformanceException e)
        {
            throw new ConformanceException($"run store, {name}: {e.Message}", e);
        }
    }

    /// <summary>A run of the checks' terms.</summary>
    /// <param name="number">Which, 0 to 255.</param>
    /// <param name="party">Its party.</param>
    public static RunIdentity Identity(int number, string party = "bank") => new(party, Terms, $"session {number}", Convert.ToHexStringLower([.. new byte[15], (byte)number]));

    private static byte[] State(int round) => [.. Enumerable.Range(0, 3 * round + 1).Select(i => (byte)((i + round) % 256))];

    private static void NoRun(Func<IRunStore> open) => That(open().Find("bank", Terms) is null, "a run was found");

    private static void NoState(Func<IRunStore> open)
    {
        using (open().Begin(Identity(1)))
            That(open().Find("bank", Terms) is null, "a run without a state was found");
        That(open().Find("bank", Terms) is null, "a run without a state was found once its process had ended");
    }

    private static void MaskedMessages(Func<IRunStore> open)
    {
        using (IRunState run = open().Begin(Identity(1)))
        {
            if (run.Outbox is not { } outbox)
                return;
            run.Write(0, State(0));
            That(outbox.Find(0) is null, "a message was found that had not been kept");
            for (int index = 0; index < 3; index++)
                outbox.Keep(index, State(index));
        }

        CutOffRun found = open().Find("bank", Terms) ?? throw Failed("the run was not found");
        using (IRunState run = open().Continue(found))
        {
            for (int index = 0; index < 3; index++)
                That(run.Outbox!.Find(index) is { } kept && kept.AsSpan().SequenceEqual(State(index)), "a message is not what was kept");
            That(run.Outbox!.Find(3) is null, "a message was found that had not been kept");
            run.Remove();
        }

        using IRunState next = open().Begin(Identity(1));
        That(next.Outbox!.Find(0) is null, "messages outlived their run");
        next.Remove();
    }

    private static void NewestTwo(Func<IRunStore> open)
    {
        using IRunState run = open().Begin(Identity(1));
        for (int round = 0; round <= 400; round += 100)
        {
            run.Write(round, State(round));
            CutOffRun found = open().Find("bank", Terms) ?? throw Failed("the run was not found");
            int[] due = round == 0 ? [0] : [round - 100, round];
            That(found.Rounds.SequenceEqual(due), $"after round {round} the rounds kept are {string.Join(", ", found.Rounds)}");
            foreach (int kept in due)
                That(run.Read(kept).Span.SequenceEqual(State(kept)), $"the state of round {kept} is another");
        }

        Refused(() => run.Read(0), "a state that is kept no longer");
    }

    private static void ByPartyAndTerms(Func<IRunStore> open)
    {
        using IRunState bank = open().Begin(Identity(1)), telco = open().Begin(Identity(2, "telco"));
        bank.Write(0, State(1));
        telco.Write(5, State(2));
        That(open().Find("bank", Terms) is { Rounds: [0] } found && found.Run.SessionId == "session 1", "the bank's run was not found, or another");
        That(open().Find("telco", Terms) is { Rounds: [5] }, "telco's run was not found, or another");
        That(open().Find("bank", OtherTerms) is null && open().Find("shop", Terms) is null, "a run of other terms or of another party was found");
    }

    private static void GoesOn(Func<IRunStore> open)
    {
        using (IRunState run = open().Begin(Identity(1)))
        {
            run.Write(0, State(0));
            run.Write(7, State(7));
        }

        CutOffRun found = open().Find("bank", Terms) ?? throw Failed("the run was not found");
        That(found.Run.RunId == Identity(1).RunId && found.Run.SessionId == "session 1" && found.Run.TermsDigest.Span.SequenceEqual(Terms), "its identity is another");
        using (IRunState again = open().Continue(found))
        {
            That(again.Read(7).Span.SequenceEqual(State(7)), "its state is another");
            again.Write(14, State(14));
        }

        That(open().Find("bank", Terms) is { Rounds: [7, 14] }, "the states of both processes were not found");
    }

    private static void WrittenAgain(Func<IRunStore> open)
    {
        using IRunState run = open().Begin(Identity(1));
        run.Write(1, State(1));
        run.Write(2, State(2));
        run.Write(2, State(3));
        That(open().Find("bank", Terms) is { Rounds: [1, 2] } && run.Read(2).Span.SequenceEqual(State(3)), "a state that was written again is the old one, or displaced another");
    }

    private static void StartStays(Func<IRunStore> open)
    {
        byte[] start = State(1000);
        using (IRunState run = open().Begin(Identity(1)))
        {
            That(run.ReadStart().IsEmpty, "a run that has kept no start has one");
            run.WriteStart(State(5));
            run.WriteStart(start);
            That(open().Find("bank", Terms) is null, "a run without a state was found by its start");
            run.Write(0, State(0));
            run.Write(1, State(1));
        }

        using (IRunState run = open().Continue(open().Find("bank", Terms) ?? throw Failed("a run with a start was not found")))
        {
            run.Write(2, State(2));
            run.Write(3, State(3));
            That(run.ReadStart().Span.SequenceEqual(start) && run.Read(3).Span.SequenceEqual(State(3)), "what the run began with, or its state, is another");
        }

        using IRunState next = open().Begin(Identity(2));
        next.Write(0, State(0));
        That(next.ReadStart().IsEmpty, "a new run began with what another had");
    }

    private static void StartIsFixed(Func<IRunStore> open)
    {
        using IRunState run = open().Begin(Identity(1));
        run.WriteStart(State(1));
        run.Write(0, State(0));
        try
        {
            run.WriteStart(State(2));
        }
        catch (InvalidOperationException)
        {
            That(run.ReadStart().Span.SequenceEqual(State(1)), "a refused start has displaced the first");
            return;
        }

        throw Failed("another start was not refused");
    }

    private static void Removed(Func<IRunStore> open)
    {
        IRunState run = open().Begin(Identity(1));
        run.Write(1, State(1));
        run.Remove();
        run.Dispose();
        That(open().Find("bank", Terms) is null, "a removed run was found");
    }

    private static void NewForgetsOld(Func<IRunStore> open)
    {
        using (IRunState old = open().Begin(Identity(1)))
            old.Write(1, State(1));
        using (IRunState other = open().Begin(Identity(3, "telco")))
            other.Write(4, State(4));
        using IRunState run = open().Begin(Identity(2));
        That(open().Find("bank", Terms) is null, "a forgotten run was found");
        run.Write(0, State(0));
        That(open().Find("bank", Terms) is { Rounds: [0] } found && found.Run.RunId == Identity(2).RunId, "the new run was not found");
        That(open().Find("telco", Terms) is { Rounds: [4] }, "another party's run was forgotten");
    }

    private static void Gone(Func<IRunStore> open)
    {
        Refused(() => open().Continue(new CutOffRun(Identity(1), [0])).Dispose(), "a run that never was");
        IRunState run = open().Begin(Identity(1));
        run.Write(1, State(1));
        CutOffRun found = open().Find("bank", Terms)!;
        run.Remove();
        run.Dispose();
        Refused(() => open().Continue(found).Dispose(), "a removed run");
    }

    private static void Refused(Action action, string what)
    {
        try
        {
            action();
        }
        catch (ConfigurationException e) when (e.Id == RunStateErrors.Unusable)
        {
            return;
        }

        throw Failed($"{what} was not refused");
    }

    private static void That(bool holds, string fault)
    {
        if (!holds)
            throw Failed(fault);
    }

    private static ConformanceException Failed(string fault) => new(fault);
}
