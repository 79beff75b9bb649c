using FedLearn.Diagnostics;
using FedLearn.Privacy;
using FedLearn.Protocol;
using FedLearn.Testing;

namespace FedLearn.Tests.Protocol;

/// <summary>The checks of received messages and the time limits; what every transport must do is in the conformance kit.</summary>
public class InMemoryChannelTests
{
    private static readonly CancellationToken None = CancellationToken.None;

    private static async Task<PeerException> ReceivedAsync<T>(Payload sent, int sentRound, int round, int? length) where T : Payload
    {
        (InMemoryChannel sender, InMemoryChannel receiver) = InMemoryChannel.CreatePair("sender", "receiver");
        await (sent switch
        {
            Scores scores => sender.SendAsync(sentRound, Disclosure.Unprotected(scores, "test"), None),
            Residuals residuals => sender.SendAsync(sentRound, Disclosure.Unprotected(residuals, "test"), None),
            RowSelection rows => sender.SendAsync(sentRound, Disclosure.Unprotected(rows, "test"), None),
            Scalars scalars => sender.SendAsync(sentRound, Disclosure.Unprotected(scalars, "test"), None),
            EncryptedShares shares => sender.SendAsync(sentRound, Disclosure.Unprotected(shares, "test"), None),
            MaskedProducts products => sender.SendAsync(sentRound, Disclosure.Unprotected(products, "test"), None),
            MaskedAnswers answers => sender.SendAsync(sentRound, Disclosure.Unprotected(answers, "test"), None),
            _ => throw new ArgumentException("no such payload"),
        });
        PeerException error = await Assert.ThrowsAsync<PeerException>(async () => await receiver.ReceiveAsync<T>(round, length, None));
        Assert.Contains("'sender'", error.Place, StringComparison.Ordinal);
        Assert.Contains($"round {round}", error.Place, StringComparison.Ordinal);
        return error;
    }

    // Away from the context of the test runner, which runs what was awaited when it sees fit.
    [Fact]
    public Task TakeTurns_WhoWaits_GoesOnInsideTheSendUntilItWaitsAgain() => Task.Run(async () =>
    {
        (InMemoryChannel guest, InMemoryChannel host) = InMemoryChannel.CreatePair("guest", "host");
        InMemoryChannel.TakeTurns([guest, host], inTurn: true);
        var steps = new List<string>();
        Task answering = AnswerAsync();
        for (int round = 0; round < 3; round++)
        {
            steps.Add($"{round} asked");
            await guest.SendAsync(round, Disclosure.Unprotected(new Scores(new double[2]), "test"), None);
            steps.Add($"{round} sent");
            await guest.ReceiveAsync<Residuals>(round, 2, None);
        }

        await answering;
        Assert.Equal(["0 asked", "0 answered", "0 sent", "1 asked", "1 answered", "1 sent", "2 asked", "2 answered", "2 sent"], steps);

        async Task AnswerAsync()
        {
            for (int round = 0; round < 3; round++)
            {
                await host.ReceiveAsync<Scores>(round, 2, None);
                await host.SendAsync(round, Disclosure.Unprotected(new Residuals(new double[2]), "test"), None);
                steps.Add($"{round} answered");
            }
        }
    });

    [Fact]
    public async Task Receive_OtherKindRoundOrLength_IsRefused()
    {
        Assert.Equal(ProtocolErrors.UnexpectedMessage, (await ReceivedAsync<Residuals>(new Scores(new double[2]), 0, 0, 2)).Id);
        Assert.Equal(ProtocolErrors.WrongRound, (await ReceivedAsync<Scores>(new Scores(new double[2]), 4, 5, 2)).Id);
        Assert.Equal(ProtocolErrors.WrongLength, (await ReceivedAsync<Scores>(new Scores(new double[2]), 5, 5, 3)).Id);
        Assert.Equal(ProtocolErrors.WrongLength, (await ReceivedAsync<Scores>(new Scores(ReadOnlyMemory<double>.Empty), 5, 5, 3)).Id);
    }

