namespace FedLearn.Privacy;

/// <summary>What a message of private set intersection means.</summary>
public enum AlignmentStep
{
    /// <summary>Version, suite, nonce, number of ids, and how far an interrupted session had come. Either way.</summary>
    Hello = 0,

    /// <summary>The sender's secret scalar times the generator. Either way.</summary>
    Commitment = 1,

    /// <summary>A proof that a chunk of doubly blinded ids was made with the committed scalar. Either way.</summary>
    Proof = 2,

    /// <summary>A digest of what the sender found to be common. Either way.</summary>
    Confirmation = 3,

    /// <summary>The sender is not done, and still there; empty. Of an alignment of more than two parties: not with its other pairs, active to passive. In training: it computes, either way.</summary>
    Waiting = 4,
}

/// <summary>One message of private set intersection about the session as a whole: never an id.</summary>
/// <param name="step">What it means.</param>
/// <param name="bytes">Its bytes; their form belongs to the step, see docs/protocol.md.</param>
public sealed class AlignmentMessage(AlignmentStep step, ReadOnlyMemory<byte> bytes) : Payload
{
    /// <summary>What it means.</summary>
    public AlignmentStep Step { get; } = step;

    /// <summary>Its bytes.</summary>
    public ReadOnlyMemory<byte> Bytes { get; } = bytes;

    /// <inheritdoc />
    public override int Length => Bytes.Length;

    /// <inheritdoc />
    public override long PackedBytes => Bytes.Length;
}

/// <summary>Ids hashed into a group and multiplied by a secret scalar of the sender, 32 bytes each, in an order drawn at random. Either way.</summary>
/// <param name="points">Encodings of ristretto255 elements (RFC 9496), one after the other.</param>
/// <exception cref="ArgumentException">The bytes are not a whole number of points.</exception>
public sealed class BlindedIds(ReadOnlyMemory<byte> points) : SealedPayload(Whole(points), points.Length / PointBytes)
{
    /// <summary>Bytes of one point.</summary>
    public const int PointBytes = 32;

    private static ReadOnlyMemory<byte> Whole(ReadOnlyMemory<byte> points) =>
        points.Length % PointBytes == 0 ? points : throw new ArgumentException("Points are 32 bytes each.", nameof(points));
}

/// <summary>Ids of the receiver, blinded by both parties: hashed and cut, or whole points where a proof follows. Either way, in the order in which the
/// receiver sent its points.</summary>
/// <param name="tags">The tags one after the other, all of one width.</param>
/// <param name="length">Number of tags.</param>
public sealed class BlindedTags(ReadOnlyMemory<byte> tags, int length) : SealedPayload(tags, length);
