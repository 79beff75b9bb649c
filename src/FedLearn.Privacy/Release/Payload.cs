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

    /// <summary>The numbers. The owner must not change the memory after the payload was made.</summary>
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

/// <summary>Scores z = X w of a passive party for one batch, shape [b], on the scale of the linear predictor. Passive to active.</summary>
public sealed class Scores : VectorPayload
{
    /// <summary>Creates the payload of numbers.</summary>
    /// <param name="values">One a row, in batch order.</param>
    /// <param name="elementType">Packing on the wire: float64 or float32.</param>
    public Scores(ReadOnlyMemory<double> values, ElementType elementType = ElementType.Float64) : base(values, elementType) { }

    /// <summary>Creates the payload of integers on a lattice, as it came over a wire.</summary>
    /// <param name="lattice">One integer a row, in batch order.</param>
    public Scores(LatticeVector lattice) : base(lattice, null) { }

    private Scores(LatticeVector lattice, ReadOnlyMemory<double>? values) : base(lattice, values) { }

    internal override Scores With(LatticeVector lattice, ReadOnlyMemory<double>? values) => new(lattice, values);
}

/// <summary>Residuals r = dl/dz of the active party for one batch, shape [b], in units of the label. Active to every passive party.</summary>
public sealed class Residuals : VectorPayload
{
    /// <summary>Creates the payload of numbers.</summary>
    /// <param name="values">One a row, in batch order.</param>
    /// <param name="elementType">Packing on the wire: float64 or float32.</param>
    public Residuals(ReadOnlyMemory<double> values, ElementType elementType = ElementType.Float64) : base(values, elementType) { }

    /// <summary>Creates the payload of integers on a lattice, as it came over a wire.</summary>
    /// <param name="lattice">One integer a row, in batch order.</param>
    public Residuals(LatticeVector lattice) : base(lattice, null) { }

    private Residuals(LatticeVector lattice, ReadOnlyMemory<double>? values) : base(lattice, values) { }

    internal override Residuals With(LatticeVector lattice, ReadOnlyMemory<double>? values) => new(lattice, values);
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
