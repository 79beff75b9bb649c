using System.Security.Cryptography;
using System.Threading.Channels;
using FedLearn.Parties;
using FedLearn.Privacy;
using FedLearn.Protocol;

namespace FedLearn.Glm;

/// <summary>The active party's line to one passive party, over one session after the other.</summary>
/// <remarks>One message is on its way at a time; what callers ask meanwhile becomes the next one. A caller that has waited long enough goes its own way,
/// and the answer it did not wait for is still taken off the channel before the next question leaves.</remarks>
internal sealed class ScoringLink(string party, int outputs, GlmScoringOptions options)
{
    // Questions that wait, whether their callers still do or not: a party that hangs must not fill the memory.
    private const int MostWaiting = 4096;

    private readonly Lock _gate = new();
    private Channel<ScoringQuestion>? _questions;   // null while no session is open
    private TaskCompletionSource? _session;
    private bool _stopped;
    private long _messages, _late;

    public string Party { get; } = party;

    public double? Fallback { get; } = options.Fallbacks.TryGetValue(party, out double constant) ? constant : null;

    public bool IsConnected
    {
        get
        {
            lock (_gate)
                return _questions is not null;
        }
    }

    /// <summary>Messages answered so far.</summary>
    public long Messages => Interlocked.Read(ref _messages);

    /// <summary>Questions whose caller did not wait for the answer.</summary>
    public long Late => Interlocked.Read(ref _late);

    /// <summary>Asks, and waits no longer than the options say.</summary>
    public async Task<PartyPart> AskAsync(ReadOnlyMemory<byte>[] digests, CancellationToken cancellationToken)
    {
        var question = new ScoringQuestion(digests);
        lock (_gate)
        {
            if (_questions is null || _stopped)
                return PartyPart.Away;
            if (!_questions.Writer.TryWrite(question))
            {
                Interlocked.Increment(ref _late);
                return PartyPart.TooSlow;
            }
        }

        try
        {
            return await question.Answer.WaitAsync(options.Timeout, options.Clock, cancellationToken).ConfigureAwait(false);
        }
        catch (TimeoutException)
        {
            Interlocked.Increment(ref _late);
            return PartyPart.TooSlow;
        }
        finally
        {
            question.Abandon();
        }
    }

    /// <summary>Takes no more questions; the session ends once those that wait are answered.</summary>
    public Task StopAsync()
    {
        lock (_gate)
        {
            _stopped = true;
            _questions?.Writer.TryComplete();
            return _session?.Task ?? Task.CompletedTask;
        }
    }

    /// <summary>Asks over a channel until it is lost or the link is stopped.</summary>
    /// <param name="channel">The channel.</param>
    /// <param name="connected">Called once the other side has answered a first question.</param>
    /// <param name="cancellationToken">Ends it at once.</param>
    public async Task RunAsync(IPartyChannel channel, Action connected, CancellationToken cancellationToken)
    {
        Channel<ScoringQuestion> questions = Channel.CreateBounded<ScoringQuestion>(new BoundedChannelOptions(MostWaiting) { SingleReader = true });
        lock (_gate)
        {
            if (_session is not null)
                throw ProtocolErrors.Peer(ProtocolErrors.AlreadyJoined, Party, "joining", "a session with that party is open already.", "Start each party once.");
            _session = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        }

        try
        {
            await RunCoreAsync(channel, questions.Reader, () =>
            {
                lock (_gate)
                {
                    if (_stopped)
                        questions.Writer.TryComplete();
                    _questions = questions;
                }

                connected();
            }, cancellationToken).ConfigureAwait(false);
        }
        finally
        {
            lock (_gate)
            {
                questions.Writer.TryComplete();
                _questions = null;
                _session?.SetResult();
                _session = null;
            }

            while (questions.Reader.TryRead(out ScoringQuestion? left))
                left.Complete(PartyPart.Away);
        }
    }