    /// <summary>Of a length that does not count rows, the parties' rows are no cause.</summary>
    [Fact]
    public async Task Receive_OtherLength_AdvisesWhatCanHelp()
    {
        (PeerException Error, bool OfRows)[] errors =
        [
            (await ReceivedAsync<Scores>(new Scores(new double[2]), 5, 5, 3), true),
            (await ReceivedAsync<EncryptedShares>(new EncryptedShares(new byte[8], 2), 5, 5, 3), true),
            (await ReceivedAsync<MaskedProducts>(new MaskedProducts(new byte[8], 2), 5, 5, 3), false),
            (await ReceivedAsync<MaskedAnswers>(new MaskedAnswers(new byte[8], 2), 5, 5, 3), false),
            (await ReceivedAsync<Scalars>(new Scalars(ScalarsKind.Agreement, new double[2]), 5, 5, 3), false),
        ];
        Assert.All(errors, e => Assert.Equal((ProtocolErrors.WrongLength, e.OfRows, !e.OfRows),
            (e.Error.Id, e.Error.Remedy.Contains("common row counts", StringComparison.Ordinal), e.Error.Remedy.Contains("same release", StringComparison.Ordinal))));
    }

    [Theory]
    [InlineData(double.NaN)]
    [InlineData(double.PositiveInfinity)]
    [InlineData(double.NegativeInfinity)]
    public async Task Receive_NotFinite_IsRefusedWithoutTheValue(double bad)
    {
        PeerException error = await ReceivedAsync<Scores>(new Scores(new[] { 1.25, bad }), 0, 0, 2);
        Assert.Equal(ProtocolErrors.NotFinite, error.Id);
        Assert.DoesNotContain("1.25", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Receive_SelectionOtherThanZeroAndOne_IsRefused() =>
        Assert.Equal(ProtocolErrors.IllegalValue, (await ReceivedAsync<RowSelection>(new RowSelection(new byte[] { 0, 1, 2 }), 0, 0, 3)).Id);

    [Fact]
    public async Task Receive_NothingComes_TimesOutSayingWhatItWaitedFor()
    {
        var clock = new ManualClock();
        (_, InMemoryChannel receiver) = InMemoryChannel.CreatePair("bank", "telco", new ChannelOptions { ReceiveTimeout = TimeSpan.FromSeconds(90), Clock = clock });
        Task<Residuals> waiting = receiver.ReceiveAsync<Residuals>(7, null, None).AsTask();
        clock.Advance(TimeSpan.FromSeconds(89));
        Assert.False(waiting.IsCompleted);
        clock.Advance(TimeSpan.FromSeconds(1));
        PeerException error = await Assert.ThrowsAsync<PeerException>(() => waiting);
        Assert.Equal(ProtocolErrors.TimedOut, error.Id);
        Assert.Contains("'bank', round 7", error.Place, StringComparison.Ordinal);
        Assert.Contains("waited 90 s for a message of the kind Residuals", error.Cause, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Receive_PeerGaveUp_TellsItsErrorId()
    {
        (InMemoryChannel sender, InMemoryChannel receiver) = InMemoryChannel.CreatePair("bank", "telco");
        await sender.AbortAsync("FL6100", None);
        PeerException error = await Assert.ThrowsAsync<PeerException>(async () => await receiver.ReceiveAsync<Scores>(0, null, None));
        Assert.Equal(ProtocolErrors.PeerAborted, error.Id);
        Assert.Contains("FL6100", error.Cause, StringComparison.Ordinal);
    }

    [Fact]
    public void Root_SeveralFailures_IsTheOneThatIsNoEcho()
    {
        var cause = new InternalFailureException("FL6100", "here", "why.", "do.");
        PeerException Echo(string id) => new(id, "there", "why.", "do.");
        foreach (string id in new[] { ProtocolErrors.PeerAborted, ProtocolErrors.PeerGone, ProtocolErrors.PartyMissing, ProtocolErrors.TimedOut, ProtocolErrors.CannotConnect })
        {
            Assert.Same(cause, FailureSummary.Root([Echo(id), cause]));
            Assert.Same(cause, FailureSummary.Root([cause, Echo(id)]));
        }

        Exception only = Echo(ProtocolErrors.PeerGone);
        Assert.Same(only, FailureSummary.Root([only, Echo(ProtocolErrors.PeerAborted)]));
        var plain = new InvalidOperationException("a defect");
        Assert.Same(plain, FailureSummary.Root([Echo(ProtocolErrors.PeerAborted), plain]));
    }
}
