using FedLearn.Privacy;

namespace FedLearn.Glm;

/// <summary>How a passive party's part of an answer came about.</summary>
internal enum PartState
{
    Answered = 0,
    Away = 1,
    TooSlow = 2,
}

/// <summary>A passive party's part of an answer.</summary>
/// <param name="State">Whether it answered.</param>
/// <param name="Scores">For each asked id its scores, one an output; null for an id that the party does not have. Empty unless it answered.</param>
internal sealed record PartyPart(PartState State, double[]?[] Scores)
{
    public static readonly PartyPart Away = new(PartState.Away, []), TooSlow = new(PartState.TooSlow, []);
}

/// <summary>One caller's question to a passive party: digests of ids in any order, the same one more than once if need be.</summary>
internal sealed class ScoringQuestion(ReadOnlyMemory<byte>[] digests)
{
    private readonly TaskCompletionSource<PartyPart> _answer = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private volatile bool _abandoned;

    public ReadOnlyMemory<byte>[] Digests { get; } = digests;

    public Task<PartyPart> Answer => _answer.Task;

    /// <summary>Whether nobody waits any more, so that the ids need not leave.</summary>
    public bool IsAbandoned => _abandoned;

    public void Abandon() => _abandoned = true;

    public void Complete(PartyPart part) => _answer.TrySetResult(part);
}

/// <summary>The questions of several callers as one message: every digest once, rising.</summary>
internal sealed class ScoringBatch
{
    private readonly List<ScoringQuestion> _questions;
    private readonly int[][] _places;

    public ScoringBatch(List<ScoringQuestion> questions)
    {
        _questions = questions;
        ReadOnlyMemory<byte>[] digests = [.. questions.SelectMany(q => q.Digests)];
        int[] order = [.. Enumerable.Range(0, digests.Length)];
        order.AsSpan().Sort((a, b) => digests[a].Span.SequenceCompareTo(digests[b].Span));
        int[] places = new int[digests.Length];
        using var message = new MemoryStream(digests.Length * HashedIds.DigestBytes);
        int last = -1;
        for (int i = 0; i < order.Length; i++)
        {
            if (i == 0 || !digests[order[i]].Span.SequenceEqual(digests[order[i - 1]].Span))
            {
                message.Write(digests[order[i]].Span);
                last++;
            }

            places[order[i]] = last;
        }

        (Message, Length) = (message.ToArray(), last + 1);
        _places = new int[questions.Count][];
        for (int q = 0, first = 0; q < _places.Length; first += questions[q].Digests.Length, q++)
            _places[q] = places[first..(first + questions[q].Digests.Length)];
    }

    /// <summary>The digests, one after the other.</summary>
    public byte[] Message { get; }

    /// <summary>Number of digests.</summary>
    public int Length { get; }

    /// <summary>Gives each caller its part.</summary>
    /// <param name="present">One byte a digest: 1 when the party has it.</param>
    /// <param name="scores">Scores of those it has, output by output.</param>
    public void Complete(ReadOnlySpan<byte> present, ReadOnlySpan<double> scores)
    {
        int count = present.Count((byte)1), outputs = count == 0 ? 0 : scores.Length / count;
        var byPlace = new double[]?[Length];
        for (int place = 0, found = 0; place < Length; place++)
            if (present[place] == 1)
            {
                byPlace[place] = new double[outputs];
                for (int output = 0; output < outputs; output++)
                    byPlace[place]![output] = scores[output * count + found];
                found++;
            }

        for (int q = 0; q < _questions.Count; q++)
            _questions[q].Complete(new PartyPart(PartState.Answered, [.. _places[q].Select(place => byPlace[place])]));
    }

    /// <summary>Tells each caller that the party is gone.</summary>
    public void Fail()
    {
        foreach (ScoringQuestion question in _questions)
            question.Complete(PartyPart.Away);
    }
}
