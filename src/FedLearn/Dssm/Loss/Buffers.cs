namespace FedLearn.Dssm;

/// <summary>Buffers that grow, and are used again.</summary>
internal static class Buffers
{
    /// <summary>Room in a buffer; what stands there from before is not cleared.</summary>
    public static Span<T> Of<T>(ref T[] buffer, int length)
    {
        if (buffer.Length < length)
            buffer = new T[length];
        return buffer.AsSpan(0, length);
    }
}