    private async Task RunCoreAsync(IPartyChannel channel, ChannelReader<ScoringQuestion> questions, Action connected, CancellationToken cancellationToken)
    {
        using var ended = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        int round = 0;
        // The receive for the next answer is open also while nothing is asked: that is how the loss of an idle session is seen at once.
        Task<RowSelection> next = ReceiveAsync();
        try
        {
            // A first question about no row: the party counts as connected once it answers, and people's requests do not pay for its warming up.
            await ExchangeAsync(channel, round, new ScoringBatch([new ScoringQuestion([RandomNumberGenerator.GetBytes(HashedIds.DigestBytes)])]), next, ended.Token).ConfigureAwait(false);
            round = GlmScoring.Next(round);
            next = ReceiveAsync();
            connected();
            ScoringQuestion? carry = null;
            while (true)
            {
                Task<bool> more = carry is null ? questions.WaitToReadAsync(ended.Token).AsTask() : Task.FromResult(true);
                if (await Task.WhenAny(more, next).ConfigureAwait(false) != more)
                {
                    await next.ConfigureAwait(false); // throws the loss of the session
                    throw ProtocolErrors.Peer(ProtocolErrors.UnexpectedMessage, Party, $"round {round}", "answered before it was asked.", "Check that both parties run the same release of the software.");
                }

                if (!await more.ConfigureAwait(false))
                    break;
                if (Take(questions, ref carry) is not { Length: > 0 } batch)
                    continue;
                await ExchangeAsync(channel, round, batch, next, ended.Token).ConfigureAwait(false);
                round = GlmScoring.Next(round);
                next = ReceiveAsync();
            }
        }
        finally
        {
            await ended.CancelAsync().ConfigureAwait(false);
            await next.ContinueWith(static ended => _ = ended.Exception, CancellationToken.None, TaskContinuationOptions.ExecuteSynchronously, TaskScheduler.Default).ConfigureAwait(false);
        }

        using var limit = new CancellationTokenSource(GlmScoring.LastWordsTime);
        await channel.SendAsync(round, Disclosure.Unprotected(new HashedIds(ReadOnlyMemory<byte>.Empty), GlmScoring.AskedIds), limit.Token).ConfigureAwait(false);
        await channel.CompleteAsync(limit.Token).ConfigureAwait(false);

        Task<RowSelection> ReceiveAsync() => channel.ReceiveAsync<RowSelection>(round, null, ended.Token).AsTask();
    }

    /// <summary>As many waiting questions as fit into one message; one that does not fit is carried over to the next.</summary>
    private static ScoringBatch? Take(ChannelReader<ScoringQuestion> questions, ref ScoringQuestion? carry)
    {
        var taken = new List<ScoringQuestion>();
        int ids = 0;
        while (carry is not null || questions.TryRead(out carry!))
        {
            if (ids + carry.Digests.Length > GlmScoring.MostIds)
                break;
            if (!carry.IsAbandoned)
            {
                taken.Add(carry);
                ids += carry.Digests.Length;
            }

            carry = null;
        }

        return taken.Count == 0 ? null : new ScoringBatch(taken);
    }

    private async Task ExchangeAsync(IPartyChannel channel, int round, ScoringBatch batch, Task<RowSelection> next, CancellationToken cancellationToken)
    {
        try
        {
            using var limit = new CancellationTokenSource(options.GiveUpAfter, options.Clock);
            using var either = CancellationTokenSource.CreateLinkedTokenSource(limit.Token, cancellationToken);
            RowSelection present;
            Scores scores;
            try
            {
                await channel.SendAsync(round, Disclosure.Unprotected(new HashedIds(batch.Message), GlmScoring.AskedIds), either.Token).ConfigureAwait(false);
                present = await next.WaitAsync(either.Token).ConfigureAwait(false);
                if (present.Length != batch.Length)
                    throw WrongLength(round, nameof(RowSelection), present.Length, batch.Length);
                int due = outputs * present.Selected.Span.Count((byte)1);
                scores = await channel.ReceiveAsync<Scores>(round, null, either.Token).ConfigureAwait(false);
                ChannelGuard.Packed(scores, ElementType.Float64, channel, round);
                if (scores.Length != due)
                    throw WrongLength(round, nameof(Scores), scores.Length, due);
            }
            catch (OperationCanceledException e) when (limit.IsCancellationRequested && !cancellationToken.IsCancellationRequested)
            {
                throw ProtocolErrors.Peer(ProtocolErrors.TimedOut, Party, $"round {round}", $"waited {options.GiveUpAfter.TotalSeconds:0.#} s for its answer, and none came.",
                    "Look at that party's log; it may join again by itself.", e);
            }

            batch.Complete(present.Selected.Span, scores.Values.Span);
            Interlocked.Increment(ref _messages);
        }
        catch
        {
            batch.Fail();
            throw;
        }
    }

    private Diagnostics.PeerException WrongLength(int round, string what, int length, int due) => ProtocolErrors.Peer(ProtocolErrors.WrongLength, Party, $"round {round}",
        $"sent {what} of length {length}; this step needs {due}.", "Check that both parties run the same release of the software.");
}
