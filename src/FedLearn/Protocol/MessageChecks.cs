using System.Numerics.Tensors;
using FedLearn.Privacy;

namespace FedLearn.Protocol;

/// <summary>What every received message must satisfy before its values are used. Nothing of a value enters a message to the user.</summary>
internal static class MessageChecks
{
    public static T Expect<T>(string remote, ChannelFrame message, int round, int? length) where T : Payload
    {
        if (message.Payload is not T payload)
            throw ProtocolErrors.Peer(ProtocolErrors.UnexpectedMessage, remote, Step(round),
                $"sent {message.Payload!.GetType().Name} where {typeof(T).Name} was due.", "Check that both parties run the same release of the software.");
        if (message.Round != round)
            throw ProtocolErrors.Peer(ProtocolErrors.WrongRound, remote, Step(round),
                $"sent {typeof(T).Name} of round {message.Round}.", "The peer is out of step: restart the job on both sides.");
        if (length is { } expected && payload.Length != expected)
            throw ProtocolErrors.Peer(ProtocolErrors.WrongLength, remote, Step(round),
                $"sent {typeof(T).Name} of length {payload.Length}; this step needs {expected}.",
                // Numbers of columns and of weights follow from the job and from what was agreed on before; rows have no part in them.
                payload is MaskedProducts or MaskedAnswers or Scalars or ModelParameters or ModelUpdate
                    ? "The length follows from the job and the sizes agreed on at the start: check that both run the same release of the software; if they do, treat the peer as faulty."
                    : "The parties probably hold different rows or batches: compare the common row counts in both logs.");
        switch (payload)
        {
            // Vectors on a lattice need no look: integers times a finite step are finite, and no other step is decoded.
            case VectorPayload { Lattice: null, Length: > 0 } vector when !TensorPrimitives.IsFiniteAll(vector.Values.Span):
                throw ProtocolErrors.Peer(ProtocolErrors.NotFinite, remote, Step(round),
                    $"sent {typeof(T).Name} with a NaN or an infinity.", "Look for a diverged model or damaged data at the peer; a smaller stepSize often helps.");
            case RowSelection selection when selection.Selected.Span.ContainsAnyExcept((byte)0, (byte)1):
                throw ProtocolErrors.Peer(ProtocolErrors.IllegalValue, remote, Step(round),
                    "sent a row selection with a value other than 0 and 1.", "Check that both parties run the same release of the software.");
        }

        return payload;
    }

    private static string Step(int round) => $"round {round}";
}
