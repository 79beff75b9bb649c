using System.Buffers.Binary;

namespace FedLearn.Privacy;

/// <summary>Hides released integers under additive masks mod 2^64, so that only a sum in which the masks cancel can be read.</summary>
/// <remarks>A mask is post-processing of what was released: it takes no protection away, and adds none to any epsilon.</remarks>
public static class AdditiveMask
{
    /// <summary>Adds a mask to the integers of a released vector.</summary>
    /// <typeparam name="T">The payload; its numbers are on a lattice.</typeparam>
    /// <param name="released">What may leave already.</param>
    /// <param name="mask">One word an element, mod 2^64. Used for nothing else, ever: two vectors under one mask tell their difference.</param>
    /// <param name="name">Name of the release for the report, such as <c>masked update</c>.</param>
    /// <returns>The masked integers, with the lattice's step and the protection of <paramref name="released"/>.</returns>
    /// <exception cref="ArgumentException">The numbers are on no lattice, or the lengths differ.</exception>
    public static Released<MaskedVector> Apply<T>(Released<T> released, ReadOnlySpan<ulong> mask, string name) where T : VectorPayload
    {
        ArgumentNullException.ThrowIfNull(released);
        ArgumentException.ThrowIfNullOrWhiteSpace(name);
        if (released.Payload.Lattice is not { } lattice)
            throw new ArgumentException("Only integers on a lattice can be masked: release them by a mechanism, or put them on a lattice.", nameof(released));
        if (lattice.Length != mask.Length)
            throw new ArgumentException("A mask has one word an element.", nameof(mask));
        long[] integers = lattice.Integers();
        byte[] masked = GC.AllocateUninitializedArray<byte>(checked(integers.Length * sizeof(ulong)));
        for (int i = 0; i < integers.Length; i++)
            BinaryPrimitives.WriteUInt64LittleEndian(masked.AsSpan(i * sizeof(ulong)), unchecked((ulong)integers[i] + mask[i]));
        return new(new MaskedVector(masked, lattice.Step), released.Protection, name);
    }
}
