namespace FedLearn.Privacy;

/// <summary>How the numbers of a payload are packed on the wire. Values are rounded to this type before they are released.</summary>
public enum ElementType
{
    /// <summary>IEEE 754 binary64, 8 bytes little-endian.</summary>
    Float64 = 0,

    /// <summary>IEEE 754 binary32, 4 bytes little-endian.</summary>
    Float32 = 1,

    /// <summary>Integers on a lattice, packed to a fixed number of bits; see <see cref="LatticeVector"/>. What a mechanism releases.</summary>
    Lattice = 2,
}

/// <summary>Something that may cross between parties once it is wrapped in <see cref="Released{T}"/>. The set is closed.</summary>
public abstract class Payload
{
    private protected Payload() { }

    /// <summary>Number of elements (numbers, digests or rows), as the receiver checks it.</summary>
    public abstract int Length { get; }

    /// <summary>Size of the packed elements in bytes, without framing.</summary>
    public abstract long PackedBytes { get; }
}

/// <summary>A payload that is one vector of finite float numbers.</summary>
public abstract class VectorPayload : Payload
{
    private protected VectorPayload(ReadOnlyMemory<double> values, ElementType elementType)
    {
        if (elementType is not (ElementType.Float64 or ElementType.Float32))
            throw new ArgumentOutOfRangeException(nameof(elementType), elementType, "Numbers are packed as float64 or float32.");
        (Values, ElementType) = (values, elementType);
    }

    private protected VectorPayload(LatticeVector lattice, ReadOnlyMemory<double>? values)
    {
        ArgumentNullException.ThrowIfNull(lattice);
        (Lattice, Values, ElementType) = (lattice, values ?? lattice.Values(), ElementType.Lattice);
    }

    /// <summary>The numbers. The owner must not change the memory after the payload was made, unless <see cref="RoundVector.IsTransient"/> says so.</summary>
    public ReadOnlyMemory<double> Values { get; }

    /// <summary>Packing on the wire.</summary>
    public ElementType ElementType { get; }

    /// <summary>The packed integers that the numbers stand for; null unless <see cref="ElementType"/> says lattice.</summary>
    public LatticeVector? Lattice { get; }

    /// <inheritdoc />
    public override int Length => Values.Length;

    /// <inheritdoc />
    public override long PackedBytes => ElementType switch
    {
        ElementType.Lattice => Lattice!.Packed.Length,
        ElementType.Float32 => (long)Values.Length * sizeof(float),
        _ => (long)Values.Length * sizeof(double),
    };

    /// <summary>The same kind of payload with the numbers of a lattice.</summary>
    internal abstract VectorPayload With(LatticeVector lattice, ReadOnlyMemory<double>? values);
}

/// <summary>A vector that crosses in every round of training a linear model.</summary>
public abstract class RoundVector : VectorPayload
{
    private protected RoundVector(ReadOnlyMemory<double> values, ElementType elementType) : base(values, elementType) { }

    private protected RoundVector(LatticeVector lattice, ReadOnlyMemory<double>? values) : base(lattice, values) { }

    /// <summary>Whether the memory of the numbers is written again once the payload has been sent, so that a round needs no new memory.</summary>
    /// <value>Default false. Only for channels that take such payloads: a channel says so, and one that keeps what it is given does not.</value>
    public bool IsTransient { get; init; }

    /// <summary>What <see cref="PayloadPool"/> knows of a payload that it made; null for any other.</summary>
    internal PooledMemory? Pooled { get; init; }
}

/// <summary>Scores z = X w of a passive party for one batch, shape [b], on the scale of the linear predictor. Passive to active.</summary>
public sealed class Scores : RoundVector
{
    /// <summary>Creates the payload of numbers.</summary>
    /// <param name="values">One a row, in batch order.</param>
    /// <param name="elementType">Packing on the wire: float64 or float32.</param>
    public Scores(ReadOnlyMemory<double> values, ElementType elementType = ElementType.Float64) : base(values, elementType) { }

    /// <summary>Creates the payload of integers on a lattice, as it came over a wire.</summary>
    /// <param name="lattice">One integer a row, in batch order.</param>
    public Scores(LatticeVector lattice) : base(lattice, null) { }

    internal Scores(LatticeVector lattice, ReadOnlyMemory<double>? values) : base(lattice, values) { }

