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

    /// <summary>Adds a mask to the integers of a released vector, once: the masked words are kept before they may leave, and words that are kept already leave again as they are, whatever the mask.</summary>
    /// <typeparam name="T">The payload; its numbers are on a lattice.</typeparam>
    /// <param name="released">What may leave already.</param>
    /// <param name="mask">Makes the mask of this message, one word an element; not asked for words that are kept.</param>
    /// <param name="name">Name of the release for the report.</param>
    /// <param name="outbox">Where masked messages are kept.</param>
    /// <param name="index">Number of the message there.</param>
    /// <returns>The masked integers, as for <see cref="Apply{T}(Released{T}, ReadOnlySpan{ulong}, string)"/>.</returns>
    /// <exception cref="ArgumentException">The numbers are on no lattice, or the lengths differ.</exception>
    /// <exception cref="Diagnostics.InternalFailureException">FL6305: what was kept is of another length.</exception>
    public static Released<MaskedVector> Once<T>(Released<T> released, Func<ulong[]> mask, string name, IMaskedOutbox outbox, int index) where T : VectorPayload
    {
        ArgumentNullException.ThrowIfNull(released);
        ArgumentNullException.ThrowIfNull(mask);
        ArgumentNullException.ThrowIfNull(outbox);
        if (outbox.Find(index) is { } kept)
            return released.Payload.Lattice is { } lattice && kept.Length == (long)lattice.Length * sizeof(ulong)
                ? new(new MaskedVector(kept, lattice.Step), released.Protection, name)
                : throw new Diagnostics.InternalFailureException(PrivacyErrors.NotTheKeptMessage, name, "the message that the run kept does not fit this one.",
                    "The outbox belongs to another run or is damaged: start a new run.");
        Released<MaskedVector> masked = Apply(released, mask(), name);
        outbox.Keep(index, masked.Payload.Values.Span);
        return masked;
    }

    /// <summary>A masked message that was kept before it left, as it was kept: to be sent again.</summary>
    /// <param name="outbox">Where it is kept.</param>
    /// <param name="index">Its number there.</param>
    /// <param name="step">Step of its lattice.</param>
    /// <param name="protection">What protected the numbers before they were masked.</param>
    /// <param name="name">Name of the release for the report.</param>
    /// <exception cref="ArgumentException">No such message was kept.</exception>
    public static Released<MaskedVector> Again(IMaskedOutbox outbox, int index, double step, Protection protection, string name)
    {
        ArgumentNullException.ThrowIfNull(outbox);
        ArgumentException.ThrowIfNullOrWhiteSpace(name);
        return outbox.Find(index) is { } kept ? new(new MaskedVector(kept, step), protection, name) : throw new ArgumentException("No such message was kept.", nameof(index));
    }
}

/// <summary>Masked messages of one run on their way out: a mask is used for one message only, ever, so a message that may have left is sent again and never masked again.</summary>
public interface IMaskedOutbox
{
    /// <summary>A message as it was kept, which the caller does not change; null when it has not been made yet.</summary>
    /// <param name="index">Number of the message in the run, from 0.</param>
    /// <exception cref="Diagnostics.FedLearnException">It was made before and is kept no longer.</exception>
    byte[]? Find(int index);

    /// <summary>Keeps a message durably. On return it may leave; sent again, it is these bytes. At least the last 1,024 are kept.</summary>
    /// <param name="index">Number of the message in the run, from 0; one above the last.</param>
    /// <param name="message">The message.</param>
    void Keep(int index, ReadOnlySpan<byte> message);
}
