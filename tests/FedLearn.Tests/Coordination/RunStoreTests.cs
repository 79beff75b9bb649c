using FedLearn.Coordination;
using FedLearn.Testing;

namespace FedLearn.Tests.Coordination;

public sealed class RunStoreTests
{
    public static TheoryData<string> Checks => [.. RunStoreConformance.All.Keys];

    [Theory]
    [MemberData(nameof(Checks))]
    public void InMemoryRunStore_Conforms(string check)
    {
        var store = new InMemoryRunStore();
        RunStoreConformance.All[check](() => store);
    }

    [Fact]
    public void Conformance_StoreThatKeepsOneState_IsCaught()
    {
        var broken = new ForgetfulStore();
        const string Check = "states are read as they were written, the newest two";
        ConformanceException failure = Assert.Throws<ConformanceException>(() => RunStoreConformance.All[Check](() => broken));
        Assert.StartsWith($"run store, {Check}: ", failure.Message, StringComparison.Ordinal);
    }

    /// <summary>A broken store: parties that were cut off a round apart may have no state in common.</summary>
    private sealed class ForgetfulStore : IRunStore
    {
        private readonly InMemoryRunStore _store = new();

        public CutOffRun? Find(string party, ReadOnlyMemory<byte> termsDigest) =>
            _store.Find(party, termsDigest) is { } run ? run with { Rounds = [run.Rounds[^1]] } : null;

        public IRunState Begin(RunIdentity run) => _store.Begin(run);

        public IRunState Continue(CutOffRun run) => _store.Continue(run);
    }
}