    internal override Scores With(LatticeVector lattice, ReadOnlyMemory<double>? values) => new(lattice, values) { IsTransient = IsTransient };
}

/// <summary>Residuals r = dl/dz of the active party for one batch, shape [b], in units of the label. Active to every passive party.</summary>
public sealed class Residuals : RoundVector
{
    /// <summary>Creates the payload of numbers.</summary>
    /// <param name="values">One a row, in batch order.</param>
    /// <param name="elementType">Packing on the wire: float64 or float32.</param>
    public Residuals(ReadOnlyMemory<double> values, ElementType elementType = ElementType.Float64) : base(values, elementType) { }

    /// <summary>Creates the payload of integers on a lattice, as it came over a wire.</summary>
    /// <param name="lattice">One integer a row, in batch order.</param>
    public Residuals(LatticeVector lattice) : base(lattice, null) { }

    internal Residuals(LatticeVector lattice, ReadOnlyMemory<double>? values) : base(lattice, values) { }

    internal override Residuals With(LatticeVector lattice, ReadOnlyMemory<double>? values) => new(lattice, values) { IsTransient = IsTransient };
}

/// <summary>What a short vector of <see cref="Scalars"/> means.</summary>
public enum ScalarsKind
{
    /// <summary>A party's share of the inner products an optimiser needs. Passive to active; mode none only.</summary>
    InnerProducts = 0,

    /// <summary>Coefficients of the search direction in the optimiser's basis. Active to passive; mode none only.</summary>
    Direction = 1,

    /// <summary>Step length along the direction and the decision to go on. Active to passive; mode none only.</summary>
    Step = 2,

    /// <summary>Counts that every party must agree on before round 0.</summary>
    Agreement = 3,
}

/// <summary>A short vector of job-level numbers, always float64.</summary>
/// <param name="kind">What the numbers mean.</param>
/// <param name="values">The numbers.</param>
public sealed class Scalars(ScalarsKind kind, ReadOnlyMemory<double> values) : VectorPayload(values, ElementType.Float64)
{
    /// <summary>What the numbers mean.</summary>
    public ScalarsKind Kind { get; } = kind;

    internal override VectorPayload With(LatticeVector lattice, ReadOnlyMemory<double>? values) =>
        throw new NotSupportedException("Job-level numbers are disclosed, never noised.");
}

/// <summary>SHA-256 digests of row ids, 32 bytes each, sorted as unsigned bytes. Passive to active for alignment by hashed ids; active to passive, the asked
/// ones, for online prediction.</summary>
/// <param name="digests">The digests, one after the other.</param>
public sealed class HashedIds(ReadOnlyMemory<byte> digests) : Payload
{
    /// <summary>Bytes of one digest.</summary>
    public const int DigestBytes = 32;

    /// <summary>The digests, one after the other.</summary>
    public ReadOnlyMemory<byte> Digests { get; } = digests.Length % DigestBytes == 0
        ? digests
        : throw new ArgumentException("Digests are 32 bytes each.", nameof(digests));

    /// <inheritdoc />
    public override int Length => Digests.Length / DigestBytes;

    /// <inheritdoc />
    public override long PackedBytes => Digests.Length;
}

/// <summary>Which of the rows a party named are common to all parties, one byte (0 or 1) a row, active to passive; in online prediction which of the asked
/// rows a passive party has, passive to active.</summary>
/// <param name="selected">One byte a row, in the order of the rows that were named.</param>
public sealed class RowSelection(ReadOnlyMemory<byte> selected) : Payload
{
    /// <summary>One byte a row: 1 when the row is common to all parties (online prediction: when it is there), else 0.</summary>
    public ReadOnlyMemory<byte> Selected { get; } = selected;

    /// <inheritdoc />
    public override int Length => Selected.Length;

    /// <inheritdoc />
    public override long PackedBytes => Selected.Length;
}

/// <summary>Targets of the active party's rows, noised once on a lattice, shape [n], in units of the label. Active to every passive party.</summary>
public sealed class NoisyTargets : VectorPayload
{
    /// <summary>Creates the payload of exact numbers, for a mechanism to noise.</summary>
    /// <param name="values">One a row, in the common order.</param>
    public NoisyTargets(ReadOnlyMemory<double> values) : base(values, ElementType.Float64) { }

    /// <summary>Creates the payload of integers on a lattice, as it came over a wire.</summary>
    /// <param name="lattice">One integer a row, in the common order.</param>
    public NoisyTargets(LatticeVector lattice) : base(lattice, null) { }

