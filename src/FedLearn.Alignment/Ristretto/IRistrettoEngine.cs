namespace FedLearn.Alignment.Ristretto;

/// <summary>Batched arithmetic of ristretto255 (RFC 9496) with one secret scalar for a whole batch. Thread-safe, and constant-time in the scalar.</summary>
internal interface IRistrettoEngine
{
    /// <summary>Name, for reports.</summary>
    string Name { get; }

    /// <summary>Maps uniform bytes to the group (RFC 9496 section 4.3.4, both halves) and multiplies.</summary>
    /// <param name="hashes">64 bytes a point.</param>
    /// <param name="scalar">32 bytes, little-endian, between 1 and the order of the group less 1.</param>
    /// <param name="points">Encodings, 32 bytes a point.</param>
    void Blind(ReadOnlySpan<byte> hashes, ReadOnlySpan<byte> scalar, Span<byte> points);

    /// <summary>Multiplies encoded points.</summary>
    /// <param name="points">Encodings, 32 bytes a point; whatever a peer sent.</param>
    /// <param name="scalar">As above.</param>
    /// <param name="products">Encodings, 32 bytes a point.</param>
    /// <returns>Number of the first point that is no canonical encoding (RFC 9496 section 4.3.1) or the identity, and then the products mean nothing; -1 for none.</returns>
    int Multiply(ReadOnlySpan<byte> points, ReadOnlySpan<byte> scalar, Span<byte> products);
}
