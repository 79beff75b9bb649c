namespace FedLearn.Privacy;

/// <summary>How the numbers of a payload are packed on the wire. Values are rounded to this type before they are released.</summary>
public enum ElementType
{
    /// <summary>IEEE 754 binary64, 8 bytes little-endian.</summary>
    Float64 = 0,

    /// <summary>IEEE 754 binary32, 4 bytes little-endian.</summary>
    Float32 = 1,
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
    private protected VectorPayload(ReadOnlyMemory<double> values, ElementType elementType) => (Values, ElementType) = (values, elementType);

    /// <summary>The numbers. The owner must not change the memory after the payload was made.</summary>
    public ReadOnlyMemory<double> Values { get; }

    /// <summary>Packing on the wire.</summary>
    public ElementType ElementType { get; }

    /// <inheritdoc />
    public override int Length => Values.Length;

    /// <inheritdoc />
    public override long PackedBytes => (long)Values.Length * (ElementType == ElementType.Float32 ? sizeof(float) : sizeof(double));

    /// <summary>The same kind of payload with other numbers.</summary>
    internal abstract VectorPayload With(ReadOnlyMemory<double> values);
}

/// <summary>Scores z = X w of a passive party for one batch, shape [b], on the scale of the linear predictor. Passive to active.</summary>
/// <param name="values">One score a row, in batch order.</param>
/// <param name="elementType">Packing on the wire.</param>
public sealed class Scores(ReadOnlyMemory<double> values, ElementType elementType = ElementType.Float64) : VectorPayload(values, elementType)
{
    internal override Scores With(ReadOnlyMemory<double> values) => new(values, ElementType);
}

/// <summary>Residuals r = dl/dz of the active party for one batch, shape [b], in units of the label. Active to every passive party.</summary>
/// <param name="values">One residual a row, in batch order.</param>
/// <param name="elementType">Packing on the wire.</param>
public sealed class Residuals(ReadOnlyMemory<double> values, ElementType elementType = ElementType.Float64) : VectorPayload(values, elementType)
{
    internal override Residuals With(ReadOnlyMemory<double> values) => new(values, ElementType);
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

    internal override Scalars With(ReadOnlyMemory<double> values) => new(Kind, values);
}

/// <summary>SHA-256 digests of row ids, 32 bytes each, sorted as unsigned bytes. Passive to active, for alignment by hashed ids.</summary>
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

/// <summary>Which of the rows a party named are common to all parties, one byte (0 or 1) a row. Active to passive.</summary>
/// <param name="selected">One byte a row, in the order of the rows that were named.</param>
public sealed class RowSelection(ReadOnlyMemory<byte> selected) : Payload
{
    /// <summary>One byte a row: 1 when the row is common to all parties, else 0.</summary>
    public ReadOnlyMemory<byte> Selected { get; } = selected;

    /// <inheritdoc />
    public override int Length => Selected.Length;

    /// <inheritdoc />
    public override long PackedBytes => Selected.Length;
}