    private NoisyTargets(LatticeVector lattice, ReadOnlyMemory<double>? values) : base(lattice, values) { }

    internal override NoisyTargets With(LatticeVector lattice, ReadOnlyMemory<double>? values) => new(lattice, values);
}

/// <summary>Classes of the active party's rows after randomised response, one byte a row. Active to every passive party.</summary>
/// <param name="classes">One class a row, from 0, in the common order.</param>
public sealed class RandomizedLabels(ReadOnlyMemory<byte> classes) : Payload
{
    /// <summary>One class a row, from 0.</summary>
    public ReadOnlyMemory<byte> Classes { get; } = classes;

    /// <inheritdoc />
    public override int Length => Classes.Length;

    /// <inheritdoc />
    public override long PackedBytes => Classes.Length;
}

/// <summary>Vectors y of a view for the samples of one batch, shape [b x k], one row after the other. Passive to active.</summary>
public sealed class Embeddings : VectorPayload
{
    /// <summary>Creates the payload of numbers.</summary>
    /// <param name="values">One row of k numbers a sample, in batch order; an absent row is 0.</param>
    /// <param name="elementType">Packing on the wire: float64 or float32.</param>
    public Embeddings(ReadOnlyMemory<double> values, ElementType elementType = ElementType.Float64) : base(values, elementType) { }

    /// <summary>Creates the payload of integers on a lattice, as it came over a wire.</summary>
    /// <param name="lattice">One row of k integers a sample, in batch order.</param>
    public Embeddings(LatticeVector lattice) : base(lattice, null) { }

    private Embeddings(LatticeVector lattice, ReadOnlyMemory<double>? values) : base(lattice, values) { }

    internal override Embeddings With(LatticeVector lattice, ReadOnlyMemory<double>? values) => new(lattice, values);
}

/// <summary>Gradients dL/dy of the loss for the vectors of one batch, shape [b x k], one row after the other. Active to passive.</summary>
public sealed class EmbeddingGradients : VectorPayload
{
    /// <summary>Creates the payload of numbers.</summary>
    /// <param name="values">One row of k numbers a sample, in batch order; of the loss summed over samples, not averaged.</param>
    /// <param name="elementType">Packing on the wire: float64 or float32.</param>
    public EmbeddingGradients(ReadOnlyMemory<double> values, ElementType elementType = ElementType.Float64) : base(values, elementType) { }

    /// <summary>Creates the payload of integers on a lattice, as it came over a wire.</summary>
    /// <param name="lattice">One row of k integers a sample, in batch order.</param>
    public EmbeddingGradients(LatticeVector lattice) : base(lattice, null) { }

    private EmbeddingGradients(LatticeVector lattice, ReadOnlyMemory<double>? values) : base(lattice, values) { }

    internal override EmbeddingGradients With(LatticeVector lattice, ReadOnlyMemory<double>? values) => new(lattice, values);
}

/// <summary>A gradient or a change of all parameters of a device's models, one vector. Device to server.</summary>
public sealed class ModelUpdate : VectorPayload
{
    /// <summary>Creates the payload of numbers.</summary>
    /// <param name="values">All blocks one after the other, in the order that the job fixes.</param>
    /// <param name="elementType">Packing on the wire: float64 or float32.</param>
    public ModelUpdate(ReadOnlyMemory<double> values, ElementType elementType = ElementType.Float64) : base(values, elementType) { }

    /// <summary>Creates the payload of integers on a lattice, as it came over a wire.</summary>
    /// <param name="lattice">All blocks one after the other.</param>
    public ModelUpdate(LatticeVector lattice) : base(lattice, null) { }

    private ModelUpdate(LatticeVector lattice, ReadOnlyMemory<double>? values) : base(lattice, values) { }

    internal override ModelUpdate With(LatticeVector lattice, ReadOnlyMemory<double>? values) => new(lattice, values);
}

/// <summary>Parameters of all models of a version, one vector. Server to device.</summary>
/// <param name="values">All blocks one after the other, in the order that the job fixes.</param>
/// <param name="elementType">Packing on the wire: float64 or float32.</param>
public sealed class ModelParameters(ReadOnlyMemory<double> values, ElementType elementType = ElementType.Float64) : VectorPayload(values, elementType)
{
    internal override VectorPayload With(LatticeVector lattice, ReadOnlyMemory<double>? values) =>
        throw new NotSupportedException("Models are post-processing of what devices released, and are not noised again.");
}

/// <summary>Integers mod 2^64 under additive masks that cancel in the sum over parties. Passive to active, or device to server.</summary>
/// <param name="values">Little-endian integers of 64 bits, one after the other.</param>
/// <param name="step">What 1 stands for once the masks have cancelled. Positive, normal, finite.</param>
public sealed class MaskedVector(ReadOnlyMemory<byte> values, double step) : Payload
{
    /// <summary>Little-endian integers of 64 bits, one after the other.</summary>
    public ReadOnlyMemory<byte> Values { get; } = values.Length % sizeof(ulong) == 0
        ? values : throw new ArgumentException("Integers are 8 bytes each.", nameof(values));

    /// <summary>What 1 stands for once the masks have cancelled.</summary>
    public double Step { get; } = double.IsNormal(step) && step > 0 ? step : throw new ArgumentOutOfRangeException(nameof(step), step, "A step is positive, normal and finite.");

    /// <inheritdoc />
    public override int Length => Values.Length / sizeof(ulong);

    /// <inheritdoc />
    public override long PackedBytes => Values.Length;
}

/// <summary>Which samples the active party trains or evaluates on: of each a user of the view, and for views with times a moment. It names no item. Active to passive.</summary>
public sealed class SampleKeys : Payload
{
    /// <summary>Bytes of a sample: user (4), and with moments time (8) and sequence (4), little-endian.</summary>
    public const int UserBytes = 4, MomentBytes = 16;

    /// <summary>Creates the payload.</summary>
    /// <param name="keys">The samples one after the other. User: place among the users common to both parties, or -1 for one that the view does not have; its time and sequence are 0.</param>
    /// <param name="hasMoments">Whether each sample has a time in seconds since 1970 and a sequence.</param>
    public SampleKeys(ReadOnlyMemory<byte> keys, bool hasMoments)
    {
        if (keys.Length % (hasMoments ? MomentBytes : UserBytes) != 0)
            throw new ArgumentException("The keys are not a whole number of samples.", nameof(keys));
        (Keys, HasMoments) = (keys, hasMoments);
    }

    /// <summary>The samples one after the other.</summary>
    public ReadOnlyMemory<byte> Keys { get; }

    /// <summary>Whether each sample has a moment.</summary>
    public bool HasMoments { get; }

    /// <inheritdoc />
    public override int Length => Keys.Length / (HasMoments ? MomentBytes : UserBytes);

    /// <inheritdoc />
    public override long PackedBytes => Keys.Length;
}

/// <summary>What a message of key agreement or secure aggregation means.</summary>
public enum AggregationStep
{
    /// <summary>Public keys of one client, and, where asked for, their signature. Client to server.</summary>
    Keys = 0,

    /// <summary>Public keys of all clients of a round. Server to client.</summary>
    Roster = 1,

    /// <summary>Shares of a client's secrets, encrypted to the other clients. Client to server.</summary>
    Shares = 2,

    /// <summary>Shares that others encrypted to this client. Server to client.</summary>
    Delivery = 3,

    /// <summary>Which clients uploaded, so that the sum is theirs. Server to client.</summary>
    Unmask = 4,

    /// <summary>Shares that open the sum of those clients. Client to server.</summary>
    Reveal = 5,

    /// <summary>A signature over the list of clients. Client to server.</summary>
    Consent = 6,

    /// <summary>Signatures of other clients over the list. Server to client.</summary>
    Consents = 7,

    /// <summary>An invitation to a round, and whether a client takes part. Either way.</summary>
    Invitation = 8,
}

/// <summary>One message of key agreement or secure aggregation. Public keys, ciphertexts, shares or lists of clients: never a value of a row.</summary>
/// <param name="step">What it means.</param>
/// <param name="bytes">Its bytes; their form belongs to the step.</param>
public sealed class AggregationMessage(AggregationStep step, ReadOnlyMemory<byte> bytes) : Payload
{
    /// <summary>What it means.</summary>
    public AggregationStep Step { get; } = step;

    /// <summary>Its bytes.</summary>
    public ReadOnlyMemory<byte> Bytes { get; } = bytes;

    /// <inheritdoc />
    public override int Length => Bytes.Length;

    /// <inheritdoc />
    public override long PackedBytes => Bytes.Length;
}
